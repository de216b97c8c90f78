//! What a login needs to know about the target, the user and the command line.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::credentials::{ClientRegistration, Credentials, LoginOwner};
use crate::auth::discovery::DiscoveryResult;
use crate::auth::http_client::OAuthHttpClient;
use crate::auth::interaction::{BrowserMode, UserInteraction};
use crate::config::oauth::OAuthSettings;
use crate::transport::BoxFuture;
use crate::util::when::When;

/// How long the user has to log in, by default.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(300);

/// The circumstances of the logins to one server.
pub struct LoginContext {
    /// Sends requests to authorization servers.
    pub http: OAuthHttpClient,
    /// The user.
    pub user: Arc<dyn UserInteraction>,
    /// The target, as the user names it.
    pub target_name: String,
    /// The command that logs in to it.
    pub login_command: String,
    /// The command that removes the login and the client registration.
    pub logout_command: String,
    /// Whose login it is.
    pub owner: LoginOwner,
    /// The settings in the configuration.
    pub configured: OAuthSettings,
    /// Whether to start a login when the server requires one.
    pub login_mode: When,
    /// Whether the user is at a terminal.
    pub has_terminal: bool,
    /// How the user gets to the login page.
    pub browser: BrowserMode,
    /// How long the user has to log in.
    pub timeout: Duration,
    /// Log in even if valid tokens are stored.
    pub force_login: bool,
}

/// What a login starts with.
#[derive(Clone, Copy)]
pub struct LoginRequest<'a> {
    /// The settings.
    pub settings: &'a OAuthSettings,
    /// The authorization server.
    pub discovery: &'a DiscoveryResult,
    /// The scopes to request.
    pub scopes: &'a [String],
    /// The credentials of an earlier login, whose client registration may be used again.
    pub known: Option<&'a Credentials>,
    /// Keeps new registrations.
    pub registrations: &'a dyn RegistrationKeeper,
}

/// Keeps new registrations before they are used: a login that is not finished must not leave an unknown client behind.
pub trait RegistrationKeeper: Send + Sync {
    /// Keeps the client for the next login. Failures are not reported: this login does not need it.
    fn save<'a>(&'a self, client: &'a ClientRegistration) -> BoxFuture<'a, ()>;
}
