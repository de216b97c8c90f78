//! Parses the JSON text that servers really send.
//!
//! Two things are valid JSON (RFC 8259 §8.2 and §9) that a Rust value cannot hold: half of a surrogate pair in a
//! string, which JavaScript writes when it cuts a string inside an emoji, and nesting of any depth.

use std::borrow::Cow;

use memchr::memchr2;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::json_cursor::find_member;
pub use super::json_string::{JsonText, parse_string, replace_lone_surrogates};

/// The maximum nesting of a value. Values are handled by recursion, so deeper ones could overflow the stack.
pub const MAX_DEPTH: usize = 256;

/// Parses a text; `None` if it is not JSON or nested deeper than [`MAX_DEPTH`]. Half of a surrogate pair becomes
/// U+FFFD.
///
/// For values that are acted upon; for values that are only displayed, [`parse_truncated`] loses less.
#[must_use]
pub fn parse_value(text: &str) -> Option<Value> {
    parse_up_to(text, MAX_DEPTH)
}

/// As [`parse_value`], with another limit.
#[must_use]
pub fn parse_up_to(text: &str, max_depth: usize) -> Option<Value> {
    serde_json::from_str(text).ok().or_else(|| {
        let text = replace_lone_surrogates(text);
        if nesting_depth(&text) > max_depth { None } else { parse_unlimited(&text) }
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

/// Parses a text whose depth was checked.
fn parse_unlimited(text: &str) -> Option<Value> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    let value = Value::deserialize(&mut deserializer).ok()?;
    deserializer.end().ok().map(|()| value)
}

/// The members of a JSON object as raw text, in order; `None` if it is not an object.
#[must_use]
pub fn members(raw: &RawValue) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    object_members(raw.get())
}

/// As [`members`], for a text; `None` also if it is not JSON.
#[must_use]
pub fn object_members(text: &str) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    struct RawMembers<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);
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
                        members.push((JsonText::new(name.get()).map(JsonText::decode).unwrap_or_default(), value));
                    }
                    Ok(RawMembers(members))
                }
            }
            deserializer.deserialize_map(RawMembersVisitor)
        }
    }
    serde_json::from_str::<RawMembers>(text).ok().map(|members| members.0)
}

/// One member of a JSON object as raw text. Only the member that is found is parsed.
#[must_use]
pub fn member<'a>(raw: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    find_member(raw.get(), name).and_then(|text| serde_json::from_str(text).ok())
}

/// The JSON text on one line; it is copied only if it has several. Line ends become blanks: in a string there are none
/// (RFC 8259 §7).
#[must_use]
pub fn join_lines<'a>(text: impl Into<Cow<'a, str>>) -> Cow<'a, str> {
    let text = text.into();
    match memchr2(b'\n', b'\r', text.as_bytes()) {
        Some(_) => text.replace(['\n', '\r'], " ").into(),
        None => text,
    }
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

    use super::super::json_string::decode_in_place;
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
            let mut content = text.trim_matches('"').to_owned().into_bytes();
            let length = decode_in_place(&mut content).unwrap();
            assert_eq!(&content[..length], string.as_bytes(), "{text}");
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
    fn only_a_text_of_several_lines_is_copied() {
        assert_eq!(join_lines("{\r\n \"a\":\n\"\\n\"}\r"), "{   \"a\": \"\\n\"} ");
        assert!(matches!(join_lines("[1, 2]"), Cow::Borrowed("[1, 2]")));
        let text = "[1, 2]".to_owned();
        let address = text.as_ptr();
        assert_eq!(join_lines(text).as_ptr(), address);
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
