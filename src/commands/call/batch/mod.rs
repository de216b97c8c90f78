//! `call --batch`: many requests over one connection to each server, a line of JSON in and a line of JSON out for each.
//!
//! Requests start as lines arrive, and results are printed as they finish. An invalid line yields an error result.

mod circuit;
mod done_lines;
mod line;
mod servers;
mod waiting_lines;

use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::Either;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cli::CallArgs;
use crate::commands::call::batch::done_lines::DoneLines;
use crate::commands::call::batch::line::{BatchLine, LINE_HINT, LineAction};
use crate::commands::call::batch::servers::BatchServers;
use crate::commands::call::batch::waiting_lines::WaitingLines;
use crate::commands::call::concurrent::{DEFAULT_JOBS, FinishedCall};
use crate::commands::call::input_stream::{self, LineStream};
use crate::commands::context::{Context, Exit};
use crate::error::{ErrorKind, Failure, Result};
use crate::output::Ui;
use crate::target::Target;
use crate::util::count::counted;

/// Runs a batch.
///
/// # Errors
/// When the target cannot be resolved, the lines cannot be read, or a stop is asked for.
pub async fn run(context: &Context, args: &CallArgs, source: &Path) -> Result<Exit> {
    let target = resolve_target(context, args).await?;
    let done = match &args.skip_done {
        Some(path) => DoneLines::read(context, path).await?,
        None => DoneLines::default(),
    };
    let lines = LineStream::open(context, source, "calls, one JSON object a line,").await?;
    let label =
        target.as_ref().map_or_else(|| "running a batch".to_owned(), |target| format!("calling {}", target.name));
    let progress = context.progress(&label);
    let servers = BatchServers::new(context, args, target, input_stream::is_stdin(source))?;
    let batch = Batch {
        context,
        args,
        servers: &servers,
        on_progress: |done: usize| progress.set_message(&format!("{done} calls done")),
    };
    // What is typed must not mix with the progress line.
    let is_typed = input_stream::is_stdin(source) && context.ui.terminal().stdin_is_tty;
    let _quiet = is_typed.then(|| context.ui.pause_progress());
    let outcome = progress.show_during(batch.run(WaitingLines::new(lines, &servers, done))).await;
    servers.close().await;
    outcome.map_err(|failure| match servers.default_name() {
        Some(name) => failure.server(name),
        None => failure,
    })
}

/// The server of the lines that do not name one.
async fn resolve_target(context: &Context, args: &CallArgs) -> Result<Option<Target>> {
    if args.target.is_none() && args.command.is_empty() {
        return Ok(None);
    }
    let words = args.target.iter().chain(&args.tool).chain(&args.args);
    let (target, rest) = context.resolve_target(words, &args.command, false, &args.target_options).await?;
    match rest.first() {
        None => Ok(Some(target)),
        Some(word) => Err(Failure::new(
            ErrorKind::Usage,
            format!("unexpected argument '{word}': with --batch each line names its tool"),
        )
        .hint(LINE_HINT)),
    }
}

/// An answer of at least this many bytes keeps the place of its call until it is printed.
const LARGE_ANSWER: usize = 64 * 1024;

struct Batch<'a, T> {
    context: &'a Context,
    args: &'a CallArgs,
    servers: &'a BatchServers<'a>,
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
    async fn run(&self, mut lines: WaitingLines<'_>) -> Result<Exit> {
        let Batch { context, args, .. } = *self;
        let jobs = usize::from(args.jobs.unwrap_or(DEFAULT_JOBS));
        // The requests of a dry run are known at once.
        let mut running = if args.ordered || args.dry_run {
            PendingCalls::Ordered(FuturesOrdered::new())
        } else {
            PendingCalls::Unordered(FuturesUnordered::new())
        };
        let (mut done, mut failed) = (0, 0);
        // With --rate, when the next line may start.
        let mut due = Instant::now();
        let mut answers: Vec<BatchResponse> = Vec::new();
        // A slow reader of stdout delays new calls, but neither the running ones nor their time limits.
        let mut printing: Option<JoinHandle<Result<usize>>> = None;
        let mut more = Ok(true);
        // Not part of the task's budget (tokio::task::coop): once that is used up, each poll costs a system call.
        let interrupted = tokio::task::unconstrained(context.interrupt.interrupted());
        tokio::pin!(interrupted);
        loop {
            let open = matches!(more, Ok(true));
            let prints = printing.is_none() && !answers.is_empty();
            // A slow reader of stdout delays new calls, and so do large results: not many of them must be in memory.
            let held = answers.iter().filter(|answer| printing.is_some() || answer.text.len() >= LARGE_ANSWER).count();
            let free = jobs.saturating_sub(running.len() + held);
            let may_start = !lines.is_empty() && free > 0;
            let is_early = args.rate.is_some() && Instant::now() < due;
            let printed = tokio::select! {
                biased;
                // The running calls see it too, and end.
                stop = &mut interrupted, if open || !lines.is_empty() => {
                    lines.discard();
                    more = more.and(Err(stop));
                    None
                }
                printed = wait_printed(&mut printing), if printing.is_some() => {
                    printing = None;
                    Some(printed)
                }
                answer = running.next(), if running.len() > 0 => {
                    let Some(answer): Option<BatchResponse> = answer else { continue };
                    done += 1;
                    failed += usize::from(answer.is_failure);
                    (self.on_progress)(done);
                    if !more.as_ref().is_err_and(is_output_failure) {
                        answers.push(answer);
                    }
                    None
                }
                () = async { tokio::time::sleep_until(due).await }, if may_start && is_early => None,
                () = std::future::ready(()), if may_start && !is_early => {
                    if let Some(rate) = args.rate {
                        due = due.max(Instant::now()) + Duration::from_secs_f64(1.0 / rate);
                    }
                    let count = if args.rate.is_some() { 1 } else { free };
                    let started = std::iter::from_fn(|| lines.take()).take(count);
                    started.for_each(|(line, action)| running.push(Box::pin(self.run_line(line, action))));
                    None
                }
                // Results that are ready together are printed together, after the requests above have been written.
                () = tokio::task::yield_now(), if prints => {
                    let printed = print_at_once(&context.ui, &mut answers);
                    if printed.is_ok() && !answers.is_empty() {
                        let (ui, ready) = (context.ui.clone(), std::mem::take(&mut answers));
                        printing = Some(tokio::task::spawn_blocking(move || print_responses(&ui, ready)));
                    }
                    Some(printed.map(|()| 0))
                }
                read = lines.read(jobs), if open && !prints && !lines.is_full(jobs) => {
                    more = read;
                    None
                }
                else => break,
            };
            match printed {
                None => {}
                Some(Ok(unfiltered)) => failed += unfiltered,
                Some(Err(failure)) => {
                    // Stdout is closed: the running calls are canceled, as by a signal.
                    context.interrupt.raise(ErrorKind::Interrupted);
                    more = more.and(Err(failure));
                    answers.clear();
                    lines.discard();
                }
            }
        }
        more?;
        self.conclude(done, failed, lines.skipped)
    }

    /// Reports how many lines were skipped, and how many calls failed.
    fn conclude(&self, done: usize, failed: usize, skipped: usize) -> Result<Exit> {
        let context = self.context;
        if let Some(stop) = context.interrupt.raised_failure() {
            return Err(stop);
        }
        if skipped > 0 {
            context.ui.note(&format!("{} skipped: done before", counted(skipped, "line")));
        }
        if failed == 0 {
            return Ok(Exit::Done);
        }
        context.ui.note(&format!("{failed} of {done} calls failed"));
        Ok(Exit::Reported(ErrorKind::Failed))
    }

    async fn run_line(&self, line: BatchLine, action: Result<LineAction>) -> BatchResponse {
        let ended = match action {
            Ok(action) => self.servers.run(&line, action).await,
            Err(failure) => FinishedCall::from_failure(failure),
        };
        let is_failure = ended.is_failure();
        let text = match ended.request {
            Some(request) => request,
            None => line.response_json(self.context, ended),
        };
        BatchResponse { text, is_failure }
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
    !(failure.kind().is_interrupt() || failure.kind() == ErrorKind::Usage)
}

/// Prints and removes the first results, as long as standard output takes them at once: to hand them over to another
/// thread takes several times as long.
fn print_at_once(ui: &Ui, answers: &mut Vec<BatchResponse>) -> Result<()> {
    while !ui.has_filter() && !answers.is_empty() {
        let (mut count, mut length) = (0, 0);
        for answer in answers.iter() {
            if count > 0 && length + answer.text.len() >= Ui::MAX_AT_ONCE {
                break;
            }
            count += 1;
            length += answer.text.len() + 1;
        }
        if !ui.can_print_at_once(length) {
            break;
        }
        ui.print_json_lines(answers.drain(..count).as_slice().iter().map(|answer| &*answer.text))?;
    }
    Ok(())
}

/// Prints results. Returns for how many of the calls that did not fail the filter failed.
fn print_responses(ui: &Ui, answers: Vec<BatchResponse>) -> Result<usize> {
    if !ui.has_filter() {
        return ui.print_json_lines(answers.iter().map(|answer| &*answer.text)).map(|()| 0);
    }
    let mut unfiltered = 0;
    for answer in answers {
        match ui.print_json_line(answer.text) {
            Err(failure) if failure.kind() == ErrorKind::Failed => {
                ui.report_failure(&failure);
                unfiltered += usize::from(!answer.is_failure);
            }
            printed => printed?,
        }
    }
    Ok(unfiltered)
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
