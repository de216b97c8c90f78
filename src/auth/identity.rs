//! How a client shows who it is at a token endpoint (RFC 6749 §2.3, RFC 7523 §2.2; `AUT-24`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::form_urlencoded;

use super::jwt::Key;
use super::random;
use crate::error::{Class, Failure, Result};
use crate::secret::Secret;

/// How long a client assertion is good for, in seconds.
const ASSERTION_LIFE: u64 = 60;
/// The type of a client assertion.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A way to show who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The id alone.
    None,
    /// Id and secret in the `Authorization` header.
    ClientSecretBasic,
    /// Id and secret in the form.
    ClientSecretPost,
    /// An assertion signed with our key.
    PrivateKeyJwt,
}

impl Method {
    /// The name on the wire and in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Method::None => "none",
            Method::ClientSecretBasic => "client_secret_basic",
            Method::ClientSecretPost => "client_secret_post",
            Method::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// The method of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Method::None, Method::ClientSecretBasic, Method::ClientSecretPost, Method::PrivateKeyJwt]
            .into_iter()
            .find(|method| method.as_str() == name)
    }

    /// The method to ask for when registering: public where that is possible, else what the server takes. In the
    /// form, where every server looks for a secret that it offers to take there; some that take it in the header
    /// want the id in the form besides.
    #[must_use]
    pub fn to_register(offered: Option<&[String]>) -> Self {
        let Some(offered) = offered else { return Method::None };
        let of = |method: Method| offered.iter().any(|name| name == method.as_str()).then_some(method);
        let preferred = [Method::None, Method::ClientSecretPost, Method::ClientSecretBasic];
        preferred.into_iter().find_map(of).unwrap_or(Method::None)
    }

    /// The method for a client whose registration says none: its credentials and the server decide
    /// (RFC 8414 §2: a server that says nothing takes `client_secret_basic`).
    #[must_use]
    pub fn choose(has_secret: bool, has_key: bool, offered: Option<&[String]>) -> Self {
        if has_key && !has_secret {
            return Method::PrivateKeyJwt;
        }
        if !has_secret {
            return Method::None;
        }
        let takes = |method: Method| offered.is_none_or(|all| all.iter().any(|name| name == method.as_str()));
        if takes(Method::ClientSecretBasic) {
            Method::ClientSecretBasic
        } else if takes(Method::ClientSecretPost) {
            Method::ClientSecretPost
        } else if takes(Method::None) {
            Method::None
        } else {
            Method::ClientSecretBasic
        }
    }
}

/// Who we are, and how we show it.
#[derive(Clone, Debug)]
pub struct Identity<'a> {
    /// The client id.
    pub client_id: &'a str,
    /// The secret, where there is one.
    pub secret: Option<&'a Secret>,
    /// The key of `private_key_jwt`.
    pub key: Option<&'a Key>,
    /// The way.
    pub method: Method,
    /// For whom an assertion is meant: the issuer (digest §5.4).
    pub audience: &'a str,
}

impl Identity<'_> {
    /// Adds what shows who we are to a form; what goes into the `Authorization` header is returned.
    ///
    /// # Errors
    /// [`Class::Config`] where the secret or the key that the method needs is missing.
    pub fn apply(&self, form: &mut Vec<(&'static str, String)>, now: u64) -> Result<Option<Secret>> {
        let missing = |what: &str| {
            let method = self.method.as_str();
            Failure::new(Class::Config, format!("the client has no {what}, which '{method}' needs"))
        };
        let secret = || self.secret.ok_or_else(|| missing("secret").hint("set client_secret in [servers.NAME.auth]"));
        match self.method {
            Method::None => form.push(("client_id", self.client_id.to_owned())),
            Method::ClientSecretBasic => {
                let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = format!("{}:{}", encode(self.client_id), encode(secret()?.reveal()));
                return Ok(Some(Secret::new(format!("Basic {}", STANDARD.encode(pair)))));
            }
            Method::ClientSecretPost => {
                form.push(("client_id", self.client_id.to_owned()));
                form.push(("client_secret", secret()?.reveal().to_owned()));
            }
            Method::PrivateKeyJwt => {
                let key = self.key.ok_or_else(|| missing("key").hint("set private_key_file in [servers.NAME.auth]"))?;
                form.push(("client_id", self.client_id.to_owned()));
                form.push(("client_assertion_type", ASSERTION_TYPE.to_owned()));
                form.push(("client_assertion", self.assertion(key, now)?));
            }
        }
        Ok(None)
    }

    fn assertion(&self, key: &Key, now: u64) -> Result<String> {
        let claims = json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience,
            "iat": now,
            "exp": now + ASSERTION_LIFE,
            "jti": random::token()?,
        });
        key.sign(json!({"typ": "JWT"}), &claims)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ring::rand::SystemRandom;
    use ring::signature::{self, EcdsaKeyPair, KeyPair};
    use rustls::pki_types::PrivateKeyDer;

    use super::*;
    use crate::auth::testing::words as names;

    #[test]
    fn aut_24_the_method_follows_what_the_client_has_and_the_server_takes() {
        use Method::{ClientSecretBasic, ClientSecretPost, PrivateKeyJwt};
        let basic_and_post = names("client_secret_post client_secret_basic");
        let post = names("client_secret_post");
        assert_eq!(Method::choose(true, false, None), ClientSecretBasic);
        assert_eq!(Method::choose(true, false, Some(&basic_and_post)), ClientSecretBasic);
        assert_eq!(Method::choose(true, false, Some(&post)), ClientSecretPost);
        assert_eq!(Method::choose(true, false, Some(&names("none"))), Method::None);
        assert_eq!(Method::choose(true, false, Some(&names("tls_client_auth"))), ClientSecretBasic);
        assert_eq!(Method::choose(false, true, Some(&post)), PrivateKeyJwt);
        assert_eq!(Method::choose(false, false, Some(&post)), Method::None);
    }

    #[test]
    fn aut_24_registration_asks_for_a_public_client_where_it_can() {
        let asked = |text: &str| Method::to_register(Some(&names(text)));
        assert_eq!(Method::to_register(None), Method::None);
        assert_eq!(asked("client_secret_post none"), Method::None);
        assert_eq!(asked("client_secret_basic client_secret_post"), Method::ClientSecretPost);
        assert_eq!(asked("client_secret_basic"), Method::ClientSecretBasic);
        assert_eq!(asked("private_key_jwt"), Method::None);
    }

    fn identity<'a>(method: Method, secret: Option<&'a Secret>, key: Option<&'a Key>) -> Identity<'a> {
        Identity { client_id: "my id", secret, key, method, audience: "https://as" }
    }

    #[test]
    fn basic_encodes_id_and_secret_first() {
        let secret = Secret::new("a:b%+ü");
        let mut form = Vec::new();
        let header = identity(Method::ClientSecretBasic, Some(&secret), None).apply(&mut form, 0).unwrap().unwrap();
        assert!(form.is_empty());
        let sent = STANDARD.decode(header.reveal().strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(String::from_utf8(sent).unwrap(), "my+id:a%3Ab%25%2B%C3%BC");
    }

    #[test]
    fn post_and_none_go_into_the_form() {
        let secret = Secret::new("s");
        let mut form = Vec::new();
        assert_eq!(identity(Method::ClientSecretPost, Some(&secret), None).apply(&mut form, 0).unwrap(), None);
        assert_eq!(form, [("client_id", "my id".to_owned()), ("client_secret", "s".to_owned())]);
        form.clear();
        assert_eq!(identity(Method::None, Some(&secret), None).apply(&mut form, 0).unwrap(), None);
        assert_eq!(form, [("client_id", "my id".to_owned())]);
    }

    #[test]
    fn aut_25_an_assertion_is_short_lived_and_meant_for_the_issuer() {
        let rng = SystemRandom::new();
        let curve = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let der = EcdsaKeyPair::generate_pkcs8(curve, &rng).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(curve, der.as_ref(), &rng).unwrap();
        let key = Key::new(&PrivateKeyDer::try_from(der.as_ref().to_vec()).unwrap(), None).unwrap();
        let mut form = Vec::new();
        identity(Method::PrivateKeyJwt, None, Some(&key)).apply(&mut form, 1000).unwrap();
        assert_eq!(form[1].1, ASSERTION_TYPE);
        let public = pair.public_key().as_ref();
        let (_, claims) = crate::auth::jwt::tests::open(&form[2].1, public, &signature::ECDSA_P256_SHA256_FIXED);
        assert_eq!(
            (&claims["iss"], &claims["sub"], &claims["aud"]),
            (&"my id".into(), &"my id".into(), &"https://as".into())
        );
        assert_eq!((&claims["iat"], &claims["exp"]), (&1000.into(), &1060.into()));
        assert!(claims["jti"].as_str().unwrap().len() > 20);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (method, what) in [(Method::ClientSecretBasic, "secret"), (Method::PrivateKeyJwt, "key")] {
            let failure = identity(method, None, None).apply(&mut Vec::new(), 0).unwrap_err();
            assert_eq!(failure.class(), Class::Config);
            assert!(failure.to_string().contains(what), "{failure}");
        }
    }
}
