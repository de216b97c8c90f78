//! Runs the tests of a suite, one after the other over one connection.

use std::borrow::Cow;
use std::cell::{Cell, LazyCell};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::cli::CallArgs;
use crate::commands::call::concurrent::{run_concurrent_call, take_failed_question};
use crate::commands::call::tool_call::{CallContext, RawArguments};
use crate::commands::context::Context;
use crate::commands::expect::{self, difference, show, show_text};
use crate::commands::request::permitted_operation;
use crate::commands::test::report::{Outcome, TestReport, TestResult};
use crate::commands::test::suite::{Check, Suite, SuiteTest, TestAction};
use crate::commands::test::suite_files::snapshot_path;
use crate::commands::test::suite_keys::LIST_WORDS;
use crate::commands::test::template::Captures;
use crate::commands::tool_result::reported_error;
use crate::commands::tools::ToolCache;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::content::{ContentBlock, content_blocks, prompt_blocks, resource_contents};
use crate::output::document::JsonDocument;
use crate::output::json::{JsonStyle, pretty};
use crate::output::{ExchangeLog, Ui};
use crate::protocol::json::{member, parse_value};
use crate::protocol::method;
use crate::protocol::rpc::RawJson;
use crate::protocol::views::is_error_result;
use crate::schema::literal_value;
use crate::session::operation::Operation;
use crate::session::server_requests::ServerRequestLog;
use crate::session::{CachePolicy, Session};
use crate::target::Target;
use crate::transport::MAX_MESSAGE;
use crate::util::bounded_read;
use crate::util::duration::format_duration;
use crate::util::quoting::quote;

/// The style of a stored snapshot.
const PLAIN: JsonStyle = JsonStyle { color: false, escape_unsafe: false };
/// How many different lines of a snapshot are shown, on each side.
const MAX_DIFFERENT_LINES: usize = 10;

/// How suites are run.
pub(super) struct SuiteOptions<'a> {
    /// Only tests whose names contain this.
    pub filter: Option<&'a str>,
    /// Stop after the first failure.
    pub fail_fast: bool,
    /// Also run tests that change something.
    pub effects: bool,
    /// Write snapshots.
    pub update: bool,
    /// How often a failed test is repeated.
    pub retries: u32,
    /// The lock file that tools are compared with before they are called.
    pub locked: Option<&'a Path>,
    /// Whether the messages of a failed test are kept.
    pub keeps_exchange: bool,
    /// Whether a test has failed, in any suite.
    pub has_failed: Cell<bool>,
}

/// Something that does not hold, with the line of the suite and what was seen.
struct FailedExpectation {
    line: usize,
    message: String,
    seen: Vec<String>,
}

/// The outcome of one attempt at a test.
#[derive(Default)]
struct Attempt {
    problems: Vec<FailedExpectation>,
    /// The failure that was not expected.
    failure: Option<Failure>,
    /// What to do about a failure of another class than expected.
    hint: Option<String>,
    captured: Vec<(String, Value)>,
    has_written_snapshot: bool,
}

/// Runs a suite against one server, which may be one of several.
///
/// # Errors
/// When an option cannot be used.
pub(super) async fn run(
    context: &Context,
    suite: &Suite,
    (target, is_one_of_several): (&Target, bool),
    options: &SuiteOptions<'_>,
    on_test: impl Fn(&str),
) -> Result<TestReport> {
    let mut run = SuiteRun {
        context,
        suite,
        target,
        options,
        captures: Captures::default(),
        connection: None,
        unreachable: None,
        log: options.keeps_exchange.then(|| context.exchange_log()).transpose()?,
    };
    let mut results = Vec::new();
    let mut stopped = None;
    for test in &suite.tests {
        if options.filter.is_some_and(|word| !test.name.contains(word)) {
            continue;
        }
        on_test(&test.name);
        match run.run_test(test).await {
            Ok(result) => results.push(result),
            Err(failure) => {
                stopped = Some(failure);
                break;
            }
        }
    }
    if let Some(connection) = run.connection {
        connection.session.close().await;
    }
    let (target, file) = (context.ui.redacted(&target.name), Some(suite.source.display_path.clone()));
    Ok(TestReport { target, file, is_one_of_several, results, stopped })
}

/// A suite that is running.
struct SuiteRun<'a> {
    context: &'a Context,
    suite: &'a Suite,
    target: &'a Target,
    options: &'a SuiteOptions<'a>,
    captures: Captures,
    connection: Option<SuiteSession>,
    /// Why the server could not be reached: it is not tried again for every test.
    unreachable: Option<Failure>,
    log: Option<Arc<ExchangeLog>>,
}

impl SuiteRun<'_> {
    async fn run_test(&mut self, test: &SuiteTest) -> Result<TestResult> {
        let options = self.options;
        let missing = test.uses.iter().find(|name| !self.captures.has(name));
        let skipped = match missing {
            _ if options.fail_fast && options.has_failed.get() => Some("a test failed before (--fail-fast)".to_owned()),
            _ if test.needs_effects && !options.effects => Some("it changes something: add --effects".to_owned()),
            Some(name) => Some(format!("${{{name}}} was not captured")),
            None => None,
        };
        let mut result = TestResult {
            name: test.name.clone(),
            outcome: Outcome::Skip,
            detail: skipped.clone().unwrap_or_default(),
            seen: Vec::new(),
            failure: None,
            repeat_command: None,
            exchange: Vec::new(),
            time: Duration::ZERO,
            line: Some(test.line),
        };
        if skipped.is_some() {
            return Ok(result);
        }
        let began = Instant::now();
        let mut attempts = 0;
        let attempt = loop {
            attempts += 1;
            if attempts > 1 {
                self.unreachable = None;
            }
            let attempt = match self.open().await {
                Ok(()) => match &self.connection {
                    Some(connection) => {
                        connection.attempt(self.context, self.suite, test, &self.captures, options).await?
                    }
                    None => continue,
                },
                Err(failure) if failure.kind().is_interrupt() => {
                    return Err(failure);
                }
                Err(failure) => Attempt::from_failure(failure),
            };
            self.close_if_broken().await;
            if attempt.is_met() || attempts > options.retries {
                break attempt;
            }
        };
        result.time = began.elapsed();
        if let Some(log) = &self.log {
            let exchange = log.take();
            result.exchange = if attempt.is_met() { Vec::new() } else { exchange };
        }
        if !attempt.is_met() {
            result.repeat_command = repeat_command(self.target, test, &self.captures);
        }
        attempt.captured.iter().for_each(|(name, value)| self.captures.insert(name, value.clone()));
        result.outcome = if attempt.is_met() { Outcome::Ok } else { Outcome::Fail };
        if attempt.is_met() && attempts > 1 {
            result.detail = format!("passed at attempt {attempts}");
        } else if attempt.has_written_snapshot {
            result.detail = "snapshot written".to_owned();
        }
        result.failure = attempt.into_failure(&self.suite.source.display_path, test.line);
        options.has_failed.set(options.has_failed.get() || result.outcome == Outcome::Fail);
        Ok(result)
    }

    /// Connects, unless there is a connection. Neither that nor the list of tools is part of the time of a test.
    async fn open(&mut self) -> Result<()> {
        if self.connection.is_some() {
            return Ok(());
        }
        if let Some(failure) = &self.unreachable {
            return Err(failure.clone());
        }
        let (session, _) = self.context.test_session(self.target.clone(), false, self.log.as_ref())?;
        let connection = SuiteSession { session, tools: ToolCache::default() };
        let connected = connection.tools.ensure_connected(&connection.session).await;
        if let Err(failure) = connected {
            connection.session.close().await;
            self.unreachable = Some(failure.clone());
            return Err(failure);
        }
        if self.suite.tests.iter().any(|test| test.validate && matches!(test.action, TestAction::Call(_))) {
            // A failure is kept, and reported by the test that needs the list.
            let _ = connection.tools.get(self.context, &connection.session).await;
        }
        self.connection = Some(connection);
        Ok(())
    }

    /// Closes a connection over which nothing can come back, so that the next test gets another.
    async fn close_if_broken(&mut self) {
        let is_broken = match &self.connection {
            Some(open) => open.session.is_lost().await,
            None => false,
        };
        if is_broken && let Some(broken) = self.connection.take() {
            broken.session.close().await;
        }
    }
}

/// A session with the server, and its tools.
struct SuiteSession {
    session: Session,
    tools: ToolCache,
}

impl SuiteSession {
    async fn attempt(
        &self,
        context: &Context,
        suite: &Suite,
        test: &SuiteTest,
        captures: &Captures,
        options: &SuiteOptions<'_>,
    ) -> Result<Attempt> {
        let began = Instant::now();
        let (result, failure) = self.perform(context, test, captures, options.locked).await;
        let time = began.elapsed();
        if let Some(failure) = &failure
            && failure.kind().is_interrupt()
        {
            return Err(failure.clone());
        }
        let mut attempt = Attempt::default();
        if let Some(limit) = &test.max_time
            && time > limit.value
        {
            let message = format!("it took {}, more than {}", format_duration(time), format_duration(limit.value));
            attempt.problem(limit.line, message, Vec::new());
        }
        let text =
            LazyCell::new(|| result.as_ref().map(|result| result_text(&test.action, result)).unwrap_or_default());
        let is_error = result.as_ref().is_some_and(|result| is_error_result(result));
        let seen_kind = failure.as_ref().map(Failure::kind).or(is_error.then_some(ErrorKind::Failed));
        let said = || failure.as_ref().map_or_else(|| Cow::from(&**text), |failure| failure.to_string().into());
        match (&test.fails, seen_kind) {
            (None, None) => {}
            (None, Some(_)) => {
                let reported =
                    || result.as_ref().and_then(reported_error).map(|failure| failure.cause(show_text(&text)));
                attempt.failure = failure.clone().or_else(reported);
                return Ok(attempt);
            }
            (Some(wanted), None) => {
                let message = format!("it succeeded, but was expected to fail ({})", wanted.value.as_str());
                attempt.problem(wanted.line, message, vec![format!("text: {}", show_text(&text))]);
            }
            (Some(wanted), Some(kind)) if kind != wanted.value => {
                let message = format!("it failed as '{}', not as '{}'", kind.as_str(), wanted.value.as_str());
                attempt.problem(wanted.line, message, vec![show_text(&said())]);
                attempt.hint = failure.as_ref().and_then(|failure| failure.details().hint.clone());
            }
            (Some(_), Some(_)) => {
                if let Some(message) = &test.message
                    && let Some(what) = mismatch("the message", &captures.fill_text(&message.value), &said())
                {
                    attempt.problem(message.line, what, vec![format!("message: {}", show_text(&said()))]);
                }
                if let (None, Some(line)) = (&result, test.first_use_of_result()) {
                    let what = format!("there is no result to compare: {}", show_text(&said()));
                    attempt.problem(line, what, Vec::new());
                    attempt.hint = Some("compare the message with 'message', which needs no result".to_owned());
                }
            }
        }
        let mut problems: Vec<(usize, FailedExpectation)> =
            result.iter().flat_map(|result| failed_expectations(test, captures, &text, result)).collect();
        drop(text);
        if let Some(result) = result {
            let whole = test.snapshot.filter(|_| test.volatile.is_empty()).map(|_| result.get().to_owned());
            // From here on the result is held as a value, in the memory of its text.
            let mut document = JsonDocument::from(result);
            problems.extend(check_expressions(test, captures, &mut document));
            problems.sort_by_key(|(index, _)| *index);
            attempt.problems.extend(problems.into_iter().map(|(_, problem)| problem));
            for capture in &test.captures {
                let (name, expression) = &capture.value;
                match expect::first_output(&captures.fill_expression(expression), &mut document) {
                    Ok(Value::Null) => attempt.problem(capture.line, format!("'{name}' captured null"), Vec::new()),
                    Ok(value) => attempt.captured.push((name.clone(), value)),
                    Err(why) => attempt.problem(capture.line, format!("'{name}' captured nothing: {why}"), Vec::new()),
                }
            }
            if let Some(line) = test.snapshot {
                let path = snapshot_path(&suite.source.path, &test.name);
                let kept = match whole {
                    Some(whole) => Ok(whole),
                    None => expect::first_output_text(&without_paths(&test.volatile), &mut document),
                };
                // Snapshots are kept with the suite, and shown if they differ.
                let kept = kept.map(|kept| pretty(&context.ui.redacted_json(&kept), PLAIN) + "\n");
                attempt.compare_snapshot(&context.ui, line, path, kept, &test.volatile, options.update);
            }
        }
        Ok(attempt)
    }

    /// Asks the server; the result, and the failure, also if there is a result.
    async fn perform(
        &self,
        context: &Context,
        test: &SuiteTest,
        captures: &Captures,
        locked: Option<&Path>,
    ) -> (Option<RawJson>, Option<Failure>) {
        let session = &self.session;
        let log = Arc::<ServerRequestLog>::default();
        let logged = |operation: Operation| Operation { server_requests: Some(log.clone()), ..operation };
        let arguments = captures.fill_table(&test.args);
        let text_param = |name: &str, text: &str| -> Map<String, Value> {
            std::iter::once((name.to_owned(), Value::String(text.to_owned()))).collect()
        };
        let args = CallArgs {
            no_validate: !test.validate,
            strict: test.validate,
            yes: true,
            locked: locked.map(Path::to_owned),
            ..CallArgs::default()
        };
        let call_context = CallContext { context, session, tool_cache: &self.tools, args: &args, target: None };
        let asked = match &test.action {
            TestAction::Call(tool) => {
                let object = Value::Object(arguments).to_string();
                let raw_arguments = RawArguments::from_object(&captures.fill_text(tool), object);
                let finished = run_concurrent_call(call_context, &raw_arguments, 1).await;
                return (finished.result, finished.failure);
            }
            TestAction::Read(uri) => {
                let uri = captures.fill_text(uri);
                let read = Operation::read_only(method::RESOURCES_READ, text_param("uri", &uri));
                session.request(&logged(read.with_mcp_name(&uri).with_progress())).await
            }
            TestAction::Prompt(name) => {
                let name = captures.fill_text(name);
                let mut params = text_param("name", &name);
                // What another test captured may be a number.
                let text = |value: Value| if value.is_string() { value } else { Value::String(value.to_string()) };
                let arguments: Map<String, Value> =
                    arguments.into_iter().map(|(name, value)| (name, text(value))).collect();
                params.insert("arguments".to_owned(), Value::Object(arguments));
                let get = Operation::read_only(method::PROMPTS_GET, params);
                session.request(&logged(get.with_mcp_name(&name).with_progress())).await
            }
            TestAction::List(kind) => match session.list(*kind, CachePolicy::Bypass).await {
                Ok(listing) => {
                    let items: Vec<&str> = listing.raw_items.iter().map(|item| item.get()).collect();
                    let list = format!(r#"{{"{}":[{}]}}"#, kind.result_member(), items.join(","));
                    RawValue::from_string(list)
                        .map_err(|error| Failure::new(ErrorKind::Bug, "a list is not JSON").caused_by(&error))
                }
                Err(failure) => Err(failure),
            },
            TestAction::Request(name) => {
                let send = async {
                    let name = captures.fill_text(name);
                    let operation = permitted_operation(call_context, &name, arguments, Some(&log)).await?;
                    let reply = self.tools.send(context, session, &operation).await?;
                    session.checked_result(reply, &operation)
                };
                send.await
            }
        };
        let question = match &test.action {
            // A list has no log of its own.
            TestAction::List(_) => session.server_requests().take_failure(),
            _ => take_failed_question(call_context, &log),
        };
        match asked {
            Ok(result) => (Some(result), question.map(|failure| failure.server(&session.target().name))),
            Err(failure) => (None, Some(failure)),
        }
    }
}

/// The jq expression that deletes these paths.
fn without_paths(paths: &[String]) -> String {
    // A pipe binds weaker than a comma.
    format!("del(({}))", paths.join("), ("))
}

/// A result or a stored snapshot as it is compared: without the volatile paths, and with the members in one order.
fn comparable_text(text: &str, volatile: &[String]) -> Option<String> {
    let mut document = JsonDocument::from(Cow::from(text));
    let kept = match volatile {
        [] => text.to_owned(),
        paths => {
            // Where an element was deleted, its index now means the next one.
            let found = format!("[path(({}))]", paths.join("), ("));
            let again = format!("{found} as $all | if all($all[][-1]; isstring) then delpaths($all) else . end");
            expect::first_output_text(&again, &mut document).ok()?
        }
    };
    let mut value = parse_value(&kept)?;
    value.sort_all_objects();
    Some(pretty(&value.to_string(), PLAIN))
}

impl Attempt {
    /// The server could not be asked.
    fn from_failure(failure: Failure) -> Self {
        Attempt { failure: Some(failure), ..Attempt::default() }
    }

    fn is_met(&self) -> bool {
        self.problems.is_empty() && self.failure.is_none()
    }

    fn problem(&mut self, line: usize, message: impl Into<String>, seen: Vec<String>) {
        self.problems.push(FailedExpectation { line, message: message.into(), seen });
    }

    /// Compares a result to its snapshot, or writes it.
    fn compare_snapshot(
        &mut self,
        ui: &Ui,
        line: usize,
        path: PathBuf,
        kept: std::result::Result<String, String>,
        volatile: &[String],
        update: bool,
    ) {
        let kept = match kept {
            Ok(kept) => kept,
            Err(why) => return self.problem(line, format!("cannot apply 'volatile': {why}"), Vec::new()),
        };
        let stored = bounded_read::read_to_string(&path, MAX_MESSAGE as u64);
        if stored.as_ref().is_ok_and(|stored| *stored == kept) {
            return;
        }
        if update {
            let directory = path.parent().unwrap_or(Path::new("."));
            let written = std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&path, &kept));
            self.has_written_snapshot = written.is_ok();
            if let Err(error) = written {
                self.problem(line, format!("cannot write the snapshot {}: {error}", path.display()), Vec::new());
            }
            return;
        }
        match stored {
            Err(error) => {
                let why = match error.kind() {
                    std::io::ErrorKind::NotFound => "does not exist".to_owned(),
                    _ => format!("cannot be read ({error})"),
                };
                let message = format!("the snapshot {} {why}; write it with --update", path.display());
                self.problem(line, message, Vec::new());
            }
            Ok(stored) => {
                // An earlier version may have stored a secret.
                let stored = ui.redacted_json(&stored);
                let both = comparable_text(&stored, volatile).zip(comparable_text(&kept, volatile));
                let (before, now) = both.unwrap_or((stored, kept));
                if before != now {
                    let message = format!("the result differs from {}; accept it with --update", path.display());
                    self.problem(line, message, different_lines(&before, &now));
                }
            }
        }
    }

    /// The failure that says what does not hold.
    fn into_failure(self, file: &str, line: usize) -> Option<Failure> {
        let mut problems = self.problems.into_iter();
        let mut failure = match (self.failure, problems.next()) {
            (Some(mut failure), _) => {
                let details = failure.details_mut();
                details.message = format!("{file}:{line}: {}", details.message);
                failure
            }
            (None, Some(first)) => {
                let message = format!("{file}:{}: {}", first.line, first.message);
                first.seen.into_iter().fold(Failure::new(ErrorKind::Mismatch, message), Failure::cause)
            }
            (None, None) => return None,
        };
        for problem in problems {
            failure = failure.cause(format!("{file}:{}: {}", problem.line, problem.message));
            failure = problem.seen.into_iter().fold(failure, |failure, line| failure.cause(format!("  {line}")));
        }
        Some(match self.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        })
    }
}

/// The lines in which two texts differ.
fn different_lines(before: &str, now: &str) -> Vec<String> {
    let (before, now): (Vec<&str>, Vec<&str>) = (before.lines().collect(), now.lines().collect());
    let start = before.iter().zip(&now).take_while(|(a, b)| a == b).count();
    let end = before[start..].iter().rev().zip(now[start..].iter().rev()).take_while(|(a, b)| a == b).count();
    let side = |sign: &str, lines: &[&str]| -> Vec<String> {
        let changed = &lines[start..lines.len() - end];
        let mut shown: Vec<String> =
            changed.iter().take(MAX_DIFFERENT_LINES).map(|line| format!("{sign} {}", show_text(line))).collect();
        if changed.len() > MAX_DIFFERENT_LINES {
            shown.push(format!("{sign} … {} more lines", changed.len() - MAX_DIFFERENT_LINES));
        }
        shown
    };
    [side("-", &before), side("+", &now)].concat()
}

/// The text of a result, as `text` and `contains` see it.
fn result_text(action: &TestAction, result: &RawJson) -> String {
    let blocks = match action {
        TestAction::Call(_) => content_blocks(result),
        TestAction::Read(_) => resource_contents(result),
        TestAction::Prompt(_) => prompt_blocks(result),
        TestAction::List(_) | TestAction::Request(_) => return result.get().to_owned(),
    };
    let texts = blocks.unwrap_or_default().into_iter().filter_map(|block| match block {
        ContentBlock::Text(text) => Some(text.decode()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// What does not hold of a result and its text, with the number of the expectation. Expressions are checked afterwards,
/// by [`check_expressions`].
fn failed_expectations(
    test: &SuiteTest,
    captures: &Captures,
    text: &impl Deref<Target = String>,
    result: &RawJson,
) -> Vec<(usize, FailedExpectation)> {
    let mut problems = Vec::new();
    let shown = || vec![format!("text: {}", show(&text.as_str().into()))];
    for (index, expectation) in test.expectations.iter().enumerate() {
        let mut problem = |message: String, seen| {
            problems.push((index, FailedExpectation { line: expectation.line, message, seen }));
        };
        match &expectation.value {
            Check::Text(wanted) => {
                let wanted = captures.fill_text(wanted);
                if wanted != **text {
                    let seen = difference(&wanted.as_str().into(), &text.as_str().into(), "expected", "found");
                    problem("the text is not equal".to_owned(), seen);
                }
            }
            Check::Contains(wanted) => {
                let wanted = captures.fill_text(wanted);
                if !text.contains(&wanted) {
                    problem(format!("the text does not contain {}", show(&wanted.into())), shown());
                }
            }
            Check::Matches(regex) => {
                if let Some(message) = mismatch("the text", &captures.fill_text(regex), text) {
                    problem(message, shown());
                }
            }
            Check::Structured(wanted) => {
                let found = member(result, "structuredContent").and_then(|raw| parse_value(raw.get()));
                for (name, wanted, found) in expect::missing_members(&captures.fill_table(wanted), found.as_ref()) {
                    let (message, seen) = match found {
                        Some(found) => (
                            format!("structured.{name} is not equal"),
                            difference(&wanted, &found, "expected", "found"),
                        ),
                        None => (format!("structured.{name} is missing"), vec![format!("expected: {}", show(&wanted))]),
                    };
                    problem(message, seen);
                }
            }
            Check::Expression(_) => {}
        }
    }
    problems
}

/// How a text fails to match a regular expression, which a captured value can make invalid.
fn mismatch(what: &str, regex: &str, text: &str) -> Option<String> {
    match expect::matches(regex, text) {
        Ok(true) => None,
        Ok(false) => Some(format!("{what} does not match /{regex}/")),
        Err(_) => Some(format!("/{regex}/ is not a valid regular expression")),
    }
}

/// The expressions that are not true of a result, with the number of the expectation.
fn check_expressions(
    test: &SuiteTest,
    captures: &Captures,
    document: &mut JsonDocument<'_>,
) -> Vec<(usize, FailedExpectation)> {
    let mut problems = Vec::new();
    for (index, expectation) in test.expectations.iter().enumerate() {
        if let Check::Expression(expression) = &expectation.value {
            let expression = captures.fill_expression(expression);
            if let Some(seen) = expect::check_expression(&expression, document) {
                let message = format!("not true: {expression}");
                problems.push((index, FailedExpectation { line: expectation.line, message, seen }));
            }
        }
    }
    problems
}

/// The command that does the same once.
fn repeat_command(target: &Target, test: &SuiteTest, captures: &Captures) -> Option<String> {
    let arguments = captures.fill_table(&test.args);
    let mut words = Vec::new();
    let command = match &test.action {
        TestAction::Call(tool) => {
            words.push(quote(&captures.fill_text(tool)));
            if !arguments.is_empty() {
                words.extend(["--args".to_owned(), quote(&Value::Object(arguments).to_string())]);
            }
            if !test.validate {
                words.push("--no-validate".to_owned());
            }
            "call"
        }
        TestAction::Read(uri) => {
            words.push(quote(&captures.fill_text(uri)));
            "read"
        }
        TestAction::Prompt(name) => {
            words.push(quote(&captures.fill_text(name)));
            words.extend(arguments.iter().map(|(name, value)| {
                let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                quote(&format!("{name}={}", literal_value(&text)))
            }));
            "prompt"
        }
        TestAction::List(kind) => {
            let word = LIST_WORDS.iter().find(|(_, listed)| listed == kind).map(|(word, _)| *word);
            words.extend(word.filter(|word| *word != "tools").map(|word| format!("--{word}")));
            "list"
        }
        TestAction::Request(_) => return None,
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Some(target.command_line(command, &words))
}
