//! `config remove`, `rename` and `edit`, and what all changes of a file share.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::check;
use super::context::ConfigContext;
use super::report::{ConfigReport, ReportBody};
use super::show::full_path;
use crate::auth::credentials::{LoginOwner, Ownership};
use crate::auth::store::named_secrets;
use crate::config::file::rewrite;
use crate::config::file::rewrite::RewriteError;
use crate::config::file::write;
use crate::config::import::client_file::sanitized_server_name;
use crate::config::origin::{ConfigFormat, Layer};
use crate::config::{Config, ConfiguredServer, paths, trust};
use crate::env::{self, Environment};
use crate::error::{ErrorKind, Failure, Result};
use crate::output::Terminal;
use crate::target;
use crate::util::bounded_read::{self, MAX_FILE};
use crate::util::file_lock::FileLock;
use crate::util::home::with_forward_slashes;
use crate::util::quoting;

/// A file that is being changed.
pub(super) struct ConfigFileDraft<'a> {
    environment: &'a Environment,
    /// The file.
    pub path: PathBuf,
    /// The file as it is displayed.
    pub display_path: String,
    /// Its content; empty if it does not exist yet.
    pub text: String,
    /// Whether it is a project's file that was trusted or did not exist: then mcpipe's own change keeps it trusted.
    keeps_trust: bool,
    /// Whether it does not exist yet.
    is_new: bool,
    byte_order_mark: &'static str,
    _lock: Option<FileLock>,
}

impl<'a> ConfigFileDraft<'a> {
    /// Locks and reads the file.
    pub fn open(environment: &'a Environment, path: PathBuf, project: bool) -> Result<Self> {
        let lock = write::lock_for_edit(&path)?;
        let draft = Self::read(environment, path, project)?;
        write::check_writable(environment, &draft.path)?;
        if draft.keeps_trust {
            trust::check_writable(environment)?;
        }
        Ok(ConfigFileDraft { _lock: Some(lock), ..draft })
    }

    /// Reads the file for what writes nothing.
    pub fn read(environment: &'a Environment, path: PathBuf, project: bool) -> Result<Self> {
        let shown = environment.abbreviate_home(&path);
        let fail = || Failure::new(ErrorKind::Config, format!("cannot change {shown}"));
        let (text, new) = match bounded_read::read_to_string(&path, MAX_FILE) {
            Ok(text) => (text, false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (String::new(), true),
            Err(error) => return Err(fail().caused_by(&error)),
        };
        let (mark, text) = match text.strip_prefix('\u{feff}') {
            Some(rest) => ("\u{feff}", rest.to_owned()),
            None => ("", text),
        };
        if text.trim_start().starts_with('{') || path.extension().is_some_and(|ending| ending == "json") {
            return Err(fail().cause("it is JSON, which belongs to other clients; mcpipe changes only TOML files"));
        }
        let keeps_trust = project && (new || trust::TrustStore::load(environment)?.is_trusted(&path, &text));
        Ok(ConfigFileDraft {
            environment,
            path,
            display_path: shown,
            text,
            keeps_trust,
            is_new: new,
            byte_order_mark: mark,
            _lock: None,
        })
    }

    /// Reports why a file could not be changed.
    pub fn edit_failure(&self, problem: RewriteError, name: &str) -> Failure {
        let failure = Failure::new(ErrorKind::Config, format!("cannot change {}", self.display_path));
        match problem {
            RewriteError::Syntax(why) => failure.cause(format!("it is not TOML: {why}")).hint(self.edit_hint()),
            RewriteError::ServerNotFound => failure.cause(format!("it has no server '{name}'")),
            RewriteError::ServerExists => failure.cause(format!("it already has a server '{name}'")),
            RewriteError::UnsafeEdit => failure
                .cause("the entry cannot be changed without changing other parts of the file")
                .hint(self.edit_hint()),
        }
    }

    fn edit_hint(&self) -> String {
        match paths::user_file(self.environment).is_some_and(|file| file == self.path) {
            true => "edit the file: mcpipe config edit".to_owned(),
            false => format!("edit {}", self.display_path),
        }
    }

    /// Writes the new text atomically. If trust in it cannot be recorded, the previous content is restored.
    pub fn write(self, text: &str) -> Result<()> {
        let mark = self.byte_order_mark;
        write::write_config_file(&self.path, &format!("{mark}{text}"))?;
        if !self.keeps_trust {
            return Ok(());
        }
        trust::trust_file(self.environment, &self.path, text).map_err(|failure| {
            let restored = match self.is_new {
                true => std::fs::remove_file(&self.path).is_ok(),
                false => write::write_config_file(&self.path, &format!("{mark}{}", self.text)).is_ok(),
            };
            if restored { failure } else { failure.cause(format!("{} was changed anyway", self.display_path)) }
        })
    }
}

/// The default file for changes.
pub(super) fn file_to_change(context: &ConfigContext<'_>, project: bool) -> Result<PathBuf> {
    let environment = context.environment;
    if project {
        let here = || environment.cwd().map(|cwd| cwd.join(paths::PROJECT_TOML));
        let found = paths::find_upwards(environment, paths::PROJECT_TOML).or_else(here);
        return found.ok_or_else(|| Failure::new(ErrorKind::Config, "the working directory does not exist"));
    }
    paths::explicit_file(environment, context.config_file).or_else(|| paths::user_file(environment)).ok_or_else(|| {
        Failure::no_home_directory("no location for the configuration file", "name a file with --config")
    })
}

/// The file with the server that is to be changed.
fn file_with_server(
    context: &ConfigContext<'_>,
    name: &str,
    project: bool,
) -> Result<(PathBuf, bool, Option<ConfiguredServer>)> {
    if project {
        return Ok((file_to_change(context, true)?, true, None));
    }
    let config = Config::load(context.environment, context.config_file)?;
    // Only exact names are changed; similar ones are suggested.
    let Some(server) = config.server(name) else { return Err(target::server_not_configured(&config, name)) };
    if server.source.format == ConfigFormat::Json {
        return Err(Failure::new(ErrorKind::Config, format!("'{name}' is defined in {}", server.origin()))
            .cause("it is JSON, which belongs to other clients; mcpipe changes only TOML files")
            .hint("change it there"));
    }
    Ok((server.source.path.clone(), server.source.layer.is_project(), Some(server.clone())))
}

/// `config remove NAME`.
pub(super) fn remove(context: &ConfigContext<'_>, name: &str, project: bool) -> Result<ConfigReport> {
    let (path, is_project, server) = file_with_server(context, name, project)?;
    let draft = ConfigFileDraft::open(context.environment, path, is_project)?;
    let text = rewrite::remove(&draft.text, name).map_err(|problem| draft.edit_failure(problem, name))?;
    let mut report = ConfigReport::new(
        json!({ "name": name, "file": full_path(&draft.path), "removed": true }),
        ReportBody::Text(String::new()),
    );
    report.notes.push(format!("removed '{name}' from {}", draft.display_path));
    draft.write(&text)?;
    match server.as_ref().and_then(|server| server.overridden.last()) {
        Some(lower) => report.notes.push(format!("the entry at {lower} applies now")),
        None => report.notes.extend(stored_login_note(context, name)),
    }
    Ok(report)
}

/// `config rename NAME NEW_NAME`.
pub(super) fn rename(context: &ConfigContext<'_>, name: &str, new_name: &str, project: bool) -> Result<ConfigReport> {
    check_name("server", new_name)?;
    let (path, is_project, _) = file_with_server(context, name, project)?;
    let draft = ConfigFileDraft::open(context.environment, path, is_project)?;
    let text = rewrite::rename(&draft.text, name, new_name).map_err(|problem| {
        let which = if problem == RewriteError::ServerExists { new_name } else { name };
        draft.edit_failure(problem, which)
    })?;
    let json = json!({ "name": new_name, "old_name": name, "file": full_path(&draft.path) });
    let mut report = ConfigReport::new(json, ReportBody::Text(String::new()));
    report.notes.push(format!("renamed '{name}' to '{new_name}' in {}", draft.display_path));
    draft.write(&text)?;
    report.notes.extend(stored_login_note(context, name));
    Ok(report)
}

/// What to do about a login of an entry that no longer has this name.
fn stored_login_note(context: &ConfigContext<'_>, name: &str) -> Option<String> {
    let store = (context.open_store)(None).ok()?;
    let logins = named_secrets::login_summaries(&*store).ok()?;
    let is_stored = logins.iter().any(|about| LoginOwner::entry(name).ownership(about) == Some(Ownership::Own));
    is_stored.then(|| {
        format!("the login of '{name}' is still stored; to remove it: mcpipe auth logout {}", quoting::quote(name))
    })
}

/// Whether a name of a server or a session can be typed without quotes; `noun` says what it is the name of.
pub(in crate::commands) fn check_name(noun: &str, name: &str) -> Result<()> {
    let good = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && !name.ends_with(['.', '/']);
    if good {
        return Ok(());
    }
    let failure = Failure::new(ErrorKind::Usage, format!("'{name}' is not a valid {noun} name"))
        .cause("a name consists of letters, digits, '_', '-', '.' and '/', begins with a letter or digit, and does not end with '.' or '/'");
    let near = name.contains(|c: char| c.is_ascii_alphanumeric()).then(|| sanitized_server_name(name));
    Err(near.into_iter().fold(failure, |failure, near| failure.hint(format!("use '{near}'"))))
}

const TEMPLATE: &str = "\
# The configuration of mcpipe. `mcpipe config check` checks it; `mcpipe config schema` has every key.
#
# [servers.NAME]
# url = \"https://mcp.example.com/mcp\"
# headers = { X-Team = \"${TEAM}\" }
#
# [servers.OTHER]
# command = \"npx\"
# args = [\"-y\", \"@modelcontextprotocol/server-filesystem\", \".\"]
";

/// `config edit`: opens the file in an editor, and checks the result.
pub(super) fn edit(context: &ConfigContext<'_>, project: bool) -> Result<ConfigReport> {
    let path = file_to_change(context, project)?;
    let environment = context.environment;
    let shown = environment.abbreviate_home(&path);
    let editor = editor_command(environment, &shown)?;
    write::check_writable(environment, &path)?;
    if !path.exists() {
        let draft = ConfigFileDraft::open(environment, path.clone(), project)?;
        draft.write(TEMPLATE)?;
    }
    let trusted = project
        && bounded_read::read_to_string(&path, MAX_FILE)
            .is_ok_and(|text| trust::TrustStore::load(environment).is_ok_and(|store| store.is_trusted(&path, &text)));
    let failed = || Failure::new(ErrorKind::Config, format!("the editor '{}' failed", editor.join(" ")));
    if trusted {
        trust::check_writable(environment)?;
    }
    let (program, args) = editor.split_first().ok_or_else(failed)?;
    let status = std::process::Command::new(environment.resolve_program(program, None))
        .args(args)
        .arg(&path)
        .status()
        .map_err(|error| failed().caused_by(&error).hint("set EDITOR to your editor"))?;
    if !status.success() {
        return Err(failed().cause(status.to_string()));
    }
    if trusted {
        // A file that the user edited has been seen by the user.
        let text = bounded_read::read_to_string(&path, MAX_FILE)
            .map_err(|error| Failure::new(ErrorKind::Config, format!("cannot read {shown}")).caused_by(&error))?;
        trust::trust_file(environment, &path, text.strip_prefix('\u{feff}').unwrap_or(&text))?;
    }
    let mut report = check::check(context, None)?;
    report.body = match (&report.failure, report.body) {
        (Some(_), body) => body,
        (None, _) => ReportBody::Text(String::new()),
    };
    report.notes.insert(0, format!("saved {shown}"));
    Ok(report)
}

/// The user's editor, as words. Without a configured editor, a default one is started only at a terminal.
fn editor_command(environment: &Environment, file: &str) -> Result<Vec<String>> {
    let fallback = if cfg!(windows) { "notepad" } else { "vi" };
    let chosen = [env::VISUAL, env::EDITOR].iter().find_map(|name| environment.get(name));
    let terminal = Terminal::detect(|_| None);
    if chosen.is_none() && !(terminal.stdin_is_tty && terminal.stdout_is_tty) {
        return Err(Failure::new(ErrorKind::Usage, "config edit needs a terminal")
            .hint(format!("edit {file} directly, or set VISUAL or EDITOR to an editor that needs no terminal")));
    }
    let command = chosen.unwrap_or(fallback);
    match quoting::split(command) {
        Some(words) if !words.is_empty() => Ok(words),
        _ => {
            Err(Failure::new(ErrorKind::Config, format!("'{command}' in VISUAL or EDITOR is not a valid command line")))
        }
    }
}

/// The directory that a file belongs to.
pub(super) fn target_layer(context: &ConfigContext<'_>, project: bool) -> Layer {
    match (project, paths::explicit_file(context.environment, context.config_file)) {
        (true, _) => Layer::ProjectToml,
        (false, Some(_)) => Layer::Explicit,
        (false, None) => Layer::User,
    }
}

/// A path as it is written into a file: relative inside the project, `~/…` inside the home directory, otherwise
/// absolute. A variable at its start is left to say which.
pub(super) fn path_in_file(environment: &Environment, path: &Path, file: &Path, project: bool) -> String {
    let text = path.to_string_lossy();
    if text.starts_with("${") {
        return text.into_owned();
    }
    let path = environment.expand_tilde(&text);
    let full: PathBuf = paths::absolute_path(environment, Path::new(&path)).components().collect();
    let below = file.parent().filter(|_| project).and_then(|directory| full.strip_prefix(directory).ok());
    match below {
        Some(rest) if rest.as_os_str().is_empty() => ".".to_owned(),
        Some(rest) => format!("./{}", with_forward_slashes(rest)),
        None => environment.abbreviate_home(&full),
    }
}
