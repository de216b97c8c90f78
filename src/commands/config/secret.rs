//! `config secret`: manages the secrets that the configuration refers to as `${keychain:NAME}`. Values are never
//! shown, and never read from the command line, which other users can see.

use std::io::Read as _;
use std::pin::pin;

use serde_json::{Value, json};

use super::context::ConfigContext;
use super::report::{ConfigReport, ReportBody};
use crate::auth::store::{CredentialStore, named_secrets};
use crate::cli::ConfigSecretCommand;
use crate::commands::client_features;
use crate::commands::context::Context;
use crate::commands::runtime::block_on;
use crate::commands::secret_references::{MAX_SECRET_LENGTH, missing_secret};
use crate::config::Config;
use crate::config::value::expand::is_valid_secret_name;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::Column;
use crate::secret::Secret;
use crate::util::home::shown_location;

/// Runs a subcommand.
pub(super) fn run(context: &mut ConfigContext<'_>, command: &ConfigSecretCommand) -> Result<ConfigReport> {
    // A broken configuration does not prevent storing the secret that it lacks.
    let (config, faults) = Config::load_lenient(context.environment, context.config_file);
    let store = (context.open_store)(config.defaults.credential_store.as_deref())?;
    match command {
        ConfigSecretCommand::Set { name } => set(context, &config, &*store, name),
        ConfigSecretCommand::Remove { name } => remove(context, &config, &*store, name),
        ConfigSecretCommand::List => {
            let place = context.run(async { Ok(store.probe_location().await) })?;
            // A file that cannot be read may use any of them.
            list(&config, &*store, &place, faults.is_empty())
        }
    }
}

fn set(
    context: &mut ConfigContext<'_>,
    config: &Config,
    store: &dyn CredentialStore,
    name: &str,
) -> Result<ConfigReport> {
    if !is_valid_secret_name(name) {
        let failure = Failure::new(ErrorKind::Usage, format!("'{name}' is not a valid secret name"));
        return Err(failure
            .cause("a name consists of up to 100 letters, digits, '_' and '-', and begins with a letter or digit"));
    }
    let names = named_secrets::secret_names(store)?;
    if let Some(other) = names.iter().find(|other| other.eq_ignore_ascii_case(name) && *other != name) {
        return Err(Failure::new(ErrorKind::Usage, format!("a secret '{other}' already exists"))
            .cause("some keychains ignore case in names")
            .hint(format!("use that name: mcpipe config secret set {other}")));
    }
    let value = (context.read_secret)(name)?;
    let text = value.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(Failure::new(ErrorKind::Usage, format!("the value of '{name}' is empty; nothing was stored"))
            .hint(format!("pipe it in: printf %s \"$VALUE\" | mcpipe config secret set {name}")));
    }
    let secret = Secret::new(text);
    context.run(named_secrets::put_secret(store, name, &secret))?;
    let (place, replaced) = (named_secrets::location(store, name), names.iter().any(|other| other == name));
    let json = json!({ "name": name, "stored_in": place, "replaced": replaced });
    let mut report = ConfigReport::new(json, ReportBody::Text(String::new()));
    let verb = if replaced { "replaced" } else { "stored" };
    let mut note = format!("{verb} '{name}' in {}", shown_location(&place));
    if config.servers_using_secret(name).is_empty() {
        note.push_str(&format!("; refer to it as ${{keychain:{name}}}"));
    }
    report.notes.push(note);
    Ok(report)
}

fn remove(
    context: &ConfigContext<'_>,
    config: &Config,
    store: &dyn CredentialStore,
    name: &str,
) -> Result<ConfigReport> {
    let place = named_secrets::location(store, name);
    if !context.run(named_secrets::delete_secret(store, name))? {
        let names = named_secrets::secret_names(store)?;
        let place = context.run(async { Ok(store.probe_location().await) })?;
        let (message, near) = missing_secret(name, Some(&place), &names);
        let hint = near.unwrap_or_else(|| "list the secrets: mcpipe config secret list".to_owned());
        return Err(Failure::new(ErrorKind::Config, message).hint(hint));
    }
    let mut report = ConfigReport::new(
        json!({ "name": name, "stored_in": place, "removed": true }),
        ReportBody::Text(String::new()),
    );
    report.notes.push(format!("removed '{name}' from {}", shown_location(&place)));
    let users = config.servers_using_secret(name);
    if !users.is_empty() {
        report.notes.push(format!("still used by {}", users.join(", ")));
    }
    Ok(report)
}

fn list(config: &Config, store: &dyn CredentialStore, place: &str, is_complete: bool) -> Result<ConfigReport> {
    let names = named_secrets::secret_names(store)?;
    let mut rows = Vec::new();
    let mut all: Vec<Value> = Vec::new();
    let mut unused = Vec::new();
    for name in &names {
        let (place, users) = (named_secrets::location(store, name), config.servers_using_secret(name));
        if users.is_empty() {
            unused.push(name.as_str());
        }
        rows.push(vec![name.clone(), users.join(" "), shown_location(&place)]);
        all.push(json!({ "name": name, "stored_in": place, "used_by": users }));
    }
    let json = json!({ "store": place, "secrets": all });
    let mut report =
        ConfigReport::new(json, ReportBody::Table(["NAME", "USED BY", "STORED IN"].map(Column::new).to_vec(), rows));
    if names.is_empty() {
        let place = shown_location(place);
        report.notes.push(format!("no secrets in {place}; `mcpipe config secret set NAME` stores one"));
    }
    if let Some(first) = unused.first().filter(|_| is_complete) {
        // The files of other projects are not read.
        report.notes.push(format!("no server configured here uses {}", unused.join(", ")));
        report.notes.push(format!("to delete a secret: mcpipe config secret remove {first}"));
    }
    Ok(report)
}

/// The value, read from a pipe or typed without echo.
///
/// # Errors
/// [`ErrorKind::Usage`] if no one can be asked, or the value is not text.
pub(super) fn read_value(context: &Context, name: &str) -> Result<String> {
    let terminal = context.ui.terminal();
    if !terminal.stdin_is_tty {
        let mut bytes = Vec::new();
        let failed =
            || Failure::new(ErrorKind::Usage, format!("cannot read the value of '{name}' from standard input"));
        std::io::stdin()
            .take(MAX_SECRET_LENGTH as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| failed().caused_by(&error))?;
        if bytes.len() > MAX_SECRET_LENGTH {
            return Err(failed().cause(format!("it is longer than {MAX_SECRET_LENGTH} bytes")));
        }
        return String::from_utf8(bytes).map_err(|_| failed().cause("it is not UTF-8 text"));
    }
    let piped = format!("pipe it in: printf %s \"$VALUE\" | mcpipe config secret set {name}");
    if !terminal.is_interactive() || context.global.no_input {
        return Err(Failure::new(ErrorKind::Usage, format!("cannot prompt for the value of '{name}'")).hint(piped));
    }
    let question = format!("value of {name} (not shown): ");
    let line = client_features::ask_hidden_line(&context.ui, &context.interrupt, &question);
    block_on(&context.interrupt, pin!(line))??
        .ok_or_else(|| Failure::new(ErrorKind::Refused, format!("no value was given for '{name}'")).hint(piped))
}
