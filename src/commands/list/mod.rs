//! `list`: what servers offer, one tool in full, or the identity of a server.

mod brief;
mod configured;
mod dashboard;
mod model_formats;
mod watch;

use std::sync::Arc;

use serde_json::Value;

use crate::cli::ListArgs;
use crate::commands::context::{Context, Exit};
use crate::commands::lists::{ListFilter, print_kinds, selected_kinds};
use crate::commands::tools::{self, SchemaUse, Tool, ToolCache, ToolList};
use crate::error::{ErrorKind, Failure, Result};
use crate::output::Progress;
use crate::output::details::{ParameterRow, ServerView, ToolView};
use crate::output::json_documents;
use crate::protocol::views::{ListItem, ListKind};
use crate::schema;
use crate::session::client_handler::ClientCapability;
use crate::session::{CachePolicy, Session};
use crate::target::Target;
use crate::transport::Endpoint;
use crate::util::quoting::quote;

/// The hint for an option that is about one server.
const NAME_TARGET: &str = "name a target; list the configured servers: mcpipe config list";

/// Runs `list`.
///
/// # Errors
/// When the server, or the first of several, cannot be queried.
pub async fn run(context: &Context, args: ListArgs) -> Result<Exit> {
    if let Some(form) = args.form {
        return model_formats::print_tools(context, &args, form).await;
    }
    let anywhere = args.target.is_none() && args.command.is_empty();
    if args.offline && !anywhere {
        // clap would print a usage line with both.
        return Err(Failure::new(
            ErrorKind::Usage,
            "--offline cannot be used with TARGET: it shows every configured server",
        )
        .hint("omit TARGET: mcpipe list --offline"));
    }
    if anywhere {
        if args.watch {
            return Err(Failure::new(ErrorKind::Usage, "--watch needs a target").hint(NAME_TARGET));
        }
        if let Some(option) = single_server_option(&args) {
            return Err(Failure::new(ErrorKind::Usage, format!("{option} needs a target")).hint(NAME_TARGET));
        }
        return dashboard::run(context, &args).await;
    }
    let words = args.target.iter().chain(&args.tool);
    let (target, words) = context.resolve_target(words, &args.command, true, &args.target_options).await?;
    require_no_list_option(&args, &target, words.first())?;
    let progress = context.progress(&format!("querying {}", target.name));
    match words.as_slice() {
        [] => {}
        // It connects twice in a rare case, which must not make the future of every `list` large.
        [tool] => {
            // `' -x()'`, which `call` takes for a name that looks like an option.
            let dashed = tool.strip_prefix(' ').and_then(|form| form.strip_suffix("()"));
            let name = dashed.filter(|name| name.starts_with('-')).unwrap_or(tool);
            let printed = Box::pin(print_tool(context, target, progress.clone(), name, args.schema));
            return progress.show_during(printed).await;
        }
        [_, extra, ..] => {
            return Err(Failure::new(ErrorKind::Usage, format!("unexpected argument '{extra}' after the tool")));
        }
    }
    let session = context.listing_session(target, Some(progress.clone()))?;
    let operation = async |session: &Session| {
        if args.brief {
            brief::print_signatures(context, session, &args).await
        } else if args.tokens || args.budget.is_some() {
            brief::print_tokens(context, session, &args).await
        } else if args.info {
            print_server_info(context, session).await
        } else if args.schema {
            Err(Failure::new(ErrorKind::Usage, "--schema needs a tool")
                .hint(format!("name one of its tools: {}", session.target().command_line("list", &[]))))
        } else if args.all {
            print_all_kinds(context, session, &args).await
        } else {
            print_kinds(context, session, &selected_kinds(&args), ListFilter::from_args(&args)).await
        }
    };
    if args.watch {
        // A change may never come: no progress line.
        return context
            .with_session(session, async |session| watch::run(context, session, &args, &selected_kinds(&args)).await)
            .await;
    }
    progress.show_during(context.with_session(session, operation)).await
}

/// The first option that chooses lists.
fn list_selecting_option(args: &ListArgs) -> Option<&'static str> {
    let options = [
        (args.resources, "--resources"),
        (args.templates, "--templates"),
        (args.prompts, "--prompts"),
        (args.skills, "--skills"),
        (args.all, "--all"),
    ];
    options.into_iter().find_map(|(given, name)| given.then_some(name))
}

/// Refuses the options that cannot be used with a tool.
fn require_no_list_option(args: &ListArgs, target: &Target, tool: Option<&String>) -> Result<()> {
    let flag = list_selecting_option(args).or(args.info.then_some("--info")).or(args.watch.then_some("--watch"));
    let option = flag.or(cost_option(args)).or(args.search.is_some().then_some("--search"));
    let (Some(option), Some(tool)) = (option, tool) else { return Ok(()) };
    let value = match option {
        "--budget" => args.budget.map(|limit| limit.to_string()),
        "--search" => args.search.as_deref().map(quote),
        _ => None,
    };
    let typed = value.map_or_else(|| option.to_owned(), |value| format!("{option}={value}"));
    Err(Failure::new(ErrorKind::Usage, format!("{option} cannot be used with a tool ('{tool}')"))
        .hint(format!("omit the tool: {}", target.command_line("list", &[&typed]))))
}

/// The option that asks for the tools in brief, or for what they cost.
fn cost_option(args: &ListArgs) -> Option<&'static str> {
    let options = [(args.brief, "--brief"), (args.tokens, "--tokens"), (args.budget.is_some(), "--budget")];
    options.into_iter().find_map(|(given, name)| given.then_some(name))
}

/// The first option that needs a target. With `--search` the lists to search may be chosen without one.
fn single_server_option(args: &ListArgs) -> Option<&'static str> {
    let chosen = list_selecting_option(args).filter(|_| args.search.is_none());
    chosen.or(args.info.then_some("--info")).or(cost_option(args)).or(args.schema.then_some("TOOL --schema"))
}

/// Every list; that of skills only if the server declares skills.
async fn print_all_kinds(context: &Context, session: &Session, args: &ListArgs) -> Result<Exit> {
    let mut all = selected_kinds(args);
    if session.offers_skills().await? {
        all.push(ListKind::Skills);
    }
    print_kinds(context, session, &all, ListFilter::from_args(args)).await
}

async fn print_server_info(context: &Context, session: &Session) -> Result<Exit> {
    let about = session.session_info().await?;
    let view = ServerView {
        target: &context.ui.redacted(&session.target().name),
        info: &about.server,
        revision: about.revision.as_str(),
        transport: about.transport.as_str(),
    };
    let ui = &context.ui;
    if ui.is_json() { ui.print_json_value(&json_documents::server_info(&view)) } else { ui.print_server_info(&view) }?;
    Ok(Exit::Done)
}

/// Prints a tool in full.
///
/// It is looked up as a client that declares what a call without further options does, so that the list shows whether
/// the tool needs an option, and if it is not listed then, as a client that declares everything.
async fn print_tool(
    context: &Context,
    target: Target,
    progress: Arc<Progress>,
    name: &str,
    schema_only: bool,
) -> Result<Exit> {
    let as_caller = || context.listing_session_for(target.clone(), Some(progress.clone()), &[]);
    let session = as_caller()?;
    // The replay of a recording must print the same, whatever other connections would show.
    let connects_once = context.global.record.is_some() || matches!(target.endpoint, Endpoint::Replay(_));
    let is_final = connects_once || session.undeclared_capabilities().is_empty();
    let operation = async |session: &Session| {
        let listing = session.list(ListKind::Tools, CachePolicy::Bypass).await?;
        if !is_final && listing.is_offered && listing.find(name).is_none() {
            return Ok(None);
        }
        let tools = tools::apply_policy(context, session, &listing).await;
        print_listed_tool(context, session, &tools, name, schema_only, &[]).await.map(Some)
    };
    if let Some(exit) = context.with_session(session, operation).await? {
        return Ok(exit);
    }
    let operation = async |session: &Session| {
        let tools = tools::fetch_tools(context, session, CachePolicy::Bypass).await?;
        let needed = match tools.find(name) {
            Some(_) => ToolCache::default().needed_capabilities(context, &as_caller()?, name).await,
            None => Vec::new(),
        };
        let needed = needed.first().map(Vec::as_slice).unwrap_or_default();
        print_listed_tool(context, session, &tools, name, schema_only, needed).await
    };
    let session = context.listing_session(target.clone(), Some(progress.clone()))?;
    context.with_session(session, operation).await
}

/// Prints a tool of a list in full. The server lists it only for clients with the capabilities in `needed`.
async fn print_listed_tool(
    context: &Context,
    session: &Session,
    tools: &ToolList,
    name: &str,
    schema_only: bool,
    needed: &[ClientCapability],
) -> Result<Exit> {
    let Some(tool) = tools.find(name) else { return Err(unlisted_tool_failure(tools, session, name)) };
    let ui = &context.ui;
    tool.defect(ListKind::Tools).iter().for_each(|defect| ui.warn(defect));
    if schema_only {
        let raw = crate::protocol::json::member(tool.raw(), "inputSchema");
        match raw {
            Some(raw) => ui.print_raw_json(raw)?,
            None => return Err(Failure::new(ErrorKind::Protocol, format!("the tool '{name}' has no input schema"))),
        }
    } else if ui.is_json() {
        ui.print_raw_json(tool.raw())?;
    } else {
        ui.print_tool_details(&ToolView {
            tool,
            parameters: &parameter_rows(tool),
            output: tool.output_schema().map(schema::output_shape).as_deref(),
            example: &example_call(context, session.target(), tool, needed).await?,
        })?;
    }
    Ok(Exit::Done)
}

/// The failure for a tool that is not listed. The word may be meant as one of the lists, or as a pattern.
fn unlisted_tool_failure(tools: &ToolList, session: &Session, word: &str) -> Failure {
    let failure = tools.unavailable_tool(session, word);
    if !tools.may_appear(word) {
        return failure;
    }
    let line = |words: &[&str]| session.target().command_line("list", words);
    let parts = word.split(['*', '?']).map(|part| part.trim_start_matches('-'));
    let letters = parts.max_by_key(|part| part.len()).unwrap_or_default();
    match word {
        "tools" => failure.hint(format!("list its tools: {}", line(&[]))),
        "resources" | "templates" | "prompts" | "skills" | "all" | "info" => {
            failure.hint(format!("use {}", line(&[&format!("--{word}")])))
        }
        _ if word.contains(['*', '?']) && !letters.is_empty() => {
            failure.hint(format!("search for it: {}", line(&["--search", &quote(letters)])))
        }
        _ => failure,
    }
}

/// A command that calls the tool, and what to know about it.
async fn example_call(context: &Context, target: &Target, tool: &Tool, needed: &[ClientCapability]) -> Result<String> {
    let example = match tool.validator(SchemaUse::Input) {
        Some(validator) => {
            let example = schema::example_arguments(validator);
            Some(context.interrupt.run_until_interrupted(example).await?)
        }
        None => None,
    };
    let fits = example.as_ref().is_none_or(|example| example.is_accepted);
    let name = if tool.name().starts_with('-') { format!(" {}()", tool.name()) } else { tool.name().to_owned() };
    let mut words = vec![quote(&name)];
    words.extend(example.map(|example| example.words).unwrap_or_default());
    let mut notes = Vec::new();
    if !fits {
        notes.push("placeholders: replace the values, the schema has constraints that the example does not meet");
    }
    for capability in needed {
        match capability {
            // A form can be filled in only at a terminal.
            ClientCapability::Elicitation => {
                notes.push("run it at a terminal, or add --elicit accept or --elicit JSON")
            }
            ClientCapability::Sampling => {
                words.push("--sampling-command CMD".to_owned());
                notes.push("CMD reads the sampling request as JSON from standard input and prints the result as JSON");
            }
            ClientCapability::Roots => words.push("--root .".to_owned()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let notes = notes.iter().map(|note| format!("\n({note})"));
    Ok(target.command_line("call", &words) + &notes.collect::<String>())
}

fn parameter_rows(tool: &ListItem) -> Vec<ParameterRow> {
    let all = tool.input_schema().map(schema::parameters).unwrap_or_default();
    all.into_iter()
        .map(|parameter| {
            let mut allowed: Vec<String> = parameter.allowed_values.iter().map(ToString::to_string).collect();
            // The allowed values have their own column.
            let kind = if allowed.is_empty() { parameter.type_text } else { types_of(&parameter.allowed_values) };
            allowed.extend(parameter.constraints);
            ParameterRow {
                name: parameter.name,
                kind,
                required: parameter.is_required,
                default: parameter.default.map(|value| value.to_string()).unwrap_or_default(),
                allowed: allowed.join(", "),
                description: parameter.description,
            }
        })
        .collect()
}

/// The JSON types of values: `string`, `string | null`.
fn types_of(values: &[Value]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for value in values {
        let name = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(" | ")
}
