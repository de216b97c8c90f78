//! Schemas for people: short type names, tables of parameters, one-line signatures.

use std::cell::Cell;
use std::collections::{HashSet, VecDeque};

use serde_json::Value;

use crate::schema::defaults::required_without_default;
use crate::schema::document::{MAX_STEPS, Property, SchemaDocument, allowed_values, spend_step};
use crate::schema::types::TypeSet;
use crate::util::unique::unique;

/// How deep the members of objects are listed.
const MAX_DEPTH: usize = 3;
/// The most allowed values that a type text lists.
const MAX_LISTED_CHOICES: usize = 8;
/// The longest type text in a one-line signature, in characters.
const MAX_SIGNATURE_TYPE_CHARS: usize = 40;

/// One parameter of a tool, for people. The texts come from the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The name as it is typed; members of objects as `a.b`.
    pub name: String,
    /// The type: `integer`, `string[]`, `"a" | "b"`, `string | null`.
    pub type_text: String,
    /// Whether it must be given (a member: if its object is): it is required and has no default.
    pub is_required: bool,
    /// The default value.
    pub default: Option<Value>,
    /// The allowed values, if the schema lists them.
    pub allowed_values: Vec<Value>,
    /// Limits, one each: `>= 1`, `at most 50 characters`, `format date`.
    pub constraints: Vec<String>,
    /// The description, else the title; may be empty.
    pub description: String,
}

/// The most parameters that are listed.
const MAX_PARAMETERS: usize = 300;

/// All parameters of an input schema, in its order. An object is followed by its members (`a.b`), an array of objects
/// by theirs (`a[].b`). `*` stands for members with any other name.
#[must_use]
pub fn parameters(schema: &Value) -> Vec<Parameter> {
    let document = SchemaDocument::new(schema);
    let mut rows = Vec::new();
    push_members(document, schema, "", &mut vec![follow_references(document, schema)], &mut rows);
    rows
}

/// The most subschemas that may apply to an object whose members are listed, below the first level.
const MAX_SUBSCHEMAS_OF_NESTED_OBJECT: usize = 16;

/// The schema that a chain of references leads to.
fn follow_references<'a>(document: SchemaDocument<'a>, schema: &'a Value) -> &'a Value {
    (0..MAX_DEPTH).fold(schema, |schema, _| document.ref_target(schema).unwrap_or(schema))
}

/// Adds the members of one object; `within` are the objects that contain it, and itself.
fn push_members<'a>(
    document: SchemaDocument<'a>,
    schema: &'a Value,
    before: &str,
    within: &mut Vec<&'a Value>,
    rows: &mut Vec<Parameter>,
) {
    for member in schema_members(document, schema) {
        if rows.len() >= MAX_PARAMETERS {
            return;
        }
        let name = format!("{before}{}", member.name);
        rows.push(member.to_parameter(document, name.clone()));
        let Some(first) = member.schemas.first() else { continue };
        let (mut inner, mut name) = (*first, name);
        while let Some(item) = document.item_schemas(inner, 0).first().filter(|_| name.len() < before.len() + 512) {
            inner = item;
            name.push_str("[]");
        }
        let known = follow_references(document, inner);
        let affordable =
            within.len() == 1 || document.applicable_subschema_count(inner) <= MAX_SUBSCHEMAS_OF_NESTED_OBJECT;
        if affordable && within.len() <= MAX_DEPTH && !within.iter().any(|outer| std::ptr::eq(*outer, known)) {
            within.push(known);
            push_members(document, inner, &format!("{name}."), within, rows);
            within.pop();
        }
    }
    rows.extend(additional_properties_row(document, schema, before));
}

/// The row for members with any other name, if the schema allows them explicitly.
fn additional_properties_row<'a>(document: SchemaDocument<'a>, schema: &'a Value, before: &str) -> Option<Parameter> {
    let plain = find_keyword(document, schema, "additionalProperties").filter(|value| **value != Value::Bool(false));
    let patterns =
        find_keyword(document, schema, "patternProperties").and_then(Value::as_object).filter(|all| !all.is_empty());
    let (part, limits) = match (plain, patterns) {
        (Some(part), _) => (part, Vec::new()),
        (None, Some(patterns)) => {
            (patterns.values().next()?, patterns.keys().map(|name| format!("name like {name}")).collect())
        }
        (None, None) => return None,
    };
    let member = SchemaMember { name: "*", schemas: vec![part], is_required: false, must_be_given: false };
    let mut row = member.to_parameter(document, format!("{before}*"));
    row.constraints.splice(0..0, limits);
    if row.description.is_empty() {
        row.description = "members with any other name".to_owned();
    }
    Some(row)
}

/// A member of an object's schema.
struct SchemaMember<'a> {
    name: &'a str,
    /// Its schemas: one, or one of each branch that declares it.
    schemas: Vec<&'a Value>,
    is_required: bool,
    /// Whether it must be given: it is required and has no default.
    must_be_given: bool,
}

/// The members of an object's schema.
fn schema_members<'a>(document: SchemaDocument<'a>, schema: &'a Value) -> Vec<SchemaMember<'a>> {
    let required: HashSet<&str> = document.required(schema).into_iter().collect();
    let needed: HashSet<&str> = required_without_default(document, schema).into_iter().collect();
    let member = |name: &'a str| {
        let own = schema.get("properties").and_then(|properties| properties.get(name));
        let parts = match (own, document.property(schema, name)) {
            (Some(own), _) => vec![own],
            (None, Property::Declared(parts) | Property::Allowed(parts)) => parts,
            (None, Property::Undeclared) => return None,
        };
        Some(SchemaMember {
            name,
            schemas: parts,
            is_required: required.contains(name),
            must_be_given: needed.contains(name),
        })
    };
    document.property_names(schema).into_iter().filter_map(member).collect()
}

impl<'a> SchemaMember<'a> {
    fn type_text(&self, document: SchemaDocument<'a>) -> String {
        if self.schemas.is_empty() {
            return "any".to_owned();
        }
        union(self.schemas.iter().take(MAX_LISTED_CHOICES).map(|part| type_text(document, part)).collect())
    }

    fn to_parameter(&self, document: SchemaDocument<'a>, name: String) -> Parameter {
        let find = |keyword: &str| self.schemas.iter().find_map(|part| find_keyword(document, part, keyword));
        let lists: Option<Vec<_>> = self.schemas.iter().map(|part| allowed_values(document, part)).collect();
        let allowed = unique(lists.into_iter().flatten().flatten().collect());
        let description = ["description", "title"].iter().find_map(|keyword| find(keyword)?.as_str());
        Parameter {
            name,
            type_text: self.type_text(document),
            is_required: self.must_be_given,
            default: find("default").cloned(),
            allowed_values: allowed,
            constraints: self.schemas.first().map(|part| constraints(document, part)).unwrap_or_default(),
            description: description.unwrap_or_default().to_owned(),
        }
    }
}

/// A keyword of the schema itself, else of the schema it refers to, else of the first branch that has it.
fn find_keyword<'a>(document: SchemaDocument<'a>, schema: &'a Value, keyword: &str) -> Option<&'a Value> {
    let mut waiting = VecDeque::from([(schema, 0)]);
    let steps = Cell::new(MAX_STEPS);
    while let Some((schema, depth)) = waiting.pop_front().filter(|_| spend_step(&steps)) {
        if let Some(value) = schema.get(keyword) {
            return Some(value);
        }
        if depth < MAX_DEPTH && waiting.len() < MAX_STEPS {
            let branches =
                ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|keyword| schema.get(keyword)?.as_array());
            let below = document.ref_target(schema).into_iter().chain(branches.flatten());
            waiting.extend(below.map(|schema| (schema, depth + 1)));
        }
    }
    None
}

fn constraints<'a>(document: SchemaDocument<'a>, schema: &'a Value) -> Vec<String> {
    let words: [(&str, &str, &str); 12] = [
        ("minimum", ">= ", ""),
        ("exclusiveMinimum", "> ", ""),
        ("maximum", "<= ", ""),
        ("exclusiveMaximum", "< ", ""),
        ("multipleOf", "multiple of ", ""),
        ("minLength", "at least ", " characters"),
        ("maxLength", "at most ", " characters"),
        ("minItems", "at least ", " items"),
        ("maxItems", "at most ", " items"),
        ("uniqueItems", "unique items", ""),
        ("pattern", "pattern ", ""),
        ("format", "format ", ""),
    ];
    let mut limits = Vec::new();
    for (keyword, before, after) in words {
        match find_keyword(document, schema, keyword) {
            Some(Value::Number(number)) => {
                let after = if number.as_u64() == Some(1) { after.trim_end_matches('s') } else { after };
                limits.push(format!("{before}{number}{after}"));
            }
            Some(Value::String(text)) => limits.push(format!("{before}{text}{after}")),
            Some(Value::Bool(true)) if keyword == "uniqueItems" => limits.push(before.to_owned()),
            _ => {}
        }
    }
    limits
}

/// A short type name, without the members of objects (`object`).
#[must_use]
pub fn type_text<'a>(document: SchemaDocument<'a>, schema: &'a Value) -> String {
    TypeFormatter { document, expands_objects: false, steps: Cell::new(MAX_STEPS) }.format(schema, MAX_DEPTH + 2)
}

/// The shape of an output schema: `{ temperature: number, tags?: string[] }`.
#[must_use]
pub fn output_shape(schema: &Value) -> String {
    TypeFormatter { document: SchemaDocument::new(schema), expands_objects: true, steps: Cell::new(MAX_STEPS) }
        .format(schema, MAX_DEPTH)
}

struct TypeFormatter<'a> {
    document: SchemaDocument<'a>,
    /// Whether the members of objects are listed.
    expands_objects: bool,
    steps: Cell<usize>,
}

impl<'a> TypeFormatter<'a> {
    fn format(&self, schema: &'a Value, depth: usize) -> String {
        let members = match schema {
            Value::Object(members) => members,
            Value::Bool(false) => return "nothing".to_owned(),
            _ => return "any".to_owned(),
        };
        if let Some(values) = members.get("enum").and_then(Value::as_array).filter(|values| !values.is_empty()) {
            return self.format_values(values);
        }
        if let Some(value) = members.get("const") {
            return value.to_string();
        }
        if depth == 0 || !spend_step(&self.steps) {
            let kinds = self.document.types_within_budget(schema, &self.steps);
            return if kinds == TypeSet::ALL { "any".to_owned() } else { kinds.names().join(" | ") };
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(branches) = members.get(keyword).and_then(Value::as_array).filter(|list| !list.is_empty()) {
                let branches: Vec<String> = branches.iter().map(|branch| self.format(branch, depth - 1)).collect();
                // Branches that only add conditions ({"required": […]}) do not change the type.
                if branches.iter().all(|branch| branch != "any") {
                    return union(branches);
                }
            }
        }
        let Some(kind) = members.get("type") else { return self.format_untyped(schema, depth) };
        let names: Vec<&str> = match kind {
            Value::String(name) => vec![name],
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            _ => vec!["any"],
        };
        union(names.into_iter().map(|name| self.format_type(name, schema, depth)).collect())
    }

    fn format_untyped(&self, schema: &'a Value, depth: usize) -> String {
        let all_of = schema.get("allOf").and_then(Value::as_array).into_iter().flatten();
        let parts = self.document.ref_target(schema).into_iter().chain(all_of);
        if let Some(text) = parts.map(|part| self.format(part, depth - 1)).find(|text| text != "any") {
            return text;
        }
        if schema.get("properties").is_some() {
            return self.format_type("object", schema, depth);
        }
        if schema.get("items").is_some() || schema.get("prefixItems").is_some() {
            return self.format_type("array", schema, depth);
        }
        "any".to_owned()
    }

    fn format_type(&self, name: &str, schema: &'a Value, depth: usize) -> String {
        match name {
            "array" => self.format_array(schema, depth),
            "object" if self.expands_objects => {
                let text = |member: SchemaMember<'a>| {
                    let mark = if member.is_required { "" } else { "?" };
                    let kinds = member.schemas.iter().take(MAX_LISTED_CHOICES).map(|part| self.format(part, depth - 1));
                    format!("{}{mark}: {}", member.name, union(kinds.collect()))
                };
                let members: Vec<String> = schema_members(self.document, schema).into_iter().map(text).collect();
                if members.is_empty() { "object".to_owned() } else { format!("{{ {} }}", members.join(", ")) }
            }
            name => name.to_owned(),
        }
    }

    /// `string[]`, or `[string, integer]` for items that have a schema each.
    fn format_array(&self, schema: &'a Value, depth: usize) -> String {
        let listed = ["prefixItems", "items"].into_iter().find_map(|keyword| schema.get(keyword)?.as_array());
        if let Some(items) = listed.filter(|items| !items.is_empty()) {
            let mut texts: Vec<String> =
                items.iter().take(MAX_LISTED_CHOICES).map(|item| self.format(item, depth - 1)).collect();
            if items.len() > MAX_LISTED_CHOICES {
                texts.push("…".to_owned());
            }
            return format!("[{}]", texts.join(", "));
        }
        match self.document.item_schemas(schema, 0).first() {
            Some(item) => {
                let item = self.format(item, depth - 1);
                if is_union(&item) { format!("({item})[]") } else { format!("{item}[]") }
            }
            None => "array".to_owned(),
        }
    }

    fn format_values(&self, values: &[Value]) -> String {
        let mut texts: Vec<String> = values.iter().take(MAX_LISTED_CHOICES).map(Value::to_string).collect();
        if values.len() > MAX_LISTED_CHOICES {
            texts.push("…".to_owned());
        }
        texts.join(" | ")
    }
}

/// Whether a `|` in the text of a type is outside of its brackets and strings.
fn is_union(text: &str) -> bool {
    let (mut depth, mut in_string, mut is_escaped) = (0, false, false);
    text.chars().any(|c| {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if in_string => is_escaped = true,
            '"' => in_string = !in_string,
            '{' | '[' | '(' if !in_string => depth += 1,
            '}' | ']' | ')' if !in_string => depth -= 1,
            _ => {}
        }
        c == '|' && depth == 0 && !in_string
    })
}

fn union(texts: Vec<String>) -> String {
    unique(texts).join(" | ")
}

/// A tool's parameters in one line: `query, limit?: integer`. Strings need no type; `?` marks the optional ones.
///
/// `tool` is the tool as the server lists it.
#[must_use]
pub fn signature(tool: &Value) -> String {
    let Some(schema) = tool.get("inputSchema") else { return String::new() };
    let document = SchemaDocument::new(schema);
    let text = |member: SchemaMember<'_>| {
        let (name, mark) = (member.name, if member.must_be_given { "" } else { "?" });
        let mut kind = member.type_text(document);
        if kind.chars().count() > MAX_SIGNATURE_TYPE_CHARS {
            kind = document.types_of_any(&member.schemas).names().join(" | ");
        }
        if kind == "string" { format!("{name}{mark}") } else { format!("{name}{mark}: {kind}") }
    };
    schema_members(document, schema).into_iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn type_of(schema: &Value) -> String {
        type_text(SchemaDocument::new(schema), schema)
    }

    #[test]
    fn types_in_few_words() {
        assert_eq!(type_of(&json!({"type": "integer"})), "integer");
        assert_eq!(type_of(&json!({"type": "array", "items": {"type": "string"}})), "string[]");
        assert_eq!(type_of(&json!({"type": "array", "items": {"type": ["string", "null"]}})), "(string | null)[]");
        assert_eq!(type_of(&json!({"type": "array"})), "array");
        assert_eq!(type_of(&json!({"type": "array", "items": {"enum": ["a | b"]}})), r#""a | b"[]"#);
        let object = json!({"type": "object", "properties": {"a": {"type": ["string", "null"]}}});
        let rows = |item: Value| output_shape(&json!({"type": "array", "items": item}));
        assert_eq!(rows(json!({"anyOf": [object, {"type": "null"}]})), "({ a?: string | null } | null)[]");
        assert_eq!(rows(object), "{ a?: string | null }[]");
        assert_eq!(type_of(&json!({"type": "string", "enum": ["a", "b"]})), r#""a" | "b""#);
        assert_eq!(type_of(&json!({"const": 5})), "5");
        assert_eq!(type_of(&json!({"anyOf": [{"type": "string"}, {"type": "null"}]})), "string | null");
        assert_eq!(type_of(&json!({"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]})), "object");
        assert_eq!(type_of(&json!({})), "any");
        assert_eq!(type_of(&json!(true)), "any");
        assert_eq!(type_of(&json!(false)), "nothing");
        assert_eq!(type_of(&json!({"properties": {"a": {}}})), "object");
        let pair = json!([{"type": "string"}, {"type": ["integer", "null"]}]);
        assert_eq!(type_of(&json!({"type": "array", "prefixItems": pair})), "[string, integer | null]");
        assert_eq!(type_of(&json!({"prefixItems": pair, "items": false})), "[string, integer | null]");
        assert_eq!(type_of(&json!({"type": "array", "items": pair})), "[string, integer | null]");
        let points = json!({"items": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "number"}]}});
        assert_eq!(type_of(&points), "[number, number][]");
        assert_eq!(type_of(&json!({"allOf": [{"description": "x"}, {"type": "number"}]})), "number");
        assert!(type_of(&json!({"enum": (0..20).collect::<Vec<_>>()})).ends_with("7 | …"));
    }

    #[test]
    fn cycles_end() {
        let list = json!({"$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"});
        assert_eq!(type_of(&list), "object");
        assert_eq!(output_shape(&list), "{ next?: object }");
        assert_eq!(type_of(&json!({"$ref": "#"})), "any");
        assert_eq!(parameters(&list).len(), 1);
    }

    #[test]
    fn a_table_of_parameters() {
        let schema = json!({
            "type": "object", "required": ["query", "sort"],
            "properties": {
                "query": {"type": "string", "minLength": 1, "description": "What to find"},
                "limit": {"anyOf": [{"type": "integer", "maximum": 50}, {"type": "null"}], "default": null, "title": "Limit"},
                "sort": {"$ref": "#/$defs/Sort"},
            },
            "$defs": {"Sort": {"type": "object", "description": "Order", "required": ["by"],
                "properties": {"by": {"enum": ["date", "name"]}, "when": {"type": "string", "format": "date"}}}},
        });
        let rows = parameters(&schema);
        let names: Vec<(&str, &str, bool)> =
            rows.iter().map(|row| (row.name.as_str(), row.type_text.as_str(), row.is_required)).collect();
        assert_eq!(
            names,
            [
                ("query", "string", true),
                ("limit", "integer | null", false),
                ("sort", "object", true),
                ("sort.by", r#""date" | "name""#, true),
                ("sort.when", "string", false),
            ]
        );
        assert_eq!(rows[0].constraints, ["at least 1 character"]);
        assert_eq!(rows[1].default, Some(Value::Null));
        assert_eq!(rows[1].constraints, ["<= 50"]);
        assert_eq!(rows[1].description, "Limit");
        assert_eq!(rows[2].description, "Order");
        assert_eq!(rows[3].allowed_values, [json!("date"), json!("name")]);
        assert_eq!(rows[4].constraints, ["format date"]);
        assert_eq!(
            signature(&json!({"name": "search", "inputSchema": schema})),
            "query, limit?: integer | null, sort: object"
        );
        assert_eq!(signature(&json!({"name": "none"})), "");
        assert_eq!(
            output_shape(&schema),
            r#"{ query: string, limit?: integer | null, sort: { by: "date" | "name", when?: string } }"#
        );
    }

    #[test]
    fn branches_with_different_members_are_told_together() {
        let schema = json!({"oneOf": [
            {"properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind"]},
            {"properties": {"kind": {"const": "b"}}},
        ]});
        assert_eq!(signature(&json!({"inputSchema": schema})), r#"kind?: "a" | "b", x?: integer"#);
        assert_eq!(parameters(&schema)[0].allowed_values, [json!("a"), json!("b")]);
    }

    #[test]
    fn nonsense_schemas_are_survived() {
        for schema in [
            json!(null),
            json!(5),
            json!([]),
            json!({"properties": 5}),
            json!({"properties": {"a": 7}}),
            json!({"type": 5}),
        ] {
            assert!(parameters(&schema).len() <= 1, "{schema}");
            assert!(!output_shape(&schema).is_empty(), "{schema}");
            assert!(signature(&json!({"inputSchema": schema})).len() < 9, "{schema}");
        }
    }
}
