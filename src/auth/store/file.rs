//! Credentials in one file: JSON, mode 0600, replaced in one step under a lock of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::secret::Secret;
use crate::transport::Boxed;

use super::{About, Guard, LOCK_PATIENCE, Places, Say, Store, disk, lock, name_of, now};

/// The form of the file; a later one is not touched.
const VERSION: u32 = 1;

/// How long a change waits for the changes of others. Each takes milliseconds.
const CHANGE_PATIENCE: Duration = Duration::from_secs(20);

/// The file store.
pub struct FileStore {
    path: PathBuf,
    /// The directory of the file, where that is ours to close to others.
    own_dir: Option<PathBuf>,
    locks: PathBuf,
    say: Say,
}

/// What the file holds. No `Debug`: it is full of secrets.
#[derive(Serialize, Deserialize, Default)]
struct Document {
    version: u32,
    #[serde(default)]
    records: BTreeMap<String, Record>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    about: About,
    /// When it was written, in milliseconds since 1970.
    #[serde(default)]
    written: u64,
    record: String,
}

impl FileStore {
    /// The store in the file that the user names, or in our own below the data directory.
    pub fn new(places: &Places, named: Option<PathBuf>, say: Say) -> Self {
        let own_dir = named.is_none().then(|| places.data_dir.clone());
        let path = named.unwrap_or_else(|| places.data_dir.join("credentials.json"));
        FileStore { path, own_dir, locks: places.state_dir.join("locks"), say }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self) -> Result<Document> {
        let Some(text) = disk::read(&self.path, &self.say)? else { return Ok(Document::default()) };
        disk::parse(&self.path, &text, VERSION)
    }

    /// Changes the file; nothing is written when `change` says that nothing changed.
    async fn change(&self, change: impl FnOnce(&mut Document) -> bool + Send) -> Result<()> {
        if let Some(dir) = &self.own_dir {
            disk::make_private_dir(dir)?;
        }
        let _guard = lock::take(&lock_beside(&self.path), CHANGE_PATIENCE, "the file of credentials").await?;
        let mut document = self.read()?;
        if !change(&mut document) {
            return Ok(());
        }
        document.version = VERSION;
        let text = serde_json::to_string_pretty(&document).map_err(|error| disk::unencodable(&error))?;
        disk::replace(&self.path, &(text + "\n"))
    }

    /// When each record was written, and what may be said about it.
    pub fn abouts(&self) -> Result<BTreeMap<String, (u64, About)>> {
        let records = self.read()?.records;
        Ok(records.into_iter().map(|(key, record)| (key, (record.written, record.about))).collect())
    }

    /// The record, and when it was written.
    pub fn dated(&self, key: &str) -> Result<Option<(u64, Secret)>> {
        let record = self.read()?.records.remove(key);
        Ok(record.map(|record| (record.written, Secret::new(record.record))))
    }

    /// Stores a record that is later than `than`, whatever the clock says.
    pub async fn put_later(&self, key: &str, about: &About, record: &Secret, than: u64) -> Result<()> {
        self.change(|document| {
            let before = document.records.get(key).map_or(0, |record| record.written);
            let written = now().max(before + 1).max(than + 1);
            let about = About { key: key.to_owned(), ..about.clone() };
            let record = Record { about, written, record: record.reveal().to_owned() };
            document.records.insert(key.to_owned(), record);
            true
        })
        .await
    }

    /// Deletes a record; touches nothing when there is no file.
    pub async fn remove(&self, key: &str) -> Result<bool> {
        if !self.read()?.records.contains_key(key) {
            return Ok(false);
        }
        let mut was = false;
        self.change(|document| {
            was = document.records.remove(key).is_some();
            was
        })
        .await?;
        Ok(was)
    }
}

impl Store for FileStore {
    fn get<'a>(&'a self, key: &'a str) -> Boxed<'a, Result<Option<Secret>>> {
        Box::pin(async move { Ok(self.dated(key)?.map(|(_, record)| record)) })
    }

    fn put<'a>(&'a self, key: &'a str, about: &'a About, record: &'a Secret) -> Boxed<'a, Result<()>> {
        Box::pin(self.put_later(key, about, record, 0))
    }

    fn delete<'a>(&'a self, key: &'a str) -> Boxed<'a, Result<bool>> {
        Box::pin(self.remove(key))
    }

    fn list(&self) -> Result<Vec<About>> {
        Ok(self.abouts()?.into_values().map(|(_, about)| about).collect())
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn lock<'a>(&'a self, key: &'a str) -> Boxed<'a, Result<Guard>> {
        // Another file holds other tokens, even under the same key.
        let scope = if self.own_dir.is_some() { None } else { Some(self.path.as_path()) };
        Box::pin(lock_key(&self.locks, scope, key))
    }
}

/// The lock of one key.
pub async fn lock_key(locks: &Path, scope: Option<&Path>, key: &str) -> Result<Guard> {
    let name = match scope {
        None => name_of(key),
        Some(path) => name_of(&format!("{}\n{key}", std::path::absolute(path).unwrap_or_default().display())),
    };
    lock::take(&locks.join(format!("{name}.lock")), LOCK_PATIENCE, &format!("the credentials for {key}")).await
}

/// The lock of a file that is read, changed and replaced.
pub fn lock_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    path.with_file_name(name)
}
