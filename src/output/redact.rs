//! Secrets taken out of messages before they are shown, on the raw text: the rest stays as it was.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::json::{Token, quote, tokens, unquote};
use crate::secret::REDACTED;

/// Members whose values are not shown, in lower case without `-` and `_`; a longer name that ends so
/// counts too, where it is in [`ENDINGS`].
const NAMES: &[&str] = &[
    "authorization",
    "cookie",
    "setcookie",
    "secret",
    "token",
    "codeverifier",
    "devicecode",
    "passphrase",
    "passwd",
    "mcpsessionid",
    "requeststate",
    "credentials",
];
const ENDINGS: &[&str] = &[
    "authorization",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "authtoken",
    "bearertoken",
    "clientsecret",
    "clientassertion",
    "password",
    "apikey",
    "privatekey",
    "secretkey",
];
/// Query parameters that are secret in a URL, though not in a message: an OAuth code, a signature.
const URL_NAMES: &[&str] = &["code", "state", "key", "sig", "signature"];
/// Shorter secrets are not looked for: they would be found everywhere.
const SHORTEST: usize = 4;
/// Ends a text that was cut off.
const CUT: char = '…';
/// How deep JSON inside of strings inside of JSON is looked into.
const DEPTH: usize = 4;

/// Secrets known by their text.
#[derive(Default)]
pub struct Known(BTreeSet<(std::cmp::Reverse<usize>, String)>);

impl Known {
    /// Adds one; also in the form it has inside a JSON string.
    pub fn add(&mut self, secret: &str) {
        let secret = secret.trim();
        if secret.chars().count() < SHORTEST {
            return;
        }
        let quoted = quote(secret);
        for form in [secret, &quoted[1..quoted.len() - 1]] {
            // The longest first: one secret may hold another.
            self.0.insert((std::cmp::Reverse(form.len()), form.to_owned()));
        }
    }

    /// The text without them, and without the beginning of one that was cut off.
    #[must_use]
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for (_, secret) in &self.0 {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), REDACTED));
            }
        }
        if !self.0.is_empty() && text.contains(CUT) {
            let mut pieces: Vec<Cow<str>> = text.split(CUT).map(Cow::Borrowed).collect();
            let cut = pieces.len() - 1;
            for piece in &mut pieces[..cut] {
                if let Some(begun) = self.begun(piece) {
                    *piece = Cow::Owned(format!("{}{REDACTED}", &piece[..piece.len() - begun]));
                }
            }
            text = Cow::Owned(pieces.join("…"));
        }
        text
    }

    /// How much of a secret stands at the end of this text, in bytes, where it is enough of one to tell.
    fn begun(&self, text: &str) -> Option<usize> {
        let ends = |secret: &str| {
            let starts = secret.char_indices().map(|(at, _)| at).skip(SHORTEST);
            starts.filter(|at| text.ends_with(&secret[..*at])).last()
        };
        self.0.iter().filter_map(|(_, secret)| ends(secret)).max()
    }
}

/// The message without the values of members that hold secrets (digest §5.5; `requestState`, digest §3.4).
///
/// Under such a name, strings and numbers are hidden, alone or in an array; an object is looked into
/// (`"password": {"type": "string"}` is a schema). JSON inside of strings is looked into as well.
#[must_use]
pub fn members(text: &str) -> Cow<'_, str> {
    within(text, DEPTH)
}

fn within(text: &str, depth: usize) -> Cow<'_, str> {
    let mut out: Option<String> = None;
    let mut copied = 0;
    // One entry for each open container: whether its scalars are secret.
    let mut open: Vec<bool> = vec![false];
    let mut key: Option<&str> = None;
    let mut secret_next = false;
    for (at, token) in tokens(text) {
        let hidden = secret_next || open.last() == Some(&true);
        let replacement = match token {
            Token::Mark(':') => {
                secret_next = key.is_some_and(is_secret);
                continue;
            }
            Token::Mark('[') => {
                open.push(hidden);
                None
            }
            Token::Mark('{') => {
                open.push(false);
                None
            }
            Token::Mark(']' | '}') => {
                open.pop();
                None
            }
            Token::Mark(_) => None,
            Token::Scalar(scalar) => {
                let shown = !hidden || matches!(scalar, "null" | "true" | "false");
                if shown { None } else { Some((scalar.len(), quote(REDACTED))) }
            }
            Token::Text(string) => {
                key = Some(string);
                if hidden {
                    Some((string.len(), quote(REDACTED)))
                } else {
                    inner(string, depth).map(|new| (string.len(), new))
                }
            }
        };
        secret_next = false;
        if let Some((length, new)) = replacement {
            let out = out.get_or_insert_with(|| String::with_capacity(text.len()));
            out.push_str(&text[copied..at]);
            out.push_str(&new);
            copied = at + length;
        }
    }
    match out {
        None => Cow::Borrowed(text),
        Some(mut out) => {
            out.push_str(&text[copied..]);
            Cow::Owned(out)
        }
    }
}

/// A string that holds JSON with secrets in it, without them.
fn inner(token: &str, depth: usize) -> Option<String> {
    let looks_like_json = token[1..].trim_start().starts_with(['{', '[']) && token.contains("\\\"");
    if depth == 0 || !looks_like_json {
        return None;
    }
    match within(&unquote(token)?, depth - 1) {
        Cow::Owned(changed) => Some(quote(&changed)),
        Cow::Borrowed(_) => None,
    }
}

fn is_secret(key: &str) -> bool {
    let name: Cow<str> =
        if key.contains('\\') { unquote(key).unwrap_or_default().into() } else { key.trim_matches('"').into() };
    is_secret_name(&name)
}

/// Whether a member, header or variable of this name holds a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let name: String = name.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect();
    NAMES.contains(&name.as_str()) || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Whether a query parameter of this name is configured with a secret. `code` and `state` are not: those come and go.
#[must_use]
pub fn is_secret_parameter(name: &str) -> bool {
    is_secret_name(name) || matches!(name, "key" | "sig" | "signature")
}

/// A URL without its password and the values of query parameters that hold secrets.
#[must_use]
pub fn url(text: &str) -> Cow<'_, str> {
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
        Some((name, _)) if is_secret_name(name) || URL_NAMES.contains(&name) => format!("{name}={REDACTED}"),
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
            assert_eq!(members(text), shown);
        }
    }

    #[test]
    fn a_schema_with_a_password_stays() {
        let schema = r#"{"properties":{"password":{"type":"string","title":"x"}},"required":["password"]}"#;
        assert_eq!(members(schema), schema);
    }

    #[test]
    fn looks_into_json_inside_of_strings() {
        assert_eq!(
            members(r#"{"text":"{\"access_token\": \"x\", \"a\": 1}"}"#),
            r#"{"text":"{\"access_token\": \"[redacted]\", \"a\": 1}"}"#
        );
        let harmless = r#"{"text":"{\"a\": \"\/\"}"}"#;
        assert_eq!(members(harmless), harmless);
    }

    #[test]
    fn bears_what_is_no_json() {
        assert_eq!(members(r#"{"password":"x"#), r#"{"password":"[redacted]""#);
        assert_eq!(members("password: x ]}]}"), "password: x ]}]}");
    }

    #[test]
    fn urls_lose_passwords_and_tokens() {
        for (text, shown) in [
            ("https://h/a?b=c&d", "https://h/a?b=c&d"),
            ("https://u:p@h:1/a@b", "https://[redacted]@h:1/a@b"),
            ("https://h/?api_key=x&b=1&code=y", "https://h/?api_key=[redacted]&b=1&code=[redacted]"),
            ("nonsense?token=x", "nonsense?token=[redacted]"),
        ] {
            assert_eq!(url(text), shown);
        }
    }

    #[test]
    fn known_secrets_go_longest_first_and_escaped() {
        let mut known = Known::default();
        known.add("secret");
        known.add("secret\"more");
        known.add("abc");
        assert_eq!(known.hide("a secret, abc"), "a [redacted], abc");
        assert_eq!(known.hide(r#"{"x":"secret\"more"}"#), r#"{"x":"[redacted]"}"#);
        assert_eq!(known.hide("secret\"more"), "[redacted]");
        assert!(matches!(known.hide("nothing"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_beginning_of_a_secret_that_was_cut_off_is_hidden_too() {
        let mut known = Known::default();
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
            assert_eq!(known.hide(text), shown);
        }
    }
}
