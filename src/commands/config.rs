//! `config`: what the configuration says, and changes to it.
//!
//! Every subcommand makes a [`Report`], plain data that the caller prints.

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

use super::{Exit, wait};
use crate::auth::store::Store;
use crate::cli::{ConfigArgs, ConfigCommand};
use crate::config::secrets::Secrets;
use crate::config::{Config, json_schema};
use crate::env::Environment;
use crate::error::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::{Cell, Column, Table};
pub use probe::Probe;

/// Opens the store of a choice.
type Open<'a> = dyn Fn(Option<&str>) -> Result<Arc<dyn Store>> + 'a;

/// What the subcommands need of a run.
pub struct Context<'a> {
    /// The environment.
    pub environment: &'a Environment,
    /// `--config`.
    pub file: Option<&'a Path>,
    /// `--timeout` and `--connect-timeout`, which `config add` writes down.
    pub times: (Option<Duration>, Option<Duration>),
    /// Shows a text on stderr and asks for yes or no after it; `None` where nobody can be asked.
    ///
    /// The text has its control characters made visible already.
    pub ask: &'a mut dyn FnMut(&str) -> Result<Option<bool>>,
    /// Reads the value of a secret with this name: what is piped in, or what is typed unseen.
    pub value: &'a mut dyn FnMut(&str) -> Result<String>,
    /// Opens the store of this choice, in which secrets rest.
    pub store: &'a Open<'a>,
    /// Connects to a server of a configuration.
    pub connect: &'a dyn Fn(&Config, &str) -> Result<Probe>,
    /// The wish to stop, for what waits.
    pub interrupt: Interrupt,
}

impl Context<'_> {
    /// Stand-ins for secrets, where nothing can be seen to be wrong with them.
    fn judged<'a>(&'a self, config: &'a Config) -> Secrets<'a> {
        let choice = config.defaults.credential_store.as_deref();
        Secrets::judged(move |request| super::secrets::judge(request, self.environment, || (self.store)(choice)))
    }

    /// Waits for what a store does.
    fn wait<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        wait(&self.interrupt, pin!(self.interrupt.guard(future)))??
    }
}

/// What a subcommand has to say.
#[derive(Debug)]
pub struct Report {
    /// The answer for `--json`.
    pub json: Value,
    /// The answer for people.
    pub body: Body,
    /// For stderr: remarks that are no failures.
    pub notes: Vec<String>,
    /// What decides the exit code; reported after the answer.
    pub failure: Option<Failure>,
}

/// An answer for people.
#[derive(Debug)]
pub enum Body {
    /// Rows under headings; without headings and separated by tabs where stdout is no terminal.
    Table(Vec<&'static str>, Vec<Vec<String>>),
    /// Text as it is, line breaks included.
    Text(String),
}

impl Report {
    fn new(json: Value, body: Body) -> Self {
        Report { json, body, notes: Vec::new(), failure: None }
    }

    /// Writes the answer as it goes into a pipe.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn write(&self, json: bool, out: &mut dyn Write) -> io::Result<()> {
        match &self.body {
            _ if json => writeln!(out, "{}", self.json),
            Body::Text(text) => out.write_all(text.as_bytes()),
            Body::Table(_, rows) => rows.iter().try_for_each(|row| writeln!(out, "{}", row.join("\t"))),
        }
    }
}

/// Runs a subcommand and prints what it has to say.
///
/// # Errors
/// When there is nothing to print.
pub fn print(context: &super::Context, args: &ConfigArgs) -> Result<Exit> {
    let ui = &context.ui;
    let may_ask = ui.terminal().interactive() && !context.global.no_input;
    let mut ask = |text: &str| -> Result<Option<bool>> {
        if !may_ask {
            return Ok(None);
        }
        ui.say(text);
        ui.ask("go on? [y/N] ");
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line);
        Ok(Some(read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes")))
    };
    let global = &context.global;
    let mut value = |name: &str| secret::read(context, name);
    let store = |choice: Option<&str>| context.store(choice);
    let connect = |config: &Config, name: &str| wait(&context.interrupt, pin!(probe::probe(context, config, name)))?;
    let mut plain = Context {
        environment: &context.env,
        file: global.config.as_deref(),
        times: (global.timeout, global.connect_timeout),
        ask: &mut ask,
        value: &mut value,
        store: &store,
        connect: &connect,
        interrupt: context.interrupt.clone(),
    };
    let report = run(&args.command, &mut plain)?;
    match report.body {
        _ if ui.json() => ui.json_value(&report.json)?,
        Body::Text(text) => ui.text(&text)?,
        Body::Table(headings, rows) => {
            let mut table = Table::new(headings.into_iter().map(Column::new).collect::<Vec<_>>());
            rows.into_iter().for_each(|row| table.row(row.into_iter().map(Cell::new)));
            ui.table(&table)?;
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
pub fn run(command: &ConfigCommand, context: &mut Context<'_>) -> Result<Report> {
    match command {
        ConfigCommand::List => Ok(show::list(context)),
        ConfigCommand::Get { name } => show::get(context, name),
        ConfigCommand::Path => Ok(show::path(context)),
        ConfigCommand::Schema => {
            let schema = json_schema::document();
            let text = format!("{schema:#}\n");
            Ok(Report::new(schema, Body::Text(text)))
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
fn visible(text: &str) -> String {
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
