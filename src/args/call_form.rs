//! The call form: `tool(name: "value", n: 5)` as one word instead of TOOL.
//!
//! The values are JSON with common extensions: single quotes, names without quotes, trailing commas, `+5`, `.5` and
//! `0x1f`. `=` is accepted instead of `:` between an argument's name and its value.

use serde_json::{Map, Number, Value};

use crate::schema::{ValueProblem, parse_json_number};

/// The deepest nesting of a value.
const MAX_DEPTH: usize = 64;

/// A parsed call form.
#[derive(Clone, Debug, PartialEq)]
pub struct CallForm {
    /// The tool.
    pub tool: String,
    /// Its arguments in order.
    pub arguments: Vec<CallFormArgument>,
}

/// One argument of a call form.
#[derive(Clone, Debug, PartialEq)]
pub struct CallFormArgument {
    /// Its name; `None` for a positional argument.
    pub name: Option<String>,
    /// Its value, with the type that it has in the call form.
    pub value: Value,
}

/// Parses a call form; `None` if the word is not a call form, but the name of a tool.
///
/// # Errors
/// The word begins like a call form, but is not a valid one; the problem names the character.
pub fn parse_call_form(word: &str) -> Option<Result<CallForm, ValueProblem>> {
    let (tool, rest) = word.split_once('(')?;
    let tool = tool.trim();
    let is_name =
        |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '\'' | '=' | '{' | '}' | ',' | ')');
    if tool.is_empty() || !tool.chars().all(is_name) {
        return None;
    }
    let before = word[..word.len() - rest.len()].chars().count();
    let mut parser = CallFormParser { chars: rest.chars().collect(), position: 0, offset: before };
    Some(parser.parse_arguments().map(|arguments| CallForm { tool: tool.to_owned(), arguments }))
}

struct CallFormParser {
    chars: Vec<char>,
    position: usize,
    /// How many characters of the word precede the first one here.
    offset: usize,
}

impl CallFormParser {
    fn parse_arguments(&mut self) -> Result<Vec<CallFormArgument>, ValueProblem> {
        let mut arguments = Vec::new();
        loop {
            self.skip_whitespace();
            if self.consume(')') {
                break;
            }
            arguments.push(self.parse_argument()?);
            self.skip_whitespace();
            if !self.consume(',') && self.peek() != Some(')') {
                return Err(self.error_here("expected , or )"));
            }
        }
        self.skip_whitespace();
        self.consume(';');
        self.skip_whitespace();
        if self.position < self.chars.len() { Err(self.error_here("unexpected text after )")) } else { Ok(arguments) }
    }

    fn parse_argument(&mut self) -> Result<CallFormArgument, ValueProblem> {
        let start = self.position;
        if let Ok(name) = self.parse_name() {
            self.skip_whitespace();
            if !name.is_empty() && (self.consume(':') || self.consume('=')) {
                self.skip_whitespace();
                return Ok(CallFormArgument { name: Some(name), value: self.parse_value(0)? });
            }
        }
        self.position = start;
        Ok(CallFormArgument { name: None, value: self.parse_value(0)? })
    }

    fn parse_value(&mut self, depth: usize) -> Result<Value, ValueProblem> {
        if depth > MAX_DEPTH {
            return Err(self.error_here("the value is nested too deeply"));
        }
        match self.peek() {
            Some('"' | '\'') => self.parse_string().map(Value::String),
            Some('[') => self.parse_array(depth),
            Some('{') => self.parse_object(depth),
            Some(c) if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.parse_number().map(Value::Number),
            Some(c) if c.is_alphabetic() || matches!(c, '_' | '$') => self.parse_literal(),
            _ => Err(self.error_here("expected a value")),
        }
    }

    fn parse_literal(&mut self) -> Result<Value, ValueProblem> {
        let start = self.position;
        let word = self.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '-'));
        match word.as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            _ => {
                self.position = start;
                let problem = self.error_here("expected a value");
                Err(problem.with_suggestion(Some(format!("strings need quotes: \"{word}\""))))
            }
        }
    }

    fn parse_array(&mut self, depth: usize) -> Result<Value, ValueProblem> {
        self.position += 1;
        let mut items = Vec::new();
        loop {
            self.skip_whitespace();
            if self.consume(']') {
                return Ok(Value::Array(items));
            }
            items.push(self.parse_value(depth + 1)?);
            self.skip_whitespace();
            if !self.consume(',') && self.peek() != Some(']') {
                return Err(self.error_here("expected , or ]"));
            }
        }
    }

    fn parse_object(&mut self, depth: usize) -> Result<Value, ValueProblem> {
        self.position += 1;
        let mut members = Map::new();
        loop {
            self.skip_whitespace();
            if self.consume('}') {
                return Ok(Value::Object(members));
            }
            let name = self.parse_name()?;
            self.skip_whitespace();
            if !self.consume(':') {
                return Err(self.error_here("expected :"));
            }
            self.skip_whitespace();
            let value = self.parse_value(depth + 1)?;
            members.insert(name, value);
            self.skip_whitespace();
            if !self.consume(',') && self.peek() != Some('}') {
                return Err(self.error_here("expected , or }"));
            }
        }
    }

    /// A member's name, quoted or not.
    fn parse_name(&mut self) -> Result<String, ValueProblem> {
        match self.peek() {
            Some('"' | '\'') => self.parse_string(),
            Some(c) if c.is_alphanumeric() || matches!(c, '_' | '$' | '@') => {
                Ok(self.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '-' | '.' | '@' | '/')))
            }
            _ => Err(self.error_here("expected a name")),
        }
    }

    fn parse_string(&mut self) -> Result<String, ValueProblem> {
        let (start, quote) = (self.position, self.peek());
        self.position += 1;
        let mut text = String::new();
        loop {
            let Some(c) = self.peek() else {
                return Err(self.error_at(start, "this string has no closing quote"));
            };
            if Some(c) == quote {
                self.position += 1;
                return Ok(text);
            }
            self.position += 1;
            if c == '\\' { text.extend(self.parse_escape()?) } else { text.push(c) }
        }
    }

    /// The character of an escape sequence, after the backslash.
    fn parse_escape(&mut self) -> Result<Option<char>, ValueProblem> {
        let Some(c) = self.peek() else { return Err(self.error_here("expected a character after \\")) };
        self.position += 1;
        Ok(Some(match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '0' if !self.peek().is_some_and(|next| next.is_ascii_digit()) => '\0',
            // A line continuation.
            '\n' => return Ok(None),
            'x' => self.parse_character_escape(2)?,
            'u' => self.parse_character_escape(4)?,
            other => other,
        }))
    }

    /// A character by its code: `\x41`, `\u0041`, a surrogate pair, `\u{1f600}`.
    fn parse_character_escape(&mut self, digits: usize) -> Result<char, ValueProblem> {
        let start = self.position;
        let number = if digits == 4 && self.consume('{') {
            let number = self.take_while(|c| c.is_ascii_hexdigit());
            if self.consume('}') { u32::from_str_radix(&number, 16).ok() } else { None }
        } else {
            self.parse_hex(digits)
        };
        let number = match number {
            Some(high @ 0xd800..0xdc00) if self.consume('\\') && self.consume('u') => match self.parse_hex(4) {
                Some(low @ 0xdc00..0xe000) => Some(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)),
                _ => None,
            },
            number => number,
        };
        number.and_then(char::from_u32).ok_or_else(|| {
            self.position = start;
            self.error_here("invalid character code")
        })
    }

    fn parse_hex(&mut self, digits: usize) -> Option<u32> {
        let text: String = self.chars.get(self.position..self.position + digits)?.iter().collect();
        self.position += digits;
        text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(&text, 16).ok()).flatten()
    }

    fn parse_number(&mut self) -> Result<Number, ValueProblem> {
        let start = self.position;
        let text = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_'));
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => ("-", rest),
            None => ("", text.strip_prefix('+').unwrap_or(&text)),
        };
        let number = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
            Some(hex) if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                u128::from_str_radix(hex, 16).ok().and_then(|number| parse_json_number(&format!("{sign}{number}")))
            }
            Some(_) => None,
            None => {
                let lead = if digits.starts_with('.') { "0" } else { "" };
                parse_json_number(&format!("{sign}{lead}{}", digits.strip_suffix('.').unwrap_or(digits)))
            }
        };
        number.ok_or_else(|| {
            self.position = start;
            self.error_here("invalid number").with_text(&text)
        })
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.position).copied()
    }

    fn consume(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        self.position += usize::from(found);
        found
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let start = self.position;
        while self.peek().is_some_and(&belongs) {
            self.position += 1;
        }
        self.chars[start..self.position].iter().collect()
    }

    fn skip_whitespace(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn error_here(&self, message: &str) -> ValueProblem {
        match self.peek() {
            Some(c) => self.error_at(self.position, message).with_text(&c.to_string()),
            None => ValueProblem::new(&[], format!("invalid call form: it ends too early: {message}")),
        }
    }

    fn error_at(&self, position: usize, message: &str) -> ValueProblem {
        let character = self.offset + position + 1;
        ValueProblem::new(&[], format!("invalid call form at character {character}: {message}"))
    }
}
