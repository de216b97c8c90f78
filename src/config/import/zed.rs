//! Zed: `context_servers` of `settings.json`.
//!
//! Documented at <https://zed.dev/docs/ai/mcp>.

use super::client_file::{ClientFileReader, ImportedFile};
use super::draft::ServerDraft;
use super::variables::VariableSyntax;
use crate::config::file::tree::{ConfigNode, ConfigValue};

pub(crate) fn read(reading: &ClientFileReader<'_>, out: &mut ImportedFile) {
    let around = reading.variable_context(VariableSyntax::Unsupported);
    reading.read_servers(reading.root.get("context_servers"), &around, out, &mut |draft, _, entry| {
        read_server(draft, entry)
    });
}

fn read_server(draft: &mut ServerDraft<'_>, entry: &ConfigNode) {
    if entry.get("command").is_none() && entry.get("url").is_none() {
        draft.reject("it comes with an extension of Zed, which only Zed can start");
    }
    for member in entry.members() {
        match (member.key.as_str(), &member.value.value) {
            // The older form: a table of program, arguments and environment.
            ("command", ConfigValue::Table(parts)) => {
                for part in parts {
                    match part.key.as_str() {
                        "path" => draft.read_command(part),
                        "args" => draft.read_args(part),
                        "env" => draft.read_env(part),
                        other => draft.ignore_key(&format!("command.{other}")),
                    }
                }
            }
            ("timeout", _) => draft.read_duration("timeout", member, 1000.0),
            ("source", ConfigValue::String(_)) => {}
            // Settings are passed to extensions only.
            ("settings", ConfigValue::Table(settings)) if settings.is_empty() => {}
            _ => draft.common_key(member),
        }
    }
}
