//! What the files of other clients have in common, whether they are used directly or imported: where the servers are,
//! commands that are whole command lines, and names of OAuth settings.

use std::path::Path;

use super::tree::{ConfigMember, ConfigNode, ConfigValue};
use crate::env::programs::{is_path, is_program};
use crate::util::quoting;

/// The members that contain servers.
const SERVER_CONTAINERS: [&str; 2] = ["mcpServers", "servers"];

/// The members of which every server has one.
const SERVER_KEYS: [&str; 4] = ["command", "url", "serverUrl", "httpUrl"];

/// The member with the servers of a file; for a file with the servers at its top level, the servers themselves.
///
/// Claude Code and VS Code read both forms of `.mcp.json`, and most plugins of Claude Code use the second.
#[must_use]
pub fn server_container(root: &ConfigNode) -> Option<ConfigMember> {
    if let Some(container) = SERVER_CONTAINERS.iter().find_map(|name| root.get(name)) {
        return Some(container.clone());
    }
    let is_table = |member: &&ConfigMember| matches!(member.value.value, ConfigValue::Table(_));
    let is_server = |member: &ConfigMember| SERVER_KEYS.iter().any(|key| member.value.get(key).is_some());
    let (servers, others): (Vec<_>, Vec<_>) = root.members().iter().partition(is_table);
    // Settings of an editor are not servers; a schema or a comment beside servers is a string.
    let is_flat = !servers.is_empty()
        && servers.iter().all(|member| is_server(member))
        && others.iter().all(|member| member.value.as_str().is_some());
    is_flat.then(|| ConfigMember {
        key: "servers".to_owned(),
        offset: root.offset,
        value: ConfigNode { value: ConfigValue::Table(servers.into_iter().cloned().collect()), offset: root.offset },
    })
}

/// The words of a `command` that is a whole command line; `None` if it is a program, whose path may contain spaces.
///
/// `directory` is what a relative path is relative to.
#[must_use]
pub fn split_command(command: &str, directory: &Path) -> Option<Vec<String>> {
    let words = quoting::split(command).filter(|words| words.len() > 1)?;
    let exists = |path: &str| is_program(&directory.join(path));
    let is_one_path =
        is_path(command) && exists(command) || is_path(&words[0]) && !exists(&words[0]) && !words[1].starts_with('-');
    (!is_one_path).then_some(words)
}

/// Names of OAuth settings in other clients, and the keys of `auth`. Of a `metadata_url`, the issuer is used.
pub const OAUTH_KEYS: &[(&str, &str)] = &[
    ("clientId", "client_id"),
    ("client_id", "client_id"),
    ("CLIENT_ID", "client_id"),
    ("clientSecret", "client_secret"),
    ("client_secret", "client_secret"),
    ("CLIENT_SECRET", "client_secret"),
    ("scope", "scopes"),
    ("scopes", "scopes"),
    ("callbackPort", "redirect_port"),
    ("callback_port", "redirect_port"),
    ("redirectUri", "redirect_uri"),
    ("redirect_uri", "redirect_uri"),
    ("redirectUrl", "redirect_uri"),
    ("redirect_url", "redirect_uri"),
    ("oauthRedirectUrl", "redirect_uri"),
    ("clientMetadataUrl", "client_metadata_url"),
    ("client_metadata_url", "client_metadata_url"),
    ("issuer", "issuer"),
    ("authServerMetadataUrl", "metadata_url"),
];

/// The issuer whose metadata is at this URL (RFC 8414 §3.1, OpenID Connect Discovery §4.1).
///
/// `None` if no issuer has its metadata there.
#[must_use]
pub fn issuer_of(url: &str) -> Option<String> {
    let (origin, path) = url.split_once("/.well-known/")?;
    let (document, path) = path.split_once('/').map_or((path, ""), |(document, path)| (document, path));
    let known = ["oauth-authorization-server", "openid-configuration"].contains(&document);
    known.then(|| if path.is_empty() { origin.to_owned() } else { format!("{origin}/{path}") })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::file::jsonc::parse;

    #[test]
    fn servers_are_found_in_both_forms() {
        for (text, names) in [
            (r#"{"mcpServers": {"a": {}}}"#, Some("a")),
            (r#"{"servers": {"a": {}, "b": {}}, "inputs": []}"#, Some("a b")),
            (r#"{"a": {"command": "x"}, "b": {"url": "https://b/"}}"#, Some("a b")),
            (r#"{"$schema": "https://s/", "a": {"type": "http", "serverUrl": "https://a/"}}"#, Some("a")),
            (r#"{"mcpServers": []}"#, Some("")),
            ("{}", None),
            (r#"{"a": {"command": "x"}, "b": {"other": 1}}"#, None),
            (r#"{"a": {"command": "x"}, "editor.tabSize": 2}"#, None),
            (r#"{"$schema": "https://s/"}"#, None),
        ] {
            let found = server_container(&parse(text).unwrap());
            let found = found
                .map(|one| one.value.members().iter().map(|member| member.key.clone()).collect::<Vec<_>>().join(" "));
            assert_eq!(found.as_deref(), names, "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_command_line_is_split_and_a_path_with_spaces_is_not() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        for name in ["my server", "run"] {
            let file = dir.path().join(name);
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        for (command, words) in [
            ("npx", None),
            ("npx -y 'a b'", Some("npx|-y|a b")),
            ("uv run server.py", Some("uv|run|server.py")),
            ("./run x", Some("./run|x")),
            ("./my server", None),
            ("./my", None),
            ("/Applications/My App/bin/server", None),
            ("${CLAUDE_PLUGIN_ROOT}/server --stdio", Some("${CLAUDE_PLUGIN_ROOT}/server|--stdio")),
            ("npx 'open", None),
        ] {
            assert_eq!(split_command(command, dir.path()).map(|words| words.join("|")).as_deref(), words, "{command}");
        }
    }

    #[test]
    fn a_metadata_url_gives_its_issuer() {
        for (url, issuer) in [
            ("https://a.example/.well-known/openid-configuration", Some("https://a.example")),
            ("https://a.example/t/1/.well-known/openid-configuration", Some("https://a.example/t/1")),
            ("https://a.example/.well-known/oauth-authorization-server/t/1", Some("https://a.example/t/1")),
            ("https://a.example/tenant", None),
            ("https://a.example/.well-known/other", None),
            ("https://a.example/metadata.json", None),
        ] {
            assert_eq!(issuer_of(url).as_deref(), issuer, "{url}");
        }
    }
}
