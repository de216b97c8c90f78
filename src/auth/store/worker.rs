//! The thread that speaks to the keychain, and the deadlines in front of it.
//!
//! A keychain may block for ever, and nothing can be done about the thread that waits for it, except not to
//! wait for the thread: it is not joined, and the end of the process ends it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use super::Say;
use super::vault::{Opener, Trouble, Vault};

/// When a person is told what we wait for.
const SILENCE: Duration = Duration::from_millis(1500);

/// How long the keychain may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To be reached; nobody needs to do anything for that.
    pub connect: Duration,
    /// To read.
    pub read: Duration,
    /// To write or delete: what it is told then (a rotated token) cannot be had again.
    pub write: Duration,
    /// Somebody may be unlocking it, and wants to know that we wait.
    pub person: bool,
}

impl Patience {
    /// The patience for a script, or for a person who may have to type a password.
    pub fn of(person: bool) -> Self {
        let seconds = Duration::from_secs;
        if person {
            Patience { connect: seconds(5), read: seconds(60), write: seconds(60), person }
        } else {
            Patience { connect: seconds(3), read: seconds(3), write: seconds(10), person }
        }
    }
}

type Work = Box<dyn FnOnce(Result<&dyn Vault, Trouble>) + Send>;

struct Job {
    number: u64,
    work: Work,
}

/// The thread; it starts with the first call.
pub struct Worker {
    opener: Opener,
    patience: Patience,
    say: Say,
    jobs: Mutex<Option<Sender<Job>>>,
    /// Whether the keychain has been reached.
    opened: watch::Sender<bool>,
    progress: Arc<Progress>,
}

/// Jobs are numbered from 1.
#[derive(Default)]
struct Progress {
    given: AtomicU64,
    finished: AtomicU64,
    /// The last job that nobody waits for any more.
    abandoned: AtomicU64,
}

impl Worker {
    /// A worker for the keychain that `opener` opens.
    pub fn new(opener: Opener, patience: Patience, say: Say) -> Self {
        let (jobs, opened) = (Mutex::default(), watch::Sender::new(false));
        Worker { opener, patience, say, jobs, opened, progress: Arc::default() }
    }

    /// Whether somebody is there who may unlock it.
    pub fn has_person(&self) -> bool {
        self.patience.person
    }

    /// Reads, within the time for reading.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Vault) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        self.run(self.patience.read, work).await
    }

    /// Writes, within the time for writing. When that is over, it may still be done later.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Vault) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        self.run(self.patience.write, work).await
    }

    async fn run<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&dyn Vault) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let mut opened = self.opened.subscribe();
        let progress = &self.progress;
        if progress.abandoned.load(Ordering::SeqCst) > progress.finished.load(Ordering::SeqCst) {
            // The thread still hangs where it hung before; nothing is gained by waiting for it again.
            let reached = *opened.borrow();
            return Err(if reached { Trouble::Waiting(patience) } else { Trouble::Silent(self.patience.connect) });
        }
        let (sender, mut answer) = oneshot::channel();
        let work: Work = Box::new(move |vault| {
            let _ = sender.send(vault.and_then(work));
        });
        let number = self.give(work)?;
        let ended = |answer: Result<Result<T, Trouble>, _>| {
            answer.unwrap_or_else(|_| {
                // The next call starts another.
                *self.jobs.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Err(Trouble::Broken("the thread that spoke to it has ended".to_owned()))
            })
        };
        let give_up = || progress.abandoned.fetch_max(number, Ordering::SeqCst);
        tokio::select! {
            biased;
            answer = &mut answer => return ended(answer),
            Ok(_) = opened.wait_for(|opened| *opened) => {}
            () = sleep(self.patience.connect) => {
                give_up();
                return Err(Trouble::Silent(self.patience.connect));
            }
        }
        let first = if self.patience.person { SILENCE.min(patience) } else { patience };
        if let Ok(answer) = timeout(first, &mut answer).await {
            return ended(answer);
        }
        if self.patience.person {
            (self.say)("waiting for the keychain, which may be asking to be unlocked");
            if let Ok(answer) = timeout(patience.saturating_sub(first), &mut answer).await {
                return ended(answer);
            }
        }
        give_up();
        Err(Trouble::Waiting(patience))
    }

    /// Gives the thread a job, and starts it where there is none.
    fn give(&self, work: Work) -> Result<u64, Trouble> {
        let number = self.progress.given.fetch_add(1, Ordering::SeqCst) + 1;
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut job = Job { number, work };
        if let Some(sender) = jobs.as_ref() {
            match sender.send(job) {
                Ok(()) => return Ok(number),
                Err(refused) => job = refused.0,
            }
        }
        let (sender, receiver) = channel();
        let (opener, opened, progress) = (self.opener.clone(), self.opened.clone(), self.progress.clone());
        opened.send_replace(false);
        std::thread::Builder::new()
            .name("keychain".to_owned())
            .spawn(move || serve(&receiver, &opener, &opened, &progress))
            .map_err(|error| Trouble::Broken(format!("cannot start a thread: {error}")))?;
        // The thread has just been started and holds the other end.
        let _ = sender.send(job);
        *jobs = Some(sender);
        Ok(number)
    }
}

fn serve(jobs: &Receiver<Job>, opener: &Opener, opened: &watch::Sender<bool>, progress: &Progress) {
    let mut vault: Option<Box<dyn Vault>> = None;
    for job in jobs {
        let open = match vault.take() {
            Some(vault) => Ok(vault),
            None => opener(),
        };
        match open {
            Ok(open) => {
                opened.send_replace(true);
                (job.work)(Ok(&*open));
                vault = Some(open);
            }
            Err(trouble) => (job.work)(Err(trouble)),
        }
        progress.finished.fetch_max(job.number, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::sync::atomic::AtomicUsize;
    use std::time::Instant;

    use super::super::tests::{Memory, heard};
    use super::*;

    const SHORT: Patience = Patience {
        connect: Duration::from_millis(80),
        read: Duration::from_millis(80),
        write: Duration::from_millis(80),
        person: false,
    };

    fn worker(opener: Opener, patience: Patience) -> (Worker, Arc<Mutex<Vec<String>>>) {
        let (say, said) = heard();
        (Worker::new(opener, patience, say), said)
    }

    #[tokio::test]
    async fn a_bus_that_never_answers_costs_one_deadline_and_no_more() {
        let (worker, _) = worker(
            Arc::new(|| {
                loop {
                    std::thread::park()
                }
            }),
            SHORT,
        );
        let started = Instant::now();
        assert_eq!(worker.read(|_| Ok(())).await, Err(Trouble::Silent(SHORT.connect)));
        assert!(started.elapsed() >= SHORT.connect);
        let again = Instant::now();
        assert_eq!(worker.read(|_| Ok(())).await, Err(Trouble::Silent(SHORT.connect)));
        assert!(again.elapsed() < SHORT.connect);
    }

    #[tokio::test]
    async fn a_hanging_prompt_is_left_and_a_late_answer_revives_the_worker() {
        let memory = Memory::default();
        let (worker, _) = worker(memory.opener(), SHORT);
        let (release, released) = channel::<()>();
        let hung = worker
            .read(move |_| {
                let _ = released.recv();
                Ok(())
            })
            .await;
        assert_eq!(hung, Err(Trouble::Waiting(SHORT.read)));
        assert_eq!(worker.read(|_| Ok(())).await, Err(Trouble::Waiting(SHORT.read)));
        release.send(()).unwrap();
        while worker.progress.finished.load(Ordering::SeqCst) == 0 {
            sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(worker.read(|_| Ok(7)).await, Ok(7));
    }

    #[tokio::test]
    async fn a_person_is_told_what_we_wait_for() {
        let patience = Patience { read: SILENCE + Duration::from_secs(20), person: true, ..SHORT };
        let (worker, said) = worker(Memory::default().opener(), patience);
        let slow = worker
            .read(|_| {
                std::thread::sleep(SILENCE + Duration::from_millis(200));
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
        let memory = Memory::default().opener();
        let count = tries.clone();
        let opener: Opener = Arc::new(move || match count.fetch_add(1, Ordering::SeqCst) {
            0 => Err(Trouble::Broken("no bus".into())),
            _ => memory(),
        });
        let (worker, _) = worker(opener, SHORT);
        assert_eq!(tries.load(Ordering::SeqCst), 0, "not opened before it is needed");
        assert_eq!(worker.read(|_| Ok(())).await, Err(Trouble::Broken("no bus".into())));
        assert_eq!(worker.read(|_| Ok(())).await, Ok(()));
        assert_eq!(worker.read(|_| Ok(())).await, Ok(()));
        assert_eq!(tries.load(Ordering::SeqCst), 2, "and not again while it is open");
    }

    #[tokio::test]
    async fn a_thread_that_dies_is_replaced() {
        let patience = Patience { read: Duration::from_secs(10), ..SHORT };
        let (worker, _) = worker(Memory::default().opener(), patience);
        let died = worker.read(|_| -> Result<(), Trouble> { panic!("a panic on purpose") }).await;
        assert!(matches!(died, Err(Trouble::Broken(_))), "{died:?}");
        assert_eq!(worker.read(|_| Ok(3)).await, Ok(3));
    }
}
