//! The reference of the configuration file: `docs/config.md` and `mcpipe-config.5`, from the table of keys that is also
//! the source of `mcpipe config schema`, and from the text here.

use std::fmt::Write;

use mcpipe::config::keys::{AUTH_KEYS, AppliesTo, ConfigKey, DEFAULTS_KEYS, FILE_KEYS, KeyType, SERVER_KEYS};

use super::reference::{
    Block, KeyEntry, manual_environment, manual_files, manual_keys, manual_sections, markdown_environment,
    markdown_files, markdown_keys, markdown_sections, sentence,
};
use super::roff::Page;

const DESCRIPTION: &[Block] = &[
    Block::Text(
        "A configuration file gives servers names, so that `mcpipe call linear …` is enough. It is never required: every \
         command also accepts a URL or a command line.",
    ),
    Block::Text(
        "The format is TOML. Each table `[servers.NAME]` describes one server, which is either a URL or a command, and \
         `[defaults]` has settings that apply to every configured server. A name consists of letters, digits, `_`, `-`, \
         `.` and `/`, and begins with a letter or digit.",
    ),
    Block::Example(
        "\
[servers.linear]
url = \"https://mcp.linear.app/mcp\"
headers = { X-Team = \"${TEAM}\" }
deny_tools = [\"delete_*\"]

[servers.files]
command = \"npx\"
args = [\"-y\", \"@modelcontextprotocol/server-filesystem\", \".\"]
cwd = \"~/work\"

[servers.github]
url = \"https://api.githubcopilot.com/mcp/\"

[servers.github.auth]
client_id = \"mcp-cli\"
client_secret = \"${keychain:GITHUB_SECRET}\"

[defaults]
confirm = \"destructive\"",
    ),
    Block::Text(
        "`mcpipe config add`, `remove`, `rename` and `import` change the file and keep its comments and order. `mcpipe \
         config check` reports every error with its file and line. An unknown key is an error.",
    ),
];

const PRECEDENCE: &[Block] = &[
    Block::Text(
        "mcpipe reads these files. A server in a later file replaces the server of the same name in an earlier one.",
    ),
    Block::Entries(&[
        ("~/.config/mcpipe/config.toml", "Your own file."),
        (".mcp.json", "Of the project: the nearest one in the working directory or above it."),
        (".mcpipe.toml", "Of the project, likewise."),
    ]),
    Block::Text(
        "The search for a project file ends below your home directory. `--config FILE`, or else the variable \
         `MCPIPE_CONFIG`, replaces all of these files by one, which may be TOML or JSON. `[defaults]` is merged key by \
         key.",
    ),
    Block::Text(
        "An option on the command line overrides the file. `mcpipe config path` prints the files that are read, and \
         `mcpipe config get NAME` shows each setting with the file and line that it comes from.",
    ),
    Block::Text(
        "`.mcp.json` is the format that other MCP clients share: an object `mcpServers` (or `servers`) with one member \
         for each server, or the members without that object. It may contain comments and trailing commas. Keys that mcpipe does not know are ignored, and \
         `mcpipe config check` lists them. ${CLAUDE_PROJECT_DIR} and ${CLAUDE_PLUGIN_ROOT} are the directory of the file, \
         unless the environment sets them.",
    ),
];

const EXPANSION: &[Block] = &[
    Block::Text("In a string, mcpipe replaces references when the server is used, and only then."),
    Block::Entries(&[
        (
            "${VAR}",
            "The variable VAR of the entry's own `env`, else of the environment. It is an error if neither sets it. `$VAR` is not expanded.",
        ),
        ("${VAR:-TEXT}", "The same, or TEXT if VAR is not set or empty. TEXT may contain references."),
        ("${keychain:NAME}", "The secret that `mcpipe config secret set NAME` stored."),
        (
            "${command:LINE}",
            "What the command LINE prints, without line breaks at the end. No shell is run. The time limit is 30 seconds, \
             or the connect timeout.",
        ),
        ("$${", "A literal ${. In TEXT it needs a } of its own, which does not end TEXT."),
    ]),
    Block::Text(
        "Secrets that come from a reference are removed from messages, logs and traces. `keychain` and `command` are \
         allowed wherever a value is free text, but not in values such as `timeout` or `confirm`.",
    ),
    Block::Text(
        "A path begins with `~/` for the home directory, is absolute, or is relative to the directory of the file that \
         contains it.",
    ),
    Block::Text("A time is a number of seconds, or a string such as \"500ms\", \"30s\", \"2m\" or \"1h\"."),
];

const TRUST: &[Block] = &[
    Block::Text(
        "A file in a project may have been written by somebody else, so mcpipe does not do everything that it says. Until \
         you run `mcpipe config trust`, a server of a project file cannot start a command, send headers, variables, \
         secrets or logins, use a socket or a recording of this machine, relax a check, or replace or disable a server \
         of your own file or of a trusted one. Its name takes no precedence over a command line that you type, or over a \
         tool of your own server. It may name a URL of another kind than unix: and replay:, and restrict what is done there; the \
         keys that are allowed are marked below.",
    ),
    Block::Text(
        "`mcpipe config trust` shows what the file would do and asks for confirmation. A file is trusted with its path and \
         content: if the file changes, it has to be trusted again. `mcpipe config trust --revoke` revokes trust.",
    ),
];

const FILES: &[(&str, &str)] = &[
    (
        "~/.config/mcpipe/config.toml",
        "Your configuration: `$XDG_CONFIG_HOME/mcpipe/config.toml` if the variable is set; on Windows \
         `%APPDATA%\\mcpipe\\config.toml`.",
    ),
    (".mcpipe.toml, .mcp.json", "The configuration of a project."),
    (
        "~/.local/share/mcpipe/credentials.json",
        "Logins and secrets, if the system's keychain is not used: below `$XDG_DATA_HOME` if the variable is set; on \
         Windows `%LOCALAPPDATA%\\mcpipe\\credentials.json`. `MCPIPE_CREDENTIALS_FILE` names another file.",
    ),
    (
        "~/.local/state/mcpipe/trust.json",
        "The project files that are trusted: below `$XDG_STATE_HOME` if the variable is set; on Windows below \
         `%LOCALAPPDATA%\\mcpipe`.",
    ),
    (
        "~/.cache/mcpipe/",
        "Cached protocol revisions and lists: below `$XDG_CACHE_HOME` if the variable is set; on Windows below \
         `%LOCALAPPDATA%\\mcpipe`. `MCPIPE_CACHE_DIR` names another directory. It can be removed at any time.",
    ),
];

const ENVIRONMENT: [&str; 9] = [
    "MCPIPE_CONFIG",
    "MCPIPE_CREDENTIALS_FILE",
    "MCPIPE_CACHE_DIR",
    "VISUAL",
    "EDITOR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
];

const KEYS: [(&str, &str, &[ConfigKey]); 3] = [
    ("[servers.NAME]", "Each server has either `url` or `command`.", SERVER_KEYS),
    (
        "[servers.NAME.auth]",
        "How to log in to a server at a URL. Most servers need none of these keys. `mcpipe auth login` has options for \
         most of them.",
        AUTH_KEYS,
    ),
    ("[defaults]", "Settings that apply to every configured server.", DEFAULTS_KEYS),
];

const SECTIONS: [(&str, &[Block]); 4] =
    [("Description", DESCRIPTION), ("Precedence", PRECEDENCE), ("Values", EXPANSION), ("Trust", TRUST)];

/// What a key may hold, in words.
fn type_name(key: &ConfigKey) -> String {
    match key.key_type {
        KeyType::String => "string".to_owned(),
        KeyType::Path => "string (a path)".to_owned(),
        KeyType::StringList => "array of strings".to_owned(),
        KeyType::StringMap => "table of strings".to_owned(),
        KeyType::Bool => "boolean".to_owned(),
        KeyType::Duration => "time".to_owned(),
        KeyType::Choice(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            words.join(", ")
        }
        KeyType::BearerSource => "file:PATH, github-oidc:AUDIENCE or gitlab-oidc:AUDIENCE".to_owned(),
        KeyType::RedirectUri => "loopback URL".to_owned(),
        KeyType::Revision => "\"auto\", \"legacy\" or a revision".to_owned(),
        KeyType::Integer(least, most) => format!("integer from {least} to {most}"),
        KeyType::InheritEnv => "boolean or array of strings".to_owned(),
        KeyType::StringOrFalse => "string or false".to_owned(),
        KeyType::Section(_) => "table".to_owned(),
    }
}

/// The key as the reference shows it in an example.
fn example(key: &ConfigKey) -> String {
    match key.key_type {
        KeyType::Section(_) => key.example.to_owned(),
        _ => format!("{} = {}", key.name, key.example),
    }
}

/// For which servers, and whether a project file needs trust to set it.
fn notes(key: &ConfigKey, section: &str) -> String {
    let mut notes = Vec::new();
    match key.applies_to {
        AppliesTo::Url if section == "[servers.NAME]" => notes.push("Only for a URL."),
        AppliesTo::Command => notes.push("Only for a command."),
        _ => {}
    }
    if key.allowed_untrusted {
        notes.push("Allowed in a project file that is not trusted.");
    }
    notes.join(" ")
}

/// `docs/config.md`.
pub fn markdown() -> String {
    let mut text = String::from(
        "# The configuration file\n\nGenerated from the table of keys in `src/config/keys.rs` and from \
         `tests/cli/config_reference.rs`; do not edit. `mcpipe man config.5` is the same as a manual page, and `mcpipe \
         config schema` prints a JSON Schema for editors.\n",
    );
    markdown_sections(&mut text, &SECTIONS);
    for (section, about, keys) in KEYS {
        write!(text, "\n## `{section}`\n\n{about}\n").unwrap();
        markdown_keys(&mut text, &entries(section, keys));
    }
    markdown_files(&mut text, FILES);
    markdown_environment(&mut text, &ENVIRONMENT);
    text
}

fn entries(section: &str, keys: &[ConfigKey]) -> Vec<KeyEntry> {
    let entry = |key: &ConfigKey| KeyEntry {
        name: key.name,
        facts: format!("{} Default: {}. {}", sentence(&type_name(key)), key.default, notes(key, section)),
        description: key.description(),
        example: example(key),
    };
    keys.iter().map(entry).collect()
}

/// The texts of the keys, which need not be shown elsewhere.
pub fn texts() -> Vec<&'static str> {
    let keys = KEYS.iter().flat_map(|(_, _, keys)| *keys).chain(FILE_KEYS);
    keys.flat_map(|key| [key.help, key.details, key.default, key.example]).collect()
}

/// `man/mcpipe-config.5`.
pub fn manual() -> String {
    let mut page = Page::new("mcpipe-config", 5);
    page.name("mcpipe-config", "configuration file of mcpipe");
    page.section("SYNOPSIS");
    page.entry("\\fI\\(ti/.config/mcpipe/config.toml\\fR", &[]);
    page.entry("\\fI\\&.mcpipe.toml\\fR", &[]);
    page.entry("\\fI\\&.mcp.json\\fR", &[]);
    manual_sections(&mut page, &SECTIONS);
    for (section, about, keys) in KEYS {
        page.section(&format!("KEYS OF {section}"));
        page.paragraph(about);
        manual_keys(&mut page, &entries(section, keys));
    }
    manual_files(&mut page, FILES);
    manual_environment(&mut page, &ENVIRONMENT);
    page.section("EXAMPLES");
    page.verbatim([
        "  mcpipe config add linear https://mcp.linear.app/mcp",
        "  mcpipe config get linear",
        "  mcpipe config check",
        "  mcpipe config schema > mcpipe.schema.json",
    ]);
    page.section("SEE ALSO");
    page.references(&[("mcpipe".to_owned(), 1), ("mcpipe-auth".to_owned(), 1), ("mcpipe-config".to_owned(), 1)]);
    page.finish()
}

/// The examples are valid, and the file that they make up has no error.
#[test]
fn the_example_of_every_key_is_valid() {
    let sandbox = crate::support::Sandbox::new();
    std::fs::create_dir_all(sandbox.path().join("home/work/site")).unwrap();
    for (section, _, keys) in KEYS {
        for key in keys.iter().filter(|key| !matches!(key.key_type, KeyType::Section(_))) {
            let table = section.replace("NAME", "demo");
            let server = match (section, key.applies_to, key.name) {
                ("[defaults]", ..) | (_, _, "url" | "command") => "",
                ("[servers.NAME]", AppliesTo::Command, _) => "command = 'cat'\n",
                ("[servers.NAME]", ..) => "url = 'https://example.com/mcp'\n",
                _ => "[servers.demo]\nurl = 'https://example.com/mcp'\n",
            };
            let other = if key.name == "key" { "cert = 'client.pem'\n" } else { "" };
            let text = match section {
                "[servers.NAME.auth]" => format!("{server}{table}\n{}\n", example(key)),
                _ => format!("{table}\n{server}{other}{}\n", example(key)),
            };
            sandbox.config(&text);
            let run = sandbox.mcpipe(["config", "list", "--json"]).env("API_TOKEN", "token").run();
            let document = run.succeeds().json();
            assert_eq!(document["errors"], serde_json::json!([]), "{text}");
            // The files and the program of an example do not exist here.
            let is_missing = |fault: &&serde_json::Value| {
                let message = fault["message"].as_str().unwrap();
                [" cannot be read", " is not executable", " not found in PATH"].iter().any(|end| message.ends_with(end))
            };
            let faults = document.pointer("/servers/0/errors").and_then(|all| all.as_array()).into_iter().flatten();
            assert_eq!(
                faults.filter(|fault| !is_missing(fault)).collect::<Vec<_>>(),
                Vec::<&serde_json::Value>::new(),
                "{text}"
            );
        }
    }
}
