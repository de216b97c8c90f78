//! The ways to obtain tokens, one file each.

mod authorization_code;
mod device_code;
mod login_flow;
mod non_interactive;
mod refresh_request;
mod registration_management;

use crate::auth::credentials::Credentials;
use crate::auth::login_context::{LoginContext, LoginRequest};
use crate::config::oauth::Grant;
use crate::error::{ErrorKind, Failure, Result};

use login_flow::LoginOutcome;
pub use refresh_request::{TokenOutcome, refresh_tokens, revoke_tokens};
pub use registration_management::delete_registration;

/// Logs in by the grant that the settings name.
///
/// # Errors
/// [`ErrorKind::Auth`] if the login is refused or not possible;
/// [`ErrorKind::Timeout`] if the user does not finish it.
pub async fn log_in(context: &LoginContext, request: LoginRequest<'_>) -> Result<Credentials> {
    if let LoginOutcome::Done(credentials) = log_in_once(context, request).await? {
        return Ok(*credentials);
    }
    let issuer = &request.discovery.authorization_server.issuer;
    context.user.warn(&format!(
        "the authorization server {issuer} does not accept the earlier registration of mcpipe; registering again"
    ));
    match log_in_once(context, LoginRequest { known: None, ..request }).await? {
        LoginOutcome::Done(credentials) => Ok(*credentials),
        LoginOutcome::ClientForgotten => {
            Err(Failure::new(ErrorKind::Bug, "a new registration was taken for an old one"))
        }
    }
}

async fn log_in_once(context: &LoginContext, request: LoginRequest<'_>) -> Result<LoginOutcome> {
    match request.settings.grant() {
        Grant::AuthorizationCode => authorization_code::log_in(context, request).await,
        Grant::DeviceCode => device_code::log_in(context, request).await,
        Grant::ClientCredentials | Grant::JwtBearer | Grant::Enterprise => {
            non_interactive::log_in(context, request).await
        }
    }
}
