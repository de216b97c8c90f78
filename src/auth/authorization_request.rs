//! The authorization request and its response (RFC 6749 §4.1.1, RFC 7636, RFC 8707, RFC 9207).

use std::borrow::Cow;
use std::collections::BTreeMap;

use url::form_urlencoded::{self, Serializer};

use crate::auth::token_response::{RESOURCE_ERRORS, RESOURCE_HINT};
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::util::shorten::shorten;

/// An authorization request, and what its response is verified against.
#[derive(Clone, Debug)]
pub struct AuthorizationRequest {
    /// The endpoint, as it is in the metadata.
    pub endpoint: String,
    /// The client.
    pub client_id: String,
    /// The redirect URI.
    pub redirect_uri: String,
    /// The PKCE challenge.
    pub code_challenge: String,
    /// The value that links the response to this request.
    pub state: String,
    /// The resource, byte for byte (`AUT-14`); `None` if the user chose not to send it.
    pub resource: Option<String>,
    /// Additional parameters; an empty value removes one of those above.
    pub params: BTreeMap<String, String>,
    /// The scopes; if empty, none are requested.
    pub scopes: Vec<String>,
    /// The issuer, as it is in its own metadata (`AUT-16`).
    pub issuer: String,
    /// The issuer that the metadata names, if the user stated another: the response may name either.
    pub declared_issuer: Option<String>,
    /// Whether the metadata promises `iss` in the response.
    pub expects_iss: bool,
}

impl AuthorizationRequest {
    /// The URL to open in the browser.
    #[must_use]
    pub fn url(&self) -> String {
        let scopes = self.scopes.join(" ");
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", &self.redirect_uri),
            ("code_challenge", &self.code_challenge),
            ("code_challenge_method", "S256"),
            ("state", &self.state),
        ];
        pairs.extend(self.resource.as_deref().map(|resource| ("resource", resource)));
        if !self.scopes.is_empty() {
            pairs.push(("scope", &scopes));
            if self.scopes.iter().any(|scope| scope == crate::auth::scopes::OFFLINE_ACCESS) {
                // OpenID Connect Core §11: without it the request for offline access is ignored.
                pairs.push(("prompt", "consent"));
            }
        }
        pairs.retain(|(name, _)| !self.params.contains_key(*name));
        let added = self.params.iter().filter(|(_, value)| !value.is_empty());
        pairs.extend(added.map(|(name, value)| (name.as_str(), value.as_str())));
        let mut query = Serializer::new(String::new());
        query.extend_pairs(pairs);
        let endpoint = self.endpoint.split('#').next().unwrap_or_default();
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        format!("{endpoint}{joint}{}", query.finish())
    }

    /// Whether this may be the response: it has the `state` of this request. Another sender does not know it.
    #[must_use]
    pub fn matches_state(&self, query: &str) -> bool {
        let mut states = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "state");
        states.any(|(_, state)| state == self.state)
    }

    /// Verifies the response, given as the query of the redirect, and returns the code.
    ///
    /// # Errors
    /// [`ErrorKind::Auth`]: it belongs to another request or comes from another issuer, or the user or the server
    /// refused. Text from an unverified sender is not shown.
    pub fn verify_response(&self, query: &str) -> Result<Secret> {
        let answer = AuthorizationResponse::parse(query)?;
        match answer.state.as_deref() {
            Some(state) if state == self.state => {}
            Some(_) => return Err(invalid_response("the response belongs to another login ('state' differs)")),
            None => return Err(invalid_response("the response does not identify its login ('state' is missing)")),
        }
        match answer.iss.as_deref() {
            Some(iss) if iss == self.issuer || self.declared_issuer.as_deref() == Some(iss) => {}
            Some(_) => {
                return Err(invalid_response("the response comes from another authorization server ('iss' differs)")
                    .cause(format!("expected {}", self.issuer)));
            }
            None if self.expects_iss => {
                return Err(invalid_response("the response has no 'iss' (issuer)")
                    .cause(format!("the metadata of {} promises it", self.issuer)));
            }
            None => {}
        }
        if let Some(error) = answer.error {
            return Err(error_response_failure(&error, answer.error_description.as_deref()));
        }
        match answer.code {
            Some(code) if !code.is_empty() => Ok(Secret::new(code)),
            _ => Err(invalid_response("the response has neither a code nor an error")),
        }
    }

    /// Verifies what the user pasted: a redirected URL or its query, or only the code that a page shows. A code of
    /// another login is worth nothing: it fits another verifier (RFC 7636).
    ///
    /// # Errors
    /// As [`AuthorizationRequest::verify_response`].
    pub fn verify_pasted(&self, text: &str) -> Result<Secret> {
        match pasted_code(text, &self.state) {
            Some(_) if self.expects_iss => Err(Failure::new(ErrorKind::Auth, "the code alone cannot be verified")
                .cause(format!("according to its metadata, {} sends an 'iss' (issuer) with each code", self.issuer))
                .hint("paste the whole URL to which the browser was redirected")),
            Some(code) => Ok(Secret::new(code)),
            None => self.verify_response(pasted_query(text)?),
        }
    }

    /// Whether a pasted text is the response to this request, with success or an error.
    #[must_use]
    pub fn matches_pasted(&self, text: &str) -> bool {
        pasted_query(text).is_ok_and(|query| self.matches_state(query))
    }
}

/// The code, if it is all that was pasted. Some pages show it with the `state` behind a `#`.
fn pasted_code<'a>(text: &'a str, state: &str) -> Option<&'a str> {
    let text = text.trim().trim_matches(['"', '\'', '<', '>']);
    let code = text.strip_suffix(state).and_then(|rest| rest.strip_suffix('#')).unwrap_or(text);
    let is_code = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '&' | '#' | '"' | '\'' | '<' | '>');
    let (value, padding) = code.split_at(code.trim_end_matches('=').len());
    let is_bare = !value.is_empty() && padding.len() <= 2 && !value.contains('=') && !value.contains("://");
    (is_bare && value.chars().all(is_code)).then_some(code)
}

/// The query of what the user pasted: the redirected URL, or only its query.
///
/// # Errors
/// [`ErrorKind::Auth`] if it is neither.
fn pasted_query(text: &str) -> Result<&str> {
    let text = text.trim().trim_matches(['"', '\'', '<', '>']);
    let text = text.split('#').next().unwrap_or_default();
    // A URL without a query is not a response; but a response may contain a URL, in `iss`.
    let query = match text.split_once('?') {
        Some((_, query)) => query,
        None if text.contains("://") && !text.starts_with("code=") && !text.starts_with("state=") => "",
        None => text,
    };
    if query.contains('=') {
        return Ok(query);
    }
    Err(Failure::new(ErrorKind::Auth, "this is not the URL to which the browser was redirected")
        .hint("paste the whole URL of the page that the browser could not load; it contains 'code=' and 'state='"))
}

#[derive(Default)]
struct AuthorizationResponse<'a> {
    code: Option<Cow<'a, str>>,
    state: Option<Cow<'a, str>>,
    iss: Option<Cow<'a, str>>,
    error: Option<Cow<'a, str>>,
    error_description: Option<Cow<'a, str>>,
}

impl<'a> AuthorizationResponse<'a> {
    fn parse(query: &'a str) -> Result<Self> {
        let mut answer = AuthorizationResponse::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "code" => &mut answer.code,
                "state" => &mut answer.state,
                "iss" => &mut answer.iss,
                "error" => &mut answer.error,
                "error_description" => &mut answer.error_description,
                _ => continue,
            };
            // RFC 6749 §3.1: parameters must not be repeated; it would be unclear which one is valid.
            if place.replace(value).is_some() {
                return Err(invalid_response(&format!("the response has '{name}' twice")));
            }
        }
        Ok(answer)
    }
}

fn invalid_response(why: &str) -> Failure {
    Failure::new(ErrorKind::Auth, "the login was not accepted").cause(why)
}

/// The failure for an error response of the user or the authorization server.
fn error_response_failure(error: &str, description: Option<&str>) -> Failure {
    let failure = if error == "access_denied" {
        Failure::new(ErrorKind::Auth, "the login was refused").hint("log in again and allow the requested access")
    } else {
        Failure::new(ErrorKind::Auth, "the authorization server refused the login")
    };
    let failure = if RESOURCE_ERRORS.contains(&error) { failure.hint(RESOURCE_HINT) } else { failure };
    let said = match description.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => format!("{}: {}", shorten(error, 60), shorten(text, 300)),
        None => shorten(error, 60),
    };
    failure.cause(said)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn authorization_request() -> AuthorizationRequest {
        AuthorizationRequest {
            endpoint: "https://as/authorize".into(),
            client_id: "id".into(),
            redirect_uri: "http://127.0.0.1:1/callback".into(),
            code_challenge: "chal".into(),
            state: "st".into(),
            resource: Some("http://LOCALHOST:80".into()),
            params: BTreeMap::new(),
            scopes: vec!["a".into(), "b:c".into()],
            issuer: "https://as".into(),
            declared_issuer: None,
            expects_iss: false,
        }
    }

    fn rejection(request: &AuthorizationRequest, query: &str) -> String {
        let failure = request.verify_response(query).unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Auth);
        failure.to_string()
    }

    #[test]
    fn aut_14_the_resource_is_sent_byte_for_byte() {
        let url = authorization_request().url();
        assert!(url.starts_with("https://as/authorize?response_type=code&client_id=id&"), "{url}");
        let sent = url::Url::parse(&url).unwrap();
        let value = |name: &str| sent.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        assert_eq!(value("resource").as_deref(), Some("http://LOCALHOST:80"));
        assert_eq!(value("scope").as_deref(), Some("a b:c"));
        assert_eq!(value("code_challenge_method").as_deref(), Some("S256"));
        assert_eq!(value("redirect_uri").as_deref(), Some("http://127.0.0.1:1/callback"));
        assert_eq!(value("prompt"), None);
    }

    #[test]
    fn an_endpoint_keeps_its_own_query() {
        let request = AuthorizationRequest {
            endpoint: "https://as/a?tenant=x#frag".into(),
            scopes: vec![],
            ..authorization_request()
        };
        let url = request.url();
        assert!(url.starts_with("https://as/a?tenant=x&response_type=code&"), "{url}");
        assert!(!url.contains("scope="), "{url}");
    }

    #[test]
    fn aut_22_offline_access_asks_for_consent() {
        let request = AuthorizationRequest { scopes: vec!["offline_access".into()], ..authorization_request() };
        assert!(request.url().ends_with("&scope=offline_access&prompt=consent"));
    }

    #[test]
    fn parameters_are_added_replaced_and_removed() {
        let mut request = AuthorizationRequest { scopes: vec!["offline_access".into()], ..authorization_request() };
        let pairs = [("audience", "https://api"), ("prompt", ""), ("scope", "x y")];
        request.params = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        request.resource = None;
        let url = request.url();
        assert!(url.ends_with("&state=st&audience=https%3A%2F%2Fapi&scope=x+y"), "{url}");
    }

    #[test]
    fn a_code_can_be_pasted_without_the_url() {
        let request = authorization_request();
        for code in ["4/0AX4XfWh-_x", "abc==", "a.b~c", " 'abc' "] {
            let expected = code.trim().trim_matches('\'');
            assert_eq!(request.verify_pasted(code).unwrap().reveal(), expected);
        }
        assert_eq!(request.verify_pasted("abc#st").unwrap().reveal(), "abc");
        assert_eq!(request.verify_pasted("http://127.0.0.1:1/callback?code=c&state=st").unwrap().reveal(), "c");
        for wrong in ["", "abc#other", "a b", "code=abc", "https://as/authorize", "abc===", "http://h/?code=c"] {
            assert!(request.verify_pasted(wrong).is_err(), "{wrong}");
        }
        let strict = AuthorizationRequest { expects_iss: true, ..request };
        assert!(strict.verify_pasted("abc").is_err(), "the issuer would not be known");
        assert!(strict.matches_pasted("error=access_denied&state=st") && !strict.matches_pasted("abc"));
    }

    #[test]
    fn aut_17_the_state_must_match() {
        let request = authorization_request();
        assert_eq!(request.verify_response("state=st&code=c%2Bd").unwrap().reveal(), "c+d");
        assert!(rejection(&request, "state=other&code=c").contains("another login"));
        assert!(rejection(&request, "code=c").contains("'state' is missing"));
        assert!(rejection(&request, "state=st").contains("neither"));
        assert!(rejection(&request, "state=st&code=").contains("neither"));
        assert!(rejection(&request, "state=st&state=st&code=c").contains("twice"));
        assert!(rejection(&request, "").contains("'state' is missing"));
    }

    #[test]
    fn aut_16_the_issuer_is_compared_exactly_whether_promised_or_not() {
        for promises_issuer in [false, true] {
            let request = AuthorizationRequest { expects_iss: promises_issuer, ..authorization_request() };
            assert!(request.verify_response("state=st&code=c&iss=https%3A%2F%2Fas").is_ok());
            for iss in ["https://as/", "https://AS", "https://evil", ""] {
                assert!(rejection(&request, &format!("state=st&code=c&iss={iss}")).contains("'iss' differs"), "{iss}");
            }
            assert_eq!(request.verify_response("state=st&code=c").is_ok(), !promises_issuer);
        }
    }

    #[test]
    fn aut_16_on_a_mismatch_the_error_text_is_not_shown() {
        let declared = AuthorizationRequest { declared_issuer: Some("https://own".into()), ..authorization_request() };
        for (iss, is_accepted) in [("https://as", true), ("https://own", true), ("https://evil", false)] {
            let accepted = declared.verify_response(&format!("state=st&code=c&iss={iss}")).is_ok();
            assert_eq!(accepted, is_accepted, "{iss}");
        }
        let request = AuthorizationRequest { expects_iss: true, ..authorization_request() };
        for query in ["error=x&error_description=EVIL&state=st&iss=https://evil", "error=EVIL&state=st", "error=EVIL"] {
            assert!(!rejection(&request, query).contains("EVIL"), "{query}");
        }
        let told = rejection(&request, "error=access_denied&error_description=no+way&state=st&iss=https://as");
        assert_eq!(told, "the login was refused: access_denied: no way");
    }

    #[test]
    fn a_pasted_url_is_taken_in_every_form_people_copy_it() {
        for text in ["http://127.0.0.1:1/callback?code=a&state=b\n", "'http://h/?code=a&state=b#_=_'", "code=a&state=b"]
        {
            assert_eq!(pasted_query(text).unwrap(), "code=a&state=b", "{text}");
        }
        let whole = "http://127.0.0.1:1/callback?code=a&state=b&iss=https://as";
        assert_eq!(pasted_query(whole).unwrap(), "code=a&state=b&iss=https://as");
        assert_eq!(pasted_query("code=a&iss=https://as").unwrap(), "code=a&iss=https://as");
        for text in ["", "abc", "https://as/authorize", "https://as/a=b", "https://x?", "y"] {
            assert!(pasted_query(text).is_err(), "{text}");
        }
    }
}
