//! One request on the wire: what is sent, how its wait ends, and how it ended.

use std::sync::Arc;
use std::time::Duration;

use super::questions::Questions;
use crate::error::Failure;
use crate::protocol::rpc::{Raw, RpcError};
use crate::transport::Refusal;

/// How one request ended.
#[derive(Debug)]
pub enum Reply {
    /// A result, as the server sent it.
    Result(Raw),
    /// A JSON-RPC error, and the HTTP status it came under.
    Error(RpcError, Option<u16>),
    /// An HTTP answer without a JSON-RPC message.
    Refused(Refusal),
    /// No answer: the connection broke, time ran out, the user stopped it.
    Failed(Failure),
}

/// How a server is told that an answer is no longer wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// Not at all (`initialize` is never cancelled, `MSG-05`).
    Never,
    /// By `notifications/cancelled` (`STD-05`, `HTL-09`).
    Notify,
    /// By closing the stream of its answer (`HTM-09`).
    Close,
}

/// One request, ready to go.
pub struct Ask {
    /// Its id, from [`next_id`](super::link::Link::next_id).
    pub id: u64,
    /// The method.
    pub method: &'static str,
    /// The parameters, raw JSON.
    pub params: Option<String>,
    /// Headers that mirror it, over HTTP.
    pub headers: Vec<(String, String)>,
    /// How long to wait; progress starts the clock again. `None` waits for ever.
    pub timeout: Option<Duration>,
    /// What to do when the wait ends without an answer.
    pub cancel: Cancel,
    /// Its own account of what the server asks meanwhile.
    pub questions: Option<Arc<Questions>>,
}
