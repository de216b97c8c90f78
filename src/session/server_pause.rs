//! A server that asks for a pause (`Retry-After`) gets one: no request of the session is sent during it. After it, one
//! request is sent, and the others follow if the server accepts that one.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::util::lock::lock;

/// How long others wait for the response to the first request after a pause. A refusal comes at once; a tool may take long.
const MAX_PROBE_TIME: Duration = Duration::from_secs(1);

/// The pause that a server asked for, shared by all requests of a session.
#[derive(Default)]
pub struct ServerPause {
    state: Mutex<PauseState>,
    changed: Notify,
}

#[derive(Default)]
struct PauseState {
    /// The end of the pause; `None` when requests are sent freely.
    until: Option<Instant>,
    /// When a first request was sent after the pause, until it has a response.
    probing_since: Option<Instant>,
    /// How many first requests the server has refused.
    refusals: u64,
}

/// The permission to send one request.
pub struct SendPermit<'a> {
    pause: &'a ServerPause,
    is_probe: bool,
}

/// What a request that waits for its turn learns.
pub enum Turn<'a> {
    /// It may be sent.
    Send(SendPermit<'a>),
    /// The server refused this number of other requests in the meantime.
    Refused(u64),
}

impl ServerPause {
    fn change<T>(&self, change: impl FnOnce(&mut PauseState) -> T) -> T {
        let changed = change(&mut lock(&self.state));
        self.changed.notify_waiters();
        changed
    }

    /// How many first requests after a pause the server has refused.
    pub fn refusals(&self) -> u64 {
        lock(&self.state).refusals
    }

    /// Waits until a request may be sent. One that was refused before passes the number of refusals that it knows of, and
    /// learns of others.
    pub async fn turn(&self, known_refusals: Option<u64>) -> Turn<'_> {
        loop {
            let changed = self.changed.notified();
            let until = {
                let mut state = lock(&self.state);
                if let Some(known) = known_refusals.filter(|known| *known < state.refusals) {
                    return Turn::Refused(state.refusals - known);
                }
                let now = Instant::now();
                match (state.until, state.probing_since.map(|since| since + MAX_PROBE_TIME)) {
                    (None, _) => return Turn::Send(SendPermit { pause: self, is_probe: false }),
                    (Some(_), Some(end)) if end <= now => {
                        *state = PauseState { refusals: state.refusals, ..PauseState::default() };
                        return Turn::Send(SendPermit { pause: self, is_probe: false });
                    }
                    (Some(until), None) if until <= now => {
                        state.probing_since = Some(now);
                        return Turn::Send(SendPermit { pause: self, is_probe: true });
                    }
                    (Some(until), probe_end) => probe_end.unwrap_or(until),
                }
            };
            tokio::select! {
                () = changed => {}
                () = sleep_until(until) => {}
            }
        }
    }
}

impl SendPermit<'_> {
    /// The server refused the request and asked for this pause.
    pub fn refused(mut self, pause: Duration) {
        let is_probe = std::mem::take(&mut self.is_probe);
        self.pause.change(|state| {
            state.until = state.until.max(Some(Instant::now() + pause));
            if is_probe {
                state.probing_since = None;
                state.refusals += 1;
            }
        });
    }
}

impl Drop for SendPermit<'_> {
    /// The server responded in another way, or the request was given up: the next ones need not wait.
    fn drop(&mut self) {
        if self.is_probe {
            self.pause.change(|state| {
                state.probing_since = None;
                state.until = None;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    /// Whether a request may be sent now.
    async fn may_send(pause: &ServerPause) -> Option<SendPermit<'_>> {
        let mut turn = std::pin::pin!(pause.turn(None));
        poll_fn(|context| match turn.as_mut().poll(context) {
            Poll::Ready(Turn::Send(permit)) => Poll::Ready(Some(permit)),
            Poll::Ready(Turn::Refused(_)) | Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn after_a_pause_one_request_is_sent_and_the_others_follow() {
        let pause = ServerPause::default();
        let end_pause = || pause.change(|state| state.until = Some(Instant::now()));
        let (Some(first), Some(second)) = (may_send(&pause).await, may_send(&pause).await) else { panic!("no pause") };
        first.refused(Duration::from_secs(500));
        assert!(may_send(&pause).await.is_none());
        // A response to a request that was sent before the pause does not end it.
        drop(second);
        assert!(may_send(&pause).await.is_none());
        end_pause();
        let Some(probe) = may_send(&pause).await else { panic!("the pause is over") };
        assert!(may_send(&pause).await.is_none(), "only one");
        probe.refused(Duration::from_secs(300));
        assert!(matches!(pause.turn(Some(0)).await, Turn::Refused(1)));
        assert!(may_send(&pause).await.is_none());
        end_pause();
        let Turn::Send(probe) = pause.turn(Some(1)).await else { panic!("the second pause is over") };
        assert!(may_send(&pause).await.is_none(), "only one");
        pause.change(|state| state.probing_since = Instant::now().checked_sub(MAX_PROBE_TIME));
        assert!(may_send(&pause).await.is_some(), "the first one was accepted and takes long");
        drop(probe);
        let (third, fourth) = (may_send(&pause).await, may_send(&pause).await);
        assert!(third.is_some() && fourth.is_some());
    }
}
