//! Reads whole files and lines with a limit: a device such as `/dev/zero` never ends, and a wrong file may be huge.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::Path;
use std::sync::OnceLock;

use super::size::format_size;

/// The most bytes of a file that people write or that mcpipe keeps: a configuration, a suite, headers, certificates.
pub const MAX_FILE: u64 = 64 << 20;

static ON_SPECIAL_FILE: OnceLock<fn()> = OnceLock::new();

/// Sets what is called before something is read that is no regular file: a named pipe may block. Only the first call
/// counts.
pub fn on_special_file(action: fn()) {
    let _ = ON_SPECIAL_FILE.set(action);
}

/// All of a file. `-` is refused: where it means standard input, the caller does not get here.
///
/// # Errors
/// When it cannot be read, or has more than `limit` bytes.
pub fn read(path: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    if path == Path::new("-") {
        let why = "standard input cannot be used here; to read a file of that name: ./-";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    if let Some(action) = ON_SPECIAL_FILE.get().filter(|_| std::fs::metadata(path).is_ok_and(|data| !data.is_file())) {
        action();
    }
    let file = File::open(path)?;
    let length = file.metadata()?.len().min(limit);
    read_all(file, limit, usize::try_from(length).unwrap_or_default())
}

/// All of a stream, which probably has `expected` bytes.
///
/// # Errors
/// When it cannot be read, or has more than `limit` bytes.
pub fn read_all(stream: impl Read, limit: u64, expected: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(expected);
    stream.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_long("it", limit));
    }
    Ok(bytes)
}

/// All of a file, as text.
///
/// # Errors
/// As [`read`], and if it is not UTF-8.
pub fn read_to_string(path: impl AsRef<Path>, limit: u64) -> io::Result<String> {
    read(path, limit).and_then(into_text)
}

/// The bytes as text.
///
/// # Errors
/// The error of the standard library for a file that is not UTF-8.
pub fn into_text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8"))
}

/// Appends the next line, including its line end, and returns its length; 0 at the end. `number` counts the lines from
/// 1.
///
/// # Errors
/// When it cannot be read, or has more than `limit` bytes.
pub fn read_line(reader: &mut impl BufRead, limit: u64, number: &mut usize, lines: &mut Vec<u8>) -> io::Result<usize> {
    *number += 1;
    let length = reader.take(limit + 1).read_until(b'\n', lines)?;
    if length as u64 > limit {
        return Err(too_long(&format!("line {number}"), limit));
    }
    Ok(length)
}

fn too_long(what: &str, limit: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("{what} is longer than {}", format_size(limit)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_longer_than_the_limit_is_not_read() {
        assert_eq!(read_all(&b"abcd"[..], 4, 0).unwrap(), b"abcd");
        assert_eq!(read_all(io::repeat(0), 4, 0).unwrap_err().to_string(), "it is longer than 4 bytes");
        let (mut reader, mut number) = (io::BufReader::new(b"abc\nab".chain(io::repeat(0))), 0);
        let mut lines = Vec::new();
        assert_eq!(read_line(&mut reader, 4, &mut number, &mut lines).unwrap(), 4);
        assert_eq!(lines, b"abc\n");
        let error = read_line(&mut reader, 4, &mut number, &mut lines).unwrap_err();
        assert_eq!(error.to_string(), "line 2 is longer than 4 bytes");
    }
}
