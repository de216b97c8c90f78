//! Getting tokens: one file a way, each from what discovery found to a whole record.

mod code;
mod device;
mod machine;
mod renew;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use url::Url;

use super::discovery::Found;
use super::dpop::Prover;
use super::endpoint::{Endpoint, Form};
use super::http::Http;
use super::identity::{Identity, Method};
use super::jwt::Key;
use super::random;
use super::record::{Client, Origin, Record, Tokens, name_of};
use super::settings::{Browser, Grant, Person, Settings};
use super::token::{Denied, Granted};
use crate::browser;
use crate::error::{Class, Failure, Result};

pub use renew::{Renewed, renew, revoke};

/// How long a person has to log in.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// What every way of logging in needs.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// The way to authorization servers.
    pub http: &'a Http,
    /// What the user says.
    pub settings: &'a Settings,
    /// The person.
    pub person: &'a Arc<dyn Person>,
    /// Whether they are at the terminal.
    pub terminal: bool,
    /// Where their browser is.
    pub browser: Browser,
    /// How long they have.
    pub patience: Duration,
    /// The target, as the user names it.
    pub name: &'a str,
    /// The command that logs in there.
    pub command: &'a str,
    /// The command that forgets the login and the registration.
    pub logout: &'a str,
}

/// Logs in, in the way that the settings say.
///
/// `known` is the record of an earlier login, whose registration may serve again.
///
/// # Errors
/// [`Class::Auth`] where the login is refused or not possible; [`Class::Timeout`] where nobody comes back.
pub async fn log_in(means: Means<'_>, found: &Found, scopes: Vec<String>, known: Option<&Record>) -> Result<Record> {
    match means.settings.grant {
        Grant::AuthorizationCode => code::log_in(means, found, scopes, known).await,
        Grant::DeviceCode => device::log_in(means, found, scopes, known).await,
        Grant::ClientCredentials | Grant::JwtBearer | Grant::Enterprise => {
            machine::log_in(means, found, scopes, known).await
        }
    }
}

/// Now, in seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The parts of one login that its requests share.
struct Login<'a> {
    means: Means<'a>,
    found: &'a Found,
    client: Client,
    key: Option<Key>,
    prover: Option<Prover>,
    scopes: Vec<String>,
}

impl<'a> Login<'a> {
    fn new(means: Means<'a>, found: &'a Found, client: Client, scopes: Vec<String>) -> Result<Self> {
        let key = key(means.settings, &client)?;
        let prover = means.settings.dpop.then(Prover::generate).transpose()?;
        if let Some(secret) = &client.secret {
            means.person.hide(secret);
        }
        Ok(Login { means, found, client, key, prover, scopes })
    }

    fn token_endpoint(&self) -> Result<&'a str> {
        self.found.server.token_endpoint.as_deref().ok_or_else(|| lacks(self.found, "token endpoint"))
    }

    /// Asks for a token, for the resource (`AUT-14`).
    async fn ask(&self, mut form: Form) -> Result<Result<Granted, Denied>> {
        form.push(("resource", self.found.resource.clone()));
        let endpoint = Endpoint {
            http: self.means.http,
            url: self.token_endpoint()?,
            identity: identity(&self.client, self.key.as_ref(), &self.found.server.issuer),
            prover: self.prover.as_ref(),
            now: now(),
        };
        endpoint.token(form).await
    }

    fn scope(&self) -> Option<(&'static str, String)> {
        (!self.scopes.is_empty()).then(|| ("scope", self.scopes.join(" ")))
    }

    /// The record of what was granted.
    fn record(self, granted: Granted) -> Result<Record> {
        let token_endpoint = self.token_endpoint()?.to_owned();
        self.means.person.hide(&granted.access);
        if let Some(refresh) = &granted.refresh {
            self.means.person.hide(refresh);
        }
        let server = &self.found.server;
        Ok(Record {
            server: name_of(self.means.http.server()),
            resource: self.found.resource.clone(),
            issuer: server.issuer.clone(),
            token_endpoint,
            revocation_endpoint: server.revocation_endpoint.clone(),
            tokens: Some(Tokens::new(granted, &self.scopes, None, now())),
            asked: self.scopes,
            login: random::token()?,
            settings: self.means.settings.clone(),
            client: self.client,
            dpop_key: self.prover.map(|prover| prover.secret().clone()),
        })
    }

    /// The failure of a login whose last request was refused.
    fn denied(&self, denied: &Denied) -> Failure {
        let failure = denied.failure(&format!("the authorization server {} gave no token", self.found.server.issuer));
        if denied.is("invalid_client") && self.client.origin == Origin::Registered {
            return failure.hint(format!("register anew: {} && {}", self.means.logout, self.means.command));
        }
        if denied.is("invalid_client") {
            return failure.hint("check client_id and its secret or key, and token_endpoint_auth_method");
        }
        failure
    }
}

/// The key of a client that signs.
fn key(settings: &Settings, client: &Client) -> Result<Option<Key>> {
    match (&settings.private_key_file, client.method) {
        (Some(path), Method::PrivateKeyJwt) => Key::read(path, settings.signing_algorithm).map(Some),
        _ => Ok(None),
    }
}

fn identity<'a>(client: &'a Client, key: Option<&'a Key>, issuer: &'a str) -> Identity<'a> {
    Identity { client_id: &client.id, secret: client.secret.as_ref(), key, method: client.method, audience: issuer }
}

/// A page that a person may be sent to (`SEC-01`): of the web, and not of a network that the server is not in
/// itself (`SEC-02`).
async fn page(http: &Http, text: &str) -> Result<Url> {
    let refused = || Failure::new(Class::Auth, "the authorization server names no page that may be opened");
    // What is shown and opened is what the parser reads; it drops blanks and control characters silently.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(refused().cause("it holds blanks or control characters"));
    }
    let url = browser::page(text).map_err(|why| refused().cause(why))?;
    http.check_page(&url).await?;
    Ok(url)
}

fn lacks(found: &Found, what: &str) -> Failure {
    Failure::new(Class::Auth, format!("the authorization server {} cannot be used", found.server.issuer))
        .cause(format!("it names no {what}"))
}
