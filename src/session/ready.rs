//! Opening the connection when the first request needs it; with `--wait`, again and again until the server is ready.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Map;

use super::era::{Call, Era};
use super::failure::explain;
use super::finding::is_about_era;
use super::link::{Reply, human};
use super::negotiate::{Negotiator, Open};
use super::retry::{chance, look};
use super::{Live, Session};
use crate::error::{Class, Failure, Result};
use crate::protocol::method;
use crate::transport::stdio;

/// What the last look at a server is given, though the time is up.
pub const LAST_LOOK: Duration = Duration::from_millis(250);

impl Session {
    pub(super) fn negotiator(&self) -> Negotiator<'_> {
        let (target, options, peer) = (&self.target, &self.options, self.peer.clone());
        Negotiator { target, options, peer, until: None, began: Instant::now() }
    }

    /// The connection, opened for `first` if it is not open; with the reply where opening took the request.
    pub(super) async fn live(&self, first: &Call) -> Result<(Arc<Live>, Option<Reply>)> {
        let mut open = self.open.lock().await;
        if let Some(live) = &*open {
            return Ok((live.clone(), None));
        }
        // Boxed: this happens once, and every request's future would hold the room for it.
        let opened = match self.options.retry.wait.filter(|_| !self.answered.load(Ordering::Relaxed)) {
            Some(wait) => Box::pin(self.awaited(first, wait)).await,
            None => Box::pin(self.opened(first, self.negotiator())).await,
        };
        let (opened, reply) = opened.map_err(|failure| failure.server(&self.target.name))?;
        let live = Arc::new(Live::from(opened));
        self.learn(&live);
        *open = Some(live.clone());
        Ok((live, reply))
    }

    async fn opened(&self, first: &Call, negotiator: Negotiator<'_>) -> Result<(Open, Option<Reply>)> {
        self.memory.look();
        let opened = match &self.left {
            Some(left) => negotiator.resume(left).await.map(|open| (open, None)),
            None => negotiator.open(first, self.memory.verdict()).await,
        };
        opened.inspect_err(|failure| {
            self.doubt(failure);
            if failure.details().message.starts_with(stdio::ENDED) {
                // It may have become another server: the next run looks at it anew.
                self.memory.forget();
            }
        })
    }

    /// Opens the connection as soon as the server is ready, for which it is given this time.
    async fn awaited(&self, first: &Call, wait: Duration) -> Result<(Open, Option<Reply>)> {
        let until = *self.began.get_or_init(Instant::now) + wait;
        let mut looks = 0;
        loop {
            let failure = match self.opened_ready(first, until).await {
                Err(failure) if failure.may_be_starting() => failure,
                done => return done,
            };
            let left = until.saturating_duration_since(Instant::now());
            // Who was silent so far says nothing in the last moment.
            let silent = failure.class() == Class::Timeout && left < LAST_LOOK;
            if left.is_zero() || silent {
                let failure = failure.cause(format!("it was not ready within {}", human(wait)));
                // To wait is what was done.
                let stale = failure.details().hint.as_ref().is_none_or(|hint| hint.contains("--wait"));
                return Err(if stale { failure.hint("give it longer: --wait TIME") } else { failure });
            }
            let asked = failure.details().again.and_then(|again| again.after).unwrap_or_default();
            // The last look is at the very end.
            let pause = look(looks, chance()).max(asked).min(left);
            looks += 1;
            self.options.transport.trace.note(&format!("not ready yet: {failure}"));
            self.options.transport.interrupt.guard(tokio::time::sleep(pause)).await?;
        }
    }

    /// A connection to a server that answers. Where nothing was asked to open it, something harmless is: what has
    /// effects could not be sent again to a server that turns out not to be ready.
    async fn opened_ready(&self, first: &Call, until: Instant) -> Result<(Open, Option<Reply>)> {
        let hurried = || Negotiator { until: Some(until), ..self.negotiator() };
        let (open, reply) = self.opened(first, hurried()).await?;
        if !open.untried {
            return Ok((open, reply));
        }
        let discover = Call::read_only(method::DISCOVER, Map::new());
        let answer = hurried().probing().request(&open.link, &discover).await;
        if matches!(answer, Reply::Result(_)) {
            return Ok((open, reply));
        }
        let about_era = is_about_era(&answer, &open.link);
        let failure = explain(answer, discover.method, &self.target);
        if !failure.may_be_starting() {
            // It answers; what it thinks of the request itself will be seen.
            return Ok((open, reply));
        }
        open.link.close(false).await;
        if about_era {
            self.memory.forget();
        }
        Err(failure)
    }

    /// Forgets the lists, which have turned out to be wrong.
    pub fn forget_lists(&self) {
        self.memory.forget_lists();
    }

    /// Forgets what is believed where silence or nonsense may come from a wrong belief (a server that swallows
    /// what it does not understand).
    pub(super) fn doubt(&self, failure: &Failure) {
        if matches!(failure.class(), Class::Timeout | Class::Protocol) {
            self.memory.forget();
        }
    }
}
