//! The index of the keychain, a file without secrets: a run that needs no token does not open the keychain.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::auth::store::file_store::sibling_lock_path;
use crate::auth::store::lock;
use crate::auth::store::private_file::{self, Notifier};
use crate::auth::store::types::{CredentialSummary, StorePaths};
use crate::error::Result;

/// The version of the file format; a file of a later version is not touched.
const FORMAT_VERSION: u32 = 1;

/// The index file.
pub struct KeychainIndex {
    path: PathBuf,
    data_dir: PathBuf,
    notifier: Notifier,
}

/// The content of the index.
#[derive(Serialize, Deserialize, Clone, Default, Debug, PartialEq)]
pub struct IndexContents {
    version: u32,
    /// The user has been told that the keychain cannot be used. Reset once it can.
    #[serde(default)]
    pub warned: bool,
    /// The records in the keychain, by key.
    #[serde(default)]
    pub entries: BTreeMap<String, IndexEntry>,
    /// Entries of the keychain that belong to no record and will be deleted by a later run.
    #[serde(default)]
    pub left: BTreeSet<String>,
}

/// One record in the keychain.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct IndexEntry {
    /// Its summary.
    pub about: CredentialSummary,
    /// When it was written, in milliseconds since 1970.
    #[serde(default)]
    pub written: u64,
}

impl KeychainIndex {
    /// The index in the data directory.
    pub fn new(paths: &StorePaths, notifier: Notifier) -> Self {
        KeychainIndex { path: paths.data_dir.join("keychain.json"), data_dir: paths.data_dir.clone(), notifier }
    }

    /// The current content.
    pub fn read(&self) -> Result<IndexContents> {
        let Some(text) = private_file::read_file(&self.path, &self.notifier)? else {
            return Ok(IndexContents::default());
        };
        private_file::parse_versioned(&self.path, &text, FORMAT_VERSION)
    }

    /// Changes the index, and returns the previous content. The file is written only if something changed.
    pub async fn update(&self, change: impl FnOnce(&mut IndexContents) + Send) -> Result<IndexContents> {
        private_file::ensure_private_dir(&self.data_dir)?;
        let _guard = lock::acquire(&sibling_lock_path(&self.path), lock::UPDATE_TIMEOUT, "the keychain index").await?;
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
