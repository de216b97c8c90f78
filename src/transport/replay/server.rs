//! A recording as a server, for clients other than mcpipe.

use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::player::{Delivery, Player, play_when_idle};
use super::script::RecordedContent;
use crate::error::Result;
use crate::protocol::rpc::RawJson;

/// Something that a recording answers, for a client of `mcpipe replay`.
pub enum ReplayedOutput {
    /// A message.
    Message(RawJson),
    /// A request, by its ID as JSON, failed in another way than with a JSON-RPC error.
    Failure {
        /// The ID.
        id: String,
        /// What happened to it.
        message: String,
    },
    /// The server ended.
    End,
}

/// A recording that answers the messages of one client.
pub struct ReplayServer {
    player: Arc<Player>,
    outlet: usize,
    deliveries: mpsc::UnboundedReceiver<Delivery>,
}

impl ReplayServer {
    /// Starts to answer.
    ///
    /// # Errors
    /// If the recording shows that the server could not be connected to.
    pub(super) fn start(player: Arc<Player>) -> Result<Self> {
        let (outlet, deliveries) = player.connect()?;
        Ok(ReplayServer { player, outlet, deliveries })
    }

    /// Takes a message of the client.
    pub fn take(&self, message: &RawValue) {
        if let Some(generation) = self.player.take(self.outlet, message) {
            tokio::spawn(play_when_idle(self.player.clone(), generation));
        }
    }

    /// Plays what waits for other requests: the client sends none any more.
    pub fn finish(&self) {
        self.player.play_all();
    }

    /// The next output; `None` for what a client does not see.
    pub async fn next(&mut self) -> Option<ReplayedOutput> {
        let delivery = self.deliveries.recv().await?;
        output(delivery)
    }

    /// The next output that is there already.
    pub fn try_next(&mut self) -> Option<Option<ReplayedOutput>> {
        self.deliveries.try_recv().ok().map(output)
    }
}

fn output(delivery: Delivery) -> Option<ReplayedOutput> {
    let failure = |message: String| delivery.request.clone().map(|id| ReplayedOutput::Failure { id, message });
    match delivery.content {
        RecordedContent::Message { raw, .. } => Some(ReplayedOutput::Message(raw)),
        RecordedContent::Broken(broken) => failure(broken.failure.to_string()),
        RecordedContent::Response(response) => failure(format!("HTTP {}", response.status)),
        RecordedContent::Failed(failed) => match delivery.request.as_ref() {
            Some(_) => failure(failed.to_string()),
            None => Some(ReplayedOutput::End),
        },
        RecordedContent::Warning(_) => None,
    }
}
