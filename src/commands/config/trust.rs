//! `config trust`: shows what a project's file or a bundle would run and send, and allows it.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::context::ConfigContext;
use super::report::{ConfigReport, ReportBody, escape_untrusted};
use super::show::{display_command_line, full_path};
use crate::config::file::tree::{ConfigMember, ConfigNode, ConfigValue};
use crate::config::origin::{ConfigFile, ConfigFormat};
use crate::config::paths::{PROJECT_JSON, PROJECT_TOML, absolute_path, find_upwards};
use crate::config::{self, Config, trust};
use crate::env::Environment;
use crate::error::{ErrorKind, Failure, Result};
use crate::target::bundle::{self, Bundle, Manifest};
use crate::util::quoting;

/// `config trust [FILE]`.
pub(super) fn trust(
    context: &mut ConfigContext<'_>,
    file: Option<&Path>,
    yes: bool,
    revoke: bool,
) -> Result<ConfigReport> {
    let environment = context.environment;
    let files: Vec<PathBuf> = match file {
        Some(file) => vec![absolute_path(environment, file)],
        None => [PROJECT_JSON, PROJECT_TOML].into_iter().filter_map(|name| find_upwards(environment, name)).collect(),
    };
    if files.is_empty() {
        return Err(Failure::new(ErrorKind::Config, "no project file to trust")
            .cause(format!("there is no {PROJECT_TOML} or {PROJECT_JSON} in or above the working directory"))
            .hint("name the file: mcpipe config trust FILE"));
    }
    if revoke {
        return revoke_all(context, &files);
    }
    let mut done = Vec::new();
    let mut notes = Vec::new();
    let store = trust::TrustStore::load(environment)?;
    for file in files {
        // Exactly the content that was read and shown here becomes trusted.
        let mut reviewed = ReviewedFile::open(context, &file)?;
        let (path, sha256) = (reviewed.path.clone(), reviewed.sha256.clone());
        let answer = json!({ "file": full_path(&path), "trusted": true, "sha256": sha256 });
        if store.is_hash_trusted(&path, &sha256) {
            // A "no" would change nothing, so there is no question.
            let file = quoting::quote_path(&reviewed.display_path);
            notes.push(format!(
                "{} is already trusted; to revoke trust: mcpipe config trust --revoke {file}",
                reviewed.display_path
            ));
            done.push(answer);
            continue;
        }
        let description = reviewed.describe(environment)?;
        if !yes {
            confirm_trust(context, &reviewed.display_path, &description)?;
        }
        trust::trust_hash(environment, &path, sha256)?;
        notes.push(format!("{} is trusted until it changes", reviewed.display_path));
        done.push(answer);
    }
    let mut report = ConfigReport::new(json!({ "files": done }), ReportBody::Text(String::new()));
    report.notes = notes;
    Ok(report)
}

fn revoke_all(context: &ConfigContext<'_>, files: &[PathBuf]) -> Result<ConfigReport> {
    let mut done = Vec::new();
    let mut notes = Vec::new();
    for file in files {
        let known = trust::untrust_file(context.environment, file)?;
        let state = if known { "is no longer trusted" } else { "was not trusted" };
        notes.push(format!("{} {state}", context.environment.abbreviate_home(file)));
        done.push(json!({ "file": full_path(file), "trusted": false }));
    }
    let mut report = ConfigReport::new(json!({ "files": done }), ReportBody::Text(String::new()));
    report.notes = notes;
    Ok(report)
}

fn confirm_trust(context: &mut ConfigContext<'_>, display_path: &str, description: &str) -> Result<()> {
    let question = format!("{description}\nTrust {} with all this?", escape_untrusted(display_path));
    match (context.confirm)(&question)? {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::new(ErrorKind::Refused, format!("{display_path} is not trusted"))),
        None => Err(Failure::new(ErrorKind::Refused, format!("{display_path} is not trusted"))
            .cause("cannot prompt: not a terminal")
            .hint(format!(
                "review the file, then run: mcpipe config trust --yes {}",
                quoting::quote_path(display_path)
            ))),
    }
}

/// A file that is to be trusted.
struct ReviewedFile {
    path: PathBuf,
    display_path: String,
    sha256: String,
    content: ReviewedContent,
}

enum ReviewedContent {
    Config(ConfigFile),
    Bundle(Bundle),
}

impl ReviewedFile {
    fn open(context: &ConfigContext<'_>, file: &Path) -> Result<Self> {
        if bundle::is_bundle(file) {
            let bundle = Bundle::open(file, context.environment)?;
            let (path, display_path) = (bundle.path.clone(), bundle.display_path.clone());
            let sha256 = bundle.sha256.clone();
            return Ok(ReviewedFile { path, display_path, sha256, content: ReviewedContent::Bundle(bundle) });
        }
        let source = read_source(context, file)?;
        let (path, display_path) = (source.path.clone(), source.display_path.clone());
        let sha256 = trust::content_hash(&source.text);
        Ok(ReviewedFile { path, display_path, sha256, content: ReviewedContent::Config(source) })
    }

    /// Everything that it runs and sends.
    fn describe(&mut self, environment: &Environment) -> Result<String> {
        match &mut self.content {
            ReviewedContent::Config(source) => describe(source),
            ReviewedContent::Bundle(bundle) => {
                let manifest = bundle.read_manifest()?;
                bundle.check_unchanged(environment)?;
                describe_bundle(bundle, &manifest)
            }
        }
    }
}

/// What a bundle starts, unexpanded, and the values that its user sets.
fn describe_bundle(bundle: &Bundle, manifest: &Manifest) -> Result<String> {
    let command = manifest.command().map_err(|why| {
        Failure::new(ErrorKind::Config, format!("cannot use the bundle {}", bundle.display_path)).cause(why)
    })?;
    let mut text = format!("{} (sha256 {})\n", escape_untrusted(&bundle.display_path), bundle.sha256);
    let name = format!("{} {}", manifest.name, manifest.version);
    text.push_str(&format!("\n  {}\n", escape_untrusted(name.trim_end())));
    let words: Vec<String> = std::iter::once(command.program).chain(command.args).collect();
    text.push_str(&format!("    runs  {}\n", escape_untrusted(&display_command_line(&words))));
    for (name, value) in &command.env {
        text.push_str(&format!("    env.{} = \"{}\"\n", escape_untrusted(name), escape_untrusted(value)));
    }
    for (key, option) in &manifest.user_config {
        let needed = if option.required { "required" } else { "optional" };
        let title = escape_untrusted(&option.title);
        text.push_str(&format!("    user_config.{}: {title} ({needed})\n", escape_untrusted(key)));
    }
    Ok(text)
}

fn read_source(context: &ConfigContext<'_>, file: &Path) -> Result<ConfigFile> {
    let (config, faults) = Config::load_lenient(context.environment, Some(file));
    match config.files.first() {
        Some(source) if faults.is_empty() => Ok(ConfigFile::clone(source)),
        _ => Err(config::origin::combine("the file", faults)),
    }
}

/// Every command, URL and variable of a file in full, unexpanded.
fn describe(source: &ConfigFile) -> Result<String> {
    let root = config::source::parse_file(source)?;
    let servers = match source.format {
        ConfigFormat::Json => config::file::mcp_json::translate_file(source, &root)?.servers,
        ConfigFormat::Toml => root.get("servers").map(|member| member.value.members().to_vec()).unwrap_or_default(),
    };
    let mut text =
        format!("{} (sha256 {})\n", escape_untrusted(&source.display_path), trust::content_hash(&source.text));
    for server in &servers {
        text.push_str(&format!("\n  {}   (line {})\n", escape_untrusted(&server.key), source.line_at(server.offset)));
        describe_server(&server.value, &mut text);
    }
    if servers.is_empty() {
        text.push_str("\n  no servers\n");
    }
    if let Some(defaults) = root.get("defaults").filter(|_| source.format == ConfigFormat::Toml) {
        text.push_str("\n  defaults for all servers\n");
        write_flattened("", &defaults.value, &mut text);
    }
    Ok(text)
}

fn describe_server(entry: &ConfigNode, text: &mut String) {
    let mut words: Vec<String> = Vec::new();
    words.extend(entry.get("command").and_then(|member| member.value.as_str()).map(str::to_owned));
    if let Some(ConfigMember { value: ConfigNode { value: ConfigValue::Array(items), .. }, .. }) = entry.get("args") {
        words.extend(items.iter().filter_map(ConfigNode::as_str).map(str::to_owned));
    }
    if !words.is_empty() {
        text.push_str(&format!("    runs  {}\n", escape_untrusted(&display_command_line(&words))));
    }
    for member in entry.members().iter().filter(|member| member.key != "command" && member.key != "args") {
        write_flattened(&member.key, &member.value, text);
    }
}

/// A value on its own lines, with tables expanded.
fn write_flattened(name: &str, node: &ConfigNode, text: &mut String) {
    let name = escape_untrusted(name);
    match &node.value {
        ConfigValue::Table(members) => {
            for member in members {
                let inner = if name.is_empty() { member.key.clone() } else { format!("{name}.{}", member.key) };
                write_flattened(&inner, &member.value, text);
            }
        }
        ConfigValue::Array(items) => {
            let all: Vec<String> = items.iter().map(literal_text).collect();
            text.push_str(&format!("    {name} = [{}]\n", all.join(", ")));
        }
        _ => text.push_str(&format!("    {name} = {}\n", literal_text(node))),
    }
}

fn literal_text(node: &ConfigNode) -> String {
    match &node.value {
        ConfigValue::String(text) => format!("\"{}\"", escape_untrusted(text)),
        ConfigValue::Integer(number) => number.to_string(),
        ConfigValue::Float(number) => number.to_string(),
        ConfigValue::Bool(flag) => flag.to_string(),
        other => escape_untrusted(&format!("{other:?}")),
    }
}
