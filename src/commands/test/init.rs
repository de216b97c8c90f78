//! `test --init`: a suite for a server that passes as it is.

use std::cmp::Ordering;
use std::collections::HashSet;

use serde_json::{Map, Number, Value, json};
use toml_edit::{Array, InlineTable};

use crate::cli::CallArgs;
use crate::commands::call::concurrent::run_concurrent_call;
use crate::commands::call::tool_call::{CallContext, RawArguments};
use crate::commands::context::Context;
use crate::commands::test::suite_keys::LIST_WORDS;
use crate::commands::tools::{SchemaUse, ToolCache};
use crate::config::redact::{redact_command, redact_setting};
use crate::error::{ErrorKind, Result};
use crate::protocol::views::{ListItem, ListKind};
use crate::schema::{compare_numbers, example_values};
use crate::session::{CachePolicy, Session};
use crate::target::{Target, TargetName};
use crate::transport::Endpoint;
use crate::transport::http::redacted_url;

/// The variable with a URL that has a secret.
const URL_VARIABLE: &str = "MCP_URL";
/// The variable with a command line that has one.
const COMMAND_VARIABLE: &str = "MCP_COMMAND";

/// The text of a suite for a server: its lists, and a call of each tool that says that it is read-only. Those are
/// called to see whether they succeed.
///
/// # Errors
/// When the server cannot be used.
pub(super) async fn suite_text(context: &Context, target: Target) -> Result<String> {
    let mut text = suite_header(&target);
    let (session, _) = context.test_session(target, false, None)?;
    let write = async |session: &Session| {
        for (word, kind) in LIST_WORDS {
            let listing = session.list(kind, CachePolicy::Bypass).await?;
            if !listing.is_offered {
                continue;
            }
            let member = kind.result_member();
            let items = listing.parsed_items();
            text += &format!("\n[[test]]\nname = \"lists {word}\"\nlist = \"{word}\"\n");
            let names: Vec<&Value> =
                items.iter().map(|item| item.value().get("name").unwrap_or(&Value::Null)).collect();
            let expression = format!("[.{member}[].name] == {}", json!(names));
            text += &format!("expect = [{}]\n", toml_string(&expression));
            if kind == ListKind::Tools {
                text += &calls(context, session, &items).await?;
            }
        }
        Ok(())
    };
    context.with_session(session, write).await?;
    Ok(text)
}

/// How the suite begins: what it is, and its server. Secrets in a URL or a command line stay out of the file, and so do
/// the target options.
fn suite_header(target: &Target) -> String {
    let mut text = "# Written by `mcpipe test --init`. `mcpipe man suite.5` describes every key; `mcpipe test --schema` is for editors.\n"
        .to_owned();
    let without_options = "mcpipe test FILE";
    let command = target.append_flags(without_options);
    if command != without_options {
        text += &format!("# Run it with the same options: {command}\n");
    }
    let secret_in = match &target.endpoint {
        _ if target.is_configured => None,
        Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) => {
            let has_secret = redacted_url(&endpoint.url) != endpoint.url.as_str() || is_typed_with_secret(target);
            has_secret.then_some(("URL", URL_VARIABLE))
        }
        Endpoint::Stdio(_) => redact_command(&target.name).has_redactions.then_some(("command line", COMMAND_VARIABLE)),
        Endpoint::Unix(_) | Endpoint::Replay(_) => None,
    };
    if let Some((what, variable)) = secret_in {
        text += &format!(
            "# The {what} has a secret, so it is not here: set the variable {variable} to it.\ntarget = \"${{{variable}}}\"\n"
        );
    } else {
        // As a target, a single word would be the name of a configured server.
        let key = if target.needs_separator() { "command" } else { "target" };
        text += &format!("{key} = {}\n", toml_string(&target.name));
    }
    text
}

/// Whether the URL has a user, which is sent as a header, or a key in its path.
fn is_typed_with_secret(target: &Target) -> bool {
    match target.reference.as_ref().map(|reference| &reference.name) {
        Some(TargetName::Url(url)) => redact_setting(url, "url").has_redactions,
        _ => false,
    }
}

/// A test for each tool that says that it is read-only, and for which arguments can be made up.
async fn calls(context: &Context, session: &Session, tools: &[ListItem]) -> Result<String> {
    let tool_cache = ToolCache::default();
    let args = CallArgs { yes: true, strict: true, ..CallArgs::default() };
    let list = tool_cache.get(context, session).await?;
    let mut text = String::new();
    let mut names = HashSet::new();
    for tool in tools.iter().filter(|tool| tool.boolean_annotation("readOnlyHint") == Some(true)) {
        if !names.insert(tool.name()) {
            continue;
        }
        let Some(validator) = list.find(tool.name()).and_then(|tool| tool.validator(SchemaUse::Input)) else {
            continue;
        };
        let Some(arguments) = example_values(validator).await else { continue };
        let Some(table) = toml_table(&arguments) else { continue };
        let way = CallContext { context, session, tool_cache: &tool_cache, args: &args, target: None };
        let raw_arguments = RawArguments::from_object(tool.name(), Value::Object(arguments).to_string());
        let finished = run_concurrent_call(way, &raw_arguments, 1).await;
        if let Some(failure) = &finished.failure
            && !matches!(failure.kind(), ErrorKind::Failed | ErrorKind::Usage | ErrorKind::Refused)
            && finished.result.is_none()
        {
            return Err(failure.clone());
        }
        let name = toml_string(tool.name());
        text += &format!("\n[[test]]\nname = {}\ncall = {name}\n", toml_string(&format!("calls {}", tool.name())));
        let is_error = finished.is_error;
        let kind = finished.failure.map(|failure| failure.kind()).or(is_error.then_some(ErrorKind::Failed));
        if kind.is_some() {
            text += match table.is_empty() {
                true => "# The call failed. If it is expected to succeed, remove 'fails'.\n",
                false => {
                    "# The call failed with these placeholders: replace them with real values, and remove 'fails'.\n"
                }
            };
        }
        if !table.is_empty() {
            text += &format!("args = {}\n", table.to_string().trim());
        }
        if let Some(kind) = kind {
            text += &format!("fails = \"{}\"\n", kind.as_str());
        }
    }
    Ok(text)
}

fn toml_string(text: &str) -> String {
    // `${` would be a reference.
    toml_edit::Value::from(text.replace("${", "$${")).to_string()
}

fn is_exact(float: f64, number: &Number) -> bool {
    Number::from_f64(float).is_some_and(|float| compare_numbers(&float, number) == Some(Ordering::Equal))
}

/// A JSON object as TOML; `None` if it holds a value that TOML does not have, such as null.
fn toml_table(members: &Map<String, Value>) -> Option<InlineTable> {
    members.iter().map(|(name, value)| Some((name.as_str(), toml_value(value)?))).collect::<Option<InlineTable>>()
}

fn toml_value(value: &Value) -> Option<toml_edit::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(yes) => (*yes).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().filter(|float| is_exact(*float, number))?.into(),
        },
        Value::String(text) => text.replace("${", "$${").into(),
        Value::Array(items) => items.iter().map(toml_value).collect::<Option<Array>>()?.into(),
        Value::Object(members) => toml_table(members)?.into(),
    })
}
