//! Requests to the endpoints where we show who we are: tokens and their revocation.

use url::form_urlencoded::Serializer;

use super::dpop::{self, DpopKey, ProofTarget};
use crate::auth::client_auth::{ClientAuthMethod, ClientAuthentication};
use crate::auth::http_client::{OAuthHttpClient, OAuthHttpResponse};
use crate::auth::token_response;
use crate::auth::token_response::{OAuthError, TokenError, TokenResponse, TokenType};
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::transport::http::redacted_url;

/// A form, before it is encoded. Some of it is secret: it has no `Debug`.
pub type FormFields = Vec<(&'static str, String)>;

/// The content type of a form.
const FORM_CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

/// One endpoint, and who asks there.
pub struct OAuthEndpoint<'a> {
    /// The way there.
    pub http: &'a OAuthHttpClient,
    /// The URL, as the metadata writes it.
    pub url: &'a str,
    /// Who asks.
    pub client_auth: ClientAuthentication<'a>,
    /// The key that tokens shall be bound to.
    pub dpop_key: Option<&'a DpopKey>,
    /// Now, in seconds since 1970.
    pub now: u64,
}

impl OAuthEndpoint<'_> {
    /// Asks for a token.
    ///
    /// # Errors
    /// When there is no answer or one that cannot be used. A refusal is the inner error.
    pub async fn request_token(&self, form: FormFields) -> Result<Result<TokenResponse, OAuthError>> {
        let answer = self.post_form(form).await?;
        let granted = match token_response::parse_token_response(answer.status, &answer.body) {
            Ok(granted) => granted,
            Err(TokenError::Rejected(denied)) => return Ok(Err(denied)),
            Err(TokenError::InvalidResponse(why)) => return Err(invalid_response(&answer, &why)),
        };
        match (granted.token_type, self.dpop_key) {
            (TokenType::Dpop, None) => {
                Err(invalid_response(&answer, "the token is bound to a key (DPoP) that was not shown")
                    .hint("set dpop = true in [servers.NAME.auth]"))
            }
            (TokenType::Bearer, Some(_)) => Err(invalid_response(&answer, "the token is not bound to the key (DPoP)")
                .hint("the authorization server may not support DPoP: leave dpop = true out")),
            _ => Ok(Ok(granted)),
        }
    }

    /// Exchanges a token for one of another kind (RFC 8693).
    ///
    /// # Errors
    /// As [`OAuthEndpoint::request_token`].
    pub async fn exchange_token(&self, form: FormFields) -> Result<Result<Secret, OAuthError>> {
        let answer = self.post_form(form).await?;
        match token_response::parse_exchange_response(answer.status, &answer.body) {
            Ok(token) => Ok(Ok(token)),
            Err(TokenError::Rejected(denied)) => Ok(Err(denied)),
            Err(TokenError::InvalidResponse(why)) => Err(invalid_response(&answer, &why)),
        }
    }

    /// Posts a form, with what shows who we are; once more where a proof lacks the nonce of the server, or the
    /// server looks for the client's id in the form alone.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post_form(&self, mut form: FormFields) -> Result<OAuthHttpResponse> {
        let mut answer = self.post_once(form.clone()).await?;
        if self.client_auth.method == ClientAuthMethod::ClientSecretBasic && is_missing_client_id(&answer) {
            // Some want it there as well, others refuse it there: it cannot be right for all at once.
            form.push(("client_id", self.client_auth.client_id.to_owned()));
            answer = self.post_once(form.clone()).await?;
        }
        let told = self.dpop_key.is_some() && answer.header(dpop::NONCE_HEADER).is_some();
        if told
            && matches!(answer.status, 400 | 401)
            && token_response::parse_error_response(answer.status, &answer.body).has_code(dpop::USE_DPOP_NONCE)
        {
            return self.post_once(form).await;
        }
        Ok(answer)
    }

    async fn post_once(&self, mut form: FormFields) -> Result<OAuthHttpResponse> {
        let mut headers = Vec::new();
        if let Some(value) = self.client_auth.apply(&mut form, self.now)? {
            headers.push(("authorization", value));
        }
        if let Some(prover) = self.dpop_key {
            let url = url::Url::parse(self.url)
                .map_err(|error| Failure::new(ErrorKind::Auth, "the token endpoint is no URL").caused_by(&error))?;
            let shown = ProofTarget { method: "POST", url: &url, access_token: None };
            headers.push(("dpop", prover.dpop_proof(shown, &self.http.dpop_nonces, self.now)?));
        }
        let body = Serializer::new(String::new()).extend_pairs(&form).finish();
        let answer = self.http.post(self.url, FORM_CONTENT_TYPE, body, &headers).await?;
        if let Some(nonce) = self.dpop_key.and_then(|_| answer.header(dpop::NONCE_HEADER)) {
            self.http.dpop_nonces.remember(&answer.url, nonce);
        }
        Ok(answer)
    }
}

/// Whether a client was refused for want of its id.
fn is_missing_client_id(answer: &OAuthHttpResponse) -> bool {
    let denied = token_response::parse_error_response(answer.status, &answer.body);
    denied.has_code("invalid_client") && denied.description.is_some_and(|text| text.contains("client_id"))
}

fn invalid_response(answer: &OAuthHttpResponse, why: &str) -> Failure {
    Failure::new(ErrorKind::Auth, format!("the answer of {} cannot be used", redacted_url(&answer.url))).cause(why)
}
