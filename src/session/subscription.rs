//! What can be watched, and how an era subscribes to it.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::error::Failure;
use crate::protocol::views::ListKind;
use crate::session::rpc_client::{RequestOutcome, RpcClient};
use crate::transport::BoxFuture;

/// What is to be watched.
#[derive(Clone, Debug, Default)]
pub struct WatchFilter {
    /// Resources, by their URIs.
    pub uris: Vec<String>,
    /// Lists.
    pub lists: Vec<ListKind>,
}

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchedChange {
    /// The resource of this URI, which is one of those watched.
    Resource(String),
    /// A list that is watched.
    Lists,
}

/// What a watcher is told.
#[derive(Debug)]
pub enum WatchEvent {
    /// The subscription stands: what is looked at from now on misses nothing. Of what is named here the
    /// server tells nothing (`MSG-12`).
    Subscribed(Vec<String>),
    /// Something changed.
    Changed(WatchedChange),
    /// The connection was lost; it is opened again after this time.
    Disconnected(Failure, Duration),
}

/// Why a subscription ended.
pub enum SubscriptionEnd {
    /// What it was asked with had no result.
    Rejected(RequestOutcome, &'static str),
    /// It broke, was ended by the server or by the user.
    Failed(Failure),
}

/// How an era subscribes.
pub trait Subscribe {
    /// Subscribes, passes on the news, and says why it ended; ended by the user, the server has been told.
    fn subscribe<'a>(
        &'a self,
        link: &'a RpcClient,
        interest: &'a WatchFilter,
        news: mpsc::Sender<WatchEvent>,
    ) -> BoxFuture<'a, SubscriptionEnd>;
}
