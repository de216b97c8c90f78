//! Checks of what a server lists: names, URIs and schemas.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;
use url::Url;

use crate::commands::lock::changes::{ChangeClass, server_changes};
use crate::commands::lock::file::LockFile;
use crate::commands::lock::report::summary;
use crate::commands::lock::{not_locked, update_command};
use crate::commands::test::report::Finding;
use crate::error::{ErrorKind, Failure};
use crate::protocol::views::{ListItem, ListKind, ServerInfo};
use crate::schema::{SchemaError, SchemaValidator};
use crate::target::Target;

/// The longest name of a tool (2025-11-25, server/tools, tool names).
const MAX_NAME_LENGTH: usize = 128;
/// The most problems of one check that are listed.
const MAX_PROBLEMS: usize = 10;

/// The lists of one server.
pub(super) type Lists = Vec<(ListKind, Vec<ListItem>)>;

/// Several problems as one failure of a check: the first in the message, all as causes if there are more.
fn fail(problems: Vec<String>, hint: &str) -> Finding {
    let [only] = problems.as_slice() else {
        let count = problems.len();
        let failure = Failure::new(ErrorKind::Mismatch, format!("{count} problems"));
        let failure = problems.into_iter().take(MAX_PROBLEMS).fold(failure, Failure::cause);
        return Finding::Fail(failure.hint(hint));
    };
    Finding::Fail(Failure::new(ErrorKind::Mismatch, only.clone()).hint(hint))
}

/// Who the server says it is. `initialize` requires a name and a version (2025-11-25, schema, `Implementation`);
/// without a handshake they are optional (2026-07-28, basic/index, `_meta`).
pub(super) fn identity(info: &ServerInfo, is_required: bool) -> Finding {
    let text = |part: &Option<String>| part.clone().filter(|text| !text.trim().is_empty());
    match (text(&info.name), text(&info.version)) {
        (Some(name), Some(version)) => Finding::ok(format!("{name} {version}")),
        (name, version) => {
            let missing: Vec<&str> = [("name", name), ("version", version)]
                .into_iter()
                .filter_map(|(word, value)| value.is_none().then_some(word))
                .collect();
            let text = format!("serverInfo has no {}", missing.join(" and no "));
            if is_required {
                fail(vec![text], "set the name and version of the server in its code")
            } else {
                Finding::warn(text)
            }
        }
    }
}

/// Whether a server is as its entry in the lock file says. Only breaking changes are a failure, as in `lock --check`.
pub(super) fn locked(path: &Path, lock: &LockFile, target: &Target, now: &Value) -> Finding {
    let Some(before) = lock.servers.get(&target.name) else {
        return Finding::Fail(not_locked(ErrorKind::Mismatch, path, target));
    };
    let changes = server_changes(before, now);
    if changes.is_empty() {
        return Finding::ok("nothing changed");
    }
    let lines = changes.iter().flat_map(|change| {
        let line = format!("{}: {}", change.class.as_str(), change.line());
        std::iter::once(line).chain(change.text_lines().into_iter().map(|line| format!("  {line}")))
    });
    let message = format!("{} since {} was written", summary(&changes), path.display());
    if !changes.iter().any(|change| change.class == ChangeClass::Breaking) {
        return Finding::Warn(message, lines.collect());
    }
    let failure = lines.fold(Failure::new(ErrorKind::Mismatch, message), Failure::cause);
    Finding::Fail(failure.hint(format!("to accept what changed: {}", update_command(path, &[target]))))
}

/// Whether names are present, legal and unique.
pub(super) fn names(lists: &Lists) -> Finding {
    let (mut wrong, mut doubtful) = (Vec::new(), Vec::new());
    let mut count = 0;
    for (kind, items) in lists {
        let mut seen = HashSet::new();
        let word = kind.singular_name();
        for item in items {
            count += 1;
            if let Some(defect) = item.defect(*kind) {
                wrong.push(defect);
                continue;
            }
            let key = if matches!(kind, ListKind::Resources | ListKind::Templates) { item.uri() } else { item.name() };
            if item.name().is_empty() {
                wrong.push(format!("a {word} has no name"));
            } else if !seen.insert(key.to_owned()) {
                wrong.push(format!("{word} '{key}' is listed twice"));
            }
            match kind {
                ListKind::Tools if !item.name().is_empty() && !is_legal_name(item.name()) => doubtful.push(format!(
                    "tool '{}': names should have 1 to {MAX_NAME_LENGTH} of A-Z a-z 0-9 _ - .",
                    item.name()
                )),
                ListKind::Resources if Url::parse(item.uri()).is_err() => {
                    wrong.push(format!("resource '{}' has an invalid URI: '{}'", item.name(), item.uri()));
                }
                ListKind::Templates if item.uri().is_empty() => {
                    wrong.push(format!("resource template '{}' has no uriTemplate", item.name()));
                }
                _ => {}
            }
        }
    }
    match (wrong.is_empty(), doubtful.is_empty()) {
        (false, _) => fail(wrong, "give each a name of its own, which clients use to refer to it"),
        (true, false) => Finding::warn(doubtful.join("; ")),
        (true, true) if count == 1 => Finding::ok("1 name"),
        (true, true) => Finding::ok(format!("{count} names")),
    }
}

/// Whether every tool has a description, which is what a model chooses it by.
pub(super) fn descriptions(tools: &[ListItem]) -> Finding {
    let without: Vec<&str> =
        tools.iter().filter(|tool| tool.description().trim().is_empty()).map(ListItem::name).collect();
    // Parameters are only counted: names often say enough.
    let parameters = tools.iter().filter_map(|tool| tool.input_schema()?.get("properties")?.as_object());
    let all: Vec<&Value> = parameters.flat_map(|properties| properties.values()).collect();
    let described = all.iter().filter(|schema| schema.get("description").is_some_and(Value::is_string)).count();
    let counted = format!("{described} of {} parameters", all.len());
    match (tools.len(), without.as_slice()) {
        (0, _) => Finding::Skip("there are no tools".to_owned()),
        (_, []) => Finding::ok(format!("all tools and {counted}")),
        (_, names) => Finding::warn(format!("tools without a description: {}", names.join(", "))),
    }
}

/// The names that all clients accept (2025-11-25, server/tools, tool names).
fn is_legal_name(name: &str) -> bool {
    (1..=MAX_NAME_LENGTH).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// Whether every schema compiles, and describes an object.
pub(super) async fn schemas(tools: &[ListItem]) -> Finding {
    let (mut wrong, mut dialects, mut count) = (Vec::new(), Vec::new(), 0);
    for tool in tools.iter().filter(|tool| tool.is_object()) {
        for member in ["inputSchema", "outputSchema"] {
            let schema = match tool.value().get(member) {
                None if member == "inputSchema" => {
                    wrong.push(format!("{}: it has no inputSchema", tool.name()));
                    continue;
                }
                None => continue,
                Some(schema) => schema,
            };
            count += 1;
            match check_schema(schema).await {
                Ok(dialect) if !dialects.contains(&dialect) => dialects.push(dialect),
                Ok(_) => {}
                Err(why) => wrong.push(format!("{} {member}: {why}", tool.name())),
            }
        }
    }
    if !wrong.is_empty() {
        return fail(
            wrong,
            "clients cannot check arguments by such a schema; show one with: mcpipe list TARGET TOOL --schema",
        );
    }
    match count {
        0 => Finding::Skip("there are none".to_owned()),
        1 => Finding::ok(format!("1 schema, JSON Schema {}", dialects.join(" and "))),
        _ => Finding::ok(format!("{count} schemas, JSON Schema {}", dialects.join(" and "))),
    }
}

/// The name of the dialect, or what is wrong.
async fn check_schema(schema: &Value) -> Result<&'static str, String> {
    let dialect = SchemaValidator::new(schema).check().await.map_err(|error: SchemaError| error.to_string())?;
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => Ok(dialect),
        // 2025-11-25 and earlier require it; the root of a later one may be a reference or a combination.
        None if schema.is_object()
            && ["$ref", "anyOf", "oneOf", "allOf"].iter().any(|key| schema.get(key).is_some()) =>
        {
            Ok(dialect)
        }
        _ => Err("its type is not \"object\"".to_owned()),
    }
}
