//! Where credentials rest between runs: the system's keychain, or a file that only its owner can read.
//!
//! A store holds opaque records by key and knows nothing of OAuth. Three answers are kept apart:
//! nothing is stored (`None`), the store is locked, the store is broken (both failures of
//! [`ErrorKind::Config`](crate::error::ErrorKind::Config), each with its own next step). No call waits for ever: the
//! keychain is spoken to on a thread of its own behind a deadline, locks are bounded, and what a killed
//! process held is free at once.
//!
//! | module | what it does |
//! |---|---|
//! | `keychain` | the keychain with its index, and with a file beside it where the choice is `auto` |
//! | `file` | the file |
//! | `worker` | the thread behind the deadlines |
//! | `vault` | the system's own keychain, blocking |
//! | `parts` | secrets longer than one entry of the keychain may be |
//! | `index` | what the keychain holds, without opening it |
//! | `nowhere` | what is there without a home |
//! | `named` | secrets by name, which are no logins |
//! | `disk`, `lock` | careful files, and locks across processes |

mod chunks;
mod file_store;
mod keychain_index;
mod keychain_store;
mod keychain_worker;
mod lock;
pub mod named_secrets;
mod null;
mod private_file;
#[cfg(test)]
mod real;
mod system_keychain;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::secret::Secret;
use crate::transport::BoxFuture;
use crate::util::hex::hex;

pub use lock::StoreLock;

/// How long [`CredentialStore::lock`] waits for another process.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Says something to the person, on standard error.
pub type Notifier = Arc<dyn Fn(&str) + Send + Sync>;

/// Which store the configuration asks for (`credential_store`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreChoice {
    /// The keychain where it works, else the file.
    #[default]
    Auto,
    /// The keychain, or a failure.
    Keyring,
    /// The file.
    File,
}

/// The directories and files of a store, and whether somebody is there.
#[derive(Clone, Debug, Default)]
pub struct StorePaths {
    /// Holds the index of the keychain, and the file of credentials.
    pub data_dir: PathBuf,
    /// Holds the lock files (the runtime or state directory).
    pub state_dir: PathBuf,
    /// The file that `MCPIPE_CREDENTIALS_FILE` names: it is used whatever the choice.
    pub credentials_file: Option<PathBuf>,
    /// Somebody is at the terminal, who may unlock the keychain: waits are longer.
    pub is_interactive: bool,
}

/// What may be said about a record; nothing in it is secret.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct CredentialSummary {
    /// The key that it is stored under.
    pub key: String,
    /// The resource that the tokens are for.
    pub resource: String,
    /// Who issued them.
    pub issuer: String,
    /// The client that they were issued to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// What was granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// When the access token expires, in seconds since 1970; `None` where nobody said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// Whether new tokens can be had without a person.
    pub has_refresh: bool,
    /// The server's name in the configuration, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Tells one login from another, so that nothing remembered crosses from one person to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
}

/// Opaque records by key; a key is made of resource and issuer.
pub trait CredentialStore: Send + Sync {
    /// The record under this key; `None` when nothing is stored.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::error::ErrorKind::Config): the store is locked, or broken.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Secret>>>;

    /// Stores a record, in place of the one that is there.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::error::ErrorKind::Config): the store is locked, or broken.
    fn put<'a>(&'a self, key: &'a str, about: &'a CredentialSummary, record: &'a Secret) -> BoxFuture<'a, Result<()>>;

    /// Deletes a record wherever it rests; tells whether there was one.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::error::ErrorKind::Config): the store is locked, or broken.
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool>>;

    /// What is stored, in order of keys. Opens no keychain.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::error::ErrorKind::Config): the index or the file cannot be read.
    fn list(&self) -> Result<Vec<CredentialSummary>>;

    /// Where credentials rest, for people.
    fn location(&self) -> String;

    /// The same, found out where nothing tells: a keychain is reached, and nobody is asked to unlock it.
    fn probe_location(&self) -> BoxFuture<'_, String> {
        let place = self.location();
        Box::pin(async move { place })
    }

    /// Where this one rests, for people.
    fn location_of(&self, key: &str) -> String {
        let _ = key;
        self.location()
    }

    /// Whether a record finds a place even where an earlier one cannot be read.
    fn has_fallback(&self) -> bool {
        false
    }

    /// Keeps every other process, and every other caller of this one, from the same lock until the guard is
    /// dropped or this process ends, however it ends.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`](crate::error::ErrorKind::Timeout) when another holds it for too long;
    /// [`ErrorKind::Config`](crate::error::ErrorKind::Config) when there is no place for lock files.
    fn lock<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<StoreLock>>;
}

/// Opens the store of this choice. Touches neither disk nor keychain yet.
///
/// `say` is told once when `auto` falls back to the file, and when permissions had to be tightened.
///
/// # Errors
/// None at present; a later kind of store may have some.
pub fn open(choice: StoreChoice, places: &StorePaths, say: Notifier) -> Result<Box<dyn CredentialStore>> {
    let forced = places.credentials_file.clone();
    if forced.is_some() || choice == StoreChoice::File {
        return Ok(Box::new(file_store::FileStore::new(places, forced, say)));
    }
    let file = (choice == StoreChoice::Auto).then(|| file_store::FileStore::new(places, None, say.clone()));
    let patience = keychain_worker::KeychainTimeouts::new(places.is_interactive);
    let worker = keychain_worker::KeychainWorker::new(system_keychain::system_keychain(), patience, say.clone());
    Ok(Box::new(keychain_store::KeychainStore::new(places, worker, file, say)))
}

/// The store where there is no place for one: nothing is stored, and storing fails.
#[must_use]
pub fn nowhere() -> Box<dyn CredentialStore> {
    Box::new(null::NullStore)
}

/// A name for a key that every file system and keychain takes.
fn entry_name(key: &str) -> String {
    if let Some(account) = named_secrets::keychain_account(key) {
        return account;
    }
    hex(&Sha256::digest(key.as_bytes())[..16])
}

/// Milliseconds since 1970: tells which of two records is the later one.
fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
