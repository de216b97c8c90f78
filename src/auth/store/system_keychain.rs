//! The system's own keychain: Secret Service, macOS Keychain or Windows Credential Manager.
//!
//! All calls may block, some indefinitely (a keychain that waits to be unlocked, a bus that never answers). Only
//! [`keychain_worker`](crate::auth::store::keychain_worker) makes them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use keyring_core::{CredentialStore, Entry, Error};

use crate::error::{ErrorKind, Failure};
use crate::util::duration::format_duration;

/// The service name of all of mcpipe's entries.
const SERVICE_NAME: &str = "mcpipe";

/// What the keychain is called here.
pub const KEYCHAIN_NAME: &str = if cfg!(windows) {
    "Windows Credential Manager"
} else if cfg!(target_vendor = "apple") {
    "the login keychain of macOS"
} else {
    "the system keychain (Secret Service)"
};

/// The largest entry, in bytes. Windows accepts 2560; elsewhere the limit is arbitrary.
const MAX_ENTRY_BYTES: usize = if cfg!(windows) { 2400 } else { 256 << 10 };

/// Why an access to the keychain failed.
#[derive(Clone, Debug, PartialEq)]
pub enum KeychainError {
    /// It is locked, and was not unlocked.
    Locked(String),
    /// It accepted the request and did not answer within this time: most likely it waits to be unlocked.
    UnlockTimeout(Duration),
    /// It did not answer at all within this time.
    NoResponse(Duration),
    /// There is no keychain, or it does not work.
    Unavailable(String),
}

impl KeychainError {
    /// Whether the request may still be carried out.
    pub fn may_still_complete(&self) -> bool {
        matches!(self, KeychainError::UnlockTimeout(_) | KeychainError::NoResponse(_))
    }

    /// The reason, in a few words.
    pub fn reason(&self) -> String {
        match self {
            KeychainError::Locked(why) => format!("it is locked: {why}"),
            KeychainError::UnlockTimeout(time) => {
                format!("it did not respond within {}; it may be waiting to be unlocked", format_duration(*time))
            }
            KeychainError::NoResponse(time) => format!("it did not respond within {}", format_duration(*time)),
            KeychainError::Unavailable(why) => why.clone(),
        }
    }

    /// The failure for the user. A locked and a broken keychain have different hints.
    pub fn to_failure(&self) -> Failure {
        let failure = match self {
            KeychainError::Locked(why) => {
                Failure::new(ErrorKind::Config, format!("{KEYCHAIN_NAME} is locked")).cause(why)
            }
            KeychainError::UnlockTimeout(_) => {
                Failure::new(ErrorKind::Config, format!("{KEYCHAIN_NAME} is locked")).cause(self.reason())
            }
            KeychainError::NoResponse(_) | KeychainError::Unavailable(_) => {
                Failure::new(ErrorKind::Config, format!("cannot use {KEYCHAIN_NAME}")).cause(self.reason())
            }
        };
        failure.hint(match self {
            KeychainError::Locked(_) | KeychainError::UnlockTimeout(_) => {
                "unlock it (in the desktop session) and try again, or set MCPIPE_CREDENTIALS_FILE to a file and log in again"
            }
            KeychainError::NoResponse(_) | KeychainError::Unavailable(_) => {
                "run this in the desktop session, or set MCPIPE_CREDENTIALS_FILE to a file and log in again"
            }
        })
    }
}

/// Small secrets by name. Blocking.
pub trait KeychainBackend {
    /// The secret under this name.
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, KeychainError>;
    /// Stores a secret; `label` is its name in the system's own tools.
    fn set(&self, name: &str, label: &str, secret: &[u8]) -> Result<(), KeychainError>;
    /// Deletes a secret. Returns whether there was one.
    fn delete(&self, name: &str) -> Result<bool, KeychainError>;
    /// The largest secret, in bytes.
    fn max_entry_bytes(&self) -> usize;
}

/// Opens the keychain; called on the worker's thread, and again after a failure.
pub type KeychainOpener = Arc<dyn Fn() -> Result<Box<dyn KeychainBackend>, KeychainError> + Send + Sync>;

/// The keychain of this system.
pub fn system_keychain() -> KeychainOpener {
    Arc::new(|| {
        let store = platform_store().map_err(|error| keychain_error(&error))?;
        Ok(Box::new(SystemKeychain { store, max_entry_bytes: MAX_ENTRY_BYTES }))
    })
}

/// The keychain of this system, with a smaller limit for one entry.
#[cfg(all(test, unix, not(target_vendor = "apple")))]
pub fn system_keychain_with_limit(limit: usize) -> KeychainOpener {
    Arc::new(move || {
        let store = platform_store().map_err(|error| keychain_error(&error))?;
        Ok(Box::new(SystemKeychain { store, max_entry_bytes: limit }))
    })
}

#[cfg(all(unix, not(target_vendor = "apple")))]
fn platform_store() -> keyring_core::Result<Arc<CredentialStore>> {
    Ok(zbus_secret_service_keyring_store::Store::new()?)
}

#[cfg(target_os = "macos")]
fn platform_store() -> keyring_core::Result<Arc<CredentialStore>> {
    Ok(apple_native_keyring_store::keychain::Store::new()?)
}

#[cfg(windows)]
fn platform_store() -> keyring_core::Result<Arc<CredentialStore>> {
    Ok(windows_native_keyring_store::Store::new()?)
}

#[cfg(not(any(unix, windows)))]
fn platform_store() -> keyring_core::Result<Arc<CredentialStore>> {
    Err(Error::NotSupportedByStore("this system has no keychain".to_owned()))
}

struct SystemKeychain {
    store: Arc<CredentialStore>,
    max_entry_bytes: usize,
}

impl SystemKeychain {
    fn entry(&self, name: &str, label: &str) -> Result<Entry, KeychainError> {
        let mut more = HashMap::new();
        if cfg!(windows) {
            // A roaming profile must not copy the tokens of this machine to others.
            more.insert("persistence", "Local");
        } else if cfg!(not(target_vendor = "apple")) && !label.is_empty() {
            more.insert("label", label);
        }
        self.store.build(SERVICE_NAME, name, Some(&more)).map_err(|error| keychain_error(&error))
    }
}

impl KeychainBackend for SystemKeychain {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, KeychainError> {
        match self.entry(name, "")?.get_secret() {
            Ok(secret) => Ok(Some(secret)),
            Err(Error::NoEntry) => Ok(None),
            // Another program copied the entry. All copies have mcpipe's name; the next change leaves one.
            Err(Error::Ambiguous(entries)) => match entries.first() {
                Some(entry) => entry.get_secret().map(Some).map_err(|error| keychain_error(&error)),
                None => Ok(None),
            },
            Err(error) => Err(keychain_error(&error)),
        }
    }

    fn set(&self, name: &str, label: &str, secret: &[u8]) -> Result<(), KeychainError> {
        let entry = self.entry(name, label)?;
        let outcome = match entry.set_secret(secret) {
            Err(Error::Ambiguous(entries)) => {
                for copy in entries {
                    copy.delete_credential().map_err(|error| keychain_error(&error))?;
                }
                entry.set_secret(secret)
            }
            other => other,
        };
        outcome.map_err(|error| keychain_error(&error))
    }

    fn delete(&self, name: &str) -> Result<bool, KeychainError> {
        match self.entry(name, "")?.delete_credential() {
            Ok(()) => Ok(true),
            Err(Error::NoEntry) => Ok(false),
            Err(Error::Ambiguous(entries)) => {
                for copy in entries {
                    copy.delete_credential().map_err(|error| keychain_error(&error))?;
                }
                Ok(true)
            }
            Err(error) => Err(keychain_error(&error)),
        }
    }

    fn max_entry_bytes(&self) -> usize {
        self.max_entry_bytes
    }
}

/// Classifies an error of the keychain.
///
/// Whether it is locked is known only to error types of the platform crates that this crate does not depend on; their
/// `Debug` text names the variant.
fn keychain_error(error: &Error) -> KeychainError {
    let (platform, text) = match error {
        Error::NoStorageAccess(inner) | Error::PlatformFailure(inner) => (format!("{inner:?}"), inner.to_string()),
        // The `Display` of the others shows neither secrets nor bytes of them.
        other => (String::new(), other.to_string()),
    };
    classify_error(&platform, text)
}

fn classify_error(platform: &str, text: String) -> KeychainError {
    // Secret Service: the variants of the store crate, and the name of the service's error.
    if platform == "Prompt" {
        return KeychainError::Locked(
            "it was not unlocked (the prompt was dismissed, or could not be shown)".to_owned(),
        );
    }
    if platform == "Locked" || platform.contains("Secret.Error.IsLocked") || platform == "PromptDisconnected" {
        return KeychainError::Locked(text);
    }
    if platform == "NoResult" {
        return KeychainError::Unavailable(
            "it has no default keyring yet (create one with the desktop's password manager)".to_owned(),
        );
    }
    // macOS: no interaction allowed, authorization failed, dismissed by the user.
    let codes = ["code: -25308,", "code: -25293,", "code: -128,"];
    if codes.iter().any(|code| platform.contains(code)) {
        return KeychainError::Locked(text);
    }
    // Users do not know the library that the message names.
    KeychainError::Unavailable(text.strip_prefix("zbus error: ").unwrap_or(&text).to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[derive(Debug)]
    struct Prompt;
    impl std::fmt::Display for Prompt {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("prompt dismissed")
        }
    }
    impl std::error::Error for Prompt {}

    #[test]
    fn locked_and_unavailable_are_different_errors() {
        let locked = keychain_error(&Error::NoStorageAccess(Box::new(Prompt)));
        assert!(matches!(locked, KeychainError::Locked(_)), "{locked:?}");
        assert!(matches!(
            classify_error("Error { code: -25308, message: \"x\" }", "x".into()),
            KeychainError::Locked(_)
        ));
        assert!(matches!(
            classify_error("Error { code: -25307, message: \"x\" }", "x".into()),
            KeychainError::Unavailable(_)
        ));
        assert!(matches!(classify_error("NoResult", "x".into()), KeychainError::Unavailable(_)));
        assert_eq!(classify_error("Zbus(x)", "zbus error: no bus".into()), KeychainError::Unavailable("no bus".into()));
        let refused = r#"Zbus(MethodError("org.freedesktop.Secret.Error.IsLocked", None, Msg))"#;
        assert!(matches!(classify_error(refused, "x".into()), KeychainError::Locked(_)));
        let broken = KeychainError::Unavailable("no bus".into()).to_failure();
        let locked = locked.to_failure();
        assert_eq!((broken.kind(), locked.kind()), (ErrorKind::Config, ErrorKind::Config));
        assert!(locked.to_string().contains("is locked"), "{locked}");
        assert!(broken.to_string().contains("no bus"), "{broken}");
        assert_ne!(broken.details().hint, locked.details().hint);
    }
}
