//! Which recorded request a request is: the same method and the same parameters, apart from what differs from run to
//! run.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::script::SentKind;
use crate::protocol::json::{member, parse_string, parse_truncated};
use crate::protocol::{meta, method};
use crate::secret::REDACTED;

/// What a sent message is; `None` if it is not JSON-RPC.
pub(super) fn sent_kind(message: &RawValue) -> Option<SentKind> {
    let id = member(message, "id").map(|raw| raw.get().to_owned());
    let Some(method) = member(message, "method").and_then(|raw| parse_string(raw.get())) else {
        let outcome = member(message, "result").or_else(|| member(message, "error"))?;
        return Some(SentKind::Answer { id: id?, outcome: value_of(outcome) });
    };
    let Some(id) = id else { return Some(SentKind::Notification { method }) };
    let mut params = member(message, "params").map(value_of).unwrap_or_default();
    let progress_token = params.pointer("/_meta").and_then(|all| all.get(meta::PROGRESS_TOKEN)).map(Value::to_string);
    if method == method::INITIALIZE || method == method::DISCOVER {
        // They are about the client and its revisions.
        params = Value::Null;
    }
    if let Value::Object(members) = &mut params {
        members.remove("_meta");
        members.remove("requestState");
    }
    if params.as_object().is_some_and(Map::is_empty) {
        params = Value::Null;
    }
    Some(SentKind::Request { id, method, params, progress_token })
}

fn value_of(raw: &RawValue) -> Value {
    parse_truncated(raw.get()).map_or(Value::Null, |(value, _)| value)
}

/// The ID of a response, as JSON; `None` if the message is not a response.
pub(super) fn response_id(message: &RawValue) -> Option<String> {
    if member(message, "method").is_some() {
        return None;
    }
    member(message, "id").map(|raw| raw.get().to_owned())
}

/// Whether two IDs are the same. Some servers answer with a string what was sent as a number.
pub(super) fn is_same_id(one: &str, other: &str) -> bool {
    one.trim_matches('"') == other.trim_matches('"')
}

/// Whether a value may be the recorded one. What was redacted in the recording may be anything.
pub(super) fn fits(recorded: &Value, sent: &Value) -> bool {
    match (recorded, sent) {
        (Value::String(recorded), sent) if recorded == REDACTED => !sent.is_object(),
        (Value::String(recorded), Value::String(sent)) => recorded == sent || fits_redacted(recorded, sent),
        (Value::Array(recorded), Value::Array(sent)) => {
            recorded.len() == sent.len() && recorded.iter().zip(sent).all(|(recorded, sent)| fits(recorded, sent))
        }
        (Value::Object(recorded), Value::Object(sent)) => {
            recorded.len() == sent.len()
                && recorded.iter().all(|(name, value)| sent.get(name).is_some_and(|sent| fits(value, sent)))
        }
        (recorded, sent) => recorded == sent,
    }
}

/// Whether a text may be the recorded one, of which parts were redacted.
fn fits_redacted(recorded: &str, sent: &str) -> bool {
    let Some((start, rest)) = recorded.split_once(REDACTED) else { return false };
    let Some(mut left) = sent.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split(REDACTED).collect();
    let Some(end) = parts.pop() else { return false };
    for part in parts {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(end)
}

/// How many members of the parameters, at any depth, are the same: the more, the nearer.
pub(super) fn similarity(recorded: &Value, sent: &Value) -> usize {
    match (recorded, sent) {
        (Value::Object(recorded), Value::Object(sent)) => {
            recorded.iter().filter_map(|(name, value)| Some(1 + similarity(value, sent.get(name)?))).sum()
        }
        (recorded, sent) => usize::from(fits(recorded, sent)) * 2,
    }
}
