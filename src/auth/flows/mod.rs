//! The ways to obtain tokens, one file each.

mod authorization_code;
mod device_code;
mod login_flow;
mod non_interactive;
mod refresh;

use crate::auth::credentials::Credentials;
use crate::auth::discovery::DiscoveryResult;
use crate::auth::login_context::LoginContext;
use crate::config::oauth::{Grant, OAuthSettings};
use crate::error::Result;

pub use refresh::{TokenOutcome, refresh_tokens, revoke_tokens};

/// Logs in by the grant that the settings name.
///
/// `known` are the credentials of an earlier login, whose client registration may be used again.
///
/// # Errors
/// [`ErrorKind::Auth`](crate::error::ErrorKind::Auth) if the login is refused or not possible;
/// [`ErrorKind::Timeout`](crate::error::ErrorKind::Timeout) if the user does not finish it.
pub async fn log_in(
    context: &LoginContext,
    settings: &OAuthSettings,
    discovery: &DiscoveryResult,
    scopes: Vec<String>,
    known: Option<&Credentials>,
) -> Result<Credentials> {
    match settings.grant {
        Grant::AuthorizationCode => authorization_code::log_in(context, settings, discovery, scopes, known).await,
        Grant::DeviceCode => device_code::log_in(context, settings, discovery, scopes, known).await,
        Grant::ClientCredentials | Grant::JwtBearer | Grant::Enterprise => {
            non_interactive::log_in(context, settings, discovery, scopes, known).await
        }
    }
}
