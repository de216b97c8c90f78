//! One word of the command line: its name, what it gives, and where that is read from.

use std::io;

use serde_json::Value;

use crate::schema::Problem;

/// Where the contents of `@FILE` and of standard input come from.
pub trait Reader {
    /// The bytes of a file, by the path as it was typed.
    ///
    /// # Errors
    /// The file cannot be read.
    fn file(&mut self, path: &str) -> io::Result<Vec<u8>>;

    /// All bytes of standard input. Called at most once.
    ///
    /// # Errors
    /// Standard input cannot be read.
    fn stdin(&mut self) -> io::Result<Vec<u8>>;
}

/// A word, split at its first `=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    /// What stands before `=` or `:=`.
    pub name: &'a str,
    /// What stands after it.
    rest: &'a str,
    /// Whether it was `:=`.
    raw: bool,
}

impl<'a> Word<'a> {
    /// `None` where there is no `=`, or no name before it.
    pub fn parse(word: &'a str) -> Option<Word<'a>> {
        let (name, rest) = word.split_once('=')?;
        let (name, raw) = match name.strip_suffix(':') {
            Some(name) => (name, true),
            None => (name, false),
        };
        (!name.is_empty()).then_some(Word { name, rest, raw })
    }
}

/// What one word gives.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Given {
    /// The content.
    pub content: Content,
    /// Whether messages must not repeat it: it came from a file or from standard input.
    pub hidden: bool,
}

/// The content of a word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// A word to be typed by the schema.
    Word(String),
    /// A whole text to be typed by the schema.
    Text(String),
    /// A JSON value as it is.
    Json(Value),
}

impl Given {
    /// A value that was typed as JSON.
    pub fn json(value: Value) -> Given {
        Given { content: Content::Json(value), hidden: false }
    }
}

/// What can be read, and what has been.
pub(super) struct Inputs<'r> {
    reader: &'r mut dyn Reader,
    stdin_used: bool,
}

impl<'r> Inputs<'r> {
    pub fn new(reader: &'r mut dyn Reader) -> Self {
        Inputs { reader, stdin_used: false }
    }

    /// The value of `--args`, and whether it came from elsewhere than the command line.
    pub fn object(&mut self, text: &str) -> Result<(Value, bool), Problem> {
        let source = if text == "-" { Some("-") } else { text.strip_prefix('@') };
        let Some(source) = source else {
            let value = json(text.as_bytes(), "--args");
            return value.map(|value| (value, false)).map_err(|message| Problem::new(&[], message));
        };
        let bytes = self.bytes(source).map_err(|message| Problem::new(&[], format!("--args: {message}")))?;
        let value = json(&bytes, &format!("--args: {}", name_of(source)));
        value.map(|value| (value, true)).map_err(|message| Problem::new(&[], message))
    }

    /// What a word gives. The path of a problem is the caller's to set.
    pub fn given(&mut self, word: &Word<'_>) -> Result<Given, Problem> {
        let problem = |message: String| Problem::of(word.name, message);
        match (word.rest.strip_prefix('@'), word.raw) {
            (None, false) => Ok(Given { content: Content::Word(word.rest.to_owned()), hidden: false }),
            (None, true) => match json(word.rest.as_bytes(), "the value") {
                Ok(value) => Ok(Given::json(value)),
                Err(message) => {
                    let plain = format!("for plain text write {}=…", word.name);
                    Err(problem(message).got_text(word.rest).suggest(Some(plain)))
                }
            },
            (Some(literal), false) if literal.starts_with('@') => {
                Ok(Given { content: Content::Word(literal.to_owned()), hidden: false })
            }
            (Some(source), raw) => {
                let literal = || (!raw).then(|| format!("for the text itself write {}=@@{source}", word.name));
                let bytes = self.bytes(source).map_err(|message| problem(message).suggest(literal()))?;
                let content = if raw {
                    Content::Json(json(&bytes, &name_of(source)).map_err(problem)?)
                } else {
                    let text = String::from_utf8(bytes);
                    Content::Text(text.map_err(|_| problem(format!("{} is not UTF-8 text", name_of(source))))?)
                };
                Ok(Given { content, hidden: true })
            }
        }
    }

    fn bytes(&mut self, source: &str) -> Result<Vec<u8>, String> {
        match source {
            "" => Err("no file is named after the @".to_owned()),
            "-" if self.stdin_used => Err("standard input can be used once only".to_owned()),
            "-" => {
                self.stdin_used = true;
                self.reader.stdin().map_err(|error| format!("cannot read standard input: {error}"))
            }
            path => self.reader.file(path).map_err(|error| format!("cannot read {path}: {error}")),
        }
    }
}

fn name_of(source: &str) -> String {
    if source == "-" { "standard input".to_owned() } else { source.to_owned() }
}

/// Parses JSON; a byte order mark before it does not count.
fn json(bytes: &[u8], name: &str) -> Result<Value, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        return Err(format!("{name} is empty, not JSON"));
    }
    serde_json::from_slice(bytes).map_err(|error| format!("{name} is not JSON: {error}"))
}
