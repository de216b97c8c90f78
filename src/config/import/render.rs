//! Formats entries as TOML, and as text for the user to review.

use toml_edit::{Array, DocumentMut, Formatted, InlineTable, Item, Table, Value as Toml};

use super::ImportedServer;
use super::secrets::{redact_at, redact_setting};
use crate::config::file::tree::{ConfigNode, ConfigValue};
use crate::config::redact;

/// A line of TOML longer than this is split into a table of its own.
const MAX_LINE_WIDTH: usize = 100;

/// The table of an entry, as it is written under `[servers.NAME]`.
#[must_use]
pub fn toml_table(server: &ConfigNode) -> Table {
    let mut table = Table::new();
    for member in server.members() {
        if let Some(item) = toml_item(&member.key, &member.value) {
            table.insert(&member.key, item);
        }
    }
    table
}

fn toml_item(key: &str, node: &ConfigNode) -> Option<Item> {
    if matches!(node.value, ConfigValue::Table(_)) {
        let inline = toml_value(node)?;
        // Login settings have a table of their own, as in the manual.
        if key == "auth" || inline.to_string().len() > MAX_LINE_WIDTH {
            return Some(Item::Table(toml_table(node)));
        }
        return Some(Item::Value(inline));
    }
    let mut made = toml_value(node)?;
    if let Toml::Array(array) = &mut made
        && array.to_string().len() > MAX_LINE_WIDTH
    {
        array.iter_mut().for_each(|item| item.decor_mut().set_prefix("\n    "));
        array.set_trailing("\n");
        array.set_trailing_comma(true);
    }
    Some(Item::Value(made))
}

fn toml_value(node: &ConfigNode) -> Option<Toml> {
    Some(match &node.value {
        ConfigValue::String(text) => Toml::from(text.as_str()),
        ConfigValue::Integer(number) => Toml::from(*number),
        ConfigValue::Float(number) => Toml::Float(Formatted::new(*number)),
        ConfigValue::Bool(flag) => Toml::from(*flag),
        ConfigValue::Array(items) => Toml::Array(items.iter().filter_map(toml_value).collect::<Array>()),
        ConfigValue::Table(members) => {
            let pairs = members.iter().filter_map(|member| Some((member.key.as_str(), toml_value(&member.value)?)));
            Toml::InlineTable(pairs.collect::<InlineTable>())
        }
        ConfigValue::Unsupported(_) => return None,
    })
}

/// How the comment above an imported entry begins.
pub(super) const ORIGIN_COMMENT: &str = "# Imported from ";

/// The text of an entry's tables, under a comment that says where it comes from: what
/// [`rewrite::add`](crate::config::file::rewrite::add) adds to a file.
#[must_use]
pub fn toml_block(entry: &ImportedServer, from: &str) -> String {
    let mut made = toml_table(&entry.config);
    let from: String = from.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    made.decor_mut().set_prefix(format!("{ORIGIN_COMMENT}{from}\n"));
    let mut servers = Table::new();
    servers.set_implicit(true);
    servers.insert(&entry.name, Item::Table(made));
    let mut document = DocumentMut::new();
    document.insert("servers", Item::Table(servers));
    document.to_string()
}

impl ImportedServer {
    /// Whether it is reached by a URL; otherwise it is started as a command.
    #[must_use]
    pub fn is_url(&self) -> bool {
        self.config.get("url").is_some()
    }

    /// What would be run or connected to, in full: a command line, or a URL. Secrets are omitted.
    ///
    /// It comes from a file that others may have written: control characters have to be made visible for display.
    #[must_use]
    pub fn target_text(&self) -> String {
        let text = |key: &str| self.config.get(key).and_then(|member| member.value.as_str());
        if let Some(url) = text("url") {
            return redact_at(url, "url", &self.secrets);
        }
        let mut words: Vec<String> = text("command").map(shell_quoted).into_iter().collect();
        if let Some(ConfigValue::Array(items)) = self.config.get("args").map(|member| &member.value.value) {
            let args = items.iter().filter_map(ConfigNode::as_str).enumerate();
            words.extend(args.map(|(at, arg)| shell_quoted(&redact_at(arg, &format!("args[{at}]"), &self.secrets))));
        }
        words.join(" ")
    }

    /// All other settings, as `key = value` in TOML; the values of secrets are omitted.
    #[must_use]
    pub fn setting_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for member in self.config.members() {
            match member.key.as_str() {
                "url" | "command" | "args" => {}
                "env" | "headers" | "auth" => lines.extend(member.value.members().iter().filter_map(|pair| {
                    let shown = match pair.value.as_str() {
                        Some(text) => Toml::from(redact_setting(&member.key, &pair.key, text, &self.secrets)),
                        None => toml_value(&pair.value)?,
                    };
                    Some(format!("{}.{} = {}", member.key, pair.key, shown.to_string().trim()))
                })),
                key => {
                    let shown = match member.value.as_str() {
                        Some(text) => Some(Toml::from(redact::redact_setting(text, key).text)),
                        None => toml_value(&member.value),
                    };
                    lines.extend(shown.map(|value| format!("{key} = {}", value.to_string().trim())));
                }
            }
        }
        lines
    }
}

/// A word quoted as in a shell, so that one argument with spaces is not taken for two.
fn shell_quoted(word: &str) -> String {
    // A reference is shown unquoted: no shell is run.
    let plain = |c: char| c.is_alphanumeric() || "_-./:=@%+,~${}[]?&#".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
