//! `config check`: everything that is wrong with the configuration, found without connecting.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::{Body, Context, Report, show};
use crate::config::mcp_json::valid_name;
use crate::config::origins::{Fault, Format};
use crate::config::secrets::Secrets;
use crate::config::settings::{Inherit, Settings};
use crate::config::tree::{Value, duplicate_keys};
use crate::config::{Config, Server, expand};
use crate::env::programs::{is_path, is_program};
use crate::env::{self, Environment, is_same_name};
use crate::error::{Class, Failure, Result};
use crate::target::{self, Overrides};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// It will not work.
    Fault,
    /// Worth knowing.
    Remark,
}

/// One finding.
struct Finding {
    weight: Weight,
    server: Option<String>,
    fault: Fault,
}

/// `config check [NAME]`.
pub(super) fn check(context: &Context<'_>, name: Option<&str>) -> Result<Report> {
    let (config, faults) = Config::survey(context.environment, context.file);
    let mut findings: Vec<Finding> =
        faults.into_iter().map(|fault| Finding { weight: Weight::Fault, server: None, fault }).collect();
    let chosen: Vec<&Server> = match name {
        None => config.servers().iter().collect(),
        Some(name) => match config.get(name) {
            Some(server) => vec![server],
            None if findings.is_empty() => return Err(target::not_configured(&config, name)),
            None => Vec::new(),
        },
    };
    let secrets = context.judged(&config);
    for server in &chosen {
        server_findings(&config, server, context.environment, &secrets, &mut findings);
    }
    drop(secrets);
    findings.extend(store_finding(context, &config, &findings));
    for source in config.sources.iter().filter(|source| name.is_none() && source.format == Format::Json) {
        findings.extend(duplicate_keys(&source.text).into_iter().map(|(at, key)| {
            let fault = Fault::new(source, at, format!("'{key}' stands there twice, and only the last one counts"));
            Finding { weight: Weight::Fault, server: None, fault }
        }));
    }
    if name.is_none() {
        let notes = config.notes.iter().cloned();
        findings.extend(notes.map(|fault| Finding { weight: Weight::Remark, server: None, fault }));
    }
    Ok(report(&config, context.environment, chosen.len(), &findings))
}

fn report(config: &Config, environment: &Environment, servers: usize, findings: &[Finding]) -> Report {
    let word = |weight: Weight| if weight == Weight::Fault { "fault" } else { "remark" };
    let rows = findings
        .iter()
        .map(|finding| {
            let mut what = finding.fault.message.clone();
            if let Some(cause) = &finding.fault.cause {
                what = format!("{what}: {cause}");
            }
            vec![word(finding.weight).to_owned(), finding.fault.place(), what]
        })
        .collect();
    let all: Vec<Json> = findings
        .iter()
        .map(|finding| {
            let mut json = show::fault(&finding.fault, environment);
            if let Json::Object(members) = &mut json {
                members.insert("weight".to_owned(), json!(word(finding.weight)));
                members.insert("server".to_owned(), json!(finding.server));
            }
            json
        })
        .collect();
    let bad = findings.iter().filter(|finding| finding.weight == Weight::Fault).count();
    let files: Vec<_> = config.sources.iter().map(|source| show::full(&source.path)).collect();
    let mut report = Report::new(
        json!({ "ok": bad == 0, "files": files, "servers": servers, "findings": all }),
        Body::Table(vec!["WEIGHT", "PLACE", "FINDING"], rows),
    );
    report.notes.clone_from(&config.warnings);
    let count = |number: usize, one: &str, more: &str| format!("{number} {}", if number == 1 { one } else { more });
    let (files, servers) = (count(files.len(), "file", "files"), count(servers, "server", "servers"));
    match bad {
        0 => report.notes.push(format!("{files} and {servers} checked, nothing wrong")),
        _ => {
            let message = format!("{} in {files} and {servers}", count(bad, "fault", "faults"));
            let faults = findings.iter().filter(|finding| finding.weight == Weight::Fault);
            let mut hints: Vec<String> = Vec::new();
            for hint in faults.filter_map(|finding| finding.fault.hint.clone()) {
                if !hints.contains(&hint) {
                    hints.push(hint);
                }
            }
            let failure = Failure::new(Class::Config, message);
            report.failure = Some(if hints.is_empty() { failure } else { failure.hint(hints.join("\n")) });
        }
    }
    report
}

/// What is wrong with the credentials as a whole; a keychain is not opened for it. A server that refers to a secret has
/// said it already.
fn store_finding(context: &Context<'_>, config: &Config, findings: &[Finding]) -> Option<Finding> {
    let store = (context.store)(config.defaults.credential_store.as_deref()).ok()?;
    let failure = store.list().err()?;
    let text = failure.to_string();
    if findings.iter().any(|finding| finding.fault.cause.as_ref() == Some(&text)) {
        return None;
    }
    let fault = Fault::whole("credentials", text);
    let fault = failure.details().hint.clone().into_iter().fold(fault, Fault::hint);
    Some(Finding { weight: Weight::Fault, server: None, fault })
}

fn server_findings(
    config: &Config,
    server: &Server,
    environment: &Environment,
    secrets: &Secrets<'_>,
    findings: &mut Vec<Finding>,
) {
    let mut add = |weight: Weight, fault: Fault| {
        findings.push(Finding { weight, server: Some(server.name.clone()), fault });
    };
    let here = |message: String| Fault::new(&server.source, server.at, message);
    if valid_name(&server.name) != server.name {
        let near = valid_name(&server.name);
        add(Weight::Fault, here(format!("the name '{}' cannot be typed as a target; call it '{near}'", server.name)));
    }
    for origin in &server.replaces {
        add(Weight::Remark, here(format!("'{}' takes the place of the entry at {origin}", server.name)));
    }
    let faults = server.faults();
    if !faults.is_empty() {
        faults.into_iter().for_each(|fault| add(Weight::Fault, fault));
        return;
    }
    if server.disabled().is_some() {
        add(Weight::Remark, here(format!("'{}' is disabled", server.name)));
        return;
    }
    if let Some(reason) = server.untrusted() {
        let message = format!("'{}' {reason}, and the file is not trusted", server.name);
        let file = crate::shell::path(&server.source.shown);
        add(Weight::Remark, here(message).hint(format!("mcpipe config trust {file}")));
        return;
    }
    match server.read(environment, &config.defaults, secrets) {
        Err(faults) => faults.into_iter().for_each(|fault| add(Weight::Fault, fault)),
        Ok(settings) => {
            let found = outside(server, &settings, environment);
            if found.is_empty() {
                // Everything that is left is what a connection would find too.
                let target = target::configured(config, &server.name, &Overrides::default(), environment, secrets);
                target.err().iter().for_each(|failure| add(Weight::Fault, show::found_by_use(server, failure)));
            }
            found.into_iter().for_each(|fault| add(Weight::Fault, fault));
        }
    }
}

/// What an entry needs of the world outside: programs, directories, files.
fn outside(server: &Server, settings: &Settings, environment: &Environment) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Some(program) = settings.command.as_ref().filter(|_| !position(server, "command").1) {
        let fault = |why: String| Fault::new(&server.source, program.at, why);
        if is_path(&program.value) {
            if !is_program(Path::new(&program.value)) {
                faults.push(fault(format!("'{}' is not a program that can be run", program.value)));
            }
        } else if child_path(settings, environment).find_program(&program.value).is_none() {
            let message = format!("the program '{}' is not found in PATH", program.value);
            faults.push(fault(message).hint(format!("install {}, or write its path", program.value)));
        }
    }
    for (key, path) in files(settings) {
        let (at, secret) = position(server, key);
        if secret {
            // Where it is, is known only when it is used.
            continue;
        }
        if let Err(error) = std::fs::File::open(&path) {
            let message = format!("'{key}' names {}, which cannot be read", environment.shorten(&path));
            faults.push(Fault::new(&server.source, at, message).cause(error.to_string()));
        }
    }
    faults
}

/// Where a key stands, the server's name where it is not found; and whether it refers to a secret.
fn position(server: &Server, key: &str) -> (usize, bool) {
    let auth = server.entry.get("auth").and_then(|auth| auth.value.get(key));
    let Some(member) = server.entry.get(key).or(auth) else { return (server.at, false) };
    let at = if matches!(member.value.value, Value::Table(_)) { member.at } else { member.value.at };
    (at, member.value.as_text().is_some_and(|text| !expand::secrets(text).is_empty()))
}

/// The environment in which the child's program is looked up.
fn child_path(settings: &Settings, environment: &Environment) -> Environment {
    let own = settings.env.iter().find(|(name, _)| is_same_name(name, env::PATH)).map(|(_, path)| path.reveal());
    let inherited = match &settings.inherit_env {
        Inherit::All => environment.raw(env::PATH),
        Inherit::Nothing => None,
        Inherit::Names(names) => {
            environment.raw(env::PATH).filter(|_| names.iter().any(|name| is_same_name(name, env::PATH)))
        }
    };
    let path: BTreeMap<&str, &str> = own.or(inherited).map(|path| (env::PATH, path)).into_iter().collect();
    Environment::new(path, Path::new("/"))
}

fn files(settings: &Settings) -> Vec<(&'static str, PathBuf)> {
    let auth = &settings.auth;
    let all = [
        ("cacert", &settings.cacert),
        ("cert", &settings.cert),
        ("key", &settings.key),
        ("private_key_file", &auth.private_key_file),
        ("assertion_file", &auth.assertion_file),
        ("id_token_file", &auth.id_token_file),
    ];
    all.into_iter().filter_map(|(key, path)| Some((key, path.clone()?))).collect()
}
