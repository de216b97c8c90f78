//! All configured servers, queried at once.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::cli::ListArgs;
use crate::commands::context::Context;
use crate::commands::lists::{DEFAULT_LIST_JOBS, note_no_servers};
use crate::config::Config;
use crate::error::{Failure, Result};
use crate::target::Target;
use crate::util::count::counted;

/// A server that takes longer than this no longer counts against `--jobs`, unless that is 1.
const SLOW_SERVER: Duration = Duration::from_secs(2);
/// If at most this many servers are left, the progress line names them.
const MAX_NAMED_SERVERS: usize = 3;

/// The servers of the configuration.
pub(super) struct ConfiguredServers<'a> {
    context: &'a Context,
    args: &'a ListArgs,
    config: &'a Config,
    /// Their names, in the order of the configuration.
    pub names: Vec<&'a str>,
    /// How many are queried at once.
    jobs: u16,
}

impl<'a> ConfiguredServers<'a> {
    /// The servers that are enabled. Prints what is wrong with the others, and a note if there are none.
    pub fn new(context: &'a Context, args: &'a ListArgs, config: &'a Config) -> Self {
        config.skip_warnings().for_each(|text| context.ui.warn(&text));
        let names: Vec<&str> = config.enabled_names().collect();
        if names.is_empty() {
            note_no_servers(context, config);
        }
        let jobs = args.jobs.or(config.defaults.jobs).unwrap_or(DEFAULT_LIST_JOBS);
        ConfiguredServers { context, args, config, names, jobs }
    }

    /// The target of one of them. Querying all starts no session for each of them.
    ///
    /// # Errors
    /// As [`Context::resolve_configured`].
    pub async fn target(&self, name: &str) -> Result<Target> {
        let options = &self.args.target_options;
        let target = self.context.resolve_configured(self.config, name, options, self.args.offline).await?;
        Ok(Target { keep_alive: None, ..target })
    }

    /// Queries all, and shows how many are done, and at the end which are not. Passes each outcome on in the order of
    /// the names as soon as those before it are done; interrupted ones are omitted.
    pub async fn query<T, F: Future<Output = T>>(
        &self,
        query: impl Fn(&'a str) -> F,
        failure: impl Fn(&T) -> Option<&Failure>,
        each: impl Fn(&T) -> Result<()>,
    ) -> Result<Vec<T>> {
        let (count, turns) = (self.names.len(), Semaphore::new(usize::from(self.jobs)));
        let progress = self.context.progress(&format!("querying {}", counted(count, "server")));
        let release_after = release_after(self.jobs);
        let numbered = self.names.iter().enumerate();
        let all = numbered.map(async |(number, name)| (number, with_permit(&turns, release_after, query(name)).await));
        let mut all: FuturesUnordered<_> = all.collect();
        let collect = async {
            let mut open: Vec<usize> = (0..count).collect();
            let (mut early, mut outcomes, mut next) = (HashMap::new(), Vec::new(), 0);
            while let Some((number, outcome)) = all.next().await {
                open.retain(|other| *other != number);
                early.insert(number, outcome);
                while let Some(outcome) = early.remove(&next) {
                    next += 1;
                    if !failure(&outcome).is_some_and(|failure| failure.kind().is_interrupt()) {
                        each(&outcome)?;
                        outcomes.push(outcome);
                    }
                }
                let names = || open.iter().map(|number| self.names[*number]).collect::<Vec<_>>().join(", ");
                let message = (open.len() <= MAX_NAMED_SERVERS).then(|| format!("waiting for {}", names()));
                progress.update((count - open.len()) as f64, Some(count as f64), message.as_deref());
            }
            Ok(outcomes)
        };
        progress.show_during(collect).await
    }
}

/// After which time a server no longer counts. With one job, servers are queried one after another.
fn release_after(jobs: u16) -> Option<Duration> {
    (jobs > 1).then_some(SLOW_SERVER)
}

/// Queries with a permit, which is given back after a time: servers that hang do not hold up the rest.
async fn with_permit<T>(turns: &Semaphore, release_after: Option<Duration>, query: impl Future<Output = T>) -> T {
    let turn = turns.acquire().await;
    let mut query = std::pin::pin!(query);
    if let Some(limit) = release_after {
        if let Ok(outcome) = timeout(limit, &mut query).await {
            return outcome;
        }
        drop(turn);
    }
    query.await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::RefCell;

    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn a_slow_server_gives_its_turn_to_the_next() {
        assert_eq!((release_after(2), release_after(1)), (Some(SLOW_SERVER), None));
        let turns = Semaphore::new(1);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let soon = Some(Duration::from_millis(1));
        // The first ends only after the second has begun.
        let first = with_permit(&turns, soon, receiver);
        let second = with_permit(&turns, soon, async { sender.send(7).unwrap() });
        assert_eq!(block_on(futures_util::future::join(first, second)).0, Ok(7));
    }

    #[test]
    fn a_server_that_keeps_its_turn_is_queried_alone() {
        let (turns, seen) = (Semaphore::new(1), RefCell::default());
        let query = |name: &'static str| {
            let seen: &RefCell<Vec<String>> = &seen;
            with_permit(&turns, None, async move {
                seen.borrow_mut().push(format!("{name} begins"));
                tokio::time::sleep(Duration::from_millis(2)).await;
                seen.borrow_mut().push(format!("{name} ends"));
            })
        };
        block_on(futures_util::future::join(query("a"), query("b")));
        assert_eq!(*seen.borrow(), ["a begins", "a ends", "b begins", "b ends"]);
    }
}
