//! What the help of mcpipe itself ends with.

macro_rules! short {
    () => {
        "\
Examples:
  mcpipe list 'npx -y @modelcontextprotocol/server-everything'
  mcpipe call https://mcp.example.com/mcp search query='rust' limit=5
  mcpipe call get-sum a=2 b=3 -- npx -y @modelcontextprotocol/server-everything
  mcpipe config add demo -- npx -y @modelcontextprotocol/server-everything
  mcpipe read demo demo://resource/static/document/features.md > features.md
  mcpipe list linear --json | jq -r '.tools[].name'

Exit codes:
  0 done               3 configuration      6 timed out
  1 the server failed  4 authentication     7 protocol broken
  2 usage              5 unreachable        8 refused
  70 a bug in mcpipe; 74 the result could not be written here, to a full disk, say"
    };
}

/// For `-h` and the README.
pub(super) const SHORT: &str = short!();

/// For `--help` and the manual: with the variables that a user may set. `docs/cli.md` has all that are read.
pub(super) const LONG: &str = concat!(
    short!(),
    "

Environment:
  MCPIPE_CONFIG, MCPIPE_LOGIN  what --config and --login say, which win over them
  MCPIPE_CREDENTIALS_FILE      keep credentials in this file and in no keychain
  MCPIPE_CACHE_DIR             keep what was learned about servers here
  NO_COLOR, TERM=dumb          no colours
  BROWSER                      the program that opens a URL
  VISUAL, EDITOR               the editor of `config edit`
  HTTPS_PROXY, http_proxy,
  ALL_PROXY, NO_PROXY          proxies, and the hosts to be reached without one
  SSL_CERT_FILE, SSL_CERT_DIR  the authorities to trust instead of the system's
  XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_STATE_HOME, XDG_CACHE_HOME,
  XDG_RUNTIME_DIR              where configuration, credentials and the like lie"
);
