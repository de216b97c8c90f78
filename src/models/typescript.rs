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
        let result = tool
            .output_schema()
            .map_or("unknown".to_owned(), |root| TypeScriptWriter::new(root).type_text(root, 1, 0).text);
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
        let open = self.root.get("patternProperties").is_some()
            || self.root.get("additionalProperties").is_some_and(|schema| schema != &Value::Bool(false));
        if properties.is_none_or(Map::is_empty) && !required && !composed && !open {
            return String::new();
        }
        let optional = if required || composed { "" } else { "?" };
        format!("args{optional}: {}", self.type_text(self.root, 1, 0).text)
    }

    /// The type of a schema at indentation `level`, nested `depth` schemas deep.
    fn type_text(&self, schema: &'a Value, level: usize, depth: usize) -> TypeText {
        let Value::Object(words) = schema else {
            return TypeText::single(if schema == &Value::Bool(false) { "never" } else { "unknown" });
        };
        let left = self.schemas_left.get();
        self.schemas_left.set(left.saturating_sub(1));
        if depth > MAX_DEPTH || left == 0 {
            return TypeText::unknown();
        }
        if let Some(value) = words.get("const") {
            return TypeText::single(value.to_string());
        }
        if let Some(values) = words.get("enum").and_then(Value::as_array) {
            return TypeText::union(values.iter().map(|value| TypeText::single(value.to_string())).collect());
        }
        // All of a schema's keywords apply.
        let mut parts = Vec::new();
        let target = SchemaDocument::new(self.root).ref_target(schema);
        parts.extend(target.map(|target| self.type_text(target, level, depth + 1)));
        parts.push(self.own_type(words, level, depth));
        for word in ["anyOf", "oneOf", "allOf"] {
            let Some(inner) = words.get(word).and_then(Value::as_array).filter(|inner| !inner.is_empty()) else {
                continue;
            };
            let all = inner.iter().map(|part| self.type_text(part, level, depth + 1)).collect();
            parts.push(if word == "allOf" { TypeText::intersection(all) } else { TypeText::union(all) });
        }
        TypeText::intersection(parts)
    }

    /// The type that a schema's own keywords describe.
    fn own_type(&self, words: &'a Map<String, Value>, level: usize, depth: usize) -> TypeText {
        match words.get("type") {
            Some(Value::String(kind)) => self.named_type(kind, words, level, depth),
            Some(Value::Array(kinds)) => {
                let kinds = kinds.iter().filter_map(Value::as_str);
                TypeText::union(kinds.map(|kind| self.named_type(kind, words, level, depth)).collect())
            }
            _ if ["properties", "required"].iter().any(|word| words.contains_key(*word)) => {
                self.object_type(words, level, depth)
            }
            _ => TypeText::unknown(),
        }
    }

    fn named_type(&self, kind: &str, words: &'a Map<String, Value>, level: usize, depth: usize) -> TypeText {
        match kind {
            "string" | "boolean" | "null" => TypeText::single(kind),
            "number" | "integer" => TypeText::single("number"),
            "array" => self.array_type(words, level, depth),
            "object" => self.object_type(words, level, depth),
            _ => TypeText::unknown(),
        }
    }

    fn array_type(&self, words: &'a Map<String, Value>, level: usize, depth: usize) -> TypeText {
        let items = words.get("items");
        let (first, more) = match words.get("prefixItems").or(items).and_then(Value::as_array) {
            Some(first) if words.contains_key("prefixItems") => (first, items),
            Some(first) => (first, words.get("additionalItems")),
            None => {
                let item = items.map_or_else(TypeText::unknown, |items| self.type_text(items, level, depth + 1));
                return TypeText::single(format!("{}[]", item.in_parentheses()));
            }
        };
        let minimum = words.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        let mut all: Vec<String> = Vec::new();
        for (item, index) in first.iter().zip(0_u64..) {
            let item = self.type_text(item, level, depth + 1);
            all.push(if index < minimum { item.text } else { format!("{}?", item.in_parentheses()) });
        }
        if more != Some(&Value::Bool(false)) {
            let item = more.map_or_else(TypeText::unknown, |more| self.type_text(more, level, depth + 1));
            all.push(format!("...{}[]", item.in_parentheses()));
        }
        TypeText::single(format!("[{}]", all.join(", ")))
    }

    fn object_type(&self, words: &'a Map<String, Value>, level: usize, depth: usize) -> TypeText {
        let required = words.get("required").and_then(Value::as_array).into_iter().flatten();
        let required: Vec<&str> = unique(required.filter_map(Value::as_str).collect());
        let is_listed: HashSet<&str> = required.iter().copied().collect();
        let is_required = |name: &str, property: &'a Value| {
            is_listed.contains(name) && !(self.is_input && has_default(SchemaDocument::new(self.root), property))
        };
        let none = Map::new();
        let properties = words.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let undeclared = required.iter().filter(|name| !properties.contains_key(**name));
        let patterns = words.get("patternProperties").and_then(Value::as_object).unwrap_or(&none);
        let mut others: Vec<TypeText> =
            patterns.values().map(|schema| self.type_text(schema, level, depth + 1)).collect();
        let is_closed = match words.get("additionalProperties") {
            Some(Value::Bool(false)) => true,
            None => {
                // Names that match no pattern are allowed.
                others.extend((!patterns.is_empty()).then(TypeText::unknown));
                false
            }
            Some(schema) => {
                others.push(self.type_text(schema, level, depth + 1));
                false
            }
        };
        if properties.is_empty() && required.is_empty() {
            if others.is_empty() && !is_closed {
                others.push(TypeText::unknown());
            }
            return TypeText::single(format!("Record<string, {}>", TypeText::union(others).text));
        }
        let (inner, outer) = ("  ".repeat(level + 1), "  ".repeat(level));
        let mut out = String::from("{\n");
        let mut all = Vec::new();
        for (name, property) in words.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let description = property.get("description").and_then(Value::as_str).unwrap_or_default();
            let default = property.get("default").map(|value| format!("@default {value}"));
            out.push_str(&doc_comment(description, default.as_slice(), &inner));
            let is_required = is_required(name, property);
            let optional = if is_required { "" } else { "?" };
            let text = self.type_text(property, level + 1, depth + 1);
            let _ = writeln!(out, "{inner}{}{optional}: {};", property_key(name), text.text);
            all.push(text);
            all.extend((!is_required).then(|| TypeText::single("undefined")));
        }
        for name in undeclared {
            let _ = writeln!(out, "{inner}{}: unknown;", property_key(name));
            all.push(TypeText::unknown());
        }
        if !others.is_empty() {
            // Every declared property has to match the type of the index too.
            others.extend(all);
            let _ = writeln!(out, "{inner}[key: string]: {};", TypeText::union(others).text);
        }
        out.push_str(&outer);
        out.push('}');
        TypeText::single(out)
    }
}

/// A type, and what holds it together.
#[derive(PartialEq, Eq, Hash)]
struct TypeText {
    text: String,
    operator: Option<TypeOperator>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum TypeOperator {
    Union,
    Intersection,
}

impl TypeText {
    fn single(text: impl Into<String>) -> Self {
        TypeText { text: text.into(), operator: None }
    }

    fn unknown() -> Self {
        TypeText::single("unknown")
    }

    /// As an operand of any operator.
    fn in_parentheses(self) -> String {
        if self.operator.is_some() { format!("({})", self.text) } else { self.text }
    }

    fn union(all: Vec<TypeText>) -> Self {
        if all.iter().any(|one| one.text == "unknown") {
            return TypeText::unknown();
        }
        // `&` binds more tightly than `|`.
        TypeText::joined(all, TypeOperator::Union)
    }

    fn intersection(all: Vec<TypeText>) -> Self {
        // What is a record of anything is already said by the other parts, which are objects.
        let has_object = all.iter().any(|one| one.text.contains('{'));
        let says_nothing =
            |one: &TypeText| one.text == "unknown" || (has_object && one.text == "Record<string, unknown>");
        let all: Vec<TypeText> = all.into_iter().filter(|one| !says_nothing(one)).collect();
        if all.is_empty() {
            return TypeText::unknown();
        }
        TypeText::joined(all, TypeOperator::Intersection)
    }

    fn joined(all: Vec<TypeText>, operator: TypeOperator) -> Self {
        let mut all = unique(all);
        if all.len() == 1
            && let Some(one) = all.pop()
        {
            return one;
        }
        let parts = all.into_iter().map(|one| match (operator, one.operator) {
            (TypeOperator::Intersection, Some(TypeOperator::Union)) => one.in_parentheses(),
            _ => one.text,
        });
        let parts: Vec<String> = parts.collect();
        if parts.is_empty() {
            return TypeText::single("never");
        }
        let text = parts.join(if operator == TypeOperator::Union { " | " } else { " & " });
        TypeText { text, operator: Some(operator) }
    }
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
    // `new(…)` is a constructor in an interface.
    let plain = start
        && !matches!(name, "new" | "constructor")
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'));
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
    match name.as_str() {
        // The names of types that the declarations use.
        "Promise" | "Record" => format!("{name}Tools"),
        name if name.starts_with(|c: char| c.is_ascii_alphabetic()) => name.to_owned(),
        name => format!("Tools{name}"),
    }
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
        TypeScriptWriter::new(&schema).type_text(&schema, 0, 0).text
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
            (json!({"type": "array", "prefixItems": [{"type": "string"}, true]}), "[string?, unknown?, ...unknown[]]"),
            (
                json!({"type": "array", "prefixItems": [{"type": ["string", "null"]}], "minItems": 1, "items": false}),
                "[string | null]",
            ),
            (
                json!({"type": "array", "items": [{"type": ["string", "null"]}], "additionalItems": false}),
                "[(string | null)?]",
            ),
            (
                json!({"type": "array", "items": {"anyOf": [{"type": "object", "properties": {"a": {}}},
                    {"type": "array", "items": {"type": "string"}}]}}),
                "({\n  a?: unknown;\n} | string[])[]",
            ),
            (
                json!({"properties": {"a": {"type": "string"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
                "{\n  a?: string;\n} & ({\n  a: unknown;\n} | {\n  b: unknown;\n})",
            ),
            (
                json!({"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "number"}}),
                "{\n  a?: string;\n  [key: string]: number | string | undefined;\n}",
            ),
            (json!({"type": "string", "anyOf": [{"format": "uri"}, {"format": "email"}]}), "string"),
            (json!({"type": "array", "items": {"enum": [1, 2]}}), "(1 | 2)[]"),
            (
                json!({"type": "array", "items": {"anyOf": [{"type": ["string", "null"], "format": "uri"},
                    {"type": ["string", "null"], "format": "email"}]}}),
                "(string | null)[]",
            ),
            (
                json!({"allOf": [{"enum": [1, 2]}, {"anyOf": [{"enum": [3, 4]}, {"enum": [3, 4]}]}]}),
                "(1 | 2) & (3 | 4)",
            ),
            (json!({"type": "object"}), "Record<string, unknown>"),
            (json!({"type": "object", "additionalProperties": {"type": "string"}}), "Record<string, string>"),
            (json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), "string | null"),
            (
                json!({"allOf": [{"$ref": "#/$defs/a"}, {"enum": [1, 2]}], "$defs": {"a": {"type": "number"}}}),
                "number & (1 | 2)",
            ),
            (json!({"$ref": "#/$defs/Page%3CItem%3E", "$defs": {"Page<Item>": {"type": "number"}}}), "number"),
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
        let names = ["linear", "mcp.example", "7z", "é", "record"].map(interface_name);
        assert_eq!(names, ["Linear", "McpExample", "Tools7z", "Tools", "RecordTools"]);
    }
}
