//! What help texts end with: examples, notes, and where the general options are described.

/// The end of `-h`: short, since `-h` fits one screen.
macro_rules! short_help {
    ($($text:literal)?) => {
        concat!($($text, "\n\n",)? "More options and examples: --help. General options: mcpipe --help")
    };
}

/// The end of `--help`, with the general options by name; `mcpipe --help` describes them.
macro_rules! long_help {
    ($($text:literal)?) => {
        concat!(
            $($text, "\n\n",)?
            "\
General options (described in 'mcpipe --help'):
  --json  --jq EXPR  --jq-exit  -q, --quiet  -v, --verbose  --trace FILE
  --record FILE  --events FILE|-  --color WHEN  --images WHEN  --config FILE
  --timeout TIME  --retries N  --connect-timeout TIME  --wait TIME  --no-cache
  --no-session  --no-input  --login WHEN  --root DIR  --elicit HOW
  --sampling-command CMD  --log-level LEVEL  --max-list-size SIZE
  --meta KEY=VALUE"
        )
    };
}

macro_rules! root_examples {
    () => {
        "\
Examples:
  mcpipe list 'npx -y @modelcontextprotocol/server-everything'
  mcpipe call https://mcp.example.com/mcp search query='rust' limit=5
  mcpipe call get-sum a=2 b=3 -- npx -y @modelcontextprotocol/server-everything
  mcpipe list linear --json | jq -r '.tools[].name'"
    };
}

macro_rules! exit_codes {
    () => {
        "\
Exit codes:
  0 success            4 authentication     8 refused
  1 server error       5 unreachable        9 not as expected
  2 usage              6 timeout            70 bug in mcpipe
  3 configuration      7 protocol error     74 output error (disk full, for example)"
    };
}

/// The end of `mcpipe -h`.
pub(super) const ROOT_SHORT: &str =
    concat!(root_examples!(), "\n\nAll general options, exit codes and variables: mcpipe --help");

/// The end of `mcpipe --help`, with the variables that a user may set. `docs/cli.md` lists all that are read.
pub(super) const ROOT_LONG: &str = concat!(
    root_examples!(),
    "\n\n",
    exit_codes!(),
    "

Environment:
  MCPIPE_CONFIG, MCPIPE_LOGIN  defaults for --config and --login
  MCPIPE_CREDENTIALS_FILE      store credentials in this file, not in a keychain
  MCPIPE_CACHE_DIR             store the cache of server metadata here
  MCPIPE_REGISTRY              the registry of `config add NAME registry:WHICH`
  NO_COLOR, TERM=dumb          no colors
  BROWSER                      the program that opens a URL
  VISUAL, EDITOR               the editor for `config edit`
  TRACEPARENT, TRACESTATE,
  BAGGAGE                      the trace context to send with each request
  HTTPS_PROXY, http_proxy,
  ALL_PROXY, NO_PROXY          proxies, and the hosts to reach without one
  SSL_CERT_FILE, SSL_CERT_DIR  trust these certificate authorities instead of the
                               system's
  XDG_CONFIG_HOME, XDG_DATA_HOME,
  XDG_STATE_HOME, XDG_CACHE_HOME
                               where configuration and other files are stored"
);
