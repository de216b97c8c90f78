//! JSON-RPC 2.0 as servers really send it: strict when writing, lenient when reading.
//!
//! Results and parameters stay raw text ([`RawValue`]), so that they can be printed byte for byte: unknown members,
//! the order of keys and numbers of any size are kept (`TOL-04`, `TOL-06`).

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::json::{members, parse_truncated};
use super::json_cursor::type_name;
use super::json_string::{encode_string, parse_string, push_quoted};

/// Raw JSON text.
pub type RawJson = Box<RawValue>;

/// One message from the peer.
#[derive(Clone, Debug)]
pub enum RpcMessage {
    /// The response to a request of ours.
    Response(RpcResponse),
    /// A request of the peer (legacy revisions only).
    Request {
        /// The id, to be returned exactly.
        id: RawJson,
        /// The method.
        method: String,
        /// The parameters, if any.
        params: Option<RawJson>,
    },
    /// A notification of the peer.
    Notification {
        /// The method.
        method: String,
        /// The parameters, if any.
        params: Option<RawJson>,
    },
}

/// The response to a request.
#[derive(Clone, Debug)]
pub struct RpcResponse {
    /// Our id; `None` if the peer could not read it (`null` or absent) or it is not one of ours.
    pub id: Option<u64>,
    /// Whether the peer sent an ID; one that is not ours belongs to an unknown request.
    pub has_id: bool,
    /// The result or the error.
    pub outcome: Result<RawJson, Box<RpcError>>,
}

/// A JSON-RPC error.
#[derive(Clone, Debug, Default)]
pub struct RpcError {
    /// The code; `None` if the peer sent no integer.
    pub code: Option<i64>,
    /// What is wrong with the error, if it violates JSON-RPC 2.0 (section 5.1).
    pub defect: Option<RpcErrorDefect>,
    /// The message; empty if the peer sent none.
    pub message: String,
    /// The `data` member, as it came.
    pub data: Option<RawJson>,
    /// The whole error as it came.
    pub raw: Option<RawJson>,
    /// How long the server asks to wait before the next request; over HTTP this comes from a header.
    pub retry_after: Option<Duration>,
}

/// What is wrong with a JSON-RPC error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RpcErrorDefect {
    /// It is not an object but has this type.
    NotAnObject(&'static str),
    /// It has no code.
    NoCode,
    /// Its code is not an integer; the code as JSON.
    OtherCode(String),
}

impl fmt::Display for RpcErrorDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RpcErrorDefect::NotAnObject(is) => write!(f, "the error is {is}, not an object"),
            RpcErrorDefect::NoCode => f.write_str("the error has no code"),
            RpcErrorDefect::OtherCode(code) => write!(f, "the error's code is not an integer: {code}"),
        }
    }
}

impl RpcError {
    /// The `data` member as a value; `Null` if absent.
    #[must_use]
    pub fn data_value(&self) -> Value {
        self.data.as_ref().and_then(|raw| parse_truncated(raw.get())).map_or(Value::Null, |(value, _)| value)
    }

    /// Parses the `error` member of a response, or of a failed task.
    #[must_use]
    pub fn parse(raw: &RawValue) -> Self {
        let value = |raw: &RawValue| parse_truncated(raw.get()).map_or(Value::Null, |(value, _)| value);
        let Some(members) = members(raw) else {
            let defect = RpcErrorDefect::NotAnObject(type_name(raw.get()));
            let (message, raw) = (value_text(&value(raw)), Some(raw.to_owned()));
            return RpcError { message, defect: Some(defect), raw, ..RpcError::default() };
        };
        let member = |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, raw)| *raw);
        let given = member("code").filter(|raw| raw.get() != "null");
        let code = given.and_then(|raw| match value(raw) {
            Value::String(text) => text.trim().parse().ok(),
            other => {
                other.as_i64().or_else(|| other.as_f64().filter(|code| code.fract() == 0.0).map(|code| code as i64))
            }
        });
        let defect = match (code, given) {
            (Some(_), _) => None,
            (None, None) => Some(RpcErrorDefect::NoCode),
            (None, Some(other)) => Some(RpcErrorDefect::OtherCode(other.get().to_owned())),
        };
        RpcError {
            code,
            defect,
            message: member("message").map_or_else(String::new, |raw| value_text(&value(raw))),
            data: member("data").map(ToOwned::to_owned),
            raw: Some(raw.to_owned()),
            retry_after: None,
        }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.message.is_empty() { "no reason given" } else { &self.message })?;
        match (self.code, &self.defect) {
            (Some(code), _) => write!(f, " (code {code})"),
            (None, Some(defect)) => write!(f, " ({defect})"),
            (None, None) => Ok(()),
        }
    }
}

/// Why a text is not a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Not JSON: a log line, HTML, part of a message.
    NotJson,
    /// JSON, but not a JSON-RPC message.
    NotRpc,
}

/// The members of a message, as parts of its text.
#[derive(Default, Deserialize)]
pub(crate) struct RawMessage<'a> {
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) method: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    pub(crate) params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    pub(crate) result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    pub(crate) error: Option<&'a RawValue>,
}

/// Distinguishes `null` from an absent member, which a plain `Option` does not.
fn deserialize_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Parses one line, SSE event or body: a message, or a batch of messages (`STD-08`).
///
/// A byte-order mark and surrounding white space are removed. Items of a batch that are not messages are skipped.
///
/// # Errors
/// [`ParseError`] if the text contains no message.
pub fn parse(text: &str) -> Result<Vec<RpcMessage>, ParseError> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| ParseError::NotJson)?;
        let messages: Vec<RpcMessage> = items.iter().filter_map(|item| parse_one(item.get()).ok()).collect();
        return if messages.is_empty() { Err(ParseError::NotRpc) } else { Ok(messages) };
    }
    parse_one(text).map(|message| vec![message])
}

/// A result of more bytes is cut out of the text of its message, so that it is not held twice.
const MAX_COPIED_RESULT: usize = 4096;

/// A text that consists of messages. It owns the text, so that a large result is not held twice.
pub struct MessageText {
    text: String,
    messages: Vec<RpcMessage>,
    /// Where the result of the only message is in the text; the message holds another in its place.
    result: Option<Range<usize>>,
}

impl MessageText {
    /// Parses a text as [`parse`] does, or returns it.
    ///
    /// # Errors
    /// If the text contains no message.
    pub fn parse(text: String) -> Result<Self, String> {
        // Anything unusual is left to `parse`.
        let envelope = if text.starts_with('{') { serde_json::from_str::<RawMessage>(&text).ok() } else { None };
        let Some(mut envelope) = envelope else {
            return match parse(&text) {
                Ok(messages) => Ok(MessageText::new(text, messages)),
                Err(_) => Err(text),
            };
        };
        // To copy a short result takes less time than to validate it again.
        let long_result = envelope.result.as_mut().filter(|raw| raw.get().len() > MAX_COPIED_RESULT);
        let result = long_result.map(|raw| {
            // It is a part of the text.
            let start = raw.get().as_ptr().addr() - text.as_ptr().addr();
            start..start + std::mem::replace(raw, RawValue::TRUE).get().len()
        });
        match envelope_message(envelope) {
            Ok(message) => {
                let has_result = matches!(&message, RpcMessage::Response(response) if response.outcome.is_ok());
                Ok(MessageText { text, messages: vec![message], result: result.filter(|_| has_result) })
            }
            Err(_) => Err(text),
        }
    }

    /// A text with the messages that were found in it.
    #[must_use]
    pub fn new(text: String, messages: Vec<RpcMessage>) -> Self {
        MessageText { text, messages, result: None }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text.trim_start_matches('\u{feff}').trim()
    }

    /// The messages. Their results are not to be read.
    pub fn messages(&mut self) -> &mut [RpcMessage] {
        &mut self.messages
    }

    /// The messages, with their results.
    #[must_use]
    pub fn into_messages(mut self) -> Vec<RpcMessage> {
        if let (Some(range), [RpcMessage::Response(response)]) = (self.result, self.messages.as_mut_slice()) {
            self.text.truncate(range.end);
            self.text.drain(..range.start);
            // It is JSON, since the whole text is.
            if let Ok(result) = RawValue::from_string(self.text) {
                response.outcome = Ok(result);
            }
        }
        self.messages
    }
}

/// Parses the message at the beginning of a text, and returns it with its length in bytes.
///
/// # Errors
/// If the text does not begin with a message: why it is not JSON, or `None` for other JSON.
pub fn parse_first(text: &str) -> Result<(RpcMessage, usize), Option<serde_json::Error>> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let raw = values.next().ok_or(None)?.map_err(Some)?;
    Ok((parse_one(raw.get()).map_err(|_| None)?, values.byte_offset()))
}

fn parse_one(text: &str) -> Result<RpcMessage, ParseError> {
    if !text.starts_with('{') {
        let json = serde_json::from_str::<&RawValue>(text).is_ok();
        return Err(if json { ParseError::NotRpc } else { ParseError::NotJson });
    }
    match serde_json::from_str::<RawMessage>(text) {
        Ok(envelope) => envelope_message(envelope),
        Err(_) => envelope_message(read_envelope(text)?),
    }
}

/// Reads an envelope that has half of a surrogate pair in a name or in the method, or two members of one name: of these
/// the last one counts, as it does for parsers of JavaScript and Python.
fn read_envelope(text: &str) -> Result<RawMessage<'_>, ParseError> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| ParseError::NotJson)?;
    let mut envelope = RawMessage::default();
    for (name, value) in members(raw).ok_or(ParseError::NotRpc)? {
        match &*name {
            "id" => envelope.id = Some(value),
            "method" if value.get() == "null" => envelope.method = None,
            "method" => envelope.method = Some(parse_string(value.get()).ok_or(ParseError::NotRpc)?.into()),
            "params" => envelope.params = Some(value),
            "result" => envelope.result = Some(value),
            "error" => envelope.error = Some(value),
            _ => {}
        }
    }
    Ok(envelope)
}

fn envelope_message(envelope: RawMessage<'_>) -> Result<RpcMessage, ParseError> {
    let not_null = |raw: &&RawValue| raw.get() != "null";
    let has_outcome = envelope.error.into_iter().chain(envelope.result).any(|raw| not_null(&raw));
    // Some servers copy the method of the request into the response.
    let is_response = has_outcome && envelope.id.is_some_and(|id| not_null(&id));
    if let Some(method) = envelope.method.filter(|_| !is_response) {
        let method = method.into_owned();
        let params = envelope.params.filter(not_null).map(ToOwned::to_owned);
        return Ok(match envelope.id.filter(not_null) {
            Some(id) => RpcMessage::Request { id: id.to_owned(), method, params },
            None => RpcMessage::Notification { method, params },
        });
    }
    let outcome = match (envelope.error.filter(not_null), envelope.result) {
        (Some(error), _) => Err(Box::new(RpcError::parse(error))),
        (None, Some(result)) => Ok(result.to_owned()),
        (None, None) => return Err(ParseError::NotRpc),
    };
    let id = envelope.id.filter(not_null);
    Ok(RpcMessage::Response(RpcResponse { id: id.and_then(parse_own_id), has_id: id.is_some(), outcome }))
}

/// Our ids are small integers; some servers return `"1"` or `1.0`, which mean the same.
fn parse_own_id(raw: &RawValue) -> Option<u64> {
    let text = raw.get().trim_matches('"');
    text.parse().ok().or_else(|| text.strip_suffix(".0")?.parse().ok())
}

fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Encodes a request, without a line end. `params` is raw JSON.
#[must_use]
pub fn request(id: u64, method: &str, params: Option<&str>) -> String {
    // Writing to a string cannot fail.
    let mut text = String::with_capacity(64 + method.len() + params.map_or(0, str::len));
    text += r#"{"jsonrpc":"2.0","id":"#;
    let _ = write!(text, "{id}");
    text += r#","method":"#;
    push_quoted(&mut text, method);
    if let Some(params) = params {
        text += r#","params":"#;
        text += params;
    }
    text + "}"
}

/// The `params` of `notifications/cancelled`, as raw JSON; `id` is a request ID as JSON.
#[must_use]
pub fn cancelled_params(id: impl fmt::Display, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!(r#"{{"requestId":{id},"reason":{}}}"#, Value::from(reason)),
        None => format!(r#"{{"requestId":{id}}}"#),
    }
}

/// Encodes a notification, without a line end. `params` is raw JSON.
#[must_use]
pub fn notification(method: &str, params: Option<&str>) -> String {
    let method = encode_string(method);
    match params {
        Some(params) => format!(r#"{{"jsonrpc":"2.0","method":{method},"params":{params}}}"#),
        None => format!(r#"{{"jsonrpc":"2.0","method":{method}}}"#),
    }
}

/// Encodes the response to a request of the peer: `id` as it came, `result` as raw JSON.
#[must_use]
pub fn response(id: &RawValue, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, id.get())
}

/// Encodes an error response to a request of the peer.
#[must_use]
pub fn error_response(id: &RawValue, code: i64, message: &str) -> String {
    let message = encode_string(message);
    format!(r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":{code},"message":{message}}}}}"#, id.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(text: &str) -> RpcResponse {
        match parse(text).map(|mut all| all.remove(0)) {
            Ok(RpcMessage::Response(response)) => response,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_text_that_is_owned_is_read_like_any_other() {
        let result = format!(r#"{{"a":"{}","b":[1E2, null]}}"#, "x".repeat(MAX_COPIED_RESULT));
        for text in [
            format!("{{\"id\":1,\"result\":{result},\"x\":2}}\n"),
            format!(" {{\"id\":1,\"result\":{result}}}"),
            format!("{{\"id\":1, \"result\" :  {result} }}"),
            r#"{"id":1,"result":null}"#.to_owned(),
            r#"{"id":1,"result":{},"error":{"code":1}}"#.to_owned(),
            r#"{"id":1,"result":{},"error":null}"#.to_owned(),
            r#"{"id":1,"result":"\ud83d"}"#.to_owned(),
            r#"{"method":"a","params":{},"result":1}"#.to_owned(),
            r#"[{"id":1,"result":{}},{"id":2,"result":[]}]"#.to_owned(),
            r#"{"id":1,"method":"a","params":{},"result":{"b":1}}"#.to_owned(),
            r#"{"id":null,"id":1,"result":{"b":1},"result":{}}"#.to_owned(),
            r#"{"jsonrpc":"2.0"}"#.to_owned(),
            "INFO".to_owned(),
        ] {
            let owned = MessageText::parse(text.clone()).map(|found| {
                assert_eq!(found.text(), text.trim());
                found.into_messages()
            });
            assert_eq!(format!("{:?}", owned.map_err(|_| ())), format!("{:?}", parse(&text).map_err(|_| ())));
        }
    }

    #[test]
    fn keeps_a_result_byte_for_byte() {
        let answer = response(r#"{"jsonrpc":"2.0","id":1,"result":{"b":1E2, "a":12345678901234567890123}}"#);
        assert_eq!(
            answer.outcome.map(|raw| raw.get().to_owned()).ok().as_deref(),
            Some(r#"{"b":1E2, "a":12345678901234567890123}"#)
        );
        assert!(response(r#"{"id":1,"result":null}"#).outcome.is_ok());
    }

    #[test]
    fn accepts_sloppy_responses() {
        for text in [
            "\u{feff}{\"id\":\"7\",\"result\":{}}\r",
            r#"{"id":7.0,"result":{}}"#,
            r#"{"id":7,"result":{},"error":null}"#,
            r#"[{"id":7,"result":{}}]"#,
            r#"{"id":7,"method":"tools/call","params":{},"result":{}}"#,
            r#"{"id":null,"result":null,"id":7,"result":{}}"#,
            r#"{"\ud83d":1,"id":7,"method":null,"result":{},"method":null}"#,
        ] {
            let answer = response(text);
            assert_eq!(answer.id, Some(7), "{text}");
            assert!(answer.outcome.is_ok(), "{text}");
        }
    }

    #[test]
    fn reads_odd_errors() {
        let odd = |error: &str| {
            let text = format!(r#"{{"id":null,"error":{error}}}"#);
            response(&text).outcome.err().map(|error| error.to_string())
        };
        assert_eq!(odd(r#"{"code":"-32601"}"#).as_deref(), Some("no reason given (code -32601)"));
        assert_eq!(odd(r#"{"code":-1.0,"message":5}"#).as_deref(), Some("5 (code -1)"));
        assert_eq!(odd(r#""no""#).as_deref(), Some("no (the error is a string, not an object)"));
        assert_eq!(odd(r#"{"message":"no"}"#).as_deref(), Some("no (the error has no code)"));
        assert_eq!(odd(r#"{"code":null}"#).as_deref(), Some("no reason given (the error has no code)"));
        let other = r#"no (the error's code is not an integer: "E_X")"#;
        assert_eq!(odd(r#"{"code":"E_X","message":"no"}"#).as_deref(), Some(other));
        assert_eq!(odd(r#"{"code":5,"message":"a\ud83d","\ud83d":1}"#).as_deref(), Some("a\u{fffd} (code 5)"));
    }

    #[test]
    fn distinguishes_messages_from_other_text() {
        assert_eq!(parse("INFO ready").err(), Some(ParseError::NotJson));
        assert_eq!(parse("{\"id\":1,\"resu").err(), Some(ParseError::NotJson));
        assert_eq!(parse("42").err(), Some(ParseError::NotRpc));
        assert_eq!(parse("{\"level\":\"info\"}").err(), Some(ParseError::NotRpc));
        assert_eq!(parse("[1]").err(), Some(ParseError::NotRpc));
        assert_eq!(parse(r#"{"id":1,"method":5}"#).err(), Some(ParseError::NotRpc));
    }

    #[test]
    fn half_a_surrogate_pair_in_the_envelope_is_replaced() {
        let text = r#"{"\ud83d":1,"method":"m\ud83d","params":["😀"]}"#;
        match parse(text).as_deref() {
            Ok([RpcMessage::Notification { method, params: Some(params) }]) => {
                assert_eq!((method.as_str(), params.get()), ("m\u{fffd}", r#"["😀"]"#));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(parse(r#"{"\ud83d"#).err(), Some(ParseError::NotJson));
    }

    #[test]
    fn null_id_marks_a_notification() {
        assert!(matches!(parse(r#"{"id":null,"method":"x"}"#).as_deref(), Ok([RpcMessage::Notification { .. }])));
        for text in [r#"{"id":"a","method":"x"}"#, r#"{"id":1,"method":"x","result":null,"error":null}"#] {
            assert!(matches!(parse(text).as_deref(), Ok([RpcMessage::Request { .. }])), "{text}");
        }
    }
}
