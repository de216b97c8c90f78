//! A session with one server: one connection, and the requests sent over it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use serde_json::{Map, Value};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::timeout;

use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json::{member, parse_truncated};
use crate::protocol::revision::{Revision, RevisionPin};
use crate::protocol::rpc::RawJson;
use crate::protocol::views::{ListItem, ListKind, ServerInfo};
use crate::protocol::{extension, method};
use crate::session::cache::{ServerCache, ServerProfile};
use crate::session::capabilities::{self, list_hint};
use crate::session::client_handler::{ClientCapability, ClientHandler};
use crate::session::era::Era;
use crate::session::era::legacy::DetachedSession;
use crate::session::failure::{self, failure_from_outcome};
use crate::session::negotiate::NegotiatedConnection;
use crate::session::negotiate::classify::{may_indicate_wrong_era, probe_modern};
use crate::session::operation::Operation;
use crate::session::options::SessionOptions;
use crate::session::request::RequestOutcome;
use crate::session::rpc_client::RpcClient;
use crate::session::server_pause::ServerPause;
use crate::session::server_requests::ServerRequestLog;
use crate::target::Target;
use crate::transport::TransportKind;
use crate::util::duration::format_duration;

/// The server and the protocol of a connection.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// The server's identity.
    pub server: ServerInfo,
    /// The revision in use.
    pub revision: Revision,
    /// The transport in use.
    pub transport: TransportKind,
}

/// A session with one server.
pub struct Session {
    pub(super) target: Target,
    pub(super) options: SessionOptions,
    pub(super) client_handler: Arc<ClientHandler>,
    pub(super) cache: ServerCache,
    pub(super) connection: Mutex<Option<Arc<Connection>>>,
    pub(super) has_failed: AtomicBool,
    /// Whether the server has responded to anything.
    pub(super) has_answered: AtomicBool,
    /// The pause that the server asked for.
    pub(super) pause: ServerPause,
    /// When the wait for the server began.
    pub(super) waiting_since: OnceLock<Instant>,
    /// Whether the server declares skills, once known.
    pub(super) declares_skills: OnceCell<bool>,
    /// Whether the warning about a repeated page was printed.
    pub(super) has_warned_of_repeated_page: AtomicBool,
    /// The session of an earlier run to continue.
    pub(super) detached_session: Option<DetachedSession>,
}

/// An open connection and what is known about its era.
pub(crate) struct Connection {
    pub(super) rpc: RpcClient,
    pub(super) era: Box<dyn Era>,
    is_confirmed: AtomicBool,
    /// Whether the server exits at any request before the handshake.
    exits_before_handshake: bool,
}

impl From<NegotiatedConnection> for Connection {
    fn from(open: NegotiatedConnection) -> Self {
        open.rpc.accept_server_requests(!open.era.revision().is_modern());
        let (confirmed, ends_early) = (AtomicBool::new(open.is_confirmed), open.exits_before_handshake);
        Connection { rpc: open.rpc, era: open.era, is_confirmed: confirmed, exits_before_handshake: ends_early }
    }
}

impl Connection {
    /// Closes a connection that is replaced by another, and the waiting requests fail. Over HTTP the requests in
    /// progress still get their own responses, and the connection ends with the last of them.
    async fn close_unless_http(&self) {
        if self.rpc.transport_kind() != TransportKind::Http {
            self.rpc.close(false).await;
        }
    }
}

impl Session {
    /// A session that has not sent anything yet.
    #[must_use]
    pub fn new(target: Target, options: SessionOptions) -> Self {
        let client_handler = Arc::new(ClientHandler::new(options.capabilities.clone()));
        let cached = ServerCache::for_target(&target, options.cache_dir.as_deref(), options.identity.as_deref())
            .with_capabilities(&options.capabilities.key());
        Session {
            target,
            options,
            client_handler,
            cache: cached,
            connection: Mutex::new(None),
            has_failed: AtomicBool::new(false),
            has_answered: AtomicBool::new(false),
            pause: ServerPause::default(),
            waiting_since: OnceLock::new(),
            declares_skills: OnceCell::new(),
            has_warned_of_repeated_page: AtomicBool::new(false),
            detached_session: None,
        }
    }

    /// Continues a session that was left open by an earlier run.
    #[must_use]
    pub fn resume(mut self, left: Option<DetachedSession>) -> Self {
        #[cfg(unix)]
        if left.is_some() {
            self.options.transport.kept = None;
        }
        self.detached_session = left;
        self
    }

    /// The target of the session.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether another process keeps the connection after this one has ended.
    #[must_use]
    pub fn is_kept_by_keeper(&self) -> bool {
        #[cfg(unix)]
        return self.options.transport.kept.is_some();
        #[cfg(not(unix))]
        false
    }

    /// Saves what the connection showed about the server, if it is new.
    pub(super) fn store_profile(&self, connection: &Connection) {
        if !connection.is_confirmed.load(Ordering::Relaxed) {
            return;
        }
        let server = connection.era.server_info();
        let server = ServerInfo { name: server.name, version: server.version, ..ServerInfo::default() };
        let known = self.cache.profile();
        let ignores_eof = known.as_ref().and_then(|known| known.ignores_eof);
        let profile = ServerProfile {
            revision: connection.era.revision(),
            transport: connection.rpc.transport_kind(),
            server,
            ignores_eof,
        };
        let same = known
            .as_ref()
            .is_some_and(|known| known.revision == profile.revision && known.transport == profile.transport);
        if !same {
            self.cache.store_profile(&profile);
        }
    }

    /// Sends an operation and returns the outcome, whatever it is. Retries if the policy allows it.
    ///
    /// # Errors
    /// If the connection cannot be opened.
    pub async fn send(&self, operation: &Operation) -> Result<RequestOutcome> {
        let reply =
            self.with_retries(operation, async || self.send_once(operation).await, failure::retry_advice).await?;
        let ours = |failure: &Failure| matches!(failure.kind(), ErrorKind::Refused | ErrorKind::Failed);
        if let RequestOutcome::Failed(failure) = &reply
            && !ours(failure)
        {
            self.has_failed.store(true, Ordering::Relaxed);
            self.invalidate_cache(failure);
        }
        Ok(reply)
    }

    async fn send_once(&self, operation: &Operation) -> Result<RequestOutcome> {
        let (connection, reply) = self.connection_for(operation).await?;
        let reply = match reply {
            Some(reply) => reply,
            None => match self.undeclared_failure(&connection, operation) {
                Some(failure) => RequestOutcome::Failed(failure),
                None => connection.era.request(&connection.rpc, operation).await,
            },
        };
        Ok(self.retry_in_other_era(&connection, operation, reply).await)
    }

    /// Sends an operation and returns its result.
    ///
    /// # Errors
    /// If there is no result. The failure says what that means for the user.
    pub async fn request(&self, operation: &Operation) -> Result<RawJson> {
        let reply = self.send(operation).await?;
        self.checked_result(reply, operation)
    }

    /// The result of an operation that was sent.
    ///
    /// # Errors
    /// If there is no result. The failure says what that means for the user.
    pub fn checked_result(&self, reply: RequestOutcome, operation: &Operation) -> Result<RawJson> {
        match reply {
            RequestOutcome::Result(result) => match self.request_log(operation).take_unanswered() {
                // The response does not have the structure of the requested result. That of a declined request has.
                Some(failure) => Err(failure.server(&self.target.name)),
                None => self.check_result_shape(operation.method, result),
            },
            reply => Err(self.operation_failure(reply, operation)),
        }
    }

    /// Sends a notification in the form of the era.
    ///
    /// # Errors
    /// If the connection cannot be opened, or the notification cannot be delivered, or not within the time limit.
    pub async fn notify(&self, notification: &Operation) -> Result<()> {
        self.session_info().await?;
        let (connection, _) = self.connection_for(notification).await?;
        let encoded = connection.era.encode_request(&connection.rpc, notification);
        let sent = connection.rpc.notify(encoded.method, encoded.params.as_deref(), encoded.headers);
        let mut sent = Box::pin(sent);
        let limited = async {
            let Some(limit) = self.options.timeout else { return sent.await };
            loop {
                match timeout(limit, &mut sent).await {
                    Ok(outcome) => return outcome,
                    Err(_) if connection.rpc.transport().login_in_progress() => {}
                    Err(_) => {
                        let time = format_duration(limit);
                        let what = format!("the server did not accept {} within {time}", encoded.method);
                        return Err(Failure::new(ErrorKind::Timeout, what).wait_hint("wait longer with --timeout TIME"));
                    }
                }
            }
        };
        self.options.transport.interrupt.run_until_interrupted(limited).await?
    }

    /// The failure for an outcome without a result. If the user declined, or input could not be given, that is the
    /// failure.
    #[must_use]
    pub fn failure_from(&self, reply: RequestOutcome, asked: &str) -> Failure {
        self.failure_with_server_requests(reply, asked, self.server_requests())
    }

    /// As [`Session::failure_from`], for an operation that may have a log of its own.
    #[must_use]
    pub fn operation_failure(&self, reply: RequestOutcome, operation: &Operation) -> Failure {
        self.failure_with_server_requests(reply, operation.method, self.request_log(operation))
    }

    fn request_log<'a>(&'a self, operation: &'a Operation) -> &'a ServerRequestLog {
        self.client_handler.request_log(operation.server_requests.as_ref())
    }

    /// As [`Session::failure_from`], with the log of the server's requests during the request.
    pub(super) fn failure_with_server_requests(
        &self,
        reply: RequestOutcome,
        asked: &str,
        questions: &ServerRequestLog,
    ) -> Failure {
        let ours = matches!(reply, RequestOutcome::Failed(_));
        let failure = failure_from_outcome(reply, asked, &self.target);
        match questions.take_failure() {
            Some(reason) if !ours => reason.cause(failure.to_string()).server(&self.target.name),
            _ => failure,
        }
    }

    /// Checks a refusal that may come from a wrong era: the cached profile is dropped and the era detected again. Only
    /// if the server turns out to be of the other era, the request is sent again (`ERA-13`).
    pub(super) async fn retry_in_other_era(
        &self,
        connection: &Arc<Connection>,
        operation: &Operation,
        reply: RequestOutcome,
    ) -> RequestOutcome {
        if connection.is_confirmed.load(Ordering::Relaxed) || !connection.era.revision().is_modern() {
            return reply;
        }
        if let RequestOutcome::Result(result) = &reply {
            if member(result, "resultType").is_some() {
                connection.is_confirmed.store(true, Ordering::Relaxed);
                self.store_profile(connection);
            }
            return reply;
        }
        if !may_indicate_wrong_era(&reply, &connection.rpc) {
            return reply;
        }
        let mut open = self.connection.lock().await;
        if let Some(now) = open.as_ref().filter(|now| !Arc::ptr_eq(now, connection)).cloned() {
            // Another request has checked it already.
            drop(open);
            return self.response_after_era_change(&now, operation, reply, None).await;
        }
        if connection.is_confirmed.load(Ordering::Relaxed)
            || probe_modern(&connection.rpc, &self.negotiator().probe_era()).await == Some(true)
        {
            connection.is_confirmed.store(true, Ordering::Relaxed);
            return reply;
        }
        self.cache.clear();
        connection.close_unless_http().await;
        *open = None;
        let Ok((opened, fresh)) = Box::pin(self.negotiator().negotiate_uncached(operation)).await else { return reply };
        let connection = Arc::new(Connection::from(opened));
        self.store_profile(&connection);
        self.options.transport.recorder.record_revision(connection.era.revision());
        *open = Some(connection.clone());
        drop(open);
        self.response_after_era_change(&connection, operation, reply, fresh).await
    }

    /// The response to a refused request from a server that is now known to be of the other era (`now`): the request is
    /// sent again, unless it was carried out before. `fresh` is the response if detecting the era took the request.
    async fn response_after_era_change(
        &self,
        now: &Connection,
        operation: &Operation,
        refused: RequestOutcome,
        fresh: Option<RequestOutcome>,
    ) -> RequestOutcome {
        // A legacy server answers in the handshake what `server/discover` asks for.
        if now.era.revision().is_modern() || operation.method == method::DISCOVER {
            return refused;
        }
        // A lenient server may have carried out the call before it refused it.
        let unread =
            refused.was_not_processed() || (matches!(refused, RequestOutcome::Failed(_)) && now.exits_before_handshake);
        if operation.has_effects && !unread {
            let what = "the server now uses another kind of protocol revision; the call was not sent again";
            self.client_handler.warn(&format!("{what}, as it may have been carried out"));
            return refused;
        }
        match fresh {
            Some(reply) => reply,
            None => now.era.request(&now.rpc, operation).await,
        }
    }

    /// The server and the protocol; sends a request only if they are not known.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn session_info(&self) -> Result<SessionInfo> {
        self.session_info_from(Operation::read_only(method::DISCOVER, Map::new())).await
    }

    /// As [`Session::session_info`], with this `server/discover` request.
    pub(super) async fn session_info_from(&self, discover: Operation) -> Result<SessionInfo> {
        let (connection, mut reply) = self.connection_for(&discover).await?;
        if connection.era.revision().is_modern() && reply.is_none() {
            reply = Some(
                self.retry_in_other_era(
                    &connection,
                    &discover,
                    connection.era.request(&connection.rpc, &discover).await,
                )
                .await,
            );
        }
        let (connection, _) = self.connection_for(&discover).await?;
        let (mut server, revision, transport) =
            (connection.era.server_info(), connection.era.revision(), connection.rpc.transport_kind());
        let discovered = match reply {
            Some(RequestOutcome::Result(result)) if revision.is_modern() => Some(result),
            Some(reply) if revision.is_modern() => return Err(self.failure_from(reply, method::DISCOVER)),
            _ => None,
        };
        if let Some((value, _)) = discovered.as_ref().and_then(|raw| parse_truncated(raw.get())) {
            server = ServerInfo::from_result(&value);
        }
        Ok(SessionInfo { server, revision, transport })
    }

    /// What is known without a request: identity, revision and transport of an open connection.
    pub async fn connection_info(&self) -> Option<(ServerInfo, Revision, TransportKind)> {
        let open = self.connection.lock().await;
        open.as_ref().map(|connection| {
            (connection.era.server_info(), connection.era.revision(), connection.rpc.transport_kind())
        })
    }

    /// Whether the connected server may offer this kind of list; false if its declared capabilities rule it out.
    pub async fn may_offer_list(&self, kind: ListKind) -> bool {
        self.connection_info().await.is_none_or(|(server, _, _)| server.declares(kind.capability()) != Some(false))
    }

    /// Whether the server uses the modern era, by its connection or the cache; `None` if unknown.
    pub async fn is_modern(&self) -> Option<bool> {
        match self.connection_info().await {
            Some((_, revision, _)) => Some(revision.is_modern()),
            None => match self.target.protocol {
                RevisionPin::Exact(revision) => Some(revision.is_modern()),
                RevisionPin::Legacy => Some(false),
                RevisionPin::Auto => self.cache.profile().map(|profile| profile.revision.is_modern()),
            },
        }
    }

    /// Whether the server said that this list has changed since it was last fetched (`MSG-11`).
    #[must_use]
    pub fn has_list_changed(&self, kind: ListKind) -> bool {
        self.client_handler.changed_lists().contains(&kind)
    }

    /// What is known of the server's requests, apart from those that belong to a call with a log of its own.
    #[must_use]
    pub fn server_requests(&self) -> &ServerRequestLog {
        &self.client_handler.server_requests
    }

    /// The failure for a feature that the server does not offer.
    #[must_use]
    pub fn not_offered_failure(&self, what: &str) -> Failure {
        Failure::new(ErrorKind::Failed, format!("the server offers no {what}")).server(&self.target.name)
    }

    /// Why a request is not sent: a legacy server declared its capabilities, and this one is missing (`ERA-18`). A
    /// server that declared nothing may support anything.
    fn undeclared_failure(&self, connection: &Connection, operation: &Operation) -> Option<Failure> {
        let (capability, what) = capabilities::method_capability(operation.method)?;
        if operation.ignores_capabilities || connection.era.revision().is_modern() {
            return None;
        }
        if connection.era.declares(capability) != Some(false) {
            return None;
        }
        let server = connection.era.server_info();
        // Skill files are read like resources.
        let extensions = server.capabilities.as_ref().and_then(|all| all.get("extensions"));
        let skills = extensions.and_then(|all| all.get(extension::SKILLS)).is_some_and(Value::is_object);
        let reads_skills = skills && operation.method == method::RESOURCES_READ;
        (!reads_skills).then(|| self.not_offered_failure(what).hint(list_hint(&self.target)))
    }

    /// The capabilities that are not declared to the server.
    #[must_use]
    pub fn undeclared_capabilities(&self) -> Vec<ClientCapability> {
        let capabilities = &self.client_handler.capabilities;
        ClientCapability::ALL.into_iter().filter(|one| !capabilities.declares(*one)).collect()
    }

    /// Whether the server listed this tool for other client capabilities.
    #[must_use]
    pub fn lists_tool_for_other_capabilities(&self, name: &str) -> bool {
        let others = self.cache.lists_for_other_capabilities(ListKind::Tools);
        others.iter().flatten().any(|tool| ListItem::new(tool).name() == name)
    }
}
