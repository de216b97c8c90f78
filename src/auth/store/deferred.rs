//! The store of servers that are not configured.
//!
//! What is stored is found without the configuration: `auto` reads the keychain's index and the file, which are all the
//! places there are. Where something new is stored is the user's choice, and is read from the configuration only then.

use std::sync::{Arc, LazyLock};

use crate::auth::store::types::{CredentialStore, CredentialSummary, StoreChoice};
use crate::error::Result;
use crate::secret::Secret;
use crate::transport::BoxFuture;
use crate::util::file_lock::FileLock;

/// The user's choice, and its store.
type ChosenStore = (StoreChoice, Arc<dyn CredentialStore>);

/// Opens the store of the user's choice.
type OpenStore = Box<dyn FnOnce() -> ChosenStore + Send>;

/// One store to read, and another to write.
pub struct DeferredStore {
    reader: Arc<dyn CredentialStore>,
    writer: LazyLock<ChosenStore, OpenStore>,
}

impl DeferredStore {
    /// `open_writer` is called when something is stored for the first time.
    pub fn new(reader: Arc<dyn CredentialStore>, open_writer: OpenStore) -> Self {
        DeferredStore { reader, writer: LazyLock::new(open_writer) }
    }
}

impl CredentialStore for DeferredStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Secret>>> {
        self.reader.get(key)
    }

    fn put<'a>(&'a self, key: &'a str, about: &'a CredentialSummary, record: &'a Secret) -> BoxFuture<'a, Result<()>> {
        self.writer.1.put(key, about, record)
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool>> {
        self.reader.delete(key)
    }

    fn list(&self) -> Result<Vec<CredentialSummary>> {
        self.reader.list()
    }

    fn location(&self) -> String {
        self.reader.location()
    }

    fn probe_location(&self) -> BoxFuture<'_, String> {
        match self.reader.list() {
            Ok(all) if all.is_empty() => self.writer.1.probe_location(),
            _ => self.reader.probe_location(),
        }
    }

    fn location_of(&self, key: &str) -> String {
        self.reader.location_of(key)
    }

    fn has_fallback(&self) -> bool {
        // The file that the reader falls back to accepts a record whatever has happened to the keychain.
        self.writer.0 != StoreChoice::Keyring && self.reader.has_fallback()
    }

    fn lock<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<FileLock>> {
        self.reader.lock(key)
    }
}
