//! One call of a tool, from what was given to what came of it: prepared, agreed to, sent, followed.
//!
//! `call` makes one; `--batch` and `--tool-use` make many at once over one session.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::task::{self, Place};
use super::tools::{self, Catalogue, Tools};
use super::{Context, Files, call, inputs, outcome};
use crate::args::{self, FormArg};
use crate::cli::CallArgs;
use crate::error::{Class, Failure, Result};
use crate::protocol::rpc::{self, Raw};
use crate::protocol::views::{Entry, member};
use crate::protocol::{code, method};
use crate::schema;
use crate::session::Session;
use crate::session::era::Call;
use crate::session::link::Reply;
use crate::session::questions::Questions;
use crate::session::tasks::{Support, Task, Wish};
use crate::target::{Confirm, Target};

/// How long a call that has failed waits to learn whether that is because the tool has changed.
const SECOND_LOOK: Duration = Duration::from_secs(5);

/// The tool and its arguments as they were given.
pub struct Given {
    /// The tool.
    pub tool: String,
    /// The whole arguments object: JSON, `@FILE`, or `-`.
    base: Option<String>,
    form: Vec<FormArg>,
    words: Vec<String>,
    /// A call form that may as well be the name of a tool.
    doubt: Option<Doubt>,
}

/// A call form that may be the name of a tool.
struct Doubt {
    /// The word as it was typed.
    typed: String,
    /// What is wrong with it as a call form.
    wrong: Option<Failure>,
}

impl Given {
    /// Those of a command line. What looks like a call form may be a tool's name: [`Given::settled`] decides.
    ///
    /// # Errors
    /// [`Class::Usage`] for a call form that cannot be read.
    pub fn read(target: &Target, tool: &str, words: &[String], base: Option<&str>) -> Result<Self> {
        let (typed, words, base) = (tool.to_owned(), words.to_vec(), base.map(ToOwned::to_owned));
        match args::call_form(tool) {
            None => Ok(Given { tool: typed, base, form: Vec::new(), words, doubt: None }),
            Some(Ok(form)) => {
                let doubt = Some(Doubt { typed, wrong: None });
                Ok(Given { tool: form.tool, base, form: form.arguments, words, doubt })
            }
            Some(Err(problem)) => {
                let name = tool.split('(').next().unwrap_or(tool).trim();
                let wrong = schema::failure(&shown(target, name), name, &[problem]);
                if !tool.ends_with(')') {
                    return Err(wrong);
                }
                let doubt = Some(Doubt { typed, wrong: Some(wrong) });
                Ok(Given { tool: name.to_owned(), base, form: Vec::new(), words, doubt })
            }
        }
    }

    /// Whether a call form was typed, so that the list of tools is to be asked whether it is a name.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// A tool of the very name that was typed wins over a call form.
    ///
    /// # Errors
    /// [`Class::Usage`] for a call form that cannot be read.
    pub fn settled(self, is_tool: impl Fn(&str) -> bool) -> Result<Self> {
        let Given { tool, base, form, words, doubt } = self;
        match doubt {
            Some(Doubt { typed, .. }) if is_tool(&typed) => {
                Ok(Given { tool: typed, base, form: Vec::new(), words, doubt: None })
            }
            Some(Doubt { wrong: Some(wrong), .. }) => Err(wrong),
            _ => Ok(Given { tool, base, form, words, doubt: None }),
        }
    }

    /// Those of a program: the arguments object as JSON text.
    #[must_use]
    pub fn whole(tool: &str, object: String) -> Self {
        Given { tool: tool.to_owned(), base: Some(object), form: Vec::new(), words: Vec::new(), doubt: None }
    }
}

/// Arguments that may be sent, and the headers that mirror them.
type Ready = (Map<String, Value>, Vec<(String, String)>);

/// The way of a call, which others may share.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// What every command is given.
    pub context: &'a Context,
    /// The server.
    pub session: &'a Session,
    /// Its tools.
    pub catalogue: &'a Catalogue,
    /// The options.
    pub args: &'a CallArgs,
    /// The target as it was typed, unless it is a command line.
    pub target: Option<&'a str>,
}

/// One call on its way.
pub struct Calling<'a> {
    way: Way<'a>,
    given: &'a Given,
    files: RefCell<Files>,
    /// What the server asks meanwhile; kept apart where other calls are under way beside it.
    questions: Option<Arc<Questions>>,
    /// Is told how a task goes on.
    told: Option<&'a (dyn Fn(&Task) + Sync)>,
    /// Which of the requests of a dry run it is.
    number: u64,
}

/// What came of a call.
pub enum Got {
    /// Its result, and how it breaks the tool's promise.
    Result(Raw, Option<Failure>),
    /// It goes on without us.
    Task(Task),
    /// The request that would have been sent.
    Request(String),
}

impl<'a> Calling<'a> {
    /// The only call of a run.
    #[must_use]
    pub fn alone(way: Way<'a>, given: &'a Given, told: &'a (dyn Fn(&Task) + Sync)) -> Self {
        Calling { way, given, files: RefCell::default(), questions: None, told: Some(told), number: 1 }
    }

    /// One call among others: nobody is asked for consent, and what the server asks is its own affair.
    #[must_use]
    pub fn among(way: Way<'a>, given: &'a Given, questions: &Arc<Questions>, number: u64) -> Self {
        Calling { way, given, files: RefCell::default(), questions: Some(questions.clone()), told: None, number }
    }

    /// What comes of it.
    ///
    /// # Errors
    /// When it may not be made, or has no result.
    pub async fn result(&self) -> Result<Got> {
        let Way { context, session, catalogue, args, .. } = self.way;
        let name = self.given.tool.as_str();
        let target = session.target();
        if !target.policy.permits(name) {
            return Err(tools::not_allowed(target, name));
        }
        let (mut tools, mut ready) = if args.no_validate {
            // Sent as typed: nothing needs to be known of the tool.
            (None, self.build(None).map(|arguments| (arguments, Vec::new())))
        } else {
            let tools = catalogue.get(context, session).await?;
            let ready = self.prepare(&tools);
            (Some(tools), ready)
        };
        // A refusal from memory is checked against what the server says now.
        if let (Err(_), Some(seen)) = (&ready, &tools)
            && let Some(fresh) = catalogue.renew(context, session, seen).await?
        {
            ready = self.prepare(&fresh);
            tools = Some(fresh);
        }
        let (arguments, headers) = ready?;
        if args.dry_run {
            return Ok(Got::Request(self.request(arguments)));
        }
        if self.questions.is_some() && tools.as_ref().is_none_or(|tools| tools.remembered) {
            // Nobody has asked the server anything yet.
            catalogue.connect(session).await?;
        }
        let tool = tools.as_ref().and_then(|tools| tools.find(name));
        self.consent(tool, &arguments).await?;
        let support = tool.map_or(Support::Unknown, |tool| Support::of(tool.value()));
        let wish = Wish { support, detach: args.detach };
        let mut result = match self.send(tool, arguments, headers, wish).await {
            Err(failure) if refuses_arguments(&failure) => {
                return Err(match self.outdated(tools.as_ref()).await {
                    Some(news) => failure.cause(news),
                    None => failure,
                });
            }
            sent => sent?,
        };
        if let Some(task) = session.created(&result).await {
            match self.follow(task).await? {
                Got::Result(later, _) => result = later,
                other => return Ok(other),
            }
        }
        let result = session.well_formed(method::TOOLS_CALL, result)?;
        if member(&result, "isError").is_some_and(|raw| raw.get() == "true")
            && let Some(news) = self.outdated(tools.as_ref()).await
        {
            context.ui.warn(&news);
        }
        let misfit = tool.and_then(|tool| outcome::misfit(target, tool, &result));
        Ok(Got::Result(result, misfit))
    }

    /// What has changed about the tool, where its arguments were made by a remembered list and the server did not
    /// like them. The next call does not make the same mistake.
    async fn outdated(&self, seen: Option<&Rc<Tools>>) -> Option<String> {
        let Way { context, session, catalogue, .. } = self.way;
        let (name, seen) = (&self.given.tool, seen.filter(|seen| seen.remembered)?);
        session.forget_lists();
        let renewed = tokio::time::timeout(SECOND_LOOK, catalogue.renew(context, session, seen)).await;
        let fresh = renewed.ok()?.ok()??;
        let schema = |tools: &Rc<Tools>| tools.find(name).map(|tool| tool.input_schema().cloned());
        match (schema(seen), schema(&fresh)) {
            (before, now) if before == now => None,
            (_, None) => Some(format!("the server has no tool '{name}' any more")),
            _ => Some(format!("the schema of '{name}' has changed since it was last listed: call it again")),
        }
    }

    /// Sends the call and follows it to its result.
    async fn send(
        &self,
        tool: Option<&Entry>,
        arguments: Map<String, Value>,
        headers: Vec<(String, String)>,
        wish: Wish,
    ) -> Result<Raw> {
        let Way { context, session, catalogue, .. } = self.way;
        let name = self.given.tool.as_str();
        let says = |hint: &str| tool.is_some_and(|tool| tool.hint(hint) == Some(true));
        let repeatable = says("readOnlyHint") || says("idempotentHint");
        let call = |arguments, headers| {
            let call = Session::tool_call(name, arguments, headers);
            Call { repeatable, task: Some(wish), questions: self.questions.clone(), ..call }
        };
        let first = call(arguments.clone(), headers);
        if wish.detach && session.would_detach(&first).await? == Some(false) {
            return Err(Failure::new(Class::Failed, format!("a call of '{name}' cannot go on without mcpipe"))
                .cause("the server does not run it as a task")
                .hint("leave out --detach"));
        }
        let mut reply = session.reply(&first).await?;
        if matches!(&reply, Reply::Error(error, _) if error.code == code::HEADER_MISMATCH) {
            // The schema has changed: its headers are made anew, once (HTM-07). Refused before execution.
            let tools = catalogue.reload(context, session).await?;
            if let Some(tool) = tools.find(name) {
                let headers = tools::mirrored(session, tool, &arguments);
                reply = session.reply(&call(arguments, headers)).await?;
            }
        }
        match reply {
            Reply::Result(result) => Ok(result),
            reply => Err(match &self.questions {
                Some(own) => session.failure_in(reply, method::TOOLS_CALL, own),
                None => session.failure(reply, method::TOOLS_CALL),
            }),
        }
    }

    /// The arguments, checked against the tool's schema, and the headers that mirror them.
    fn prepare(&self, tools: &Tools) -> Result<Ready> {
        let name = self.given.tool.as_str();
        let session = self.way.session;
        let Some(tool) = tools.find(name) else { return Err(tools.missing(session.target(), name)) };
        let arguments = self.build(tool.input_schema())?;
        let headers = tools::mirrored(session, tool, &arguments);
        Ok((arguments, headers))
    }

    /// The arguments by this schema; as typed where there is none.
    fn build(&self, schema: Option<&Value>) -> Result<Map<String, Value>> {
        let Given { base, form, words, .. } = self.given;
        let input = args::Input { base: base.as_deref(), form, words };
        let target = self.way.session.target();
        let built = args::build(&input, schema, &mut *self.files.borrow_mut())
            .map_err(|problems| schema::failure(&shown(target, &self.given.tool), &self.given.tool, &problems))?;
        for doubt in &built.unchecked {
            self.way.context.ui.warn(&doubt.to_string());
        }
        Ok(built.arguments)
    }

    /// The request, as it would be sent.
    fn request(&self, arguments: Map<String, Value>) -> String {
        let call = Session::tool_call(&self.given.tool, arguments, Vec::new());
        let params = Value::Object(call.params).to_string();
        rpc::request(self.number, call.method, Some(&params))
    }

    /// Asks the person where the configuration wants that; `--yes` answers beforehand (`TOL-09`).
    async fn consent(&self, tool: Option<&Entry>, arguments: &Map<String, Value>) -> Result<()> {
        let harmless = tool
            .is_some_and(|tool| tool.hint("readOnlyHint") == Some(true) || tool.hint("destructiveHint") == Some(false));
        let Way { context, session, args, .. } = self.way;
        let needed = match session.target().policy.confirm {
            Confirm::Never => false,
            Confirm::Destructive => !harmless,
            Confirm::Always => true,
        };
        if !needed || args.yes {
            return Ok(());
        }
        let name = &self.given.tool;
        let ui = &context.ui;
        let refused = |why: &str| Failure::new(Class::Refused, format!("the call of '{name}' {why}"));
        if self.questions.is_some() || !ui.terminal().interactive() || context.global.no_input {
            return Err(refused("needs consent").hint("agree beforehand with --yes"));
        }
        let _quiet = ui.pause_progress();
        ui.say(&format!("{name} is to be called with {}", Value::Object(arguments.clone())));
        let answer = inputs::line(ui, &context.interrupt, "call it? [y/N] ").await?;
        let agreed = answer.is_some_and(|line| matches!(line.trim(), "y" | "Y" | "yes"));
        if agreed { Ok(()) } else { Err(refused("was not agreed to")) }
    }

    /// Where it is made, for those who come back to it.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        let Way { args, target, .. } = self.way;
        Place { target, command: &args.command, reach: &args.reach, tool: &self.given.tool }
    }

    /// Follows a call that has become a task, unless nobody wants to wait for it.
    async fn follow(&self, task: Task) -> Result<Got> {
        let Way { context, session, args, .. } = self.way;
        // Noted down first: the task is there, whatever becomes of us.
        let left = if args.detach { session.leave_open().await } else { None };
        task::keep(context, session, &task, &self.place(), left.as_ref());
        if args.detach {
            return Ok(Got::Task(task));
        }
        let tell = self.told;
        let told = |task: &Task| tell.iter().for_each(|tell| tell(task));
        let id = task.id.clone();
        match session.outcome(&id, Some(task), call::patience(context), &told).await {
            Ok(result) => {
                task::forget(context, session, &id);
                Ok(Got::Result(result, None))
            }
            Err(failure) => Err(self.given_up(&id, failure).await),
        }
    }

    /// Nobody waits for the task any more: it is stopped where the user wanted that, else it goes on.
    async fn given_up(&self, id: &str, failure: Failure) -> Failure {
        let Way { context, session, .. } = self.way;
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
                let way = format!("mcpipe task wait {}", crate::shell::quoted(id));
                let failure = failure.cause(format!("the task goes on; its result: {way}"));
                if failure.details().hint.is_none() { failure.hint(way) } else { failure }
            }
        }
    }
}

fn refuses_arguments(failure: &Failure) -> bool {
    failure.details().rpc.as_ref().is_some_and(|error| error.code == code::INVALID_PARAMS)
}

/// The command that shows a tool.
fn shown(target: &Target, tool: &str) -> String {
    target.line("list", &[&crate::shell::quoted(tool)])
}
