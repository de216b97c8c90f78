//! The credentials that are stored between runs: one record for each server and issuer, complete enough to refresh a
//! token without discovery.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::auth::crypto;
use crate::auth::discovery::DiscoveryResult;
use crate::auth::metadata::default_resource;
use crate::auth::store::CredentialSummary;
use crate::auth::token_response::{TokenResponse, TokenType};
use crate::config::oauth::{ClientAuthMethod, OAuthSettings, ResourceParameter};
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;

/// Whose login it is: that of a configured entry, or of a URL. Two entries for one URL are two accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginOwner {
    /// The name of the entry; `None` for a URL that was typed.
    pub config_name: Option<String>,
    /// The client that was stated for a URL.
    pub client_id: Option<String>,
}

/// How a stored login relates to an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ownership {
    /// Used until the owner has a login of its own: earlier versions stored one login for each URL.
    Shared,
    /// It belongs to the owner.
    Own,
}

impl LoginOwner {
    /// The configured entry of this name.
    #[must_use]
    pub fn entry(name: &str) -> Self {
        LoginOwner { config_name: Some(name.to_owned()), client_id: None }
    }

    /// The ID that is stored with the login.
    #[must_use]
    pub fn id(&self) -> String {
        match (&self.config_name, &self.client_id) {
            (Some(name), _) => format!("entry {name}"),
            (None, Some(client)) => format!("url {client}"),
            (None, None) => "url".to_owned(),
        }
    }

    /// Whether it may use a stored login, which is for the right server.
    #[must_use]
    pub fn ownership(&self, about: &CredentialSummary) -> Option<Ownership> {
        let own = |is_own: bool| is_own.then_some(Ownership::Own);
        match (&about.owner, &self.config_name) {
            (Some(owner), Some(_)) => own(*owner == self.id()),
            // Any login to the URL, unless a client is stated.
            (Some(owner), None) => own(*owner == self.id() || self.client_id.is_none() && owner.starts_with("url ")),
            (None, Some(name)) => match &about.server {
                Some(server) => own(server == name),
                None => Some(Ownership::Shared),
            },
            (None, None) => Some(if about.server.is_none() { Ownership::Own } else { Ownership::Shared }),
        }
    }

    /// Whether a new login replaces a stored one, which is for the same server.
    #[must_use]
    pub fn replaces(&self, about: &CredentialSummary) -> bool {
        self.ownership(about) == Some(Ownership::Own) && about.owner.as_ref().is_none_or(|owner| *owner == self.id())
    }
}

/// The credentials for one server from one issuer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Credentials {
    /// The server's URL, as [`server_id`] writes it.
    pub server: String,
    /// Whose login it is ([`LoginOwner::id`]); `None` if an earlier version stored it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When the user logged in, in seconds since 1970.
    #[serde(default)]
    pub logged_in_at: u64,
    /// The resource that tokens are requested for, byte for byte.
    pub resource: String,
    /// What is sent as the parameter `resource` instead of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_parameter: Option<ResourceParameter>,
    /// The issuer, as its own metadata writes it.
    pub issuer: String,
    /// The token endpoint.
    pub token_endpoint: String,
    /// The revocation endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<String>,
    /// How the client authenticates at the revocation endpoint, if not as at the token endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation_method: Option<ClientAuthMethod>,
    /// The client registered with the issuer.
    pub client: ClientRegistration,
    /// A client registered for a later login, which was not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused_client: Option<ClientRegistration>,
    /// The requested scopes.
    #[serde(default)]
    pub asked: Vec<String>,
    /// An ID that differs for each login; empty before the first login is finished.
    #[serde(default)]
    pub login: String,
    /// The settings of the login; they apply again if the configuration sets none.
    #[serde(default)]
    pub settings: OAuthSettings,
    /// The tokens; `None` if they are no longer valid and only the registration is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenSet>,
    /// The key that the tokens are bound to (PKCS#8 in base64).
    #[serde(default, with = "optional_secret", skip_serializing_if = "Option::is_none")]
    pub dpop_key: Option<Secret>,
}

/// Where a client ID comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientOrigin {
    /// The user configured it.
    Configured,
    /// It is the URL of a metadata document.
    Document,
    /// The issuer assigned it.
    Registered,
}

/// A client of an authorization server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientRegistration {
    /// The client ID.
    pub id: String,
    /// The secret, if there is one.
    #[serde(default, with = "optional_secret", skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// When the secret expires, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_expires_at: Option<u64>,
    /// How it authenticates.
    pub method: ClientAuthMethod,
    /// Where it comes from.
    pub origin: ClientOrigin,
    /// The name it was registered with; `None` if it was not, or by an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The redirect URI it was registered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
    /// The scopes it was registered with, the only ones it may request. If empty, it may request any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Where the registration can be deleted (RFC 7592).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management: Option<ClientManagement>,
}

/// The client configuration endpoint of a registration (RFC 7592 §3).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientManagement {
    /// The URL of the registration.
    pub url: String,
    /// The token for it.
    #[serde(with = "secret")]
    pub token: Secret,
}

/// Tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenSet {
    /// The access token.
    #[serde(with = "secret")]
    pub access: Secret,
    /// Whether it is bound to a DPoP key.
    #[serde(default, skip_serializing_if = "is_bearer")]
    pub dpop: bool,
    /// The refresh token.
    #[serde(default, with = "optional_secret", skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Secret>,
    /// When the access token was obtained, in seconds since 1970.
    #[serde(default)]
    pub obtained_at: u64,
    /// When it expires; `None` if the server did not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// The granted scopes.
    #[serde(default)]
    pub scopes: Vec<String>,
}

fn is_bearer(dpop: &bool) -> bool {
    !dpop
}

impl TokenSet {
    /// The tokens of a response received at `now`. If it names no scopes, those requested were granted
    /// (RFC 6749 §5.1); if it has no refresh token, the old one remains valid (RFC 6749 §6).
    #[must_use]
    pub fn from_response(granted: TokenResponse, asked: &[String], before: Option<&Secret>, now: u64) -> Self {
        TokenSet {
            access: granted.access_token,
            dpop: granted.token_type == TokenType::Dpop,
            refresh: granted.refresh_token.or_else(|| before.cloned()),
            obtained_at: now,
            expires_at: granted.expires_in.map(|life| now.saturating_add(life)),
            scopes: granted.scopes.unwrap_or_else(|| asked.to_vec()),
        }
    }

    /// Whether they are to be refreshed before use: they expire within `margin` seconds, or within a tenth of their
    /// lifetime if that is shorter.
    #[must_use]
    pub fn needs_refresh(&self, now: u64, margin: u64) -> bool {
        self.expires_at.is_some_and(|at| {
            let life = at.saturating_sub(self.obtained_at);
            now.saturating_add(margin.min(life / 10)) >= at
        })
    }

    /// Whether they have expired.
    #[must_use]
    pub fn is_expired(&self, now: u64) -> bool {
        self.needs_refresh(now, 0)
    }
}

impl ClientRegistration {
    /// A client without a secret, and for any scope.
    #[must_use]
    pub fn new(id: String, method: ClientAuthMethod, origin: ClientOrigin) -> Self {
        ClientRegistration {
            id,
            secret: None,
            secret_expires_at: None,
            method,
            origin,
            name: None,
            redirect_uri: None,
            scopes: Vec::new(),
            management: None,
        }
    }

    /// What is secret about it.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.secret.iter().chain(self.management.iter().map(|management| &management.token))
    }
}

impl Credentials {
    /// A client that is registered for a login, before that is finished. Its settings are not kept: they may be why it
    /// is not finished.
    #[must_use]
    pub fn unfinished(
        server: &Url,
        owner: &LoginOwner,
        discovery: &DiscoveryResult,
        client: ClientRegistration,
        scopes: Vec<String>,
    ) -> Self {
        let issuer = &discovery.authorization_server;
        Credentials {
            server: server_id(server),
            owner: Some(owner.id()),
            logged_in_at: 0,
            resource: discovery.resource.clone(),
            resource_parameter: None,
            issuer: issuer.issuer.clone(),
            token_endpoint: issuer.token_endpoint.clone().unwrap_or_default(),
            revocation_endpoint: issuer.revocation_endpoint.clone(),
            revocation_method: None,
            client,
            unused_client: None,
            asked: scopes,
            login: String::new(),
            settings: OAuthSettings::default(),
            tokens: None,
            dpop_key: None,
        }
    }

    /// Parses stored credentials.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if they are damaged.
    pub fn from_stored(secret: &Secret) -> Result<Self> {
        // The error of the parser may quote a token.
        serde_json::from_str(secret.reveal()).map_err(|_| {
            Failure::new(ErrorKind::Config, "the stored credentials are damaged")
                .hint("remove them with 'mcpipe auth logout TARGET' and log in again")
        })
    }

    /// The form in which they are stored.
    ///
    /// # Errors
    /// Never in practice: all parts can be serialized.
    pub fn to_stored(&self) -> Result<Secret> {
        serde_json::to_string(self)
            .map(Secret::new)
            .map_err(|_| Failure::new(ErrorKind::Bug, "cannot serialize the credentials"))
    }

    /// The same without the client secret and the settings that the configuration contains: they are not copied.
    ///
    /// # Errors
    /// As [`Credentials::to_stored`].
    pub fn to_stored_without(&self, configured: &OAuthSettings) -> Result<Secret> {
        let mut stored = Credentials { settings: self.settings.without_configured(configured), ..self.clone() };
        if self.client.origin == ClientOrigin::Configured && self.client.secret == configured.client_secret {
            stored.client.secret = None;
        }
        stored.to_stored()
    }

    /// These settings over those of the login; if they are for another client, they alone.
    #[must_use]
    pub fn settings_under(&self, settings: &OAuthSettings) -> OAuthSettings {
        match self.is_of_client(settings) {
            true => settings.clone().over(self.effective_settings()),
            false => settings.clone(),
        }
    }

    /// Whether they were obtained with the client of these settings, if they name one.
    #[must_use]
    pub fn is_of_client(&self, settings: &OAuthSettings) -> bool {
        settings.client_id.as_ref().is_none_or(|id| *id == self.client.id)
    }

    /// The settings of the login, including the client.
    #[must_use]
    pub fn effective_settings(&self) -> OAuthSettings {
        let configured = self.client.origin == ClientOrigin::Configured && !self.client.id.is_empty();
        OAuthSettings {
            client_id: configured.then(|| self.client.id.clone()),
            client_secret: self.client.secret.clone().filter(|_| configured),
            ..self.settings.clone()
        }
    }

    /// The clients that mcpipe registered with this issuer, the newest first.
    pub fn registered_clients(&self) -> impl Iterator<Item = &ClientRegistration> {
        let all = self.unused_client.iter().chain([&self.client]);
        all.filter(|client| client.origin == ClientOrigin::Registered)
    }

    /// The key it is stored under.
    #[must_use]
    pub fn store_key(&self) -> String {
        let part = Url::parse(&self.resource).ok().and_then(|url| url.query().map(query_digest));
        let owner = self.owner.iter().map(|owner| format!(" {owner}")).collect::<String>();
        format!("{}{} {}{owner}", self.server, part.unwrap_or_default(), self.issuer)
    }

    /// The public part.
    #[must_use]
    pub fn summary(&self, name: Option<&str>) -> CredentialSummary {
        let tokens = self.tokens.as_ref();
        let by_itself = !self.settings.grant().is_interactive();
        CredentialSummary {
            key: self.store_key(),
            resource: self.server.clone(),
            issuer: self.issuer.clone(),
            client_id: Some(self.client.id.clone()),
            scopes: tokens.map(|tokens| tokens.scopes.clone()).unwrap_or_default(),
            expires_at: tokens.and_then(|tokens| tokens.expires_at),
            has_refresh: tokens.is_some_and(|tokens| tokens.refresh.is_some() || by_itself),
            lacks_tokens: tokens.is_none(),
            owner: self.owner.clone(),
            logged_in_at: self.logged_in_at,
            server: name.map(ToOwned::to_owned),
            login: Some(self.login.clone()).filter(|login| !login.is_empty()),
        }
    }
}

/// The ID of a server: its URL without fragment, query, user and the slash of an empty path. Tokens are sent to this
/// server only.
#[must_use]
pub fn server_id(server: &Url) -> String {
    default_resource(server)
}

/// Whether this is the token in the value of an `Authorization` header.
#[must_use]
pub fn is_token_of(authorization: &Secret, token: &Secret) -> bool {
    authorization.reveal().split_once(' ').is_some_and(|(_, sent)| sent == token.reveal())
}

/// The digest of the query of a resource, for the store key: tokens for one query are not used for another (`AUT-20`).
/// The query itself may contain an API key, and the index of the keychain must not contain secrets.
fn query_digest(query: &str) -> String {
    format!("?{}", crypto::sha256_base64url(query))
}

/// Whether credentials are for this server, and if so, whether they are for its query.
#[must_use]
pub fn match_server(about: &CredentialSummary, server: &Url) -> Option<bool> {
    if about.resource != server_id(server) {
        return None;
    }
    match about.key.strip_prefix(&about.resource).filter(|rest| rest.starts_with('?')) {
        None => Some(false),
        Some(rest) => {
            let own = server.query().is_some_and(|query| rest.starts_with(&format!("{} ", query_digest(query))));
            own.then_some(true)
        }
    }
}

mod secret {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::secret::Secret;

    pub fn serialize<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
        secret.reveal().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        String::deserialize(from).map(Secret::new)
    }
}

mod optional_secret {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::secret::Secret;

    pub fn serialize<S: Serializer>(secret: &Option<Secret>, to: S) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(Secret::reveal).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Secret::new))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::oauth::Grant;

    fn tokens(obtained_at: u64, life: Option<u64>) -> TokenSet {
        let granted = TokenResponse {
            access_token: Secret::new("hunter2-access"),
            token_type: TokenType::Bearer,
            unknown_token_type: None,
            refresh_token: Some(Secret::new("hunter2-refresh")),
            expires_in: life,
            scopes: None,
        };
        TokenSet::from_response(granted, &["a".to_owned()], None, obtained_at)
    }

    fn record() -> Credentials {
        Credentials {
            server: "https://h/mcp".into(),
            owner: None,
            logged_in_at: 0,
            resource: "https://h".into(),
            resource_parameter: None,
            issuer: "https://as/".into(),
            token_endpoint: "https://as/token".into(),
            revocation_endpoint: None,
            revocation_method: None,
            unused_client: None,
            client: ClientRegistration {
                id: "id".into(),
                secret: Some(Secret::new("hunter2-client")),
                secret_expires_at: None,
                method: ClientAuthMethod::ClientSecretBasic,
                origin: ClientOrigin::Registered,
                name: None,
                redirect_uri: None,
                scopes: Vec::new(),
                management: None,
            },
            asked: vec!["a".into()],
            login: "login-1".into(),
            settings: OAuthSettings::default(),
            tokens: Some(tokens(1000, Some(3600))),
            dpop_key: Some(Secret::new("hunter2-key")),
        }
    }

    #[test]
    fn credentials_survive_a_round_trip_through_the_store() {
        let stored = record().to_stored().unwrap();
        for secret in ["access", "refresh", "client", "key"] {
            assert!(stored.reveal().contains(&format!("hunter2-{secret}")));
        }
        let again = Credentials::from_stored(&stored).unwrap();
        assert_eq!(again.to_stored().unwrap(), stored);
        assert_eq!(again.tokens.unwrap().expires_at, Some(4600));
    }

    #[test]
    fn sec_03_neither_debug_nor_the_index_shows_a_secret() {
        let record = record();
        let about = record.summary(Some("linear"));
        assert!(!format!("{record:?} {about:?} {}", serde_json::to_string(&about).unwrap()).contains("hunter2"));
        assert_eq!((about.expires_at, about.has_refresh), (Some(4600), true));
        assert_eq!(about.resource, "https://h/mcp");
        let damaged = Credentials::from_stored(&Secret::new("{\"server\": \"hunter2\"")).unwrap_err();
        assert_eq!(damaged.kind(), ErrorKind::Config);
        assert!(!format!("{damaged:?}").contains("hunter2"));
    }

    #[test]
    fn credentials_keep_the_settings_of_their_login() {
        let mut record = record();
        record.settings = OAuthSettings {
            client_id: Some("configured".into()),
            client_secret: Some(Secret::new("hunter2-settings")),
            grant: Some(Grant::ClientCredentials),
            dpop: Some(true),
            ..OAuthSettings::default()
        };
        let stored = record.to_stored().unwrap();
        assert!(!stored.reveal().contains("hunter2-settings"), "the client holds the secret, once");
        let mut again = Credentials::from_stored(&stored).unwrap();
        assert_eq!(
            (again.effective_settings().client_id, again.effective_settings().grant()),
            (None, Grant::ClientCredentials)
        );
        again.client.origin = ClientOrigin::Configured;
        assert_eq!(again.effective_settings().client_id.as_deref(), Some("id"));
        assert_eq!(again.effective_settings().client_secret, record.client.secret);
        again.tokens = Some(TokenSet { refresh: None, ..tokens(1000, Some(60)) });
        assert!(again.summary(None).has_refresh, "a machine needs no refresh token to get another");
        assert_eq!(again.effective_settings().dpop, Some(true));
        let off = OAuthSettings { dpop: Some(false), ..OAuthSettings::default() };
        assert_eq!(again.settings_under(&off).dpop, Some(false));
        assert_eq!(again.settings_under(&OAuthSettings::default()).dpop, Some(true));
    }

    #[test]
    fn aut_13_credentials_are_keyed_by_server_and_issuer() {
        let (mut one, mut other) = (record(), record());
        other.issuer = "https://as".into();
        assert_ne!(one.store_key(), other.store_key());
        let (plain, url) = (one.summary(None), |text: &str| Url::parse(text).unwrap());
        one.resource = "https://h/mcp?tenant=a".into();
        let tenant = one.summary(None);
        assert!(tenant.key != plain.key && !tenant.key.contains("tenant"), "{tenant:?}");
        let meant = |text: &str| (match_server(&plain, &url(text)), match_server(&tenant, &url(text)));
        assert_eq!(meant("https://h/mcp?tenant=a"), (Some(false), Some(true)));
        assert_eq!(meant("https://h/mcp?tenant=b"), (Some(false), None));
        assert_eq!(meant("https://h/mcp"), (Some(false), None));
        assert_eq!(meant("https://h/other?tenant=a"), (None, None));
        let name = |text: &str| server_id(&Url::parse(text).unwrap());
        assert_eq!(name("https://u:p@H/mcp?key=1#x"), "https://h/mcp");
        assert_ne!(name("https://h/mcp"), name("https://h/mcp/"));
    }

    #[test]
    fn a_login_belongs_to_its_entry_or_url() {
        let owner = |name: Option<&str>, client: Option<&str>| LoginOwner {
            config_name: name.map(ToOwned::to_owned),
            client_id: client.map(ToOwned::to_owned),
        };
        let stored = |owner: &LoginOwner| {
            let name = owner.config_name.as_deref();
            Credentials { owner: Some(owner.id()), ..record() }.summary(name)
        };
        let (a, b, url) = (owner(Some("a"), Some("x")), owner(Some("b"), None), owner(None, None));
        let (url_x, url_y) = (owner(None, Some("x")), owner(None, Some("y")));
        let keys: std::collections::BTreeSet<String> =
            [&a, &b, &url, &url_x, &url_y].map(|owner| stored(owner).key).into();
        assert_eq!(keys.len(), 5);
        for (of, by, ownership, is_replaced) in [
            (&a, &a, Some(Ownership::Own), true),
            (&a, &b, None, false),
            (&a, &url, None, false),
            (&url, &a, None, false),
            (&url_x, &url, Some(Ownership::Own), false),
            (&url_x, &url_y, None, false),
            (&url_x, &url_x, Some(Ownership::Own), true),
        ] {
            assert_eq!(
                (by.ownership(&stored(of)), by.replaces(&stored(of))),
                (ownership, is_replaced),
                "{of:?} {by:?}"
            );
        }
        // Logins that earlier versions stored: one for each URL, with the name of the entry that logged in last.
        let (named, unnamed) = (record().summary(Some("a")), record().summary(None));
        assert_eq!((a.ownership(&named), a.replaces(&named)), (Some(Ownership::Own), true));
        assert_eq!(b.ownership(&named), None);
        assert_eq!(url.ownership(&named), Some(Ownership::Shared));
        assert_eq!((b.ownership(&unnamed), b.replaces(&unnamed)), (Some(Ownership::Shared), false));
        assert_eq!((url.ownership(&unnamed), url.replaces(&unnamed)), (Some(Ownership::Own), true));
    }

    #[test]
    fn aut_23_tokens_need_a_refresh_before_they_expire() {
        let hour = tokens(1000, Some(3600));
        assert!(!hour.needs_refresh(4569, 30));
        assert!(hour.needs_refresh(4570, 30));
        assert!(!hour.is_expired(4599));
        assert!(hour.is_expired(4600));
        let short = tokens(1000, Some(5));
        assert!(!short.needs_refresh(1004, 30), "a token that lives for seconds is used for seconds");
        assert!(short.needs_refresh(1005, 30));
        assert!(!tokens(1000, None).needs_refresh(u64::MAX, 30));
    }
}
