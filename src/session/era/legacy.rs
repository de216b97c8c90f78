//! The era with a handshake (2024-11-05 to 2025-11-25): `initialize`, `initialized`, then requests.

use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::{RwLock as Gate, watch};

use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json::parse_truncated;
use crate::protocol::revision::{Revision, RevisionPin, revisions_in, supported_revisions};
use crate::protocol::rpc::RawJson;
use crate::protocol::views::ServerInfo;
use crate::protocol::{code, method, result_shape};
use crate::secret::Secret;
use crate::session::client_handler::ClientHandler;
use crate::session::era::{Era, client_info, request_meta};
use crate::session::failure::{forgotten_session_failure, refused_handshake_failure};
use crate::session::operation::Operation;
use crate::session::operation::push_member;
use crate::session::request::{CancelMode, OutgoingRequest, RequestOutcome};
use crate::session::rpc_client::RpcClient;
use crate::transport::BoxFuture;
use crate::util::lock::lock;

/// How to send `initialize`.
#[derive(Clone)]
pub struct Handshake {
    /// The client's side, for its capabilities.
    pub client_handler: Arc<ClientHandler>,
    /// The revisions that may be negotiated.
    pub pin: RevisionPin,
    /// The time limit for the response.
    pub connect_timeout: Option<Duration>,
    /// The time limit for the first `initialize`, for which the user may have set more time.
    pub initialize_timeout: Option<Duration>,
    /// The time limit of later requests.
    pub request_timeout: Option<Duration>,
    /// The revision that was last offered.
    pub last_offer: Arc<Mutex<Option<Revision>>>,
}

impl Handshake {
    fn offered_revision(&self) -> Revision {
        match self.pin {
            RevisionPin::Exact(revision) => revision,
            RevisionPin::Auto | RevisionPin::Legacy => Revision::LATEST_LEGACY,
        }
    }

    /// Sends `initialize` (`ERA-15`), unless the connection is shared and its handshake is known. A server that refuses
    /// the offered revision is offered the newest one that it names, else the next older one (2025-11-25,
    /// basic/lifecycle, "Version Negotiation"). If none is accepted, this is the first refusal.
    pub async fn initialize(&self, rpc: &RpcClient) -> RequestOutcome {
        rpc.accept_server_requests(true);
        if let Some(result) = rpc.transport().handshake_result() {
            return RequestOutcome::Result(result.clone());
        }
        let mut offered = vec![self.offered_revision()];
        let first = self.send_initialize(rpc, self.offered_revision()).await;
        let mut next = self.next_offer(&first, &offered);
        while let Some(offer) = next {
            offered.push(offer);
            let reply = self.send_initialize(rpc, offer).await;
            if matches!(reply, RequestOutcome::Result(_)) {
                return reply;
            }
            next = self.next_offer(&reply, &offered);
        }
        first
    }

    /// The revision to offer after this refusal; `None` if the refusal cannot be about the revision, or all were
    /// offered.
    fn next_offer(&self, refusal: &RequestOutcome, offered: &[Revision]) -> Option<Revision> {
        if matches!(self.pin, RevisionPin::Exact(_)) {
            return None;
        }
        let (listed, named) = match refusal {
            RequestOutcome::Error(error, None | Some(200 | 400)) if may_be_about_revision(error.code) => {
                let data = error.data_value();
                let listed =
                    data.get("supported").or_else(|| data.get("supportedVersions")).is_some_and(Value::is_array);
                let text = if listed { String::new() } else { format!("{} {data}", error.message) };
                (listed.then(|| supported_revisions(&data)), revisions_in(&text))
            }
            RequestOutcome::UnexpectedResponse(refusal) if refusal.status == 400 => (None, revisions_in(&refusal.body)),
            _ => return None,
        };
        let newest_of = |revisions: &[Revision]| {
            revisions.iter().copied().filter(|one| !one.is_modern() && !offered.contains(one)).max()
        };
        match listed {
            Some(listed) => newest_of(&listed),
            None => newest_of(&named).or_else(|| newest_of(&Revision::ALL)),
        }
    }

    async fn send_initialize(&self, rpc: &RpcClient, offer: Revision) -> RequestOutcome {
        *lock(&self.last_offer) = Some(offer);
        let mut params = json!({
            "protocolVersion": offer.as_str(),
            "capabilities": self.client_handler.declared_capabilities(offer),
            "clientInfo": client_info(),
        });
        if !self.client_handler.request_meta().is_empty() {
            params["_meta"] = Value::Object(self.client_handler.request_meta().clone());
        }
        rpc.request(OutgoingRequest {
            id: rpc.next_id(),
            method: method::INITIALIZE,
            params: Some(params.to_string()),
            headers: Vec::new(),
            timeout: self.initialize_timeout,
            cancel_mode: CancelMode::Never,
            server_requests: None,
        })
        .await
    }

    /// Checks the result of `initialize` and makes the connection ready (`ERA-16`, `ERA-17`).
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if the server chose a revision that is not allowed.
    pub async fn complete(self, rpc: &RpcClient, result: &RawJson) -> Result<LegacyEra> {
        let (revision, server) = self.agreed_revision(result)?;
        set_revision(rpc, revision);
        let legacy = LegacyEra {
            revision: RwLock::new(revision),
            server_info: server,
            session_number: Gate::new(0),
            session_renewed: watch::Sender::new(()),
            handshake: self.with_connect_timeout(),
        };
        legacy.send_initialized(rpc).await;
        Ok(legacy)
    }

    /// Continues a session that an earlier run left open.
    pub async fn resume(self, rpc: &RpcClient, left: &DetachedSession) -> LegacyEra {
        rpc.accept_server_requests(true);
        if let Some(http) = rpc.transport().legacy_session() {
            http.resume_session(&left.session_id);
            http.set_revision(left.revision);
            if self.client_handler.accepts_server_requests() {
                http.listen().await;
            }
        }
        LegacyEra {
            revision: RwLock::new(left.revision),
            server_info: ServerInfo::default(),
            session_number: Gate::new(0),
            session_renewed: watch::Sender::new(()),
            handshake: self.with_connect_timeout(),
        }
    }

    /// For messages that are sent later over the same connection.
    fn with_connect_timeout(self) -> Self {
        Handshake { initialize_timeout: self.connect_timeout, ..self }
    }

    fn agreed_revision(&self, result: &RawJson) -> Result<(Revision, ServerInfo)> {
        if let Some(wrong) = result_shape::shape_error(method::INITIALIZE, result) {
            let message = "the server's response to initialize is malformed";
            return Err(Failure::new(ErrorKind::Protocol, message).cause(wrong).hint("use -v to see what it sent"));
        }
        let value = parse_truncated(result.get()).map_or(Value::Null, |(value, _)| value);
        let name = value.get("protocolVersion").and_then(Value::as_str);
        let server = ServerInfo::from_result(&value);
        let chosen = match name {
            // A server that names no revision uses the offered one.
            None => lock(&self.last_offer).unwrap_or_else(|| self.offered_revision()),
            Some(name) => Revision::parse(name).filter(|revision| !revision.is_modern()).ok_or_else(|| {
                let all = Revision::ALL.map(Revision::as_str).join(", ");
                Failure::new(
                    ErrorKind::Protocol,
                    format!("the server chose revision '{name}', which mcpipe does not support"),
                )
                .cause(format!("mcpipe supports {all}"))
            })?,
        };
        match self.pin {
            RevisionPin::Exact(pinned) if pinned != chosen => Err(Failure::new(
                ErrorKind::Protocol,
                format!("the server chose revision {chosen}, but {pinned} is required"),
            )
            .hint("omit --protocol, or set it to a revision that the server supports")),
            _ => Ok((chosen, server)),
        }
    }
}

/// An HTTP session that was left open for a later run.
#[derive(Clone, Debug)]
pub struct DetachedSession {
    /// Its id.
    pub session_id: Secret,
    /// The negotiated revision.
    pub revision: Revision,
}

/// How long a server may take to respond to `initialized` over HTTP.
pub(crate) const INITIALIZED_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of a legacy connection.
pub struct LegacyEra {
    revision: RwLock<Revision>,
    server_info: ServerInfo,
    /// Counts the sessions; held for writing while a new one is opened, so that no request goes out without a session.
    session_number: Gate<u64>,
    /// Changes when a forgotten session is replaced: its subscriptions are lost.
    pub(crate) session_renewed: watch::Sender<()>,
    pub(crate) handshake: Handshake,
}

impl LegacyEra {
    /// Sends `initialized` and opens the stream for server requests if any are accepted, unless the connection is shared
    /// and another command has done so.
    async fn send_initialized(&self, rpc: &RpcClient) {
        if rpc.transport().handshake_result().is_none() {
            // If the server rejects or ignores the notification, the next request fails.
            let tell = rpc.notify(method::INITIALIZED, None, Vec::new());
            tokio::pin!(tell);
            let timeout = self.handshake.connect_timeout;
            let limit = timeout.map_or(INITIALIZED_TIMEOUT, |limit| limit.min(INITIALIZED_TIMEOUT));
            let accepted = async {
                while tokio::time::timeout(limit, &mut tell).await.is_err() && rpc.transport().login_in_progress() {}
            };
            tokio::select! {
                () = accepted => {}
                // The next request fails with it.
                _ = rpc.wait_interrupted() => return,
            }
            if self.handshake.client_handler.accepts_server_requests()
                && let Some(http) = rpc.transport().legacy_session()
            {
                http.listen().await;
            }
        }
        if let Some(level) = self.handshake.client_handler.log_level() {
            self.set_log_level(rpc, level).await;
        }
    }

    /// Requests log messages, if the server declared logging (`ERA-18`).
    async fn set_log_level(&self, rpc: &RpcClient, level: &str) {
        let client_handler = &self.handshake.client_handler;
        if self.server_info.declares("logging") != Some(true) {
            return client_handler
                .warn("the server does not support logging, so --log-level has no effect on what it sends");
        }
        let mut params = Map::new();
        params.insert("level".into(), level.into());
        let call = Operation::read_only(method::LOGGING_SET_LEVEL, params);
        let timeout = self.handshake.connect_timeout;
        let reply = rpc.request(OutgoingRequest { timeout, ..self.encode_request(rpc, &call) }).await;
        let why = match reply {
            RequestOutcome::Result(_) => return,
            RequestOutcome::Error(error, _) => error.message,
            RequestOutcome::UnexpectedResponse(refusal) => format!("HTTP {}", refusal.status),
            RequestOutcome::Failed(failure) => failure.to_string(),
        };
        client_handler.warn(&format!("the server rejected the log level {level}: {why}"));
    }

    async fn send_request(&self, rpc: &RpcClient, operation: &Operation) -> RequestOutcome {
        rpc.request(self.encode_request(rpc, operation)).await
    }

    /// Sends a request, in a new session if the server has forgotten the old one.
    async fn send_in_session(&self, rpc: &RpcClient, operation: &Operation) -> RequestOutcome {
        let session = *self.session_number.read().await;
        let reply = self.send_request(rpc, operation).await;
        let reply = self.renew_session(rpc, operation, session, reply).await;
        explain_not_found(operation.method, reply)
    }

    /// Opens a new session after the server has forgotten the old one, once for all requests that notice it, and
    /// repeats the request, which was refused before anything was done (`HTL-04`). `session` is the session that the
    /// request was sent in.
    async fn renew_session(
        &self,
        rpc: &RpcClient,
        operation: &Operation,
        session: u64,
        refused: RequestOutcome,
    ) -> RequestOutcome {
        let unknown_session = match &refused {
            RequestOutcome::UnexpectedResponse(refusal) => refusal.status == 404,
            RequestOutcome::Error(_, status) => *status == Some(404),
            _ => false,
        };
        if !unknown_session {
            return refused;
        }
        let mut now = self.session_number.write().await;
        if *now == session {
            let Some(http) = rpc.transport().legacy_session() else { return refused };
            let forgotten = http.session_id();
            if !http.forget_session() {
                return refused;
            }
            if let Err(failure) = self.reinitialize(rpc).await {
                // Refused like this one, the next request opens a session; without a session, it would not.
                forgotten.iter().for_each(|id| http.resume_session(id));
                return RequestOutcome::Failed(failure);
            }
            *now += 1;
        }
        drop(now);
        self.send_request(rpc, operation).await
    }

    /// Repeats the handshake for a new session.
    async fn reinitialize(&self, rpc: &RpcClient) -> Result<()> {
        let agreed = match self.handshake.initialize(rpc).await {
            RequestOutcome::Result(result) => self.handshake.agreed_revision(&result),
            refused => Err(refused_handshake_failure(refused)),
        };
        let (revision, _) = agreed.map_err(|failure| {
            failure.cause("the server no longer knows its session, and no other one could be opened")
        })?;
        if let Ok(mut now) = self.revision.write() {
            *now = revision;
        }
        set_revision(rpc, revision);
        self.send_initialized(rpc).await;
        self.session_renewed.send_replace(());
        Ok(())
    }
}

impl LegacyEra {
    /// Sends a request again after the user has visited the pages that its error (-32042) requires (`ELI-07`).
    async fn retry_after_page_visits(
        &self,
        rpc: &RpcClient,
        operation: &Operation,
        mut reply: RequestOutcome,
    ) -> RequestOutcome {
        // As often as the user agrees.
        while let RequestOutcome::Error(error, _) = &reply
            && error.code == Some(code::URL_ELICITATION_REQUIRED)
        {
            if let Err(failure) = self.handshake.client_handler.visit_required_pages(error).await {
                return RequestOutcome::Failed(failure);
            }
            reply = self.send_in_session(rpc, operation).await;
        }
        reply
    }
}

/// After a successful `initialize`, HTTP 404 is about the session (`HTL-04`), not about the URL.
fn explain_not_found(method: &str, reply: RequestOutcome) -> RequestOutcome {
    match reply {
        RequestOutcome::UnexpectedResponse(response) if response.status == 404 => {
            RequestOutcome::Failed(forgotten_session_failure(&response, method))
        }
        reply => reply,
    }
}

/// Whether an error with this code may be a refusal of the revision that `initialize` offers. The specification shows
/// `INVALID_PARAMS` (2025-11-25, basic/lifecycle, "Error Handling"); servers use others too.
fn may_be_about_revision(code: Option<i64>) -> bool {
    !matches!(code, Some(code::PARSE_ERROR | code::METHOD_NOT_FOUND | code::HEADER_MISMATCH | code::MISSING_CAPABILITY))
}

impl Era for LegacyEra {
    fn revision(&self) -> Revision {
        self.revision.read().map_or(Revision::LATEST_LEGACY, |revision| *revision)
    }

    fn server_info(&self) -> ServerInfo {
        self.server_info.clone()
    }

    fn declares(&self, capability: &str) -> Option<bool> {
        self.server_info.declares(capability)
    }

    fn encode_request(&self, rpc: &RpcClient, operation: &Operation) -> OutgoingRequest {
        let id = rpc.next_id();
        let meta = request_meta(&self.handshake.client_handler, id, operation);
        let mut params = operation.params.unclosed_object_text().to_owned();
        if operation.task_request.is_some_and(|task_request| self.sends_as_task(task_request)) {
            push_member(&mut params, "task", "{}");
        }
        if !meta.is_empty() {
            push_member(&mut params, "_meta", &Value::Object(meta).to_string());
        } else if let Some(own) = operation.params.meta() {
            push_member(&mut params, "_meta", &own.to_string());
        }
        params.push('}');
        OutgoingRequest {
            id,
            method: operation.method,
            params: Some(params).filter(|params| params != "{}"),
            headers: Vec::new(),
            timeout: self.handshake.request_timeout,
            cancel_mode: CancelMode::SendNotification,
            server_requests: operation.server_requests.clone(),
        }
    }

    fn request<'a>(&'a self, rpc: &'a RpcClient, call: &'a Operation) -> BoxFuture<'a, RequestOutcome> {
        Box::pin(async move {
            let reply = self.send_in_session(rpc, call).await;
            let reply = self.retry_after_page_visits(rpc, call, reply).await;
            self.handshake.client_handler.reset_sampling(call.server_requests.as_ref());
            reply
        })
    }
}

/// Over HTTP, the negotiated revision is sent in a header (`HTL-02`).
fn set_revision(rpc: &RpcClient, revision: Revision) {
    if let Some(http) = rpc.transport().legacy_session() {
        http.set_revision(revision);
    }
}
