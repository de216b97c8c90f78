//! What the subcommands of `config` receive, and the report that each of them returns.

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

/// Opens the store of a choice.
type OpenStoreFn<'a> = dyn Fn(Option<&str>) -> Result<Arc<dyn CredentialStore>> + 'a;

/// What the subcommands need of a run.
pub struct ConfigContext<'a> {
    /// The environment.
    pub environment: &'a Environment,
    /// `--config`.
    pub config_file: Option<&'a Path>,
    /// `--timeout` and `--connect-timeout`, which `config add` writes down.
    pub timeouts: (Option<Duration>, Option<Duration>),
    /// Shows a text on stderr and asks for yes or no after it; `None` where nobody can be asked.
    ///
    /// The text has its control characters made visible already.
    pub confirm: &'a mut dyn FnMut(&str) -> Result<Option<bool>>,
    /// Reads the value of a secret with this name: what is piped in, or what is typed unseen.
    pub read_secret: &'a mut dyn FnMut(&str) -> Result<String>,
    /// Opens the store of this choice, in which secrets rest.
    pub open_store: &'a OpenStoreFn<'a>,
    /// Connects to a server of a configuration.
    pub connect: &'a dyn Fn(&Config, &str) -> Result<ProbeResult>,
    /// The wish to stop, for what waits.
    pub interrupt: Interrupt,
}

impl ConfigContext<'_> {
    /// Stand-ins for secrets, where nothing can be seen to be wrong with them.
    pub(super) fn validated_placeholders<'a>(&'a self, config: &'a Config) -> Secrets<'a> {
        let choice = config.defaults.credential_store.as_deref();
        Secrets::placeholders_checked_by(move |request| {
            validate_reference(request, self.environment, || (self.open_store)(choice))
        })
    }

    /// Waits for what a store does.
    pub(super) fn block_on<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        block_on(&self.interrupt, pin!(self.interrupt.run_until_interrupted(future)))??
    }
}

/// What a subcommand has to say.
#[derive(Debug)]
pub struct ConfigReport {
    /// The answer for `--json`.
    pub json: Value,
    /// The answer for people.
    pub body: ReportBody,
    /// For stderr: remarks that are no failures.
    pub notes: Vec<String>,
    /// What decides the exit code; reported after the answer.
    pub failure: Option<Failure>,
}

/// An answer for people.
#[derive(Debug)]
pub enum ReportBody {
    /// Rows under headings; without headings and separated by tabs where stdout is no terminal.
    Table(Vec<&'static str>, Vec<Vec<String>>),
    /// Text as it is, line breaks included.
    Text(String),
}

impl ConfigReport {
    pub(super) fn new(json: Value, body: ReportBody) -> Self {
        ConfigReport { json, body, notes: Vec::new(), failure: None }
    }
}

/// Text from a file that somebody else may have written, with everything visible that could hide something.
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
