//! Proof of possession (RFC 9449): tokens that are useless without a key that never leaves this machine.

use std::collections::HashMap;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Map, json};
use url::Url;

use crate::auth::crypto;
use crate::auth::jwt::JwtKey;
use crate::auth::metadata::origin;
use crate::config::oauth::SigningAlgorithm;
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::util::lock::lock;

/// The header in which a server sends nonces, in lower case.
pub const NONCE_HEADER: &str = "dpop-nonce";
/// The error code that requests a proof with a nonce.
pub const USE_DPOP_NONCE: &str = "use_dpop_nonce";

/// The newest nonce of each origin (RFC 9449 §8.2). Any response may contain one. It is sent to that origin only, for
/// proofs of any key.
#[derive(Debug, Default)]
pub struct DpopNonces(Mutex<HashMap<String, String>>);

impl DpopNonces {
    /// Stores the nonce of a response from `url`. Returns whether it is usable; it may be known already, from a
    /// concurrent request.
    pub fn remember(&self, url: &Url, nonce: &str) -> bool {
        let usable = !nonce.is_empty() && nonce.len() <= 1024;
        if usable {
            self.lock().insert(origin(url), nonce.to_owned());
        }
        usable
    }

    /// The nonce for a request to `url`.
    #[must_use]
    pub fn for_url(&self, url: &Url) -> Option<String> {
        self.lock().get(&origin(url)).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        lock(&self.0)
    }
}

/// The key that tokens are bound to.
#[derive(Debug)]
pub struct DpopKey {
    key: JwtKey,
    encoded: Secret,
}

/// The request that a proof is for.
#[derive(Clone, Copy, Debug)]
pub struct ProofTarget<'a> {
    /// The method of the request.
    pub method: &'a str,
    /// Its URL.
    pub url: &'a Url,
    /// Its access token, if it has one.
    pub access_token: Option<&'a Secret>,
}

impl DpopKey {
    /// Generates a new key.
    ///
    /// # Errors
    /// If the system provides no random numbers.
    pub fn generate() -> Result<Self> {
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| Failure::new(ErrorKind::Bug, "the system provides no random numbers"))?;
        DpopKey::from_encoded(Secret::new(STANDARD.encode(der.as_ref())))
    }

    /// Parses a stored key.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if it is damaged.
    pub fn from_encoded(stored: Secret) -> Result<Self> {
        let bad = || Failure::new(ErrorKind::Config, "the stored DPoP key is damaged");
        let der = STANDARD.decode(stored.reveal()).map_err(|_| bad())?;
        let der = PrivateKeyDer::try_from(der).map_err(|_| bad())?;
        let key = JwtKey::from_der(&der, Some(SigningAlgorithm::Es256)).map_err(|why| bad().cause(why))?;
        Ok(DpopKey { key, encoded: stored })
    }

    /// The key in the form in which it is stored.
    #[must_use]
    pub fn encoded(&self) -> &Secret {
        &self.encoded
    }

    /// A proof for one request and its token.
    ///
    /// # Errors
    /// If the system provides no random numbers, or the key cannot sign.
    pub fn dpop_proof(&self, shown: ProofTarget<'_>, nonces: &DpopNonces, now: u64) -> Result<Secret> {
        let ProofTarget { method, url, access_token: token } = shown;
        let mut bare = url.clone();
        bare.set_query(None);
        bare.set_fragment(None);
        let mut claims = Map::new();
        claims.insert("jti".into(), crypto::random_token()?.into());
        claims.insert("htm".into(), method.into());
        claims.insert("htu".into(), bare.as_str().into());
        claims.insert("iat".into(), now.into());
        if let Some(token) = token {
            claims.insert("ath".into(), crypto::sha256_base64url(token.reveal()).into());
        }
        if let Some(nonce) = nonces.for_url(url) {
            claims.insert("nonce".into(), nonce.into());
        }
        let jwk = self.key.jwk().ok_or_else(|| Failure::new(ErrorKind::Bug, "the DPoP key has no public key"))?;
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

    fn decode_proof(prover: &DpopKey, proof: &Secret) -> (Value, Value) {
        let jwk = prover.key.jwk().unwrap();
        let mut point = vec![4];
        for name in ["x", "y"] {
            point.extend(URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap());
        }
        let (header, claims) =
            crate::auth::jwt::tests::verify_and_decode(proof.reveal(), &point, &ECDSA_P256_SHA256_FIXED);
        assert_eq!(header["jwk"], jwk);
        (header, claims)
    }

    #[test]
    fn a_proof_names_the_request_and_its_token() {
        let prover = DpopKey::generate().unwrap();
        let url = Url::parse("https://h:8443/mcp?key=hidden#x").unwrap();
        let token = Secret::new("tok");
        let none = DpopNonces::default();
        let shown = ProofTarget { method: "POST", url: &url, access_token: Some(&token) };
        let (header, claims) = decode_proof(&prover, &prover.dpop_proof(shown, &none, 7).unwrap());
        assert_eq!((&header["typ"], &header["alg"]), (&json!("dpop+jwt"), &json!("ES256")));
        assert_eq!(header["jwk"].get("d"), None);
        assert_eq!(claims["htm"], "POST");
        assert_eq!(claims["htu"], "https://h:8443/mcp");
        assert_eq!(claims["iat"], 7);
        assert_eq!(claims["ath"], crypto::sha256_base64url("tok"));
        assert_eq!(claims.get("nonce"), None);
        let (_, again) =
            decode_proof(&prover, &prover.dpop_proof(ProofTarget { access_token: None, ..shown }, &none, 7).unwrap());
        assert_ne!(claims["jti"], again["jti"]);
        assert_eq!(again.get("ath"), None);
    }

    #[test]
    fn nonces_belong_to_their_origin() {
        let (prover, nonces) = (DpopKey::generate().unwrap(), DpopNonces::default());
        let urls = ["https://a/x", "https://a/y?z", "https://b/x", "http://a/x", "https://a:444/x"];
        let [one, same, others @ ..] = urls.map(|url| Url::parse(url).unwrap());
        assert!(nonces.remember(&one, "n1"));
        assert!(nonces.remember(&one, "n1"), "another request may have learned it first");
        assert!(!nonces.remember(&one, "") && !nonces.remember(&one, &"n".repeat(1025)));
        let nonce = |url| {
            let shown = ProofTarget { method: "GET", url, access_token: None };
            decode_proof(&prover, &prover.dpop_proof(shown, &nonces, 0).unwrap()).1["nonce"].clone()
        };
        assert_eq!((nonce(&one), nonce(&same)), (json!("n1"), json!("n1")));
        assert!(others.iter().all(|other| nonce(other) == Value::Null));
        assert!(nonces.remember(&same, "n2"));
        assert_eq!(nonce(&one), "n2", "the newest counts");
    }

    #[test]
    fn the_key_survives_a_round_trip_and_is_not_printed() {
        let prover = DpopKey::generate().unwrap();
        let again = DpopKey::from_encoded(prover.encoded().clone()).unwrap();
        assert_eq!(again.key.jwk(), prover.key.jwk());
        let shown = format!("{prover:?}");
        assert!(!shown.contains(prover.encoded().reveal()), "{shown}");
        assert_eq!(DpopKey::from_encoded(Secret::new("???")).unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(DpopKey::from_encoded(Secret::new("AAAA")).unwrap_err().kind(), ErrorKind::Config);
    }
}
