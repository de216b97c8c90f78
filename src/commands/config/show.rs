//! `config list`, `get` and `path`.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::{Body, Context, Report};
use crate::config::origins::{self, Fault, Format, Layer, Origin};
use crate::config::schema::{self, AUTH, Key, Kind, SERVER};
use crate::config::secrets::Secrets;
use crate::config::settings::Defaults;
use crate::config::shown::{self, Care, Shown};
use crate::config::tree::{Member, Node, Value};
use crate::config::{Config, Server, relative_to};
use crate::env::Environment;
use crate::error::{Failure, Result};
use crate::shell;
use crate::target::{self, Overrides};

/// `config list`.
pub(super) fn list(context: &Context<'_>) -> Report {
    let (config, faults) = Config::survey(context.environment, context.file);
    // Nothing is fetched here.
    let given = Secrets::pretended();
    let rows = config
        .servers()
        .iter()
        .map(|server| {
            let (kind, place) = summary(server);
            let faulty = !unfit(&config, context.environment, server, &given).is_empty();
            vec![server.name.clone(), kind, place, server.origin().to_string(), state(server, faulty).to_owned()]
        })
        .collect();
    let servers: Vec<Json> = config
        .servers()
        .iter()
        .map(|server| entry(server, context.environment, &unfit(&config, context.environment, server, &given)))
        .collect();
    let mut report = Report::new(
        json!({ "servers": servers, "faults": faults_json(&faults, context.environment) }),
        Body::Table(vec!["NAME", "TRANSPORT", "TARGET", "SOURCE", "STATE"], rows),
    );
    report.notes.clone_from(&config.warnings);
    if config.servers().is_empty() && faults.is_empty() {
        let add = config.followed("mcpipe config add NAME URL");
        report.notes.push(format!("no server is configured; `{add}` adds one"));
    }
    report.failure = (!faults.is_empty()).then(|| origins::failure("the configuration", faults));
    report
}

/// One server for `config list --json`.
fn entry(server: &Server, environment: &Environment, faults: &[Fault]) -> Json {
    let (kind, place) = summary(server);
    let replaces: Vec<String> =
        server.replaces.iter().map(|origin| environment.expand_tilde(&origin.to_string())).collect();
    json!({
        "name": server.name,
        "transport": kind,
        "target": place,
        "origin": origin(&server.origin()),
        "layer": server.source.layer.as_str(),
        "state": state(server, !faults.is_empty()),
        "replaces": replaces,
        "faults": faults_json(faults, environment),
    })
}

/// What keeps a server from being used, a variable or a directory that is not there among it.
fn unfit(config: &Config, environment: &Environment, server: &Server, secrets: &Secrets<'_>) -> Vec<Fault> {
    let faults = server.faults();
    if !faults.is_empty() || server.usable().is_err() {
        return faults;
    }
    if let Err(faults) = server.read(environment, &config.defaults, secrets) {
        return faults;
    }
    // Everything that is left is what a connection would find too.
    let target = target::configured(config, &server.name, &Overrides::default(), environment, secrets);
    target.err().map(|failure| found_by_use(server, &failure)).into_iter().collect()
}

/// A failure to make a target of an entry as a fault of it.
pub(super) fn found_by_use(server: &Server, failure: &Failure) -> Fault {
    let details = failure.details();
    let place = format!("{}:", server.source.shown);
    // Most name the place themselves.
    let parsed = details.message.strip_prefix(&place).and_then(|rest| {
        let (line, message) = rest.split_once(": ")?;
        Some((line.parse().ok()?, message.to_owned()))
    });
    let (line, message) = parsed.unwrap_or_else(|| (server.source.line(server.at), details.message.clone()));
    let cause = (!details.causes.is_empty()).then(|| details.causes.join(": "));
    let fault = Fault { line, cause, ..Fault::whole(&server.source.shown, message) };
    details.hint.clone().into_iter().fold(fault, Fault::hint)
}

/// The transport and the URL or the command line, secrets hidden, references as they are written.
fn summary(server: &Server) -> (String, String) {
    let text = |key: &str| server.entry.get(key).and_then(|member| member.value.as_text());
    if let Some(url) = text("url") {
        let transport = match url.split(':').next() {
            Some("ws" | "wss") => "websocket",
            Some("unix") => "unix",
            _ => text("transport").unwrap_or("auto"),
        };
        return (transport.to_owned(), shown::value(url, "url", Care::Plain, None).text);
    }
    let Some(program) = text("command") else { return ("-".to_owned(), "-".to_owned()) };
    let args = server.entry.get("args").map(|member| texts(&member.value)).unwrap_or_default();
    let mut words = vec![program.to_owned()];
    words.extend(shown::arguments(&args, None).into_iter().map(|shown| shown.text));
    ("stdio".to_owned(), command_line(&words))
}

/// Words as a shell takes them; references and what is hidden stay readable.
pub(super) fn command_line(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let plain = !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || "'\"\\;&|<>()`*?#!".contains(c));
        if plain { word.clone() } else { shell::quoted(word) }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn texts(node: &Node) -> Vec<&str> {
    match &node.value {
        Value::List(items) => items.iter().filter_map(Node::as_text).collect(),
        _ => Vec::new(),
    }
}

fn state(server: &Server, faulty: bool) -> &'static str {
    if faulty {
        "faulty"
    } else if server.disabled().is_some() {
        "disabled"
    } else if server.untrusted().is_some() {
        "untrusted"
    } else {
        "ready"
    }
}

/// An origin for JSON.
fn origin(origin: &Origin) -> Json {
    match origin {
        Origin::File(source, line) => json!({ "file": full(&source.path), "line": line }),
        Origin::BuiltIn => json!({ "built_in": true }),
        Origin::Flag(flag) => json!({ "flag": flag }),
        Origin::Variable(name) => json!({ "variable": name }),
    }
}

/// A path for JSON, in full; what of it is no text cannot be told there.
pub(super) fn full(path: &Path) -> Cow<'_, str> {
    path.to_string_lossy()
}

fn faults_json(faults: &[Fault], environment: &Environment) -> Json {
    faults.iter().map(|one| fault(one, environment)).collect()
}

/// A fault for JSON. A program reads it, so its file is named in full.
pub(super) fn fault(fault: &Fault, environment: &Environment) -> Json {
    json!({
        "file": environment.expand_tilde(&fault.file),
        "line": (fault.line > 0).then_some(fault.line),
        "column": (fault.column > 0).then_some(fault.column),
        "message": fault.message,
        "cause": fault.cause,
        "hint": fault.hint,
    })
}

/// One value of a server, ready to be shown.
struct Row {
    key: String,
    text: String,
    json: Json,
    hidden: bool,
    origin: Origin,
}

/// `config get NAME`.
pub(super) fn get(context: &Context<'_>, name: &str) -> Result<Report> {
    let config = Config::load(context.environment, context.file)?;
    let Some(server) = config.get(name) else { return Err(target::not_configured(&config, name)) };
    let mut rows = rows(server, context.environment);
    rows.extend(defaults(server, &config.defaults));
    let values: Vec<Json> = rows
        .iter()
        .map(|row| json!({ "key": row.key, "value": row.json, "hidden": row.hidden, "origin": origin(&row.origin) }))
        .collect();
    let given = Secrets::pretended();
    let mut document = entry(server, context.environment, &unfit(&config, context.environment, server, &given));
    if let Json::Object(members) = &mut document {
        members.insert("values".to_owned(), Json::Array(values));
    }
    let lines = rows.into_iter().map(|row| vec![row.key, row.text, row.origin.to_string()]).collect();
    let mut report = Report::new(document, Body::Table(vec!["KEY", "VALUE", "SOURCE"], lines));
    report.notes.clone_from(&config.warnings);
    report.notes.extend(server.replaces.iter().map(|origin| format!("takes the place of the entry at {origin}")));
    match server.untrusted() {
        Some(reason) => report.notes.push(format!(
            "'{name}' {reason}, and its file is not trusted; `mcpipe config trust {}` shows and allows it",
            crate::shell::path(&server.source.shown)
        )),
        None => {
            let faults = unfit(&config, context.environment, server, &context.judged(&config));
            report.notes.extend(faults.iter().map(ToString::to_string));
        }
    }
    Ok(report)
}

fn rows(server: &Server, environment: &Environment) -> Vec<Row> {
    // What an untrusted file refers to is not looked up for it.
    let environment = server.untrusted().is_none().then_some(environment);
    // To be passed to a process is what most secrets are held in variables for, and any word may be one.
    let given = environment.map(|environment| environment.filtered(shown::is_path));
    let place = |at: usize| Origin::File(Arc::clone(&server.source), server.source.line(at));
    let mut rows = Vec::new();
    for member in server.entry.members() {
        if member.key == "auth" {
            for inner in member.value.members() {
                let key = format!("auth.{}", inner.key);
                rows.push(row(server, key, AUTH, inner, environment, place(inner.at)));
            }
        } else if matches!(schema::find(SERVER, &member.key), Some(Key { kind: Kind::Pairs, .. })) {
            let environment = if member.key == "env" { given.as_ref() } else { environment };
            for pair in member.value.members() {
                let text = pair.value.as_text().unwrap_or_default();
                let shown = shown::value(text, &pair.key, Care::Named, environment);
                rows.push(text_row(format!("{}.{}", member.key, pair.key), shown, place(pair.at)));
            }
        } else {
            let environment = if member.key == "args" { given.as_ref() } else { environment };
            rows.push(row(server, member.key.clone(), SERVER, member, environment, place(member.at)));
        }
    }
    rows
}

fn text_row(key: String, shown: Shown, origin: Origin) -> Row {
    Row { key, json: Json::String(shown.text.clone()), text: shown.text, hidden: shown.hidden, origin }
}

fn row(
    server: &Server,
    key: String,
    keys: &[Key],
    member: &Member,
    environment: Option<&Environment>,
    origin: Origin,
) -> Row {
    let care = if member.key == "client_secret" { Care::Secret } else { Care::Plain };
    match &member.value.value {
        Value::Text(text) => {
            let mut shown = shown::value(text, &member.key, care, environment);
            let path = schema::find(keys, &member.key).is_some_and(|key| key.kind == Kind::Path);
            if let Some(environment) = environment.filter(|_| path && !shown.text.contains("${")) {
                shown.text = environment.shorten(&relative_to(environment, &server.source, &shown.text));
            }
            text_row(key, shown, origin)
        }
        Value::List(_) => {
            let all = shown::arguments(&texts(&member.value), environment);
            let words: Vec<String> = all.iter().map(|shown| shown.text.clone()).collect();
            let hidden = all.iter().any(|shown| shown.hidden);
            Row { key, text: command_line(&words), json: json!(words), hidden, origin }
        }
        other => {
            let json = plain(other);
            Row { key, text: json.to_string(), json, hidden: false, origin }
        }
    }
}

/// A value without secrets: a switch or a number.
fn plain(value: &Value) -> Json {
    match value {
        Value::Flag(flag) => json!(flag),
        Value::Whole(number) => json!(number),
        Value::Decimal(number) => json!(number),
        _ => Json::Object(Map::new()),
    }
}

/// What `[defaults]` says and the entry does not.
fn defaults(server: &Server, defaults: &Defaults) -> Vec<Row> {
    let time = |time: Option<std::time::Duration>| time.map(|time| format!("{time:?}"));
    let all = [
        ("confirm", defaults.confirm.map(|confirm| confirm.as_str().to_owned())),
        ("timeout", time(defaults.timeout)),
        ("connect_timeout", time(defaults.connect_timeout)),
        ("credential_store", defaults.credential_store.clone().filter(|_| server.is_url())),
    ];
    all.into_iter()
        .filter(|(key, _)| server.entry.get(key).is_none())
        .filter_map(|(key, value)| {
            let shown = Shown { text: value?, hidden: false };
            Some(text_row(key.to_owned(), shown, defaults.origins.get(key)?.clone()))
        })
        .collect()
}

/// Why a file that may be there was not read, where that is so.
fn unreadable(path: &Path, shown: &str, faults: &[Fault]) -> Option<String> {
    match (path.metadata(), faults.iter().find(|fault| fault.file == shown)) {
        (Err(error), _) if error.kind() == ErrorKind::NotFound => None,
        (_, Some(fault)) => Some(fault.cause.as_ref().unwrap_or(&fault.message).clone()),
        // Nobody minds that it cannot be there.
        (Err(_), None) => None,
        (Ok(_), None) => Some("it cannot be told whether it is trusted".to_owned()),
    }
}

/// `config path`.
pub(super) fn path(context: &Context<'_>) -> Report {
    let (config, faults) = Config::survey(context.environment, context.file);
    let mut files = Vec::new();
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    for place in &config.places {
        let source = config.sources.iter().find(|source| source.path == place.path);
        let why = || unreadable(&place.path, &context.environment.shorten(&place.path), &faults);
        let unread = if source.is_none() { why() } else { None };
        let state = match source {
            Some(source) if faults.iter().any(|fault| fault.file == source.shown) => "faulty",
            Some(source) if source.trusted => "read",
            Some(_) => "untrusted",
            None if unread.is_some() => "unreadable",
            None => "missing",
        };
        let format = match (source.map(|source| source.format), place.format) {
            (Some(Format::Json), _) | (None, Some(Format::Json)) => "json",
            _ => "toml",
        };
        rows.push(vec![place.path.display().to_string(), place.layer.as_str().to_owned(), state.to_owned()]);
        files.push(json!({
            "path": full(&place.path), "layer": place.layer.as_str(), "format": format, "state": state,
            "cause": unread,
        }));
        notes.extend(unread.map(|why| format!("{} cannot be read: {why}", place.path.display())));
    }
    let mut report = Report::new(json!({ "files": files }), Body::Table(vec!["FILE", "LAYER", "STATE"], rows));
    report.notes = notes;
    if config.places.is_empty() {
        report.notes.push("there is no home directory, so no configuration file is read".to_owned());
    } else if !config.places.iter().any(|place| place.layer == Layer::User) {
        report.notes.push("--config or MCPIPE_CONFIG names this file; no other is read".to_owned());
    }
    report
}
