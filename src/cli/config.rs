//! The command line of `config`.

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::auth::OAuthOptions;
use crate::cli::options::GlobalOptions;
use crate::config::keys::CONFIRM_VALUES;
use crate::target::TargetOptions;

/// Show, check and change the configuration
///
/// A configuration file names servers, so that they need not be spelled out in every command. mcpipe reads your own
/// file, and the project's `.mcp.json` and `.mcpipe.toml`: of each, the nearest one in the working directory or above
/// it. A project's file is used only after `mcpipe config trust`, because the commands in it run code.
///
/// In a value, ${VAR} is an environment variable, ${keychain:NAME} a secret stored with `mcpipe config secret set`, and
/// ${command:CMD} the output of a command.
#[derive(Debug, Args)]
#[command(
    after_help = short_help!("\
Examples:
  mcpipe config add linear https://mcp.linear.app/mcp
  mcpipe config add files -- npx -y @modelcontextprotocol/server-filesystem .
  mcpipe config import
  mcpipe config check"),
    after_long_help = long_help!("\
Files, each overriding those before it:
  ~/.config/mcpipe/config.toml    your own
  .mcp.json                       of the project: the nearest one in the working
                                  directory or above it
  .mcpipe.toml                    of the project, likewise
  --config FILE, MCPIPE_CONFIG    replaces all of these

Examples:
  mcpipe config add linear https://mcp.linear.app/mcp
  mcpipe config add files -- npx -y @modelcontextprotocol/server-filesystem .
  mcpipe config add api https://example.com/mcp -H 'Authorization: Bearer ${KEY}'
  mcpipe config add crm https://example.com/mcp -H 'X-Key: ${keychain:CRM_KEY}'
  mcpipe config secret set CRM_KEY
  mcpipe config get linear
  mcpipe config check")
)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,

    #[command(flatten)]
    pub global: GlobalOptions,
}

/// The commands below `config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// List the configured servers
    ///
    /// Lists the configured servers with the file that each comes from. It does not connect; `mcpipe list` does.
    #[command(after_help = short_help!(), after_long_help = long_help!("Examples:\n  mcpipe config list --json"))]
    List,
    /// Show the settings of one server
    ///
    /// Shows every setting of the server, with the file and line that it comes from. Secrets are redacted.
    #[command(after_help = short_help!(), after_long_help = long_help!("Examples:\n  mcpipe config get linear"))]
    Get {
        /// The server's name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Add a server
    ///
    /// Writes the server to your configuration file, with the target options as its settings. The file's comments and
    /// order stay as they are.
    ///
    /// Do not write secrets in the file: in single quotes, '${NAME}' is written as it is and replaced when the server
    /// is used.
    Add(Box<ConfigAddArgs>),
    /// Import servers from the configuration of other clients
    ///
    /// CLIENT is one of claude-code, claude-desktop, cursor, vscode, codex, windsurf, gemini, opencode, zed and
    /// mcporter. FILE is a configuration file of one of them, or any JSON file with servers under mcpServers or
    /// servers, or at its top level. Without either, mcpipe imports from every client that it finds.
    ///
    /// The command line of each server is shown in full. Nothing is written until you confirm, or with --yes.
    Import(ConfigImportArgs),
    /// Remove a server
    ///
    /// Removes the server from the file, and leaves the file's comments and order as they are.
    #[command(after_help = short_help!(), after_long_help = long_help!("Examples:\n  mcpipe config remove linear"))]
    Remove {
        /// The server's full name
        #[arg(value_name = "NAME")]
        name: String,
        /// Remove it from the project's .mcpipe.toml
        #[arg(long)]
        project: bool,
    },
    /// Rename a server
    ///
    /// Renames the server in the file, and leaves the file's comments and order as they are.
    #[command(after_help = short_help!(), after_long_help = long_help!("Examples:\n  mcpipe config rename demo3 demo5"))]
    Rename {
        /// The server's full name
        #[arg(value_name = "NAME")]
        name: String,
        /// The new name
        #[arg(value_name = "NEW_NAME")]
        new_name: String,
        /// Rename it in the project's .mcpipe.toml
        #[arg(long)]
        project: bool,
    },
    /// Edit the configuration in an editor
    ///
    /// Opens the configuration in $VISUAL or $EDITOR, and checks it afterwards.
    #[command(after_help = short_help!(), after_long_help = long_help!("Examples:\n  EDITOR='code --wait' mcpipe config edit"))]
    Edit {
        /// Edit the project's .mcpipe.toml
        #[arg(long)]
        project: bool,
    },
    /// Check the configuration
    ///
    /// Checks every file and server: keys, variables, secrets, programs and certificates. It does not connect.
    #[command(after_help = short_help!(), after_long_help = long_help!("Examples:\n  mcpipe config check\n  mcpipe config check linear"))]
    Check {
        /// Check only this server
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Trust a project's configuration file or a bundle
    ///
    /// Allows a project's configuration file or a bundle (FILE.mcpb) to start processes and to send credentials. mcpipe
    /// shows what the file would do and asks for confirmation. If the file changes, it has to be trusted again.
    #[command(after_help = short_help!(), after_long_help = long_help!("Examples:\n  mcpipe config trust\n  mcpipe config trust ./server.mcpb\n  mcpipe config trust --revoke"))]
    Trust {
        /// The file [default: the nearest project files]
        #[arg(value_name = "FILE")]
        file: Option<std::path::PathBuf>,
        /// Do not ask for confirmation
        #[arg(short = 'y', long, conflicts_with = "revoke")]
        yes: bool,
        /// Revoke trust
        #[arg(long)]
        revoke: bool,
    },
    /// Manage the secrets that ${keychain:NAME} refers to
    ///
    /// Secrets are stored where logins are: in the system's keychain, or in a file that only you can read
    /// (`credential_store` under `[defaults]`). A value is never shown, and never accepted on the command line.
    Secret(ConfigSecretArgs),
    /// Print the paths of the configuration files
    ///
    /// Prints the configuration files in the order in which they are read.
    #[command(after_help = short_help!(), after_long_help = long_help!("Examples:\n  mcpipe config path"))]
    Path,
    /// Print the JSON Schema of a configuration file
    ///
    /// Prints the JSON Schema of a configuration file, for editors that check and complete it.
    #[command(after_help = short_help!(), after_long_help = long_help!("Examples:\n  mcpipe config schema > mcpipe.schema.json"))]
    Schema,
}

/// The command line of `config secret`.
#[derive(Debug, Args)]
#[command(
    after_help = short_help!("\
Examples:
  mcpipe config secret set CRM_KEY
  mcpipe config secret list"),
    after_long_help = long_help!("\
Examples:
  mcpipe config secret set CRM_KEY
  op read op://work/crm/key | mcpipe config secret set CRM_KEY
  mcpipe config add crm https://crm.example.com/mcp -H 'X-Key: ${keychain:CRM_KEY}'
  mcpipe config secret list
  mcpipe config secret remove CRM_KEY")
)]
pub struct ConfigSecretArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigSecretCommand,
}

/// The commands below `config secret`.
#[derive(Debug, Subcommand)]
pub enum ConfigSecretCommand {
    /// Store a secret
    ///
    /// Reads the value from standard input, or prompts for it at a terminal without echo. Line breaks at the end are
    /// removed.
    #[command(
        after_help = short_help!(),
        after_long_help = long_help!("\
Examples:
  mcpipe config secret set CRM_KEY
  printf %s \"$CRM_KEY\" | mcpipe config secret set CRM_KEY")
    )]
    Set {
        /// The secret's name: letters, digits, '_' and '-'
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Remove a secret
    ///
    /// Removes the secret from the credential store.
    #[command(after_help = short_help!(), after_long_help = long_help!("Examples:\n  mcpipe config secret remove CRM_KEY"))]
    Remove {
        /// The secret's name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// List the names of the stored secrets
    ///
    /// Lists the stored secrets, and the servers that refer to each.
    #[command(after_help = short_help!(), after_long_help = long_help!("Examples:\n  mcpipe config secret list --json"))]
    List,
}

/// Where to keep imported secrets that are stored as plain text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ImportedSecretMode {
    /// In the configuration file, as plain text
    #[default]
    Keep,
    /// In environment variables, which you set; the file refers to them with ${NAME}
    Variables,
    /// In the credential store, like `mcpipe config secret set`; the file refers to them with ${keychain:NAME}
    Keychain,
}

/// The command line of `config import`.
#[derive(Debug, Args)]
#[command(
    after_help = short_help!("\
Examples:
  mcpipe config import
  mcpipe config import cursor --dry-run"),
    after_long_help = long_help!("\
Examples:
  mcpipe config import
  mcpipe config import cursor --dry-run
  mcpipe config import claude-code --only github --secrets keychain
  mcpipe config import ./servers.json --yes")
)]
pub struct ConfigImportArgs {
    /// A client or a file [default: every client that is found]
    #[arg(value_name = "CLIENT|FILE")]
    pub from: Option<String>,
    /// Import only this server; may be repeated
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Also import the servers of other projects
    #[arg(long)]
    pub all: bool,
    /// Replace servers of the same name
    #[arg(long)]
    pub force: bool,
    /// Write to the project's .mcpipe.toml
    #[arg(long)]
    pub project: bool,
    /// Where to keep secrets that the imported configuration contains as plain text [default: keep]
    #[arg(long, value_name = "WHERE", value_enum, default_value_t, hide_default_value = true)]
    pub secrets: ImportedSecretMode,
    /// Print what would be written, and write nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Do not ask for confirmation
    #[arg(short = 'y', long)]
    pub yes: bool,
}

/// The command line of `config add`.
#[derive(Clone, Debug, Args)]
#[command(
    mut_args(|arg| match arg.get_help_heading() {
        Some("Login options") => arg.hide_short_help(true),
        _ => arg,
    }),
    override_usage = "\
mcpipe config add [OPTIONS] <NAME> <TARGET>
       mcpipe config add [OPTIONS] <NAME> -- <COMMAND>...",
    after_help = short_help!("\
Examples:
  mcpipe config add linear https://mcp.linear.app/mcp
  mcpipe config add gh 'docker run -i -e TOKEN ghcr.io/o/server' -e 'TOKEN=${GH_TOKEN}'
  mcpipe config add files -- npx -y @modelcontextprotocol/server-filesystem ."),
    after_long_help = long_help!("\
Examples:
  mcpipe config add linear https://mcp.linear.app/mcp
  mcpipe config add files --project -- npx -y @scope/server-filesystem .
  mcpipe config add gh 'docker run -i -e TOKEN ghcr.io/o/server' -e 'TOKEN=${GH_TOKEN}'
  mcpipe config add api https://api.example.com/mcp --bearer-env API_TOKEN
  mcpipe config add api https://api.example.com/mcp --allow-tool 'get_*'
  mcpipe config add crm https://crm.example.com/mcp --client-id cli --scope read
  mcpipe config add maps registry:io.github.example/maps
  mcpipe config add wiki https://wiki.example.com/mcp --bearer-env WIKI --check")
)]
pub struct ConfigAddArgs {
    /// The server's name: letters, digits, '_', '-', '.' and '/'
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Its URL or command line, or registry:WHICH: a server in the MCP registry
    ///
    /// WHICH is NAME or NAME@VERSION, or the URL or file of a description (server.json).
    #[arg(value_name = "TARGET", required_unless_present = "command")]
    pub target: Option<String>,
    /// The server's command line, instead of TARGET
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "target")]
    pub command: Vec<String>,

    /// Write to the project's .mcpipe.toml
    #[arg(long)]
    pub project: bool,
    /// Replace a server of the same name
    #[arg(long)]
    pub force: bool,
    /// Print what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Connect first, and add the server only if that succeeds
    #[arg(long)]
    pub check: bool,
    /// Allow only tools that match GLOB; may be repeated
    #[arg(long = "allow-tool", value_name = "GLOB")]
    pub allow_tools: Vec<String>,
    /// Block tools that match GLOB; may be repeated
    #[arg(long = "deny-tool", value_name = "GLOB")]
    pub deny_tools: Vec<String>,
    /// Which calls need confirmation
    #[arg(long, value_name = "WHEN", value_parser = CONFIRM_VALUES)]
    pub confirm: Option<String>,
    /// Environment variables that the server inherits: all, none, or names; may be repeated
    #[arg(long = "inherit-env", value_name = "WHICH", value_delimiter = ',')]
    pub inherit_env: Vec<String>,

    #[command(flatten)]
    pub oauth: OAuthOptions,
    #[command(flatten)]
    pub target_options: TargetOptions,
}
