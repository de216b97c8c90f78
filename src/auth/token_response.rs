//! Responses of token endpoints, read leniently: deployed servers write numbers as strings and scopes as lists, and
//! omit required members.

use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::auth::interaction::UserInteraction;
use crate::error::{ErrorKind, Failure, is_temporary_status};
use crate::secret::Secret;
use crate::util::page_title::{is_page, page_title};
use crate::util::shorten::shorten;

/// The codes of errors that the parameter `resource` may cause (RFC 8707 §2, RFC 6749 §4.1.2.1).
pub const RESOURCE_ERRORS: [&str; 2] = ["invalid_target", "invalid_request"];
/// What to do about them.
pub const RESOURCE_HINT: &str = "if the authorization server does not support the parameter 'resource', log in with \
                                 --no-resource, or set resource = false in [servers.NAME.auth]";

/// How a token is sent to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenType {
    /// `Authorization: Bearer` (RFC 6750).
    #[default]
    Bearer,
    /// `Authorization: DPoP`, with a proof (RFC 9449).
    Dpop,
}

/// A successful response of a token endpoint (RFC 6749 §5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenResponse {
    /// The access token.
    pub access_token: Secret,
    /// How to send it.
    pub token_type: TokenType,
    /// The server's name for another type of token, which is sent as a bearer token: Slack issues `user` and `bot`.
    pub unknown_token_type: Option<String>,
    /// The refresh token, if there is one.
    pub refresh_token: Option<Secret>,
    /// The lifetime of the access token in seconds, if the server names it.
    pub expires_in: Option<u64>,
    /// The granted scopes, if the server names them.
    pub scopes: Option<Vec<String>>,
}

impl TokenResponse {
    /// Warns about what is not as RFC 6749 §5.1 requires it.
    pub fn warn_about_deviations(&self, user: &dyn UserInteraction) {
        if let Some(name) = &self.unknown_token_type {
            user.warn(&format!("the token type '{name}' is not known; the token is sent as a bearer token"));
        }
    }

    /// Registers its tokens, so that they are redacted in all output.
    pub fn register_secrets(&self, user: &dyn UserInteraction) {
        user.register_secret(&self.access_token);
        self.refresh_token.iter().for_each(|refresh| user.register_secret(refresh));
    }
}

/// An error response of an OAuth endpoint (RFC 6749 §5.2, RFC 7591 §3.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthError {
    /// The HTTP status.
    pub status: u16,
    /// The error code; empty if the response is not an OAuth error.
    pub code: String,
    /// The server's description of it.
    pub description: Option<String>,
}

impl OAuthError {
    /// Whether it has this error code.
    #[must_use]
    pub fn has_code(&self, error: &str) -> bool {
        self.code == error
    }

    /// Whether the parameter `resource` may be the reason.
    #[must_use]
    pub fn may_be_about_resource(&self) -> bool {
        RESOURCE_ERRORS.contains(&self.code.as_str())
    }

    /// Whether it tells about a login on another device (RFC 8628 §3.5), so that the request itself was accepted.
    #[must_use]
    pub fn is_about_device_login(&self) -> bool {
        ["authorization_pending", "slow_down", "access_denied", "expired_token"].contains(&self.code.as_str())
    }

    /// Whether the same request may succeed later: the server failed, it did not refuse.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let words = ["temporarily_unavailable", "server_error", "slow_down"];
        is_temporary_status(self.status) || words.contains(&self.code.as_str())
    }

    /// The failure to report; `what` says what was refused.
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

/// Reads the response of a token endpoint. The inner error is the server's own.
///
/// # Errors
/// Why the response cannot be used.
pub fn parse_token_response(status: u16, body: &[u8]) -> Result<Result<TokenResponse, OAuthError>, String> {
    let Some(document) = parse_body(body).filter(|_| (200..300).contains(&status)) else {
        return rejection(status, body, "it has no access token");
    };
    let Some(access) = string_member(&document, "access_token") else {
        return rejection(status, body, "it has no access token");
    };
    let (token_type, unknown_token_type) = match string_member(&document, "token_type") {
        Some(name) if name.eq_ignore_ascii_case("dpop") => (TokenType::Dpop, None),
        Some(name) if !name.eq_ignore_ascii_case("bearer") => (TokenType::Bearer, Some(shorten(name, 40))),
        _ => (TokenType::Bearer, None),
    };
    if access.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("the access token contains spaces or control characters".into());
    }
    Ok(Ok(TokenResponse {
        access_token: Secret::new(access),
        token_type,
        unknown_token_type,
        refresh_token: string_member(&document, "refresh_token").map(Secret::new),
        expires_in: document.get("expires_in").and_then(parse_lifetime),
        scopes: document.get("scope").and_then(parse_scopes),
    }))
}

/// Reads the token that a token exchange issued, of any type (RFC 8693 §2.2.1).
///
/// # Errors
/// As [`parse_token_response`].
pub fn parse_exchange_response(status: u16, body: &[u8]) -> Result<Result<Secret, OAuthError>, String> {
    match parse_body(body).as_ref().and_then(|document| string_member(document, "access_token")) {
        Some(token) if (200..300).contains(&status) => Ok(Ok(Secret::new(token))),
        _ => rejection(status, body, "it has no token"),
    }
}

/// The server's error in a response without a token; GitHub and Slack report errors with status 200. If the response
/// is a success without an error, it `lacks` something.
fn rejection<T>(status: u16, body: &[u8], lacks: &str) -> Result<Result<T, OAuthError>, String> {
    let error = parse_error_response(status, body);
    match (200..300).contains(&status) && error.code.is_empty() && error.description.is_none() {
        true => Err(lacks.to_owned()),
        false => Ok(Err(error)),
    }
}

/// Reads an error response, in any form: an OAuth error, an error object of an API, text, or a page.
#[must_use]
pub fn parse_error_response(status: u16, body: &[u8]) -> OAuthError {
    let document = parse_body(body).unwrap_or_default();
    let code = string_member(&document, "error").map(|code| shorten(code, 60)).unwrap_or_default();
    let text = String::from_utf8_lossy(body);
    let description = match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
        Ok(value) => error_message(&value, 0).map(ToOwned::to_owned),
        Err(_) if !document.is_empty() => string_member(&document, "error_description").map(ToOwned::to_owned),
        Err(_) => plain_text(&text),
    };
    OAuthError { status, code, description: description.map(|text| shorten(&text, 300)) }
}

/// The members in which servers say what is wrong, the standard one first; `errors` is a list of the same.
const MESSAGE_MEMBERS: [&str; 8] =
    ["error_description", "message", "error_message", "detail", "title", "reason", "error", "errors"];

/// The message of an error in JSON, which may be nested: Meta sends `{"error": {"message": …}}`, others a list.
fn error_message(value: &Value, depth: usize) -> Option<&str> {
    match value {
        Value::Object(members) if depth < 4 => MESSAGE_MEMBERS.iter().find_map(|name| match members.get(*name)? {
            // The code of an OAuth error, which is shown anyway.
            Value::String(_) if depth == 0 && *name == "error" => None,
            found => error_message(found, depth + 1),
        }),
        // A string in the outermost list could be anything, a token too.
        Value::Array(items) if depth < 4 => {
            let parts = items.iter().filter(|item| depth > 0 || !item.is_string());
            parts.into_iter().find_map(|item| error_message(item, depth + 1))
        }
        Value::String(text) if depth > 0 => Some(text.trim()).filter(|text| !text.is_empty()),
        _ => None,
    }
}

/// The longest word of an error in plain text, in bytes; tokens are longer.
const MAX_WORD_LENGTH: usize = 24;

/// The text of a body that is not JSON; of a page, its title. Only text in words: a body could be a token in a form
/// that is not known.
fn plain_text(body: &str) -> Option<String> {
    let text = body.trim();
    let text = if is_page(text) { page_title(text)? } else { text.to_owned() };
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_prose = words.iter().all(|word| word.len() <= MAX_WORD_LENGTH && !word.contains(['=', '&']));
    (is_prose && !words.is_empty()).then(|| words.join(" "))
}

/// A JSON object, or a form: GitHub sends one unless the request has an `Accept` header.
fn parse_body(body: &[u8]) -> Option<Map<String, Value>> {
    let text = std::str::from_utf8(body).ok()?.trim_start_matches('\u{feff}').trim();
    if text.starts_with('{') {
        return serde_json::from_str(text).ok();
    }
    let pairs = form_urlencoded::parse(text.as_bytes());
    let form: Map<String, Value> =
        pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect();
    (form.contains_key("access_token") || form.contains_key("error")).then_some(form)
}

fn string_member<'a>(document: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    document.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty())
}

/// A lifetime in seconds; one that is not positive is ignored.
fn parse_lifetime(value: &Value) -> Option<u64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // At most 100 years.
    (number >= 1.0).then(|| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded from both sides")]
        let whole = number.min(3_155_760_000.0) as u64;
        whole
    })
}

fn parse_scopes(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(words) => {
            // Slack and GitHub separate scopes by commas, which a scope may also contain.
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
        parse_token_response(200, body.as_bytes()).unwrap().unwrap()
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
        for body in [r#"{"access_token":"a\r\nb"}"#, "{}", "<html>", ""] {
            assert!(parse_token_response(200, body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn error_responses_are_classified() {
        let refusal = |status, body: &str| parse_token_response(status, body.as_bytes()).unwrap().unwrap_err();
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
    fn an_unknown_token_type_is_a_bearer_token() {
        let token = parse_success(r#"{"access_token":"a","token_type":"user"}"#);
        assert_eq!((token.token_type, token.unknown_token_type.as_deref()), (TokenType::Bearer, Some("user")));
        assert_eq!(parse_success(r#"{"access_token":"a","token_type":""}"#).unknown_token_type, None);
    }

    #[test]
    fn the_words_of_an_error_are_found_in_any_form() {
        let cause = |status, body: &str| {
            let error = parse_token_response(status, body.as_bytes()).unwrap().unwrap_err();
            error.to_failure("x").to_string()
        };
        for (body, said) in [
            (r#"{"ok":false,"error":"invalid_code"}"#, "x: invalid_code (HTTP 200)"),
            (r#"{"ok":false,"message":"bad code"}"#, "x: HTTP 200: bad code"),
            ("invalid code", "x: HTTP 200: invalid code"),
        ] {
            assert_eq!(cause(200, body), said, "{body}");
        }
        for (body, said) in [
            (
                r#"{"error":{"message":"Invalid verification code","type":"OAuthException","code":100}}"#,
                "Invalid verification code",
            ),
            (r#"[{"error":"invalid_grant","error_description":"gone"}]"#, "gone"),
            (r#"{"errors":[{"code":1,"message":"no such client"}]}"#, "no such client"),
            (r#"{"errors":["first","second"]}"#, "first"),
            ("  two\nlines ", "two lines"),
            ("<!DOCTYPE html><html><head><TITLE lang=en>Access\ndenied</TITLE>", "Access denied"),
        ] {
            assert_eq!(cause(400, body), format!("x: HTTP 400: {said}"), "{body}");
        }
        assert_eq!(cause(400, "<html><body>no title"), "x: HTTP 400");
    }

    /// A token in a response that is not understood must not become part of a message.
    #[test]
    fn a_body_that_could_be_a_token_is_not_quoted() {
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
        for body in [
            token.to_owned(),
            format!("token {token}"),
            format!("\"{token}\""),
            format!("[\"{token}\"]"),
            format!("token=abc&type={token}"),
            format!(r#"{{"token":"{token}"}}"#),
        ] {
            let error = parse_error_response(400, body.as_bytes());
            assert_eq!((error.code.as_str(), error.description), ("", None), "{body}");
            assert_eq!(parse_token_response(200, body.as_bytes()), Err("it has no access token".to_owned()), "{body}");
        }
        assert_eq!(parse_success("token_type=bearer&access_token=a").access_token.reveal(), "a");
    }

    #[test]
    fn an_exchanged_token_may_be_of_any_type() {
        let body = br#"{"access_token":"j","token_type":"N_A","issued_token_type":"urn:x"}"#;
        assert_eq!(parse_exchange_response(200, body).unwrap().unwrap().reveal(), "j");
        assert!(parse_exchange_response(400, br#"{"error":"invalid_request"}"#).unwrap().is_err());
        assert!(parse_exchange_response(200, b"{}").is_err());
    }
}
