//! `--meta`, and the trace context of the environment: members that every request has in `_meta`.

use serde_json::{Map, Value};

use crate::commands::context::Context;
use crate::env;
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::{meta, rpc};
use crate::util::json_error::json_fault_at;

/// The members of `_meta` for the trace context, and the variables that hold them (SEP-414; OpenTelemetry, "Environment
/// Variables as Context Propagation Carriers").
const TRACE_MEMBERS: [(&str, &str); 3] =
    [(meta::TRACEPARENT, env::TRACEPARENT), (meta::TRACESTATE, env::TRACESTATE), (meta::BAGGAGE, env::BAGGAGE)];
/// The members that mcpipe itself sets, and what sets them.
const RESERVED_MEMBERS: [(&str, &str); 5] = [
    (meta::PROTOCOL_VERSION, "use --protocol"),
    (meta::LOG_LEVEL, "use --log-level"),
    (meta::CLIENT_INFO, "to send other values, use mcpipe request with _meta in PARAMS"),
    (meta::CLIENT_CAPABILITIES, "to send other values, use mcpipe request with _meta in PARAMS"),
    (meta::PROGRESS_TOKEN, "omit it: mcpipe requests progress itself"),
];

impl Context {
    /// The members that every request has in `_meta`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for an invalid `--meta`.
    pub(super) fn request_meta(&self) -> Result<Map<String, Value>> {
        let mut members = Map::new();
        for (member, variable) in TRACE_MEMBERS {
            if let Some(value) = self.env.get(variable).map(str::trim).filter(|value| !value.is_empty()) {
                members.insert(member.to_owned(), value.into());
            }
        }
        // An invalid parent is ignored, and then the state as well (W3C Trace Context, 3.2.2.4 and 3.3).
        if !members.get(meta::TRACEPARENT).and_then(Value::as_str).is_some_and(is_traceparent) {
            members.shift_remove(meta::TRACEPARENT);
            members.shift_remove(meta::TRACESTATE);
        }
        for option in &self.global.meta {
            let (key, value) = parse_member(option)?;
            let is_trace = TRACE_MEMBERS.iter().any(|(member, _)| *member == key);
            if is_trace && value.as_str() == Some("") {
                members.shift_remove(key);
                if key == meta::TRACEPARENT {
                    members.shift_remove(meta::TRACESTATE);
                }
            } else {
                members.insert(key.to_owned(), value);
            }
        }
        Ok(members)
    }

    /// A request as `--dry-run` prints it: without what the revision of the server adds to `_meta`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for an invalid `--meta`.
    pub(super) fn dry_run_request(&self, id: u64, method: &str, mut params: Map<String, Value>) -> Result<String> {
        let mut members = self.request_meta()?;
        if let Some(Value::Object(own)) = params.get("_meta") {
            members.extend(own.clone());
        }
        if !members.is_empty() {
            params.insert("_meta".to_owned(), Value::Object(members));
        }
        Ok(rpc::request(id, method, Some(&Value::Object(params).to_string())))
    }
}

/// One `--meta`.
fn parse_member(option: &str) -> Result<(&str, Value)> {
    let usage = |message: String| Failure::new(ErrorKind::Usage, message);
    let Some((key, text)) = option.split_once('=') else {
        return Err(usage(format!("--meta: '{option}' has no '='")).hint("write it as KEY=VALUE or KEY:=JSON"));
    };
    let (key, value) = match key.strip_suffix(':') {
        None => (key, Value::String(text.to_owned())),
        Some(key) => {
            let value = serde_json::from_str(text);
            (
                key,
                value.map_err(|error| {
                    usage(format!("--meta {key}: the value is not JSON")).cause(json_fault_at(&error))
                })?,
            )
        }
    };
    if key.is_empty() {
        return Err(usage(format!("--meta: '{option}' has no key")).hint("write it as KEY=VALUE or KEY:=JSON"));
    }
    match RESERVED_MEMBERS.iter().find(|(member, _)| *member == key) {
        Some((_, hint)) => Err(usage(format!("--meta {key}: mcpipe sets this member itself")).hint(*hint)),
        None => Ok((key, value)),
    }
}

/// Whether this is a valid `traceparent`: version, trace id, parent id and flags in lower-case hexadecimal digits,
/// neither id zero (W3C Trace Context, 3.2.2). Later versions may append fields.
fn is_traceparent(value: &str) -> bool {
    let fields: Vec<&str> = value.split('-').collect();
    let [version, trace, parent, flags, rest @ ..] = fields.as_slice() else { return false };
    let is_hex = |field: &str, length: usize| {
        field.len() == length && field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_set = |field: &str| field.bytes().any(|byte| byte != b'0');
    is_hex(version, 2)
        && *version != "ff"
        && (rest.is_empty() || *version != "00")
        && is_hex(trace, 32)
        && is_set(trace)
        && is_hex(parent, 16)
        && is_set(parent)
        && is_hex(flags, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_has_four_fields_of_hexadecimal_digits() {
        let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        for valid in [format!("00-{trace}-{parent}-01"), format!("01-{trace}-{parent}-01-more")] {
            assert!(is_traceparent(&valid), "{valid}");
        }
        for invalid in [
            String::new(),
            format!("00-{trace}-{parent}"),
            format!("ff-{trace}-{parent}-01"),
            format!("00-{trace}-{parent}-01-more"),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
        ] {
            assert!(!is_traceparent(&invalid), "{invalid}");
        }
    }
}
