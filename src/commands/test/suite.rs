//! A suite as its file has it: strictly read, with the line of everything that can fail.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Number, Value};

use crate::commands::expect;
use crate::commands::test::suite_keys::{
    ACTION_KEYS, FAILURE_CLASSES, FILE_KEYS, FieldType, LIST_WORDS, SuiteKey, TEST_KEYS,
};
use crate::commands::test::template::{Captures, TemplateReader};
use crate::config::ConfiguredServer;
use crate::config::file::tree::{ConfigMember, ConfigNode, ConfigValue};
use crate::config::keys::SERVER_KEYS;
use crate::config::origin::{ConfigDiagnostic, ConfigFile};
use crate::config::value::secrets::Secrets;
use crate::env::Environment;
use crate::error::ErrorKind;
use crate::output::jq::JqFilter;
use crate::protocol::views::ListKind;
use crate::util::duration::parse_duration;
use crate::util::limit::Limit;
use crate::util::suggest::nearest_name;

/// A file of tests.
pub(super) struct Suite {
    /// The file.
    pub source: Arc<ConfigFile>,
    /// The servers to test, unless the command line names another.
    pub targets: Vec<SuiteTarget>,
    /// How long to wait for a response.
    pub timeout: Option<Limit<Duration>>,
    /// The tests, in order.
    pub tests: Vec<SuiteTest>,
}

/// A server that a suite names.
pub(super) enum SuiteTarget {
    /// A word, as on the command line.
    Word(Located<String>),
    /// Keys as in the configuration.
    Entry(Box<ConfiguredServer>),
}

impl SuiteTarget {
    /// The word, if it is one.
    pub fn word(&self) -> Option<&Located<String>> {
        match self {
            SuiteTarget::Word(word) => Some(word),
            SuiteTarget::Entry(_) => None,
        }
    }
}

/// What a test asks of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TestAction {
    /// Call a tool.
    Call(String),
    /// Read a resource.
    Read(String),
    /// Get a prompt.
    Prompt(String),
    /// List everything of a kind.
    List(ListKind),
    /// Send a request with this method.
    Request(String),
}

/// One test.
pub(super) struct SuiteTest {
    pub name: String,
    pub line: usize,
    pub action: TestAction,
    pub args: Map<String, Value>,
    pub expectations: Vec<Expectation>,
    /// The class of the failure that must come.
    pub fails: Option<Located<ErrorKind>>,
    /// What its message must match.
    pub message: Option<Located<String>>,
    pub captures: Vec<Located<(String, String)>>,
    pub snapshot: Option<usize>,
    pub volatile: Vec<String>,
    pub needs_effects: bool,
    pub validate: bool,
    pub max_time: Option<Located<Duration>>,
    /// The captures of earlier tests that it uses.
    pub uses: Vec<String>,
}

impl SuiteTest {
    /// The first line that needs a result.
    pub fn first_use_of_result(&self) -> Option<usize> {
        let expectations = self.expectations.iter().map(|expectation| expectation.line);
        expectations.chain(self.captures.iter().map(|capture| capture.line)).chain(self.snapshot).min()
    }
}

/// A value and its line.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub value: T,
    pub line: usize,
}

/// Something that must hold, and its line.
type Expectation = Located<Check>;

/// Something that must hold of a result.
#[derive(Clone, Debug)]
pub(super) enum Check {
    /// The text is this.
    Text(String),
    /// The text contains this.
    Contains(String),
    /// The text matches this regular expression.
    Matches(String),
    /// The structured content has these members.
    Structured(Map<String, Value>),
    /// The jq expression is true.
    Expression(String),
}

/// Reads the tree of a suite. What is wrong is collected, each with its line.
pub(super) fn read(
    source: &Arc<ConfigFile>,
    root: &ConfigNode,
    environment: &Environment,
    secrets: &Secrets<'_>,
) -> Result<Suite, Vec<ConfigDiagnostic>> {
    let mut reader = SuiteReader {
        source,
        templates: TemplateReader::new(source, environment, secrets),
        captured: HashSet::new(),
        names: HashSet::new(),
    };
    let suite = reader.suite(root);
    let mut faults = reader.templates.faults;
    faults.sort_by_key(|fault| fault.line);
    if faults.is_empty() { Ok(suite) } else { Err(faults) }
}

struct SuiteReader<'a> {
    source: &'a Arc<ConfigFile>,
    templates: TemplateReader<'a>,
    /// The captures so far.
    captured: HashSet<String>,
    names: HashSet<String>,
}

/// The key for a name that it has elsewhere: in a batch, in an API of a model, or in the protocol.
fn correct_key(key: &str) -> Option<&'static str> {
    Some(match key {
        "arguments" | "input" | "params" | "parameters" => "args",
        "tool" => "call",
        "uri" | "resource" => "read",
        "method" => "request",
        "server" => "target",
        "tests" => "test",
        _ => return None,
    })
}

impl SuiteReader<'_> {
    fn fault(&mut self, at: usize, message: impl Into<String>) {
        self.templates.faults.push(ConfigDiagnostic::at(self.source, at, message));
    }

    fn line(&self, at: usize) -> usize {
        self.source.line_at(at)
    }

    /// Reports unknown keys and wrong types.
    fn check_keys(&mut self, node: &ConfigNode, keys: [&[SuiteKey]; 2], others: &[&str], section: &str) {
        let keys = || keys.into_iter().flatten();
        for member in node.members() {
            match keys().find(|key| key.name == member.key) {
                Some(key) => {
                    if let Err((at, wrong)) = check_type(key.kind, &member.value) {
                        self.fault(at, format!("'{}' {wrong}", member.key));
                    }
                }
                None if others.contains(&member.key.as_str()) => {}
                None => {
                    let names = keys().map(|key| key.name).chain(others.iter().copied());
                    let other = correct_key(&member.key).filter(|other| keys().any(|key| key.name == *other));
                    let near = other
                        .or_else(|| nearest_name(&member.key, names))
                        .map(|near| format!("did you mean '{near}'?"));
                    let fault = ConfigDiagnostic::at(
                        self.source,
                        member.offset,
                        format!("unknown key '{}' in {section}", member.key),
                    );
                    self.templates.faults.push(match near {
                        Some(near) => fault.hint(near),
                        None => fault,
                    });
                }
            }
        }
    }

    fn suite(&mut self, root: &ConfigNode) -> Suite {
        let server_keys: Vec<&str> = SERVER_KEYS.iter().map(|key| key.name).collect();
        self.check_keys(root, [FILE_KEYS, &[]], &server_keys, "the suite");
        let mut tests = Vec::new();
        if let Some(ConfigValue::Array(items)) = root.get("test").map(|member| &member.value.value) {
            for (number, item) in items.iter().enumerate() {
                tests.extend(self.test(item, number + 1));
            }
        }
        let timeout = root.get("timeout").and_then(|member| duration(&member.value)).map(Limit::from);
        Suite { source: Arc::clone(self.source), targets: self.targets(root), timeout, tests }
    }

    fn targets(&mut self, root: &ConfigNode) -> Vec<SuiteTarget> {
        let entry: Vec<ConfigMember> = root
            .members()
            .iter()
            .filter(|member| SERVER_KEYS.iter().any(|key| key.name == member.key))
            .cloned()
            .collect();
        let own = entry.iter().find(|member| matches!(member.key.as_str(), "url" | "command"));
        let words = root.get("target");
        if let (Some(own), Some(_)) = (own, words) {
            self.fault(own.offset, format!("'{}' and 'target' cannot be used together", own.key));
        }
        let stray = entry.iter().find(|member| member.key != "timeout").filter(|_| own.is_none());
        if let Some(stray) = stray {
            self.fault(stray.offset, format!("'{}' needs 'url' or 'command' in the same file", stray.key));
        }
        if let Some(own) = own {
            let member = ConfigMember {
                key: "suite".to_owned(),
                offset: own.offset,
                value: ConfigNode { value: ConfigValue::Table(entry.clone()), offset: own.offset },
            };
            return vec![SuiteTarget::Entry(Box::new(ConfiguredServer::new(self.source, &member)))];
        }
        let values = words.map(|member| string_values(&member.value)).unwrap_or_default();
        let mut word =
            |(text, at)| Located { value: self.templates.text(text, at, None), line: self.source.line_at(at) };
        values.into_iter().map(|text| SuiteTarget::Word(word(text))).collect()
    }

    fn test(&mut self, node: &ConfigNode, number: usize) -> Option<SuiteTest> {
        self.check_keys(node, [ACTION_KEYS, TEST_KEYS], &[], "[[test]]");
        let names: Vec<&str> = ACTION_KEYS.iter().map(|key| key.name).collect();
        let actions: Vec<&ConfigMember> =
            node.members().iter().filter(|member| names.contains(&member.key.as_str())).collect();
        let [action] = actions.as_slice() else {
            let message = match actions.as_slice() {
                [] => format!("the test does nothing: it needs one of {}", names.join(", ")),
                all => format!("the test has both '{}' and '{}'", all[0].key, all[1].key),
            };
            let at = actions.get(1).map_or(node.offset, |member| member.offset);
            self.fault(at, message);
            return None;
        };
        self.templates.uses.clear();
        let written = action.value.as_str().unwrap_or_default();
        let subject = self.templates.text(written, action.value.offset, Some(&self.captured));
        let name = match node.get("name").and_then(|member| member.value.as_str()) {
            Some(name) => name.to_owned(),
            // Names are printed and are those of snapshots: no secret may be in them.
            None => format!("{number}: {} {written}", action.key),
        };
        if !self.names.insert(name.clone()) {
            let at = node.get("name").map_or(node.offset, |member| member.offset);
            self.fault(at, format!("there are two tests with the name '{name}'"));
        }
        let action = Self::action(action, subject)?;
        let args = self.table(node, "args");
        if matches!(action, TestAction::Prompt(_)) {
            self.check_prompt_arguments(node);
        }
        let mut expectations = self.expectations(node);
        let fails = self.failure_class(node);
        let message = self.regex(node, "message");
        if let (Some(message), None) = (&message, &fails) {
            self.templates.faults.push(ConfigDiagnostic {
                line: message.line,
                ..ConfigDiagnostic::at(self.source, 0, "'message' needs 'fails'")
            });
        }
        for (key, valid) in [
            ("validate", matches!(action, TestAction::Call(_))),
            ("structured", matches!(action, TestAction::Call(_))),
            ("args", !matches!(action, TestAction::Read(_) | TestAction::List(_))),
            ("volatile", node.get("snapshot").is_some()),
        ] {
            if let Some(member) = node.get(key).filter(|_| !valid) {
                self.fault(member.offset, format!("'{key}' does not apply to this test"));
            }
        }
        expectations.sort_by_key(|expectation| expectation.line);
        let captures = self.captures(node);
        let volatile = self.volatile_paths(node);
        let max_time = node
            .get("max_time")
            .and_then(|member| Some(Located { value: duration(&member.value)?, line: self.line(member.offset) }));
        let flag = |name: &str| node.get(name).map(|member| member.value.value == ConfigValue::Bool(true));
        let snapshot = node.get("snapshot").filter(|_| flag("snapshot") == Some(true));
        let uses = std::mem::take(&mut self.templates.uses);
        self.captured.extend(captures.iter().map(|capture| capture.value.0.clone()));
        Some(SuiteTest {
            name,
            line: self.line(node.offset),
            action,
            args,
            expectations,
            fails,
            message,
            captures,
            snapshot: snapshot.map(|member| self.line(member.offset)),
            volatile,
            needs_effects: node.get("requires").is_some(),
            validate: flag("validate") != Some(false),
            max_time,
            uses,
        })
    }

    fn action(member: &ConfigMember, subject: String) -> Option<TestAction> {
        Some(match member.key.as_str() {
            "call" => TestAction::Call(subject),
            "read" => TestAction::Read(subject),
            "prompt" => TestAction::Prompt(subject),
            "request" => TestAction::Request(subject),
            // An unknown word was reported with the types.
            _ => TestAction::List(LIST_WORDS.iter().find(|(word, _)| *word == subject)?.1),
        })
    }

    fn check_prompt_arguments(&mut self, node: &ConfigNode) {
        let arguments = node.get("args").map(|member| member.value.members()).unwrap_or_default();
        for argument in arguments.iter().filter(|argument| argument.value.as_str().is_none()) {
            let message = format!("'{}' must be a string, as every argument of a prompt", argument.key);
            self.fault(argument.value.offset, message);
        }
    }

    fn table(&mut self, node: &ConfigNode, key: &str) -> Map<String, Value> {
        match node.get(key).map(|member| self.value(&member.value)) {
            Some(Value::Object(members)) => members,
            _ => Map::new(),
        }
    }

    /// A value as JSON, references expanded.
    fn value(&mut self, node: &ConfigNode) -> Value {
        match &node.value {
            ConfigValue::String(text) => Value::String(self.templates.text(text, node.offset, Some(&self.captured))),
            ConfigValue::Integer(number) => Value::from(*number),
            ConfigValue::Float(number) => Number::from_f64(*number).map_or_else(
                || {
                    self.fault(node.offset, "JSON has no value for inf and nan");
                    Value::Null
                },
                Value::Number,
            ),
            ConfigValue::Bool(yes) => Value::Bool(*yes),
            ConfigValue::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            ConfigValue::Table(members) => {
                members.iter().map(|member| (member.key.clone(), self.value(&member.value))).collect()
            }
            ConfigValue::Unsupported(name) => {
                self.fault(node.offset, format!("JSON has no value for {name}: write it as a string"));
                Value::Null
            }
        }
    }

    fn expectations(&mut self, node: &ConfigNode) -> Vec<Expectation> {
        let mut all = Vec::new();
        for member in node.members() {
            let line = self.line(member.value.offset);
            let text = |reader: &mut Self| {
                let text = member.value.as_str().unwrap_or_default();
                reader.templates.text(text, member.value.offset, Some(&reader.captured))
            };
            let check = match member.key.as_str() {
                "text" => Check::Text(text(self)),
                "contains" => Check::Contains(text(self)),
                "matches" => match self.regex(node, "matches") {
                    Some(regex) => Check::Matches(regex.value),
                    None => continue,
                },
                "structured" => Check::Structured(self.table(node, "structured")),
                "expect" => {
                    for (expression, at) in string_values(&member.value) {
                        let expression = self.expression(expression, at);
                        all.push(Located { value: Check::Expression(expression), line: self.line(at) });
                    }
                    continue;
                }
                _ => continue,
            };
            all.push(Located { value: check, line });
        }
        all
    }

    /// A jq expression that compiles.
    fn expression(&mut self, written: &str, at: usize) -> String {
        let expression = self.templates.text(written, at, Some(&self.captured));
        if let Err(failure) = JqFilter::new(&Captures::default().fill_expression(&expression), Vec::new) {
            let why = failure.details().causes.first().map(|cause| format!(": {cause}")).unwrap_or_default();
            self.fault(at, format!("'{written}' is not a valid jq expression{why}"));
        }
        expression
    }

    fn regex(&mut self, node: &ConfigNode, key: &str) -> Option<Located<String>> {
        let member = node.get(key)?;
        let written = member.value.as_str()?;
        let text = self.templates.text(written, member.value.offset, Some(&self.captured));
        if expect::matches(&Captures::default().fill_text(&text), "").is_err() {
            self.fault(member.value.offset, format!("'{written}' is not a valid regular expression"));
        }
        Some(Located { value: text, line: self.line(member.value.offset) })
    }

    fn failure_class(&self, node: &ConfigNode) -> Option<Located<ErrorKind>> {
        let member = node.get("fails")?;
        let word = member.value.as_str()?;
        // An unknown class was reported with the types.
        let kind = FAILURE_CLASSES.into_iter().find(|kind| kind.as_str() == word)?;
        Some(Located { value: kind, line: self.line(member.value.offset) })
    }

    fn captures(&mut self, node: &ConfigNode) -> Vec<Located<(String, String)>> {
        let Some(member) = node.get("capture") else { return Vec::new() };
        let mut all = Vec::new();
        for pair in member.value.members() {
            let Some(written) = pair.value.as_str() else { continue };
            let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if !pair.key.chars().all(valid) || pair.key.starts_with(|c: char| c.is_ascii_digit()) {
                self.fault(pair.offset, format!("'{}' cannot be the name of a capture: use A-Z a-z 0-9 _", pair.key));
            }
            let expression = self.expression(written, pair.value.offset);
            all.push(Located { value: (pair.key.clone(), expression), line: self.line(pair.offset) });
        }
        all
    }

    /// The paths of `volatile`.
    fn volatile_paths(&mut self, node: &ConfigNode) -> Vec<String> {
        let Some(member) = node.get("volatile") else { return Vec::new() };
        let mut all = Vec::new();
        for (path, at) in string_values(&member.value) {
            if JqFilter::new(&format!("del({path})"), Vec::new).is_err() {
                self.fault(at, format!("'{path}' is not a valid jq path, such as .content[0].text"));
            }
            all.push(path.to_owned());
        }
        all
    }
}

/// The strings of a string or of an array of strings, each with its offset.
fn string_values(node: &ConfigNode) -> Vec<(&str, usize)> {
    match &node.value {
        ConfigValue::Array(items) => items.iter().filter_map(|item| Some((item.as_str()?, item.offset))).collect(),
        _ => node.as_str().map(|text| (text, node.offset)).into_iter().collect(),
    }
}

fn duration(node: &ConfigNode) -> Option<Duration> {
    match &node.value {
        ConfigValue::Integer(seconds) => u64::try_from(*seconds).ok().map(Duration::from_secs),
        ConfigValue::Float(seconds) => Duration::try_from_secs_f64(*seconds).ok(),
        ConfigValue::String(text) => parse_duration(text).ok(),
        _ => None,
    }
}

/// What is wrong with the type of a value, to follow the key's name, and where.
fn check_type(kind: FieldType, node: &ConfigNode) -> Result<(), (usize, String)> {
    let must = |what: &str| Err((node.offset, format!("must be {what}, not {}", node.type_name())));
    match kind {
        FieldType::Text if node.as_str().is_some() => Ok(()),
        FieldType::Text => must("a string"),
        FieldType::Texts => match &node.value {
            ConfigValue::String(_) => Ok(()),
            ConfigValue::Array(items) => match items.iter().find(|item| item.as_str().is_none()) {
                Some(other) => Err((other.offset, format!("must contain only strings, not {}", other.type_name()))),
                None => Ok(()),
            },
            _ => must("a string or an array of strings"),
        },
        FieldType::Flag if matches!(node.value, ConfigValue::Bool(_)) => Ok(()),
        FieldType::Flag => must("true or false"),
        FieldType::Time if duration(node).is_some() => Ok(()),
        FieldType::Time => {
            let written = match &node.value {
                ConfigValue::String(text) => format!("'{text}'"),
                ConfigValue::Integer(number) => number.to_string(),
                ConfigValue::Float(number) => number.to_string(),
                _ => node.type_name().to_owned(),
            };
            Err((node.offset, format!("must be a time such as \"2s\", not {written}")))
        }
        FieldType::Table if matches!(node.value, ConfigValue::Table(_)) => Ok(()),
        FieldType::Table => must("a table"),
        FieldType::Names => match &node.value {
            ConfigValue::Table(members) => match members.iter().find(|member| member.value.as_str().is_none()) {
                Some(other) => {
                    Err((other.value.offset, format!("must contain only strings, not {}", other.value.type_name())))
                }
                None => Ok(()),
            },
            _ => must("a table of strings"),
        },
        FieldType::Tests => match &node.value {
            ConfigValue::Array(items) if items.iter().all(|item| matches!(item.value, ConfigValue::Table(_))) => Ok(()),
            _ => must("tables, each under [[test]]"),
        },
        FieldType::Choice(words) => match node.as_str() {
            Some(word) if words.contains(&word) => Ok(()),
            Some(word) => Err((node.offset, format!("must be one of {}, not '{word}'", words.join(", ")))),
            None => must("a string"),
        },
    }
}
