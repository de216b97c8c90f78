//! Client authentication at a token endpoint (RFC 6749 §2.3, RFC 7523 §2.2; `AUT-24`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use url::form_urlencoded;

use crate::auth::credentials::ClientRegistration;
use crate::auth::crypto;
use crate::auth::jwt::JwtKey;
use crate::auth::metadata::AuthorizationServerMetadata;
use crate::config::oauth::{ClientAuthMethod, OAuthSettings};
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;

/// How long a client assertion is valid, in seconds.
const ASSERTION_LIFETIME_SECS: u64 = 60;
/// The type of a client assertion.
const CLIENT_ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl ClientAuthMethod {
    /// The methods to register with, in order: a public client if possible, else what the server supports. The form
    /// comes before the header, since some servers that accept the secret in the header also want the client ID in the
    /// form.
    ///
    /// A document without the member means `client_secret_basic` (RFC 8414 §2), but many such servers only know public
    /// clients, as those without a document do.
    #[must_use]
    pub fn for_registration(server: &AuthorizationServerMetadata) -> Vec<Self> {
        use ClientAuthMethod::{ClientSecretBasic, ClientSecretPost, None};
        let Some(offered) = &server.token_endpoint_auth_methods_supported else {
            return if server.is_assumed { vec![None, ClientSecretBasic] } else { vec![ClientSecretBasic, None] };
        };
        let mut all = vec![None, ClientSecretPost, ClientSecretBasic];
        all.retain(|method| offered.iter().any(|name| name == method.as_str()));
        if all.is_empty() { vec![None] } else { all }
    }

    /// The method for revocation: that of the token endpoint, unless the server lists only others.
    #[must_use]
    pub fn for_revocation(self, has_secret: bool, offered: Option<&[String]>) -> Self {
        match offered {
            Some(offered) if !offered.iter().any(|name| name == self.as_str()) => {
                ClientAuthMethod::choose(has_secret, self == ClientAuthMethod::PrivateKeyJwt, Some(offered))
            }
            _ => self,
        }
    }

    /// The method for a client whose registration names none, by its credentials and what the server supports
    /// (RFC 8414 §2: the default is `client_secret_basic`).
    #[must_use]
    pub fn choose(has_secret: bool, has_key: bool, offered: Option<&[String]>) -> Self {
        if has_key && !has_secret {
            return ClientAuthMethod::PrivateKeyJwt;
        }
        if !has_secret {
            return ClientAuthMethod::None;
        }
        let supports =
            |method: ClientAuthMethod| offered.is_none_or(|all| all.iter().any(|name| name == method.as_str()));
        if supports(ClientAuthMethod::ClientSecretBasic) {
            ClientAuthMethod::ClientSecretBasic
        } else if supports(ClientAuthMethod::ClientSecretPost) {
            ClientAuthMethod::ClientSecretPost
        } else if supports(ClientAuthMethod::None) {
            ClientAuthMethod::None
        } else {
            ClientAuthMethod::ClientSecretBasic
        }
    }
}

/// The client and how it authenticates.
#[derive(Clone, Debug)]
pub struct ClientAuthentication<'a> {
    /// The client ID.
    pub client_id: &'a str,
    /// The secret, if the client has one.
    pub secret: Option<&'a Secret>,
    /// The key of `private_key_jwt`.
    pub key: Option<&'a JwtKey>,
    /// The method.
    pub method: ClientAuthMethod,
    /// The audience of an assertion: the issuer (RFC 7523bis; 2026-07-28, basic/authorization).
    pub audience: &'a str,
}

impl<'a> ClientAuthentication<'a> {
    /// The authentication of a client at this issuer.
    #[must_use]
    pub fn new(client: &'a ClientRegistration, key: Option<&'a JwtKey>, issuer: &'a str) -> Self {
        ClientAuthentication {
            client_id: &client.id,
            secret: client.secret.as_ref(),
            key,
            method: client.method,
            audience: issuer,
        }
    }

    /// Adds the client's parameters to a form. Returns the value of the `Authorization` header, if there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the method needs a secret or a key, and the client has none.
    pub fn apply(&self, form: &mut Vec<(&'static str, String)>, now: u64) -> Result<Option<Secret>> {
        let missing = |what: &str| {
            let method = self.method.as_str();
            Failure::new(
                ErrorKind::Config,
                format!("the OAuth client has no {what}, which its authentication method '{method}' needs"),
            )
        };
        let secret = || self.secret.ok_or_else(|| missing("secret").hint("set client_secret in [servers.NAME.auth]"));
        match self.method {
            ClientAuthMethod::None => form.push(("client_id", self.client_id.to_owned())),
            ClientAuthMethod::ClientSecretBasic => {
                let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = format!("{}:{}", encode(self.client_id), encode(secret()?.reveal()));
                return Ok(Some(Secret::new(format!("Basic {}", STANDARD.encode(pair)))));
            }
            ClientAuthMethod::ClientSecretPost => {
                form.push(("client_id", self.client_id.to_owned()));
                form.push(("client_secret", secret()?.reveal().to_owned()));
            }
            ClientAuthMethod::PrivateKeyJwt => {
                let key = self.key.ok_or_else(|| missing("key").hint("set private_key_file in [servers.NAME.auth]"))?;
                form.push(("client_id", self.client_id.to_owned()));
                form.push(("client_assertion_type", CLIENT_ASSERTION_TYPE.to_owned()));
                form.push(("client_assertion", self.client_assertion(key, now)?));
            }
        }
        Ok(None)
    }

    fn client_assertion(&self, key: &JwtKey, now: u64) -> Result<String> {
        let claims = json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience,
            "iat": now,
            "exp": now + ASSERTION_LIFETIME_SECS,
            "jti": crypto::random_token()?,
        });
        key.sign(json!({"typ": "JWT"}), &claims)
    }
}

/// Loads the key of a client that authenticates with `private_key_jwt`.
///
/// # Errors
/// As [`JwtKey::from_pem_file`].
pub fn load_signing_key(settings: &OAuthSettings, client: &ClientRegistration) -> Result<Option<JwtKey>> {
    match (&settings.private_key_file, client.method) {
        (Some(path), ClientAuthMethod::PrivateKeyJwt) => {
            JwtKey::from_pem_file(path, settings.signing_algorithm).map(Some)
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::auth::testing::words as names;

    #[test]
    fn aut_24_the_method_depends_on_client_credentials_and_server_support() {
        use ClientAuthMethod::{ClientSecretBasic, ClientSecretPost, PrivateKeyJwt};
        let basic_and_post = names("client_secret_post client_secret_basic");
        let post = names("client_secret_post");
        assert_eq!(ClientAuthMethod::choose(true, false, None), ClientSecretBasic);
        assert_eq!(ClientAuthMethod::choose(true, false, Some(&basic_and_post)), ClientSecretBasic);
        assert_eq!(ClientAuthMethod::choose(true, false, Some(&post)), ClientSecretPost);
        assert_eq!(ClientAuthMethod::choose(true, false, Some(&names("none"))), ClientAuthMethod::None);
        assert_eq!(ClientAuthMethod::choose(true, false, Some(&names("tls_client_auth"))), ClientSecretBasic);
        assert_eq!(ClientAuthMethod::choose(false, true, Some(&post)), PrivateKeyJwt);
        assert_eq!(ClientAuthMethod::choose(false, false, Some(&post)), ClientAuthMethod::None);
    }

    #[test]
    fn aut_24_registration_asks_for_a_public_client_where_it_can() {
        use ClientAuthMethod::{ClientSecretBasic, ClientSecretPost, None};
        let server = |offered: Option<&str>| AuthorizationServerMetadata {
            token_endpoint_auth_methods_supported: offered.map(names),
            ..AuthorizationServerMetadata::default()
        };
        let asked = |text: &str| ClientAuthMethod::for_registration(&server(Some(text)));
        assert_eq!(asked("client_secret_post none"), [None, ClientSecretPost]);
        assert_eq!(asked("client_secret_basic client_secret_post"), [ClientSecretPost, ClientSecretBasic]);
        assert_eq!(asked("client_secret_basic"), [ClientSecretBasic]);
        assert_eq!(asked("private_key_jwt"), [None]);
        assert_eq!(ClientAuthMethod::for_registration(&server(Option::None)), [ClientSecretBasic, None]);
        let assumed = AuthorizationServerMetadata::assumed_for_origin("https://h");
        assert_eq!(ClientAuthMethod::for_registration(&assumed), [None, ClientSecretBasic]);
    }

    #[test]
    fn aut_24_revocation_uses_a_method_that_its_endpoint_supports() {
        use ClientAuthMethod::{ClientSecretBasic, ClientSecretPost, None, PrivateKeyJwt};
        let post = names("client_secret_post");
        assert_eq!(ClientSecretBasic.for_revocation(true, Option::None), ClientSecretBasic);
        assert_eq!(ClientSecretBasic.for_revocation(true, Some(&post)), ClientSecretPost);
        assert_eq!(ClientSecretPost.for_revocation(true, Some(&post)), ClientSecretPost);
        assert_eq!(None.for_revocation(false, Some(&post)), None);
        assert_eq!(PrivateKeyJwt.for_revocation(false, Some(&post)), PrivateKeyJwt);
    }

    fn client_auth<'a>(
        method: ClientAuthMethod,
        secret: Option<&'a Secret>,
        key: Option<&'a JwtKey>,
    ) -> ClientAuthentication<'a> {
        ClientAuthentication { client_id: "my id", secret, key, method, audience: "https://as" }
    }

    #[test]
    fn basic_encodes_id_and_secret_first() {
        let secret = Secret::new("a:b%+ü");
        let mut form = Vec::new();
        let header =
            client_auth(ClientAuthMethod::ClientSecretBasic, Some(&secret), None).apply(&mut form, 0).unwrap().unwrap();
        assert!(form.is_empty());
        let sent = STANDARD.decode(header.reveal().strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(String::from_utf8(sent).unwrap(), "my+id:a%3Ab%25%2B%C3%BC");
    }

    #[test]
    fn a_missing_secret_or_key_is_named() {
        for (method, what) in
            [(ClientAuthMethod::ClientSecretBasic, "secret"), (ClientAuthMethod::PrivateKeyJwt, "key")]
        {
            let failure = client_auth(method, None, None).apply(&mut Vec::new(), 0).unwrap_err();
            assert_eq!(failure.kind(), ErrorKind::Config);
            assert!(failure.to_string().contains(what), "{failure}");
        }
    }
}
