//! `config`: what the configuration says, and changes to it.
//!
//! Every subcommand makes a [`ConfigReport`], plain data that the caller prints.

mod add;
mod change;
mod check;
mod import;
mod probe;
mod secret;
mod show;
mod trust;

use std::io::{self, Write};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::auth::store::CredentialStore;
use crate::cli::{ConfigArgs, ConfigCommand};
use crate::commands::context::Exit;
use crate::commands::runtime::block_on;
use crate::config::value::secrets::Secrets;
use crate::config::{Config, json_schema};
use crate::env::Environment;
use crate::error::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::{Cell, Column, Table};
pub use probe::ProbeResult;

/// Opens the store of a choice.
type OpenStoreFn<'a> = dyn Fn(Option<&str>) -> Result<Arc<dyn CredentialStore>> + 'a;

/// What the subcommands need of a run.
pub struct ConfigContext<'a> {
    /// The environment.
    pub environment: &'a Environment,
    /// `--config`.
    pub config_file: Option<&'a Path>,
    /// `--timeout` and `--connect-timeout`, which `config add` writes down.
    pub timeouts: (Option<Duration>, Option<Duration>),
    /// Shows a text on stderr and asks for yes or no after it; `None` where nobody can be asked.
    ///
    /// The text has its control characters made visible already.
    pub confirm: &'a mut dyn FnMut(&str) -> Result<Option<bool>>,
    /// Reads the value of a secret with this name: what is piped in, or what is typed unseen.
    pub read_secret: &'a mut dyn FnMut(&str) -> Result<String>,
    /// Opens the store of this choice, in which secrets rest.
    pub open_store: &'a OpenStoreFn<'a>,
    /// Connects to a server of a configuration.
    pub connect: &'a dyn Fn(&Config, &str) -> Result<ProbeResult>,
    /// The wish to stop, for what waits.
    pub interrupt: Interrupt,
}

impl ConfigContext<'_> {
    /// Stand-ins for secrets, where nothing can be seen to be wrong with them.
    fn validated_placeholders<'a>(&'a self, config: &'a Config) -> Secrets<'a> {
        let choice = config.defaults.credential_store.as_deref();
        Secrets::placeholders_checked_by(move |request| {
            crate::commands::secret_references::validate_reference(request, self.environment, || {
                (self.open_store)(choice)
            })
        })
    }

    /// Waits for what a store does.
    fn block_on<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        block_on(&self.interrupt, pin!(self.interrupt.run_until_interrupted(future)))??
    }
}

/// What a subcommand has to say.
#[derive(Debug)]
pub struct ConfigReport {
    /// The answer for `--json`.
    pub json: Value,
    /// The answer for people.
    pub body: ReportBody,
    /// For stderr: remarks that are no failures.
    pub notes: Vec<String>,
    /// What decides the exit code; reported after the answer.
    pub failure: Option<Failure>,
}

/// An answer for people.
#[derive(Debug)]
pub enum ReportBody {
    /// Rows under headings; without headings and separated by tabs where stdout is no terminal.
    Table(Vec<&'static str>, Vec<Vec<String>>),
    /// Text as it is, line breaks included.
    Text(String),
}

impl ConfigReport {
    fn new(json: Value, body: ReportBody) -> Self {
        ConfigReport { json, body, notes: Vec::new(), failure: None }
    }

    /// Writes the answer as it goes into a pipe.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn write(&self, json: bool, out: &mut dyn Write) -> io::Result<()> {
        match &self.body {
            _ if json => writeln!(out, "{}", self.json),
            ReportBody::Text(text) => out.write_all(text.as_bytes()),
            ReportBody::Table(_, rows) => rows.iter().try_for_each(|row| writeln!(out, "{}", row.join("\t"))),
        }
    }
}

/// Runs a subcommand and prints what it has to say.
///
/// # Errors
/// When there is nothing to print.
pub fn run_and_print(context: &super::Context, args: &ConfigArgs) -> Result<Exit> {
    let ui = &context.ui;
    let may_ask = ui.terminal().is_interactive() && !context.global.no_input;
    let mut ask = |text: &str| -> Result<Option<bool>> {
        if !may_ask {
            return Ok(None);
        }
        ui.prompt_text(text);
        ui.prompt_question("continue? [y/N] ");
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line);
        Ok(Some(read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes")))
    };
    let global = &context.global;
    let mut value = |name: &str| secret::read_value(context, name);
    let store = |choice: Option<&str>| context.credential_store(choice);
    let connect =
        |config: &Config, name: &str| block_on(&context.interrupt, pin!(probe::probe(context, config, name)))?;
    let mut plain = ConfigContext {
        environment: &context.env,
        config_file: global.config.as_deref(),
        timeouts: (global.timeout, global.connect_timeout),
        confirm: &mut ask,
        read_secret: &mut value,
        open_store: &store,
        connect: &connect,
        interrupt: context.interrupt.clone(),
    };
    let report = run(&args.command, &mut plain)?;
    match report.body {
        _ if ui.is_json() => ui.print_json_value(&report.json)?,
        ReportBody::Text(text) => ui.print_text(&text)?,
        ReportBody::Table(headings, rows) => {
            let mut table = Table::new(headings.into_iter().map(Column::new).collect::<Vec<_>>());
            rows.into_iter().for_each(|row| table.add_row(row.into_iter().map(Cell::new)));
            ui.print_table(&table)?;
        }
    }
    report.notes.iter().for_each(|note| ui.note(note));
    match report.failure {
        Some(failure) => Err(failure),
        None => Ok(Exit::Done),
    }
}

/// Runs a subcommand.
///
/// # Errors
/// When there is nothing to print; what is wrong beside an answer is in the report.
pub fn run(command: &ConfigCommand, context: &mut ConfigContext<'_>) -> Result<ConfigReport> {
    match command {
        ConfigCommand::List => Ok(show::list(context)),
        ConfigCommand::Get { name } => show::get(context, name),
        ConfigCommand::Path => Ok(show::path(context)),
        ConfigCommand::Schema => {
            let schema = json_schema::config_schema();
            let text = format!("{schema:#}\n");
            Ok(ConfigReport::new(schema, ReportBody::Text(text)))
        }
        ConfigCommand::Check { name } => check::check(context, name.as_deref()),
        ConfigCommand::Trust { file, yes, revoke } => trust::trust(context, file.as_deref(), *yes, *revoke),
        ConfigCommand::Add(args) => add::add(context, args),
        ConfigCommand::Import(args) => import::import(context, args),
        ConfigCommand::Remove { name, project } => change::remove(context, name, *project),
        ConfigCommand::Rename { name, new_name, project } => change::rename(context, name, new_name, *project),
        ConfigCommand::Secret(args) => secret::run(context, &args.command),
        ConfigCommand::Edit { project } => change::edit(context, *project),
    }
}

/// Text from a file that somebody else may have written, with everything visible that could hide something.
fn escape_untrusted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\'' | '"' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests;
