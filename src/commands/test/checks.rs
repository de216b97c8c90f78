//! The built-in checks, in the order in which things can fail.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Map;

use crate::auth::TokenProvider;
use crate::commands::context::Context;
use crate::commands::lock::file::LockFile;
use crate::commands::lock::server_entry;
use crate::commands::test::lint::{self, Lists};
use crate::commands::test::portability::portability;
use crate::commands::test::report::{Finding, Outcome, TestReport, TestResult};
use crate::error::{ConnectStep, ErrorKind, Failure, Result};
use crate::output::{ExchangeLog, Progress};
use crate::protocol::views::{ListItem, ListKind, is_error_result};
use crate::protocol::{code, method};
use crate::secret::Secret;
use crate::session::operation::Operation;
use crate::session::request::RequestOutcome;
use crate::session::{CachePolicy, Session, SessionInfo};
use crate::target::Target;
use crate::transport::http::{is_proxied, look_up};
use crate::transport::{CloseOutcome, Endpoint, TransportKind};
use crate::util::count::counted;
use crate::util::loopback::is_loopback;

/// A method and a tool that no server has.
const UNKNOWN_METHOD: &str = "mcpipe/no-such-method";
const UNKNOWN_TOOL: &str = "mcpipe-no-such-tool";
/// The origin of a web page that does not belong to the server; the name is reserved (RFC 6761, section 6.4).
const FOREIGN_ORIGIN: &str = "http://web-page.invalid";

/// The checks of how a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReachStep {
    NameResolution,
    Tcp,
    Tls,
    Http,
    AuthorizationMetadata,
    Login,
    Start,
    Socket,
    Negotiation,
}

impl ReachStep {
    fn name(self) -> &'static str {
        match self {
            ReachStep::NameResolution => "name_resolution",
            ReachStep::Tcp => "tcp",
            ReachStep::Tls => "tls",
            ReachStep::Http => "http",
            ReachStep::AuthorizationMetadata => "authorization_metadata",
            ReachStep::Login => "login",
            ReachStep::Start => "start",
            ReachStep::Socket => "socket",
            ReachStep::Negotiation => "negotiation",
        }
    }

    /// The steps of a kind of server.
    fn of(endpoint: &Endpoint) -> &'static [ReachStep] {
        match endpoint {
            Endpoint::Replay(_) => &[ReachStep::Negotiation],
            Endpoint::Stdio(_) => &[ReachStep::Start, ReachStep::Negotiation],
            Endpoint::Unix(_) => &[ReachStep::Socket, ReachStep::Negotiation],
            Endpoint::Http(_) | Endpoint::WebSocket(_) => &[
                ReachStep::NameResolution,
                ReachStep::Tcp,
                ReachStep::Tls,
                ReachStep::Http,
                ReachStep::AuthorizationMetadata,
                ReachStep::Login,
                ReachStep::Negotiation,
            ],
        }
    }

    /// The step at which connecting failed.
    fn of_failure(failure: &Failure, endpoint: &Endpoint) -> ReachStep {
        let is_http = endpoint.http_endpoint().is_some();
        let step = match (failure.details().connect_step, failure.kind()) {
            (Some(ConnectStep::Resolve), _) => ReachStep::NameResolution,
            (Some(ConnectStep::Connect), _) => ReachStep::Tcp,
            (Some(ConnectStep::Tls), _) => ReachStep::Tls,
            (Some(ConnectStep::Http), _) => ReachStep::Http,
            (None, ErrorKind::Auth) if is_http => ReachStep::Login,
            (None, ErrorKind::Unreachable) if is_http => ReachStep::Http,
            (None, ErrorKind::Unreachable) if !failure.details().is_process_end => match endpoint {
                Endpoint::Stdio(_) => ReachStep::Start,
                _ => ReachStep::Socket,
            },
            _ => ReachStep::Negotiation,
        };
        // A recording has the failures of other kinds of servers.
        if Self::of(endpoint).contains(&step) { step } else { ReachStep::Negotiation }
    }
}

/// Checks one server.
///
/// # Errors
/// When an option cannot be used.
pub async fn check(
    context: &Context,
    target: Target,
    progress: &Progress,
    options: &CheckOptions<'_>,
) -> Result<TestReport> {
    let name = context.ui.redacted(&target.name);
    let log = options.keeps_exchange.then(|| context.exchange_log()).transpose()?;
    let (session, provider) = context.test_session(target, true, log.as_ref())?;
    let mut checker = Checker {
        context,
        progress,
        session: &session,
        lock: options.lock,
        log: log.as_deref(),
        results: Vec::new(),
        since: Instant::now(),
        is_broken: false,
    };
    let outcome = checker.run(provider.as_ref()).await;
    let diagnostics = session.diagnostics().await;
    let noise = diagnostics.as_ref().and_then(|diagnostics| diagnostics.first_non_message.clone());
    let closed = session.close().await;
    let stopped = outcome.err().map(|failure| failure.server(&name));
    if stopped.is_none() && matches!(session.target().endpoint, Endpoint::Stdio(_)) && diagnostics.is_some() {
        checker.add(
            "clean_stdout",
            match noise {
                None => Finding::ok("only messages"),
                Some(line) => Finding::fail(
                    format!("the server printed something other than messages: {line}"),
                    "write logs to stderr: standard output is for messages only",
                ),
            },
        );
        checker.add(
            "shutdown",
            match closed {
                _ if checker.is_broken => Finding::Skip("the server had failed before".to_owned()),
                Some(CloseOutcome::Killed) => {
                    Finding::warn("it did not exit after its standard input was closed, and was terminated".to_owned())
                }
                _ => Finding::ok("it exited after its standard input was closed"),
            },
        );
    }
    Ok(TestReport { target: name, file: None, is_one_of_several: false, results: checker.results, stopped })
}

/// How servers are checked.
pub(super) struct CheckOptions<'a> {
    /// The lock file to compare them with, and its path.
    pub lock: Option<(&'a Path, &'a LockFile)>,
    /// Whether the messages of a failed check are kept.
    pub keeps_exchange: bool,
}

/// What the lists have shown.
struct CheckedLists {
    lists: Lists,
    /// Whether declared capabilities are kept.
    capabilities: Finding,
    /// Whether the lists say how long they are valid, in the modern era.
    cache_hints: Option<Finding>,
}

struct Checker<'a> {
    context: &'a Context,
    progress: &'a Progress,
    session: &'a Session,
    lock: Option<(&'a Path, &'a LockFile)>,
    log: Option<&'a ExchangeLog>,
    results: Vec<TestResult>,
    /// When the last check ended.
    since: Instant,
    /// Whether the server stopped answering.
    is_broken: bool,
}

impl Checker<'_> {
    fn add(&mut self, name: &str, finding: Finding) {
        let (outcome, detail, seen, failure) = match finding {
            Finding::Ok(detail, seen) => (Outcome::Ok, detail, seen, None),
            Finding::Warn(detail, seen) => (Outcome::Warn, detail, seen, None),
            Finding::Skip(detail) => (Outcome::Skip, detail, Vec::new(), None),
            Finding::Fail(failure) => {
                self.is_broken |= matches!(failure.kind(), ErrorKind::Timeout | ErrorKind::Unreachable);
                (Outcome::Fail, String::new(), Vec::new(), Some(failure))
            }
        };
        let ui = &self.context.ui;
        let time = std::mem::replace(&mut self.since, Instant::now()).elapsed();
        // Also removes the messages of a check that holds.
        let exchange = self.log.map(ExchangeLog::take).unwrap_or_default();
        let exchange = if failure.is_some() { exchange } else { Vec::new() };
        self.results.push(TestResult {
            repeat_command: None,
            name: name.replace(' ', "_"),
            outcome,
            detail: ui.redacted(&detail),
            seen: seen.iter().map(|line| ui.redacted(line)).collect(),
            failure,
            exchange,
            time,
            line: None,
        });
    }

    fn begin(&self, check: &str) {
        self.progress.set_message(&format!("checking {}: {check}", self.session.target().name));
    }

    async fn run(&mut self, provider: Option<&TokenProvider>) -> Result<()> {
        self.begin("connecting");
        let began = Instant::now();
        let info = match self.session.session_info().await {
            Ok(info) => info,
            Err(failure) => return self.add_steps_until_failure(failure, provider).await,
        };
        let time = began.elapsed();
        for step in ReachStep::of(&self.session.target().endpoint) {
            let finding = self.passed_step(*step, &info, provider, time).await;
            self.add(step.name(), finding);
        }
        // A step may fail because of another server, such as that for logins: this one is connected.
        self.is_broken = false;
        self.add("identity", lint::identity(&info.server, !info.revision.is_modern()));
        let count = self.results.len();
        let CheckedLists { lists, capabilities, cache_hints } = self.check_lists(&info).await?;
        if self.is_broken {
            return Ok(());
        }
        let has_all_lists = self.results.iter().skip(count).all(|result| result.outcome != Outcome::Fail);
        self.add("names", lint::names(&lists));
        let tools = lists.iter().find(|(kind, _)| *kind == ListKind::Tools);
        let listed = tools.map_or(&[][..], |(_, tools)| tools.as_slice());
        self.add("descriptions", lint::descriptions(listed));
        let schemas = lint::schemas(listed).await;
        self.add("schemas", schemas);
        self.add("portability", portability(listed));
        self.add("capabilities", capabilities);
        if let Some(cache_hints) = cache_hints {
            self.add("cache_hints", cache_hints);
            self.begin("list order");
            let order = self.check_order(listed).await?;
            self.add("list_order", order);
        }
        if let Some((path, lock)) = self.lock {
            let finding = match has_all_lists {
                true => lint::locked(path, lock, self.session.target(), &server_entry(&lists, info.clone())),
                false => Finding::Skip("a list could not be fetched".to_owned()),
            };
            self.add("lock", finding);
        }
        self.begin("unknown tool");
        let finding = match tools {
            Some(_) => self.check_unknown_tool().await?,
            None => Finding::Skip("the server offers no tools".to_owned()),
        };
        self.add("unknown_tool", finding);
        if !self.is_broken {
            self.begin("unknown method");
            let finding = self.check_unknown_method().await?;
            self.add("unknown_method", finding);
        }
        if !self.is_broken && !info.revision.is_modern() {
            self.begin("ping");
            let finding = self.check_ping().await?;
            self.add("ping", finding);
        }
        if !self.is_broken && self.is_local_http() {
            self.begin("web pages");
            let finding = self.check_origin().await?;
            self.add("web_pages", finding);
        }
        Ok(())
    }

    /// The steps up to the one at which connecting failed.
    async fn add_steps_until_failure(&mut self, failure: Failure, provider: Option<&TokenProvider>) -> Result<()> {
        if failure.kind().is_interrupt() {
            return Err(failure);
        }
        let endpoint = &self.session.target().endpoint;
        let failed = ReachStep::of_failure(&failure, endpoint);
        for step in ReachStep::of(endpoint) {
            if *step == failed {
                self.add(step.name(), Finding::Fail(failure));
                break;
            }
            let finding = match step {
                ReachStep::NameResolution => self.resolve_name().await,
                ReachStep::Tls => self.tls(),
                ReachStep::AuthorizationMetadata if failed == ReachStep::Login => match provider {
                    Some(provider) => match provider.authorization_server().await {
                        Ok(Some(issuer)) => Finding::ok(issuer),
                        Ok(None) => Finding::Skip("the server names no authorization server".to_owned()),
                        Err(metadata) => Finding::Fail(metadata),
                    },
                    None => Finding::Skip("credentials are configured".to_owned()),
                },
                ReachStep::AuthorizationMetadata | ReachStep::Login => {
                    Finding::Skip("the server did not ask for it".to_owned())
                }
                ReachStep::Start => Finding::ok("started"),
                _ => Finding::ok("connected"),
            };
            let is_failure = matches!(finding, Finding::Fail(_));
            self.add(step.name(), finding);
            if is_failure {
                break;
            }
        }
        self.is_broken = true;
        Ok(())
    }

    async fn passed_step(
        &self,
        step: ReachStep,
        info: &SessionInfo,
        provider: Option<&TokenProvider>,
        time: Duration,
    ) -> Finding {
        let not_needed = || Finding::Skip("the server does not require a login".to_owned());
        match step {
            ReachStep::NameResolution => self.resolve_name().await,
            ReachStep::Tls => self.tls(),
            ReachStep::AuthorizationMetadata => match provider {
                _ if self.session.target().has_own_credentials() => {
                    Finding::Skip("credentials are configured".to_owned())
                }
                Some(provider) if matches!(provider.login_id(), Ok(Some(_))) => {
                    match provider.authorization_server().await {
                        Ok(Some(issuer)) => Finding::ok(issuer),
                        Ok(None) => Finding::warn("the server names no authorization server".to_owned()),
                        Err(failure) => Finding::Fail(failure),
                    }
                }
                _ => not_needed(),
            },
            ReachStep::Login => match provider {
                _ if self.session.target().has_own_credentials() => Finding::ok("configured credentials"),
                Some(provider) if matches!(provider.login_id(), Ok(Some(_))) => Finding::ok("logged in"),
                _ => not_needed(),
            },
            ReachStep::Http => Finding::ok(match info.transport {
                TransportKind::Sse => "HTTP+SSE",
                TransportKind::WebSocket => "WebSocket",
                _ => "Streamable HTTP",
            }),
            ReachStep::Tcp | ReachStep::Socket => Finding::ok("connected"),
            ReachStep::Start => Finding::ok("started"),
            ReachStep::Negotiation => {
                let era = if info.revision.is_modern() { "no handshake" } else { "initialize" };
                let trips = self.session.request_count().await;
                let seen = [
                    format!("{:.1} ms", time.as_secs_f64() * 1000.0),
                    format!("capabilities: {}", info.server.capabilities.clone().unwrap_or_default()),
                ];
                Finding::Ok(
                    format!("{} ({era}), {}", info.revision.as_str(), counted(trips, "round trip")),
                    seen.into(),
                )
            }
        }
    }

    /// What the host name resolves to.
    async fn resolve_name(&self) -> Finding {
        let Some(endpoint) = self.session.target().endpoint.http_endpoint() else {
            return Finding::Skip("the target has no URL".to_owned());
        };
        if endpoint.unix_socket.is_some() {
            return Finding::Skip("a Unix socket is used".to_owned());
        }
        let variable = |name: &str| self.context.env.get(name).map(ToOwned::to_owned);
        if endpoint.proxy.is_some() || is_proxied(&endpoint.url, variable) {
            return Finding::Skip("a proxy is used".to_owned());
        }
        match endpoint.url.host() {
            Some(url::Host::Domain(name)) => {
                let found = look_up(name).await.unwrap_or_default();
                let addresses = found.iter().map(|address| address.ip().to_string()).collect();
                Finding::Ok(name.to_owned(), addresses)
            }
            _ => Finding::Skip("the URL has an address".to_owned()),
        }
    }

    fn tls(&self) -> Finding {
        match self.session.target().endpoint.http_endpoint() {
            Some(endpoint) if endpoint.url.scheme() != "https" => Finding::Skip("the URL is not https".to_owned()),
            Some(endpoint) if endpoint.tls.insecure => Finding::warn("the certificate is not verified".to_owned()),
            _ => Finding::ok("the certificate is valid"),
        }
    }

    /// Every list to its end, and whether declared capabilities are kept.
    async fn check_lists(&mut self, info: &SessionInfo) -> Result<CheckedLists> {
        let server = &info.server;
        let mut lists = Lists::new();
        let mut without_hints = Vec::new();
        let (mut kept, mut broken) = (Vec::new(), Vec::new());
        for kind in [ListKind::Tools, ListKind::Resources, ListKind::Templates, ListKind::Prompts] {
            let check = kind.plural_name();
            self.begin(check);
            let declared = server.declares(kind.capability());
            if declared == Some(false) {
                self.add(check, Finding::Skip("not declared".to_owned()));
                continue;
            }
            let finding = match self.session.list(kind, CachePolicy::Bypass).await {
                Ok(listing) if !listing.is_offered => {
                    // Servers without templates often do not implement their list.
                    if declared == Some(true) && kind != ListKind::Templates {
                        broken.push(format!(
                            "'{}' is declared, but the server does not know {}",
                            kind.capability(),
                            kind.list_method()
                        ));
                    }
                    Finding::Skip("not offered".to_owned())
                }
                Ok(listing) => {
                    let items = listing.parsed_items();
                    without_hints.extend(listing.lacks_cache_hints.then_some(check));
                    let names = items.iter().map(|item| if item.name().is_empty() { item.uri() } else { item.name() });
                    let names = names.map(ToOwned::to_owned).collect();
                    let finding = Finding::Ok(items.len().to_string(), names);
                    kept.extend((!kept.contains(&kind.capability())).then_some(kind.capability()));
                    lists.push((kind, items));
                    finding
                }
                Err(failure) if failure.kind().is_interrupt() => {
                    return Err(failure);
                }
                Err(failure) => Finding::Fail(failure),
            };
            self.add(check, finding);
            if self.is_broken {
                break;
            }
        }
        let finding = match broken.as_slice() {
            [] if kept.is_empty() => Finding::Skip("the server declares nothing that can be checked".to_owned()),
            [] => Finding::ok(kept.join(", ")),
            all => Finding::fail(all.join("; "), "declare only what the server implements"),
        };
        let cache_hints = info.revision.is_modern().then(|| match without_hints.as_slice() {
            [] => Finding::ok("ttlMs and cacheScope"),
            kinds => Finding::warn(format!("no ttlMs or no cacheScope: {}", kinds.join(", "))),
        });
        Ok(CheckedLists { lists, capabilities: finding, cache_hints })
    }

    /// Whether the tools come in the same order again (2026-07-28, server/tools, listing tools).
    async fn check_order(&self, tools: &[ListItem]) -> Result<Finding> {
        if tools.len() < 2 {
            return Ok(Finding::Skip("there are fewer than two tools".to_owned()));
        }
        let again = match self.session.list(ListKind::Tools, CachePolicy::Bypass).await {
            Ok(again) => again.parsed_items(),
            Err(failure) => return failed(failure),
        };
        let names = |items: &[ListItem]| items.iter().map(|item| item.name().to_owned()).collect::<Vec<_>>();
        let (mut before, mut now) = (names(tools), names(&again));
        let is_same = before == now;
        before.sort_unstable();
        now.sort_unstable();
        Ok(match (is_same, before == now) {
            (true, _) => Finding::ok("the same twice"),
            (false, true) => Finding::warn("the same tools came in another order"),
            (false, false) => Finding::Skip("the tools have changed meanwhile".to_owned()),
        })
    }

    /// Every revision with a handshake requires an empty result (2025-11-25, basic/utilities/ping).
    async fn check_ping(&self) -> Result<Finding> {
        Ok(match self.session.send(&Operation::read_only(method::PING, Map::new())).await? {
            RequestOutcome::Result(_) => Finding::ok("answered"),
            RequestOutcome::Error(error, _) => {
                Finding::fail(format!("refused: {error}"), "answer ping with an empty result")
            }
            reply => failed(self.session.failure_from(reply, method::PING))?,
        })
    }

    /// Whether the server is on this machine and every web page could reach it: plain HTTP, without credentials.
    fn is_local_http(&self) -> bool {
        let target = self.session.target();
        match &target.endpoint {
            Endpoint::Http(endpoint) => {
                is_loopback(&endpoint.url)
                    && endpoint.url.scheme() == "http"
                    && endpoint.unix_socket.is_none()
                    && !target.has_own_credentials()
            }
            _ => false,
        }
    }

    /// Servers must check the Origin header, or web pages can use those on this machine (2025-11-25, basic/transports,
    /// security warning).
    async fn check_origin(&self) -> Result<Finding> {
        let mut target = self.session.target().clone();
        let Endpoint::Http(endpoint) = &mut target.endpoint else {
            return Ok(Finding::Skip("the target has no URL".to_owned()));
        };
        endpoint.headers.push(("Origin".to_owned(), Secret::new(FOREIGN_ORIGIN)));
        let (session, _) = self.context.test_session(target, true, None)?;
        let connected = session.session_info().await;
        session.close().await;
        match connected {
            Ok(_) => Ok(Finding::warn(format!("a web page can use the server: Origin: {FOREIGN_ORIGIN} is accepted"))),
            Err(failure) if failure.kind().is_interrupt() => Err(failure),
            Err(_) => Ok(Finding::ok("refused")),
        }
    }

    /// A protocol error, or a result with `isError` (2025-11-25, server/tools, error handling: SDKs do either).
    async fn check_unknown_tool(&self) -> Result<Finding> {
        let call = Session::tool_call_operation(UNKNOWN_TOOL, &Map::new(), Vec::new());
        let hint = "answer a call of a tool that does not exist with the error -32602";
        Ok(match self.session.send(&call).await? {
            RequestOutcome::Error(error, _) => Finding::ok(format!("refused: {error}")),
            RequestOutcome::Result(result) if is_error_result(&result) => Finding::ok("refused with isError"),
            RequestOutcome::Result(_) => Finding::fail("a call of a tool that does not exist succeeded", hint),
            reply => failed(self.session.failure_from(reply, method::TOOLS_CALL))?,
        })
    }

    /// JSON-RPC 2.0, section 5.1; the official Python SDK answers -32602.
    async fn check_unknown_method(&self) -> Result<Finding> {
        let request = Operation::read_only(UNKNOWN_METHOD, Map::new());
        let hint = "answer a method that does not exist with the error -32601";
        Ok(match self.session.send(&request).await? {
            RequestOutcome::Error(error, _)
                if matches!(error.code, Some(code::METHOD_NOT_FOUND | code::INVALID_PARAMS)) =>
            {
                Finding::ok(format!("refused: {error}"))
            }
            RequestOutcome::Error(error, _) => {
                Finding::warn(format!("refused with an error other than -32601: {error}"))
            }
            RequestOutcome::Result(_) => Finding::fail("a request with a method that does not exist succeeded", hint),
            reply => failed(self.session.failure_from(reply, UNKNOWN_METHOD))?,
        })
    }
}

/// A check that failed because there is no answer; an interrupt ends the run.
fn failed(failure: Failure) -> Result<Finding> {
    if failure.kind().is_interrupt() { Err(failure) } else { Ok(Finding::Fail(failure)) }
}
