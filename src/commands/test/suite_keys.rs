//! The keys of a suite: one table, from which checking, the JSON Schema and the reference (`docs/suite.md`) follow.

use serde_json::{Map, Value, json};

use crate::config::json_schema::server_properties;
use crate::error::ErrorKind;
use crate::protocol::views::ListKind;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
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
pub struct SuiteKey {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: FieldType,
    /// What it is for, in one sentence.
    pub help: &'static str,
    /// The sentences that follow `help`.
    pub details: &'static str,
    /// What applies if the key is not set, as the reference shows it.
    pub default: &'static str,
    /// How it is written in TOML.
    pub example: &'static str,
}

impl SuiteKey {
    const fn details(self, details: &'static str) -> Self {
        SuiteKey { details, ..self }
    }

    const fn default(self, default: &'static str) -> Self {
        SuiteKey { default, ..self }
    }

    /// The whole description: one paragraph.
    #[must_use]
    pub fn description(&self) -> String {
        if self.details.is_empty() { self.help.to_owned() } else { format!("{} {}", self.help, self.details) }
    }
}

/// A key without a default.
const fn key(name: &'static str, kind: FieldType, example: &'static str, help: &'static str) -> SuiteKey {
    SuiteKey { name, kind, help, details: "", default: "none", example }
}

/// The kinds of lists, by the words of `list`.
pub(super) const LIST_WORDS: [(&str, ListKind); 4] = [
    ("tools", ListKind::Tools),
    ("resources", ListKind::Resources),
    ("templates", ListKind::Templates),
    ("prompts", ListKind::Prompts),
];

/// The classes that `fails` may have.
pub(super) const FAILURE_CLASSES: [ErrorKind; 7] = [
    ErrorKind::Failed,
    ErrorKind::Usage,
    ErrorKind::Auth,
    ErrorKind::Unreachable,
    ErrorKind::Timeout,
    ErrorKind::Protocol,
    ErrorKind::Refused,
];

const LIST_CHOICES: [&str; LIST_WORDS.len()] = {
    let mut words = [""; LIST_WORDS.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = LIST_WORDS[at].0;
        at += 1;
    }
    words
};

const FAILURE_CHOICES: [&str; FAILURE_CLASSES.len()] = {
    let mut words = [""; FAILURE_CLASSES.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = FAILURE_CLASSES[at].as_str();
        at += 1;
    }
    words
};

/// The keys of a file, besides those of a server.
pub const FILE_KEYS: &[SuiteKey] = &[
    key(
        "$schema",
        FieldType::Text,
        "\"$schema\" = \"./suite.schema.json\"",
        "The URL or path of the JSON Schema, for editors.",
    ),
    key(
        "target",
        FieldType::Texts,
        "target = \"linear\"",
        "The server to test: a configured name, a URL or a command line.",
    )
    .details("With an array, the suite is run against each of its servers. The option `--target` overrides it."),
    key("timeout", FieldType::Time, "timeout = \"10s\"", "How long to wait for a response.")
        .default("that of the server"),
    key("test", FieldType::Tests, "[[test]]\nlist = \"tools\"", "The tests, in the order in which they run."),
];

/// The keys that say what a test does: each test has one of them.
pub const ACTION_KEYS: &[SuiteKey] = &[
    key("call", FieldType::Text, "call = \"get-sum\"", "Call this tool.").details("`args` has its arguments."),
    key("read", FieldType::Text, "read = \"demo://hello\"", "Read the resource at this URI."),
    key("prompt", FieldType::Text, "prompt = \"greet\"", "Get this prompt.").details("`args` has its arguments."),
    key("list", FieldType::Choice(&LIST_CHOICES), "list = \"tools\"", "List everything of a kind."),
    key("request", FieldType::Text, "request = \"resources/list\"", "Send a request with this method.")
        .details("`args` has its parameters."),
];

/// The other keys of a test.
pub const TEST_KEYS: &[SuiteKey] = &[
    key("name", FieldType::Text, "name = \"adds\"", "The name of the test.")
        .default("its number and what it does, as it is written in the file"),
    key(
        "args",
        FieldType::Table,
        "args = { a = 2, b = 3 }",
        "The arguments of the tool or prompt, or the parameters of the request.",
    ),
    key("text", FieldType::Text, "text = \"5\"", "The text of the result must be this.")
        .details("The text of a list or of a request is its JSON."),
    key("contains", FieldType::Text, "contains = \"5\"", "The text of the result must contain this."),
    key(
        "matches",
        FieldType::Text,
        "matches = \"^[0-9]+$\"",
        "The text of the result must match this regular expression.",
    ),
    key(
        "structured",
        FieldType::Table,
        "structured = { total = 5 }",
        "The structured content must have these members, with equal values.",
    ),
    key(
        "expect",
        FieldType::Texts,
        "expect = ['.content | length == 1']",
        "jq expressions over the result; each must be true.",
    )
    .details("If an expression has several outputs, each must be true."),
    key("max_time", FieldType::Time, "max_time = \"2s\"", "The response must arrive within this time."),
    key(
        "validate",
        FieldType::Flag,
        "validate = false",
        "Whether the arguments are checked against the tool's schema before they are sent.",
    )
    .details("With `false`, a result that does not match the output schema is accepted as well.")
    .default("true"),
    key(
        "fails",
        FieldType::Choice(&FAILURE_CHOICES),
        "fails = \"failed\"",
        "It must fail, with an error of this class.",
    )
    .details(
        "A tool that reports an error is `failed`; the other classes are those of the exit codes. Without this key, the \
         test must succeed. Keys about the result, such as `contains`, need one: if the server responds with an error \
         instead, its message can only be compared with `message`.",
    ),
    key(
        "message",
        FieldType::Text,
        "message = \"(?i)invalid\"",
        "The message of the failure must match this regular expression.",
    )
    .details("If a tool reports an error, the message is its text. `fails` is needed as well."),
    key(
        "capture",
        FieldType::Names,
        "capture = { id = \".structuredContent.id\" }",
        "jq expressions whose values later tests use as ${NAME}.",
    )
    .details("A name consists of letters, digits and `_`."),
    key("snapshot", FieldType::Flag, "snapshot = true", "The result must equal the stored snapshot; --update writes it.")
        .details("The snapshots of `linear.toml` are in the directory `linear.snapshots` beside it.")
        .default("false"),
    key(
        "volatile",
        FieldType::Texts,
        "volatile = ['.structuredContent.updated']",
        "jq paths that are left out of the snapshot.",
    ),
    key(
        "requires",
        FieldType::Choice(&["effects"]),
        "requires = \"effects\"",
        "Run it only with --effects, because it changes something.",
    ),
];

/// The schema of a suite (draft 7, which is what the editors of TOML understand).
#[must_use]
pub(super) fn suite_schema() -> Value {
    let mut properties = server_properties();
    properties.extend(schemas(FILE_KEYS));
    let actions: Vec<Value> = ACTION_KEYS.iter().map(|key| json!({"required": [key.name]})).collect();
    let mut of_test = schemas(ACTION_KEYS);
    of_test.extend(schemas(TEST_KEYS));
    let test = json!({
        "type": "object", "additionalProperties": false, "properties": of_test, "oneOf": actions,
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

fn schemas(keys: &[SuiteKey]) -> Map<String, Value> {
    let schema = |key: &SuiteKey| {
        let mut schema = match key.kind {
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
            members.insert("description".to_owned(), key.description().into());
        }
        (key.name.to_owned(), schema)
    };
    keys.iter().map(schema).collect()
}
