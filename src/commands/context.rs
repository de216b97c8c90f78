//! What every command is given, and how a command ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::OnceCell;

use crate::auth::store::CredentialStore;
use crate::cli::GlobalOptions;
use crate::config::value::secrets::{SecretRequest, SecretResult};
use crate::env::Environment;
use crate::error::{ErrorKind, Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::{ExchangeLog, Progress, RecordingWriter, Ui};
use crate::transport::trace::Trace;

/// What every command is given.
pub struct Context {
    /// Where it prints.
    pub ui: Arc<Ui>,
    /// Variables, home, working directory.
    pub env: Arc<Environment>,
    /// The request to stop: a signal, or a reader that is gone.
    pub interrupt: Interrupt,
    /// The options of every command.
    pub global: GlobalOptions,
    /// The credential stores that were opened.
    pub credential_stores: CredentialStores,
    /// The secrets of the configuration that were fetched.
    pub secret_cache: SecretCache,
    /// The trace of the run, once it is open.
    pub trace: OnceLock<Trace>,
    /// The recording of the run, once it is open.
    pub recording: OnceLock<Arc<RecordingWriter>>,
    /// Done once the user knows of a running session that this command does not use.
    pub unused_session: std::sync::Once,
}

/// How a command ended that has printed everything itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Failed; the reason is printed already, and the kind gives the exit code.
    Reported(ErrorKind),
}

impl Exit {
    /// The end of a command that has reported these failures: the first one gives the exit code.
    pub fn from_failures<'f>(failures: impl IntoIterator<Item = &'f Failure>) -> Exit {
        failures.into_iter().next().map_or(Exit::Done, |first| Exit::Reported(first.kind()))
    }
}

/// The credential stores of a run, by choice; each is opened when it is first needed.
#[derive(Default)]
pub struct CredentialStores(pub(super) Mutex<HashMap<Option<String>, Arc<dyn CredentialStore>>>);

/// The secrets that the configuration refers to, each fetched at most once.
#[derive(Default)]
pub struct SecretCache(pub(super) Mutex<HashMap<SecretRequest, Arc<OnceCell<SecretResult>>>>);

impl Context {
    /// The trace that every connection of this run writes to.
    ///
    /// # Errors
    /// When the trace file cannot be created.
    pub fn trace(&self) -> Result<Trace> {
        if let Some(trace) = self.trace.get() {
            return Ok(trace.clone());
        }
        let trace = self.ui.trace()?;
        Ok(self.trace.get_or_init(|| trace).clone())
    }

    /// A log of what is exchanged with one server, besides the trace of the run.
    ///
    /// # Errors
    /// As [`Context::trace`].
    pub fn exchange_log(&self) -> Result<Arc<ExchangeLog>> {
        Ok(self.ui.exchange_log(self.trace()?))
    }

    /// Says what is read from standard input, if that is a terminal.
    pub fn note_awaited_input(&self, what: &str) {
        if self.ui.terminal().stdin_is_tty {
            self.ui.note(&format!("reading {what} from standard input; Ctrl-D ends it"));
        }
    }

    /// The line on stderr that shows which server is waited for.
    #[must_use]
    pub fn show_waiting_for(&self, server: &str) -> Arc<Progress> {
        self.progress(&format!("waiting for {server}"))
    }

    /// The line on stderr that shows that something is under way.
    #[must_use]
    pub fn progress(&self, message: &str) -> Arc<Progress> {
        Arc::new(self.ui.progress(message))
    }
}
