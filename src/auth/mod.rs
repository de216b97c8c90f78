//! OAuth logins: discovery, client registration, the flows, token refresh, and the stores that keep the credentials.

pub mod address_space;
pub mod authorization_request;
pub mod bearer;
pub mod client_auth;
pub mod clock;
pub mod credentials;
pub mod crypto;
pub mod discovery;
pub mod dpop;
pub mod endpoint;
pub mod flows;
pub mod http_client;
pub mod interaction;
pub mod jwt;
pub mod login_context;
pub mod metadata;
pub mod provider;
pub mod redirect_listener;
pub mod registration;
pub mod scopes;
pub mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod token_response;

pub use crate::auth::interaction::{BrowserMode, UserInteraction};
pub use crate::auth::login_context::{LOGIN_TIMEOUT, LoginContext};
pub use crate::auth::provider::TokenProvider;
pub use crate::config::oauth::{Grant, OAuthSettings};
