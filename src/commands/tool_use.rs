//! `call --tool-use`: what a model asks for is called, and the results are made into messages for it.
//!
//! The model chooses, mcpipe only executes: what cannot be called, or fails, is told to the model.

use std::path::Path;

use futures_util::{StreamExt, stream};

use super::batch::{self, Ended, JOBS};
use super::calling::{Given, Way};
use super::source;
use super::tools::{self, Catalogue, Tools};
use super::{Context, Exit, overrides};
use crate::cli::CallArgs;
use crate::config::Lookup;
use crate::error::{Class, Failure, Result};
use crate::models::names;
use crate::models::reply::{self, Asked};
use crate::models::results::{self, Done};
use crate::near::near;
use crate::session::Session;
use crate::target::{Resolved, Target};

/// Runs what a model asks for.
///
/// # Errors
/// When there is no target, the reply cannot be read, or a stop is asked for.
pub async fn run(context: &Context, args: &CallArgs, source: &Path) -> Result<Exit> {
    let one = if args.target.is_none() && args.command.is_empty() { None } else { Some(target(context, args).await?) };
    let reply = reply::read(&source::whole(context, source).await?)?;
    let Some(api) = reply.api else {
        context.ui.note("the reply asks for no tool");
        context.ui.json_text("[]")?;
        return Ok(Exit::Done);
    };
    let stdin_taken = source::is_stdin(source);
    let mut servers = Vec::new();
    match one {
        Some(target) => servers.push(Server::new(context, target.name.clone(), Ok(target), Names::Plain, stdin_taken)),
        None => {
            let lookup = Lookup::new(&context.env, context.global.config.as_deref());
            let (config, overrides) = (lookup.config()?, overrides(&args.reach));
            // Only who may be meant is connected to.
            let meant = |name: &&str| reply.asked.iter().any(|asked| names::may_belong(name, &asked.name));
            for name in config.enabled().filter(meant) {
                let target = context.configured(config, name, &overrides, false).await;
                servers.push(Server::new(context, name.to_owned(), target, Names::OfServer, stdin_taken));
            }
        }
    }
    let progress = context.progress(&format!("making {} calls", reply.asked.len()));
    let calls = reply.asked.iter().zip(1..).map(|(asked, number)| call(context, args, &servers, asked, number));
    let calls = stream::iter(calls).buffered(usize::from(args.jobs.unwrap_or(JOBS))).collect();
    let ended: Vec<Ended> = progress.during(calls).await;
    for server in &servers {
        if let Ok(session) = &server.session {
            session.close().await;
        }
    }
    if let Some(stop) = context.interrupt.raised() {
        return Err(stop);
    }
    report(context, args, api, reply.asked, ended)
}

/// The one server.
async fn target(context: &Context, args: &CallArgs) -> Result<Target> {
    let words = args.target.iter().chain(&args.tool).chain(&args.args).cloned().collect();
    let Resolved { target, rest } = context.target(words, &args.command, false, &args.reach).await?;
    match rest.first() {
        None => Ok(target),
        Some(word) => Err(Failure::new(
            Class::Usage,
            format!("unexpected word '{word}': with --tool-use the model names the tools"),
        )),
    }
}

fn report(
    context: &Context,
    args: &CallArgs,
    api: crate::models::Api,
    asked: Vec<Asked>,
    ended: Vec<Ended>,
) -> Result<Exit> {
    let failed = ended.iter().any(Ended::failed);
    let mut done = Vec::new();
    for (asked, ended) in asked.into_iter().zip(ended) {
        if let Some(failure) = &ended.failure {
            context.ui.failure(failure);
        }
        if let Some(request) = &ended.request {
            context.ui.json_line(request)?;
        }
        let outcome = match (ended.result, &ended.failure) {
            (Some(result), None) => Ok(result),
            (_, Some(failure)) => Err(context.ui.failure_text(failure)),
            (None, None) => continue,
        };
        done.push(Done { asked, outcome });
    }
    if !args.dry_run {
        context.ui.json_value(&results::messages(api, &done))?;
    }
    Ok(if failed { Exit::Said(Class::Failed) } else { Exit::Done })
}

/// How a model knows the tools of a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// By their own names, as far as they fit.
    Plain,
    /// With the server's name before them.
    OfServer,
}

struct Server {
    name: String,
    names: Names,
    session: Result<Session>,
    catalogue: Catalogue,
}

impl Server {
    fn new(context: &Context, name: String, target: Result<Target>, names: Names, stdin_taken: bool) -> Self {
        let session = target.and_then(|target| context.session_for_many(target, stdin_taken));
        Server {
            session: session.map_err(|failure| failure.server(&name)),
            name,
            names,
            catalogue: Catalogue::default(),
        }
    }

    /// Whether a model that says `asked` means this tool.
    fn means(&self, asked: &str, tool: &str) -> bool {
        let of_server = || names::exposed(Some(&self.name), tool) == asked;
        match self.names {
            Names::OfServer => of_server(),
            // The list may have been made of several servers.
            Names::Plain => {
                names::exposed(None, tool) == asked || (names::may_belong(&self.name, asked) && of_server())
            }
        }
    }

    /// The tool that a model means.
    fn find(&self, tools: &Tools, asked: &str) -> Option<Result<String>> {
        let listed = tools.entries.iter().map(|entry| entry.name());
        // A tool of this very name goes before one that is made to fit.
        let mut all: Vec<&str> = listed.filter(|tool| self.means(asked, tool)).collect();
        all.sort_by_key(|tool| *tool != asked);
        if let Some(tool) = all.first() {
            return Some(Ok((*tool).to_owned()));
        }
        let target = self.session.as_ref().ok()?.target();
        let barred = tools.hidden.iter().chain(tools.invalid.keys()).find(|tool| self.means(asked, tool))?;
        Some(Err(if tools.hidden.contains(barred) {
            tools::not_allowed(target, barred)
        } else {
            tools.missing(target, barred)
        }))
    }
}

/// Makes one of the calls.
async fn call(context: &Context, args: &CallArgs, servers: &[Server], asked: &Asked, number: u64) -> Ended {
    match found(context, servers, asked).await {
        Ok((server, session, given)) => {
            let target = if args.command.is_empty() { args.target.as_deref().or(Some(&server.name)) } else { None };
            let way = Way { context, session, catalogue: &server.catalogue, args, target };
            batch::once(way, &given, number).await
        }
        Err(failure) => Ended::of(failure),
    }
}

/// Whose tool it is, and what it is given.
async fn found<'a>(
    context: &Context,
    servers: &'a [Server],
    asked: &Asked,
) -> Result<(&'a Server, &'a Session, Given)> {
    let mut known = Vec::new();
    let mut trouble = None;
    for server in servers {
        if server.names == Names::OfServer && !names::may_belong(&server.name, &asked.name) {
            continue;
        }
        let session = match &server.session {
            Ok(session) => session,
            Err(failure) => {
                trouble.get_or_insert(failure.clone());
                continue;
            }
        };
        match tool(context, server, session, &asked.name, &mut known).await {
            Ok(Some(tool)) => {
                let object = asked.arguments.clone().map_err(|why| {
                    Failure::new(Class::Usage, format!("{tool}: {why}")).server(&session.target().name)
                })?;
                return Ok((server, session, Given::whole(&tool, object)));
            }
            Ok(None) => {}
            Err(failure) => trouble = Some(trouble.unwrap_or(failure).server(&server.name)),
        }
    }
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    let failure = Failure::new(Class::Failed, format!("there is no tool '{}'", asked.name));
    Err(match near(&asked.name, known.iter().map(String::as_str)).as_slice() {
        [] => failure,
        nearest => failure.hint(format!("did you mean {}?", nearest.join(" or "))),
    })
}

/// The tool of this server that is meant, if one is; else its tools are added to those that are known.
async fn tool(
    context: &Context,
    server: &Server,
    session: &Session,
    asked: &str,
    known: &mut Vec<String>,
) -> Result<Option<String>> {
    let mut tools = server.catalogue.get(context, session).await?;
    let mut found = server.find(&tools, asked);
    if !matches!(found, Some(Ok(_)))
        && let Some(fresh) = server.catalogue.renew(context, session, &tools).await?
    {
        found = server.find(&fresh, asked);
        tools = fresh;
    }
    let prefix = (server.names == Names::OfServer).then_some(server.name.as_str());
    known.extend(tools.entries.iter().map(|entry| names::exposed(prefix, entry.name())));
    found.transpose()
}
