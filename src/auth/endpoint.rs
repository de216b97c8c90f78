//! Requests to the endpoints where we show who we are: tokens and their revocation.

use url::form_urlencoded::Serializer;

use super::dpop::{self, Prover, Shown};
use super::http::{Answer, Http};
use super::identity::{Identity, Method};
use super::token::{self, Denied, Granted, Kind, NoToken};
use crate::error::{Class, Failure, Result};
use crate::secret::Secret;
use crate::transport::http::shown;

/// A form, before it is encoded. Some of it is secret: it has no `Debug`.
pub type Form = Vec<(&'static str, String)>;

/// The content type of a form.
const FORM: &str = "application/x-www-form-urlencoded";

/// One endpoint, and who asks there.
pub struct Endpoint<'a> {
    /// The way there.
    pub http: &'a Http,
    /// The URL, as the metadata writes it.
    pub url: &'a str,
    /// Who asks.
    pub identity: Identity<'a>,
    /// The key that tokens shall be bound to.
    pub prover: Option<&'a Prover>,
    /// Now, in seconds since 1970.
    pub now: u64,
}

impl Endpoint<'_> {
    /// Asks for a token.
    ///
    /// # Errors
    /// When there is no answer or one that cannot be used. A refusal is the inner error.
    pub async fn token(&self, form: Form) -> Result<Result<Granted, Denied>> {
        let answer = self.post(form).await?;
        let granted = match token::read(answer.status, &answer.body) {
            Ok(granted) => granted,
            Err(NoToken::Denied(denied)) => return Ok(Err(denied)),
            Err(NoToken::Unusable(why)) => return Err(unusable(&answer, &why)),
        };
        match (granted.kind, self.prover) {
            (Kind::Dpop, None) => Err(unusable(&answer, "the token is bound to a key (DPoP) that was not shown")
                .hint("set dpop = true in [servers.NAME.auth]")),
            (Kind::Bearer, Some(_)) => Err(unusable(&answer, "the token is not bound to the key (DPoP)")
                .hint("the authorization server may not support DPoP: leave dpop = true out")),
            _ => Ok(Ok(granted)),
        }
    }

    /// Exchanges a token for one of another kind (RFC 8693).
    ///
    /// # Errors
    /// As [`Endpoint::token`].
    pub async fn exchange(&self, form: Form) -> Result<Result<Secret, Denied>> {
        let answer = self.post(form).await?;
        match token::read_exchanged(answer.status, &answer.body) {
            Ok(token) => Ok(Ok(token)),
            Err(NoToken::Denied(denied)) => Ok(Err(denied)),
            Err(NoToken::Unusable(why)) => Err(unusable(&answer, &why)),
        }
    }

    /// Posts a form, with what shows who we are; once more where a proof lacks the nonce of the server, or the
    /// server looks for the client's id in the form alone.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, mut form: Form) -> Result<Answer> {
        let mut answer = self.once(form.clone()).await?;
        if self.identity.method == Method::ClientSecretBasic && misses_id(&answer) {
            // Some want it there as well, others refuse it there: it cannot be right for all at once.
            form.push(("client_id", self.identity.client_id.to_owned()));
            answer = self.once(form.clone()).await?;
        }
        let told = self.prover.is_some() && answer.header(dpop::NONCE_HEADER).is_some();
        if told && matches!(answer.status, 400 | 401) && token::denied(answer.status, &answer.body).is(dpop::USE_NONCE)
        {
            return self.once(form).await;
        }
        Ok(answer)
    }

    async fn once(&self, mut form: Form) -> Result<Answer> {
        let mut headers = Vec::new();
        if let Some(value) = self.identity.apply(&mut form, self.now)? {
            headers.push(("authorization", value));
        }
        if let Some(prover) = self.prover {
            let url = url::Url::parse(self.url)
                .map_err(|error| Failure::new(Class::Auth, "the token endpoint is no URL").source(&error))?;
            let shown = Shown { method: "POST", url: &url, token: None };
            headers.push(("dpop", prover.proof(shown, &self.http.nonces, self.now)?));
        }
        let body = Serializer::new(String::new()).extend_pairs(&form).finish();
        let answer = self.http.post(self.url, FORM, body, &headers).await?;
        if let Some(nonce) = self.prover.and_then(|_| answer.header(dpop::NONCE_HEADER)) {
            self.http.nonces.take(&answer.url, nonce);
        }
        Ok(answer)
    }
}

/// Whether a client was refused for want of its id.
fn misses_id(answer: &Answer) -> bool {
    let denied = token::denied(answer.status, &answer.body);
    denied.is("invalid_client") && denied.description.is_some_and(|text| text.contains("client_id"))
}

fn unusable(answer: &Answer, why: &str) -> Failure {
    Failure::new(Class::Auth, format!("the answer of {} cannot be used", shown(&answer.url))).cause(why)
}
