//! The command line of `auth`.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};

use crate::cli::options::GlobalOptions;
use crate::config::keys::{GRANT_VALUES, SIGNING_ALGORITHMS, TOKEN_ENDPOINT_AUTH_METHODS};
use crate::target::TargetOptions;
use crate::util::whole_number::parse_whole_number;

/// Log in, log out, and show the stored logins
///
/// mcpipe logs in with OAuth, as MCP servers require it: it finds the authorization server, registers a client if
/// necessary, opens a browser, and stores the tokens in the system's keychain or in a file that only you can read.
/// Tokens are refreshed before they expire. Each login belongs to one configured entry, or to one URL.
///
/// `mcpipe auth TARGET` is short for `mcpipe auth login TARGET`.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    override_usage = "mcpipe auth [OPTIONS] <TARGET>\n       mcpipe auth <COMMAND>",
    after_help = short_help!("\
Examples:
  mcpipe auth login linear
  mcpipe auth status"),
    after_long_help = long_help!("\
Examples:
  mcpipe auth login linear
  mcpipe auth status
  curl -H \"Authorization: Bearer $(mcpipe auth token api)\" https://example.com
  mcpipe auth logout --all")
)]
pub struct AuthArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<AuthCommand>,
    /// Without a command: log in.
    #[command(flatten)]
    pub login: AuthLoginArgs,
}

/// The commands below `auth`.
#[derive(Debug, Subcommand)]
pub enum AuthCommand {
    /// Log in to a server
    ///
    /// Opens a browser at the server's authorization page, waits for the redirect to a port on this machine, and stores
    /// the tokens. On a machine without a browser use --no-browser, which prints the URL and reads the redirected URL
    /// from the terminal, or --device, if the authorization server supports it.
    ///
    /// For machines without a user, --grant client-credentials logs in with a client secret or a private key.
    Login(Box<AuthLoginArgs>),
    /// Remove the credentials of a server
    ///
    /// Revokes the tokens at the authorization server and deletes the registration of the client, if it supports that,
    /// and removes both from this machine.
    Logout(AuthLogoutArgs),
    /// Show which credentials are stored, and where
    ///
    /// Lists the stored logins with their issuer, scopes and expiry, but never the tokens. It does not connect, except
    /// with --check. With TARGET, the exit code is 4 if there is no valid login for it.
    Status(AuthStatusArgs),
    /// Print the access token
    ///
    /// Prints the stored access token for use with other programs, after refreshing it if it is about to expire. --json
    /// prints what `mcpipe auth import` reads on another machine.
    Token(AuthTokenArgs),
    /// Import tokens from JSON on standard input
    ///
    /// Stores tokens that were obtained elsewhere, for machines without a browser. The JSON object is the response of a
    /// token endpoint: access_token, and optionally refresh_token, expires_in (or expires_at), scope and token_type. To
    /// refresh the tokens, mcpipe also needs issuer, client_id and, if there is one, client_secret.
    Import(AuthImportArgs),
}

/// The command line of `auth login`.
#[derive(Debug, Args)]
#[command(
    after_help = short_help!("\
Examples:
  mcpipe auth login https://mcp.example.com/mcp
  mcpipe auth login linear --no-browser"),
    after_long_help = long_help!("\
Examples:
  mcpipe auth login https://mcp.example.com/mcp
  mcpipe auth login linear --no-browser
  mcpipe auth login api --grant client-credentials --client-secret-env CI_SECRET
  mcpipe auth login crm --client-id cli --redirect-port 8765 --scope read
  mcpipe auth login crm --client-id cli \\
      --redirect-uri http://localhost:3118/callback")
)]
pub struct AuthLoginArgs {
    /// Configured name or URL
    #[arg(value_name = "TARGET", required = true)]
    pub target: Option<String>,

    /// Print the URL, and read the redirected URL from the terminal
    #[arg(long, help_heading = "Login options")]
    pub no_browser: bool,
    /// Log in on another device, with a code (RFC 8628)
    #[arg(long, help_heading = "Login options", conflicts_with = "grant")]
    pub device: bool,
    #[command(flatten)]
    pub oauth: OAuthOptions,
    /// Name to register a client with [default: mcpipe]
    #[arg(long, value_name = "NAME", help_heading = "Login options", hide_short_help = true)]
    pub client_name: Option<String>,
    /// Signing algorithm of --private-key
    #[arg(long, value_name = "ALG", value_parser = SIGNING_ALGORITHMS, help_heading = "Login options", hide_short_help = true)]
    pub signing_algorithm: Option<String>,
    /// Client authentication method at the token endpoint
    #[arg(long, value_name = "METHOD", value_parser = TOKEN_ENDPOINT_AUTH_METHODS, help_heading = "Login options", hide_short_help = true)]
    pub token_endpoint_auth_method: Option<String>,
    /// File with the assertion for the grant jwt-bearer
    #[arg(long, value_name = "FILE", help_heading = "Login options", hide_short_help = true)]
    pub assertion_file: Option<PathBuf>,
    /// Request tokens for this resource instead of the one that the server names (RFC 8707)
    #[arg(long, value_name = "URI", help_heading = "Login options", hide_short_help = true)]
    pub resource: Option<String>,
    /// Do not send the `resource` parameter, which some authorization servers refuse
    #[arg(long, conflicts_with = "resource", help_heading = "Login options", hide_short_help = true)]
    pub no_resource: bool,
    /// Add a parameter to the authorization request; may be repeated
    #[arg(long = "auth-param", value_name = "NAME=VALUE", value_parser = parse_auth_param, help_heading = "Login options", hide_short_help = true)]
    pub auth_params: Vec<(String, String)>,
    /// Bind the tokens to a key (DPoP, RFC 9449)
    #[arg(long, help_heading = "Login options", hide_short_help = true)]
    pub dpop: bool,

    #[command(flatten)]
    pub target_options: TargetOptions,
    #[command(flatten)]
    pub global: GlobalOptions,
}

/// Accepts a grant type with `-` or `_`; its value is the one of the configuration.
fn grant_parser() -> impl TypedValueParser<Value = String> {
    let values = GRANT_VALUES.map(|name| PossibleValue::new(name.replace('_', "-")).alias(name));
    PossibleValuesParser::new(values).map(|name| name.replace('-', "_"))
}

/// How to log in, as far as the configuration can say it too.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Login options")]
pub struct OAuthOptions {
    /// OAuth client ID
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// The environment variable that contains the client secret
    #[arg(long, value_name = "VAR")]
    pub client_secret_env: Option<String>,
    /// Request this scope; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// Port of the redirect URI http://127.0.0.1:PORT/callback
    #[arg(long, value_name = "PORT", value_parser = parse_whole_number::<u16, 1>)]
    pub redirect_port: Option<u16>,
    /// Redirect URI on this machine, exactly as it is registered
    #[arg(long, value_name = "URI", conflicts_with = "redirect_port", hide_short_help = true)]
    pub redirect_uri: Option<String>,
    /// Client ID metadata document, used if the issuer supports it
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub client_metadata_url: Option<String>,
    /// OAuth grant type
    #[arg(long, value_name = "GRANT", value_parser = grant_parser())]
    pub grant: Option<String>,
    /// Private key (PEM) that signs client assertions
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub private_key: Option<PathBuf>,
    /// Authorization server, if discovery does not find it; its metadata may name another issuer
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub issuer: Option<String>,
}

/// Parses an additional parameter of the authorization request.
fn parse_auth_param(word: &str) -> Result<(String, String), String> {
    let (name, value) = word.split_once('=').ok_or("use NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The command line of `auth logout`.
#[derive(Debug, Args)]
#[command(
    override_usage = "mcpipe auth logout [OPTIONS] <TARGET>\n       mcpipe auth logout [OPTIONS] --all",
    after_help = short_help!(),
    after_long_help = long_help!("\
Examples:
  mcpipe auth logout linear
  mcpipe auth logout --all")
)]
pub struct AuthLogoutArgs {
    /// Configured name or URL
    #[arg(value_name = "TARGET", required_unless_present = "all")]
    pub target: Option<String>,
    /// Remove the credentials of all servers
    #[arg(long, conflicts_with = "target")]
    pub all: bool,

    #[command(flatten)]
    pub target_options: TargetOptions,
    #[command(flatten)]
    pub global: GlobalOptions,
}

/// The command line of `auth status`.
#[derive(Debug, Args)]
#[command(
    after_help = short_help!(),
    after_long_help = long_help!("\
Examples:
  mcpipe auth status
  mcpipe auth status linear --json | jq -r '.credentials[].state'
  mcpipe auth status linear --check || mcpipe auth login linear")
)]
pub struct AuthStatusArgs {
    /// Configured name or URL [default: all]
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// Check that the server accepts the credentials
    #[arg(long, requires = "target")]
    pub check: bool,

    #[command(flatten)]
    pub target_options: TargetOptions,
    #[command(flatten)]
    pub global: GlobalOptions,
}

/// The command line of `auth token`.
#[derive(Debug, Args)]
#[command(
    after_help = short_help!("\
Examples:
  curl -H \"Authorization: Bearer $(mcpipe auth token api)\" https://example.com"),
    after_long_help = long_help!("\
Examples:
  curl -H \"Authorization: Bearer $(mcpipe auth token api)\" https://example.com
  mcpipe auth token linear --json | ssh build mcpipe auth import linear")
)]
pub struct AuthTokenArgs {
    /// Configured name or URL
    #[arg(value_name = "TARGET")]
    pub target: String,

    #[command(flatten)]
    pub target_options: TargetOptions,
    #[command(flatten)]
    pub global: GlobalOptions,
}

/// The command line of `auth import`.
#[derive(Debug, Args)]
#[command(
    after_help = short_help!(),
    after_long_help = long_help!("\
Examples:
  mcpipe auth import linear < tokens.json
  mcpipe auth token linear --json | ssh build mcpipe auth import linear")
)]
pub struct AuthImportArgs {
    /// Configured name or URL
    #[arg(value_name = "TARGET")]
    pub target: String,

    #[command(flatten)]
    pub target_options: TargetOptions,
    #[command(flatten)]
    pub global: GlobalOptions,
}
