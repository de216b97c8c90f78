//! Walks through JSON text that is known to be valid, such as that of a `RawValue`,
//! without parsing it again: nothing is copied, and what is not needed is only skipped. A long result is walked through
//! several times, so this is much of its cost.

use std::borrow::Cow;

use memchr::memchr;

use super::json_string::parse_string;

/// A position in a JSON text. At the beginning of a value, the value can be taken or entered.
#[derive(Clone, Copy, Debug)]
pub struct JsonCursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> JsonCursor<'a> {
    /// At the value that the text contains.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        JsonCursor { text, at: skip_space(text.as_bytes(), 0) }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The type of the value here, as [`type_name`].
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        type_name(self.text.get(self.at..).unwrap_or_default())
    }

    /// Moves behind the value and returns its text.
    pub fn take(&mut self) -> &'a str {
        let start = self.at;
        self.at = value_end(self.text.as_bytes(), start);
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// The text from here to another position, such as that of a value that was entered.
    #[must_use]
    pub fn text_to(&self, end: &JsonCursor<'a>) -> &'a str {
        self.text.get(self.at..end.at).unwrap_or_default()
    }

    /// Enters the object here; `false` if there is another value.
    pub fn enter_object(&mut self) -> bool {
        self.enter(b'{')
    }

    /// Enters the list here; `false` if there is another value.
    pub fn enter_list(&mut self) -> bool {
        self.enter(b'[')
    }

    fn enter(&mut self, open: u8) -> bool {
        let is_here = self.byte() == Some(open);
        self.at += usize::from(is_here);
        is_here
    }

    /// Moves to the value of the next member of an object, and returns its name; behind the object if it has no more.
    /// The value before must have been taken, or entered and left at its end.
    pub fn next_member(&mut self) -> Option<Cow<'a, str>> {
        let bytes = self.text.as_bytes();
        self.skip_separator(b',');
        if self.byte() != Some(b'"') {
            self.at = (self.at + 1).min(bytes.len());
            return None;
        }
        let end = string_end(bytes, self.at);
        let token = self.text.get(self.at..end).unwrap_or_default();
        self.at = end;
        self.skip_separator(b':');
        Some(match token.as_bytes().contains(&b'\\') {
            true => parse_string(token).unwrap_or_default().into(),
            false => token.get(1..token.len().saturating_sub(1)).unwrap_or_default().into(),
        })
    }

    /// Moves to the next item of a list; behind the list, and `false`, if it has no more. The item before must have
    /// been taken, or entered and left at its end.
    pub fn next_item(&mut self) -> bool {
        self.skip_separator(b',');
        let is_item = !matches!(self.byte(), None | Some(b']' | b'}' | b':'));
        if !is_item {
            self.at = (self.at + 1).min(self.text.len());
        }
        is_item
    }

    fn skip_separator(&mut self, separator: u8) {
        let bytes = self.text.as_bytes();
        self.at = skip_space(bytes, self.at);
        if self.byte() == Some(separator) {
            self.at = skip_space(bytes, self.at + 1);
        }
    }
}

/// The texts of the first members of an object that have these names.
#[must_use]
pub fn find_members<'a, const N: usize>(object: &'a str, names: [&str; N]) -> [Option<&'a str>; N] {
    let mut found = [None; N];
    let mut cursor = JsonCursor::new(object);
    if cursor.enter_object() {
        while let Some(name) = cursor.next_member() {
            let value = cursor.take();
            if let Some(place) = names.iter().position(|wanted| *wanted == name) {
                found[place].get_or_insert(value);
                if found.iter().all(Option::is_some) {
                    break;
                }
            }
        }
    }
    found
}

/// The text of the first member of an object that has this name.
#[must_use]
pub fn find_member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let [found] = find_members(object, [name]);
    found
}

/// The type of a JSON value with its article: `a string`, `an object`, `null`.
#[must_use]
pub fn type_name(value: &str) -> &'static str {
    match value.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The index of the next byte that is not white space.
fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Where the value that begins at this index ends.
fn value_end(bytes: &[u8], start: usize) -> usize {
    match bytes.get(start) {
        Some(b'"') => string_end(bytes, start),
        Some(b'{' | b'[') => {
            let (mut depth, mut at) = (0_usize, start);
            while let Some(byte) = bytes.get(at) {
                match byte {
                    b'"' => {
                        at = string_end(bytes, at);
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
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr(b'"', rest)) {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;

    use super::*;

    /// The value, put together from what the cursor visits.
    fn walk(cursor: &mut JsonCursor<'_>) -> Value {
        let start = *cursor;
        let value = if cursor.enter_object() {
            let mut members = serde_json::Map::new();
            while let Some(name) = cursor.next_member() {
                members.insert(name.into_owned(), walk(cursor));
            }
            Value::Object(members)
        } else if cursor.enter_list() {
            let mut items = Vec::new();
            while cursor.next_item() {
                items.push(walk(cursor));
            }
            Value::Array(items)
        } else {
            serde_json::from_str(cursor.take()).unwrap()
        };
        assert_eq!(serde_json::from_str::<Value>(start.text_to(cursor)).unwrap(), value);
        let mut skipped = start;
        assert_eq!(
            skipped.take(),
            start.text_to(cursor),
            "a value that is taken ends where one that is walked through ends"
        );
        value
    }

    #[test]
    fn a_walk_visits_everything() {
        let long = format!(r#"{{"a":"{}","b":2}}"#, "x\\\"".repeat(1000));
        for text in [
            r#"{"a":1,"b":{"a":2,"c":[{"a":"}"},"]\"{"]},"d":3}"#,
            " {\r\n\t\"a\" : \"x\\\\\" , \"\" :\tnull ,\"b\":[ ] }\n",
            r#"{"\u0061":true,"b":false,"é":"é","q\"":-1.5e3}"#,
            r#"[[],{},[{}],"\\",[1 , 2.0,"]"]]"#,
            "{ }",
            "[ ]",
            " -0 ",
            r#""a""#,
            "null",
            &long,
        ] {
            let mut cursor = JsonCursor::new(text);
            assert_eq!(walk(&mut cursor), serde_json::from_str::<Value>(text).unwrap(), "{text}");
            assert_eq!(text[cursor.at..].trim(), "", "{text}");
        }
    }

    #[test]
    fn a_walk_through_other_text_ends() {
        for text in [
            "", "{", "[", "[}", "[:", "{\"a", "{\"a\"", "{\"a\":", "[1,,2", "{,}", "]", "\"", "\"\\", "[}}]", "é",
            "{é}",
        ] {
            let mut cursor = JsonCursor::new(text);
            let mut steps = 0;
            let mut depth = 1;
            while depth > 0 && steps < 100 {
                steps += 1;
                if cursor.enter_list() || cursor.enter_object() {
                    depth += 1;
                } else if cursor.next_member().is_some() || cursor.next_item() {
                    cursor.take();
                } else {
                    depth -= 1;
                }
            }
            assert!(steps < 100, "{text}");
            let _ = find_members(text, ["a", "b"]);
        }
    }

    #[test]
    fn the_first_members_with_a_name_are_found() {
        let text = r#"{"a":1,"b":{"c":2},"a":3,"\u0063":"x"}"#;
        assert_eq!(find_members(text, ["c", "a", "x"]), [Some("\"x\""), Some("1"), None]);
        assert_eq!(find_member(text, "b"), Some(r#"{"c":2}"#));
        assert_eq!(find_member("[1]", "a"), None);
    }
}
