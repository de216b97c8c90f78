//! Codex: `mcp_servers` of `config.toml`.
//!
//! Documented at <https://developers.openai.com/codex/mcp> and
//! <https://developers.openai.com/codex/config-reference>.

use super::client_file::{ClientFileReader, ImportedFile};
use super::draft::ServerDraft;
use super::variables::VariableSyntax;
use crate::config::file::tree::{ConfigMember, ConfigNode, ConfigValue};

pub(crate) fn read(reading: &ClientFileReader<'_>, out: &mut ImportedFile) {
    let around = reading.variable_context(VariableSyntax::Unsupported);
    let callback = |draft: &mut ServerDraft<'_>| {
        // For all servers; `oauth` of a server overrides them.
        let set = |key: &str| reading.root.get(key);
        read_callback(draft, set("mcp_oauth_callback_port"), set("mcp_oauth_callback_url"));
    };
    reading.read_servers(reading.root.get("mcp_servers"), &around, out, &mut |draft, _, entry| {
        if entry.get("url").is_some() {
            callback(draft);
        }
        read_server(draft, entry);
    });
}

/// Where the browser brings the response of a login: a URL, of which Codex uses the path, or a port alone.
fn read_callback(draft: &mut ServerDraft<'_>, port: Option<&ConfigMember>, url: Option<&ConfigMember>) {
    if let Some(port) = port {
        draft.read_oauth_key("redirect_port", port);
    }
    if let Some(url) = url {
        draft.read_oauth_key("redirect_uri", url);
        draft.notes.push(format!("Codex may append an identifier to '{}'; check the registered redirect URI", url.key));
    }
}

fn read_oauth(draft: &mut ServerDraft<'_>, member: &ConfigMember) {
    read_callback(draft, member.value.get("callback_port"), member.value.get("callback_url"));
    let mut rest = member.clone();
    if let ConfigValue::Table(members) = &mut rest.value.value {
        members.retain(|inner| !matches!(inner.key.as_str(), "callback_port" | "callback_url"));
    }
    draft.read_oauth(&rest);
}

fn read_server(draft: &mut ServerDraft<'_>, entry: &ConfigNode) {
    for member in entry.members() {
        match member.key.as_str() {
            "http_headers" => draft.read_headers(member),
            "env_http_headers" => draft.read_headers_from_variables(member),
            "bearer_token_env_var" => {
                if let Some(name) = draft.variable_name(member) {
                    draft.set_key("bearer_env", ConfigValue::String(name));
                }
            }
            "bearer_token" => {
                if let Some(token) = draft.string(member) {
                    draft.add_header("Authorization", format!("Bearer {token}"));
                }
            }
            "startup_timeout_sec" => draft.read_duration("connect_timeout", member, 1000.0),
            // The older name counts only where the newer one is not there.
            "startup_timeout_ms" if entry.get("startup_timeout_sec").is_some() => draft.ignore_key(&member.key),
            "startup_timeout_ms" => draft.read_duration("connect_timeout", member, 1.0),
            "tool_timeout_sec" => draft.read_duration("timeout", member, 1000.0),
            "enabled_tools" => draft.read_tool_list("allow_tools", member),
            "disabled_tools" => draft.read_tool_list("deny_tools", member),
            "default_tools_approval_mode" if member.value.as_str() == Some("prompt") => {
                draft.set_key("confirm", ConfigValue::String("always".to_owned()));
            }
            "scopes" => draft.read_oauth_key("scopes", member),
            "oauth" => read_oauth(draft, member),
            "http_headers_helper" => draft.note_headers_helper(member),
            "env_vars" => {
                draft.notes.push("'env_vars' is not needed: servers inherit the whole environment".to_owned())
            }
            _ => draft.common_key(member),
        }
    }
}
