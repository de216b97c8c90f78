//! The connection to the server, which all commands of a session use.

use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::commands::session::shared_handshake::SharedHandshake;
use crate::protocol::method;
use crate::protocol::rpc::RawJson;
use crate::session::era::legacy::INITIALIZED_TIMEOUT;
use crate::transport::{OutgoingKind, OutgoingMessage, Transport};
use crate::util::lock::lock;

/// The maximum size in bytes of the keeper's own answers to the server that it has not taken. Beyond that, nothing more
/// is read from it.
const MAX_ANSWERS: u32 = 8 << 20;
/// The memory that one of them takes in addition to its text.
const ANSWER_OVERHEAD: usize = 8 << 10;

/// A connection to the server.
pub(super) struct KeptConnection {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) handshake: Mutex<SharedHandshake>,
    /// Locked while `initialized` is being sent, and while the stream for requests from the server is being opened.
    initialized: Arc<tokio::sync::Mutex<()>>,
    /// One permit for each byte of [`MAX_ANSWERS`].
    answers: Arc<Semaphore>,
}

impl KeptConnection {
    pub(super) fn new(transport: Arc<dyn Transport>) -> Self {
        let answers = Arc::new(Semaphore::new(MAX_ANSWERS as usize));
        KeptConnection { transport, handshake: Mutex::default(), initialized: Arc::default(), answers }
    }

    /// The result of `initialize`, if the handshake is complete.
    pub(super) fn handshake_result(&self) -> Option<RawJson> {
        match &*lock(&self.handshake) {
            SharedHandshake::Done { result, is_confirmed: true } => Some(result.clone()),
            _ => None,
        }
    }

    /// Sends `initialized` in the background, and then opens the stream for requests from the server, over HTTP.
    pub(super) fn send_initialized(self: &Arc<Self>, line: String) {
        let connection = self.clone();
        let sending = self.initialized.clone().try_lock_owned();
        tokio::spawn(async move {
            let mut sent = connection.send_one_way(method::INITIALIZED, line);
            // Some servers never answer it.
            while timeout(INITIALIZED_TIMEOUT, &mut sent).await.is_err() && connection.transport.login_in_progress() {}
            if let Some(http) = connection.transport.legacy_session() {
                http.listen().await;
            }
            drop(sending);
        });
    }

    /// Waits until `initialized` was sent, if it is being sent, and the stream for requests from the server was opened.
    pub(super) async fn wait_initialized(&self) {
        drop(self.initialized.lock().await);
    }

    /// Answers the server in the background, when it has taken enough of the earlier answers.
    pub(super) async fn answer(self: &Arc<Self>, body: String) {
        let size = u32::try_from(body.len().saturating_add(ANSWER_OVERHEAD)).unwrap_or(u32::MAX).min(MAX_ANSWERS);
        let permit = self.answers.clone().acquire_many_owned(size).await;
        let sent = self.send_one_way("", body);
        tokio::spawn(async move {
            let _ = sent.await;
            drop(permit);
        });
    }

    /// Sends a message without a response in the background. If the server does not take it, its connection ends, or the
    /// next request fails.
    pub(super) fn send_one_way(self: &Arc<Self>, method: &'static str, body: String) -> tokio::task::JoinHandle<()> {
        let connection = self.clone();
        tokio::spawn(async move {
            let message = OutgoingMessage { kind: OutgoingKind::OneWay, method, body, headers: Vec::new() };
            let _ = connection.transport.send(message).await;
        })
    }
}
