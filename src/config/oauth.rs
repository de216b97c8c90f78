//! `[servers.NAME.auth]`: how to log in. These settings go unchanged from the configuration and the options of
//! `auth login` to the OAuth flows, and are stored with the credentials.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// How tokens are obtained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// The user logs in with a browser (OAuth 2.1 §4.1).
    #[default]
    AuthorizationCode,
    /// The user logs in with a browser on another device (RFC 8628).
    DeviceCode,
    /// The client acts for itself (OAuth 2.1 §4.2).
    ClientCredentials,
    /// An assertion of the platform (RFC 7523, workload identity).
    JwtBearer,
    /// An identity assertion of the enterprise (ID-JAG).
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

    /// Whether the user must take part.
    #[must_use]
    pub fn is_interactive(self) -> bool {
        matches!(self, Grant::AuthorizationCode | Grant::DeviceCode)
    }
}

/// `[servers.NAME.auth]`, and the options of `auth login`. Serialized without the client, since credentials contain it
/// elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OAuthSettings {
    /// The ID of a client that the user registered.
    #[serde(skip)]
    pub client_id: Option<String>,
    /// Its secret.
    #[serde(skip)]
    pub client_secret: Option<Secret>,
    /// The scopes to request instead of those that the server suggests.
    pub scopes: Option<Vec<String>>,
    /// How tokens are obtained.
    pub grant: Grant,
    /// The authorization server.
    pub issuer: Option<String>,
    /// The name to register with.
    pub client_name: Option<String>,
    /// The URL of a Client ID Metadata Document.
    pub client_metadata_url: Option<String>,
    /// The port of the redirect URI.
    pub redirect_port: Option<u16>,
    /// How the client authenticates.
    pub token_endpoint_auth_method: Option<ClientAuthMethod>,
    /// The key of `private_key_jwt` (PEM).
    pub private_key_file: Option<PathBuf>,
    /// The algorithm of the signature.
    pub signing_algorithm: Option<SigningAlgorithm>,
    /// The assertion of the grant `jwt_bearer`.
    pub assertion_file: Option<PathBuf>,
    /// The endpoint at which the grant `enterprise` exchanges its ID token.
    pub idp_token_endpoint: Option<String>,
    /// The client at the identity provider.
    pub idp_client_id: Option<String>,
    /// The ID token of the identity provider.
    pub id_token_file: Option<PathBuf>,
    /// Whether tokens are bound to a key (DPoP).
    pub dpop: bool,
    /// Accept an authorization server that does not advertise PKCE.
    pub allow_unadvertised_pkce: bool,
}

impl OAuthSettings {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == OAuthSettings::default()
    }
}

/// A method of client authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMethod {
    /// The client ID only.
    None,
    /// ID and secret in the `Authorization` header.
    ClientSecretBasic,
    /// ID and secret in the form.
    ClientSecretPost,
    /// An assertion signed with the client's key.
    PrivateKeyJwt,
}

impl ClientAuthMethod {
    /// The name on the wire and in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ClientAuthMethod::None => "none",
            ClientAuthMethod::ClientSecretBasic => "client_secret_basic",
            ClientAuthMethod::ClientSecretPost => "client_secret_post",
            ClientAuthMethod::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// The method of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [
            ClientAuthMethod::None,
            ClientAuthMethod::ClientSecretBasic,
            ClientAuthMethod::ClientSecretPost,
            ClientAuthMethod::PrivateKeyJwt,
        ]
        .into_iter()
        .find(|method| method.as_str() == name)
    }
}

/// A signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "each variant is the algorithm it is named after")]
pub enum SigningAlgorithm {
    Es256,
    Es384,
    Rs256,
    Ps256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl SigningAlgorithm {
    /// All algorithms, in order of preference.
    pub const ALL: [SigningAlgorithm; 5] = [Self::Es256, Self::Es384, Self::Rs256, Self::Ps256, Self::EdDsa];

    /// The name on the wire and in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(name))
    }
}
