//! Prints what changed: for people, as JSON, or as Markdown.

use serde_json::{Value, json};

use super::changes::{Change, ChangeClass, ServerChanges};
use crate::commands::context::Context;
use crate::error::Result;
use crate::output::escape;
use crate::util::count::counted;

/// Prints the changes of all servers.
pub fn print(context: &Context, all: &[ServerChanges], as_markdown: bool) -> Result<()> {
    let ui = &context.ui;
    if ui.is_json() {
        return ui.print_json_value(&json_document(all));
    }
    if as_markdown {
        return ui.print_text(&markdown(all));
    }
    for server in all {
        if server.changes.is_empty() {
            ui.note(&format!("{}: nothing changed", server.server));
            continue;
        }
        let mut text = format!("{}: {}\n", server.server, summary(&server.changes));
        for change in &server.changes {
            text += &format!("  {:<10}  {}\n", change.class.as_str(), visible(&change.line()));
            for line in change.text_lines() {
                text += &format!("    {line}\n");
            }
        }
        ui.print_text(&text)?;
    }
    Ok(())
}

/// On one line, with invisible characters made visible, also in a pipe.
fn visible(text: &str) -> String {
    escape::make_visible(text).replace(['\n', '\t'], " ")
}

/// `3 changes: 1 breaking, 2 text`.
#[must_use]
pub fn summary(changes: &[Change]) -> String {
    let counts = [ChangeClass::Breaking, ChangeClass::Compatible, ChangeClass::Text].map(|class| {
        let count = changes.iter().filter(|change| change.class == class).count();
        (count, class.as_str())
    });
    let parts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, class)| format!("{count} {class}")).collect();
    format!("{}: {}", counted(changes.len(), "change"), parts.join(", "))
}

fn json_document(all: &[ServerChanges]) -> Value {
    let servers: Vec<Value> = all
        .iter()
        .map(|server| {
            let changes: Vec<Value> = server.changes.iter().map(Change::json).collect();
            json!({ "server": server.server, "changes": changes })
        })
        .collect();
    let count = |class: ChangeClass| {
        all.iter().flat_map(|server| &server.changes).filter(|change| change.class == class).count()
    };
    json!({
        "breaking": count(ChangeClass::Breaking),
        "compatible": count(ChangeClass::Compatible),
        "text": count(ChangeClass::Text),
        "servers": servers,
    })
}

fn markdown(all: &[ServerChanges]) -> String {
    let mut text = String::new();
    for server in all {
        text += &format!("### {}\n\n", markdown_text(&server.server));
        if server.changes.is_empty() {
            text += "Nothing changed.\n\n";
            continue;
        }
        text += &format!("{}\n\n| Class | Where | Change |\n|---|---|---|\n", summary(&server.changes));
        for change in &server.changes {
            let place = format!("{} {}", change.what, change.path);
            text += &format!(
                "| {} | {} | {} |\n",
                change.class.as_str(),
                markdown_text(place.trim_end()),
                markdown_text(&change.message)
            );
        }
        text.push('\n');
        for change in server.changes.iter().filter(|change| change.class == ChangeClass::Text) {
            let lines = change.text_lines().join("\n");
            let fence = code_fence(&lines);
            let place = format!("{} {}", change.what, change.path);
            text += &format!("{}\n\n{fence}diff\n{lines}\n{fence}\n\n", markdown_text(&place));
        }
    }
    text
}

/// Text of a server that is text in Markdown and HTML, also in a table.
pub fn markdown_text(text: &str) -> String {
    let mut out = String::new();
    for c in visible(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '@' | '!' => out.extend(['\\', c]),
            other => out.push(other),
        }
    }
    out
}

/// A fence that is longer than any run of backticks in the text.
fn code_fence(text: &str) -> String {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    "`".repeat(longest.max(2) + 1)
}
