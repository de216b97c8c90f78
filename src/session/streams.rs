//! Finding out the era of a server behind a stream: a child process, a socket. It may be silent at what it does not know,
//! or end, and is started again once at most.

use std::time::Duration;

use serde_json::Map;

use super::era::{Call, Era};
use super::finding::{Finding, finding};
use super::link::{Link, Reply};
use super::negotiate::{Negotiator, Open, Shaken};
use crate::error::{Class, Details, Failure, Result};
use crate::protocol::method;
use crate::protocol::views::member;

/// How long a silent server is given before `initialize` goes down the same stream (`ERA-12`).
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

impl Negotiator<'_> {
    /// Without any memory, over a stream.
    pub(super) async fn fresh_stream(&self, first: &Call) -> Result<(Open, Option<Reply>)> {
        let link = self.link().await?;
        let discover = Call::read_only(method::DISCOVER, Map::new());
        let reply = self.probe_stream(&link, &discover).await;
        // What came may be the answer to `initialize` by now: only a DiscoverResult names its versions.
        if let Reply::Result(result) = &reply
            && member(result, "supportedVersions").is_none()
            && member(result, "protocolVersion").is_some()
        {
            return self.agree(self.handshake(false), link, result).await.map(|open| (open, None));
        }
        match finding(&reply, &discover, &link) {
            Finding::Modern(server) => {
                let era = self.modern(server);
                let wanted = first.method == method::DISCOVER;
                Ok((Open::sure(link, era), wanted.then_some(reply)))
            }
            Finding::Report => self.give_up(link, reply, method::DISCOVER).await,
            Finding::NotModern | Finding::Unmarked => {
                let ended = link.gone();
                let ends_early = ended.is_some();
                let link = if ends_early { self.reopened(link).await? } else { link };
                let open = self.stream_handshake(link, &discover, ended).await?;
                Ok((Open { ends_early, ..open }, None))
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
            reply = &mut probe => match finding(&reply, discover, link) {
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
    /// is asked again where it does not shake hands. It is started again once at most.
    async fn stream_handshake(&self, mut link: Link, probe: &Call, mut ended: Option<Failure>) -> Result<Open> {
        loop {
            let reply;
            (link, reply) = match self.shake(link, false).await? {
                Shaken::Open(open) => return Ok(open),
                Shaken::Not(link, reply) => (link, reply),
            };
            if ended.is_none()
                && matches!(reply, Reply::Error(..) | Reply::Failed(_))
                && let Some(failure) = link.gone()
            {
                // The probe may have spoilt the process or the connection: once more with a fresh one.
                link = self.reopened(link).await?;
                ended = Some(failure);
                continue;
            }
            if ended.is_some() && matches!(reply, Reply::Error(..)) {
                let second = self.probing().request(&link, probe).await;
                if let Finding::Modern(server) = finding(&second, probe, &link) {
                    return Ok(Open::sure(link, self.modern(server)));
                }
            }
            let reply = match (reply, ended) {
                // What it said at its end says more than its silence now.
                (Reply::Failed(failure), Some(end)) if failure.class() == Class::Timeout => {
                    let Details { message, stderr_tail, .. } = end.details();
                    let before = format!("when it was asked before, {message}");
                    Reply::Failed(failure.cause(before).stderr_tail(stderr_tail.clone()))
                }
                (reply, _) => reply,
            };
            return self.give_up(link, reply, method::INITIALIZE).await.map(|(open, _)| open);
        }
    }

    async fn reopened(&self, link: Link) -> Result<Link> {
        link.close(false).await;
        self.link().await
    }
}
