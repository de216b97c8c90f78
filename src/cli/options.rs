//! Options that several commands share.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, ValueEnum};

use crate::util::duration::parse_duration;
use crate::util::limit::{Limit, parse_size_limit, parse_time_limit};
use crate::util::when::When;
use crate::util::whole_number::parse_whole_number;

/// The options of every command.
///
/// The help of a command only names them; `mcpipe --help` describes them.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "General options")]
pub struct GlobalOptions {
    /// Print one JSON document; report a failure as one JSON line on stderr
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true)]
    pub json: bool,
    /// Filter the JSON document with the jq filter EXPR (implies --json)
    ///
    /// Strings are printed raw, each output on its own line.
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true, value_name = "EXPR")]
    pub jq: Option<String>,
    /// Exit with code 9 if the last output of --jq is false or null, or if there is none
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true)]
    pub jq_exit: bool,
    /// Print only results and errors
    #[arg(short, long, global = true, hide_short_help = true, hide_long_help = true)]
    pub quiet: bool,
    /// Show the JSON-RPC messages on stderr; -vv: also HTTP headers and the server's stderr
    ///
    /// Secrets are redacted.
    #[arg(short, long, global = true, hide_short_help = true, hide_long_help = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Write the exchange to FILE as NDJSON, secrets redacted
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Record the exchange in FILE, secrets redacted, for use as the target replay:FILE
    ///
    /// The cache of server metadata is not used, so that the recording is complete.
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// When to use colors [default: auto]
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true, value_name = "WHEN", value_parser = when_parser("At a terminal, unless `NO_COLOR` or `TERM=dumb` is set", "Always"))]
    pub color: Option<When>,
    /// When to show the images of a result in the terminal [default: auto]
    ///
    /// kitty, iTerm2 and terminals with sixel graphics support this. Images are never shown if stdout is a pipe or a
    /// file.
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true, value_name = "WHEN", value_parser = when_parser("Only at terminals that are known to support them", "Also at other terminals, as sixel graphics"))]
    pub images: Option<When>,
    /// Use this configuration file instead of all others
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Give up if no response arrives within TIME; 0 = no limit [default: 60s]
    ///
    /// Without --connect-timeout, the start of the server may take TIME at most as well, if that is shorter than the
    /// limit for the start.
    ///
    /// TIME is 500ms, 30s, 2m or 1h; a bare number is seconds. Progress notifications and messages about a task restart
    /// the timer, up to 60 × TIME in total; a flood of them does not.
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true, value_name = "TIME", value_parser = parse_time_limit, allow_negative_numbers = true)]
    pub timeout: Option<Limit<Duration>>,
    /// Give up if the server is not connected and initialized within TIME; 0 = no limit [default: 30s]
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true, value_name = "TIME", value_parser = parse_time_limit, allow_negative_numbers = true)]
    pub connect_timeout: Option<Limit<Duration>>,
    /// Retry up to N times after transient failures [default: 2; 0 over stdio]
    ///
    /// By default, a tool call is retried only if the server certainly did not process it; with this option also if the
    /// tool declares itself idempotent or read-only.
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true, value_name = "N", value_parser = parse_whole_number::<u32, 0>)]
    pub retries: Option<u32>,
    /// Give up on a list whose pages exceed SIZE in total; 0 = no limit [default: 64MiB]
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true, value_name = "SIZE", value_parser = parse_size_limit)]
    pub max_list_size: Option<Limit<u64>>,
    /// Keep trying for up to TIME until the server is ready
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true, value_name = "TIME", value_parser = parse_duration, allow_negative_numbers = true)]
    pub wait: Option<Duration>,
    /// Do not read or write the cache of server metadata (protocol revision, lists)
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true)]
    pub no_cache: bool,
    /// Do not use a session, even if the server has one (see mcpipe session)
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true)]
    pub no_session: bool,
    /// Never prompt
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true)]
    pub no_input: bool,
    /// Whether to start a login when a server requires one [default: auto]
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true, value_name = "WHEN", value_parser = when_parser("Only at a terminal", "Always"))]
    pub login: Option<When>,
    /// Offer DIR to the server as a root; may be repeated
    #[arg(long = "root", global = true, hide_short_help = true, hide_long_help = true, value_name = "DIR")]
    pub roots: Vec<PathBuf>,
    /// How to answer the server's requests for input (elicitation) [default: ask, at a terminal]
    ///
    /// HOW is ask, accept (with the form's defaults), decline, a JSON object, or @FILE containing one.
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true, value_name = "HOW", value_parser = ElicitOption::parse)]
    pub elicit: Option<ElicitOption>,
    /// Answer the server's sampling requests with CMD
    ///
    /// CMD reads the request as JSON from standard input, and prints the result as JSON.
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true, value_name = "CMD")]
    pub sampling_command: Option<String>,
    /// Request the server's logs at LEVEL and above, and print them on stderr
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
    /// Add this member to _meta of every request; KEY:=JSON for a value that is not a string; may be repeated
    ///
    /// The variables TRACEPARENT, TRACESTATE and BAGGAGE become the members traceparent, tracestate and baggage.
    /// `--meta traceparent=` omits traceparent and tracestate, `--meta baggage=` omits baggage.
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true, value_name = "KEY=VALUE")]
    pub meta: Vec<String>,
    /// Write every notification from the server to FILE as NDJSON
    ///
    /// With -, they go to stdout, before the result (implies --json).
    #[arg(long, global = true, hide_short_help = true, hide_long_help = true, value_name = "FILE|-")]
    pub events: Option<PathBuf>,
}

impl GlobalOptions {
    /// Restores what the words before the command say of options that may be repeated: if such an option also follows
    /// the command, clap has only the values there.
    pub(super) fn restore_repeated(&mut self, arguments: &[OsString], root: &clap::Command) {
        let (mut roots, mut meta) = (Vec::new(), Vec::new());
        let mut words = arguments.iter().skip(1).map_while(|word| word.to_str());
        while let Some(word) = words.next().filter(|word| word.starts_with('-')) {
            let (name, attached) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            let takes_value = |option: &clap::Arg| {
                option.get_long().is_some_and(|long| name.strip_prefix("--") == Some(long))
                    && option.get_action().takes_values()
                    && !option.is_require_equals_set()
            };
            let value = attached.or_else(|| if root.get_arguments().any(takes_value) { words.next() } else { None });
            match name {
                "--root" => roots.extend(value.map(PathBuf::from)),
                "--meta" => meta.extend(value.map(ToOwned::to_owned)),
                _ => {}
            }
        }
        if !roots.is_empty() {
            self.roots = roots;
        }
        if !meta.is_empty() {
            self.meta = meta;
        }
    }

    /// These options, and those of `under` that are not set here.
    #[must_use]
    pub fn with_fallback(self, under: GlobalOptions) -> Self {
        GlobalOptions {
            json: self.json || under.json,
            jq: self.jq.or(under.jq),
            jq_exit: self.jq_exit || under.jq_exit,
            quiet: self.quiet || under.quiet,
            verbose: self.verbose.max(under.verbose),
            trace: self.trace.or(under.trace),
            record: self.record.or(under.record),
            color: self.color.or(under.color),
            images: self.images.or(under.images),
            config: self.config.or(under.config),
            timeout: self.timeout.or(under.timeout),
            connect_timeout: self.connect_timeout.or(under.connect_timeout),
            retries: self.retries.or(under.retries),
            max_list_size: self.max_list_size.or(under.max_list_size),
            wait: self.wait.or(under.wait),
            no_cache: self.no_cache || under.no_cache,
            no_session: self.no_session || under.no_session,
            no_input: self.no_input || under.no_input,
            login: self.login.or(under.login),
            roots: joined(under.roots, self.roots),
            elicit: self.elicit.or(under.elicit),
            sampling_command: self.sampling_command.or(under.sampling_command),
            log_level: self.log_level.or(under.log_level),
            meta: joined(under.meta, self.meta),
            events: self.events.or(under.events),
        }
    }
}

/// The values before the command and those after it. Without any of one kind, clap has copied the others.
fn joined<T: Clone + PartialEq>(before: Vec<T>, after: Vec<T>) -> Vec<T> {
    if before == after { after } else { [before, after].concat() }
}

/// Accepts `auto`, `always` and `never`; the texts say what the first two mean.
fn when_parser(auto: &'static str, always: &'static str) -> impl TypedValueParser<Value = When> {
    let values = [("auto", auto), ("always", always), ("never", "Never")];
    PossibleValuesParser::new(values.map(|(name, help)| PossibleValue::new(name).help(help)))
        .map(|name| When::parse(&name).unwrap_or_default())
}

/// How to answer an elicitation.
#[derive(Clone, Debug, PartialEq)]
pub enum ElicitOption {
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

impl ElicitOption {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "ask" => ElicitOption::Ask,
            "accept" => ElicitOption::Accept,
            "decline" => ElicitOption::Decline,
            file if file.starts_with('@') => ElicitOption::File(PathBuf::from(&file[1..])),
            json => match serde_json::from_str(json) {
                Ok(serde_json::Value::Object(values)) => ElicitOption::Values(values),
                Ok(_) => return Err("expected ask, accept, decline, @FILE or a JSON object".to_owned()),
                Err(error) => {
                    let at = error.column();
                    return Err(format!(
                        "expected ask, accept, decline, @FILE or a JSON object: invalid JSON at character {at}"
                    ));
                }
            },
        })
    }
}

/// The severity of a log message (RFC 5424); more severe ones are greater.
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
    /// The name in the protocol.
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

    /// The level of this name; an unknown one counts as `info`.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        ValueEnum::from_str(name, true).unwrap_or(LogLevel::Info)
    }
}
