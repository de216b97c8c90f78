//! One conversation with one server: the era found out, requests asked, lists paged, all ended in order.
//!
//! A session sends nothing until the first request; that request decides how the era is found out, so
//! that a known server costs no round trip more than the request itself.

pub mod ask;
pub mod completion;
mod ending;
pub mod era;
pub mod failure;
mod finding;
pub mod input;
pub mod legacy;
pub mod link;
pub mod listing;
pub mod memory;
pub mod modern;
pub mod negotiate;
pub mod notices;
mod offers;
pub mod peer;
mod pump;
pub mod questions;
mod ready;
pub mod retry;
pub mod skills;
mod stamp;
mod stray;
mod streams;
pub mod subscribe;
pub mod tasks;
mod whose;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Map;
use tokio::sync::{Mutex, OnceCell};

use crate::error::{Class, Failure, Result};
use crate::protocol::method;
use crate::protocol::revision::{Pin, Revision};
use crate::protocol::rpc::{Raw, parse_value};
use crate::protocol::views::{Kind, ServerInfo, member};
use crate::target::Target;
use crate::transport::{self, Wire};
use era::{Call, Era};
use failure::explain;
use finding::{confirms_modern, is_about_era, is_unread};
use legacy::Left;
use link::{Link, Reply};
use memory::{Memory, Verdict};
use negotiate::Open;
use peer::{Abilities, Peer};
use questions::Questions;

pub use listing::{Listing, Use};

/// What every session of one run shares.
#[derive(Clone, Default)]
pub struct Options {
    /// How the way to the server is opened; its connect time-out covers negotiation too.
    pub transport: transport::Options,
    /// How long to wait for an answer; progress starts the clock again, within limits. `None` waits for ever.
    pub timeout: Option<Duration>,
    /// What we can do for the server.
    pub abilities: Abilities,
    /// When to ask once more.
    pub retry: retry::Policy,
    /// Where to keep what is learned; nowhere if `None`.
    pub cache_dir: Option<PathBuf>,
    /// Whose credentials are used, so that nothing cached crosses identities (`MSG-10`).
    pub identity: Option<String>,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct About {
    /// Who the server says it is.
    pub server: ServerInfo,
    /// The revision spoken.
    pub revision: Revision,
    /// The transport in use.
    pub wire: Wire,
    /// The result of `server/discover` in the modern era, as it came.
    pub discovered: Option<Raw>,
}

/// A conversation with one server.
pub struct Session {
    target: Target,
    options: Options,
    peer: Arc<Peer>,
    memory: Memory,
    open: Mutex<Option<Arc<Live>>>,
    failed: AtomicBool,
    /// Whether the server has answered anything.
    answered: AtomicBool,
    /// Since when it is waited for.
    began: OnceLock<Instant>,
    /// Whether the server declares skills, once that was looked at.
    skills: OnceCell<bool>,
    /// Whether it was said that the server repeats a page for ever.
    told_of_repeat: AtomicBool,
    /// The session to go on with.
    left: Option<Left>,
}

/// An open connection and what is known about its era.
struct Live {
    link: Link,
    era: Box<dyn Era>,
    confirmed: AtomicBool,
    /// Whether the era was only guessed from a result without any mark of it.
    guessed: bool,
    /// Whether the server ends at any request before the handshake.
    ends_early: bool,
}

impl From<Open> for Live {
    fn from(open: Open) -> Self {
        open.link.answer_requests(!open.era.revision().is_modern());
        let (confirmed, guessed, ends_early) = (AtomicBool::new(open.confirmed), open.guessed, open.ends_early);
        Live { link: open.link, era: open.era, confirmed, guessed, ends_early }
    }
}

impl Live {
    /// Lets go of a connection whose place another one takes. Over HTTP those who still wait have answers of their
    /// own to come, and it ends with the last of them; one stream for everything is closed, and they are told.
    async fn retire(&self) {
        if self.link.wire() != Wire::Http {
            self.link.close(false).await;
        }
    }
}

impl Session {
    /// A session that has sent nothing yet.
    #[must_use]
    pub fn new(target: Target, options: Options) -> Self {
        let peer = Arc::new(Peer::new(options.abilities.clone()));
        let memory = Memory::of(&target, options.cache_dir.as_deref(), options.identity.as_deref());
        Session {
            target,
            options,
            peer,
            memory,
            open: Mutex::new(None),
            failed: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            began: OnceLock::new(),
            skills: OnceCell::new(),
            told_of_repeat: AtomicBool::new(false),
            left: None,
        }
    }

    /// Goes on with a session that was left open earlier.
    #[must_use]
    pub fn resuming(mut self, left: Option<Left>) -> Self {
        self.left = left;
        self
    }

    /// Whom it talks to.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Keeps what the connection has shown, if it is news.
    fn learn(&self, live: &Live) {
        if !live.confirmed.load(Ordering::Relaxed) {
            return;
        }
        let patient = live.era.bears_haste() == Some(false);
        let server = live.era.server();
        let server = ServerInfo { name: server.name, version: server.version, ..ServerInfo::default() };
        let known = self.memory.verdict();
        let stubborn = known.as_ref().and_then(|known| known.stubborn);
        let verdict = Verdict { revision: live.era.revision(), wire: live.link.wire(), patient, server, stubborn };
        let same = known.as_ref().is_some_and(|known| {
            known.revision == verdict.revision && known.wire == verdict.wire && known.patient >= verdict.patient
        });
        if !same {
            self.memory.learn(&verdict);
        }
    }

    /// Asks one operation; the reply, whatever it is. Asks once more where the policy allows it.
    ///
    /// # Errors
    /// When the connection cannot be opened.
    pub async fn reply(&self, call: &Call) -> Result<Reply> {
        let reply = self.trying(call, async || self.once(call).await, failure::again).await?;
        let ours = |failure: &Failure| matches!(failure.class(), Class::Refused | Class::Failed);
        if let Reply::Failed(failure) = &reply
            && !ours(failure)
        {
            self.failed.store(true, Ordering::Relaxed);
            self.doubt(failure);
        }
        Ok(reply)
    }

    async fn once(&self, call: &Call) -> Result<Reply> {
        let (mut live, reply) = self.live(call).await?;
        let reply = match reply {
            Some(reply) => reply,
            None => {
                if call.effects && live.guessed && !live.confirmed.load(Ordering::Relaxed) {
                    live = self.settle(live).await;
                }
                match self.undeclared(&live, call) {
                    Some(failure) => Reply::Failed(failure),
                    None => live.era.request(&live.link, call).await,
                }
            }
        };
        Ok(self.reconsider(&live, call, reply).await)
    }

    /// Asks one operation.
    ///
    /// # Errors
    /// When there is no result, with what that means for the user.
    pub async fn request(&self, call: &Call) -> Result<Raw> {
        match self.reply(call).await? {
            Reply::Result(result) => match self.unanswered() {
                // What it answered instead is not what was asked for.
                Some(failure) => Err(failure.server(&self.target.name)),
                None => self.well_formed(call.method, result),
            },
            reply => Err(self.failure(reply, call.method)),
        }
    }

    /// The failure behind a reply that is no result. Where the person declined, or an answer could not be
    /// given, that is why.
    #[must_use]
    pub fn failure(&self, reply: Reply, asked: &str) -> Failure {
        self.failure_in(reply, asked, &self.peer.questions)
    }

    /// The same for a request that keeps its own account of what was asked in its course.
    #[must_use]
    pub fn failure_in(&self, reply: Reply, asked: &str, questions: &Questions) -> Failure {
        let ours = matches!(reply, Reply::Failed(_));
        let failure = explain(reply, asked, &self.target);
        match questions.unanswered().or_else(|| questions.declined()) {
            Some(reason) if !ours => reason.cause(failure.to_string()).server(&self.target.name),
            _ => failure,
        }
    }

    /// A refusal that may come from a wrong belief about the era is looked into: the belief is dropped and
    /// the era learned anew, and only if the server turns out to be of the other era is the request sent
    /// again (`ERA-13`).
    async fn reconsider(&self, live: &Arc<Live>, call: &Call, reply: Reply) -> Reply {
        if live.confirmed.load(Ordering::Relaxed) || !live.era.revision().is_modern() {
            return reply;
        }
        if let Reply::Result(result) = &reply {
            if member(result, "resultType").is_some() {
                live.confirmed.store(true, Ordering::Relaxed);
                self.learn(live);
            }
            return reply;
        }
        if !is_about_era(&reply, &live.link) {
            return reply;
        }
        let mut open = self.open.lock().await;
        if let Some(now) = open.as_ref().filter(|now| !Arc::ptr_eq(now, live)).cloned() {
            // Another request beside this one has looked into it already.
            drop(open);
            return self.anew(&now, call, reply, None).await;
        }
        if live.confirmed.load(Ordering::Relaxed) || confirms_modern(&live.link, &*live.era).await == Some(true) {
            live.confirmed.store(true, Ordering::Relaxed);
            return reply;
        }
        self.memory.forget();
        live.retire().await;
        *open = None;
        let Ok((opened, fresh)) = Box::pin(self.negotiator().fresh(call)).await else { return reply };
        let live = Arc::new(Live::from(opened));
        self.learn(&live);
        *open = Some(live.clone());
        drop(open);
        self.anew(&live, call, reply, fresh).await
    }

    /// Sends a request that was refused to the server `now` known to be of the other era, unless it was carried out
    /// there already. `fresh` is its reply where finding out took the request.
    async fn anew(&self, now: &Live, call: &Call, refused: Reply, fresh: Option<Reply>) -> Reply {
        // Who is of the legacy era has said with the handshake what `server/discover` asks for.
        if now.era.revision().is_modern() || call.method == method::DISCOVER {
            return refused;
        }
        // A lenient server may have carried it out, whatever it says (digest §1.2).
        let unread = is_unread(&refused) || (matches!(refused, Reply::Failed(_)) && now.ends_early);
        if call.effects && !unread {
            let what = "the server is of another era than it was; the call was not sent again";
            self.peer.warn(&format!("{what}, as it may have been carried out"));
            return refused;
        }
        match fresh {
            Some(reply) => reply,
            None => now.era.request(&now.link, call).await,
        }
    }

    /// Finds out the era for sure before a request with effects goes out (`ERA-19`): a server whose list bore no
    /// mark is asked, and where it is not modern, the handshake is done after all.
    async fn settle(&self, live: Arc<Live>) -> Arc<Live> {
        let mut open = self.open.lock().await;
        if let Some(now) = open.as_ref().filter(|now| !Arc::ptr_eq(now, &live)) {
            return now.clone();
        }
        if live.confirmed.load(Ordering::Relaxed) {
            return live;
        }
        if confirms_modern(&live.link, &*live.era).await != Some(true)
            && let Ok(opened) = Box::pin(self.negotiator().shaken()).await
        {
            live.retire().await;
            let live = Arc::new(Live::from(opened));
            self.learn(&live);
            *open = Some(live.clone());
            return live;
        }
        live.confirmed.store(true, Ordering::Relaxed);
        live
    }

    /// Who is at the other end; asks only where that is not known.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn about(&self) -> Result<About> {
        self.about_for(Call::read_only(method::DISCOVER, Map::new())).await
    }

    /// The same by this request to `server/discover`.
    async fn about_for(&self, discover: Call) -> Result<About> {
        let (live, mut reply) = self.live(&discover).await?;
        if live.era.revision().is_modern() && reply.is_none() {
            reply = Some(self.reconsider(&live, &discover, live.era.request(&live.link, &discover).await).await);
        }
        let (live, _) = self.live(&discover).await?;
        let (mut server, revision, wire) = (live.era.server(), live.era.revision(), live.link.wire());
        let discovered = match reply {
            Some(Reply::Result(result)) if revision.is_modern() => Some(result),
            Some(reply) if revision.is_modern() => return Err(self.failure(reply, method::DISCOVER)),
            _ => None,
        };
        if let Some(value) = discovered.as_ref().and_then(|raw| parse_value(raw.get())) {
            server = ServerInfo::read(&value);
        }
        Ok(About { server, revision, wire, discovered })
    }

    /// What is known without asking: the identity, the revision and the transport of an open connection.
    pub async fn known(&self) -> Option<(ServerInfo, Revision, Wire)> {
        let open = self.open.lock().await;
        open.as_ref().map(|live| (live.era.server(), live.era.revision(), live.link.wire()))
    }

    /// Whether an open connection's server may offer this kind of list: not when it declared otherwise.
    pub async fn list_offered(&self, kind: Kind) -> bool {
        self.known().await.is_none_or(|(server, _, _)| server.declares(kind.capability()) != Some(false))
    }

    /// Whether the server speaks the modern era: shown, or else believed; `None` where nothing is known.
    pub async fn is_modern(&self) -> Option<bool> {
        match self.known().await {
            Some((_, revision, _)) => Some(revision.is_modern()),
            None => match self.target.protocol {
                Pin::Exact(revision) => Some(revision.is_modern()),
                Pin::Legacy => Some(false),
                Pin::Auto => self.memory.verdict().map(|verdict| verdict.revision.is_modern()),
            },
        }
    }

    /// Whether the server said that one of its lists changed since it was last listed (`MSG-11`).
    #[must_use]
    pub fn lists_changed(&self) -> bool {
        self.peer.lists_changed()
    }

    /// The refusal of the person to give input, where there was one since this was last asked.
    #[must_use]
    pub fn declined(&self) -> Option<Failure> {
        self.peer.questions.declined()
    }

    /// Why input could not be given as the user told, where that happened since this was last asked.
    #[must_use]
    pub fn unanswered(&self) -> Option<Failure> {
        self.peer.questions.unanswered()
    }
}
