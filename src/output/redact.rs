//! Removes secrets from the raw text of messages before they are shown; the rest stays unchanged.
//!
//! In a JSON text the values are redacted one by one, so that it stays JSON whatever a secret looks like. The JSON that
//! mcpipe writes itself is put together from redacted values, and its member names are not searched.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use serde::de::IgnoredAny;
use serde_json::Value;

use super::json::{JsonToken, tokens};
use crate::protocol::json::parse_string;
use crate::protocol::json_cursor::find_member;
use crate::protocol::json_string::encode_string;
use crate::secret::REDACTED;
use crate::util::secret_names::{is_secret_name, is_secret_parameter_of_shown_url};

/// Shorter secrets are not searched for: they would match too often.
const MIN_SECRET_LENGTH: usize = 4;
/// Shorter lines of a secret of several lines are not searched for alone, in characters.
const MIN_LINE_LENGTH: usize = 16;
/// The end of a text that was cut.
const TRUNCATION_MARK: char = '…';
/// How deep JSON inside of strings inside of JSON is looked into.
const MAX_NESTING: usize = 4;
/// The member names of JSON-RPC 2.0 (its sections 4, 4.2, 5 and 5.1). They are public: hiding one hides no secret,
/// and a message without them cannot be read.
const PROTOCOL: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error", "code", "message", "data"];

/// The members of a recording whose values are words of mcpipe, or the name of a server.
const RECORDED_WORDS: &[&str] = &["dir", "server", "transport", "revision", "class", "certainty"];

/// The keywords of JSON Schema whose members are names of properties with the properties that they require (2020-12
/// validation §6.5.4; draft-07 validation §6.5.7).
const DEPENDENCIES: &[&str] = &["\"dependentRequired\"", "\"dependencies\""];

/// Secrets known by their text.
#[derive(Default)]
pub struct KnownSecrets(BTreeSet<(std::cmp::Reverse<usize>, String)>);

impl KnownSecrets {
    /// Adds one; also in the form it has inside a JSON string, and its lines: stderr, for one, is shown line by line.
    pub fn add(&mut self, secret: &str) {
        if secret.trim().chars().count() >= MIN_SECRET_LENGTH {
            self.0.extend(forms(secret));
        }
    }

    /// Removes one that was added.
    pub fn remove(&mut self, secret: &str) {
        for form in forms(secret) {
            self.0.remove(&form);
        }
    }

    /// Whether the text contains one.
    #[must_use]
    pub fn contains_secret(&self, text: &str) -> bool {
        self.0.iter().any(|(_, secret)| text.contains(secret.as_str()))
    }

    /// The JSON text without them; it stays JSON. A text that is not JSON is handled as in [`KnownSecrets::redact`].
    ///
    /// * In a string, the secret is replaced, however it is escaped; JSON inside the string is redacted as JSON.
    /// * A number, `true` or `false` that contains a secret becomes the string `"[redacted]"`; `null` stays.
    /// * A member name is handled as a string, except the names of JSON-RPC, which stay.
    /// * Of a secret that spans several values (a JSON object, say), each value that it touches is replaced.
    #[must_use]
    pub fn hide_json<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.hide_values(text, MAX_NESTING)
    }

    /// A line of a recording without them. What was exchanged is searched; the members of the format, and the values that
    /// it has names for, stay.
    #[must_use]
    pub fn hide_in_recorded_line(&self, line: &str) -> String {
        if self.0.is_empty() {
            return line.to_owned();
        }
        if let Some(message) = find_member(line, "message") {
            let start = message.as_ptr().addr() - line.as_ptr().addr();
            let (before, after) = (&line[..start], &line[start + message.len()..]);
            return format!("{before}{}{after}", self.hide_json(message));
        }
        match serde_json::from_str(line) {
            Ok(mut record) => {
                self.hide_texts(&mut record);
                record.to_string()
            }
            Err(_) => self.hide_json(line).into_owned(),
        }
    }

    fn hide_texts(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(hidden) = self.hide_in_string(text, MAX_NESTING) {
                    *text = hidden;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide_texts(item)),
            Value::Object(members) => {
                let searched = members.iter_mut().filter(|(name, _)| !RECORDED_WORDS.contains(&name.as_str()));
                searched.for_each(|(_, value)| self.hide_texts(value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn hide_values<'a>(&self, text: &'a str, depth: usize) -> Cow<'a, str> {
        let found = self.secret_ranges(text);
        if self.0.is_empty() || (found.is_empty() && !text.contains(['\\', TRUNCATION_MARK])) {
            return Cow::Borrowed(text);
        }
        if depth == 0 || serde_json::from_str::<IgnoredAny>(text.trim()).is_err() {
            return self.redact(text);
        }
        let mut found = found.into_iter().peekable();
        let mut edits = Replacements::new(text);
        for (start, token) in tokens(text) {
            let (JsonToken::String(piece) | JsonToken::Scalar(piece)) = token else { continue };
            let end = start + piece.len();
            // In a string, what is found inside its quotes depends on its escapes, and is looked for below.
            let text_token = matches!(token, JsonToken::String(_));
            let inside = |place: &Range<usize>| text_token && start < place.start && place.end < end;
            while found.next_if(|place| place.end <= start || inside(place)).is_some() {}
            let touched = found.peek().is_some_and(|place| place.start < end);
            let new = if let JsonToken::String(string) = token {
                let value = content(string);
                if text[end..].trim_start().starts_with(':') && PROTOCOL.contains(&&*value) {
                    continue;
                }
                // With one of its quotes: more than the string belongs to the secret.
                if touched {
                    Cow::Borrowed(REDACTED)
                } else {
                    match self.hide_in_string(&value, depth) {
                        Cow::Owned(new) => Cow::Owned(new),
                        Cow::Borrowed(_) => continue,
                    }
                }
            } else if touched && piece != "null" {
                Cow::Borrowed(REDACTED)
            } else {
                continue;
            };
            edits.replace(start..end, &encode_string(&new));
        }
        edits.finish()
    }

    /// The value of a JSON string, without secrets.
    fn hide_in_string<'a>(&self, value: &'a str, depth: usize) -> Cow<'a, str> {
        if !value.trim_start().starts_with(['{', '[']) {
            return self.redact(value);
        }
        match self.hide_values(value, depth - 1) {
            // Once more, as text: here the names of JSON-RPC are part of a value.
            Cow::Owned(new) => Cow::Owned(self.redact(&new).into_owned()),
            Cow::Borrowed(_) => self.redact(value),
        }
    }

    /// Where secrets are in the raw text, in order, without overlaps.
    fn secret_ranges(&self, text: &str) -> Vec<Range<usize>> {
        let mut all: Vec<Range<usize>> = self
            .0
            .iter()
            .flat_map(|(_, secret)| text.match_indices(secret.as_str()))
            .map(|(at, found)| at..at + found.len())
            .collect();
        all.sort_by_key(|place| place.start);
        all.dedup_by(|next, place| {
            let overlaps = next.start < place.end;
            if overlaps {
                place.end = place.end.max(next.end);
            }
            overlaps
        });
        all
    }

    /// The text without them, and without the part of one that was cut off.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for (_, secret) in &self.0 {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), REDACTED));
            }
        }
        if !self.0.is_empty() && text.contains(TRUNCATION_MARK) {
            let mut pieces: Vec<Cow<str>> = text.split(TRUNCATION_MARK).map(Cow::Borrowed).collect();
            let last = pieces.len() - 1;
            for piece in &mut pieces[..last] {
                if let Some(begun) = self.truncated_secret_length(piece) {
                    *piece = Cow::Owned(format!("{}{REDACTED}", &piece[..piece.len() - begun]));
                }
            }
            for piece in &mut pieces[1..] {
                if let Some(rest) = self.secret_end_length(piece) {
                    *piece = Cow::Owned(format!("{REDACTED}{}", &piece[rest..]));
                }
            }
            text = Cow::Owned(pieces.join("…"));
        }
        text
    }

    /// How much of a secret is at the end of this text, in bytes, if it is enough to recognize it.
    fn truncated_secret_length(&self, text: &str) -> Option<usize> {
        let ends = |secret: &str| {
            let starts = secret.char_indices().map(|(at, _)| at).skip(MIN_SECRET_LENGTH);
            starts.filter(|at| text.ends_with(&secret[..*at])).last()
        };
        self.0.iter().filter_map(|(_, secret)| ends(secret)).max()
    }

    /// The same for the end of a secret at the beginning of this text.
    fn secret_end_length(&self, text: &str) -> Option<usize> {
        let begins = |secret: &str| {
            let mut ends = secret.char_indices().map(|(at, _)| &secret[at..]).skip(1);
            let end = ends.find(|end| text.starts_with(end))?;
            (end.chars().count() >= MIN_SECRET_LENGTH).then_some(end.len())
        };
        self.0.iter().filter_map(|(_, secret)| begins(secret)).max()
    }
}

/// A secret as such and its lines, each also as inside a JSON string. The longest come first: one secret may contain
/// another.
fn forms(secret: &str) -> impl Iterator<Item = (std::cmp::Reverse<usize>, String)> {
    let secret = secret.trim();
    let lines = secret.lines().map(str::trim).filter(|line| line.len() < secret.len());
    // The first and the last line of a PEM file are no secret.
    let lines = lines.filter(|line| line.chars().count() >= MIN_LINE_LENGTH && !line.starts_with("-----"));
    std::iter::once(secret).chain(lines).flat_map(|plain| {
        let quoted = encode_string(plain);
        [plain, &quoted[1..quoted.len() - 1]].map(|form| (std::cmp::Reverse(form.len()), form.to_owned()))
    })
}

/// The message without the values of members that hold secrets (credentials, and `requestState`: 2026-07-28,
/// basic/patterns/mrtr).
///
/// Under such a name, strings and numbers are hidden, alone or in an array; an object is looked into
/// (`"password": {"type": "string"}` is a schema). JSON inside of strings is looked into as well.
#[must_use]
pub fn redact_members(text: &str) -> Cow<'_, str> {
    redact_nested(text, MAX_NESTING)
}

fn redact_nested(text: &str, depth: usize) -> Cow<'_, str> {
    let mut edits = Replacements::new(text);
    // One entry for each open container: whether its scalars are secret, and whether arrays in it are names.
    let mut open: Vec<(bool, bool)> = vec![(false, false)];
    let mut key: Option<&str> = None;
    let (mut secret_next, mut names_next) = (false, false);
    for (at, token) in tokens(text) {
        let (in_secret, in_names) = open.last().copied().unwrap_or_default();
        let hidden = secret_next || in_secret;
        let replacement = match token {
            JsonToken::Punctuation(':') => {
                secret_next = key.is_some_and(is_secret_key);
                names_next = key.is_some_and(|key| DEPENDENCIES.contains(&key));
                continue;
            }
            JsonToken::Punctuation('[') => {
                open.push((hidden && !in_names, false));
                None
            }
            JsonToken::Punctuation('{') => {
                open.push((false, names_next));
                None
            }
            JsonToken::Punctuation(']' | '}') => {
                open.pop();
                None
            }
            JsonToken::Punctuation(_) => None,
            JsonToken::Scalar(scalar) => {
                let shown = !hidden || matches!(scalar, "null" | "true" | "false");
                if shown { None } else { Some((scalar.len(), encode_string(REDACTED))) }
            }
            JsonToken::String(string) => {
                key = Some(string);
                if hidden {
                    Some((string.len(), encode_string(REDACTED)))
                } else {
                    redact_json_string(string, depth).map(|new| (string.len(), new))
                }
            }
        };
        (secret_next, names_next) = (false, false);
        if let Some((length, new)) = replacement {
            edits.replace(at..at + length, &new);
        }
    }
    edits.finish()
}

/// A text with some of its ranges replaced, from front to back.
struct Replacements<'a> {
    text: &'a str,
    out: String,
    copied: usize,
}

impl<'a> Replacements<'a> {
    fn new(text: &'a str) -> Self {
        Replacements { text, out: String::new(), copied: 0 }
    }

    fn replace(&mut self, range: Range<usize>, new: &str) {
        self.out.push_str(&self.text[self.copied..range.start]);
        self.out.push_str(new);
        self.copied = range.end;
    }

    /// Borrowed if nothing was replaced.
    fn finish(mut self) -> Cow<'a, str> {
        if self.copied == 0 {
            return Cow::Borrowed(self.text);
        }
        self.out.push_str(&self.text[self.copied..]);
        Cow::Owned(self.out)
    }
}

/// A string that holds JSON with secrets in it, without them.
fn redact_json_string(token: &str, depth: usize) -> Option<String> {
    if depth == 0 || !looks_like_json(token) {
        return None;
    }
    match redact_nested(&parse_string(token)?, depth - 1) {
        Cow::Owned(changed) => Some(encode_string(&changed)),
        Cow::Borrowed(_) => None,
    }
}

/// Whether a string may hold JSON with strings in it. It is not decoded, since it may be large.
fn looks_like_json(token: &str) -> bool {
    let mut start = &token[1..];
    while let Some(rest) = [" ", r"\n", r"\r", r"\t"].iter().find_map(|blank| start.strip_prefix(blank)) {
        start = rest;
    }
    let is_container = start.starts_with(['{', '[']) || start.starts_with(r"\u00");
    is_container && (token.contains(r#"\""#) || token.contains(r"\u0022"))
}

fn is_secret_key(key: &str) -> bool {
    is_secret_name(&content(key))
}

/// The value of a JSON string.
fn content(token: &str) -> Cow<'_, str> {
    if token.contains('\\') { parse_string(token).unwrap_or_default().into() } else { token.trim_matches('"').into() }
}

/// A URL without its password and the values of query parameters that hold secrets.
#[must_use]
pub fn redact_url(text: &str) -> Cow<'_, str> {
    let (head, query) = text.split_once('?').map_or((text, None), |(head, query)| (head, Some(query)));
    let head = match head.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            match authority.rsplit_once('@') {
                Some((_, host)) => Cow::Owned(format!("{scheme}://{REDACTED}@{host}{path}")),
                None => Cow::Borrowed(head),
            }
        }
        None => Cow::Borrowed(head),
    };
    let Some(query) = query else { return head };
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_secret_parameter_of_shown_url(name) => {
            format!("{name}={REDACTED}")
        }
        _ => pair.to_owned(),
    };
    Cow::Owned(format!("{head}?{}", query.split('&').map(pair).collect::<Vec<_>>().join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_members_and_leaves_the_rest_to_the_byte() {
        for (text, shown) in [
            (r#"{"id":1, "n":1E2}"#, r#"{"id":1, "n":1E2}"#),
            (
                r#"{"result":{"requestState":"abc","n":1E2 , "n":2}}"#,
                r#"{"result":{"requestState":"[redacted]","n":1E2 , "n":2}}"#,
            ),
            (r#"{"Authorization" : "Bearer x"}"#, r#"{"Authorization" : "[redacted]"}"#),
            (
                r#"{"access_token":"x","refreshToken":7}"#,
                r#"{"access_token":"[redacted]","refreshToken":"[redacted]"}"#,
            ),
            (r#"{"user_password":null,"progressToken":5}"#, r#"{"user_password":null,"progressToken":5}"#),
            (r#"{"cookie":["a","b"],"x":["c"]}"#, r#"{"cookie":["[redacted]","[redacted]"],"x":["c"]}"#),
            (r#"{"\u0070assword":"x"}"#, r#"{"\u0070assword":"[redacted]"}"#),
            (r#"["password","x"]"#, r#"["password","x"]"#),
        ] {
            assert_eq!(redact_members(text), shown);
        }
    }

    #[test]
    fn a_schema_with_a_password_stays() {
        let schema = r#"{"properties":{"password":{"type":"string","title":"x"}},"required":["password"]}"#;
        assert_eq!(redact_members(schema), schema);
        let schema = r#"{"dependentRequired":{"password":["text"]},"dependencies":{"token":["text"],"a":{}}}"#;
        assert_eq!(redact_members(schema), schema);
        for (text, shown) in [
            (r#"["dependencies",{"token":["x"]}]"#, r#"["dependencies",{"token":["[redacted]"]}]"#),
            (r#"{"dependencies":{"a":{"token":["x"]}}}"#, r#"{"dependencies":{"a":{"token":["[redacted]"]}}}"#),
            (r#"{"dependencies":{},"token":["x"]}"#, r#"{"dependencies":{},"token":["[redacted]"]}"#),
            (r#"{"dependencies":{"token":"x"}}"#, r#"{"dependencies":{"token":"[redacted]"}}"#),
        ] {
            assert_eq!(redact_members(text), shown);
        }
    }

    #[test]
    fn looks_into_json_inside_of_strings() {
        assert_eq!(
            redact_members(r#"{"text":"{\"access_token\": \"x\", \"a\": 1}"}"#),
            r#"{"text":"{\"access_token\": \"[redacted]\", \"a\": 1}"}"#
        );
        assert_eq!(
            redact_members(r#"{"text":"\n{\u0022access_token\u0022:\u0022x\u0022}"}"#),
            r#"{"text":"\n{\"access_token\":\"[redacted]\"}"}"#
        );
        let harmless = r#"{"text":"{\"a\": \"\/\"}"}"#;
        assert_eq!(redact_members(harmless), harmless);
    }

    #[test]
    fn bears_what_is_no_json() {
        assert_eq!(redact_members(r#"{"password":"x"#), r#"{"password":"[redacted]""#);
        assert_eq!(redact_members("password: x ]}]}"), "password: x ]}]}");
    }

    #[test]
    fn urls_lose_passwords_and_tokens() {
        for (text, shown) in [
            ("https://h/a?b=c&d", "https://h/a?b=c&d"),
            ("https://u:p@h:1/a@b", "https://[redacted]@h:1/a@b"),
            ("https://h/?api_key=x&b=1&code=y", "https://h/?api_key=[redacted]&b=1&code=[redacted]"),
            ("nonsense?token=x", "nonsense?token=[redacted]"),
        ] {
            assert_eq!(redact_url(text), shown);
        }
    }

    #[test]
    fn a_secret_that_was_removed_is_shown() {
        let mut known = KnownSecrets::default();
        known.add("first\"token");
        known.add("second");
        known.remove("first\"token");
        let text = r#"first"token first\"token second"#;
        assert_eq!(known.redact(text), r#"first"token first\"token [redacted]"#);
    }

    #[test]
    fn known_secrets_go_longest_first_and_escaped() {
        let mut known = KnownSecrets::default();
        known.add("secret");
        known.add("secret\"more");
        known.add("abc");
        assert_eq!(known.redact("a secret, abc"), "a [redacted], abc");
        assert_eq!(known.redact(r#"{"x":"secret\"more"}"#), r#"{"x":"[redacted]"}"#);
        assert_eq!(known.redact("secret\"more"), "[redacted]");
        assert!(matches!(known.redact("nothing"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_beginning_of_a_secret_that_was_cut_off_is_hidden_too() {
        let mut known = KnownSecrets::default();
        known.add("sécret-of-ada");
        known.add("sécond");
        for (text, shown) in [
            ("said: sécret-of…", "said: [redacted]…"),
            ("sécret… and sécr… x", "[redacted]… and [redacted]… x"),
            ("sécret-of-ada…", "[redacted]…"),
            ("séc… sécret-of", "séc… sécret-of"),
            ("harmless…", "harmless…"),
            ("…", "…"),
        ] {
            assert_eq!(known.redact(text), shown);
        }
    }

    #[test]
    fn the_end_of_a_secret_whose_beginning_was_cut_off_is_hidden_too() {
        let known = knowing(&["sécret-of-ada"]);
        for (text, shown) in [
            ("…of-ada is not one", "…[redacted] is not one"),
            ("…écret-of-ada", "…[redacted]"),
            ("…ada", "…ada"),
            ("… of-ada", "… of-ada"),
        ] {
            assert_eq!(known.redact(text), shown);
        }
    }

    #[test]
    fn the_lines_of_a_secret_are_hidden_one_by_one() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqh\nAAAA\n-----END KEY-----\n";
        let mut known = knowing(&[key]);
        assert_eq!(known.redact(key), "[redacted]\n");
        assert_eq!(known.redact("MIIEvQIBADANBgkqh"), "[redacted]");
        assert_eq!(known.redact("-----BEGIN KEY----- AAAA"), "-----BEGIN KEY----- AAAA");
        known.remove(key);
        assert_eq!(known.redact(key), key);
    }

    fn knowing(secrets: &[&str]) -> KnownSecrets {
        let mut known = KnownSecrets::default();
        secrets.iter().for_each(|secret| known.add(secret));
        known
    }

    #[test]
    fn json_is_redacted_value_by_value_and_keeps_every_other_byte() {
        for (secret, text, shown) in [
            (
                "12345678",
                r#"{"a": 12345678 ,"b":-12345678.5e3,"c":1E2}"#,
                r#"{"a": "[redacted]" ,"b":"[redacted]","c":1E2}"#,
            ),
            ("12345678", "12345678\n", "\"[redacted]\"\n"),
            ("12345678", r#"["\u0031234567\u0038\/","\u00e9\/"]"#, r#"["[redacted]/","\u00e9\/"]"#),
            // Names: those of JSON-RPC stay, wherever they are; others are redacted.
            ("message", r#"{"message":"a message","messages":1}"#, r#"{"message":"a [redacted]","[redacted]s":1}"#),
            ("message", r#"{"\u006dessage" : {"message":1}}"#, r#"{"\u006dessage" : {"message":1}}"#),
            ("hunter22", r#"{"a":{"hunter22":1},"\u0068unter22" :2}"#, r#"{"a":{"[redacted]":1},"[redacted]" :2}"#),
            ("true", r#"{"true":true,"n":[null,false]}"#, r#"{"[redacted]":"[redacted]","n":[null,false]}"#),
            ("null", r#"{"n":null,"s":"null"}"#, r#"{"n":null,"s":"[redacted]"}"#),
            // JSON in a string, at any number of levels, with the escapes of its own.
            ("12345678", r#"["{\"pin\":12345678, \"a\":1}"]"#, r#"["{\"pin\":\"[redacted]\", \"a\":1}"]"#),
            ("a&b=cd", r#"["[\"a\\u0026b=cd\"]"]"#, r#"["[\"[redacted]\"]"]"#),
            ("message", r#"["{\"message\":1}"]"#, r#"["{\"[redacted]\":1}"]"#),
            // A secret that is itself JSON, or that spans several values.
            (r#"{"key":"s3cret"}"#, r#"{"a":{"key":"s3cret"},"b":1}"#, r#"{"a":{"[redacted]":"[redacted]"},"b":1}"#),
            ("12,34", "[12,34,5]", r#"["[redacted]","[redacted]",5]"#),
            (r#""abc""#, r#"["abc","abcd"]"#, r#"["[redacted]","abcd"]"#),
            // Found in the raw text only: it is not in the value.
            ("n1234", r#"["\n1234"]"#, r#"["\n1234"]"#),
            // The beginning of a secret that was cut off.
            ("hunter22", r#"["is hunte…"]"#, r#"["is [redacted]…"]"#),
            // Not JSON: as text.
            ("12345678", r#"{"pin":12345678"#, r#"{"pin":[redacted]"#),
        ] {
            assert_eq!(knowing(&[secret]).hide_json(text), shown, "{secret}");
        }
        // One inside a string, and one that goes on after it.
        let known = knowing(&["abcd", r#"xy","z1"#]);
        assert_eq!(known.hide_json(r#"["abcd xy","z1 b"]"#), r#"["[redacted]","[redacted]"]"#);
        let known = knowing(&["hunter22"]);
        assert!(matches!(known.hide_json(r#"{"a":"\u00e9"}"#), Cow::Borrowed(_)));
    }

    /// Every string, number and name in a document; of the names, not those of JSON-RPC.
    fn words(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(members) => {
                for (name, value) in members {
                    if !PROTOCOL.contains(&name.as_str()) {
                        found.push(name.clone());
                    }
                    words(value, found);
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| words(item, found)),
            serde_json::Value::String(text) => found.push(text.clone()),
            serde_json::Value::Null => {}
            other => found.push(other.to_string()),
        }
    }

    #[test]
    fn whatever_a_secret_looks_like_json_stays_json_and_does_not_show_it() {
        let pieces = [
            "null",
            "true",
            "false",
            "{\"",
            "\"",
            "\"\"",
            ":",
            "\":",
            ",",
            "\",\"",
            "[",
            "]}",
            "{}",
            "\\",
            "\\\\",
            "\\\"",
            "\\u00",
            "\\/",
            "/",
            "[redacted]",
            "redacted",
            "12345678",
            "1E2",
            "-0.5",
            "message",
            "data",
            "jsonrpc",
            "é",
            "\u{1f600}",
            "\n",
            "…",
            " ",
            "\u{a0}",
            "x",
        ];
        let mut secrets: Vec<String> = pieces.iter().map(|piece| piece.repeat(4)).collect();
        secrets.extend(pieces.iter().map(|&piece| piece.to_owned()));
        for first in pieces {
            secrets.extend(pieces.iter().map(|second| format!("{first}{second}")));
        }
        let escaped = |text: &str| {
            let ascii = |c: char| match c {
                '/' => r"\/".to_owned(),
                c if c.is_ascii() => c.to_string(),
                c => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04X}")).collect(),
            };
            text.chars().map(ascii).collect::<String>()
        };
        for secret in &secrets {
            let nested = serde_json::json!({"a": [secret, {secret: null}]}).to_string();
            let mut document = serde_json::json!({
                "jsonrpc": "2.0", "id": 12345678, "method": secret, "message": [null, true, false, -0.5, "…", "\n"],
                "data": {secret: {secret: [secret, format!("<{secret}>"), format!("{secret}{secret}")], "é": nested}},
            });
            // Where a secret is a JSON value itself, that value as well.
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(secret) {
                document["result"] = serde_json::json!([value, {"x": value}]);
            }
            for text in [document.to_string(), escaped(&document.to_string()), format!("{document:#}")] {
                let known = knowing(&[secret, "another secret"]);
                let shown = known.hide_json(&text);
                let value: serde_json::Value =
                    serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{secret:?}: {error}: {shown}"));
                let names = |value: &serde_json::Value| {
                    value.as_object().map(|members| members.keys().cloned().collect::<Vec<_>>())
                };
                assert_eq!(names(&value), names(&document), "{secret:?}: {shown}");
                let mut found = Vec::new();
                words(&value, &mut found);
                let secret = secret.trim();
                if secret.chars().count() >= MIN_SECRET_LENGTH && !REDACTED.contains(secret) {
                    // What was put in its place may complete another one by chance.
                    found.iter_mut().for_each(|word| *word = word.replace(REDACTED, "\u{0}"));
                    assert!(!found.iter().any(|word| word.contains(secret)), "{secret:?}: {shown}");
                }
            }
        }
    }
}
