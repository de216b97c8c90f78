//! Which era a server speaks: the fewest round trips that find out, and no guess that could do harm.
//!
//! Digest §1.6. A request with effects is never the probe (`ERA-19`); refused credentials, overload and
//! time-outs are never taken for an old server (`ERA-11`); the fallback hangs on no particular error
//! code (`ERA-05`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Map;

use super::Options;
use super::era::{Call, Era};
use super::failure::{explain, words};
use super::finding::{Finding, finding, is_about_era, may_be_about_itself};
use super::legacy::{Handshake, Left};
use super::link::{Link, Reply, SILENT, human};
use super::memory::Verdict;
use super::modern::{Modern, is_mutual};
use super::peer::Peer;
use super::ready::LAST_LOOK;
use crate::error::{Class, Details, Failure, Result};
use crate::protocol::method;
use crate::protocol::revision::{Pin, Revision};
use crate::protocol::rpc::Raw;
use crate::protocol::views::ServerInfo;
use crate::target::Target;
use crate::transport::{self, Endpoint, HttpEndpoint, HttpMode, Wire, http, stdio};

/// A connection whose era is known.
pub struct Open {
    /// The connection.
    pub link: Link,
    /// The era.
    pub era: Box<dyn Era>,
    /// Whether the server itself has shown its era; a remembered one is only a belief until then.
    pub confirmed: bool,
    /// Whether the era was guessed from a result without any mark of it.
    pub guessed: bool,
    /// Whether nothing was asked of the server yet.
    pub untried: bool,
    /// Whether the server ended at a request before the handshake, without reading any further.
    pub ends_early: bool,
}

impl Open {
    /// A connection to a server that has shown its era.
    pub(super) fn sure(link: Link, era: impl Era + 'static) -> Self {
        Open { link, era: Box::new(era), confirmed: true, guessed: false, untried: false, ends_early: false }
    }
}

/// What came of a handshake.
pub(super) enum Shaken {
    /// A connection with the legacy era agreed upon.
    Open(Open),
    /// The server does not shake hands: the connection, and what it said instead.
    Not(Link, Reply),
}

/// Finds out about one target.
pub struct Negotiator<'a> {
    /// Whom to talk to.
    pub target: &'a Target,
    /// How.
    pub options: &'a Options,
    /// Our side.
    pub peer: Arc<Peer>,
    /// When the user has waited long enough for the server, whatever the time-outs say.
    pub until: Option<Instant>,
    /// When this began: the time for start and negotiation is one, however often a process is started in it.
    pub began: Instant,
}

impl Negotiator<'_> {
    pub(super) async fn link(&self) -> Result<Link> {
        let connection = match &self.target.endpoint {
            // Nothing is opened before the first request, which has its own limit.
            Endpoint::Http(endpoint) if endpoint.mode != HttpMode::Sse => {
                transport::connect(&self.target.endpoint, &self.options.transport).await?
            }
            endpoint => transport::connect(endpoint, &self.hurried()).await?,
        };
        Ok(self.over(connection))
    }

    /// How long one attempt may take.
    fn patience(&self) -> Option<Duration> {
        let usual = match self.options.transport.connect_timeout {
            Some(time) if self.has_one_clock() => Some(time.saturating_sub(self.began.elapsed()).max(LAST_LOOK)),
            usual => usual,
        };
        let Some(until) = self.until else { return usual };
        let left = until.saturating_duration_since(Instant::now()).max(LAST_LOOK);
        Some(usual.map_or(left, |usual| usual.min(left)))
    }

    /// Whether all that negotiation does goes by one clock: where nobody may have to log in meanwhile.
    fn has_one_clock(&self) -> bool {
        matches!(self.target.endpoint, Endpoint::Stdio(_) | Endpoint::Unix(_))
    }

    fn hurried(&self) -> transport::Options {
        transport::Options { connect_timeout: self.patience(), ..self.options.transport.clone() }
    }

    fn over(&self, connection: transport::Connection) -> Link {
        let options = &self.options.transport;
        Link::new(connection, self.peer.clone(), options.interrupt.clone(), options.trace.clone())
    }

    pub(super) fn modern(&self, server: ServerInfo) -> Modern {
        Modern::new(self.peer.clone(), self.options.timeout, server)
    }

    /// A modern side whose requests wait only as long as negotiation may take.
    pub(super) fn probing(&self) -> Modern {
        Modern::new(self.peer.clone(), self.patience(), ServerInfo::default())
    }

    pub(super) fn handshake(&self, hasty: bool) -> Handshake {
        Handshake {
            peer: self.peer.clone(),
            pin: self.target.protocol,
            connect_timeout: self.options.transport.connect_timeout,
            patience: self.patience(),
            timeout: self.options.timeout,
            hasty,
        }
    }

    /// Opens the connection. Where finding out took the wanted request itself, its reply comes along.
    ///
    /// # Errors
    /// When the server cannot be reached, or speaks nothing that may be spoken.
    pub async fn open(&self, first: &Call, memory: Option<Verdict>) -> Result<(Open, Option<Reply>)> {
        let sse = matches!(&self.target.endpoint, Endpoint::Http(endpoint) if endpoint.mode == HttpMode::Sse);
        match (self.target.protocol, memory) {
            (Pin::Exact(revision), _) if revision.is_modern() && !sse => {
                let open = Open::sure(self.link().await?, self.modern(ServerInfo::default()));
                Ok((Open { untried: true, ..open }, None))
            }
            (Pin::Exact(_) | Pin::Legacy, Some(verdict)) if verdict.wire == Wire::Sse && !sse => {
                self.remembered_sse(first).await
            }
            (Pin::Exact(_) | Pin::Legacy, memory) => {
                let hasty = memory.is_some_and(|verdict| !verdict.patient);
                Ok((self.legacy_or_sse(self.link().await?, hasty).await?, None))
            }
            (Pin::Auto, _) if sse => Ok((self.legacy(self.link().await?, false).await?, None)),
            (Pin::Auto, Some(verdict)) if verdict.revision.is_modern() => {
                let open = Open::sure(self.link().await?, self.modern(verdict.server));
                Ok((Open { confirmed: false, untried: true, ..open }, None))
            }
            (Pin::Auto, Some(verdict)) => self.remembered_legacy(first, &verdict).await,
            (Pin::Auto, None) => self.fresh(first).await,
        }
    }

    /// Opens the connection in a session that was left open.
    ///
    /// # Errors
    /// When the connection cannot be set up.
    pub async fn resume(&self, left: &Left) -> Result<Open> {
        let link = self.link().await?;
        let era = self.handshake(false).resumed(&link, left).await;
        Ok(Open::sure(link, era))
    }

    async fn remembered_legacy(&self, first: &Call, verdict: &Verdict) -> Result<(Open, Option<Reply>)> {
        if verdict.wire == Wire::Sse {
            return self.remembered_sse(first).await;
        }
        match self.shake(self.link().await?, !verdict.patient).await? {
            Shaken::Open(open) => Ok((open, None)),
            // A process that ends at what it knows does not end because it was asked for something else.
            Shaken::Not(link, reply)
                if is_about_era(&reply, &link) && (link.gone().is_none() || link.wire() != Wire::Stdio) =>
            {
                link.close(false).await;
                self.fresh(first).await
            }
            Shaken::Not(link, reply) => self.give_up(link, reply, method::INITIALIZE).await,
        }
    }

    /// A server that spoke HTTP+SSE the last time: its stream is opened at once. Where it is none any more, all that
    /// is not pinned is found out anew (`ERA-13`).
    async fn remembered_sse(&self, first: &Call) -> Result<(Open, Option<Reply>)> {
        let anew = async || match self.target.protocol {
            Pin::Auto => self.fresh(first).await,
            Pin::Legacy | Pin::Exact(_) => Ok((self.legacy_or_sse(self.link().await?, false).await?, None)),
        };
        let Some(endpoint) = self.may_be_sse() else { return anew().await };
        let link = match http::connect_sse(endpoint, &self.hurried()).await {
            Ok(connection) => self.over(connection),
            Err(failure) if matches!(failure.class(), Class::Unreachable | Class::Protocol) => return anew().await,
            Err(failure) => return Err(self.hinted(failure)),
        };
        match self.shake(link, false).await? {
            Shaken::Open(open) => Ok((open, None)),
            Shaken::Not(link, Reply::Failed(failure))
                if !matches!(failure.class(), Class::Unreachable | Class::Protocol) =>
            {
                self.give_up(link, Reply::Failed(failure), method::INITIALIZE).await
            }
            Shaken::Not(link, _) => {
                link.close(false).await;
                anew().await
            }
        }
    }

    /// Without any memory.
    ///
    /// # Errors
    /// As [`Negotiator::open`].
    pub async fn fresh(&self, first: &Call) -> Result<(Open, Option<Reply>)> {
        match &self.target.endpoint {
            Endpoint::Http(_) => self.fresh_http(first).await,
            Endpoint::Stdio(_) | Endpoint::WebSocket(_) | Endpoint::Unix(_) => self.fresh_stream(first).await,
        }
    }

    async fn fresh_http(&self, first: &Call) -> Result<(Open, Option<Reply>)> {
        let link = self.link().await?;
        let discover = Call::read_only(method::DISCOVER, Map::new());
        let probe = if first.effects { &discover } else { first };
        let reply = self.probing().request(&link, probe).await;
        let wanted = probe.method == first.method;
        match finding(&reply, probe, &link) {
            Finding::Modern(server) => {
                let era = self.modern(server);
                Ok((Open::sure(link, era), wanted.then_some(reply)))
            }
            Finding::Unmarked => {
                let open = Open::sure(link, self.modern(ServerInfo::default()));
                Ok((Open { confirmed: false, guessed: true, ..open }, wanted.then_some(reply)))
            }
            Finding::NotModern if may_be_about_itself(&reply, probe) => self.disambiguated(link, probe, reply).await,
            Finding::NotModern => Ok((self.legacy_or_sse(link, false).await?, None)),
            Finding::Report => self.give_up(link, reply, probe.method).await,
        }
    }

    /// A refusal that may be about what was asked for or about the era: `server/discover` tells which (digest §1.7).
    async fn disambiguated(&self, link: Link, probe: &Call, refused: Reply) -> Result<(Open, Option<Reply>)> {
        let discover = Call::read_only(method::DISCOVER, Map::new());
        let reply = self.probing().request(&link, &discover).await;
        match finding(&reply, &discover, &link) {
            Finding::Modern(server) => {
                let era = self.modern(server);
                Ok((Open::sure(link, era), Some(refused)))
            }
            Finding::Report => self.give_up(link, reply, method::DISCOVER).await,
            Finding::NotModern | Finding::Unmarked => match (self.legacy_or_sse(link, false).await, &refused) {
                (Ok(open), _) => Ok((open, None)),
                // Who knows neither may have meant what it said first.
                (Err(failure), Reply::Error(error, _)) => {
                    Err(failure.cause(format!("it refused {} before: {}", probe.method, words(error))))
                }
                (Err(failure), _) => Err(failure),
            },
        }
    }

    /// A fresh connection with the handshake done.
    ///
    /// # Errors
    /// When the server does not shake hands.
    pub async fn shaken(&self) -> Result<Open> {
        self.legacy(self.link().await?, false).await
    }

    /// The handshake at the same URL; HTTP+SSE where the server knows no POST there (`ERA-07`, `ERA-08`).
    async fn legacy_or_sse(&self, link: Link, hasty: bool) -> Result<Open> {
        let (link, reply) = match self.shake(link, hasty).await? {
            Shaken::Open(open) => return Ok(open),
            Shaken::Not(link, reply) => (link, reply),
        };
        let (status, mutual) = match &reply {
            Reply::Refused(refusal) => (Some(refusal.status), false),
            Reply::Error(error, status) => (*status, is_mutual(error)),
            _ => (None, false),
        };
        if mutual && self.target.protocol == Pin::Auto {
            // It was not itself that refused the probe, but who stood before it while it was starting.
            return Ok(Open::sure(link, self.modern(ServerInfo::default())));
        }
        if matches!(status, Some(400 | 404 | 405))
            && !mutual
            && let Some(endpoint) = self.may_be_sse()
            && let Ok(connection) = http::connect_sse(endpoint, &self.hurried()).await
        {
            link.close(false).await;
            return self.legacy(self.over(connection), false).await;
        }
        self.give_up(link, reply, method::INITIALIZE).await.map(|(open, _)| open)
    }

    /// The URL, where HTTP+SSE may be spoken there: it has no other revision than 2024-11-05.
    fn may_be_sse(&self) -> Option<&HttpEndpoint> {
        let Endpoint::Http(endpoint) = &self.target.endpoint else { return None };
        let pinned = matches!(self.target.protocol, Pin::Exact(revision) if revision != Revision::V2024_11_05);
        (endpoint.mode == HttpMode::Auto && !pinned).then_some(endpoint)
    }

    async fn legacy(&self, link: Link, hasty: bool) -> Result<Open> {
        match self.shake(link, hasty).await? {
            Shaken::Open(open) => Ok(open),
            Shaken::Not(link, reply) => self.give_up(link, reply, method::INITIALIZE).await.map(|(open, _)| open),
        }
    }

    /// The handshake, to its end where the server takes part in it.
    ///
    /// # Errors
    /// When the server chose a revision that may not be spoken.
    pub(super) async fn shake(&self, link: Link, hasty: bool) -> Result<Shaken> {
        let handshake = self.handshake(hasty);
        match handshake.initialize(&link).await {
            Reply::Result(result) => self.agree(handshake, link, &result).await.map(Shaken::Open),
            reply => Ok(Shaken::Not(link, reply)),
        }
    }

    /// The rest of a handshake that the server has answered with `result`.
    ///
    /// # Errors
    /// When the server chose a revision that may not be spoken.
    pub(super) async fn agree(&self, handshake: Handshake, link: Link, result: &Raw) -> Result<Open> {
        match handshake.ready(&link, result).await {
            Ok(era) => Ok(Open::sure(link, era)),
            Err(failure) => {
                link.close(false).await;
                Err(failure)
            }
        }
    }

    pub(super) async fn give_up(&self, link: Link, reply: Reply, asked: &str) -> Result<(Open, Option<Reply>)> {
        link.close(false).await;
        let mut failure = explain(reply, asked, self.target);
        self.mute(failure.details_mut());
        let failure = self.hinted(failure);
        let Details { hint, message, .. } = failure.details();
        let ended = matches!(self.target.endpoint, Endpoint::Stdio(_)) && message.starts_with(stdio::ENDED);
        Err(match hint {
            None if ended && self.target.configured => {
                failure.hint(format!("see how it is started: {}", self.target.config_line("get")))
            }
            None if ended => failure.hint(format!("run it by itself to see why: {}", self.target.by_itself())),
            _ => failure,
        })
    }

    /// Says of a server that is silent from the start just that. What it was asked is our affair, and a cause: who has
    /// a server without `server/discover` would look for the fault there.
    fn mute(&self, failure: &mut Details) {
        let Some((asked, time)) = failure.message.split_once(" within ").filter(|(asked, _)| asked.starts_with(SILENT))
        else {
            return;
        };
        // The last request had but the rest of the time.
        let all = self.options.transport.connect_timeout.filter(|_| self.has_one_clock() && self.until.is_none());
        let time = all.map_or_else(|| time.to_owned(), human);
        let start = if matches!(self.target.endpoint, Endpoint::Stdio(_)) { " of its start" } else { "" };
        failure.causes.insert(0, asked.to_owned());
        failure.message = format!("the server did not answer within {time}{start}");
    }

    /// A time-out with the option that gives more time. One that is about something else (a person who logs in) has
    /// said already what may help.
    fn hinted(&self, failure: Failure) -> Failure {
        let about_time = |hint: &String| hint.contains("wait longer with");
        if failure.class() != Class::Timeout || !failure.details().hint.as_ref().is_none_or(about_time) {
            return failure;
        }
        let option = if self.until.is_some() { "--wait" } else { "--connect-timeout" };
        failure.hint(format!("wait longer with {option} TIME"))
    }
}
