//! No place for credentials: without a home nothing is stored, and nothing is kept.
//!
//! Servers that ask for no login need no place, and a login can still serve the run that obtained it.

use super::{CredentialStore, CredentialSummary, StoreLock};
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::transport::BoxFuture;

/// The store of a machine without a home.
pub struct NullStore;

impl NullStore {
    fn unavailable() -> Failure {
        Failure::new(ErrorKind::Config, "there is no place for credentials")
            .cause("neither HOME nor XDG_DATA_HOME and XDG_STATE_HOME are set")
            .hint("set HOME, or name a file in MCPIPE_CREDENTIALS_FILE")
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
        "no place (HOME is not set)".to_owned()
    }

    /// Nothing is shared with other processes, so nothing is to be kept from them.
    fn lock<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<StoreLock>> {
        Box::pin(async { Ok(StoreLock::noop()) })
    }
}
