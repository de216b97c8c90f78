//! `list` without a target: an overview of every configured server, queried concurrently; a failure is a row.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::cli::ListArgs;
use crate::commands::context::{Context, Exit};
use crate::commands::lists::{
    DEFAULT_JOBS, FetchedLists, ListFilter, fetch_entries, note_no_servers, selected_kinds, signature,
};
use crate::config::LazyConfig;
use crate::error::{Failure, Result};
use crate::output::list_tables::{ServerRow, ServerState, kind_table, servers_table};
use crate::output::{Progress, Table, json_documents};
use crate::protocol::views::{ListItem, ListKind, ServerInfo};
use crate::session::Session;
use crate::target::Target;

/// A server that takes longer than this no longer counts against `--jobs`, unless that is 1.
const SLOW_SERVER: Duration = Duration::from_secs(2);
/// If at most this many servers are left, the progress line names them.
const MAX_NAMED_SERVERS: usize = 3;

/// The outcome of querying one server.
struct ServerOverview {
    name: String,
    transport: String,
    info: Option<(ServerInfo, String)>,
    lists: Vec<(ListKind, Vec<ListItem>)>,
    time: Duration,
    failure: Option<Failure>,
}

impl ServerOverview {
    fn new(name: &str, transport: &str) -> Self {
        ServerOverview {
            name: name.to_owned(),
            transport: transport.to_owned(),
            info: None,
            lists: Vec::new(),
            time: Duration::ZERO,
            failure: None,
        }
    }

    fn count(&self, kind: ListKind) -> Option<usize> {
        self.lists.iter().find(|(listed, _)| *listed == kind).map(|(_, entries)| entries.len())
    }
}

/// Queries every configured server.
///
/// # Errors
/// When the configuration cannot be read.
pub async fn run(context: &Context, args: &ListArgs) -> Result<Exit> {
    let lookup = LazyConfig::new(&context.env, context.global.config.as_deref());
    let config = lookup.config()?;
    config.skip_warnings().for_each(|text| context.ui.warn(&text));
    let servers: Vec<&str> = config.enabled_names().collect();
    if servers.is_empty() {
        note_no_servers(context, config);
        if context.ui.is_json() {
            context.ui.print_json_text(r#"{"servers":[]}"#)?;
        }
        return Ok(Exit::Done);
    }
    let kinds = if args.search.is_some() {
        selected_kinds(args)
    } else {
        vec![ListKind::Tools, ListKind::Resources, ListKind::Prompts]
    };
    let progress = context.progress(&format!("querying {} servers", servers.len()));
    let jobs = args.jobs.or(config.defaults.jobs).unwrap_or(DEFAULT_JOBS);
    let turns = Semaphore::new(usize::from(jobs));
    let target = |name| context.resolve_configured(config, name, &args.target_options, args.offline);
    let all = servers
        .iter()
        .map(|name| with_permit(&turns, release_after(jobs), query_server(context, args, &kinds, name, target(name))));
    // In a pipe each row is printed when it is known: the reader need not wait for the slowest server.
    let streams = args.search.is_none() && !context.ui.is_json() && !context.ui.terminal().stdout_is_tty;
    let each = |one: &ServerOverview| match streams {
        true => {
            let _quiet = context.ui.pause_progress();
            print_table(context, std::slice::from_ref(one))
        }
        false => Ok(()),
    };
    let asked = progress.show_during(collect_in_order(&progress, &servers, all, each)).await?;
    match &args.search {
        Some(word) => print_matches(context, &asked, word)?,
        None if streams => {}
        None => print_table(context, &asked)?,
    }
    // After an interrupt, what is known is printed first.
    if let Some(failure) = context.interrupt.raised_failure() {
        return Err(failure);
    }
    Ok(match asked.iter().find_map(|one| one.failure.as_ref()) {
        Some(failure) => Exit::Reported(failure.kind()),
        None => Exit::Done,
    })
}

/// After which time a server no longer counts. With one job, servers are queried one after another.
fn release_after(jobs: u16) -> Option<Duration> {
    (jobs > 1).then_some(SLOW_SERVER)
}

/// Queries with a permit, which is given back after a time: servers that hang do not hold up the rest.
async fn with_permit<T>(turns: &Semaphore, release_after: Option<Duration>, ask: impl Future<Output = T>) -> T {
    let turn = turns.acquire().await;
    let mut ask = std::pin::pin!(ask);
    if let Some(limit) = release_after {
        if let Ok(asked) = timeout(limit, &mut ask).await {
            return asked;
        }
        drop(turn);
    }
    ask.await
}

/// Waits for all, and shows how many are done, and at the end which are not. Passes each on in the order of the names
/// as soon as those before it are done; interrupted ones are omitted.
async fn collect_in_order(
    progress: &Progress,
    names: &[&str],
    all: impl Iterator<Item = impl Future<Output = ServerOverview>>,
    each: impl Fn(&ServerOverview) -> Result<()>,
) -> Result<Vec<ServerOverview>> {
    let mut open: Vec<&str> = names.to_vec();
    let mut all: FuturesUnordered<_> = all.collect();
    let mut early: HashMap<String, ServerOverview> = HashMap::new();
    let mut asked = Vec::new();
    let mut next = names.iter().peekable();
    while let Some(one) = all.next().await {
        open.retain(|name| *name != one.name);
        early.insert(one.name.clone(), one);
        while let Some(one) = next.peek().and_then(|name| early.remove(**name)) {
            next.next();
            if !is_interrupted(&one) {
                each(&one)?;
                asked.push(one);
            }
        }
        let message = (open.len() <= MAX_NAMED_SERVERS).then(|| format!("waiting for {}", open.join(", ")));
        progress.update((names.len() - open.len()) as f64, Some(names.len() as f64), message.as_deref());
    }
    Ok(asked)
}

async fn query_server(
    context: &Context,
    args: &ListArgs,
    kinds: &[ListKind],
    name: &str,
    target: impl Future<Output = Result<Target>>,
) -> ServerOverview {
    let mut asked = ServerOverview::new(name, "");
    let start = Instant::now();
    // Its secrets are fetched now, concurrently with the others.
    let target = match target.await {
        // Listing all servers starts no session for each of them.
        Ok(target) => Target { keep_alive: None, ..target },
        Err(failure) => {
            asked.failure = Some(failure);
            return asked;
        }
    };
    asked.transport = target.endpoint.transport_kind().as_str().to_owned();
    if args.offline {
        return asked;
    }
    let session = match context.listing_session(target, None) {
        Ok(session) => session,
        Err(failure) => {
            asked.failure = Some(failure);
            return asked;
        }
    };
    let lists = async |session: &Session| {
        let mut gathered = FetchedLists::default();
        for kind in kinds {
            let asked_for = *kind == ListKind::Tools || session.may_offer_list(*kind).await;
            if asked_for
                && !gathered.add(*kind, fetch_entries(context, session, *kind, ListFilter::from_args(args)).await)
            {
                break;
            }
        }
        Ok((gathered, session.connection_info().await))
    };
    match context.with_session(session, lists).await {
        Ok((FetchedLists { lists, failures }, known)) => {
            asked.lists = lists;
            asked.failure = failures.into_iter().next().map(|failure| failure.server(name));
            asked.info = known.map(|(server, revision, wire)| {
                asked.transport = wire.as_str().to_owned();
                (server, revision.as_str().to_owned())
            });
        }
        Err(failure) => asked.failure = Some(failure),
    }
    asked.time = start.elapsed();
    asked
}

fn is_interrupted(one: &ServerOverview) -> bool {
    one.failure.as_ref().is_some_and(|failure| failure.kind().is_interrupt())
}

/// The table of servers.
fn print_table(context: &Context, asked: &[ServerOverview]) -> Result<()> {
    let rows: Vec<ServerRow> = asked
        .iter()
        .map(|one| ServerRow {
            name: one.name.clone(),
            transport: one.transport.clone(),
            revision: one.info.as_ref().map(|(_, revision)| revision.clone()).unwrap_or_default(),
            tools: one.count(ListKind::Tools),
            resources: one.count(ListKind::Resources),
            prompts: one.count(ListKind::Prompts),
            time: (one.time > Duration::ZERO).then_some(one.time),
            state: match &one.failure {
                Some(failure) => ServerState::Failed(context.ui.without_secrets(failure)),
                None if one.time == Duration::ZERO => ServerState::NotAsked,
                None => ServerState::Ok,
            },
        })
        .collect();
    let ui = &context.ui;
    if ui.is_json() {
        ui.print_json_text(json_documents::servers(&rows))
    } else {
        ui.print_table(&servers_table(&rows))
    }
}

/// The matches of a word on all servers.
fn print_matches(context: &Context, asked: &[ServerOverview], word: &str) -> Result<()> {
    let ui = &context.ui;
    if asked.iter().all(|one| one.lists.iter().all(|(_, entries)| entries.is_empty())) {
        ui.note(&format!("no matches for '{word}'"));
    }
    for one in asked {
        let Some(failure) = &one.failure else { continue };
        let mut failure = failure.clone();
        if !ui.is_json() {
            let message = &mut failure.details_mut().message;
            *message = format!("{}: {message}", one.name);
        }
        ui.report_failure(&failure);
    }
    if ui.is_json() {
        let mut servers = Vec::new();
        for one in asked.iter().filter(|one| one.failure.is_none() || !one.lists.is_empty()) {
            let lists = one.lists.iter().map(|(kind, entries)| (*kind, entries.iter().collect()));
            let name = Value::String(one.name.clone());
            servers.push(format!(r#"{{"name":{name},"lists":{}}}"#, json_documents::lists(lists)));
        }
        return ui.print_json_text(format!(r#"{{"servers":[{}]}}"#, servers.join(",")));
    }
    let kinds: Vec<ListKind> =
        [ListKind::Tools, ListKind::Resources, ListKind::Templates, ListKind::Prompts, ListKind::Skills].into();
    let mut tables = Vec::new();
    for kind in kinds {
        let rows: Vec<(Option<&str>, &ListItem)> = asked
            .iter()
            .flat_map(|one| {
                let lists = one.lists.iter().filter(move |(listed, _)| *listed == kind);
                lists.flat_map(|(_, entries)| entries.iter().map(|entry| (Some(one.name.as_str()), entry)))
            })
            .collect();
        if !rows.is_empty() {
            tables.push(kind_table(kind, rows, signature));
        }
    }
    // In a pipe all rows have the same number of columns.
    let columns = tables.iter().map(Table::column_count).max().unwrap_or_default();
    for table in &mut tables {
        table.pad_columns(columns);
        ui.print_table(table)?;
    }
    Ok(())
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
