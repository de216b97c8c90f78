//! What the user says about logging in, and how a person is reached.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use super::jwt::SigningAlgorithm;
use crate::auth::client_auth::ClientAuthMethod;
use crate::error::Result;
use crate::secret::Secret;
use crate::transport::BoxFuture;

/// How tokens are obtained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// A person logs in with a browser (OAuth 2.1 §4.1).
    #[default]
    AuthorizationCode,
    /// A person logs in with a browser elsewhere (RFC 8628).
    DeviceCode,
    /// The client itself is the user (OAuth 2.1 §4.2).
    ClientCredentials,
    /// An assertion of the platform (RFC 7523, workload identity).
    JwtBearer,
    /// An identity provider of the enterprise vouches (ID-JAG).
    Enterprise,
}

impl Grant {
    const ALL: [Grant; 5] =
        [Self::AuthorizationCode, Self::DeviceCode, Self::ClientCredentials, Self::JwtBearer, Self::Enterprise];

    /// The name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Grant::AuthorizationCode => "authorization_code",
            Grant::DeviceCode => "device_code",
            Grant::ClientCredentials => "client_credentials",
            Grant::JwtBearer => "jwt_bearer",
            Grant::Enterprise => "enterprise",
        }
    }

    /// The grant of this name; `-` and `_` are the same.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.replace('-', "_");
        Self::ALL.into_iter().find(|grant| grant.as_str() == name)
    }

    /// Whether a person must be there.
    #[must_use]
    pub fn is_interactive(self) -> bool {
        matches!(self, Grant::AuthorizationCode | Grant::DeviceCode)
    }
}

/// `[servers.NAME.auth]`, and the options of `auth login`. Serialised without the client, which a record holds
/// in another place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OAuthSettings {
    /// A client that the user registered.
    #[serde(skip)]
    pub client_id: Option<String>,
    /// Its secret.
    #[serde(skip)]
    pub client_secret: Option<Secret>,
    /// The scopes to ask for, in place of what the server suggests.
    pub scopes: Option<Vec<String>>,
    /// How tokens are obtained.
    pub grant: Grant,
    /// The authorization server.
    pub issuer: Option<String>,
    /// The URL of a Client ID Metadata Document.
    pub client_metadata_url: Option<String>,
    /// The port of the redirect.
    pub redirect_port: Option<u16>,
    /// How the client shows who it is.
    pub token_endpoint_auth_method: Option<ClientAuthMethod>,
    /// The key of `private_key_jwt` (PEM).
    pub private_key_file: Option<PathBuf>,
    /// The algorithm that it signs with.
    pub signing_algorithm: Option<SigningAlgorithm>,
    /// The assertion of the grant `jwt_bearer`.
    pub assertion_file: Option<PathBuf>,
    /// Where the grant `enterprise` exchanges its ID token.
    pub idp_token_endpoint: Option<String>,
    /// The client at the identity provider.
    pub idp_client_id: Option<String>,
    /// The ID token of the identity provider.
    pub id_token_file: Option<PathBuf>,
    /// Whether tokens are bound to a key.
    pub dpop: bool,
    /// Go on with an authorization server that does not say that it supports PKCE.
    pub allow_unadvertised_pkce: bool,
}

impl OAuthSettings {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == OAuthSettings::default()
    }
}

/// When to log in on the spot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoginMode {
    /// Where a person is at the terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl LoginMode {
    /// The mode of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(LoginMode::Auto),
            "always" => Some(LoginMode::Always),
            "never" => Some(LoginMode::Never),
            _ => None,
        }
    }
}

/// How a person logs in with a browser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BrowserMode {
    /// It is opened on this machine.
    #[default]
    Launch,
    /// It is somewhere else: the person carries the redirected URL back (`--no-browser`).
    Manual,
}

/// The person at the other side of a login.
pub trait UserInteraction: Send + Sync {
    /// Says what must be seen; never silenced.
    fn show(&self, text: &str);

    /// Says what may be wrong; `--quiet` silences it.
    fn warn(&self, text: &str);

    /// Opens a URL, which has been checked, in a browser.
    ///
    /// # Errors
    /// Why that is not possible.
    fn open_browser<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<()>>;

    /// Asks for one line.
    ///
    /// # Errors
    /// When nobody can be asked, or the input ended.
    fn prompt_line<'a>(&'a self, prompt: &'a str) -> BoxFuture<'a, Result<String>>;

    /// Never shows this text again, wherever it turns up.
    fn register_secret(&self, secret: &Secret);
}
