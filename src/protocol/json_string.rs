//! Strings in JSON: decoded as a whole or in pieces. Half of a surrogate pair becomes U+FFFD.

use std::borrow::Cow;

use memchr::memchr;

/// The string that a JSON string token stands for; `None` if it is not one.
#[must_use]
pub fn parse_string(token: &str) -> Option<String> {
    serde_json::from_str(token).ok().or_else(|| serde_json::from_str(&replace_lone_surrogates(token)).ok())
}

/// A value as JSON. `Value::to_string` would let its buffer grow in many small steps.
#[must_use]
pub fn encode_value(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A text as a JSON string.
#[must_use]
pub fn encode_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    push_quoted(&mut json, text);
    json
}

/// Appends a text as a JSON string.
pub fn push_quoted(json: &mut String, text: &str) {
    let is_plain = text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
    if is_plain {
        json.push('"');
        json.push_str(text);
        json.push('"');
    } else {
        json.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// The text of a JSON string, decoded when it is needed: a long one piece by piece, so that it is not held twice.
#[derive(Clone, Copy, Debug)]
pub struct JsonText<'a>(&'a str);

impl<'a> JsonText<'a> {
    /// The longest piece, in bytes of JSON.
    const MAX_PIECE: usize = 64 << 10;

    /// The text of a string, given as JSON; `None` for other values.
    #[must_use]
    pub fn new(json: &'a str) -> Option<Self> {
        json.strip_prefix('"')?.strip_suffix('"').map(JsonText)
    }

    /// The JSON between its quotes.
    #[must_use]
    pub fn encoded(self) -> &'a str {
        self.0
    }

    /// How long it is at most, in bytes.
    #[must_use]
    pub fn max_len(self) -> usize {
        self.0.len()
    }

    /// The whole text. Without escapes it is not copied.
    #[must_use]
    pub fn decode(self) -> Cow<'a, str> {
        decode_piece(self.0, usize::MAX).0
    }

    /// The text in pieces of limited size.
    pub fn pieces(self) -> impl Iterator<Item = Cow<'a, str>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (piece, more) = decode_piece(rest, Self::MAX_PIECE);
            rest = more;
            Some(piece)
        })
    }

    /// Whether it contains nothing but white space.
    #[must_use]
    pub fn is_blank(self) -> bool {
        self.pieces().all(|piece| piece.trim().is_empty())
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// The text of the content of a JSON string (without its quotes), up to this many bytes, and the content after that.
fn decode_piece(content: &str, limit: usize) -> (Cow<'_, str>, &str) {
    let mut text = String::new();
    let mut rest = content;
    // A character takes four bytes at most.
    while !rest.is_empty() && limit - text.len() >= 4 {
        let (run, more) = rest.split_at(rest.floor_char_boundary(limit - text.len()));
        match memchr(b'\\', run.as_bytes()) {
            None if text.is_empty() => return (run.into(), more),
            None => {
                text.push_str(run);
                rest = more;
            }
            Some(end) => {
                if text.is_empty() {
                    text.reserve(content.len().min(limit));
                }
                text.push_str(&rest[..end]);
                let (character, length) = decode_escape(rest.as_bytes(), end);
                // A run that ends just before the limit leaves less room.
                if limit - text.len() < 4 {
                    rest = &rest[end..];
                    break;
                }
                text.push(character);
                rest = &rest[end + length..];
            }
        }
    }
    (text.into(), rest)
}

/// Decodes the content of a JSON string where it is, and returns its new length: no escape is shorter than the
/// character that it stands for. `None` if it is not the content of a JSON string.
#[must_use]
pub fn decode_in_place(content: &mut [u8]) -> Option<usize> {
    let (mut from, mut to) = (0, 0);
    while let Some(plain) = memchr(b'\\', &content[from..]) {
        content.copy_within(from..from + plain, to);
        (from, to) = (from + plain, to + plain);
        let (character, length) = decode_escape(content, from);
        if character.len_utf8() > length {
            return None;
        }
        to += character.encode_utf8(content.get_mut(to..from + length)?).len();
        from += length;
    }
    content.copy_within(from.., to);
    Some(to + content.len() - from)
}

/// The character that the escape at this index stands for, and the length of the escape.
fn decode_escape(bytes: &[u8], at: usize) -> (char, usize) {
    let character = match bytes.get(at + 1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(byte @ (b'"' | b'\\' | b'/')) => char::from(*byte),
        Some(b'u') => {
            return match (escaped_unit(bytes, at), escaped_unit(bytes, at + 6)) {
                (Some(high @ 0xD800..=0xDBFF), Some(low @ 0xDC00..=0xDFFF)) => {
                    (char::decode_utf16([high, low]).next().and_then(Result::ok).unwrap_or('\u{fffd}'), 12)
                }
                (Some(unit), _) => (char::from_u32(u32::from(unit)).unwrap_or('\u{fffd}'), 6),
                (None, _) => ('\u{fffd}', 2),
            };
        }
        // Not in valid JSON.
        _ => return ('\u{fffd}', 1),
    };
    (character, 2)
}

/// The UTF-16 unit of the `\u` escape at this index.
fn escaped_unit(bytes: &[u8], at: usize) -> Option<u16> {
    match bytes.get(at..at + 6) {
        Some([b'\\', b'u', digits @ ..]) => u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok(),
        _ => None,
    }
}

/// The JSON text with U+FFFD for each half of a surrogate pair.
#[must_use]
pub fn replace_lone_surrogates(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let unit = |at: usize| escaped_unit(bytes, at);
    let mut new = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr(b'\\', rest)) {
        at += found;
        match unit(at) {
            Some(0xD800..=0xDBFF) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
            Some(0xD800..=0xDFFF) => {
                new.push_str(&text[copied..at]);
                new.push_str("\\ufffd");
                at += 6;
                copied = at;
            }
            // Any other escape: what follows the backslash does not begin one.
            _ => at += 2,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    new.push_str(&text[copied..]);
    Cow::Owned(new)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_text_is_quoted_like_any_value() {
        for text in ["", "name", "é 😀", "a\"b", "a\\b", "a\nb", "\u{0}", "\u{7f}\u{2028}"] {
            let mut json = "[".to_owned();
            push_quoted(&mut json, text);
            assert_eq!(json, format!("[{}", serde_json::Value::from(text)));
        }
    }

    #[test]
    fn every_escape_is_decoded() {
        let all = r#"\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00\ud83d\ud83dx\ude00\ud83d\u0041"#;
        let json = format!("\"{all}\"");
        let decoded = JsonText::new(&json).unwrap().decode();
        assert_eq!(decoded, "\"\\/\u{8}\u{c}\n\r\tAé😀\u{fffd}\u{fffd}x\u{fffd}\u{fffd}A");
        assert_eq!(Some(decoded.into_owned()), parse_string(&json));
        // Text that is not JSON is not decoded, but it does no harm.
        for text in ["\"\\\"", "\"\\é\"", "\"\\u12\"", "\"\\uD83D\\\""] {
            let _ = JsonText::new(text).map(JsonText::decode);
        }
    }

    #[test]
    fn a_long_string_is_decoded_in_pieces() {
        let units = ["\\ud83d\\ude00", "\\ud83d", "a", "é", "\\n", "\\\\", "\\u0041", "😀", "\\\""];
        for shift in 0..13 {
            let content = format!("{}{}", "x".repeat(JsonText::MAX_PIECE - shift), units.concat().repeat(10_000));
            let json = format!("\"{content}\"");
            let text = JsonText::new(&json).unwrap();
            let pieces: Vec<Cow<str>> = text.pieces().collect();
            assert!(pieces.len() > 3 && pieces.iter().all(|piece| piece.len() <= JsonText::MAX_PIECE));
            assert!(pieces.concat() == parse_string(&json).unwrap(), "{shift}");
            assert!(text.decode() == pieces.concat());
        }
        assert!(JsonText::new("null").is_none());
    }
}
