//! Compares the YAML frontmatter of a `SKILL.md` with the JSON that a server sent for it (SEP-2640).
//!
//! YAML parsers disagree on the type of an unquoted `yes`, `1.10` or date. So nothing is parsed into types here: a
//! scalar matches a JSON value if its text can mean that value.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::Value;

/// The maximum depth of a frontmatter, and its maximum number of values (`SEC-07`).
const MAX_DEPTH: usize = 32;
const MAX_NODES: usize = 10_000;

/// A YAML value.
enum YamlNode {
    Scalar { text: String, is_plain: bool },
    List(Vec<YamlNode>),
    Map(Vec<(String, YamlNode)>),
}

/// Compares the frontmatter of a file, field by field.
///
/// # Errors
/// What is wrong or different, and where.
pub fn compare(file: &str, promised: &Value) -> Result<(), String> {
    let text = extract_frontmatter(file).ok_or("there is none")?;
    let found = YamlReader { parser: Parser::new_from_str(text), nodes: 0 }.document()?;
    compare_node(&found, promised, "")
}

/// The text between the first line, `---`, and the next such line.
fn extract_frontmatter(file: &str) -> Option<&str> {
    let file = file.strip_prefix('\u{feff}').unwrap_or(file);
    let (first, rest) = file.split_once('\n')?;
    if first.trim_end() != "---" {
        return None;
    }
    let mut length = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            return Some(&rest[..length]);
        }
        length += line.len();
    }
    None
}

struct YamlReader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    nodes: usize,
}

impl<'a> YamlReader<'a> {
    fn document(&mut self) -> Result<YamlNode, String> {
        loop {
            match self.event()? {
                Event::StreamStart | Event::DocumentStart(..) | Event::Nothing => {}
                Event::StreamEnd | Event::DocumentEnd => return Ok(YamlNode::Map(Vec::new())),
                event => return self.node(event, 0),
            }
        }
    }

    fn event(&mut self) -> Result<Event<'a>, String> {
        match self.parser.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(error.to_string()),
            None => Ok(Event::StreamEnd),
        }
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<YamlNode, String> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err("it is too large".to_owned());
        }
        match event {
            Event::Scalar(text, style, ..) => {
                Ok(YamlNode::Scalar { text: text.into_owned(), is_plain: style == ScalarStyle::Plain })
            }
            Event::SequenceStart(..) => {
                let mut all = Vec::new();
                loop {
                    match self.event()? {
                        Event::SequenceEnd => return Ok(YamlNode::List(all)),
                        event => all.push(self.node(event, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut all: Vec<(String, YamlNode)> = Vec::new();
                loop {
                    let key = match self.event()? {
                        Event::MappingEnd => return Ok(YamlNode::Map(all)),
                        Event::Scalar(text, ..) => text.into_owned(),
                        _ => return Err("a key is not plain text".to_owned()),
                    };
                    if all.iter().any(|(known, _)| *known == key) {
                        return Err(format!("{key} occurs twice"));
                    }
                    let value = self.event()?;
                    let value = self.node(value, depth + 1)?;
                    all.push((key, value));
                }
            }
            Event::Alias(_) => Err("it contains an alias, which is not supported".to_owned()),
            _ => Err("it is incomplete".to_owned()),
        }
    }
}

fn compare_node(found: &YamlNode, promised: &Value, at: &str) -> Result<(), String> {
    let below = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    match (found, promised) {
        (YamlNode::Scalar { text, is_plain: plain }, value) if scalar_matches(text, *plain, value) => Ok(()),
        (YamlNode::List(found), Value::Array(promised)) if found.len() == promised.len() => {
            let mut pairs = found.iter().zip(promised).enumerate();
            pairs.try_for_each(|(index, (found, promised))| compare_node(found, promised, &below(&index.to_string())))
        }
        (YamlNode::Map(found), Value::Object(promised)) => {
            if let Some(extra) = found.iter().find(|(key, _)| !promised.contains_key(key)) {
                return Err(format!("{} is only in the file", below(&extra.0)));
            }
            for (key, promised) in promised {
                let Some((_, found)) = found.iter().find(|(known, _)| known == key) else {
                    return Err(format!("{} is not in the file", below(key)));
                };
                compare_node(found, promised, &below(key))?;
            }
            Ok(())
        }
        _ => Err(format!("{at} differs from the entry")),
    }
}

/// Whether a scalar can mean this value. A quoted scalar is always text.
fn scalar_matches(text: &str, plain: bool, value: &Value) -> bool {
    let one_of = |words: &[&str]| plain && words.contains(&text.to_ascii_lowercase().as_str());
    match value {
        Value::String(promised) => {
            // Some parsers read an unquoted date as a point in time.
            let midnight = promised.strip_prefix(text).filter(|_| plain && text.len() == 10);
            text == promised
                || matches!(midnight, Some("T00:00:00Z" | "T00:00:00.000Z" | "T00:00:00" | "T00:00:00+00:00"))
        }
        Value::Null => one_of(&["", "~", "null"]),
        Value::Bool(true) => one_of(&["true", "yes", "on"]),
        Value::Bool(false) => one_of(&["false", "no", "off"]),
        Value::Number(number) => {
            let based = |prefix: &str, radix| {
                text.strip_prefix(prefix).and_then(|digits| i64::from_str_radix(digits, radix).ok())
            };
            let whole = based("0x", 16).or_else(|| based("0o", 8));
            plain
                && (text == number.to_string()
                    || whole.is_some_and(|whole| number.as_i64() == Some(whole))
                    || text.parse::<f64>().is_ok_and(|found| number.as_f64() == Some(found)))
        }
        Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_content_matches_in_any_notation() {
        let file = "\u{feff}---\r\nname: pdf\r\ndescription: >-\r\n  Reads\r\n  much\r\nlicense: 'MIT'\r\n\
            metadata:\r\n  version: 1.10\r\n  port: 0x1F\r\n  beta: yes\r\n  none:\r\n  day: 2026-01-02\r\n\
            tags: [a, \"2\"]\r\n---\r\n# Body\r\n---\r\n";
        let promised = json!({"name": "pdf", "description": "Reads much", "license": "MIT", "metadata": {"version": "1.10",
            "port": 31, "beta": true, "none": null, "day": "2026-01-02T00:00:00.000Z"}, "tags": ["a", "2"]});
        assert_eq!(compare(file, &promised), Ok(()));
        let other = json!({"version": 1.1, "n": 1, "big": 12_345_678_901_234_567_890_u64});
        assert_eq!(compare("---\nversion: 1.10\nn: 1.0\nbig: 12345678901234567890\n---\n", &other), Ok(()));
        assert_eq!(compare("---\n---\n", &json!({})), Ok(()));
    }

    #[test]
    fn every_difference_is_found_and_named() {
        let says = |file: &str, promised: Value| compare(file, &promised).err().unwrap_or_default();
        let name = json!({"name": "pdf"});
        assert_eq!(says("---\nname: pdfs\n---\n", name.clone()), "name differs from the entry");
        assert_eq!(
            says("---\nname: pdf\nallowed-tools: Bash\n---\n", name.clone()),
            "allowed-tools is only in the file"
        );
        assert_eq!(says("---\n{}\n---\n", name.clone()), "name is not in the file");
        assert_eq!(says("---\na: {b: ['1']}\n---\n", json!({"a": {"b": [1]}})), "a.b.0 differs from the entry");
        assert_eq!(says("---\na: [1]\n---\n", json!({"a": [1, 2]})), "a differs from the entry");
        assert_eq!(says("---\na: 1\na: 1\n---\n", json!({"a": 1})), "a occurs twice");
        assert_eq!(says("name: pdf\n", name.clone()), "there is none");
        assert_eq!(says("---\nname: pdf\n", name.clone()), "there is none");
        assert!(!says("---\nname: [\n---\n", name.clone()).is_empty());
        assert!(says("---\na: &x 1\nb: *x\n---\n", json!({"a": 1, "b": 1})).contains("alias"));
        let deep = format!("---\na: {}1{}\n---\n", "[".repeat(100), "]".repeat(100));
        assert_eq!(says(&deep, json!({"a": 1})), "it is too large");
    }
}
