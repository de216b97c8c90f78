//! What a token endpoint answers, read leniently: deployed servers write numbers as strings, scopes as
//! lists and leave out what they find obvious.

use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::auth::authorization_request::truncate;
use crate::error::{ErrorKind, Failure};
use crate::secret::Secret;

/// How a token is shown to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenType {
    /// `Authorization: Bearer` (RFC 6750).
    #[default]
    Bearer,
    /// `Authorization: DPoP`, with a proof (RFC 9449).
    Dpop,
}

/// The answer to a token request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenResponse {
    /// The access token.
    pub access_token: Secret,
    /// How to show it.
    pub token_type: TokenType,
    /// The refresh token, where there is one.
    pub refresh_token: Option<Secret>,
    /// How long the access token lives, in seconds, where the server says it.
    pub expires_in: Option<u64>,
    /// The scopes granted, where they are named.
    pub scopes: Option<Vec<String>>,
}

/// An error answer of an OAuth endpoint (RFC 6749 §5.2, RFC 7591 §3.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthError {
    /// The HTTP status.
    pub status: u16,
    /// The code; empty where the answer was no OAuth error.
    pub code: String,
    /// What the server says about it.
    pub description: Option<String>,
}

impl OAuthError {
    /// Whether it is this error.
    #[must_use]
    pub fn has_code(&self, error: &str) -> bool {
        self.code == error
    }

    /// Whether trying again later may help: the server failed, and did not refuse.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let words = ["temporarily_unavailable", "server_error", "slow_down"];
        self.status >= 500 || self.status == 429 || words.contains(&self.code.as_str())
    }

    /// The failure that it means: `what` says what was refused.
    #[must_use]
    pub fn to_failure(&self, what: &str) -> Failure {
        let class = if self.is_transient() { ErrorKind::Unreachable } else { ErrorKind::Auth };
        let failure = Failure::new(class, what);
        match (&self.code, &self.description) {
            (error, None) if error.is_empty() => failure.cause(format!("HTTP {}", self.status)),
            (error, Some(text)) if error.is_empty() => failure.cause(format!("HTTP {}: {text}", self.status)),
            (error, None) => failure.cause(format!("{error} (HTTP {})", self.status)),
            (error, Some(text)) => failure.cause(format!("{error}: {text} (HTTP {})", self.status)),
        }
    }
}

/// Why an answer is not a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The server refused.
    Rejected(OAuthError),
    /// The answer cannot be used.
    InvalidResponse(String),
}

/// Reads the answer of a token endpoint.
///
/// # Errors
/// A refusal, or what is wrong with the answer.
pub fn parse_token_response(status: u16, body: &[u8]) -> Result<TokenResponse, TokenError> {
    let document = parse_body(body);
    // GitHub reports errors under 200.
    let token = document.as_ref().and_then(|document| string_member(document, "access_token"));
    let (Some(document), Some(access)) = (&document, token) else {
        return Err(if (200..300).contains(&status) && !has_error(document.as_ref()) {
            TokenError::InvalidResponse("the answer holds no access token".into())
        } else {
            TokenError::Rejected(parse_error_response(status, body))
        });
    };
    if !(200..300).contains(&status) {
        return Err(TokenError::Rejected(parse_error_response(status, body)));
    }
    let kind = match string_member(document, "token_type") {
        None => TokenType::Bearer,
        Some(kind) if kind.eq_ignore_ascii_case("bearer") => TokenType::Bearer,
        Some(kind) if kind.eq_ignore_ascii_case("dpop") => TokenType::Dpop,
        Some(kind) => {
            return Err(TokenError::InvalidResponse(format!("tokens of type '{}' are unknown", truncate(kind, 40))));
        }
    };
    if access.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(TokenError::InvalidResponse("the access token holds blanks or control characters".into()));
    }
    Ok(TokenResponse {
        access_token: Secret::new(access),
        token_type: kind,
        refresh_token: string_member(document, "refresh_token").map(Secret::new),
        expires_in: document.get("expires_in").and_then(parse_lifetime),
        scopes: document.get("scope").and_then(parse_scopes),
    })
}

/// The token that a token exchange issued, of whatever type (RFC 8693 §2.2.1).
///
/// # Errors
/// As [`parse_token_response`].
pub fn parse_exchange_response(status: u16, body: &[u8]) -> Result<Secret, TokenError> {
    match parse_body(body).as_ref().and_then(|document| string_member(document, "access_token")) {
        Some(token) if (200..300).contains(&status) => Ok(Secret::new(token)),
        _ if (200..300).contains(&status) && !has_error(parse_body(body).as_ref()) => {
            Err(TokenError::InvalidResponse("the answer holds no token".into()))
        }
        _ => Err(TokenError::Rejected(parse_error_response(status, body))),
    }
}

/// Reads an error answer.
#[must_use]
pub fn parse_error_response(status: u16, body: &[u8]) -> OAuthError {
    let document = parse_body(body).unwrap_or_default();
    let error = string_member(&document, "error").map(|code| truncate(code, 60)).unwrap_or_default();
    let said = string_member(&document, "error_description").or_else(|| string_member(&document, "message"));
    OAuthError { status, code: error, description: said.map(|text| truncate(text, 300)) }
}

fn has_error(document: Option<&Map<String, Value>>) -> bool {
    document.is_some_and(|document| document.contains_key("error"))
}

/// A JSON object, or a form, which is what GitHub answers to those who do not say what they accept.
fn parse_body(body: &[u8]) -> Option<Map<String, Value>> {
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

fn string_member<'a>(document: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    document.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty())
}

/// A life span; one that is not above zero says nothing.
fn parse_lifetime(value: &Value) -> Option<u64> {
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

fn parse_scopes(value: &Value) -> Option<Vec<String>> {
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

    fn parse_success(body: &str) -> TokenResponse {
        parse_token_response(200, body.as_bytes()).unwrap()
    }

    #[test]
    fn reads_a_standard_token_response() {
        let body = r#"{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r","scope":"x y"}"#;
        let token = parse_success(body);
        assert_eq!((token.access_token.reveal(), token.token_type), ("a", TokenType::Bearer));
        assert_eq!(token.refresh_token.unwrap().reveal(), "r");
        assert_eq!(token.expires_in, Some(3600));
        assert_eq!(token.scopes.unwrap(), ["x", "y"]);
    }

    #[test]
    fn reads_nonstandard_token_responses() {
        let life = |text: &str| parse_success(&format!(r#"{{"access_token":"a","expires_in":{text}}}"#)).expires_in;
        assert_eq!([life("3600.0"), life("\"3600\""), life("36e2")], [Some(3600); 3]);
        assert_eq!([life("0"), life("-5"), life("null"), life("\"soon\""), life("{}")], [None; 5]);
        assert_eq!(life("1e300"), Some(3_155_760_000));
        let token = parse_success(
            "\u{feff} {\"access_token\":\"a\",\"token_type\":\"bEARER\",\"scope\":[\"x\",1,\"y\"],\"refresh_token\":\"\"}",
        );
        assert_eq!((token.token_type, token.refresh_token), (TokenType::Bearer, None));
        assert_eq!(token.scopes.unwrap(), ["x", "y"]);
        assert_eq!(
            parse_success("access_token=a%2B&token_type=bearer&scope=repo%2Cgist").scopes.unwrap(),
            ["repo", "gist"]
        );
        assert_eq!(parse_success(r#"{"access_token":"a","token_type":"DPoP"}"#).token_type, TokenType::Dpop);
    }

    #[test]
    fn rejects_responses_without_a_usable_token() {
        for body in [r#"{"access_token":"a","token_type":"mac"}"#, r#"{"access_token":"a\r\nb"}"#, "{}", "<html>", ""] {
            assert!(
                matches!(parse_token_response(200, body.as_bytes()), Err(TokenError::InvalidResponse(_))),
                "{body}"
            );
        }
    }

    #[test]
    fn error_responses_are_classified() {
        let refusal = |status, body: &str| match parse_token_response(status, body.as_bytes()) {
            Err(TokenError::Rejected(error)) => error,
            other => panic!("{other:?}"),
        };
        let denied = refusal(400, r#"{"error":"invalid_grant","error_description":"gone"}"#);
        assert!(denied.has_code("invalid_grant") && !denied.is_transient());
        let failure = denied.to_failure("cannot refresh");
        assert_eq!(failure.kind(), ErrorKind::Auth);
        assert_eq!(failure.to_string(), "cannot refresh: invalid_grant: gone (HTTP 400)");
        assert!(refusal(200, r#"{"error":"bad_verification_code"}"#).has_code("bad_verification_code"));
        assert!(refusal(200, "error=bad_verification_code&error_description=x").has_code("bad_verification_code"));
        assert_eq!(refusal(503, "<html>").to_failure("x").kind(), ErrorKind::Unreachable);
        assert_eq!(refusal(401, "").to_failure("x").to_string(), "x: HTTP 401");
        assert!(refusal(400, r#"{"access_token":"a","error":"e"}"#).has_code("e"));
    }

    #[test]
    fn an_exchanged_token_may_be_of_any_type() {
        let body = br#"{"access_token":"j","token_type":"N_A","issued_token_type":"urn:x"}"#;
        assert_eq!(parse_exchange_response(200, body).unwrap().reveal(), "j");
        assert!(matches!(
            parse_exchange_response(400, br#"{"error":"invalid_request"}"#),
            Err(TokenError::Rejected(_))
        ));
        assert!(matches!(parse_exchange_response(200, b"{}"), Err(TokenError::InvalidResponse(_))));
    }
}
