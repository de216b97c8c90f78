//! The suites that a command line names: found, read and checked before anything is connected.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::commands::context::Context;
use crate::commands::test::suite::{self, Suite, SuiteTarget};
use crate::commands::test::template::secrets_in;
use crate::config::file::tree::{ConfigNode, ConfigValue};
use crate::config::origin::{ConfigDiagnostic, ConfigFile, ConfigFormat, Layer, combine};
use crate::config::source::parse_file;
use crate::config::value::secrets::Secrets;
use crate::config::{Config, LazyConfig};
use crate::error::{ErrorKind, Failure, Result};
use crate::target::{Target, TargetOptions};
use crate::transport::Endpoint;
use crate::util::bounded_read::{self, MAX_FILE};
use crate::util::quoting;

/// The ending of the directories with snapshots.
const SNAPSHOT_DIRECTORY: &str = "snapshots";

/// Whether a word of the command line names suites: a TOML file, or a directory that is not a configured server's name.
///
/// # Errors
/// When the configuration cannot be read.
pub(super) fn is_suite_word(context: &Context, word: &str) -> Result<bool> {
    let path = Path::new(word);
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    if is_toml && (!word.contains([' ', ':']) || path.is_file()) {
        return Ok(true);
    }
    if !path.is_dir() {
        return Ok(false);
    }
    let lookup = LazyConfig::new(&context.env, context.global.config.as_deref());
    Ok(lookup.config()?.server(word).is_none())
}

/// The suite files that a word names: itself, or those in the directory and below, sorted by path.
///
/// # Errors
/// When the directory cannot be read, or has none.
pub(super) fn find(word: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(word);
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    collect(path, &mut found).map_err(|error| {
        Failure::new(ErrorKind::Config, format!("cannot read the directory {word}")).caused_by(&error)
    })?;
    found.sort();
    if found.is_empty() {
        return Err(Failure::new(ErrorKind::Usage, format!("there are no suites in {word}"))
            .cause("suites are files that end in .toml")
            .hint(format!(
                "write one: mcpipe test --init TARGET > {}",
                quoting::quote(&format!("{}/server.toml", word.trim_end_matches('/')))
            )));
    }
    Ok(found)
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if path.is_dir() {
            // A link may lead back here.
            if !entry.file_type()?.is_symlink() && extension != SNAPSHOT_DIRECTORY {
                collect(&path, found)?;
            }
        } else if extension == "toml" {
            found.push(path);
        }
    }
    Ok(())
}

/// Where the snapshot of a test is stored: in a directory beside the suite.
pub(super) fn snapshot_path(suite: &Path, test: &str) -> PathBuf {
    let name: String = test.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    suite.with_extension(SNAPSHOT_DIRECTORY).join(format!("{}.json", name.trim_matches('-')))
}

/// Calls `visit` with each string in which references are replaced.
fn for_each_value<'a>(root: &'a ConfigNode, visit: &mut dyn FnMut(&'a str)) {
    for member in root.members() {
        match &member.value.value {
            ConfigValue::Array(tests) if member.key == "test" => {
                let keys = tests.iter().flat_map(ConfigNode::members);
                let values = keys.filter(|key| !matches!(key.key.as_str(), "name" | "volatile"));
                values.for_each(|key| key.value.for_each_string(&mut |text, _| visit(text)));
            }
            _ => member.value.for_each_string(&mut |text, _| visit(text)),
        }
    }
}

/// Reads a suite; `has_target` if the command line names the server.
///
/// # Errors
/// [`ErrorKind::Config`], with the file and line of everything that is wrong.
pub(super) async fn load(context: &Context, path: &Path, has_target: bool) -> Result<Suite> {
    let shown = path.to_string_lossy().into_owned();
    let text = bounded_read::read_to_string(path, MAX_FILE).map_err(|error| {
        let failure = Failure::new(ErrorKind::Config, format!("cannot read {shown}")).caused_by(&error);
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                failure.hint(format!("write a suite: mcpipe test --init TARGET > {}", quoting::quote(&shown)))
            }
            _ => failure,
        }
    })?;
    let source = Arc::new(ConfigFile::new(path.to_owned(), shown.clone(), text, Layer::Explicit, ConfigFormat::Toml));
    let mut root = parse_file(&source)?;
    if let (true, ConfigValue::Table(members)) = (has_target, &mut root.value) {
        // A variable in it need not be set.
        members.retain(|member| member.key != "target");
    }
    let lookup = LazyConfig::new(&context.env, context.global.config.as_deref());
    let defaults = || lookup.config().map(|config| config.defaults.clone()).unwrap_or_default();
    let read = |secrets: &Secrets<'_>| {
        let mut hidden = HashSet::new();
        root.for_each_string(&mut |text, _| context.redact_variables_of(std::iter::once(text)));
        for_each_value(&root, &mut |text| hidden.extend(secrets_in(text, &context.env, secrets, &source)));
        hidden.iter().for_each(|secret| context.ui.redact(secret));
        suite::read(&source, &root, &context.env, secrets).map_err(|faults| combine(&shown, faults))
    };
    let suite = context.with_secrets(defaults, read).await?;
    check_snapshot_names(&suite, &root)?;
    Ok(suite)
}

/// Two tests must not share a snapshot.
fn check_snapshot_names(suite: &Suite, root: &ConfigNode) -> Result<()> {
    let mut seen = HashSet::new();
    for test in suite.tests.iter().filter(|test| test.snapshot.is_some()) {
        if !seen.insert(snapshot_path(&suite.source.path, &test.name)) {
            let message = format!("the snapshot of '{}' would have the name of another", test.name);
            let fault =
                ConfigDiagnostic { line: test.line, ..ConfigDiagnostic::at(&suite.source, root.offset, message) };
            return Err(fault.hint("give the test another name").into());
        }
    }
    Ok(())
}

/// A failure with the line of the suite that leads to it.
fn at_line(suite: &Suite, line: usize, mut failure: Failure) -> Failure {
    let details = failure.details_mut();
    details.message = format!("{}:{line}: {}", suite.source.display_path, details.message);
    if details.kind == ErrorKind::Usage {
        details.kind = ErrorKind::Config;
    }
    failure
}

/// The targets of a suite, resolved; `chosen` is that of the command line.
///
/// # Errors
/// When there is none, or one cannot be resolved.
pub(super) async fn targets(
    context: &Context,
    suite: &Suite,
    chosen: Option<&str>,
    options: &TargetOptions,
) -> Result<Vec<Target>> {
    let mut all = Vec::new();
    if let Some(word) = chosen {
        all.push(context.resolve_target([&word.to_owned()], &[], false, options).await?.0);
    }
    let own = suite.targets.iter().filter(|_| chosen.is_none());
    for word in own.clone().filter_map(SuiteTarget::word) {
        let resolved = context.resolve_target([&word.value], &[], false, options).await;
        all.push(resolved.map_err(|failure| at_line(suite, word.line, failure))?.0);
    }
    if let Some(SuiteTarget::Entry(entry)) = own.clone().next() {
        let config = Config::of_server((**entry).clone());
        let mut target = context.resolve_configured(&config, &entry.name, options, false).await?;
        target.is_configured = false;
        target.name = match &target.endpoint {
            Endpoint::Stdio(endpoint) => {
                quoting::join(std::iter::once(&endpoint.program).chain(&endpoint.args).map(String::as_str))
            }
            Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) => {
                crate::transport::http::redacted_url(&endpoint.url)
            }
            Endpoint::Unix(endpoint) => format!("unix:{}", endpoint.path.display()),
            Endpoint::Replay(_) => target.name.clone(),
        };
        all.push(target);
    }
    if all.is_empty() {
        let shown = &suite.source.display_path;
        return Err(Failure::new(ErrorKind::Config, format!("{shown}: the suite names no server"))
            .hint("add target = \"NAME\" to it, or pass --target TARGET"));
    }
    for target in &mut all {
        target.timeout = suite.timeout.or(target.timeout);
    }
    Ok(all)
}
