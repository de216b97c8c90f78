//! Derives the era of a server from its responses (2026-07-28, basic/versioning). Sends nothing but one probe.

use serde_json::{Map, Value};

use crate::error::{ErrorKind, Failure, is_temporary_status};
use crate::protocol::json::{member, parse_truncated};
use crate::protocol::revision::{Revision, RevisionPin, supported_revisions};
use crate::protocol::rpc::{RawJson, RpcError};
use crate::protocol::views::ServerInfo;
use crate::protocol::{code, meta, method};
use crate::session::era::Era;
use crate::session::failure::{invalid_result_failure, mentions_revision};
use crate::session::operation::Operation;
use crate::session::request::{RequestOutcome, is_refusal_of_message, is_refusal_of_request};
use crate::session::rpc_client::RpcClient;
use crate::target::Target;
use crate::transport::{Endpoint, HttpEndpoint, HttpMode};

/// What a probe showed.
pub enum EraEvidence {
    /// The modern era. The response can be used if the probe was the wanted request.
    Modern(ServerInfo),
    /// Possibly modern: the result is plausible but has no mark of the modern era.
    Unmarked,
    /// Not modern; try the handshake.
    NotModern,
    /// Nothing about the era: report the response.
    Inconclusive,
}

/// What a response to a modern probe shows about the era.
pub fn classify_reply(reply: &RequestOutcome, probe: &Operation, rpc: &RpcClient) -> EraEvidence {
    let is_discover = probe.method == method::DISCOVER;
    match reply {
        RequestOutcome::Result(result) => classify_result(result, is_discover, probe.method),
        RequestOutcome::Error(error, status) => match error.code {
            Some(code::UNSUPPORTED_VERSION) => {
                // The server lists only legacy revisions: use the handshake (ERA-09).
                let listed = supported_revisions(&error.data_value());
                if listed.is_empty() || listed.iter().any(|revision| revision.is_modern()) {
                    EraEvidence::Inconclusive
                } else {
                    EraEvidence::NotModern
                }
            }
            Some(code::HEADER_MISMATCH | code::MISSING_CAPABILITY) => EraEvidence::Modern(ServerInfo::default()),
            Some(code::METHOD_NOT_FOUND) if *status == Some(404) && !is_discover => {
                EraEvidence::Modern(ServerInfo::default())
            }
            _ => match status {
                Some(status) if says_nothing_about_era(*status) => EraEvidence::Inconclusive,
                _ => EraEvidence::NotModern,
            },
        },
        RequestOutcome::UnexpectedResponse(refusal) => match refusal.status {
            status if says_nothing_about_era(status) => EraEvidence::Inconclusive,
            202 | 204 | 400..=499 | 501 => EraEvidence::NotModern,
            _ => EraEvidence::Inconclusive,
        },
        // A process that exits at an unknown first request is a legacy server (servers of the Rust SDK do this), and
        // so is a server that closes the connection.
        RequestOutcome::Failed(failure) if !rpc.transport_kind().is_http() && rpc.closed_reason().is_some() => {
            match failure.kind() {
                ErrorKind::Unreachable => EraEvidence::NotModern,
                _ => EraEvidence::Inconclusive,
            }
        }
        RequestOutcome::Failed(_) => EraEvidence::Inconclusive,
    }
}

/// Statuses that show nothing about the era (`ERA-11`): credentials, rate limits, and an overloaded, slow or broken
/// server or proxy.
pub(crate) fn says_nothing_about_era(status: u16) -> bool {
    matches!(status, 401 | 403 | 407) || is_temporary_status(status)
}

/// Whether a server that rejects a POST with this status may use HTTP+SSE (`ERA-08`).
pub(crate) fn may_use_sse(status: u16) -> bool {
    matches!(status, 400..=499 | 501) && !says_nothing_about_era(status)
}

/// Whether another transport may work where an attempt over HTTP+SSE failed like this.
pub(crate) fn may_be_other_transport(failure: &Failure) -> bool {
    matches!(failure.kind(), ErrorKind::Unreachable | ErrorKind::Protocol | ErrorKind::Timeout)
}

/// The URL, if HTTP+SSE is possible there: that transport exists only in 2024-11-05.
pub(crate) fn sse_candidate(target: &Target) -> Option<&HttpEndpoint> {
    let Endpoint::Http(endpoint) = &target.endpoint else { return None };
    let pinned = matches!(target.protocol, RevisionPin::Exact(revision) if revision != Revision::V2024_11_05);
    (endpoint.mode == HttpMode::Auto && !pinned).then_some(endpoint)
}

/// The HTTP status of a rejected request.
pub(crate) fn refusal_status(reply: &RequestOutcome) -> Option<u16> {
    match reply {
        RequestOutcome::Error(_, status) => *status,
        RequestOutcome::UnexpectedResponse(response) => Some(response.status),
        RequestOutcome::Result(_) | RequestOutcome::Failed(_) => None,
    }
}

/// The outcome that explains why there is no connection, with its method: the rejection of `initialize`, or the first
/// outcome if `initialize` was only unknown.
pub(super) fn primary_refusal(
    first: Option<(RequestOutcome, &str)>,
    initialize: RequestOutcome,
) -> (RequestOutcome, &str) {
    let knows_no_handshake = |reply: &RequestOutcome| match reply {
        RequestOutcome::Error(error, _) => error.code == Some(code::METHOD_NOT_FOUND),
        RequestOutcome::UnexpectedResponse(response) => matches!(response.status, 404 | 405 | 501),
        RequestOutcome::Result(_) | RequestOutcome::Failed(_) => false,
    };
    match first {
        Some((reply, asked)) if knows_no_handshake(&initialize) && !knows_no_handshake(&reply) => match reply {
            RequestOutcome::Result(result) => (RequestOutcome::Failed(invalid_result_failure(asked, &result)), asked),
            reply => (reply, asked),
        },
        _ => (initialize, method::INITIALIZE),
    }
}

/// Whether the refusal of `initialize` may come from a server of the modern era: it does not know the method, or misses
/// what every request has there.
pub(super) fn may_lack_handshake(error: &RpcError) -> bool {
    let is_known = matches!(
        error.code,
        Some(
            code::METHOD_NOT_FOUND
                | code::INVALID_REQUEST
                | code::INVALID_PARAMS
                | code::UNSUPPORTED_VERSION
                | code::HEADER_MISMATCH
                | code::MISSING_CAPABILITY
        )
    );
    is_known || mentions_revision(error)
}

fn classify_result(result: &RawJson, is_discover: bool, asked: &str) -> EraEvidence {
    let value = || parse_truncated(result.get()).map_or(Value::Null, |(value, _)| value);
    if is_discover {
        let value = value();
        let Some(listed) = value.get("supportedVersions").and_then(Value::as_array) else {
            return EraEvidence::NotModern;
        };
        let known = supported_revisions(&value);
        let modern = known.iter().any(|revision| revision.is_modern());
        return if modern || (known.is_empty() && !listed.is_empty()) {
            // If no revision is supported by both sides, the first request returns the server's own error.
            EraEvidence::Modern(ServerInfo::from_result(&value))
        } else {
            EraEvidence::NotModern
        };
    }
    let marked = member(result, "resultType").is_some()
        || member(result, "_meta").is_some_and(|meta| member(meta, meta::SERVER_INFO).is_some());
    if marked {
        let mut server = ServerInfo::from_result(&value());
        server.capabilities = None;
        return EraEvidence::Modern(server);
    }
    let plausible = match asked {
        method::TOOLS_LIST => "tools",
        method::RESOURCES_LIST => "resources",
        method::TEMPLATES_LIST => "resourceTemplates",
        method::PROMPTS_LIST => "prompts",
        _ => return EraEvidence::NotModern,
    };
    if member(result, plausible).is_some() { EraEvidence::Unmarked } else { EraEvidence::NotModern }
}

/// Whether a failure may come from a wrong cached era rather than from the operation itself.
#[must_use]
pub fn may_indicate_wrong_era(reply: &RequestOutcome, rpc: &RpcClient) -> bool {
    match reply {
        RequestOutcome::Result(_) => false,
        RequestOutcome::Error(error, status) => match error.code {
            Some(code::HEADER_MISMATCH | code::MISSING_CAPABILITY) => false,
            Some(code::UNSUPPORTED_VERSION) => true,
            Some(code)
                if code == code::PARSE_ERROR
                    || (-32602..=-32600).contains(&code)
                    || code::LEFT_TO_SERVERS.contains(&code) =>
            {
                !status.is_some_and(says_nothing_about_era)
            }
            _ => status.is_some_and(is_refusal_of_message),
        },
        RequestOutcome::UnexpectedResponse(refusal) => is_refusal_of_request(refusal.status),
        RequestOutcome::Failed(failure) => {
            !rpc.transport_kind().is_http() && rpc.closed_reason().is_some() && failure.kind() == ErrorKind::Unreachable
        }
    }
}

/// Checks whether a server whose era came from the cache supports the modern era.
pub async fn probe_modern(rpc: &RpcClient, era: &dyn Era) -> Option<bool> {
    if rpc.closed_reason().is_some() {
        return None;
    }
    let discover = Operation::read_only(method::DISCOVER, Map::new());
    match era.request(rpc, &discover).await {
        RequestOutcome::Result(result) => {
            Some(matches!(classify_result(&result, true, method::DISCOVER), EraEvidence::Modern(_)))
        }
        RequestOutcome::Error(error, _) => {
            Some(matches!(error.code, Some(code::HEADER_MISMATCH | code::MISSING_CAPABILITY)))
        }
        RequestOutcome::UnexpectedResponse(_) => Some(false),
        RequestOutcome::Failed(_) => None,
    }
}
