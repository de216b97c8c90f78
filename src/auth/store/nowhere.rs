//! No place for credentials: without a home nothing is stored, and nothing is kept.
//!
//! Servers that ask for no login need no place, and a login can still serve the run that obtained it.

use super::{About, Guard, Store};
use crate::error::{Class, Failure, Result};
use crate::secret::Secret;
use crate::transport::Boxed;

/// The store of a machine without a home.
pub struct Nowhere;

impl Nowhere {
    fn refused() -> Failure {
        Failure::new(Class::Config, "there is no place for credentials")
            .cause("neither HOME nor XDG_DATA_HOME and XDG_STATE_HOME are set")
            .hint("set HOME, or name a file in MCPIPE_CREDENTIALS_FILE")
    }
}

impl Store for Nowhere {
    fn get<'a>(&'a self, _: &'a str) -> Boxed<'a, Result<Option<Secret>>> {
        Box::pin(async { Ok(None) })
    }

    fn put<'a>(&'a self, _: &'a str, _: &'a About, _: &'a Secret) -> Boxed<'a, Result<()>> {
        Box::pin(async { Err(Nowhere::refused()) })
    }

    fn delete<'a>(&'a self, _: &'a str) -> Boxed<'a, Result<bool>> {
        Box::pin(async { Ok(false) })
    }

    fn list(&self) -> Result<Vec<About>> {
        Ok(Vec::new())
    }

    fn place(&self) -> String {
        "no place (HOME is not set)".to_owned()
    }

    /// Nothing is shared with other processes, so nothing is to be kept from them.
    fn lock<'a>(&'a self, _: &'a str) -> Boxed<'a, Result<Guard>> {
        Box::pin(async { Ok(Guard::of_nothing()) })
    }
}
