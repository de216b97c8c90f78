//! `[servers.NAME.auth]`: how to log in. These settings go unchanged from the configuration and the options of
//! `auth login` to the OAuth flows, and are stored with the credentials.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::secret::Secret;
use crate::util::loopback::is_loopback;

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

/// What is sent as `resource` (RFC 8707) instead of what the server's metadata names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceParameter {
    /// Nothing.
    Omitted,
    /// This identifier.
    Stated(String),
}

/// The parameters of an authorization request that only mcpipe may set: the response is verified against them.
const RESERVED_PARAMS: [&str; 7] =
    ["client_id", "code_challenge", "code_challenge_method", "redirect_uri", "resource", "response_type", "state"];

/// Checks the name of an additional parameter of the authorization request.
///
/// # Errors
/// Why it must not be set.
pub fn check_param_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("the name is empty".to_owned()),
        "resource" => Err("'resource' has a setting of its own".to_owned()),
        _ if RESERVED_PARAMS.contains(&name) => Err(format!("'{name}' is set by mcpipe")),
        _ => Ok(()),
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// The authorization server.
    pub issuer: Option<String>,
    /// The name to register with.
    pub client_name: Option<String>,
    /// The URL of a Client ID Metadata Document.
    pub client_metadata_url: Option<String>,
    /// The port of the redirect URI.
    pub redirect_port: Option<u16>,
    /// The redirect URI.
    pub redirect_uri: Option<String>,
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
    /// What is sent as `resource`.
    pub resource: Option<ResourceParameter>,
    /// Additional parameters of the authorization request; an empty value removes one that mcpipe would send.
    pub params: BTreeMap<String, String>,
    /// Whether tokens are bound to a key (DPoP).
    #[serde(skip_serializing_if = "Option::is_none")] // Version 0.2.0 cannot read `null`.
    pub dpop: Option<bool>,
    /// Accept an authorization server that does not advertise PKCE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_unadvertised_pkce: Option<bool>,
}

/// The value that takes precedence, or else the other one.
fn either<T>(prefers_stored: bool, stored: Option<T>, own: Option<T>) -> Option<T> {
    if prefers_stored { stored.or(own) } else { own.or(stored) }
}

impl OAuthSettings {
    /// The redirect URI that the user chose; `None` for a free port.
    #[must_use]
    pub fn chosen_redirect(&self) -> Option<RedirectUri> {
        let chosen = self.redirect_uri.as_deref().and_then(|uri| RedirectUri::parse(uri).ok());
        chosen.or_else(|| self.redirect_port.map(|port| RedirectUri::loopback(Some(port))))
    }

    /// How tokens are obtained.
    #[must_use]
    pub fn grant(&self) -> Grant {
        self.grant.unwrap_or_default()
    }

    /// These settings over those of a login with the same client.
    #[must_use]
    pub fn over(self, stored: Self) -> Self {
        let has_redirect = self.redirect_port.is_some() || self.redirect_uri.is_some();
        // A metadata document is another client.
        let of_client = if self.client_metadata_url.is_none() { stored.clone() } else { Self::default() };
        // The credentials of another client do not fit the stored one.
        let is_stored_client = self.client_id.is_none() && of_client.client_id.is_some();
        OAuthSettings {
            client_id: self.client_id.or(of_client.client_id),
            client_secret: either(is_stored_client, of_client.client_secret, self.client_secret),
            scopes: self.scopes.or(stored.scopes),
            grant: self.grant.or(stored.grant),
            issuer: self.issuer.or(stored.issuer),
            client_name: self.client_name.or(stored.client_name),
            client_metadata_url: self.client_metadata_url.or(stored.client_metadata_url),
            redirect_port: self.redirect_port.or(stored.redirect_port.filter(|_| !has_redirect)),
            redirect_uri: self.redirect_uri.or(stored.redirect_uri.filter(|_| !has_redirect)),
            token_endpoint_auth_method: either(
                is_stored_client,
                of_client.token_endpoint_auth_method,
                self.token_endpoint_auth_method,
            ),
            private_key_file: either(is_stored_client, of_client.private_key_file, self.private_key_file),
            signing_algorithm: either(is_stored_client, of_client.signing_algorithm, self.signing_algorithm),
            assertion_file: self.assertion_file.or(stored.assertion_file),
            idp_token_endpoint: self.idp_token_endpoint.or(stored.idp_token_endpoint),
            idp_client_id: self.idp_client_id.or(stored.idp_client_id),
            id_token_file: self.id_token_file.or(stored.id_token_file),
            resource: self.resource.or(stored.resource),
            params: stored.params.into_iter().chain(self.params).collect(),
            dpop: self.dpop.or(stored.dpop),
            allow_unadvertised_pkce: self.allow_unadvertised_pkce.or(stored.allow_unadvertised_pkce),
        }
    }

    /// What is to be stored with a login: the settings that the configuration does not contain, so that a key that is
    /// removed from it no longer applies.
    #[must_use]
    pub fn without_configured(&self, configured: &Self) -> Self {
        let members = |settings: &Self| match serde_json::to_value(settings) {
            Ok(Value::Object(members)) => members,
            _ => Map::new(),
        };
        let (mut own, configured) = (members(self), members(configured));
        own.retain(|name, value| configured.get(name) != Some(value));
        serde_json::from_value(own.into()).unwrap_or_else(|_| self.clone())
    }
}

/// The path of a redirect URI of which only the port was chosen.
const CALLBACK_PATH: &str = "/callback";

/// A redirect URI on this machine (RFC 8252 §7.3): where the browser brings the response of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri {
    uri: String,
    host: String,
    port: Option<u16>,
    path: String,
}

impl RedirectUri {
    /// `http://127.0.0.1:PORT/callback`; any free port if none is given.
    #[must_use]
    pub fn loopback(port: Option<u16>) -> Self {
        Self::assemble("127.0.0.1", port, CALLBACK_PATH)
    }

    /// `http://localhost:PORT/callback`.
    #[must_use]
    pub fn localhost(port: u16) -> Self {
        Self::assemble("localhost", Some(port), CALLBACK_PATH)
    }

    fn assemble(host: &str, port: Option<u16>, path: &str) -> Self {
        let shown_port = port.map(|port| format!(":{port}")).unwrap_or_default();
        RedirectUri {
            uri: format!("http://{host}{shown_port}{path}"),
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        }
    }

    /// Reads a redirect URI. It is used exactly as it is written, since authorization servers compare it as text
    /// (OAuth 2.1 §2.3.1).
    ///
    /// # Errors
    /// What is wrong, to follow the name of the setting.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{why}, not '{text}'; an example is http://localhost:3118/callback");
        let url = url::Url::parse(text).map_err(|_| wrong("must be a URL"))?;
        let rest = text.strip_prefix("http://").filter(|_| is_loopback(&url));
        let Some(rest) = rest else { return Err(wrong("must be an http:// URL of this machine")) };
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return Err(wrong("must have only a host, a port and a path"));
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port > 0))),
            None => (authority, None),
        };
        if port == Some(None) {
            return Err(wrong("must have a port from 1 to 65535"));
        }
        Ok(Self::assemble(host, port.flatten(), path))
    }

    /// The URI as it is registered and sent.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The host as it is written: a name, an IPv4 address, or an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if it is fixed.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The path of the requests that bring responses.
    #[must_use]
    pub fn path(&self) -> &str {
        if self.path.is_empty() { "/" } else { &self.path }
    }

    /// The same URI with another path.
    #[must_use]
    pub fn with_path(&self, path: &str) -> Self {
        Self::assemble(&self.host, self.port, path)
    }

    /// The same URI with the port that was bound.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        if self.port.is_some() { self.clone() } else { Self::assemble(&self.host, Some(port), &self.path) }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_redirect_uri_is_kept_as_it_is_written() {
        for (text, host, port, path) in [
            ("http://localhost:3118/callback", "localhost", Some(3118), "/callback"),
            ("http://127.0.0.1:80/", "127.0.0.1", Some(80), "/"),
            ("http://[::1]:9000/oauth/callback", "[::1]", Some(9000), "/oauth/callback"),
            ("http://[::1]/x", "[::1]", None, "/x"),
            ("http://localhost:1", "localhost", Some(1), "/"),
            ("http://localhost/cb", "localhost", None, "/cb"),
        ] {
            let uri = RedirectUri::parse(text).unwrap();
            assert_eq!((uri.uri(), uri.host(), uri.port(), uri.path()), (text, host, port, path));
        }
        assert_eq!(RedirectUri::parse("http://localhost/cb").unwrap().with_port(7).uri(), "http://localhost:7/cb");
        assert_eq!(RedirectUri::parse("http://localhost:8").unwrap().with_port(7).uri(), "http://localhost:8");
    }

    #[test]
    fn a_redirect_uri_of_another_machine_is_rejected() {
        for text in [
            "https://localhost:1/callback",
            "http://example.com:1/callback",
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "http://localhost:1/callback?a=b",
            "http://localhost:1/callback#a",
            "http://user@localhost:1/callback",
            "http://localhost:0/callback",
            "http://localhost:65536/callback",
            "3118",
            "",
        ] {
            let wrong = RedirectUri::parse(text).unwrap_err();
            assert!(wrong.starts_with("must ") && wrong.contains("http://localhost:3118/callback"), "{wrong}");
        }
    }
}
