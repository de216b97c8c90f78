//! mcpipe: a command-line client for the Model Context Protocol.
//!
//! The library exists so that tests, fuzzers and benches reach the parts; its API promises nothing.
//! This file is the path of every run: parse → context → dispatch → report.

// Unsafe code is only in files that these systems compile; each says why.
#![cfg_attr(not(any(windows, target_os = "linux", target_os = "macos")), forbid(unsafe_code))]

pub mod args;
pub mod assets;
pub mod auth;
pub mod browser;
pub mod cli;
pub mod commands;
pub mod complete;
pub mod config;
pub mod env;
pub mod error;
pub mod interrupt;
pub mod models;
pub mod output;
pub mod protocol;
pub mod schema;
pub mod secret;
pub mod session;
pub mod target;
pub mod transport;
pub mod util;

use std::ffi::OsString;
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use cli::{Command, GlobalOptions};
use commands::context::{CredentialStores, SecretCache};
use commands::{Context, Exit, usage_errors};
use env::Environment;
use error::{ErrorKind, Failure, Result};
use interrupt::Interrupt;
use output::jq::JqFilter;
use output::{Terminal, Ui, UiOptions};
use util::when::When;

/// Runs the command line of this process; its exit code.
#[must_use]
pub fn main() -> u8 {
    output::install_panic_hook(transport::process::kill_all);
    commands::signals::catch_file_size_signal();
    if let Some(code) = complete::run_if_requested() {
        return code;
    }
    let arguments = commands::task_handles::separate_task_id(std::env::args_os().collect());
    let mut cli = match cli::parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => return report_parse_error(&error, &arguments),
    };
    let global = cli.take_global_options();
    let env = Environment::from_process();
    env.home().into_iter().for_each(util::home::set_home);
    let terminal = Terminal::detect(|name| env.get(name).map(ToOwned::to_owned));
    let mut options = ui_options(&global, color_mode(&global, &env, &terminal));
    let filter = match &global.jq {
        None if global.jq_exit => Err(Failure::new(ErrorKind::Usage, "--jq-exit needs --jq")
            .hint("add the filter whose last output decides: --jq EXPR")),
        jq => jq.as_ref().map(|text| JqFilter::new(text, || env.to_pairs()).map(Arc::new)).transpose(),
    };
    let jq_exit = global.jq_exit;
    let ui = match &filter {
        Ok(filter) => {
            options.jq.clone_from(filter);
            Arc::new(Ui::new(options, terminal))
        }
        Err(failure) => {
            Ui::new(options, terminal).report_failure(failure);
            return failure.kind().exit_code();
        }
    };
    let interrupt = Interrupt::default();
    commands::signals::spawn_signal_thread(&ui, &interrupt);
    let context = Context {
        ui: ui.clone(),
        env: Arc::new(env),
        interrupt,
        global,
        credential_stores: CredentialStores::default(),
        secret_cache: SecretCache::default(),
        trace: OnceLock::new(),
        recording: OnceLock::new(),
        unused_session: std::sync::Once::new(),
    };
    let kind = match dispatch(context, cli.command) {
        Ok(Exit::Done) => {
            let is_mismatch =
                jq_exit && filter.is_ok_and(|filter| filter.is_some_and(|filter| !filter.last_is_truthy()));
            return if is_mismatch { ErrorKind::Mismatch.exit_code() } else { 0 };
        }
        Ok(Exit::Reported(kind)) => kind,
        Err(failure) => {
            ui.report_failure(&failure);
            failure.kind()
        }
    };
    kind.exit_code()
}

fn dispatch(context: Context, command: Command) -> Result<Exit> {
    // Much time may pass between two lines, so a closed stdout would not be noticed by writing.
    let watches_stdout = output::events_go_to_stdout(context.global.events.as_deref())
        || match &command {
            Command::List(args) => args.watch,
            Command::Read(args) => args.watch && args.output_file().is_none(),
            _ => false,
        };
    match command {
        Command::Completions(args) => commands::assets::completions(&context, &args),
        Command::Man(args) => commands::assets::man(&context, &args),
        Command::Auth(args) => {
            run_connected(context, watches_stdout, async |context| Box::pin(commands::auth::run(context, *args)).await)
        }
        Command::Config(args) => commands::config::run_and_print(&context, &args),
        Command::List(args) => {
            run_connected(context, watches_stdout, async |context| commands::list::run(context, args).await)
        }
        Command::Call(args) => {
            run_connected(context, watches_stdout, async |context| commands::call::run(context, *args).await)
        }
        Command::Read(args) => {
            run_connected(context, watches_stdout, async |context| Box::pin(commands::read::run(context, args)).await)
        }
        Command::Prompt(args) => {
            run_connected(context, watches_stdout, async |context| commands::prompt::run(context, args).await)
        }
        Command::Request(args) => run_connected(context, watches_stdout, async |context| {
            Box::pin(commands::request::run(context, args)).await
        }),
        Command::Lock(args) => {
            run_connected(context, watches_stdout, async |context| commands::lock::run(context, args).await)
        }
        Command::Bridge(args) => {
            run_connected(context, watches_stdout, async |context| Box::pin(commands::bridge::run(context, args)).await)
        }
        Command::Replay(args) => {
            run_connected(context, watches_stdout, async |context| commands::replay::run(context, args).await)
        }
        Command::Session(args) => run_connected(context, watches_stdout, async |context| {
            Box::pin(commands::session::run(context, args)).await
        }),
        Command::Task(args) => {
            run_connected(context, watches_stdout, async |context| commands::task::run(context, args).await)
        }
        Command::Test(args) => {
            run_connected(context, watches_stdout, async |context| Box::pin(commands::test::run(context, args)).await)
        }
    }
}

/// Runs a command that connects; with `watches_stdout` it is stopped when the reader of standard output is gone.
#[inline(never)] // Otherwise the futures of all commands are in the stack frame of `main`.
fn run_connected(
    context: Context,
    watches_stdout: bool,
    command: impl AsyncFnOnce(&Context) -> Result<Exit>,
) -> Result<Exit> {
    // Pinned where it is created: it is large, and would be copied.
    let run = pin!(async {
        let reader = watches_stdout
            .then(|| tokio::spawn(commands::runtime::interrupt_on_closed_stdout(context.interrupt.clone())));
        let outcome = command(&context).await;
        reader.iter().for_each(tokio::task::JoinHandle::abort);
        outcome
    });
    commands::runtime::block_on(&context.interrupt, run)?
}

/// When to use colors: by the option, else by the configuration, which is read only at a terminal.
fn color_mode(global: &GlobalOptions, env: &Environment, terminal: &Terminal) -> When {
    let configured = || {
        let (config, _) = config::Config::load_lenient(env, global.config.as_deref());
        config.defaults.color.filter(|_| !terminal.no_color)
    };
    global.color.unwrap_or_else(|| match terminal.stdout_is_tty || terminal.stderr_is_tty {
        true => configured().and_then(|word| When::parse(&word)).unwrap_or_default(),
        false => When::Auto,
    })
}

fn ui_options(global: &GlobalOptions, color: When) -> UiOptions {
    // Notifications and text would be hard to tell apart.
    let stream = output::events_go_to_stdout(global.events.as_deref());
    UiOptions {
        json: global.json || stream,
        jq: None,
        quiet: global.quiet,
        verbose: global.verbose,
        color,
        images: global.images.unwrap_or_default(),
        trace_file: global.trace.clone(),
        events: global.events.clone(),
    }
}

/// Help and version go to standard output; an invalid command line is a failure like any other.
fn report_parse_error(error: &clap::Error, arguments: &[OsString]) -> u8 {
    let env = Environment::from_process();
    let terminal = Terminal::detect(|name| env.get(name).map(ToOwned::to_owned));
    let json = arguments.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let ui = Ui::new(UiOptions { json, ..UiOptions::default() }, terminal);
    let text = |color: bool| if color { error.render().ansi().to_string() } else { error.render().to_string() };
    match error.kind() {
        clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion => {
            // Not server text: its colors are kept.
            let text = text(ui.uses_color());
            return match ui.print_bytes(format!("{}\n", text.trim_end()).as_bytes()) {
                Ok(()) => 0,
                Err(failure) => {
                    ui.report_failure(&failure);
                    failure.kind().exit_code()
                }
            };
        }
        clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !json => ui.print_help(&text(false)),
        clap::error::ErrorKind::InvalidUtf8 => ui.report_failure(&usage_errors::invalid_utf8_failure(arguments)),
        _ => ui.report_failure(&usage_errors::usage_failure(error, &text(false), arguments)),
    }
    ErrorKind::Usage.exit_code()
}
