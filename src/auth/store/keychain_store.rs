//! The keychain with its index and, if the choice is `auto`, the file as fallback.
//!
//! If both contain a record, the later one is valid. So whenever a process is killed, the last complete write is found.
//! A refreshed token is not lost if the keychain fails: it is written to the file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::auth::clock::unix_millis;
use crate::auth::store::chunks;
use crate::auth::store::entry_name::entry_name;
use crate::auth::store::file_store::{FileStore, lock_key};
use crate::auth::store::keychain_index::{IndexEntry, KeychainIndex};
use crate::auth::store::keychain_worker::KeychainWorker;
use crate::auth::store::lock;
use crate::auth::store::private_file::Notifier;
use crate::auth::store::system_keychain::{KEYCHAIN_NAME, KeychainError};
use crate::auth::store::types::{CredentialStore, CredentialSummary, StorePaths};
use crate::error::Result;
use crate::secret::Secret;
use crate::transport::BoxFuture;
use crate::util::file_lock::FileLock;
use crate::util::home::shown_path;

/// How long a writer waits for other writers of the same record; one of them may be waiting for the user.
const WRITE_LOCK_TIMEOUT: Duration = Duration::from_secs(75);

/// The keychain store.
pub struct KeychainStore {
    worker: KeychainWorker,
    index: KeychainIndex,
    fallback_file: Option<FileStore>,
    lock_dir: PathBuf,
    notifier: Notifier,
}

/// Where a record is stored.
enum RecordLocation {
    Keychain,
    File,
    NotStored,
}

impl KeychainStore {
    /// The keychain that this worker accesses, and a file as fallback.
    pub fn new(paths: &StorePaths, worker: KeychainWorker, file: Option<FileStore>, notifier: Notifier) -> Self {
        let index = KeychainIndex::new(paths, notifier.clone());
        KeychainStore { worker, index, fallback_file: file, lock_dir: paths.state_dir.join("locks"), notifier }
    }

    fn write_lock_path(&self, name: &str) -> PathBuf {
        self.lock_dir.join(format!("{name}.write.lock"))
    }

    /// Locks a record for other writers. This is not the caller's lock, which may be held at the same time.
    async fn lock_for_write(&self, key: &str) -> Result<FileLock> {
        lock::acquire(
            &self.write_lock_path(&entry_name(key)),
            WRITE_LOCK_TIMEOUT,
            &format!("the stored credentials for {key}"),
        )
        .await
    }

    /// Where the record is, and when each copy of it was written (0: there is none).
    fn locate(&self, key: &str) -> Result<(RecordLocation, u64, u64)> {
        let in_keychain = self.index.read()?.entries.get(key).map_or(0, |entry| entry.written.max(1));
        let in_file = match &self.fallback_file {
            Some(file) => file.get_with_time(key)?.map_or(0, |(written, _)| written.max(1)),
            None => 0,
        };
        let place = match (in_keychain, in_file) {
            (0, 0) => RecordLocation::NotStored,
            (keychain, file) if file > keychain => RecordLocation::File,
            _ => RecordLocation::Keychain,
        };
        Ok((place, in_keychain, in_file))
    }

    async fn read_record(&self, key: &str) -> Result<Option<Secret>> {
        match (self.locate(key)?.0, &self.fallback_file) {
            (RecordLocation::NotStored, _) => Ok(None),
            (RecordLocation::File, Some(file)) => Ok(file.get_with_time(key)?.map(|(_, record)| record)),
            (RecordLocation::Keychain | RecordLocation::File, _) => {
                let name = entry_name(key);
                let found = self.worker.read(move |keychain| chunks::read_chunked(keychain, &name)).await;
                let Some(bytes) = found.map_err(|error| error.to_failure())? else { return Ok(None) };
                let text = String::from_utf8(bytes);
                let text = text.map_err(|_| {
                    KeychainError::Unavailable("what is stored there is not text".to_owned()).to_failure()
                })?;
                Ok(Some(Secret::new(text)))
            }
        }
    }

    async fn write_record(&self, key: &str, about: &CredentialSummary, record: &Secret) -> Result<()> {
        let _turn = self.lock_for_write(key).await?;
        let (place, in_keychain, in_file) = self.locate(key)?;
        let later = in_keychain.max(in_file);
        if let (RecordLocation::File, Some(file), false) = (place, &self.fallback_file, self.worker.is_interactive()) {
            // The keychain failed earlier. Without a user it is not tried again, since that may take seconds.
            return file.put_newer_than(key, about, record, later).await;
        }
        let name = entry_name(key);
        if in_keychain == 0 {
            // If this process is killed after the next step, the entry is not in the index; a later run deletes it.
            let name = name.clone();
            self.index.update(|index| _ = index.left.insert(name)).await?;
        }
        match self.write_to_keychain(&name, about, record).await {
            Ok(()) => self.index_keychain_record(key, about, later).await,
            Err(error) => match &self.fallback_file {
                Some(file) => self.fall_back_to_file(file, key, about, record, &error, later).await,
                None => Err(error.to_failure()),
            },
        }
    }

    async fn write_to_keychain(
        &self,
        name: &str,
        about: &CredentialSummary,
        record: &Secret,
    ) -> Result<(), KeychainError> {
        let (name, record) = (name.to_owned(), record.clone());
        let resource = about.server.as_deref().unwrap_or(&about.resource);
        let label = format!("mcpipe: {resource}");
        self.worker
            .write(move |keychain| chunks::write_chunked(keychain, &name, &label, record.reveal().as_bytes()))
            .await
    }

    /// Adds a record in the keychain to the index, and removes it from the file.
    async fn index_keychain_record(&self, key: &str, about: &CredentialSummary, later: u64) -> Result<()> {
        let about = CredentialSummary { key: key.to_owned(), ..about.clone() };
        let entry = IndexEntry { about, written: unix_millis().max(later + 1) };
        let before = self
            .index
            .update(|index| {
                index.entries.insert(key.to_owned(), entry);
                index.left.remove(&entry_name(key));
                index.warned = false;
            })
            .await?;
        if let Some(file) = &self.fallback_file {
            file.remove(key).await?;
        }
        self.delete_leftovers(before.left).await;
        Ok(())
    }

    /// Writes a record that the keychain did not accept to the file, and tells the user, once.
    async fn fall_back_to_file(
        &self,
        file: &FileStore,
        key: &str,
        about: &CredentialSummary,
        record: &Secret,
        error: &KeychainError,
        later: u64,
    ) -> Result<()> {
        file.put_newer_than(key, about, record, later).await.map_err(|failure| failure.cause(error.reason()))?;
        let before = self
            .index
            .update(|index| {
                let was = index.entries.remove(key).is_some();
                if was || error.may_still_complete() {
                    index.left.insert(entry_name(key));
                } else {
                    index.left.remove(&entry_name(key));
                }
                index.warned = true;
            })
            .await?;
        if !before.warned {
            let path = shown_path(file.path());
            (self.notifier)(&format!(
                "cannot use {KEYCHAIN_NAME}: {}; credentials are stored in {path}, which only you can read",
                error.reason()
            ));
        }
        Ok(())
    }

    /// Deletes leftover entries of the keychain. If that fails, a later run tries again.
    async fn delete_leftovers(&self, left: impl IntoIterator<Item = String>) {
        for name in left {
            // Another process is writing this entry, and will remove it from the leftovers.
            let Ok(Some(_turn)) = FileLock::try_acquire(&self.write_lock_path(&name)) else { continue };
            if !self.index.read().is_ok_and(|index| index.left.contains(&name)) {
                continue;
            }
            let gone = name.clone();
            if self.worker.write(move |keychain| chunks::delete_chunked(keychain, &gone)).await.is_err() {
                return;
            }
            let _ = self.index.update(|index| _ = index.left.remove(&name)).await;
        }
    }

    async fn remove_record(&self, key: &str) -> Result<bool> {
        let _turn = self.lock_for_write(key).await?;
        let contents = self.index.read()?;
        let indexed = contents.entries.contains_key(key);
        if indexed {
            let name = entry_name(key);
            let gone = self.worker.write(move |keychain| chunks::delete_chunked(keychain, &name)).await;
            // One that the file has replaced is only a leftover.
            let is_replaced = matches!(self.locate(key)?.0, RecordLocation::File);
            match gone {
                Err(error) if !is_replaced => return Err(error.to_failure()),
                gone => {
                    let is_left = gone.is_err();
                    let removal = self.index.update(|index| {
                        index.entries.remove(key);
                        index.left.extend(is_left.then(|| entry_name(key)));
                    });
                    removal.await?;
                }
            }
            self.delete_leftovers(contents.left).await;
        }
        let filed = match &self.fallback_file {
            Some(file) => file.remove(key).await?,
            None => false,
        };
        Ok(indexed || filed)
    }

    /// All records, with whether they are in the file.
    fn all_records(&self) -> Result<BTreeMap<String, (bool, u64, CredentialSummary)>> {
        let mut all = BTreeMap::new();
        for (key, entry) in self.index.read()?.entries {
            all.insert(key, (false, entry.written, entry.about));
        }
        if let Some(file) = &self.fallback_file {
            for (key, (written, about)) in file.summaries()? {
                if all.get(&key).is_none_or(|(_, there, _)| written > *there) {
                    all.insert(key, (true, written, about));
                }
            }
        }
        Ok(all)
    }
}

impl CredentialStore for KeychainStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Secret>>> {
        Box::pin(self.read_record(key))
    }

    fn put<'a>(&'a self, key: &'a str, about: &'a CredentialSummary, record: &'a Secret) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.write_record(key, about, record))
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool>> {
        Box::pin(self.remove_record(key))
    }

    fn list(&self) -> Result<Vec<CredentialSummary>> {
        Ok(self.all_records()?.into_values().map(|(_, _, about)| about).collect())
    }

    fn location(&self) -> String {
        let (Some(file), Ok(all)) = (&self.fallback_file, self.all_records()) else { return KEYCHAIN_NAME.to_owned() };
        let path = file.path().display();
        match (all.values().any(|(filed, ..)| *filed), all.values().any(|(filed, ..)| !*filed)) {
            (true, true) => format!("{KEYCHAIN_NAME}, and some in {path}"),
            (true, false) => path.to_string(),
            (false, _) => KEYCHAIN_NAME.to_owned(),
        }
    }

    fn probe_location(&self) -> BoxFuture<'_, String> {
        Box::pin(async move {
            if self.all_records().is_ok_and(|all| !all.is_empty()) {
                return self.location();
            }
            match (self.worker.read(|_| Ok(())).await, &self.fallback_file) {
                (Ok(()), _) => KEYCHAIN_NAME.to_owned(),
                (Err(_), Some(file)) => file.location(),
                (Err(error), None) => format!("{KEYCHAIN_NAME}, which cannot be used: {}", error.reason()),
            }
        })
    }

    fn location_of(&self, key: &str) -> String {
        match (self.locate(key), &self.fallback_file) {
            (Ok((RecordLocation::File, ..)), Some(file)) => file.location(),
            _ => KEYCHAIN_NAME.to_owned(),
        }
    }

    fn has_fallback(&self) -> bool {
        self.fallback_file.is_some()
    }

    fn lock<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<FileLock>> {
        Box::pin(lock_key(&self.lock_dir, None, key))
    }
}
