//! The call form: `tool(name: "value", n: 5)` as one word in place of TOOL.
//!
//! The values are JSON with what people write by hand: single quotes, names without quotes, a comma at the
//! end, `+5`, `.5` and `0x1f`. `=` is taken for `:` between an argument's name and its value.

use serde_json::{Map, Number, Value};

use crate::schema::{Problem, number_text};

/// The deepest nesting of a value.
const DEEPEST: usize = 64;

/// A parsed call form.
#[derive(Clone, Debug, PartialEq)]
pub struct CallForm {
    /// The tool.
    pub tool: String,
    /// Its arguments in order.
    pub arguments: Vec<FormArg>,
}

/// One argument of a call form.
#[derive(Clone, Debug, PartialEq)]
pub struct FormArg {
    /// Its name; `None` where its position tells.
    pub name: Option<String>,
    /// Its value, as it is: a call form is typed by its own syntax.
    pub value: Value,
}

/// Parses a call form; `None` where the word is none, but the name of a tool.
///
/// # Errors
/// The word begins like a call form and does not go on like one; the problem says at which character.
pub fn call_form(word: &str) -> Option<Result<CallForm, Problem>> {
    let (tool, rest) = word.split_once('(')?;
    let tool = tool.trim();
    let is_name =
        |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '\'' | '=' | '{' | '}' | ',' | ')');
    if tool.is_empty() || !tool.chars().all(is_name) {
        return None;
    }
    let before = word[..word.len() - rest.len()].chars().count();
    let mut parser = Parser { chars: rest.chars().collect(), at: 0, before };
    Some(parser.arguments().map(|arguments| CallForm { tool: tool.to_owned(), arguments }))
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    /// How many characters of the word precede the first one here.
    before: usize,
}

impl Parser {
    fn arguments(&mut self) -> Result<Vec<FormArg>, Problem> {
        let mut arguments = Vec::new();
        loop {
            self.blanks();
            if self.take(')') {
                break;
            }
            arguments.push(self.argument()?);
            self.blanks();
            if !self.take(',') && self.peek() != Some(')') {
                return Err(self.wrong("expected , or )"));
            }
        }
        self.blanks();
        self.take(';');
        self.blanks();
        if self.at < self.chars.len() { Err(self.wrong("expected the end after )")) } else { Ok(arguments) }
    }

    fn argument(&mut self) -> Result<FormArg, Problem> {
        let start = self.at;
        if let Ok(name) = self.key() {
            self.blanks();
            if !name.is_empty() && (self.take(':') || self.take('=')) {
                self.blanks();
                return Ok(FormArg { name: Some(name), value: self.value(0)? });
            }
        }
        self.at = start;
        Ok(FormArg { name: None, value: self.value(0)? })
    }

    fn value(&mut self, depth: usize) -> Result<Value, Problem> {
        if depth > DEEPEST {
            return Err(self.wrong("the value is nested too deeply"));
        }
        match self.peek() {
            Some('"' | '\'') => self.string().map(Value::String),
            Some('[') => self.array(depth),
            Some('{') => self.object(depth),
            Some(c) if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number().map(Value::Number),
            Some(c) if c.is_alphabetic() || matches!(c, '_' | '$') => self.word(),
            _ => Err(self.wrong("expected a value")),
        }
    }

    fn word(&mut self) -> Result<Value, Problem> {
        let start = self.at;
        let word = self.run(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '-'));
        match word.as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            _ => {
                self.at = start;
                let problem = self.wrong("expected a value");
                Err(problem.suggest(Some(format!("a text needs quotes: \"{word}\""))))
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Problem> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.blanks();
            if self.take(']') {
                return Ok(Value::Array(items));
            }
            items.push(self.value(depth + 1)?);
            self.blanks();
            if !self.take(',') && self.peek() != Some(']') {
                return Err(self.wrong("expected , or ]"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Problem> {
        self.at += 1;
        let mut members = Map::new();
        loop {
            self.blanks();
            if self.take('}') {
                return Ok(Value::Object(members));
            }
            let name = self.key()?;
            self.blanks();
            if !self.take(':') {
                return Err(self.wrong("expected :"));
            }
            self.blanks();
            let value = self.value(depth + 1)?;
            members.insert(name, value);
            self.blanks();
            if !self.take(',') && self.peek() != Some('}') {
                return Err(self.wrong("expected , or }"));
            }
        }
    }

    /// A member's name, quoted or not.
    fn key(&mut self) -> Result<String, Problem> {
        match self.peek() {
            Some('"' | '\'') => self.string(),
            Some(c) if c.is_alphanumeric() || matches!(c, '_' | '$' | '@') => {
                Ok(self.run(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '-' | '.' | '@' | '/')))
            }
            _ => Err(self.wrong("expected a name")),
        }
    }

    fn string(&mut self) -> Result<String, Problem> {
        let (start, quote) = (self.at, self.peek());
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(c) = self.peek() else {
                self.at = start;
                return Err(self.wrong("this text has no closing quote"));
            };
            if Some(c) == quote {
                self.at += 1;
                return Ok(text);
            }
            self.at += 1;
            if c == '\\' { text.extend(self.escape()?) } else { text.push(c) }
        }
    }

    /// What stands for an escape sequence; the backslash is behind us.
    fn escape(&mut self) -> Result<Option<char>, Problem> {
        let Some(c) = self.peek() else { return Err(self.wrong("expected a character after \\")) };
        self.at += 1;
        Ok(Some(match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '0' if !self.peek().is_some_and(|next| next.is_ascii_digit()) => '\0',
            // A line that goes on.
            '\n' => return Ok(None),
            'x' => self.scalar(2)?,
            'u' => self.scalar(4)?,
            other => other,
        }))
    }

    /// A character by its number: `\x41`, `\u0041`, a pair of surrogates, `\u{1f600}`.
    fn scalar(&mut self, digits: usize) -> Result<char, Problem> {
        let start = self.at;
        let number = if digits == 4 && self.take('{') {
            let number = self.run(|c| c.is_ascii_hexdigit());
            if self.take('}') { u32::from_str_radix(&number, 16).ok() } else { None }
        } else {
            self.hex(digits)
        };
        let number = match number {
            Some(high @ 0xd800..0xdc00) if self.take('\\') && self.take('u') => match self.hex(4) {
                Some(low @ 0xdc00..0xe000) => Some(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)),
                _ => None,
            },
            number => number,
        };
        number.and_then(char::from_u32).ok_or_else(|| {
            self.at = start;
            self.wrong("this is no character's number")
        })
    }

    fn hex(&mut self, digits: usize) -> Option<u32> {
        let text: String = self.chars.get(self.at..self.at + digits)?.iter().collect();
        self.at += digits;
        text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(&text, 16).ok()).flatten()
    }

    fn number(&mut self) -> Result<Number, Problem> {
        let start = self.at;
        let text = self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_'));
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => ("-", rest),
            None => ("", text.strip_prefix('+').unwrap_or(&text)),
        };
        let number = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
            Some(hex) if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                u128::from_str_radix(hex, 16).ok().and_then(|number| number_text(&format!("{sign}{number}")))
            }
            Some(_) => None,
            None => {
                let lead = if digits.starts_with('.') { "0" } else { "" };
                number_text(&format!("{sign}{lead}{}", digits.strip_suffix('.').unwrap_or(digits)))
            }
        };
        number.ok_or_else(|| {
            self.at = start;
            self.wrong("this is no number").got_text(&text)
        })
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        self.at += usize::from(found);
        found
    }

    fn run(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&belongs) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn blanks(&mut self) {
        self.run(char::is_whitespace);
    }

    fn wrong(&self, message: &str) -> Problem {
        let place = match self.peek() {
            Some(_) => format!("at character {}", self.before + self.at + 1),
            None => "at its end".to_owned(),
        };
        let problem = Problem::new(&[], format!("the call form is wrong {place}: {message}"));
        match self.peek() {
            Some(c) => problem.got_text(&c.to_string()),
            None => problem,
        }
    }
}
