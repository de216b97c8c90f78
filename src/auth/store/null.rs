//! The store if there is no home directory: nothing is stored.
//!
//! Servers without logins need no store, and a login is still valid for the run that obtained it.

use crate::auth::store::types::{CredentialStore, CredentialSummary};
use crate::error::{Failure, NO_HOME_DIRECTORY, Result};
use crate::secret::Secret;
use crate::transport::BoxFuture;
use crate::util::file_lock::FileLock;

/// A store without a place.
pub struct NullStore;

impl NullStore {
    fn unavailable() -> Failure {
        Failure::no_home_directory("no location to store credentials", "name a file in MCPIPE_CREDENTIALS_FILE")
    }
}

impl CredentialStore for NullStore {
    fn get<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Secret>>> {
        Box::pin(async { Ok(None) })
    }

    fn put<'a>(&'a self, _: &'a str, _: &'a CredentialSummary, _: &'a Secret) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Err(NullStore::unavailable()) })
    }

    fn delete<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async { Ok(false) })
    }

    fn list(&self) -> Result<Vec<CredentialSummary>> {
        Ok(Vec::new())
    }

    fn location(&self) -> String {
        format!("nowhere ({NO_HOME_DIRECTORY})")
    }

    /// Nothing is shared with other processes, so there is nothing to lock.
    fn lock<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<FileLock>> {
        Box::pin(async { Ok(FileLock::noop()) })
    }
}
