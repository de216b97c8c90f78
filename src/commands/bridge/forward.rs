//! From the client to a server: requests and notifications, in the form of the server's era.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use super::changes::wait_for_setting;
use super::connection::{ClientRequest, Pending, ServerConnection, transport_method};
use super::upstream::{Upstream, is_session_lost};
use super::wire::{ClientMessage, ParamsEdit};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::views::ListItem;
use crate::protocol::{code, meta, method};
use crate::session::request::RequestOutcome;
use crate::transport::{BoxFuture, OutgoingKind, OutgoingMessage};
use crate::util::lock::lock;

/// The longest message that is kept to be sent again, in bytes.
const MAX_KEPT: usize = 64 << 10;
/// How many requests may be under way at one server.
const MAX_PENDING: usize = 4096;
/// How often a request is sent at most, if it was certainly not carried out.
const MAX_ATTEMPTS: u32 = 2;
/// The requests during which a server may ask for input (2026-07-28, basic/patterns/mrtr, "Supported Requests").
pub const MAY_ASK: [&str; 3] = [method::TOOLS_CALL, method::PROMPTS_GET, method::RESOURCES_READ];

impl Upstream {
    /// Passes a request of the client on. It is answered in any case.
    pub async fn forward(self: &Arc<Self>, message: ClientMessage) {
        self.keep_cancelable(message.id());
        let request = ClientRequest {
            client_id: message.id().to_owned(),
            method: message.method().to_owned(),
            kept: None,
            attempts: 0,
            rounds: 0,
            session: 0,
            is_in_session: false,
        };
        Box::pin(self.send_request(request, message)).await;
    }

    /// Lets the client cancel a request that no connection knows yet, or that is going to be sent again; until
    /// [`Upstream::take_unsent`]. Resolves if it does.
    pub(super) fn keep_cancelable(&self, client_id: &str) -> Arc<Notify> {
        let canceled = Arc::<Notify>::default();
        lock(&self.unsent).insert(client_id.to_owned(), canceled.clone());
        canceled
    }

    /// Ends [`Upstream::keep_cancelable`]. Returns whether the request was not canceled.
    pub(super) fn take_unsent(&self, client_id: &str) -> bool {
        lock(&self.unsent).remove(client_id).is_some()
    }

    /// Sends a request, or answers it without the server.
    pub(super) async fn send_request(self: &Arc<Self>, request: ClientRequest, message: ClientMessage) {
        let id = request.client_id.clone();
        if let Err(failure) = self.try_send(request, message).await
            && self.take_unsent(&id)
        {
            self.client.send_failure(&id, &failure).await;
        }
    }

    async fn try_send(self: &Arc<Self>, mut request: ClientRequest, message: ClientMessage) -> Result<()> {
        let connection = self.connect().await?;
        if request.attempts == 0 {
            self.apply_log_level(&connection, &message).await;
            if !self.take_unsent(&request.client_id) || Box::pin(self.answer_locally(&connection, &message)).await {
                return Ok(());
            }
            self.keep_cancelable(&request.client_id);
        } else if !lock(&self.unsent).contains_key(&request.client_id) {
            return Ok(());
        }
        let subject = match message.method() {
            method::TOOLS_CALL | method::PROMPTS_GET => message.string_param(&["name"]),
            method::RESOURCES_READ => message.string_param(&["uri"]),
            method::TASKS_GET | method::TASKS_UPDATE | method::TASKS_CANCEL => message.string_param(&["taskId"]),
            _ => None,
        };
        let mut headers = self.headers(&connection, message.method(), subject.as_deref());
        if message.method() == method::TOOLS_CALL {
            match Box::pin(self.check_call(&connection, subject.as_deref(), &message)).await {
                Ok(more) => headers.extend(more),
                Err(failure) if failure.kind() == ErrorKind::Refused => {
                    if self.take_unsent(&request.client_id) {
                        self.client.send_refusal(&request.client_id, &failure).await;
                    }
                    return Ok(());
                }
                Err(failure) => return Err(failure),
            }
        }
        if connection.pending_count() >= MAX_PENDING {
            return Err(Failure::new(ErrorKind::Unreachable, "too many requests to the server are in progress"));
        }
        let edit = self.edit(&connection);
        let is_asked =
            connection.is_modern() && !self.client_introduction.is_modern() && MAY_ASK.contains(&message.method());
        if request.kept.is_none() && (message.text().len() <= MAX_KEPT || is_asked) {
            request.kept = Some(message.clone());
        }
        self.remember(&message);
        request.attempts += 1;
        // Held until the request has its headers: while an HTTP session is being opened again, its ID is not known.
        let session = connection.session_number.lock().await;
        request.session = *session;
        request.is_in_session = connection.transport().legacy_session().is_some_and(|http| http.session_id().is_some());
        let request_id = self.next_id();
        let name = transport_method(message.method());
        let client_id = request.client_id.clone();
        let body = message.into_body(Some(&request_id.to_string()), &edit);
        if let Err(refused) = connection.register(request_id, Pending::Client(request)) {
            drop(session);
            let (mut failure, waiting) = *refused;
            failure.details_mut().is_unsent = true;
            if let Pending::Client(request) = waiting
                && self.take_unsent(&client_id)
            {
                self.finish(&connection, request_id, request, RequestOutcome::Failed(failure)).await;
            }
            return Ok(());
        }
        if !self.take_unsent(&client_id) {
            drop(connection.take(request_id));
            return Ok(());
        }
        let message = OutgoingMessage { kind: OutgoingKind::Request(request_id), method: name, body, headers };
        let sent = connection.transport().send(message).await;
        drop(session);
        if let Err(failure) = sent
            && let Some(Pending::Client(request)) = connection.take(request_id)
        {
            self.finish(&connection, request_id, request, RequestOutcome::Failed(failure)).await;
        }
        Ok(())
    }

    /// Remembers what a request sets for the session, to restore it on the next connection.
    fn remember(&self, message: &ClientMessage) {
        match message.method() {
            method::LOGGING_SET_LEVEL => {
                if let Some(level) = message.param(&["level"]) {
                    self.client_introduction.set_log_level(level);
                }
            }
            method::RESOURCES_SUBSCRIBE => lock(&self.subscribed).uris.extend(message.string_param(&["uri"])),
            method::RESOURCES_UNSUBSCRIBE => {
                if let Some(uri) = message.string_param(&["uri"]) {
                    lock(&self.subscribed).uris.remove(&uri);
                }
            }
            _ => {}
        }
    }

    /// The change that a request needs in the server's era.
    fn edit(&self, connection: &ServerConnection) -> ParamsEdit {
        match (self.client_introduction.is_modern(), connection.is_modern()) {
            (false, true) => {
                ParamsEdit { add_meta: Some(self.client_introduction.identity()), ..ParamsEdit::default() }
            }
            (true, false) => ParamsEdit { removes_identity: true, ..ParamsEdit::default() },
            _ => ParamsEdit::default(),
        }
    }

    /// Whether arguments travel in headers.
    pub(super) fn has_headers(connection: &ServerConnection) -> bool {
        connection.is_modern() && connection.is_http()
    }

    /// Checks a call by the rules for tools; the headers that it needs.
    async fn check_call(
        self: &Arc<Self>,
        connection: &ServerConnection,
        tool: Option<&str>,
        message: &ClientMessage,
    ) -> Result<Vec<(String, String)>> {
        // The server may use another one of several.
        let Some(tool) = tool.filter(|_| message.param_count("name") == 1) else {
            return Err(Failure::new(ErrorKind::Refused, "the call does not name one tool"));
        };
        if let Some(failure) = self.guard.denied(tool) {
            return Err(failure);
        }
        let has_headers = Self::has_headers(connection);
        if !self.guard.needs_tool_definitions(has_headers) {
            return Ok(Vec::new());
        }
        let load = async {
            let pages = self.list_pages(method::TOOLS_LIST).await?;
            let mut items = Vec::new();
            for page in &pages {
                let Some(list) = super::wire::member_text(page.get(), "tools") else { continue };
                let list: Vec<&serde_json::value::RawValue> = serde_json::from_str(list).unwrap_or_default();
                items.extend(list.into_iter().map(ListItem::new));
            }
            Ok(items)
        };
        let table = self.guard.table(load, has_headers).await?;
        table.call_headers(&self.guard, tool, message.param(&["arguments"]))
    }

    /// Whether a request may be sent again after this outcome: it was certainly not carried out, or has no effects. Also
    /// if it is too large for that, since the next one depends on what has to change before.
    pub(super) fn is_repeatable(
        connection: &ServerConnection,
        request: &ClientRequest,
        outcome: &RequestOutcome,
    ) -> bool {
        let is_abandoned = connection.is_abandoned.load(Ordering::Relaxed);
        if is_abandoned || request.attempts >= MAX_ATTEMPTS {
            return false;
        }
        match outcome {
            RequestOutcome::Result(_) => false,
            RequestOutcome::Error(error, _) if error.code == Some(code::HEADER_MISMATCH) => {
                Self::has_headers(connection)
            }
            RequestOutcome::Error(..) | RequestOutcome::UnexpectedResponse(_) => {
                !connection.is_modern() && request.is_in_session && is_session_lost(outcome)
            }
            RequestOutcome::Failed(failure) => {
                let details = failure.details();
                // Connecting failed just now.
                let is_lost = details.kind == ErrorKind::Unreachable && details.connect_step.is_none();
                request.kept.is_some() && is_lost && (details.is_unsent || has_no_effects(&request.method))
            }
        }
    }

    /// Sends a request again; see [`Upstream::is_repeatable`].
    pub(super) fn send_again(
        self: Arc<Self>,
        connection: Arc<ServerConnection>,
        mut request: ClientRequest,
        mut outcome: RequestOutcome,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if matches!(&outcome, RequestOutcome::Error(error, _) if error.code == Some(code::HEADER_MISMATCH)) {
                self.guard.forget_table();
            } else if is_session_lost(&outcome) {
                match self.renew_session(&connection, request.session).await {
                    Ok(true) if request.kept.is_none() => outcome = RequestOutcome::Failed(too_large(&request.method)),
                    Ok(true) => {}
                    Ok(false) => request.kept = None,
                    Err(failure) => (request.kept, outcome) = (None, RequestOutcome::Failed(failure)),
                }
            }
            match request.kept.clone() {
                Some(message) => self.send_request(request, message).await,
                None if self.take_unsent(&request.client_id) => {
                    request.attempts = MAX_ATTEMPTS;
                    self.finish(&connection, 0, request, outcome).await;
                }
                None => {}
            }
        })
    }

    /// Passes a notification of the client on.
    pub async fn forward_notification(self: &Arc<Self>, message: ClientMessage) {
        if message.method() == method::CANCELLED {
            return self.cancel(&message).await;
        }
        if message.method() == method::TOOLS_CALL {
            // Without an ID it is not checked by the rules for tools, but a server may carry it out.
            return self.options.trace.note("a tools/call without an ID was not passed on");
        }
        let connection = match self.connected().await {
            Some(connection) => connection,
            // A server that is not connected has nothing that this could be about.
            None => return,
        };
        if connection.is_modern() {
            // Clients of the modern era send no other notifications than cancellations, those of the older ones report
            // the end of the handshake, progress and changed roots, which a modern server does not know.
            if self.client_introduction.is_modern() && !connection.is_http() {
                self.tell(&connection, message.into_body(None, &ParamsEdit::default())).await;
            }
            return;
        }
        let opens_stream = message.method() == method::INITIALIZED;
        // A client that does not wait for the result of `initialize` was faster than the server.
        if opens_stream && connection.is_initialized.swap(true, Ordering::Relaxed) {
            return;
        }
        let body = message.into_body(None, &self.edit(&connection));
        self.tell(&connection, body).await;
        if opens_stream {
            self.listen(&connection).await;
        }
    }

    /// Takes a request from those that wait for the task of the server. Returns false if it was canceled.
    pub fn take_queued(&self, client_id: &str) -> bool {
        let mut queued = lock(&self.queued);
        queued.iter().position(|id| id == client_id).map(|at| queued.remove(at)).is_some()
    }

    /// Cancels a request of the client that the server has not been sent. Returns whether it was one.
    pub fn cancel_unsent(&self, client_id: &str) -> bool {
        self.take_queued(client_id)
            || lock(&self.unsent).remove(client_id).inspect(|canceled| canceled.notify_one()).is_some()
    }

    /// Cancels a request of the client that the server was sent.
    async fn cancel(self: &Arc<Self>, message: &ClientMessage) {
        let Some(client_id) = message.param(&["requestId"]).map(ToOwned::to_owned) else { return };
        // One that came before the server had started.
        if self.client.end_subscription(message) {
            return self.update_wanted();
        }
        // One that was sent, but not carried out.
        if self.cancel_unsent(&client_id) {
            return;
        }
        let Some(connection) = self.connected().await else { return };
        let Some(request_id) = connection.find_client_request(&client_id) else { return };
        // A late response is not passed on; the client does not wait for it (2025-11-25, basic/utilities/cancellation).
        drop(connection.take(request_id));
        if connection.is_modern() && connection.is_http() {
            return connection.transport().abandon(request_id);
        }
        let edit = ParamsEdit {
            set: vec![("requestId", request_id.to_string())],
            removes_identity: self.client_introduction.is_modern() && !connection.is_modern(),
            ..ParamsEdit::default()
        };
        let body = message.clone().into_body(None, &edit);
        let is_http = connection.is_http();
        let cancellation = async move { connection.send_cancellation(request_id, body).await };
        if !is_http {
            return cancellation.await;
        }
        // It has been sent when the server has accepted it, and the server may be stuck.
        let permit = self.cancellations.clone().acquire_owned().await;
        drop(tokio::spawn(async move {
            cancellation.await;
            drop(permit);
        }));
    }

    /// Sets the log level of a legacy server as a modern client asks for it in each request.
    async fn apply_log_level(self: &Arc<Self>, connection: &Arc<ServerConnection>, message: &ClientMessage) {
        if !self.client_introduction.is_modern() || connection.is_modern() {
            return;
        }
        let Some(level) = message.param(&["_meta", meta::LOG_LEVEL]).map(ToOwned::to_owned) else { return };
        self.client_introduction.set_log_level(&level);
        if lock(&connection.log_level).as_ref() != Some(&level) {
            let (this, connection) = (self.clone(), connection.clone());
            wait_for_setting(async move { this.send_log_level(&connection, &level, true).await }).await;
        }
    }

    /// Sets the minimum level of the log messages of a legacy server that has them. `level` is JSON; for `renews` see
    /// [`Upstream::change_setting`].
    pub(super) async fn send_log_level(
        self: &Arc<Self>,
        connection: &Arc<ServerConnection>,
        level: &str,
        renews: bool,
    ) {
        if !self.introduction(connection)["capabilities"]["logging"].is_object() {
            return;
        }
        *lock(&connection.log_level) = Some(level.to_owned());
        let params = format!(r#"{{"level":{level}}}"#);
        if let Some(failure) = self.change_setting(connection, method::LOGGING_SET_LEVEL, &params, renews).await {
            self.warn(&format!("cannot set the log level: {failure}"));
        }
    }
}

/// The failure of a request that is not sent again in the session that was opened.
fn too_large(name: &str) -> Failure {
    let text = format!("the server no longer knows its session (HTTP 404 for {name})");
    let mut failure = Failure::new(ErrorKind::Unreachable, text)
        .cause("another one was opened, but the request is too large to be kept and sent again")
        .hint("send it again");
    failure.details_mut().is_unsent = true;
    failure
}

/// Whether a request of this method changes nothing at the server that matters when it is repeated.
fn has_no_effects(name: &str) -> bool {
    matches!(
        name,
        method::TOOLS_LIST
            | method::RESOURCES_LIST
            | method::TEMPLATES_LIST
            | method::RESOURCES_READ
            | method::PROMPTS_LIST
            | method::PROMPTS_GET
            | method::COMPLETION_COMPLETE
            | method::LOGGING_SET_LEVEL
            | method::RESOURCES_SUBSCRIBE
            | method::DISCOVER
    )
}
