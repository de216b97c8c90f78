//! A server's tools as the commands see them: policy applied, without tools whose header annotations are invalid.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;
use std::rc::Rc;

use futures_util::future::join_all;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use crate::commands::context::Context;
use crate::commands::foreign_command_line::resource_or_prompt_command;
use crate::commands::lock::file::LockFile;
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::views::{ListItem, ListKind};
use crate::protocol::{code, method};
use crate::schema::{HeaderParam, InvalidAnnotation, SchemaValidator, collect_header_params};
use crate::session::client_handler::ClientCapability;
use crate::session::operation::Operation;
use crate::session::request::RequestOutcome;
use crate::session::tasks::TaskSupport;
use crate::session::{CachePolicy, Listing, Session};
use crate::target::Target;
use crate::util::quoting::quote;
use crate::util::suggest::did_you_mean;

/// The tools that may be used, and why others may not.
pub struct ToolList {
    /// The usable tools, in the server's order.
    pub entries: Vec<Tool>,
    /// Names of tools with invalid `x-mcp-header` annotations, and what is wrong with each (`HTM-06`).
    pub invalid: BTreeMap<String, String>,
    /// Names of tools that the configuration hides.
    pub denied: Vec<String>,
    /// Whether the server offers tools at all.
    pub is_offered: bool,
    /// Whether the list comes from the cache.
    pub is_cached: bool,
    /// The position of the first tool with each name.
    positions: BTreeMap<String, usize>,
}

/// A tool of a list, and what all calls of it share.
pub struct Tool {
    item: ListItem,
    traits: OnceCell<ToolTraits>,
    header_params: OnceCell<Result<Vec<HeaderParam>, InvalidAnnotation>>,
    /// The validators of arguments and of results, if the tool has these schemas.
    validators: [OnceCell<Option<SchemaValidator>>; 2],
}

/// What a tool declares about its calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToolTraits {
    /// Whether a repeated call has no additional effect.
    pub is_idempotent: bool,
    /// Whether it runs as a task.
    pub task_support: TaskSupport,
}

impl From<ListItem> for Tool {
    fn from(item: ListItem) -> Self {
        Tool { item, traits: OnceCell::new(), header_params: OnceCell::new(), validators: Default::default() }
    }
}

impl From<Tool> for ListItem {
    fn from(tool: Tool) -> Self {
        tool.item
    }
}

impl Deref for Tool {
    type Target = ListItem;

    fn deref(&self) -> &ListItem {
        &self.item
    }
}

impl Tool {
    /// What it declares about its calls.
    #[must_use]
    pub fn traits(&self) -> ToolTraits {
        *self.traits.get_or_init(|| {
            let says = |hint: &str| self.boolean_annotation(hint) == Some(true);
            ToolTraits {
                is_idempotent: says("readOnlyHint") || says("idempotentHint"),
                task_support: TaskSupport::of_tool(self.value()),
            }
        })
    }

    /// The parameters that are sent in headers (`HTM-04`).
    ///
    /// # Errors
    /// An invalid annotation: over HTTP the tool must not be used.
    pub fn header_params(&self) -> Result<&[HeaderParam], &InvalidAnnotation> {
        self.header_params.get_or_init(|| collect_header_params(self.value())).as_deref()
    }

    /// The validator of its arguments or results, if it has that schema.
    #[must_use]
    pub fn validator(&self, schema_use: SchemaUse) -> Option<&SchemaValidator> {
        let schema = || match schema_use {
            SchemaUse::Input => self.input_schema(),
            SchemaUse::Output => self.output_schema(),
        };
        self.validators[schema_use as usize].get_or_init(|| schema().map(SchemaValidator::new)).as_ref()
    }
}

/// What a tool's schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SchemaUse {
    /// The arguments (`inputSchema`).
    Input,
    /// The structured content of the result (`outputSchema`).
    Output,
}

impl ToolList {
    /// The tool of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Tool> {
        self.positions.get(name).and_then(|position| self.entries.get(*position))
    }

    /// Whether the server may list this tool later: it is not there, and not for a reason of our own.
    #[must_use]
    pub fn may_appear(&self, name: &str) -> bool {
        self.find(name).is_none()
            && !self.invalid.contains_key(name)
            && !self.denied.iter().any(|denied| denied == name)
    }

    /// Why this tool cannot be used: not allowed, invalid, or not listed, with the nearest names.
    #[must_use]
    pub fn unavailable_tool(&self, session: &Session, name: &str) -> Failure {
        let target = session.target();
        if self.denied.iter().any(|denied| denied == name) {
            return denied_by_policy(target, name);
        }
        if let Some(reason) = self.invalid.get(name) {
            return Failure::new(ErrorKind::Protocol, format!("the tool '{name}' is invalid and must not be called"))
                .cause(reason.clone());
        }
        let message = match self.is_offered {
            true => format!("the server has no tool '{name}'"),
            false => "the server offers no tools".to_owned(),
        };
        let failure = Failure::new(ErrorKind::Failed, message);
        if let Some((command, value)) = resource_or_prompt_command(name) {
            return failure.hint(format!("use {}", target.command_line(command, &[&*quote(value)])));
        }
        if !self.is_offered {
            return failure;
        }
        let undeclared = session.undeclared_capabilities();
        let options = undeclared.iter().map(|one| one.option()).collect::<Vec<_>>().join(", ");
        match did_you_mean(name, self.entries.iter().map(|tool| tool.name())) {
            Some(hint) => failure.name_hint(hint),
            None if options.is_empty() => failure.hint(format!("list its tools: {}", target.command_line("list", &[]))),
            None => failure.hint(format!(
                "list its tools: {} (some servers list a tool only if an option is given: {options})",
                target.command_line("list", &[])
            )),
        }
    }
}

/// The tools of one server during a command: listed once, and again only if the list may be stale.
#[derive(Default)]
pub struct ToolCache {
    tools: Mutex<Option<Result<Rc<ToolList>>>>,
    connected: tokio::sync::OnceCell<Option<Failure>>,
    lists_by_capability: tokio::sync::OnceCell<Vec<(ClientCapability, Listing)>>,
    lock_file: OnceCell<Result<Rc<LockFile>>>,
}

impl ToolCache {
    /// The tools, from the cache on disk if they are fresh there. A list that failed is not requested again.
    ///
    /// # Errors
    /// When the list cannot be fetched.
    pub async fn get(&self, context: &Context, session: &Session) -> Result<Rc<ToolList>> {
        let mut held = self.tools.lock().await;
        if let Some(tools) = &*held {
            return tools.clone();
        }
        let loaded = fetch_tools(context, session, CachePolicy::Allow).await.map(Rc::new);
        *held = Some(loaded.clone());
        loaded
    }

    /// Sends a request; a call whose headers the server refuses a second time, with headers from the current list
    /// (`HTM-07`). It was rejected before execution.
    ///
    /// # Errors
    /// When the connection cannot be opened, or the list cannot be fetched.
    pub async fn send(&self, context: &Context, session: &Session, operation: &Operation) -> Result<RequestOutcome> {
        let reply = session.send(operation).await?;
        if operation.method != method::TOOLS_CALL
            || !matches!(&reply, RequestOutcome::Error(error, _) if error.code == Some(code::HEADER_MISMATCH))
        {
            return Ok(reply);
        }
        let Some(tools) = if_listed(self.reload(context, session).await)? else { return Ok(reply) };
        let name = operation.params.get("name").and_then(Value::as_str).unwrap_or_default();
        let Some(tool) = tools.find(name) else { return Ok(reply) };
        let no_arguments = Map::new();
        let arguments = operation.params.get("arguments").and_then(Value::as_object).unwrap_or(&no_arguments);
        let param_headers = argument_headers(session, tool, arguments);
        session.send(&Operation { param_headers, ..operation.clone() }).await
    }

    /// The tools, if they can be used without a request: they are known, and the server is connected to.
    #[must_use]
    pub fn at_hand(&self) -> Option<Rc<ToolList>> {
        let held = self.tools.try_lock().ok()?;
        let tools = held.as_ref()?.as_ref().ok()?;
        let is_connected = !tools.is_cached || matches!(self.connected.get(), Some(None));
        is_connected.then(|| tools.clone())
    }

    /// Whether there is a list already.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.tools.try_lock().is_ok_and(|held| held.is_some())
    }

    /// The current list, if `seen` may be stale; else `None`. `is_old` means that it is for a reason that only the
    /// caller knows.
    ///
    /// # Errors
    /// When the list cannot be fetched.
    pub async fn refresh_if_stale(
        &self,
        context: &Context,
        session: &Session,
        seen: &Rc<ToolList>,
        is_old: bool,
    ) -> Result<Option<Rc<ToolList>>> {
        let mut held = self.tools.lock().await;
        if let Some(Ok(other)) = &*held
            && !Rc::ptr_eq(other, seen)
        {
            return Ok(Some(other.clone()));
        }
        if !seen.is_cached && !is_old && !session.has_list_changed(ListKind::Tools) {
            return Ok(None);
        }
        let fresh = Rc::new(fetch_tools(context, session, CachePolicy::Bypass).await?);
        *held = Some(Ok(fresh.clone()));
        Ok(Some(fresh))
    }

    /// The current list.
    ///
    /// # Errors
    /// When the list cannot be fetched.
    pub async fn reload(&self, context: &Context, session: &Session) -> Result<Rc<ToolList>> {
        let mut held = self.tools.lock().await;
        let fresh = Rc::new(fetch_tools(context, session, CachePolicy::Bypass).await?);
        *held = Some(Ok(fresh.clone()));
        Ok(fresh)
    }

    /// The lock file, which is read once.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn lock_file(&self, path: &Path) -> Result<Rc<LockFile>> {
        self.lock_file.get_or_init(|| LockFile::read(path).map(Rc::new)).clone()
    }

    /// The capabilities that make the server list a tool: one of these groups is enough. The server is asked once for
    /// each capability that is not declared.
    pub async fn needed_capabilities(
        &self,
        context: &Context,
        session: &Session,
        name: &str,
    ) -> Vec<Vec<ClientCapability>> {
        let undeclared = session.undeclared_capabilities();
        let list = async |capability: ClientCapability| {
            let session = context.listing_session_for(session.target().clone(), None, &[capability]).ok()?;
            let list = async |session: &Session| session.list(ListKind::Tools, CachePolicy::Bypass).await;
            Some((capability, context.with_session(session, list).await.ok()?))
        };
        let list_all = async || join_all(undeclared.iter().map(|one| list(*one))).await.into_iter().flatten().collect();
        let lists = self.lists_by_capability.get_or_init(list_all).await;
        let alone = lists.iter().filter(|(_, listing)| listing.find(name).is_some());
        let alone: Vec<_> = alone.map(|(capability, _)| vec![*capability]).collect();
        if alone.is_empty() { vec![undeclared] } else { alone }
    }

    /// The failure for a tool that is not listed. If it is listed for clients with other capabilities, the hint is the
    /// options that declare them.
    pub async fn missing_tool(&self, context: &Context, session: &Session, tools: &ToolList, name: &str) -> Failure {
        let failure = tools.unavailable_tool(session, name);
        let undeclared = session.undeclared_capabilities();
        if undeclared.is_empty() || !tools.may_appear(name) || !session.lists_tool_for_other_capabilities(name) {
            return failure;
        }
        let groups = self.needed_capabilities(context, session, name).await;
        let terminal = groups.iter().any(|group| *group == [ClientCapability::Elicitation]);
        let groups = groups.iter().map(|group| options_of(group).join(" and "));
        let options = groups.collect::<Vec<_>>().join(" or ");
        let otherwise = if terminal { ", or run it at a terminal" } else { "" };
        Failure::new(failure.kind(), failure.details().message.clone())
            .cause("it lists the tool only for clients that can answer its requests")
            .hint(format!("add {options}{otherwise}"))
    }

    /// Connects if nothing was requested yet: concurrent calls must not be what discovers that the cached era is wrong,
    /// nor each try again to reach an unreachable server.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn ensure_connected(&self, session: &Session) -> Result<()> {
        let connect = async || {
            let asked = session.session_info().await;
            // A server that fails to identify itself may still accept calls.
            if session.connection_info().await.is_some() { None } else { asked.err() }
        };
        self.connected.get_or_init(connect).await.clone().map_or(Ok(()), Err)
    }
}

/// A list that was fetched; `None` if the server does not list its tools correctly: it may still accept a call.
///
/// # Errors
/// When the list cannot be fetched for another reason.
pub fn if_listed(fetched: Result<Rc<ToolList>>) -> Result<Option<Rc<ToolList>>> {
    match fetched {
        Ok(tools) => Ok(Some(tools)),
        Err(failure) if matches!(failure.kind(), ErrorKind::Failed | ErrorKind::Protocol) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The options that declare these capabilities, with the names of their values.
#[must_use]
fn options_of(capabilities: &[ClientCapability]) -> Vec<String> {
    let values = capabilities.iter().map(|one| match one {
        ClientCapability::Elicitation => "HOW",
        ClientCapability::Sampling => "CMD",
        ClientCapability::Roots => "DIR",
    });
    capabilities.iter().zip(values).map(|(one, value)| format!("{} {value}", one.option())).collect()
}

/// The failure for a tool that the configuration hides.
#[must_use]
pub fn denied_by_policy(target: &Target, name: &str) -> Failure {
    Failure::new(ErrorKind::Refused, format!("the configuration does not allow the tool '{name}'"))
        .hint(format!("show allow_tools and deny_tools: {}", target.config_command_line("get")))
}

/// Checks that a tool declares itself read-only. A cached list that says otherwise is checked against the current one.
///
/// # Errors
/// [`ErrorKind::Refused`] if it does not.
pub async fn require_read_only(
    context: &Context,
    session: &Session,
    tool_cache: &ToolCache,
    seen: &Rc<ToolList>,
    name: &str,
) -> Result<()> {
    let may_be_called = |tools: &ToolList| tools.find(name).is_some_and(|tool| is_read_only(tool));
    if may_be_called(seen) {
        return Ok(());
    }
    let fresh = tool_cache.refresh_if_stale(context, session, seen, false).await?;
    if fresh.is_some_and(|fresh| may_be_called(&fresh)) { Ok(()) } else { Err(not_read_only(session.target(), name)) }
}

/// Whether a tool declares itself read-only.
#[must_use]
pub fn is_read_only(tool: &ListItem) -> bool {
    tool.boolean_annotation("readOnlyHint") == Some(true)
}

/// The failure for a tool that does not declare itself read-only.
#[must_use]
pub fn not_read_only(target: &Target, name: &str) -> Failure {
    let failure = Failure::new(ErrorKind::Refused, format!("'{name}' was not called"))
        .cause("the tool does not declare itself read-only (readOnlyHint)");
    let is_option = target.reference.as_ref().is_some_and(|reference| reference.options.read_only);
    failure.hint(if is_option {
        "omit --read-only".to_owned()
    } else {
        format!("show read_only: {}", target.config_command_line("get"))
    })
}

/// Lists the tools of a server and applies policy and the rules for header annotations.
///
/// # Errors
/// When the list cannot be fetched.
pub async fn fetch_tools(context: &Context, session: &Session, from: CachePolicy) -> Result<ToolList> {
    let listing = session.list(ListKind::Tools, from).await?;
    Ok(apply_policy(context, session, &listing).await)
}

/// Applies policy and the rules for header annotations to a list of tools.
pub async fn apply_policy(context: &Context, session: &Session, listing: &Listing) -> ToolList {
    let policy = &session.target().policy;
    let checks_headers = sends_argument_headers(session).await;
    let mut tools = ToolList {
        entries: Vec::new(),
        invalid: BTreeMap::new(),
        denied: Vec::new(),
        is_offered: listing.is_offered,
        is_cached: listing.is_cached,
        positions: BTreeMap::new(),
    };
    for entry in listing.parsed_items() {
        if !policy.permits(entry.name()) {
            tools.denied.push(entry.name().to_owned());
            continue;
        }
        let tool = Tool::from(entry);
        if checks_headers && let Err(invalid) = tool.header_params() {
            if !listing.is_cached {
                context.ui.warn(&format!("ignoring the tool '{}': {invalid}", tool.name()));
            }
            tools.invalid.insert(tool.name().to_owned(), invalid.to_string());
            continue;
        }
        tools.positions.entry(tool.name().to_owned()).or_insert(tools.entries.len());
        tools.entries.push(tool);
    }
    tools
}

/// Whether a tool is meant only for the server's own app UI (MCP Apps).
#[must_use]
pub fn is_app_only(tool: &ListItem) -> bool {
    let visibility = tool.value().pointer("/_meta/ui/visibility").and_then(Value::as_array);
    visibility.is_some_and(|all| all.iter().any(|who| who == "app") && !all.iter().any(|who| who == "model"))
}

/// Whether arguments travel in headers: modern revisions over HTTP only.
async fn sends_argument_headers(session: &Session) -> bool {
    session.target().endpoint.transport_kind().is_http() && session.is_modern().await == Some(true)
}

/// The `Mcp-Param-*` headers of a call (`HTM-04`); they go out in modern revisions over HTTP only.
#[must_use]
pub fn argument_headers(session: &Session, tool: &Tool, arguments: &Map<String, Value>) -> Vec<(String, String)> {
    if !session.target().endpoint.transport_kind().is_http() {
        return Vec::new();
    }
    let parameters = tool.header_params().unwrap_or_default();
    parameters.iter().filter_map(|one| Some((one.header.clone(), one.value(arguments)?))).collect()
}
