//! Messages of the client: where their parts are, and changes to them in place, so that a large one is held once.

use std::ops::Range;

use serde_json::value::RawValue;

use crate::protocol::json::{join_lines, members, object_members};
use crate::protocol::meta;
use crate::protocol::rpc::{ParseError, RawMessage};

/// One message of the client.
#[derive(Clone, Debug)]
pub struct ClientMessage {
    /// A JSON object without surrounding white space.
    text: String,
    /// What it is.
    pub kind: MessageKind,
    /// The ID, as a part of the text.
    id: Option<Range<usize>>,
    /// The parameters.
    params: Option<Range<usize>>,
}

/// What a message of the client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// A request of this method.
    Request(String),
    /// A notification of this method.
    Notification(String),
    /// The response to a request from the server.
    Response,
}

/// The messages in a line: one, or several as a batch (2025-03-26, basic/index, "Batching").
///
/// # Errors
/// If it is not a message.
pub fn parse_line(line: Vec<u8>) -> Result<Vec<ClientMessage>, ParseError> {
    let mut text = String::from_utf8(line).map_err(|_| ParseError::NotJson)?;
    text.truncate(text.trim_ascii_end().len());
    let start = text.len() - text.trim_start_matches('\u{feff}').trim_ascii_start().len();
    text.drain(..start);
    if !text.starts_with('[') {
        return ClientMessage::parse(text).map(|message| vec![message]);
    }
    let items: Vec<&RawValue> = serde_json::from_str(&text).map_err(|_| ParseError::NotJson)?;
    let messages: Vec<_> = items.iter().filter_map(|item| ClientMessage::parse(item.get().to_owned()).ok()).collect();
    if messages.is_empty() { Err(ParseError::NotRpc) } else { Ok(messages) }
}

/// Whether a message has a member that servers may take for its method or its parameters, because they compare names
/// without case, as Go does.
fn has_misspelled_member(text: &str) -> bool {
    let is_misspelled = |name: &str| {
        ["method", "params"].iter().any(|one| {
            // Also letters such as `\u{17f}`, whose upper case is an `S`.
            *one != name && one.to_uppercase() == name.to_uppercase()
        })
    };
    object_members(text).is_some_and(|all| all.iter().any(|(name, _)| is_misspelled(name)))
}

/// Where a part of a text is.
fn range_of(text: &str, part: &RawValue) -> Range<usize> {
    let start = part.get().as_ptr().addr() - text.as_ptr().addr();
    start..start + part.get().len()
}

impl ClientMessage {
    fn parse(text: String) -> Result<Self, ParseError> {
        let envelope: RawMessage<'_> = serde_json::from_str(&text)
            .map_err(|error| if error.is_data() { ParseError::NotRpc } else { ParseError::NotJson })?;
        let id = envelope.id.filter(|id| id.get() != "null").map(|id| range_of(&text, id));
        let params = envelope.params.map(|params| range_of(&text, params));
        let kind = match (envelope.method, &id) {
            (Some(method), Some(_)) => MessageKind::Request(method.into_owned()),
            (Some(method), None) => MessageKind::Notification(method.into_owned()),
            (None, Some(_)) if envelope.result.is_some() || envelope.error.is_some() => MessageKind::Response,
            (None, _) => return Err(ParseError::NotRpc),
        };
        if kind != MessageKind::Response && has_misspelled_member(&text) {
            return Err(ParseError::NotRpc);
        }
        Ok(ClientMessage { text, kind, id, params })
    }

    /// The text, on as many lines as it came on.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The ID as JSON; empty for a notification.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.clone().map_or("", |id| &self.text[id])
    }

    /// The method; empty for a response.
    #[must_use]
    pub fn method(&self) -> &str {
        match &self.kind {
            MessageKind::Request(method) | MessageKind::Notification(method) => method,
            MessageKind::Response => "",
        }
    }

    /// The parameters as JSON.
    #[must_use]
    pub fn params(&self) -> Option<&str> {
        self.params.clone().map(|params| &self.text[params])
    }

    /// A member of the parameters, or of an object in them, as JSON.
    #[must_use]
    pub fn param(&self, path: &[&str]) -> Option<&str> {
        let mut value = self.params()?;
        for name in path {
            let members = members_of(value)?;
            value = &value[members.into_iter().find(|(member, _)| member == name)?.1];
        }
        Some(value)
    }

    /// How many members of the parameters have this name, in upper or lower case.
    #[must_use]
    pub fn param_count(&self, name: &str) -> usize {
        let members = self.params().and_then(members_of).unwrap_or_default();
        members.into_iter().filter(|(member, _)| member.eq_ignore_ascii_case(name)).count()
    }

    /// A string among the parameters.
    #[must_use]
    pub fn string_param(&self, path: &[&str]) -> Option<String> {
        crate::protocol::json::parse_string(self.param(path)?)
    }

    /// A member of the message itself, as JSON: the result or the error of a response.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&str> {
        let members = members_of(&self.text)?;
        members.into_iter().find(|(member, _)| member == name).map(|(_, range)| &self.text[range])
    }

    /// The message with another ID and changed parameters.
    #[must_use]
    pub fn into_body(self, id: Option<&str>, edit: &ParamsEdit) -> String {
        let mut edits = edit.edits(&self);
        if let (Some(id), Some(range)) = (id, self.id) {
            edits.push((range, id.to_owned()));
        }
        let mut text = self.text;
        edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
        for (range, new) in edits {
            text.replace_range(range, &new);
        }
        join_lines(text).into_owned()
    }
}

/// The members of a JSON object in a text, and where each value is.
#[must_use]
pub fn members_of(object: &str) -> Option<Vec<(String, Range<usize>)>> {
    let raw: &RawValue = serde_json::from_str(object).ok()?;
    Some(members(raw)?.into_iter().map(|(name, value)| (name.into_owned(), range_of(object, value))).collect())
}

/// Changes to the parameters of a message.
#[derive(Clone, Debug, Default)]
pub struct ParamsEdit {
    /// Members to set, with their values as JSON.
    pub set: Vec<(&'static str, String)>,
    /// Members to add to `_meta`, as the inside of a JSON object.
    pub add_meta: Option<String>,
    /// Whether the members are removed from `_meta` that identify the client in each request (2026-07-28, basic/index,
    /// "`_meta`").
    pub removes_identity: bool,
}

/// What identifies the client in each request.
const IDENTITY: [&str; 4] = [meta::PROTOCOL_VERSION, meta::CLIENT_INFO, meta::CLIENT_CAPABILITIES, meta::LOG_LEVEL];

impl ParamsEdit {
    fn edits(&self, message: &ClientMessage) -> Vec<(Range<usize>, String)> {
        let mut edits = Vec::new();
        if self.set.is_empty() && self.add_meta.is_none() && !self.removes_identity {
            return edits;
        }
        let params = message.params.clone().filter(|params| &message.text[params.clone()] != "null");
        let Some(params) = params else {
            let mut inserted: Vec<String> =
                self.set.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            inserted.extend(self.add_meta.as_ref().map(|members| format!("\"_meta\":{{{members}}}")));
            if inserted.is_empty() {
                return edits;
            }
            let inserted = format!("{{{}}}", inserted.join(","));
            match &message.params {
                Some(null) => edits.push((null.clone(), inserted)),
                None => {
                    let end = message.text.len() - 1;
                    edits.push((end..end, format!(",\"params\":{inserted}")));
                }
            }
            return edits;
        };
        let text = &message.text[params.clone()];
        let Some(members) = members_of(text) else { return edits };
        let at = |range: &Range<usize>| params.start + range.start..params.start + range.end;
        let mut inserted = Vec::new();
        for (name, value) in &self.set {
            match members.iter().find(|(member, _)| member == name) {
                Some((_, range)) => edits.push((at(range), value.clone())),
                None => inserted.push(format!("\"{name}\":{value}")),
            }
        }
        match members.iter().find(|(member, _)| member == "_meta") {
            Some((_, range)) => edits.push((at(range), self.edited_meta(&text[range.clone()]))),
            None => inserted.extend(self.add_meta.as_ref().map(|members| format!("\"_meta\":{{{members}}}"))),
        }
        if !inserted.is_empty() {
            let start = params.start + 1;
            let comma = if members.is_empty() { "" } else { "," };
            edits.push((start..start, inserted.join(",") + comma));
        }
        edits
    }

    fn edited_meta(&self, text: &str) -> String {
        let kept = members_of(text).unwrap_or_default().into_iter();
        let kept = kept.filter(|(name, _)| !(self.removes_identity && IDENTITY.contains(&name.as_str())));
        let mut all: Vec<String> =
            kept.map(|(name, range)| format!("{}:{}", serde_json::Value::String(name), &text[range])).collect();
        all.extend(self.add_meta.clone());
        format!("{{{}}}", all.join(","))
    }
}

/// The value of a JSON object's member, as JSON.
#[must_use]
pub fn member_text<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    members_of(object)?.into_iter().find(|(member, _)| member == name).map(|(_, range)| &object[range])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn message(text: &str) -> ClientMessage {
        parse_line(text.as_bytes().to_vec()).unwrap().remove(0)
    }

    #[test]
    fn only_the_id_changes() {
        let text = "\u{feff} {\"id\" : \"a\\u0041\", \"jsonrpc\":\"2.0\",\"method\":\"x/y\",\"params\":{\"n\":1E2},\"z\":null}\r\n";
        let message = message(text);
        assert_eq!((message.id(), message.method()), (r#""a\u0041""#, "x/y"));
        let body = message.into_body(Some("7"), &ParamsEdit::default());
        assert_eq!(body, r#"{"id" : 7, "jsonrpc":"2.0","method":"x/y","params":{"n":1E2},"z":null}"#);
    }

    #[test]
    fn members_are_added_to_parameters_of_every_form() {
        let edit = ParamsEdit {
            set: vec![("name", "\"n\"".into())],
            add_meta: Some("\"m\":1".into()),
            removes_identity: false,
        };
        for (params, expected) in [
            ("", r#","params":{"name":"n","_meta":{"m":1}}"#),
            (r#","params":null"#, r#","params":{"name":"n","_meta":{"m":1}}"#),
            (r#","params":{}"#, r#","params":{"name":"n","_meta":{"m":1}}"#),
            (r#","params":{"name":"old", "a":[]}"#, r#","params":{"_meta":{"m":1},"name":"n", "a":[]}"#),
            (
                r#","params":{"a":1,"_meta":{"progressToken":"t"}}"#,
                r#","params":{"name":"n","a":1,"_meta":{"progressToken":"t","m":1}}"#,
            ),
        ] {
            let body = message(&format!(r#"{{"id":1,"method":"m"{params}}}"#)).into_body(None, &edit);
            assert_eq!(body, format!(r#"{{"id":1,"method":"m"{expected}}}"#));
        }
    }

    #[test]
    fn the_identity_of_the_client_is_removed() {
        let edit = ParamsEdit { removes_identity: true, ..ParamsEdit::default() };
        let text = r#"{"id":1,"method":"m","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","k":{"a": 1}}}}"#;
        assert_eq!(message(text).into_body(None, &edit), r#"{"id":1,"method":"m","params":{"_meta":{"k":{"a": 1}}}}"#);
        let text = r#"{"id":1,"method":"m","params":{"a":1}}"#;
        assert_eq!(message(text).into_body(None, &edit), text);
    }

    #[test]
    fn batches_are_taken_apart_and_other_text_is_refused() {
        let all = parse_line(br#"[{"id":1,"method":"a"}, {"method":"b"},{"id":2,"result":{}},3]"#.to_vec()).unwrap();
        let kinds: Vec<_> = all.into_iter().map(|message| message.kind).collect();
        let expected = [MessageKind::Request("a".into()), MessageKind::Notification("b".into()), MessageKind::Response];
        assert_eq!(kinds, expected);
        for (text, error) in [
            ("nonsense", ParseError::NotJson),
            ("{\"id\":1", ParseError::NotJson),
            ("[]", ParseError::NotRpc),
            ("{}", ParseError::NotRpc),
            (r#"{"id":null,"result":1}"#, ParseError::NotRpc),
            (r#"{"method":5}"#, ParseError::NotRpc),
        ] {
            assert_eq!(parse_line(text.as_bytes().to_vec()).err(), Some(error), "{text}");
        }
        assert_eq!(parse_line(vec![0xff]).err(), Some(ParseError::NotJson));
    }
}
