//! References in the strings of a suite: variables and secrets are expanded when it is read, captures when a test runs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::config::origin::{ConfigDiagnostic, ConfigFile};
use crate::config::value::expand::{ExpandError, TemplatePart, VariableScope, expand, parse_template};
use crate::config::value::secrets::{SecretRequest, Secrets};
use crate::env::Environment;
use crate::util::secret_names::looks_secret;

/// Encloses the name of a capture in an expanded string. TOML allows no such character in a string, except escaped.
const MARK: char = '\u{1}';

/// Expands the strings of one suite.
pub(super) struct TemplateReader<'a> {
    source: &'a Arc<ConfigFile>,
    environment: &'a Environment,
    secrets: &'a Secrets<'a>,
    /// What is wrong.
    pub faults: Vec<ConfigDiagnostic>,
    /// The captures that were referred to.
    pub uses: Vec<String>,
}

impl<'a> TemplateReader<'a> {
    pub fn new(source: &'a Arc<ConfigFile>, environment: &'a Environment, secrets: &'a Secrets<'a>) -> Self {
        TemplateReader { source, environment, secrets, faults: Vec::new(), uses: Vec::new() }
    }

    /// A string with variables and secrets expanded. References to a capture stay, marked.
    pub fn text(&mut self, text: &str, at: usize, captured: &HashSet<String>) -> String {
        match self.expand(text, captured) {
            Ok(expanded) => expanded,
            Err(problem) => {
                let fault = match &problem {
                    ExpandError::UnsetVariable(name) => ConfigDiagnostic::at(
                        self.source,
                        at,
                        format!("'${{{name}}}' is neither captured by an earlier test nor an environment variable"),
                    )
                    .hint(format!("capture it: capture = {{ {name} = '.structuredContent.id' }}")),
                    ExpandError::Secret(why) => ConfigDiagnostic {
                        cause: why.cause.clone(),
                        hint: why.hint.clone(),
                        ..ConfigDiagnostic::at(self.source, at, problem.to_string())
                    },
                    _ => ConfigDiagnostic::at(self.source, at, problem.to_string()),
                };
                self.faults.push(fault);
                text.to_owned()
            }
        }
    }

    fn expand(&mut self, text: &str, captured: &HashSet<String>) -> Result<String, ExpandError> {
        if !text.contains("${") {
            return Ok(text.to_owned());
        }
        let mut out = String::new();
        for part in parse_template(text)? {
            let reference = match part {
                TemplatePart::Literal(literal) => {
                    out.push_str(literal);
                    continue;
                }
                TemplatePart::Variable(name, _) if captured.contains(name) => {
                    out.extend([MARK.to_string().as_str(), name, MARK.to_string().as_str()]);
                    if !self.uses.iter().any(|used| used == name) {
                        self.uses.push(name.to_owned());
                    }
                    continue;
                }
                TemplatePart::Variable(name, None) => format!("${{{name}}}"),
                TemplatePart::Variable(name, Some(default)) => format!("${{{name}:-{default}}}"),
                TemplatePart::Keychain(name) => format!("${{keychain:{name}}}"),
                TemplatePart::Command(line) => format!("${{command:{line}}}"),
            };
            let directory = self.source.directory();
            let mut secret = |reference| {
                self.secrets.get(&SecretRequest { reference, config_dir: directory.to_owned(), working_dir: None })
            };
            out.push_str(&expand(&reference, VariableScope::environment_only(self.environment), &mut secret)?);
        }
        Ok(out)
    }
}

/// The values in a suite that must not be printed: secrets, and variables that are named like one.
pub(super) fn secrets_in(
    text: &str,
    environment: &Environment,
    secrets: &Secrets<'_>,
    source: &ConfigFile,
) -> Vec<String> {
    let mut found = Vec::new();
    for part in parse_template(text).unwrap_or_default() {
        let reference = match part {
            TemplatePart::Variable(name, _) if looks_secret(name) => {
                found.extend(environment.get(name).map(ToOwned::to_owned));
                continue;
            }
            TemplatePart::Keychain(name) => format!("${{keychain:{name}}}"),
            TemplatePart::Command(line) => format!("${{command:{line}}}"),
            TemplatePart::Variable(..) | TemplatePart::Literal(_) => continue,
        };
        let directory = source.directory();
        let mut secret =
            |reference| secrets.get(&SecretRequest { reference, config_dir: directory.to_owned(), working_dir: None });
        found.extend(expand(&reference, VariableScope::environment_only(environment), &mut secret).ok());
    }
    found
}

/// The values that tests have captured.
#[derive(Clone, Debug, Default)]
pub(super) struct Captures(HashMap<String, Value>);

impl Captures {
    pub fn insert(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A text with the captures filled in.
    pub fn fill_text(&self, text: &str) -> String {
        self.fill(text, |value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// A jq expression with the captures filled in, inside of its string literals.
    pub fn fill_expression(&self, expression: &str) -> String {
        self.fill(expression, |value| match value {
            Value::String(text) => {
                let quoted = Value::String(text.clone()).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
            other => other.to_string(),
        })
    }

    fn fill(&self, text: &str, show: impl Fn(&Value) -> String) -> String {
        let mut out = String::new();
        for (n, part) in text.split(MARK).enumerate() {
            match self.0.get(part).filter(|_| n % 2 == 1) {
                Some(value) => out.push_str(&show(value)),
                None => out.push_str(part),
            }
        }
        out
    }

    /// A value with the captures filled in. A string that is one reference takes the captured value with its type.
    fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => {
                let whole = text.strip_prefix(MARK).and_then(|rest| rest.strip_suffix(MARK));
                match whole.and_then(|name| self.0.get(name)) {
                    Some(value) => value.clone(),
                    None => Value::String(self.fill_text(text)),
                }
            }
            Value::Array(items) => items.iter().map(|item| self.fill_value(item)).collect(),
            Value::Object(members) => Value::Object(self.fill_table(members)),
            other => other.clone(),
        }
    }

    pub fn fill_table(&self, members: &Map<String, Value>) -> Map<String, Value> {
        members.iter().map(|(name, value)| (name.clone(), self.fill_value(value))).collect()
    }
}
