//! The handshake with a legacy server, which is carried out once for all commands.

use serde_json::{Map, Value};

use crate::protocol::json::parse_truncated;
use crate::protocol::method;
use crate::protocol::revision::Revision;
use crate::protocol::rpc::{self, RawJson};
use crate::session::client_handler::{ClientCapabilities, ClientCapability, ClientHandler};

#[derive(Default)]
pub(super) enum SharedHandshake {
    #[default]
    New,
    /// `initialize` was sent with this ID.
    Running {
        id: u64,
        /// The requests that wait for its result: this one and those of other commands.
        waiting: Vec<u64>,
        /// Whether something came that may be its response, but does not name it.
        may_be_answered: bool,
    },
    /// The result of `initialize`, and whether the server knows that it was received.
    Done { result: RawJson, is_confirmed: bool },
}

impl SharedHandshake {
    /// Notes that this request waits for the result. Returns whether it is to be sent: none is on its way, or the
    /// server seems to have answered that one.
    pub(super) fn join(&mut self, request: u64) -> bool {
        match self {
            SharedHandshake::Running { waiting, may_be_answered: false, .. } => {
                waiting.push(request);
                return false;
            }
            SharedHandshake::Running { id, waiting, may_be_answered } => {
                waiting.push(request);
                (*id, *may_be_answered) = (request, false);
            }
            SharedHandshake::New | SharedHandshake::Done { .. } => {
                *self = SharedHandshake::Running { id: request, waiting: vec![request], may_be_answered: false };
            }
        }
        true
    }

    /// Whether this request is the one that was sent, or waits for its result.
    pub(super) fn concerns(&self, request: u64) -> bool {
        matches!(self, SharedHandshake::Running { id, waiting, .. } if *id == request || waiting.contains(&request))
    }

    /// Notes that this request no longer waits. Returns the ID of `initialize` if that ends with it: nothing waits for
    /// it, and it can be abandoned, or the server seems to have answered it. Otherwise a later command gets its result.
    pub(super) fn leave(&mut self, request: u64, can_be_abandoned: bool) -> Option<u64> {
        let SharedHandshake::Running { id, waiting, may_be_answered } = self else { return None };
        let (id, can_end) = (*id, can_be_abandoned || *may_be_answered);
        waiting.retain(|other| *other != request);
        if !waiting.is_empty() || !can_end {
            return None;
        }
        *self = SharedHandshake::New;
        Some(id)
    }

    /// Notes that something came that may be the response to this request, or to any.
    pub(super) fn note_possible_response(&mut self, request: Option<u64>) {
        if let SharedHandshake::Running { id, may_be_answered, .. } = self {
            *may_be_answered |= request.is_none_or(|request| request == *id);
        }
    }

    /// Ends it if this request is the one that was sent. Returns the requests that waited for its result, which is
    /// `None` if it failed.
    pub(super) fn finish(&mut self, request: u64, result: Option<&RawJson>) -> Option<Vec<u64>> {
        let SharedHandshake::Running { id, waiting, .. } = self else { return None };
        if *id != request {
            return None;
        }
        let waiting = std::mem::take(waiting);
        *self = match result {
            Some(result) => SharedHandshake::Done { result: result.clone(), is_confirmed: false },
            None => SharedHandshake::New,
        };
        Some(waiting)
    }
}

/// The members of parameters.
pub(super) fn object(params: Option<&RawJson>) -> Map<String, Value> {
    match params.and_then(|raw| parse_truncated(raw.get())) {
        Some((Value::Object(params), _)) => params,
        _ => Map::new(),
    }
}

/// `initialize` of the session: it declares everything that commands can do, since the server learns it only once. What
/// a command cannot do is refused when the server asks for it.
pub(super) fn initialize_request(id: u64, params: Option<RawJson>) -> String {
    let mut params = object(params.as_ref());
    let revision = params.get("protocolVersion").and_then(Value::as_str).and_then(Revision::parse);
    let all = ClientHandler::new(ClientCapabilities {
        declared_for_lists: ClientCapability::ALL.to_vec(),
        ..ClientCapabilities::default()
    });
    let capabilities = all.declared_capabilities(revision.unwrap_or(Revision::LATEST_LEGACY));
    params.insert("capabilities".to_owned(), capabilities);
    rpc::request(id, method::INITIALIZE, Some(&Value::Object(params).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_is_sent_and_all_that_wait_get_its_result() {
        let mut handshake = SharedHandshake::default();
        assert!(handshake.join(1) && !handshake.join(2) && !handshake.join(3));
        assert_eq!(handshake.leave(3, true), None);
        assert_eq!(handshake.finish(2, None), None, "another request was sent");
        let result = RawJson::default();
        assert_eq!(handshake.finish(1, Some(&result)), Some(vec![1, 2]));
        assert!(matches!(handshake, SharedHandshake::Done { is_confirmed: false, .. }));
    }

    #[test]
    fn it_ends_with_the_last_request_that_waits_if_it_can_be_abandoned() {
        let mut handshake = SharedHandshake::default();
        assert!(handshake.join(1) && !handshake.join(2));
        // A command may give up, and then end.
        assert_eq!((handshake.leave(1, true), handshake.leave(1, true)), (None, None));
        assert!(handshake.concerns(1) && handshake.concerns(2));
        assert_eq!(handshake.leave(2, false), None, "a later command gets its result");
        assert!(!handshake.join(3));
        assert_eq!(handshake.leave(3, true), Some(1));
        assert!(matches!(handshake, SharedHandshake::New));
    }

    #[test]
    fn after_something_that_may_be_its_response_it_is_sent_again() {
        let mut handshake = SharedHandshake::default();
        assert!(handshake.join(1));
        handshake.note_possible_response(Some(7));
        assert!(!handshake.join(2));
        handshake.note_possible_response(None);
        assert!(handshake.join(3) && !handshake.join(4));
        assert_eq!(handshake.finish(1, None), None);
        handshake.note_possible_response(Some(3));
        assert_eq!([1, 2, 3, 4].map(|request| handshake.leave(request, false)), [None, None, None, Some(3)]);
    }
}
