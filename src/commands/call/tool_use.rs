//! `call --tool-use`: runs the tool calls in a model's response, and prints the results as messages for the model.
//!
//! A tool that cannot be called, or fails, is reported to the model as well.

use std::path::Path;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::cli::CallArgs;
use crate::commands::call::concurrent::{DEFAULT_JOBS, FinishedCall, run_concurrent_call};
use crate::commands::call::input_stream;
use crate::commands::call::tool_call::{CallContext, RawArguments};
use crate::commands::context::{Context, Exit};
use crate::commands::tools::{self, ToolCache, ToolList};
use crate::config::LazyConfig;
use crate::error::{ErrorKind, Failure, Result};
use crate::models::input_schema::{renamed_properties, restore_property_names};
use crate::models::reply::{self, ModelToolCall};
use crate::models::results::{self, CompletedToolCall};
use crate::models::{ModelApi, tool_names};
use crate::output::content::{ContentBlock, content_blocks};
use crate::protocol::method;
use crate::protocol::result_shape::shape_error;
use crate::session::Session;
use crate::target::Target;
use crate::util::count::counted;
use crate::util::quoting::quote;
use crate::util::suggest::did_you_mean;

/// Runs the tool calls of a model's response.
///
/// # Errors
/// When there is no target, the response cannot be parsed, or mcpipe is interrupted.
pub async fn run(context: &Context, args: &CallArgs, source: &Path) -> Result<Exit> {
    let one = if args.target.is_none() && args.command.is_empty() {
        None
    } else {
        Some(resolve_target(context, args).await?)
    };
    let reply = reply::parse_reply(&input_stream::read_to_string(context, source, "a model's response").await?)?;
    let Some(api) = reply.api else {
        context.ui.note("the response has no tool calls");
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
            // Only servers whose tools may be meant are connected to.
            let meant = |name: &&str| reply.tool_calls.iter().any(|asked| tool_names::may_belong_to(name, &asked.name));
            let resolved = config.enabled_names().filter(meant).map(async |name| {
                let target = context.resolve_configured(config, name, &args.target_options, false).await;
                ToolUseServer::new(context, name.to_owned(), target, ToolNaming::Prefixed, stdin_taken)
            });
            servers = join_all(resolved).await;
        }
    }
    let progress = context.progress(&format!("running {}", counted(reply.tool_calls.len(), "call")));
    let calls =
        reply.tool_calls.iter().zip(1..).map(|(asked, number)| run_call(context, args, api, &servers, asked, number));
    let calls = stream::iter(calls).buffered(usize::from(args.jobs.unwrap_or(DEFAULT_JOBS))).collect();
    let ended: Vec<FinishedCall> = progress.show_during(calls).await;
    join_all(servers.iter().filter_map(|server| server.session.as_ref().ok()).map(Session::close)).await;
    if let Some(stop) = context.interrupt.raised_failure() {
        return Err(stop);
    }
    print_results(context, args, api, reply.tool_calls, ended)
}

/// The server that the command line names.
async fn resolve_target(context: &Context, args: &CallArgs) -> Result<Target> {
    let words = args.target.iter().chain(&args.tool).chain(&args.args);
    let (target, rest) = context.resolve_target(words, &args.command, false, &args.target_options).await?;
    match rest.first() {
        None => Ok(target),
        Some(word) => Err(Failure::new(
            ErrorKind::Usage,
            format!("unexpected argument '{word}': with --tool-use the model names the tools"),
        )),
    }
}

fn print_results(
    context: &Context,
    args: &CallArgs,
    api: ModelApi,
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
        let result = match (ended.result, args.max_bytes) {
            (Some(result), Some(limit)) => Some(context.ui.limit_result(&asked.name, result, limit)?),
            (result, _) => result,
        };
        let outcome = match (result, &ended.failure) {
            (Some(result), None) => Ok(result),
            (Some(result), Some(failure)) if shape_error(method::TOOLS_CALL, &result).is_some() => {
                // The tool ran: the model gets what of the result is good.
                let texts = content_blocks(&result).unwrap_or_default().into_iter().filter_map(|block| match block {
                    ContentBlock::Text(text) => Some(text.decode().into_owned()),
                    _ => None,
                });
                Err([context.ui.failure_text(failure)].into_iter().chain(texts).collect::<Vec<_>>().join("\n"))
            }
            (_, Some(failure)) => Err(context.ui.failure_text(failure)),
            (None, None) => continue,
        };
        let outcome = match (outcome, args.max_bytes) {
            (Err(text), Some(limit)) => Err(context.ui.limit_failure(&asked.name, text, limit)?),
            (outcome, _) => outcome,
        };
        done.push(CompletedToolCall { call: asked, outcome });
    }
    if !args.dry_run {
        context.ui.print_json_value(&results::result_messages(api, &done))?;
    }
    Ok(if failed { Exit::Reported(ErrorKind::Failed) } else { Exit::Done })
}

/// How a model names the tools of a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ToolNaming {
    /// By their own names, adapted to what the API allows.
    Unprefixed,
    /// Prefixed with the server's name.
    Prefixed,
}

/// A tool that a model asks for.
struct FoundTool {
    /// Its own name.
    name: String,
    schema: Option<Value>,
}

struct ToolUseServer {
    name: String,
    naming: ToolNaming,
    session: Result<Session>,
    tool_cache: ToolCache,
}

impl ToolUseServer {
    fn new(context: &Context, name: String, target: Result<Target>, names: ToolNaming, stdin_taken: bool) -> Self {
        let session = target.and_then(|target| context.session_for_concurrent_calls(target, stdin_taken));
        ToolUseServer {
            session: session.map_err(|failure| failure.server(&name)),
            name,
            naming: names,
            tool_cache: ToolCache::default(),
        }
    }

    /// Whether `asked`, as a model writes it, is this tool.
    fn matches_name(&self, asked: &str, tool: &str) -> bool {
        let of_server = || tool_names::exposed_name(Some(&self.name), tool) == asked;
        match self.naming {
            ToolNaming::Prefixed => of_server(),
            // The model may have been given the tools of several servers.
            ToolNaming::Unprefixed => {
                tool_names::exposed_name(None, tool) == asked
                    || (tool_names::may_belong_to(&self.name, asked) && of_server())
            }
        }
    }

    /// The tool that a model asks for.
    fn find_tool(&self, tools: &ToolList, asked: &str) -> Option<Result<String>> {
        let listed = tools.entries.iter().map(|entry| entry.name());
        // A tool with exactly this name comes before one whose name was adapted.
        let mut all: Vec<&str> = listed.filter(|tool| self.matches_name(asked, tool)).collect();
        all.sort_by_key(|tool| *tool != asked);
        if let Some(tool) = all.first() {
            return Some(Ok((*tool).to_owned()));
        }
        let session = self.session.as_ref().ok()?;
        let barred = tools.denied.iter().chain(tools.invalid.keys()).find(|tool| self.matches_name(asked, tool))?;
        Some(Err(if tools.denied.contains(barred) {
            tools::denied_by_policy(session.target(), barred)
        } else {
            tools.unavailable_tool(session, barred)
        }))
    }
}

/// Runs one of the calls.
async fn run_call(
    context: &Context,
    args: &CallArgs,
    api: ModelApi,
    servers: &[ToolUseServer],
    asked: &ModelToolCall,
    number: u64,
) -> FinishedCall {
    match find_tool_server(context, args, api, servers, asked).await {
        Ok((server, session, given)) => {
            let target = if args.command.is_empty() { args.target.as_deref().or(Some(&server.name)) } else { None };
            let way = CallContext { context, session, tool_cache: &server.tool_cache, args, target };
            run_concurrent_call(way, &given, number).await
        }
        Err(failure) => FinishedCall::from_failure(failure),
    }
}

/// The server that has the tool, and the call's arguments.
async fn find_tool_server<'a>(
    context: &Context,
    args: &CallArgs,
    api: ModelApi,
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
            Ok(Some(FoundTool { name: tool, schema })) => {
                let renamed = schema.map(|schema| renamed_properties(api, &schema)).unwrap_or_default();
                let object = asked.arguments.clone().map_err(|why| {
                    Failure::new(ErrorKind::Usage, format!("{tool}: {why}")).server(&session.target().name)
                })?;
                let object = restore_property_names(object, &renamed);
                return Ok((server, session, RawArguments::from_object(&tool, object)));
            }
            Ok(None) => {}
            Err(failure) => trouble = Some(trouble.unwrap_or(failure).server(&server.name)),
        }
    }
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    Err(unknown_tool_failure(context, args, servers, &asked.name, &known))
}

/// The failure for a tool that no server has, of which `known` are the tools that were looked at.
fn unknown_tool_failure(
    context: &Context,
    args: &CallArgs,
    servers: &[ToolUseServer],
    asked: &str,
    known: &[String],
) -> Failure {
    let is_only = servers.iter().any(|server| server.naming == ToolNaming::Unprefixed);
    let who = if is_only { "the server has no tool" } else { "no server has a tool" };
    let failure = Failure::new(ErrorKind::Failed, format!("{who} '{asked}'"));
    if let Some(hint) = did_you_mean(asked, known.iter().map(String::as_str)) {
        return failure.name_hint(hint);
    }
    let mut meant = servers.iter().filter(|server| is_only || tool_names::may_belong_to(&server.name, asked));
    if let Some(session) = meant.find_map(|server| server.session.as_ref().ok()) {
        return failure.hint(format!("list its tools: {}", session.target().command_line("list", &[])));
    }
    match name_server_hint(context, args, asked) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// How to name the server of a tool whose name does not begin with one.
fn name_server_hint(context: &Context, args: &CallArgs, tool: &str) -> Option<String> {
    let lookup = LazyConfig::new(&context.env, context.global.config.as_deref());
    let (config, file) = (lookup.config().ok()?, quote(&args.tool_use.as_deref()?.to_string_lossy()));
    let call = |server: &str| config.append_config_flag(&format!("mcpipe call {server} --tool-use {file}"));
    let mut names = config.enabled_names();
    Some(match (names.next()?, names.next()) {
        (server, None) => format!("name the server: {}", call(&quote(server))),
        _ => format!(
            "find the server that has the tool: {}; then name that server: {}",
            config.append_config_flag(&format!("mcpipe list --search {}", quote(tool))),
            call("SERVER")
        ),
    })
}

/// The tool of this server that is asked for, if it has it; else its tools are added to `known`.
async fn find_tool_on_server(
    context: &Context,
    server: &ToolUseServer,
    session: &Session,
    asked: &str,
    known: &mut Vec<String>,
) -> Result<Option<FoundTool>> {
    let mut tools = server.tool_cache.get(context, session).await?;
    let mut found = server.find_tool(&tools, asked);
    if !matches!(found, Some(Ok(_)))
        && let Some(fresh) = server.tool_cache.refresh_if_stale(context, session, &tools, false).await?
    {
        found = server.find_tool(&fresh, asked);
        tools = fresh;
    }
    let prefix = (server.naming == ToolNaming::Prefixed).then_some(server.name.as_str());
    known.extend(tools.entries.iter().map(|entry| tool_names::exposed_name(prefix, entry.name())));
    let with_schema = |name: String| {
        let schema = tools.find(&name).and_then(|tool| tool.input_schema().cloned());
        FoundTool { name, schema }
    };
    Ok(found.transpose()?.map(with_schema))
}
