//! The thread that accesses the keychain, and the deadlines of the accesses.
//!
//! A keychain may block indefinitely, and a blocked thread cannot be stopped. So the thread is not joined; it ends with
//! the process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::auth::store::private_file::Notifier;
use crate::auth::store::system_keychain::{KeychainBackend, KeychainError, KeychainOpener};
use crate::util::lock::lock;

/// How long to wait before the user is told.
const NOTIFY_AFTER: Duration = Duration::from_millis(1500);

/// How long the keychain may take.
#[derive(Clone, Copy, Debug)]
pub struct KeychainTimeouts {
    /// To connect; this needs no user.
    pub connect: Duration,
    /// To read.
    pub read: Duration,
    /// To write or delete: a rotated token that is lost cannot be obtained again.
    pub write: Duration,
    /// The user may be unlocking it, and should know that mcpipe waits.
    pub is_interactive: bool,
}

impl KeychainTimeouts {
    /// The timeouts for a script, or for a user who may have to type a password.
    pub fn new(is_interactive: bool) -> Self {
        let seconds = Duration::from_secs;
        if is_interactive {
            KeychainTimeouts { connect: seconds(5), read: seconds(60), write: seconds(60), is_interactive }
        } else {
            KeychainTimeouts { connect: seconds(3), read: seconds(3), write: seconds(10), is_interactive }
        }
    }
}

/// An access; it returns whether it succeeded.
type JobFn = Box<dyn FnOnce(Result<&dyn KeychainBackend, KeychainError>) -> bool + Send>;

struct KeychainJob {
    id: u64,
    run: JobFn,
}

/// The thread; it is started by the first access.
pub struct KeychainWorker {
    opener: KeychainOpener,
    timeouts: KeychainTimeouts,
    notifier: Notifier,
    jobs: Mutex<Option<Sender<KeychainJob>>>,
    /// Whether the keychain has been reached.
    opened: watch::Sender<bool>,
    progress: Arc<JobProgress>,
}

/// Jobs are numbered from 1.
#[derive(Default)]
struct JobProgress {
    submitted: AtomicU64,
    finished: AtomicU64,
    /// The last job whose caller has given up.
    abandoned: AtomicU64,
}

impl KeychainWorker {
    /// A worker for the keychain that `opener` opens.
    pub fn new(opener: KeychainOpener, timeouts: KeychainTimeouts, notifier: Notifier) -> Self {
        let (jobs, opened) = (Mutex::default(), watch::Sender::new(false));
        KeychainWorker { opener, timeouts, notifier, jobs, opened, progress: Arc::default() }
    }

    /// Whether the user is at a terminal and can unlock the keychain.
    pub fn is_interactive(&self) -> bool {
        self.timeouts.is_interactive
    }

    /// Reads, within the time for reading.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn KeychainBackend) -> Result<T, KeychainError> + Clone + Send + 'static,
    ) -> Result<T, KeychainError> {
        self.run(self.timeouts.read, work).await
    }

    /// Writes, within the time for writing. After a timeout, the write may still complete later.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn KeychainBackend) -> Result<T, KeychainError> + Clone + Send + 'static,
    ) -> Result<T, KeychainError> {
        self.run(self.timeouts.write, work).await
    }

    /// Repeats an access on a new connection if that of earlier accesses no longer works: the keychain's service may
    /// have been restarted.
    async fn run<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&dyn KeychainBackend) -> Result<T, KeychainError> + Clone + Send + 'static,
    ) -> Result<T, KeychainError> {
        let was_open = *self.opened.borrow();
        match self.run_once(patience, work.clone()).await {
            Err(KeychainError::Unavailable(_)) if was_open => self.run_once(patience, work).await,
            outcome => outcome,
        }
    }

    async fn run_once<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&dyn KeychainBackend) -> Result<T, KeychainError> + Send + 'static,
    ) -> Result<T, KeychainError> {
        let mut opened = self.opened.subscribe();
        let progress = &self.progress;
        if progress.abandoned.load(Ordering::SeqCst) > progress.finished.load(Ordering::SeqCst) {
            // The thread is still blocked by an earlier job; waiting again would be in vain.
            let reached = *opened.borrow();
            return Err(if reached {
                KeychainError::UnlockTimeout(patience)
            } else {
                KeychainError::NoResponse(self.timeouts.connect)
            });
        }
        let (sender, mut answer) = oneshot::channel();
        let work: JobFn = Box::new(move |vault| {
            let outcome = vault.and_then(work);
            let has_succeeded = outcome.is_ok();
            let _ = sender.send(outcome);
            has_succeeded
        });
        let number = self.submit(work)?;
        let ended = |answer: Result<Result<T, KeychainError>, _>| {
            answer.unwrap_or_else(|_| Err(KeychainError::Unavailable("its thread has ended".to_owned())))
        };
        let give_up = || progress.abandoned.fetch_max(number, Ordering::SeqCst);
        tokio::select! {
            biased;
            answer = &mut answer => return ended(answer),
            Ok(_) = opened.wait_for(|opened| *opened) => {}
            () = sleep(self.timeouts.connect) => {
                give_up();
                return Err(KeychainError::NoResponse(self.timeouts.connect));
            }
        }
        let first = if self.timeouts.is_interactive { NOTIFY_AFTER.min(patience) } else { patience };
        if let Ok(answer) = timeout(first, &mut answer).await {
            return ended(answer);
        }
        if self.timeouts.is_interactive {
            (self.notifier)("waiting for the keychain; it may be asking to be unlocked");
            if let Ok(answer) = timeout(patience.saturating_sub(first), &mut answer).await {
                return ended(answer);
            }
        }
        give_up();
        Err(KeychainError::UnlockTimeout(patience))
    }

    /// Sends a job to the thread, and starts it if it is not running.
    fn submit(&self, work: JobFn) -> Result<u64, KeychainError> {
        let mut jobs = lock(&self.jobs);
        // Jobs are numbered in the order in which they are done.
        let number = self.progress.submitted.fetch_add(1, Ordering::SeqCst) + 1;
        let job = KeychainJob { id: number, run: work };
        if let Some(sender) = jobs.as_ref() {
            // The thread runs until this sender is dropped.
            let _ = sender.send(job);
            return Ok(number);
        }
        let (sender, receiver) = channel();
        let (opener, opened, progress) = (self.opener.clone(), self.opened.clone(), self.progress.clone());
        std::thread::Builder::new()
            .name("keychain".to_owned())
            .spawn(move || run_jobs(&receiver, &opener, &opened, &progress))
            .map_err(|error| KeychainError::Unavailable(format!("cannot start a thread: {error}")))?;
        // The thread has just been started and holds the other end.
        let _ = sender.send(job);
        *jobs = Some(sender);
        Ok(number)
    }
}

fn run_jobs(
    jobs: &Receiver<KeychainJob>,
    opener: &KeychainOpener,
    opened: &watch::Sender<bool>,
    progress: &JobProgress,
) {
    let mut vault: Option<Box<dyn KeychainBackend>> = None;
    for job in jobs {
        let open = match vault.take() {
            Some(vault) => Ok(vault),
            None => opener(),
        };
        match open {
            Ok(open) => {
                opened.send_replace(true);
                // After a failure, the next access opens the keychain again.
                vault = (job.run)(Ok(&*open)).then_some(open);
            }
            Err(trouble) => _ = (job.run)(Err(trouble)),
        }
        progress.finished.fetch_max(job.id, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::sync::atomic::AtomicUsize;
    use std::time::Instant;

    use super::super::tests::{MemoryKeychain, recording_notifier};
    use super::*;

    const SHORT_TIMEOUTS: KeychainTimeouts = KeychainTimeouts {
        connect: Duration::from_millis(80),
        read: Duration::from_millis(80),
        write: Duration::from_millis(80),
        is_interactive: false,
    };

    fn worker(opener: KeychainOpener, patience: KeychainTimeouts) -> (KeychainWorker, Arc<Mutex<Vec<String>>>) {
        let (say, said) = recording_notifier();
        (KeychainWorker::new(opener, patience, say), said)
    }

    #[tokio::test]
    async fn a_bus_that_never_answers_costs_one_timeout() {
        let (worker, _) = worker(
            Arc::new(|| {
                loop {
                    std::thread::park()
                }
            }),
            SHORT_TIMEOUTS,
        );
        let started = Instant::now();
        assert_eq!(worker.read(|_| Ok(())).await, Err(KeychainError::NoResponse(SHORT_TIMEOUTS.connect)));
        assert!(started.elapsed() >= SHORT_TIMEOUTS.connect);
        let again = Instant::now();
        assert_eq!(worker.read(|_| Ok(())).await, Err(KeychainError::NoResponse(SHORT_TIMEOUTS.connect)));
        assert!(again.elapsed() < SHORT_TIMEOUTS.connect);
    }

    #[tokio::test]
    async fn a_pending_prompt_times_out_and_a_late_answer_revives_the_worker() {
        let memory = MemoryKeychain::default();
        let (worker, _) = worker(memory.opener(), SHORT_TIMEOUTS);
        let (release, released) = channel::<()>();
        let released = Arc::new(Mutex::new(released));
        let hung = worker
            .read(move |_| {
                let _ = lock(&released).recv();
                Ok(())
            })
            .await;
        assert_eq!(hung, Err(KeychainError::UnlockTimeout(SHORT_TIMEOUTS.read)));
        assert_eq!(worker.read(|_| Ok(())).await, Err(KeychainError::UnlockTimeout(SHORT_TIMEOUTS.read)));
        release.send(()).unwrap();
        while worker.progress.finished.load(Ordering::SeqCst) == 0 {
            sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(worker.read(|_| Ok(7)).await, Ok(7));
    }

    #[tokio::test]
    async fn the_user_is_notified_of_a_slow_keychain() {
        let patience =
            KeychainTimeouts { read: NOTIFY_AFTER + Duration::from_secs(20), is_interactive: true, ..SHORT_TIMEOUTS };
        let (worker, said) = worker(MemoryKeychain::default().opener(), patience);
        let slow = worker
            .read(|_| {
                std::thread::sleep(NOTIFY_AFTER + Duration::from_millis(200));
                Ok(1)
            })
            .await;
        assert_eq!(slow, Ok(1));
        assert_eq!(said.lock().unwrap().len(), 1);
        assert_eq!(worker.read(|_| Ok(2)).await, Ok(2));
        assert_eq!(said.lock().unwrap().len(), 1, "only when it takes long");
    }

    #[tokio::test]
    async fn opening_is_tried_again_after_it_failed() {
        let tries = Arc::new(AtomicUsize::new(0));
        let memory = MemoryKeychain::default().opener();
        let count = tries.clone();
        let opener: KeychainOpener = Arc::new(move || match count.fetch_add(1, Ordering::SeqCst) {
            0 => Err(KeychainError::Unavailable("no bus".into())),
            _ => memory(),
        });
        let (worker, _) = worker(opener, SHORT_TIMEOUTS);
        assert_eq!(tries.load(Ordering::SeqCst), 0, "not opened before it is needed");
        assert_eq!(worker.read(|_| Ok(())).await, Err(KeychainError::Unavailable("no bus".into())));
        assert_eq!(worker.read(|_| Ok(())).await, Ok(()));
        assert_eq!(worker.read(|_| Ok(())).await, Ok(()));
        assert_eq!(tries.load(Ordering::SeqCst), 2, "and not again while it is open");
    }

    #[tokio::test]
    async fn a_keychain_that_was_restarted_is_opened_again() {
        let opened = Arc::new(AtomicUsize::new(0));
        let (memory, count) = (MemoryKeychain::default().opener(), opened.clone());
        let opener: KeychainOpener = Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            memory()
        });
        let (worker, _) = worker(opener, SHORT_TIMEOUTS);
        let connections = opened.clone();
        // The first connection works once.
        let reads = Arc::new(AtomicUsize::new(0));
        let work = move |_: &dyn KeychainBackend| match reads.fetch_add(1, Ordering::SeqCst) {
            1.. if connections.load(Ordering::SeqCst) == 1 => Err(KeychainError::Unavailable("no session".into())),
            _ => Ok(()),
        };
        for expected in [1, 2, 2] {
            assert_eq!(worker.read(work.clone()).await, Ok(()));
            assert_eq!(opened.load(Ordering::SeqCst), expected);
        }
    }
}
