//! Getting tokens: one file a way, each from what discovery found to a whole record.

pub(crate) mod authorization_code;
pub(crate) mod device_code;
pub(crate) mod non_interactive;
pub(crate) mod refresh;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use url::Url;

use super::discovery::DiscoveryResult;
use super::dpop::DpopKey;
use super::endpoint::{FormFields, OAuthEndpoint};
use super::jwt::JwtKey;
use super::settings::{BrowserMode, Grant, OAuthSettings, UserInteraction};
use crate::auth::client_auth::{ClientAuthMethod, ClientAuthentication};
use crate::auth::credentials::{ClientOrigin, ClientRegistration, Credentials, TokenSet, server_id};
use crate::auth::crypto;
use crate::auth::http_client::OAuthHttpClient;
use crate::auth::token_response::{OAuthError, TokenResponse};
use crate::browser;
use crate::error::{ErrorKind, Failure, Result};

pub use crate::auth::flows::refresh::{RefreshOutcome, refresh_tokens, revoke_tokens};

/// How long a person has to log in.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(300);

/// What every way of logging in needs.
#[derive(Clone, Copy)]
pub struct FlowContext<'a> {
    /// The way to authorization servers.
    pub http: &'a OAuthHttpClient,
    /// What the user says.
    pub settings: &'a OAuthSettings,
    /// The person.
    pub user: &'a Arc<dyn UserInteraction>,
    /// Whether they are at the terminal.
    pub has_terminal: bool,
    /// Where their browser is.
    pub browser: BrowserMode,
    /// How long they have.
    pub timeout: Duration,
    /// The target, as the user names it.
    pub target_name: &'a str,
    /// The command that logs in there.
    pub login_command: &'a str,
    /// The command that forgets the login and the registration.
    pub logout_command: &'a str,
}

/// Logs in, in the way that the settings say.
///
/// `known` is the record of an earlier login, whose registration may serve again.
///
/// # Errors
/// [`ErrorKind::Auth`] where the login is refused or not possible; [`ErrorKind::Timeout`] where nobody comes back.
pub async fn log_in(
    means: FlowContext<'_>,
    found: &DiscoveryResult,
    scopes: Vec<String>,
    known: Option<&Credentials>,
) -> Result<Credentials> {
    match means.settings.grant {
        Grant::AuthorizationCode => authorization_code::log_in(means, found, scopes, known).await,
        Grant::DeviceCode => device_code::log_in(means, found, scopes, known).await,
        Grant::ClientCredentials | Grant::JwtBearer | Grant::Enterprise => {
            non_interactive::log_in(means, found, scopes, known).await
        }
    }
}

/// Now, in seconds since 1970.
#[must_use]
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The parts of one login that its requests share.
struct LoginFlow<'a> {
    context: FlowContext<'a>,
    discovery: &'a DiscoveryResult,
    client: ClientRegistration,
    signing_key: Option<JwtKey>,
    dpop_key: Option<DpopKey>,
    scopes: Vec<String>,
}

impl<'a> LoginFlow<'a> {
    fn new(
        means: FlowContext<'a>,
        found: &'a DiscoveryResult,
        client: ClientRegistration,
        scopes: Vec<String>,
    ) -> Result<Self> {
        let key = load_signing_key(means.settings, &client)?;
        let prover = means.settings.dpop.then(DpopKey::generate).transpose()?;
        if let Some(secret) = &client.secret {
            means.user.register_secret(secret);
        }
        Ok(LoginFlow { context: means, discovery: found, client, signing_key: key, dpop_key: prover, scopes })
    }

    fn token_endpoint(&self) -> Result<&'a str> {
        self.discovery
            .authorization_server
            .token_endpoint
            .as_deref()
            .ok_or_else(|| missing_endpoint(self.discovery, "token endpoint"))
    }

    /// Asks for a token, for the resource (`AUT-14`).
    async fn request_token(&self, mut form: FormFields) -> Result<Result<TokenResponse, OAuthError>> {
        form.push(("resource", self.discovery.resource.clone()));
        let endpoint = OAuthEndpoint {
            http: self.context.http,
            url: self.token_endpoint()?,
            client_auth: client_authentication(
                &self.client,
                self.signing_key.as_ref(),
                &self.discovery.authorization_server.issuer,
            ),
            dpop_key: self.dpop_key.as_ref(),
            now: unix_seconds(),
        };
        endpoint.request_token(form).await
    }

    fn scope_param(&self) -> Option<(&'static str, String)> {
        (!self.scopes.is_empty()).then(|| ("scope", self.scopes.join(" ")))
    }

    /// The record of what was granted.
    fn into_credentials(self, granted: TokenResponse) -> Result<Credentials> {
        let token_endpoint = self.token_endpoint()?.to_owned();
        self.context.user.register_secret(&granted.access_token);
        if let Some(refresh) = &granted.refresh_token {
            self.context.user.register_secret(refresh);
        }
        let server = &self.discovery.authorization_server;
        Ok(Credentials {
            server: server_id(self.context.http.server()),
            resource: self.discovery.resource.clone(),
            issuer: server.issuer.clone(),
            token_endpoint,
            revocation_endpoint: server.revocation_endpoint.clone(),
            tokens: Some(TokenSet::from_response(granted, &self.scopes, None, unix_seconds())),
            asked: self.scopes,
            login: crypto::random_token()?,
            settings: self.context.settings.clone(),
            client: self.client,
            dpop_key: self.dpop_key.map(|prover| prover.encoded().clone()),
        })
    }

    /// The failure of a login whose last request was refused.
    fn token_failure(&self, denied: &OAuthError) -> Failure {
        let failure = denied.to_failure(&format!(
            "the authorization server {} gave no token",
            self.discovery.authorization_server.issuer
        ));
        if denied.has_code("invalid_client") && self.client.origin == ClientOrigin::Registered {
            return failure
                .hint(format!("register anew: {} && {}", self.context.logout_command, self.context.login_command));
        }
        if denied.has_code("invalid_client") {
            return failure.hint("check client_id and its secret or key, and token_endpoint_auth_method");
        }
        failure
    }
}

/// The key of a client that signs.
fn load_signing_key(settings: &OAuthSettings, client: &ClientRegistration) -> Result<Option<JwtKey>> {
    match (&settings.private_key_file, client.method) {
        (Some(path), ClientAuthMethod::PrivateKeyJwt) => {
            JwtKey::from_pem_file(path, settings.signing_algorithm).map(Some)
        }
        _ => Ok(None),
    }
}

fn client_authentication<'a>(
    client: &'a ClientRegistration,
    key: Option<&'a JwtKey>,
    issuer: &'a str,
) -> ClientAuthentication<'a> {
    ClientAuthentication {
        client_id: &client.id,
        secret: client.secret.as_ref(),
        key,
        method: client.method,
        audience: issuer,
    }
}

/// A page that a person may be sent to (`SEC-01`): of the web, and not of a network that the server is not in
/// itself (`SEC-02`).
async fn checked_browser_url(http: &OAuthHttpClient, text: &str) -> Result<Url> {
    let refused = || Failure::new(ErrorKind::Auth, "the authorization server names no page that may be opened");
    // What is shown and opened is what the parser reads; it drops blanks and control characters silently.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(refused().cause("it holds blanks or control characters"));
    }
    let url = browser::parse_page_url(text).map_err(|why| refused().cause(why))?;
    http.check_browser_url(&url).await?;
    Ok(url)
}

fn missing_endpoint(found: &DiscoveryResult, what: &str) -> Failure {
    Failure::new(
        ErrorKind::Auth,
        format!("the authorization server {} cannot be used", found.authorization_server.issuer),
    )
    .cause(format!("it names no {what}"))
}
