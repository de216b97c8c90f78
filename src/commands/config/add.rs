//! `config add`: builds an entry from options, and checks it before it is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value, value};

use super::change::{self, ConfigFileDraft, path_in_file};
use super::context::ConfigContext;
use super::entry_errors::missing_files_and_programs;
use super::registry;
use super::report::{ConfigReport, ReportBody, escape_untrusted};
use super::show::full_path;
use crate::cli::ConfigAddArgs;
use crate::config::file::rewrite;
use crate::config::import::secrets::find_secrets;
use crate::config::origin::{ConfigFile, ConfigFormat, Layer};
use crate::config::settings::Defaults;
use crate::config::value::expand;
use crate::config::value::secrets::Secrets;
use crate::config::{Config, ConfiguredServer, trust};
use crate::env;
use crate::env::programs::is_path;
use crate::error::{ErrorKind, Failure, Result};
use crate::target::{self, OptionValue, TargetName, TargetOptions, TargetWord, parse};
use crate::util::duration::duration_literal;
use crate::util::quoting::{HIDDEN, quote};
use crate::util::secret_names::looks_secret;
use crate::util::secret_words::{hide_in_likely_url, hide_in_url};

/// `config add NAME TARGET`.
pub(super) fn add(context: &ConfigContext<'_>, args: &ConfigAddArgs) -> Result<ConfigReport> {
    change::check_name("server", &args.name)?;
    let path = change::file_to_change(context, args.project)?;
    let described = registry::resolve(context, args)?;
    let args = described.as_ref().map_or(args, |(args, _)| args);
    let block = entry_toml(context, args, &path)?;
    let (server, entry_notes) = check_entry(context, args, &block, &path)?;
    if args.dry_run {
        text_without_entry(&ConfigFileDraft::read(context.environment, path.clone(), args.project)?, args)?;
    }
    let probe = match args.check {
        false => None,
        true => {
            if path.exists() && !args.dry_run {
                // The server is contacted first, without the lock: an invalid entry would not be added anyway.
                text_without_entry(&ConfigFileDraft::open(context.environment, path.clone(), args.project)?, args)?;
            }
            // The entry is checked on top of the existing configuration, as it will be used.
            let (config, _) = Config::load_lenient(context.environment, context.config_file);
            let probe = (context.connect)(&config.with_server(server), &args.name);
            Some(probe.map_err(|failure| failure.cause(format!("'{}' was not added", args.name)))?)
        }
    };
    let summary = probe.as_ref().map(|probe| escape_untrusted(&probe.summary()));
    let checked = probe.map(|probe| probe.json());
    if args.dry_run {
        let json =
            json!({ "name": args.name, "file": full_path(&path), "written": false, "toml": block, "checked": checked });
        let mut report = ConfigReport::new(json, ReportBody::Text(block));
        report.notes.push(format!("dry run: nothing was written to {}", context.environment.abbreviate_home(&path)));
        report.notes.extend(entry_notes.into_iter().chain(summary));
        return Ok(report);
    }
    let draft = ConfigFileDraft::open(context.environment, path, args.project)?;
    let (base, replaced) = text_without_entry(&draft, args)?;
    let text = rewrite::add(&base, &args.name, &block).map_err(|problem| draft.edit_failure(problem, &args.name))?;
    let line = entry_line(&draft.path, &text, &args.name);
    let json = json!({
        "name": args.name, "file": full_path(&draft.path), "line": line, "written": true, "replaced": replaced,
        "layer": change::target_layer(context, args.project).as_str(), "checked": checked,
    });
    // What was not typed is shown.
    let shown = described.as_ref().map_or(String::new(), |_| block.clone());
    let mut report = ConfigReport::new(json, ReportBody::Text(shown));
    let verb = if replaced { "replaced" } else { "added" };
    let in_file = format!("{}:{line}", draft.display_path);
    report.notes.push(format!("{verb} '{}' in {in_file}", args.name));
    report.notes.extend(described.iter().flat_map(|(_, notes)| notes.clone()));
    let is_complete = entry_notes.is_empty();
    report.notes.extend(entry_notes.into_iter().chain(summary));
    let file = draft.path.clone();
    draft.write(&text)?;
    // Another configuration file may have an entry of this name that takes precedence.
    let (config, _) = Config::load_lenient(context.environment, context.config_file);
    let elsewhere = config.server(&args.name).filter(|server| server.source.path != file);
    report.notes.extend(elsewhere.map(|server| format!("the entry at {} overrides it here", server.origin())));
    let untrusted =
        config.server(&args.name).filter(|server| server.source.path == file && server.trust_reason().is_some());
    if let Some(server) = untrusted {
        report.notes.push(format!("'{}' cannot be used: {} is not trusted", args.name, server.source.display_path));
        report.next = Some(trust::trust_command(&server.source));
    } else if is_complete && elsewhere.is_none() {
        report.next = Some(config.append_config_flag(&format!("mcpipe list {}", quote(&args.name))));
    }
    Ok(report)
}

/// The text that the entry is added to, and whether it replaces an existing entry.
fn text_without_entry(draft: &ConfigFileDraft<'_>, args: &ConfigAddArgs) -> Result<(String, bool)> {
    match rewrite::remove(&draft.text, &args.name) {
        Ok(text) if args.force => Ok((text, true)),
        Ok(_) => Err(draft
            .edit_failure(rewrite::RewriteError::ServerExists, &args.name)
            .hint("replace it with --force, or choose another name")),
        Err(rewrite::RewriteError::ServerNotFound) => Ok((draft.text.clone(), false)),
        Err(problem) => Err(draft.edit_failure(problem, &args.name)),
    }
}

fn entry_line(path: &Path, text: &str, name: &str) -> usize {
    let source = entry_source(path.to_owned(), text, Layer::Explicit);
    let root = crate::config::source::parse_file(&source).ok();
    let member = root.as_ref().and_then(|root| root.get("servers")?.value.get(name));
    member.map_or(1, |member| source.line_at(member.offset))
}

fn entry_source(path: PathBuf, text: &str, layer: Layer) -> ConfigFile {
    ConfigFile::new(path, "the new entry".to_owned(), text.to_owned(), layer, ConfigFormat::Toml)
}

/// The text of the entry.
fn entry_toml(context: &ConfigContext<'_>, args: &ConfigAddArgs, file: &Path) -> Result<String> {
    let mut entry = Table::new();
    let (is_url, words) = url_or_command(context, args)?;
    if is_url {
        entry.insert("url", value(url_in_file(context, &words.concat(), file, args.project)));
    } else {
        let (program, arguments) = words.split_first().ok_or_else(|| Failure::new(ErrorKind::Usage, "no program"))?;
        let relative = is_path(program) && Path::new(program).is_relative();
        let program = match relative {
            true => path_in_file(context.environment, Path::new(program), file, args.project),
            false => program.clone(),
        };
        entry.insert("command", value(program));
        if !arguments.is_empty() {
            entry.insert("args", toml_array(arguments));
        }
    }
    insert_target_options(context, args, file, &mut entry)?;
    insert_policy(context, args, &mut entry)?;
    let mut document = DocumentMut::new();
    let mut servers = Table::new();
    servers.set_implicit(true);
    let login = auth_table(context, args, file);
    if !login.is_empty() {
        entry.insert("auth", Item::Table(login));
    }
    servers.insert(&args.name, Item::Table(entry));
    document.insert("servers", Item::Table(servers));
    Ok(document.to_string())
}

/// A URL as it is written into a file, where paths are relative to that file.
fn url_in_file(context: &ConfigContext<'_>, url: &str, file: &Path, project: bool) -> String {
    let in_file = |path: &str| path_in_file(context.environment, Path::new(path), file, project);
    match (parse::unix_socket_path(url), parse::recording_path(url)) {
        (Some(socket), _) => format!("unix:{}", in_file(socket)),
        (_, Some(recording)) => format!("replay:{}", in_file(recording)),
        _ => url.to_owned(),
    }
}

/// The server: a URL, or the words of a command.
fn url_or_command(context: &ConfigContext<'_>, args: &ConfigAddArgs) -> Result<(bool, Vec<String>)> {
    if let Some(program) = args.command.first() {
        if !matches!(target::classify_word(program)?, TargetWord::Url(_)) {
            return Ok((false, args.command.clone()));
        }
        let shown = hide_in_likely_url(program, HIDDEN);
        let failure = Failure::new(ErrorKind::Usage, format!("'{shown}' is a URL, but a command follows `--`"));
        return Err(failure.hint(format!("omit it: mcpipe config add {} {}", quote(&args.name), quote(&shown))));
    }
    let typed = args.target.clone().unwrap_or_default();
    match target::classify_word(&typed)? {
        TargetWord::Url(url) => Ok((true, vec![url])),
        TargetWord::Command(line) => Ok((false, target::split_command_line(&line, context.environment)?)),
        // A single word is accepted only if there is such a program; otherwise it is probably a typing error.
        TargetWord::Name(name) if context.environment.find_program(&name).is_some() => Ok((false, vec![name])),
        TargetWord::Name(name) => {
            let url = target::guess_url(&name, true);
            let name = hide_in_likely_url(&name, HIDDEN);
            let failure = Failure::new(ErrorKind::Usage, format!("'{name}' is neither a URL nor a program in PATH"));
            Err(failure.hint(match url {
                Some(url) => format!("did you mean {} ?", hide_in_url(&url, HIDDEN)),
                None => format!(
                    "a URL begins with https://; a command goes after `--`: mcpipe config add {} -- {name}",
                    quote(&args.name)
                ),
            }))
        }
    }
}

/// The target options.
fn insert_target_options(
    context: &ConfigContext<'_>,
    args: &ConfigAddArgs,
    file: &Path,
    entry: &mut Table,
) -> Result<()> {
    let options = &args.target_options;
    let mut headers = InlineTable::new();
    for (index, text) in options.headers.iter().enumerate() {
        for (name, held) in parse::parse_header_flag(text, index + 1)? {
            // Names differ by case: a later header replaces an earlier one, which a registry may have described.
            headers.retain(|other, _| other == name || !other.eq_ignore_ascii_case(&name));
            headers.insert(&name, held.reveal().into());
        }
    }
    let mut env = InlineTable::new();
    for (index, text) in options.env.iter().enumerate() {
        let (name, held) = parse::parse_variable(text, index + 1)?;
        env.insert(&name, held.reveal().into());
    }
    for (key, table) in [("headers", headers), ("env", env)] {
        if !table.is_empty() {
            entry.insert(key, value(table));
        }
    }
    for option in options.given() {
        let held = match option.value {
            OptionValue::Header(_) | OptionValue::Variable(_) => continue,
            OptionValue::Path(path) => value(path_in_file(context.environment, path, file, args.project)),
            OptionValue::Proxy(text) | OptionValue::Text(text) => value(text),
            OptionValue::Switch => value(true),
        };
        entry.insert(&option.name.trim_start_matches('-').replace('-', "_"), held);
    }
    Ok(())
}

/// Tool rules, time limits and the inherited environment.
fn insert_policy(context: &ConfigContext<'_>, args: &ConfigAddArgs, entry: &mut Table) -> Result<()> {
    for (key, globs) in [("allow_tools", &args.allow_tools), ("deny_tools", &args.deny_tools)] {
        if !globs.is_empty() {
            entry.insert(key, toml_array(globs));
        }
    }
    if let Some(confirm) = &args.confirm {
        entry.insert("confirm", value(confirm.clone()));
    }
    for (key, time) in [("timeout", context.timeouts.0), ("connect_timeout", context.timeouts.1)] {
        if let Some(time) = time {
            entry.insert(key, value(duration_literal(time.as_written())));
        }
    }
    match args.inherit_env.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {}
        ["all"] => drop(entry.insert("inherit_env", value(true))),
        ["none"] => drop(entry.insert("inherit_env", value(false))),
        names if names.contains(&"all") || names.contains(&"none") => {
            return Err(Failure::new(ErrorKind::Usage, "--inherit-env is all, none, or names of variables"));
        }
        _ => drop(entry.insert("inherit_env", toml_array(&args.inherit_env))),
    }
    Ok(())
}

/// `[servers.NAME.auth]`.
fn auth_table(context: &ConfigContext<'_>, args: &ConfigAddArgs, file: &Path) -> Table {
    let oauth = &args.oauth;
    let mut auth = Table::new();
    let secret = oauth.client_secret_env.as_ref().map(|variable| format!("${{{variable}}}"));
    let texts = [
        ("client_id", oauth.client_id.clone()),
        ("client_secret", secret),
        ("grant", oauth.grant.clone()),
        ("issuer", oauth.issuer.clone()),
        ("client_metadata_url", oauth.client_metadata_url.clone()),
        ("redirect_uri", oauth.redirect_uri.clone()),
    ];
    for (key, set) in texts {
        if let Some(set) = set {
            auth.insert(key, value(set));
        }
    }
    if !oauth.scopes.is_empty() {
        auth.insert("scopes", toml_array(&oauth.scopes));
    }
    if let Some(port) = oauth.redirect_port {
        auth.insert("redirect_port", value(i64::from(port)));
    }
    if let Some(key) = &oauth.private_key {
        auth.insert("private_key_file", value(path_in_file(context.environment, key, file, args.project)));
    }
    auth
}

fn toml_array(texts: &[String]) -> Item {
    value(texts.iter().map(|text| Value::from(text.as_str())).collect::<Array>())
}

/// Checks the entry as it would be used, and returns suggestions.
fn check_entry(
    context: &ConfigContext<'_>,
    args: &ConfigAddArgs,
    block: &str,
    file: &Path,
) -> Result<(ConfiguredServer, Vec<String>)> {
    let wrong = |message: String| Failure::new(ErrorKind::Usage, message);
    let source = Arc::new(entry_source(file.to_owned(), block, change::target_layer(context, args.project)));
    let root =
        crate::config::source::parse_file(&source).map_err(|fault| Failure::new(ErrorKind::Bug, fault.message))?;
    let member = root.get("servers").and_then(|servers| servers.value.get(&args.name));
    let Some(member) = member else { return Err(Failure::new(ErrorKind::Bug, "the new entry cannot be found")) };
    let server = ConfiguredServer::new(&source, member);
    if let Some(fault) = server.diagnostics().into_iter().next() {
        let failure = wrong(fault.message);
        return Err(fault.hint.into_iter().fold(failure, Failure::hint));
    }
    let mut notes = check_target(context, args)?;
    let literal = |text: &str| !text.is_empty() && expand::is_literal(text);
    let found = find_secrets(&args.name, &member.value);
    for (table, flag) in [("headers", "-H 'NAME: ${VAR}'"), ("env", "-e 'NAME=${VAR}'")] {
        for pair in member.value.get(table).map(|member| member.value.members()).unwrap_or_default() {
            let text = pair.value.as_str().unwrap_or_default();
            let place = format!("{table}.{}", pair.key);
            let is_found = found.iter().any(|one| one.is_certain && one.location == place);
            if (is_found || looks_secret(&pair.key)) && literal(text) {
                notes.push(format!(
                    "the value of '{}' is stored as plain text; to store a reference instead: {flag}",
                    pair.key
                ));
            }
        }
    }
    for one in found.iter().filter(|one| one.is_certain && !one.location.contains('.')) {
        notes.push(if one.location != "url" {
            format!(
                "the secret in {} is stored as plain text; to store a reference instead, write '${{VAR}}'",
                one.location
            )
        } else if parse::parse_url(args.target.as_deref().unwrap_or_default()).is_ok_and(|url| url.basic_auth.is_some())
        {
            "the password in the URL is stored as plain text".to_owned()
        } else {
            "the secret in the URL is stored as plain text; to store a reference instead, write '${VAR}'".to_owned()
        });
    }
    notes.extend(relative_path_note(context, args));
    // A value that is missing now may exist when the entry is used.
    let (config, _) = Config::load_lenient(context.environment, context.config_file);
    let secrets = context.validated_placeholders(&config);
    let faults = match server.read_settings(context.environment, &Defaults::default(), &secrets) {
        Err(faults) => faults,
        Ok(settings) => missing_files_and_programs(&server, &settings, context.environment),
    };
    notes.extend(faults.into_iter().map(|fault| match fault.hint {
        Some(hint) => format!("{}; {hint}", fault.message),
        None => fault.message,
    }));
    Ok((server, notes))
}

/// Says that relative paths in the arguments of a server depend on where mcpipe runs.
fn relative_path_note(context: &ConfigContext<'_>, args: &ConfigAddArgs) -> Option<String> {
    if args.project || args.target_options.cwd.is_some() {
        return None;
    }
    let is_relative =
        |word: &&String| matches!(word.as_str(), "." | "..") || word.starts_with("./") || word.starts_with("../");
    let word = args.command.iter().skip(1).find(is_relative)?;
    let here = context.environment.cwd()?;
    Some(format!(
        "'{word}' is resolved in the directory where mcpipe runs; to always use this directory: --cwd {}",
        quote(&here.to_string_lossy())
    ))
}

/// Whether a connection can be tried: the URL and the options, as far as they contain no references.
fn check_target(context: &ConfigContext<'_>, args: &ConfigAddArgs) -> Result<Vec<String>> {
    let refers = |text: &str| text.contains("${");
    if args.target.as_deref().is_some_and(refers) {
        return Ok(Vec::new());
    }
    let given = args.target_options.clone();
    let tried = TargetOptions {
        headers: given.headers.into_iter().filter(|text| !refers(text)).collect(),
        bearer_env: None,
        proxy: given.proxy.filter(|text| !refers(text)),
        cwd: given
            .cwd
            .map(|path| path.to_string_lossy().into_owned())
            .filter(|path| !refers(path))
            .map(|path| context.environment.expand_tilde(&path).into()),
        ..given
    };
    // The named file may not exist yet.
    let environment = context.environment.without(env::CONFIG);
    let lookup = crate::config::LazyConfig::new(&environment, None);
    match target::classify_word(args.target.as_deref().unwrap_or("/"))? {
        // A single program is not a target, but may be an entry.
        TargetWord::Name(_) => Ok(Vec::new()),
        _ => {
            let (name, _) = TargetName::split_off(&args.target, &args.command, false, &lookup)?;
            Ok(name.resolve(&tried, &lookup, &Secrets::placeholders())?.warnings)
        }
    }
}
