//! Reads one resource; if it does not exist, suggests the nearest ones.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::Failure;
use crate::error::Result;
use crate::protocol::rpc::RawJson;
use crate::protocol::views::{ListItem, ListKind};
use crate::protocol::{code, method};
use crate::session::operation::Operation;
use crate::session::server_requests::ServerRequestLog;
use crate::session::{CachePolicy, Session};
use crate::target::Target;
use crate::util::quoting::quote;
use crate::util::suggest::nearest_names;

/// Reads one resource. `log` is the log of the server's requests during it, if it is not that of the session.
///
/// # Errors
/// When it cannot be read.
pub async fn read_resource(session: &Session, uri: &str, log: Option<&Arc<ServerRequestLog>>) -> Result<RawJson> {
    let mut params = Map::new();
    params.insert("uri".into(), Value::String(uri.to_owned()));
    let call = Operation::read_only(method::RESOURCES_READ, params).with_mcp_name(uri).with_progress();
    let call = Operation { server_requests: log.cloned(), ..call };
    match session.request(&call).await {
        Ok(result) => Ok(result),
        Err(mut failure) => {
            if failure.details().rpc.is_some() {
                let message = &mut failure.details_mut().message;
                *message = format!("{uri}: {message}");
            }
            Err(suggest_resources(session, uri, failure).await)
        }
    }
}

/// Suggests the nearest resources for one that does not exist (`TOL-08`).
async fn suggest_resources(session: &Session, uri: &str, failure: Failure) -> Failure {
    let Some(error) = &failure.details().rpc else { return failure };
    // A word without a scheme is not a URI: servers fail on it in many ways.
    if uri.contains(':') && !matches!(error.code, Some(code::INVALID_PARAMS | code::RESOURCE_NOT_FOUND)) {
        return failure;
    }
    let Ok(listing) = session.list(ListKind::Resources, CachePolicy::Allow).await else { return failure };
    let entries = listing.parsed_items();
    let is_named = |entry: &&ListItem| entry.name() == uri || entry.title() == Some(uri);
    let ends_so = |entry: &&ListItem| entry.uri().rsplit('/').next() == Some(uri);
    let read = |entry: &ListItem| session.target().command_line("read", &[&quote(entry.uri())]);
    let hint = match entries.iter().find(is_named).or_else(|| entries.iter().find(ends_so)) {
        Some(entry) => format!("use its URI: {}", read(entry)),
        None => match nearest_names(uri, entries.iter().map(ListItem::uri)).first() {
            Some(nearest) => format!("did you mean {nearest} ?"),
            None => match nearest_names(uri, entries.iter().map(ListItem::name)).first() {
                Some(nearest) => entries.iter().find(|entry| entry.name() == *nearest).map_or_else(
                    || list_resources_hint(session.target()),
                    |entry| format!("did you mean {nearest}? {}", read(entry)),
                ),
                None => list_resources_hint(session.target()),
            },
        },
    };
    failure.hint(hint)
}

pub fn list_resources_hint(target: &Target) -> String {
    format!("list resources: {}", target.command_line("read", &[]))
}
