//! What a server's replies tell about its era (digest §1.6): the rules alone, nothing is sent but one probe.

use serde_json::{Map, Value};

use super::era::{Call, Era};
use super::link::{Link, Reply};
use super::modern::supported;
use crate::error::Class;
use crate::protocol::rpc::{Raw, parse_value};
use crate::protocol::views::{ServerInfo, member};
use crate::protocol::{code, meta, method};

/// What a probe told.
pub enum Finding {
    /// It speaks the modern era; the probe's reply can be used where it was the wanted request.
    Modern(ServerInfo),
    /// It may: the result is plausible but bears no mark of the era.
    Unmarked,
    /// It does not; try the handshake.
    NotModern,
    /// Nothing about eras: report it.
    Report,
}

/// What one reply to a modern probe tells about the era.
pub fn finding(reply: &Reply, probe: &Call, link: &Link) -> Finding {
    let is_discover = probe.method == method::DISCOVER;
    match reply {
        Reply::Result(result) => finding_of_result(result, is_discover, probe.method),
        Reply::Error(error, status) => match error.code {
            code::UNSUPPORTED_VERSION => {
                // Only legacy revisions in the list: the handshake (ERA-09).
                let listed = supported(&error.data_value());
                if listed.is_empty() || listed.iter().any(|revision| revision.is_modern()) {
                    Finding::Report
                } else {
                    Finding::NotModern
                }
            }
            code::HEADER_MISMATCH | code::MISSING_CAPABILITY => Finding::Modern(ServerInfo::default()),
            code::METHOD_NOT_FOUND if *status == Some(404) && !is_discover => Finding::Modern(ServerInfo::default()),
            _ => match status {
                Some(status) if is_trouble(*status) => Finding::Report,
                _ => Finding::NotModern,
            },
        },
        Reply::Refused(refusal) => match refusal.status {
            status if is_trouble(status) => Finding::Report,
            202 | 204 | 400..=499 => Finding::NotModern,
            _ => Finding::Report,
        },
        // A child that ends at an unknown first request is an old one (digest §1.7); so is who hangs up.
        Reply::Failed(failure) if !link.wire().is_http() && link.gone().is_some() => match failure.class() {
            Class::Unreachable => Finding::NotModern,
            _ => Finding::Report,
        },
        Reply::Failed(_) => Finding::Report,
    }
}

/// Statuses that say nothing of eras (`ERA-11`): refused credentials, a server or somebody before it that is
/// overloaded, late or broken.
fn is_trouble(status: u16) -> bool {
    matches!(status, 401 | 403 | 407 | 408 | 425 | 429 | 500..)
}

/// Whether the refusal of a probe may be about what was asked for, and not about the era (digest §1.7): lists and
/// `server/discover` have no parameters that could be wrong.
#[must_use]
pub fn may_be_about_itself(reply: &Reply, probe: &Call) -> bool {
    let refused = matches!(reply, Reply::Error(error, _) if error.code == code::INVALID_PARAMS);
    refused && matches!(probe.method, method::RESOURCES_READ | method::PROMPTS_GET)
}

fn finding_of_result(result: &Raw, is_discover: bool, asked: &str) -> Finding {
    let value = || parse_value(result.get()).unwrap_or(Value::Null);
    if is_discover {
        let value = value();
        let Some(listed) = value.get("supportedVersions").and_then(Value::as_array) else { return Finding::NotModern };
        let known = supported(&value);
        let modern = known.iter().any(|revision| revision.is_modern());
        return if modern || (known.is_empty() && !listed.is_empty()) {
            // With nothing mutual the first request says so in the server's own words.
            Finding::Modern(ServerInfo::read(&value))
        } else {
            Finding::NotModern
        };
    }
    let marked = member(result, "resultType").is_some()
        || member(result, "_meta").is_some_and(|meta| member(meta, meta::SERVER_INFO).is_some());
    if marked {
        let mut server = ServerInfo::read(&value());
        server.capabilities = None;
        return Finding::Modern(server);
    }
    let plausible = match asked {
        method::TOOLS_LIST => "tools",
        method::RESOURCES_LIST => "resources",
        method::TEMPLATES_LIST => "resourceTemplates",
        method::PROMPTS_LIST => "prompts",
        method::RESOURCES_READ => "contents",
        method::PROMPTS_GET => "messages",
        _ => return Finding::NotModern,
    };
    if member(result, plausible).is_some() { Finding::Unmarked } else { Finding::NotModern }
}

/// Whether a failure could come from a wrong belief about the era, and not from the operation itself.
#[must_use]
pub fn is_about_era(reply: &Reply, link: &Link) -> bool {
    match reply {
        Reply::Result(_) => false,
        Reply::Error(error, status) => match error.code {
            code::HEADER_MISMATCH | code::MISSING_CAPABILITY => false,
            code::UNSUPPORTED_VERSION => true,
            -32700 | -32602..=-32600 | -32019..=-32000 => !status.is_some_and(is_trouble),
            _ => matches!(status, Some(400 | 404 | 405)),
        },
        Reply::Refused(refusal) => matches!(refusal.status, 400 | 404 | 405 | 406 | 415),
        Reply::Failed(failure) => {
            !link.wire().is_http() && link.gone().is_some() && failure.class() == Class::Unreachable
        }
    }
}

/// Whether a refusal shows that the request was not carried out, whoever refused it: a code or an HTTP status by which
/// a server says that this is no request, or none of its own. What a tool says of itself has other codes.
#[must_use]
pub fn is_unread(reply: &Reply) -> bool {
    match reply {
        Reply::Error(error, status) => match error.code {
            code::PARSE | code::INVALID_REQUEST | code::METHOD_NOT_FOUND | code::UNSUPPORTED_VERSION => true,
            code::INTERNAL => false,
            _ => matches!(status, Some(400 | 404 | 405)),
        },
        Reply::Refused(refusal) => matches!(refusal.status, 400 | 404 | 405 | 406 | 415),
        Reply::Result(_) | Reply::Failed(_) => false,
    }
}

/// Asks a server whose era was only believed whether it speaks the modern one.
pub async fn confirms_modern(link: &Link, era: &dyn Era) -> Option<bool> {
    if link.gone().is_some() {
        return None;
    }
    let discover = Call::read_only(method::DISCOVER, Map::new());
    match era.request(link, &discover).await {
        Reply::Result(result) => Some(matches!(finding_of_result(&result, true, method::DISCOVER), Finding::Modern(_))),
        Reply::Error(error, _) => Some(matches!(error.code, code::HEADER_MISMATCH | code::MISSING_CAPABILITY)),
        Reply::Refused(_) => Some(false),
        Reply::Failed(_) => None,
    }
}
