//! `config list`, `get` and `path`.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::context::ConfigContext;
use super::entry_errors;
use super::report::{ConfigReport, ReportBody};
use crate::config::bearer::BearerSource;
use crate::config::file::tree::{ConfigMember, ConfigNode, ConfigValue};
use crate::config::keys;
use crate::config::keys::{AUTH_KEYS, ConfigKey, KeyType, SERVER_KEYS};
use crate::config::origin;
use crate::config::origin::{ConfigDiagnostic, ConfigFormat, Layer, ValueOrigin};
use crate::config::paths::resolve_path;
use crate::config::redact;
use crate::config::redact::{Redacted, Sensitivity};
use crate::config::settings::Defaults;
use crate::config::value::secrets::Secrets;
use crate::config::{Config, ConfiguredServer};
use crate::env::Environment;
use crate::error::{NO_HOME_DIRECTORY, Result};
use crate::output::Column;
use crate::target;
use crate::transport::{HttpMode, TransportKind};
use crate::util::duration::duration_literal;
use crate::util::home::shown_path;
use crate::util::limit::Limit;
use crate::util::quoting;

/// `config list`.
pub(super) fn list(context: &ConfigContext<'_>) -> ConfigReport {
    let (config, faults) = Config::load_lenient(context.environment, context.config_file);
    // No secrets are fetched here.
    let given = Secrets::placeholders();
    let (mut rows, mut servers) = (Vec::new(), Vec::new());
    for server in config.servers() {
        let faults = server_diagnostics(&config, context.environment, server, &given);
        let (kind, place) = transport_and_target(server).unwrap_or_default();
        let state = server_state(server, !faults.is_empty());
        rows.push(vec![server.name.clone(), kind.to_owned(), place, server.origin().to_string(), state.to_owned()]);
        servers.push(server_json(server, context.environment, &faults));
    }
    let mut report = ConfigReport::new(
        json!({ "servers": servers, "errors": diagnostics_json(&faults, context.environment) }),
        ReportBody::Table(
            vec![
                Column::new("NAME").on_one_line(),
                Column::new("TRANSPORT"),
                Column::new("TARGET"),
                Column::new("SOURCE"),
                Column::state("STATE"),
            ],
            rows,
        ),
    );
    report.notes.clone_from(&config.warnings);
    if config.servers().is_empty() && faults.is_empty() {
        let add = config.append_config_flag("mcpipe config add NAME URL");
        report.notes.push(format!("no servers are configured; to add one: {add}"));
    }
    report.failure = (!faults.is_empty()).then(|| origin::combine("the configuration", faults));
    report
}

/// One server for `config list --json`.
fn server_json(server: &ConfiguredServer, environment: &Environment, faults: &[ConfigDiagnostic]) -> Json {
    let (kind, place) = transport_and_target(server).unzip();
    let replaces: Vec<String> =
        server.overridden.iter().map(|origin| environment.expand_tilde(&origin.to_string())).collect();
    json!({
        "name": server.name,
        "transport": kind,
        "target": place,
        "origin": origin_json(&server.origin()),
        "layer": server.source.layer.as_str(),
        "state": server_state(server, !faults.is_empty()),
        "replaces": replaces,
        "errors": diagnostics_json(faults, environment),
    })
}

/// What prevents a server from being used, including missing variables, programs and directories.
fn server_diagnostics(
    config: &Config,
    environment: &Environment,
    server: &ConfiguredServer,
    secrets: &Secrets<'_>,
) -> Vec<ConfigDiagnostic> {
    let faults = server.diagnostics();
    if !faults.is_empty() || server.check_usable().is_err() {
        return faults;
    }
    entry_errors::entry_errors(config, server, environment, secrets)
}

/// The transport, as `list` names it, and the URL or the command line, with secrets hidden and references unexpanded;
/// `None` if the entry has neither.
fn transport_and_target(server: &ConfiguredServer) -> Option<(&'static str, String)> {
    let text = |key: &str| server.entry.get(key).and_then(|member| member.value.as_str());
    if let Some(url) = text("url") {
        let transport = match url.split(':').next() {
            Some("ws" | "wss") => TransportKind::WebSocket.as_str(),
            Some("unix") => TransportKind::Unix.as_str(),
            Some("replay") => "replay",
            _ if text("transport") == Some(HttpMode::Sse.name()) => TransportKind::Sse.as_str(),
            _ => TransportKind::Http.as_str(),
        };
        return Some((transport, redact::redact_value(url, "url", Sensitivity::Plain, None).text));
    }
    let program = text("command")?;
    let args = server.entry.get("args").map(|member| list_texts(&member.value)).unwrap_or_default();
    let mut words = vec![redact::redact_value(program, "command", Sensitivity::Plain, None).text];
    words.extend(redact::redact_arguments(&args, None).into_iter().map(|shown| shown.text));
    Some((TransportKind::Stdio.as_str(), display_command_line(&words)))
}

/// Words quoted for a shell; references and placeholders stay readable.
pub(super) fn display_command_line(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let plain = !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || "'\"\\;&|<>()`*?#!".contains(c));
        if plain { word.clone() } else { quoting::quote(word) }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn list_texts(node: &ConfigNode) -> Vec<&str> {
    match &node.value {
        ConfigValue::Array(items) => items.iter().filter_map(ConfigNode::as_str).collect(),
        _ => Vec::new(),
    }
}

fn server_state(server: &ConfiguredServer, faulty: bool) -> &'static str {
    if faulty {
        "invalid"
    } else if server.disabled_at().is_some() {
        "disabled"
    } else if server.trust_reason().is_some() {
        "untrusted"
    } else {
        "enabled"
    }
}

/// An origin as JSON.
fn origin_json(origin: &ValueOrigin) -> Json {
    json!({ "file": full_path(&origin.file.path), "line": origin.line })
}

/// A path as JSON, absolute; bytes that are not UTF-8 are replaced.
pub(super) fn full_path(path: &Path) -> Cow<'_, str> {
    path.to_string_lossy()
}

fn diagnostics_json(faults: &[ConfigDiagnostic], environment: &Environment) -> Json {
    faults.iter().map(|one| diagnostic_json(one, environment)).collect()
}

/// A problem as JSON, with the absolute path of its file.
pub(super) fn diagnostic_json(fault: &ConfigDiagnostic, environment: &Environment) -> Json {
    json!({
        "file": environment.expand_tilde(&fault.file),
        "line": (fault.line > 0).then_some(fault.line),
        "column": (fault.column > 0).then_some(fault.column),
        "message": fault.message,
        "cause": fault.cause,
        "hint": fault.hint,
    })
}

/// One value of a server for display.
struct ValueRow {
    key: String,
    text: String,
    json: Json,
    is_redacted: bool,
    origin: ValueOrigin,
}

/// `config get NAME`.
pub(super) fn get(context: &ConfigContext<'_>, name: &str) -> Result<ConfigReport> {
    let config = Config::load(context.environment, context.config_file)?;
    let Some(server) = config.server(name) else { return Err(target::server_not_configured(&config, name)) };
    let mut rows = value_rows(server, context.environment);
    rows.extend(default_rows(server, &config.defaults));
    let values: Vec<Json> = rows
        .iter()
        .map(|row| json!({ "key": row.key, "value": row.json, "redacted": row.is_redacted, "origin": origin_json(&row.origin) }))
        .collect();
    let given = Secrets::placeholders();
    let mut document =
        server_json(server, context.environment, &server_diagnostics(&config, context.environment, server, &given));
    if let Json::Object(members) = &mut document {
        members.insert("values".to_owned(), Json::Array(values));
    }
    let lines = rows.into_iter().map(|row| vec![row.key, row.text, row.origin.to_string()]).collect();
    let mut report =
        ConfigReport::new(document, ReportBody::Table(["KEY", "VALUE", "SOURCE"].map(Column::new).to_vec(), lines));
    report.notes.clone_from(&config.warnings);
    report.notes.extend(server.overridden.iter().map(|origin| format!("overrides the entry at {origin}")));
    match server.trust_reason() {
        Some(reason) => report.notes.push(format!(
            "'{name}' {reason}, and its file is not trusted; to review and trust it: mcpipe config trust {}",
            crate::util::quoting::quote_path(&server.source.display_path)
        )),
        None => {
            let faults =
                server_diagnostics(&config, context.environment, server, &context.validated_placeholders(&config));
            report.notes.extend(faults.iter().map(ToString::to_string));
        }
    }
    Ok(report)
}

fn value_rows(server: &ConfiguredServer, environment: &Environment) -> Vec<ValueRow> {
    // References in an untrusted file are not looked up.
    let environment = server.trust_reason().is_none().then_some(environment);
    // A reference to the entry's own variable is shown as it is written: its value has a row of its own.
    let own = server.entry.get("env").map(|member| member.value.members()).unwrap_or_default();
    let beside_own = environment.map(|all| own.iter().fold(all.clone(), |rest, pair| rest.without(&pair.key)));
    // Variables for a process often contain secrets, and any word may be one.
    let given = environment.map(|environment| environment.retain_values(redact::is_plain_path));
    let environment = beside_own.as_ref();
    let arguments = environment.map(|environment| environment.retain_values(redact::is_plain_path));
    let place = |at: usize| ValueOrigin { file: Arc::clone(&server.source), line: server.source.line_at(at) };
    let mut rows = Vec::new();
    for member in server.entry.members() {
        if member.key == "auth" {
            for inner in member.value.members() {
                let key = format!("auth.{}", inner.key);
                for pair in inner.value.members() {
                    let text = pair.value.as_str().unwrap_or_default();
                    let shown = redact::redact_value(text, &pair.key, Sensitivity::MaybeSecret, environment);
                    rows.push(text_row(format!("{key}.{}", pair.key), shown, place(pair.offset)));
                }
                if matches!(inner.value.value, ConfigValue::Table(_)) {
                    continue;
                }
                rows.push(value_row(server, key, AUTH_KEYS, inner, environment, place(inner.offset)));
            }
        } else if matches!(
            keys::find_key(SERVER_KEYS, &member.key),
            Some(ConfigKey { key_type: KeyType::StringMap, .. })
        ) {
            let environment = if member.key == "env" { given.as_ref() } else { environment };
            for pair in member.value.members() {
                let text = pair.value.as_str().unwrap_or_default();
                let shown = redact::redact_value(text, &pair.key, Sensitivity::MaybeSecret, environment);
                rows.push(text_row(format!("{}.{}", member.key, pair.key), shown, place(pair.offset)));
            }
        } else {
            let environment = if member.key == "args" { arguments.as_ref() } else { environment };
            rows.push(value_row(server, member.key.clone(), SERVER_KEYS, member, environment, place(member.offset)));
        }
    }
    rows
}

fn text_row(key: String, shown: Redacted, origin: ValueOrigin) -> ValueRow {
    ValueRow {
        key,
        json: Json::String(shown.text.clone()),
        text: shown.text,
        is_redacted: shown.has_redactions,
        origin,
    }
}

fn value_row(
    server: &ConfiguredServer,
    key: String,
    keys: &[ConfigKey],
    member: &ConfigMember,
    environment: Option<&Environment>,
    origin: ValueOrigin,
) -> ValueRow {
    let known = keys::find_key(keys, &member.key);
    // What somebody wrote under a key that does not exist may be anything.
    let care = match (known, member.key.as_str(), member.value.as_str()) {
        (None, ..) => Sensitivity::MaybeSecret,
        (_, "client_secret", _) => Sensitivity::Secret,
        // It may be the token itself.
        (_, "bearer", Some(text)) if BearerSource::parse(text).is_err() => Sensitivity::Secret,
        _ => Sensitivity::Plain,
    };
    match &member.value.value {
        ConfigValue::String(text) => {
            let mut shown = redact::redact_value(text, &member.key, care, environment);
            let path = known.is_some_and(|key| key.key_type == KeyType::Path);
            if let Some(environment) = environment.filter(|_| path && !shown.text.contains("${")) {
                shown.text = environment.abbreviate_home(&resolve_path(environment, &server.source, &shown.text));
            }
            text_row(key, shown, origin)
        }
        ConfigValue::Array(_) => {
            let texts = list_texts(&member.value);
            let all = match known {
                Some(_) => redact::redact_arguments(&texts, environment),
                None => texts.iter().map(|text| redact::redact_value(text, &member.key, care, environment)).collect(),
            };
            let words: Vec<String> = all.iter().map(|shown| shown.text.clone()).collect();
            let hidden = all.iter().any(|shown| shown.has_redactions);
            ValueRow { key, text: display_command_line(&words), json: json!(words), is_redacted: hidden, origin }
        }
        other => {
            let json = scalar_json(other);
            ValueRow { key, text: json.to_string(), json, is_redacted: false, origin }
        }
    }
}

/// A value that cannot contain secrets: a boolean or a number.
fn scalar_json(value: &ConfigValue) -> Json {
    match value {
        ConfigValue::Bool(flag) => json!(flag),
        ConfigValue::Integer(number) => json!(number),
        ConfigValue::Float(number) => json!(number),
        _ => Json::Object(Map::new()),
    }
}

/// Values of `[defaults]` that the entry does not set.
fn default_rows(server: &ConfiguredServer, defaults: &Defaults) -> Vec<ValueRow> {
    let time = |time: Option<Limit<Duration>>| time.map(|time| duration_literal(time.as_written()));
    let all = [
        ("confirm", defaults.confirm.map(|confirm| confirm.as_str().to_owned())),
        ("timeout", time(defaults.timeout)),
        ("connect_timeout", time(defaults.connect_timeout)),
        ("credential_store", defaults.credential_store.clone().filter(|_| server.is_url())),
    ];
    all.into_iter()
        .filter(|(key, _)| server.entry.get(key).is_none())
        .filter_map(|(key, value)| {
            let shown = Redacted { text: value?, has_redactions: false };
            Some(text_row(key.to_owned(), shown, defaults.origins.get(key)?.clone()))
        })
        .collect()
}

/// Why an optional file was not read, if it exists.
fn read_failure(path: &Path, shown: &str, faults: &[ConfigDiagnostic]) -> Option<String> {
    match (path.metadata(), faults.iter().find(|fault| fault.file == shown)) {
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => None,
        (_, Some(fault)) => Some(fault.cause.as_ref().unwrap_or(&fault.message).clone()),
        // It is optional, so it may be inaccessible.
        (Err(_), None) => None,
        (Ok(_), None) => Some("the list of trusted files cannot be read".to_owned()),
    }
}

/// `config path`.
pub(super) fn path(context: &ConfigContext<'_>) -> ConfigReport {
    let (config, faults) = Config::load_lenient(context.environment, context.config_file);
    let mut files = Vec::new();
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    for place in &config.paths {
        let source = config.files.iter().find(|source| source.path == place.path);
        let why = || read_failure(&place.path, &context.environment.abbreviate_home(&place.path), &faults);
        let unread = if source.is_none() { why() } else { None };
        let state = match source {
            Some(source) if faults.iter().any(|fault| fault.file == source.display_path) => "invalid",
            Some(source) if source.is_trusted => "read",
            Some(_) => "untrusted",
            None if unread.is_some() => "unreadable",
            None => "missing",
        };
        let format = match (source.map(|source| source.format), place.format) {
            (Some(ConfigFormat::Json), _) | (None, Some(ConfigFormat::Json)) => "json",
            _ => "toml",
        };
        rows.push(vec![place.path.display().to_string(), place.layer.as_str().to_owned(), state.to_owned()]);
        files.push(json!({
            "path": full_path(&place.path), "layer": place.layer.as_str(), "format": format, "state": state,
            "cause": unread,
        }));
        notes.extend(unread.map(|why| format!("cannot read {}: {why}", shown_path(&place.path))));
    }
    let columns = vec![Column::new("FILE").on_one_line(), Column::new("LAYER"), Column::state("STATE")];
    let mut report = ConfigReport::new(json!({ "files": files }), ReportBody::Table(columns, rows));
    report.notes = notes;
    if config.paths.is_empty() {
        report.notes.push(format!("{NO_HOME_DIRECTORY}, so no configuration file is read"));
    } else if !config.paths.iter().any(|place| place.layer == Layer::User) {
        report.notes.push("only this file is read, because of --config or MCPIPE_CONFIG".to_owned());
    }
    report
}
