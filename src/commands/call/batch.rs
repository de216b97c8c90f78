//! `call --batch`: many calls over one connection, a line of JSON in and a line of JSON out for each.
//!
//! Lines are started as they arrive and answered as they end. What is wrong with a line is its own answer.

use std::collections::VecDeque;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::Either;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::task::JoinHandle;

use crate::cli::CallArgs;
use crate::commands::call::input_stream;
use crate::commands::call::input_stream::LineStream;
use crate::commands::call::tool_call::{CallContext, CallOutcome, RawArguments, ToolCall};
use crate::commands::tools::ToolCache;
use crate::commands::{Context, Exit};
use crate::error::{ErrorKind, Failure, Result};
use crate::output::Ui;
use crate::output::json::quote;
use crate::protocol::rpc::{RawJson, parse_value};
use crate::protocol::views::{member, members};
use crate::session::Session;
use crate::session::server_requests::ServerRequestLog;
use crate::target::ResolvedTarget;
use crate::util::suggest::did_you_mean;

/// How many calls are under way at once, unless told otherwise.
pub const DEFAULT_JOBS: u16 = 8;

/// The members of a line.
const LINE_MEMBERS: [&str; 3] = ["tool", "arguments", "id"];

/// Runs a batch.
///
/// # Errors
/// When there is no target, the lines cannot be read, or a stop is asked for.
pub async fn run(context: &Context, args: &CallArgs, source: &Path) -> Result<Exit> {
    let words = args.target.iter().chain(&args.tool).chain(&args.args).cloned().collect();
    let ResolvedTarget { target, rest } =
        context.resolve_target(words, &args.command, false, &args.target_options).await?;
    if let Some(word) = rest.first() {
        return Err(Failure::new(
            ErrorKind::Usage,
            format!("unexpected word '{word}': with --batch each line names its tool"),
        )
        .hint(r#"a line is {"tool":"NAME","arguments":{…},"id":…}"#));
    }
    let lines = LineStream::open(context, source).await?;
    let progress = context.progress(&format!("calling {}", target.name));
    let session = context.session_for_concurrent_calls(target, input_stream::is_stdin(source))?;
    let operation = async |session: &Session| {
        let catalogue = ToolCache::default();
        let way = CallContext { context, session, catalogue: &catalogue, args, target: args.target.as_deref() };
        let batch =
            Batch { call_context: way, on_progress: |done: usize| progress.set_message(&format!("{done} calls done")) };
        progress.show_during(batch.run(lines)).await
    };
    context.with_session(session, operation).await
}

struct Batch<'a, T> {
    call_context: CallContext<'a>,
    /// Is told how many calls have ended.
    on_progress: T,
}

/// A line that was answered.
struct BatchResponse {
    /// What is printed.
    text: String,
    is_failure: bool,
}

impl<T: Fn(usize)> Batch<'_, T> {
    async fn run(&self, mut lines: LineStream) -> Result<Exit> {
        let CallContext { context, args, .. } = self.call_context;
        let jobs = usize::from(args.jobs.unwrap_or(DEFAULT_JOBS));
        // The requests of a dry run have nothing to wait for.
        let mut running = if args.ordered || args.dry_run {
            PendingCalls::Ordered(FuturesOrdered::new())
        } else {
            PendingCalls::Unordered(FuturesUnordered::new())
        };
        let (mut number, mut done, mut failed) = (0, 0, 0);
        let mut answers: VecDeque<BatchResponse> = VecDeque::new();
        // A reader that takes its time holds up new calls, but neither those under way nor their clocks.
        let mut printing: Option<JoinHandle<Result<bool>>> = None;
        let mut more = Ok(true);
        loop {
            let open = matches!(more, Ok(true));
            if printing.is_none()
                && let Some(answer) = answers.pop_front()
            {
                let ui = context.ui.clone();
                printing = Some(tokio::task::spawn_blocking(move || print_response(&ui, &answer)));
            }
            let room = running.len() + answers.len() < jobs;
            tokio::select! {
                biased;
                // Those under way see it too, and end.
                stop = context.interrupt.interrupted(), if open => more = Err(stop),
                printed = wait_printed(&mut printing), if printing.is_some() => {
                    printing = None;
                    match printed {
                        Ok(unfiltered) => failed += usize::from(unfiltered),
                        Err(failure) => {
                            // Nobody reads any more: what is under way is called off, as by a signal.
                            context.interrupt.raise(ErrorKind::Interrupted);
                            more = more.and(Err(failure));
                            answers.clear();
                        }
                    }
                }
                answer = running.next(), if running.len() > 0 => {
                    let Some(answer): Option<BatchResponse> = answer else { continue };
                    done += 1;
                    failed += usize::from(answer.is_failure);
                    (self.on_progress)(done);
                    if !more.as_ref().is_err_and(is_output_failure) {
                        answers.push_back(answer);
                    }
                }
                line = lines.next(), if open && room => match line {
                    None => more = Ok(false),
                    Some(Err(failure)) => more = Err(failure),
                    Some(Ok(line)) => {
                        number += 1;
                        if !line.trim_ascii().is_empty() {
                            running.push(Box::pin(self.run_line(number, line)));
                        }
                    }
                },
                else => break,
            }
        }
        more?;
        if let Some(stop) = context.interrupt.raised_failure() {
            return Err(stop);
        }
        if failed == 0 {
            return Ok(Exit::Done);
        }
        context.ui.note(&format!("{failed} of {done} calls failed"));
        Ok(Exit::Reported(ErrorKind::Failed))
    }

    async fn run_line(&self, number: u64, line: Vec<u8>) -> BatchResponse {
        let mut read = BatchLine { id: number.to_string(), tool: "null".to_owned() };
        let ended = match read.parse(&line, number) {
            Ok(given) => run_concurrent_call(self.call_context, &given, number).await,
            Err(failure) => FinishedCall::from_failure(failure),
        };
        let failed = ended.is_failure();
        let text = match ended.request {
            Some(request) => request,
            None => read.response_json(self.call_context.context, &ended),
        };
        BatchResponse { text, is_failure: failed }
    }
}

/// Waits until an answer is printed.
async fn wait_printed(printing: &mut Option<JoinHandle<Result<bool>>>) -> Result<bool> {
    let Some(printing) = printing else { return Ok(false) };
    let broken = |error| Failure::new(ErrorKind::Bug, "an answer was not printed").caused_by(&error);
    printing.await.unwrap_or_else(|error| Err(broken(error)))
}

/// Whether standard output takes no more.
fn is_output_failure(failure: &Failure) -> bool {
    !matches!(failure.kind(), ErrorKind::Interrupted | ErrorKind::Terminated | ErrorKind::Usage)
}

/// Prints an answer; tells whether a filter failed on it, beyond a failure of the call.
fn print_response(ui: &Ui, answer: &BatchResponse) -> Result<bool> {
    match ui.print_json_line(&answer.text) {
        Err(failure) if ui.has_filter() && failure.kind() == ErrorKind::Failed => {
            ui.report_failure(&failure);
            Ok(!answer.is_failure)
        }
        printed => printed.map(|()| false),
    }
}

/// How one call among others ended.
pub struct FinishedCall {
    /// The server's result.
    pub result: Option<RawJson>,
    /// Why there is none, or what is wrong with it.
    pub failure: Option<Failure>,
    /// The request, in a dry run.
    pub request: Option<String>,
}

impl FinishedCall {
    /// One that has no result.
    #[must_use]
    pub fn from_failure(failure: Failure) -> Self {
        FinishedCall { result: None, failure: Some(failure), request: None }
    }

    /// Whether it failed, or the tool did.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.failure.is_some() || self.result.as_ref().is_some_and(|result| is_error_result(result))
    }
}

fn is_error_result(result: &RawValue) -> bool {
    member(result, "isError").is_some_and(|raw| raw.get() == "true")
}

/// Makes one call among others.
pub async fn run_concurrent_call(way: CallContext<'_>, given: &RawArguments, number: u64) -> FinishedCall {
    let CallContext { context, session, args, .. } = way;
    let questions = Arc::new(ServerRequestLog::default());
    let got = ToolCall::concurrent(way, given, &questions, number).run().await;
    if let Some(unclear) = session.take_unanswered().or_else(|| session.take_declined()) {
        context.ui.warn(&format!("{unclear}; the server did not say for which of the calls under way it asked"));
    }
    let (result, misfit) = match got {
        Ok(CallOutcome::Result(result, misfit)) => (result, misfit),
        Ok(CallOutcome::DryRun(request)) => {
            return FinishedCall { result: None, failure: None, request: Some(request) };
        }
        Ok(CallOutcome::Task(_)) => {
            return FinishedCall::from_failure(Failure::new(ErrorKind::Bug, "a call among others was detached"));
        }
        Err(failure) => return FinishedCall::from_failure(failure.server(&session.target().name)),
    };
    let failed = is_error_result(&result);
    // As for a single call: an answer that could not be given as told, a refusal, a promise that was not kept.
    let mut failure = questions.take_unanswered().or_else(|| questions.take_declined().filter(|_| failed));
    match misfit {
        Some(misfit) if !failed && args.strict => failure = failure.or(Some(misfit)),
        Some(misfit) if !failed => context.ui.warn(&misfit.to_string()),
        _ => {}
    }
    let failure = failure.map(|failure| failure.server(&session.target().name));
    FinishedCall { result: Some(result), failure, request: None }
}

/// One line of a batch, as far as it could be read.
struct BatchLine {
    /// As it was given, as JSON; else the number of the line.
    id: String,
    /// The tool's name, as JSON.
    tool: String,
}

impl BatchLine {
    /// Reads a line; what was read before a mistake is kept.
    fn parse(&mut self, line: &[u8], number: u64) -> Result<RawArguments> {
        let bad = |what: &str| Failure::new(ErrorKind::Usage, format!("line {number} {what}"));
        let text = std::str::from_utf8(line).map_err(|error| bad("is not UTF-8 text").caused_by(&error))?;
        let text = text.trim().trim_start_matches('\u{feff}');
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| bad("is not JSON").caused_by(&error))?;
        let Some(members) = members(raw) else {
            return Err(bad("is no JSON object").hint(r#"a line is {"tool":"NAME","arguments":{…},"id":…}"#));
        };
        let find = |name: &str| members.iter().rev().find(|(key, _)| key == name).map(|(_, raw)| raw.get());
        if let Some(id) = find("id") {
            id.clone_into(&mut self.id);
        }
        let tool = find("tool").and_then(parse_value).and_then(|value| value.as_str().map(ToOwned::to_owned));
        if let Some(tool) = &tool {
            self.tool = quote(tool);
        }
        if let Some((other, _)) = members.iter().find(|(key, _)| !LINE_MEMBERS.contains(&key.as_str())) {
            let near =
                did_you_mean(other, LINE_MEMBERS).unwrap_or_else(|| format!("a line has {}", LINE_MEMBERS.join(", ")));
            return Err(bad(&format!("has the member '{other}', which means nothing here")).hint(near));
        }
        let Some(tool) = tool else { return Err(bad("does not name its tool").hint(r#"write "tool":"NAME""#)) };
        let arguments = match find("arguments") {
            None | Some("null") => "{}",
            Some(object) if object.starts_with('{') => {
                // What cannot be read in it is a mistake of the line, and not of an option.
                object.parse::<Value>().map_err(|error| bad("has arguments that are not JSON").caused_by(&error))?;
                object
            }
            Some(_) => return Err(bad("has arguments that are no JSON object")),
        };
        Ok(RawArguments::from_object(&tool, arguments.to_owned()))
    }

    /// The line that answers it.
    fn response_json(&self, context: &Context, ended: &FinishedCall) -> String {
        let mut text = format!(r#"{{"id":{},"tool":{}"#, self.id, self.tool);
        if let Some(result) = &ended.result {
            text += &format!(r#","result":{}"#, result.get());
        }
        if let Some(failure) = &ended.failure {
            text += &format!(r#","error":{}"#, context.ui.redacted_failure_json(failure));
        }
        text + "}"
    }
}

/// The calls under way.
enum PendingCalls<F: Future> {
    Unordered(FuturesUnordered<Pin<Box<F>>>),
    Ordered(FuturesOrdered<Pin<Box<F>>>),
}

impl<F: Future> PendingCalls<F> {
    fn len(&self) -> usize {
        match self {
            PendingCalls::Unordered(all) => all.len(),
            PendingCalls::Ordered(all) => all.len(),
        }
    }

    fn push(&mut self, future: Pin<Box<F>>) {
        match self {
            PendingCalls::Unordered(all) => all.push(future),
            PendingCalls::Ordered(all) => all.push_back(future),
        }
    }

    /// The next that ends, or the next in turn.
    fn next(&mut self) -> impl Future<Output = Option<F::Output>> + '_ {
        match self {
            PendingCalls::Unordered(all) => Either::Left(all.next()),
            PendingCalls::Ordered(all) => Either::Right(all.next()),
        }
    }
}
