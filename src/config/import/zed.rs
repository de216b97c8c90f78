//! Zed: `context_servers` of `settings.json`.
//!
//! Documented at <https://zed.dev/docs/ai/mcp>.

use super::draft::Draft;
use super::variables::Style;
use super::{Imported, Reading};
use crate::config::tree::{Node, Value};

pub(super) fn read(reading: &Reading<'_>, out: &mut Imported) {
    let around = reading.around(Style::None);
    reading.servers(reading.root.get("context_servers"), &around, out, &mut |draft, _, entry| server(draft, entry));
}

fn server(draft: &mut Draft<'_>, entry: &Node) {
    if entry.get("command").is_none() && entry.get("url").is_none() {
        draft.refuse("it comes with an extension of Zed, which only Zed can start");
    }
    for member in entry.members() {
        match (member.key.as_str(), &member.value.value) {
            // The older form: a table of program, arguments and environment.
            ("command", Value::Table(parts)) => {
                for part in parts {
                    match part.key.as_str() {
                        "path" => draft.command(part),
                        "args" => draft.args(part),
                        "env" => draft.env(part),
                        other => draft.leave_out(&format!("command.{other}")),
                    }
                }
            }
            ("timeout", _) => draft.time("timeout", member, 1000.0),
            ("source", Value::Text(_)) => {}
            // Settings are handed to extensions only.
            ("settings", Value::Table(settings)) if settings.is_empty() => {}
            _ => draft.usual(member),
        }
    }
}
