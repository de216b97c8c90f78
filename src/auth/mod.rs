//! Logging in (digest §5): discovery, registration, the flows, renewal, and what keeps the credentials.

pub mod address_space;
pub mod authorization_request;
pub mod challenge;
pub mod client_auth;
pub mod credentials;
pub mod crypto;
pub mod discovery;
pub mod dpop;
pub mod endpoint;
pub mod flows;
pub mod http_client;
pub mod jwt;
pub mod metadata;
pub mod provider;
pub mod redirect_listener;
pub mod registration;
pub mod scopes;
pub mod settings;
pub mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod token_response;

pub use crate::auth::flows::LOGIN_TIMEOUT;
pub use crate::auth::provider::{LoginContext, TokenProvider};
pub use settings::{BrowserMode, Grant, LoginMode, OAuthSettings, UserInteraction};
