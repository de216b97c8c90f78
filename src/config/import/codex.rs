//! Codex: `mcp_servers` of `config.toml`.
//!
//! Documented at <https://developers.openai.com/codex/mcp> and
//! <https://developers.openai.com/codex/config-reference>.

use super::draft::Draft;
use super::variables::Style;
use super::{Imported, Reading};
use crate::config::expand::is_name;
use crate::config::tree::{Node, Value};

pub(super) fn read(reading: &Reading<'_>, out: &mut Imported) {
    let around = reading.around(Style::None);
    reading.servers(reading.root.get("mcp_servers"), &around, out, &mut |draft, _, entry| server(draft, entry));
}

fn server(draft: &mut Draft<'_>, entry: &Node) {
    for member in entry.members() {
        match member.key.as_str() {
            "http_headers" => draft.headers(member),
            "env_http_headers" => draft.headers_from_variables(member),
            "bearer_token_env_var" => {
                if let Some(name) = draft.text(member).filter(|name| is_name(name)) {
                    draft.put("bearer_env", Value::Text(name));
                }
            }
            "bearer_token" => {
                if let Some(token) = draft.text(member) {
                    draft.header("Authorization", format!("Bearer {token}"));
                }
            }
            "startup_timeout_sec" => draft.time("connect_timeout", member, 1000.0),
            // The older name counts only where the newer one is not there.
            "startup_timeout_ms" if entry.get("startup_timeout_sec").is_some() => draft.leave_out(&member.key),
            "startup_timeout_ms" => draft.time("connect_timeout", member, 1.0),
            "tool_timeout_sec" => draft.time("timeout", member, 1000.0),
            "enabled_tools" => draft.tools("allow_tools", member),
            "disabled_tools" => draft.tools("deny_tools", member),
            "default_tools_approval_mode" if member.value.as_text() == Some("prompt") => {
                draft.put("confirm", Value::Text("always".to_owned()));
            }
            "scopes" => draft.oauth_key("scopes", member),
            "oauth" => draft.oauth(member, super::draft::OAUTH),
            "env_vars" => {
                draft.notes.push("mcpipe hands on its whole environment, so 'env_vars' is not needed".to_owned())
            }
            _ => draft.usual(member),
        }
    }
}
