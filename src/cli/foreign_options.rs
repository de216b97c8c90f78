//! Options and commands of similar programs, and what mcpipe has instead: people type what curl, wget, HTTPie, mcporter
//! and the MCP Inspector accept.

/// An option of another program.
struct ForeignOption {
    names: &'static [&'static str],
    /// The commands that the advice is for; all if empty.
    commands: &'static [&'static str],
    advice: &'static str,
    /// Whether a tool may well have an argument of this name.
    is_argument_name: bool,
    /// Whether the advice is how to name a server or a kind of request, of no use where both are named.
    names_request: bool,
}

const fn option(names: &'static [&'static str], advice: &'static str) -> ForeignOption {
    ForeignOption { names, commands: &[], advice, is_argument_name: false, names_request: false }
}

const fn word(names: &'static [&'static str], advice: &'static str) -> ForeignOption {
    ForeignOption { names, commands: &[], advice, is_argument_name: true, names_request: false }
}

impl ForeignOption {
    const fn of(self, commands: &'static [&'static str]) -> Self {
        ForeignOption { commands, ..self }
    }

    const fn naming_the_request(self) -> Self {
        ForeignOption { names_request: true, ..self }
    }
}

/// The first entry that names the option and fits the command is used.
const FOREIGN_OPTIONS: &[ForeignOption] = &[
    // curl, wget, HTTPie.
    option(
        &["-k", "--no-check-certificate", "--verify", "--skip-verify", "--no-verify"],
        "use --insecure, or trust a certificate authority with --cacert FILE",
    ),
    word(
        &["-u", "--user", "-a", "--auth"],
        "write the line 'Authorization: Basic BASE64' to a file that only you can read, and use -H @FILE",
    ),
    word(
        &["--token", "--bearer", "--bearer-token", "--api-key", "--auth-token", "--access-token", "--oauth2-bearer"],
        "use --bearer-env VAR, or -H 'Authorization: Bearer TOKEN'",
    ),
    option(
        &["-L", "--location", "--max-redirs", "--max-redirect"],
        "omit it: redirects to the same host are followed; to follow one to another host, use its URL as TARGET",
    ),
    option(&["-x"], "use --proxy URL"),
    option(
        &["-m", "--max-time", "--read-timeout", "--request-timeout"],
        "use --timeout TIME, for example --timeout 30s",
    ),
    option(&["-d", "--data-raw", "--data-binary", "--data-urlencode", "--post-data"], DATA).of(&["call"]),
    word(&["--data", "--body", "--params", "--arguments", "--input", "--form", "-F", "-p"], DATA).of(&["call"]),
    word(&["--args", "--data", "--arguments", "--params"], WORDS).of(&["prompt"]),
    option(&["-d", "--data-raw"], WORDS).of(&["prompt"]),
    option(&["--field", "--raw-field"], WORDS).of(&["call", "prompt"]),
    option(
        &["--args", "--data", "--arguments", "--params", "--param", "--input", "--body", "-d"],
        "write the parameters after the method, as JSON: mcpipe request TARGET METHOD '{…}'",
    )
    .of(&["request"]),
    option(&["-f"], "write arguments as words: NAME=VALUE; if a call fails, the exit code is not 0").of(&["call"]),
    option(&["-X", "--request"], "omit it: MCP decides the HTTP method; each mcpipe command sends one kind of request"),
    option(&["-b", "--cookie"], "use -H 'Cookie: NAME=VALUE'"),
    option(&["-A", "--user-agent"], "use -H 'User-Agent: NAME'"),
    option(&["-E"], "use --cert FILE"),
    option(&["-i", "--include", "-I", "--head", "-D", "--dump-header"], "use -vv to show the HTTP headers on stderr"),
    option(&["-s", "-S", "--silent"], "use --quiet"),
    option(&["-f", "--fail"], "omit it: the exit code is not 0 if the command fails"),
    option(&["-O", "--remote-name", "--save-images", "--download"], "use --save DIR").of(&["call", "read"]),
    option(&["--retry", "--tries"], "use --retries N"),
    // mcporter, the MCP Inspector and other clients.
    option(&["--server", "--server-name"], "name the server without an option: mcpipe list SERVER").of(&["list"]),
    option(
        &["--server", "--server-name", "--tool", "--tool-name"],
        "name the server and the tool without options: mcpipe call SERVER TOOL NAME=VALUE",
    ),
    option(
        &["--method", "--cli"],
        "use the command for it: list (tools/list), call (tools/call), read (resources/read), prompt (prompts/get)",
    )
    .naming_the_request(),
    option(&["--tool-arg", "--tool-args", "--prompt-args", "--arg", "--param", "--parameter"], WORDS),
    word(&["--uri"], "write the URI as a word: mcpipe read TARGET URI").naming_the_request(),
    option(&["--prompt-name"], "name the prompt without an option: mcpipe prompt TARGET NAME"),
    word(
        &["--url", "--server-url", "--http-url", "--endpoint"],
        "write the URL as a word, as TARGET: mcpipe list https://HOST/PATH",
    )
    .naming_the_request(),
    word(&["--command", "--cmd", "--stdio"], "put the server's command after --: mcpipe list -- COMMAND")
        .naming_the_request(),
    word(&["--output", "--format", "--output-format", "-o"], "use --json for JSON; redirect stdout for a file: > FILE"),
    option(&["-j", "--yaml"], "use --json"),
    option(&["-t"], "use --transport KIND or --timeout TIME"),
    option(
        &["--tools", "--list", "--list-tools"],
        "omit it: list prints the tools unless an option chooses something else",
    )
    .of(&["list"]),
    option(&["--signatures", "--compact"], "use --brief").of(&["list"]),
    option(&["--paginate", "--page", "--page-size", "--cursor"], "omit it: mcpipe requests all pages").of(&["list"]),
    option(&["--reporter", "--report"], "use --tap, --junit FILE, --markdown FILE or --html FILE").of(&["test"]),
    option(&["--only", "--grep", "-g"], "use --filter WORD to choose tests of a suite").of(&["test"]),
    word(&["--raw", "--raw-output", "-r"], "use --jq EXPR: it prints strings without quotes"),
    word(&["--query"], "use --jq EXPR").of(&["list", "read", "auth", "config", "task"]),
    option(&["--no-color", "--no-colour"], "use --color never"),
    option(&["--debug"], "use -v, or -vv for the HTTP headers too"),
    option(&["--no-oauth", "--no-auth"], "use --login never"),
    option(&["--sse"], "use --transport sse"),
    option(&["--http", "--streamable-http"], "use --transport http"),
];

const WORDS: &str = "write arguments as words: NAME=VALUE";
const DATA: &str = "write arguments as words, NAME=VALUE, or pass them all with --args JSON";

/// What to use instead of an option of another program, and whether the option may also be meant as an argument of a
/// tool.
#[must_use]
pub fn replacement(option: &str, command: &str) -> Option<(&'static str, bool)> {
    let name = option.split('=').next().unwrap_or(option);
    let fits = |entry: &&ForeignOption| {
        entry.names.contains(&name) && (entry.commands.is_empty() || entry.commands.contains(&command))
    };
    FOREIGN_OPTIONS.iter().find(fits).map(|entry| (entry.advice, entry.is_argument_name && name.starts_with("--")))
}

/// Whether the option of another program names a server or a kind of request. After both it is an argument of a tool.
#[must_use]
pub fn names_request(option: &str) -> bool {
    let name = option.split('=').next().unwrap_or(option);
    FOREIGN_OPTIONS.iter().any(|entry| entry.names_request && entry.names.contains(&name))
}

/// The API of a model or product that is named in place of it.
#[must_use]
pub fn model_api(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "claude" => "anthropic",
        "chatgpt" | "gpt" | "codex" | "chat-completions" => "openai",
        "responses" => "openai-responses",
        "google" | "vertex" => "gemini",
        "ts" | "d.ts" => "typescript",
        _ => return None,
    })
}

/// The command for an option of another program that names one, and the option that goes with it.
#[must_use]
pub fn command_of_option(option: &str) -> Option<(&'static str, Option<&'static str>)> {
    Some(match option {
        "--list" | "--ls" | "--list-tools" | "--tools" => ("list", None),
        "--list-resources" | "--resources" => ("list", Some("--resources")),
        "--list-prompts" | "--prompts" => ("list", Some("--prompts")),
        "--call" | "--call-tool" => ("call", None),
        "--read" | "--read-resource" => ("read", None),
        "--prompt" | "--get-prompt" => ("prompt", None),
        _ => return None,
    })
}

/// What mcpipe has for a command of another program: a command line, or advice in words. `parent` is the command before
/// the word (`config`), and `more` how many words follow it.
#[must_use]
pub fn command_for(parent: &str, word: &str, more: usize) -> Option<&'static str> {
    match parent {
        "" => top_level_command(word, more),
        "auth" => auth_command(word),
        "config" => config_command(word),
        "config secret" => secret_command(word),
        "session" => session_command(word),
        "task" => task_command(word),
        _ => None,
    }
}

fn top_level_command(word: &str, more: usize) -> Option<&'static str> {
    Some(match word {
        "ls" | "tools" | "servers" | "inspect" | "describe" | "info" | "list-tools" => "mcpipe list",
        "resource" => "mcpipe read TARGET",
        "resources" | "list-resources" => "mcpipe list TARGET --resources",
        "prompts" | "list-prompts" => "mcpipe list TARGET --prompts",
        "search" | "grep" => "mcpipe list --search WORD",
        "run" | "exec" | "invoke" | "call-tool" => "mcpipe call TARGET TOOL",
        "get" | "cat" | "read-resource" => "mcpipe read TARGET URI",
        "get-prompt" => "mcpipe prompt TARGET NAME",
        "watch" if more < 2 => "mcpipe list TARGET --watch",
        "watch" | "subscribe" => "mcpipe read TARGET URI --watch",
        "add" | "install" | "init" => "mcpipe config add NAME URL",
        "remove" | "rm" | "uninstall" => "mcpipe config remove NAME",
        "rename" => "mcpipe config rename NAME NEW",
        "edit" => "mcpipe config edit",
        "import" => "mcpipe config import",
        "trust" => "mcpipe config trust",
        "secret" | "secrets" if more > 0 => "mcpipe config secret",
        "secret" | "secrets" => "mcpipe config secret list",
        "login" => "mcpipe auth login TARGET",
        "logout" => "mcpipe auth logout TARGET",
        "token" => "mcpipe auth token TARGET",
        "status" | "whoami" => "mcpipe auth status",
        "completion" => "mcpipe completions SHELL",
        "version" => "mcpipe --version",
        "daemon" if more > 0 => "mcpipe session",
        "start" | "connect" | "daemon" => "mcpipe session start TARGET",
        "sessions" if more > 0 => "mcpipe session",
        "sessions" | "ps" => "mcpipe session list",
        "stop" | "kill" | "disconnect" | "close" => "mcpipe session stop NAME",
        "logs" => "mcpipe session logs NAME",
        "tasks" => "mcpipe task list",
        "wait" => "mcpipe task wait ID",
        "cancel" => "mcpipe task cancel ID",
        "serve" | "proxy" => "mcpipe bridge TARGET",
        "check" | "doctor" | "validate" => "mcpipe test TARGET",
        "diff" => "mcpipe lock --check",
        "snapshot" => "mcpipe lock TARGET",
        "ping" => "mcpipe request TARGET ping",
        "record" => "use the option --record FILE of the command that is to be recorded",
        "mock" => "to serve recorded answers: mcpipe replay FILE",
        "emit-ts" => "mcpipe list TARGET --for typescript",
        "shell" | "repl" => "to make many calls, one JSON object per line: mcpipe call TARGET --batch -",
        "alias" if more > 0 => "mcpipe config",
        "alias" => "mcpipe config list",
        "configs" | "scan" | "discover" => "to find the servers of other clients: mcpipe config import --dry-run",
        "guard" => "set allow_tools and deny_tools in the configuration: mcpipe config edit",
        "vault" => "to store tokens: mcpipe auth import TARGET; to remove them: mcpipe auth logout TARGET",
        _ => return command_of_method(word),
    })
}

/// The command for a method, also as the commands of other clients are called: `tools-list`.
#[must_use]
pub fn command_of_method(word: &str) -> Option<&'static str> {
    Some(match word.replace('-', "/").as_str() {
        "tools/list" => "mcpipe list TARGET",
        "tools/get" => "mcpipe list TARGET TOOL",
        "tools/call" => "mcpipe call TARGET TOOL",
        "resources/list" => "mcpipe list TARGET --resources",
        "resources/templates/list" => "mcpipe list TARGET --templates",
        "resources/read" => "mcpipe read TARGET URI",
        "prompts/list" => "mcpipe list TARGET --prompts",
        "prompts/get" => "mcpipe prompt TARGET NAME",
        _ => return None,
    })
}

fn auth_command(word: &str) -> Option<&'static str> {
    Some(match word {
        "list" | "ls" | "show" | "whoami" => "mcpipe auth status",
        "signin" | "sign-in" | "add" => "mcpipe auth login TARGET",
        "signout" | "sign-out" | "remove" | "rm" | "delete" => "mcpipe auth logout TARGET",
        "refresh" | "get" => "mcpipe auth token TARGET",
        _ => return None,
    })
}

fn config_command(word: &str) -> Option<&'static str> {
    Some(match word {
        "ls" | "servers" => "mcpipe config list",
        "show" | "view" | "cat" | "describe" | "inspect" => "mcpipe config get NAME",
        "rm" | "delete" | "uninstall" | "unset" => "mcpipe config remove NAME",
        "mv" => "mcpipe config rename NAME NEW",
        "install" | "new" | "create" | "init" => "mcpipe config add NAME URL",
        "set" | "update" => {
            "change the file with mcpipe config edit, or replace an entry with mcpipe config add --force"
        }
        "validate" | "doctor" | "test" => "mcpipe config check",
        "secrets" => "mcpipe config secret list",
        "where" | "file" => "mcpipe config path",
        "login" => "mcpipe auth login TARGET",
        "logout" => "mcpipe auth logout TARGET",
        _ => return None,
    })
}

fn secret_command(word: &str) -> Option<&'static str> {
    Some(match word {
        "get" | "show" | "cat" | "read" => {
            "stored secrets are not printed; a configuration refers to one with ${keychain:NAME}"
        }
        "add" | "put" | "store" | "create" => "mcpipe config secret set NAME",
        "rm" | "delete" | "unset" => "mcpipe config secret remove NAME",
        "ls" => "mcpipe config secret list",
        _ => return None,
    })
}

fn session_command(word: &str) -> Option<&'static str> {
    Some(match word {
        "ls" | "ps" | "status" | "show" => "mcpipe session list",
        "stop" => "mcpipe session stop NAME",
        "kill" | "rm" | "remove" | "close" | "end" | "delete" => "mcpipe session stop NAME",
        "new" | "open" | "create" | "run" | "connect" => "mcpipe session start TARGET",
        "log" | "tail" => "mcpipe session logs NAME",
        _ => return None,
    })
}

fn task_command(word: &str) -> Option<&'static str> {
    Some(match word {
        "ls" | "ps" => "mcpipe task list",
        "status" | "show" | "info" => "mcpipe task get ID",
        "result" | "watch" | "attach" | "logs" => "mcpipe task wait ID",
        "kill" | "stop" | "rm" | "delete" => "mcpipe task cancel ID",
        "start" | "run" | "create" => "mcpipe call TARGET TOOL --detach",
        _ => return None,
    })
}
