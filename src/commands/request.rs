//! `request`: any request or notification, and the result as it came.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::args::{ArgumentReader, parse_json};
use crate::cli::{CallArgs, RequestArgs};
use crate::commands::argument_files::ArgumentFiles;
use crate::commands::call::tool_call::{CallContext, RawArguments, ToolCall};
use crate::commands::context::{Context, Exit};
use crate::commands::tool_result::{check_printed_result, result_failure};
use crate::commands::tools::{self, ToolCache};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::method;
use crate::protocol::rpc::RawJson;
use crate::session::Session;
use crate::session::operation::Operation;
use crate::session::request::RequestOutcome;
use crate::session::server_requests::ServerRequestLog;
use crate::util::quoting::quote_without_secrets;

/// Sends a request, and prints its result.
///
/// # Errors
/// When it cannot be sent, or has no result; a tool's result that is malformed or has `isError` is printed first.
pub async fn run(context: &Context, args: RequestArgs) -> Result<Exit> {
    let words = args.target.iter().chain(&args.words);
    let (target, words) = context.resolve_target(words, &args.command, false, &args.target_options).await?;
    let mut words = words.into_iter();
    let Some(method) = words.next() else {
        return Err(Failure::new(ErrorKind::Usage, "no method given")
            .server(&target.name)
            .hint(target.command_line("request", &["tools/list"])));
    };
    let (params, extra) = (words.next(), words.next());
    if let Some(extra) = extra {
        return Err(Failure::new(ErrorKind::Usage, format!("unexpected argument '{extra}' after PARAMS"))
            .hint("write PARAMS as one JSON object, in quotes"));
    }
    let params = params.map(|text| read_params(context, &text)).transpose()?.unwrap_or_default();
    let progress = context.show_waiting_for(&target.name);
    let session = context.session(target, Some(progress.clone()))?;
    let exchange = async |session: &Session| {
        let call_args = CallArgs { yes: args.yes, ..CallArgs::default() };
        let (tool_cache, target) = (ToolCache::default(), args.target.as_deref());
        let call_context = CallContext { context, session, tool_cache: &tool_cache, args: &call_args, target };
        if args.notify {
            // A server may carry out a call without an ID.
            let permitted = permitted_operation(call_context, &method, params, None).await?;
            let notification = Operation { wants_progress: false, ..permitted };
            return session.notify(&notification).await.map(|()| Exit::Done);
        }
        let result = progress.show_during(send(call_context, &method, params, None)).await?;
        print_result(context, session, &method, result)
    };
    context.with_session(session, exchange).await
}

/// The request for any method. Whether it may be repeated is known only of the methods of the specification.
fn verbatim_operation(name: &str, params: Map<String, Value>) -> Operation {
    let name = method::intern(name);
    let member = match name {
        method::TOOLS_CALL | method::PROMPTS_GET => params.get("name"),
        method::RESOURCES_READ => params.get("uri"),
        _ => None,
    };
    let mcp_name = member.and_then(Value::as_str).map(ToOwned::to_owned);
    let has_effects = !method::is_read_only(name);
    let wants_progress = matches!(name, method::TOOLS_CALL | method::PROMPTS_GET | method::RESOURCES_READ);
    Operation {
        mcp_name,
        has_effects,
        wants_progress,
        ignores_capabilities: true,
        ..Operation::read_only(name, params)
    }
}

/// Sends the request; a tool call only if it is allowed. `log` is the log of the server's requests during it, if it is
/// one of several concurrent requests.
///
/// # Errors
/// When it may not be sent, or has no result.
pub async fn send(
    call_context: CallContext<'_>,
    method: &str,
    params: Map<String, Value>,
    log: Option<&Arc<ServerRequestLog>>,
) -> Result<RawJson> {
    let CallContext { context, session, tool_cache, .. } = call_context;
    let operation = permitted_operation(call_context, method, params, log).await?;
    match tool_cache.send(context, session, &operation).await? {
        RequestOutcome::Result(result) => Ok(result),
        reply => Err(session.operation_failure(reply, &operation)),
    }
}

/// The request for any method, after the check that a tool that it calls may be called.
///
/// # Errors
/// [`ErrorKind::Refused`] if it may not.
pub async fn permitted_operation(
    call_context: CallContext<'_>,
    method: &str,
    params: Map<String, Value>,
    log: Option<&Arc<ServerRequestLog>>,
) -> Result<Operation> {
    let mut operation = verbatim_operation(method, params);
    operation.server_requests = log.cloned();
    if operation.method == method::TOOLS_CALL {
        operation.param_headers = allow_tool_call(call_context, &operation.params, log).await?;
    }
    Ok(operation)
}

/// Checks that a tool may be called; the headers that mirror its arguments.
async fn allow_tool_call(
    call_context: CallContext<'_>,
    params: &Map<String, Value>,
    log: Option<&Arc<ServerRequestLog>>,
) -> Result<Vec<(String, String)>> {
    let CallContext { context, session, tool_cache, .. } = call_context;
    let name = params.get("name").and_then(Value::as_str).unwrap_or_default();
    let arguments = params.get("arguments").and_then(Value::as_object).cloned().unwrap_or_default();
    let raw_arguments = RawArguments::from_object(name, "{}".to_owned());
    let on_update = |_: &_| {};
    let call = match log {
        Some(log) => ToolCall::concurrent(call_context, &raw_arguments, log, 1),
        None => ToolCall::single(call_context, &raw_arguments, &on_update),
    };
    call.require_permission(&arguments).await?;
    if !session.target().endpoint.transport_kind().is_http() {
        return Ok(Vec::new());
    }
    let tools = tools::if_listed(tool_cache.get(context, session).await)?;
    let tool = tools.as_ref().and_then(|tools| tools.find(name));
    Ok(tool.map(|tool| tools::argument_headers(session, tool, &arguments)).unwrap_or_default())
}

fn print_result(context: &Context, session: &Session, method: &str, result: RawJson) -> Result<Exit> {
    let failure = if method == method::TOOLS_CALL { result_failure(session, &result) } else { None };
    context.ui.print_document(result.into())?;
    check_printed_result(session, failure).map(|()| Exit::Done)
}

/// PARAMS: a JSON object, `@FILE` with one, or `-` for standard input.
fn read_params(context: &Context, given: &str) -> Result<Map<String, Value>> {
    let usage = |message: String| Failure::new(ErrorKind::Usage, message);
    let mut files = ArgumentFiles::new(context);
    let (text, place) = match (given, given.strip_prefix('@')) {
        ("-" | "@-", _) => (files.read_stdin("the parameters as JSON"), "standard input"),
        (_, Some(file)) => (files.read_file(file), file),
        _ => (Ok(given.as_bytes().to_vec()), "PARAMS"),
    };
    let text = text.map_err(|error| usage(format!("cannot read {place}")).caused_by(&error))?;
    match parse_json(&text, place) {
        Ok(Value::Object(params)) => Ok(params),
        Ok(_) => Err(usage(format!("{place} is not a JSON object"))
            .hint(r#"write the parameters as one object: '{"name": "value"}'"#)),
        Err(message) => {
            let failure = usage(message);
            let may_be_file = place == "PARAMS" && !given.contains(['{', '[', '"']);
            Err(if may_be_file {
                failure.hint(format!("for a file: {}", quote_without_secrets(&[&format!("@{given}")]).concat()))
            } else {
                failure
            })
        }
    }
}
