//! Sixel graphics (VT330/VT340 Programmer Reference Manual, volume 2, chapter 14): six rows of pixels at a time, color
//! by color.

use std::fmt::Write as _;
use std::io::Cursor;

use png::{ColorType, Decoder, Limits, Transformations};

/// Levels of each of the three colors; the palette has all combinations.
const LEVELS: i32 = 6;
/// The distance between two levels.
const STEP: i32 = 255 / (LEVELS - 1);
/// A pixel that shows the background.
const TRANSPARENT: u8 = u8::MAX;
/// The memory that the decoder may use beside the pixels.
const DECODER_BYTES: usize = 16 << 20;

/// A PNG, scaled down to this size. `None` if it cannot be decoded.
pub(super) fn encode_png(file: &[u8], size: (u64, u64)) -> Option<String> {
    let size = (usize::try_from(size.0).ok()?, usize::try_from(size.1).ok()?);
    let pixels = decode(file)?.scale(size);
    Some(encode(&quantize(&pixels), size.0))
}

/// Red, green, blue and opacity of each pixel, row by row.
struct Pixels {
    width: usize,
    height: usize,
    values: Vec<[u8; 4]>,
}

fn decode(file: &[u8]) -> Option<Pixels> {
    let mut decoder = Decoder::new_with_limits(Cursor::new(file), Limits { bytes: DECODER_BYTES });
    decoder.set_transformations(Transformations::normalize_to_color8() | Transformations::ALPHA);
    let mut reader = decoder.read_info().ok()?;
    let mut bytes = vec![0; reader.output_buffer_size()?];
    let info = reader.next_frame(&mut bytes).ok()?;
    let values = match info.color_type {
        ColorType::Rgba => bytes.as_chunks::<4>().0.to_vec(),
        ColorType::GrayscaleAlpha => {
            bytes.as_chunks::<2>().0.iter().map(|&[gray, opacity]| [gray, gray, gray, opacity]).collect()
        }
        _ => return None,
    };
    let (width, height) = (usize::try_from(info.width).ok()?, usize::try_from(info.height).ok()?);
    (values.len() >= width * height).then_some(Pixels { width, height, values })
}

impl Pixels {
    /// Each new pixel is the average of those that it replaces.
    fn scale(self, (width, height): (usize, usize)) -> Pixels {
        if (width, height) == (self.width, self.height) {
            return self;
        }
        let range = |n: usize, new: usize, old: usize| n * old / new..((n + 1) * old / new).max(n * old / new + 1);
        let mut values = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                let mut sum = [0_u64; 4];
                let mut count = 0;
                for row in range(y, height, self.height) {
                    for column in range(x, width, self.width) {
                        let pixel = self.values[row * self.width + column];
                        sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u64::from(value));
                        count += 1;
                    }
                }
                values.push(sum.map(|sum| u8::try_from(sum / count).unwrap_or(u8::MAX)));
            }
        }
        Pixels { width, height, values }
    }
}

/// The color of each pixel in the palette. What a color lacks is added to the pixels around it (Floyd and Steinberg).
fn quantize(pixels: &Pixels) -> Vec<u8> {
    let mut colors = Vec::with_capacity(pixels.values.len());
    // The errors of this row and the next one, with a place before the first pixel and after the last.
    let mut errors = [vec![[0; 3]; pixels.width + 2], vec![[0; 3]; pixels.width + 2]];
    for row in pixels.values.chunks(pixels.width) {
        for (x, pixel) in row.iter().enumerate() {
            if pixel[3] < 128 {
                colors.push(TRANSPARENT);
                continue;
            }
            let mut color = 0;
            for channel in 0..3 {
                let wanted = (i32::from(pixel[channel]) + errors[0][x + 1][channel] / 16).clamp(0, 255);
                let level = (wanted + STEP / 2) / STEP;
                let error = wanted - level * STEP;
                errors[0][x + 2][channel] += error * 7;
                errors[1][x][channel] += error * 3;
                errors[1][x + 1][channel] += error * 5;
                errors[1][x + 2][channel] += error;
                color = color * LEVELS + level;
            }
            colors.push(u8::try_from(color).unwrap_or(TRANSPARENT));
        }
        errors.swap(0, 1);
        errors[1].fill([0; 3]);
    }
    colors
}

fn encode(colors: &[u8], width: usize) -> String {
    let height = colors.len() / width;
    // `1` in second place: pixels that are not drawn keep the background.
    let mut text = format!("\x1bP0;1q\"1;1;{width};{height}");
    let mut defined = [false; 256];
    for band in colors.chunks(width * 6) {
        let mut used = [false; 256];
        band.iter().for_each(|&color| used[usize::from(color)] = true);
        used[usize::from(TRANSPARENT)] = false;
        for color in (0..TRANSPARENT).filter(|&color| used[usize::from(color)]) {
            if !std::mem::replace(&mut defined[usize::from(color)], true) {
                let level = |divisor: i32| i32::from(color) / divisor % LEVELS * 100 / (LEVELS - 1);
                let _ = write!(text, "#{color};2;{};{};{}", level(LEVELS * LEVELS), level(LEVELS), level(1));
            }
            let _ = write!(text, "#{color}");
            let mut repeated = (0, 0);
            for x in 0..width {
                let rows = band.iter().skip(x).step_by(width).enumerate();
                let bits = rows.fold(0, |bits, (row, &other)| bits | u8::from(other == color) << row);
                if bits == repeated.0 {
                    repeated.1 += 1;
                } else {
                    push_repeated(&mut text, repeated);
                    repeated = (bits, 1);
                }
            }
            push_repeated(&mut text, if repeated.0 == 0 { (0, 0) } else { repeated });
            text.push('$');
        }
        text.push('-');
    }
    text + "\x1b\\\n"
}

/// A column of six pixels, `count` times.
fn push_repeated(text: &mut String, (bits, count): (u8, usize)) {
    let column = char::from(b'?' + bits);
    match count {
        0..4 => text.extend(std::iter::repeat_n(column, count)),
        _ => {
            let _ = write!(text, "!{count}{column}");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pixels(width: usize, values: &[[u8; 4]]) -> Pixels {
        Pixels { width, height: values.len() / width, values: values.to_vec() }
    }

    #[test]
    fn rows_of_six_pixels_are_drawn_color_by_color() {
        let (red, blue, none) = ([255, 0, 0, 255], [0, 0, 255, 255], [0, 0, 0, 0]);
        let image = pixels(2, &[[red, blue], [none, blue]].concat().repeat(4));
        assert_eq!(
            encode(&quantize(&image), 2),
            "\x1bP0;1q\"1;1;2;8#5;2;0;0;100#5?~$#180;2;100;0;0#180T$-#5?B$#180@$-\x1b\\\n"
        );
        let wide = pixels(9, &[red; 9]);
        assert_eq!(encode(&quantize(&wide), 9), "\x1bP0;1q\"1;1;9;1#180;2;100;0;0#180!9@$-\x1b\\\n");
    }

    #[test]
    fn scaling_averages_and_dithering_keeps_the_brightness() {
        let scaled = pixels(2, &[[0, 0, 0, 255], [200, 100, 50, 255]]).scale((1, 1));
        assert_eq!(scaled.values, [[100, 50, 25, 255]]);
        // 25 is between two levels, 0 and 51.
        let gray = quantize(&pixels(40, &[[25, 25, 25, 255]; 1600]));
        let light = gray.iter().filter(|&&color| color != 0).count();
        assert!((700..900).contains(&light), "{light} of 1600");
    }

    #[test]
    fn every_kind_of_png_is_decoded() {
        let encoded = |color: ColorType, data: &[u8]| {
            let mut file = Vec::new();
            let mut encoder = png::Encoder::new(&mut file, 2, 1);
            encoder.set_color(color);
            encoder.set_palette(vec![255, 0, 0, 0, 0, 255]);
            encoder.write_header().unwrap().write_image_data(data).unwrap();
            encode_png(&file, (2, 1)).unwrap()
        };
        let red_and_blue = "\x1bP0;1q\"1;1;2;1#5;2;0;0;100#5?@$#180;2;100;0;0#180@$-\x1b\\\n";
        assert_eq!(encoded(ColorType::Rgb, &[255, 0, 0, 0, 0, 255]), red_and_blue);
        assert_eq!(encoded(ColorType::Rgba, &[255, 0, 0, 255, 0, 0, 255, 255]), red_and_blue);
        assert_eq!(encoded(ColorType::Indexed, &[0, 1]), red_and_blue);
        let white = "\x1bP0;1q\"1;1;2;1#215;2;100;100;100#215?@$-\x1b\\\n";
        assert_eq!(encoded(ColorType::GrayscaleAlpha, &[255, 0, 255, 255]), white);
        assert!(encoded(ColorType::Grayscale, &[255, 255]).contains("#215@@$"));
    }

    #[test]
    fn files_that_are_not_png_are_not_decoded() {
        for broken in [&b""[..], b"\x89PNG\r\n\x1a\n", b"GIF89a"] {
            assert!(encode_png(broken, (1, 1)).is_none());
        }
    }
}
