//! A configuration file as a tree in which every key and value has its position.
//!
//! TOML and JSON (`jsonc`) are parsed into the same tree, so that everything after parsing exists once.

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::file::jsonc;

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
        let json = jsonc::parse("{\"a\": \"x\", \"b\": [1, 2.5, true],\n \"c\": {\"d\": \"\\u0079\"}}").unwrap();
        assert_eq!(bare(&toml), bare(&json));
    }

    #[test]
    fn syntax_errors_say_where() {
        let text = "a = 1\nb = = 2\n";
        let error = parse_toml(text).unwrap_err();
        assert_eq!(line(text, error.offset), 2);
    }
}
