//! `config secret`: the secrets that the configuration refers to as `${keychain:NAME}`. No value is ever shown, and
//! none is taken from the command line, where others could see it.

use std::io::Read as _;
use std::pin::pin;

use serde_json::{Value, json};

use super::super::inputs;
use super::{Body, Context, Report};
use crate::auth::store::{Store, named};
use crate::cli::ConfigSecretCommand;
use crate::config::Config;
use crate::config::expand::is_secret_name;
use crate::error::{Class, Failure, Result};
use crate::near::did_you_mean;
use crate::secret::Secret;

/// The longest value, in bytes: a certificate with its chain fits.
const LONGEST: u64 = 64 * 1024;

/// Runs a subcommand.
pub(super) fn run(context: &mut Context<'_>, command: &ConfigSecretCommand) -> Result<Report> {
    // A configuration that is broken elsewhere keeps nobody from storing the secret that it lacks.
    let (config, _) = Config::survey(context.environment, context.file);
    let store = (context.store)(config.defaults.credential_store.as_deref())?;
    match command {
        ConfigSecretCommand::Set { name } => set(context, &config, &*store, name),
        ConfigSecretCommand::Remove { name } => remove(context, &config, &*store, name),
        ConfigSecretCommand::List => {
            let place = context.wait(async { Ok(store.place_now().await) })?;
            list(&config, &*store, &place)
        }
    }
}

fn set(context: &mut Context<'_>, config: &Config, store: &dyn Store, name: &str) -> Result<Report> {
    if !is_secret_name(name) {
        let failure = Failure::new(Class::Usage, format!("'{name}' cannot be the name of a secret"));
        return Err(failure.cause("a name has letters, digits, '_' and '-', and begins with a letter or digit"));
    }
    let names = named::names(store)?;
    if let Some(other) = names.iter().find(|other| other.eq_ignore_ascii_case(name) && *other != name) {
        return Err(Failure::new(Class::Usage, format!("there is a secret '{other}' already"))
            .cause("some keychains do not tell names apart that differ only in case")
            .hint(format!("mcpipe config secret set {other}")));
    }
    let value = (context.value)(name)?;
    let text = value.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(Failure::new(Class::Usage, format!("the value of '{name}' is empty, so nothing is stored"))
            .hint(format!("pipe it in: printf %s \"$VALUE\" | mcpipe config secret set {name}")));
    }
    let secret = Secret::new(text);
    context.wait(named::put(store, name, &secret))?;
    let (place, replaced) = (named::place(store, name), names.iter().any(|other| other == name));
    let json = json!({ "name": name, "place": place, "replaced": replaced });
    let mut report = Report::new(json, Body::Text(String::new()));
    let verb = if replaced { "replaced" } else { "stored" };
    let mut note = format!("{verb} '{name}' in {place}");
    if config.users_of(name).is_empty() {
        note.push_str(&format!("; refer to it as ${{keychain:{name}}}"));
    }
    report.notes.push(note);
    Ok(report)
}

fn remove(context: &Context<'_>, config: &Config, store: &dyn Store, name: &str) -> Result<Report> {
    let place = named::place(store, name);
    if !context.wait(named::delete(store, name))? {
        let names = named::names(store)?;
        let failure = Failure::new(Class::Config, format!("there is no secret '{name}' in {}", store.place()));
        let near = did_you_mean(name, names.iter().map(String::as_str));
        let failure = near.into_iter().fold(failure, Failure::cause);
        return Err(failure.hint("mcpipe config secret list"));
    }
    let mut report = Report::new(json!({ "name": name, "place": place, "removed": true }), Body::Text(String::new()));
    report.notes.push(format!("removed '{name}' from {place}"));
    let users = config.users_of(name);
    if !users.is_empty() {
        report.notes.push(format!("still referred to by {}", users.join(", ")));
    }
    Ok(report)
}

fn list(config: &Config, store: &dyn Store, place: &str) -> Result<Report> {
    let names = named::names(store)?;
    let mut rows = Vec::new();
    let mut all: Vec<Value> = Vec::new();
    for name in &names {
        let (rests, users) = (named::place(store, name), config.users_of(name));
        rows.push(vec![name.clone(), users.join(" "), rests.clone()]);
        all.push(json!({ "name": name, "place": rests, "used_by": users }));
    }
    let json = json!({ "store": place, "secrets": all });
    let mut report = Report::new(json, Body::Table(vec!["NAME", "USED BY", "RESTS IN"], rows));
    if names.is_empty() {
        report.notes.push(format!("no secrets in {place}; `mcpipe config secret set NAME` stores one"));
    }
    Ok(report)
}

/// The value: what is piped in, or what a person types without seeing it.
///
/// # Errors
/// [`Class::Usage`] where nobody may be asked, and for what is no text.
pub(super) fn read(context: &super::super::Context, name: &str) -> Result<String> {
    let terminal = context.ui.terminal();
    if !terminal.stdin {
        let mut bytes = Vec::new();
        let failed = || Failure::new(Class::Usage, format!("cannot read the value of '{name}' from standard input"));
        std::io::stdin().take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| failed().source(&error))?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > LONGEST) {
            return Err(failed().cause(format!("it is longer than {LONGEST} bytes")));
        }
        return String::from_utf8(bytes).map_err(|_| failed().cause("it is not UTF-8 text"));
    }
    let piped = format!("pipe it in: printf %s \"$VALUE\" | mcpipe config secret set {name}");
    if !terminal.interactive() || context.global.no_input {
        return Err(Failure::new(Class::Usage, format!("nobody can be asked for the value of '{name}'")).hint(piped));
    }
    let question = format!("value of {name} (not shown): ");
    let line = inputs::unseen(&context.ui, &context.interrupt, &question);
    super::wait(&context.interrupt, pin!(line))??
        .ok_or_else(|| Failure::new(Class::Refused, format!("no value was given for '{name}'")).hint(piped))
}
