//! Options that several commands share.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};

use crate::util::duration::parse_duration;

/// The options of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "General options")]
pub struct GlobalOptions {
    /// Print one JSON document; failures become one JSON line on stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// Print what the jq filter EXPR makes of the JSON document: strings raw, each output on its own line
    #[arg(long, global = true, value_name = "EXPR")]
    pub jq: Option<String>,
    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Show the JSON-RPC exchange on stderr; twice: HTTP headers and the server's stderr too
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Write the exchange to FILE as NDJSON, secrets redacted
    #[arg(long, global = true, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// When to use colours [default: auto]
    #[arg(long, global = true, value_name = "WHEN")]
    pub color: Option<ColorWhen>,
    /// Read this configuration file and no other
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Wait this long for an answer; progress starts the clock again, up to 60 times this long in all; 0 waits for
    /// ever [default: 60s]
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration, allow_negative_numbers = true)]
    pub timeout: Option<Duration>,
    /// Wait this long for start and negotiation; 0 waits for ever [default: 30s]
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration, allow_negative_numbers = true)]
    pub connect_timeout: Option<Duration>,
    /// Try again so often after failures that may pass; a tool only if it never got the call, or says that twice
    /// is as good as once [default: 2, and 0 for commands]
    #[arg(long, global = true, value_name = "N")]
    pub retries: Option<u32>,
    /// Try so long until the server is ready
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration, allow_negative_numbers = true)]
    pub wait: Option<Duration>,
    /// Neither use nor keep what was learned about servers
    #[arg(long, global = true)]
    pub no_cache: bool,
    /// Never ask anything
    #[arg(long, global = true)]
    pub no_input: bool,
    /// When to log in on the spot to a server that asks for it [default: auto, at a terminal only]
    #[arg(long, global = true, value_name = "WHEN")]
    pub login: Option<LoginWhen>,
    /// Offer DIR to the server as a root; may be repeated
    #[arg(long = "root", global = true, value_name = "DIR")]
    pub roots: Vec<PathBuf>,
    /// How to answer when the server asks for input: ask, accept (its defaults), decline, a JSON object, or @FILE with one [default: ask at a terminal]
    #[arg(long, global = true, value_name = "HOW", value_parser = ElicitMode::parse)]
    pub elicit: Option<ElicitMode>,
    /// Let CMD answer when the server asks for a model: the request's JSON on its stdin, the result's on its stdout
    #[arg(long, global = true, value_name = "CMD")]
    pub sampling_command: Option<String>,
    /// Ask the server for its logs of this level and above, and print them on stderr
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
    /// Write every notification of the server to FILE as NDJSON; with - to stdout, where the answer follows (implies --json)
    #[arg(long, global = true, value_name = "FILE|-")]
    pub events: Option<PathBuf>,
}

impl GlobalOptions {
    /// These options laid over `under`.
    ///
    /// What stood anywhere is found in both, so nothing is added up.
    #[must_use]
    pub fn with_fallback(self, under: GlobalOptions) -> Self {
        GlobalOptions {
            json: self.json || under.json,
            jq: self.jq.or(under.jq),
            quiet: self.quiet || under.quiet,
            verbose: self.verbose.max(under.verbose),
            trace: self.trace.or(under.trace),
            color: self.color.or(under.color),
            config: self.config.or(under.config),
            timeout: self.timeout.or(under.timeout),
            connect_timeout: self.connect_timeout.or(under.connect_timeout),
            retries: self.retries.or(under.retries),
            wait: self.wait.or(under.wait),
            no_cache: self.no_cache || under.no_cache,
            no_input: self.no_input || under.no_input,
            login: self.login.or(under.login),
            roots: if self.roots.is_empty() { under.roots } else { self.roots },
            elicit: self.elicit.or(under.elicit),
            sampling_command: self.sampling_command.or(under.sampling_command),
            log_level: self.log_level.or(under.log_level),
            events: self.events.or(under.events),
        }
    }
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// At a terminal, unless `NO_COLOR` or `TERM=dumb` says otherwise.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// When to log in on the spot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LoginWhen {
    /// Where a person is at the terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How to answer an elicitation.
#[derive(Clone, Debug, PartialEq)]
pub enum ElicitMode {
    /// Ask at the terminal.
    Ask,
    /// Accept with the defaults of the form.
    Accept,
    /// Decline.
    Decline,
    /// Accept with these values over the defaults of the form.
    Values(serde_json::Map<String, serde_json::Value>),
    /// The same, from a file; `-` is standard input.
    File(PathBuf),
}

impl ElicitMode {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "ask" => ElicitMode::Ask,
            "accept" => ElicitMode::Accept,
            "decline" => ElicitMode::Decline,
            file if file.starts_with('@') => ElicitMode::File(PathBuf::from(&file[1..])),
            json => match serde_json::from_str(json) {
                Ok(serde_json::Value::Object(values)) => ElicitMode::Values(values),
                Ok(_) => return Err("neither ask, accept, decline nor @FILE, and no JSON object".to_owned()),
                Err(error) => {
                    let at = error.column();
                    return Err(format!("neither ask, accept, decline nor @FILE, and no JSON from character {at} on"));
                }
            },
        })
    }
}

/// How grave a log message is (RFC 5424); graver ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[allow(missing_docs, reason = "each variant is the level it names")]
pub enum LogLevel {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl LogLevel {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Notice => "notice",
            LogLevel::Warning => "warning",
            LogLevel::Error => "error",
            LogLevel::Critical => "critical",
            LogLevel::Alert => "alert",
            LogLevel::Emergency => "emergency",
        }
    }

    /// The level of this name; one that nobody knows counts as `info`.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        ValueEnum::from_str(name, true).unwrap_or(LogLevel::Info)
    }
}
