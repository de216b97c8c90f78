//! A configuration file as a tree in which every key and value has its position.
//!
//! TOML and JSON are parsed into the same tree, so that everything after parsing exists once.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::util::json_error::json_fault;

/// A value and the byte at which it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigNode {
    /// The value.
    pub value: ConfigValue,
    /// Its first byte in the file.
    pub offset: usize,
}

/// The kinds of values.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigValue {
    /// A string.
    String(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction, or an integer that is too large.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// An array.
    Array(Vec<ConfigNode>),
    /// A table or an object, in the order of the file.
    Table(Vec<ConfigMember>),
    /// JSON's null, or a TOML date: mcpipe does not use them.
    Unsupported(&'static str),
}

/// A key with its position and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigMember {
    /// The key.
    pub key: String,
    /// The key's first byte in the file.
    pub offset: usize,
    /// The value.
    pub value: ConfigNode,
}

/// Why a file is not valid TOML or JSON.
#[derive(Debug)]
pub struct SyntaxError {
    /// The byte at which parsing stopped.
    pub offset: usize,
    /// The error, on one line.
    pub message: String,
}

impl ConfigNode {
    /// The members of a table; empty for any other value.
    #[must_use]
    pub fn members(&self) -> &[ConfigMember] {
        match &self.value {
            ConfigValue::Table(members) => members,
            _ => &[],
        }
    }

    /// The member with this name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&ConfigMember> {
        self.members().iter().find(|member| member.key == key)
    }

    /// The text, if it is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            ConfigValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The name of its type with an article, for messages.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match &self.value {
            ConfigValue::String(_) => "a string",
            ConfigValue::Integer(_) => "a whole number",
            ConfigValue::Float(_) => "a number",
            ConfigValue::Bool(_) => "a boolean",
            ConfigValue::Array(_) => "an array",
            ConfigValue::Table(_) => "a table",
            ConfigValue::Unsupported(name) => name,
        }
    }

    /// Whether it has the same content, regardless of positions and the order of tables.
    #[must_use]
    pub fn is_equivalent(&self, other: &ConfigNode) -> bool {
        match (&self.value, &other.value) {
            (ConfigValue::Array(a), ConfigValue::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_equivalent(b))
            }
            (ConfigValue::Table(a), ConfigValue::Table(_)) => {
                // Tables usually have the same order, so the member at the same index is tried first.
                let found = |(at, member): (usize, &ConfigMember)| {
                    let same_place = other.members().get(at).filter(|b| b.key == member.key);
                    let b = same_place.or_else(|| other.get(&member.key));
                    b.is_some_and(|b| member.value.is_equivalent(&b.value))
                };
                a.len() == other.members().len() && a.iter().enumerate().all(found)
            }
            (a, b) => a == b,
        }
    }

    /// Calls `visit` with every string in it, and its position.
    pub fn for_each_string<'a>(&'a self, visit: &mut dyn FnMut(&'a str, usize)) {
        match &self.value {
            ConfigValue::String(text) => visit(text, self.offset),
            ConfigValue::Array(items) => items.iter().for_each(|item| item.for_each_string(visit)),
            ConfigValue::Table(members) => members.iter().for_each(|member| member.value.for_each_string(visit)),
            _ => {}
        }
    }
}

/// Parses TOML.
///
/// # Errors
/// The position and the reason if it is not valid TOML.
pub fn parse_toml(text: &str) -> Result<ConfigNode, SyntaxError> {
    let document = toml_edit::Document::parse(text).map_err(|error| SyntaxError {
        offset: error.span().map_or(0, |span| span.start),
        message: error.message().split_whitespace().collect::<Vec<_>>().join(" "),
    })?;
    Ok(ConfigNode { value: table_value(document.as_table()), offset: 0 })
}

fn table_value(table: &dyn toml_edit::TableLike) -> ConfigValue {
    let mut members: Vec<ConfigMember> = table
        .iter()
        .filter_map(|(name, item)| {
            let at = table.key(name).and_then(toml_edit::Key::span).map_or(0, |span| span.start);
            Some(ConfigMember { key: name.to_owned(), offset: at, value: node_from_item(item, at)? })
        })
        .collect();
    // Tables are stored apart from values and may be written in any order.
    members.sort_by_key(|member| member.offset);
    ConfigValue::Table(members)
}

fn node_from_item(item: &toml_edit::Item, key_at: usize) -> Option<ConfigNode> {
    let at = item.span().map_or(key_at, |span| span.start);
    let value = match item {
        toml_edit::Item::None => return None,
        toml_edit::Item::Value(value) => return Some(node_from_value(value, key_at)),
        toml_edit::Item::Table(inner) => table_value(inner),
        toml_edit::Item::ArrayOfTables(array) => ConfigValue::Array(
            array
                .iter()
                .map(|inner| ConfigNode {
                    value: table_value(inner),
                    offset: inner.span().map_or(at, |span| span.start),
                })
                .collect(),
        ),
    };
    Some(ConfigNode { value, offset: at })
}

fn node_from_value(value: &toml_edit::Value, key_at: usize) -> ConfigNode {
    let at = value.span().map_or(key_at, |span| span.start);
    let value = match value {
        toml_edit::Value::String(text) => ConfigValue::String(text.value().clone()),
        toml_edit::Value::Integer(number) => ConfigValue::Integer(*number.value()),
        toml_edit::Value::Float(number) => ConfigValue::Float(*number.value()),
        toml_edit::Value::Boolean(flag) => ConfigValue::Bool(*flag.value()),
        toml_edit::Value::Datetime(_) => ConfigValue::Unsupported("a date"),
        toml_edit::Value::Array(items) => {
            ConfigValue::Array(items.iter().map(|item| node_from_value(item, at)).collect())
        }
        toml_edit::Value::InlineTable(inner) => table_value(inner),
    };
    ConfigNode { value, offset: at }
}

/// Parses JSON; of two equal keys the last one counts, as in other parsers.
///
/// # Errors
/// The position and the reason if it is not valid JSON.
pub fn parse_json(text: &str) -> Result<ConfigNode, SyntaxError> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| syntax_error(text, 0, &error))?;
    node_from_json(text, raw)
}

fn syntax_error(text: &str, base: usize, error: &serde_json::Error) -> SyntaxError {
    let before: usize =
        text[base..].split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    let mut message = json_fault(error);
    let at = (base + before + error.column().saturating_sub(1)).min(text.len());
    // A frequent mistake, which the parser reports as a wrong name.
    let at_brace = text.get(at..).is_some_and(|rest| rest.starts_with('}'));
    if at_brace && text.get(..at).is_some_and(|before| before.trim_end().ends_with(',')) {
        message = "trailing comma".to_owned();
    }
    SyntaxError { offset: at, message }
}

/// The position of a slice of `text` in it.
fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

fn node_from_json(text: &str, raw: &RawValue) -> Result<ConfigNode, SyntaxError> {
    let json = raw.get();
    let at = offset(text, json);
    let broken = |error: serde_json::Error| syntax_error(text, at, &error);
    let value = match json.as_bytes().first() {
        Some(b'{') => {
            let mut members: Vec<ConfigMember> = Vec::new();
            let JsonMembers(pairs) = serde_json::from_str(json).map_err(broken)?;
            for (key, value) in pairs {
                let value = node_from_json(text, value)?;
                let at = key_offset(text, &key, value.offset);
                members.retain(|member| member.key != key);
                members.push(ConfigMember { key, offset: at, value });
            }
            ConfigValue::Table(members)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(json).map_err(broken)?;
            ConfigValue::Array(items.into_iter().map(|item| node_from_json(text, item)).collect::<Result<_, _>>()?)
        }
        Some(b'"') => ConfigValue::String(serde_json::from_str(json).map_err(broken)?),
        Some(b't') => ConfigValue::Bool(true),
        Some(b'f') => ConfigValue::Bool(false),
        Some(b'n') => ConfigValue::Unsupported("null"),
        _ => match json.parse::<i64>() {
            Ok(whole) => ConfigValue::Integer(whole),
            Err(_) => ConfigValue::Float(json.parse().unwrap_or(f64::NAN)),
        },
    };
    Ok(ConfigNode { value, offset: at })
}

/// The duplicate keys in one object of a JSON text, and the position of each duplicate.
#[must_use]
pub fn duplicate_keys(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    if let Ok(raw) = serde_json::from_str(text) {
        collect_duplicates(text, raw, &mut found);
    }
    found
}

fn collect_duplicates(text: &str, raw: &RawValue, found: &mut Vec<(usize, String)>) {
    let json = raw.get();
    if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(json) {
        items.into_iter().for_each(|item| collect_duplicates(text, item, found));
    } else if let Ok(JsonMembers(pairs)) = serde_json::from_str(json) {
        for (index, (key, value)) in pairs.iter().enumerate() {
            if pairs[..index].iter().any(|(other, _)| other == key) {
                found.push((key_offset(text, key, offset(text, value.get())), key.clone()));
            }
            collect_duplicates(text, value, found);
        }
    }
}

/// The opening quote of the key before the value at `value_at`; the value's position if the key contains escapes.
fn key_offset(text: &str, key: &str, value_at: usize) -> usize {
    let quoted = serde_json::to_string(key).unwrap_or_default();
    text[..value_at].rfind(&quoted).unwrap_or(value_at)
}

/// The members of a JSON object in order, with unparsed values.
struct JsonMembers<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for JsonMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = JsonMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonMembers<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<String, &'de RawValue>()? {
                    pairs.push(pair);
                }
                Ok(JsonMembers(pairs))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(text: &str, at: usize) -> usize {
        text[..at].matches('\n').count() + 1
    }

    #[test]
    fn toml_keys_have_line_numbers_in_every_syntax() {
        let text = "[servers.a]\nurl = 'u'\n[servers.b]\nenv.X = '1'\nenv.Y = '2'\nauth = { scopes = [\n 's'\n] }\n";
        let tree = parse_toml(text).unwrap();
        let servers = &tree.get("servers").unwrap().value;
        assert_eq!(line(text, servers.get("a").unwrap().offset), 1);
        let b = servers.get("b").unwrap();
        assert_eq!(line(text, b.offset), 3);
        let env = &b.value.get("env").unwrap().value;
        assert_eq!(line(text, env.get("Y").unwrap().offset), 5);
        let scopes = &b.value.get("auth").unwrap().value.get("scopes").unwrap().value;
        let ConfigValue::Array(items) = &scopes.value else { panic!("no list") };
        assert_eq!(line(text, items[0].offset), 7);
    }

    #[test]
    fn toml_and_json_give_the_same_tree() {
        fn bare(node: &ConfigNode) -> String {
            match &node.value {
                ConfigValue::Array(items) => format!("{:?}", items.iter().map(bare).collect::<Vec<_>>()),
                ConfigValue::Table(members) => {
                    format!("{:?}", members.iter().map(|m| (m.key.clone(), bare(&m.value))).collect::<Vec<_>>())
                }
                other => format!("{other:?}"),
            }
        }
        let toml = parse_toml("a = 'x'\nb = [1, 2.5, true]\n[c]\nd = 'y'\n").unwrap();
        let json = parse_json("{\"a\": \"x\", \"b\": [1, 2.5, true],\n \"c\": {\"d\": \"\\u0079\"}}").unwrap();
        assert_eq!(bare(&toml), bare(&json));
    }

    #[test]
    fn json_keys_and_values_have_line_numbers() {
        let text = "{\n \"s\": {\n  \"x\": {\n   \"url\": \"x\",\n   \"args\": [\n    \"x\"]}}}";
        let tree = parse_json(text).unwrap();
        let x = tree.get("s").unwrap().value.get("x").unwrap();
        assert_eq!(line(text, x.offset), 3);
        assert_eq!(line(text, x.value.get("args").unwrap().offset), 5);
        let ConfigValue::Array(items) = &x.value.get("args").unwrap().value.value else { panic!("no list") };
        assert_eq!(line(text, items[0].offset), 6);
    }

    #[test]
    fn syntax_errors_say_where() {
        let text = "a = 1\nb = = 2\n";
        let error = parse_toml(text).unwrap_err();
        assert_eq!(line(text, error.offset), 2);
        let text = "{\n \"a\": 1,\n}";
        let error = parse_json(text).unwrap_err();
        assert_eq!((line(text, error.offset), error.message.as_str()), (3, "trailing comma"));
        let error = parse_json("").unwrap_err();
        assert_eq!(error.offset, 0);
        assert!(parse_json("{\"é\": tru}").is_err());
    }

    #[test]
    fn the_last_of_two_equal_json_keys_counts() {
        let tree = parse_json("{\"a\": 1, \"a\": 2}").unwrap();
        assert_eq!(tree.members().len(), 1);
        assert_eq!(tree.get("a").unwrap().value.value, ConfigValue::Integer(2));
    }
}
