//! Parses the JSON text that servers really send.
//!
//! Two things are valid JSON (RFC 8259 §8.2 and §9) that a Rust value cannot hold: half of a surrogate pair in a string,
//! which JavaScript writes when it cuts a string inside an emoji, and nesting of any depth.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The maximum nesting of a value. Values are handled by recursion, so deeper ones could overflow the stack.
pub const MAX_DEPTH: usize = 256;

/// Parses a text; `None` if it is not JSON or nested deeper than [`MAX_DEPTH`]. Half of a surrogate pair becomes
/// U+FFFD.
///
/// For values that are acted upon; for values that are only displayed, [`parse_truncated`] loses less.
#[must_use]
pub fn parse_value(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().or_else(|| {
        let text = replace_lone_surrogates(text);
        if nesting_depth(&text) > MAX_DEPTH { None } else { parse_unlimited(&text) }
    })
}

/// Parses a text; objects and lists below [`MAX_DEPTH`] are replaced by empty ones, and the flag reports whether there
/// were any. `None` if it is not JSON.
#[must_use]
pub fn parse_truncated(text: &str) -> Option<(Value, bool)> {
    if let Ok(value) = serde_json::from_str(text) {
        return Some((value, false));
    }
    let text = replace_lone_surrogates(text);
    let is_too_deep = nesting_depth(&text) > MAX_DEPTH;
    let text = if is_too_deep { Cow::Owned(truncate_depth(&text)?) } else { text };
    Some((parse_unlimited(&text)?, is_too_deep))
}

/// Parses a text that is not nested deeper than [`MAX_DEPTH`].
fn parse_unlimited(text: &str) -> Option<Value> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    let value = Value::deserialize(&mut deserializer).ok()?;
    deserializer.end().ok().map(|()| value)
}

/// The string that a JSON string token stands for; `None` if it is not one.
#[must_use]
pub fn parse_string(token: &str) -> Option<String> {
    serde_json::from_str(token).ok().or_else(|| serde_json::from_str(&replace_lone_surrogates(token)).ok())
}

/// The text of a JSON string, decoded when it is needed: a long one piece by piece, so that it is not held twice.
#[derive(Clone, Copy, Debug)]
pub struct JsonText<'a>(&'a str);

impl<'a> JsonText<'a> {
    /// The longest piece, in bytes of JSON.
    const MAX_PIECE: usize = 64 * 1024;

    /// The text of a string; `None` for other values.
    #[must_use]
    pub fn new(raw: &'a RawValue) -> Option<Self> {
        raw.get().strip_prefix('"')?.strip_suffix('"').map(JsonText)
    }

    /// How long it is at most, in bytes.
    #[must_use]
    pub fn max_len(self) -> usize {
        self.0.len()
    }

    /// The whole text. Without escapes it is not copied.
    #[must_use]
    pub fn decode(self) -> Cow<'a, str> {
        decode_string_content(self.0)
    }

    /// The text in pieces of limited size.
    pub fn pieces(self) -> impl Iterator<Item = Cow<'a, str>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (piece, more) = rest.split_at(piece_length(rest, Self::MAX_PIECE));
            rest = more;
            (!piece.is_empty()).then(|| decode_string_content(piece))
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

/// What stands for the content of a JSON string, without its quotes.
fn decode_string_content(content: &str) -> Cow<'_, str> {
    if content.contains('\\') {
        parse_string(&format!("\"{content}\"")).unwrap_or_default().into()
    } else {
        content.into()
    }
}

/// How much of the content of a JSON string is in a piece. Neither a character nor an escape is divided.
fn piece_length(content: &str, limit: usize) -> usize {
    if content.len() <= limit {
        return content.len();
    }
    let bytes = content.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes[at..limit].iter().position(|byte| *byte == b'\\') {
        at += found;
        let length = match (escaped_unit(bytes, at), escaped_unit(bytes, at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(_), _) => 6,
            (None, _) => 2,
        };
        if at + length > limit {
            return at;
        }
        at += length;
    }
    content.floor_char_boundary(limit)
}

/// The UTF-16 unit of an escape `\uXXXX` at this index.
fn escaped_unit(bytes: &[u8], at: usize) -> Option<u16> {
    match bytes.get(at..at + 6) {
        Some([b'\\', b'u', digits @ ..]) => u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok(),
        _ => None,
    }
}

/// The members of a JSON object as raw text, in order; `None` if it is not an object.
#[must_use]
pub fn members(raw: &RawValue) -> Option<Vec<(String, &RawValue)>> {
    struct RawMembers<'a>(Vec<(String, &'a RawValue)>);
    impl<'de> Deserialize<'de> for RawMembers<'de> {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct RawMembersVisitor;
            impl<'de> serde::de::Visitor<'de> for RawMembersVisitor {
                type Value = RawMembers<'de>;
                fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                    let mut members = Vec::new();
                    while let Some((name, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
                        members.push((parse_string(name.get()).unwrap_or_default(), value));
                    }
                    Ok(RawMembers(members))
                }
            }
            deserializer.deserialize_map(RawMembersVisitor)
        }
    }
    serde_json::from_str::<RawMembers>(raw.get()).ok().map(|members| members.0)
}

/// The type of a JSON value with its article: `a string`, `an object`, `null`.
#[must_use]
pub fn type_name(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// One member of a JSON object as raw text. Only the member that is found is parsed.
#[must_use]
pub fn member<'a>(raw: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    let text = raw.get();
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'{') {
        return None;
    }
    let mut at = skip_space(bytes, 1);
    while bytes.get(at) == Some(&b'"') {
        let key_end = string_end(text, at);
        let key = &text[at..key_end];
        // After the key come a colon and the value, after that a comma or the end.
        let value_start = skip_space(bytes, skip_space(bytes, key_end) + 1);
        let end = value_end(text, value_start);
        let is_found = if key.contains('\\') {
            parse_string(key).unwrap_or_default() == name
        } else {
            key.len() == name.len() + 2 && &key[1..key.len() - 1] == name
        };
        if is_found {
            return serde_json::from_str(text.get(value_start..end)?).ok();
        }
        at = skip_space(bytes, skip_space(bytes, end) + 1);
    }
    None
}

/// The index of the next byte that is not white space.
fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Where the value that begins at this index ends, in valid JSON.
fn value_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    match bytes.get(start) {
        Some(b'"') => string_end(text, start),
        Some(b'{' | b'[') => {
            let (mut depth, mut at) = (0_usize, start);
            while let Some(byte) = bytes.get(at) {
                match byte {
                    b'"' => {
                        at = string_end(text, at);
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' if depth == 1 => return at + 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
            }
            at
        }
        _ => {
            let rest = bytes.get(start..).unwrap_or_default();
            let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
            start + rest.iter().position(ends).unwrap_or(rest.len())
        }
    }
}

/// Where the string token that begins at this index ends.
fn string_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('"')) {
        let quote = at + found;
        // A quote after an odd number of backslashes is part of the string.
        let backslashes = bytes[..quote].iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes % 2 == 0 {
            return quote + 1;
        }
        at = quote + 1;
    }
    bytes.len()
}

/// The JSON text with U+FFFD for each half of a surrogate pair.
#[must_use]
pub fn replace_lone_surrogates(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let unit = |at: usize| escaped_unit(bytes, at);
    let mut new = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
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

/// How deep objects and lists are nested in a JSON text.
#[must_use]
pub fn nesting_depth(text: &str) -> usize {
    let mut most = 0;
    for_each_bracket(text, |depth, _, _| most = most.max(depth));
    most
}

/// The JSON text with empty objects and lists below [`MAX_DEPTH`]; `None` if it ends inside one of them.
fn truncate_depth(text: &str) -> Option<String> {
    let mut new = String::new();
    let (mut copied, mut is_left_out) = (0, false);
    for_each_bracket(text, |depth, at, opens| {
        if depth == MAX_DEPTH + 1 {
            if opens {
                new.push_str(&text[copied..=at]);
            }
            (copied, is_left_out) = (at, opens);
        }
    });
    new.push_str(&text[copied..]);
    (!is_left_out).then_some(new)
}

/// Calls `visit` for each bracket outside strings: the depth of what it encloses, its index, and whether it opens.
fn for_each_bracket(text: &str, mut visit: impl FnMut(usize, usize, bool)) {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                visit(depth, at, true);
            }
            b'}' | b']' => {
                visit(depth, at, false);
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", r#"{"a":["#.repeat(levels / 2), "]}".repeat(levels / 2))
    }

    #[test]
    fn half_a_surrogate_pair_becomes_the_replacement_character() {
        for (text, string) in [
            (r#""a\ud83d""#, "a\u{fffd}"),
            (r#""\uDE00b""#, "\u{fffd}b"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\ud83d\n\\ud83d""#, "\u{fffd}\n\\ud83d"),
            (r#""\\\ud83d""#, "\\\u{fffd}"),
            (r#""é\ud83d\u0041""#, "é\u{fffd}A"),
        ] {
            assert_eq!(parse_string(text).as_deref(), Some(string), "{text}");
            assert_eq!(parse_value(text), Some(json!(string)), "{text}");
        }
        assert_eq!(parse_value(r#"{"k\ud83d":1}"#).unwrap().to_string(), "{\"k\u{fffd}\":1}");
        for text in [r#""\ud8""#, r#""\ud83"#, r#""\u""#, "\"\\", "7 8", "", "\\ud83d"] {
            assert_eq!(parse_string(text), None, "{text}");
            assert_eq!(parse_value(text), None, "{text}");
            assert_eq!(parse_truncated(text), None, "{text}");
        }
        assert!(matches!(replace_lone_surrogates(r#""\ud83d\ude00""#), Cow::Borrowed(_)));
    }

    #[test]
    fn a_long_string_is_decoded_in_pieces() {
        let units = ["\\ud83d\\ude00", "\\ud83d", "a", "é", "\\n", "\\\\", "\\u0041", "😀", "\\\""];
        for shift in 0..13 {
            let content = format!("{}{}", "x".repeat(JsonText::MAX_PIECE - shift), units.concat().repeat(10_000));
            let raw = RawValue::from_string(format!("\"{content}\"")).unwrap();
            let text = JsonText::new(&raw).unwrap();
            let pieces: Vec<Cow<str>> = text.pieces().collect();
            assert!(pieces.len() > 5 && pieces.iter().all(|piece| piece.len() <= JsonText::MAX_PIECE));
            assert!(pieces.concat() == parse_string(raw.get()).unwrap(), "{shift}");
            assert!(text.decode() == pieces.concat());
        }
        assert!(JsonText::new(RawValue::NULL).is_none());
    }

    #[test]
    fn a_member_is_found_like_among_all_members() {
        let long = format!(r#"{{"a":"{}","b":2}}"#, "x\\\"".repeat(1000));
        for text in [
            r#"{"a":1,"b":{"a":2,"c":[{"a":"}"},"]\"{"]},"a":3}"#,
            " {\r\n\t\"a\" : \"x\\\\\" , \"\" :\tnull ,\"b\":[ ] }\n",
            r#"{"\u0061":true,"b":false,"k\ud83d":-1.5e3,"é":"é"}"#,
            r#"{"b":[[],{}],"c":"\\"}"#,
            "{ }",
            "{}",
            "[1]",
            r#""a""#,
            "null",
            &long,
        ] {
            let raw = RawValue::from_string(text.to_owned()).unwrap();
            let all = members(&raw).unwrap_or_default();
            for name in ["a", "b", "c", "", "k\u{fffd}", "é", "x"] {
                let expected = all.iter().find(|(key, _)| key == name).map(|(_, value)| value.get());
                assert_eq!(member(&raw, name).map(RawValue::get), expected, "{name} in {text}");
            }
        }
    }

    #[test]
    fn sec_07_nesting_is_bounded() {
        assert_eq!(parse_value(&nested(MAX_DEPTH)).unwrap().to_string(), nested(MAX_DEPTH));
        assert_eq!(parse_truncated(&nested(MAX_DEPTH)).map(|(_, is_truncated)| is_truncated), Some(false));
        for levels in [MAX_DEPTH + 2, 1_000_000] {
            assert_eq!(parse_value(&nested(levels)), None);
            let (value, is_truncated) = parse_truncated(&nested(levels)).unwrap();
            assert!(is_truncated);
            assert_eq!(value.to_string(), nested(MAX_DEPTH).replacen("[]", "[{}]", 1));
        }
        // Brackets in strings do not count.
        let text = format!(r#"{{"s":"{}\"{}","d":{},"e":[1,{{}}]}}"#, "[".repeat(300), "{", nested(300));
        let (value, is_truncated) = parse_truncated(&text).unwrap();
        assert!(is_truncated && value["e"] == json!([1, {}]) && value["s"].as_str().unwrap().len() == 302);
        assert_eq!(parse_truncated(&"[".repeat(1000)), None);
        assert_eq!(parse_truncated(&format!("{}1", nested(300))), None);
    }
}
