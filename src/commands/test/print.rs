//! How the outcomes of tests are printed: lines for people, NDJSON for programs, and the end of a run.

use serde_json::{Map, Value, json};

use crate::commands::context::{Context, Exit};
use crate::commands::test::report::{Outcome, TestReport, TestResult, advice_lines, exit_kind};
use crate::error::{ErrorKind, Failure, Result};
use crate::output::{Cell, Column, Table};
use crate::util::count::counted;

/// Prints the tests of one report. At a terminal it has a heading if there are several (`is_one_of_several`).
///
/// # Errors
/// When they cannot be printed.
pub(super) fn print_report(context: &Context, report: &TestReport, is_one_of_several: bool) -> Result<()> {
    let ui = &context.ui;
    if ui.is_json() {
        return report.results.iter().try_for_each(|result| ui.print_json_line(json_line(context, report, result)));
    }
    if is_one_of_several && ui.terminal().stdout_is_tty {
        ui.print_heading(&report.title())?;
    }
    match &report.file {
        Some(_) => print_tests(context, report),
        None => print_checks(context, report),
    }
}

fn print_checks(context: &Context, report: &TestReport) -> Result<()> {
    let ui = &context.ui;
    let is_piped = !ui.terminal().stdout_is_tty;
    let mut columns =
        vec![Column::new("OUTCOME").on_one_line(), Column::new("CHECK").on_one_line(), Column::new("SEEN")];
    if is_piped {
        columns.insert(0, Column::new("TARGET"));
    }
    let mut table = Table::new(columns).without_heading();
    for result in &report.results {
        let detail = match &result.failure {
            Some(failure) => ui.without_secrets(failure).to_string(),
            None => result.detail.clone(),
        };
        let more = result.seen.iter().filter(|_| context.global.verbose > 0);
        let outcome = Cell::new(result.outcome.word()).style(result.outcome.style());
        let name = report.shown_name(result);
        for (outcome, name, detail) in std::iter::once((outcome, name, detail))
            .chain(more.map(|line| (Cell::default(), String::new(), line.clone())))
        {
            let target = is_piped.then(|| Cell::new(report.target.as_str()));
            table.add_row(target.into_iter().chain([outcome, Cell::new(name), Cell::new(detail)]));
        }
    }
    ui.print_table(&table)
}

fn print_tests(context: &Context, report: &TestReport) -> Result<()> {
    let ui = &context.ui;
    for result in &report.results {
        let failure = result.failure.as_ref().map(|failure| ui.without_secrets(failure));
        let at_terminal = ui.terminal().stdout_is_tty;
        let word = result.outcome.word();
        let line = if at_terminal {
            let detail = if result.detail.is_empty() { String::new() } else { format!("  ({})", result.detail) };
            // Padded before it is painted: the escape sequences have no width.
            let word = format!("{word:<4}");
            format!("{}  {}{detail}", ui.paint(result.outcome.style(), &word), ui.escape_for_stdout(&result.name))
        } else {
            let cell =
                |text: &str| if text.is_empty() { "-".to_owned() } else { text.replace(['\t', '\n', '\r'], " ") };
            format!("{}\t{word}\t{}\t{}", cell(&report.title()), cell(&result.name), cell(&result.detail))
        };
        ui.print_painted_line(&line)?;
        let Some(failure) = failure else { continue };
        let details = failure.details();
        let mut lines = vec![format!("      {}", details.message.replace('\n', "\n      "))];
        lines.extend(details.causes.iter().map(|cause| format!("        {}", cause.replace('\n', "\n        "))));
        if !details.stderr_tail.is_empty() {
            lines.push("      last lines of the server's stderr:".to_owned());
            lines.extend(details.stderr_tail.iter().map(|line| format!("      | {line}")));
        }
        lines.extend(advice_lines(ui, result, details).into_iter().map(|line| format!("      {line}")));
        for line in lines {
            // A tab separates the columns of the lines for tests.
            ui.print_line(&if at_terminal { line } else { line.replace('\t', " ") })?;
        }
    }
    Ok(())
}

/// The line of JSON for one test.
fn json_line(context: &Context, report: &TestReport, result: &TestResult) -> String {
    let mut line = Map::new();
    let mut add = |name: &str, value: Value| line.insert(name.to_owned(), value);
    match &report.file {
        Some(file) => {
            add("file", file.as_str().into());
            add("line", result.line.into());
            add("target", report.target.as_str().into());
            add("test", result.name.as_str().into());
        }
        None => {
            add("target", report.target.as_str().into());
            add("check", result.name.as_str().into());
        }
    }
    add("outcome", result.outcome.as_str().into());
    add("detail", if result.detail.is_empty() { Value::Null } else { result.detail.as_str().into() });
    if report.file.is_none() {
        add("seen", result.seen.as_slice().into());
    }
    add("seconds", ((result.time.as_secs_f64() * 1e6).round() / 1e6).into());
    if let Some(failure) = &result.failure {
        let error = serde_json::from_str(&context.ui.redacted_failure_json(failure));
        add("error", error.unwrap_or_else(|_| json!({})));
    }
    if let Some(command) = &result.repeat_command {
        add("repeat", context.ui.redacted(command).into());
    }
    Value::Object(line).to_string()
}

/// Says how many tests had which outcome. The exit code is that of the first failed check, or that of failed tests.
#[must_use]
pub(super) fn finish(context: &Context, reports: &[TestReport]) -> Exit {
    let sum = |outcome| reports.iter().map(|report| report.count(outcome)).sum::<usize>();
    let counts: Vec<String> = Outcome::ALL
        .into_iter()
        .map(|outcome| (sum(outcome), outcome.summary_word()))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if !counts.is_empty() {
        context.ui.note(&counts.join(", "));
    }
    let failed = reports.iter().find_map(|report| {
        let failure = report.results.iter().find_map(|result| Some((result, result.failure.as_ref()?)))?;
        Some((report, failure))
    });
    let Some((report, (result, failure))) = failed else { return Exit::Done };
    if let Some(file) = &report.file {
        let count = sum(Outcome::Fail);
        let tests = counted(count, "test");
        let message = format!("{tests} failed, the first at {file}:{}", result.line.unwrap_or(0));
        context.ui.report_failure(&Failure::new(ErrorKind::Mismatch, message));
        return Exit::Reported(ErrorKind::Mismatch);
    }
    let kind = exit_kind(failure);
    let mut reported = match reports {
        [_] => failure.clone().server(&report.target),
        _ => failure.clone().one_of_several(&report.target),
    };
    let details = reported.details_mut();
    details.kind = kind;
    details.message = format!("{}: {}", report.shown_name(result), details.message);
    context.ui.report_failure(&reported);
    Exit::Reported(kind)
}
