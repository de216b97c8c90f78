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

use super::calling::{Calling, Given, Got, Way};
use super::source::{self, Lines};
use super::tools::Catalogue;
use super::{Context, Exit};
use crate::cli::CallArgs;
use crate::error::{Class, Failure, Result};
use crate::near::did_you_mean;
use crate::output::Ui;
use crate::output::json::quote;
use crate::protocol::rpc::{Raw, parse_value};
use crate::protocol::views::{member, members};
use crate::session::Session;
use crate::session::questions::Questions;
use crate::target::Resolved;

/// How many calls are under way at once, unless told otherwise.
pub const JOBS: u16 = 8;

/// The members of a line.
const MEMBERS: [&str; 3] = ["tool", "arguments", "id"];

/// Runs a batch.
///
/// # Errors
/// When there is no target, the lines cannot be read, or a stop is asked for.
pub async fn run(context: &Context, args: &CallArgs, source: &Path) -> Result<Exit> {
    let words = args.target.iter().chain(&args.tool).chain(&args.args).cloned().collect();
    let Resolved { target, rest } = context.target(words, &args.command, false, &args.reach).await?;
    if let Some(word) = rest.first() {
        return Err(Failure::new(
            Class::Usage,
            format!("unexpected word '{word}': with --batch each line names its tool"),
        )
        .hint(r#"a line is {"tool":"NAME","arguments":{…},"id":…}"#));
    }
    let lines = Lines::open(context, source).await?;
    let progress = context.progress(&format!("calling {}", target.name));
    let session = context.session_for_many(target, source::is_stdin(source))?;
    let operation = async |session: &Session| {
        let catalogue = Catalogue::default();
        let way = Way { context, session, catalogue: &catalogue, args, target: args.target.as_deref() };
        let batch = Batch { way, told: |done: usize| progress.message(&format!("{done} calls done")) };
        progress.during(batch.run(lines)).await
    };
    context.with(session, operation).await
}

struct Batch<'a, T> {
    way: Way<'a>,
    /// Is told how many calls have ended.
    told: T,
}

/// A line that was answered.
struct Answer {
    /// What is printed.
    text: String,
    failed: bool,
}

impl<T: Fn(usize)> Batch<'_, T> {
    async fn run(&self, mut lines: Lines) -> Result<Exit> {
        let Way { context, args, .. } = self.way;
        let jobs = usize::from(args.jobs.unwrap_or(JOBS));
        // The requests of a dry run have nothing to wait for.
        let mut running = if args.ordered || args.dry_run {
            Running::Ordered(FuturesOrdered::new())
        } else {
            Running::Any(FuturesUnordered::new())
        };
        let (mut number, mut done, mut failed) = (0, 0, 0);
        let mut answers: VecDeque<Answer> = VecDeque::new();
        // A reader that takes its time holds up new calls, but neither those under way nor their clocks.
        let mut printing: Option<JoinHandle<Result<bool>>> = None;
        let mut more = Ok(true);
        loop {
            let open = matches!(more, Ok(true));
            if printing.is_none()
                && let Some(answer) = answers.pop_front()
            {
                let ui = context.ui.clone();
                printing = Some(tokio::task::spawn_blocking(move || print(&ui, &answer)));
            }
            let room = running.len() + answers.len() < jobs;
            tokio::select! {
                biased;
                // Those under way see it too, and end.
                stop = context.interrupt.wait(), if open => more = Err(stop),
                printed = ended(&mut printing), if printing.is_some() => {
                    printing = None;
                    match printed {
                        Ok(unfiltered) => failed += usize::from(unfiltered),
                        Err(failure) => {
                            // Nobody reads any more: what is under way is called off, as by a signal.
                            context.interrupt.raise(Class::Interrupted);
                            more = more.and(Err(failure));
                            answers.clear();
                        }
                    }
                }
                answer = running.next(), if running.len() > 0 => {
                    let Some(answer): Option<Answer> = answer else { continue };
                    done += 1;
                    failed += usize::from(answer.failed);
                    (self.told)(done);
                    if !more.as_ref().is_err_and(unheard) {
                        answers.push_back(answer);
                    }
                }
                line = lines.next(), if open && room => match line {
                    None => more = Ok(false),
                    Some(Err(failure)) => more = Err(failure),
                    Some(Ok(line)) => {
                        number += 1;
                        if !line.trim_ascii().is_empty() {
                            running.push(Box::pin(self.line(number, line)));
                        }
                    }
                },
                else => break,
            }
        }
        more?;
        if let Some(stop) = context.interrupt.raised() {
            return Err(stop);
        }
        if failed == 0 {
            return Ok(Exit::Done);
        }
        context.ui.note(&format!("{failed} of {done} calls failed"));
        Ok(Exit::Said(Class::Failed))
    }

    async fn line(&self, number: u64, line: Vec<u8>) -> Answer {
        let mut read = Line { id: number.to_string(), tool: "null".to_owned() };
        let ended = match read.read(&line, number) {
            Ok(given) => once(self.way, &given, number).await,
            Err(failure) => Ended::of(failure),
        };
        let failed = ended.failed();
        let text = match ended.request {
            Some(request) => request,
            None => read.answer(self.way.context, &ended),
        };
        Answer { text, failed }
    }
}

/// Waits until an answer is printed.
async fn ended(printing: &mut Option<JoinHandle<Result<bool>>>) -> Result<bool> {
    let Some(printing) = printing else { return Ok(false) };
    let broken = |error| Failure::new(Class::Bug, "an answer was not printed").source(&error);
    printing.await.unwrap_or_else(|error| Err(broken(error)))
}

/// Whether standard output takes no more.
fn unheard(failure: &Failure) -> bool {
    !matches!(failure.class(), Class::Interrupted | Class::Terminated | Class::Usage)
}

/// Prints an answer; tells whether a filter failed on it, beyond a failure of the call.
fn print(ui: &Ui, answer: &Answer) -> Result<bool> {
    match ui.json_line(&answer.text) {
        Err(failure) if ui.filters() && failure.class() == Class::Failed => {
            ui.failure(&failure);
            Ok(!answer.failed)
        }
        printed => printed.map(|()| false),
    }
}

/// How one call among others ended.
pub struct Ended {
    /// The server's result.
    pub result: Option<Raw>,
    /// Why there is none, or what is wrong with it.
    pub failure: Option<Failure>,
    /// The request, in a dry run.
    pub request: Option<String>,
}

impl Ended {
    /// One that has no result.
    #[must_use]
    pub fn of(failure: Failure) -> Self {
        Ended { result: None, failure: Some(failure), request: None }
    }

    /// Whether it failed, or the tool did.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failure.is_some() || self.result.as_ref().is_some_and(|result| is_error(result))
    }
}

fn is_error(result: &RawValue) -> bool {
    member(result, "isError").is_some_and(|raw| raw.get() == "true")
}

/// Makes one call among others.
pub async fn once(way: Way<'_>, given: &Given, number: u64) -> Ended {
    let Way { context, session, args, .. } = way;
    let questions = Arc::new(Questions::default());
    let got = Calling::among(way, given, &questions, number).result().await;
    if let Some(unclear) = session.unanswered().or_else(|| session.declined()) {
        context.ui.warn(&format!("{unclear}; the server did not say for which of the calls under way it asked"));
    }
    let (result, misfit) = match got {
        Ok(Got::Result(result, misfit)) => (result, misfit),
        Ok(Got::Request(request)) => return Ended { result: None, failure: None, request: Some(request) },
        Ok(Got::Task(_)) => return Ended::of(Failure::new(Class::Bug, "a call among others was detached")),
        Err(failure) => return Ended::of(failure.server(&session.target().name)),
    };
    let failed = is_error(&result);
    // As for a single call: an answer that could not be given as told, a refusal, a promise that was not kept.
    let mut failure = questions.unanswered().or_else(|| questions.declined().filter(|_| failed));
    match misfit {
        Some(misfit) if !failed && args.strict => failure = failure.or(Some(misfit)),
        Some(misfit) if !failed => context.ui.warn(&misfit.to_string()),
        _ => {}
    }
    let failure = failure.map(|failure| failure.server(&session.target().name));
    Ended { result: Some(result), failure, request: None }
}

/// One line of a batch, as far as it could be read.
struct Line {
    /// As it was given, as JSON; else the number of the line.
    id: String,
    /// The tool's name, as JSON.
    tool: String,
}

impl Line {
    /// Reads a line; what was read before a mistake is kept.
    fn read(&mut self, line: &[u8], number: u64) -> Result<Given> {
        let bad = |what: &str| Failure::new(Class::Usage, format!("line {number} {what}"));
        let text = std::str::from_utf8(line).map_err(|error| bad("is not UTF-8 text").source(&error))?;
        let text = text.trim().trim_start_matches('\u{feff}');
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| bad("is not JSON").source(&error))?;
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
        if let Some((other, _)) = members.iter().find(|(key, _)| !MEMBERS.contains(&key.as_str())) {
            let near = did_you_mean(other, MEMBERS).unwrap_or_else(|| format!("a line has {}", MEMBERS.join(", ")));
            return Err(bad(&format!("has the member '{other}', which means nothing here")).hint(near));
        }
        let Some(tool) = tool else { return Err(bad("does not name its tool").hint(r#"write "tool":"NAME""#)) };
        let arguments = match find("arguments") {
            None | Some("null") => "{}",
            Some(object) if object.starts_with('{') => {
                // What cannot be read in it is a mistake of the line, and not of an option.
                object.parse::<Value>().map_err(|error| bad("has arguments that are not JSON").source(&error))?;
                object
            }
            Some(_) => return Err(bad("has arguments that are no JSON object")),
        };
        Ok(Given::whole(&tool, arguments.to_owned()))
    }

    /// The line that answers it.
    fn answer(&self, context: &Context, ended: &Ended) -> String {
        let mut text = format!(r#"{{"id":{},"tool":{}"#, self.id, self.tool);
        if let Some(result) = &ended.result {
            text += &format!(r#","result":{}"#, result.get());
        }
        if let Some(failure) = &ended.failure {
            text += &format!(r#","error":{}"#, context.ui.failure_object(failure));
        }
        text + "}"
    }
}

/// The calls under way.
enum Running<F: Future> {
    Any(FuturesUnordered<Pin<Box<F>>>),
    Ordered(FuturesOrdered<Pin<Box<F>>>),
}

impl<F: Future> Running<F> {
    fn len(&self) -> usize {
        match self {
            Running::Any(all) => all.len(),
            Running::Ordered(all) => all.len(),
        }
    }

    fn push(&mut self, future: Pin<Box<F>>) {
        match self {
            Running::Any(all) => all.push(future),
            Running::Ordered(all) => all.push_back(future),
        }
    }

    /// The next that ends, or the next in turn.
    fn next(&mut self) -> impl Future<Output = Option<F::Output>> + '_ {
        match self {
            Running::Any(all) => Either::Left(all.next()),
            Running::Ordered(all) => Either::Right(all.next()),
        }
    }
}
