//! What the keychain holds, in a file without secrets: a run that needs no token never opens the keychain.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Result;

use super::file::lock_beside;
use super::{About, Places, Say, disk, lock};

/// The form of the file; a later one is not touched.
const VERSION: u32 = 1;

/// How long a change waits for the changes of others. Each takes milliseconds.
const CHANGE_PATIENCE: Duration = Duration::from_secs(20);

/// The index file.
pub struct Index {
    path: PathBuf,
    data_dir: PathBuf,
    say: Say,
}

/// What it holds.
#[derive(Serialize, Deserialize, Clone, Default, Debug, PartialEq)]
pub struct Contents {
    version: u32,
    /// The person has been told that the keychain cannot be used; it is said again after it could.
    #[serde(default)]
    pub warned: bool,
    /// What the keychain holds, by key.
    #[serde(default)]
    pub entries: BTreeMap<String, Entry>,
    /// Entries of the keychain that mean nothing (any more) and are deleted at the next opportunity.
    #[serde(default)]
    pub left: BTreeSet<String>,
}

/// One record in the keychain.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Entry {
    /// What may be said about it.
    pub about: About,
    /// When it was written, in milliseconds since 1970.
    #[serde(default)]
    pub written: u64,
}

impl Index {
    /// The index below the data directory.
    pub fn new(places: &Places, say: Say) -> Self {
        Index { path: places.data_dir.join("keychain.json"), data_dir: places.data_dir.clone(), say }
    }

    /// What it holds now.
    pub fn read(&self) -> Result<Contents> {
        let Some(text) = disk::read(&self.path, &self.say)? else { return Ok(Contents::default()) };
        disk::parse(&self.path, &text, VERSION)
    }

    /// Changes it, and tells what it held before; writes only where something changed.
    pub async fn change(&self, change: impl FnOnce(&mut Contents) + Send) -> Result<Contents> {
        disk::make_private_dir(&self.data_dir)?;
        let _guard = lock::take(&lock_beside(&self.path), CHANGE_PATIENCE, "the index of the keychain").await?;
        let before = self.read()?;
        let mut contents = before.clone();
        change(&mut contents);
        contents.version = VERSION;
        if contents != before {
            let text = serde_json::to_string_pretty(&contents).map_err(|error| disk::unencodable(&error))?;
            disk::replace(&self.path, &(text + "\n"))?;
        }
        Ok(before)
    }
}
