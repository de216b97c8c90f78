//! The transport against a scripted server on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod faults;
mod pool;
mod post;
mod session;
mod sse;
mod streams;
mod tls;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::connect;
use super::testing::endpoint;
use crate::error::Failure;
use crate::protocol::rpc::{Message, Response};
use crate::transport::trace::{Event, Sink, Trace};
use crate::transport::{Connection, Incoming, Item, Options, Refusal};

async fn open(url: &str) -> Connection {
    connect(&endpoint(url), &Options::default()).await.unwrap()
}

/// The next thing that comes back.
async fn next(connection: &mut Connection) -> Incoming {
    tokio::time::timeout(Duration::from_secs(5), connection.incoming.recv()).await.expect("nothing came").unwrap()
}

async fn message(connection: &mut Connection) -> (Option<u64>, Message, Option<u16>) {
    match next(connection).await {
        Incoming { on, item: Item::Message(message, status) } => (on, message, status),
        other => panic!("{other:?}"),
    }
}

async fn response(connection: &mut Connection) -> (Option<u64>, Response, Option<u16>) {
    match message(connection).await {
        (on, Message::Response(response), status) => (on, response, status),
        other => panic!("{other:?}"),
    }
}

async fn refusal(connection: &mut Connection) -> Refusal {
    match next(connection).await {
        Incoming { on: Some(1), item: Item::Refused(refusal) } => refusal,
        other => panic!("{other:?}"),
    }
}

async fn broken(connection: &mut Connection) -> Failure {
    match next(connection).await {
        Incoming { on: Some(1), item: Item::Broken(failure) } => failure,
        other => panic!("{other:?}"),
    }
}

/// Whether nothing has come, and nothing comes for a while.
async fn silent(connection: &mut Connection) -> bool {
    tokio::time::timeout(Duration::from_millis(150), connection.incoming.recv()).await.is_err()
}

/// Keeps everything the trace shows.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Sink for Log {
    fn record(&self, event: Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

impl Log {
    fn options() -> (Arc<Log>, Options) {
        let log = Arc::new(Log::default());
        (log.clone(), Options { trace: Trace::to(log), ..Options::default() })
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}
