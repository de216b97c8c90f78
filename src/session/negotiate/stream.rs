//! Detects the era of a server behind a stream: a child process or a socket. A server may ignore a request that it
//! does not know, or exit; it is restarted at most once.

use crate::error::{ErrorKind, Failure, FailureDetails, Result};
use crate::protocol::{code, method};
use crate::session::era::Era;
use crate::session::failure::mentions_revision;
use crate::session::negotiate::classify::{EraEvidence, classify_reply, may_lack_handshake, primary_refusal};
use crate::session::negotiate::{HandshakeResult, NegotiatedConnection, Negotiator, probe_timeout};
use crate::session::operation::Operation;
use crate::session::request::RequestOutcome;
use crate::session::rpc_client::RpcClient;

/// The response of a server to the probe.
enum StreamProbe {
    /// The response to `server/discover`.
    Discovery(RequestOutcome),
    /// The response to `initialize`; that to `server/discover` did not come, or shows that the server is not modern.
    Handshake(RequestOutcome),
}

impl Negotiator<'_> {
    /// Detects the era over a stream without a cached profile.
    pub(crate) async fn negotiate_stream(
        &self,
        first: &Operation,
    ) -> Result<(NegotiatedConnection, Option<RequestOutcome>)> {
        let rpc = self.connect().await?;
        let (discover, wanted) = Self::discovery(first);
        let reply = match self.probe_stream(&rpc, &discover).await {
            StreamProbe::Discovery(reply) => reply,
            StreamProbe::Handshake(RequestOutcome::Result(result)) => {
                return self.complete_handshake(self.handshake(), rpc, &result).await.map(|open| (open, None));
            }
            StreamProbe::Handshake(refusal) => {
                let ends_early = rpc.closed_reason().is_some();
                let open = self.initialize_stream(rpc, &discover, None, None, Some(refusal)).await?;
                return Ok((NegotiatedConnection { exits_before_handshake: ends_early, ..open }, None));
            }
        };
        match classify_reply(&reply, &discover, &rpc) {
            EraEvidence::Modern(server) => {
                let era = self.modern_era(server);
                Ok((NegotiatedConnection::confirmed(rpc, era), wanted.then_some(reply)))
            }
            EraEvidence::Inconclusive => self.close_with_failure(rpc, reply, method::DISCOVER).await,
            EraEvidence::NotModern | EraEvidence::Unmarked => {
                let ended = rpc.closed_reason();
                let ends_early = ended.is_some();
                let rpc = if ends_early { self.reconnect(rpc).await? } else { rpc };
                let open = self.initialize_stream(rpc, &discover, ended, Some(reply), None).await?;
                Ok((NegotiatedConnection { exits_before_handshake: ends_early, ..open }, None))
            }
        }
    }

    /// Sends `server/discover`, and `initialize` too if that stays unanswered (`ERA-04`, `ERA-12`).
    async fn probe_stream(&self, rpc: &RpcClient, discover: &Operation) -> StreamProbe {
        let probing = self.probe_era();
        let mut probe = probing.request(rpc, discover);
        let patience = probe_timeout(self.attempt_timeout());
        if let Ok(reply) = tokio::time::timeout(patience, &mut probe).await {
            return StreamProbe::Discovery(reply);
        }
        // No response: `initialize` on the same pipe; the first conclusive response counts.
        let handshake = self.handshake();
        let mut hello = Box::pin(handshake.initialize(rpc));
        tokio::select! {
            biased;
            reply = &mut probe => match classify_reply(&reply, discover, rpc) {
                EraEvidence::Modern(_) | EraEvidence::Inconclusive => StreamProbe::Discovery(reply),
                _ => StreamProbe::Handshake(hello.await),
            },
            reply = &mut hello => match reply {
                // A server without a handshake may only be slow.
                RequestOutcome::Error(error, _) if may_lack_handshake(&error) => match probe.await {
                    RequestOutcome::Failed(failure) if failure.kind() == ErrorKind::Timeout => {
                        StreamProbe::Handshake(RequestOutcome::Error(error, None))
                    }
                    reply => StreamProbe::Discovery(reply),
                },
                reply @ (RequestOutcome::Result(_) | RequestOutcome::Error(..)) => StreamProbe::Handshake(reply),
                other => StreamProbe::Discovery(other),
            },
        }
    }

    /// The handshake over a stream, which the server may already have `refused`. A server that `ended` at the probe may
    /// have done so for another reason, so it is asked again if it rejects the handshake. It is restarted at most once.
    /// `first` is the server's response to the probe.
    async fn initialize_stream(
        &self,
        mut rpc: RpcClient,
        probe: &Operation,
        mut ended: Option<Failure>,
        first: Option<RequestOutcome>,
        mut refused: Option<RequestOutcome>,
    ) -> Result<NegotiatedConnection> {
        loop {
            let reply = match refused.take() {
                Some(reply) => reply,
                None => match self.initialize(rpc).await? {
                    HandshakeResult::Accepted(open) => return Ok(open),
                    HandshakeResult::Rejected(back, reply) => {
                        rpc = back;
                        reply
                    }
                },
            };
            if ended.is_none()
                && matches!(reply, RequestOutcome::Error(..) | RequestOutcome::Failed(_))
                && let Some(failure) = rpc.closed_reason()
            {
                // The probe may have disturbed the process or the connection: repeat with a new one.
                rpc = self.reconnect(rpc).await?;
                ended = Some(failure);
                continue;
            }
            if ended.is_some() && matches!(reply, RequestOutcome::Error(..)) {
                let second = self.probe_era().request(&rpc, probe).await;
                if let EraEvidence::Modern(server) = classify_reply(&second, probe, &rpc) {
                    return Ok(NegotiatedConnection::confirmed(rpc, self.modern_era(server)));
                }
                if let (RequestOutcome::Failed(failure), RequestOutcome::Error(error, _)) = (second, &reply)
                    && failure.kind() == ErrorKind::Unreachable
                    && error.code == Some(code::INVALID_PARAMS)
                    && !mentions_revision(error)
                {
                    // Without `_meta`, `initialize` has invalid parameters for a modern server (2026-07-28, basic).
                    let failure = failure.cause(format!("it refused initialize: {error}"));
                    return self.close_with_failure(rpc, RequestOutcome::Failed(failure), probe.method).await;
                }
            }
            let (reply, asked) = primary_refusal(first.map(|first| (first, probe.method)), reply);
            let reply = match (reply, ended) {
                // Its last output explains more than its silence.
                (RequestOutcome::Failed(failure), Some(end)) if failure.kind() == ErrorKind::Timeout => {
                    let FailureDetails { message, stderr_tail, .. } = end.details();
                    let before = format!("at the first request, {message}");
                    RequestOutcome::Failed(failure.cause(before).stderr_tail(stderr_tail.clone()))
                }
                (reply, _) => reply,
            };
            return self.close_with_failure(rpc, reply, asked).await;
        }
    }

    async fn reconnect(&self, rpc: RpcClient) -> Result<RpcClient> {
        rpc.close(false).await;
        self.connect().await
    }
}
