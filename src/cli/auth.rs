//! The command line of `auth`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{GRANT_TYPES, GlobalOptions, TargetOptions};

/// The words of `--signing-algorithm`.
const SIGNING_ALGORITHMS: [&str; 5] = ["ES256", "ES384", "RS256", "PS256", "EdDSA"];
/// The words of `--token-endpoint-auth-method`.
const TOKEN_ENDPOINT_AUTH_METHODS: [&str; 4] = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"];

/// Log in, log out, and see where credentials rest
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
`mcpipe auth TARGET` is `mcpipe auth login TARGET`.

Examples:
  mcpipe auth login linear
  mcpipe auth status
  curl -H \"Authorization: Bearer $(mcpipe auth token api)\" https://example.com
  mcpipe auth logout --all"
)]
pub struct AuthArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<AuthCommand>,
    /// Without a command: log in.
    #[command(flatten)]
    pub login: AuthLoginArgs,
}

impl AuthArgs {
    /// The general options behind the command.
    pub fn global_mut(&mut self) -> &mut GlobalOptions {
        match &mut self.command {
            Some(AuthCommand::Login(args)) => &mut args.global,
            Some(AuthCommand::Logout(args)) => &mut args.global,
            Some(AuthCommand::Status(args)) => &mut args.global,
            Some(AuthCommand::Token(args)) => &mut args.global,
            Some(AuthCommand::Import(args)) => &mut args.global,
            None => &mut self.login.global,
        }
    }
}

/// What `auth` can do.
#[derive(Debug, Subcommand)]
pub enum AuthCommand {
    /// Log in to a server and keep the credentials
    Login(Box<AuthLoginArgs>),
    /// Revoke and remove the credentials of a server
    Logout(AuthLogoutArgs),
    /// Show which credentials there are and where they rest
    Status(AuthStatusArgs),
    /// Print the access token, renewed if it is due
    Token(AuthTokenArgs),
    /// Keep tokens that were obtained elsewhere: JSON on standard input
    Import(AuthImportArgs),
}

/// Log in to a server and keep the credentials
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcpipe auth login https://mcp.example.com/mcp
  mcpipe auth login linear --no-browser
  mcpipe auth login api --grant client-credentials --client-secret-env CI_SECRET
  mcpipe auth login crm --client-id cli --redirect-port 8765 --scope read")]
pub struct AuthLoginArgs {
    /// Configured name or URL
    #[arg(value_name = "TARGET", required = true)]
    pub target: Option<String>,

    /// Print the URL, and take the redirected URL pasted back
    #[arg(long, help_heading = "Login options", conflicts_with = "device")]
    pub no_browser: bool,
    /// Log in on another device, with a code
    #[arg(long, help_heading = "Login options", conflicts_with = "grant")]
    pub device: bool,
    /// The registered client
    #[arg(long, value_name = "ID", help_heading = "Login options")]
    pub client_id: Option<String>,
    /// The variable that holds the client's secret
    #[arg(long, value_name = "VAR", help_heading = "Login options")]
    pub client_secret_env: Option<String>,
    /// Ask for this scope; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", help_heading = "Login options")]
    pub scopes: Vec<String>,
    /// The loopback port of the redirect, where it is registered
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Login options")]
    pub redirect_port: Option<u16>,
    /// A client ID metadata document, in place of registration
    #[arg(long, value_name = "URL", help_heading = "Login options")]
    pub client_metadata_url: Option<String>,
    /// How tokens are obtained
    #[arg(long, value_name = "GRANT", value_parser = parse_grant, help_heading = "Login options")]
    pub grant: Option<String>,
    /// The key (PEM) that signs client assertions
    #[arg(long, value_name = "FILE", help_heading = "Login options")]
    pub private_key: Option<PathBuf>,
    /// The algorithm that the key signs with
    #[arg(long, value_name = "ALG", value_parser = SIGNING_ALGORITHMS, help_heading = "Login options")]
    pub signing_algorithm: Option<String>,
    /// How the client shows who it is
    #[arg(long, value_name = "METHOD", value_parser = TOKEN_ENDPOINT_AUTH_METHODS, help_heading = "Login options")]
    pub token_endpoint_auth_method: Option<String>,
    /// A file with the assertion of the grant jwt-bearer
    #[arg(long, value_name = "FILE", help_heading = "Login options")]
    pub assertion_file: Option<PathBuf>,
    /// The authorization server, where discovery does not find it
    #[arg(long, value_name = "URL", help_heading = "Login options")]
    pub issuer: Option<String>,
    /// Bind the tokens to a key (DPoP)
    #[arg(long, help_heading = "Login options")]
    pub dpop: bool,

    /// How to reach the server.
    #[command(flatten)]
    pub target_options: TargetOptions,
    /// The general options behind the command.
    #[command(flatten)]
    pub global: GlobalOptions,
}

/// `-` and `_` are the same in the name of a grant.
fn parse_grant(word: &str) -> Result<String, String> {
    let name = word.replace('-', "_");
    if GRANT_TYPES.contains(&name.as_str()) {
        return Ok(name);
    }
    Err(format!("use one of {}", GRANT_TYPES.join(", ").replace('_', "-")))
}

/// Revoke and remove the credentials of a server
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcpipe auth logout linear
  mcpipe auth logout --all")]
pub struct AuthLogoutArgs {
    /// Configured name or URL
    #[arg(value_name = "TARGET", required_unless_present = "all")]
    pub target: Option<String>,
    /// Of every server
    #[arg(long, conflicts_with = "target")]
    pub all: bool,

    /// How to reach the server.
    #[command(flatten)]
    pub target_options: TargetOptions,
    /// The general options behind the command.
    #[command(flatten)]
    pub global: GlobalOptions,
}

/// Show which credentials there are and where they rest
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcpipe auth status
  mcpipe auth status linear --json | jq -r '.credentials[].state'
  mcpipe auth status linear --check || mcpipe auth login linear")]
pub struct AuthStatusArgs {
    /// Configured name or URL; all where it is left out
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// Ask the server whether it takes the credentials
    #[arg(long, requires = "target")]
    pub check: bool,

    /// How to reach the server.
    #[command(flatten)]
    pub target_options: TargetOptions,
    /// The general options behind the command.
    #[command(flatten)]
    pub global: GlobalOptions,
}

/// Print the access token, renewed if it is due
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  curl -H \"Authorization: Bearer $(mcpipe auth token api)\" https://example.com
  mcpipe auth token linear --json | ssh build mcpipe auth import linear")]
pub struct AuthTokenArgs {
    /// Configured name or URL
    #[arg(value_name = "TARGET")]
    pub target: String,

    /// How to reach the server.
    #[command(flatten)]
    pub target_options: TargetOptions,
    /// The general options behind the command.
    #[command(flatten)]
    pub global: GlobalOptions,
}

/// Keep tokens that were obtained elsewhere: JSON on standard input
#[derive(Debug, Args)]
#[command(after_help = "\
The JSON object is the answer of a token endpoint: access_token, and where there
are some refresh_token, expires_in (or expires_at), scope, token_type; besides,
issuer, client_id and client_secret, which renewing needs.

Examples:
  mcpipe auth import linear < tokens.json
  mcpipe auth token linear --json | ssh build mcpipe auth import linear")]
pub struct AuthImportArgs {
    /// Configured name or URL
    #[arg(value_name = "TARGET")]
    pub target: String,

    /// How to reach the server.
    #[command(flatten)]
    pub target_options: TargetOptions,
    /// The general options behind the command.
    #[command(flatten)]
    pub global: GlobalOptions,
}
