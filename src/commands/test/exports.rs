//! Reports for other programs: JUnit XML, TAP, Markdown, and the annotations of GitHub Actions. Secrets are redacted.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::commands::context::Context;
use crate::commands::lock::report::markdown_text;
use crate::commands::test::html;
use crate::commands::test::report::{Outcome, TestReport, TestResult, failure_text};
use crate::error::{ErrorKind, Failure, Result};
use crate::output::Ui;
use crate::output::escape::{make_visible, one_line};
use crate::output::save::{before_writing, refuse_dash};

/// The variable that GitHub Actions sets in every step.
const GITHUB_ACTIONS: &str = "GITHUB_ACTIONS";
/// The variable with the file that GitHub Actions shows as the summary of a step.
const GITHUB_STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// The files to write besides the output.
pub(super) struct ExportOptions<'a> {
    pub junit: Option<&'a Path>,
    pub markdown: Option<&'a Path>,
    pub html: Option<&'a Path>,
}

/// Writes the reports that the options and the environment ask for: also the others if one cannot be written.
///
/// # Errors
/// When a file that an option names cannot be written.
pub(super) fn write(context: &Context, reports: &[TestReport], options: &ExportOptions<'_>) -> Result<()> {
    let ui = &context.ui;
    let mut failed = None;
    let is_interrupted = context.interrupt.raised_failure().is_some();
    let mut write = |path: &Path, text: String| {
        // After an interrupt nothing waits for the reader of a pipe.
        if is_interrupted && std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return;
        }
        before_writing(path);
        if let Err(error) = std::fs::write(path, text) {
            let failure = Failure::new(ErrorKind::Output, format!("cannot write {}", path.display()));
            failed.get_or_insert(failure.caused_by(&error));
        }
    };
    options.junit.iter().for_each(|path| write(path, junit(ui, reports)));
    options.markdown.iter().for_each(|path| write(path, markdown(ui, reports)));
    options.html.iter().for_each(|path| write(path, html::page(ui, reports)));
    if let Some(path) = context.env.get(GITHUB_STEP_SUMMARY).map(Path::new) {
        let append = || -> std::io::Result<()> {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
            std::io::Write::write_all(&mut file, markdown(ui, reports).as_bytes())
        };
        if let Err(error) = append() {
            ui.warn(&format!("cannot write {}: {error}", path.display()));
        }
    }
    if context.env.get(GITHUB_ACTIONS) == Some("true") {
        annotations(ui, reports).iter().for_each(|line| ui.prompt_text(line));
    }
    failed.map_or(Ok(()), Err)
}

/// Reports that a file cannot be created, before the tests run.
///
/// # Errors
/// When a directory does not exist, or the path is that of one.
pub(super) fn check(options: &ExportOptions<'_>) -> Result<()> {
    let files = [("--junit", options.junit), ("--markdown", options.markdown), ("--html", options.html)];
    for (option, path) in files.into_iter().filter_map(|(option, path)| Some((option, path?))) {
        refuse_dash(path, "file", &format!("{option} FILE"))?;
        let refused = || Failure::new(ErrorKind::Usage, format!("cannot write {}", path.display()));
        if path.is_dir() {
            return Err(refused().cause("it is a directory"));
        }
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
            return Err(refused().cause(format!("the directory {} does not exist", directory.display())));
        }
    }
    Ok(())
}

/// JUnit XML, as Jenkins and GitLab read it.
fn junit(ui: &Ui, reports: &[TestReport]) -> String {
    let count = |reports: &[TestReport], outcome| reports.iter().map(|report| report.count(outcome)).sum::<usize>();
    let tests = |reports: &[TestReport]| reports.iter().map(|report| report.results.len()).sum::<usize>();
    let seconds = |results: &mut dyn Iterator<Item = &TestResult>| -> String {
        // The sum of no floating-point numbers is -0.
        format!("{:.6}", results.map(|result| result.time).sum::<Duration>().as_secs_f64())
    };
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        out,
        r#"<testsuites name="mcpipe" tests="{}" failures="{}" errors="0" time="{}">"#,
        tests(reports),
        count(reports, Outcome::Fail),
        seconds(&mut reports.iter().flat_map(|report| &report.results)),
    );
    for report in reports {
        let one = std::slice::from_ref(report);
        let title = xml(&report.title());
        let _ = writeln!(
            out,
            r#"  <testsuite name="{title}" tests="{}" failures="{}" errors="0" skipped="{}" time="{}">"#,
            tests(one),
            count(one, Outcome::Fail),
            count(one, Outcome::Skip),
            seconds(&mut report.results.iter()),
        );
        for result in &report.results {
            let _ = write!(
                out,
                r#"    <testcase name="{}" classname="{title}" time="{:.6}""#,
                xml(&report.shown_name(result)),
                result.time.as_secs_f64()
            );
            match (&result.failure, result.outcome) {
                (Some(failure), _) => {
                    let shown = ui.without_secrets(failure);
                    let _ = writeln!(
                        out,
                        ">\n      <failure message=\"{}\" type=\"{}\">{}</failure>\n    </testcase>",
                        xml(&shown.details().message),
                        failure.kind().as_str(),
                        xml(&failure_text(ui, result, failure))
                    );
                }
                (None, Outcome::Skip) => {
                    let _ = writeln!(out, ">\n      <skipped message=\"{}\"/>\n    </testcase>", xml(&result.detail));
                }
                (None, Outcome::Warn) => {
                    let _ = writeln!(out, ">\n      <system-out>{}</system-out>\n    </testcase>", xml(&result.detail));
                }
                (None, _) => out.push_str("/>\n"),
            }
        }
        out.push_str("  </testsuite>\n");
    }
    out + "</testsuites>\n"
}

/// Text for XML 1.0, which cannot express most control characters (section 2.2).
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c if c < ' ' || matches!(c, '\u{7f}' | '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// TAP 14.
pub(super) fn tap(ui: &Ui, reports: &[TestReport], stopped: Option<&Failure>) -> String {
    let several = reports.len() > 1;
    let all: Vec<(&TestReport, &TestResult)> =
        reports.iter().flat_map(|report| report.results.iter().map(move |result| (report, result))).collect();
    let mut out = format!("TAP version 14\n1..{}\n", all.len());
    for (number, (report, result)) in all.into_iter().enumerate() {
        let name = report.shown_name(result);
        let name = if several { format!("{}: {name}", report.title()) } else { name };
        // `#` begins a directive, a backslash escapes (TAP 14, "Escaping").
        let name = one_line(&name).replace('\\', "\\\\").replace('#', "\\#");
        let word = if result.outcome == Outcome::Fail { "not ok" } else { "ok" };
        let _ = write!(out, "{word} {} - {name}", number + 1);
        match (&result.failure, result.outcome) {
            (Some(failure), _) => {
                out.push_str("\n  ---\n  message: |\n");
                for line in make_visible(&failure_text(ui, result, failure)).lines() {
                    let _ = writeln!(out, "    {line}");
                }
                out.push_str("  ...\n");
            }
            (None, Outcome::Skip) => {
                let _ = writeln!(out, " # SKIP {}", one_line(&result.detail));
            }
            (None, _) => out.push('\n'),
        }
    }
    if let Some(failure) = stopped {
        let _ = writeln!(out, "Bail out! {}", one_line(&ui.redacted(&failure.details().message)));
    }
    out
}

/// A table of what failed, for the summary of a step.
fn markdown(ui: &Ui, reports: &[TestReport]) -> String {
    let sum = |outcome| reports.iter().map(|report| report.count(outcome)).sum::<usize>();
    let mut out =
        String::from("### mcpipe test\n\n| suite | ok | warn | failed | skipped |\n|---|---:|---:|---:|---:|\n");
    for report in reports {
        let counts: Vec<String> = Outcome::ALL.into_iter().map(|outcome| report.count(outcome).to_string()).collect();
        let _ = writeln!(out, "| {} | {} |", markdown_cell(&report.title()), counts.join(" | "));
    }
    if sum(Outcome::Fail) > 0 {
        out.push_str("\n| failed | why |\n|---|---|\n");
    }
    for report in reports {
        for (result, failure) in report.failures() {
            let name = format!("{}: {}", report.title(), report.shown_name(result));
            let why = failure_text(ui, result, failure);
            let _ = writeln!(out, "| {} | {} |", markdown_cell(&name), markdown_cell(&why));
        }
    }
    out + "\n"
}

fn markdown_cell(text: &str) -> String {
    text.lines().map(|line| markdown_text(line.trim())).collect::<Vec<_>>().join("<br>")
}

/// Annotations of GitHub Actions ("Workflow commands", setting an error message), an error for each failed test.
fn annotations(ui: &Ui, reports: &[TestReport]) -> Vec<String> {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let mut all = Vec::new();
    for report in reports {
        for (result, failure) in report.failures() {
            let title = property(&format!("{}: {}", report.title(), report.shown_name(result)));
            let place = match (&report.file, result.line) {
                (Some(file), Some(line)) => format!("file={},line={line},", property(file)),
                _ => String::new(),
            };
            all.push(format!("::error {place}title={title}::{}", data(&failure_text(ui, result, failure))));
        }
    }
    all
}
