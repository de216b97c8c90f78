//! The era with a handshake (2024-11-05 to 2025-11-25): `initialize`, `initialized`, then requests.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, MutexGuard, Notify, RwLock as Gate};

use super::era::{Call, Era, client_info, meta_with_progress};
use super::finding::is_unread;
use super::input::MAX_ROUNDS;
use super::link::{Ask, Cancel, Link, Reply};
use super::peer::Peer;
use crate::error::{Class, Failure, Result};
use crate::protocol::revision::{Pin, Revision};
use crate::protocol::rpc::{Raw, parse_value};
use crate::protocol::views::ServerInfo;
use crate::protocol::{code, method};
use crate::secret::Secret;
use crate::transport::{Boxed, Wire};

/// How `initialize` is to be done.
#[derive(Clone)]
pub struct Handshake {
    /// Our side, for the capabilities.
    pub peer: Arc<Peer>,
    /// Which revisions may be agreed upon.
    pub pin: Pin,
    /// How long to wait for the answer.
    pub connect_timeout: Option<Duration>,
    /// The same for this first time, of which the user may have told how long it may take.
    pub patience: Option<Duration>,
    /// How long later requests wait.
    pub timeout: Option<Duration>,
    /// Whether the first request may go out beside `initialized`.
    pub hasty: bool,
}

impl Handshake {
    fn offer(&self) -> Revision {
        match self.pin {
            Pin::Exact(revision) => revision,
            Pin::Auto | Pin::Legacy => Revision::LATEST_LEGACY,
        }
    }

    /// Sends `initialize` (`ERA-15`); the reply as it came.
    pub async fn initialize(&self, link: &Link) -> Reply {
        link.answer_requests(true);
        let mut offer = self.offer();
        let first = self.offer_once(link, offer).await;
        let Reply::Error(error, status) = first else { return first };
        // A server that lists what it speaks gets one more try (digest §1.6).
        let listed = super::modern::supported(&error.data_value());
        let best = listed.into_iter().filter(|revision| !revision.is_modern() && *revision != offer).max();
        match best {
            Some(best) if !matches!(self.pin, Pin::Exact(_)) => {
                offer = best;
                self.offer_once(link, offer).await
            }
            _ => Reply::Error(error, status),
        }
    }

    async fn offer_once(&self, link: &Link, offer: Revision) -> Reply {
        let params = json!({
            "protocolVersion": offer.as_str(),
            "capabilities": self.peer.capabilities(offer),
            "clientInfo": client_info(),
        });
        link.ask(Ask {
            id: link.next_id(),
            method: method::INITIALIZE,
            params: Some(params.to_string()),
            headers: Vec::new(),
            timeout: self.patience,
            cancel: Cancel::Never,
            questions: None,
        })
        .await
    }

    /// Checks the result of `initialize` and makes the connection ready (`ERA-16`, `ERA-17`).
    ///
    /// # Errors
    /// [`Class::Protocol`] when the server chose a revision that may not be spoken.
    pub async fn ready(self, link: &Link, result: &Raw) -> Result<Legacy> {
        let (revision, server) = self.agreed(result)?;
        link.transport().agreed(revision);
        let legacy = Legacy {
            revision: RwLock::new(revision),
            server,
            begun: AtomicU8::new(if self.hasty && link.wire() == Wire::Http { HASTY } else { NOT_BEGUN }),
            first: Mutex::new(()),
            sessions: Gate::new(0),
            renewed: Notify::new(),
            handshake: self.later(),
        };
        if legacy.begun.load(Ordering::Relaxed) == NOT_BEGUN {
            legacy.begin(link).await;
            legacy.begun.store(BEGUN, Ordering::Relaxed);
        }
        Ok(legacy)
    }

    /// Goes on in a session that was left open earlier: all was agreed then.
    pub async fn resumed(self, link: &Link, left: &Left) -> Legacy {
        link.answer_requests(true);
        link.transport().resume(&left.session);
        link.transport().agreed(left.revision);
        if self.peer.may_be_asked() {
            link.transport().listen().await;
        }
        Legacy {
            revision: RwLock::new(left.revision),
            server: ServerInfo::default(),
            begun: AtomicU8::new(BEGUN),
            first: Mutex::new(()),
            sessions: Gate::new(0),
            renewed: Notify::new(),
            handshake: self.later(),
        }
    }

    /// For what is to be said later over the same connection.
    fn later(self) -> Self {
        Handshake { patience: self.connect_timeout, ..self }
    }

    fn agreed(&self, result: &Raw) -> Result<(Revision, ServerInfo)> {
        let value = parse_value(result.get()).unwrap_or(Value::Null);
        let name = value.get("protocolVersion").and_then(Value::as_str);
        let server = ServerInfo::read(&value);
        let chosen = match name {
            // A server that forgets to say so speaks what it was asked for.
            None => self.offer(),
            Some(name) => Revision::parse(name).filter(|revision| !revision.is_modern()).ok_or_else(|| {
                let all = Revision::ALL.map(Revision::as_str).join(", ");
                Failure::new(
                    Class::Protocol,
                    format!("the server chose revision '{name}', which mcpipe does not speak"),
                )
                .cause(format!("mcpipe speaks {all}"))
            })?,
        };
        match self.pin {
            Pin::Exact(pinned) if pinned != chosen => Err(Failure::new(
                Class::Protocol,
                format!("the server chose revision {chosen}, but {pinned} is pinned"),
            )
            .hint("leave --protocol out, or pin the revision that the server speaks")),
            _ => Ok((chosen, server)),
        }
    }
}

/// A session over HTTP that was left open for a later run.
#[derive(Clone, Debug)]
pub struct Left {
    /// Its id.
    pub session: Secret,
    /// The revision agreed upon in it.
    pub revision: Revision,
}

/// How long a server may take to acknowledge `initialized` over HTTP.
const BEGIN_PATIENCE: Duration = Duration::from_secs(5);

const NOT_BEGUN: u8 = 0;
/// `initialized` is to go out beside the first request.
const HASTY: u8 = 1;
const BEGUN: u8 = 2;
/// It went out beside the first request, and the server bore it.
const BORNE: u8 = 3;
/// It went out beside the first request, and the server did not bear it.
const NOT_BORNE: u8 = 4;

/// The legacy side of a connection.
pub struct Legacy {
    revision: RwLock<Revision>,
    server: ServerInfo,
    begun: AtomicU8,
    first: Mutex<()>,
    /// The how many-th session it is; held for writing while a new one is opened, so that no request goes out without.
    sessions: Gate<u64>,
    /// Told when a forgotten session was opened anew: what was subscribed to in the old one is gone.
    pub(super) renewed: Notify,
    pub(super) handshake: Handshake,
}

impl Legacy {
    /// Sends `initialized`, and opens the stream for requests of the server where it may send some.
    async fn begin(&self, link: &Link) {
        // A server that refuses or swallows the notification shows at the next request whether it minds.
        let tell = link.tell(method::INITIALIZED, None, Vec::new());
        tokio::pin!(tell);
        while tokio::time::timeout(BEGIN_PATIENCE, &mut tell).await.is_err() && link.transport().busy() {}
        if self.handshake.peer.may_be_asked() {
            link.transport().listen().await;
        }
        if let Some(level) = self.handshake.peer.log_level() {
            self.set_level(link, level).await;
        }
    }

    /// Asks for logs, where the server declared that it has some (`ERA-18`).
    async fn set_level(&self, link: &Link, level: &str) {
        let peer = &self.handshake.peer;
        if self.server.declares("logging") != Some(true) {
            return peer.warn("the server offers no logging: --log-level has no effect on what it sends");
        }
        let reply = link
            .ask(Ask {
                id: link.next_id(),
                method: method::SET_LEVEL,
                params: Some(json!({ "level": level }).to_string()),
                headers: Vec::new(),
                timeout: self.handshake.connect_timeout,
                cancel: Cancel::Notify,
                questions: None,
            })
            .await;
        let why = match reply {
            Reply::Result(_) => return,
            Reply::Error(error, _) => error.message,
            Reply::Refused(refusal) => format!("HTTP {}", refusal.status),
            Reply::Failed(failure) => failure.to_string(),
        };
        peer.warn(&format!("the server did not take the log level {level}: {why}"));
    }

    /// Whether the first request must wait until everything before it is through.
    fn must_wait(&self) -> bool {
        self.handshake.peer.may_be_asked() || self.handshake.peer.log_level().is_some()
    }

    /// Sends `initialized` now, where it was to go out beside the first request.
    pub(super) async fn settle(&self, link: &Link) {
        let _first = self.first.lock().await;
        if self.begun.load(Ordering::Relaxed) == HASTY {
            self.begin(link).await;
            self.begun.store(BEGUN, Ordering::Relaxed);
        }
    }

    async fn ask(&self, link: &Link, call: &Call) -> Reply {
        link.ask(self.worded(link, call)).await
    }

    /// The first request beside `initialized`; once more, in order, if the server minds. What has effects is sent
    /// once more only where it was certainly refused unread. Other requests wait for `initialized` alone.
    async fn ask_hasty(&self, link: &Link, call: &Call, first: MutexGuard<'_, ()>) -> Reply {
        let begin = async {
            self.begin(link).await;
            self.begun.store(BEGUN, Ordering::Relaxed);
            drop(first);
        };
        if self.must_wait() {
            begin.await;
            return self.ask(link, call).await;
        }
        let ((), reply) = tokio::join!(begin, self.ask(link, call));
        let minded = match &reply {
            Reply::Error(error, _) => minds(&error.message),
            Reply::Refused(refusal) => refusal.status == 400 && minds(&refusal.body),
            _ => false,
        };
        self.begun.store(if minded { NOT_BORNE } else { BORNE }, Ordering::Relaxed);
        let early = matches!(&reply, Reply::Error(error, _) if error.code == code::NOT_INITIALIZED);
        if minded && (!call.effects || early || is_unread(&reply)) { self.ask(link, call).await } else { reply }
    }

    /// A session that the server has forgotten is opened anew, once for all who find out, and the request repeated: it
    /// was refused before anything was done (`HTL-04`). `session` is the one that the request went out in.
    async fn renew(&self, link: &Link, call: &Call, session: u64, refused: Reply) -> Reply {
        let unknown_session = match &refused {
            Reply::Refused(refusal) => refusal.status == 404,
            Reply::Error(_, status) => *status == Some(404),
            _ => false,
        };
        if !unknown_session {
            return refused;
        }
        let mut now = self.sessions.write().await;
        if *now == session {
            if !link.transport().forget_session() || !self.shake_again(link).await {
                return refused;
            }
            *now += 1;
        }
        drop(now);
        self.ask(link, call).await
    }

    /// The handshake once more, for a new session.
    async fn shake_again(&self, link: &Link) -> bool {
        let Reply::Result(result) = self.handshake.initialize(link).await else { return false };
        let Ok((revision, _)) = self.handshake.agreed(&result) else { return false };
        if let Ok(mut now) = self.revision.write() {
            *now = revision;
        }
        link.transport().agreed(revision);
        self.begin(link).await;
        self.renewed.notify_waiters();
        true
    }
}

impl Legacy {
    /// A request that was refused until pages are visited (-32042) is sent again once they are (`ELI-07`).
    async fn visit_pages(&self, link: &Link, call: &Call, mut reply: Reply) -> Reply {
        for _ in 0..MAX_ROUNDS {
            let Reply::Error(error, _) = &reply else { return reply };
            if error.code != code::URL_ELICITATION {
                return reply;
            }
            if let Err(failure) = self.handshake.peer.visit_all(error).await {
                return Reply::Failed(failure);
            }
            reply = self.ask(link, call).await;
        }
        match &reply {
            Reply::Error(error, _) if error.code == code::URL_ELICITATION => {
                Reply::Failed(self.handshake.peer.questions(call.questions.as_ref()).endless())
            }
            _ => reply,
        }
    }
}

/// Whether a refusal says that the handshake is not complete.
fn minds(message: &str) -> bool {
    message.to_ascii_lowercase().contains("initializ")
}

fn params_text(params: &Map<String, Value>) -> Option<String> {
    (!params.is_empty()).then(|| Value::Object(params.clone()).to_string())
}

impl Era for Legacy {
    fn revision(&self) -> Revision {
        self.revision.read().map_or(Revision::LATEST_LEGACY, |revision| *revision)
    }

    fn server(&self) -> ServerInfo {
        self.server.clone()
    }

    fn worded(&self, link: &Link, call: &Call) -> Ask {
        let id = link.next_id();
        let meta = meta_with_progress(id, call);
        let mut params = call.params.clone();
        if call.task.is_some_and(|wish| self.takes_task(wish)) {
            params.insert("task".into(), Value::Object(Map::new()));
        }
        if !meta.is_empty() {
            params.insert("_meta".into(), Value::Object(meta));
        }
        Ask {
            id,
            method: call.method,
            params: params_text(&params),
            headers: Vec::new(),
            timeout: self.handshake.timeout,
            cancel: Cancel::Notify,
            questions: call.questions.clone(),
        }
    }

    fn request<'a>(&'a self, link: &'a Link, call: &'a Call) -> Boxed<'a, Reply> {
        Box::pin(async move {
            let guard = self.first.lock().await;
            let session = *self.sessions.read().await;
            let reply = if self.begun.load(Ordering::Relaxed) == HASTY {
                self.ask_hasty(link, call, guard).await
            } else {
                drop(guard);
                self.ask(link, call).await
            };
            let reply = self.renew(link, call, session, reply).await;
            let reply = self.visit_pages(link, call, reply).await;
            self.handshake.peer.finished(call.questions.as_ref());
            reply
        })
    }

    fn bears_haste(&self) -> Option<bool> {
        match self.begun.load(Ordering::Relaxed) {
            BORNE => Some(true),
            NOT_BORNE => Some(false),
            _ => None,
        }
    }
}
