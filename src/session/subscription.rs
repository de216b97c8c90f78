//! What can be watched, and the interface for subscribing in both eras.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::error::Failure;
use crate::protocol::views::ListKind;
use crate::session::request::RequestOutcome;
use crate::session::rpc_client::RpcClient;
use crate::transport::BoxFuture;

/// What to watch.
#[derive(Clone, Debug, Default)]
pub struct WatchFilter {
    /// Resources, by URI.
    pub uris: Vec<String>,
    /// Lists.
    pub lists: Vec<ListKind>,
}

/// A change of something watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchedChange {
    /// The watched resource with this URI.
    Resource(String),
    /// A watched list.
    Lists,
}

/// An event for a watcher.
#[derive(Debug)]
pub enum WatchEvent {
    /// The subscription is active: changes from now on are reported. The server does not report changes of the items
    /// named here (`MSG-12`).
    Subscribed(Vec<String>),
    /// Something changed.
    Changed(WatchedChange),
    /// Notifications were dropped, because they came faster than they were handled, or may be lost, because there was no
    /// stream for them: anything may have changed.
    Missed,
    /// The connection was lost; the next attempt follows after this time.
    Disconnected(Failure, Duration),
}

/// Why a subscription ended.
pub enum SubscriptionEnd {
    /// The subscribe request had no result.
    Rejected(RequestOutcome, &'static str),
    /// It failed, or was ended by the server or the user.
    Failed(Failure),
}

/// How an era subscribes.
pub trait Subscribe {
    /// Subscribes, forwards events, and returns why it ended. If the user ended it, the server was informed.
    fn subscribe<'a>(
        &'a self,
        rpc: &'a RpcClient,
        interest: &'a WatchFilter,
        events: mpsc::Sender<WatchEvent>,
    ) -> BoxFuture<'a, SubscriptionEnd>;
}
