//! Which era a server speaks: the fewest round trips that find out, and no guess that could do harm.
//!
//! Digest §1.6. A request with effects is never the probe (`ERA-19`); refused credentials, overload and
//! time-outs are never taken for an old server (`ERA-11`); the fallback hangs on no particular error
//! code (`ERA-05`).

pub(crate) mod classify;
pub(crate) mod stream;
use std::sync::Arc;
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
use crate::session::era::modern::{ModernEra, offers_modern_revision};
use crate::session::failure::failure_from_outcome;
use crate::session::negotiate::classify::{EraEvidence, classify_reply, may_indicate_wrong_era};
use crate::session::operation::Operation;
use crate::session::options::SessionOptions;
use crate::session::rpc_client::{RequestOutcome, RpcClient};
use crate::target::Target;
use crate::transport::{self, Endpoint, HttpEndpoint, HttpMode, TransportKind, http};
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
    /// Whether the era was guessed from a result without any mark of it.
    pub is_guessed: bool,
    /// Whether nothing was asked of the server yet.
    pub is_unused: bool,
    /// Whether the server ended at a request before the handshake, without reading any further.
    pub exits_before_handshake: bool,
}

/// What came of a list that was sent as the probe.
enum ListProbe {
    /// Its own answer came first.
    Answered(RequestOutcome),
    /// `server/discover` showed the modern era before it was answered.
    Discovered(ServerInfo, RequestOutcome),
    /// It is not waited for: this is the answer to `server/discover`.
    Ignored(RequestOutcome),
}

fn discover() -> Operation {
    Operation::read_only(method::DISCOVER, Map::new())
}

fn is_list(name: &str) -> bool {
    [method::TOOLS_LIST, method::RESOURCES_LIST, method::TEMPLATES_LIST, method::PROMPTS_LIST].contains(&name)
}

impl NegotiatedConnection {
    /// A connection to a server that has shown its era.
    pub(crate) fn confirmed(link: RpcClient, era: impl Era + 'static) -> Self {
        NegotiatedConnection {
            rpc: link,
            era: Box::new(era),
            is_confirmed: true,
            is_guessed: false,
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
    fn attempt_timeout(&self) -> Option<Duration> {
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

    fn attempt_options(&self) -> transport::TransportOptions {
        transport::TransportOptions { connect_timeout: self.attempt_timeout(), ..self.options.transport.clone() }
    }

    fn rpc_client(&self, connection: transport::ConnectedTransport) -> RpcClient {
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

    fn era_with_timeout(&self, timeout: Option<Duration>) -> ModernEra {
        ModernEra::new(self.client_handler.clone(), timeout, ServerInfo::default())
    }

    pub(crate) fn handshake(&self, hasty: bool) -> Handshake {
        Handshake {
            client_handler: self.client_handler.clone(),
            pin: self.target.protocol,
            connect_timeout: self.options.transport.connect_timeout,
            initialize_timeout: self.attempt_timeout(),
            request_timeout: self.options.timeout,
            pipelines_first_request: hasty,
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
            (RevisionPin::Exact(_) | RevisionPin::Legacy, memory) => {
                let hasty = memory.is_some_and(|verdict| !verdict.requires_initialized_ack);
                Ok((self.negotiate_legacy_or_sse(self.connect().await?, hasty).await?, None))
            }
            (RevisionPin::Auto, _) if sse => Ok((self.negotiate_legacy(self.connect().await?, false).await?, None)),
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
        let era = self.handshake(false).resume(&link, left).await;
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
        match self.initialize(self.connect().await?, !verdict.requires_initialized_ack).await? {
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

    /// A server that spoke HTTP+SSE the last time: its stream is opened at once. Where it is none any more, all that
    /// is not pinned is found out anew (`ERA-13`).
    async fn negotiate_cached_sse(&self, first: &Operation) -> Result<(NegotiatedConnection, Option<RequestOutcome>)> {
        let anew = async || match self.target.protocol {
            RevisionPin::Auto => self.negotiate_uncached(first).await,
            RevisionPin::Legacy | RevisionPin::Exact(_) => {
                Ok((self.negotiate_legacy_or_sse(self.connect().await?, false).await?, None))
            }
        };
        let Some(endpoint) = self.sse_candidate() else { return anew().await };
        let link = match http::connect_sse(endpoint, &self.attempt_options()).await {
            Ok(connection) => self.rpc_client(connection),
            Err(failure) if matches!(failure.kind(), ErrorKind::Unreachable | ErrorKind::Protocol) => {
                return anew().await;
            }
            Err(failure) => return Err(self.with_timeout_hint(failure)),
        };
        match self.initialize(link, false).await? {
            HandshakeResult::Accepted(open) => Ok((open, None)),
            HandshakeResult::Rejected(link, RequestOutcome::Failed(failure))
                if !matches!(failure.kind(), ErrorKind::Unreachable | ErrorKind::Protocol) =>
            {
                self.close_with_failure(link, RequestOutcome::Failed(failure), method::INITIALIZE).await
            }
            HandshakeResult::Rejected(link, _) => {
                link.close(false).await;
                anew().await
            }
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

    /// Only a list may be the probe: it has no effects, and no parameters that could be refused for another reason than
    /// the era. Before any other request `server/discover` is asked.
    async fn negotiate_http(&self, first: &Operation) -> Result<(NegotiatedConnection, Option<RequestOutcome>)> {
        let link = self.connect().await?;
        let discover = discover();
        let (probe, reply) = if is_list(first.method) {
            match self.probe_with_list(&link, first).await {
                ListProbe::Answered(reply) => (first, reply),
                ListProbe::Discovered(server, reply) => {
                    return Ok((NegotiatedConnection::confirmed(link, self.modern_era(server)), Some(reply)));
                }
                ListProbe::Ignored(reply) => (&discover, reply),
            }
        } else {
            (&discover, self.probe_era().request(&link, &discover).await)
        };
        let wanted = probe.method == first.method;
        match classify_reply(&reply, probe, &link) {
            EraEvidence::Modern(server) => {
                let era = self.modern_era(server);
                Ok((NegotiatedConnection::confirmed(link, era), wanted.then_some(reply)))
            }
            EraEvidence::Unmarked => {
                let open = NegotiatedConnection::confirmed(link, self.modern_era(ServerInfo::default()));
                Ok((NegotiatedConnection { is_confirmed: false, is_guessed: true, ..open }, wanted.then_some(reply)))
            }
            EraEvidence::NotModern => Ok((self.negotiate_legacy_or_sse(link, false).await?, None)),
            // A list that timed out had the time-out of a request, which its own failure names.
            EraEvidence::Inconclusive if wanted => {
                link.close(false).await;
                Err(failure_from_outcome(reply, probe.method, self.target))
            }
            EraEvidence::Inconclusive => self.close_with_failure(link, reply, probe.method).await,
        }
    }

    /// Sends a list as the probe. It may take as long as any request; if it takes long, `server/discover` is sent on
    /// the side, which must be answered within the connect time-out.
    async fn probe_with_list(&self, link: &RpcClient, list: &Operation) -> ListProbe {
        let limit = self.attempt_timeout();
        let patience = limit.map_or(PROBE_TIMEOUT, |limit| PROBE_TIMEOUT.min(limit / 2));
        let (era, discover) = (self.era_with_timeout(self.options.timeout), discover());
        let mut answer = era.request(link, list);
        loop {
            if let Ok(reply) = tokio::time::timeout(patience, &mut answer).await {
                return ListProbe::Answered(reply);
            }
            if !link.transport().login_in_progress() {
                break;
            }
        }
        let probing = self.era_with_timeout(limit.map(|limit| limit - patience));
        let reply = tokio::select! {
            biased;
            reply = &mut answer => return ListProbe::Answered(reply),
            reply = probing.request(link, &discover) => reply,
        };
        match classify_reply(&reply, &discover, link) {
            EraEvidence::Modern(server) => ListProbe::Discovered(server, answer.await),
            _ => ListProbe::Ignored(reply),
        }
    }

    /// A fresh connection with the handshake done.
    ///
    /// # Errors
    /// When the server does not shake hands.
    pub async fn connect_legacy(&self) -> Result<NegotiatedConnection> {
        self.negotiate_legacy(self.connect().await?, false).await
    }

    /// The handshake at the same URL; HTTP+SSE where the server knows no POST there (`ERA-07`, `ERA-08`).
    async fn negotiate_legacy_or_sse(&self, link: RpcClient, hasty: bool) -> Result<NegotiatedConnection> {
        let (link, reply) = match self.initialize(link, hasty).await? {
            HandshakeResult::Accepted(open) => return Ok(open),
            HandshakeResult::Rejected(link, reply) => (link, reply),
        };
        let (status, mutual) = match &reply {
            RequestOutcome::UnexpectedResponse(refusal) => (Some(refusal.status), false),
            RequestOutcome::Error(error, status) => (*status, offers_modern_revision(error)),
            _ => (None, false),
        };
        if mutual && self.target.protocol == RevisionPin::Auto {
            // It was not itself that refused the probe, but who stood before it while it was starting.
            return Ok(NegotiatedConnection::confirmed(link, self.modern_era(ServerInfo::default())));
        }
        if matches!(status, Some(400 | 404 | 405))
            && !mutual
            && let Some(endpoint) = self.sse_candidate()
            && let Ok(connection) = http::connect_sse(endpoint, &self.attempt_options()).await
        {
            link.close(false).await;
            return self.negotiate_legacy(self.rpc_client(connection), false).await;
        }
        self.close_with_failure(link, reply, method::INITIALIZE).await.map(|(open, _)| open)
    }

    /// The URL, where HTTP+SSE may be spoken there: it has no other revision than 2024-11-05.
    fn sse_candidate(&self) -> Option<&HttpEndpoint> {
        let Endpoint::Http(endpoint) = &self.target.endpoint else { return None };
        let pinned = matches!(self.target.protocol, RevisionPin::Exact(revision) if revision != Revision::V2024_11_05);
        (endpoint.mode == HttpMode::Auto && !pinned).then_some(endpoint)
    }

    async fn negotiate_legacy(&self, link: RpcClient, hasty: bool) -> Result<NegotiatedConnection> {
        match self.initialize(link, hasty).await? {
            HandshakeResult::Accepted(open) => Ok(open),
            HandshakeResult::Rejected(link, reply) => {
                self.close_with_failure(link, reply, method::INITIALIZE).await.map(|(open, _)| open)
            }
        }
    }

    /// The handshake, to its end where the server takes part in it.
    ///
    /// # Errors
    /// When the server chose a revision that may not be spoken.
    pub(crate) async fn initialize(&self, link: RpcClient, hasty: bool) -> Result<HandshakeResult> {
        let handshake = self.handshake(hasty);
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

    pub(crate) async fn close_with_failure(
        &self,
        link: RpcClient,
        reply: RequestOutcome,
        asked: &str,
    ) -> Result<(NegotiatedConnection, Option<RequestOutcome>)> {
        link.close(false).await;
        let mut failure = failure_from_outcome(reply, asked, self.target);
        self.describe_silence(failure.details_mut());
        let failure = self.with_timeout_hint(failure);
        let FailureDetails { hint, is_process_end: ended, .. } = failure.details();
        Err(match hint {
            None if *ended && self.target.is_configured => {
                failure.hint(format!("show how it is started: {}", self.target.config_command_line("get")))
            }
            None if *ended => failure.hint(format!("run it by itself to see why: {}", self.target.shell_command())),
            _ => failure,
        })
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
    fn with_timeout_hint(&self, failure: Failure) -> Failure {
        let has_other_hint = failure.details().hint.is_some() && !failure.details().suggests_waiting;
        if failure.kind() != ErrorKind::Timeout || has_other_hint {
            return failure;
        }
        let option = if self.wait_deadline.is_some() { "--wait" } else { "--connect-timeout" };
        failure.wait_hint(format!("wait longer with {option} TIME"))
    }
}
