//! `test --html`: the outcomes as a page.

use std::fmt::Write;

use crate::commands::html::{self, text};
use crate::commands::test::report::{Outcome, TestReport, TestResult, failure_text};
use crate::output::Ui;

/// The page. Secrets are redacted.
pub(super) fn page(ui: &Ui, reports: &[TestReport]) -> String {
    let sum = |outcome| reports.iter().map(|report| report.count(outcome)).sum::<usize>();
    let counts: Vec<String> = Outcome::ALL
        .into_iter()
        .filter(|outcome| sum(*outcome) > 0)
        .map(|outcome| format!("<b class=\"{}\">{} {}</b>", outcome.as_str(), sum(outcome), outcome.summary_word()))
        .collect();
    let mut body =
        format!("<p>{}</p>\n", if counts.is_empty() { "No tests were run.".into() } else { counts.join(", ") });
    for report in reports {
        let _ = writeln!(body, "<h2>{}</h2>", text(&ui.redacted(&report.title())));
        if report.file.is_some() && !report.is_one_of_several {
            let _ = writeln!(body, "<p class=\"dim\">{}</p>", text(&ui.redacted(&report.target)));
        }
        body.push_str("<ul>\n");
        report.results.iter().for_each(|result| add_result(&mut body, ui, report, result));
        body.push_str("</ul>\n");
    }
    html::page("mcpipe test", &body)
}

fn add_result(body: &mut String, ui: &Ui, report: &TestReport, result: &TestResult) {
    let detail =
        if result.detail.is_empty() { String::new() } else { format!(": {}", text(&ui.redacted(&result.detail))) };
    let _ = write!(
        body,
        "<li><b class=\"{}\">{}</b> <time>{:.1} ms</time><span>{}</span>{detail}",
        result.outcome.as_str(),
        result.outcome.word(),
        result.time.as_secs_f64() * 1000.0,
        text(&ui.redacted(&report.shown_name(result)))
    );
    if let Some(failure) = &result.failure {
        let _ = write!(body, "\n<pre>{}</pre>", text(&failure_text(ui, result, failure)));
    }
    add_details(body, ui, "what was seen", &result.seen);
    add_details(body, ui, "messages", &result.exchange);
    body.push_str("</li>\n");
}

/// Lines that the reader can open.
fn add_details(body: &mut String, ui: &Ui, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        let lines = text(&ui.redacted(&lines.join("\n")));
        let _ = write!(body, "\n<details><summary>{title}</summary><pre>{lines}</pre></details>");
    }
}
