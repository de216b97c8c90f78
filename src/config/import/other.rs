//! Any JSON file with `mcpServers` or `servers`, of a client that is not known by name.

use super::draft::Draft;
use super::variables::Style;
use super::{Imported, Reading, vscode};
use crate::config::tree::{Member, Node, Value};

pub(super) fn read(reading: &Reading<'_>, out: &mut Imported) {
    let mut around = reading.around(Style::Any);
    around.inputs = vscode::inputs(reading.root);
    let container = reading.root.get("mcpServers").or_else(|| reading.root.get("servers"));
    reading.servers(container, &around, out, &mut |draft, _, entry| server(draft, entry));
}

fn server(draft: &mut Draft<'_>, entry: &Node) {
    for member in entry.members() {
        match member.key.as_str() {
            "environment" => draft.env(member),
            "envFile" => draft.env_file(member),
            "timeout" => timeout(draft, member),
            "includeTools" | "allowedTools" => draft.tools("allow_tools", member),
            "excludeTools" | "blockedTools" | "disabledTools" => draft.tools("deny_tools", member),
            "tools" if !every_tool(&member.value) => draft.tools("allow_tools", member),
            "tools" => {}
            _ => draft.usual(member),
        }
    }
}

/// `["*"]`, which some clients write into every entry.
fn every_tool(node: &Node) -> bool {
    matches!(&node.value, Value::List(items) if items.iter().any(|item| item.as_text() == Some("*")))
}

/// Seconds or milliseconds: nobody waits a thousand seconds, nor less than one.
fn timeout(draft: &mut Draft<'_>, member: &Member) {
    let millis = matches!(member.value.value, Value::Whole(number) if number >= 1000);
    let unit = if millis { "milliseconds" } else { "seconds" };
    draft.notes.push(format!("'timeout' is taken to be {unit}"));
    draft.time("timeout", member, if millis { 1.0 } else { 1000.0 });
}
