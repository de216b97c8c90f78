//! Binary content written into files: decoded leniently, named carefully, nothing overwritten.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;

use super::escape::is_harmful;
use super::jq_value::JqOutput;
use crate::error::{ErrorKind, Failure, Result};
use crate::interrupt;
use crate::protocol::json::JsonText;
use crate::util::atomic_write::{replace_file, temporary_in};

/// File names are cut to this many bytes, so that a suffix still fits into 255.
const MAX_NAME_LENGTH: usize = 180;
/// The highest number that is tried for a file name.
const MAX_NUMBERED_NAMES: usize = 10_000;

/// How much base64 is decoded at a time; a multiple of four.
const BASE64_PIECE: usize = 16 << 10;

/// Decodes base64 as servers write it: with line breaks, in the URL alphabet, without padding,
/// or as a `data:` URL. `None` if it is not base64.
#[must_use]
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut all = Vec::with_capacity(text.len() / 4 * 3);
    decode_pieces(text, |piece| all.extend_from_slice(piece))?;
    Some(all)
}

/// How many bytes base64 has, without keeping them. `None` if it is not base64.
#[must_use]
pub fn decoded_length(text: &str) -> Option<usize> {
    let mut length = 0;
    decode_pieces(text, |piece| length += piece.len())?;
    Some(length)
}

/// Writes what valid base64 decodes to, piece by piece.
pub(super) fn write_decoded<E>(
    text: &str,
    mut write: impl FnMut(&[u8]) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let mut outcome = Ok(());
    decode_pieces(text, |piece| {
        if outcome.is_ok() {
            outcome = write(piece);
        }
    });
    outcome
}

/// Decodes base64 piece by piece, since the whole of a large file would take as much memory again.
fn decode_pieces(text: &str, mut take: impl FnMut(&[u8])) -> Option<()> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let text = match text.trim_start().strip_prefix("data:") {
        Some(url) => url.split_once(";base64,")?.1,
        None => text,
    };
    let mut rest = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).map(|byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    });
    let mut piece = Vec::with_capacity(BASE64_PIECE);
    loop {
        // Padding is allowed at the end only.
        let had_padding = piece.contains(&b'=');
        piece.clear();
        piece.extend(rest.by_ref().take(BASE64_PIECE));
        match piece.is_empty() {
            true => return Some(()),
            false if had_padding => return None,
            false => take(&LENIENT.decode(&piece).ok()?),
        }
    }
}

/// What the name of a file is made from.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileNaming<'a> {
    /// The name that the server gave.
    pub name: Option<&'a str>,
    /// Its URI; its last segment is used if there is no name.
    pub uri: Option<&'a str>,
    /// `image`, `audio`, `file`: the beginning of the name if nothing else is known.
    pub kind: &'a str,
    /// The MIME type, which decides the extension if the name has none.
    pub mime: Option<&'a str>,
}

/// What goes into a file.
#[derive(Debug)]
pub enum FileData<'a> {
    /// Text that is decoded while it is written.
    Text(JsonText<'a>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// Base64 that is decoded while it is written. It is valid.
    Base64(Cow<'a, str>),
    /// The output of a filter, and a line feed.
    Filtered(JqOutput),
}

impl FileData<'_> {
    /// Writes it piece by piece.
    pub(super) fn write_pieces<E>(
        &self,
        mut write: impl FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        match self {
            FileData::Text(text) => text.pieces().try_for_each(|piece| write(piece.as_bytes())),
            FileData::Bytes(bytes) => write(bytes),
            FileData::Base64(text) => write_decoded(text, write),
            FileData::Filtered(output) => output.write_line(write),
        }
    }
}

/// Writes files into one directory.
#[derive(Debug)]
pub struct FileSaver {
    directory: PathBuf,
    unnamed_counts: HashMap<String, usize>,
}

impl FileSaver {
    /// Creates the directory if it does not exist.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] if it cannot be created.
    pub fn new(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).map_err(|error| {
            Failure::new(ErrorKind::Output, format!("cannot create the directory '{}'", directory.display()))
                .caused_by(&error)
        })?;
        Ok(FileSaver { directory: directory.to_owned(), unnamed_counts: HashMap::new() })
    }

    /// Writes one file and returns its path. An existing file is not replaced: `logo.png` becomes `logo-2.png`. Files
    /// without a name are numbered.
    ///
    /// # Errors
    /// When the file cannot be created or written.
    pub fn save(&mut self, naming: FileNaming<'_>, data: &FileData<'_>) -> Result<PathBuf> {
        let given = given_name(naming);
        let (stem, ending) = given.as_deref().map_or((naming.kind, ""), split_extension);
        let ending = match (ending, naming.mime.and_then(extension_for), &given) {
            ("", Some(known), _) => format!(".{known}"),
            ("", None, None) => ".bin".to_owned(),
            (own, _, _) => own.to_owned(),
        };
        let first = if given.is_some() { 1 } else { self.unnamed_counts.get(stem).map_or(1, |last| last + 1) };
        let mut path = self.directory.clone();
        for number in first..first + MAX_NUMBERED_NAMES {
            let plain = number == 1 && given.is_some();
            let name = if plain { format!("{stem}{ending}") } else { format!("{stem}-{number}{ending}") };
            path = self.directory.join(name);
            // `create_new` follows no link and replaces no file, whoever created it in the meantime.
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    if let Err(error) = data.write_pieces(|piece| file.write_all(piece)) {
                        let _ = fs::remove_file(&path);
                        return Err(file_write_failure(&path, &error));
                    }
                    if given.is_none() {
                        self.unnamed_counts.insert(stem.to_owned(), number);
                    }
                    return Ok(path);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(create_failure(&path, &error)),
            }
        }
        Err(create_failure(&path, &io::ErrorKind::AlreadyExists.into()))
    }
}

/// The name that the server gave, else the last segment of the URI, if it can be a file name.
fn given_name(naming: FileNaming<'_>) -> Option<String> {
    let from_uri = || naming.uri.and_then(last_segment).and_then(|name| safe_name(&name));
    naming.name.and_then(safe_name).or_else(from_uri)
}

/// The end of a file name that begins otherwise: `-report.csv` after the name, else the extension alone. `extension` is
/// used if nothing else is known.
#[must_use]
pub fn name_ending(naming: FileNaming<'_>, extension: &str) -> String {
    let known = naming.mime.and_then(extension_for).map(|known| format!(".{known}"));
    let extension = known.unwrap_or_else(|| extension.to_owned());
    match given_name(naming) {
        Some(name) if split_extension(&name).1.is_empty() => format!("-{name}{extension}"),
        Some(name) => format!("-{name}"),
        None => extension,
    }
}

/// Refuses `-` where it would be the name of a file: for other options it is standard output.
///
/// # Errors
/// [`ErrorKind::Usage`] for `-`; `needs` is what the option needs, and `usage` is the option with its value.
pub fn refuse_dash(path: &Path, needs: &str, usage: &str) -> Result<()> {
    if path != Path::new("-") {
        return Ok(());
    }
    let option = usage.split(' ').next().unwrap_or_default();
    Err(Failure::new(ErrorKind::Usage, format!("{option} needs a {needs}: standard output is for the results"))
        .hint(format!("name a {needs}: {usage}")))
}

/// Checks that files can be created in a directory, before the operation whose results are saved there.
///
/// # Errors
/// [`ErrorKind::Usage`] if they cannot.
pub fn ensure_directory_writable(directory: &Path) -> Result<()> {
    refuse_dash(directory, "directory", "--save DIR")?;
    let usage = |what: &str, error: &std::io::Error| {
        Failure::new(ErrorKind::Usage, format!("cannot create {what} '{}'", directory.display()))
            .caused_by(error)
            .hint("choose a directory that exists or can be created: --save DIR")
    };
    fs::create_dir_all(directory).map_err(|error| usage("the directory", &error))?;
    check_writable(directory).map_err(|error| usage("files in the directory", &error))
}

/// A warning if a file has the name of an output format: `-o json` chooses the format in other programs.
#[must_use]
pub fn format_name_warning(path: &Path) -> Option<String> {
    let name = path.to_str().filter(|name| ["json", "yaml", "table", "text", "csv"].contains(name))?;
    let instead = if name == "json" { "for JSON on stdout use --json" } else { "to print it on stdout, omit -o" };
    Some(format!("-o names a file: the result is written to the file '{name}'; {instead}"))
}

/// Checks that a file can be written, as far as possible without changing it.
///
/// # Errors
/// [`ErrorKind::Usage`] if it cannot.
pub fn ensure_file_writable(path: &Path) -> Result<()> {
    let taken = match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) => check_file_writable(path, &found),
        Err(_) => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or_else(|| Path::new("."));
            fs::metadata(parent).and_then(|_| check_writable(parent))
        }
    };
    taken.map_err(|error| {
        Failure::new(ErrorKind::Usage, format!("cannot create the file '{}'", path.display()))
            .caused_by(&error)
            .hint("choose a file in an existing directory: -o FILE")
    })
}

/// Whether this user may write to a file that exists.
fn check_file_writable(path: &Path, found: &fs::Metadata) -> io::Result<()> {
    #[cfg(unix)]
    let (_, is_refused) = (found, rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_err());
    #[cfg(not(unix))]
    let (_, is_refused) = (path, found.permissions().readonly());
    if is_refused { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
}

/// Whether this user may create files in a directory.
fn check_writable(directory: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?;
    #[cfg(not(unix))]
    let _ = directory;
    Ok(())
}

/// Whether a path is not that of a regular file, but of a device, a FIFO, or `/dev/stdout`. It is written directly, and
/// has no old content: reading it may never end.
#[must_use]
pub fn is_device(path: &Path) -> bool {
    // `/dev/stdout` may lead to a regular file, which others have open.
    let is_special =
        |path: &Path| (path.starts_with("/dev") && !path.starts_with("/dev/shm")) || path.starts_with("/proc");
    is_special(path)
        || fs::canonicalize(path).is_ok_and(|place| is_special(&place))
        || fs::metadata(path).is_ok_and(|existing| !existing.is_file() && !existing.is_dir())
}

/// Writes the one file that the user named. An existing file is replaced as a whole: if the new content cannot be
/// written, the old content stays.
///
/// # Errors
/// When the file cannot be made or written.
pub fn write_file(path: &Path, data: &[FileData<'_>]) -> Result<()> {
    if is_device(path) {
        return write_directly(path, data);
    }
    // Through a symbolic link its target is replaced.
    let Ok(place) = fs::canonicalize(path).or_else(|error| match fs::symlink_metadata(path) {
        Ok(_) => Err(error),
        Err(_) => Ok(path.to_owned()),
    }) else {
        // The target of the link does not exist.
        return write_directly(path, data);
    };
    let existing = fs::metadata(&place).ok();
    let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only Unix has a mode to set"))]
    let mut builder = temporary_in(parent);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // A file may be writable in a directory that is not.
    let Ok(mut file) = builder.tempfile_in(parent) else { return write_directly(path, data) };
    if let Some(existing) = existing {
        // A file without write permission is refused, as with a shell's `>`.
        OpenOptions::new().write(true).open(&place).map_err(|error| create_failure(path, &error))?;
        // Before the content is in it.
        file.as_file().set_permissions(existing.permissions()).map_err(|error| create_failure(path, &error))?;
    }
    data.iter()
        .try_for_each(|part| part.write_pieces(|piece| file.as_file_mut().write_all(piece)))
        .map_err(|error| file_write_failure(path, &error))?;
    replace_file(file, &place).map_err(|error| create_failure(path, &error))
}

/// Call this before a file is opened for writing: a named pipe blocks until somebody reads it.
pub fn before_writing(path: &Path) {
    if fs::metadata(path).is_ok_and(|data| !data.is_file()) {
        interrupt::enter_blocking();
    }
}

fn write_directly(path: &Path, data: &[FileData<'_>]) -> Result<()> {
    before_writing(path);
    let mut file = fs::File::create(path).map_err(|error| create_failure(path, &error))?;
    data.iter()
        .try_for_each(|part| part.write_pieces(|piece| file.write_all(piece)))
        .map_err(|error| file_write_failure(path, &error))
}

fn create_failure(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ErrorKind::Output, format!("cannot create the file '{}'", path.display())).caused_by(error)
}

fn file_write_failure(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ErrorKind::Output, format!("cannot write the file '{}'", path.display())).caused_by(error)
}

/// The usual file name extension for a MIME type, without the dot.
fn extension_for(mime: &str) -> Option<&'static str> {
    mime2ext::mime2ext(mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Stem and extension; the extension begins with a dot, or is empty.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= 12 && dot + 1 < name.len() => name.split_at(dot),
        _ => (name, ""),
    }
}

/// The last segment of a URI's path, decoded.
fn last_segment(uri: &str) -> Option<String> {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let segment = path.rsplit(['/', ':']).find(|segment| !segment.is_empty())?;
    Some(percent_decode_str(segment).decode_utf8_lossy().into_owned())
}

/// A server's name as a file name: no directory, no hidden file, no characters that file systems or terminals treat
/// specially.
fn safe_name(name: &str) -> Option<String> {
    let clean: String =
        name.chars()
            .map(|c| {
                if is_harmful(c) || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|') { '_' } else { c }
            })
            .collect();
    // A leading blank or dash would confuse a command that gets the file name as an argument.
    let clean = clean.trim_start_matches(['.', ' ', '-', '~']).trim_end_matches(['.', ' ']);
    if clean.chars().all(|c| c == '_') {
        return None;
    }
    let (stem, ending) = split_extension(clean);
    let mut stem = stem;
    while stem.len() + ending.len() > MAX_NAME_LENGTH {
        stem = &stem[..stem.char_indices().next_back().map_or(0, |(at, _)| at)];
    }
    // On Windows a device name means the device in every directory and with every extension.
    let base = stem.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered = base.len() == 4
        && (base.starts_with("com") || base.starts_with("lpt"))
        && base.ends_with(|c: char| c.is_ascii_digit());
    let reserved = matches!(base.as_str(), "con" | "prn" | "aux" | "nul") || numbered;
    Some(format!("{}{stem}{ending}", if reserved { "_" } else { "" }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn decodes_sloppy_base64() {
        let bytes = [0xfb_u8, 0xff, 0x00, 0x01];
        for text in ["+/8AAQ==", "-_8AAQ", " +/8A\nAQ==\n", "data:image/png;base64,+/8AAQ==", "+/8AAQ="] {
            assert_eq!(decode_base64(text).as_deref(), Some(&bytes[..]), "{text}");
        }
        assert_eq!(decode_base64("").as_deref(), Some(&[][..]));
        // Longer than one piece, with the padding at the end only.
        let long = format!("{}\nQQ==", "QUJD".repeat(BASE64_PIECE));
        assert_eq!(decode_base64(&long).map(|bytes| bytes.len()), Some(3 * BASE64_PIECE + 1));
        assert_eq!(decoded_length(&long), Some(3 * BASE64_PIECE + 1));
        let padded = format!("{}QQ==QUJD", "QUJD".repeat(BASE64_PIECE / 4 - 1));
        assert_eq!(decode_base64(&padded), None);
        for text in ["not base64!", "A", "data:text/plain,x"] {
            assert_eq!(decode_base64(text), None, "{text}");
        }
    }

    #[test]
    fn names_hold_no_tricks() {
        for (name, safe) in [
            ("a.png", Some("a.png")),
            ("../../etc/passwd", Some("_.._etc_passwd")),
            ("..", None),
            ("/", None),
            ("", None),
            (".bashrc", Some("bashrc")),
            ("-rf", Some("rf")),
            ("a\0b\x1b\u{202e}.png", Some("a_b__.png")),
            ("C:\\x", Some("C__x")),
            ("con.txt", Some("_con.txt")),
            ("COM1", Some("_COM1")),
            ("name. .", Some("name")),
            ("größe.pdf", Some("größe.pdf")),
        ] {
            assert_eq!(safe_name(name).as_deref(), safe, "{name:?}");
        }
        let long = safe_name(&format!("{}.png", "é".repeat(300))).unwrap();
        assert!(long.len() <= MAX_NAME_LENGTH && long.ends_with("é.png"));
    }

    #[test]
    fn uris_give_their_last_segment() {
        for (uri, name) in [
            ("file:///tmp/a%20b.txt?x=/y", Some("a b.txt")),
            ("demo://logo/", Some("logo")),
            ("demo:logo", Some("logo")),
            ("x://h/%2e%2e%2fa", Some("../a")),
            ("x://h/100%", Some("100%")),
            ("x://", None),
        ] {
            assert_eq!(last_segment(uri).as_deref(), name, "{uri}");
        }
    }

    #[test]
    fn saves_without_overwriting() {
        let directory = tempfile::tempdir().unwrap();
        let mut saver = FileSaver::new(&directory.path().join("new/deep")).unwrap();
        let mut save = |naming| {
            let path = saver.save(naming, &FileData::Bytes(b"x".as_slice().into())).unwrap();
            path.file_name().unwrap().to_string_lossy().into_owned()
        };
        let image = FileNaming { kind: "image", mime: Some("image/PNG; a=b"), ..FileNaming::default() };
        assert_eq!(save(image), "image-1.png");
        assert_eq!(save(image), "image-2.png");
        assert_eq!(save(FileNaming { kind: "audio", mime: Some("x/unknown"), ..image }), "audio-1.bin");
        assert_eq!(save(FileNaming { name: Some("logo"), ..image }), "logo.png");
        assert_eq!(save(FileNaming { name: Some("logo"), ..image }), "logo-2.png");
        assert_eq!(save(FileNaming { uri: Some("demo://a/logo.svg"), ..image }), "logo.svg");
        assert_eq!(save(FileNaming { name: Some("v1.2.30000000000000"), ..image }), "v1.2.30000000000000.png");
        assert_eq!(
            save(FileNaming { kind: "image", mime: Some("image/jpeg"), ..FileNaming::default() }),
            "image-3.jpg"
        );
    }

    #[cfg(unix)]
    #[test]
    fn follows_no_link() {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        std::os::unix::fs::symlink(&victim, directory.path().join("a.png")).unwrap();
        let mut saver = FileSaver::new(directory.path()).unwrap();
        let path = saver
            .save(FileNaming { name: Some("a.png"), ..FileNaming::default() }, &FileData::Bytes(b"x".as_slice().into()))
            .unwrap();
        assert_eq!(path.file_name().unwrap(), "a-2.png");
        assert!(!victim.exists());
    }
}
