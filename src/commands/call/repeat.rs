//! `call --repeat`: the same call many times, and how long the responses took.
//!
//! With `--rate`, the time of a call counts from when it was due, not from when it was sent: a server that stalls
//! delays the calls that follow, and their users would have waited as well.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::cli::CallArgs;
use crate::commands::call::concurrent::{FinishedCall, RepeatedCall, repeat_call};
use crate::commands::call::latency::{CallSample, histogram, plot};
use crate::commands::call::threshold::{Metric, Threshold};
use crate::commands::call::tool_call::{CallContext, RawArguments, ToolCall};
use crate::commands::context::{Context, Exit};
use crate::commands::expect::check_expression;
use crate::commands::html;
use crate::commands::tool_result::reported_error;
use crate::commands::tools::ToolCache;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::details::key_value_table;
use crate::output::document::JsonDocument;
use crate::output::save::before_writing;
use crate::protocol::rpc::RawJson;
use crate::session::Session;
use crate::util::count::counted;

/// How many calls are under way at once without `--jobs`.
const DEFAULT_REPEAT_JOBS: u16 = 1;

/// How late a timer may be: up to a millisecond, and then the process has to be scheduled.
const TIMER_RESOLUTION: Duration = Duration::from_millis(2);

/// The longest result that others are compared with, in bytes.
const MAX_COMPARED_RESULT: usize = 64 << 10;

/// What came of all calls.
#[derive(Debug, Default)]
struct Measurement {
    /// The time of each call that succeeded or failed, sorted.
    times: Vec<Duration>,
    /// How many calls failed, by class.
    errors: BTreeMap<&'static str, usize>,
    first_failure: Option<Failure>,
    elapsed: Duration,
    /// Every call, if there will be a page.
    samples: Vec<CallSample>,
    /// Whether a result violated the output schema of the tool: all results may, so the user is warned once.
    has_misfit: bool,
}

/// Makes the calls, and prints what came of them.
///
/// # Errors
/// When the tool cannot be called at all, or mcpipe is interrupted: then what was measured so far is printed first.
pub(super) async fn run(
    context: &Context,
    args: &CallArgs,
    session: &Session,
    raw_arguments: &RawArguments,
    on_progress: impl Fn(usize),
) -> Result<Exit> {
    let thresholds: Vec<Threshold> = args.threshold.iter().map(|text| Threshold::parse(text)).collect::<Result<_>>()?;
    let tool_cache = ToolCache::default();
    let call_context = CallContext { context, session, tool_cache: &tool_cache, args, target: args.target.as_deref() };
    // All calls are the same: what comes before sending is done once, and is not part of any call.
    let ready = ToolCall::concurrent(call_context, raw_arguments, &Arc::default(), 1).prepare().await?;
    let start = Instant::now();
    let jobs = usize::from(args.jobs.unwrap_or(DEFAULT_REPEAT_JOBS));
    let count = args.repeat.unwrap_or(1);
    // `--rate` has a lower limit, so the sum cannot overflow.
    let due_time = |number: u32, rate: f64| start + Duration::from_secs_f64(f64::from(number) / rate);
    // The last result without a fault: most servers respond to the same call with the same result.
    let good_result: RefCell<Option<RawJson>> = RefCell::default();
    let is_known = |result: &RawJson| good_result.borrow().as_ref().is_some_and(|good| good.get() == result.get());
    let one = async |due: Instant, counts_from: Instant| {
        let outcome = repeat_call(call_context, raw_arguments, &ready, is_known).await;
        (due.duration_since(start), counts_from.elapsed(), outcome)
    };
    let mut measured = Measurement::default();
    let mut running = FuturesUnordered::new();
    let (mut next, mut awaited, mut interrupted) = (0, None, None);
    let mut stop = pin!(context.interrupt.interrupted());
    let mut timer = pin!(tokio::time::sleep_until(start));
    // While no timer is set, tokio writes to a pipe of its own for each one that is set, such as the deadline of each
    // call.
    let mut pending_timer = tokio::time::interval(Duration::from_millis(100));
    loop {
        let now = Instant::now();
        let mut next_due = None;
        while next < count && running.len() < jobs {
            let due = args.rate.map_or(now, |rate| due_time(next, rate));
            if due > now {
                next_due = Some(due);
                break;
            }
            running.push(one(due, counts_from(due, awaited, now)));
            next += 1;
        }
        if running.is_empty() && next_due.is_none() {
            break;
        }
        if let Some(due) = next_due.filter(|_| next_due != awaited) {
            timer.as_mut().reset(due);
        }
        awaited = next_due;
        tokio::select! {
            biased;
            // The calls under way are canceled, which is awaited; they are not part of the result.
            stop = &mut stop, if interrupted.is_none() => (interrupted, next) = (Some(stop), count),
            Some((due, time, outcome)) = running.next() => {
                if interrupted.is_some() { continue; }
                measured.times.push(time);
                let mut is_failure = false;
                if let RepeatedCall::Finished(mut finished, misfit) = outcome {
                    is_failure = measured.count_failure(&mut finished, &args.expect);
                    match misfit {
                        Some(misfit) if !std::mem::replace(&mut measured.has_misfit, true) => {
                            context.ui.warn(&misfit.to_string());
                        }
                        None if !is_failure => {
                            *good_result.borrow_mut() =
                                finished.result.filter(|result| result.get().len() <= MAX_COMPARED_RESULT);
                        }
                        _ => {}
                    }
                }
                if args.html.is_some() {
                    measured.samples.push(CallSample { due, time, is_failure });
                }
                on_progress(measured.times.len());
            }
            () = &mut timer, if next_due.is_some() => {}
            _ = pending_timer.tick() => {}
        }
    }
    measured.elapsed = start.elapsed();
    measured.times.sort_unstable();
    if interrupted.is_none() || !measured.times.is_empty() {
        measured.write(context, args, session, &raw_arguments.tool)?;
    }
    match interrupted {
        Some(stop) => Err(stop),
        None => measured.check_thresholds(context, session, &thresholds),
    }
}

/// When the time of a call begins. `awaited` is the call that the timer was set for, if another could be started at
/// once: how late the timer is does not count, since the server has no part in it.
fn counts_from(due: Instant, awaited: Option<Instant>, now: Instant) -> Instant {
    let is_timed = awaited.is_some_and(|awaited| due >= awaited) && now.duration_since(due) <= TIMER_RESOLUTION;
    if is_timed { now } else { due }
}

impl Measurement {
    /// Whether a call failed, which is counted.
    fn count_failure(&mut self, finished: &mut FinishedCall, expectations: &[String]) -> bool {
        let reported = finished.result.as_ref().filter(|_| finished.is_error).and_then(reported_error);
        let mut unmet = || {
            let result = finished.result.as_ref().filter(|_| !expectations.is_empty())?;
            // A large result is not compared with the next one, and its memory becomes that of the value.
            let mut result = match result.get().len() {
                0..=MAX_COMPARED_RESULT => JsonDocument::from(&**result),
                _ => JsonDocument::from(finished.result.take()?),
            };
            expectations.iter().find_map(|expression| {
                let seen = check_expression(expression, &mut result)?;
                let failure = Failure::new(ErrorKind::Mismatch, format!("not true: {expression}"));
                Some(seen.into_iter().fold(failure, Failure::cause))
            })
        };
        let failure = match finished.failure.take().or(reported) {
            Some(failure) => failure,
            None => match unmet() {
                Some(failure) => failure,
                None => return false,
            },
        };
        *self.errors.entry(failure.kind().as_str()).or_default() += 1;
        self.first_failure.get_or_insert(failure);
        true
    }

    fn error_count(&self) -> usize {
        self.errors.values().sum()
    }

    /// The time that this part of the calls did not exceed (nearest rank).
    fn percentile(&self, part: f64) -> Duration {
        // A product that is a whole number may come out a little greater: 99.9 % of 1,000 are 999.
        let rank = (part * self.times.len() as f64 / 100.0 * (1.0 - 4.0 * f64::EPSILON)).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank is a small natural number")]
        let index = (rank as usize).clamp(1, self.times.len().max(1)) - 1;
        self.times.get(index).copied().unwrap_or_default()
    }

    /// The value of a metric: seconds, calls per second, or the number or part of the calls that failed.
    fn value(&self, metric: Metric) -> f64 {
        let count = self.times.len() as f64;
        match metric {
            Metric::Percentile(part) => self.percentile(part).as_secs_f64(),
            Metric::Max => self.percentile(100.0).as_secs_f64(),
            Metric::Mean => self.times.iter().sum::<Duration>().as_secs_f64() / count.max(1.0),
            Metric::Errors => self.error_count() as f64,
            // In this order, the quotient of two whole numbers is exactly the number that a limit is read as.
            Metric::ErrorPercent => self.error_count() as f64 * 100.0 / count.max(1.0),
            Metric::Rate => count / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
        }
    }

    /// The latencies that are shown, in milliseconds.
    fn latencies(&self) -> [(&'static str, f64); 6] {
        let millis = |metric| self.value(metric) * 1000.0;
        [
            ("mean", millis(Metric::Mean)),
            ("p50", millis(Metric::Percentile(50.0))),
            ("p90", millis(Metric::Percentile(90.0))),
            ("p95", millis(Metric::Percentile(95.0))),
            ("p99", millis(Metric::Percentile(99.0))),
            ("max", millis(Metric::Max)),
        ]
    }

    /// Prints what was measured, and writes the page.
    fn write(&self, context: &Context, args: &CallArgs, session: &Session, tool: &str) -> Result<()> {
        self.print(context)?;
        let Some(path) = &args.html else { return Ok(()) };
        let title = format!("{}: {tool}", session.target().name);
        before_writing(path);
        std::fs::write(path, self.html_page(context, &title)).map_err(|error| {
            Failure::new(ErrorKind::Output, format!("cannot write {}", path.display())).caused_by(&error)
        })
    }

    fn print(&self, context: &Context) -> Result<()> {
        let latencies = self.latencies();
        if context.ui.is_json() {
            let rounded = |value: f64| Value::from((value * 1000.0).round() / 1000.0);
            let latencies: Map<String, Value> =
                latencies.iter().map(|(name, value)| ((*name).to_owned(), rounded(*value))).collect();
            return context.ui.print_json_value(&json!({
                "calls": self.times.len(),
                "errors": self.errors,
                "seconds": rounded(self.elapsed.as_secs_f64()),
                "calls_per_second": rounded(self.value(Metric::Rate)),
                "latency_ms": latencies,
            }));
        }
        let rows = self.rows();
        context.ui.print_table(&key_value_table(rows.iter().map(|(name, value)| (*name, value.as_str()))))?;
        if context.ui.terminal().stderr_is_tty {
            histogram(&self.times).iter().for_each(|row| context.ui.note(row));
        }
        Ok(())
    }

    /// A page with the same, and each call as a point.
    fn html_page(&self, context: &Context, title: &str) -> String {
        let mut body = String::from("<table>\n");
        for (name, value) in self.rows() {
            body += &format!("<tr><td>{name}</td><td>{}</td></tr>\n", html::text(&value));
        }
        body += "</table>\n";
        body += &plot(&self.samples);
        if let Some(failure) = &self.first_failure {
            let failure = context.ui.without_secrets(failure);
            body += &format!("<p>The first call that failed:</p>\n<pre>{}</pre>\n", html::text(&failure.to_string()));
        }
        html::page(&context.ui.redacted(title), &body)
    }

    /// What is shown, line by line.
    fn rows(&self) -> Vec<(&'static str, String)> {
        let errors = match self.error_count() {
            0 => "0".to_owned(),
            count => {
                let classes: Vec<String> =
                    self.errors.iter().map(|(class, count)| format!("{count} {class}")).collect();
                format!("{count} ({})", classes.join(", "))
            }
        };
        let mut rows = vec![
            ("calls", self.times.len().to_string()),
            ("errors", errors),
            ("time", format!("{:.3} s", self.elapsed.as_secs_f64())),
            ("rate", format!("{:.1}/s", self.value(Metric::Rate))),
        ];
        rows.extend(self.latencies().map(|(name, value)| (name, format!("{value:.3} ms"))));
        rows
    }

    /// Whether the thresholds hold. Errors of calls are failures themselves, unless a threshold is about them.
    fn check_thresholds(self, context: &Context, session: &Session, thresholds: &[Threshold]) -> Result<Exit> {
        let crossed: Vec<String> =
            thresholds.iter().filter_map(|limit| limit.violation(self.value(limit.metric()))).collect();
        if !crossed.is_empty() {
            let message = format!("{} crossed", counted(crossed.len(), "threshold"));
            let failure = Failure::new(ErrorKind::Mismatch, message).server(&session.target().name);
            return Err(crossed.into_iter().fold(failure, Failure::cause));
        }
        let Some(first) = self.first_failure.as_ref().filter(|_| !thresholds.iter().any(Threshold::is_about_errors))
        else {
            return Ok(Exit::Done);
        };
        let is_mismatch = self.errors.len() == 1 && first.kind() == ErrorKind::Mismatch;
        let kind = if is_mismatch { ErrorKind::Mismatch } else { ErrorKind::Failed };
        let message = format!("{} of {} calls failed", self.error_count(), self.times.len());
        let failure = Failure::new(kind, message).cause(format!("first: {first}")).server(&session.target().name);
        context.ui.report_failure(&failure);
        Ok(Exit::Reported(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_has_the_nearest_rank() {
        let millis = |count: u64| Measurement {
            times: (1..=count).map(Duration::from_millis).collect(),
            ..Measurement::default()
        };
        for count in (1..=100).chain([999, 1000, 1001, 10_000]) {
            let measured = millis(count);
            for thousandths in 0..=1000 {
                let part: f64 = format!("{}.{}", thousandths / 10, thousandths % 10).parse().unwrap_or(f64::NAN);
                let rank = (thousandths * count).div_ceil(1000).max(1);
                assert_eq!(measured.percentile(part), Duration::from_millis(rank), "p{part} of {count}");
            }
        }
        assert_eq!(millis(0).percentile(99.9), Duration::ZERO);
    }

    #[test]
    fn a_percentage_of_errors_is_the_number_of_a_limit() {
        for failed in 0..=1000_u32 {
            let measured = Measurement {
                times: vec![Duration::ZERO; 1000],
                errors: BTreeMap::from([("failed", failed as usize)]),
                ..Measurement::default()
            };
            let limit = format!("errors<={}.{}%", failed / 10, failed % 10);
            let violation = Threshold::parse(&limit).map(|limit| limit.violation(measured.value(limit.metric())));
            assert_eq!(violation.ok(), Some(None), "{limit}");
        }
    }

    #[test]
    fn the_lateness_of_the_timer_does_not_count_and_a_stall_does() {
        let start = Instant::now();
        let at = |micros: u64| start + Duration::from_micros(micros);
        // The timer was set for the call at 200, and came at 1,100: all calls up to then start together.
        for due in [200, 400, 1000] {
            assert_eq!(counts_from(at(due), Some(at(200)), at(1100)), at(1100));
        }
        // No call could be started when this one was due.
        assert_eq!(counts_from(at(200), None, at(1100)), at(200));
        assert_eq!(counts_from(at(200), Some(at(400)), at(1100)), at(200));
        // More than a timer is late.
        assert_eq!(counts_from(at(200), Some(at(200)), at(2300)), at(200));
    }
}
