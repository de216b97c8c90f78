//! References in the strings of a suite: variables and secrets are expanded when it is read, captures when a test runs.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::config::origin::{ConfigDiagnostic, ConfigFile};
use crate::config::value::expand::{ExpandError, TemplatePart, VariableScope, expand, parse_template};
use crate::config::value::secrets::{SecretRequest, Secrets};
use crate::env::Environment;
use crate::util::secret_names::looks_secret;

/// Encloses a reference to a capture in an expanded string: `NAME`, or `NAME:LENGTH:FALLBACK` with what applies without
/// the capture. Twice, it is the character itself.
const MARK: char = '\u{1}';
/// What stands for a capture whose value is not known, in an expression that is only compiled.
const UNKNOWN: &str = "0";

/// Expands the strings of one suite.
pub(super) struct TemplateReader<'a> {
    source: &'a Arc<ConfigFile>,
    environment: &'a Environment,
    secrets: &'a Secrets<'a>,
    /// What is wrong.
    pub faults: Vec<ConfigDiagnostic>,
    /// The captures that were referred to and for which nothing else applies.
    pub uses: Vec<String>,
}

impl<'a> TemplateReader<'a> {
    pub fn new(source: &'a Arc<ConfigFile>, environment: &'a Environment, secrets: &'a Secrets<'a>) -> Self {
        TemplateReader { source, environment, secrets, faults: Vec::new(), uses: Vec::new() }
    }

    /// A string with variables and secrets expanded. References to a capture stay, marked; `captured` is `None` where
    /// there can be none.
    pub fn text(&mut self, text: &str, at: usize, captured: Option<&HashSet<String>>) -> String {
        match self.expand(text, captured) {
            Ok(expanded) => expanded,
            Err(problem) => {
                let fault = match &problem {
                    ExpandError::UnsetVariable(name) if captured.is_some() => ConfigDiagnostic::at(
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

    fn expand(&mut self, text: &str, captured: Option<&HashSet<String>>) -> Result<String, ExpandError> {
        let mut out = String::new();
        for part in parse_template(text)? {
            let reference = match part {
                TemplatePart::Literal(literal) => {
                    out.push_str(&without_marks(literal));
                    continue;
                }
                TemplatePart::Variable(name, default) if captured.is_some_and(|all| all.contains(name)) => {
                    let value = self.environment.get_raw(name).filter(|value| default.is_none() || !value.is_empty());
                    let fallback = match (value, default) {
                        (Some(value), _) => Some(without_marks(value)),
                        (None, default) => default.map(|text| self.expand(text, captured)).transpose()?,
                    };
                    match fallback {
                        Some(fallback) => out += &format!("{MARK}{name}:{}:{fallback}{MARK}", fallback.len()),
                        None => {
                            out += &format!("{MARK}{name}{MARK}");
                            if !self.uses.iter().any(|used| used == name) {
                                self.uses.push(name.to_owned());
                            }
                        }
                    }
                    continue;
                }
                TemplatePart::Variable(name, Some(default)) if self.environment.get(name).is_none() => {
                    out += &self.expand(default, captured)?;
                    continue;
                }
                TemplatePart::Variable(name, _) => format!("${{{name}}}"),
                TemplatePart::Keychain(name) => format!("${{keychain:{name}}}"),
                TemplatePart::Command(line) => format!("${{command:{line}}}"),
            };
            let directory = self.source.directory();
            let mut secret = |reference| {
                self.secrets.get(&SecretRequest { reference, config_dir: directory.to_owned(), working_dir: None })
            };
            let scope = VariableScope::environment_only(self.environment);
            out.push_str(&without_marks(&expand(&reference, scope, &mut secret)?));
        }
        Ok(out)
    }
}

/// A text in which nothing looks like a reference to a capture.
fn without_marks(text: &str) -> String {
    text.replace(MARK, "\u{1}\u{1}")
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
            TemplatePart::Variable(name, default) => {
                match (environment.get(name), default) {
                    (Some(value), _) if looks_secret(name) => found.push(value.to_owned()),
                    (None, Some(default)) => found.extend(secrets_in(default, environment, secrets, source)),
                    _ => {}
                }
                continue;
            }
            TemplatePart::Keychain(name) => format!("${{keychain:{name}}}"),
            TemplatePart::Command(line) => format!("${{command:{line}}}"),
            TemplatePart::Literal(_) => continue,
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
        pieces(text).into_iter().map(|piece| self.piece_text(piece)).collect()
    }

    fn piece_text<'a>(&'a self, piece: TextPiece<'a>) -> Cow<'a, str> {
        match piece {
            TextPiece::Text(text) => text.into(),
            TextPiece::Capture(name, fallback) => match (self.0.get(name), fallback) {
                (Some(Value::String(text)), _) => text.into(),
                (Some(other), _) => other.to_string().into(),
                (None, Some(fallback)) => self.fill_text(fallback).into(),
                (None, None) => UNKNOWN.into(),
            },
        }
    }

    /// A jq expression with the captures filled in: in a string literal their text, elsewhere their value as JSON.
    pub fn fill_expression(&self, expression: &str) -> String {
        let (mut out, mut place) = (String::new(), JqPlace::default());
        for piece in pieces(expression) {
            match piece {
                TextPiece::Text(text) => {
                    place.pass(text);
                    out.push_str(text);
                }
                TextPiece::Capture(..) if place.is_in_string => {
                    let quoted = Value::String(self.piece_text(piece).into_owned()).to_string();
                    out.push_str(&quoted[1..quoted.len() - 1]);
                }
                // As it is, like the default of any other reference.
                TextPiece::Capture(name, Some(fallback)) if !self.0.contains_key(name) => {
                    let text = self.fill_expression(fallback);
                    place.pass(&text);
                    out += &text;
                }
                TextPiece::Capture(name, fallback) => out += &self.capture_value(name, fallback).to_string(),
            }
        }
        out
    }

    fn capture_value(&self, name: &str, fallback: Option<&str>) -> Value {
        let other = || fallback.map_or(Value::from(UNKNOWN), |fallback| self.fill_text(fallback).into());
        self.0.get(name).cloned().unwrap_or_else(other)
    }

    /// A value with the captures filled in. A string that is one reference takes the captured value with its type.
    fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => match *pieces(text) {
                [TextPiece::Capture(name, fallback)] => self.capture_value(name, fallback),
                _ => Value::String(self.fill_text(text)),
            },
            Value::Array(items) => items.iter().map(|item| self.fill_value(item)).collect(),
            Value::Object(members) => Value::Object(self.fill_table(members)),
            other => other.clone(),
        }
    }

    pub fn fill_table(&self, members: &Map<String, Value>) -> Map<String, Value> {
        members.iter().map(|(name, value)| (name.clone(), self.fill_value(value))).collect()
    }
}

/// A part of an expanded string.
#[derive(Clone, Copy)]
enum TextPiece<'a> {
    Text(&'a str),
    /// The name of a capture, and what applies without it.
    Capture(&'a str, Option<&'a str>),
}

/// The parts of an expanded string.
fn pieces(text: &str) -> Vec<TextPiece<'_>> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once(MARK) {
        found.push(TextPiece::Text(before));
        let end = after.find([MARK, ':']).unwrap_or(after.len());
        let (name, more) = after.split_at(end);
        let with_length = more.strip_prefix(':').and_then(|more| more.split_once(':'));
        let fallback = with_length.and_then(|(length, more)| more.split_at_checked(length.parse().ok()?));
        found.push(match fallback {
            Some((fallback, _)) => TextPiece::Capture(name, Some(fallback)),
            None if name.is_empty() => TextPiece::Text("\u{1}"),
            None => TextPiece::Capture(name, None),
        });
        rest = fallback.map_or(more, |(_, more)| more).strip_prefix(MARK).unwrap_or_default();
    }
    found.push(TextPiece::Text(rest));
    found.retain(|piece| !matches!(piece, TextPiece::Text("")));
    found
}

/// A place in a jq expression.
#[derive(Default)]
struct JqPlace {
    is_in_string: bool,
    is_in_comment: bool,
    /// The open parentheses of each interpolation.
    depths: Vec<usize>,
}

impl JqPlace {
    /// Moves on to the end of a text.
    fn pass(&mut self, text: &str) {
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match c {
                _ if self.is_in_comment => self.is_in_comment = c != '\n',
                '\\' if self.is_in_string => {
                    let opens = rest.next() == Some('(');
                    self.is_in_string = !opens;
                    self.depths.extend(opens.then_some(0));
                }
                '"' => self.is_in_string = !self.is_in_string,
                _ if self.is_in_string => {}
                '#' => self.is_in_comment = true,
                '(' => self.depths.last_mut().into_iter().for_each(|depth| *depth += 1),
                ')' if self.depths.last() == Some(&0) => {
                    self.depths.pop();
                    self.is_in_string = true;
                }
                ')' => self.depths.last_mut().into_iter().for_each(|depth| *depth -= 1),
                _ => {}
            }
        }
    }
}
