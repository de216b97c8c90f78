//! Tools as TypeScript declarations: an interface with one method per tool.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt::Write;

use serde_json::{Map, Value};

use crate::protocol::views::ListItem;
use crate::schema::{SchemaDocument, has_default, required_without_default};
use crate::util::unique::unique;

/// The deepest nesting of schemas; deeper or recursive ones are `unknown`.
const MAX_DEPTH: usize = 12;
/// The most schemas per tool: recursive references can multiply without end.
const MAX_SCHEMAS: usize = 5000;

/// The declarations of the tools of one server, as an interface of this name (see [`interface_name`]).
#[must_use]
pub fn interface(server: &str, name: &str, tools: &[&ListItem]) -> String {
    let mut out = format!("{}export interface {name} {{\n", doc_comment(&format!("The tools of {server}."), &[], ""));
    for (index, tool) in tools.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let input = tool.input_schema().map(TypeScriptWriter::for_input);
        let text = [tool.title().unwrap_or_default(), tool.description()].join("\n\n");
        out.push_str(&doc_comment(text.trim(), &[], "  "));
        let parameters = match input {
            Some(schema) => schema.parameter_list(),
            None => String::new(),
        };
        let result =
            tool.output_schema().map_or("unknown".to_owned(), |root| TypeScriptWriter::new(root).type_text(root, 1, 0));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {}({parameters}): Promise<{result}>;", property_key(tool.name()));
    }
    out.push_str("}\n");
    out
}

/// Writes the types of one schema, whose root references are resolved against.
struct TypeScriptWriter<'a> {
    root: &'a Value,
    /// Whether it describes input: required properties with a default are optional then.
    is_input: bool,
    schemas_left: Cell<usize>,
}

impl<'a> TypeScriptWriter<'a> {
    fn new(root: &'a Value) -> Self {
        TypeScriptWriter { root, is_input: false, schemas_left: Cell::new(MAX_SCHEMAS) }
    }

    /// For the input schema of a tool.
    fn for_input(root: &'a Value) -> Self {
        TypeScriptWriter { is_input: true, ..TypeScriptWriter::new(root) }
    }

    /// The parameter list of a tool.
    fn parameter_list(&self) -> String {
        let required = !required_without_default(SchemaDocument::new(self.root), self.root).is_empty();
        let properties = self.root.get("properties").and_then(Value::as_object);
        let composed = ["anyOf", "oneOf", "allOf", "$ref"].iter().any(|word| self.root.get(word).is_some());
        if properties.is_none_or(Map::is_empty) && !composed {
            return String::new();
        }
        let optional = if required || composed { "" } else { "?" };
        format!("args{optional}: {}", self.type_text(self.root, 1, 0))
    }

    /// The type of a schema at indentation `level`, nested `depth` schemas deep.
    fn type_text(&self, schema: &'a Value, level: usize, depth: usize) -> String {
        let Value::Object(words) = schema else {
            return if schema == &Value::Bool(false) { "never" } else { "unknown" }.to_owned();
        };
        let left = self.schemas_left.get();
        self.schemas_left.set(left.saturating_sub(1));
        if depth > MAX_DEPTH || left == 0 {
            return "unknown".to_owned();
        }
        if let Some(target) = words.get("$ref").and_then(Value::as_str) {
            let found = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            return found.map_or("unknown".to_owned(), |found| self.type_text(found, level, depth + 1));
        }
        if let Some(value) = words.get("const") {
            return value.to_string();
        }
        if let Some(values) = words.get("enum").and_then(Value::as_array) {
            return union(values.iter().map(ToString::to_string).collect());
        }
        for (word, between) in [("anyOf", " | "), ("oneOf", " | "), ("allOf", " & ")] {
            if let Some(parts) = words.get(word).and_then(Value::as_array).filter(|parts| !parts.is_empty()) {
                let all: Vec<String> = parts.iter().map(|part| self.type_text(part, level, depth + 1)).collect();
                return if between == " | " { union(all) } else { intersection(all) };
            }
        }
        match words.get("type") {
            Some(Value::String(kind)) => self.named_type(kind, words, level, depth),
            Some(Value::Array(kinds)) => {
                let kinds = kinds.iter().filter_map(Value::as_str);
                union(kinds.map(|kind| self.named_type(kind, words, level, depth)).collect())
            }
            _ if words.contains_key("properties") => self.object_type(words, level, depth),
            _ => "unknown".to_owned(),
        }
    }

    fn named_type(&self, kind: &str, words: &'a Map<String, Value>, level: usize, depth: usize) -> String {
        match kind {
            "string" | "boolean" | "null" => kind.to_owned(),
            "number" | "integer" => "number".to_owned(),
            "array" => self.array_type(words, level, depth),
            "object" => self.object_type(words, level, depth),
            _ => "unknown".to_owned(),
        }
    }

    fn array_type(&self, words: &'a Map<String, Value>, level: usize, depth: usize) -> String {
        if let Some(items) = words.get("prefixItems").and_then(Value::as_array) {
            let all: Vec<String> = items.iter().map(|item| self.type_text(item, level, depth + 1)).collect();
            return format!("[{}]", all.join(", "));
        }
        let item = words.get("items").map_or("unknown".to_owned(), |items| self.type_text(items, level, depth + 1));
        if item.contains([' ', '\n']) && !item.starts_with('{') { format!("({item})[]") } else { format!("{item}[]") }
    }

    fn object_type(&self, words: &'a Map<String, Value>, level: usize, depth: usize) -> String {
        let required = words.get("required").and_then(Value::as_array).into_iter().flatten();
        let required: HashSet<&str> = required.filter_map(Value::as_str).collect();
        let is_required = |name: &str, property: &'a Value| {
            required.contains(name) && !(self.is_input && has_default(SchemaDocument::new(self.root), property))
        };
        let properties = words.get("properties").and_then(Value::as_object);
        let more = match words.get("additionalProperties") {
            Some(Value::Bool(_)) | None => None,
            Some(schema) => Some(self.type_text(schema, level, depth + 1)),
        };
        let Some(properties) = properties.filter(|properties| !properties.is_empty()) else {
            return format!("Record<string, {}>", more.unwrap_or_else(|| "unknown".to_owned()));
        };
        let (inner, outer) = ("  ".repeat(level + 1), "  ".repeat(level));
        let mut out = String::from("{\n");
        for (name, property) in properties {
            let description = property.get("description").and_then(Value::as_str).unwrap_or_default();
            let default = property.get("default").map(|value| format!("@default {value}"));
            out.push_str(&doc_comment(description, default.as_slice(), &inner));
            let optional = if is_required(name, property) { "" } else { "?" };
            let text = self.type_text(property, level + 1, depth + 1);
            let _ = writeln!(out, "{inner}{}{optional}: {text};", property_key(name));
        }
        out.push_str(&outer);
        out.push('}');
        match more {
            Some(more) => format!("{out} & Record<string, {more}>"),
            None => out,
        }
    }
}

fn union(all: Vec<String>) -> String {
    let all = unique(all);
    if all.is_empty() { "never".to_owned() } else { all.join(" | ") }
}

fn intersection(all: Vec<String>) -> String {
    let all = all.into_iter().map(|one| if one.contains(" | ") { format!("({one})") } else { one });
    all.collect::<Vec<_>>().join(" & ")
}

/// A doc comment; `*/` in the text is escaped.
fn doc_comment(text: &str, tags: &[String], indent: &str) -> String {
    let lines: Vec<String> =
        text.lines().chain(tags.iter().map(String::as_str)).map(|line| line.trim_end().replace("*/", "* /")).collect();
    match lines.as_slice() {
        [] => String::new(),
        [one] => format!("{indent}/** {one} */\n"),
        several => {
            let body: String =
                several.iter().map(|line| format!("{indent} * {line}").trim_end().to_owned() + "\n").collect();
            format!("{indent}/**\n{body}{indent} */\n")
        }
    }
}

/// The name of a member: in quotes unless it is an identifier.
fn property_key(name: &str) -> String {
    let start = name.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '$'));
    let plain = start && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'));
    if plain { name.to_owned() } else { Value::from(name).to_string() }
}

/// `my-server` becomes `MyServer`; a name without letters becomes `Tools`.
#[must_use]
pub fn interface_name(server: &str) -> String {
    let words = server.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name: String = words
        .map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        })
        .collect();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("Tools{name}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;
    use serde_json::value::RawValue;

    use super::*;

    fn entry(tool: Value) -> ListItem {
        ListItem::new(&RawValue::from_string(tool.to_string()).unwrap())
    }

    fn of(schema: Value) -> String {
        TypeScriptWriter::new(&schema).type_text(&schema, 0, 0)
    }

    #[test]
    fn a_server_is_an_interface() {
        let add = entry(json!({
            "name": "create-issue", "title": "Create", "description": "Creates an issue.\nEnds the comment: */",
            "inputSchema": {"type": "object", "required": ["title"], "properties": {
                "title": {"type": "string", "description": "What it is about"},
                "labels": {"type": "array", "items": {"type": ["string", "null"]}, "default": []},
            }},
            "outputSchema": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
        }));
        let bare = entry(json!({"name": "ping", "inputSchema": {"type": "object"}}));
        assert_eq!(
            interface("my linear", &interface_name("my linear"), &[&add, &bare]),
            "/** The tools of my linear. */\nexport interface MyLinear {\n  /**\n   * Create\n   *\n   * Creates an issue.\n   \
             * Ends the comment: * /\n   */\n  \"create-issue\"(args: {\n    /** What it is about */\n    title: string;\n    \
             /** @default [] */\n    labels?: (string | null)[];\n  }): Promise<{\n    id: number;\n  }>;\n\n  \
             ping(): Promise<unknown>;\n}\n"
        );
    }

    #[test]
    fn schemas_become_types() {
        for (schema, text) in [
            (json!(true), "unknown"),
            (json!(false), "never"),
            (json!({}), "unknown"),
            (json!({"enum": ["a", 1, null]}), "\"a\" | 1 | null"),
            (json!({"const": {"a": 1}}), "{\"a\":1}"),
            (json!({"type": ["integer", "number"]}), "number"),
            (json!({"type": "array"}), "unknown[]"),
            (json!({"type": "array", "prefixItems": [{"type": "string"}, true]}), "[string, unknown]"),
            (json!({"type": "array", "items": {"enum": [1, 2]}}), "(1 | 2)[]"),
            (json!({"type": "object"}), "Record<string, unknown>"),
            (json!({"type": "object", "additionalProperties": {"type": "string"}}), "Record<string, string>"),
            (json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), "string | null"),
            (
                json!({"allOf": [{"$ref": "#/$defs/a"}, {"enum": [1, 2]}], "$defs": {"a": {"type": "number"}}}),
                "number & (1 | 2)",
            ),
            (json!({"$ref": "https://elsewhere/"}), "unknown"),
        ] {
            assert_eq!(of(schema.clone()), text, "{schema}");
        }
        let circle = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        assert!(of(circle).contains("next?: unknown;"), "recursion ends");
        let many = json!({"anyOf": vec![json!({"type": "array", "items": {"$ref": "#"}}); 50]});
        assert!(of(many).len() < 100_000, "multiplying references end");
    }

    #[test]
    fn interface_names_are_identifiers() {
        let names = ["linear", "https://a.example/mcp", "7z", "é"].map(interface_name);
        assert_eq!(names, ["Linear", "HttpsAExampleMcp", "Tools7z", "Tools"]);
    }
}
