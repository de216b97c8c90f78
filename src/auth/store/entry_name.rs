//! The names under which records are stored.

use sha2::{Digest, Sha256};

use crate::util::hex::hex;

/// The prefix of the keys of named secrets; those of logins begin with a URL.
const SECRET_PREFIX: &str = "secret:";

/// The key of a named secret.
pub fn secret_key(name: &str) -> String {
    format!("{SECRET_PREFIX}{name}")
}

/// The name of a secret, if this is the key of one.
pub fn secret_name(key: &str) -> Option<&str> {
    key.strip_prefix(SECRET_PREFIX)
}

/// A name for a key that every file system and keychain accepts. That of a named secret is readable, so that users find
/// it in the keychain.
pub fn entry_name(key: &str) -> String {
    match secret_name(key) {
        Some(name) => format!("secret-{name}"),
        None => hex(&Sha256::digest(key.as_bytes())[..16]),
    }
}
