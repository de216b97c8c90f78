//! One-time secrets: the PKCE verifier and its challenge (RFC 7636), `state`, token IDs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};

use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;

/// 256 random bits, as 43 characters that need no escaping in a URL, a form or a header.
///
/// # Errors
/// If the system provides no random numbers.
pub fn random_token() -> Result<String> {
    let mut bytes = [0_u8; 32];
    let failed = |_| Failure::new(ErrorKind::Bug, "the system provides no random numbers");
    SystemRandom::new().fill(&mut bytes).map_err(failed)?;
    Ok(base64url(&bytes))
}

/// Base64 for URLs, without padding.
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// SHA-256 in base64 for URLs: the format of PKCE challenges and of DPoP's `ath`.
#[must_use]
pub fn sha256_base64url(text: &str) -> String {
    base64url(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

/// A PKCE verifier and the challenge made from it, by S256 (`AUT-08`).
#[derive(Clone, Debug)]
pub struct Pkce {
    /// Sent in the token request.
    pub verifier: Secret,
    /// Sent in the authorization request.
    pub challenge: String,
}

impl Pkce {
    /// Generates a new pair.
    ///
    /// # Errors
    /// As [`random_token`].
    pub fn generate() -> Result<Self> {
        let verifier = random_token()?;
        Ok(Pkce { challenge: sha256_base64url(&verifier), verifier: Secret::new(verifier) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn aut_08_the_challenge_is_that_of_rfc_7636_appendix_b() {
        assert_eq!(
            sha256_base64url("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn verifiers_are_random_and_long_enough() {
        let (one, other) = (Pkce::generate().unwrap(), Pkce::generate().unwrap());
        assert_ne!(one.verifier, other.verifier);
        assert_eq!(one.verifier.reveal().len(), 43);
        assert_eq!(one.challenge, sha256_base64url(one.verifier.reveal()));
        assert!(one.verifier.reveal().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }
}
