//! One line of a batch: what it asks for, and the line that answers it.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::commands::call::concurrent::{FinishedCall, run_prepared_call, take_failed_question};
use crate::commands::call::tool_call::{CallContext, RawArguments, ReadyCall};
use crate::commands::context::Context;
use crate::commands::read::skills::read_verified;
use crate::commands::{prompt, request};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json::object_members;
use crate::protocol::json_string::{JsonText, encode_string};
use crate::protocol::method;
use crate::session::server_requests::ServerRequestLog;
use crate::util::json_error::json_fault_at;
use crate::util::suggest::did_you_mean;

/// The members that say what a line asks for; it has one of them.
const ACTIONS: [&str; 4] = ["tool", "read", "prompt", "request"];
/// The members of a line.
const LINE_MEMBERS: [&str; 8] = ["tool", "arguments", "id", "server", "read", "prompt", "request", "params"];
/// How a line is written.
pub(super) const LINE_HINT: &str = r#"a line is {"tool":"NAME","arguments":{…},"id":…}"#;

/// A result of this size in bytes is not copied into its line: the line is written around it.
const LARGE_RESULT: usize = 64 << 10;

/// One line of a batch, as far as it could be parsed.
pub(super) struct BatchLine {
    number: u64,
    /// The line's `id` as JSON; else the number of the line.
    pub id: String,
    /// The configured server that the line names.
    pub server: Option<String>,
    /// The member that says what the line asks for, and its value as JSON.
    action: (&'static str, Cow<'static, str>),
}

/// What a line asks for.
pub(super) enum LineAction {
    /// To call a tool; prepared ahead if that was possible.
    Call(RawArguments, Option<Box<ReadyCall>>),
    /// To read a resource.
    Read(String),
    /// To get a prompt.
    Prompt(String, Map<String, Value>),
    /// To send any request.
    Request(String, Map<String, Value>),
}

/// The member for a name that it has elsewhere: in a suite, in an API of a model, or in the protocol.
fn other_name(member: &str) -> Option<&'static str> {
    Some(match member {
        "args" | "input" | "parameters" => "arguments",
        "name" | "call" => "tool",
        "uri" | "resource" => "read",
        "method" => "request",
        "target" => "server",
        _ => return None,
    })
}

impl BatchLine {
    /// Parses a line; what was read before a mistake is kept for the answer.
    pub fn parse(line: &[u8], number: u64) -> (BatchLine, Result<LineAction>) {
        let mut read = BatchLine { number, id: number.to_string(), server: None, action: ("tool", "null".into()) };
        let action = read.read_members(line);
        (read, action)
    }

    fn bad(&self, what: &str) -> Failure {
        Failure::new(ErrorKind::Usage, format!("line {} {what}", self.number))
    }

    fn read_members(&mut self, line: &[u8]) -> Result<LineAction> {
        let text = std::str::from_utf8(line)
            .map_err(|error| self.bad("is not UTF-8 text").caused_by(&error).hint(LINE_HINT))?;
        let text = text.trim().trim_start_matches('\u{feff}');
        let members = object_members(text).ok_or_else(|| {
            let failure = match serde_json::from_str::<&RawValue>(text) {
                Ok(_) => self.bad("is not a JSON object"),
                Err(error) => self.bad("is not JSON").cause(json_fault_at(&error)),
            };
            failure.hint(LINE_HINT)
        })?;
        let find = |name: &str| members.iter().rev().find(|(key, _)| key == name).map(|(_, json)| json.get());
        let text_of = |name: &str| Some(JsonText::new(find(name)?)?.decode().into_owned());
        if let Some(id) = find("id") {
            id.clone_into(&mut self.id);
        }
        self.server = text_of("server");
        let mut actions = ACTIONS.into_iter().filter(|name| find(name).is_some());
        let (name, second) = (actions.next(), actions.next());
        let wanted = name.and_then(|name| Some((name, text_of(name)?)));
        if let Some((name, text)) = &wanted {
            self.action = (*name, encode_string(text).into());
        }
        if let Some((other, _)) = members.iter().find(|(key, _)| !LINE_MEMBERS.contains(&&**key)) {
            let near = other_name(other)
                .map(|name| format!("did you mean {name}?"))
                .or_else(|| did_you_mean(other, LINE_MEMBERS))
                .unwrap_or_else(|| format!("a line may have {}", LINE_MEMBERS.join(", ")));
            return Err(self.bad(&format!("has an unknown member '{other}'")).hint(near));
        }
        if let (Some(name), Some(second)) = (name, second) {
            return Err(self.bad(&format!("has both {name} and {second}")).hint("write one line for each"));
        }
        if find("server").is_some() && self.server.is_none() {
            return Err(self.bad("has a server that is not a string").hint(r#"write "server":"NAME""#));
        }
        let Some((name, text)) = wanted else {
            return Err(self.bad("has no tool").hint(r#"add "tool":"NAME", or "read", "prompt" or "request""#));
        };
        let taken = match name {
            "read" => None,
            "request" => Some("params"),
            _ => Some("arguments"),
        };
        if let Some(other) =
            ["arguments", "params"].into_iter().find(|other| taken != Some(*other) && find(other).is_some())
        {
            return Err(self.bad(&format!("has {other}, which {name} does not take")));
        }
        let object = taken.and_then(|taken| Some((taken, find(taken).filter(|text| *text != "null")?)));
        // Parsed here so that an error names the line, not an option.
        let values = match object {
            None => Map::new(),
            Some((taken, text)) if text.starts_with('{') => serde_json::from_str(text)
                .map_err(|error| self.bad(&format!("has invalid JSON in {taken}")).cause(json_fault_at(&error)))?,
            Some((taken, _)) => return Err(self.bad(&format!("has {taken} that are not a JSON object"))),
        };
        Ok(match name {
            "read" => LineAction::Read(text),
            "prompt" => match values.iter().find(|(_, value)| !value.is_string()) {
                None => LineAction::Prompt(text, values),
                Some((name, _)) => {
                    return Err(self
                        .bad(&format!("has an argument '{name}' that is not a string"))
                        .hint("the arguments of a prompt are strings"));
                }
            },
            "request" => LineAction::Request(text, values),
            _ => LineAction::Call(RawArguments::from_members(text, values), None),
        })
    }

    /// Does what the line asks for.
    pub async fn run(&self, call_context: CallContext<'_>, action: LineAction) -> FinishedCall {
        let CallContext { context, session, tool_cache, args, .. } = call_context;
        let number = self.number;
        let dry_run = |method: &str, params: Map<String, Value>| {
            let request = context.dry_run_request(number, method, params)?;
            Ok(FinishedCall::from_request(request))
        };
        let done = async {
            if !matches!(action, LineAction::Call(..)) && !args.dry_run {
                tool_cache.ensure_connected(session).await?;
            }
            // A call has a log of its own already.
            let log = (!matches!(action, LineAction::Call(..))).then(Arc::<ServerRequestLog>::default);
            let is_tool_call = matches!(&action, LineAction::Request(method, _) if method == method::TOOLS_CALL);
            let result = match action {
                LineAction::Call(given, prepared) => {
                    return Ok(run_prepared_call(call_context, &given, prepared, number).await);
                }
                LineAction::Read(uri) if args.dry_run => {
                    let params = std::iter::once(("uri".to_owned(), Value::String(uri))).collect();
                    return dry_run(method::RESOURCES_READ, params);
                }
                LineAction::Prompt(name, arguments) if args.dry_run => {
                    if !args.no_validate {
                        Box::pin(prompt::check_arguments(context, session, &name, &arguments)).await?;
                    }
                    let operation = prompt::get_prompt_call(&name, &arguments);
                    return dry_run(operation.method, Map::clone(&operation.params));
                }
                LineAction::Request(method, params) if args.dry_run => return dry_run(&method, params),
                // Boxed, so that the future of a call, which most lines are, is not larger than it has to be.
                LineAction::Read(uri) => Box::pin(read_verified(context, session, &uri, log.as_ref())).await?,
                LineAction::Prompt(name, arguments) => {
                    Box::pin(prompt::get_prompt(context, session, &name, &arguments, log.as_ref())).await?
                }
                LineAction::Request(method, params) => {
                    Box::pin(request::send(call_context, &method, params, log.as_ref())).await?
                }
            };
            let failed_question = log.and_then(|log| take_failed_question(call_context, &log));
            let malformed = || session.malformed_tool_result(&result).filter(|_| is_tool_call);
            let failure = failed_question.or_else(malformed).map(|failure| failure.server(&session.target().name));
            Ok(FinishedCall { failure, ..FinishedCall::from_result(result) })
        };
        done.await.unwrap_or_else(|failure: Failure| FinishedCall::from_failure(failure.server(&session.target().name)))
    }

    /// The printed line for it.
    pub fn response_json(&self, context: &Context, ended: FinishedCall) -> String {
        let (name, action) = &self.action;
        let size = ended.result.as_ref().map(|result| result.get().len()).filter(|size| *size < LARGE_RESULT);
        let mut text = String::with_capacity(128 + size.unwrap_or_default());
        text += r#"{"id":"#;
        text += &self.id;
        if let Some(server) = &self.server {
            text += r#","server":"#;
            text += &encode_string(server);
        }
        for part in [r#",""#, name, r#"":"#, action] {
            text += part;
        }
        if let Some(result) = ended.result {
            text += r#","result":"#;
            if size.is_some() {
                text += result.get();
            } else {
                let mut result = Box::<str>::from(result).into_string();
                result.insert_str(0, &text);
                text = result;
            }
        }
        if let Some(failure) = &ended.failure {
            text += &format!(r#","error":{}"#, context.ui.redacted_failure_json(failure));
        }
        text + "}"
    }
}
