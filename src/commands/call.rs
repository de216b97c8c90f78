//! `call`: one tool, its arguments typed and checked by its own schema, its result printed.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::inputs;
use super::outcome;
use super::task::{self, Place};
use super::tools::{self, Tools};
use super::{Context, Exit, Files};
use crate::args::{self, FormArg};
use crate::cli::CallArgs;
use crate::error::{Class, Failure, Result};
use crate::output::Progress;
use crate::protocol::rpc::{self, Raw, parse_value};
use crate::protocol::views::{Entry, member};
use crate::protocol::{code, method};
use crate::schema;
use crate::session::era::Call;
use crate::session::link::Reply;
use crate::session::tasks::{Support, Task, Wish};
use crate::session::{Session, Use};
use crate::target::Resolved;
use crate::target::{Confirm, Target};

/// Calls a tool.
///
/// # Errors
/// When it cannot be called; a result with `isError` is printed and ends with exit code 1.
pub async fn run(context: &Context, args: CallArgs) -> Result<Exit> {
    let words = args.target.iter().chain(&args.tool).chain(&args.args).cloned().collect();
    let Resolved { target, rest: words } = context.target(words, &args.command, true, &args.reach).await?;
    let Some((tool, words)) = words.split_first() else {
        return Err(Failure::new(Class::Usage, "which tool?")
            .server(&target.name)
            .hint(format!("see its tools: mcpipe list {}", super::quoted(&target.name))));
    };
    let given = Given::read(&target, tool, words)?;
    let progress = context.progress(&format!("waiting for {}", target.name));
    let session = context.session(target, Some(progress.clone()))?;
    let operation = async |session: &Session| {
        let files = RefCell::new(Files::default());
        let call = Calling { context, session, args: &args, given: &given, files, progress: &progress };
        let Some(got) = progress.during(call.result()).await? else { return Ok(Exit::Done) };
        match got {
            Got::Result(result, misfit) => {
                let shown = Shown { structured: args.structured, save: args.save.as_deref(), strict: args.strict };
                print(context, session, &result, &shown, misfit)
            }
            Got::Task(task) => task::print_handle(context, session, &task, &call.place()).await,
        }
    };
    context.with(session, operation).await
}

/// The tool and its arguments as typed.
struct Given {
    tool: String,
    form: Vec<FormArg>,
    words: Vec<String>,
}

impl Given {
    fn read(target: &Target, tool: &str, words: &[String]) -> Result<Self> {
        let words = words.to_vec();
        match args::call_form(tool) {
            None => Ok(Given { tool: tool.to_owned(), form: Vec::new(), words }),
            Some(Ok(form)) => Ok(Given { tool: form.tool, form: form.arguments, words }),
            Some(Err(problem)) => Err(schema::failure(&target.name, tool, &[problem])),
        }
    }
}

/// Arguments that may be sent, and the headers that mirror them.
type Ready = (Map<String, Value>, Vec<(String, String)>);

/// One call on its way.
struct Calling<'a> {
    context: &'a Context,
    session: &'a Session,
    args: &'a CallArgs,
    given: &'a Given,
    files: RefCell<Files>,
    progress: &'a Progress,
}

/// What came of a call.
enum Got {
    /// Its result, and how it breaks the tool's promise.
    Result(Raw, Option<Failure>),
    /// It goes on without us.
    Task(Task),
}

impl Calling<'_> {
    /// The result; `None` after a dry run.
    async fn result(&self) -> Result<Option<Got>> {
        let name = self.given.tool.as_str();
        let target = self.session.target();
        if !target.policy.permits(name) {
            return Err(tools::not_allowed(target, name));
        }
        let (mut tools, mut ready) = if self.args.no_validate {
            // Sent as typed: nothing needs to be known of the tool.
            (None, self.build(None).map(|arguments| (arguments, Vec::new())))
        } else {
            let tools = tools::load(self.context, self.session, Use::Memory).await?;
            let ready = self.prepare(&tools);
            (Some(tools), ready)
        };
        // A refusal from memory is checked against what the server says now.
        if ready.is_err() && tools.as_ref().is_some_and(|tools| tools.remembered) {
            let fresh = tools::load(self.context, self.session, Use::Server).await?;
            ready = self.prepare(&fresh);
            tools = Some(fresh);
        }
        let (arguments, headers) = ready?;
        if self.args.dry_run {
            self.dry_run(arguments)?;
            return Ok(None);
        }
        let tool = tools.as_ref().and_then(|tools| tools.find(name));
        self.consent(tool, &arguments).await?;
        let support = tool.map_or(Support::Unknown, |tool| Support::of(tool.value()));
        let wish = Wish { support, detach: self.args.detach };
        let mut result = self.send(tool, arguments, headers, wish).await?;
        if let Some(task) = self.session.created(&result).await {
            match self.follow(task).await? {
                Got::Task(task) => return Ok(Some(Got::Task(task))),
                Got::Result(later, _) => result = later,
            }
        }
        let misfit = tool.and_then(|tool| outcome::misfit(&target.name, tool, &result));
        Ok(Some(Got::Result(result, misfit)))
    }

    /// Sends the call and follows it to its result.
    async fn send(
        &self,
        tool: Option<&Entry>,
        arguments: Map<String, Value>,
        headers: Vec<(String, String)>,
        wish: Wish,
    ) -> Result<Raw> {
        let name = self.given.tool.as_str();
        let says = |hint: &str| tool.is_some_and(|tool| tool.hint(hint) == Some(true));
        let repeatable = says("readOnlyHint") || says("idempotentHint");
        let call = |arguments, headers| {
            let call = Session::tool_call(name, arguments, headers);
            Call { repeatable, task: Some(wish), ..call }
        };
        let first = call(arguments.clone(), headers);
        if wish.detach && self.session.would_detach(&first).await? == Some(false) {
            return Err(Failure::new(Class::Failed, format!("a call of '{name}' cannot go on without mcpipe"))
                .cause("the server does not run it as a task")
                .hint("leave out --detach"));
        }
        let mut reply = self.session.reply(&first).await?;
        if matches!(&reply, Reply::Error(error, _) if error.code == code::HEADER_MISMATCH) {
            // The schema has changed: its headers are made anew, once (HTM-07). Refused before execution.
            let tools = tools::load(self.context, self.session, Use::Server).await?;
            if let Some(tool) = tools.find(name) {
                let headers = tools::mirrored(self.session, tool, &arguments);
                reply = self.session.reply(&call(arguments, headers)).await?;
            }
        }
        match reply {
            Reply::Result(result) => Ok(result),
            reply => Err(self.session.failure(reply, method::TOOLS_CALL)),
        }
    }

    /// The arguments, checked against the tool's schema, and the headers that mirror them.
    fn prepare(&self, tools: &Tools) -> Result<Ready> {
        let name = self.given.tool.as_str();
        let Some(tool) = tools.find(name) else { return Err(tools.missing(self.session.target(), name)) };
        let arguments = self.build(tool.input_schema())?;
        let headers = tools::mirrored(self.session, tool, &arguments);
        Ok((arguments, headers))
    }

    /// The arguments by this schema; as typed where there is none.
    fn build(&self, schema: Option<&Value>) -> Result<Map<String, Value>> {
        let input = args::Input { base: self.args.object.as_deref(), form: &self.given.form, words: &self.given.words };
        let target = &self.session.target().name;
        let built = args::build(&input, schema, &mut *self.files.borrow_mut())
            .map_err(|problems| schema::failure(target, &self.given.tool, &problems))?;
        if let Some(doubt) = built.unchecked {
            self.context.ui.warn(&format!("the arguments are sent unchecked: {doubt}"));
        }
        Ok(built.arguments)
    }

    fn dry_run(&self, arguments: Map<String, Value>) -> Result<()> {
        let call = Session::tool_call(&self.given.tool, arguments, Vec::new());
        let params = Value::Object(call.params).to_string();
        self.context.ui.json_text(&rpc::request(1, call.method, Some(&params)))
    }

    /// Asks the person where the configuration wants that; `--yes` answers beforehand (`TOL-09`).
    async fn consent(&self, tool: Option<&Entry>, arguments: &Map<String, Value>) -> Result<()> {
        let harmless = tool
            .is_some_and(|tool| tool.hint("readOnlyHint") == Some(true) || tool.hint("destructiveHint") == Some(false));
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
        ui.say(&format!("{name} is to be called with {}", Value::Object(arguments.clone())));
        let answer = inputs::line(ui, &self.context.interrupt, "call it? [y/N] ").await?;
        let agreed = answer.is_some_and(|line| matches!(line.trim(), "y" | "Y" | "yes"));
        if agreed { Ok(()) } else { Err(refused("was not agreed to")) }
    }

    fn place(&self) -> Place<'_> {
        Place {
            target: self.args.target.as_deref(),
            command: &self.args.command,
            reach: &self.args.reach,
            tool: &self.given.tool,
        }
    }

    /// Follows a call that has become a task, unless nobody wants to wait for it.
    async fn follow(&self, task: Task) -> Result<Got> {
        let Calling { context, session, .. } = self;
        // Noted down first: the task is there, whatever becomes of us.
        let left = if self.args.detach { session.leave_open().await } else { None };
        task::keep(context, session, &task, &self.place(), left.as_ref());
        if self.args.detach {
            return Ok(Got::Task(task));
        }
        let told = |task: &Task| self.progress.message(&task::shown(task));
        let id = task.id.clone();
        match session.outcome(&id, Some(task), patience(context), &told).await {
            Ok(result) => {
                task::forget(context, session, &id);
                Ok(Got::Result(result, None))
            }
            Err(failure) => Err(self.given_up(&id, failure).await),
        }
    }

    /// Nobody waits for the task any more: it is stopped where the user wanted that, else it goes on.
    async fn given_up(&self, id: &str, failure: Failure) -> Failure {
        let Calling { context, session, .. } = self;
        match failure.class() {
            Class::Interrupted | Class::Terminated | Class::Timeout => {
                session.stop_task(id).await;
                task::forget(context, session, id);
                failure
            }
            Class::Failed => {
                task::forget(context, session, id);
                failure
            }
            _ => {
                let way = format!("mcpipe task wait {}", super::quoted(id));
                let failure = failure.cause(format!("the task goes on; its result: {way}"));
                if failure.details().hint.is_none() { failure.hint(way) } else { failure }
            }
        }
    }
}

/// How a result is wanted.
pub struct Shown<'a> {
    /// The structured content alone.
    pub structured: bool,
    /// Binary content into files in this directory.
    pub save: Option<&'a Path>,
    /// Whether a promise that was not kept is a failure.
    pub strict: bool,
}

/// How long to wait for a task without any news of it: for ever, unless the user says otherwise.
#[must_use]
pub fn patience(context: &Context) -> Option<Duration> {
    context.global.timeout.filter(|time| !time.is_zero())
}

/// Prints the result of a tool; one with `isError` ends with exit code 1.
///
/// # Errors
/// When it cannot be printed, the person declined what the tool needed, or a promise was not kept.
pub fn print(
    context: &Context,
    session: &Session,
    result: &RawValue,
    shown: &Shown<'_>,
    misfit: Option<Failure>,
) -> Result<Exit> {
    let ui = &context.ui;
    let failed = member(result, "isError").and_then(|raw| parse_value(raw.get())) == Some(Value::Bool(true));
    if shown.structured && !failed {
        ui.structured(result)?;
    } else if ui.json() {
        ui.raw_json(result)?;
    } else {
        ui.tool_result(result, shown.save)?;
    }
    // An answer that could not be given as told, a refusal, a promise that was not kept: whatever came of it.
    let declined = session.declined().filter(|_| failed);
    if let Some(reason) = session.unanswered().or(declined) {
        return Err(reason.server(&session.target().name));
    }
    match misfit {
        _ if failed => Ok(Exit::Said(Class::Failed)),
        None => Ok(Exit::Done),
        Some(misfit) if shown.strict => Err(misfit),
        Some(misfit) => {
            ui.warn(&misfit.to_string());
            Ok(Exit::Done)
        }
    }
}
