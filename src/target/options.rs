//! The options that describe how to reach a server: one struct from the command line to the transport.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use crate::config::keys::AppliesTo;
use crate::transport::HttpMode;

/// How to reach the server: the options of every command that connects.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Target options")]
pub struct TargetOptions {
    /// Send this header; may be repeated; @FILE has one header per line
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", hide_short_help = true)]
    pub headers: Vec<String>,
    /// Set an environment variable of the server process; may be repeated
    #[arg(short = 'e', long = "env", value_name = "KEY=VALUE", hide_short_help = true)]
    pub env: Vec<String>,
    /// Start the server in DIR
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub cwd: Option<PathBuf>,
    /// Send the bearer token that this environment variable contains
    #[arg(long, value_name = "VAR", hide_short_help = true)]
    pub bearer_env: Option<String>,
    /// The HTTP transport of a URL
    #[arg(long, value_name = "KIND", hide_short_help = true)]
    pub transport: Option<HttpMode>,
    /// Protocol revision: auto, legacy, or a revision such as 2026-07-28, without fallback to another
    #[arg(long, value_name = "REVISION", hide_short_help = true)]
    pub protocol: Option<String>,
    /// Also trust the certificate authorities in FILE (PEM)
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub cacert: Option<PathBuf>,
    /// Present this client certificate (PEM)
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub cert: Option<PathBuf>,
    /// The client certificate's key (PEM), if it is not in the same file
    #[arg(long, value_name = "FILE", requires = "cert", hide_short_help = true)]
    pub key: Option<PathBuf>,
    /// Use this proxy: http, https, socks4, socks4a, socks5 or socks5h
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub proxy: Option<String>,
    /// Do not verify TLS certificates (dangerous)
    #[arg(long, hide_short_help = true)]
    pub insecure: bool,
    /// Allow unencrypted http and ws to hosts other than localhost
    #[arg(long, hide_short_help = true)]
    pub allow_http: bool,
    /// Do not send the server's cookies back
    #[arg(long, hide_short_help = true)]
    pub no_cookies: bool,
    /// Call only tools that declare themselves read-only (readOnlyHint)
    #[arg(long, hide_short_help = true)]
    pub read_only: bool,
    /// Connect to this Unix socket instead of the URL's host and port
    #[arg(long, value_name = "PATH", hide_short_help = true)]
    pub unix_socket: Option<PathBuf>,
}

/// One of the target options that was given.
#[derive(Clone, Copy, Debug)]
pub struct GivenOption<'a> {
    /// Its name, with the dashes.
    pub name: &'static str,
    /// The targets that it applies to.
    pub applies_to: AppliesTo,
    /// Its value.
    pub value: OptionValue<'a>,
}

/// The value of an option.
#[derive(Clone, Copy, Debug)]
pub enum OptionValue<'a> {
    /// `Name: value`, or `@FILE`.
    Header(&'a str),
    /// `NAME=VALUE`.
    Variable(&'a str),
    /// The path of a file or directory.
    Path(&'a Path),
    /// The URL of a proxy, which may have a password.
    Proxy(&'a str),
    /// Any other text.
    Text(&'a str),
    /// It has none.
    Switch,
}

impl TargetOptions {
    /// The options that were given; one that is repeated, each time.
    pub fn given(&self) -> impl Iterator<Item = GivenOption<'_>> {
        use AppliesTo::{Both, Command, Url};
        use OptionValue::{Header, Path, Proxy, Switch, Text, Variable};
        let switch = |given: bool| given.then_some(Switch);
        let headers = self.headers.iter().map(|text| ("--header", Url, Some(Header(text))));
        let variables = self.env.iter().map(|text| ("--env", Command, Some(Variable(text))));
        let others = [
            ("--cwd", Command, self.cwd.as_deref().map(Path)),
            ("--bearer-env", Url, self.bearer_env.as_deref().map(Text)),
            ("--transport", Url, self.transport.map(|mode| Text(mode.name()))),
            ("--protocol", Both, self.protocol.as_deref().map(Text)),
            ("--cacert", Url, self.cacert.as_deref().map(Path)),
            ("--cert", Url, self.cert.as_deref().map(Path)),
            ("--key", Url, self.key.as_deref().map(Path)),
            ("--proxy", Url, self.proxy.as_deref().map(Proxy)),
            ("--unix-socket", Url, self.unix_socket.as_deref().map(Path)),
            ("--insecure", Url, switch(self.insecure)),
            ("--allow-http", Url, switch(self.allow_http)),
            ("--no-cookies", Url, switch(self.no_cookies)),
            ("--read-only", Both, switch(self.read_only)),
        ];
        let all = headers.chain(variables).chain(others);
        all.filter_map(|(name, applies_to, value)| Some(GivenOption { name, applies_to, value: value? }))
    }
}

impl ValueEnum for HttpMode {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            HttpMode::Auto => "Streamable HTTP, or HTTP+SSE if the server supports only that",
            HttpMode::Streamable => "Streamable HTTP",
            HttpMode::Sse => "HTTP+SSE (2024-11-05)",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}
