//! `config check`: finds everything that is wrong with the configuration, without connecting.

use serde_json::{Value as Json, json};

use super::context::ConfigContext;
use super::entry_errors;
use super::report::{ConfigReport, ReportBody};
use super::show;
use crate::config::file::jsonc::duplicate_keys;
use crate::config::file::mcp_json::{is_typeable, sanitize_name};
use crate::config::file::tree::ConfigNode;
use crate::config::origin::{ConfigDiagnostic, ConfigFormat};
use crate::config::value::expand::is_variable_name;
use crate::config::value::secrets::Secrets;
use crate::config::{Config, ConfiguredServer};
use crate::env::Environment;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::Column;
use crate::target;
use crate::util::count::counted;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CheckSeverity {
    /// It does not work.
    Error,
    /// It works, but may be unintended.
    Warning,
}

/// One finding.
#[derive(PartialEq)]
struct CheckFinding {
    severity: CheckSeverity,
    server: Option<String>,
    diagnostic: ConfigDiagnostic,
}

/// `config check [NAME]`.
pub(super) fn check(context: &ConfigContext<'_>, name: Option<&str>) -> Result<ConfigReport> {
    let (config, faults) = Config::load_lenient(context.environment, context.config_file);
    let mut findings: Vec<CheckFinding> = faults
        .into_iter()
        .map(|fault| CheckFinding { severity: CheckSeverity::Error, server: None, diagnostic: fault })
        .collect();
    let chosen: Vec<&ConfiguredServer> = match name {
        None => config.servers().iter().collect(),
        Some(name) => match config.server(name) {
            Some(server) => vec![server],
            None if findings.is_empty() => return Err(target::server_not_configured(&config, name)),
            None => Vec::new(),
        },
    };
    let secrets = context.validated_placeholders(&config);
    for server in &chosen {
        server_findings(&config, server, context.environment, &secrets, &mut findings);
    }
    drop(secrets);
    findings.extend(credential_store_finding(context, &config, &findings));
    for source in config.files.iter().filter(|source| name.is_none() && source.format == ConfigFormat::Json) {
        findings.extend(duplicate_keys(&source.text).into_iter().map(|(at, key)| {
            let fault = ConfigDiagnostic::at(source, at, format!("duplicate key '{key}': only the last one is used"));
            CheckFinding { severity: CheckSeverity::Error, server: None, diagnostic: fault }
        }));
    }
    if name.is_none() {
        let notes = config.notes.iter().cloned();
        findings.extend(notes.map(|fault| CheckFinding {
            severity: CheckSeverity::Warning,
            server: None,
            diagnostic: fault,
        }));
    }
    Ok(build_report(&config, context.environment, chosen.len(), &findings))
}

fn build_report(config: &Config, environment: &Environment, servers: usize, findings: &[CheckFinding]) -> ConfigReport {
    let word = |severity: CheckSeverity| if severity == CheckSeverity::Error { "error" } else { "warning" };
    let rows = findings
        .iter()
        .map(|finding| {
            let mut what = finding.diagnostic.message.clone();
            if let Some(cause) = &finding.diagnostic.cause {
                what = format!("{what}: {cause}");
            }
            let hint = finding.diagnostic.hint.clone().unwrap_or_default();
            vec![word(finding.severity).to_owned(), finding.diagnostic.location(), what, hint]
        })
        .collect();
    let all: Vec<Json> = findings
        .iter()
        .map(|finding| {
            let mut json = show::diagnostic_json(&finding.diagnostic, environment);
            if let Json::Object(members) = &mut json {
                members.insert("severity".to_owned(), json!(word(finding.severity)));
                members.insert("server".to_owned(), json!(finding.server));
            }
            json
        })
        .collect();
    let bad = findings.iter().filter(|finding| finding.severity == CheckSeverity::Error).count();
    let files: Vec<_> = config.files.iter().map(|source| show::full_path(&source.path)).collect();
    let columns = vec![
        Column::state("SEVERITY"),
        Column::new("LOCATION").on_one_line(),
        Column::new("FINDING"),
        Column::new("HINT").below(),
    ];
    let mut report = ConfigReport::new(
        json!({ "ok": bad == 0, "files": files, "servers": servers, "findings": all }),
        ReportBody::Table(columns, rows),
    );
    report.notes.clone_from(&config.warnings);
    let (files, servers) = (counted(files.len(), "file"), counted(servers, "server"));
    match bad {
        0 => report.notes.push(format!("checked {files} and {servers}: no errors")),
        _ => {
            let message = format!("{} in {files} and {servers}", counted(bad, "error"));
            report.failure = Some(Failure::new(ErrorKind::Config, message));
        }
    }
    report
}

/// What is wrong with the credential store as a whole; the keychain is not opened. Servers that refer to a secret
/// report it themselves.
fn credential_store_finding(
    context: &ConfigContext<'_>,
    config: &Config,
    findings: &[CheckFinding],
) -> Option<CheckFinding> {
    let store = (context.open_store)(config.defaults.credential_store.as_deref()).ok()?;
    let failure = store.list().err()?;
    let text = failure.to_string();
    if findings.iter().any(|finding| finding.diagnostic.cause.as_ref() == Some(&text)) {
        return None;
    }
    let fault = ConfigDiagnostic::for_file("credentials", text);
    let fault = failure.details().hint.clone().into_iter().fold(fault, ConfigDiagnostic::hint);
    Some(CheckFinding { severity: CheckSeverity::Error, server: None, diagnostic: fault })
}

fn server_findings(
    config: &Config,
    server: &ConfiguredServer,
    environment: &Environment,
    secrets: &Secrets<'_>,
    findings: &mut Vec<CheckFinding>,
) {
    let mut add = |severity: CheckSeverity, fault: ConfigDiagnostic| {
        let finding = CheckFinding { severity, server: Some(server.name.clone()), diagnostic: fault };
        // The same mistake twice in a line is fixed at once.
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    };
    let here = |message: String| ConfigDiagnostic::at(&server.source, server.offset, message);
    if !is_typeable(&server.name) {
        let near = sanitize_name(&server.name);
        add(
            CheckSeverity::Error,
            here(format!("the name '{}' cannot be typed as a target; use '{near}'", server.name)),
        );
    }
    for origin in &server.overridden {
        add(CheckSeverity::Warning, here(format!("'{}' overrides the entry at {origin}", server.name)));
    }
    let faults = server.diagnostics();
    if !faults.is_empty() {
        faults.into_iter().for_each(|fault| add(CheckSeverity::Error, fault));
        return;
    }
    if server.disabled_at().is_some() {
        add(CheckSeverity::Warning, here(format!("'{}' is disabled", server.name)));
        return;
    }
    if let Some(reason) = server.trust_reason() {
        let message = format!("'{}' {reason}, and the file is not trusted", server.name);
        let file = crate::util::quoting::quote_path(&server.source.display_path);
        add(CheckSeverity::Warning, here(message).hint(format!("review and trust it: mcpipe config trust {file}")));
        return;
    }
    for (offset, name) in unexpanded_variables(&server.entry) {
        let message = format!("'${name}' is not expanded, only '${{{name}}}' is");
        let fault = ConfigDiagnostic::at(&server.source, offset, message);
        add(CheckSeverity::Warning, fault.hint(format!("write ${{{name}}}")));
    }
    let errors = entry_errors::entry_errors(config, server, environment, secrets);
    errors.into_iter().for_each(|fault| add(CheckSeverity::Error, fault));
}

/// The values that are a variable as a shell writes it, such as `$TOKEN` and `Bearer $TOKEN`, and their positions.
fn unexpanded_variables(entry: &ConfigNode) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    entry.for_each_string(&mut |text, offset| {
        let value = text.strip_prefix("Bearer ").unwrap_or(text);
        found.extend(value.strip_prefix('$').filter(|name| is_variable_name(name)).map(|name| (offset, name)));
    });
    found
}
