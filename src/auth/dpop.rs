//! Proof of possession (RFC 9449): tokens that are worth nothing without a key that stays here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Map, json};
use url::Url;

use super::jwt::{Algorithm, Key};
use super::metadata::origin;
use super::random;
use crate::error::{Class, Failure, Result};
use crate::secret::Secret;

/// The header that carries a proof.
pub const HEADER: &str = "DPoP";
/// The header in which a server hands out nonces, in lower case.
pub const NONCE_HEADER: &str = "dpop-nonce";
/// The error that asks for a proof with a nonce.
pub const USE_NONCE: &str = "use_dpop_nonce";

/// The newest nonce of each origin (RFC 9449 §8.2): any answer may bring one. It goes back to that origin and to no
/// other, whatever key the proof is made with.
#[derive(Debug, Default)]
pub struct Nonces(Mutex<HashMap<String, String>>);

impl Nonces {
    /// Keeps the nonce that an answer of `url` brought. Tells whether it can be one: it may be known already, to a
    /// request that was answered at the same time.
    pub fn take(&self, url: &Url, nonce: &str) -> bool {
        let usable = !nonce.is_empty() && nonce.len() <= 1024;
        if usable {
            self.all().insert(origin(url), nonce.to_owned());
        }
        usable
    }

    /// The nonce for a request to `url`.
    #[must_use]
    pub fn of(&self, url: &Url) -> Option<String> {
        self.all().get(&origin(url)).cloned()
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key that tokens are bound to.
#[derive(Debug)]
pub struct Prover {
    key: Key,
    stored: Secret,
}

/// What a proof is about.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The method of the request.
    pub method: &'a str,
    /// Where it goes.
    pub url: &'a Url,
    /// The token that it carries, if it carries one.
    pub token: Option<&'a Secret>,
}

impl Prover {
    /// A fresh key.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate() -> Result<Self> {
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| Failure::new(Class::Bug, "the system gives no random numbers"))?;
        Prover::stored(Secret::new(STANDARD.encode(der.as_ref())))
    }

    /// The key of a record.
    ///
    /// # Errors
    /// [`Class::Config`] where it is damaged.
    pub fn stored(stored: Secret) -> Result<Self> {
        let bad = || Failure::new(Class::Config, "the stored DPoP key is damaged");
        let der = STANDARD.decode(stored.reveal()).map_err(|_| bad())?;
        let der = PrivateKeyDer::try_from(der).map_err(|_| bad())?;
        let key = Key::new(&der, Some(Algorithm::Es256)).map_err(|why| bad().cause(why))?;
        Ok(Prover { key, stored })
    }

    /// The key in the form in which it is stored.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.stored
    }

    /// A proof for one request, and for the token it carries if it carries one.
    ///
    /// # Errors
    /// When there is no randomness, or the key cannot sign.
    pub fn proof(&self, shown: Shown<'_>, nonces: &Nonces, now: u64) -> Result<Secret> {
        let Shown { method, url, token } = shown;
        let mut bare = url.clone();
        bare.set_query(None);
        bare.set_fragment(None);
        let mut claims = Map::new();
        claims.insert("jti".into(), random::token()?.into());
        claims.insert("htm".into(), method.into());
        claims.insert("htu".into(), bare.as_str().into());
        claims.insert("iat".into(), now.into());
        if let Some(token) = token {
            claims.insert("ath".into(), random::sha256(token.reveal()).into());
        }
        if let Some(nonce) = nonces.of(url) {
            claims.insert("nonce".into(), nonce.into());
        }
        let jwk = self.key.jwk().ok_or_else(|| Failure::new(Class::Bug, "the DPoP key has no public part"))?;
        self.key.sign(json!({"typ": "dpop+jwt", "jwk": jwk}), &claims.into()).map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::signature::ECDSA_P256_SHA256_FIXED;
    use serde_json::Value;

    use super::*;

    fn open(prover: &Prover, proof: &Secret) -> (Value, Value) {
        let jwk = prover.key.jwk().unwrap();
        let mut point = vec![4];
        for name in ["x", "y"] {
            point.extend(URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap());
        }
        let (header, claims) = crate::auth::jwt::tests::open(proof.reveal(), &point, &ECDSA_P256_SHA256_FIXED);
        assert_eq!(header["jwk"], jwk);
        (header, claims)
    }

    #[test]
    fn a_proof_names_the_request_and_its_token() {
        let prover = Prover::generate().unwrap();
        let url = Url::parse("https://h:8443/mcp?key=hidden#x").unwrap();
        let token = Secret::new("tok");
        let none = Nonces::default();
        let shown = Shown { method: "POST", url: &url, token: Some(&token) };
        let (header, claims) = open(&prover, &prover.proof(shown, &none, 7).unwrap());
        assert_eq!((&header["typ"], &header["alg"]), (&json!("dpop+jwt"), &json!("ES256")));
        assert_eq!(header["jwk"].get("d"), None);
        assert_eq!(claims["htm"], "POST");
        assert_eq!(claims["htu"], "https://h:8443/mcp");
        assert_eq!(claims["iat"], 7);
        assert_eq!(claims["ath"], random::sha256("tok"));
        assert_eq!(claims.get("nonce"), None);
        let (_, again) = open(&prover, &prover.proof(Shown { token: None, ..shown }, &none, 7).unwrap());
        assert_ne!(claims["jti"], again["jti"]);
        assert_eq!(again.get("ath"), None);
    }

    #[test]
    fn nonces_belong_to_their_origin() {
        let (prover, nonces) = (Prover::generate().unwrap(), Nonces::default());
        let urls = ["https://a/x", "https://a/y?z", "https://b/x", "http://a/x", "https://a:444/x"];
        let [one, same, others @ ..] = urls.map(|url| Url::parse(url).unwrap());
        assert!(nonces.take(&one, "n1"));
        assert!(nonces.take(&one, "n1"), "another request may have learned it first");
        assert!(!nonces.take(&one, "") && !nonces.take(&one, &"n".repeat(1025)));
        let nonce = |url| {
            let shown = Shown { method: "GET", url, token: None };
            open(&prover, &prover.proof(shown, &nonces, 0).unwrap()).1["nonce"].clone()
        };
        assert_eq!((nonce(&one), nonce(&same)), (json!("n1"), json!("n1")));
        assert!(others.iter().all(|other| nonce(other) == Value::Null));
        assert!(nonces.take(&same, "n2"));
        assert_eq!(nonce(&one), "n2", "the newest counts");
    }

    #[test]
    fn the_key_comes_back_from_the_record_and_is_not_shown() {
        let prover = Prover::generate().unwrap();
        let again = Prover::stored(prover.secret().clone()).unwrap();
        assert_eq!(again.key.jwk(), prover.key.jwk());
        let shown = format!("{prover:?}");
        assert!(!shown.contains(prover.secret().reveal()), "{shown}");
        assert_eq!(Prover::stored(Secret::new("???")).unwrap_err().class(), Class::Config);
        assert_eq!(Prover::stored(Secret::new("AAAA")).unwrap_err().class(), Class::Config);
    }
}
