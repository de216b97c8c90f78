//! Reads one resource; if it does not exist, suggests the nearest ones.

use serde_json::{Map, Value};

use crate::error::Failure;
use crate::error::Result;
use crate::protocol::rpc::RawJson;
use crate::protocol::views::ListKind;
use crate::protocol::{code, method};
use crate::session::era::Operation;
use crate::session::{CachePolicy, Session};
use crate::target::Target;
use crate::util::suggest::nearest_names;

/// Reads one resource.
///
/// # Errors
/// When it cannot be read.
pub async fn read_resource(session: &Session, uri: &str) -> Result<RawJson> {
    let mut params = Map::new();
    params.insert("uri".into(), Value::String(uri.to_owned()));
    let call = Operation::read_only(method::RESOURCES_READ, params).with_mcp_name(uri).with_progress();
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
    let unknown = failure.details().rpc.as_ref().and_then(|error| error.code);
    if !matches!(unknown, Some(code::INVALID_PARAMS | code::RESOURCE_NOT_FOUND)) {
        return failure;
    }
    let Ok(listing) = session.list(ListKind::Resources, CachePolicy::Allow).await else { return failure };
    let entries = listing.parsed_items();
    let nearest = nearest_names(uri, entries.iter().map(|entry| entry.uri()));
    let hint = match nearest.first() {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => list_hint(session.target()),
    };
    failure.hint(hint)
}

pub fn list_hint(target: &Target) -> String {
    format!("list resources: {}", target.command_line("read", &[]))
}
