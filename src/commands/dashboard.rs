//! `list` without a target: every configured server at a glance, asked at once, each failure a row.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;

use super::list::{Filter, offered, signature, wanted};
use super::{Context, Exit};
use crate::cli::ListArgs;
use crate::error::{Failure, Result};
use crate::output::documents;
use crate::output::listing::{ServerRow, State, kind_table, servers_table};
use crate::protocol::views::{Entry, Kind, ServerInfo};
use crate::session::Session;
use crate::target::Target;

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
    let servers = context.configured(&args.reach)?;
    if servers.is_empty() {
        context.ui.note("no servers are configured; to add one: mcpipe config add NAME URL");
        if context.ui.json() {
            context.ui.json_text(r#"{"servers":[]}"#)?;
        }
        return Ok(Exit::Done);
    }
    let kinds = if args.grep.is_some() { wanted(args) } else { vec![Kind::Tools, Kind::Resources, Kind::Prompts] };
    let progress = context.progress(&format!("asking {} servers", servers.len()));
    let total = servers.len();
    let asked = async {
        let mut done = 0;
        let all = servers.into_iter().map(|(name, target)| ask(context, args, &kinds, name, target));
        let mut all = stream::iter(all).buffered(usize::from(args.jobs));
        let mut asked = Vec::new();
        while let Some(one) = all.next().await {
            done += 1;
            progress.update(done as f64, Some(total as f64), None);
            asked.push(one);
        }
        asked
    };
    let asked: Vec<Asked> = progress.during(asked).await;
    if let Some(failure) = context.interrupt.raised() {
        return Err(failure);
    }
    match &args.grep {
        Some(word) => found(context, &asked, word)?,
        None => glance(context, &asked)?,
    }
    Ok(match asked.iter().find_map(|one| one.failure.as_ref()) {
        Some(failure) => Exit::Said(failure.class()),
        None => Exit::Done,
    })
}

async fn ask(context: &Context, args: &ListArgs, kinds: &[Kind], name: String, target: Result<Target>) -> Asked {
    let mut asked = Asked::new(&name, "");
    let target = match target {
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
    let start = Instant::now();
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
                Some(failure) => State::Failed(failure.clone()),
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
    for failure in asked.iter().filter_map(|one| one.failure.as_ref()) {
        ui.failure(failure);
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
