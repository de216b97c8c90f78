//! `call`: one tool, its arguments typed and checked by its own schema, its result printed.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::tools::{self, Tools};
use super::{Context, Exit};
use crate::args::{self, Given};
use crate::cli::CallArgs;
use crate::error::{Class, Failure, Result};
use crate::protocol::code;
use crate::protocol::rpc::{self, Raw, parse_value};
use crate::protocol::views::{Entry, member};
use crate::target::Resolved;
use crate::session::link::Reply;
use crate::session::{Session, Use};
use crate::target::Confirm;

/// Calls a tool.
///
/// # Errors
/// When it cannot be called; a result with `isError` is printed and ends with exit code 1.
pub async fn run(context: &Context, args: CallArgs) -> Result<Exit> {
    let words = args.target.iter().chain(&args.tool).chain(&args.args).cloned().collect();
    let Resolved { target, rest: words } = context.target(words, &args.command, true, &args.reach)?;
    let Some((tool, words)) = words.split_first() else {
        return Err(Failure::new(Class::Usage, "which tool?")
            .server(&target.name)
            .hint(format!("see its tools: mcpipe list {}", super::quoted(&target.name))));
    };
    let given = args::given(tool, words, args.object.as_deref(), &mut super::files())?;
    let progress = context.progress(&format!("waiting for {}", target.name));
    let session = context.session(target, Some(progress.clone()))?;
    let operation = async |session: &Session| {
        let call = Calling { context, session, args: &args, given: &given };
        let Some(result) = progress.during(call.result()).await? else { return Ok(Exit::Done) };
        call.print(&result)
    };
    context.with(session, operation).await
}

/// One call on its way.
struct Calling<'a> {
    context: &'a Context,
    session: &'a Session,
    args: &'a CallArgs,
    given: &'a Given,
}

impl Calling<'_> {
    /// The result; `None` after a dry run.
    async fn result(&self) -> Result<Option<Raw>> {
        let name = self.given.tool.as_str();
        let mut tools = tools::load(self.context, self.session, Use::Memory).await?;
        let mut ready = self.prepare(&tools).await;
        // A refusal from memory is checked against what the server says now.
        if ready.is_err() && tools.remembered {
            tools = tools::load(self.context, self.session, Use::Server).await?;
            ready = self.prepare(&tools).await;
        }
        let (arguments, headers) = ready?;
        if self.args.dry_run {
            self.dry_run(arguments)?;
            return Ok(None);
        }
        self.consent(tools.find(name), &arguments)?;
        let call = Session::tool_call(name, arguments.clone(), headers);
        let mut reply = self.session.reply(&call).await?;
        if matches!(&reply, Reply::Error(error, _) if error.code == code::HEADER_MISMATCH) {
            // The schema has changed: its headers are made anew, once (HTM-07). Refused before execution.
            tools = tools::load(self.context, self.session, Use::Server).await?;
            let (arguments, headers) = self.prepare(&tools).await?;
            reply = self.session.reply(&Session::tool_call(name, arguments, headers)).await?;
        }
        match reply {
            Reply::Result(result) => Ok(Some(result)),
            reply => {
                let failure = self.session.failure(reply, "tools/call");
                // What was declined is why it failed.
                Err(match self.session.declined() {
                    Some(declined) => declined.cause(failure.to_string()).server(&self.session.target().name),
                    None => failure,
                })
            }
        }
    }

    /// The arguments and the headers that mirror them, checked against the tool's schema.
    async fn prepare(&self, tools: &Tools) -> Result<(Map<String, Value>, Vec<(String, String)>)> {
        let name = self.given.tool.as_str();
        let target = self.session.target();
        let tool = match tools.find(name) {
            Some(tool) => Some(tool),
            None if self.args.no_validate && !tools.hidden.iter().any(|hidden| hidden == name) => None,
            None => return Err(tools.missing(target, name)),
        };
        let schema = tool.and_then(Entry::input_schema);
        let check = !self.args.no_validate;
        let checked = args::build(self.given, schema, check).map_err(|problems| {
            let hint = format!("see the tool: mcpipe list {} {}", super::quoted(&target.name), super::quoted(name));
            args::refused(name, &problems).hint(hint)
        })?;
        if let Some(doubt) = checked.unchecked {
            self.context.ui.warn(&format!("the arguments are sent unchecked: {doubt}"));
        }
        let headers = match tool {
            Some(tool) => tools::mirrored(self.session, tool, &checked.arguments).await?,
            None => Vec::new(),
        };
        Ok((checked.arguments, headers))
    }

    fn dry_run(&self, arguments: Map<String, Value>) -> Result<()> {
        let call = Session::tool_call(&self.given.tool, arguments, Vec::new());
        let params = Value::Object(call.params).to_string();
        self.context.ui.json_text(&rpc::request(1, call.method, Some(&params)))
    }

    /// Asks the person where the configuration wants that; `--yes` answers beforehand (`TOL-09`).
    fn consent(&self, tool: Option<&Entry>, arguments: &Map<String, Value>) -> Result<()> {
        let harmless = tool.is_some_and(|tool| {
            tool.hint("readOnlyHint") == Some(true) || tool.hint("destructiveHint") == Some(false)
        });
        let needed = match self.session.target().policy.confirm {
            Confirm::Never => false,
            Confirm::Destructive => !harmless,
            Confirm::Always => true,
        };
        if !needed || self.args.yes {
            return Ok(());
        }
        let name = &self.given.tool;
        let ui = &self.context.ui;
        let refused = |why: &str| Failure::new(Class::Refused, format!("the call of '{name}' {why}"));
        if !ui.terminal().interactive() || self.context.global.no_input {
            return Err(refused("needs consent").hint("agree beforehand with --yes"));
        }
        let _quiet = ui.pause_progress();
        ui.say(&format!("{} is to be called with {}", name, Value::Object(arguments.clone())));
        ui.ask("call it? [y/N] ");
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        if read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(refused("was not agreed to")) }
    }

    fn print(&self, result: &RawValue) -> Result<Exit> {
        let ui = &self.context.ui;
        let failed = member(result, "isError").and_then(|raw| parse_value(raw.get())) == Some(Value::Bool(true));
        if ui.json() {
            ui.raw_json(result)?;
        } else if self.args.structured && !failed {
            ui.structured(result)?;
        } else {
            ui.tool_result(result, self.args.save.as_deref())?;
        }
        match (failed, self.session.declined()) {
            (false, _) => Ok(Exit::Done),
            (true, Some(declined)) => Err(declined.server(&self.session.target().name)),
            (true, None) => Ok(Exit::Said(Class::Failed)),
        }
    }
}
