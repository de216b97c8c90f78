//! Detects the era of a server with the fewest round trips, and without a guess that could do harm.
//!
//! A request with effects is never the probe (`ERA-19`). Rejected credentials, overload and time-outs never count as a
//! legacy server (`ERA-11`). The fallback does not depend on a particular error code (`ERA-05`).

pub(crate) mod classify;
mod http;
pub(crate) mod stream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Map;

use crate::error::{ErrorKind, Failure, FailureDetails, Result};
use crate::protocol::method;
use crate::protocol::revision::{Revision, RevisionPin};
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
use crate::session::request::RequestOutcome;
use crate::session::rpc_client::RpcClient;
use crate::target::Target;
use crate::transport::{self, Endpoint, HttpMode, TransportKind};
use crate::util::duration::format_duration;

/// The time for the last attempt to reach a server, even if less is left.
pub(crate) const MIN_ATTEMPT_TIMEOUT: Duration = Duration::from_millis(250);
/// How long to wait for a silent server before the next step is tried on the same connection (`ERA-12`).
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The time limit of an attempt that another one follows: half of the time to connect, at most [`PROBE_TIMEOUT`].
pub(crate) fn probe_timeout(connect_timeout: Option<Duration>) -> Duration {
    connect_timeout.map_or(PROBE_TIMEOUT, |limit| PROBE_TIMEOUT.min(limit / 2))
}

/// A connection whose era is known.
pub struct NegotiatedConnection {
    /// The connection.
    pub rpc: RpcClient,
    /// The era.
    pub era: Box<dyn Era>,
    /// Whether the server itself has shown its era; a cached era is only an assumption until then.
    pub is_confirmed: bool,
    /// Whether no request was sent yet.
    pub is_unused: bool,
    /// Whether the server exited at a request before the handshake, without reading any further.
    pub exits_before_handshake: bool,
}

impl NegotiatedConnection {
    /// A connection to a server that has shown its era.
    pub(crate) fn confirmed(rpc: RpcClient, era: impl Era + 'static) -> Self {
        NegotiatedConnection {
            rpc,
            era: Box::new(era),
            is_confirmed: true,
            is_unused: false,
            exits_before_handshake: false,
        }
    }
}

/// The outcome of a handshake.
pub(crate) enum HandshakeResult {
    /// A connection with a negotiated legacy revision.
    Accepted(NegotiatedConnection),
    /// The server rejected the handshake: the connection, and its response.
    Rejected(RpcClient, RequestOutcome),
}

/// Detects the era of one target.
pub struct Negotiator<'a> {
    /// The target.
    pub target: &'a Target,
    /// The session options.
    pub options: &'a SessionOptions,
    /// The client's side.
    pub client_handler: Arc<ClientHandler>,
    /// When the wait for the server is over, regardless of other time limits.
    pub wait_deadline: Option<Instant>,
    /// When negotiation began: starting the server and negotiating have one time limit, however often a process is
    /// started.
    pub started_at: Instant,
    /// The revision that was last offered with `initialize`.
    pub last_offer: Arc<Mutex<Option<Revision>>>,
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

    /// The time limit of one attempt.
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

    /// Whether all of negotiation has a single time limit; not if the user may have to log in meanwhile.
    fn shares_one_timeout(&self) -> bool {
        matches!(self.target.endpoint.transport_kind(), TransportKind::Stdio | TransportKind::Unix)
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

    /// A modern era whose requests have the time limit of negotiation.
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
            last_offer: self.last_offer.clone(),
        }
    }

    /// Opens the connection. If detecting the era took the wanted request itself, its response is returned too.
    ///
    /// # Errors
    /// If the server cannot be reached, or supports no allowed revision.
    pub async fn negotiate(
        &self,
        first: &Operation,
        cached: Option<ServerProfile>,
    ) -> Result<(NegotiatedConnection, Option<RequestOutcome>)> {
        let sse = matches!(&self.target.endpoint, Endpoint::Http(endpoint) if endpoint.mode == HttpMode::Sse);
        match (self.target.protocol, cached) {
            (RevisionPin::Exact(revision), _) if revision.is_modern() && !sse => {
                let open =
                    NegotiatedConnection::confirmed(self.connect().await?, self.modern_era(ServerInfo::default()));
                Ok((NegotiatedConnection { is_unused: true, ..open }, None))
            }
            (RevisionPin::Exact(_) | RevisionPin::Legacy, Some(profile))
                if profile.transport == TransportKind::Sse && !sse =>
            {
                self.negotiate_cached_sse(first).await
            }
            (RevisionPin::Exact(_) | RevisionPin::Legacy, _) => Ok((self.negotiate_pinned_legacy().await?, None)),
            // It has no negotiation that could be repeated.
            (RevisionPin::Auto, Some(profile)) if matches!(self.target.endpoint, Endpoint::Replay(_)) => {
                Ok((self.open_recording(profile).await?, None))
            }
            (RevisionPin::Auto, _) if sse => Ok((self.negotiate_legacy(self.connect().await?).await?, None)),
            (RevisionPin::Auto, Some(profile)) if profile.revision.is_modern() => {
                let open = NegotiatedConnection::confirmed(self.connect().await?, self.modern_era(profile.server));
                Ok((NegotiatedConnection { is_confirmed: false, is_unused: true, ..open }, None))
            }
            (RevisionPin::Auto, Some(profile)) => self.negotiate_cached_legacy(first, &profile).await,
            (RevisionPin::Auto, None) => self.negotiate_uncached(first).await,
        }
    }

    /// The `server/discover` that finds out the era, and whether it is the request that the caller wants. One with
    /// parameters is not: they could be refused for another reason than the era.
    pub(super) fn discovery(first: &Operation) -> (Operation, bool) {
        if first.method == method::DISCOVER && first.params.is_empty() {
            (first.clone(), true)
        } else {
            (Operation::read_only(method::DISCOVER, Map::new()), false)
        }
    }

    /// Opens a recording whose revision is known.
    async fn open_recording(&self, profile: ServerProfile) -> Result<NegotiatedConnection> {
        let rpc = self.connect().await?;
        if !profile.revision.is_modern() {
            return self.negotiate_legacy(rpc).await;
        }
        let open = NegotiatedConnection::confirmed(rpc, self.modern_era(profile.server));
        Ok(NegotiatedConnection { is_unused: true, ..open })
    }

    /// Opens the connection in a session that was left open.
    ///
    /// # Errors
    /// If the connection cannot be set up.
    pub async fn resume(&self, left: &DetachedSession) -> Result<NegotiatedConnection> {
        let rpc = self.connect().await?;
        let era = self.handshake().resume(&rpc, left).await;
        Ok(NegotiatedConnection::confirmed(rpc, era))
    }

    async fn negotiate_cached_legacy(
        &self,
        first: &Operation,
        profile: &ServerProfile,
    ) -> Result<(NegotiatedConnection, Option<RequestOutcome>)> {
        if profile.transport == TransportKind::Sse {
            return self.negotiate_cached_sse(first).await;
        }
        match self.initialize(self.connect().await?).await? {
            HandshakeResult::Accepted(open) => Ok((open, None)),
            // A process that exits at a request it knows does not do so because of the era.
            HandshakeResult::Rejected(rpc, reply)
                if may_indicate_wrong_era(&reply, &rpc)
                    && (rpc.closed_reason().is_none() || rpc.transport_kind() != TransportKind::Stdio) =>
            {
                rpc.close(false).await;
                self.negotiate_uncached(first).await
            }
            HandshakeResult::Rejected(rpc, reply) => self.close_with_failure(rpc, reply, method::INITIALIZE).await,
        }
    }

    /// Detects the era without a cached profile.
    ///
    /// # Errors
    /// As [`Negotiator::negotiate`].
    pub async fn negotiate_uncached(
        &self,
        first: &Operation,
    ) -> Result<(NegotiatedConnection, Option<RequestOutcome>)> {
        match &self.target.endpoint {
            endpoint if endpoint.transport_kind().is_http() => self.negotiate_http(first).await,
            _ => self.negotiate_stream(first).await,
        }
    }

    pub(super) async fn negotiate_legacy(&self, rpc: RpcClient) -> Result<NegotiatedConnection> {
        match self.initialize(rpc).await? {
            HandshakeResult::Accepted(open) => Ok(open),
            HandshakeResult::Rejected(rpc, reply) => self.close_with_failure(rpc, reply, method::INITIALIZE).await,
        }
    }

    /// Sends `initialize`, and completes the handshake if the server accepts it.
    ///
    /// # Errors
    /// If the server chose a revision that is not allowed.
    pub(crate) async fn initialize(&self, rpc: RpcClient) -> Result<HandshakeResult> {
        let handshake = self.handshake();
        match handshake.initialize(&rpc).await {
            RequestOutcome::Result(result) => {
                self.complete_handshake(handshake, rpc, &result).await.map(HandshakeResult::Accepted)
            }
            reply => Ok(HandshakeResult::Rejected(rpc, reply)),
        }
    }

    /// Completes a handshake with the server's `result`.
    ///
    /// # Errors
    /// If the server chose a revision that is not allowed.
    pub(crate) async fn complete_handshake(
        &self,
        handshake: Handshake,
        rpc: RpcClient,
        result: &RawJson,
    ) -> Result<NegotiatedConnection> {
        match handshake.complete(&rpc, result).await {
            Ok(era) => Ok(NegotiatedConnection::confirmed(rpc, era)),
            Err(failure) => {
                rpc.close(false).await;
                Err(failure)
            }
        }
    }

    /// Closes the connection and fails with the meaning of `reply`.
    ///
    /// # Errors
    /// Always.
    pub(crate) async fn close_with_failure<T>(&self, rpc: RpcClient, reply: RequestOutcome, asked: &str) -> Result<T> {
        Err(self.close_and_explain(rpc, reply, asked).await)
    }

    /// Closes an unusable connection, and returns the failure that `reply`, the response to `asked`, means.
    pub(super) async fn close_and_explain(&self, rpc: RpcClient, reply: RequestOutcome, asked: &str) -> Failure {
        rpc.close(false).await;
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

    /// Describes a server that was silent from the start as such. The method that was sent becomes a cause: for a
    /// server without `server/discover` it would otherwise look like the problem.
    fn describe_silence(&self, failure: &mut FailureDetails) {
        let Some((method, time)) = failure.unanswered else { return };
        // The last request had only the rest of the time.
        let all = self.options.transport.connect_timeout.filter(|_| self.wait_deadline.is_none());
        let time = format_duration(all.unwrap_or(time));
        let start = if self.target.endpoint.transport_kind() == TransportKind::Stdio { " of its start" } else { "" };
        failure.causes.insert(0, format!("no response to {method}"));
        failure.message = format!("the server did not respond within {time}{start}");
    }

    /// A time-out, with the option that sets more time. Other failures, such as during a login, have their own hints.
    fn with_timeout_hint(&self, failure: Failure) -> Failure {
        let has_other_hint = failure.details().hint.is_some() && !failure.details().suggests_waiting;
        if failure.kind() != ErrorKind::Timeout || has_other_hint {
            return failure;
        }
        let options = if self.wait_deadline.is_some() { "--wait TIME" } else { self.options.connect_timeout_options };
        failure.wait_hint(format!("wait longer with {options}"))
    }
}
