//! What tests have shown: outcomes of checks and of the tests of suites.

use std::time::Duration;

use crate::error::{ErrorKind, Failure, FailureDetails};
use crate::output::{Style, Ui};

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
    /// All of them.
    pub const ALL: [Outcome; 4] = [Outcome::Ok, Outcome::Warn, Outcome::Fail, Outcome::Skip];

    /// The word in the text output: a failure stands out without colors.
    #[must_use]
    pub fn word(self) -> &'static str {
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

    /// The word that follows a count.
    #[must_use]
    pub fn summary_word(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Warn => "with a warning",
            Outcome::Fail => "failed",
            Outcome::Skip => "skipped",
        }
    }

    /// The color of the word.
    #[must_use]
    pub fn style(self) -> Style {
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
    /// Something is not as it should be: what, and more of it.
    Warn(String, Vec<String>),
    /// It does not hold.
    Fail(Failure),
    /// It does not apply.
    Skip(String),
}

impl Finding {
    pub(super) fn ok(detail: impl Into<String>) -> Self {
        Finding::Ok(detail.into(), Vec::new())
    }

    pub(super) fn warn(detail: impl Into<String>) -> Self {
        Finding::Warn(detail.into(), Vec::new())
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
    /// The command that makes the request of a failed test again.
    pub repeat_command: Option<String>,
    /// The messages of a failed test, if they are kept.
    pub exchange: Vec<String>,
    /// How long it took.
    pub time: Duration,
    /// Its line in the suite.
    pub line: Option<usize>,
}

/// The tests of one target: built-in checks, or those of a suite.
#[derive(Clone, Debug)]
pub struct TestReport {
    /// The target.
    pub target: String,
    /// The file of the suite.
    pub file: Option<String>,
    /// Whether the suite runs against several targets, so that its file does not say which one this is.
    pub is_one_of_several: bool,
    /// The tests, in order.
    pub results: Vec<TestResult>,
    /// Why there are no more: mcpipe was interrupted.
    pub stopped: Option<Failure>,
}

impl TestReport {
    /// How many tests had this outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.results.iter().filter(|result| result.outcome == outcome).count()
    }

    /// The name of the report: the suite's file, with the target if there are several, or the target alone.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.file {
            Some(file) if self.is_one_of_several => format!("{file} ({})", self.target),
            Some(file) => file.clone(),
            None => self.target.clone(),
        }
    }

    /// The name of a test for people: those of built-in checks are identifiers.
    #[must_use]
    pub fn shown_name(&self, result: &TestResult) -> String {
        if self.file.is_some() { result.name.clone() } else { result.name.replace('_', " ") }
    }

    /// The failed tests, each with its failure.
    pub fn failures(&self) -> impl Iterator<Item = (&TestResult, &Failure)> {
        self.results.iter().filter_map(|result| Some((result, result.failure.as_ref()?)))
    }
}

/// The exit code class of a failed check: that of a server that cannot be used, else that something is not as expected.
#[must_use]
pub fn exit_kind(failure: &Failure) -> ErrorKind {
    match failure.kind() {
        kind @ (ErrorKind::Auth | ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Protocol) => kind,
        _ => ErrorKind::Mismatch,
    }
}

/// The failure of a test as lines of text, without secrets.
pub(super) fn failure_text(ui: &Ui, result: &TestResult, failure: &Failure) -> String {
    let failure = ui.without_secrets(failure);
    let details = failure.details();
    let mut lines = vec![details.message.clone()];
    lines.extend(details.causes.iter().map(|cause| format!("  {cause}")));
    lines.extend(details.stderr_tail.iter().map(|line| format!("  | {line}")));
    lines.extend(advice_lines(ui, result, details));
    lines.join("\n")
}

/// What to do about a failed test: the hint of the failure, and the command that repeats the request.
pub(super) fn advice_lines(ui: &Ui, result: &TestResult, details: &FailureDetails) -> Vec<String> {
    let hint = details.hint.iter().map(|hint| format!("hint: {hint}"));
    let repeat = result.repeat_command.iter().map(|command| format!("to repeat it: {}", ui.redacted(command)));
    hint.chain(repeat).collect()
}
