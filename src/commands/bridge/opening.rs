//! Opens a connection: finds out the era of the server, beginning with that of the client, and introduces the client.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::changes::REOPEN_DELAYS;
use super::connection::{ServerConnection, ServerIntroduction};
use super::upstream::Upstream;
use super::wire::member_text;
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json::parse_value;
use crate::protocol::revision::{Revision, RevisionPin, supported_revisions};
use crate::protocol::rpc::{self, RawJson};
use crate::protocol::{code, method};
use crate::session::era::legacy::INITIALIZED_TIMEOUT;
use crate::session::failure::failure_from_outcome;
use crate::session::negotiate::classify::{
    may_be_other_transport, may_use_sse, refusal_status, says_nothing_about_era, sse_candidate,
};
use crate::session::negotiate::{PROBE_TIMEOUT, probe_timeout};
use crate::session::request::RequestOutcome;
use crate::transport::http::SseConnectError;
use crate::transport::{self, BoxFuture, Endpoint, HttpMode, TransportOptions, next_gap};
use crate::util::lock::lock;

impl Upstream {
    /// Opens a connection.
    pub(super) async fn open(self: &Arc<Self>) -> Result<Arc<ServerConnection>> {
        let is_sse = matches!(&self.target.endpoint, Endpoint::Http(endpoint) if endpoint.mode == HttpMode::Sse);
        if let Some(endpoint) = sse_candidate(&self.target).filter(|endpoint| endpoint.url.path().ends_with("/sse")) {
            let limit = Some(probe_timeout(self.options.connect_timeout));
            let options = TransportOptions { connect_timeout: limit, ..self.options.clone() };
            match transport::connect_sse(endpoint, &options).await {
                Ok(connected) => match self.open_as_legacy(self.start_reading(connected)).await {
                    Ok(connection) => return Ok(connection),
                    Err(refused) => {
                        self.close_connection(&refused.connection).await;
                        if let RequestOutcome::Failed(failure) = refused.outcome
                            && !may_be_other_transport(&failure)
                        {
                            return Err(failure);
                        }
                    }
                },
                Err(SseConnectError::Failed(failure)) if !may_be_other_transport(&failure) => return Err(failure),
                Err(SseConnectError::Failed(_) | SseConnectError::NoStream(_)) => {}
            }
        }
        let connection = self.connect_transport().await?;
        let (may_be_modern, may_be_legacy) = match self.target.protocol {
            RevisionPin::Exact(revision) => (revision.is_modern(), !revision.is_modern()),
            RevisionPin::Legacy => (false, true),
            RevisionPin::Auto => (!is_sse, true),
        };
        let opened = match (may_be_modern, may_be_legacy) {
            (true, true) if self.client_introduction.is_modern() => self.open_modern_first(connection).await,
            (true, true) => self.open_legacy_first(connection).await,
            (true, false) => self.open_as_modern(connection, self.options.connect_timeout).await,
            (false, _) => self.open_as_legacy(connection).await,
        };
        match opened {
            Ok(connection) => Ok(connection),
            Err(refused) => self.open_sse(*refused).await,
        }
    }

    /// For a client with a handshake: passes its `initialize` on, and asks for a server without one if that is refused.
    async fn open_legacy_first(self: &Arc<Self>, connection: Arc<ServerConnection>) -> OpeningResult {
        let refused = match self.open_as_legacy(connection).await {
            Ok(opened) => return Ok(opened),
            Err(refused) => refused,
        };
        if !may_be_other_era(&refused) {
            return Err(refused);
        }
        let Ok(connection) = self.reopened(&refused.connection).await else { return Err(refused) };
        match self.open_as_modern(connection, self.options.connect_timeout).await {
            Ok(opened) => Ok(opened),
            // The first refusal is about what the client sent.
            Err(other) => Err(Box::new(Refusal { connection: other.connection, ..*refused })),
        }
    }

    /// For a client without a handshake: asks for a server of its era first.
    async fn open_modern_first(self: &Arc<Self>, connection: Arc<ServerConnection>) -> OpeningResult {
        let limit = if connection.is_http() { self.options.connect_timeout } else { Some(PROBE_TIMEOUT) };
        let refused = match self.open_as_modern(connection, limit).await {
            Ok(opened) => return Ok(opened),
            Err(refused) => refused,
        };
        let is_silent =
            matches!(&refused.outcome, RequestOutcome::Failed(failure) if failure.kind() == ErrorKind::Timeout);
        if !(may_be_other_era(&refused) || is_silent && !refused.connection.is_http()) {
            return Err(refused);
        }
        let Ok(connection) = self.reopened(&refused.connection).await else { return Err(refused) };
        let second = match self.open_as_legacy(connection).await {
            Ok(opened) => return Ok(opened),
            Err(second) => second,
        };
        // A slow start is not the era.
        if is_silent && second.connection.closed_reason().is_none() {
            return self.open_as_modern(second.connection, self.options.connect_timeout).await;
        }
        Err(if is_silent { second } else { Box::new(Refusal { connection: second.connection, ..*refused }) })
    }

    /// The connection, or a new one if the server closed it.
    async fn reopened(self: &Arc<Self>, connection: &Arc<ServerConnection>) -> Result<Arc<ServerConnection>> {
        let Some(_) = connection.closed_reason() else { return Ok(connection.clone()) };
        self.close_connection(connection).await;
        self.connect_transport().await
    }

    /// HTTP+SSE, where the other transport is refused as it is there (2025-11-25, basic/transports, "Backwards
    /// Compatibility").
    async fn open_sse(self: &Arc<Self>, refused: Refusal) -> Result<Arc<ServerConnection>> {
        self.close_connection(&refused.connection).await;
        if refusal_status(&refused.outcome).is_some_and(may_use_sse)
            && let Some(endpoint) = sse_candidate(&self.target)
            && let Ok(connected) = transport::connect_sse(endpoint, &self.options).await
        {
            return match self.open_as_legacy(self.start_reading(connected)).await {
                Ok(connection) => Ok(connection),
                Err(refused) => {
                    self.close_connection(&refused.connection).await;
                    Err(failure_from_outcome(refused.outcome, refused.method, &self.target))
                }
            };
        }
        Err(failure_from_outcome(refused.outcome, refused.method, &self.target))
    }

    /// Opens a server without a handshake.
    async fn open_as_modern(
        self: &Arc<Self>,
        connection: Arc<ServerConnection>,
        limit: Option<Duration>,
    ) -> OpeningResult {
        let params = self.own_params(true, "");
        let headers = self.headers(&connection, method::DISCOVER, None);
        let outcome = connection.own_request(self.next_id(), method::DISCOVER, params.as_deref(), headers, limit).await;
        let outcome = match outcome {
            RequestOutcome::Result(result) if is_modern_introduction(&result) => {
                connection.set_introduction(ServerIntroduction::Modern(result));
                return Ok(connection);
            }
            RequestOutcome::Result(_) => {
                let message = "the server does not support revision 2026-07-28";
                RequestOutcome::Failed(Failure::new(ErrorKind::Protocol, message))
            }
            outcome => outcome,
        };
        Err(Box::new(Refusal { connection, method: method::DISCOVER, outcome }))
    }

    async fn initialize(&self, connection: &ServerConnection) -> RequestOutcome {
        let params = self.client_introduction.initialize_params();
        let limit = self.options.connect_timeout;
        connection.own_request(self.next_id(), method::INITIALIZE, Some(&params), Vec::new(), limit).await
    }

    /// Opens a server by a handshake.
    async fn open_as_legacy(self: &Arc<Self>, connection: Arc<ServerConnection>) -> OpeningResult {
        match self.initialize(&connection).await {
            RequestOutcome::Result(result) => {
                set_revision(&connection, &result);
                connection.set_introduction(ServerIntroduction::Legacy(result));
                Ok(connection)
            }
            outcome => Err(Box::new(Refusal { connection, method: method::INITIALIZE, outcome })),
        }
    }

    /// Prepares a new connection: completes the handshake where the client does not, and restores what the client had
    /// set on the previous one.
    pub(super) async fn prepare(self: &Arc<Self>, connection: &Arc<ServerConnection>, is_again: bool) {
        if connection.is_modern() {
            if !self.passes_changes(connection) {
                self.start_listening(connection);
            }
        } else if !self.client_introduction.has_handshake() || self.client_introduction.is_initialized() {
            self.complete_handshake(connection).await;
        }
        if is_again {
            self.restore(connection).await;
        }
    }

    /// Sends `notifications/initialized`, and opens the stream for the server's own messages.
    async fn complete_handshake(self: &Arc<Self>, connection: &Arc<ServerConnection>) {
        connection.is_initialized.store(true, Ordering::Relaxed);
        self.tell(connection, rpc::notification(method::INITIALIZED, None)).await;
        self.listen(connection).await;
    }

    /// Sends a small message without a response. What follows does not wait long for a server that never accepts it: if
    /// that matters, later requests show it.
    pub(super) async fn tell(&self, connection: &ServerConnection, body: String) {
        let sent = connection.send_one_way(body);
        tokio::pin!(sent);
        let limit = self.options.connect_timeout.map_or(INITIALIZED_TIMEOUT, |limit| limit.min(INITIALIZED_TIMEOUT));
        loop {
            match tokio::time::timeout(limit, &mut sent).await {
                Err(_) if connection.transport().login_in_progress() => {}
                Ok(Ok(())) => return,
                Ok(Err(failure)) => {
                    return self.options.trace.note(&format!("the server did not accept a message: {failure}"));
                }
                Err(_) => return self.options.trace.note("the server did not accept a message in time"),
            }
        }
    }

    /// Opens the stream for the server's own messages, over HTTP, and again after it was closed, as long as the server
    /// has one.
    pub(super) async fn listen(self: &Arc<Self>, connection: &Arc<ServerConnection>) {
        let Some(http) = connection.transport().legacy_session() else { return };
        let gaps = http.stream_gaps();
        http.listen().await;
        if !http.is_listening() || connection.keeps_stream.swap(true, Ordering::Relaxed) {
            return;
        }
        let (this, connection) = (self.clone(), connection.clone());
        drop(tokio::spawn(async move {
            tokio::select! {
                () = this.keep_stream(&connection, gaps) => connection.keeps_stream.store(false, Ordering::Relaxed),
                _ = connection.wait_closed() => {}
            }
        }));
    }

    async fn keep_stream(&self, connection: &ServerConnection, mut gaps: Option<watch::Receiver<()>>) {
        let Some(http) = connection.transport().legacy_session() else { return };
        let (first, most) = REOPEN_DELAYS;
        let mut delay = first;
        let mut started = Instant::now();
        loop {
            tokio::select! {
                has_stream = http.listen_stream_closed() => if !has_stream { return },
                () = next_gap(&mut gaps) => {
                    self.guard.forget_table();
                    self.report_possible_changes(connection).await;
                    continue;
                }
            }
            if started.elapsed() > most {
                delay = first;
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(most);
            // While a session is being opened again, it has no stream yet; then it has its own one.
            drop(connection.session_number.lock().await);
            started = Instant::now();
            if !http.is_listening() {
                http.listen().await;
            }
        }
    }

    /// Restores what the client had set, and lets it fetch the lists again, which may have changed.
    async fn restore(self: &Arc<Self>, connection: &Arc<ServerConnection>) {
        self.warn("connected to the server again");
        if !connection.is_modern() {
            let uris = lock(&self.subscribed).uris.clone();
            let subscribed = self.change_subscriptions(connection, method::RESOURCES_SUBSCRIBE, uris, false);
            let log_level = async {
                if let Some(level) = self.client_introduction.log_level() {
                    self.send_log_level(connection, &level, false).await;
                }
            };
            futures_util::future::join(log_level, subscribed).await;
        }
        self.report_possible_changes(connection).await;
    }

    /// Opens a new session over HTTP in place of session `number`, which the server has forgotten; once for all
    /// requests that notice it.
    ///
    /// # Errors
    /// Why no session could be opened. The request that the server refused was not carried out.
    pub(super) fn renew_session<'a>(
        self: &'a Arc<Self>,
        connection: &'a Arc<ServerConnection>,
        number: u64,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let refused = |mut failure: Failure| {
                failure.details_mut().is_unsent = true;
                failure.cause("the server no longer knows its session, and no other one could be opened")
            };
            let mut now = connection.session_number.lock().await;
            if *now != number {
                return Ok(true);
            }
            // By another request that noticed it.
            if let Some(failure) = connection.closed_reason() {
                return Err(refused(failure));
            }
            let has_forgotten = connection.transport().legacy_session().is_some_and(|http| http.forget_session());
            if !has_forgotten || connection.is_modern() {
                return Ok(false);
            }
            let result = match self.initialize(connection).await {
                RequestOutcome::Result(result) => result,
                outcome => {
                    // Without a session, the server would refuse every later request: the next one connects again.
                    let failure = failure_from_outcome(outcome, method::INITIALIZE, &self.target);
                    self.fail_pending(connection, &failure).await;
                    return Err(refused(failure));
                }
            };
            set_revision(connection, &result);
            *now += 1;
            self.guard.forget_table();
            // Other requests wait until the handshake is complete.
            self.complete_handshake(connection).await;
            drop(now);
            self.restore(connection).await;
            Ok(true)
        })
    }
}

/// A connection that could not be opened.
struct Refusal {
    connection: Arc<ServerConnection>,
    /// The request that was refused.
    method: &'static str,
    outcome: RequestOutcome,
}

type OpeningResult = Result<Arc<ServerConnection>, Box<Refusal>>;

/// Over HTTP, the negotiated revision is sent in a header.
fn set_revision(connection: &ServerConnection, result: &RawJson) {
    let revision =
        member_text(result.get(), "protocolVersion").and_then(|raw| serde_json::from_str::<String>(raw).ok());
    if let (Some(http), Some(revision)) =
        (connection.transport().legacy_session(), revision.and_then(|name| Revision::parse(&name)))
    {
        http.set_revision(revision);
    }
}

/// Whether this is the result of `server/discover`, and names a revision without a handshake.
fn is_modern_introduction(result: &RawJson) -> bool {
    parse_value(result.get()).is_some_and(|value| supported_revisions(&value).iter().any(|one| one.is_modern()))
}

/// Whether a refusal may come from the era of the server: neither a login, nor overload, nor silence.
fn may_be_other_era(refused: &Refusal) -> bool {
    let connection = &refused.connection;
    match &refused.outcome {
        RequestOutcome::Result(_) => false,
        RequestOutcome::Error(error, status) => {
            !status.is_some_and(says_nothing_about_era) && error.code != Some(code::INTERNAL_ERROR)
        }
        RequestOutcome::UnexpectedResponse(response) => may_use_sse(response.status),
        RequestOutcome::Failed(failure) => {
            failure.kind() == ErrorKind::Protocol || (connection.closed_reason().is_some() && !connection.is_http())
        }
    }
}
