//! The keys of a configuration file: one table, from which checking, the JSON Schema, the documentation and
//! `config get` follow. `settings` reads the values.

use crate::transport::HttpMode;

/// What a key may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// A string.
    String,
    /// A string that names a file or directory, relative to the configuration file.
    Path,
    /// An array of strings.
    StringList,
    /// A table of strings.
    StringMap,
    /// True or false.
    Bool,
    /// A time: `"30s"`, or a number of seconds.
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A revision of the protocol, or `auto` or `legacy`.
    Revision,
    /// A redirect URI on this machine.
    RedirectUri,
    /// A source of bearer tokens.
    BearerSource,
    /// A whole number from the first to the second.
    Integer(i64, i64),
    /// True, false, or an array of names.
    InheritEnv,
    /// A string, or false for nothing.
    StringOrFalse,
    /// A table with these keys.
    Section(&'static [ConfigKey]),
}

/// For which servers a key has a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppliesTo {
    /// All.
    Both,
    /// Those started as a command.
    Command,
    /// Those behind a URL.
    Url,
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigKey {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub key_type: KeyType,
    /// Where it has a meaning.
    pub applies_to: AppliesTo,
    /// Whether a project file may set it without being trusted: it starts nothing, sends nothing.
    pub allowed_untrusted: bool,
    /// What it is for, in one sentence.
    pub help: &'static str,
    /// The sentences that follow `help` in the reference.
    pub details: &'static str,
    /// What applies if the key is not set, as the reference shows it.
    pub default: &'static str,
    /// A value as it is written in TOML.
    pub example: &'static str,
}

/// A key with the value that applies without it, and an example.
const fn key(
    name: &'static str,
    key_type: KeyType,
    applies_to: AppliesTo,
    default: &'static str,
    example: &'static str,
    help: &'static str,
) -> ConfigKey {
    ConfigKey { name, key_type, applies_to, allowed_untrusted: false, help, details: "", default, example }
}

impl ConfigKey {
    const fn allow_untrusted(self) -> Self {
        ConfigKey { allowed_untrusted: true, ..self }
    }

    const fn details(self, details: &'static str) -> Self {
        ConfigKey { details, ..self }
    }

    /// The whole description: one paragraph.
    #[must_use]
    pub fn description(&self) -> String {
        if self.details.is_empty() { self.help.to_owned() } else { format!("{} {}", self.help, self.details) }
    }
}

/// The words of `confirm`.
pub const CONFIRM_VALUES: [&str; 3] = ["never", "destructive", "always"];
/// The words of `transport`.
const TRANSPORT_VALUES: &[&str] = &[HttpMode::Auto.name(), HttpMode::Streamable.name(), HttpMode::Sse.name()];
/// How the client authenticates at the token endpoint (RFC 8414, section 2).
pub const TOKEN_ENDPOINT_AUTH_METHODS: [&str; 4] =
    ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"];
/// The algorithms that sign with `private_key_file` (RFC 7518, section 3.1).
pub const SIGNING_ALGORITHMS: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];
/// The words of `grant`.
pub const GRANT_VALUES: [&str; 5] =
    ["authorization_code", "device_code", "client_credentials", "jwt_bearer", "enterprise"];

/// The default that the reference shows for a key without one.
const NONE: &str = "none";

/// The keys of a file.
pub const FILE_KEYS: &[ConfigKey] = &[
    key("servers", KeyType::Section(&[]), AppliesTo::Both, NONE, "[servers.NAME]", "The servers, by name."),
    key(
        "defaults",
        KeyType::Section(DEFAULTS_KEYS),
        AppliesTo::Both,
        NONE,
        "[defaults]",
        "Settings that apply to every configured server.",
    ),
];

/// The keys of `[servers.NAME]`.
pub const SERVER_KEYS: &[ConfigKey] = &[
    key(
        "url",
        KeyType::String,
        AppliesTo::Url,
        NONE,
        r#""https://mcp.example.com/mcp""#,
        "The URL of the server: https, http, wss, ws, unix:PATH or replay:FILE.",
    )
    .details(
        "At an http or https URL the server speaks Streamable HTTP or HTTP+SSE (see transport), at ws and wss WebSocket, \
         and at unix:PATH JSON-RPC lines over a Unix socket. replay:FILE is a recording (--record). A user name and \
         password in the URL are sent as basic authentication.",
    )
    .allow_untrusted(),
    key(
        "command",
        KeyType::String,
        AppliesTo::Command,
        NONE,
        r#""npx""#,
        "The program that mcpipe starts and talks to over stdio.",
    )
    .details(
        "A name is looked up in PATH; anything with a slash is a path, relative to the configuration file. No shell is \
         run. A bundle (FILE.mcpb) is a program too; env then has the values of its user_config as well. A server has \
         either url or command.",
    ),
    key(
        "args",
        KeyType::StringList,
        AppliesTo::Command,
        "[]",
        r#"["-y", "@modelcontextprotocol/server-filesystem", "."]"#,
        "The arguments of the program.",
    )
    .details("Each string is one argument, however many spaces it contains."),
    key(
        "env",
        KeyType::StringMap,
        AppliesTo::Both,
        "{}",
        r#"{ LOG_LEVEL = "debug", API_KEY = "${keychain:API_KEY}" }"#,
        "Environment variables of the program, in addition to those that it inherits.",
    )
    .details(
        "In the other values of the entry, ${VAR} refers to these variables first, also if the server is a URL. --env \
         KEY=VALUE on the command line overrides a variable of the same name.",
    ),
    key(
        "cwd",
        KeyType::Path,
        AppliesTo::Command,
        "the working directory; for a project file, its directory",
        r#""~/work""#,
        "The directory in which the program is started.",
    ),
    key(
        "inherit_env",
        KeyType::InheritEnv,
        AppliesTo::Command,
        "true",
        r#"["PATH", "HOME"]"#,
        "Whether the program inherits the environment: true, false, or the names of the variables that it inherits.",
    )
    .details(
        "With true, it inherits everything except the variables that begin with MCPIPE_ and those that \
         bearer_env or auth of any trusted server refers to. The variables of env are always set.",
    ),
    key(
        "headers",
        KeyType::StringMap,
        AppliesTo::Url,
        "{}",
        r#"{ X-Team = "core", X-Api-Key = "${keychain:API_KEY}" }"#,
        "HTTP headers that are sent with every request to the server.",
    )
    .details(
        "-H 'Name: value' on the command line overrides a header of the same name. The headers are never sent to an \
         authorization server.",
    ),
    key(
        "bearer_env",
        KeyType::String,
        AppliesTo::Url,
        NONE,
        r#""API_TOKEN""#,
        "The name of the environment variable that contains the bearer token.",
    )
    .details("Stored logins are not used then. It cannot be combined with an Authorization header."),
    key(
        "bearer",
        KeyType::BearerSource,
        AppliesTo::Url,
        NONE,
        r#""github-oidc:https://mcp.example.com""#,
        "The source of a bearer token that changes: a file, or the identity of a CI job.",
    )
    .details(
        "file:PATH is read again when the file changes. github-oidc:AUDIENCE requests an ID token of GitHub Actions, for \
         which the job needs the permission `id-token: write`. gitlab-oidc:AUDIENCE uses the ID token with this audience \
         that the job defines with `id_tokens`. Stored logins are not used then. It cannot be combined with bearer_env or \
         an Authorization header.",
    ),
    key(
        "transport",
        KeyType::Choice(TRANSPORT_VALUES),
        AppliesTo::Url,
        "\"auto\"",
        r#""http""#,
        "The HTTP transport: auto, http or sse.",
    )
    .details(
        "auto uses Streamable HTTP, or HTTP+SSE (protocol revision 2024-11-05) if the server supports only that; http \
         and sse use only the one that they name.",
    )
    .allow_untrusted(),
    key(
        "protocol",
        KeyType::Revision,
        AppliesTo::Both,
        "\"auto\"",
        r#""2025-11-25""#,
        "The protocol revision: auto, legacy, or a revision such as 2026-07-28.",
    )
    .details(
        "auto uses the newest revision that mcpipe and the server have in common. legacy uses the newest of those that \
         begin with an initialize request (2025-11-25 and older). A revision is used without fallback to another.",
    )
    .allow_untrusted(),
    key(
        "cacert",
        KeyType::Path,
        AppliesTo::Url,
        NONE,
        r#""certs/internal-ca.pem""#,
        "A file with certificate authorities (PEM) to trust in addition to the system's.",
    ),
    key(
        "cert",
        KeyType::Path,
        AppliesTo::Url,
        NONE,
        r#""certs/client.pem""#,
        "The client certificate (PEM) to present to the server.",
    ),
    key(
        "key",
        KeyType::Path,
        AppliesTo::Url,
        "the file of cert",
        r#""certs/client.key""#,
        "The private key of the client certificate (PEM), if it is not in the same file.",
    ),
    key(
        "proxy",
        KeyType::String,
        AppliesTo::Url,
        "the variables HTTPS_PROXY, http_proxy, ALL_PROXY and NO_PROXY",
        r#""http://proxy.example.com:3128""#,
        "The proxy through which the server is reached: http, https, socks4, socks4a, socks5 or socks5h.",
    ),
    key(
        "insecure",
        KeyType::Bool,
        AppliesTo::Url,
        "false",
        "true",
        "Do not verify the server's TLS certificate (dangerous).",
    )
    .details("Anyone on the network path can then read and change everything, so mcpipe prints a warning each time."),
    key(
        "allow_http",
        KeyType::Bool,
        AppliesTo::Url,
        "false",
        "true",
        "Allow unencrypted http and ws to hosts other than this machine.",
    ),
    key("no_cookies", KeyType::Bool, AppliesTo::Url, "false", "true", "Do not send the server's cookies back.")
        .details("Cookies are kept while mcpipe runs, and sent only to the server that set them.")
        .allow_untrusted(),
    key(
        "unix_socket",
        KeyType::Path,
        AppliesTo::Url,
        NONE,
        r#""/run/gateway.sock""#,
        "Connect to this Unix socket instead of the URL's host and port.",
    )
    .details("The requests are the same as over TCP. For JSON-RPC lines without HTTP, use url = \"unix:PATH\"."),
    key(
        "allow_tools",
        KeyType::StringList,
        AppliesTo::Both,
        "all tools",
        r#"["list_*", "get_*"]"#,
        "Glob patterns of the tools that may be used.",
    )
    .details(
        "Other tools are not listed, and calling one fails with exit code 8. In a pattern, * matches any text, ? one \
         character, [abc] one of these characters and {a,b} one of these words.",
    )
    .allow_untrusted(),
    key(
        "deny_tools",
        KeyType::StringList,
        AppliesTo::Both,
        "[]",
        r#"["delete_*"]"#,
        "Glob patterns of the tools that must not be used.",
    )
    .details("deny_tools takes precedence over allow_tools.")
    .allow_untrusted(),
    key(
        "confirm",
        KeyType::Choice(&CONFIRM_VALUES),
        AppliesTo::Both,
        "confirm of [defaults], else \"never\"",
        r#""destructive""#,
        "Which tool calls need confirmation: never, destructive or always.",
    )
    .details(
        "destructive means every tool that does not declare itself read-only (readOnlyHint: true) or not destructive \
         (destructiveHint: false). mcpipe asks at the terminal; without a terminal the call fails with exit code 8 \
         unless --yes is given.",
    ),
    key(
        "read_only",
        KeyType::Bool,
        AppliesTo::Both,
        "false",
        "true",
        "Call only tools that declare themselves read-only (readOnlyHint: true).",
    )
    .details("Calling another tool fails with exit code 8. --read-only does the same for one command.")
    .allow_untrusted(),
    key(
        "locked",
        KeyType::String,
        AppliesTo::Both,
        NONE,
        r#""mcp.lock""#,
        "The lock file that tools must agree with, relative to the configuration file.",
    )
    .details("A tool that differs from it or is not in it is not called: exit code 8. `mcpipe lock` writes it."),
    key(
        "timeout",
        KeyType::Duration,
        AppliesTo::Both,
        "timeout of [defaults], else \"60s\"",
        r#""2m""#,
        "How long to wait for a response; 0 means no limit.",
    )
    .details("Each progress notification restarts the timer, up to 60 times this time in total. --timeout overrides it.")
    .allow_untrusted(),
    key(
        "connect_timeout",
        KeyType::Duration,
        AppliesTo::Both,
        "connect_timeout of [defaults], else \"30s\"",
        r#""10s""#,
        "How long connecting and initializing may take; 0 means no limit.",
    )
    .details("For a command, this includes the start of the program. --connect-timeout overrides it.")
    .allow_untrusted(),
    key(
        "keep_alive",
        KeyType::Duration,
        AppliesTo::Both,
        "no session",
        r#""10m""#,
        "Keep the server running between commands, until it was not used for this time.",
    )
    .details(
        "The first command that uses the server starts a session, which later commands use too (see mcpipe-session(1)). \
         0 means no session. --no-session does without it. Not supported on Windows.",
    ),
    key(
        "roots",
        KeyType::StringList,
        AppliesTo::Both,
        "[]",
        r#"["~/work/site"]"#,
        "Directories or file:// URIs that are offered to the server as roots.",
    )
    .details("--root on the command line replaces them."),
    key(
        "disabled",
        KeyType::Bool,
        AppliesTo::Both,
        "false",
        "true",
        "Keep the entry, but do not use it.",
    )
    .details("`mcpipe list` skips the server, and a command that names it fails with exit code 3.")
    .allow_untrusted(),
    key(
        "auth",
        KeyType::Section(AUTH_KEYS),
        AppliesTo::Url,
        NONE,
        "[servers.NAME.auth]",
        "OAuth settings, for servers that need more than `mcpipe auth login` finds out by itself.",
    ),
];

/// The keys of `[servers.NAME.auth]`.
pub const AUTH_KEYS: &[ConfigKey] = &[
    key(
        "client_id",
        KeyType::String,
        AppliesTo::Url,
        "the client_metadata_url, or a client that mcpipe registers",
        r#""mcp-cli""#,
        "The ID of a client that you registered at the authorization server.",
    ),
    key(
        "client_secret",
        KeyType::String,
        AppliesTo::Url,
        NONE,
        r#""${keychain:APP_SECRET}""#,
        "The secret of that client, preferably as a reference such as ${VAR} or ${keychain:NAME}.",
    )
    .details("It is not stored with the tokens."),
    key(
        "scopes",
        KeyType::StringList,
        AppliesTo::Url,
        "those that the server requests, else all that it supports",
        r#"["repo", "read:user"]"#,
        "The scopes to request.",
    ),
    key(
        "grant",
        KeyType::Choice(&GRANT_VALUES),
        AppliesTo::Url,
        "\"authorization_code\"",
        r#""client_credentials""#,
        "The OAuth grant type, which is how tokens are obtained.",
    )
    .details(
        "authorization_code opens a browser. device_code shows a code to enter on another device (RFC 8628). \
         client_credentials uses the client's own secret or key and needs no user. jwt_bearer uses assertion_file (RFC \
         7523). enterprise exchanges id_token_file at idp_token_endpoint (enterprise-managed authorization).",
    ),
    key(
        "issuer",
        KeyType::String,
        AppliesTo::Url,
        "what discovery finds",
        r#""https://auth.example.com""#,
        "The authorization server, if discovery does not find it or must not connect to it.",
    )
    .details("It may be in a private network, which a server's own metadata must not point to."),
    key(
        "client_metadata_url",
        KeyType::String,
        AppliesTo::Url,
        NONE,
        r#""https://example.com/mcpipe-client.json""#,
        "The https URL of a client ID metadata document, which is used instead of registering a client.",
    )
    .details("It is used only if the authorization server supports such documents."),
    key(
        "client_name",
        KeyType::String,
        AppliesTo::Url,
        "\"mcpipe\"",
        r#""My client""#,
        "The name under which mcpipe registers a client.",
    )
    .details("Login pages show it, and some authorization servers register only clients whose names they know."),
    key(
        "redirect_port",
        KeyType::Integer(1, 65535),
        AppliesTo::Url,
        "any free port",
        "8765",
        "The port of the redirect URI on the loopback address, if one is registered.",
    )
    .details("The redirect URI is http://127.0.0.1:PORT/callback."),
    key(
        "redirect_uri",
        KeyType::RedirectUri,
        AppliesTo::Url,
        "\"http://127.0.0.1:PORT/callback\" with redirect_port or any free port",
        r#""http://localhost:3118/callback""#,
        "The redirect URI of a login with a browser, exactly as it is registered for the client.",
    )
    .details(
        "It is an http:// URL of this machine (localhost, 127.0.0.1 or [::1]) with any path. Without a port, any free \
         port is used. It cannot be combined with redirect_port.",
    ),
    key(
        "resource",
        KeyType::StringOrFalse,
        AppliesTo::Url,
        "the resource that the server's metadata names, else its URL",
        r#""api://mcp-server""#,
        "The resource that tokens are requested for (RFC 8707), or false to omit the parameter.",
    )
    .details(
        "Some authorization servers, such as Microsoft Entra ID, refuse the parameter. If it is set, metadata for another \
         resource is accepted.",
    ),
    key(
        "params",
        KeyType::StringMap,
        AppliesTo::Url,
        "{}",
        r#"{ access_type = "offline", audience = "https://api.example.com" }"#,
        "Additional parameters of the authorization request, which opens the login page.",
    )
    .details(
        "An empty value removes a parameter that mcpipe would send, such as prompt. The parameters that secure the login \
         cannot be set.",
    ),
    key(
        "token_endpoint_auth_method",
        KeyType::Choice(&TOKEN_ENDPOINT_AUTH_METHODS),
        AppliesTo::Url,
        "by the metadata of the authorization server",
        r#""client_secret_post""#,
        "How the client authenticates at the token endpoint, if the automatic choice is wrong.",
    ),
    key(
        "private_key_file",
        KeyType::Path,
        AppliesTo::Url,
        NONE,
        r#""client-key.pem""#,
        "The private key (PEM: RSA, P-256, P-384 or Ed25519) that signs client assertions.",
    ),
    key(
        "signing_algorithm",
        KeyType::Choice(&SIGNING_ALGORITHMS),
        AppliesTo::Url,
        "by the type of the key",
        r#""ES256""#,
        "The signing algorithm of private_key_file.",
    ),
    key(
        "assertion_file",
        KeyType::Path,
        AppliesTo::Url,
        NONE,
        r#""/var/run/secrets/token""#,
        "The file with the assertion of the grant jwt_bearer.",
    )
    .details("It is read again for each login."),
    key(
        "idp_token_endpoint",
        KeyType::String,
        AppliesTo::Url,
        NONE,
        r#""https://idp.example.com/token""#,
        "The token endpoint of the identity provider, at which the grant enterprise exchanges the ID token.",
    ),
    key(
        "idp_client_id",
        KeyType::String,
        AppliesTo::Url,
        NONE,
        r#""mcpipe""#,
        "The ID of the client at the identity provider, for the grant enterprise.",
    ),
    key(
        "id_token_file",
        KeyType::Path,
        AppliesTo::Url,
        NONE,
        r#""id-token.jwt""#,
        "The file with the ID token of the identity provider, for the grant enterprise.",
    ),
    key(
        "dpop",
        KeyType::Bool,
        AppliesTo::Url,
        "false",
        "true",
        "Bind the tokens to a key (DPoP, RFC 9449), so that they are useless without it.",
    ),
    key(
        "allow_unadvertised_pkce",
        KeyType::Bool,
        AppliesTo::Url,
        "false",
        "true",
        "Accept an authorization server whose metadata does not mention PKCE.",
    )
    .details("PKCE is used all the same. Set it only if you know that the server supports it."),
];

/// The keys of `[defaults]`.
pub const DEFAULTS_KEYS: &[ConfigKey] = &[
    key(
        "credential_store",
        KeyType::Choice(&["auto", "keyring", "file"]),
        AppliesTo::Both,
        "\"auto\"",
        r#""file""#,
        "Where logins and secrets are stored: auto, keyring or file.",
    )
    .details(
        "keyring stores them in the system's keychain only, and file in a file that only you can read; auto uses the \
         keychain, or the file if the keychain cannot be used. It applies to servers that are not configured, too.",
    ),
    key(
        "confirm",
        KeyType::Choice(&CONFIRM_VALUES),
        AppliesTo::Both,
        "\"never\"",
        r#""destructive""#,
        "Which tool calls need confirmation: never, destructive or always.",
    )
    .details("A server's own confirm overrides it."),
    key(
        "timeout",
        KeyType::Duration,
        AppliesTo::Both,
        "\"60s\"",
        r#""2m""#,
        "How long to wait for a response; 0 means no limit.",
    )
    .details("A server's own timeout overrides it.")
    .allow_untrusted(),
    key(
        "connect_timeout",
        KeyType::Duration,
        AppliesTo::Both,
        "\"30s\"",
        r#""10s""#,
        "How long connecting and initializing may take; 0 means no limit.",
    )
    .details("A server's own connect_timeout overrides it.")
    .allow_untrusted(),
    key(
        "color",
        KeyType::Choice(&["auto", "always", "never"]),
        AppliesTo::Both,
        "\"auto\"",
        r#""never""#,
        "When to use colors: auto, always or never.",
    )
    .details("auto means at a terminal, unless NO_COLOR or TERM=dumb is set. --color overrides it.")
    .allow_untrusted(),
    key(
        "jobs",
        KeyType::Integer(1, 65535),
        AppliesTo::Both,
        "32",
        "16",
        "How many servers `mcpipe list` queries at once.",
    )
    .details("--jobs overrides it.")
    .allow_untrusted(),
];

/// The key of this name.
#[must_use]
pub fn find_key<'a>(keys: &'a [ConfigKey], name: &str) -> Option<&'a ConfigKey> {
    keys.iter().find(|key| key.name == name)
}
