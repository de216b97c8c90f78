//! The keys of a suite: one table, from which checking and the JSON Schema follow.

use serde_json::{Map, Value, json};

use crate::config::json_schema::server_properties;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldType {
    /// A string.
    Text,
    /// A string, or an array of strings.
    Texts,
    /// True or false.
    Flag,
    /// A time.
    Time,
    /// A table of any values.
    Table,
    /// A table of strings.
    Names,
    /// The tests.
    Tests,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub name: &'static str,
    pub kind: FieldType,
    /// What it is for, in one sentence.
    pub help: &'static str,
}

const fn field(name: &'static str, kind: FieldType, help: &'static str) -> Field {
    Field { name, kind, help }
}

/// The keys of a file, besides those of a server.
pub(super) const FILE_KEYS: &[Field] = &[
    field("$schema", FieldType::Text, "The URL or path of the JSON Schema, for editors."),
    field(
        "target",
        FieldType::Texts,
        "The server to test: a configured name, a URL or a command line. Several are tested one by one.",
    ),
    field("timeout", FieldType::Time, "How long to wait for a response."),
    field("test", FieldType::Tests, "The tests, in the order in which they run."),
];

/// The keys of a test.
pub(super) const TEST_KEYS: &[Field] = &[
    field("name", FieldType::Text, "The name of the test. [default: its number and what it does]"),
    field("call", FieldType::Text, "Call this tool."),
    field("read", FieldType::Text, "Read the resource at this URI."),
    field("prompt", FieldType::Text, "Get this prompt."),
    field("list", FieldType::Choice(&["tools", "resources", "templates", "prompts"]), "List everything of a kind."),
    field("request", FieldType::Text, "Send a request with this method."),
    field("args", FieldType::Table, "The arguments of the tool or prompt, or the parameters of the request."),
    field("text", FieldType::Text, "The text of the result must be this."),
    field("contains", FieldType::Text, "The text of the result must contain this."),
    field("matches", FieldType::Text, "The text of the result must match this regular expression."),
    field("structured", FieldType::Table, "The structured content must have these members, with equal values."),
    field("expect", FieldType::Texts, "jq expressions over the result; each must be true."),
    field("max_time", FieldType::Time, "The response must arrive within this time."),
    field(
        "validate",
        FieldType::Flag,
        "Whether the arguments are checked against the tool's schema before they are sent.",
    ),
    field(
        "fails",
        FieldType::Choice(&["failed", "usage", "auth", "unreachable", "timeout", "protocol", "refused"]),
        "It must fail, with an error of this class.",
    ),
    field("message", FieldType::Text, "The message of the failure must match this regular expression."),
    field("capture", FieldType::Names, "jq expressions whose values later tests use as ${NAME}."),
    field("snapshot", FieldType::Flag, "The result must equal the stored snapshot; --update writes it."),
    field("volatile", FieldType::Texts, "jq paths that are left out of the snapshot."),
    field("requires", FieldType::Choice(&["effects"]), "Run it only with --effects, because it changes something."),
];

/// The schema of a suite (draft 7, which is what the editors of TOML understand).
#[must_use]
pub(super) fn suite_schema() -> Value {
    let mut properties = server_properties();
    properties.extend(schemas(FILE_KEYS));
    let actions: Vec<Value> =
        ["call", "read", "prompt", "list", "request"].iter().map(|name| json!({"required": [name]})).collect();
    let test = json!({
        "type": "object", "additionalProperties": false, "properties": schemas(TEST_KEYS), "oneOf": actions,
    });
    if let Some(Value::Object(tests)) = properties.get_mut("test") {
        tests.insert("items".to_owned(), test);
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Test suite of mcpipe",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn schemas(keys: &[Field]) -> Map<String, Value> {
    let schema = |field: &Field| {
        let mut schema = match field.kind {
            FieldType::Text => json!({"type": "string"}),
            FieldType::Texts => json!({"anyOf": [
                {"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
            FieldType::Flag => json!({"type": "boolean"}),
            FieldType::Time => json!({"anyOf": [{"type": "number", "minimum": 0},
                {"type": "string", "pattern": "^\\s*[0-9.]+\\s*(ms|s|m|h)?$"}]}),
            FieldType::Table => json!({"type": "object"}),
            FieldType::Names => json!({"type": "object", "additionalProperties": {"type": "string"}}),
            FieldType::Tests => json!({"type": "array"}),
            FieldType::Choice(words) => json!({"enum": words}),
        };
        if let Value::Object(members) = &mut schema {
            members.insert("description".to_owned(), field.help.into());
        }
        (field.name.to_owned(), schema)
    };
    keys.iter().map(schema).collect()
}
