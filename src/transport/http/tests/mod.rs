//! The transport against a scripted server on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod errors;
mod event_streams;
mod pool;
mod post;
mod session;
mod sse;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use super::connect;
use crate::error::Failure;
use crate::protocol::rpc::{RpcMessage, RpcResponse};
use crate::transport::http::scripted_server::endpoint;
use crate::transport::{
    ConnectedTransport, Incoming, IncomingItem, LegacyHttpSession, TransportOptions, UnexpectedResponse,
};

async fn open(url: &str) -> ConnectedTransport {
    connect(&endpoint(url), &TransportOptions::default()).await.unwrap()
}

fn legacy_session(connection: &ConnectedTransport) -> &dyn LegacyHttpSession {
    connection.transport.legacy_session().unwrap()
}

/// The next thing that comes back.
async fn next(connection: &mut ConnectedTransport) -> Incoming {
    tokio::time::timeout(Duration::from_secs(5), connection.incoming.recv()).await.expect("nothing came").unwrap()
}

async fn message(connection: &mut ConnectedTransport) -> (Option<u64>, RpcMessage, Option<u16>) {
    match next(connection).await {
        Incoming { request_id: on, item: IncomingItem::Message(message, status) } => (on, message, status),
        other => panic!("{other:?}"),
    }
}

async fn response(connection: &mut ConnectedTransport) -> (Option<u64>, RpcResponse, Option<u16>) {
    match message(connection).await {
        (on, RpcMessage::Response(response), status) => (on, response, status),
        other => panic!("{other:?}"),
    }
}

async fn refusal(connection: &mut ConnectedTransport) -> UnexpectedResponse {
    match next(connection).await {
        Incoming { request_id: Some(1), item: IncomingItem::UnexpectedResponse(refusal) } => *refusal,
        other => panic!("{other:?}"),
    }
}

async fn next_failure(connection: &mut ConnectedTransport) -> Failure {
    match next(connection).await {
        Incoming { request_id: Some(1), item: IncomingItem::Failed(failure) } => failure,
        other => panic!("{other:?}"),
    }
}

/// Whether nothing has come, and nothing comes for a while.
async fn is_silent(connection: &mut ConnectedTransport) -> bool {
    tokio::time::timeout(Duration::from_millis(150), connection.incoming.recv()).await.is_err()
}
