//! `config`: shows and changes the configuration.
//!
//! Every subcommand returns a [`ConfigReport`], which the caller prints.

mod add;
mod change;
mod check;
mod context;
mod entry_errors;
mod import;
mod probe;
mod registry;
mod report;
mod secret;
mod show;
mod trust;

use std::pin::pin;

use crate::cli::{ConfigArgs, ConfigCommand};
use crate::commands::client_features::ask_yes_no;
use crate::commands::context::Exit;
use crate::commands::runtime::block_on;
use crate::config::{Config, json_schema};
use crate::error::Result;
use crate::output::{Cell, Table};
#[cfg(unix)]
pub(in crate::commands) use change::check_name;
pub use context::ConfigContext;
pub use probe::ProbeResult;
pub use report::{ConfigReport, ReportBody};

/// Runs a subcommand and prints its report.
///
/// # Errors
/// If there is nothing to print.
pub fn run_and_print(context: &super::Context, args: &ConfigArgs) -> Result<Exit> {
    let ui = &context.ui;
    let may_ask = ui.terminal().is_interactive() && !context.global.no_input;
    let mut ask = |text: &str| -> Result<Option<bool>> {
        if !may_ask {
            return Ok(None);
        }
        ui.prompt_text(text);
        block_on(&context.interrupt, pin!(ask_yes_no(ui, &context.interrupt, "continue?")))?.map(Some)
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
        fetch: &|url, options| registry::fetch(context, url, options),
        interrupt: context.interrupt.clone(),
    };
    let report = run(&args.command, &mut plain)?;
    match report.body {
        _ if ui.is_json() => ui.print_json_value(&report.json)?,
        ReportBody::Text(text) => ui.print_text(&text)?,
        ReportBody::Table(columns, rows) => {
            let mut table = Table::new(columns);
            rows.into_iter().for_each(|row| table.add_row(row.into_iter().map(Cell::new)));
            ui.print_table(&table)?;
        }
    }
    report.notes.iter().for_each(|note| ui.note(note));
    report.next.iter().for_each(|command| ui.suggest_next(command));
    match report.failure {
        Some(failure) => Err(failure),
        None => Ok(Exit::Done),
    }
}

/// Runs a subcommand.
///
/// # Errors
/// If there is nothing to print; other problems are in the report.
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

#[cfg(test)]
mod tests;
