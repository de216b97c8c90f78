//! The report that each `config` subcommand returns.

use serde_json::Value;

use crate::error::Failure;
use crate::output::Column;

/// The report of a subcommand.
#[derive(Debug)]
pub struct ConfigReport {
    /// The result for `--json`.
    pub json: Value,
    /// The result for display.
    pub body: ReportBody,
    /// Notes for stderr that are not failures.
    pub notes: Vec<String>,
    /// A command that the user may want to run next.
    pub next: Option<String>,
    /// The failure that sets the exit code; reported after the result.
    pub failure: Option<Failure>,
}

/// A result for display.
#[derive(Debug)]
pub enum ReportBody {
    /// Rows with headings; without headings and separated by tabs if stdout is not a terminal.
    Table(Vec<Column>, Vec<Vec<String>>),
    /// Text, printed as it is.
    Text(String),
}

impl ConfigReport {
    pub(super) fn new(json: Value, body: ReportBody) -> Self {
        ConfigReport { json, body, notes: Vec::new(), next: None, failure: None }
    }
}

/// Text from a file that others may have written, with control and invisible characters made visible.
pub(super) fn escape_untrusted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\'' | '"' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}
