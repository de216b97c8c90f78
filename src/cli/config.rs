//! The command line of `config`.

use clap::{Args, Subcommand, ValueEnum};

use super::{GlobalOptions, TargetOptions};

/// When a call needs consent; the words of the configuration.
pub const CONFIRM_VALUES: [&str; 3] = ["never", "destructive", "always"];
/// How tokens are obtained; the words of the configuration.
pub const GRANT_TYPES: [&str; 5] =
    ["authorization_code", "device_code", "client_credentials", "jwt_bearer", "enterprise"];

/// Show, check and change the configuration
#[derive(Debug, Args)]
#[command(after_help = "\
Files, each over those before:
  ~/.config/mcpipe/config.toml    your own
  .mcp.json                       of the project: the nearest above the working directory
  .mcpipe.toml                    likewise
  --config FILE, MCPIPE_CONFIG    alone, in place of all these

Examples:
  mcpipe config add linear https://mcp.linear.app/mcp
  mcpipe config add files -- npx -y @modelcontextprotocol/server-filesystem .
  mcpipe config add api https://example.com/mcp -H 'Authorization: Bearer ${KEY}'
  mcpipe config add crm https://example.com/mcp -H 'X-Key: ${keychain:CRM_KEY}'
  mcpipe config secret set CRM_KEY
  mcpipe config get linear
  mcpipe config check")]
pub struct ConfigArgs {
    /// What to do with the configuration.
    #[command(subcommand)]
    pub command: ConfigCommand,

    /// The options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
}

/// What `config` can do.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// List the configured servers and where each comes from
    List,
    /// Show one server: every value and the file and line it comes from
    Get {
        /// The server's name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Add a server
    Add(Box<ConfigAddArgs>),
    /// Copy servers that other clients have set up
    Import(ConfigImportArgs),
    /// Remove a server
    Remove {
        /// The server's name, in full
        #[arg(value_name = "NAME")]
        name: String,
        /// Remove it from the project's .mcpipe.toml
        #[arg(long)]
        project: bool,
    },
    /// Give a server another name
    Rename {
        /// The server's name, in full
        #[arg(value_name = "NAME")]
        name: String,
        /// Its new name
        #[arg(value_name = "NEW_NAME")]
        new_name: String,
        /// Rename it in the project's .mcpipe.toml
        #[arg(long)]
        project: bool,
    },
    /// Open the configuration in an editor and check it afterwards
    Edit {
        /// Edit the project's .mcpipe.toml
        #[arg(long)]
        project: bool,
    },
    /// Check every file and server: keys, variables, secrets, programs, certificates
    Check {
        /// Check this server only
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Allow a project's configuration file to start processes and send credentials
    Trust {
        /// The file; the nearest project files where it is left out
        #[arg(value_name = "FILE")]
        file: Option<std::path::PathBuf>,
        /// Do not ask
        #[arg(short = 'y', long, conflicts_with = "revoke")]
        yes: bool,
        /// Trust it no longer
        #[arg(long)]
        revoke: bool,
    },
    /// Store, list and remove the secrets that ${keychain:NAME} refers to
    Secret(ConfigSecretArgs),
    /// Print the configuration files in the order in which they are read
    Path,
    /// Print the JSON Schema of a configuration file, for editors
    Schema,
}

/// Store, list and remove the secrets that ${keychain:NAME} refers to
#[derive(Debug, Args)]
#[command(after_help = "\
A secret rests where logins rest: in the system's keychain, or in a file that only
you can read (credential_store under [defaults] says which). Its value is never
shown, and never taken from the command line.
Examples:
  mcpipe config secret set CRM_KEY
  op read op://work/crm/key | mcpipe config secret set CRM_KEY
  mcpipe config add crm https://crm.example.com/mcp -H 'X-Key: ${keychain:CRM_KEY}'
  mcpipe config secret list
  mcpipe config secret remove CRM_KEY")]
pub struct ConfigSecretArgs {
    /// What to do with secrets.
    #[command(subcommand)]
    pub command: ConfigSecretCommand,
}

/// What `config secret` can do.
#[derive(Debug, Subcommand)]
pub enum ConfigSecretCommand {
    /// Store a secret: the value is piped in, or typed unseen at a terminal
    #[command(after_help = "\
Line feeds at the end of the value do not belong to it.
Examples:
  mcpipe config secret set CRM_KEY
  printf %s \"$CRM_KEY\" | mcpipe config secret set CRM_KEY")]
    Set {
        /// The secret's name: letters, digits, '_' and '-'
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Remove a secret
    #[command(after_help = "Examples:\n  mcpipe config secret remove CRM_KEY")]
    Remove {
        /// The secret's name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// List the names of all secrets, and the servers that refer to each
    #[command(after_help = "Examples:\n  mcpipe config secret list\n  mcpipe config secret list --json")]
    List,
}

/// Where the secrets go that stand as text in what is imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ImportedSecretMode {
    /// They stay where they are, as text
    #[default]
    Keep,
    /// Into variables, which you set: ${NAME} stands in their place
    Variables,
    /// Into the credential store: ${keychain:NAME} stands in their place
    Keychain,
}

/// Copy servers that other clients have set up
#[derive(Debug, Args)]
#[command(after_help = "\
The clients are claude-code, claude-desktop, cursor, vscode, codex, windsurf,
gemini, opencode, zed and mcporter; a FILE is any of theirs, or any JSON with
mcpServers or servers. Every command is shown in full before it is written.

Examples:
  mcpipe config import
  mcpipe config import cursor --dry-run
  mcpipe config import claude-code --only github --secrets keychain
  mcpipe config import ./servers.json --yes")]
pub struct ConfigImportArgs {
    /// The client, or a file; every client that is found where it is left out
    #[arg(value_name = "CLIENT|FILE")]
    pub from: Option<String>,
    /// Import this server only; may be repeated
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Import the servers of other projects too
    #[arg(long)]
    pub all: bool,
    /// Replace servers of the same names
    #[arg(long)]
    pub force: bool,
    /// Write into the project's .mcpipe.toml
    #[arg(long)]
    pub project: bool,
    /// Where the secrets go that stand there as text
    #[arg(long, value_name = "WHERE", value_enum, default_value_t)]
    pub secrets: ImportedSecretMode,
    /// Print what would be written and write nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short = 'y', long)]
    pub yes: bool,
}

/// Add a server
#[derive(Debug, Args)]
#[command(after_help = "\
Secrets are better kept in variables: in single quotes, ${NAME} is written as it
is and expanded when used.

Examples:
  mcpipe config add linear https://mcp.linear.app/mcp
  mcpipe config add files --project -- npx -y @scope/server-filesystem .
  mcpipe config add gh 'docker run -i ghcr.io/o/server' -e 'TOKEN=${GH_TOKEN}'
  mcpipe config add api https://api.example.com/mcp --bearer-env API_TOKEN
  mcpipe config add api https://api.example.com/mcp --allow-tool 'get_*'
  mcpipe config add crm https://crm.example.com/mcp --client-id cli --scope read
  mcpipe config add wiki https://wiki.example.com/mcp --bearer-env WIKI --check")]
pub struct ConfigAddArgs {
    /// The server's name: letters, digits, '_', '-' and '.'
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Its URL or command line
    #[arg(value_name = "TARGET", required_unless_present = "command")]
    pub target: Option<String>,
    /// A server's command line, in place of TARGET
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "target")]
    pub command: Vec<String>,

    /// Write into the project's .mcpipe.toml
    #[arg(long)]
    pub project: bool,
    /// Replace a server of that name
    #[arg(long)]
    pub force: bool,
    /// Print what would be written and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Connect first, and add nothing where that fails
    #[arg(long)]
    pub check: bool,
    /// Allow only the tools that GLOB matches; may be repeated
    #[arg(long = "allow-tool", value_name = "GLOB")]
    pub allow_tools: Vec<String>,
    /// Allow no tool that GLOB matches; may be repeated
    #[arg(long = "deny-tool", value_name = "GLOB")]
    pub deny_tools: Vec<String>,
    /// Which calls need consent: never, destructive or always
    #[arg(long, value_name = "WHEN", value_parser = CONFIRM_VALUES)]
    pub confirm: Option<String>,
    /// Which variables the command inherits: all, none, or names; may be repeated
    #[arg(long = "inherit-env", value_name = "WHICH", value_delimiter = ',')]
    pub inherit_env: Vec<String>,

    /// The registered OAuth client
    #[arg(long, value_name = "ID", help_heading = "Login options")]
    pub client_id: Option<String>,
    /// The variable that holds the client's secret
    #[arg(long, value_name = "VAR", help_heading = "Login options")]
    pub client_secret_env: Option<String>,
    /// Ask for this scope; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", help_heading = "Login options")]
    pub scopes: Vec<String>,
    /// How tokens are obtained
    #[arg(long, value_name = "GRANT", value_parser = GRANT_TYPES, help_heading = "Login options")]
    pub grant: Option<String>,
    /// The authorization server, where discovery does not find it
    #[arg(long, value_name = "URL", help_heading = "Login options")]
    pub issuer: Option<String>,
    /// A client ID metadata document, in place of registration
    #[arg(long, value_name = "URL", help_heading = "Login options")]
    pub client_metadata_url: Option<String>,
    /// The loopback port of the redirect, where it is registered
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Login options")]
    pub redirect_port: Option<u16>,
    /// The key (PEM) that signs client assertions
    #[arg(long, value_name = "FILE", help_heading = "Login options")]
    pub private_key: Option<std::path::PathBuf>,

    /// How to reach the server.
    #[command(flatten)]
    pub target_options: TargetOptions,
}
