//! `read` on the command line.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{GlobalOptions, TargetOptions};

/// Read resources
#[derive(Debug, Default, Args)]
#[command(after_help = "\
Examples:
  mcpipe config add demo -- npx -y @modelcontextprotocol/server-everything
  mcpipe read demo                               the resources and templates
  mcpipe read demo demo://resource/static/document/features.md > features.md
  mcpipe read demo 'demo://resource/dynamic/text/{resourceId}' resourceId=7
  mcpipe read demo 'demo://resource/dynamic/blob/{resourceId}' resourceId=7 -o x
  mcpipe read demo 'demo://resource/dynamic/text/{resourceId}' \\
    --complete resourceId=4
  mcpipe read demo demo://resource/static/document/startup.md --watch
                                                 again at every change
  mcpipe read api 'api://item/{id}{?tag*}' id=7  what follows ? & # ; may be left out
  mcpipe read docs skill://pdf/SKILL.md --save . a whole skill, every file verified")]
pub struct ReadArgs {
    /// Configured name, URL or command line
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// Resources to read, or one URI template and its name=value arguments
    #[arg(value_name = "URI")]
    pub uris: Vec<String>,
    /// A server's command line, in place of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// Write to FILE what would be printed: the content, with --json the document; - is standard output
    #[arg(short = 'o', long, value_name = "FILE|-", conflicts_with = "save")]
    pub output: Option<PathBuf>,
    /// Write each content into a file in DIR and print the names (with --json on stderr); the SKILL.md of a skill
    /// brings the whole skill
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// Print the content again whenever the server says that it changed, until interrupted
    #[arg(long, conflicts_with_all = ["save", "complete"])]
    pub watch: bool,
    /// Ask the server how this argument of the template may go on
    #[arg(long, value_name = "ARG=PREFIX", conflicts_with_all = ["output", "save"])]
    pub complete: Option<String>,

    /// How to reach the server.
    #[command(flatten)]
    pub target_options: TargetOptions,

    /// The options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
}

impl ReadArgs {
    /// The file to write to; `None` for standard output.
    #[must_use]
    pub fn output_file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != Path::new("-"))
    }
}
