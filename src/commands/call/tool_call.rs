//! One call of a tool, from the typed arguments to the result: checked, confirmed, sent and followed.
//!
//! `call` makes one; `--batch` and `--tool-use` make many at once over one session.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::args::{self, ArgumentInput, Validation};
use crate::cli::CallArgs;
use crate::commands::argument_files::ArgumentFiles;
use crate::commands::call::{lock_check, output_schema};
use crate::commands::client_features;
use crate::commands::context::Context;
use crate::commands::task_handles::{self, TaskOrigin};
use crate::commands::tools::{self, SchemaUse, Tool, ToolCache, ToolList};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::code;
use crate::protocol::result_shape::ToolResultShape;
use crate::protocol::rpc::RawJson;
use crate::protocol::views::ListKind;
use crate::schema::{self, SchemaValidator};
use crate::session::Session;
use crate::session::operation::Operation;
use crate::session::request::RequestOutcome;
use crate::session::server_requests::ServerRequestLog;
use crate::session::tasks::{Task, TaskRequest};
use crate::target::{ConfirmPolicy, Target};

/// How long a failed call waits to find out whether the tool has changed.
const STALE_SCHEMA_TIMEOUT: Duration = Duration::from_secs(5);
/// With `--wait`, how often the tools are listed again, and how often it is checked whether the server announced a
/// change.
const TOOL_LIST_INTERVAL: Duration = Duration::from_secs(1);
const LIST_CHANGE_INTERVAL: Duration = Duration::from_millis(20);

/// The tool and its arguments as they were typed.
pub struct RawArguments {
    /// The tool.
    pub tool: String,
    input: ArgumentInput,
    /// A call form that may also be the name of a tool.
    ambiguity: Option<AmbiguousName>,
}

/// A call form that may also be the name of a tool.
struct AmbiguousName {
    /// The word as it was typed.
    typed_word: String,
    /// Why it is not a valid call form.
    parse_failure: Option<Failure>,
}

impl RawArguments {
    /// Those of a command line. What looks like a call form may be a tool's name; [`RawArguments::resolve`] decides.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for an invalid call form.
    pub fn parse(target: &Target, tool: String, words: Vec<String>, base_json: Option<String>) -> Result<Self> {
        let mut input = ArgumentInput { base_json, words, ..ArgumentInput::default() };
        let (name, parse_failure) = match args::parse_call_form(&tool) {
            None => return Ok(RawArguments { tool, input, ambiguity: None }),
            Some(Ok(form)) => {
                input.call_form = form.arguments;
                (form.tool, None)
            }
            Some(Err(problem)) => {
                let name = tool.split('(').next().unwrap_or(&tool).trim();
                let failure = schema::invalid_arguments_failure(&show_tool_hint(target, name), name, &[problem]);
                if !tool.ends_with(')') {
                    return Err(failure);
                }
                (name.to_owned(), Some(failure))
            }
        };
        Ok(RawArguments { tool: name, input, ambiguity: Some(AmbiguousName { typed_word: tool, parse_failure }) })
    }

    /// Whether a call form was typed, so that the list of tools must decide whether it is a name.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.ambiguity.is_some()
    }

    /// Checks `allow_tools` and `deny_tools` before the tools are listed, for every name that the tool may have.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] if no such name is allowed.
    pub fn require_allowed_name(&self, target: &Target) -> Result<()> {
        let typed_word = self.ambiguity.as_ref().map(|name| name.typed_word.as_str());
        let mut names = typed_word.into_iter().chain([self.tool.as_str()]);
        if names.any(|name| target.policy.permits(name)) {
            return Ok(());
        }
        Err(tools::denied_by_policy(target, &self.tool))
    }

    /// A tool with exactly the typed name takes precedence over a call form.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for an invalid call form.
    pub fn resolve(mut self, is_tool: impl Fn(&str) -> bool) -> Result<Self> {
        match self.ambiguity.take() {
            Some(AmbiguousName { typed_word, .. }) if is_tool(&typed_word) => {
                self.tool = typed_word;
                self.input.call_form.clear();
                Ok(self)
            }
            Some(AmbiguousName { parse_failure: Some(failure), .. }) => Err(failure),
            _ => Ok(self),
        }
    }

    /// Whether the tool's schema decides what is sent. An object alone (`--args`) is sent as it is.
    #[must_use]
    fn need_schema(&self) -> bool {
        !self.input.words.is_empty() || !self.input.call_form.is_empty()
    }

    /// Those of a batch line: an object that was parsed.
    #[must_use]
    pub fn from_members(tool: String, members: Map<String, Value>) -> Self {
        let input = ArgumentInput { base_object: Some(Value::Object(members)), ..ArgumentInput::default() };
        RawArguments { tool, input, ambiguity: None }
    }

    /// Those of a model: the arguments object as JSON text.
    #[must_use]
    pub fn from_object(tool: &str, object: String) -> Self {
        let input = ArgumentInput { base_json: Some(object), ..ArgumentInput::default() };
        RawArguments { tool: tool.to_owned(), input, ambiguity: None }
    }
}

/// Valid arguments, and the headers that mirror them.
type PreparedArguments<'a> = (Cow<'a, Map<String, Value>>, Vec<(String, String)>);

/// What a call needs, and what concurrent calls share.
#[derive(Clone, Copy)]
pub struct CallContext<'a> {
    /// What every command is given.
    pub context: &'a Context,
    /// The server.
    pub session: &'a Session,
    /// Its tools.
    pub tool_cache: &'a ToolCache,
    /// The options.
    pub args: &'a CallArgs,
    /// The target as it was typed, unless it is a command line.
    pub target: Option<&'a str>,
}

/// A call that nothing forbids, with valid arguments.
#[derive(Clone)]
pub struct ReadyCall {
    /// What is sent.
    operation: Operation,
    /// The list that the arguments were checked against.
    tools: Option<Rc<ToolList>>,
}

impl ReadyCall {
    /// The same call with a log of its own for the server's requests.
    #[must_use]
    pub fn with_server_request_log(mut self, server_requests: &Arc<ServerRequestLog>) -> Self {
        self.operation.server_requests = Some(server_requests.clone());
        self
    }
}

impl CallContext<'_> {
    /// Prepares one of several concurrent calls before it is its turn, if that asks neither the server nor the user,
    /// and reports nothing: the tool is known, its arguments are valid as they are, and nothing else has to be checked.
    #[must_use]
    pub fn prepare_ahead(self, raw_arguments: &RawArguments) -> Option<ReadyCall> {
        let CallContext { session, tool_cache, args, .. } = self;
        let policy = &session.target().policy;
        if args.dry_run || args.no_validate || args.locked.is_some() || policy.locked.is_some() || policy.read_only {
            return None;
        }
        let tools = tool_cache.at_hand()?;
        let tool = tools.find(&raw_arguments.tool)?;
        let is_confirmed = args.yes || !policy.confirm.requires_confirmation(Some(tool));
        if !is_confirmed || tool.defect(ListKind::Tools).is_some() {
            return None;
        }
        let arguments = args::object_accepted_at_once(&raw_arguments.input, tool.validator(SchemaUse::Input))?;
        let headers = tools::argument_headers(session, tool, arguments);
        let operation = self.operation(raw_arguments, Some(tool), arguments, headers);
        Some(ReadyCall { operation, tools: Some(tools) })
    }

    /// The request for a call with these arguments.
    fn operation(
        self,
        raw_arguments: &RawArguments,
        tool: Option<&Tool>,
        arguments: &Map<String, Value>,
        headers: Vec<(String, String)>,
    ) -> Operation {
        let traits = tool.map(Tool::traits).unwrap_or_default();
        Operation {
            is_idempotent: traits.is_idempotent,
            task_request: Some(TaskRequest { support: traits.task_support, is_detached: self.args.detach }),
            ..Session::tool_call_operation(&raw_arguments.tool, arguments, headers)
        }
    }
}

/// One call in progress.
pub struct ToolCall<'a> {
    call_context: CallContext<'a>,
    raw_arguments: &'a RawArguments,
    files: RefCell<ArgumentFiles<'a>>,
    /// The server's requests during this call, kept apart from those of concurrent calls.
    server_requests: Option<Arc<ServerRequestLog>>,
    /// Called when the state of the task changes.
    on_task_update: Option<&'a (dyn Fn(&Task) + Sync)>,
    /// The number of the request in a dry run.
    request_number: u64,
}

/// The outcome of a call.
pub enum CallOutcome {
    /// Its result, what that shows, and how it violates the tool's output schema.
    Result(RawJson, ToolResultShape, Option<Failure>),
    /// It continues as a task.
    Task(Task),
    /// The request that would have been sent.
    DryRun(String),
}

impl<'a> ToolCall<'a> {
    /// The only call of a run.
    #[must_use]
    pub fn single(
        call_context: CallContext<'a>,
        raw_arguments: &'a RawArguments,
        on_task_update: &'a (dyn Fn(&Task) + Sync),
    ) -> Self {
        ToolCall {
            call_context,
            raw_arguments,
            files: RefCell::new(ArgumentFiles::new(call_context.context)),
            server_requests: None,
            on_task_update: Some(on_task_update),
            request_number: 1,
        }
    }

    /// One of several concurrent calls: it is not confirmed at the terminal, and keeps its own log of the server's
    /// requests.
    #[must_use]
    pub fn concurrent(
        call_context: CallContext<'a>,
        raw_arguments: &'a RawArguments,
        server_requests: &Arc<ServerRequestLog>,
        request_number: u64,
    ) -> Self {
        ToolCall {
            call_context,
            raw_arguments,
            files: RefCell::new(ArgumentFiles::new(call_context.context)),
            server_requests: Some(server_requests.clone()),
            on_task_update: None,
            request_number,
        }
    }

    /// Runs the call; one that was prepared ahead is prepared again unless the list of tools is still the same.
    ///
    /// # Errors
    /// When it is not allowed, or has no result.
    pub async fn run(&self, prepared: Option<ReadyCall>) -> Result<CallOutcome> {
        let CallContext { context, tool_cache, args, .. } = self.call_context;
        let is_current = |ready: &ReadyCall| {
            ready.tools.as_ref().zip(tool_cache.at_hand()).is_some_and(|(then, now)| Rc::ptr_eq(then, &now))
        };
        let ready = match prepared.filter(is_current) {
            Some(ready) => ready,
            None => self.prepare().await?,
        };
        if args.dry_run {
            let Operation { method, params, .. } = ready.operation;
            return context.dry_run_request(self.request_number, method, Map::clone(&params)).map(CallOutcome::DryRun);
        }
        let sent = self.send(&ready).await;
        self.complete(&ready, sent).await
    }

    /// Checks the arguments, and everything that may forbid the call. What it returns can be sent several times.
    ///
    /// # Errors
    /// When the arguments are invalid, or the call is not allowed.
    pub async fn prepare(&self) -> Result<ReadyCall> {
        let CallContext { context, session, tool_cache, args, .. } = self.call_context;
        let name = self.raw_arguments.tool.as_str();
        self.raw_arguments.require_allowed_name(session.target())?;
        let (tools, (arguments, headers)) = match args.no_validate {
            true => (None, self.prepare_unvalidated().await?),
            false => {
                let (tools, prepared) = self.prepare_validated().await?;
                (Some(tools), prepared)
            }
        };
        self.check_declaration(tools.as_ref()).await?;
        let tool = tools.as_ref().and_then(|tools| tools.find(name));
        if !args.dry_run {
            if self.server_requests.is_some() && tools.as_ref().is_none_or(|tools| tools.is_cached) {
                // Nothing has been sent to the server yet.
                tool_cache.ensure_connected(session).await?;
            }
            if let Some(defect) = tool.and_then(|tool| tool.defect(ListKind::Tools)) {
                context.ui.warn(&defect);
            }
            self.require_consent(tool, &arguments).await?;
        }
        let operation = self.call_context.operation(self.raw_arguments, tool, &arguments, headers);
        Ok(ReadyCall { operation: Operation { server_requests: self.server_requests.clone(), ..operation }, tools })
    }

    /// Follows a call that was sent to its result, and checks that.
    ///
    /// # Errors
    /// When it has no result.
    pub async fn complete(&self, ready: &ReadyCall, sent: Result<RawJson>) -> Result<CallOutcome> {
        let CallContext { context, session, args, .. } = self.call_context;
        let tools = ready.tools.as_ref();
        let mut result = match sent {
            Err(failure) if failure.has_rpc_code(code::INVALID_PARAMS) => {
                return Err(match self.schema_change(tools).await {
                    Some(news) => failure.cause(news),
                    None => failure,
                });
            }
            sent => sent?,
        };
        if let Some(task) = session.created_task(&result).await {
            // Saved first: the task exists even if mcpipe is interrupted.
            let left = if args.detach { session.detach().await } else { None };
            task_handles::save_handle(context, session, &task, &self.task_origin(), left.as_ref());
            if args.detach {
                return Ok(CallOutcome::Task(task));
            }
            result = self.follow_task(task).await?;
        }
        let shape = ToolResultShape::read(&result);
        if tools.is_some_and(|tools| tools.is_cached)
            && shape.is_error
            && let Some(news) = self.schema_change(tools).await
        {
            context.ui.warn(&news);
        }
        let name = self.raw_arguments.tool.as_str();
        let violation = match tools.and_then(|tools| tools.find(name)?.validator(SchemaUse::Output)) {
            Some(schema) if shape.errors.is_empty() => {
                let check = output_schema::violation(session.target(), name, schema, &result);
                context.interrupt.run_until_interrupted(check).await?
            }
            _ => None,
        };
        Ok(CallOutcome::Result(result, shape, violation))
    }

    /// Checks everything that may forbid the call, for one that is sent as it was typed.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] if it is not allowed.
    pub async fn require_permission(&self, arguments: &Map<String, Value>) -> Result<()> {
        let CallContext { context, session, tool_cache, args, .. } = self.call_context;
        let (policy, name) = (&session.target().policy, self.raw_arguments.tool.as_str());
        self.raw_arguments.require_allowed_name(session.target())?;
        self.check_declaration(None).await?;
        let tools = match policy.confirm {
            ConfirmPolicy::Destructive if !args.yes => Some(tool_cache.get(context, session).await?),
            _ => None,
        };
        self.require_consent(tools.as_ref().and_then(|tools| tools.find(name)), arguments).await
    }

    /// Checks what the tool must declare: that it is read-only, and what the lock file has.
    async fn check_declaration(&self, tools: Option<&Rc<ToolList>>) -> Result<()> {
        let CallContext { context, session, tool_cache, args, .. } = self.call_context;
        let (policy, name) = (&session.target().policy, self.raw_arguments.tool.as_str());
        let lock = args.locked.as_deref().or(policy.locked.as_deref());
        if lock.is_none() && !policy.read_only {
            return Ok(());
        }
        let listed = match tools {
            Some(tools) => tools.clone(),
            None => tool_cache.get(context, session).await?,
        };
        if policy.read_only {
            tools::require_read_only(context, session, tool_cache, &listed, name).await?;
        }
        match lock {
            Some(lock) => lock_check::check(context, session, tool_cache, lock, &listed, name).await,
            None => Ok(()),
        }
    }

    /// The list with the tool, if it appears within `--wait`: servers may register tools after they have started.
    async fn wait_for_tool(&self, seen: &ToolList) -> Result<Option<Rc<ToolList>>> {
        let CallContext { context, session, tool_cache, .. } = self.call_context;
        let name = self.raw_arguments.tool.as_str();
        let Some(wait) = context.global.wait.filter(|_| seen.may_appear(name)) else { return Ok(None) };
        let end = Instant::now() + wait;
        let mut next_list = Instant::now() + TOOL_LIST_INTERVAL;
        while Instant::now() < end {
            let pause = tokio::time::sleep(LIST_CHANGE_INTERVAL);
            context.interrupt.run_until_interrupted(pause).await?;
            if session.has_list_changed(ListKind::Tools) || Instant::now() >= next_list.min(end) {
                let tools = tool_cache.reload(context, session).await?;
                if tools.find(name).is_some() {
                    return Ok(Some(tools));
                }
                next_list = Instant::now() + TOOL_LIST_INTERVAL;
            }
        }
        Ok(None)
    }

    /// What has changed about the tool, if its arguments were checked against a cached list and the server rejected
    /// them. The next call uses the current list.
    async fn schema_change(&self, seen: Option<&Rc<ToolList>>) -> Option<String> {
        let CallContext { context, session, tool_cache, .. } = self.call_context;
        let (name, seen) = (&self.raw_arguments.tool, seen.filter(|seen| seen.is_cached)?);
        session.expire_cached_lists();
        let renewed =
            tokio::time::timeout(STALE_SCHEMA_TIMEOUT, tool_cache.refresh_if_stale(context, session, seen, false))
                .await;
        let fresh = renewed.ok()?.ok()??;
        let schema = |tools: &Rc<ToolList>| tools.find(name).map(|tool| tool.input_schema().cloned());
        match (schema(seen), schema(&fresh)) {
            (before, now) if before == now => None,
            (_, None) => Some(format!("the server no longer has a tool '{name}'")),
            _ => Some(format!("the schema of '{name}' has changed since it was last listed; try again")),
        }
    }

    /// Sends the call.
    ///
    /// # Errors
    /// When the server does not respond with a result.
    pub async fn send(&self, ready: &ReadyCall) -> Result<RawJson> {
        let CallContext { context, session, tool_cache, args, .. } = self.call_context;
        let operation = &ready.operation;
        if args.detach && session.would_create_task(operation).await? == Some(false) {
            let name = &self.raw_arguments.tool;
            return Err(Failure::new(ErrorKind::Failed, format!("'{name}' cannot be called with --detach"))
                .cause("the server does not run it as a task")
                .hint("omit --detach"));
        }
        if args.detach && session.has_http_session().await {
            task_handles::require_writable(context)?;
        }
        match tool_cache.send(context, session, operation).await? {
            RequestOutcome::Result(result) => Ok(result),
            reply => Err(session.operation_failure(reply, operation)),
        }
    }

    /// The arguments, checked against the tool's schema, and the list that it is from. What a cached list rejects is
    /// checked against the current one, and with `--wait` against one that has the tool.
    async fn prepare_validated(&self) -> Result<(Rc<ToolList>, PreparedArguments<'a>)> {
        let CallContext { context, session, tool_cache, .. } = self.call_context;
        let name = self.raw_arguments.tool.as_str();
        // An earlier call of the batch fetched the list: the server may have added tools since.
        let is_old = self.server_requests.is_some() && tool_cache.is_loaded();
        let mut tools = tool_cache.get(context, session).await?;
        let mut prepared = self.prepare_arguments(&tools).await;
        if prepared.is_err()
            && let Some(current) =
                tool_cache.refresh_if_stale(context, session, &tools, is_old && tools.may_appear(name)).await?
        {
            prepared = self.prepare_arguments(&current).await;
            tools = current;
        }
        if prepared.is_err()
            && let Some(later) = self.wait_for_tool(&tools).await?
        {
            prepared = self.prepare_arguments(&later).await;
            tools = later;
        }
        match prepared {
            Err(_) if tools.may_appear(name) => Err(tool_cache.missing_tool(context, session, &tools, name).await),
            prepared => Ok((tools, prepared?)),
        }
    }

    /// The arguments, checked against the tool's schema, and the headers that mirror them.
    async fn prepare_arguments(&self, tools: &ToolList) -> Result<PreparedArguments<'a>> {
        let name = self.raw_arguments.tool.as_str();
        let session = self.call_context.session;
        let Some(tool) = tools.find(name) else { return Err(tools.unavailable_tool(session, name)) };
        let arguments = self.build_arguments(tool.validator(SchemaUse::Input)).await?;
        let headers = tools::argument_headers(session, tool, &arguments);
        Ok((arguments, headers))
    }

    /// The arguments without validation: typed by the tool's schema if it can be found, else as they are.
    async fn prepare_unvalidated(&self) -> Result<PreparedArguments<'a>> {
        let name = self.raw_arguments.tool.as_str();
        let CallContext { context, session, tool_cache, .. } = self.call_context;
        if !self.raw_arguments.need_schema() {
            return Ok((self.build_arguments(None).await?, Vec::new()));
        }
        let list_tools = async || -> Result<Rc<ToolList>> {
            let seen = tool_cache.get(context, session).await?;
            if seen.find(name).is_some() {
                return Ok(seen);
            }
            Ok(tool_cache.refresh_if_stale(context, session, &seen, false).await?.unwrap_or(seen))
        };
        let tools = tools::if_listed(list_tools().await)?;
        let tool = tools.as_ref().and_then(|tools| tools.find(name));
        let schema = tool.and_then(|tool| tool.validator(SchemaUse::Input));
        let arguments = self.build_arguments(schema).await?;
        let headers = tool.map(|tool| tools::argument_headers(session, tool, &arguments));
        Ok((arguments, headers.unwrap_or_default()))
    }

    /// The arguments, typed by this schema; without one, as they are.
    async fn build_arguments(&self, schema: Option<&SchemaValidator>) -> Result<Cow<'a, Map<String, Value>>> {
        let CallContext { context, session, args, .. } = self.call_context;
        let target = session.target();
        let validation = if args.no_validate { Validation::Skipped } else { Validation::Required };
        let input = &self.raw_arguments.input;
        let accepted = args::accepted_object(input, schema.filter(|_| validation == Validation::Required));
        if let Some(object) = context.interrupt.run_until_interrupted(accepted).await? {
            return Ok(Cow::Borrowed(object));
        }
        let arguments = crate::args::assemble_arguments(input, schema, validation, &mut *self.files.borrow_mut());
        let built = context.interrupt.run_until_interrupted(arguments.validate()).await?.map_err(|problems| {
            schema::invalid_arguments_failure(
                &show_tool_hint(target, &self.raw_arguments.tool),
                &self.raw_arguments.tool,
                &problems,
            )
        })?;
        for doubt in &built.unchecked_parts {
            context.ui.warn(&doubt.to_string());
        }
        // All calls of --repeat send the same.
        for name in built.json_sent_as_text.iter().filter(|_| self.request_number == 1) {
            context.ui.note(&format!(
                "'{name}' is sent as a string because its type is not declared; to send JSON, write {name}:=…"
            ));
        }
        Ok(Cow::Owned(built.arguments))
    }

    /// Asks the user if the configuration requires it and `--yes` was not given (`TOL-09`).
    async fn require_consent(&self, tool: Option<&Tool>, arguments: &Map<String, Value>) -> Result<()> {
        let CallContext { context, session, args, .. } = self.call_context;
        if args.yes || !session.target().policy.confirm.requires_confirmation(tool.map(Deref::deref)) {
            return Ok(());
        }
        let name = &self.raw_arguments.tool;
        let ui = &context.ui;
        let refused = |why: &str| Failure::new(ErrorKind::Refused, format!("calling '{name}' {why}"));
        if self.server_requests.is_some() || !ui.terminal().is_interactive() || context.global.no_input {
            return Err(refused("needs confirmation").hint("add --yes to skip the confirmation"));
        }
        let _quiet = ui.pause_progress();
        ui.prompt_text(&format!("about to call {name} with {}", Value::Object(arguments.clone())));
        let agreed = client_features::ask_yes_no(ui, &context.interrupt, "call it?").await?;
        if agreed { Ok(()) } else { Err(refused("was not confirmed")) }
    }

    /// Where the call is made, so that its task can be found again.
    #[must_use]
    pub fn task_origin(&self) -> TaskOrigin<'_> {
        let CallContext { args, target, .. } = self.call_context;
        TaskOrigin {
            target,
            command: &args.command,
            target_options: &args.target_options,
            tool: &self.raw_arguments.tool,
        }
    }

    /// Follows a call that has become a task.
    async fn follow_task(&self, task: Task) -> Result<RawJson> {
        let CallContext { context, session, .. } = self.call_context;
        let observer = self.on_task_update;
        let on_update = |task: &Task| observer.iter().for_each(|observer| observer(task));
        let id = task.id.clone();
        let (timeout, log) = (task_handles::task_timeout(context), self.server_requests.as_ref());
        match session.await_task(&id, Some(task), timeout, &on_update, log).await {
            Ok(result) => {
                task_handles::remove_handle(context, session, &id);
                Ok(result)
            }
            Err(failure) => Err(self.abandon_task(&id, failure).await),
        }
    }

    /// Waiting for the task has failed: it is canceled if the user interrupted mcpipe or the time is over, else it
    /// continues.
    async fn abandon_task(&self, id: &str, failure: Failure) -> Failure {
        let CallContext { context, session, .. } = self.call_context;
        match failure.kind() {
            kind if kind.is_interrupt() || kind == ErrorKind::Timeout => {
                session.cancel_task_on_exit(id).await;
                task_handles::remove_handle(context, session, id);
                failure
            }
            ErrorKind::Failed => {
                task_handles::remove_handle(context, session, id);
                failure
            }
            _ => {
                let wait = task_handles::wait_command(context, session.target(), id);
                let failure = failure.cause(format!("the task continues; to get its result: {wait}"));
                if failure.details().hint.is_none() { failure.hint(wait) } else { failure }
            }
        }
    }
}

/// The hint to look at the parameters of a tool.
fn show_tool_hint(target: &Target, tool: &str) -> String {
    format!("show its parameters: {}", target.command_line("list", &[&crate::util::quoting::quote(tool)]))
}
