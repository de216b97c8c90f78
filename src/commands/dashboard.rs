//! `list` without a target: every configured server at a glance, asked at once, each failure a row.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::list::{Filter, offered, signature, wanted};
use super::{Context, Exit, overrides};
use crate::cli::ListArgs;
use crate::config::Lookup;
use crate::error::{Class, Failure, Result};
use crate::output::listing::{ServerRow, State, kind_table, servers_table};
use crate::output::{Progress, documents};
use crate::protocol::views::{Entry, Kind, ServerInfo};
use crate::session::Session;
use crate::target::Target;

/// How many servers are asked at a time, unless told otherwise.
pub const JOBS: u16 = 8;
/// How long a server may take before the next one is asked beside it.
const ROOM: Duration = Duration::from_secs(2);
/// So many that are still waited for are named.
const NAMED: usize = 3;

/// What came of one server.
struct Asked {
    name: String,
    transport: String,
    info: Option<(ServerInfo, String)>,
    lists: Vec<(Kind, Vec<Entry>)>,
    time: Duration,
    failure: Option<Failure>,
}

impl Asked {
    fn new(name: &str, transport: &str) -> Self {
        Asked {
            name: name.to_owned(),
            transport: transport.to_owned(),
            info: None,
            lists: Vec::new(),
            time: Duration::ZERO,
            failure: None,
        }
    }

    fn count(&self, kind: Kind) -> Option<usize> {
        self.lists.iter().find(|(listed, _)| *listed == kind).map(|(_, entries)| entries.len())
    }
}

/// Asks every configured server.
///
/// # Errors
/// When the configuration cannot be read.
pub async fn run(context: &Context, args: &ListArgs) -> Result<Exit> {
    let lookup = Lookup::new(&context.env, context.global.config.as_deref());
    let config = lookup.config()?;
    config.unread().for_each(|text| context.ui.warn(&text));
    let overrides = overrides(&args.reach);
    let servers: Vec<&str> = config.enabled().collect();
    if servers.is_empty() {
        let add = config.followed("mcpipe config add NAME URL");
        context.ui.note(&format!("no servers are configured; to add one: {add}"));
        if context.ui.json() {
            context.ui.json_text(r#"{"servers":[]}"#)?;
        }
        return Ok(Exit::Done);
    }
    let kinds = if args.grep.is_some() { wanted(args) } else { vec![Kind::Tools, Kind::Resources, Kind::Prompts] };
    let progress = context.progress(&format!("asking {} servers", servers.len()));
    let jobs = args.jobs.or(config.defaults.jobs).unwrap_or(JOBS);
    let turns = Semaphore::new(usize::from(jobs));
    let target = |name| context.configured(config, name, &overrides, args.offline);
    let all = servers.iter().map(|name| in_turn(&turns, ask(context, args, &kinds, name, target(name))));
    // In a pipe a row is a line of its own: who reads it need not wait for the slowest.
    let streams = args.grep.is_none() && !context.ui.json() && !context.ui.terminal().stdout;
    let each = |one: &Asked| match streams {
        true => {
            let _quiet = context.ui.pause_progress();
            glance(context, std::slice::from_ref(one))
        }
        false => Ok(()),
    };
    let asked = progress.during(gather(&progress, &servers, all, each)).await?;
    match &args.grep {
        Some(word) => found(context, &asked, word)?,
        None if streams => {}
        None => glance(context, &asked)?,
    }
    // What had come by then is worth having.
    if let Some(failure) = context.interrupt.raised() {
        return Err(failure);
    }
    Ok(match asked.iter().find_map(|one| one.failure.as_ref()) {
        Some(failure) => Exit::Said(failure.class()),
        None => Exit::Done,
    })
}

/// Asks when it is its turn. One that takes long makes room for the next: servers that hang hold up nobody else.
async fn in_turn(turns: &Semaphore, ask: impl Future<Output = Asked>) -> Asked {
    let turn = turns.acquire().await;
    let mut ask = std::pin::pin!(ask);
    if let Ok(asked) = timeout(ROOM, &mut ask).await {
        return asked;
    }
    drop(turn);
    ask.await
}

/// Waits for all, and shows how many are done, and at the end which are not. Each is handed on in the order of the
/// names, as soon as it is its turn; who was interrupted is left out.
async fn gather(
    progress: &Progress,
    names: &[&str],
    all: impl Iterator<Item = impl Future<Output = Asked>>,
    each: impl Fn(&Asked) -> Result<()>,
) -> Result<Vec<Asked>> {
    let mut open: Vec<&str> = names.to_vec();
    let mut all: FuturesUnordered<_> = all.collect();
    let mut early: HashMap<String, Asked> = HashMap::new();
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
        let message = (open.len() <= NAMED).then(|| format!("waiting for {}", open.join(", ")));
        progress.update((names.len() - open.len()) as f64, Some(names.len() as f64), message.as_deref());
    }
    Ok(asked)
}

async fn ask(
    context: &Context,
    args: &ListArgs,
    kinds: &[Kind],
    name: &str,
    target: impl Future<Output = Result<Target>>,
) -> Asked {
    let mut asked = Asked::new(name, "");
    let start = Instant::now();
    // Its secrets are fetched when its turn comes, beside the others.
    let target = match target.await {
        Ok(target) => target,
        Err(failure) => {
            asked.failure = Some(failure);
            return asked;
        }
    };
    asked.transport = target.endpoint.wire().as_str().to_owned();
    if args.offline {
        return asked;
    }
    let session = match context.session(target, None) {
        Ok(session) => session,
        Err(failure) => {
            asked.failure = Some(failure);
            return asked;
        }
    };
    let lists = async |session: &Session| {
        let mut lists = Vec::new();
        for kind in kinds {
            if *kind == Kind::Tools || session.list_offered(*kind).await {
                lists.push((*kind, offered(context, session, *kind, Filter::of(args)).await?));
            }
        }
        Ok((lists, session.known().await))
    };
    match context.with(session, lists).await {
        Ok((lists, known)) => {
            asked.lists = lists;
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

fn is_interrupted(one: &Asked) -> bool {
    one.failure.as_ref().is_some_and(|failure| matches!(failure.class(), Class::Interrupted | Class::Terminated))
}

/// The table of servers.
fn glance(context: &Context, asked: &[Asked]) -> Result<()> {
    let rows: Vec<ServerRow> = asked
        .iter()
        .map(|one| ServerRow {
            name: one.name.clone(),
            transport: one.transport.clone(),
            revision: one.info.as_ref().map(|(_, revision)| revision.clone()).unwrap_or_default(),
            tools: one.count(Kind::Tools),
            resources: one.count(Kind::Resources),
            prompts: one.count(Kind::Prompts),
            time: (one.time > Duration::ZERO).then_some(one.time),
            state: match &one.failure {
                Some(failure) => State::Failed(context.ui.without_secrets(failure)),
                None if one.time == Duration::ZERO => State::NotAsked,
                None => State::Ok,
            },
        })
        .collect();
    let ui = &context.ui;
    if ui.json() { ui.json_text(&documents::servers(&rows)) } else { ui.table(&servers_table(&rows)) }
}

/// What matched a word, over all servers.
fn found(context: &Context, asked: &[Asked], word: &str) -> Result<()> {
    let ui = &context.ui;
    if asked.iter().all(|one| one.lists.iter().all(|(_, entries)| entries.is_empty())) {
        ui.note(&format!("nothing matches '{word}'"));
    }
    for one in asked {
        let Some(failure) = &one.failure else { continue };
        let mut failure = failure.clone();
        if !ui.json() {
            let message = &mut failure.details_mut().message;
            *message = format!("{}: {message}", one.name);
        }
        ui.failure(&failure);
    }
    if ui.json() {
        let mut servers = Vec::new();
        for one in asked.iter().filter(|one| one.failure.is_none()) {
            let lists = one.lists.iter().map(|(kind, entries)| (*kind, entries.iter().collect()));
            let name = Value::String(one.name.clone());
            servers.push(format!(r#"{{"name":{name},"lists":{}}}"#, documents::lists(lists)));
        }
        return ui.json_text(&format!(r#"{{"servers":[{}]}}"#, servers.join(",")));
    }
    let kinds: Vec<Kind> = [Kind::Tools, Kind::Resources, Kind::Templates, Kind::Prompts, Kind::Skills].into();
    for kind in kinds {
        let rows: Vec<(Option<&str>, &Entry)> = asked
            .iter()
            .flat_map(|one| {
                let lists = one.lists.iter().filter(move |(listed, _)| *listed == kind);
                lists.flat_map(|(_, entries)| entries.iter().map(|entry| (Some(one.name.as_str()), entry)))
            })
            .collect();
        if !rows.is_empty() {
            ui.table(&kind_table(kind, rows, signature))?;
        }
    }
    Ok(())
}
