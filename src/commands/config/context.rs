//! What the `config` subcommands need from a run.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::probe::ProbeResult;
use crate::auth::store::CredentialStore;
use crate::commands::runtime::block_on;
use crate::commands::secret_references::validate_reference;
use crate::config::Config;
use crate::config::value::secrets::Secrets;
use crate::env::Environment;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::target::TargetOptions;
use crate::util::limit::Limit;

/// Opens the chosen credential store.
type OpenStoreFn<'a> = dyn Fn(Option<&str>) -> Result<Arc<dyn CredentialStore>> + 'a;

/// Fetches the document at a URL.
type FetchFn<'a> = dyn Fn(&str, &TargetOptions) -> Result<Vec<u8>> + 'a;

/// What the subcommands need from a run.
pub struct ConfigContext<'a> {
    /// The environment.
    pub environment: &'a Environment,
    /// `--config`.
    pub config_file: Option<&'a Path>,
    /// `--timeout` and `--connect-timeout`, which `config add` writes into the entry.
    pub timeouts: (Option<Limit<Duration>>, Option<Limit<Duration>>),
    /// Shows a text on stderr and asks for confirmation; `None` if no one can be asked.
    ///
    /// Control characters in the text have been made visible.
    pub confirm: &'a mut dyn FnMut(&str) -> Result<Option<bool>>,
    /// Reads the value of the secret with this name, from a pipe or typed without echo.
    pub read_secret: &'a mut dyn FnMut(&str) -> Result<String>,
    /// Opens the chosen store for secrets.
    pub open_store: &'a OpenStoreFn<'a>,
    /// Connects to a server of a configuration.
    pub connect: &'a dyn Fn(&Config, &str) -> Result<ProbeResult>,
    /// Fetches a document, with the options for the connection.
    pub fetch: &'a FetchFn<'a>,
    /// The interrupt, for operations that wait.
    pub interrupt: Interrupt,
}

impl ConfigContext<'_> {
    /// Placeholders for secrets that are not fetched, so that values with them can be checked.
    pub(super) fn validated_placeholders<'a>(&'a self, config: &'a Config) -> Secrets<'a> {
        let choice = config.defaults.credential_store.as_deref();
        Secrets::placeholders_checked_by(move |request| {
            validate_reference(request, self.environment, || (self.open_store)(choice))
        })
    }

    /// Runs an operation of a store to its end, unless the user interrupts it.
    pub(super) fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        block_on(&self.interrupt, pin!(self.interrupt.run_until_interrupted(future)))??
    }
}
