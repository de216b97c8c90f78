//! What a token endpoint answers, read leniently: deployed servers write numbers as strings, scopes as
//! lists and leave out what they find obvious.

use serde_json::{Map, Value};
use url::form_urlencoded;

use super::callback::short;
use crate::error::{Class, Failure};
use crate::secret::Secret;

/// How a token is shown to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// `Authorization: Bearer` (RFC 6750).
    #[default]
    Bearer,
    /// `Authorization: DPoP`, with a proof (RFC 9449).
    Dpop,
}

/// The answer to a token request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The access token.
    pub access: Secret,
    /// How to show it.
    pub kind: Kind,
    /// The refresh token, where there is one.
    pub refresh: Option<Secret>,
    /// How long the access token lives, in seconds, where the server says it.
    pub expires_in: Option<u64>,
    /// The scopes granted, where they are named.
    pub scopes: Option<Vec<String>>,
}

/// An error answer of an OAuth endpoint (RFC 6749 §5.2, RFC 7591 §3.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The HTTP status.
    pub status: u16,
    /// The code; empty where the answer was no OAuth error.
    pub error: String,
    /// What the server says about it.
    pub description: Option<String>,
}

impl Denied {
    /// Whether it is this error.
    #[must_use]
    pub fn is(&self, error: &str) -> bool {
        self.error == error
    }

    /// Whether trying again later may help: the server failed, and did not refuse.
    #[must_use]
    pub fn passing(&self) -> bool {
        let words = ["temporarily_unavailable", "server_error", "slow_down"];
        self.status >= 500 || self.status == 429 || words.contains(&self.error.as_str())
    }

    /// The failure that it means: `what` says what was refused.
    #[must_use]
    pub fn failure(&self, what: &str) -> Failure {
        let class = if self.passing() { Class::Unreachable } else { Class::Auth };
        let failure = Failure::new(class, what);
        match (&self.error, &self.description) {
            (error, None) if error.is_empty() => failure.cause(format!("HTTP {}", self.status)),
            (error, Some(text)) if error.is_empty() => failure.cause(format!("HTTP {}: {text}", self.status)),
            (error, None) => failure.cause(format!("{error} (HTTP {})", self.status)),
            (error, Some(text)) => failure.cause(format!("{error}: {text} (HTTP {})", self.status)),
        }
    }
}

/// Why an answer is not a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoToken {
    /// The server refused.
    Denied(Denied),
    /// The answer cannot be used.
    Unusable(String),
}

/// Reads the answer of a token endpoint.
///
/// # Errors
/// A refusal, or what is wrong with the answer.
pub fn read(status: u16, body: &[u8]) -> Result<Granted, NoToken> {
    let document = document(body);
    // GitHub reports errors under 200.
    let token = document.as_ref().and_then(|document| member(document, "access_token"));
    let (Some(document), Some(access)) = (&document, token) else {
        return Err(if (200..300).contains(&status) && !has_error(document.as_ref()) {
            NoToken::Unusable("the answer holds no access token".into())
        } else {
            NoToken::Denied(denied(status, body))
        });
    };
    if !(200..300).contains(&status) {
        return Err(NoToken::Denied(denied(status, body)));
    }
    let kind = match member(document, "token_type") {
        None => Kind::Bearer,
        Some(kind) if kind.eq_ignore_ascii_case("bearer") => Kind::Bearer,
        Some(kind) if kind.eq_ignore_ascii_case("dpop") => Kind::Dpop,
        Some(kind) => return Err(NoToken::Unusable(format!("tokens of type '{}' are unknown", short(kind, 40)))),
    };
    if access.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(NoToken::Unusable("the access token holds blanks or control characters".into()));
    }
    Ok(Granted {
        access: Secret::new(access),
        kind,
        refresh: member(document, "refresh_token").map(Secret::new),
        expires_in: document.get("expires_in").and_then(seconds),
        scopes: document.get("scope").and_then(scopes),
    })
}

/// The token that a token exchange issued, of whatever type (RFC 8693 §2.2.1).
///
/// # Errors
/// As [`read`].
pub fn read_exchanged(status: u16, body: &[u8]) -> Result<Secret, NoToken> {
    match document(body).as_ref().and_then(|document| member(document, "access_token")) {
        Some(token) if (200..300).contains(&status) => Ok(Secret::new(token)),
        _ if (200..300).contains(&status) && !has_error(document(body).as_ref()) => {
            Err(NoToken::Unusable("the answer holds no token".into()))
        }
        _ => Err(NoToken::Denied(denied(status, body))),
    }
}

/// Reads an error answer.
#[must_use]
pub fn denied(status: u16, body: &[u8]) -> Denied {
    let document = document(body).unwrap_or_default();
    let error = member(&document, "error").map(|code| short(code, 60)).unwrap_or_default();
    let said = member(&document, "error_description").or_else(|| member(&document, "message"));
    Denied { status, error, description: said.map(|text| short(text, 300)) }
}

fn has_error(document: Option<&Map<String, Value>>) -> bool {
    document.is_some_and(|document| document.contains_key("error"))
}

/// A JSON object, or a form, which is what GitHub answers to those who do not say what they accept.
fn document(body: &[u8]) -> Option<Map<String, Value>> {
    let text = std::str::from_utf8(body).ok()?.trim_start_matches('\u{feff}').trim();
    if text.starts_with('{') {
        return serde_json::from_str(text).ok();
    }
    if text.starts_with("access_token=") || text.starts_with("error=") {
        let pairs = form_urlencoded::parse(text.as_bytes());
        return Some(pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect());
    }
    None
}

fn member<'a>(document: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    document.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty())
}

/// A life span; one that is not above zero says nothing.
fn seconds(value: &Value) -> Option<u64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // A hundred years are for ever.
    (number >= 1.0).then(|| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded from both sides")]
        let whole = number.min(3_155_760_000.0) as u64;
        whole
    })
}

fn scopes(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(words) => {
            // Slack and GitHub separate by commas, which a scope may hold as well.
            let separator = if words.trim().contains(' ') { ' ' } else { ',' };
            Some(words.split(separator).map(str::trim).filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect())
        }
        Value::Array(items) => Some(items.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn granted(body: &str) -> Granted {
        read(200, body.as_bytes()).unwrap()
    }

    #[test]
    fn reads_what_the_standard_says() {
        let body = r#"{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r","scope":"x y"}"#;
        let token = granted(body);
        assert_eq!((token.access.reveal(), token.kind), ("a", Kind::Bearer));
        assert_eq!(token.refresh.unwrap().reveal(), "r");
        assert_eq!(token.expires_in, Some(3600));
        assert_eq!(token.scopes.unwrap(), ["x", "y"]);
    }

    #[test]
    fn reads_what_servers_send_instead() {
        let life = |text: &str| granted(&format!(r#"{{"access_token":"a","expires_in":{text}}}"#)).expires_in;
        assert_eq!([life("3600.0"), life("\"3600\""), life("36e2")], [Some(3600); 3]);
        assert_eq!([life("0"), life("-5"), life("null"), life("\"soon\""), life("{}")], [None; 5]);
        assert_eq!(life("1e300"), Some(3_155_760_000));
        let token = granted(
            "\u{feff} {\"access_token\":\"a\",\"token_type\":\"bEARER\",\"scope\":[\"x\",1,\"y\"],\"refresh_token\":\"\"}",
        );
        assert_eq!((token.kind, token.refresh), (Kind::Bearer, None));
        assert_eq!(token.scopes.unwrap(), ["x", "y"]);
        assert_eq!(granted("access_token=a%2B&token_type=bearer&scope=repo%2Cgist").scopes.unwrap(), ["repo", "gist"]);
        assert_eq!(granted(r#"{"access_token":"a","token_type":"DPoP"}"#).kind, Kind::Dpop);
    }

    #[test]
    fn refuses_what_is_no_token() {
        for body in [r#"{"access_token":"a","token_type":"mac"}"#, r#"{"access_token":"a\r\nb"}"#, "{}", "<html>", ""] {
            assert!(matches!(read(200, body.as_bytes()), Err(NoToken::Unusable(_))), "{body}");
        }
    }

    #[test]
    fn tells_refusals_apart() {
        let refusal = |status, body: &str| match read(status, body.as_bytes()) {
            Err(NoToken::Denied(denied)) => denied,
            other => panic!("{other:?}"),
        };
        let denied = refusal(400, r#"{"error":"invalid_grant","error_description":"gone"}"#);
        assert!(denied.is("invalid_grant") && !denied.passing());
        let failure = denied.failure("cannot refresh");
        assert_eq!(failure.class(), Class::Auth);
        assert_eq!(failure.to_string(), "cannot refresh: invalid_grant: gone (HTTP 400)");
        assert!(refusal(200, r#"{"error":"bad_verification_code"}"#).is("bad_verification_code"));
        assert!(refusal(200, "error=bad_verification_code&error_description=x").is("bad_verification_code"));
        assert_eq!(refusal(503, "<html>").failure("x").class(), Class::Unreachable);
        assert_eq!(refusal(401, "").failure("x").to_string(), "x: HTTP 401");
        assert!(refusal(400, r#"{"access_token":"a","error":"e"}"#).is("e"));
    }

    #[test]
    fn an_exchanged_token_may_be_of_any_type() {
        let body = br#"{"access_token":"j","token_type":"N_A","issued_token_type":"urn:x"}"#;
        assert_eq!(read_exchanged(200, body).unwrap().reveal(), "j");
        assert!(matches!(read_exchanged(400, br#"{"error":"invalid_request"}"#), Err(NoToken::Denied(_))));
        assert!(matches!(read_exchanged(200, b"{}"), Err(NoToken::Unusable(_))));
    }
}
