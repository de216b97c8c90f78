//! Values of the filter library: read from JSON text without copying it, and written as JSON.

use std::fmt::{self, Write};

use bytes::{Buf, Bytes, BytesMut};
use jaq_json::{Map, Num, Rc, Val, read};
use memchr::memchr2;

use crate::protocol::json_string::decode_in_place;

/// Deeper documents are refused: values are handled by recursion.
pub(super) const MAX_DEPTH: usize = 1200;
/// The greatest whole number up to which a double is exact, 2^53.
const MAX_EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;
/// How much of an output is written at a time.
pub(super) const PIECE: usize = 32 << 10;

/// Why a text was not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// It is nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// It is not JSON.
    NotJson,
}

/// Reads a JSON text. The strings of the value are parts of its memory: a string is never longer than its source. Half
/// of a surrogate pair becomes U+FFFD; of members of the same name the last one counts; numbers keep every digit.
pub(super) fn parse(text: String) -> Result<Val, ReadError> {
    let mut reader = JsonReader { rest: BytesMut::from(Bytes::from(text)), depth: 0 };
    let value = reader.value()?;
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(ReadError::NotJson),
    }
}

/// Reads a text from its beginning, and splits off what it has read.
struct JsonReader {
    rest: BytesMut,
    depth: usize,
}

impl JsonReader {
    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        match self.rest.first() {
            Some(byte) if is_space(byte) => {
                let count = self.rest.iter().take_while(|byte| is_space(byte)).count();
                self.rest.advance(count);
                self.rest.first().copied()
            }
            next => next.copied(),
        }
    }

    /// Passes over this byte if it comes next.
    fn skip(&mut self, wanted: u8) -> bool {
        let is_next = self.peek() == Some(wanted);
        if is_next {
            self.rest.advance(1);
        }
        is_next
    }

    fn value(&mut self) -> Result<Val, ReadError> {
        match self.peek() {
            Some(b'"') => self.string().map(Val::utf8_str),
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::list),
            Some(b't') => self.word(b"true", Val::Bool(true)),
            Some(b'f') => self.word(b"false", Val::Bool(false)),
            Some(b'n') => self.word(b"null", Val::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(ReadError::NotJson),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Val, ReadError>) -> Result<Val, ReadError> {
        if self.depth == MAX_DEPTH {
            return Err(ReadError::TooDeep);
        }
        self.depth += 1;
        self.rest.advance(1);
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Val, ReadError> {
        let mut members = Map::default();
        if self.skip(b'}') {
            return Ok(Val::obj(members));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(ReadError::NotJson);
            }
            let name = Val::utf8_str(self.string()?);
            if !self.skip(b':') {
                return Err(ReadError::NotJson);
            }
            members.insert(name, self.value()?);
            if !self.skip(b',') {
                break;
            }
        }
        if self.skip(b'}') { Ok(Val::obj(members)) } else { Err(ReadError::NotJson) }
    }

    fn list(&mut self) -> Result<Val, ReadError> {
        let mut items = Vec::new();
        if !self.skip(b']') {
            items.push(self.value()?);
            while self.skip(b',') {
                items.push(self.value()?);
            }
            if !self.skip(b']') {
                return Err(ReadError::NotJson);
            }
        }
        items.shrink_to_fit();
        Ok(Val::Arr(Rc::new(items)))
    }

    /// The string that begins here.
    fn string(&mut self) -> Result<Bytes, ReadError> {
        self.rest.advance(1);
        let (mut end, mut has_escapes) = (0, false);
        loop {
            let rest = self.rest.get(end..).unwrap_or_default();
            end += memchr2(b'"', b'\\', rest).ok_or(ReadError::NotJson)?;
            if self.rest[end] == b'"' {
                break;
            }
            has_escapes = true;
            end += 2;
        }
        let mut text = self.rest.split_to(end);
        self.rest.advance(1);
        if has_escapes {
            let length = decode_in_place(&mut text).ok_or(ReadError::NotJson)?;
            text.truncate(length);
        }
        Ok(text.freeze())
    }

    fn word(&mut self, word: &[u8], value: Val) -> Result<Val, ReadError> {
        if !self.rest.starts_with(word) {
            return Err(ReadError::NotJson);
        }
        self.rest.advance(word.len());
        Ok(value)
    }

    fn number(&mut self) -> Result<Val, ReadError> {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
        let length = self.rest.iter().take_while(|byte| is_part(byte)).count();
        let number = read::parse_single_num(&self.rest[..length]).ok_or(ReadError::NotJson)?;
        self.rest.advance(length);
        Ok(Val::Num(number))
    }
}

/// A value as JSON on one line.
pub(super) fn to_json(value: &Val) -> String {
    let mut json = String::new();
    // A string takes everything.
    let _ = write_json(&mut json, value);
    json
}

/// Writes a value as JSON on one line. Whole numbers that were computed as doubles have no fraction: `4 / 2` is 2. As in
/// jq, NaN is written as null, and infinity as the largest double.
pub(super) fn write_json(to: &mut dyn Write, value: &Val) -> fmt::Result {
    match value {
        Val::Arr(items) => {
            to.write_char('[')?;
            for (index, item) in items.iter().enumerate() {
                to.write_str(if index == 0 { "" } else { "," })?;
                write_json(to, item)?;
            }
            to.write_char(']')
        }
        Val::Obj(members) => {
            to.write_char('{')?;
            for (index, (name, member)) in members.iter().enumerate() {
                to.write_str(if index == 0 { "" } else { "," })?;
                write_json(to, name)?;
                to.write_char(':')?;
                write_json(to, member)?;
            }
            to.write_char('}')
        }
        Val::Num(Num::Float(number)) if number.is_nan() => to.write_str("null"),
        Val::Num(Num::Float(number)) if number.is_infinite() => write!(to, "{:e}", f64::MAX.copysign(*number)),
        Val::Num(Num::Float(number))
            if number.fract() == 0.0
                && number.abs() <= MAX_EXACT_INTEGER
                && (*number != 0.0 || number.is_sign_positive()) =>
        {
            write!(to, "{number:.0}")
        }
        value => write!(to, "{value}"),
    }
}

/// One output of a filter.
#[derive(Debug, PartialEq, Eq)]
pub enum JqOutput {
    /// A string: printed without quotes.
    Text(Bytes),
    /// Anything else, as JSON on one line.
    Json(JqValue),
}

/// A value that is not a string. Its text is JSON.
#[derive(Debug, PartialEq, Eq)]
pub struct JqValue(Val);

impl fmt::Display for JqValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_json(f, &self.0)
    }
}

impl From<Val> for JqOutput {
    fn from(value: Val) -> Self {
        match value {
            Val::TStr(text) | Val::BStr(text) => JqOutput::Text(*text),
            value => JqOutput::Json(JqValue(value)),
        }
    }
}

impl JqOutput {
    /// Whether it is `true`.
    #[must_use]
    pub fn is_true(&self) -> bool {
        matches!(self, JqOutput::Json(JqValue(Val::Bool(true))))
    }

    /// Writes it and a line feed, piece by piece: a large output is not copied as a whole.
    ///
    /// # Errors
    /// The first error of `write`.
    pub fn write_line<E>(&self, write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut pieces = PieceWriter { waiting: Vec::new(), write, failed: None };
        match self {
            JqOutput::Text(text) => pieces.push(text),
            JqOutput::Json(json) => drop(write!(pieces, "{json}")),
        }
        pieces.push(b"\n");
        pieces.flush();
        pieces.failed.map_or(Ok(()), Err)
    }
}

/// Collects short pieces of an output, and writes long ones.
struct PieceWriter<W, E> {
    waiting: Vec<u8>,
    write: W,
    failed: Option<E>,
}

impl<E, W: FnMut(&[u8]) -> Result<(), E>> PieceWriter<W, E> {
    fn push(&mut self, piece: &[u8]) {
        if self.waiting.len() + piece.len() > PIECE {
            self.flush();
        }
        if piece.len() > PIECE {
            self.pass_on(piece);
        } else {
            self.waiting.extend_from_slice(piece);
        }
    }

    fn flush(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        self.pass_on(&waiting);
        waiting.clear();
        self.waiting = waiting;
    }

    fn pass_on(&mut self, piece: &[u8]) {
        if self.failed.is_none() && !piece.is_empty() {
            self.failed = (self.write)(piece).err();
        }
    }
}

impl<E, W: FnMut(&[u8]) -> Result<(), E>> Write for PieceWriter<W, E> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.push(piece.as_bytes());
        if self.failed.is_some() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn written(text: &str) -> Result<String, ReadError> {
        parse(text.to_owned()).map(|value| to_json(&value))
    }

    #[test]
    fn a_document_is_read_like_the_library_reads_it() {
        let long = format!(r#"["{}\n","{}"]"#, "é".repeat(100_000), "\\u00e9".repeat(1000));
        for text in [
            r#" { "a" : [ 1 , -2.50e+3, 1E400, 12345678901234567890123, -0, 0.10 ] , "b" : { } , "" : [ ] } "#,
            r#"["", "a", "\"\\\/\b\f\n\r\t", "\u0041\u00e9\ud83d\ude00", "é😀", "a\\", "\\u0041", "\u0000"]"#,
            "\t[true,false,null]\r\n",
            r#"{"a":1,"b":2,"a":3,"\u0061":4}"#,
            r#""x""#,
            "0",
            &long,
        ] {
            let theirs = read::parse_single(text.as_bytes()).unwrap();
            let ours = parse(text.to_owned()).unwrap();
            assert_eq!(ours, theirs, "{text}");
            assert_eq!(ours.to_string(), theirs.to_string(), "{text}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_becomes_the_replacement_character() {
        let text = r#"["a\ud83d","\uDE00b","\ud83d\ud83d\ude00","\\ud83d",{"\ud83d":1}]"#;
        assert_eq!(
            written(text).unwrap(),
            "[\"a\u{fffd}\",\"\u{fffd}b\",\"\u{fffd}😀\",\"\\\\ud83d\",{\"\u{fffd}\":1}]"
        );
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            " ",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "[1 2]",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "{1:2}",
            "\"",
            "\"\\",
            "\"\\\"",
            "\"\\u12\"",
            "\"\\x\"",
            "tru",
            "nul",
            "fals",
            "-",
            "1e",
            ".5",
            "+1",
            "NaN",
            "1 2",
            "]",
            "{]",
        ] {
            assert_eq!(parse(text.to_owned()).unwrap_err(), ReadError::NotJson, "{text}");
        }
        assert_eq!(parse("[".repeat(1_000_000)).unwrap_err(), ReadError::TooDeep);
    }

    #[test]
    fn strings_are_parts_of_the_text() {
        let text = String::from(r#"["one","t\u0077o"]"#);
        let memory = text.as_ptr().addr()..text.as_ptr().addr() + text.len();
        let Val::Arr(items) = parse(text).unwrap() else { panic!() };
        for item in items.iter() {
            let Val::TStr(text) = item else { panic!() };
            assert!(memory.contains(&text.as_ptr().addr()), "{item} was copied");
        }
    }
}
