//! What the keychain holds, in a file without secrets: a run that needs no token never opens the keychain.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Result;

use super::{CredentialSummary, Notifier, StorePaths, lock};
use crate::auth::store::file_store::sibling_lock_path;
use crate::auth::store::private_file;

/// The form of the file; a later one is not touched.
const FORMAT_VERSION: u32 = 1;

/// How long a change waits for the changes of others. Each takes milliseconds.
const UPDATE_LOCK_TIMEOUT: Duration = Duration::from_secs(20);

/// The index file.
pub struct KeychainIndex {
    path: PathBuf,
    data_dir: PathBuf,
    notifier: Notifier,
}

/// What it holds.
#[derive(Serialize, Deserialize, Clone, Default, Debug, PartialEq)]
pub struct IndexContents {
    version: u32,
    /// The person has been told that the keychain cannot be used; it is said again after it could.
    #[serde(default)]
    pub warned: bool,
    /// What the keychain holds, by key.
    #[serde(default)]
    pub entries: BTreeMap<String, IndexEntry>,
    /// Entries of the keychain that mean nothing (any more) and are deleted at the next opportunity.
    #[serde(default)]
    pub left: BTreeSet<String>,
}

/// One record in the keychain.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct IndexEntry {
    /// What may be said about it.
    pub about: CredentialSummary,
    /// When it was written, in milliseconds since 1970.
    #[serde(default)]
    pub written: u64,
}

impl KeychainIndex {
    /// The index below the data directory.
    pub fn new(places: &StorePaths, say: Notifier) -> Self {
        KeychainIndex { path: places.data_dir.join("keychain.json"), data_dir: places.data_dir.clone(), notifier: say }
    }

    /// What it holds now.
    pub fn read(&self) -> Result<IndexContents> {
        let Some(text) = private_file::read_file(&self.path, &self.notifier)? else {
            return Ok(IndexContents::default());
        };
        private_file::parse_versioned(&self.path, &text, FORMAT_VERSION)
    }

    /// Changes it, and tells what it held before; writes only where something changed.
    pub async fn update(&self, change: impl FnOnce(&mut IndexContents) + Send) -> Result<IndexContents> {
        private_file::ensure_private_dir(&self.data_dir)?;
        let _guard =
            lock::acquire(&sibling_lock_path(&self.path), UPDATE_LOCK_TIMEOUT, "the index of the keychain").await?;
        let before = self.read()?;
        let mut contents = before.clone();
        change(&mut contents);
        contents.version = FORMAT_VERSION;
        if contents != before {
            let text =
                serde_json::to_string_pretty(&contents).map_err(|error| private_file::serialization_failure(&error))?;
            private_file::replace_file(&self.path, &(text + "\n"))?;
        }
        Ok(before)
    }
}
