//! `config trust`: shows what a project's file would run and send, and allows it.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::show::{command_line, full};
use super::{Body, Context, Report, visible};
use crate::config::origins::{Format, Source};
use crate::config::paths::{PROJECT_JSON, PROJECT_TOML, absolute, nearest};
use crate::config::tree::{Member, Node, Value};
use crate::config::{self, Config, trust};
use crate::error::{Class, Failure, Result};
use crate::shell;

/// `config trust [FILE]`.
pub(super) fn trust(context: &mut Context<'_>, file: Option<&Path>, yes: bool, revoke: bool) -> Result<Report> {
    let environment = context.environment;
    let files: Vec<PathBuf> = match file {
        Some(file) => vec![absolute(environment, file)],
        None => [PROJECT_JSON, PROJECT_TOML].into_iter().filter_map(|name| nearest(environment, name)).collect(),
    };
    if files.is_empty() {
        return Err(Failure::new(Class::Config, "there is no project file to trust")
            .cause(format!("neither {PROJECT_TOML} nor {PROJECT_JSON} is in or above the working directory"))
            .hint("mcpipe config trust FILE"));
    }
    if revoke {
        return revoked(context, &files);
    }
    let mut done = Vec::new();
    let mut notes = Vec::new();
    let store = trust::Store::load(environment)?;
    for file in files {
        // What is shown is what was read here, and exactly that is trusted.
        let source = read(context, &file)?;
        let answer = json!({ "file": full(&source.path), "trusted": true, "sha256": trust::fingerprint(&source.text) });
        if store.trusts(&source.path, &source.text) {
            // A "no" would change nothing, so nothing is asked.
            let file = shell::path(&source.shown);
            notes.push(format!(
                "{} is trusted already; to change that: mcpipe config trust --revoke {file}",
                source.shown
            ));
            done.push(answer);
            continue;
        }
        let description = describe(&source)?;
        if !yes {
            ask(context, &source, &description)?;
        }
        trust::grant(environment, &source.path, &source.text)?;
        notes.push(format!("{} is trusted until it changes", source.shown));
        done.push(answer);
    }
    let mut report = Report::new(json!({ "files": done }), Body::Text(String::new()));
    report.notes = notes;
    Ok(report)
}

fn revoked(context: &Context<'_>, files: &[PathBuf]) -> Result<Report> {
    let mut done = Vec::new();
    let mut notes = Vec::new();
    for file in files {
        let known = trust::revoke(context.environment, file)?;
        let state = if known { "is trusted no longer" } else { "was not trusted" };
        notes.push(format!("{} {state}", context.environment.shorten(file)));
        done.push(json!({ "file": full(file), "trusted": false }));
    }
    let mut report = Report::new(json!({ "files": done }), Body::Text(String::new()));
    report.notes = notes;
    Ok(report)
}

fn ask(context: &mut Context<'_>, source: &Source, description: &str) -> Result<()> {
    let question = format!("{description}\nTrust {} with all this?", visible(&source.shown));
    match (context.ask)(&question)? {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::new(Class::Refused, format!("{} is not trusted", source.shown))),
        None => Err(Failure::new(Class::Config, format!("{} is not trusted", source.shown))
            .cause("nobody can be asked without a terminal")
            .hint(format!("look at the file, then: mcpipe config trust --yes {}", shell::path(&source.shown)))),
    }
}

fn read(context: &Context<'_>, file: &Path) -> Result<Source> {
    let (config, faults) = Config::survey(context.environment, Some(file));
    match config.sources.first() {
        Some(source) if faults.is_empty() => Ok(Source::clone(source)),
        _ => Err(config::origins::failure("the file", faults)),
    }
}

/// Every command, URL and variable of a file in full, as it is written.
fn describe(source: &Source) -> Result<String> {
    let root = config::parse(source)?;
    let servers = match source.format {
        Format::Json => config::mcp_json::translate(source, &root)?.servers,
        Format::Toml => root.get("servers").map(|member| member.value.members().to_vec()).unwrap_or_default(),
    };
    let mut text = format!("{} (sha256 {})\n", visible(&source.shown), trust::fingerprint(&source.text));
    for server in &servers {
        text.push_str(&format!("\n  {}   (line {})\n", visible(&server.key), source.line(server.at)));
        describe_server(&server.value, &mut text);
    }
    if servers.is_empty() {
        text.push_str("\n  no servers\n");
    }
    if let Some(defaults) = root.get("defaults").filter(|_| source.format == Format::Toml) {
        text.push_str("\n  defaults for all servers\n");
        flat("", &defaults.value, &mut text);
    }
    Ok(text)
}

fn describe_server(entry: &Node, text: &mut String) {
    let mut words: Vec<String> = Vec::new();
    words.extend(entry.get("command").and_then(|member| member.value.as_text()).map(str::to_owned));
    if let Some(Member { value: Node { value: Value::List(items), .. }, .. }) = entry.get("args") {
        words.extend(items.iter().filter_map(Node::as_text).map(str::to_owned));
    }
    if !words.is_empty() {
        text.push_str(&format!("    runs  {}\n", visible(&command_line(&words))));
    }
    for member in entry.members().iter().filter(|member| member.key != "command" && member.key != "args") {
        flat(&member.key, &member.value, text);
    }
}

/// A value on lines of their own, tables taken apart.
fn flat(name: &str, node: &Node, text: &mut String) {
    let name = visible(name);
    match &node.value {
        Value::Table(members) => {
            for member in members {
                let inner = if name.is_empty() { member.key.clone() } else { format!("{name}.{}", member.key) };
                flat(&inner, &member.value, text);
            }
        }
        Value::List(items) => {
            let all: Vec<String> = items.iter().map(written).collect();
            text.push_str(&format!("    {name} = [{}]\n", all.join(", ")));
        }
        _ => text.push_str(&format!("    {name} = {}\n", written(node))),
    }
}

fn written(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => format!("\"{}\"", visible(text)),
        Value::Whole(number) => number.to_string(),
        Value::Decimal(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        other => visible(&format!("{other:?}")),
    }
}
