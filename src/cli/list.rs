//! The command line of `list`.

use clap::Args;

use crate::cli::model_formats::ToolFormat;
use crate::cli::options::GlobalOptions;
use crate::target::TargetOptions;
use crate::util::whole_number::parse_whole_number;

/// List servers, or the tools, resources and prompts of one
///
/// Without TARGET, mcpipe connects to every configured server and prints a row for each: its transport, protocol
/// revision, how much it offers, and its state. If a server fails, its row says why, the others are still listed,
/// and the first failed row sets the exit code.
///
/// With TARGET, mcpipe lists the server's tools, or what the options choose: resources, templates, prompts, skills or
/// all of them. With TARGET and TOOL it shows one tool in full: description, parameters, output, and an example call
/// to paste.
///
/// At a terminal the list is a table. Piped, it is tab-separated without a heading, with `-` for an empty cell;
/// --json prints one JSON document.
#[derive(Debug, Default, Args)]
#[command(
    override_usage = "\
mcpipe list [OPTIONS] [TARGET [TOOL]]
       mcpipe list [OPTIONS] [TOOL] -- <COMMAND>...",
    after_help = short_help!("\
Examples:
  mcpipe list                        all configured servers
  mcpipe list linear                 the server's tools
  mcpipe list linear create_issue    one tool in full
  mcpipe list --all -- npx -y @modelcontextprotocol/server-everything"),
    after_long_help = long_help!("\
Examples:
  mcpipe list                                    all configured servers
  mcpipe list linear                             the server's tools
  mcpipe list linear create_issue                one tool in full
  mcpipe list linear --search issue              only tools that mention 'issue'
  mcpipe list --all -- npx -y @modelcontextprotocol/server-everything
  mcpipe list linear --for anthropic > t.json    `tools` for a request to a model
  mcpipe list --for typescript > tools.d.ts      tools of all configured servers
  mcpipe list linear --json | jq -r '.tools[].name'"),
)]
pub struct ListArgs {
    /// Configured name, URL or command line [default: all servers]
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// Show this tool in full
    #[arg(value_name = "TOOL")]
    pub tool: Option<String>,
    /// The server's command line, instead of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// List the resources
    #[arg(long, help_heading = "What to list")]
    pub resources: bool,
    /// List the resource templates
    #[arg(long, help_heading = "What to list")]
    pub templates: bool,
    /// List the prompts
    #[arg(long, help_heading = "What to list")]
    pub prompts: bool,
    /// List the skills
    #[arg(long, help_heading = "What to list")]
    pub skills: bool,
    /// List everything that the server offers
    #[arg(long, help_heading = "What to list", conflicts_with_all = ["resources", "templates", "prompts", "skills"])]
    pub all: bool,
    /// Show the server's identity, revision, capabilities and instructions
    #[arg(long, help_heading = "What to list", conflicts_with_all = ["resources", "templates", "prompts", "skills", "all", "search"])]
    pub info: bool,
    /// Print the raw JSON Schema of the tool's input
    #[arg(long, help_heading = "What to list", conflicts_with_all = ["resources", "templates", "prompts", "skills", "all", "info"])]
    pub schema: bool,
    /// Also list tools that are meant only for the server's own app UI
    #[arg(long, help_heading = "What to list")]
    pub hidden: bool,
    /// Print one line for each tool: its name and parameters
    #[arg(long, help_heading = "What to list", hide_short_help = true,
        conflicts_with_all = ["resources", "templates", "prompts", "skills", "all", "info", "schema", "form", "tool", "watch", "offline"])]
    pub brief: bool,
    /// Print about how many tokens the tools take in a model's context (four bytes each)
    ///
    /// What counts is the name, the description and the input schema of each tool.
    #[arg(long, help_heading = "What to list", hide_short_help = true,
        conflicts_with_all = ["resources", "templates", "prompts", "skills", "all", "info", "schema", "form", "tool", "watch", "offline", "brief"])]
    pub tokens: bool,
    /// Exit with code 9 if the tools take more than N tokens (implies --tokens)
    #[arg(long, value_name = "N", value_parser = parse_whole_number::<u64, 0>, help_heading = "What to list", hide_short_help = true,
        conflicts_with_all = ["resources", "templates", "prompts", "skills", "all", "info", "schema", "form", "tool", "watch", "offline", "brief"])]
    pub budget: Option<u64>,
    /// Show only items that contain WORD
    ///
    /// WORD is searched for in names, titles, URIs and descriptions, literally and ignoring case. The exit code is 0
    /// even if nothing matches.
    #[arg(long, alias = "grep", value_name = "WORD", help_heading = "What to list")]
    pub search: Option<String>,
    /// Print the tools for a model API, or as TypeScript
    ///
    /// Tools of several servers are named SERVER__TOOL. Parts of a schema that are invalid, or that the API does not
    /// accept, are repaired or removed, and a warning says which.
    #[arg(long = "for", value_name = "FORM", help_heading = "What to list",
        conflicts_with_all = ["resources", "templates", "prompts", "skills", "all", "info", "schema", "watch", "offline"])]
    pub form: Option<ToolFormat>,
    /// With --for: cut the tools' descriptions to CHARS characters
    ///
    /// Older models of OpenAI accept 1024.
    #[arg(long, value_name = "CHARS", requires = "form", hide_short_help = true, help_heading = "What to list",
        value_parser = parse_whole_number::<u32, 1>)]
    pub max_description: Option<u32>,
    /// Print the list again whenever the server reports a change
    #[arg(long, conflicts_with_all = ["tool", "info", "schema", "skills", "offline"])]
    pub watch: bool,
    /// Without TARGET: list the configured servers without connecting
    #[arg(long, conflicts_with = "search")]
    pub offline: bool,
    /// Without TARGET: query up to N servers at once [default: 32]
    ///
    /// A server that takes longer than two seconds no longer counts, so that it does not hold up the rest. With 1 the
    /// servers are queried one after another.
    #[arg(long, value_name = "N", value_parser = parse_whole_number::<u16, 1>)]
    pub jobs: Option<u16>,

    #[command(flatten)]
    pub target_options: TargetOptions,

    #[command(flatten)]
    pub global: GlobalOptions,
}
