//! The tokens that mcpipe signs: client assertions (RFC 7523) and DPoP proofs (RFC 9449).
//!
//! Keys and signatures are those of rustls with ring; this module adds the JWS format (RFC 7515, RFC 7518).

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::sign::SigningKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use serde_json::{Value, json};

use crate::auth::crypto::base64url;
use crate::config::oauth::SigningAlgorithm;
use crate::error::{ErrorKind, Failure, Result};
use crate::util::bounded_read::{self, MAX_FILE};
use crate::util::home::shown_path;

impl SigningAlgorithm {
    fn signature_scheme(self) -> SignatureScheme {
        match self {
            Self::Es256 => SignatureScheme::ECDSA_NISTP256_SHA256,
            Self::Es384 => SignatureScheme::ECDSA_NISTP384_SHA384,
            Self::Rs256 => SignatureScheme::RSA_PKCS1_SHA256,
            Self::Ps256 => SignatureScheme::RSA_PSS_SHA256,
            Self::EdDsa => SignatureScheme::ED25519,
        }
    }

    /// How long each of the two numbers of an ECDSA signature is.
    fn ecdsa_integer_len(self) -> Option<usize> {
        match self {
            Self::Es256 => Some(32),
            Self::Es384 => Some(48),
            _ => None,
        }
    }
}

/// A private key and the algorithm it signs with.
#[derive(Clone, Debug)]
pub struct JwtKey {
    key: Arc<dyn SigningKey>,
    algorithm: SigningAlgorithm,
}

impl JwtKey {
    /// Reads a private key (PEM: PKCS#8, PKCS#1 or SEC1). Without a named algorithm, the type of the key decides.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the file.
    pub fn from_pem_file(path: &Path, algorithm: Option<SigningAlgorithm>) -> Result<Self> {
        let bad = |cause: String| {
            Failure::new(ErrorKind::Config, format!("cannot use the private key '{}'", shown_path(path))).cause(cause)
        };
        let pem = bounded_read::read(path, MAX_FILE).map_err(pem::Error::Io);
        let der = pem.and_then(|pem| PrivateKeyDer::from_pem_slice(&pem)).map_err(|error| match error {
            pem::Error::Io(error) => bad(error.to_string()),
            pem::Error::NoItemsFound => bad("the file contains no unencrypted private key in PEM format".to_owned())
                .hint("remove the password with: openssl pkey -in FILE -out NEW"),
            error => bad(error.to_string()),
        })?;
        JwtKey::from_der(&der, algorithm).map_err(|cause| {
            bad(cause)
                .hint("rewrite it with: openssl pkey -in FILE -out NEW (RSA of 2048 bits, P-256, P-384 or Ed25519)")
        })
    }

    /// A key from its DER form.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn from_der(der: &PrivateKeyDer<'_>, algorithm: Option<SigningAlgorithm>) -> Result<Self, String> {
        let key = any_supported_type(der).map_err(|error| error.to_string())?;
        let fits = |algorithm: &SigningAlgorithm| key.choose_scheme(&[algorithm.signature_scheme()]).is_some();
        let algorithm = match algorithm {
            Some(named) if fits(&named) => named,
            Some(named) => return Err(format!("it does not support the algorithm {}", named.as_str())),
            None if key.algorithm() == SignatureAlgorithm::RSA => SigningAlgorithm::Rs256,
            None => SigningAlgorithm::ALL.into_iter().find(fits).ok_or("no algorithm supports it")?,
        };
        Ok(JwtKey { key, algorithm })
    }

    /// The public key of a P-256 key as a JWK (RFC 7518 §6.2); `None` for other keys.
    #[must_use]
    pub fn jwk(&self) -> Option<Value> {
        let info = self.key.public_key()?;
        // A SubjectPublicKeyInfo ends in the uncompressed point: 4, x, y.
        let point = info.len().checked_sub(65).and_then(|at| info.get(at..))?;
        if self.algorithm != SigningAlgorithm::Es256 || point.first() != Some(&4) {
            return None;
        }
        let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
        Some(json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}))
    }

    /// Signs claims under a header; `alg` is added to the header.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn sign(&self, mut header: Value, claims: &Value) -> Result<String> {
        header["alg"] = json!(self.algorithm.as_str());
        let text = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
        let broken = || Failure::new(ErrorKind::Config, "the private key cannot sign");
        let signer = self.key.choose_scheme(&[self.algorithm.signature_scheme()]).ok_or_else(broken)?;
        let signature = signer.sign(text.as_bytes()).map_err(|error| broken().caused_by(&error))?;
        let signature = match self.algorithm.ecdsa_integer_len() {
            Some(half) => ecdsa_der_to_jws(&signature, half).ok_or_else(broken)?,
            None => signature,
        };
        Ok(format!("{text}.{}", base64url(&signature)))
    }
}

/// An ECDSA signature in JWS format, both integers at full length (RFC 7518 §3.4), from a DER sequence of the two.
fn ecdsa_der_to_jws(der: &[u8], half: usize) -> Option<Vec<u8>> {
    fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
        let (&[found, length], rest) = der.split_first_chunk::<2>()?;
        // No element of a signature on these curves is longer than 127 bytes.
        (found == tag && length < 128).then_some(())?;
        rest.split_at_checked(usize::from(length))
    }
    let (sequence, rest) = element(der, 0x30)?;
    let (r, sequence) = element(sequence, 2)?;
    let (s, end) = element(sequence, 2)?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(2 * half);
    for number in [r, s] {
        let number = number.iter().position(|byte| *byte != 0).map_or(&[][..], |at| &number[at..]);
        out.resize(out.len() + half.checked_sub(number.len())?, 0);
        out.extend_from_slice(number);
    }
    Some(out)
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::rand::SystemRandom;
    use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, UnparsedPublicKey, VerificationAlgorithm};

    use super::*;

    /// Checks a signature against the public key of the key pair; the header and the claims.
    pub(crate) fn verify_and_decode(
        jwt: &str,
        public: &[u8],
        by: &'static dyn VerificationAlgorithm,
    ) -> (Value, Value) {
        let (text, signature) = jwt.rsplit_once('.').unwrap();
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        UnparsedPublicKey::new(by, public).verify(text.as_bytes(), &decode(signature)).unwrap();
        let (header, claims) = text.split_once('.').unwrap();
        let parse = |part| serde_json::from_slice(&decode(part)).unwrap();
        (parse(header), parse(claims))
    }

    fn pkcs8(bytes: &[u8]) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(bytes.to_vec()).unwrap()
    }

    #[test]
    fn es256_signs_as_jws_wants_it() {
        let rng = SystemRandom::new();
        let curve = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let der = EcdsaKeyPair::generate_pkcs8(curve, &rng).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(curve, der.as_ref(), &rng).unwrap();
        let key = JwtKey::from_der(&pkcs8(der.as_ref()), None).unwrap();
        assert_eq!(key.algorithm, SigningAlgorithm::Es256);
        // Numbers with leading zeros come up one time in 128.
        for round in 0..300 {
            let jwt = key.sign(json!({"typ": "JWT"}), &json!({"n": round})).unwrap();
            let public = signature::KeyPair::public_key(&pair).as_ref();
            let (header, claims) = verify_and_decode(&jwt, public, &signature::ECDSA_P256_SHA256_FIXED);
            assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("JWT")));
            assert_eq!(claims["n"], round);
        }
        let jwk = key.jwk().unwrap();
        let mut point = vec![4];
        for name in ["x", "y"] {
            point.extend(URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap());
        }
        assert_eq!(point, signature::KeyPair::public_key(&pair).as_ref());
        assert!(JwtKey::from_der(&pkcs8(der.as_ref()), Some(SigningAlgorithm::Rs256)).unwrap_err().contains("RS256"));
    }

    #[test]
    fn eddsa_signs() {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap();
        let key = JwtKey::from_der(&pkcs8(der.as_ref()), None).unwrap();
        let jwt = key.sign(json!({}), &json!({})).unwrap();
        let (header, _) = verify_and_decode(&jwt, signature::KeyPair::public_key(&pair).as_ref(), &signature::ED25519);
        assert_eq!(header["alg"], "EdDSA");
        assert_eq!(key.jwk(), None);
    }

    #[test]
    fn an_invalid_key_file_is_named_in_the_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let missing = JwtKey::from_pem_file(&path, None).unwrap_err();
        assert!(missing.to_string().contains("key.pem"), "{missing}");
        std::fs::write(&path, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
            .unwrap();
        let failure = JwtKey::from_pem_file(&path, None).unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Config);
        assert!(failure.details().hint.is_some());
    }

    #[test]
    fn der_signatures_are_padded_to_fixed_length() {
        let der = [0x30, 7, 2, 1, 5, 2, 2, 0, 0x80];
        let mut wanted = vec![0; 64];
        (wanted[31], wanted[63]) = (5, 0x80);
        assert_eq!(ecdsa_der_to_jws(&der, 32), Some(wanted));
        for bad in [&der[..8], &[0x30, 0][..], &[0x31, 7, 2, 1, 5, 2, 2, 0, 0x80], &[0x30, 7, 2, 1, 5, 2, 2, 0, 1, 9]] {
            assert_eq!(ecdsa_der_to_jws(bad, 32), None);
        }
        assert_eq!(ecdsa_der_to_jws(&[0x30, 8, 2, 3, 1, 0, 0, 2, 1, 1], 2), None);
    }
}
