//! One `name=value` word of the command line, and the sources of its value: the word itself, a file, standard input.

use std::io;

use base64::Engine;
use serde_json::Value;

use crate::schema::ValueProblem;
use crate::util::json_error::json_fault_at;
use crate::util::quoting::{quote, quote_without_secrets};
use crate::util::secret_names::looks_secret;

/// Where the contents of `@FILE` and of standard input come from.
pub trait ArgumentReader {
    /// The bytes of a file, by the path as it was typed.
    ///
    /// # Errors
    /// The file cannot be read.
    fn read_file(&mut self, path: &str) -> io::Result<Vec<u8>>;

    /// All bytes of standard input, which should be `what`. Called at most once.
    ///
    /// # Errors
    /// Standard input cannot be read.
    fn read_stdin(&mut self, what: &str) -> io::Result<Vec<u8>>;
}

/// A word, split at its first `=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NameValue<'a> {
    /// The text before `=` or `:=`.
    pub name: &'a str,
    /// The text after it.
    value_text: &'a str,
    /// Whether it was `:=`.
    is_json: bool,
}

impl<'a> NameValue<'a> {
    /// `None` if there is no `=`, or no name before it.
    pub fn parse(word: &'a str) -> Option<NameValue<'a>> {
        let (name, rest) = word.split_once('=')?;
        let (name, raw) = match name.strip_suffix(':') {
            Some(name) => (name, true),
            None => (name, false),
        };
        (!name.is_empty()).then_some(NameValue { name, value_text: rest, is_json: raw })
    }
}

/// The value of one word.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ArgValue {
    /// The content.
    pub content: ArgContent,
    /// Whether messages must not show it: it came from a file or from standard input.
    pub is_hidden: bool,
}

/// The content of a word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ArgContent {
    /// A word to be typed by the schema.
    Inline(String),
    /// The source (a file, `-` for standard input) and its bytes, to be typed by the schema: text, or base64 if the
    /// schema says so.
    File(String, Vec<u8>),
    /// Bytes to be sent as base64 whatever the schema says.
    Base64(Vec<u8>),
    /// A JSON value as it is.
    Json(Value),
}

impl ArgValue {
    /// A value that was typed as JSON.
    pub fn from_json(value: Value) -> ArgValue {
        ArgValue { content: ArgContent::Json(value), is_hidden: false }
    }
}

/// Reads values from their sources; standard input only once.
pub(super) struct ArgSources<'r> {
    reader: &'r mut dyn ArgumentReader,
    stdin_was_read: bool,
}

impl<'r> ArgSources<'r> {
    pub fn new(reader: &'r mut dyn ArgumentReader) -> Self {
        ArgSources { reader, stdin_was_read: false }
    }

    /// The value of `--args`, and whether it came from a file or from standard input.
    pub fn read_base_object(&mut self, text: &str) -> Result<(Value, bool), ValueProblem> {
        let source = if text == "-" { Some("-") } else { text.strip_prefix('@') };
        let Some(source) = source else {
            let value = parse_json(text.as_bytes(), "--args");
            return value
                .map(|value| (value, false))
                .map_err(|message| ValueProblem::new(&[], message).with_suggestion(suggest_object(text)));
        };
        let bytes = self
            .read_source(source, "the arguments as JSON")
            .map_err(|message| ValueProblem::new(&[], format!("--args: {message}")))?;
        let value = parse_json(&bytes, &format!("--args: {}", source_name(source)));
        value.map(|value| (value, true)).map_err(|message| ValueProblem::new(&[], message))
    }

    /// The value of a word. The caller sets the path of a problem.
    pub fn read_value(&mut self, word: &NameValue<'_>) -> Result<ArgValue, ValueProblem> {
        let problem = |message: String| ValueProblem::for_parameter(word.name, message);
        let what = format!("the value of {}", word.name);
        match (word.value_text.strip_prefix('@'), word.is_json) {
            (None, false) => Ok(ArgValue { content: ArgContent::Inline(word.value_text.to_owned()), is_hidden: false }),
            (None, true) => match parse_json(word.value_text.as_bytes(), "the value") {
                Ok(value) => Ok(ArgValue::from_json(value)),
                Err(message) => {
                    let plain = format!("to pass a string: {}=…", word.name);
                    let problem = problem(message).with_suggestion(Some(plain));
                    Err(if looks_secret(word.name) { problem } else { problem.with_text(word.value_text) })
                }
            },
            (Some(literal), false) if literal.starts_with('@') => {
                Ok(ArgValue { content: ArgContent::Inline(literal.to_owned()), is_hidden: false })
            }
            (Some(source), false) if source.starts_with("b64:") => {
                let bytes = self.read_source(&source["b64:".len()..], &what).map_err(problem)?;
                Ok(ArgValue { content: ArgContent::Base64(bytes), is_hidden: true })
            }
            (Some(source), raw) => {
                let literal = || (!raw).then(|| format!("to pass the text itself: {}=@@{source}", word.name));
                let bytes =
                    self.read_source(source, &what).map_err(|message| problem(message).with_suggestion(literal()))?;
                let content = if raw {
                    ArgContent::Json(parse_json(&bytes, &source_name(source)).map_err(problem)?)
                } else {
                    ArgContent::File(source.to_owned(), bytes)
                };
                Ok(ArgValue { content, is_hidden: true })
            }
        }
    }

    fn read_source(&mut self, source: &str, what: &str) -> Result<Vec<u8>, String> {
        match source {
            "" => Err("the file name after @ is missing".to_owned()),
            "-" if self.stdin_was_read => Err("standard input can only be used once".to_owned()),
            "-" => {
                self.stdin_was_read = true;
                self.reader.read_stdin(what).map_err(|error| format!("cannot read standard input: {error}"))
            }
            path => self.reader.read_file(path).map_err(|error| format!("cannot read {path}: {error}")),
        }
    }
}

/// Bytes as base64, as the specification writes binary content (RFC 4648, section 4).
pub(super) fn encode_base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// What messages call a source.
pub(super) fn source_name(source: &str) -> String {
    if source == "-" { "standard input".to_owned() } else { source.to_owned() }
}

/// What may have been meant by a text that is not a JSON object: a file, or one argument.
fn suggest_object(text: &str) -> Option<String> {
    if text.contains(['{', '[', '"']) || text.trim().is_empty() {
        return None;
    }
    Some(match NameValue::parse(text) {
        Some(_) => format!("without --args: {}", quote_without_secrets(&[text]).concat()),
        None if text.contains(':') => r#"write it as '{"name": "value"}'"#.to_owned(),
        None => format!("for a file: --args {}", quote(&format!("@{text}"))),
    })
}

/// Parses JSON; a byte order mark before it is ignored.
///
/// # Errors
/// What is wrong with it; `name` is what it is called.
pub fn parse_json(bytes: &[u8], name: &str) -> Result<Value, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        return Err(format!("{name} is empty, expected JSON"));
    }
    serde_json::from_slice(bytes).map_err(|error| format!("{name} is not JSON: {}", json_fault_at(&error)))
}
