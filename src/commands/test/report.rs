//! What tests have shown: outcomes, and how they are printed.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::commands::context::{Context, Exit};
use crate::error::{ErrorKind, Failure, Result};
use crate::output::{Cell, Column, Style, Table};

/// The outcome of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Ok,
    /// It holds, but something is not as it should be.
    Warn,
    /// It does not hold.
    Fail,
    /// It was not run.
    Skip,
}

impl Outcome {
    /// The word in the text output: a failure stands out without colors.
    fn word(self) -> &'static str {
        match self {
            Outcome::Fail => "FAIL",
            other => other.as_str(),
        }
    }

    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Warn => "warn",
            Outcome::Fail => "fail",
            Outcome::Skip => "skip",
        }
    }

    fn style(self) -> Style {
        match self {
            Outcome::Ok => Style::GREEN,
            Outcome::Warn => Style::YELLOW,
            Outcome::Fail => Style::BOLD_RED,
            Outcome::Skip => Style::DIM,
        }
    }
}

/// What a check has found.
pub(super) enum Finding {
    /// It holds: what was seen, and more of it.
    Ok(String, Vec<String>),
    /// Something is not as it should be.
    Warn(String),
    /// It does not hold.
    Fail(Failure),
    /// It does not apply.
    Skip(String),
}

impl Finding {
    pub(super) fn ok(detail: impl Into<String>) -> Self {
        Finding::Ok(detail.into(), Vec::new())
    }

    /// It does not hold, for this reason; `hint` says how to mend it.
    pub(super) fn fail(message: impl Into<String>, hint: &str) -> Self {
        Finding::Fail(Failure::new(ErrorKind::Mismatch, message).hint(hint))
    }
}

/// One test and its outcome.
#[derive(Clone, Debug)]
pub struct TestResult {
    /// The name of the test.
    pub name: String,
    /// The outcome.
    pub outcome: Outcome,
    /// What was seen, or why it was skipped, on one line.
    pub detail: String,
    /// More of what was seen, one line each.
    pub seen: Vec<String>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// How long it took.
    pub time: Duration,
}

/// The tests of one target.
#[derive(Clone, Debug)]
pub struct TestReport {
    /// The target.
    pub target: String,
    /// The tests, in order.
    pub results: Vec<TestResult>,
}

impl TestReport {
    fn count(&self, outcome: Outcome) -> usize {
        self.results.iter().filter(|result| result.outcome == outcome).count()
    }
}

/// The exit code class of a failed test: that of a server that cannot be used, else that something is not as expected.
#[must_use]
pub fn exit_kind(failure: &Failure) -> ErrorKind {
    match failure.kind() {
        kind @ (ErrorKind::Auth | ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Protocol) => kind,
        _ => ErrorKind::Mismatch,
    }
}

/// Prints the checks of one target; `is_named` says whether the lines must name the target.
///
/// # Errors
/// When they cannot be printed.
pub fn print_checks(context: &Context, report: &TestReport, is_named: bool) -> Result<()> {
    let ui = &context.ui;
    if ui.is_json() {
        return report.results.iter().try_for_each(|result| {
            let mut line = json!({"target": report.target, "check": result.name});
            add_members(context, &mut line, result);
            ui.print_json_line(&line.to_string())
        });
    }
    let mut columns = vec![Column::new("OUTCOME").whole(), Column::new("CHECK").whole(), Column::new("SEEN")];
    let in_column = is_named && !ui.terminal().stdout_is_tty;
    if in_column {
        columns.insert(0, Column::new("TARGET"));
    } else if is_named {
        ui.print_heading(&report.target)?;
    }
    let mut table = Table::new(columns).without_heading();
    for result in &report.results {
        let detail = match &result.failure {
            Some(failure) => ui.without_secrets(failure).to_string(),
            None => result.detail.clone(),
        };
        let more = result.seen.iter().filter(|_| context.global.verbose > 0);
        let outcome = Cell::new(result.outcome.word()).style(result.outcome.style());
        let name = result.name.replace('_', " ");
        for (outcome, name, detail) in std::iter::once((outcome, name, detail))
            .chain(more.map(|line| (Cell::default(), String::new(), line.clone())))
        {
            let target = in_column.then(|| Cell::new(report.target.as_str()));
            table.add_row(target.into_iter().chain([outcome, Cell::new(name), Cell::new(detail)]));
        }
    }
    ui.print_table(&table)
}

/// Adds the members that every line of JSON has.
fn add_members(context: &Context, line: &mut Value, result: &TestResult) {
    let Value::Object(line) = line else { return };
    let mut add = |name: &str, value: Value| line.insert(name.to_owned(), value);
    add("outcome", result.outcome.as_str().into());
    add("detail", if result.detail.is_empty() { Value::Null } else { result.detail.as_str().into() });
    add("seen", result.seen.as_slice().into());
    add("seconds", ((result.time.as_secs_f64() * 1e6).round() / 1e6).into());
    if let Some(failure) = &result.failure {
        let error = serde_json::from_str(&context.ui.redacted_failure_json(failure));
        add("error", error.unwrap_or_else(|_| Value::Object(Map::new())));
    }
}

/// Reports how many tests failed, and how to mend the first. The exit code is that of the first failure.
#[must_use]
pub fn finish(context: &Context, reports: &[TestReport]) -> Exit {
    let sum = |outcome| reports.iter().map(|report| report.count(outcome)).sum::<usize>();
    let counted: Vec<String> = [Outcome::Ok, Outcome::Warn, Outcome::Fail, Outcome::Skip]
        .into_iter()
        .filter_map(|outcome| Some(sum(outcome)).filter(|count| *count > 0).map(|count| (count, outcome)))
        .map(|(count, outcome)| {
            let word = match outcome {
                Outcome::Ok => "ok",
                Outcome::Warn => "with a warning",
                Outcome::Fail => "failed",
                Outcome::Skip => "skipped",
            };
            format!("{count} {word}")
        })
        .collect();
    context.ui.note(&counted.join(", "));
    let failed = reports.iter().find_map(|report| {
        let failure = report.results.iter().find_map(|result| Some((result, result.failure.as_ref()?)))?;
        Some((report, failure))
    });
    let Some((report, (result, failure))) = failed else { return Exit::Done };
    let kind = exit_kind(failure);
    let mut reported = failure.clone().server(&report.target);
    let details = reported.details_mut();
    details.kind = kind;
    details.message = format!("{}: {}", result.name.replace('_', " "), details.message);
    context.ui.report_failure(&reported);
    Exit::Reported(kind)
}
