//! `call --tool-use`: what a model asks for is called, and the results are made into messages for it.
//!
//! The model chooses, mcpipe only executes: what cannot be called, or fails, is told to the model.

use std::path::Path;

use futures_util::{StreamExt, stream};

use super::batch::{self, DEFAULT_JOBS, FinishedCall};
use crate::cli::CallArgs;
use crate::commands::call::input_stream;
use crate::commands::call::tool_call::{CallContext, RawArguments};
use crate::commands::tools;
use crate::commands::tools::{ToolCache, ToolList};
use crate::commands::{Context, Exit};
use crate::config::LazyConfig;
use crate::error::{ErrorKind, Failure, Result};
use crate::models::reply::{self, ModelToolCall};
use crate::models::results::{self, CompletedToolCall};
use crate::models::tool_names;
use crate::session::Session;
use crate::target::{ResolvedTarget, Target};
use crate::util::suggest::nearest_names;

/// Runs what a model asks for.
///
/// # Errors
/// When there is no target, the reply cannot be read, or a stop is asked for.
pub async fn run(context: &Context, args: &CallArgs, source: &Path) -> Result<Exit> {
    let one = if args.target.is_none() && args.command.is_empty() {
        None
    } else {
        Some(resolve_target(context, args).await?)
    };
    let reply = reply::parse_reply(&input_stream::read_to_string(context, source).await?)?;
    let Some(api) = reply.api else {
        context.ui.note("the reply asks for no tool");
        context.ui.print_json_text("[]")?;
        return Ok(Exit::Done);
    };
    let stdin_taken = input_stream::is_stdin(source);
    let mut servers = Vec::new();
    match one {
        Some(target) => servers.push(ToolUseServer::new(
            context,
            target.name.clone(),
            Ok(target),
            ToolNaming::Unprefixed,
            stdin_taken,
        )),
        None => {
            let lookup = LazyConfig::new(&context.env, context.global.config.as_deref());
            let config = lookup.config()?;
            // Only who may be meant is connected to.
            let meant = |name: &&str| reply.tool_calls.iter().any(|asked| tool_names::may_belong_to(name, &asked.name));
            for name in config.enabled_names().filter(meant) {
                let target = context.resolve_configured(config, name, &args.target_options, false).await;
                servers.push(ToolUseServer::new(context, name.to_owned(), target, ToolNaming::Prefixed, stdin_taken));
            }
        }
    }
    let progress = context.progress(&format!("making {} calls", reply.tool_calls.len()));
    let calls =
        reply.tool_calls.iter().zip(1..).map(|(asked, number)| run_call(context, args, &servers, asked, number));
    let calls = stream::iter(calls).buffered(usize::from(args.jobs.unwrap_or(DEFAULT_JOBS))).collect();
    let ended: Vec<FinishedCall> = progress.show_during(calls).await;
    for server in &servers {
        if let Ok(session) = &server.session {
            session.close().await;
        }
    }
    if let Some(stop) = context.interrupt.raised_failure() {
        return Err(stop);
    }
    print_results(context, args, api, reply.tool_calls, ended)
}

/// The one server.
async fn resolve_target(context: &Context, args: &CallArgs) -> Result<Target> {
    let words = args.target.iter().chain(&args.tool).chain(&args.args).cloned().collect();
    let ResolvedTarget { target, rest } =
        context.resolve_target(words, &args.command, false, &args.target_options).await?;
    match rest.first() {
        None => Ok(target),
        Some(word) => Err(Failure::new(
            ErrorKind::Usage,
            format!("unexpected word '{word}': with --tool-use the model names the tools"),
        )),
    }
}

fn print_results(
    context: &Context,
    args: &CallArgs,
    api: crate::models::ModelApi,
    asked: Vec<ModelToolCall>,
    ended: Vec<FinishedCall>,
) -> Result<Exit> {
    let failed = ended.iter().any(FinishedCall::is_failure);
    let mut done = Vec::new();
    for (asked, ended) in asked.into_iter().zip(ended) {
        if let Some(failure) = &ended.failure {
            context.ui.report_failure(failure);
        }
        if let Some(request) = &ended.request {
            context.ui.print_json_line(request)?;
        }
        let outcome = match (ended.result, &ended.failure) {
            (Some(result), None) => Ok(result),
            (_, Some(failure)) => Err(context.ui.failure_text(failure)),
            (None, None) => continue,
        };
        done.push(CompletedToolCall { call: asked, outcome });
    }
    if !args.dry_run {
        context.ui.print_json_value(&results::result_messages(api, &done))?;
    }
    Ok(if failed { Exit::Reported(ErrorKind::Failed) } else { Exit::Done })
}

/// How a model knows the tools of a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ToolNaming {
    /// By their own names, as far as they fit.
    Unprefixed,
    /// With the server's name before them.
    Prefixed,
}

struct ToolUseServer {
    name: String,
    naming: ToolNaming,
    session: Result<Session>,
    catalogue: ToolCache,
}

impl ToolUseServer {
    fn new(context: &Context, name: String, target: Result<Target>, names: ToolNaming, stdin_taken: bool) -> Self {
        let session = target.and_then(|target| context.session_for_concurrent_calls(target, stdin_taken));
        ToolUseServer {
            session: session.map_err(|failure| failure.server(&name)),
            name,
            naming: names,
            catalogue: ToolCache::default(),
        }
    }

    /// Whether a model that says `asked` means this tool.
    fn matches_name(&self, asked: &str, tool: &str) -> bool {
        let of_server = || tool_names::exposed_name(Some(&self.name), tool) == asked;
        match self.naming {
            ToolNaming::Prefixed => of_server(),
            // The list may have been made of several servers.
            ToolNaming::Unprefixed => {
                tool_names::exposed_name(None, tool) == asked
                    || (tool_names::may_belong_to(&self.name, asked) && of_server())
            }
        }
    }

    /// The tool that a model means.
    fn find_tool(&self, tools: &ToolList, asked: &str) -> Option<Result<String>> {
        let listed = tools.entries.iter().map(|entry| entry.name());
        // A tool of this very name goes before one that is made to fit.
        let mut all: Vec<&str> = listed.filter(|tool| self.matches_name(asked, tool)).collect();
        all.sort_by_key(|tool| *tool != asked);
        if let Some(tool) = all.first() {
            return Some(Ok((*tool).to_owned()));
        }
        let target = self.session.as_ref().ok()?.target();
        let barred = tools.hidden.iter().chain(tools.invalid.keys()).find(|tool| self.matches_name(asked, tool))?;
        Some(Err(if tools.hidden.contains(barred) {
            tools::denied_by_policy(target, barred)
        } else {
            tools.unavailable_tool(target, barred)
        }))
    }
}

/// Makes one of the calls.
async fn run_call(
    context: &Context,
    args: &CallArgs,
    servers: &[ToolUseServer],
    asked: &ModelToolCall,
    number: u64,
) -> FinishedCall {
    match find_tool_server(context, servers, asked).await {
        Ok((server, session, given)) => {
            let target = if args.command.is_empty() { args.target.as_deref().or(Some(&server.name)) } else { None };
            let way = CallContext { context, session, catalogue: &server.catalogue, args, target };
            batch::run_concurrent_call(way, &given, number).await
        }
        Err(failure) => FinishedCall::from_failure(failure),
    }
}

/// Whose tool it is, and what it is given.
async fn find_tool_server<'a>(
    context: &Context,
    servers: &'a [ToolUseServer],
    asked: &ModelToolCall,
) -> Result<(&'a ToolUseServer, &'a Session, RawArguments)> {
    let mut known = Vec::new();
    let mut trouble = None;
    for server in servers {
        if server.naming == ToolNaming::Prefixed && !tool_names::may_belong_to(&server.name, &asked.name) {
            continue;
        }
        let session = match &server.session {
            Ok(session) => session,
            Err(failure) => {
                trouble.get_or_insert(failure.clone());
                continue;
            }
        };
        match find_tool_on_server(context, server, session, &asked.name, &mut known).await {
            Ok(Some(tool)) => {
                let object = asked.arguments.clone().map_err(|why| {
                    Failure::new(ErrorKind::Usage, format!("{tool}: {why}")).server(&session.target().name)
                })?;
                return Ok((server, session, RawArguments::from_object(&tool, object)));
            }
            Ok(None) => {}
            Err(failure) => trouble = Some(trouble.unwrap_or(failure).server(&server.name)),
        }
    }
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    let failure = Failure::new(ErrorKind::Failed, format!("there is no tool '{}'", asked.name));
    Err(match nearest_names(&asked.name, known.iter().map(String::as_str)).as_slice() {
        [] => failure,
        nearest => failure.hint(format!("did you mean {}?", nearest.join(" or "))),
    })
}

/// The tool of this server that is meant, if one is; else its tools are added to those that are known.
async fn find_tool_on_server(
    context: &Context,
    server: &ToolUseServer,
    session: &Session,
    asked: &str,
    known: &mut Vec<String>,
) -> Result<Option<String>> {
    let mut tools = server.catalogue.get(context, session).await?;
    let mut found = server.find_tool(&tools, asked);
    if !matches!(found, Some(Ok(_)))
        && let Some(fresh) = server.catalogue.refresh_if_stale(context, session, &tools).await?
    {
        found = server.find_tool(&fresh, asked);
        tools = fresh;
    }
    let prefix = (server.naming == ToolNaming::Prefixed).then_some(server.name.as_str());
    known.extend(tools.entries.iter().map(|entry| tool_names::exposed_name(prefix, entry.name())));
    found.transpose()
}
