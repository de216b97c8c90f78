//! Asking once more: after failures that may pass by themselves, and only where it can do no harm.
//!
//! What certainly never reached the server may be sent again, whatever it is; what changes nothing, too.
//! Anything else is repeated only where the tool says that it may be and the user asks for it. Nothing is
//! sent twice silently.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use super::Session;
use super::era::Call;
use crate::error::{Again, Class, Result};
use crate::transport::trace::Trace;

/// The pause before the first retry; it doubles with each.
const FIRST: Duration = Duration::from_millis(300);
/// The longest pause that nobody asked for.
const LONGEST: Duration = Duration::from_secs(20);
/// The pause between looks at a server that is not ready; it doubles up to the second.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// The longest pause that a server may ask for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells the person that something that may have effects is sent once more.
pub type Notice = Arc<dyn Fn(&str) + Send + Sync>;

/// When to ask once more.
#[derive(Clone, Default)]
pub struct Policy {
    /// How often.
    pub times: u32,
    /// Whether the user said how often: then what may be repeated is, and not only what was never sent.
    pub asked: bool,
    /// How long a server may take to become ready.
    pub wait: Option<Duration>,
    /// The longest pause that a server may ask for, where the user said how long an answer may take; a minute at most.
    pub patience: Option<Duration>,
    /// Who is told.
    pub notice: Option<Notice>,
}

/// One failed attempt.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    /// What is known of it.
    pub again: Again,
    /// Its class.
    pub class: Class,
    /// Whether the server has answered anything yet.
    pub was_ready: bool,
}

/// The attempts at one operation.
pub struct Attempts<'a> {
    policy: &'a Policy,
    /// Whether the operation may be carried out twice, as far as the server is concerned.
    harmless: bool,
    /// The same, on the word of the tool.
    repeatable: bool,
    retries: u32,
    looks: u32,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Report the failure.
    Stop,
    /// The server is not ready: look again after this pause.
    Look(Duration),
    /// Try again after this pause; it is the n-th retry.
    Retry(Duration, u32),
}

impl Policy {
    /// Attempts at this operation.
    #[must_use]
    pub fn attempts(&self, call: &Call) -> Attempts<'_> {
        Attempts { policy: self, harmless: !call.effects, repeatable: call.repeatable, retries: 0, looks: 0 }
    }

    /// Tells the person, or where it changes nothing only the trace, that an operation is tried the n-th time again after this pause.
    pub fn tell(&self, call: &Call, again: Again, pause: Duration, n: u32, trace: &Trace) {
        let why = match again {
            Again { after: Some(_), .. } => "the server asks to come back later",
            Again { answered: true, .. } => "the server could not take it",
            Again { unsent: true, .. } => "the server could not be reached",
            Again { unsent: false, .. } => "the connection broke off",
        };
        let text = format!("{why}: {} again in {} ({n} of {})", call.method, shown(pause), self.times);
        match &self.notice {
            Some(notice) if call.effects => notice(&text),
            _ => trace.note(&text),
        }
    }
}

impl Attempts<'_> {
    /// What to do after a failure, `elapsed` after the first attempt began. `chance` is from 0 to 1.
    pub fn next(&mut self, trouble: Trouble, elapsed: Duration, chance: f64) -> Next {
        let Trouble { again, class, was_ready } = trouble;
        let safe = again.unsent || self.harmless;
        if let Some(wait) = self.policy.wait.filter(|_| safe && !was_ready) {
            let left = wait.saturating_sub(elapsed);
            self.looks += 1;
            // The last look is at the very end.
            let pause = look(self.looks - 1, chance).max(again.after.unwrap_or_default()).min(left);
            return if left.is_zero() { Next::Stop } else { Next::Look(pause) };
        }
        let allowed = safe || (self.policy.asked && self.repeatable);
        // What has already taken all the time that there was is not waited for again unasked.
        let late = class == Class::Timeout && !self.policy.asked;
        if !allowed || late || self.retries >= self.policy.times {
            return Next::Stop;
        }
        let pause = spread(doubled(FIRST, self.retries).min(LONGEST), chance);
        self.retries += 1;
        match again.after {
            Some(after) if after > self.policy.patience.unwrap_or(PATIENCE).min(PATIENCE) => Next::Stop,
            // All who were told the same time should not come back at the same moment.
            Some(after) => Next::Retry(after + spread(FIRST / 2, chance), self.retries),
            None => Next::Retry(pause, self.retries),
        }
    }
}

/// The pause after so many looks at a server that is not ready.
#[must_use]
pub fn look(looks: u32, chance: f64) -> Duration {
    spread(doubled(LOOK.0, looks).min(LOOK.1), chance)
}

fn doubled(time: Duration, times: u32) -> Duration {
    time.saturating_mul(2_u32.saturating_pow(times))
}

/// From half of the time to all of it.
fn spread(time: Duration, chance: f64) -> Duration {
    time.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

/// A pause as people write it.
fn shown(pause: Duration) -> String {
    format!("{:.1} s", pause.as_secs_f64())
}

impl Session {
    /// Attempts at an operation until one succeeds or the policy says that it is enough. `again` tells whether
    /// a success is none.
    pub(super) async fn trying<T>(
        &self,
        call: &Call,
        attempt: impl AsyncFn() -> Result<T>,
        again: impl Fn(&T) -> Option<Again>,
    ) -> Result<T> {
        let mut attempts = self.options.retry.attempts(call);
        let began = *self.began.get_or_init(Instant::now);
        loop {
            let outcome = attempt().await;
            let was_ready = self.answered.load(Ordering::Relaxed);
            let (again, class) = match &outcome {
                Ok(value) => (again(value), Class::Unreachable),
                // It was waited for already.
                Err(_) if self.options.retry.wait.is_some() && !was_ready => return outcome,
                // The connection was not opened: of what has effects, nothing was sent.
                Err(failure) => {
                    let again = failure.details().again;
                    (again.map(|again| Again { unsent: again.unsent || call.effects, ..again }), failure.class())
                }
            };
            let Some(again) = again else {
                self.answered.fetch_or(outcome.is_ok(), Ordering::Relaxed);
                return outcome;
            };
            let next = attempts.next(Trouble { again, class, was_ready }, began.elapsed(), chance());
            let (Next::Look(pause) | Next::Retry(pause, _)) = next else { return outcome };
            if let Next::Retry(pause, n) = next {
                self.options.retry.tell(call, again, pause, n, &self.options.transport.trace);
            }
            self.options.transport.interrupt.guard(tokio::time::sleep(pause)).await?;
            self.drop_dead().await;
        }
    }

    /// Forgets a connection over which nothing can come back.
    async fn drop_dead(&self) {
        let mut open = self.open.lock().await;
        if let Some(live) = open.take_if(|live| live.link.gone().is_some()) {
            live.link.close(false).await;
        }
    }
}

/// A number from 0 to 1.
#[must_use]
pub fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without random numbers the pauses are the longest, which is no harm.
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    const UNSENT: Again = Again { unsent: true, answered: false, after: None };
    const BROKEN: Again = Again { unsent: false, answered: false, after: None };

    fn after(seconds: u64) -> Again {
        Again { unsent: true, answered: true, after: Some(Duration::from_secs(seconds)) }
    }

    fn read() -> Call {
        Call::read_only("tools/list", Map::new())
    }

    fn write(repeatable: bool) -> Call {
        Call { effects: true, repeatable, ..read() }
    }

    fn times(times: u32, asked: bool) -> Policy {
        Policy { times, asked, ..Policy::default() }
    }

    /// The pauses before each retry, in milliseconds.
    fn pauses(policy: &Policy, call: &Call, again: Again, chance: f64) -> Vec<u128> {
        let mut attempts = policy.attempts(call);
        let trouble = Trouble { again, class: Class::Unreachable, was_ready: true };
        let next = std::iter::from_fn(|| match attempts.next(trouble, Duration::ZERO, chance) {
            Next::Retry(pause, _) => Some(pause.as_millis()),
            Next::Stop => None,
            Next::Look(_) => panic!("nobody waits"),
        });
        next.take(20).collect()
    }

    #[test]
    fn pauses_double_and_are_spread_over_their_upper_half() {
        assert_eq!(pauses(&times(4, true), &read(), UNSENT, 1.0), [300, 600, 1200, 2400]);
        assert_eq!(pauses(&times(4, true), &read(), UNSENT, 0.0), [150, 300, 600, 1200]);
        assert_eq!(pauses(&times(9, true), &read(), UNSENT, 1.0)[7..], [20000, 20000]);
        assert_eq!(pauses(&times(0, true), &read(), UNSENT, 1.0), [0_u128; 0]);
    }

    #[test]
    fn a_call_is_repeated_only_where_it_never_arrived_or_the_tool_and_the_user_agree() {
        let count = |policy: &Policy, call: &Call, again| pauses(policy, call, again, 0.5).len();
        let (usual, asked) = (times(2, false), times(3, true));
        assert_eq!((count(&usual, &read(), BROKEN), count(&usual, &read(), UNSENT)), (2, 2));
        assert_eq!((count(&usual, &write(false), BROKEN), count(&usual, &write(false), UNSENT)), (0, 2));
        assert_eq!((count(&usual, &write(true), BROKEN), count(&usual, &write(true), UNSENT)), (0, 2));
        assert_eq!((count(&asked, &write(false), BROKEN), count(&asked, &write(false), UNSENT)), (0, 3));
        assert_eq!((count(&asked, &write(true), BROKEN), count(&asked, &write(true), UNSENT)), (3, 3));
    }

    #[test]
    fn a_server_says_when_to_come_back_within_reason() {
        assert_eq!(pauses(&times(2, false), &write(false), after(7), 1.0), [7150, 7150]);
        assert_eq!(pauses(&times(2, false), &read(), after(0), 0.0), [75, 75]);
        assert_eq!(pauses(&times(2, false), &read(), after(61), 1.0), [0_u128; 0]);
    }

    #[test]
    fn what_took_all_its_time_is_not_waited_for_again_unasked() {
        let next = |policy: &Policy| {
            let trouble = Trouble { again: UNSENT, class: Class::Timeout, was_ready: false };
            policy.attempts(&read()).next(trouble, Duration::ZERO, 1.0)
        };
        assert_eq!(next(&times(2, false)), Next::Stop);
        assert_eq!(next(&times(2, true)), Next::Retry(Duration::from_millis(300), 1));
    }

    #[test]
    fn a_server_that_is_not_ready_is_looked_at_until_the_time_is_up() {
        let policy = Policy { wait: Some(Duration::from_secs(5)), ..times(0, true) };
        let mut attempts = policy.attempts(&write(false));
        let mut next = |again, was_ready, elapsed| {
            let trouble = Trouble { again, class: Class::Unreachable, was_ready };
            attempts.next(trouble, Duration::from_millis(elapsed), 1.0)
        };
        let look = |millis| Next::Look(Duration::from_millis(millis));
        assert_eq!(next(UNSENT, false, 0), look(100));
        assert_eq!(next(UNSENT, false, 100), look(200));
        assert_eq!(next(after(2), false, 300), look(2000));
        assert_eq!(next(UNSENT, false, 2300), look(800));
        assert_eq!(next(UNSENT, false, 3100), look(1000));
        assert_eq!(next(UNSENT, false, 4900), look(100), "the last look is at the end");
        assert_eq!(next(UNSENT, false, 5000), Next::Stop);
        assert_eq!(next(BROKEN, false, 0), Next::Stop, "a call that may have arrived is not sent again");
        assert_eq!(next(UNSENT, true, 0), Next::Stop, "it was ready");
    }

    #[test]
    fn chance_is_a_fraction() {
        let all: Vec<f64> = (0..50).map(|_| chance()).collect();
        assert!(all.iter().all(|one| (0.0..=1.0).contains(one)));
        assert!(all.iter().any(|one| one != &all[0]));
    }
}
