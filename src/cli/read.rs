//! The command line of `read`.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::options::GlobalOptions;
use crate::target::TargetOptions;
use crate::util::size::parse_size;

/// Read resources
///
/// Prints the content of each URI to stdout, byte for byte. Several URIs are read at once over one connection and
/// printed in the order given. A URI template takes name=value arguments (RFC 6570). Without URI, mcpipe lists the
/// server's resources and templates.
///
/// Binary content is not printed to a terminal: redirect it, or use -o or --save.
#[derive(Debug, Default, Args)]
#[command(
    override_usage = "\
mcpipe read [OPTIONS] <TARGET> [URI]...
       mcpipe read [OPTIONS] [URI]... -- <COMMAND>...",
    after_help = short_help!("\
Examples:
  mcpipe read demo                               list resources and templates
  mcpipe read demo demo://resource/static/document/features.md > features.md
  mcpipe read demo 'demo://resource/dynamic/text/{resourceId}' resourceId=7"),
    after_long_help = long_help!("\
Examples:
  mcpipe config add demo -- npx -y @modelcontextprotocol/server-everything
  mcpipe read demo                               list resources and templates
  mcpipe read demo demo://resource/static/document/features.md > features.md
  mcpipe read demo 'demo://resource/dynamic/text/{resourceId}' resourceId=7
  mcpipe read demo 'demo://resource/dynamic/blob/{resourceId}' resourceId=7 -o x
  mcpipe read demo 'demo://resource/dynamic/text/{resourceId}' \\
    --complete resourceId=4
  mcpipe read demo demo://resource/static/document/startup.md --watch
                                                 print it again at each change
  mcpipe read api 'api://item/{id}{?tag*}' id=7  variables after ? & # ; may be
                                                 omitted
  mcpipe read docs skill://pdf/SKILL.md --save . save a whole skill, with every
                                                 file verified"),
)]
pub struct ReadArgs {
    /// Configured name, URL or command line
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// Resources to read, or one URI template and its name=value arguments
    #[arg(value_name = "URI")]
    pub uris: Vec<String>,
    /// The server's command line, instead of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// Write the output to FILE (- for stdout)
    #[arg(short = 'o', long, value_name = "FILE|-", conflicts_with = "save")]
    pub output: Option<PathBuf>,
    /// Print N bytes at most: a longer output is cut in the middle
    ///
    /// JSON stays JSON. The whole output is kept in a temporary file. Its name is printed in the place of what is
    /// missing, or in a warning if the output is JSON or N is too small for it. Units such as 8kB are accepted.
    #[arg(long, value_name = "N", value_parser = parse_size, conflicts_with_all = ["output", "save", "watch", "complete"])]
    pub max_bytes: Option<u64>,
    /// Write each resource to a file in DIR; for a skill's SKILL.md, save the whole skill
    ///
    /// The names of the files are printed (with --json: to stderr).
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// Print the content again whenever the server reports a change
    #[arg(long, conflicts_with_all = ["save", "complete"])]
    pub watch: bool,
    /// Ask the server to complete this argument of the template
    #[arg(long, value_name = "ARG=PREFIX", conflicts_with_all = ["output", "save"])]
    pub complete: Option<String>,

    #[command(flatten)]
    pub target_options: TargetOptions,

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
