//! `config import`: shows in full what is configured in other clients, and copies what the user agrees to (SEC-06).

use std::fmt::Write as _;
use std::path::Path;
use std::pin::pin;

use serde_json::{Value, json};

use super::change::{self, ConfigFileDraft};
use super::context::ConfigContext;
use super::entry_errors;
use super::report::{ConfigReport, ReportBody, escape_untrusted};
use super::show::full_path;
use crate::auth::store::{CredentialStore, named_secrets};
use crate::cli::{ConfigImportArgs, ImportedSecretMode};
use crate::commands::runtime::block_on;
use crate::config::import::plan::{
    ImportAction, ImportOptions, ImportPlan, ImportSource, ImportStep, SecretDestination, plan_import,
};
use crate::config::import::secrets::FoundSecret;
use crate::config::{Config, trust};
use crate::env::Environment;
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::util::home::shown_location;

/// `config import [CLIENT|FILE]`.
pub(super) fn import(context: &mut ConfigContext<'_>, args: &ConfigImportArgs) -> Result<ConfigReport> {
    let environment = context.environment;
    let file = change::file_to_change(context, args.project)?;
    let wish = ImportOptions {
        source: args
            .from
            .as_deref()
            .map(|word| ImportSource::parse(environment, word))
            .transpose()?
            .unwrap_or_default(),
        all_projects: args.all,
        replace_existing: args.force,
        moves_secrets: args.secrets != ImportedSecretMode::Keep,
        project: args.project.then(|| file.parent().map(std::path::Path::to_owned)).flatten(),
        target_file: file.clone(),
    };
    // A broken configuration does not prevent an import; names are compared with those that can be read.
    let (config, _) = Config::load_lenient(environment, context.config_file);
    let mut plan = plan_import(environment, &config, &wish)?;
    if !args.only.is_empty() {
        plan.retain_named(&args.only)?;
    }
    plan.assign_variable_names();
    let store = match args.secrets {
        ImportedSecretMode::Keychain => Some((context.open_store)(config.defaults.credential_store.as_deref())?),
        ImportedSecretMode::Keep | ImportedSecretMode::Variables => None,
    };
    let moved = match (args.secrets, &store) {
        (ImportedSecretMode::Variables, _) => plan.move_secrets(SecretDestination::Variables, &mut |_, _| Ok(false))?,
        (_, Some(store)) => {
            let mut taken = |name: &str, secret: &Secret| is_name_taken(context, &**store, name, secret);
            plan.move_secrets(SecretDestination::Keychain, &mut taken)?
        }
        (_, None) => Vec::new(),
    };
    let shown = environment.abbreviate_home(&file);
    let description = describe(&plan);
    let count = plan.written_steps().count();
    let ask = count > 0 && !args.dry_run && !args.yes;
    let agreed = if ask { confirm_import(context, &description, count, &shown)? } else { args.yes.then_some(true) };
    let written = count > 0 && agreed == Some(true);
    // The confirmation has shown it already.
    let body = if ask && agreed.is_some() { String::new() } else { description };
    let mut report = ConfigReport::new(plan_json(&plan, environment, &file, written), ReportBody::Text(body));
    if written {
        let draft = ConfigFileDraft::open(environment, file, args.project)?;
        let text = plan.apply(&draft.text).map_err(|(problem, name)| draft.edit_failure(problem, name))?;
        // The secrets are stored before the file that refers to them is written.
        let mut stored = Vec::new();
        let done = match &store {
            Some(store) => store_secrets(context, &**store, &moved, &mut stored),
            None => Ok(()),
        };
        if let Err(failure) = done.and_then(|()| draft.write(&text)) {
            return Err(match &store {
                Some(store) => remove_secrets(context, &**store, &stored, failure),
                None => failure,
            });
        }
        if let Some(store) = &store {
            let notes = moved.iter().map(|(name, _)| (name, named_secrets::location(&**store, name)));
            report
                .notes
                .extend(notes.map(|(name, location)| format!("stored '{name}' in {}", shown_location(&location))));
        }
        report.notes.push(format!("wrote {count} {} to {shown}", server_noun(count)));
        if store.is_none() {
            report.notes.extend(secret_source_notes(&plan));
        }
        note_untrusted_file(context, &plan, &wish.target_file, &mut report);
        if args.secrets != ImportedSecretMode::Variables {
            report.notes.extend(unusable_entries(context, &plan));
        }
    } else if count > 0 && args.dry_run {
        report.notes.push(format!("nothing was written; use --yes to write {count} {} to {shown}", server_noun(count)));
    } else if count == 0 {
        report.notes.push("nothing to write".to_owned());
    }
    report.notes.extend(plain_secrets_note(&plan, written));
    let mut problems = plan.diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>();
    let unconfirmed = (count > 0 && !args.dry_run && !written).then(|| {
        Failure::new(ErrorKind::Refused, format!("nothing was written to {shown}"))
            .cause("cannot prompt: not a terminal")
            .hint(format!("use --yes to write {count} {}", server_noun(count)))
    });
    let mut failures = unconfirmed.into_iter().chain(plan.read_failures);
    report.failure = failures.next();
    problems.extend(failures.map(|failure| failure.with_hint()));
    report.notes.extend(problems.iter().map(|problem| escape_untrusted(problem)));
    Ok(report)
}

/// Says that the file has to be trusted, if an entry that was written needs it.
fn note_untrusted_file(context: &ConfigContext<'_>, plan: &ImportPlan, file: &Path, report: &mut ConfigReport) {
    let (config, _) = Config::load_lenient(context.environment, context.config_file);
    let mut written = plan.written_steps().filter_map(|step| config.server(&step.server.name));
    if let Some(server) = written.find(|server| server.source.path == file && server.trust_reason().is_some()) {
        report.notes.push(format!("{} is not trusted, so they cannot all be used", server.source.display_path));
        report.next = Some(trust::trust_command(&server.source));
    }
}

/// Why entries that were written cannot be used yet: a variable that is not set, a missing program.
fn unusable_entries(context: &ConfigContext<'_>, plan: &ImportPlan) -> Vec<String> {
    let (config, _) = Config::load_lenient(context.environment, context.config_file);
    let secrets = context.validated_placeholders(&config);
    let written = plan.written_steps().filter_map(|step| config.server(&step.server.name));
    let usable = written.filter(|server| server.check_usable().is_ok() && server.diagnostics().is_empty());
    let errors = usable.flat_map(|server| {
        let errors = entry_errors::entry_errors(&config, server, context.environment, &secrets);
        errors.into_iter().map(|error| format!("'{}' cannot be used yet: {}", server.name, error.message))
    });
    errors.map(|text| escape_untrusted(&text)).collect()
}

/// How many of the entries hold secrets as plain text, and how to store references instead.
fn plain_secrets_note(plan: &ImportPlan, written: bool) -> Option<String> {
    let open = |step: &&ImportStep| step.server.secrets.iter().any(is_plain_secret);
    let count = plan.written_steps().filter(open).count();
    let hold = if count == 1 { "server holds" } else { "servers hold" };
    let hint = match written {
        true => "to store references instead, run it again with --force --secrets keychain (or variables)",
        false => "use --secrets keychain (or variables) to store references instead",
    };
    (count > 0).then(|| format!("{count} {hold} secrets as plain text; {hint}"))
}

fn is_plain_secret(finding: &FoundSecret) -> bool {
    finding.is_movable() && finding.reference.is_none()
}

/// Stores the secrets that are not stored yet; `stored` collects the names of those that may be new in the store.
fn store_secrets<'a>(
    context: &ConfigContext<'_>,
    store: &dyn CredentialStore,
    secrets: &'a [(String, Secret)],
    stored: &mut Vec<&'a str>,
) -> Result<()> {
    for (name, secret) in secrets {
        if context.run(named_secrets::get_secret(store, name))?.as_ref() != Some(secret) {
            stored.push(name);
            context.run(named_secrets::put_secret(store, name, secret))?;
        }
    }
    Ok(())
}

/// Removes the secrets that a failed import has stored, and adds to the failure those that could not be removed.
fn remove_secrets(
    context: &ConfigContext<'_>,
    store: &dyn CredentialStore,
    stored: &[&str],
    failure: Failure,
) -> Failure {
    stored.iter().fold(failure, |failure, name| {
        // This also runs after an interrupt.
        let removed = block_on(&context.interrupt, pin!(named_secrets::delete_secret(store, name)));
        match removed.and_then(|removed| removed) {
            Ok(_) => failure,
            Err(error) => failure.cause(format!("the secret '{name}' was stored and could not be removed: {error}")),
        }
    })
}

fn server_noun(count: usize) -> &'static str {
    if count == 1 { "server" } else { "servers" }
}

/// Asks for confirmation; `None` if no one can be asked: then nothing is written, and that is not a failure.
fn confirm_import(
    context: &mut ConfigContext<'_>,
    description: &str,
    count: usize,
    shown: &str,
) -> Result<Option<bool>> {
    let question = format!("{description}\nWrite {count} {} to {}?", server_noun(count), escape_untrusted(shown));
    match (context.confirm)(&question)? {
        Some(false) => Err(Failure::new(ErrorKind::Refused, "nothing was imported")),
        answer => Ok(answer),
    }
}

/// Whether another secret with this name is stored: with a different value, or with a name that differs only in
/// case.
fn is_name_taken(
    context: &ConfigContext<'_>,
    store: &dyn CredentialStore,
    name: &str,
    secret: &Secret,
) -> Result<bool> {
    match named_secrets::secret_names(store)?.iter().find(|other| other.eq_ignore_ascii_case(name)) {
        Some(other) if other == name => {
            Ok(context.run(named_secrets::get_secret(store, name))?.is_some_and(|held| held != *secret))
        }
        other => Ok(other.is_some()),
    }
}

/// Where the values for the required variables can be found.
fn secret_source_notes(plan: &ImportPlan) -> Vec<String> {
    let findings = plan.written_steps().flat_map(|step| step.server.secrets.iter().map(move |finding| (step, finding)));
    let findings = findings.filter(|(_, finding)| finding.reference.is_some());
    let lines = findings.map(|(step, finding)| {
        let there =
            escape_untrusted(&format!("{} of '{}' in {}", finding.location, step.server.original_name, step.origin));
        format!("set {}: its value is {there}", finding.variable)
    });
    lines.collect()
}

/// Every entry with the whole command, and what will be done with it.
fn describe(plan: &ImportPlan) -> String {
    let mut text = String::new();
    let mut from = "";
    for step in &plan.steps {
        if step.origin != from {
            from = &step.origin;
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}{}", escape_untrusted(from));
        }
        let verb = if step.server.is_url() { "at  " } else { "runs" };
        let _ = writeln!(text, "\n  {}   {}", escape_untrusted(&step.server.name), action_text(step));
        let _ = writeln!(text, "    {verb}  {}", escape_untrusted(&step.server.target_text()));
        for setting in step.server.setting_lines() {
            let _ = writeln!(text, "    {}", escape_untrusted(&setting));
        }
        for note in &step.server.notes {
            let _ = writeln!(text, "    note: {}", escape_untrusted(note));
        }
        for finding in &step.server.secrets {
            let what = match &finding.reference {
                None => "is stored as plain text".to_owned(),
                Some(reference) => format!("becomes {reference}"),
            };
            let kind = if finding.is_certain { "secret" } else { "may be a secret" };
            let _ = writeln!(text, "    {kind}: {} {what}", escape_untrusted(&finding.location));
        }
    }
    text
}

fn action_text(step: &ImportStep) -> String {
    match &step.action {
        ImportAction::Add => "new".to_owned(),
        ImportAction::Replace(at) => format!("replaces the entry at {at}"),
        ImportAction::Identical(at) => format!("is already configured at {at}"),
        ImportAction::Conflict(at) => format!("skipped: another server has this name, at {at}"),
        ImportAction::Skip(why) => format!("skipped: {}", escape_untrusted(why)),
    }
}

fn plan_json(plan: &ImportPlan, environment: &Environment, file: &Path, written: bool) -> Value {
    let steps: Vec<Value> = plan
        .steps
        .iter()
        .map(|step| {
            let (at, reason) = match &step.action {
                ImportAction::Add => (None, None),
                ImportAction::Replace(at) | ImportAction::Identical(at) | ImportAction::Conflict(at) => (Some(environment.expand_tilde(at)), None),
                ImportAction::Skip(why) => (None, Some(why)),
            };
            let secrets: Vec<Value> = step
                .server
                .secrets
                .iter()
                .map(|finding| json!({ "key": finding.location, "name": finding.variable, "reference": finding.reference }))
                .collect();
            json!({
                "name": step.server.name, "original_name": step.server.original_name, "from": step.origin,
                "line": step.server.line, "project": step.server.project.as_deref().map(full_path), "action": step.action.as_str(),
                "defined_at": at, "reason": reason, "disabled": step.server.is_disabled,
                if step.server.is_url() { "url" } else { "command_line" }: step.server.target_text(),
                "settings": step.server.setting_lines(), "notes": step.server.notes, "secrets": secrets,
            })
        })
        .collect();
    let files: Vec<Value> = plan
        .files
        .iter()
        .map(|(found, _, count)| json!({ "client": found.client.id(), "file": full_path(&found.path), "servers": count }))
        .collect();
    let problems = plan.diagnostics.iter().map(ToString::to_string);
    let problems: Vec<String> = problems.chain(plan.read_failures.iter().map(ToString::to_string)).collect();
    json!({ "file": full_path(file), "written": written, "files": files, "servers": steps, "problems": problems })
}
