//! `lock`: what servers offer, kept in a file, and what changed since then.

pub mod changes;
pub mod file;
pub mod report;
mod schema_change;

use std::path::Path;

use serde_json::{Map, Value};

use self::changes::{ChangeClass, ServerChanges, server_changes};
use self::file::{DEFAULT_LOCK_FILE, LockFile, file_option};
use crate::cli::LockArgs;
use crate::commands::context::{Context, Exit};
use crate::config::LazyConfig;
use crate::config::redact::redact_command;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::save::is_device;
use crate::protocol::views::{ListItem, ListKind};
use crate::session::{CachePolicy, Session, SessionInfo};
use crate::target::{Target, TargetWord, classify_word};
use crate::util::count::counted;

/// Runs `lock`.
///
/// # Errors
/// When a server cannot be queried, the file cannot be used, or with `--check` if servers differ from it.
pub async fn run(context: &Context, args: LockArgs) -> Result<Exit> {
    let path = args.file.as_deref().unwrap_or(Path::new(DEFAULT_LOCK_FILE));
    let compares = args.check || args.update;
    if args.markdown && !compares {
        return Err(Failure::new(ErrorKind::Usage, "--markdown needs --check or --update")
            .hint("add one: mcpipe lock --check --markdown"));
    }
    let is_stdout = path == Path::new("-");
    if is_stdout && compares {
        return Err(Failure::new(ErrorKind::Usage, "--check and --update need a lock file, not standard output")
            .hint("name a file: -o FILE"));
    }
    let mut lock = match compares {
        true => LockFile::read(path)?,
        false if is_stdout || is_device(path) => LockFile::default(),
        false => LockFile::read_if_exists(path)?.unwrap_or_default(),
    };
    let targets: Vec<(Vec<String>, Vec<String>)> = if !args.command.is_empty() {
        let mut targets: Vec<_> = args.targets.iter().map(|word| (vec![word.clone()], Vec::new())).collect();
        targets.push((Vec::new(), args.command.clone()));
        targets
    } else if args.targets.is_empty() {
        if !compares {
            return Err(Failure::new(ErrorKind::Usage, "no target was given")
                .hint("name the servers: mcpipe lock TARGET; or update those in the file: mcpipe lock --update"));
        }
        lock.servers.keys().map(|name| locked_target(context, name)).collect()
    } else {
        args.targets.iter().map(|word| (vec![word.clone()], Vec::new())).collect()
    };
    let is_one_of_several = targets.len() > 1;
    let (mut all, mut changed, mut failed) = (Vec::new(), Vec::new(), None);
    for (words, command) in targets {
        let (target, now) = match observe(context, &args, &words, &command, is_one_of_several).await {
            Ok(seen) => seen,
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        };
        let name = target.name.clone();
        if compares {
            let before = match lock.servers.get(&name) {
                Some(before) => before.clone(),
                None if args.update => Value::Object(Map::new()),
                None => {
                    failed = Some(not_locked(ErrorKind::Config, path, &target));
                    break;
                }
            };
            let changes = server_changes(&before, &now);
            changed.extend((!changes.is_empty()).then_some(target));
            all.push(ServerChanges { server: redact_command(&name).text, changes });
        }
        lock.servers.insert(name, now);
    }
    if compares && (failed.is_none() || !all.is_empty()) {
        report::print(context, &all, args.markdown)?;
    }
    if let Some(failure) = failed {
        return Err(failure);
    }
    let has_secret = |name: &&String| redact_command(name).has_redactions;
    if let Some(name) = lock.servers.keys().find(has_secret).filter(|_| !args.check) {
        let shown = redact_command(name).text;
        context.ui.warn_always(&format!(
            "the lock file has what may be a secret, in the name '{shown}': use a configured server"
        ));
    }
    if is_stdout {
        return context.ui.print_text(&lock.text()).map(|()| Exit::Done);
    }
    if !args.check {
        lock.write(path)?;
        context.ui.note(&format!("wrote {}", path.display()));
        return Ok(Exit::Done);
    }
    let count = |class: ChangeClass| {
        all.iter().flat_map(|server| &server.changes).filter(|change| change.class == class).count()
    };
    let total: usize = all.iter().map(|server| server.changes.len()).sum();
    let breaking = count(ChangeClass::Breaking);
    let (number, kind) = match (breaking, args.strict) {
        (0, true) if total > 0 => (total, "change"),
        (0, _) => return Ok(Exit::Done),
        (_, true) => (total, "change"),
        (_, false) => (breaking, "breaking change"),
    };
    Err(Failure::new(ErrorKind::Mismatch, format!("{} since {} was written", counted(number, kind), path.display()))
        .hint(format!("to accept what changed: {}", update_command(path, &changed.iter().collect::<Vec<_>>()))))
}

/// The words of the target, or its command line, for the name of a server in a lock file. A program that was given
/// after `--` is there under its name alone.
fn locked_target(context: &Context, name: &str) -> (Vec<String>, Vec<String>) {
    let lookup = LazyConfig::new(&context.env, context.global.config.as_deref());
    let is_program = matches!(classify_word(name), Ok(TargetWord::Name(_)))
        && lookup.config().is_ok_and(|config| config.server(name).is_none())
        && context.env.find_program(name).is_some();
    let name = name.to_owned();
    if is_program { (Vec::new(), vec![name]) } else { (vec![name], Vec::new()) }
}

/// A server without an entry in the lock file.
#[must_use]
pub fn not_locked(kind: ErrorKind, path: &Path, target: &Target) -> Failure {
    Failure::new(
        kind,
        format!("the lock file '{}' has no server '{}'", path.display(), redact_command(&target.name).text),
    )
    .hint(format!("add it: {}", target.command_line("lock", file_option(path).strip_prefix(' ').as_slice())))
}

/// The command that accepts what changed at servers, which were named with the same options.
#[must_use]
pub fn update_command(path: &Path, targets: &[&Target]) -> String {
    let (mut command, option) = ("lock --update".to_owned(), file_option(path));
    let (programs, mut others): (Vec<&Target>, Vec<&Target>) =
        targets.iter().partition(|target| target.needs_separator());
    let last = match *programs {
        [] => others.pop(),
        [program] => Some(program),
        // Only one can follow `--`; without names, all servers of the file are meant.
        [program, ..] => return program.append_flags(&format!("mcpipe {command}{option}")),
    };
    command.extend(others.iter().map(|target| format!(" {}", target.quoted_name())));
    last.map(|target| target.command_line(&command, option.strip_prefix(' ').as_slice())).unwrap_or_default()
}

/// What a server offers now.
async fn observe(
    context: &Context,
    args: &LockArgs,
    words: &[String],
    command: &[String],
    is_one_of_several: bool,
) -> Result<(Target, Value)> {
    let (mut target, _) = context.resolve_target(words, command, false, &args.target_options).await?;
    if args.targets.is_empty() && args.command.is_empty() {
        // Querying all servers of the file starts no session for each of them.
        target.keep_alive = None;
    }
    let name = target.name.clone();
    let progress = context.progress(&format!("querying {}", redact_command(&name).text));
    let session = context.listing_session(target.clone(), Some(progress.clone()))?;
    let look = async |session: &Session| {
        let mut lists = Vec::new();
        for (_, kind) in LIST_MEMBERS {
            let items = session.list(kind, CachePolicy::Bypass).await?.parsed_items();
            if let Some(defect) = items.iter().filter(|item| item.is_truncated()).find_map(|item| item.defect(kind)) {
                // What was not read would not be compared.
                return Err(Failure::new(ErrorKind::Protocol, defect));
            }
            lists.push((kind, items));
        }
        Ok(server_entry(&lists, session.session_info().await?))
    };
    match progress.show_during(context.with_session(session, look)).await {
        Ok(server) => Ok((target, server)),
        Err(failure) if is_one_of_several => Err(failure.one_of_several(&redact_command(&name).text)),
        Err(failure) => Err(failure),
    }
}

/// The lists of a server in its entry.
const LIST_MEMBERS: [(&str, ListKind); 4] = [
    ("tools", ListKind::Tools),
    ("prompts", ListKind::Prompts),
    ("resources", ListKind::Resources),
    ("resourceTemplates", ListKind::Templates),
];

/// The entry of a server in a lock file, from its lists and what it says about itself.
#[must_use]
pub fn server_entry(lists: &[(ListKind, Vec<ListItem>)], about: SessionInfo) -> Value {
    let mut server = Map::new();
    for (member, kind) in LIST_MEMBERS {
        let mut definitions = Map::new();
        for item in lists.iter().filter(|(listed, _)| *listed == kind).flat_map(|(_, items)| items) {
            definitions.entry(item_key(kind, item)).or_insert_with(|| definition(item));
        }
        server.insert(member.to_owned(), Value::Object(definitions));
    }
    let texts = [
        ("name", about.server.name),
        ("title", about.server.title),
        ("version", about.server.version),
        ("instructions", about.server.instructions),
        ("protocolVersion", Some(about.revision.as_str().to_owned())),
    ];
    for (member, text) in texts {
        if let Some(text) = text {
            server.insert(member.to_owned(), Value::String(text));
        }
    }
    if let Some(capabilities) = about.server.capabilities {
        server.insert("capabilities".to_owned(), capabilities);
    }
    file::with_sorted_members(&Value::Object(server))
}

/// What identifies an item of a list.
fn item_key(kind: ListKind, item: &ListItem) -> String {
    let member = match kind {
        ListKind::Resources => "uri",
        ListKind::Templates => "uriTemplate",
        _ => "name",
    };
    item.value().get(member).and_then(Value::as_str).unwrap_or_else(|| item.name()).to_owned()
}

/// The definition of a tool or another item, as it is in a lock file.
#[must_use]
pub fn definition(item: &ListItem) -> Value {
    file::with_sorted_members(item.value())
}
