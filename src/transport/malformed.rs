//! Text that is not a JSON-RPC message by itself: the messages in it, and the response that it should have been.
//!
//! Servers print a log line without a line feed before a message, two messages on one line, or JSON with `NaN` in it. A
//! complete message is read if it begins or ends the text. Text that is recognizably a response but cannot be read ends
//! the wait for that response. Everything else is skipped (`STD-09`).

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::error::{ErrorKind, Failure};
use crate::protocol::json::members;
use crate::protocol::rpc::{self, RpcMessage};
use crate::transport::message::{BrokenResponse, Certainty};
use crate::util::shorten::shorten;

/// How many places in a text are tried; a log line full of braces must not cost more than its length.
const MAX_ATTEMPTS: usize = 16;
/// How much of the text around an error is quoted, in characters.
const EXCERPT: (usize, usize) = (30, 15);
/// What JSON has no words for (RFC 8259 §3), but JavaScript and Python print.
const NOT_JSON: [&str; 8] = ["NaN", "Infinity", "-Infinity", "undefined", "None", "True", "False", "-NaN"];

/// What was found in a text.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The messages at the beginning of the text.
    pub leading: Vec<RpcMessage>,
    /// The messages at its end, after other text. Only responses: a log may quote a request.
    pub trailing: Vec<RpcMessage>,
    /// A response that cannot be read.
    pub broken: Option<BrokenResponse>,
}

/// Looks for messages in a text that is not one.
#[must_use]
pub fn recover(text: &str) -> Recovered {
    let mut recovered = Recovered::default();
    let mut start = text.len() - text.trim_start_matches('\u{feff}').trim_start().len();
    while let Some(Ok((message, length))) = text.get(start..).map(rpc::parse_first) {
        recovered.leading.push(message);
        start += length;
        start += text[start..].len() - text[start..].trim_start().len();
    }
    let mut attempts = 0;
    while let Some(found) = text[start..].find('{') {
        let at = start + found;
        start = at + 1;
        if !begins_like_message(&text[at..]) {
            continue;
        }
        attempts += 1;
        match read_to_end(&text[at..]) {
            Ok(messages) => {
                let is_response = |message: &RpcMessage| matches!(message, RpcMessage::Response(_));
                recovered.trailing = messages.into_iter().filter(is_response).collect();
                // The text before it was a log line.
                recovered.broken = None;
                return recovered;
            }
            Err(Some(error)) if recovered.broken.is_none() => {
                recovered.broken = broken_response(text, at, &error);
            }
            Err(None) if recovered.broken.is_none() => recovered.broken = response_without_outcome(&text[at..]),
            Err(_) => {}
        }
        if attempts == MAX_ATTEMPTS {
            break;
        }
    }
    recovered
}

/// Whether this could be a JSON-RPC message: an object that begins with a member of one.
pub(super) fn begins_like_message(text: &str) -> bool {
    let Some(first) = text.strip_prefix('{') else { return false };
    let first = first.trim_start().trim_start_matches(['"', '\'']);
    ["jsonrpc", "id", "result", "error", "method", "params"].iter().any(|member| {
        first.strip_prefix(member).is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
    })
}

/// Whether a broken message shows which request it belongs to.
pub(super) fn names_request(text: &str) -> bool {
    text.starts_with('{') && TopLevelMembers::of(text).id.is_some()
}

/// The messages that a text consists of.
fn read_to_end(mut text: &str) -> Result<Vec<RpcMessage>, Option<serde_json::Error>> {
    let mut messages = Vec::new();
    while !text.is_empty() {
        let (message, length) = match rpc::parse_first(text) {
            Ok(first) => first,
            // Other text after a complete message.
            Err(_) if !messages.is_empty() => return Err(None),
            Err(error) => return Err(error),
        };
        messages.push(message);
        text = text[length..].trim();
    }
    Ok(messages)
}

/// The response that begins at `at`, if it is recognizable.
fn broken_response(text: &str, at: usize, error: &serde_json::Error) -> Option<BrokenResponse> {
    let TopLevelMembers { id, has_outcome, has_method, has_json_keys } = TopLevelMembers::of(&text[at..]);
    let is_alone = has_json_keys && text[..at].trim_start_matches('\u{feff}').trim().is_empty();
    let certainty = match id.filter(|_| has_outcome) {
        _ if has_method => return None,
        Some(_) if is_alone => Certainty::Certain,
        Some(_) => Certainty::Likely,
        None if is_alone => Certainty::Possible,
        None => return None,
    };
    let mut failure = Failure::new(ErrorKind::Protocol, "the server's response is not valid JSON")
        .cause(describe_error(text, at, error))
        .hint("use -v to see what it sent");
    failure.details_mut().has_response = true;
    Some(BrokenResponse { id, certainty, failure })
}

/// The response that this JSON should be, if it is marked as a message and names its request. JavaScript omits a result
/// that is `undefined`.
fn response_without_outcome(text: &str) -> Option<BrokenResponse> {
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    let names: Vec<_> = members(raw)?.into_iter().map(|(name, _)| name).collect();
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    let id = TopLevelMembers::of(raw.get()).id.filter(|_| has("jsonrpc") && !has("method"))?;
    let start = shorten(raw.get(), 200);
    let mut failure = Failure::new(ErrorKind::Protocol, "the server's response has neither a result nor an error")
        .cause(format!("it came as {start}"));
    failure.details_mut().has_response = true;
    Some(BrokenResponse { id: Some(id), certainty: Certainty::Certain, failure })
}

/// How much of the end of an unfinished message is quoted, in characters.
const END_EXCERPT: usize = 40;

/// Where a text breaks off, if it ends in the middle of a message.
pub(super) fn describe_cut(text: &str) -> Option<String> {
    let text = text.trim_end();
    let starts = text.match_indices('{').map(|(at, _)| &text[at..]).filter(|rest| begins_like_message(rest));
    starts.take(MAX_ATTEMPTS).find(|rest| is_incomplete(rest))?;
    let start = text.char_indices().rev().nth(END_EXCERPT - 1).map_or(0, |(start, _)| start);
    let mark = if start > 0 { "…" } else { "" };
    Some(format!("it ended in the middle of a message, after: {mark}{}", text[start..].replace(['\r', '\n'], " ")))
}

/// Whether a text is the beginning of JSON.
pub(super) fn is_incomplete(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_err_and(|error| error.is_eof())
}

/// Why a text is not a JSON-RPC message.
pub(super) fn describe(text: &str) -> String {
    match serde_json::from_str::<IgnoredAny>(text) {
        Err(error) => describe_error(text, 0, &error),
        Ok(_) => {
            format!("not a JSON-RPC message: {}", shorten(text, 200))
        }
    }
}

/// Where and why the JSON that begins at `at` cannot be read.
fn describe_error(text: &str, at: usize, error: &serde_json::Error) -> String {
    let json = &text[at..];
    let line_start: usize = json.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let offset = match error.is_eof() {
        true => json.trim_end().len(),
        false => (line_start + error.column()).saturating_sub(1).min(json.len()),
    };
    let mut spot = at + offset;
    // The parser's position is before a control character, but behind everything else that it rejects.
    let is_control = |spot: usize| text.as_bytes().get(spot).is_some_and(u8::is_ascii_control);
    if !error.is_eof() && !is_control(spot) && is_control(spot + 1) {
        spot += 1;
    }
    while !text.is_char_boundary(spot) {
        spot -= 1;
    }
    // The parser stops after the minus sign.
    if text[..spot].ends_with('-') {
        spot -= 1;
    }
    let (before, after) = text.split_at(spot);
    let line = before.matches('\n').count() + 1;
    let column = before.len() - before.rfind('\n').map_or(0, |end| end + 1) + 1;
    let place = if text.trim_end().contains('\n') {
        format!("line {line}, column {column}")
    } else {
        format!("column {column}")
    };
    let reason = match NOT_JSON.iter().find(|word| after.starts_with(**word)) {
        Some(word) => format!("{word} is not allowed in JSON"),
        None if error.is_eof() => "the message is incomplete".to_owned(),
        None if after.starts_with([']', '}']) && before.trim_end().ends_with(',') => "trailing comma".to_owned(),
        None if after.starts_with('\n') => "line break in a string".to_owned(),
        None if after.starts_with(|next: char| next.is_control()) => "control character in a string".to_owned(),
        None => {
            let words = error.to_string();
            words.rsplit_once(" at line ").map_or(words.as_str(), |(reason, _)| reason).to_owned()
        }
    };
    let start = before.char_indices().rev().nth(EXCERPT.0 - 1).map_or(0, |(start, _)| start);
    let end = after.char_indices().nth(EXCERPT.1).map_or(after.len(), |(end, _)| end);
    let excerpt = [&before[start..], &after[..end]].concat().replace(['\r', '\n'], " ");
    format!("{place}: {reason}, near: {}", excerpt.trim())
}

/// The top-level members of an object that is not valid JSON.
#[derive(Debug, Default)]
struct TopLevelMembers {
    id: Option<u64>,
    has_outcome: bool,
    has_method: bool,
    /// Whether its first name is in double quotes, as JSON requires.
    has_json_keys: bool,
}

impl TopLevelMembers {
    /// Reads names at the top level of an object, and skips whatever is below. `text` begins with `{`.
    fn of(text: &str) -> Self {
        let mut outline = TopLevelMembers::default();
        // Python prints dictionaries with single quotes; elsewhere that is an apostrophe.
        let quotes: &[u8] = if text[1..].trim_start().starts_with('\'') { b"'\"" } else { b"\"" };
        outline.has_json_keys = text[1..].trim_start().starts_with('"');
        let bytes = text.as_bytes();
        let (mut at, mut depth, mut is_name) = (0, 0_usize, false);
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'{' | b'[' => {
                    depth += 1;
                    is_name = depth == 1;
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                b',' => is_name = depth == 1,
                _ if quotes.contains(byte) => {
                    let end = string_end(bytes, at);
                    if is_name {
                        outline.add_member(&text[at + 1..end], &text[end..]);
                        is_name = false;
                    }
                    at = end;
                }
                _ if is_name && byte.is_ascii_alphabetic() => {
                    let rest = &text[at..];
                    let length = rest.find(|next: char| !next.is_ascii_alphanumeric()).unwrap_or(rest.len());
                    outline.add_member(&rest[..length], &rest[length..]);
                    is_name = false;
                    at += length - 1;
                }
                _ => {}
            }
            at += 1;
        }
        outline
    }

    fn add_member(&mut self, name: &str, rest: &str) {
        match name {
            "result" | "error" => self.has_outcome = true,
            "method" => self.has_method = true,
            "id" => {
                let value = rest.trim_start_matches(['"', '\'']).trim_start().strip_prefix(':').unwrap_or_default();
                let value = value.trim_start().trim_start_matches(['"', '\'']);
                let digits = value.find(|next: char| !next.is_ascii_digit()).unwrap_or(value.len());
                self.id = value[..digits].parse().ok();
            }
            _ => {}
        }
    }
}

/// Where the string that begins at `start` ends: its closing quote, or the end of the text.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            byte if *byte == quote => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ids(messages: &[RpcMessage]) -> Vec<Option<u64>> {
        let id = |message: &RpcMessage| match message {
            RpcMessage::Response(response) => response.id,
            _ => None,
        };
        messages.iter().map(id).collect()
    }

    #[test]
    fn complete_messages_beside_other_text_are_read() {
        for (text, leading, trailing) in [
            (r#"loading… {"jsonrpc":"2.0","id":7,"result":{}}"#, vec![], vec![Some(7)]),
            (r#"{a} {"x":1} {"id":7,"result":{"id":8,"result":1}} "#, vec![], vec![Some(7)]),
            (r#"{"id":7,"result":{}}{"id":8,"result":{}}"#, vec![Some(7), Some(8)], vec![]),
            (r#"{"id":7,"result":{}} done"#, vec![Some(7)], vec![]),
            (r#"{"id":7,"result":{}} done {"id":8,"result":{}}{"method":"x"}"#, vec![Some(7)], vec![Some(8)]),
            (r#"{"method":"n"}{"id":8,"result":{}}"#, vec![None, Some(8)], vec![]),
            // A log may quote what was received, or part of a message.
            (r#"got {"jsonrpc":"2.0","id":7,"method":"ping"}"#, vec![], vec![]),
            (r#"sent {"jsonrpc":"2.0","id":7,"result":{}} to the client"#, vec![], vec![]),
            ("INFO ready", vec![], vec![]),
        ] {
            let recovered = recover(text);
            assert_eq!((ids(&recovered.leading), ids(&recovered.trailing)), (leading, trailing), "{text}");
            assert!(recovered.broken.is_none(), "{text}");
        }
    }

    #[test]
    fn a_message_inside_a_broken_one_is_not_read() {
        let recovered = recover(r#"{"jsonrpc":"2.0","id":7,"result":{"v":NaN,"w":{"id":8,"result":{}}}}"#);
        assert_eq!((recovered.leading.len(), recovered.trailing.len()), (0, 0));
        assert_eq!(recovered.broken.unwrap().id, Some(7));
    }

    #[test]
    fn a_broken_response_is_recognized_by_its_members() {
        let broken = |text: &str| recover(text).broken.map(|broken| (broken.id, broken.certainty));
        for text in [
            r#"{"jsonrpc":"2.0","id":7,"result":{"a":[1,]}}"#,
            r#"{"result":{"id":3,"text":"} \" {"},"x":undefined,"id":"7"}"#,
            "{\"id\" : 7, \"error\": {\"message\": \"a\u{1}\"}}",
            r#"{"jsonrpc":"2.0","id":7,"result":{"#,
        ] {
            assert_eq!(broken(text), Some((Some(7), Certainty::Certain)), "{text}");
        }
        for text in [
            r"{'jsonrpc': '2.0', 'id': 7, 'result': {'it': None}}",
            r"{jsonrpc: '2.0', id: 7, result: {}}",
            r#"answer: {"jsonrpc":"2.0","id":7,"result":{"text":"cut off"#,
        ] {
            assert_eq!(broken(text), Some((Some(7), Certainty::Likely)), "{text}");
        }
        for text in [
            r#"{"jsonrpc":"2.0","result":NaN}"#,
            r#"{"jsonrpc":"2.0","id":null,"result":NaN}"#,
            r#"{"jsonrpc":"2.0","resu"#,
        ] {
            assert_eq!(broken(text), Some((None, Certainty::Possible)), "{text}");
        }
        for text in [
            r#"got {"jsonrpc":"2.0","id":7,"method":"x","result":NaN}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"result":NaN}}"#,
            r#"INFO {"jsonrpc":"2.0","result":NaN}"#,
        ] {
            assert_eq!(broken(text), None, "{text}");
        }
    }

    #[test]
    fn a_response_without_an_outcome_is_recognized() {
        let broken = |text: &str| recover(text).broken.map(|broken| (broken.id, broken.certainty));
        for text in [
            r#"{"jsonrpc":"2.0","id":7}"#,
            r#" {"id":"7","jsonrpc":"2.0","error":null} "#,
            r#"{"jsonrpc":"2.0","id":7,"data":{"result":{}}}"#,
        ] {
            assert_eq!(broken(text), Some((Some(7), Certainty::Certain)), "{text}");
        }
        for text in [
            r#"{"status":"ok","id":7}"#,
            r#"{"id":7}"#,
            r#"{"jsonrpc":"2.0","id":null}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":5}"#,
            r#"{"jsonrpc":"2.0","id":7} done"#,
            r#"got {"jsonrpc":"2.0","params":{"id":7}}"#,
        ] {
            assert_eq!(broken(text), None, "{text}");
        }
    }

    #[test]
    fn the_spot_and_the_reason_are_named() {
        let cause = |text: &str| recover(text).broken.unwrap().failure.details().causes.join("; ");
        for (text, expected) in [
            (
                r#"{"id":1,"result":{"v":NaN}}"#,
                r#"column 23: NaN is not allowed in JSON, near: {"id":1,"result":{"v":NaN}}"#,
            ),
            (
                r#"{"id":1,"result":{"v":-Infinity}}"#,
                r#"column 23: -Infinity is not allowed in JSON, near: {"id":1,"result":{"v":-Infinity}}"#,
            ),
            (r#"log {"id":1,"result":[1,]}"#, r#"column 25: trailing comma, near: log {"id":1,"result":[1,]}"#),
            (
                "{\"id\":1,\"result\":{\"text\":\"ä\u{1}\"}}",
                "column 29: control character in a string, near: {\"id\":1,\"result\":{\"text\":\"ä\u{1}\"}}",
            ),
            (
                "{\"id\":1,\n\"result\":\"a\nb\"}",
                "line 2, column 12: line break in a string, near: {\"id\":1, \"result\":\"a b\"}",
            ),
            (r#"{"id":1,"result":{"#, r#"column 19: the message is incomplete, near: {"id":1,"result":{"#),
        ] {
            assert_eq!(cause(text), expected);
        }
    }
}
