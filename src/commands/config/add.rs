//! `config add`: from flags to an entry, checked before it is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value, value};

use super::change::{self, Draft, written_path};
use super::show::full;
use super::{Body, Context, Report, visible};
use crate::cli::{ConfigAddArgs, HttpTransport};
use crate::commands::overrides;
use crate::config::origins::{Format, Layer, Source};
use crate::config::secrets::Secrets;
use crate::config::settings::Defaults;
use crate::config::shown::speaks_of_secret;
use crate::config::{Config, Server, expand, rewrite};
use crate::env;
use crate::env::programs::is_path;
use crate::error::{Class, Failure, Result};
use crate::target::{self, Overrides, Word, Words, parse};

/// `config add NAME TARGET`.
pub(super) fn add(context: &Context<'_>, args: &ConfigAddArgs) -> Result<Report> {
    change::valid(&args.name)?;
    let path = change::file_to_change(context, args.project)?;
    let block = block(context, args, &path)?;
    let (server, mut entry_notes) = vet(context, args, &block, &path)?;
    let probe = match args.check {
        false => None,
        true => {
            if path.exists() && !args.dry_run {
                // Nobody waits for a server that could not be added anyway; the lock is not kept meanwhile.
                base(&Draft::open(context.environment, path.clone(), args.project)?, args)?;
            }
            // It lies over what is there, so that it is used as it will be.
            let (config, _) = Config::survey(context.environment, context.file);
            let probe = (context.connect)(&config.with(server), &args.name);
            Some(probe.map_err(|failure| failure.cause(format!("so '{}' is not added", args.name)))?)
        }
    };
    entry_notes.extend(probe.as_ref().map(|probe| visible(&probe.sentence())));
    let checked = probe.map(|probe| probe.json());
    if args.dry_run {
        let json =
            json!({ "name": args.name, "file": full(&path), "written": false, "toml": block, "checked": checked });
        let mut report = Report::new(json, Body::Text(block));
        report.notes.push(format!("nothing is written; this would go to {}", context.environment.shorten(&path)));
        report.notes.extend(entry_notes);
        return Ok(report);
    }
    let draft = Draft::open(context.environment, path, args.project)?;
    let (base, replaced) = base(&draft, args)?;
    let text = rewrite::add(&base, &args.name, &block).map_err(|problem| draft.problem(problem, &args.name))?;
    let line = line_of(&draft.path, &text, &args.name);
    let json = json!({
        "name": args.name, "file": full(&draft.path), "line": line, "written": true, "replaced": replaced,
        "layer": change::layer(context, args.project).as_str(), "checked": checked,
    });
    let mut report = Report::new(json, Body::Text(String::new()));
    let verb = if replaced { "replaced" } else { "added" };
    let in_file = format!("{}:{line}", draft.shown);
    report.notes.push(format!("{verb} '{}' in {in_file}", args.name));
    report.notes.extend(entry_notes);
    let file = draft.path.clone();
    draft.write(&text)?;
    // Another layer may win over the one that was written.
    let (config, _) = Config::survey(context.environment, context.file);
    if let Some(server) = config.get(&args.name).filter(|server| server.source.path != file) {
        report.notes.push(format!("here the entry at {} takes its place", server.origin()));
    }
    Ok(report)
}

/// The text that the entry is added to, and whether it takes the place of one that was in it.
fn base(draft: &Draft<'_>, args: &ConfigAddArgs) -> Result<(String, bool)> {
    match rewrite::remove(&draft.text, &args.name) {
        Ok(text) if args.force => Ok((text, true)),
        Ok(_) => Err(draft
            .problem(rewrite::Problem::Taken, &args.name)
            .hint("--force replaces it; `mcpipe config rename` gives it another name")),
        Err(rewrite::Problem::Missing) => Ok((draft.text.clone(), false)),
        Err(problem) => Err(draft.problem(problem, &args.name)),
    }
}

fn line_of(path: &Path, text: &str, name: &str) -> usize {
    let source = source(path.to_owned(), text, Layer::Chosen);
    let root = crate::config::parse(&source).ok();
    let member = root.as_ref().and_then(|root| root.get("servers")?.value.get(name));
    member.map_or(1, |member| source.line(member.at))
}

fn source(path: PathBuf, text: &str, layer: Layer) -> Source {
    Source {
        shown: "the new entry".to_owned(),
        path,
        text: text.to_owned(),
        layer,
        format: Format::Toml,
        trusted: true,
    }
}

/// The text of the entry.
fn block(context: &Context<'_>, args: &ConfigAddArgs, file: &Path) -> Result<String> {
    let mut entry = Table::new();
    let (is_url, words) = place(context, args)?;
    if is_url {
        entry.insert("url", value(words.concat()));
    } else {
        let (program, arguments) = words.split_first().ok_or_else(|| Failure::new(Class::Usage, "no program"))?;
        let relative = is_path(program) && Path::new(program).is_relative();
        let program = match relative {
            true => written_path(context.environment, Path::new(program), file, args.project),
            false => program.clone(),
        };
        entry.insert("command", value(program));
        if !arguments.is_empty() {
            entry.insert("args", list(arguments));
        }
    }
    reach(context, args, file, &mut entry)?;
    rules(context, args, &mut entry);
    let mut document = DocumentMut::new();
    let mut servers = Table::new();
    servers.set_implicit(true);
    let login = login(context, args, file);
    if !login.is_empty() {
        entry.insert("auth", Item::Table(login));
    }
    servers.insert(&args.name, Item::Table(entry));
    document.insert("servers", Item::Table(servers));
    Ok(document.to_string())
}

/// What the server is: a URL, or the words of a command.
fn place(context: &Context<'_>, args: &ConfigAddArgs) -> Result<(bool, Vec<String>)> {
    if !args.command.is_empty() {
        return Ok((false, args.command.clone()));
    }
    let typed = args.target.clone().unwrap_or_default();
    match target::word(&typed)? {
        Word::Url(url) => Ok((true, vec![url])),
        Word::Command(line) => Ok((false, target::split(&line, context.environment)?)),
        // A lone word is a program where there is one, and a slip otherwise.
        Word::Name(name) if context.environment.find_program(&name).is_some() => Ok((false, vec![name])),
        Word::Name(name) => {
            let failure = Failure::new(Class::Usage, format!("'{name}' is neither a URL nor a program in PATH"));
            Err(failure.hint(format!(
                "a URL begins with https://; a command goes after `--`: mcpipe config add {} -- {name}",
                args.name
            )))
        }
    }
}

/// The target options.
fn reach(context: &Context<'_>, args: &ConfigAddArgs, file: &Path, entry: &mut Table) -> Result<()> {
    let options = &args.reach;
    let path = |path: &PathBuf| value(written_path(context.environment, path, file, args.project));
    let mut headers = InlineTable::new();
    for text in &options.headers {
        for (name, held) in parse::header_flag(text)? {
            headers.insert(&name, held.reveal().into());
        }
    }
    let mut env = InlineTable::new();
    for text in &options.env {
        let (name, held) = parse::variable(text)?;
        env.insert(&name, held.reveal().into());
    }
    for (key, table) in [("headers", headers), ("env", env)] {
        if !table.is_empty() {
            entry.insert(key, value(table));
        }
    }
    let paths = [
        ("cwd", &options.cwd),
        ("cacert", &options.cacert),
        ("cert", &options.cert),
        ("key", &options.key),
        ("unix_socket", &options.unix_socket),
    ];
    for (key, set) in paths {
        if let Some(set) = set {
            entry.insert(key, path(set));
        }
    }
    let transport = options.transport.map(|transport| match transport {
        HttpTransport::Auto => "auto".to_owned(),
        HttpTransport::Http => "http".to_owned(),
        HttpTransport::Sse => "sse".to_owned(),
    });
    let texts = [
        ("bearer_env", options.bearer_env.clone()),
        ("transport", transport),
        ("protocol", options.protocol.clone()),
        ("proxy", options.proxy.clone()),
    ];
    for (key, set) in texts {
        if let Some(set) = set {
            entry.insert(key, value(set));
        }
    }
    for (key, set) in [("insecure", options.insecure), ("allow_http", options.allow_http)] {
        if set {
            entry.insert(key, value(true));
        }
    }
    Ok(())
}

/// Rules for tools, times and what is inherited.
fn rules(context: &Context<'_>, args: &ConfigAddArgs, entry: &mut Table) {
    for (key, globs) in [("allow_tools", &args.allow_tools), ("deny_tools", &args.deny_tools)] {
        if !globs.is_empty() {
            entry.insert(key, list(globs));
        }
    }
    if let Some(confirm) = &args.confirm {
        entry.insert("confirm", value(confirm.clone()));
    }
    for (key, time) in [("timeout", context.times.0), ("connect_timeout", context.times.1)] {
        if let Some(time) = time {
            entry.insert(key, value(duration(time)));
        }
    }
    match args.inherit_env.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {}
        ["all"] => drop(entry.insert("inherit_env", value(true))),
        ["none"] => drop(entry.insert("inherit_env", value(false))),
        _ => drop(entry.insert("inherit_env", list(&args.inherit_env))),
    }
}

/// `[servers.NAME.auth]`.
fn login(context: &Context<'_>, args: &ConfigAddArgs, file: &Path) -> Table {
    let mut auth = Table::new();
    let secret = args.client_secret_env.as_ref().map(|variable| format!("${{{variable}}}"));
    let texts = [
        ("client_id", args.client_id.clone()),
        ("client_secret", secret),
        ("grant", args.grant.clone()),
        ("issuer", args.issuer.clone()),
        ("client_metadata_url", args.client_metadata_url.clone()),
    ];
    for (key, set) in texts {
        if let Some(set) = set {
            auth.insert(key, value(set));
        }
    }
    if !args.scopes.is_empty() {
        auth.insert("scopes", list(&args.scopes));
    }
    if let Some(port) = args.redirect_port {
        auth.insert("redirect_port", value(i64::from(port)));
    }
    if let Some(key) = &args.private_key {
        auth.insert("private_key_file", value(written_path(context.environment, key, file, args.project)));
    }
    auth
}

fn list(texts: &[String]) -> Item {
    value(texts.iter().map(|text| Value::from(text.as_str())).collect::<Array>())
}

fn duration(time: Duration) -> String {
    if time.subsec_millis() == 0 { format!("{}s", time.as_secs()) } else { format!("{}ms", time.as_millis()) }
}

/// Checks the entry as its use would, and tells what could be better.
fn vet(context: &Context<'_>, args: &ConfigAddArgs, block: &str, file: &Path) -> Result<(Server, Vec<String>)> {
    let wrong = |message: String| Failure::new(Class::Usage, message);
    let source = Arc::new(source(file.to_owned(), block, change::layer(context, args.project)));
    let root = crate::config::parse(&source).map_err(|fault| Failure::new(Class::Bug, fault.message))?;
    let member = root.get("servers").and_then(|servers| servers.value.get(&args.name));
    let Some(member) = member else { return Err(Failure::new(Class::Bug, "the new entry cannot be found")) };
    let server = Server::new(&source, member);
    if let Some(fault) = server.faults().into_iter().next() {
        let failure = wrong(fault.message);
        return Err(fault.hint.into_iter().fold(failure, Failure::hint));
    }
    let words = Words { target: args.target.clone(), command: args.command.clone(), ..Words::default() };
    let mut notes = usable(context, args, words)?;
    let literal = |text: &str| !text.is_empty() && expand::is_literal(text);
    for (table, flag) in [("headers", "-H 'NAME: ${VAR}'"), ("env", "-e 'NAME=${VAR}'")] {
        for pair in member.value.get(table).map(|member| member.value.members()).unwrap_or_default() {
            let text = pair.value.as_text().unwrap_or_default();
            if speaks_of_secret(&pair.key) && literal(text) {
                notes
                    .push(format!("the value of '{}' is written in clear; a reference keeps it out: {flag}", pair.key));
            }
        }
    }
    if args.target.as_deref().and_then(|url| parse::url(url).ok()).is_some_and(|place| place.basic.is_some()) {
        notes.push("the URL's password is written in clear".to_owned());
    }
    // What is missing now may be there when the entry is used.
    let (config, _) = Config::survey(context.environment, context.file);
    if let Err(faults) = server.read(context.environment, &Defaults::default(), &context.judged(&config)) {
        notes.extend(faults.into_iter().map(|fault| fault.message));
    }
    Ok((server, notes))
}

/// Whether a connection could be tried with this: the URL and the flags, as far as they hold no references.
fn usable(context: &Context<'_>, args: &ConfigAddArgs, words: Words) -> Result<Vec<String>> {
    let refers = |text: &str| text.contains("${");
    if args.target.as_deref().is_some_and(refers) {
        return Ok(Vec::new());
    }
    let given = overrides(&args.reach);
    let tried = Overrides {
        headers: given.headers.into_iter().filter(|text| !refers(text)).collect(),
        bearer_env: None,
        proxy: given.proxy.filter(|text| !refers(text)),
        ..given
    };
    // The file that is named may not exist yet.
    let environment = context.environment.without(env::CONFIG);
    let lookup = crate::config::Lookup::new(&environment, None);
    match target::word(args.target.as_deref().unwrap_or("/"))? {
        // A lone program is no target, but may be an entry.
        Word::Name(_) => Ok(Vec::new()),
        _ => Ok(target::resolve(words, &tried, &lookup, &Secrets::pretended())?.target.warnings),
    }
}
