//! Which era a server speaks: the fewest round trips that find out, and no guess that could do harm.
//!
//! Digest §1.6. A request with effects is never the probe (`ERA-19`); refused credentials, overload and
//! time-outs are never taken for an old server (`ERA-11`); the fallback hangs on no particular error
//! code (`ERA-05`).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Options;
use super::era::{Call, Era};
use super::failure::explain;
use super::legacy::{Handshake, Legacy};
use super::link::{Link, Reply};
use super::memory::Verdict;
use super::modern::{Modern, supported};
use super::peer::Peer;
use crate::error::{Class, Result};
use crate::protocol::revision::Pin;
use crate::protocol::rpc::{Raw, parse_value};
use crate::protocol::views::{ServerInfo, member};
use crate::protocol::{code, meta, method};
use crate::target::Target;
use crate::transport::{self, Endpoint, HttpMode, Wire, http};

/// How long a silent server is given before `initialize` goes down the same stream (`ERA-12`).
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

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
}

/// What a probe told.
enum Finding {
    /// It speaks the modern era; the probe's reply can be used where it was the wanted request.
    Modern(ServerInfo),
    /// It may: the result is plausible but bears no mark of the era.
    Unmarked,
    /// It does not; try the handshake.
    NotModern,
    /// Nothing about eras: report it.
    Report,
}

/// Finds out about one target.
pub struct Negotiator<'a> {
    /// Whom to talk to.
    pub target: &'a Target,
    /// How.
    pub options: &'a Options,
    /// Our side.
    pub peer: Arc<Peer>,
}

impl Negotiator<'_> {
    async fn link(&self) -> Result<Link> {
        let connection = transport::connect(&self.target.endpoint, &self.options.transport).await?;
        Ok(self.over(connection))
    }

    fn over(&self, connection: transport::Connection) -> Link {
        let options = &self.options.transport;
        Link::new(connection, self.peer.clone(), options.interrupt.clone(), options.trace.clone())
    }

    fn modern(&self, server: ServerInfo) -> Modern {
        Modern::new(self.peer.clone(), self.options.timeout, server)
    }

    /// A modern side whose requests wait only as long as negotiation may take.
    fn probing(&self) -> Modern {
        Modern::new(self.peer.clone(), self.options.transport.connect_timeout, ServerInfo::default())
    }

    fn handshake(&self, hasty: bool) -> Handshake {
        Handshake {
            peer: self.peer.clone(),
            pin: self.target.protocol,
            connect_timeout: self.options.transport.connect_timeout,
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
                let era = Box::new(self.modern(ServerInfo::default()));
                Ok((Open { link: self.link().await?, era, confirmed: true, guessed: false }, None))
            }
            (Pin::Exact(_) | Pin::Legacy, memory) => {
                let hasty = memory.is_some_and(|verdict| !verdict.patient);
                Ok((self.legacy(self.link().await?, hasty).await?, None))
            }
            (Pin::Auto, _) if sse => Ok((self.legacy(self.link().await?, false).await?, None)),
            (Pin::Auto, Some(verdict)) if verdict.revision.is_modern() => {
                let era = Box::new(self.modern(verdict.server));
                Ok((Open { link: self.link().await?, era, confirmed: false, guessed: false }, None))
            }
            (Pin::Auto, Some(verdict)) => self.remembered_legacy(first, &verdict).await,
            (Pin::Auto, None) => self.fresh(first).await,
        }
    }

    async fn remembered_legacy(&self, first: &Call, verdict: &Verdict) -> Result<(Open, Option<Reply>)> {
        if verdict.wire == Wire::Sse {
            return self.fresh(first).await;
        }
        let link = self.link().await?;
        let handshake = self.handshake(!verdict.patient);
        match handshake.initialize(&link).await {
            Reply::Result(result) => {
                let era = handshake.ready(&link, &result).await;
                self.opened(link, era).await.map(|open| (open, None))
            }
            reply if is_about_era(&reply, &link) => {
                link.close(false).await;
                self.fresh(first).await
            }
            reply => self.give_up(link, reply, method::INITIALIZE).await,
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
        match self.finding(&reply, probe, &link) {
            Finding::Modern(server) => {
                let era = Box::new(self.modern(server));
                Ok((Open { link, era, confirmed: true, guessed: false }, wanted.then_some(reply)))
            }
            Finding::Unmarked => {
                let era = Box::new(self.modern(ServerInfo::default()));
                Ok((Open { link, era, confirmed: false, guessed: true }, wanted.then_some(reply)))
            }
            Finding::NotModern => Ok((self.legacy_or_sse(link).await?, None)),
            Finding::Report => self.give_up(link, reply, probe.method).await,
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
    async fn legacy_or_sse(&self, link: Link) -> Result<Open> {
        let handshake = self.handshake(false);
        let reply = match handshake.initialize(&link).await {
            Reply::Result(result) => {
                let era = handshake.ready(&link, &result).await;
                return self.opened(link, era).await;
            }
            reply => reply,
        };
        let status = match &reply {
            Reply::Refused(refusal) => Some(refusal.status),
            Reply::Error(_, status) => *status,
            _ => None,
        };
        let may_be_sse = matches!(status, Some(400 | 404 | 405));
        if let (Endpoint::Http(endpoint), true) = (&self.target.endpoint, may_be_sse)
            && endpoint.mode == HttpMode::Auto
            && let Ok(connection) = http::connect_sse(endpoint, &self.options.transport).await
        {
            link.close(false).await;
            return self.legacy(self.over(connection), false).await;
        }
        self.give_up(link, reply, method::INITIALIZE).await.map(|(open, _)| open)
    }

    async fn fresh_stream(&self, first: &Call) -> Result<(Open, Option<Reply>)> {
        let link = self.link().await?;
        let discover = Call::read_only(method::DISCOVER, Map::new());
        let reply = self.probe_stream(&link, &discover).await;
        // What came may be the answer to `initialize` by now: only a DiscoverResult names its versions.
        if let Reply::Result(result) = &reply
            && member(result, "supportedVersions").is_none()
            && member(result, "protocolVersion").is_some()
        {
            let era = self.handshake(false).ready(&link, result).await;
            return self.opened(link, era).await.map(|open| (open, None));
        }
        match self.finding(&reply, &discover, &link) {
            Finding::Modern(server) => {
                let era = Box::new(self.modern(server));
                let wanted = first.method == method::DISCOVER;
                Ok((Open { link, era, confirmed: true, guessed: false }, wanted.then_some(reply)))
            }
            Finding::Report => self.give_up(link, reply, method::DISCOVER).await,
            Finding::NotModern | Finding::Unmarked => {
                let ended = link.gone().is_some();
                let link = if ended { self.reopened(link).await? } else { link };
                Ok((self.stream_handshake(link, &discover, ended).await?, None))
            }
        }
    }

    /// Asks `server/discover`, and `initialize` too where that stays unanswered (`ERA-04`, `ERA-12`).
    async fn probe_stream(&self, link: &Link, discover: &Call) -> Reply {
        let probing = self.probing();
        let mut probe = probing.request(link, discover);
        if let Ok(reply) = tokio::time::timeout(PROBE_PATIENCE, &mut probe).await {
            return reply;
        }
        // Silence: `initialize` on the same pipe; whichever answer is conclusive first counts.
        let handshake = self.handshake(false);
        let mut hello = Box::pin(handshake.initialize(link));
        tokio::select! {
            biased;
            reply = &mut probe => match self.finding(&reply, discover, link) {
                Finding::Modern(_) | Finding::Report => reply,
                _ => hello.await,
            },
            reply = &mut hello => match reply {
                Reply::Error(..) => probe.await,
                other => other,
            },
        }
    }

    /// The handshake over a stream. A server that `ended` at the probe may have done so for another reason: it
    /// is asked again where it does not shake hands.
    async fn stream_handshake(&self, mut link: Link, probe: &Call, mut ended: bool) -> Result<Open> {
        let mut last = false;
        loop {
            let handshake = self.handshake(false);
            let reply = match handshake.initialize(&link).await {
                Reply::Result(result) => {
                    let era = handshake.ready(&link, &result).await;
                    return self.opened(link, era).await;
                }
                reply => reply,
            };
            if matches!(reply, Reply::Error(..) | Reply::Failed(_)) && link.gone().is_some() && !last {
                // The probe may have spoilt the process or the connection: once more with a fresh one.
                link = self.reopened(link).await?;
                (ended, last) = (true, true);
                continue;
            }
            if ended && matches!(reply, Reply::Error(..)) {
                let second = self.probing().request(&link, probe).await;
                if let Finding::Modern(server) = self.finding(&second, probe, &link) {
                    let era = Box::new(self.modern(server));
                    return Ok(Open { link, era, confirmed: true, guessed: false });
                }
            }
            return self.give_up(link, reply, method::INITIALIZE).await.map(|(open, _)| open);
        }
    }

    async fn reopened(&self, link: Link) -> Result<Link> {
        link.close(false).await;
        self.link().await
    }

    async fn legacy(&self, link: Link, hasty: bool) -> Result<Open> {
        let handshake = self.handshake(hasty);
        match handshake.initialize(&link).await {
            Reply::Result(result) => {
                let era = handshake.ready(&link, &result).await;
                self.opened(link, era).await
            }
            reply => self.give_up(link, reply, method::INITIALIZE).await.map(|(open, _)| open),
        }
    }

    async fn opened(&self, link: Link, era: Result<Legacy>) -> Result<Open> {
        match era {
            Ok(era) => Ok(Open { link, era: Box::new(era), confirmed: true, guessed: false }),
            Err(failure) => {
                link.close(false).await;
                Err(failure)
            }
        }
    }

    async fn give_up(&self, link: Link, reply: Reply, asked: &str) -> Result<(Open, Option<Reply>)> {
        link.close(false).await;
        Err(explain(reply, asked, self.target))
    }

    /// What one reply to a modern probe tells about the era.
    fn finding(&self, reply: &Reply, probe: &Call, link: &Link) -> Finding {
        let is_discover = probe.method == method::DISCOVER;
        match reply {
            Reply::Result(result) => finding_of_result(result, is_discover, probe.method),
            Reply::Error(error, status) => match error.code {
                code::UNSUPPORTED_VERSION => {
                    // Only legacy revisions in the list: the handshake (ERA-09).
                    let listed = supported(&error.data_value());
                    if listed.is_empty() || listed.iter().any(|revision| revision.is_modern()) {
                        Finding::Report
                    } else {
                        Finding::NotModern
                    }
                }
                code::HEADER_MISMATCH | code::MISSING_CAPABILITY => Finding::Modern(ServerInfo::default()),
                code::METHOD_NOT_FOUND if *status == Some(404) && !is_discover => {
                    Finding::Modern(ServerInfo::default())
                }
                _ => match status {
                    Some(429 | 500..) => Finding::Report,
                    _ => Finding::NotModern,
                },
            },
            Reply::Refused(refusal) => match refusal.status {
                202 | 204 | 400 | 402 | 404..=428 | 430..=499 => Finding::NotModern,
                _ => Finding::Report,
            },
            // A child that ends at an unknown first request is an old one (digest §1.7); so is who hangs up.
            Reply::Failed(failure) if !link.wire().is_http() && link.gone().is_some() => match failure.class() {
                Class::Unreachable => Finding::NotModern,
                _ => Finding::Report,
            },
            Reply::Failed(_) => Finding::Report,
        }
    }
}

fn finding_of_result(result: &Raw, is_discover: bool, asked: &str) -> Finding {
    let value = || parse_value(result.get()).unwrap_or(Value::Null);
    if is_discover {
        let value = value();
        let Some(listed) = value.get("supportedVersions").and_then(Value::as_array) else { return Finding::NotModern };
        let known = supported(&value);
        let modern = known.iter().any(|revision| revision.is_modern());
        return if modern || (known.is_empty() && !listed.is_empty()) {
            // With nothing mutual the first request says so in the server's own words.
            Finding::Modern(ServerInfo::read(&value))
        } else {
            Finding::NotModern
        };
    }
    let marked = member(result, "resultType").is_some()
        || member(result, "_meta").is_some_and(|meta| member(meta, meta::SERVER_INFO).is_some());
    if marked {
        let mut server = ServerInfo::read(&value());
        server.capabilities = None;
        return Finding::Modern(server);
    }
    let plausible = match asked {
        method::TOOLS_LIST => "tools",
        method::RESOURCES_LIST => "resources",
        method::TEMPLATES_LIST => "resourceTemplates",
        method::PROMPTS_LIST => "prompts",
        method::RESOURCES_READ => "contents",
        method::PROMPTS_GET => "messages",
        _ => return Finding::NotModern,
    };
    if member(result, plausible).is_some() { Finding::Unmarked } else { Finding::NotModern }
}

/// Whether a failure could come from a wrong belief about the era, and not from the operation itself.
#[must_use]
pub fn is_about_era(reply: &Reply, link: &Link) -> bool {
    match reply {
        Reply::Result(_) => false,
        Reply::Error(error, status) => match error.code {
            code::HEADER_MISMATCH | code::MISSING_CAPABILITY => false,
            code::UNSUPPORTED_VERSION => true,
            -32700 | -32602..=-32600 | -32019..=-32000 => !matches!(status, Some(401 | 403 | 429 | 500..)),
            _ => matches!(status, Some(400 | 404 | 405)),
        },
        Reply::Refused(refusal) => matches!(refusal.status, 400 | 404 | 405 | 406 | 415),
        Reply::Failed(failure) => {
            !link.wire().is_http() && link.gone().is_some() && failure.class() == Class::Unreachable
        }
    }
}

/// Asks a server whose era was only believed whether it speaks the modern one.
pub async fn confirms_modern(link: &Link, era: &dyn Era) -> Option<bool> {
    if link.gone().is_some() {
        return None;
    }
    let discover = Call::read_only(method::DISCOVER, Map::new());
    match era.request(link, &discover).await {
        Reply::Result(result) => Some(matches!(finding_of_result(&result, true, method::DISCOVER), Finding::Modern(_))),
        Reply::Error(error, _) => Some(matches!(error.code, code::HEADER_MISMATCH | code::MISSING_CAPABILITY)),
        Reply::Refused(_) => Some(false),
        Reply::Failed(_) => None,
    }
}
