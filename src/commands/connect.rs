//! Opens the sessions of the commands: credentials, capabilities, time limits and retries.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::TokenProvider;
use crate::cli::LogLevel;
use crate::commands::client_features::{self, MayPrompt};
use crate::commands::context::Context;
use crate::commands::credentials::LoginOptions;
use crate::commands::notifications;
use crate::commands::timeouts::{DEFAULT_CONNECT_TIMEOUT, DEFAULT_TIMEOUT, effective_timeout};
use crate::error::Result;
use crate::output::{ExchangeLog, Progress};
use crate::session::client_handler::{ClientCapabilities, ClientCapability};
use crate::session::{self, Session, retry};
use crate::target::Target;
use crate::transport::trace::Trace;
use crate::transport::{self, Authorize, CookieJar, TransportKind};
use crate::util::limit::Limit;

/// The maximum size in bytes of the pages of a list together, without `--max-list-size`.
pub const DEFAULT_MAX_LIST_SIZE: u64 = 64 << 20;

impl Context {
    /// A session with a target; nothing is sent yet. With a progress line the user is waiting for this server, and may
    /// be asked to log in.
    ///
    /// # Errors
    /// If an option cannot be used: a root that is not a directory, or a file that cannot be read or written; or if
    /// the index of the credentials cannot be read.
    pub fn session(&self, target: Target, progress: Option<Arc<Progress>>) -> Result<Session> {
        let provider = self.login_provider(&target, progress.is_some())?;
        let capabilities = self.capabilities(&target, progress, MayPrompt::Yes)?;
        self.build_session(target, provider.as_ref(), capabilities)
    }

    /// As [`Context::session`], with credentials from this provider, and over a connection of its own: the credentials
    /// of a session that keeps running were checked before.
    ///
    /// # Errors
    /// As [`Context::session`].
    pub fn session_with_provider(
        &self,
        target: Target,
        provider: Option<&TokenProvider>,
        progress: Option<Arc<Progress>>,
    ) -> Result<Session> {
        let capabilities = self.capabilities(&target, progress, MayPrompt::Yes)?;
        let options = self.session_options(&target, provider, capabilities)?;
        Ok(Session::new(target, options))
    }

    /// A session that only lists. It declares all of mcpipe's capabilities, so that the list does not depend on the
    /// standard streams, and never prompts the user.
    ///
    /// # Errors
    /// As [`Context::session`].
    pub fn listing_session(&self, target: Target, progress: Option<Arc<Progress>>) -> Result<Session> {
        self.listing_session_for(target, progress, &ClientCapability::ALL)
    }

    /// As [`Context::listing_session`], for a client that declares these capabilities besides those of its options.
    ///
    /// # Errors
    /// As [`Context::session`].
    pub fn listing_session_for(
        &self,
        target: Target,
        progress: Option<Arc<Progress>>,
        declared: &[ClientCapability],
    ) -> Result<Session> {
        let provider = self.login_provider(&target, progress.is_some())?;
        let capabilities = self.capabilities(&target, progress, MayPrompt::No)?;
        let capabilities = ClientCapabilities { declared_for_lists: declared.to_vec(), ..capabilities };
        self.build_session(target, provider.as_ref(), capabilities)
    }

    /// A session for several calls at once: their progress would mix on one line. If standard input is read for
    /// something else, the user is never prompted.
    ///
    /// # Errors
    /// As [`Context::session`].
    pub fn session_for_concurrent_calls(&self, target: Target, reads_stdin: bool) -> Result<Session> {
        let provider = self.login_provider(&target, true)?;
        let may_prompt = if reads_stdin { MayPrompt::No } else { MayPrompt::Yes };
        let capabilities = self.capabilities(&target, None, may_prompt)?;
        self.build_session(target, provider.as_ref(), capabilities)
    }

    /// A session that tests a server, and what provides its credentials. It never prompts, uses nothing cached and does
    /// not retry: what is seen is what the server does. With `declares_all` it declares everything that mcpipe can do.
    /// The exchange goes to `log` too.
    ///
    /// # Errors
    /// As [`Context::session`].
    pub fn test_session(
        &self,
        target: Target,
        declares_all: bool,
        log: Option<&Arc<ExchangeLog>>,
    ) -> Result<(Session, Option<TokenProvider>)> {
        let provider = self.login_provider(&target, true)?;
        let capabilities = self.capabilities(&target, None, MayPrompt::No)?;
        let declared_for_lists = if declares_all { ClientCapability::ALL.to_vec() } else { Vec::new() };
        let capabilities = ClientCapabilities { declared_for_lists, ..capabilities };
        let options = self.session_options(&target, provider.as_ref(), capabilities)?;
        let retry = retry::RetryPolicy { max_retries: 0, ..options.retry };
        let mut options = session::SessionOptions { cache_dir: None, retry, ..options };
        if let Some(log) = log {
            options.transport.trace = Trace::new(log.clone());
        }
        Ok((Session::new(target, options), provider))
    }

    fn login_provider(&self, target: &Target, is_awaited: bool) -> Result<Option<TokenProvider>> {
        self.token_provider(target, LoginOptions { mode: self.login_mode(is_awaited), ..LoginOptions::default() })
    }

    /// How `bridge` connects: as sessions do. It has no terminal, so a login starts only with `--login always`.
    ///
    /// # Errors
    /// As [`Context::session`].
    pub fn bridge_options(&self, target: &Target) -> Result<transport::TransportOptions> {
        let provider = self.login_provider(target, false)?;
        Ok(self.session_options(target, provider.as_ref(), ClientCapabilities::default())?.transport)
    }

    /// The capabilities that can be used in this run.
    fn capabilities(
        &self,
        target: &Target,
        progress: Option<Arc<Progress>>,
        may_prompt: MayPrompt,
    ) -> Result<ClientCapabilities> {
        Ok(ClientCapabilities {
            roots: client_features::roots(self, target)?,
            elicitation: client_features::elicitation_handler(self, &target.name, may_prompt)?,
            sampling: client_features::sampler(self, self.request_timeout(target))?,
            observer: notifications::notification_observer(self, progress)?,
            log_level: self.global.log_level.map(LogLevel::as_str),
            declared_for_lists: Vec::new(),
            request_meta: self.request_meta()?,
        })
    }

    fn build_session(
        &self,
        target: Target,
        provider: Option<&TokenProvider>,
        capabilities: ClientCapabilities,
    ) -> Result<Session> {
        let options = self.session_options(&target, provider, capabilities)?;
        #[cfg(unix)]
        let options = self.with_kept_session(&target, options)?;
        #[cfg(not(unix))]
        if target.keep_alive.is_some_and(|time| !time.is_zero()) {
            self.ui.warn("keep_alive has no effect: sessions are not supported on this system yet");
        }
        Ok(Session::new(target, options))
    }

    /// The options for the connection that a session keeps, which never prompts.
    ///
    /// # Errors
    /// As [`Context::session`].
    #[cfg(unix)]
    pub(super) fn direct_options(&self, target: &Target) -> Result<session::SessionOptions> {
        let provider = self.login_provider(target, false)?;
        let capabilities = self.capabilities(target, None, MayPrompt::No)?;
        let capabilities = ClientCapabilities { declared_for_lists: ClientCapability::ALL.to_vec(), ..capabilities };
        self.session_options(target, provider.as_ref(), capabilities)
    }

    fn session_options(
        &self,
        target: &Target,
        provider: Option<&TokenProvider>,
        capabilities: ClientCapabilities,
    ) -> Result<session::SessionOptions> {
        let authorize = match provider {
            Some(provider) => Some(Arc::new(provider.clone()) as Arc<dyn Authorize>),
            None => self.bearer_provider(target)?.map(|provider| Arc::new(provider) as Arc<dyn Authorize>),
        };
        let (connect_timeout, connect_timeout_options) = self.start_timeout(target);
        // The token itself may be another one in each run.
        let source = target.bearer.as_ref().map(ToString::to_string);
        let transport = transport::TransportOptions {
            connect_timeout,
            post_connect_timeout: connect_timeout,
            interrupt: self.interrupt.clone(),
            trace: self.trace()?,
            authorize,
            cookies: CookieJar::default(),
            recorder: self.recorder(target)?,
            #[cfg(unix)]
            kept: None,
        };
        Ok(session::SessionOptions {
            connect_timeout_options,
            timeout: self.request_timeout(target),
            max_list_size: self.max_list_size(),
            retry: self.retry_policy(target),
            // What is cached would be missing in a recording.
            cache_dir: if self.global.no_cache || self.global.record.is_some() { None } else { self.env.cache_dir() },
            identity: provider.map(TokenProvider::login_id).transpose()?.flatten().or(source),
            transport,
            capabilities,
        })
    }

    /// How large a list may be over all its pages, in bytes.
    pub(super) fn max_list_size(&self) -> Option<u64> {
        self.global.max_list_size.map_or(Some(DEFAULT_MAX_LIST_SIZE), Limit::get)
    }

    /// How long to wait for a response of this target.
    fn request_timeout(&self, target: &Target) -> Option<Duration> {
        effective_timeout(self.global.timeout, target.timeout, DEFAULT_TIMEOUT)
    }

    /// When to retry. Without `--retries` a server process that exited is not started again.
    fn retry_policy(&self, target: &Target) -> retry::RetryPolicy {
        let usual = if target.endpoint.transport_kind() == TransportKind::Stdio { 0 } else { 2 };
        let ui = self.ui.clone();
        let notice = move |text: &str| ui.warn(text);
        retry::RetryPolicy {
            max_retries: self.global.retries.unwrap_or(usual),
            is_explicit: self.global.retries.is_some(),
            ready_timeout: self.global.wait,
            max_retry_after: self.global.timeout.and_then(Limit::get),
            on_retry: Some(Arc::new(notice)),
        }
    }

    /// The time limit for starting and negotiating with this target.
    #[must_use]
    pub fn connect_timeout(&self, target: &Target) -> Option<Duration> {
        effective_timeout(self.global.connect_timeout, target.connect_timeout, DEFAULT_CONNECT_TIMEOUT)
    }

    /// The time limit for starting and negotiating with a server before its first response, and the options that set
    /// it: an explicit `--timeout` is a limit for the start as well, unless that has an option of its own.
    fn start_timeout(&self, target: &Target) -> (Option<Duration>, &'static str) {
        let usual = self.connect_timeout(target);
        match self.global.timeout.and_then(Limit::get) {
            Some(time) if self.global.connect_timeout.is_none() && usual.is_none_or(|usual| time < usual) => {
                (Some(time), "--timeout TIME, or the start alone with --connect-timeout TIME")
            }
            _ => (usual, "--connect-timeout TIME"),
        }
    }

    /// Runs an operation on a session, then closes the session, also after a failure.
    ///
    /// # Errors
    /// Those of the operation.
    pub async fn with_session<T>(
        &self,
        session: Session,
        operation: impl AsyncFnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
        let outcome = operation(&session).await;
        session.close().await;
        outcome.map_err(|failure| failure.server(&session.target().name))
    }
}
