//! mcporter: `mcporter.json` and `mcporter.jsonc`, with every name that it takes for a key.
//!
//! Documented at <https://github.com/steipete/mcporter/blob/main/docs/config.md>.

use super::draft::Draft;
use super::variables::{Style, literal};
use super::{Imported, Reading};
use crate::config::expand::is_name;
use crate::config::tree::{Member, Node, Value};

pub(super) fn read(reading: &Reading<'_>, out: &mut Imported) {
    let mut around = reading.around(Style::Mcporter);
    // Paths are relative to the file's own directory, project or not.
    around.project = reading.found.path.parent().map(std::path::Path::to_owned);
    reading.servers(reading.root.get("mcpServers"), &around, out, &mut |draft, _, entry| server(draft, entry));
    out.entries.iter_mut().for_each(|entry| entry.project.clone_from(&reading.found.project));
    if let Some(imports) = reading.root.get("imports") {
        out.problems.push(reading.fault(imports.at, "'imports' is not followed: import from those clients by name"));
    }
}

fn server(draft: &mut Draft<'_>, entry: &Node) {
    for member in entry.members() {
        match snake(&member.key).as_str() {
            "base_url" | "server_url" => draft.url(member, None),
            "executable" => draft.command(member),
            "bearer_token" => {
                if let Some(token) = draft.text(member) {
                    draft.header("Authorization", format!("Bearer {token}"));
                }
            }
            "bearer_token_env" => {
                if let Some(name) = variable(draft, member) {
                    draft.put("bearer_env", Value::Text(name));
                }
            }
            "protocol_version" => draft.protocol(member),
            "allowed_tools" => draft.tools("allow_tools", member),
            "blocked_tools" => draft.tools("deny_tools", member),
            "oauth_client_id" => draft.oauth_key("client_id", member),
            "oauth_client_secret" => draft.oauth_key("client_secret", member),
            "oauth_client_secret_env" => {
                if let Some(name) = variable(draft, member) {
                    draft.auth("client_secret", Value::Text(format!("${{{name}}}")));
                }
            }
            "oauth_client_metadata_url" => draft.oauth_key("client_metadata_url", member),
            "oauth_token_endpoint_auth_method" => draft.oauth_key("token_endpoint_auth_method", member),
            "oauth_scope" => draft.oauth_key("scopes", member),
            "oauth_redirect_url" => draft.oauth_key("redirect_port", member),
            // Logging in is what mcpipe does anyway when the server asks for it.
            "auth" if member.value.as_text() == Some("oauth") => {}
            _ => draft.usual(member),
        }
    }
    draft.split_command();
}

/// The name of a variable.
fn variable(draft: &mut Draft<'_>, member: &Member) -> Option<String> {
    let name = member.value.as_text().filter(|name| is_name(name));
    if name.is_none() {
        draft.notes.push(format!("'{}' is not the name of a variable: it is left out", literal(&member.key)));
    }
    name.map(str::to_owned)
}

/// `camelCase` as `snake_case`: both are taken.
fn snake(key: &str) -> String {
    let mut made = String::new();
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            made.push('_');
        }
        made.push(c.to_ascii_lowercase());
    }
    made
}
