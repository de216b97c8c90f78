//! The input of the `config` subcommands, and the report that each of them returns.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::probe::ProbeResult;
use crate::auth::store::CredentialStore;
use crate::commands::runtime::block_on;
use crate::commands::secret_references::validate_reference;
use crate::config::Config;
use crate::config::value::secrets::Secrets;
use crate::env::Environment;
use crate::error::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::Column;
use crate::target::TargetOptions;

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
    pub timeouts: (Option<Duration>, Option<Duration>),
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

    /// Waits for an operation of a store.
    pub(super) fn block_on<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        block_on(&self.interrupt, pin!(self.interrupt.run_until_interrupted(future)))??
    }
}

/// The report of a subcommand.
#[derive(Debug)]
pub struct ConfigReport {
    /// The result for `--json`.
    pub json: Value,
    /// The result for display.
    pub body: ReportBody,
    /// Notes for stderr that are not failures.
    pub notes: Vec<String>,
    /// A command that the user may want to run next.
    pub next: Option<String>,
    /// The failure that sets the exit code; reported after the result.
    pub failure: Option<Failure>,
}

/// A result for display.
#[derive(Debug)]
pub enum ReportBody {
    /// Rows with headings; without headings and separated by tabs if stdout is not a terminal.
    Table(Vec<Column>, Vec<Vec<String>>),
    /// Text, printed as it is.
    Text(String),
}

impl ConfigReport {
    pub(super) fn new(json: Value, body: ReportBody) -> Self {
        ConfigReport { json, body, notes: Vec::new(), next: None, failure: None }
    }
}

/// Text from a file that others may have written, with control and invisible characters made visible.
pub(super) fn escape_untrusted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\'' | '"' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}
