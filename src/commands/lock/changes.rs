//! What changed at a server since its lock was written.

use serde_json::{Map, Value, json};

use super::file::LISTS;
use super::schema_change::{Effect, schema_changes};
use crate::output::escape;

/// What a change means for those who use the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeClass {
    /// What worked may fail, or mean something else.
    Breaking,
    /// What worked goes on working.
    Compatible,
    /// A text for readers changed, which models follow.
    Text,
}

impl ChangeClass {
    /// The name in output and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeClass::Breaking => "breaking",
            ChangeClass::Compatible => "compatible",
            ChangeClass::Text => "text",
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What it means.
    pub class: ChangeClass,
    /// What changed: `tool 'echo'`, `the server`.
    pub what: String,
    /// Where in its definition, as a JSON pointer; empty for all of it.
    pub path: String,
    /// What changed, in words.
    pub message: String,
    /// The value before.
    pub before: Option<Value>,
    /// The value now.
    pub after: Option<Value>,
}

/// What changed at one server.
pub struct ServerChanges {
    /// The server.
    pub server: String,
    /// What changed.
    pub changes: Vec<Change>,
}

impl Change {
    fn new(
        class: ChangeClass,
        what: &str,
        path: String,
        message: String,
        values: (Option<&Value>, Option<&Value>),
    ) -> Self {
        let (before, after) = (values.0.cloned(), values.1.cloned());
        Change { class, what: what.to_owned(), path, message, before, after }
    }

    /// The change on one line.
    #[must_use]
    pub fn line(&self) -> String {
        let place = if self.path.is_empty() { String::new() } else { format!(" {}", self.path) };
        format!("{}{place}: {}", self.what, self.message)
    }

    /// The change as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "class": self.class.as_str(),
            "what": self.what,
            "path": self.path,
            "message": self.message,
            "before": self.before,
            "after": self.after,
        })
    }

    /// The lines of a changed text, before (`-`) and now (`+`), with invisible characters made visible.
    #[must_use]
    pub fn text_lines(&self) -> Vec<String> {
        if self.class != ChangeClass::Text {
            return Vec::new();
        }
        let lines = |mark: &str, value: &Option<Value>| -> Vec<String> {
            let text = match value {
                None => return Vec::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            escape::make_visible(&text).split('\n').map(|line| format!("{mark} {line}")).collect()
        };
        lines("-", &self.before).into_iter().chain(lines("+", &self.after)).collect()
    }
}

/// Everything that changed at a server, from its entry in a lock to what it offers now.
#[must_use]
pub fn server_changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    compare_identity(before, after, &mut changes);
    for list in LISTS {
        let items = |server: &'static str, value: &Value| {
            value.get(server).and_then(Value::as_object).cloned().unwrap_or_default()
        };
        compare_lists(list, &items(list, before), &items(list, after), &mut changes);
    }
    changes.sort_by_key(|change| change.class);
    changes
}

fn compare_identity(before: &Value, after: &Value, changes: &mut Vec<Change>) {
    let what = "the server";
    for name in member_names(before, after) {
        if LISTS.contains(&name.as_str()) {
            continue;
        }
        let values = (before.get(&name), after.get(&name));
        if values.0 == values.1 {
            continue;
        }
        if name == "capabilities" {
            compare_capabilities(values, changes);
            continue;
        }
        let class = if matches!(name.as_str(), "instructions" | "name" | "title") {
            ChangeClass::Text
        } else {
            ChangeClass::Compatible
        };
        changes.push(Change::new(class, what, format!("/{name}"), describe_change(&name, values), values));
    }
}

fn compare_capabilities(values: (Option<&Value>, Option<&Value>), changes: &mut Vec<Change>) {
    let empty = Value::Object(Map::new());
    let (before, after) = (values.0.unwrap_or(&empty), values.1.unwrap_or(&empty));
    for name in member_names(before, after) {
        let values = (before.get(&name), after.get(&name));
        let class = match values {
            (one, other) if one == other => continue,
            (Some(_), None) => ChangeClass::Breaking,
            _ => ChangeClass::Compatible,
        };
        let message = describe_change(&format!("the capability '{name}'"), values);
        changes.push(Change::new(class, "the server", format!("/capabilities/{name}"), message, values));
    }
}

fn compare_lists(list: &str, before: &Map<String, Value>, after: &Map<String, Value>, changes: &mut Vec<Change>) {
    for (name, old) in before {
        let what = item_name(list, name);
        match after.get(name) {
            None => {
                let values = (Some(old), None);
                changes.push(Change::new(ChangeClass::Breaking, &what, String::new(), "it is gone".to_owned(), values));
            }
            Some(now) => changes.extend(item_changes(list, name, old, now)),
        }
    }
    for (name, now) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
        let values = (None, Some(now));
        let message = "it is new".to_owned();
        changes.push(Change::new(ChangeClass::Compatible, &item_name(list, name), String::new(), message, values));
    }
}

fn item_name(list: &str, name: &str) -> String {
    let kind = match list {
        "tools" => "tool",
        "prompts" => "prompt",
        "resources" => "resource",
        _ => "resource template",
    };
    format!("{kind} '{name}'")
}

/// Everything that changed in one definition.
#[must_use]
pub fn item_changes(list: &str, name: &str, before: &Value, after: &Value) -> Vec<Change> {
    let what = item_name(list, name);
    let mut changes = Vec::new();
    for name in member_names(before, after) {
        let values = (before.get(&name), after.get(&name));
        if values.0 == values.1 {
            continue;
        }
        let (path, count) = (format!("/{name}"), changes.len());
        match (list, name.as_str()) {
            (_, "description" | "title") => {
                changes.push(Change::new(ChangeClass::Text, &what, path, format!("{name} changed"), values));
            }
            ("tools", "inputSchema") => compare_schemas(&what, &path, values, Effect::Narrower, &mut changes),
            ("tools", "outputSchema") => match values {
                (Some(_), None) => {
                    let message = "the output schema is gone".to_owned();
                    changes.push(Change::new(ChangeClass::Breaking, &what, path, message, values));
                }
                (None, _) => {
                    let message = "the output schema is new".to_owned();
                    changes.push(Change::new(ChangeClass::Compatible, &what, path, message, values));
                }
                _ => compare_schemas(&what, &path, values, Effect::Wider, &mut changes),
            },
            ("tools", "annotations") => compare_annotations(&what, values, &mut changes),
            ("tools", "execution") => {
                let requires =
                    values.1.is_some_and(|now| now.get("taskSupport").is_some_and(|task| task == "required"));
                let class = if requires { ChangeClass::Breaking } else { ChangeClass::Compatible };
                changes.push(Change::new(class, &what, path, describe_change(&name, values), values));
            }
            ("prompts", "arguments") => compare_prompt_arguments(&what, values, &mut changes),
            ("resources" | "resourceTemplates", "mimeType") => {
                changes.push(Change::new(ChangeClass::Breaking, &what, path, describe_change(&name, values), values));
            }
            ("resources" | "resourceTemplates", "name") => {
                changes.push(Change::new(ChangeClass::Text, &what, path, describe_change(&name, values), values));
            }
            _ => {
                changes.push(Change::new(ChangeClass::Compatible, &what, path, describe_change(&name, values), values))
            }
        }
        if changes.len() == count {
            // Only such as `$schema`, `$id`, a definition that nothing refers to, or an order.
            let message = format!("{name} is written differently");
            changes.push(Change::new(ChangeClass::Compatible, &what, format!("/{name}"), message, values));
        }
    }
    changes
}

/// Schemas, of which `bad` is the effect that breaks users: less input that is accepted, or more output that may come.
fn compare_schemas(
    what: &str,
    path: &str,
    values: (Option<&Value>, Option<&Value>),
    bad: Effect,
    changes: &mut Vec<Change>,
) {
    let all = Value::Bool(true);
    for change in schema_changes(values.0.unwrap_or(&all), values.1.unwrap_or(&all)) {
        let class = match change.effect {
            Effect::Text => ChangeClass::Text,
            Effect::Unclear => ChangeClass::Breaking,
            effect if effect == bad => ChangeClass::Breaking,
            Effect::Narrower | Effect::Wider | Effect::None => ChangeClass::Compatible,
        };
        let values = (change.before.as_ref(), change.after.as_ref());
        changes.push(Change::new(class, what, format!("{path}{}", change.path), change.message, values));
    }
}

/// A tool that promises less than before breaks those who relied on it (2025-11-25, schema, `ToolAnnotations`, with its
/// defaults).
fn compare_annotations(what: &str, values: (Option<&Value>, Option<&Value>), changes: &mut Vec<Change>) {
    let empty = Value::Object(Map::new());
    let (before, after) = (values.0.unwrap_or(&empty), values.1.unwrap_or(&empty));
    for name in member_names(before, after) {
        let values = (before.get(&name), after.get(&name));
        if values.0 == values.1 {
            continue;
        }
        let hint = |default: bool| {
            let is = |value: Option<&Value>| value.and_then(Value::as_bool).unwrap_or(default);
            (is(values.0), is(values.1))
        };
        let class = match name.as_str() {
            "title" => ChangeClass::Text,
            "readOnlyHint" | "idempotentHint" if hint(false) == (true, false) => ChangeClass::Breaking,
            "destructiveHint" | "openWorldHint" if hint(true) == (false, true) => ChangeClass::Breaking,
            _ => ChangeClass::Compatible,
        };
        changes.push(Change::new(class, what, format!("/annotations/{name}"), describe_change(&name, values), values));
    }
}

fn compare_prompt_arguments(what: &str, values: (Option<&Value>, Option<&Value>), changes: &mut Vec<Change>) {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let (before, after) = (list(values.0), list(values.1));
    let name_of = |argument: &Value| argument.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_required = |argument: &Value| argument.get("required") == Some(&Value::Bool(true));
    let mut add = |class, name: &str, message: String, old: Option<&Value>, now: Option<&Value>| {
        changes.push(Change::new(class, what, format!("/arguments/{name}"), message, (old, now)));
    };
    for old in &before {
        let name = name_of(old);
        let Some(now) = after.iter().find(|now| name_of(now) == name) else {
            add(ChangeClass::Breaking, &name, format!("'{name}' is gone"), Some(old), None);
            continue;
        };
        match (is_required(old), is_required(now)) {
            (false, true) => {
                add(ChangeClass::Breaking, &name, format!("'{name}' is required now"), Some(old), Some(now))
            }
            (true, false) => {
                add(ChangeClass::Compatible, &name, format!("'{name}' is no longer required"), Some(old), Some(now))
            }
            _ => {}
        }
        for text in ["title", "description"] {
            if old.get(text) != now.get(text) {
                add(
                    ChangeClass::Text,
                    &format!("{name}/{text}"),
                    format!("{text} changed"),
                    old.get(text),
                    now.get(text),
                );
            }
        }
    }
    for now in after.iter().filter(|now| !before.iter().any(|old| name_of(old) == name_of(now))) {
        let (name, class) =
            (name_of(now), if is_required(now) { ChangeClass::Breaking } else { ChangeClass::Compatible });
        let message = format!("'{name}' is new{}", if is_required(now) { " and required" } else { "" });
        add(class, &name, message, None, Some(now));
    }
}

fn member_names(before: &Value, after: &Value) -> Vec<String> {
    let names =
        |value: &Value| value.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let mut all = names(before);
    all.extend(names(after));
    all.sort_unstable();
    all.dedup();
    all
}

fn describe_change(name: &str, values: (Option<&Value>, Option<&Value>)) -> String {
    match values {
        (None, _) => format!("{name} is new"),
        (_, None) => format!("{name} is gone"),
        (Some(before), Some(after)) if before.is_object() || before.is_array() || after.is_object() => {
            format!("{name} changed")
        }
        (Some(before), Some(after)) => format!("{name} changed from {before} to {after}"),
    }
}
