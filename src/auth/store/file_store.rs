//! Credentials in one file: JSON, mode 0600, replaced in one step under a lock of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::auth::clock::unix_millis;
use crate::auth::store::entry_name::entry_name;
use crate::auth::store::lock;
use crate::auth::store::private_file::{self, Notifier};
use crate::auth::store::types::{CredentialStore, CredentialSummary, LOCK_TIMEOUT, StorePaths};
use crate::error::{ErrorKind, Result};
use crate::secret::Secret;
use crate::transport::BoxFuture;
use crate::util::file_lock::{self, FileLock};

/// The version of the file format; a file of a later version is not touched.
const FORMAT_VERSION: u32 = 1;

/// The file store.
pub struct FileStore {
    path: PathBuf,
    /// The directory of the file, if mcpipe created it and keeps it private.
    private_dir: Option<PathBuf>,
    lock_dir: PathBuf,
    notifier: Notifier,
}

/// The content of the file. It has no `Debug`, since it contains secrets.
#[derive(Serialize, Deserialize, Default)]
struct CredentialsFile {
    version: u32,
    #[serde(default)]
    records: BTreeMap<String, FileRecord>,
}

#[derive(Serialize, Deserialize)]
struct FileRecord {
    about: CredentialSummary,
    /// When it was written, in milliseconds since 1970.
    #[serde(default)]
    written: u64,
    record: String,
}

impl FileStore {
    /// The store in the file that the user named, or in mcpipe's own in the data directory.
    pub fn new(paths: &StorePaths, named: Option<PathBuf>, notifier: Notifier) -> Self {
        let private_dir = named.is_none().then(|| paths.data_dir.clone());
        let path = named.unwrap_or_else(|| paths.data_dir.join("credentials.json"));
        FileStore { path, private_dir, lock_dir: paths.state_dir.join("locks"), notifier }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self) -> Result<CredentialsFile> {
        let Some(text) = private_file::read_file(&self.path, &self.notifier)? else {
            return Ok(CredentialsFile::default());
        };
        private_file::parse_versioned(&self.path, &text, FORMAT_VERSION)
    }

    /// Changes the file; it is written only if `change` returns true.
    async fn update(&self, change: impl FnOnce(&mut CredentialsFile) -> bool + Send) -> Result<()> {
        if let Some(dir) = &self.private_dir {
            private_file::ensure_private_dir(dir)?;
        }
        let _guard =
            lock::acquire(&sibling_lock_path(&self.path), lock::UPDATE_TIMEOUT, "the credentials file").await?;
        let mut document = self.read()?;
        if !change(&mut document) {
            return Ok(());
        }
        document.version = FORMAT_VERSION;
        let text =
            serde_json::to_string_pretty(&document).map_err(|error| private_file::serialization_failure(&error))?;
        private_file::replace_file(&self.path, &(text + "\n"))
    }

    /// When each record was written, and its summary.
    pub fn summaries(&self) -> Result<BTreeMap<String, (u64, CredentialSummary)>> {
        let records = self.read()?.records;
        Ok(records.into_iter().map(|(key, record)| (key, (record.written, record.about))).collect())
    }

    /// The record, and when it was written.
    pub fn get_with_time(&self, key: &str) -> Result<Option<(u64, Secret)>> {
        let record = self.read()?.records.remove(key);
        Ok(record.map(|record| (record.written, Secret::new(record.record))))
    }

    /// Stores a record with a time later than `than`, whatever the clock shows.
    pub async fn put_newer_than(&self, key: &str, about: &CredentialSummary, record: &Secret, than: u64) -> Result<()> {
        self.update(|document| {
            let before = document.records.get(key).map_or(0, |record| record.written);
            let written = unix_millis().max(before + 1).max(than + 1);
            let about = CredentialSummary { key: key.to_owned(), ..about.clone() };
            let record = FileRecord { about, written, record: record.reveal().to_owned() };
            document.records.insert(key.to_owned(), record);
            true
        })
        .await
    }

    /// Deletes a record; creates nothing if there is no file.
    pub async fn remove(&self, key: &str) -> Result<bool> {
        if !self.read()?.records.contains_key(key) {
            return Ok(false);
        }
        let mut was = false;
        self.update(|document| {
            was = document.records.remove(key).is_some();
            was
        })
        .await?;
        Ok(was)
    }
}

impl CredentialStore for FileStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Secret>>> {
        Box::pin(async move { Ok(self.get_with_time(key)?.map(|(_, record)| record)) })
    }

    fn put<'a>(&'a self, key: &'a str, about: &'a CredentialSummary, record: &'a Secret) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.put_newer_than(key, about, record, 0))
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool>> {
        Box::pin(self.remove(key))
    }

    fn list(&self) -> Result<Vec<CredentialSummary>> {
        Ok(self.summaries()?.into_values().map(|(_, about)| about).collect())
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn lock<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<FileLock>> {
        Box::pin(async move {
            if self.private_dir.is_some() {
                return lock_key(&self.lock_dir, None, key).await;
            }
            // Processes with other home directories may share a named file, so its locks are beside it.
            let mut beside = self.path.clone().into_os_string();
            beside.push(".locks");
            match lock_key(Path::new(&beside), None, key).await {
                Err(failure) if failure.kind() == ErrorKind::Config => {
                    lock_key(&self.lock_dir, Some(&self.path), key).await
                }
                outcome => outcome,
            }
        })
    }
}

/// The lock of one key.
pub async fn lock_key(lock_dir: &Path, scope: Option<&Path>, key: &str) -> Result<FileLock> {
    let name = match scope {
        None => entry_name(key),
        Some(path) => entry_name(&format!("{}\n{key}", std::path::absolute(path).unwrap_or_default().display())),
    };
    let path = lock_dir.join(format!("{name}.lock"));
    let lock = lock::acquire(&path, LOCK_TIMEOUT, &format!("the credentials for {key}")).await?;
    file_lock::remove_abandoned_locks(lock_dir);
    Ok(lock)
}

/// The lock file of a file that is read, changed and replaced.
pub fn sibling_lock_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    path.with_file_name(name)
}
