//! Images at terminals that can show them, in the format that the terminal accepts.
//!
//! kitty and iTerm2 decode images themselves; for sixel the image is decoded, scaled and reduced to 216 colors here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Ui;
use super::content::BinaryContent;
use super::image_format::ImageFormat;
use super::sixel;
use super::terminal::Terminal;
use crate::util::lock::lock;
use crate::util::when::When;

/// A larger file is not shown.
const MAX_FILE_BYTES: usize = 16 << 20;
/// An image with more pixels is not shown: a small file can decode to very many.
const MAX_PIXELS: u64 = 16 << 20;
/// The size of a character in pixels if the terminal does not report it: that of the VT340.
const DEFAULT_CELL: (u64, u64) = (10, 20);
/// The most base64 that kitty accepts in one sequence.
const KITTY_CHUNK: usize = 4096;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ImageFileType {
    Png,
    Jpeg,
    Gif,
}

/// How an image that does not fit is made smaller, in characters; the other side follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ImageLimit {
    Columns(u64),
    Rows(u64),
}

impl Ui {
    fn image_format(&self) -> Option<ImageFormat> {
        let format = match self.options.images {
            When::Auto => self.terminal.images,
            When::Always => Some(self.terminal.images.unwrap_or(ImageFormat::Sixel)),
            When::Never => None,
        };
        // What may be cut has none: the terminal would wait for the end of the image.
        let is_whole = lock(&self.held_output).is_none();
        format.filter(|_| self.terminal.stdout_is_tty && !self.terminal.is_dumb && is_whole)
    }

    /// What shows this image at the terminal, with a line feed; `None` if it is not an image or cannot be shown.
    pub(super) fn render_image(&self, content: &BinaryContent<'_>) -> Option<String> {
        let format = self.image_format()?;
        let is_image = content.mime.as_deref().map_or(content.kind == "image", |mime| mime.starts_with("image/"));
        if !is_image || content.data.len() / 4 * 3 > MAX_FILE_BYTES {
            return None;
        }
        // Encoded again: what the server sent may contain anything.
        render(&content.bytes().ok()?, format, &self.terminal)
    }
}

fn render(file: &[u8], format: ImageFormat, terminal: &Terminal) -> Option<String> {
    let (file_format, size) = inspect(file)?;
    if size.0.checked_mul(size.1).is_none_or(|pixels| pixels == 0 || pixels > MAX_PIXELS) {
        return None;
    }
    let limit = limit(size, terminal);
    match (format, file_format) {
        (ImageFormat::Kitty, ImageFileType::Png) => Some(kitty(file, limit)),
        (ImageFormat::Iterm, _) => Some(iterm(file, limit)),
        (ImageFormat::Sixel, ImageFileType::Png) => sixel::encode_png(file, scaled(size, limit, terminal)),
        _ => None,
    }
}

/// The format of a file, and its width and height in pixels.
fn inspect(file: &[u8]) -> Option<(ImageFileType, (u64, u64))> {
    let big = |at: usize, count: usize| {
        let bytes = file.get(at..at + count)?;
        Some(bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    };
    if file.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some((ImageFileType::Png, (big(16, 4)?, big(20, 4)?)));
    }
    if file.starts_with(b"GIF8") {
        let little = |at: usize| Some(big(at, 1)? | big(at + 1, 1)? << 8);
        return Some((ImageFileType::Gif, (little(6)?, little(8)?)));
    }
    if !file.starts_with(b"\xff\xd8") {
        return None;
    }
    // JPEG: segments with their lengths, up to the one that starts a frame (ITU-T T.81, B.1.1.3 and B.2.2).
    let mut at = 2;
    loop {
        let marker = big(at, 2)?;
        match marker {
            0xffff => at += 1,
            0xffc4 | 0xffc8 | 0xffcc => at += 2 + usize::try_from(big(at + 2, 2)?).ok()?,
            0xffc0..=0xffcf => return Some((ImageFileType::Jpeg, (big(at + 7, 2)?, big(at + 5, 2)?))),
            0xff00..=0xffff => at += 2 + usize::try_from(big(at + 2, 2)?).ok()?,
            _ => return None,
        }
    }
}

/// The columns and rows that an image may take: two rows remain for the lines around it.
fn available_cells(terminal: &Terminal) -> (u64, u64) {
    let rows = terminal.rows.filter(|&rows| rows > 0).unwrap_or(24).max(6) - 2;
    (terminal.columns() as u64, rows as u64)
}

fn cell_size(terminal: &Terminal) -> (u64, u64) {
    terminal.cell.map_or(DEFAULT_CELL, |(width, height)| (u64::from(width), u64::from(height)))
}

fn limit(size: (u64, u64), terminal: &Terminal) -> Option<ImageLimit> {
    let ((columns, rows), cell) = (available_cells(terminal), cell_size(terminal));
    let natural = (size.0.div_ceil(cell.0), size.1.div_ceil(cell.1));
    if natural.0 <= columns && natural.1 <= rows {
        None
    } else if natural.0 * rows >= natural.1 * columns {
        Some(ImageLimit::Columns(columns))
    } else {
        Some(ImageLimit::Rows(rows))
    }
}

/// The size in pixels within the limit.
fn scaled((width, height): (u64, u64), limit: Option<ImageLimit>, terminal: &Terminal) -> (u64, u64) {
    let cell = cell_size(terminal);
    let (to, from) = match limit {
        None => return (width, height),
        Some(ImageLimit::Columns(columns)) => (columns * cell.0, width),
        Some(ImageLimit::Rows(rows)) => (rows * cell.1, height),
    };
    ((width * to / from).max(1), (height * to / from).max(1))
}

fn kitty(file: &[u8], limit: Option<ImageLimit>) -> String {
    let data = STANDARD.encode(file);
    let size = match limit {
        None => String::new(),
        Some(ImageLimit::Columns(columns)) => format!(",c={columns}"),
        Some(ImageLimit::Rows(rows)) => format!(",r={rows}"),
    };
    let mut text = String::with_capacity(data.len() + data.len() / 256 + 64);
    let count = data.len().div_ceil(KITTY_CHUNK);
    for (n, start) in (0..data.len()).step_by(KITTY_CHUNK).enumerate() {
        let chunk = &data[start..data.len().min(start + KITTY_CHUNK)];
        // `q=2`: no response, which would arrive as input.
        let keys = if n == 0 { format!("a=T,f=100,q=2{size},") } else { String::new() };
        let more = u8::from(n + 1 < count);
        text += &format!("\x1b_G{keys}m={more};{chunk}\x1b\\");
    }
    text + "\n"
}

fn iterm(file: &[u8], limit: Option<ImageLimit>) -> String {
    let size = match limit {
        None => String::new(),
        Some(ImageLimit::Columns(columns)) => format!(";width={columns}"),
        Some(ImageLimit::Rows(rows)) => format!(";height={rows}"),
    };
    format!("\x1b]1337;File=inline=1;size={}{size}:{}\x07\n", file.len(), STANDARD.encode(file))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The head of a PNG of this size; only its decoder reads the rest.
    fn png(width: u32, height: u32) -> Vec<u8> {
        [&b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"[..], &width.to_be_bytes(), &height.to_be_bytes()].concat()
    }

    fn terminal() -> Terminal {
        Terminal { width: Some(80), rows: Some(24), cell: Some((10, 20)), ..Terminal::default() }
    }

    #[test]
    fn the_size_is_read_from_each_format() {
        assert_eq!(inspect(&png(640, 480)), Some((ImageFileType::Png, (640, 480))));
        assert_eq!(inspect(b"GIF89a\x80\x02\xe0\x01"), Some((ImageFileType::Gif, (640, 480))));
        let jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc4\0\x03x\xff\xc2\0\x11\x08\x01\xe0\x02\x80\x03";
        assert_eq!(inspect(jpeg), Some((ImageFileType::Jpeg, (640, 480))));
        for broken in [&b""[..], b"\x89PNG\r\n\x1a\n", b"GIF8", b"\xff\xd8", b"\xff\xd8\xff\xe0\xff\xff", b"<svg/>"] {
            assert_eq!(inspect(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn a_large_image_is_made_smaller_and_a_huge_one_is_not_shown() {
        assert_eq!(limit((800, 440), &terminal()), None);
        assert_eq!(limit((801, 10), &terminal()), Some(ImageLimit::Columns(80)));
        assert_eq!(limit((10, 441), &terminal()), Some(ImageLimit::Rows(22)));
        assert_eq!(scaled((1600, 880), limit((1600, 880), &terminal()), &terminal()), (800, 440));
        assert_eq!(scaled((1, 4400), limit((1, 4400), &terminal()), &terminal()), (1, 440));
        assert!(kitty(&png(1600, 10), limit((1600, 10), &terminal())).starts_with("\x1b_Ga=T,f=100,q=2,c=80,m=0;"));
        assert!(iterm(b"", Some(ImageLimit::Rows(22))).starts_with("\x1b]1337;File=inline=1;size=0;height=22:"));
        for size in [(100_000, 100_000), (u32::MAX, u32::MAX), (0, 5)] {
            assert_eq!(render(&png(size.0, size.1), ImageFormat::Kitty, &terminal()), None);
        }
    }

    #[test]
    fn kitty_gets_a_large_file_in_pieces() {
        let file = [png(1, 1), vec![7; 7000]].concat();
        let text = render(&file, ImageFormat::Kitty, &terminal()).unwrap();
        let pieces: Vec<&str> = text.strip_suffix("\x1b\\\n").unwrap().split("\x1b\\").collect();
        let heads: Vec<&str> = pieces.iter().map(|piece| piece.split_once(';').unwrap().0).collect();
        assert_eq!(heads, ["\x1b_Ga=T,f=100,q=2,m=1", "\x1b_Gm=1", "\x1b_Gm=0"]);
        let data: String = pieces.iter().map(|piece| piece.split_once(';').unwrap().1).collect();
        assert_eq!(STANDARD.decode(data).unwrap(), file);
        assert!(pieces.iter().all(|piece| piece.split_once(';').unwrap().1.len() <= 4096));
    }
}
