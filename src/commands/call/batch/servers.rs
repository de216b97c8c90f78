//! The servers of a batch, each connected to when the first line for it arrives.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::future::join_all;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::cli::CallArgs;
use crate::commands::call::batch::circuit::{Circuit, Permission};
use crate::commands::call::batch::line::{BatchLine, LineAction};
use crate::commands::call::concurrent::FinishedCall;
use crate::commands::call::tool_call::CallContext;
use crate::commands::context::Context;
use crate::commands::tools::ToolCache;
use crate::config::LazyConfig;
use crate::error::{ErrorKind, Failure, Result};
use crate::session::Session;
use crate::target::{Target, TargetOptions};

/// One server.
struct BatchServer {
    session: Session,
    /// Replaced when the server is tried again: it keeps why connecting or listing failed.
    tool_cache: RefCell<Rc<ToolCache>>,
    circuit: RefCell<Circuit>,
}

impl BatchServer {
    fn new(session: Session) -> Self {
        BatchServer { session, tool_cache: RefCell::default(), circuit: RefCell::default() }
    }
}

/// A server that a line names, once it is known.
type NamedServer = Rc<OnceCell<Result<Rc<BatchServer>>>>;

/// All servers.
pub(super) struct BatchServers<'a> {
    context: &'a Context,
    args: &'a CallArgs,
    stdin_taken: bool,
    /// The target of the command line, for the lines that do not name a server.
    default: Option<Rc<BatchServer>>,
    config: LazyConfig<'a>,
    named: RefCell<BTreeMap<String, NamedServer>>,
}

impl<'a> BatchServers<'a> {
    /// Nothing is connected to yet.
    ///
    /// # Errors
    /// As [`Context::session`].
    pub fn new(context: &'a Context, args: &'a CallArgs, default: Option<Target>, stdin_taken: bool) -> Result<Self> {
        let session = default.map(|target| context.session_for_concurrent_calls(target, stdin_taken)).transpose()?;
        Ok(BatchServers {
            context,
            args,
            stdin_taken,
            default: session.map(|session| Rc::new(BatchServer::new(session))),
            config: LazyConfig::new(&context.env, context.global.config.as_deref()),
            named: RefCell::default(),
        })
    }

    /// The name of the target of the command line.
    pub fn default_name(&self) -> Option<&str> {
        self.default.as_ref().map(|server| server.session.target().name.as_str())
    }

    /// Prepares the call of a line before it is its turn, if its server is known and nothing has to be asked for that.
    pub fn prepare_ahead(&self, line: &BatchLine, action: &mut LineAction) {
        let LineAction::Call(given, prepared) = action else { return };
        let server = match &line.server {
            None => self.default.clone(),
            Some(name) => self.named.borrow().get(name).and_then(|cell| cell.get()?.clone().ok()),
        };
        if let Some(server) = server {
            let tools = server.tool_cache.borrow().clone();
            *prepared = self.call_context(line, &server.session, &tools).prepare_ahead(given).map(Box::new);
        }
    }

    /// Does what a line asks for, unless its server has failed too often.
    pub async fn run(&self, line: &BatchLine, action: LineAction) -> FinishedCall {
        let server = match self.server_of(line).await {
            Ok(server) => server,
            Err(failure) => return FinishedCall::from_failure(failure),
        };
        let BatchServer { session, tool_cache, circuit } = &*server;
        let permission = match self.args.max_failures {
            Some(_) => circuit.borrow_mut().next(Instant::now()),
            None => Permission::Send,
        };
        match permission {
            Permission::Fail => return FinishedCall::from_failure(circuit.borrow().failure(&session.target().name)),
            Permission::Try => *tool_cache.borrow_mut() = Rc::default(),
            Permission::Send => {}
        }
        let tools = tool_cache.borrow().clone();
        let ended = line.run(self.call_context(line, session, &tools), action).await;
        if let Some(limit) = self.args.max_failures
            && circuit.borrow_mut().count(permission, &ended, limit, Instant::now())
        {
            let name = &session.target().name;
            self.context.ui.warn(&format!("{name}: {limit} failures in a row; skipping its lines for now"));
        }
        ended
    }

    fn call_context<'b>(&'b self, line: &'b BatchLine, session: &'b Session, tools: &'b ToolCache) -> CallContext<'b> {
        CallContext {
            context: self.context,
            session,
            tool_cache: tools,
            args: self.args,
            target: line.server.as_deref().or(self.args.target.as_deref()),
        }
    }

    async fn server_of(&self, line: &BatchLine) -> Result<Rc<BatchServer>> {
        let Some(name) = &line.server else {
            return self.default.clone().ok_or_else(|| {
                Failure::new(ErrorKind::Usage, "the line names no server, and the command has no TARGET")
                    .hint(r#"add "server":"NAME" to the line, or name a target: mcpipe call TARGET --batch FILE"#)
            });
        };
        let cell = self.named.borrow_mut().entry(name.clone()).or_default().clone();
        cell.get_or_init(|| self.open(name)).await.clone()
    }

    async fn open(&self, name: &str) -> Result<Rc<BatchServer>> {
        // The options belong to the target, if there is one.
        let none = TargetOptions::default();
        let options = if self.default.is_some() { &none } else { &self.args.target_options };
        let target = self.context.resolve_configured(self.config.config()?, name, options, false).await?;
        let session = self.context.session_for_concurrent_calls(target, self.stdin_taken);
        session.map(|session| Rc::new(BatchServer::new(session))).map_err(|failure| failure.server(name))
    }

    /// Closes all sessions.
    pub async fn close(&self) {
        let named: Vec<Rc<BatchServer>> =
            self.named.borrow().values().filter_map(|cell| cell.get()?.clone().ok()).collect();
        join_all(self.default.iter().chain(&named).map(|server| server.session.close())).await;
    }
}
