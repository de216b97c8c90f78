//! `config import`: shows what other clients have set up, in full, and copies what is agreed to (SEC-06).

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::change::{self, Draft};
use super::show::full;
use super::{Body, Context, Report, visible};
use crate::auth::store::{Store, named};
use crate::cli::{ConfigImportArgs, ImportedSecrets};
use crate::config::Config;
use crate::config::import::plan::{Action, Plan, Refuge, Step, What, Wish, plan};
use crate::env::Environment;
use crate::error::{Class, Failure, Result};
use crate::secret::Secret;

/// `config import [CLIENT|FILE]`.
pub(super) fn import(context: &mut Context<'_>, args: &ConfigImportArgs) -> Result<Report> {
    let environment = context.environment;
    let file = change::file_to_change(context, args.project)?;
    let wish = Wish {
        what: args.from.as_deref().map(|word| What::parse(environment, word)).transpose()?.unwrap_or_default(),
        all: args.all,
        replace: args.force,
        project: args.project.then(|| file.parent().map(std::path::Path::to_owned)).flatten(),
        file: file.clone(),
    };
    // What is broken elsewhere does not keep anybody from importing; names are compared with what can be read.
    let (config, _) = Config::survey(environment, context.file);
    let mut plan = plan(environment, &config, &wish)?;
    if !args.only.is_empty() {
        plan.only(&args.only)?;
    }
    let store = match args.secrets {
        ImportedSecrets::Keychain => Some((context.store)(config.defaults.credential_store.as_deref())?),
        ImportedSecrets::Keep | ImportedSecrets::Variables => None,
    };
    let moved = match (args.secrets, &store) {
        (ImportedSecrets::Variables, _) => plan.move_secrets(Refuge::Variables, &mut |_, _| Ok(false))?,
        (_, Some(store)) => {
            let mut taken = |name: &str, secret: &Secret| taken(context, &**store, name, secret);
            plan.move_secrets(Refuge::Keychain, &mut taken)?
        }
        (_, None) => Vec::new(),
    };
    let shown = environment.shorten(&file);
    let description = describe(&plan);
    let count = plan.written().count();
    let ask = count > 0 && !args.dry_run && !args.yes;
    let agreed = if ask { agreed(context, &description, count, &shown)? } else { args.yes.then_some(true) };
    let written = count > 0 && agreed == Some(true);
    // Who was asked has seen it already.
    let body = if ask && agreed.is_some() { String::new() } else { description };
    let mut report = Report::new(json(&plan, environment, &file, written), Body::Text(body));
    if written {
        let draft = Draft::open(environment, file, args.project)?;
        let text = plan.apply(&draft.text).map_err(|(problem, name)| draft.problem(problem, name))?;
        // What the file refers to is there before the file is.
        if let Some(store) = &store {
            for (name, secret) in &moved {
                context.wait(named::put(&**store, name, secret))?;
                report.notes.push(format!("stored '{name}' in {}", named::place(&**store, name)));
            }
        }
        draft.write(&text)?;
        report.notes.push(format!("{count} {} written to {shown}", servers(count)));
        if store.is_none() {
            report.notes.extend(sources_of_secrets(&plan));
        }
    } else if count > 0 {
        report.notes.push(format!("nothing is written; --yes writes {count} {} to {shown}", servers(count)));
    } else {
        report.notes.push("there is nothing to write".to_owned());
    }
    let open = |step: &&Step| step.entry.secrets.iter().any(|finding| finding.reference.is_none());
    let secrets = plan.written().filter(open).count();
    if secrets > 0 {
        let hint = "--secrets keychain (or variables) puts references in their place";
        report.notes.push(format!("{secrets} {} secrets as text; {hint}", if secrets == 1 { "holds" } else { "hold" }));
    }
    report.notes.extend(plan.problems.iter().map(|problem| visible(&problem.to_string())));
    report.failure = plan.failures.into_iter().next();
    Ok(report)
}

fn servers(count: usize) -> &'static str {
    if count == 1 { "server" } else { "servers" }
}

/// Asks where somebody can be asked; `None` where nobody can, and then nothing is written, which is no failure.
fn agreed(context: &mut Context<'_>, description: &str, count: usize, shown: &str) -> Result<Option<bool>> {
    let question = format!("{description}\nWrite {count} {} to {}?", servers(count), visible(shown));
    match (context.ask)(&question)? {
        Some(false) => Err(Failure::new(Class::Refused, "nothing is imported")),
        answer => Ok(answer),
    }
}

/// Whether a secret that is stored already has this name: one with another value, or one whose name differs only in
/// case.
fn taken(context: &Context<'_>, store: &dyn Store, name: &str, secret: &Secret) -> Result<bool> {
    match named::names(store)?.iter().find(|other| other.eq_ignore_ascii_case(name)) {
        Some(other) if other == name => Ok(context.wait(named::get(store, name))?.is_some_and(|held| held != *secret)),
        other => Ok(other.is_some()),
    }
}

/// Where the values are that the variables have to hold.
fn sources_of_secrets(plan: &Plan) -> Vec<String> {
    let findings = plan.written().flat_map(|step| step.entry.secrets.iter().map(move |finding| (step, finding)));
    let findings = findings.filter(|(_, finding)| finding.reference.is_some());
    let lines = findings.map(|(step, finding)| {
        let there = visible(&format!("{} of '{}' in {}", finding.place, step.entry.original_name, step.from));
        format!("set {}: its value is {there}", finding.variable)
    });
    lines.collect()
}

/// Every entry with the whole command, and what happens to it.
fn describe(plan: &Plan) -> String {
    let mut text = String::new();
    let mut from = "";
    for step in &plan.steps {
        if step.from != from {
            from = &step.from;
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}{}", visible(from));
        }
        let verb = if step.entry.target_is_url() { "at  " } else { "runs" };
        let _ = writeln!(text, "\n  {}   {}", visible(&step.entry.name), outcome(step));
        let _ = writeln!(text, "    {verb}  {}", visible(&step.entry.target()));
        for setting in step.entry.settings() {
            let _ = writeln!(text, "    {}", visible(&setting));
        }
        for note in &step.entry.notes {
            let _ = writeln!(text, "    note: {}", visible(note));
        }
        for finding in &step.entry.secrets {
            let what = match &finding.reference {
                None => "stands here as text".to_owned(),
                Some(reference) => format!("becomes {reference}"),
            };
            let _ = writeln!(text, "    secret: {} {what}", visible(&finding.place));
        }
    }
    text
}

fn outcome(step: &Step) -> String {
    match &step.action {
        Action::Add => "new".to_owned(),
        Action::Replace(at) => format!("replaces the one at {at}"),
        Action::Same(at) => format!("is the same at {at}"),
        Action::Conflict(at) => format!("left out: another server has its name at {at}"),
        Action::Skip(why) => format!("left out: {}", visible(why)),
    }
}

fn json(plan: &Plan, environment: &Environment, file: &Path, written: bool) -> Value {
    let steps: Vec<Value> = plan
        .steps
        .iter()
        .map(|step| {
            let (at, reason) = match &step.action {
                Action::Add => (None, None),
                Action::Replace(at) | Action::Same(at) | Action::Conflict(at) => (Some(environment.expand_tilde(at)), None),
                Action::Skip(why) => (None, Some(why)),
            };
            let secrets: Vec<Value> = step
                .entry
                .secrets
                .iter()
                .map(|finding| json!({ "place": finding.place, "name": finding.variable, "reference": finding.reference }))
                .collect();
            json!({
                "name": step.entry.name, "original_name": step.entry.original_name, "from": step.from,
                "line": step.entry.line, "project": step.entry.project.as_deref().map(full), "action": step.action.as_str(),
                "at": at, "reason": reason, "disabled": step.entry.disabled,
                if step.entry.target_is_url() { "url" } else { "command_line" }: step.entry.target(),
                "settings": step.entry.settings(), "notes": step.entry.notes, "secrets": secrets,
            })
        })
        .collect();
    let files: Vec<Value> = plan
        .files
        .iter()
        .map(|(found, _, count)| json!({ "client": found.client.id(), "file": full(&found.path), "servers": count }))
        .collect();
    let problems: Vec<String> = plan.problems.iter().map(ToString::to_string).collect();
    json!({ "file": full(file), "written": written, "files": files, "servers": steps, "problems": problems })
}
