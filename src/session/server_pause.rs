//! A server that asks for a pause (`Retry-After`) gets one: no request of the session is sent during it. After it, one
//! request is sent, and the others follow if the server accepts that one.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::util::lock::lock;

/// How long others wait for the response to the first request after a pause. A refusal comes at once; a tool may take
/// long.
const MAX_PROBE_TIME: Duration = Duration::from_secs(1);

/// The pause that a server asked for, shared by all requests of a session.
#[derive(Default)]
pub struct ServerPause {
    state: Mutex<PauseState>,
    changed: Notify,
}

#[derive(Default)]
struct PauseState {
    phase: PausePhase,
    /// How many first requests the server has refused.
    refusals: u64,
}

#[derive(Clone, Copy, Default)]
enum PausePhase {
    /// Requests are sent freely.
    #[default]
    NoPause,
    /// None is sent before this time.
    Paused { until: Instant },
    /// The pause is over, and the first request after it has no response yet.
    Probing { until: Instant, since: Instant },
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

    /// Waits until a request may be sent. One that was refused before passes the number of refusals that it knows of,
    /// and learns of others.
    pub async fn turn(&self, known_refusals: Option<u64>) -> Turn<'_> {
        loop {
            let changed = self.changed.notified();
            let until = {
                let mut state = lock(&self.state);
                if let Some(known) = known_refusals.filter(|known| *known < state.refusals) {
                    return Turn::Refused(state.refusals - known);
                }
                let probe_end = |since: Instant| since + MAX_PROBE_TIME;
                match state.phase {
                    PausePhase::NoPause => return Turn::Send(SendPermit { pause: self, is_probe: false }),
                    PausePhase::Paused { until } if until > Instant::now() => until,
                    PausePhase::Paused { until } => {
                        state.phase = PausePhase::Probing { until, since: Instant::now() };
                        return Turn::Send(SendPermit { pause: self, is_probe: true });
                    }
                    PausePhase::Probing { since, .. } if probe_end(since) > Instant::now() => probe_end(since),
                    PausePhase::Probing { .. } => {
                        state.phase = PausePhase::NoPause;
                        return Turn::Send(SendPermit { pause: self, is_probe: false });
                    }
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
        let end = Instant::now() + pause;
        self.pause.change(|state| {
            state.refusals += u64::from(is_probe);
            state.phase = match state.phase {
                PausePhase::NoPause => PausePhase::Paused { until: end },
                PausePhase::Probing { until, since } if !is_probe => {
                    PausePhase::Probing { until: until.max(end), since }
                }
                PausePhase::Paused { until } | PausePhase::Probing { until, .. } => {
                    PausePhase::Paused { until: until.max(end) }
                }
            };
        });
    }
}

impl Drop for SendPermit<'_> {
    /// The server responded in another way, or the request was given up: the next ones need not wait.
    fn drop(&mut self) {
        if self.is_probe {
            self.pause.change(|state| state.phase = PausePhase::NoPause);
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
        let end_pause = || pause.change(|state| state.phase = PausePhase::Paused { until: Instant::now() });
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
        let Some(since) = Instant::now().checked_sub(MAX_PROBE_TIME) else { panic!("no time before now") };
        pause.change(|state| state.phase = PausePhase::Probing { until: since, since });
        assert!(may_send(&pause).await.is_some(), "the first one was accepted and takes long");
        drop(probe);
        let (third, fourth) = (may_send(&pause).await, may_send(&pause).await);
        assert!(third.is_some() && fourth.is_some());
    }
}
