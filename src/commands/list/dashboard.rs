//! `list` without a target: an overview of every configured server, queried concurrently; a failure is a row.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::ListArgs;
use crate::commands::context::{Context, Exit};
use crate::commands::list::configured::ConfiguredServers;
use crate::commands::lists::{FetchedLists, ListFilter, fetch_entries, selected_kinds, signature};
use crate::config::LazyConfig;
use crate::error::{Failure, Result};
use crate::output::list_tables::{ServerRow, ServerState, kind_table, servers_table};
use crate::output::{Table, json_documents};
use crate::protocol::views::{ListItem, ListKind, ServerInfo};
use crate::session::Session;
use crate::target::Target;

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
    let servers = ConfiguredServers::new(context, args, config);
    if servers.names.is_empty() {
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
    let query = |name| query_server(context, args, &kinds, name, servers.target(name));
    // In a pipe each row is printed when it is known: the reader need not wait for the slowest server.
    let streams = args.search.is_none() && !context.ui.is_json() && !context.ui.terminal().stdout_is_tty;
    let each = |one: &ServerOverview| match streams {
        true => {
            let _quiet = context.ui.pause_progress();
            print_table(context, std::slice::from_ref(one))
        }
        false => Ok(()),
    };
    let asked = servers.query(query, |one| one.failure.as_ref(), each).await?;
    match &args.search {
        Some(word) => print_matches(context, &asked, word)?,
        None if streams => {}
        None => print_table(context, &asked)?,
    }
    // After an interrupt, what is known is printed first.
    if let Some(failure) = context.interrupt.raised_failure() {
        return Err(failure);
    }
    Ok(Exit::from_failures(asked.iter().filter_map(|one| one.failure.as_ref())))
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
        Ok(target) => target,
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
        ui.print_json_text(json_documents::dashboard(&rows))
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
        if let Some(failure) = &one.failure {
            ui.report_failure(&failure.clone().one_of_several(&one.name));
        }
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
