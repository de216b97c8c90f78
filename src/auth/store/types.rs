//! What all stores have in common.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::secret::Secret;
use crate::transport::BoxFuture;
use crate::util::file_lock::FileLock;

/// How long [`CredentialStore::lock`] waits for another process.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// The configured kind of store (`credential_store`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreChoice {
    /// The keychain if it works, else the file.
    #[default]
    Auto,
    /// The keychain, or a failure.
    Keyring,
    /// The file.
    File,
}

/// The directories and files of a store, and whether the user is at a terminal.
#[derive(Clone, Debug, Default)]
pub struct StorePaths {
    /// Holds the index of the keychain, and the file of credentials.
    pub data_dir: PathBuf,
    /// Holds the lock files (the runtime or state directory).
    pub state_dir: PathBuf,
    /// The file that `MCPIPE_CREDENTIALS_FILE` names. It overrides the configured store.
    pub credentials_file: Option<PathBuf>,
    /// The user is at a terminal and may have to unlock the keychain, so timeouts are longer.
    pub is_interactive: bool,
}

/// The public part of a record; nothing in it is secret.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct CredentialSummary {
    /// The key of the record.
    pub key: String,
    /// The server that the tokens are for.
    pub resource: String,
    /// The issuer.
    pub issuer: String,
    /// The client that the tokens were issued to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The granted scopes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// When the access token expires, in seconds since 1970; `None` if the server did not name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// Whether new tokens can be obtained without the user.
    pub has_refresh: bool,
    /// Whose login it is; `None` if an earlier version of mcpipe stored it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When the user logged in, in seconds since 1970; 0 if an earlier version of mcpipe stored it.
    pub logged_in_at: u64,
    /// Whether there are no tokens: the login has ended, or only a client is registered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lacks_tokens: bool,
    /// The server's name in the configuration, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// An ID that differs for each login, so that what is cached for one user is not used for another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
}

/// Opaque records by key; the key of a login consists of resource and issuer.
pub trait CredentialStore: Send + Sync {
    /// The record under this key; `None` if nothing is stored.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::error::ErrorKind::Config): the store is locked, or broken.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Secret>>>;

    /// Stores a record, replacing the previous one.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::error::ErrorKind::Config): the store is locked, or broken.
    fn put<'a>(&'a self, key: &'a str, about: &'a CredentialSummary, record: &'a Secret) -> BoxFuture<'a, Result<()>>;

    /// Deletes a record wherever it is stored. Returns whether there was one.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::error::ErrorKind::Config): the store is locked, or broken.
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool>>;

    /// The stored records, ordered by key. Does not open the keychain.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::error::ErrorKind::Config): the index or the file cannot be read.
    fn list(&self) -> Result<Vec<CredentialSummary>>;

    /// Where credentials are stored, for users.
    fn location(&self) -> String;

    /// The same; if nothing is stored yet, it connects to the keychain to find out. The keychain is not unlocked.
    fn probe_location(&self) -> BoxFuture<'_, String> {
        let location = self.location();
        Box::pin(async move { location })
    }

    /// Where this record is stored, for users.
    fn location_of(&self, key: &str) -> String {
        let _ = key;
        self.location()
    }

    /// Whether a record can be stored even if the previous one cannot be read.
    fn has_fallback(&self) -> bool {
        false
    }

    /// Locks this key for other processes and other callers in this one, until the guard is dropped or this process
    /// ends.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`](crate::error::ErrorKind::Timeout) if another process holds it for too long;
    /// [`ErrorKind::Config`](crate::error::ErrorKind::Config) if lock files cannot be created.
    fn lock<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<FileLock>>;
}
