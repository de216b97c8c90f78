//! Which era a server speaks: the fewest round trips that find out, and no guess that could do harm.
//!
//! Digest §1.6. A request with effects is never the probe (`ERA-19`); refused credentials, overload and
//! time-outs are never taken for an old server (`ERA-11`); the fallback hangs on no particular error
//! code (`ERA-05`).

pub(crate) mod classify;
mod http;
pub(crate) mod stream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{ErrorKind, Failure, FailureDetails, Result};
use crate::protocol::method;
use crate::protocol::revision::RevisionPin;
use crate::protocol::rpc::RawJson;
use crate::protocol::views::ServerInfo;
use crate::session::cache::ServerProfile;
use crate::session::client_handler::ClientHandler;
use crate::session::era::Era;
use crate::session::era::legacy::{DetachedSession, Handshake};
use crate::session::era::modern::ModernEra;
use crate::session::failure::failure_from_outcome;
use crate::session::negotiate::classify::may_indicate_wrong_era;
use crate::session::operation::Operation;
use crate::session::options::SessionOptions;
use crate::session::rpc_client::{RequestOutcome, RpcClient};
use crate::target::Target;
use crate::transport::{self, Endpoint, HttpMode, TransportKind};
use crate::util::duration::format_duration;

/// The time for the last attempt to reach a server, even if less is left.
pub(crate) const MIN_ATTEMPT_TIMEOUT: Duration = Duration::from_millis(250);
/// How long a silent server is waited for before the next thing is tried on the same connection (`ERA-12`).
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection whose era is known.
pub struct NegotiatedConnection {
    /// The connection.
    pub rpc: RpcClient,
    /// The era.
    pub era: Box<dyn Era>,
    /// Whether the server itself has shown its era; a remembered one is only a belief until then.
    pub is_confirmed: bool,
    /// Whether nothing was asked of the server yet.
    pub is_unused: bool,
    /// Whether the server ended at a request before the handshake, without reading any further.
    pub exits_before_handshake: bool,
}

impl NegotiatedConnection {
    /// A connection to a server that has shown its era.
    pub(crate) fn confirmed(link: RpcClient, era: impl Era + 'static) -> Self {
        NegotiatedConnection {
            rpc: link,
            era: Box::new(era),
            is_confirmed: true,
            is_unused: false,
            exits_before_handshake: false,
        }
    }
}

/// What came of a handshake.
pub(crate) enum HandshakeResult {
    /// A connection with the legacy era agreed upon.
    Accepted(NegotiatedConnection),
    /// The server does not shake hands: the connection, and what it said instead.
    Rejected(RpcClient, RequestOutcome),
}

/// Finds out about one target.
pub struct Negotiator<'a> {
    /// Whom to talk to.
    pub target: &'a Target,
    /// How.
    pub options: &'a SessionOptions,
    /// Our side.
    pub client_handler: Arc<ClientHandler>,
    /// When the user has waited long enough for the server, whatever the time-outs say.
    pub wait_deadline: Option<Instant>,
    /// When this began: the time for start and negotiation is one, however often a process is started in it.
    pub started_at: Instant,
}

impl Negotiator<'_> {
    pub(crate) async fn connect(&self) -> Result<RpcClient> {
        let connection = match &self.target.endpoint {
            // Nothing is opened before the first request, which has its own limit.
            Endpoint::Http(endpoint) if endpoint.mode != HttpMode::Sse => {
                transport::connect(&self.target.endpoint, &self.options.transport).await?
            }
            endpoint => transport::connect(endpoint, &self.attempt_options()).await?,
        };
        Ok(self.rpc_client(connection))
    }

    /// How long one attempt may take.
    pub(super) fn attempt_timeout(&self) -> Option<Duration> {
        let usual = match self.options.transport.connect_timeout {
            Some(time) if self.shares_one_timeout() => {
                Some(time.saturating_sub(self.started_at.elapsed()).max(MIN_ATTEMPT_TIMEOUT))
            }
            usual => usual,
        };
        let Some(until) = self.wait_deadline else { return usual };
        let left = until.saturating_duration_since(Instant::now()).max(MIN_ATTEMPT_TIMEOUT);
        Some(usual.map_or(left, |usual| usual.min(left)))
    }

    /// Whether all that negotiation does goes by one clock: where nobody may have to log in meanwhile.
    fn shares_one_timeout(&self) -> bool {
        matches!(self.target.endpoint, Endpoint::Stdio(_) | Endpoint::Unix(_))
    }

    pub(super) fn attempt_options(&self) -> transport::TransportOptions {
        transport::TransportOptions { connect_timeout: self.attempt_timeout(), ..self.options.transport.clone() }
    }

    pub(super) fn rpc_client(&self, connection: transport::ConnectedTransport) -> RpcClient {
        let options = &self.options.transport;
        RpcClient::new(connection, self.client_handler.clone(), options.interrupt.clone(), options.trace.clone())
    }

    pub(crate) fn modern_era(&self, server: ServerInfo) -> ModernEra {
        ModernEra::new(self.client_handler.clone(), self.options.timeout, server)
    }

    /// A modern side whose requests wait only as long as negotiation may take.
    pub(crate) fn probe_era(&self) -> ModernEra {
        self.era_with_timeout(self.attempt_timeout())
    }

    pub(super) fn era_with_timeout(&self, timeout: Option<Duration>) -> ModernEra {
        ModernEra::new(self.client_handler.clone(), timeout, ServerInfo::default())
    }

    pub(crate) fn handshake(&self) -> Handshake {
        Handshake {
            client_handler: self.client_handler.clone(),
            pin: self.target.protocol,
            connect_timeout: self.options.transport.connect_timeout,
            initialize_timeout: self.attempt_timeout(),
            request_timeout: self.options.timeout,
        }
    }

    /// Opens the connection. Where finding out took the wanted request itself, its reply comes along.
    ///
    /// # Errors
    /// When the server cannot be reached, or speaks nothing that may be spoken.
    pub async fn negotiate(
        &self,
        first: &Operation,
        memory: Option<ServerProfile>,
    ) -> Result<(NegotiatedConnection, Option<RequestOutcome>)> {
        let sse = matches!(&self.target.endpoint, Endpoint::Http(endpoint) if endpoint.mode == HttpMode::Sse);
        match (self.target.protocol, memory) {
            (RevisionPin::Exact(revision), _) if revision.is_modern() && !sse => {
                let open =
                    NegotiatedConnection::confirmed(self.connect().await?, self.modern_era(ServerInfo::default()));
                Ok((NegotiatedConnection { is_unused: true, ..open }, None))
            }
            (RevisionPin::Exact(_) | RevisionPin::Legacy, Some(verdict))
                if verdict.transport == TransportKind::Sse && !sse =>
            {
                self.negotiate_cached_sse(first).await
            }
            (RevisionPin::Exact(_) | RevisionPin::Legacy, _) => Ok((self.negotiate_pinned_legacy().await?, None)),
            (RevisionPin::Auto, _) if sse => Ok((self.negotiate_legacy(self.connect().await?).await?, None)),
            (RevisionPin::Auto, Some(verdict)) if verdict.revision.is_modern() => {
                let open = NegotiatedConnection::confirmed(self.connect().await?, self.modern_era(verdict.server));
                Ok((NegotiatedConnection { is_confirmed: false, is_unused: true, ..open }, None))
            }
            (RevisionPin::Auto, Some(verdict)) => self.negotiate_cached_legacy(first, &verdict).await,
            (RevisionPin::Auto, None) => self.negotiate_uncached(first).await,
        }
    }

    /// Opens the connection in a session that was left open.
    ///
    /// # Errors
    /// When the connection cannot be set up.
    pub async fn resume(&self, left: &DetachedSession) -> Result<NegotiatedConnection> {
        let link = self.connect().await?;
        let era = self.handshake().resume(&link, left).await;
        Ok(NegotiatedConnection::confirmed(link, era))
    }

    async fn negotiate_cached_legacy(
        &self,
        first: &Operation,
        verdict: &ServerProfile,
    ) -> Result<(NegotiatedConnection, Option<RequestOutcome>)> {
        if verdict.transport == TransportKind::Sse {
            return self.negotiate_cached_sse(first).await;
        }
        match self.initialize(self.connect().await?).await? {
            HandshakeResult::Accepted(open) => Ok((open, None)),
            // A process that ends at what it knows does not end because it was asked for something else.
            HandshakeResult::Rejected(link, reply)
                if may_indicate_wrong_era(&reply, &link)
                    && (link.closed_reason().is_none() || link.transport_kind() != TransportKind::Stdio) =>
            {
                link.close(false).await;
                self.negotiate_uncached(first).await
            }
            HandshakeResult::Rejected(link, reply) => self.close_with_failure(link, reply, method::INITIALIZE).await,
        }
    }

    /// Without any memory.
    ///
    /// # Errors
    /// As [`Negotiator::negotiate`].
    pub async fn negotiate_uncached(
        &self,
        first: &Operation,
    ) -> Result<(NegotiatedConnection, Option<RequestOutcome>)> {
        match &self.target.endpoint {
            Endpoint::Http(_) => self.negotiate_http(first).await,
            Endpoint::Stdio(_) | Endpoint::WebSocket(_) | Endpoint::Unix(_) => self.negotiate_stream(first).await,
        }
    }

    pub(super) async fn negotiate_legacy(&self, link: RpcClient) -> Result<NegotiatedConnection> {
        match self.initialize(link).await? {
            HandshakeResult::Accepted(open) => Ok(open),
            HandshakeResult::Rejected(link, reply) => self.close_with_failure(link, reply, method::INITIALIZE).await,
        }
    }

    /// The handshake, to its end where the server takes part in it.
    ///
    /// # Errors
    /// When the server chose a revision that may not be spoken.
    pub(crate) async fn initialize(&self, link: RpcClient) -> Result<HandshakeResult> {
        let handshake = self.handshake();
        match handshake.initialize(&link).await {
            RequestOutcome::Result(result) => {
                self.complete_handshake(handshake, link, &result).await.map(HandshakeResult::Accepted)
            }
            reply => Ok(HandshakeResult::Rejected(link, reply)),
        }
    }

    /// The rest of a handshake that the server has answered with `result`.
    ///
    /// # Errors
    /// When the server chose a revision that may not be spoken.
    pub(crate) async fn complete_handshake(
        &self,
        handshake: Handshake,
        link: RpcClient,
        result: &RawJson,
    ) -> Result<NegotiatedConnection> {
        match handshake.complete(&link, result).await {
            Ok(era) => Ok(NegotiatedConnection::confirmed(link, era)),
            Err(failure) => {
                link.close(false).await;
                Err(failure)
            }
        }
    }

    /// Fails with what `reply` means, after the connection is closed.
    ///
    /// # Errors
    /// Always.
    pub(crate) async fn close_with_failure<T>(&self, link: RpcClient, reply: RequestOutcome, asked: &str) -> Result<T> {
        Err(self.close_and_explain(link, reply, asked).await)
    }

    /// Closes a connection that cannot be used, and says why: what `reply`, the answer to `asked`, means.
    pub(super) async fn close_and_explain(&self, link: RpcClient, reply: RequestOutcome, asked: &str) -> Failure {
        link.close(false).await;
        let mut failure = failure_from_outcome(reply, asked, self.target);
        self.describe_silence(failure.details_mut());
        let failure = self.with_timeout_hint(failure);
        let FailureDetails { hint, is_process_end: ended, .. } = failure.details();
        match hint {
            None if *ended && self.target.is_configured => {
                failure.hint(format!("show how it is started: {}", self.target.config_command_line("get")))
            }
            None if *ended => failure.hint(format!("run it by itself to see why: {}", self.target.shell_command())),
            _ => failure,
        }
    }

    /// Says of a server that is silent from the start just that. What it was asked is our affair, and a cause: who has
    /// a server without `server/discover` would look for the fault there.
    fn describe_silence(&self, failure: &mut FailureDetails) {
        let Some((method, time)) = failure.unanswered else { return };
        // The last request had only the rest of the time.
        let all = self.options.transport.connect_timeout.filter(|_| self.wait_deadline.is_none());
        let time = format_duration(all.unwrap_or(time));
        let start = if matches!(self.target.endpoint, Endpoint::Stdio(_)) { " of its start" } else { "" };
        failure.causes.insert(0, format!("no response to {method}"));
        failure.message = format!("the server did not respond within {time}{start}");
    }

    /// A time-out with the option that gives more time. One that is about something else (a person who logs in) has
    /// said already what may help.
    pub(super) fn with_timeout_hint(&self, failure: Failure) -> Failure {
        let has_other_hint = failure.details().hint.is_some() && !failure.details().suggests_waiting;
        if failure.kind() != ErrorKind::Timeout || has_other_hint {
            return failure;
        }
        let option = if self.wait_deadline.is_some() { "--wait" } else { "--connect-timeout" };
        failure.wait_hint(format!("wait longer with {option} TIME"))
    }
}
