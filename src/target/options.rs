//! The options that say how to reach a server: one struct from the command line to the transport.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use crate::transport::HttpMode;

/// How to reach the server: the options of every command that connects.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Target options")]
pub struct TargetOptions {
    /// Send this header; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// Set a variable of the server's environment; may be repeated
    #[arg(short = 'e', long = "env", value_name = "KEY=VALUE")]
    pub env: Vec<String>,
    /// Start the server in DIR
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Take the bearer token from this environment variable
    #[arg(long, value_name = "VAR")]
    pub bearer_env: Option<String>,
    /// How to speak to a URL
    #[arg(long, value_name = "KIND")]
    pub transport: Option<HttpMode>,
    /// The protocol: auto, legacy, or one revision such as 2026-07-28; a pin never falls back
    #[arg(long, value_name = "REVISION")]
    pub protocol: Option<String>,
    /// Trust the certificate authorities in FILE (PEM) too
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Show this client certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The key of the client certificate (PEM), where it is not in the same file
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Use this proxy: http://, https://, socks5:// or socks5h://
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
    /// Check no certificate (dangerous)
    #[arg(long)]
    pub insecure: bool,
    /// Allow plain http or ws to another host than this one
    #[arg(long)]
    pub allow_http: bool,
    /// Connect to this Unix socket instead of the URL's host and port
    #[arg(long, value_name = "PATH")]
    pub unix_socket: Option<PathBuf>,
}

impl ValueEnum for HttpMode {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            HttpMode::Auto => "Streamable HTTP, HTTP+SSE where the server speaks only that",
            HttpMode::Streamable => "Streamable HTTP",
            HttpMode::Sse => "HTTP+SSE (2024-11-05)",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}
