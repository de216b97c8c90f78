//! mcporter: `mcporter.json` and `mcporter.jsonc`, with all of its names for keys.
//!
//! Documented at <https://github.com/steipete/mcporter/blob/main/docs/config.md>.

use super::client_file::{ClientFileReader, ImportedFile};
use super::draft::ServerDraft;
use super::variables::VariableSyntax;
use crate::config::file::tree::{ConfigMember, ConfigNode, ConfigValue};

pub(crate) fn read(reading: &ClientFileReader<'_>, out: &mut ImportedFile) {
    let mut around = reading.variable_context(VariableSyntax::Mcporter);
    // Paths are relative to the file's own directory, project or not.
    around.project = reading.file.path.parent().map(std::path::Path::to_owned);
    reading
        .read_servers(reading.root.get("mcpServers"), &around, out, &mut |draft, _, entry| read_server(draft, entry));
    out.servers.iter_mut().for_each(|entry| entry.project.clone_from(&reading.file.project));
    if let Some(imports) = reading.root.get("imports") {
        out.diagnostics
            .push(reading.diagnostic(imports.offset, "'imports' is ignored: import from those clients by name"));
    }
}

fn read_server(draft: &mut ServerDraft<'_>, entry: &ConfigNode) {
    for member in entry.members() {
        match to_snake_case(&member.key).as_str() {
            "base_url" | "server_url" => draft.read_url(member, None),
            "executable" => draft.read_command(member),
            "bearer_token" => {
                if let Some(token) = draft.string(member) {
                    draft.add_header("Authorization", format!("Bearer {token}"));
                }
            }
            "bearer_token_env" => {
                if let Some(name) = draft.variable_name(member) {
                    draft.set_key("bearer_env", ConfigValue::String(name));
                }
            }
            "protocol_version" => draft.read_protocol(member),
            "lifecycle" => read_lifecycle(draft, member),
            "allowed_tools" => draft.read_tool_list("allow_tools", member),
            "blocked_tools" => draft.read_tool_list("deny_tools", member),
            "oauth_client_id" => draft.read_oauth_key("client_id", member),
            "oauth_client_secret" => draft.read_oauth_key("client_secret", member),
            "oauth_client_secret_env" => {
                if let Some(name) = draft.variable_name(member) {
                    draft.set_auth_key("client_secret", ConfigValue::String(format!("${{{name}}}")));
                }
            }
            "oauth_client_metadata_url" => draft.read_oauth_key("client_metadata_url", member),
            "oauth_token_endpoint_auth_method" => draft.read_oauth_key("token_endpoint_auth_method", member),
            "oauth_scope" => draft.read_oauth_key("scopes", member),
            "oauth_redirect_url" => draft.read_oauth_key("redirect_uri", member),
            // mcpipe logs in anyway if the server requires it.
            "auth" if member.value.as_str() == Some("oauth") => {}
            _ => draft.common_key(member),
        }
    }
}

/// `"keep-alive"`, or an object with it as `mode` and perhaps a limit; `"ephemeral"` is what mcpipe does anyway.
fn read_lifecycle(draft: &mut ServerDraft<'_>, member: &ConfigMember) {
    let mode = member.value.get("mode").map_or(&member.value, |mode| &mode.value);
    let idle = member.value.members().iter().find(|member| member.key == "idleTimeoutMs");
    match (mode.as_str(), idle) {
        (Some("ephemeral"), _) => {}
        (Some("keep-alive"), Some(idle)) => draft.read_duration("keep_alive", idle, 1.0),
        (Some("keep-alive"), None) => draft.set_key("keep_alive", ConfigValue::String("10m".to_owned())),
        _ => draft.ignore_key(&member.key),
    }
}

/// `camelCase` as `snake_case`: both are accepted.
fn to_snake_case(key: &str) -> String {
    let mut made = String::new();
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            made.push('_');
        }
        made.push(c.to_ascii_lowercase());
    }
    made
}
