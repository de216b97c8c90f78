//! JSON for people, token by token: the text of every number, string and key stays as the server wrote it.
//!
//! Nothing is parsed into values, so big numbers, escapes, key order and duplicate keys survive.

use std::fmt::Write;

use super::escape::is_harmful;
use super::style::Style;

/// Deeper levels are not indented further: otherwise the output would grow with the square of the depth of a hostile
/// response.
const MAX_INDENT: usize = 64;

/// A piece of JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonToken<'a> {
    /// One of `{ } [ ] : ,`.
    Punctuation(char),
    /// A string with its quotes, unchanged.
    String(&'a str),
    /// A number, `true`, `false` or `null`.
    Scalar(&'a str),
}

/// The tokens of a JSON text and the position of each, in bytes.
///
/// Never fails: in a text that is not JSON, whatever is between marks and white space is a scalar.
pub struct JsonTokens<'a> {
    text: &'a str,
    at: usize,
}

/// Splits a JSON text.
#[must_use]
pub fn tokens(text: &str) -> JsonTokens<'_> {
    JsonTokens { text, at: 0 }
}

impl<'a> Iterator for JsonTokens<'a> {
    type Item = (usize, JsonToken<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        let start = self.at;
        let first = *bytes.get(start)?;
        let token = match first {
            b'{' | b'}' | b'[' | b']' | b':' | b',' => {
                self.at += 1;
                JsonToken::Punctuation(char::from(first))
            }
            b'"' => {
                self.at = end_of_string(bytes, start);
                JsonToken::String(&self.text[start..self.at])
            }
            _ => {
                let more = |b: &u8| {
                    !matches!(b, b'{' | b'}' | b'[' | b']' | b':' | b',' | b'"' | b' ' | b'\t' | b'\n' | b'\r')
                };
                self.at = bytes[start..].iter().position(|b| !more(b)).map_or(bytes.len(), |length| start + length);
                JsonToken::Scalar(&self.text[start..self.at])
            }
        };
        Some((start, token))
    }
}

fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// How JSON is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonStyle {
    /// With ANSI colors.
    pub color: bool,
    /// Whether characters that a terminal would act on are written as `\u` escapes, which mean the same in JSON.
    pub escape_unsafe: bool,
}

/// The JSON text, indented by two blanks, without a final line feed.
#[must_use]
pub fn pretty(text: &str, look: JsonStyle) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut after_open = false;
    let mut all = tokens(text).map(|(_, token)| token).peekable();
    while let Some(token) = all.next() {
        let closes = matches!(token, JsonToken::Punctuation('}' | ']'));
        if after_open && !closes {
            new_line(&mut out, depth);
        }
        after_open = false;
        match token {
            JsonToken::Punctuation(mark @ ('{' | '[')) => {
                out.push(mark);
                depth += 1;
                after_open = true;
            }
            JsonToken::Punctuation(mark @ ('}' | ']')) => {
                depth = depth.saturating_sub(1);
                if !out.ends_with(['{', '[']) {
                    new_line(&mut out, depth);
                }
                out.push(mark);
            }
            JsonToken::Punctuation(',') => {
                out.push(',');
                new_line(&mut out, depth);
            }
            JsonToken::Punctuation(_) => out.push_str(": "),
            JsonToken::String(text) => {
                let key = all.peek() == Some(&JsonToken::Punctuation(':'));
                let style = if key { Style::BOLD_BLUE } else { Style::GREEN };
                let text = if look.escape_unsafe { escape_unsafe(text) } else { text.to_owned() };
                out.push_str(&style.paint(&text, look.color));
            }
            JsonToken::Scalar(text) => {
                let style = if text == "null" { Style::DIM } else { Style::CYAN };
                out.push_str(&style.paint(text, look.color));
            }
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth.min(MAX_INDENT)));
}

/// JSON text with `\u` escapes for the characters that a terminal would act on.
#[must_use]
pub fn escape_unsafe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) && !matches!(c, '\n' | '\t' | '\r') {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: JsonStyle = JsonStyle { color: false, escape_unsafe: false };

    #[test]
    fn pretty_keeps_every_token() {
        let text = r#"{"b":1E2,"a":12345678901234567890123,"a":"\u00e9\/","e":{},"f":[ ],"g":[1,[null,true]]}"#;
        let expected = r#"{
  "b": 1E2,
  "a": 12345678901234567890123,
  "a": "\u00e9\/",
  "e": {},
  "f": [],
  "g": [
    1,
    [
      null,
      true
    ]
  ]
}"#;
        assert_eq!(pretty(text, PLAIN), expected);
        assert_eq!(pretty(expected, PLAIN), expected);
    }

    #[test]
    fn strings_that_look_like_structure_stay_whole() {
        assert_eq!(pretty(r#"["{","a\\\"]","["]"#, PLAIN), "[\n  \"{\",\n  \"a\\\\\\\"]\",\n  \"[\"\n]");
        assert_eq!(pretty(r#""{""#, PLAIN), r#""{""#);
        assert_eq!(pretty(" 7 ", PLAIN), "7");
    }

    #[test]
    fn colors_tell_keys_strings_and_the_rest_apart() {
        let look = JsonStyle { color: true, escape_unsafe: true };
        assert_eq!(
            pretty(r#"{"a":"b","c":[1,null]}"#, look),
            "{\n  \x1b[1;34m\"a\"\x1b[0m: \x1b[32m\"b\"\x1b[0m,\n  \x1b[1;34m\"c\"\x1b[0m: [\n    \x1b[36m1\x1b[0m,\n    \x1b[2mnull\x1b[0m\n  ]\n}"
        );
    }

    #[test]
    fn sec_05_harmful_characters_become_escapes_of_json() {
        let look = JsonStyle { color: false, escape_unsafe: true };
        assert_eq!(pretty("\"\u{202e}\u{9b}\u{7f}\u{e0041}é\"", look), r#""\u202e\u009b\u007f\udb40\udc41é""#);
        let back = crate::protocol::json::parse_string(&escape_unsafe("\"\u{e0041}\u{feff}\""));
        assert_eq!(back.as_deref(), Some("\u{e0041}\u{feff}"));
    }

    #[test]
    fn survives_what_is_no_json() {
        for text in ["", "\"", "\"\\", "]]}", "{\"a", "é\"é", "\\", "a:b,c"] {
            let _ = pretty(text, PLAIN);
            assert!(tokens(text).count() <= text.len(), "{text}");
        }
    }

    #[test]
    fn pretty_changes_nothing_but_white_space() {
        for text in [
            r#"{"":[{},[],[[]],{"a":{}}],"\"":"\\","x":-0.0e-7,"x":[true , false,null]}"#,
            "[ \"\u{202e} {\", 1 ,\n\t{ \"k\" : [ \"}\" ] } ]",
            "\"one\"",
        ] {
            let only = |text: &str| tokens(text).map(|(_, token)| format!("{token:?}")).collect::<Vec<_>>();
            assert_eq!(only(&pretty(text, PLAIN)), only(text));
        }
    }

    #[test]
    fn sec_07_depth_costs_no_more_than_length() {
        let text = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(pretty(&text, PLAIN).len() < text.len() * 2 * (MAX_INDENT + 1) + 100);
    }

    #[test]
    fn empty_containers_after_strings_that_end_in_brackets() {
        assert_eq!(pretty(r#"["["]"#, PLAIN), "[\n  \"[\"\n]");
    }
}
