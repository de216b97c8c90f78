//! Gemini CLI: `mcpServers` of `settings.json`, and the lists in `mcp` that allow or exclude servers.
//!
//! Documented at <https://geminicli.com/docs/tools/mcp-server> and
//! <https://geminicli.com/docs/reference/configuration>.

use super::draft::Draft;
use super::variables::Style;
use super::{Imported, Reading};
use crate::config::tree::{Node, Value};

pub(super) fn read(reading: &Reading<'_>, out: &mut Imported) {
    let around = reading.around(Style::Dollar);
    let lists = reading.root.get("mcp").map(|member| &member.value);
    let listed = |key: &str, name: &str| match lists?.get(key).map(|member| &member.value.value) {
        Some(Value::List(names)) => Some(names.iter().any(|other| other.as_text() == Some(name))),
        _ => None,
    };
    reading.servers(reading.root.get("mcpServers"), &around, out, &mut |draft, name, entry| {
        server(draft, entry);
        draft.disabled |= listed("excluded", name) == Some(true) || listed("allowed", name) == Some(false);
    });
}

fn server(draft: &mut Draft<'_>, entry: &Node) {
    // The URL of Streamable HTTP counts where both are there.
    let both = entry.get("httpUrl").is_some() && entry.get("url").is_some();
    for member in entry.members() {
        match member.key.as_str() {
            "url" if both => draft.leave_out("url"),
            "timeout" => draft.time("timeout", member, 1.0),
            "includeTools" => draft.tools("allow_tools", member),
            "excludeTools" => draft.tools("deny_tools", member),
            "authProviderType" => {
                draft.leave_out(&member.key);
                if member.value.as_text().is_some_and(|provider| provider != "dynamic_discovery") {
                    draft.notes.push(
                        "Gemini CLI logs in with Google credentials; give a header or bearer_env here".to_owned(),
                    );
                }
            }
            "tcp" => draft.refuse("it is reached over a web socket, which mcpipe does not speak"),
            _ => draft.usual(member),
        }
    }
}
