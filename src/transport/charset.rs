//! The character encodings that servers declare. JSON must be UTF-8 (RFC 8259 §8.1), but some servers send their
//! system's encoding.

use std::borrow::Cow;

/// The warning for text that is neither UTF-8 nor in a declared encoding.
pub(super) const NOT_UTF8_WARNING: &str =
    "the server's output is not UTF-8; characters that cannot be read are shown as U+FFFD";

/// How bytes are decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Charset {
    /// UTF-8, or an encoding that is not known.
    #[default]
    Utf8,
    /// windows-1252, also for ISO-8859-1 and ASCII, as browsers do (WHATWG Encoding §4.2).
    Windows1252,
    Utf16Le,
    Utf16Be,
}

/// What windows-1252 has at 0x80 to 0x9F (WHATWG Encoding, index windows-1252).
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

impl Charset {
    /// The encoding that a `Content-Type` declares.
    pub(super) fn from_content_type(value: &str) -> Self {
        let mut parameters = value.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
        let charset = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
        let label = charset.map(|(_, label)| label.trim().trim_matches('"').to_ascii_lowercase()).unwrap_or_default();
        match label.as_str() {
            "iso-8859-1" | "iso8859-1" | "iso_8859-1" | "latin1" | "latin-1" | "l1" | "us-ascii" | "ascii"
            | "windows-1252" | "cp1252" => Charset::Windows1252,
            "utf-16" | "utf-16le" => Charset::Utf16Le,
            "utf-16be" => Charset::Utf16Be,
            _ => Charset::Utf8,
        }
    }

    /// As [`Charset::decode`]. UTF-8 is not copied.
    pub(super) fn decode_owned(self, bytes: Vec<u8>) -> (String, bool) {
        let bytes = match self {
            Charset::Utf8 | Charset::Windows1252 => match String::from_utf8(bytes) {
                Ok(text) => return (text, false),
                Err(error) => error.into_bytes(),
            },
            Charset::Utf16Le | Charset::Utf16Be => bytes,
        };
        let (text, is_lossy) = self.decode(&bytes);
        (text.into_owned(), is_lossy)
    }

    /// The text, and whether bytes had to be replaced.
    ///
    /// A byte-order mark wins over the declaration. So does valid UTF-8 over a single-byte encoding: Java servers
    /// declare ISO-8859-1 by default, and text in it that is also valid UTF-8 beyond ASCII does not occur in practice.
    pub(super) fn decode(self, bytes: &[u8]) -> (Cow<'_, str>, bool) {
        let charset = match bytes {
            [0xff, 0xfe, ..] => Charset::Utf16Le,
            [0xfe, 0xff, ..] => Charset::Utf16Be,
            _ => self,
        };
        match (charset, std::str::from_utf8(bytes)) {
            (Charset::Utf8 | Charset::Windows1252, Ok(text)) => (text.into(), false),
            (Charset::Utf8, Err(_)) => (String::from_utf8_lossy(bytes), true),
            (Charset::Windows1252, Err(_)) => (bytes.iter().copied().map(windows_1252_char).collect(), false),
            (Charset::Utf16Le, _) => decode_utf16(bytes, u16::from_le_bytes),
            (Charset::Utf16Be, _) => decode_utf16(bytes, u16::from_be_bytes),
        }
    }
}

fn windows_1252_char(byte: u8) -> char {
    byte.checked_sub(0x80).and_then(|index| WINDOWS_1252.get(usize::from(index)).copied()).unwrap_or(char::from(byte))
}

fn decode_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> (Cow<'static, str>, bool) {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    let mut is_lossy = bytes.len() % 2 == 1;
    let text: String = char::decode_utf16(units)
        .map(|unit| {
            unit.unwrap_or_else(|_| {
                is_lossy = true;
                char::REPLACEMENT_CHARACTER
            })
        })
        .collect();
    (text.into(), is_lossy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(content_type: &str, bytes: &[u8]) -> (String, bool) {
        let (text, is_lossy) = Charset::from_content_type(content_type).decode(bytes);
        (text.into_owned(), is_lossy)
    }

    #[test]
    fn declared_encodings_are_decoded() {
        for (content_type, bytes, expected) in [
            ("application/json", "ä€".as_bytes(), "ä€"),
            ("application/json; charset=ISO-8859-1", b"caf\xe9", "café"),
            ("application/json;charset=\"windows-1252\"", b"\x80\x93\xff", "€“ÿ"),
            ("text/plain; q=1; Charset = latin1", b"\xa3", "£"),
            ("application/json; charset=utf-16le", b"{\0\xe4\0", "{ä"),
            ("application/json; charset=utf-16", b"\xfe\xff\0{\0\xe4", "\u{feff}{ä"),
            ("application/json", b"\xff\xfe{\0", "\u{feff}{"),
            // Declared by default, but not used.
            ("text/event-stream;charset=ISO-8859-1", "ä€".as_bytes(), "ä€"),
        ] {
            assert_eq!(decode(content_type, bytes), (expected.to_owned(), false), "{content_type}");
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_replaced() {
        assert_eq!(decode("application/json; charset=utf-8", b"caf\xe9!"), ("caf\u{fffd}!".to_owned(), true));
        assert_eq!(decode("application/json; charset=klingon", b"\xe9"), ("\u{fffd}".to_owned(), true));
        assert_eq!(decode("x; charset=utf-16be", b"\xd8\0\0a"), ("\u{fffd}a".to_owned(), true));
    }
}
