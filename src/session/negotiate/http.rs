//! Detects the era of a server behind a URL. Nothing is connected before a request is sent, and each request has its
//! own response, so that several requests can be tried at the same time.

use crate::error::{ErrorKind, Result};
use crate::protocol::method;
use crate::protocol::revision::RevisionPin;
use crate::protocol::rpc::RawJson;
use crate::protocol::views::ServerInfo;
use crate::session::era::Era;
use crate::session::era::modern::offers_modern_revision;
use crate::session::failure::failure_from_outcome;
use crate::session::negotiate::classify::{
    EraEvidence, classify_reply, may_be_other_transport, may_lack_handshake, may_use_sse, primary_refusal,
    refusal_status, says_nothing_about_era, sse_candidate,
};
use crate::session::negotiate::{HandshakeResult, NegotiatedConnection, Negotiator, probe_timeout};
use crate::session::operation::Operation;
use crate::session::request::RequestOutcome;
use crate::session::rpc_client::RpcClient;
use crate::transport::http::SseConnectError;
use crate::transport::{self, HttpEndpoint, TransportKind, TransportOptions};

/// The outcome of a probe.
enum HttpProbeOutcome {
    /// The response to the probe itself.
    Answered(RequestOutcome),
    /// The response to `server/discover`, which showed the modern era before the probe, a list, was answered.
    Discovered(ServerInfo, RequestOutcome),
    /// The response to `server/discover`; the probe, a list, got none.
    Unanswered(RequestOutcome),
    /// The result of `initialize`; the other responses were not conclusive.
    Initialized(RawJson),
    /// The refusal of `initialize`, for another reason than the era, while `server/discover` was unanswered.
    Refused(RequestOutcome),
}

fn is_list(name: &str) -> bool {
    [method::TOOLS_LIST, method::RESOURCES_LIST, method::TEMPLATES_LIST, method::PROMPTS_LIST].contains(&name)
}

impl Negotiator<'_> {
    /// Detects the era over HTTP without a cached profile.
    pub(super) async fn negotiate_http(
        &self,
        first: &Operation,
    ) -> Result<(NegotiatedConnection, Option<RequestOutcome>)> {
        match self.negotiate_sse_by_url().await? {
            Some(open) => Ok((open, None)),
            None => self.negotiate_streamable(first).await,
        }
    }

    /// Connects with a handshake only: over HTTP+SSE if the URL indicates it, otherwise as
    /// [`Negotiator::negotiate_legacy_or_sse`].
    pub(super) async fn negotiate_pinned_legacy(&self) -> Result<NegotiatedConnection> {
        match self.negotiate_sse_by_url().await? {
            Some(open) => Ok(open),
            None => self.negotiate_legacy_or_sse(self.connect().await?, None).await,
        }
    }

    /// Connects to a server that used HTTP+SSE the last time: opens its stream at once. If there is none, everything
    /// that is not pinned is detected again (`ERA-13`).
    pub(super) async fn negotiate_cached_sse(
        &self,
        first: &Operation,
    ) -> Result<(NegotiatedConnection, Option<RequestOutcome>)> {
        if let Some(endpoint) = sse_candidate(self.target)
            && let Some(open) = self.try_sse(endpoint, self.attempt_options()).await?
        {
            return Ok((open, None));
        }
        match self.target.protocol {
            RevisionPin::Auto => self.negotiate_streamable(first).await,
            RevisionPin::Legacy | RevisionPin::Exact(_) => {
                Ok((self.negotiate_legacy_or_sse(self.connect().await?, None).await?, None))
            }
        }
    }

    /// Uses HTTP+SSE if the path of the URL ends in `/sse`.
    async fn negotiate_sse_by_url(&self) -> Result<Option<NegotiatedConnection>> {
        let Some(endpoint) = sse_candidate(self.target).filter(|endpoint| endpoint.url.path().ends_with("/sse")) else {
            return Ok(None);
        };
        let limit = probe_timeout(self.attempt_timeout());
        let options = TransportOptions { connect_timeout: Some(limit), ..self.attempt_options() };
        self.try_sse(endpoint, options).await
    }

    /// A connection over HTTP+SSE; `None` if the server does not support it.
    ///
    /// # Errors
    /// If something else is wrong, such as credentials.
    async fn try_sse(
        &self,
        endpoint: &HttpEndpoint,
        options: TransportOptions,
    ) -> Result<Option<NegotiatedConnection>> {
        let rpc = match transport::connect_sse(endpoint, &options).await {
            Ok(connection) => self.rpc_client(connection),
            Err(SseConnectError::NoStream(_)) => return Ok(None),
            Err(SseConnectError::Failed(failure)) if may_be_other_transport(&failure) => return Ok(None),
            Err(SseConnectError::Failed(failure)) => return Err(failure),
        };
        match self.initialize(rpc).await? {
            HandshakeResult::Accepted(open) => Ok(Some(open)),
            HandshakeResult::Rejected(rpc, RequestOutcome::Failed(failure)) if !may_be_other_transport(&failure) => {
                self.close_with_failure(rpc, RequestOutcome::Failed(failure), method::INITIALIZE).await
            }
            HandshakeResult::Rejected(rpc, _) => {
                rpc.close(false).await;
                Ok(None)
            }
        }
    }

    /// Only a list can be the probe: it has no effects, and no parameters that could be rejected for another reason
    /// than the era. Before any other request `server/discover` is sent.
    async fn negotiate_streamable(&self, first: &Operation) -> Result<(NegotiatedConnection, Option<RequestOutcome>)> {
        let rpc = self.connect().await?;
        // A session has found it out.
        if rpc.transport_kind() == TransportKind::Sse {
            return Ok((self.negotiate_legacy(rpc).await?, None));
        }
        let (discover, wants_discovery) = Self::discovery(first);
        let probe = if is_list(first.method) { first } else { &discover };
        let (probe, reply) = match self.probe_http(&rpc, probe, &discover).await {
            HttpProbeOutcome::Answered(reply) => (probe, reply),
            HttpProbeOutcome::Unanswered(reply) => (&discover, reply),
            HttpProbeOutcome::Discovered(server, reply) => {
                return Ok((NegotiatedConnection::confirmed(rpc, self.modern_era(server)), Some(reply)));
            }
            HttpProbeOutcome::Initialized(result) => {
                return self.complete_handshake(self.handshake(), rpc, &result).await.map(|open| (open, None));
            }
            HttpProbeOutcome::Refused(refusal) => {
                return self.close_with_failure(rpc, refusal, method::INITIALIZE).await;
            }
        };
        let wanted = if is_list(first.method) { probe.method == first.method } else { wants_discovery };
        match classify_reply(&reply, probe, &rpc) {
            EraEvidence::Modern(server) => {
                let era = self.modern_era(server);
                Ok((NegotiatedConnection::confirmed(rpc, era), wanted.then_some(reply)))
            }
            EraEvidence::Unmarked => {
                let open = self.confirm_unmarked(rpc).await?;
                Ok((open, wanted.then_some(reply)))
            }
            EraEvidence::NotModern => {
                let refusal = Some((reply, probe.method));
                Ok((self.negotiate_legacy_or_sse(rpc, refusal).await?, None))
            }
            EraEvidence::Inconclusive => {
                let failed = refusal_status(&reply) == Some(500);
                let failure = if is_list(probe.method) {
                    // A list that timed out had the time limit of a request, which its own failure names.
                    rpc.close(false).await;
                    failure_from_outcome(reply, probe.method, self.target)
                } else {
                    self.close_and_explain(rpc, reply, probe.method).await
                };
                Err(if failed {
                    failure.hint("see the server's log; if it is an older server, try --protocol legacy")
                } else {
                    failure
                })
            }
        }
    }

    /// Handles a server that answered the probe without a mark of the modern era: a legacy server completes the
    /// handshake, in which it learns the client's capabilities.
    async fn confirm_unmarked(&self, rpc: RpcClient) -> Result<NegotiatedConnection> {
        let (rpc, is_confirmed) = match self.initialize(rpc).await {
            Ok(HandshakeResult::Accepted(open)) => return Ok(open),
            Ok(HandshakeResult::Rejected(rpc, reply)) => {
                let refused = match &reply {
                    RequestOutcome::Error(_, status) => !status.is_some_and(says_nothing_about_era),
                    RequestOutcome::UnexpectedResponse(response) => !says_nothing_about_era(response.status),
                    RequestOutcome::Result(_) | RequestOutcome::Failed(_) => false,
                };
                (rpc, refused)
            }
            // It accepted the handshake for a revision without one.
            Err(_) => (self.connect().await?, false),
        };
        let open = NegotiatedConnection::confirmed(rpc, self.modern_era(ServerInfo::default()));
        Ok(NegotiatedConnection { is_confirmed, ..open })
    }

    /// Sends the probe, which may take as long as any request if it is a list. While the server is silent,
    /// `server/discover` is sent beside a list, and if that gets no response either, `initialize` (`ERA-12`).
    async fn probe_http(&self, rpc: &RpcClient, probe: &Operation, discover: &Operation) -> HttpProbeOutcome {
        let limit = self.attempt_timeout();
        let patience = probe_timeout(limit);
        let probes_with_list = probe.method != discover.method;
        let era = self.era_with_timeout(if probes_with_list { self.options.timeout } else { limit });
        let mut answer = era.request(rpc, probe);
        loop {
            if let Ok(reply) = tokio::time::timeout(patience, &mut answer).await {
                return HttpProbeOutcome::Answered(reply);
            }
            if !rpc.transport().login_in_progress() {
                break;
            }
        }
        let rest = limit.map(|limit| limit - patience);
        let probing = self.era_with_timeout(rest);
        let mut handshake = self.handshake();
        handshake.initialize_timeout = rest;
        let mut discovery = probing.request(rpc, discover);
        let mut hello = Box::pin(async {
            // A server that is only slow at listing answers `server/discover` in this time.
            if probes_with_list {
                tokio::time::sleep(patience / 4).await;
            }
            handshake.initialize(rpc).await
        });
        let (mut discovered, mut rejected) = (None, false);
        loop {
            tokio::select! {
                biased;
                reply = &mut answer => return HttpProbeOutcome::Answered(reply),
                reply = &mut discovery, if probes_with_list && discovered.is_none() => {
                    match classify_reply(&reply, discover, rpc) {
                        EraEvidence::Modern(server) => return HttpProbeOutcome::Discovered(server, answer.await),
                        _ if rejected => return HttpProbeOutcome::Unanswered(reply),
                        _ => discovered = Some(reply),
                    }
                }
                reply = &mut hello, if !rejected => match (reply, discovered.take()) {
                    (RequestOutcome::Result(result), _) => return HttpProbeOutcome::Initialized(result),
                    (_, Some(reply)) => return HttpProbeOutcome::Unanswered(reply),
                    (RequestOutcome::Error(error, status), None)
                        if !probes_with_list && !may_lack_handshake(&error) =>
                    {
                        return HttpProbeOutcome::Refused(RequestOutcome::Error(error, status));
                    }
                    (_, None) => rejected = true,
                },
            }
        }
    }

    /// The handshake at the same URL, or HTTP+SSE if the server accepts no POST there (`ERA-07`, `ERA-08`). `first` is
    /// the server's first response.
    async fn negotiate_legacy_or_sse(
        &self,
        rpc: RpcClient,
        first: Option<(RequestOutcome, &str)>,
    ) -> Result<NegotiatedConnection> {
        let (rpc, reply) = match self.initialize(rpc).await? {
            HandshakeResult::Accepted(open) => return Ok(open),
            HandshakeResult::Rejected(rpc, reply) => (rpc, reply),
        };
        let offers_modern = matches!(&reply, RequestOutcome::Error(error, _) if offers_modern_revision(error));
        if offers_modern && self.target.protocol == RevisionPin::Auto {
            // The probe was rejected not by the server but by a proxy in front of it while it was starting.
            return Ok(NegotiatedConnection::confirmed(rpc, self.modern_era(ServerInfo::default())));
        }
        let mut sse_failure = None;
        let may_speak_sse = refusal_status(&reply).is_some_and(|status| may_use_sse(status) && !offers_modern);
        if may_speak_sse && let Some(endpoint) = sse_candidate(self.target) {
            match transport::connect_sse(endpoint, &self.attempt_options()).await {
                Ok(connection) => {
                    rpc.close(false).await;
                    return self.negotiate_legacy(self.rpc_client(connection)).await;
                }
                Err(SseConnectError::NoStream(_)) => {}
                Err(SseConnectError::Failed(failure)) => sse_failure = Some(failure),
            }
        }
        let (reply, asked) = primary_refusal(first, reply);
        let status = refusal_status(&reply);
        let failure = self.close_and_explain(rpc, reply, asked).await;
        Err(match sse_failure {
            // There is a stream; the reason is that it cannot be used.
            Some(sse) if sse.kind() == ErrorKind::Protocol => match status {
                Some(status) => sse.cause(format!("over Streamable HTTP, the server refused {asked} (HTTP {status})")),
                None => sse,
            },
            Some(sse) if matches!(sse.kind(), ErrorKind::Unreachable | ErrorKind::Timeout) => {
                failure.cause(format!("over HTTP+SSE: {sse}"))
            }
            Some(sse) => sse,
            None => failure,
        })
    }
}
