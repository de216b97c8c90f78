//! `bridge`: a server, or several as one, for clients that start a program and speak to it over stdio.
//!
//! Messages pass through as they came; only request IDs change on the way, and are restored. Where the client and a
//! server are of different eras, messages are translated. Requests to one server are sent in the order in which they
//! came, by a task of its own for each server; what a server sends is written by the task that reads from it. All
//! queues are short, so that each side is read only as fast as the other one takes it.

mod changes;
mod client;
mod client_introduction;
mod connection;
mod dispatch;
mod forward;
mod guard;
mod input;
mod joined;
mod opening;
mod questions;
mod upstream;
mod wire;

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;

use self::client::ClientLink;
use self::client_introduction::ClientIntroduction;
use self::guard::ToolGuard;
use self::input::{ClientInput, InputLine};
use self::joined::JoinedServers;
use self::upstream::{Upstream, UpstreamParts};
use self::wire::{ClientMessage, MessageKind, parse_line};
use crate::cli::BridgeArgs;
use crate::commands::context::{Context, Exit};
use crate::error::{ErrorKind, Failure, Result};
use crate::output::ProtocolOutput;
use crate::protocol::rpc::ParseError;
use crate::protocol::{code, method};
use crate::util::lock::lock;

/// How many messages wait for a server that is being connected or does not read.
const QUEUED_MESSAGES: usize = 64;
/// How long the last messages to the client may take.
const FLUSH_TIMEOUT: std::time::Duration = std::time::Duration::from_millis(200);

/// Runs `bridge`.
///
/// # Errors
/// When a target cannot be resolved, or the client cannot be written to.
pub async fn run(context: &Context, args: BridgeArgs) -> Result<Exit> {
    let mut targets: Vec<(Vec<String>, &[String])> =
        args.targets.iter().map(|word| (vec![word.clone()], &[] as &[String])).collect();
    if !args.command.is_empty() || targets.is_empty() {
        targets.push((Vec::new(), &args.command));
    }
    let is_joined = targets.len() > 1;
    let mut all = Vec::new();
    let mut names = HashSet::new();
    for (words, command) in targets {
        let (target, _) = context.resolve_target(&words, command, false, &args.target_options).await?;
        let name = joined::exposed_server_name(&target);
        if !names.insert(name.clone()) {
            let message = format!("two of the servers have the name '{name}'");
            return Err(Failure::new(ErrorKind::Usage, message)
                .hint("give them different names in the configuration: mcpipe config add NAME TARGET"));
        }
        let guard = ToolGuard::new(&target, args.yes)?;
        let options = context.bridge_options(&target)?;
        let max_list_size = context.max_list_size();
        all.push(UpstreamParts { name, target, options, guard, max_list_size, is_joined });
    }
    let client = Arc::new(ClientLink::new(ProtocolOutput::start()?, context.ui.clone()));
    let client_introduction = Arc::<ClientIntroduction>::default();
    let upstreams: Vec<Arc<Upstream>> = all
        .into_iter()
        .map(|parts| Upstream::new(parts, context.ui.clone(), client.clone(), client_introduction.clone()))
        .collect();
    context.note_awaited_input("messages of an MCP client");
    let bridge = Bridge::start(upstreams, client, client_introduction);
    let outcome = bridge.serve(context).await;
    bridge.end().await;
    outcome
}

/// A message for the task of a server.
enum UpstreamJob {
    /// `initialize`, or the first request of a modern client.
    Introduce(ClientMessage),
    Request(ClientMessage),
    Notification(ClientMessage),
}

struct Bridge {
    upstreams: Vec<Arc<Upstream>>,
    workers: Vec<(mpsc::Sender<UpstreamJob>, JoinHandle<()>)>,
    client: Arc<ClientLink>,
    client_introduction: Arc<ClientIntroduction>,
    joined: Option<Arc<JoinedServers>>,
}

impl Bridge {
    fn start(
        upstreams: Vec<Arc<Upstream>>,
        client: Arc<ClientLink>,
        client_introduction: Arc<ClientIntroduction>,
    ) -> Self {
        let workers = upstreams.iter().map(|upstream| {
            let (sender, jobs) = mpsc::channel(QUEUED_MESSAGES);
            (sender, tokio::spawn(work(upstream.clone(), jobs)))
        });
        let workers = workers.collect();
        let joined = (upstreams.len() > 1)
            .then(|| Arc::new(JoinedServers::new(upstreams.clone(), client.clone(), client_introduction.clone())));
        Bridge { upstreams, workers, client, client_introduction, joined }
    }

    /// Takes the messages of the client until its input ends.
    async fn serve(&self, context: &Context) -> Result<Exit> {
        let mut input = ClientInput::start();
        loop {
            let line = tokio::select! {
                biased;
                failure = context.interrupt.interrupted() => return Err(failure),
                failure = self.client.output().failed() => return Err(failure),
                line = input.next() => line,
            };
            let Some(line) = line else { return Ok(Exit::Done) };
            let take = self.take_line(line);
            tokio::select! {
                biased;
                failure = context.interrupt.interrupted() => return Err(failure),
                failure = self.client.output().failed() => return Err(failure),
                () = take => {}
            }
        }
    }

    async fn take_line(&self, line: InputLine) {
        let messages = match line {
            InputLine::Line(line) if line.trim_ascii().is_empty() => return,
            InputLine::Line(line) => parse_line(line),
            InputLine::TooLong => {
                return self.client.send_error("null", code::INVALID_REQUEST, "the message is too long").await;
            }
        };
        match messages {
            Ok(messages) => {
                for message in messages {
                    self.take_message(message).await;
                }
            }
            Err(ParseError::NotJson) => self.client.send_error("null", code::PARSE_ERROR, "Parse error").await,
            Err(ParseError::NotRpc) => self.client.send_error("null", code::INVALID_REQUEST, "Invalid Request").await,
        }
    }

    async fn take_message(&self, message: ClientMessage) {
        self.client_introduction.observe(&message);
        match &message.kind {
            MessageKind::Response => self.client.take_answer(message),
            MessageKind::Notification(name) => {
                if name == method::CANCELLED
                    && let Some(joined) = &self.joined
                    && joined.cancel(&message)
                {
                    return;
                }
                // Now, since the requests that are being sent may wait for a connection.
                let is_unsent = |id: &str| self.upstreams.iter().any(|upstream| upstream.cancel_unsent(id));
                if name == method::CANCELLED && message.param(&["requestId"]).is_some_and(is_unsent) {
                    return;
                }
                for (upstream, (worker, _)) in self.upstreams.iter().zip(&self.workers) {
                    let job = UpstreamJob::Notification(message.clone());
                    match worker.try_send(job) {
                        Err(TrySendError::Full(job)) if upstream.is_connected() => _ = worker.send(job).await,
                        // A server that is not connected has nothing that this could be about. Requests that wait for
                        // it are canceled above.
                        Err(_) => upstream.options.trace.note("a notification was not passed on: too many are waiting"),
                        Ok(()) => {}
                    }
                }
            }
            // By the bridge itself, which connects to a lost server again with the next request.
            MessageKind::Request(name) if name == method::PING => {
                self.client.send_result_text(message.id(), "{}".into()).await;
            }
            MessageKind::Request(name) => match &self.joined {
                Some(joined) => {
                    if let Some((server, message)) = joined.take_request(message).await {
                        self.queue(server, UpstreamJob::Request(message)).await;
                    }
                }
                None if matches!(name.as_str(), method::INITIALIZE | method::DISCOVER) => {
                    self.queue(0, UpstreamJob::Introduce(message)).await;
                }
                None => self.queue(0, UpstreamJob::Request(message)).await,
            },
        }
    }

    async fn queue(&self, server: usize, job: UpstreamJob) {
        if let Some((worker, _)) = self.workers.get(server) {
            if let UpstreamJob::Request(message) = &job {
                lock(&self.upstreams[server].queued).push(message.id().to_owned());
            }
            let _ = worker.send(job).await;
        }
    }

    /// Ends the connections to the servers.
    async fn end(&self) {
        self.workers.iter().for_each(|(_, worker)| worker.abort());
        let ends = self.upstreams.iter().map(|upstream| upstream.shut_down());
        futures_util::future::join_all(ends).await;
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, self.client.output().flush()).await;
    }
}

/// Sends the messages for one server, in order.
async fn work(upstream: Arc<Upstream>, mut jobs: mpsc::Receiver<UpstreamJob>) {
    while let Some(job) = jobs.recv().await {
        match job {
            UpstreamJob::Introduce(message) => upstream.introduce(message).await,
            UpstreamJob::Request(message) if upstream.take_queued(message.id()) => upstream.forward(message).await,
            // It was canceled.
            UpstreamJob::Request(_) => {}
            UpstreamJob::Notification(message) => upstream.forward_notification(message).await,
        }
    }
}

impl Upstream {
    /// Answers `initialize` or `server/discover` with what the server says about itself.
    async fn introduce(self: &Arc<Self>, message: ClientMessage) {
        if message.method() == method::INITIALIZE {
            self.reset().await;
        } else if self.connected().await.is_some() {
            return self.forward(message).await;
        }
        match self.connect().await {
            Ok(connection) => {
                let introduction = self.introduction_for_client(&connection);
                self.client.send_result_text(message.id(), introduction).await;
            }
            Err(failure) => self.client.send_failure(message.id(), &failure).await,
        }
    }
}
