//! Requests to the endpoints at which the client authenticates: token and revocation endpoints.

use url::form_urlencoded::Serializer;

use crate::auth::client_auth::ClientAuthentication;
use crate::auth::dpop::{self, DpopKey, ProofTarget};
use crate::auth::http_client::{OAuthHttpClient, OAuthHttpResponse};
use crate::auth::token_response::{self, OAuthError, TokenResponse, TokenType};
use crate::config::oauth::ClientAuthMethod;
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::transport::http::redacted_url;

/// The fields of a form, not yet encoded. It has no `Debug`, since some of them are secret.
pub type FormFields = Vec<(&'static str, String)>;

/// The content type of a form.
const FORM_CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

/// An endpoint and the client that sends requests to it.
pub struct OAuthEndpoint<'a> {
    /// Sends the requests.
    pub http: &'a OAuthHttpClient,
    /// The URL, as it is in the metadata.
    pub url: &'a str,
    /// The client.
    pub client_auth: ClientAuthentication<'a>,
    /// The key that tokens are to be bound to.
    pub dpop_key: Option<&'a DpopKey>,
    /// Now, in seconds since 1970.
    pub now: u64,
}

impl OAuthEndpoint<'_> {
    /// Requests a token.
    ///
    /// # Errors
    /// If there is no response, or none that can be used. The inner error is the server's own.
    pub async fn request_token(&self, form: FormFields) -> Result<Result<TokenResponse, OAuthError>> {
        let response = self.post_form(form).await?;
        let parsed = token_response::parse_token_response(response.status, &response.body)
            .map_err(|why| invalid_response(&response, &why))?;
        match (parsed.as_ref().map(|token| token.token_type), self.dpop_key) {
            (Ok(TokenType::Dpop), None) => {
                Err(invalid_response(&response, "the token is bound to a DPoP key, which was not requested")
                    .hint("set dpop = true in [servers.NAME.auth]"))
            }
            (Ok(TokenType::Bearer), Some(_)) => {
                Err(invalid_response(&response, "the token is not bound to the DPoP key").hint(
                    "the authorization server may not support DPoP: omit --dpop and dpop = true, if they are set",
                ))
            }
            _ => Ok(parsed),
        }
    }

    /// Exchanges a token for one of another type (RFC 8693).
    ///
    /// # Errors
    /// As [`OAuthEndpoint::request_token`].
    pub async fn exchange_token(&self, form: FormFields) -> Result<Result<Secret, OAuthError>> {
        let response = self.post_form(form).await?;
        token_response::parse_exchange_response(response.status, &response.body)
            .map_err(|why| invalid_response(&response, &why))
    }

    /// Posts a form with the client's authentication. Retries once if the DPoP proof lacks the server's nonce, or if
    /// the server expects the client ID in the form.
    ///
    /// # Errors
    /// If there is no response.
    pub async fn post_form(&self, mut form: FormFields) -> Result<OAuthHttpResponse> {
        let mut response = self.post_once(form.clone()).await?;
        if self.client_auth.method == ClientAuthMethod::ClientSecretBasic && is_missing_client_id(&response) {
            // Some servers require the client ID there in addition to the header, others refuse it.
            form.push(("client_id", self.client_auth.client_id.to_owned()));
            response = self.post_once(form.clone()).await?;
        }
        let has_nonce = self.dpop_key.is_some() && response.header(dpop::NONCE_HEADER).is_some();
        if has_nonce
            && matches!(response.status, 400 | 401)
            && token_response::parse_error_response(response.status, &response.body).has_code(dpop::USE_DPOP_NONCE)
        {
            return self.post_once(form).await;
        }
        Ok(response)
    }

    async fn post_once(&self, mut form: FormFields) -> Result<OAuthHttpResponse> {
        let mut headers = Vec::new();
        if let Some(value) = self.client_auth.apply(&mut form, self.now)? {
            headers.push(("authorization", value));
        }
        if let Some(key) = self.dpop_key {
            let url = url::Url::parse(self.url)
                .map_err(|error| Failure::new(ErrorKind::Auth, "the token endpoint is not a URL").caused_by(&error))?;
            let target = ProofTarget { method: "POST", url: &url, access_token: None };
            headers.push(("dpop", key.dpop_proof(target, &self.http.dpop_nonces, self.now)?));
        }
        let body = Serializer::new(String::new()).extend_pairs(&form).finish();
        let response = self.http.post(self.url, FORM_CONTENT_TYPE, body, &headers).await?;
        if let Some(nonce) = self.dpop_key.and_then(|_| response.header(dpop::NONCE_HEADER)) {
            self.http.dpop_nonces.remember(&response.url, nonce);
        }
        Ok(response)
    }
}

/// Whether a client was refused because its ID is missing in the form: servers of the Python SDK require it there even
/// with HTTP Basic, and say so only in the description. Other servers reject it there, so it is not always sent.
fn is_missing_client_id(response: &OAuthHttpResponse) -> bool {
    let error = token_response::parse_error_response(response.status, &response.body);
    error.has_code("invalid_client") && error.description.is_some_and(|text| text.contains("client_id"))
}

fn invalid_response(response: &OAuthHttpResponse, why: &str) -> Failure {
    Failure::new(ErrorKind::Auth, format!("invalid response from {}", redacted_url(&response.url))).cause(why)
}
