//! `call --batch`: many calls over one connection, a line of JSON in and a line of JSON out for each.
//!
//! Calls start as lines arrive, and results are printed as calls finish. An invalid line yields an error result.

use std::path::Path;
use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::future::Either;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::task::JoinHandle;

use crate::cli::CallArgs;
use crate::commands::call::concurrent::{DEFAULT_JOBS, FinishedCall, run_concurrent_call};
use crate::commands::call::input_stream::{self, LineStream};
use crate::commands::call::tool_call::{CallContext, RawArguments};
use crate::commands::context::{Context, Exit};
use crate::commands::tools::ToolCache;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::Ui;
use crate::output::json::quote;
use crate::protocol::json::{members, parse_value};
use crate::session::Session;
use crate::util::suggest::did_you_mean;

/// The members of a line.
const LINE_MEMBERS: [&str; 3] = ["tool", "arguments", "id"];

/// Runs a batch.
///
/// # Errors
/// When there is no target, the lines cannot be read, or a stop is asked for.
pub async fn run(context: &Context, args: &CallArgs, source: &Path) -> Result<Exit> {
    let words = args.target.iter().chain(&args.tool).chain(&args.args);
    let (target, rest) = context.resolve_target(words, &args.command, false, &args.target_options).await?;
    if let Some(word) = rest.first() {
        return Err(Failure::new(
            ErrorKind::Usage,
            format!("unexpected argument '{word}': with --batch each line names its tool"),
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
    /// Called with the number of finished calls.
    on_progress: T,
}

/// The result of a line.
struct BatchResponse {
    /// The printed JSON.
    text: String,
    is_failure: bool,
}

impl<T: Fn(usize)> Batch<'_, T> {
    async fn run(&self, mut lines: LineStream) -> Result<Exit> {
        let CallContext { context, args, .. } = self.call_context;
        let jobs = usize::from(args.jobs.unwrap_or(DEFAULT_JOBS));
        // The requests of a dry run are known at once.
        let mut running = if args.ordered || args.dry_run {
            PendingCalls::Ordered(FuturesOrdered::new())
        } else {
            PendingCalls::Unordered(FuturesUnordered::new())
        };
        let (mut number, mut done, mut failed) = (0, 0, 0);
        let mut answers: Vec<BatchResponse> = Vec::new();
        // A slow reader of stdout delays new calls, but neither the running ones nor their time limits.
        let mut printing: Option<JoinHandle<Result<usize>>> = None;
        let mut more = Ok(true);
        loop {
            let open = matches!(more, Ok(true));
            let room = running.len() + answers.len() < jobs;
            tokio::select! {
                biased;
                // The running calls see it too, and end.
                stop = context.interrupt.interrupted(), if open => more = Err(stop),
                printed = wait_printed(&mut printing), if printing.is_some() => {
                    printing = None;
                    match printed {
                        Ok(unfiltered) => failed += unfiltered,
                        Err(failure) => {
                            // Stdout is closed: the running calls are canceled, as by a signal.
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
                        answers.push(answer);
                    }
                }
                // Results that are ready together are printed together: those above come first.
                () = std::future::ready(()), if printing.is_none() && !answers.is_empty() => {
                    let ui = context.ui.clone();
                    let ready = std::mem::take(&mut answers);
                    printing = Some(tokio::task::spawn_blocking(move || print_responses(&ui, &ready)));
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

/// Waits until results are printed.
async fn wait_printed(printing: &mut Option<JoinHandle<Result<usize>>>) -> Result<usize> {
    let Some(printing) = printing else { return Ok(0) };
    let broken = |error| Failure::new(ErrorKind::Bug, "a result was not printed").caused_by(&error);
    printing.await.unwrap_or_else(|error| Err(broken(error)))
}

/// Whether standard output can no longer be written.
fn is_output_failure(failure: &Failure) -> bool {
    !matches!(failure.kind(), ErrorKind::Interrupted | ErrorKind::Terminated | ErrorKind::Usage)
}

/// Prints results. Returns for how many of the calls that did not fail the filter failed.
fn print_responses(ui: &Ui, answers: &[BatchResponse]) -> Result<usize> {
    if !ui.has_filter() {
        return ui.print_json_lines(answers.iter().map(|answer| &*answer.text)).map(|()| 0);
    }
    let mut unfiltered = 0;
    for answer in answers {
        match ui.print_json_line(&answer.text) {
            Err(failure) if failure.kind() == ErrorKind::Failed => {
                ui.report_failure(&failure);
                unfiltered += usize::from(!answer.is_failure);
            }
            printed => printed?,
        }
    }
    Ok(unfiltered)
}

/// One line of a batch, as far as it could be parsed.
struct BatchLine {
    /// The line's `id` as JSON; else the number of the line.
    id: String,
    /// The tool's name, as JSON.
    tool: String,
}

impl BatchLine {
    /// Parses a line; members before a mistake are kept.
    fn parse(&mut self, line: &[u8], number: u64) -> Result<RawArguments> {
        let bad = |what: &str| Failure::new(ErrorKind::Usage, format!("line {number} {what}"));
        let text = std::str::from_utf8(line).map_err(|error| bad("is not UTF-8 text").caused_by(&error))?;
        let text = text.trim().trim_start_matches('\u{feff}');
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| bad("is not JSON").caused_by(&error))?;
        let Some(members) = members(raw) else {
            return Err(bad("is not a JSON object").hint(r#"a line is {"tool":"NAME","arguments":{…},"id":…}"#));
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
            let near = did_you_mean(other, LINE_MEMBERS)
                .unwrap_or_else(|| format!("a line may have {}", LINE_MEMBERS.join(", ")));
            return Err(bad(&format!("has an unknown member '{other}'")).hint(near));
        }
        let Some(tool) = tool else { return Err(bad("has no tool").hint(r#"add "tool":"NAME""#)) };
        let arguments = match find("arguments") {
            None | Some("null") => "{}",
            Some(object) if object.starts_with('{') => {
                // Parsed here so that an error names the line, not an option.
                object.parse::<Value>().map_err(|error| bad("has invalid JSON in arguments").caused_by(&error))?;
                object
            }
            Some(_) => return Err(bad("has arguments that are not a JSON object")),
        };
        Ok(RawArguments::from_object(&tool, arguments.to_owned()))
    }

    /// The printed line for it.
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

/// The running calls.
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

    /// The next that finishes, or the next in input order.
    fn next(&mut self) -> impl Future<Output = Option<F::Output>> + '_ {
        match self {
            PendingCalls::Unordered(all) => Either::Left(all.next()),
            PendingCalls::Ordered(all) => Either::Right(all.next()),
        }
    }
}
