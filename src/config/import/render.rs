//! Entries as TOML, and as lines for people to judge.

use toml_edit::{Array, DocumentMut, Formatted, InlineTable, Item, Table, Value as Toml};

use super::Entry;
use super::secrets::masked;
use crate::config::expand::is_literal;
use crate::config::rewrite::{self, Problem};
use crate::config::shown::speaks_of_secret;
use crate::config::tree::{Node, Value};
use crate::secret::REDACTED;

/// A line of TOML longer than this is broken into a table of its own.
const WIDTH: usize = 100;

/// The table of an entry, as it stands under `[servers.NAME]`.
#[must_use]
pub fn table(server: &Node) -> Table {
    let mut table = Table::new();
    for member in server.members() {
        if let Some(item) = item(&member.key, &member.value) {
            table.insert(&member.key, item);
        }
    }
    table
}

fn item(key: &str, node: &Node) -> Option<Item> {
    if matches!(node.value, Value::Table(_)) {
        let inline = value(node)?;
        // What logs in has a table of its own, as in the manual.
        if key == "auth" || inline.to_string().len() > WIDTH {
            return Some(Item::Table(table(node)));
        }
        return Some(Item::Value(inline));
    }
    let mut made = value(node)?;
    if let Toml::Array(array) = &mut made
        && array.to_string().len() > WIDTH
    {
        array.iter_mut().for_each(|item| item.decor_mut().set_prefix("\n    "));
        array.set_trailing("\n");
        array.set_trailing_comma(true);
    }
    Some(Item::Value(made))
}

fn value(node: &Node) -> Option<Toml> {
    Some(match &node.value {
        Value::Text(text) => Toml::from(text.as_str()),
        Value::Whole(number) => Toml::from(*number),
        Value::Decimal(number) => Toml::Float(Formatted::new(*number)),
        Value::Flag(flag) => Toml::from(*flag),
        Value::List(items) => Toml::Array(items.iter().filter_map(value).collect::<Array>()),
        Value::Table(members) => {
            let pairs = members.iter().filter_map(|member| Some((member.key.as_str(), value(&member.value)?)));
            Toml::InlineTable(pairs.collect::<InlineTable>())
        }
        Value::Other(_) => return None,
    })
}

/// The text of an entry's tables, under a comment that says where it comes from: what [`rewrite::add`] adds to a file.
#[must_use]
pub fn block(entry: &Entry, from: &str) -> String {
    let mut made = table(&entry.server);
    let from: String = from.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    made.decor_mut().set_prefix(format!("# Imported from {from}\n"));
    let mut servers = Table::new();
    servers.set_implicit(true);
    servers.insert(&entry.name, Item::Table(made));
    let mut document = DocumentMut::new();
    document.insert("servers", Item::Table(servers));
    document.to_string()
}

/// Writes an entry into the text of a configuration file; all else stays as it is.
///
/// # Errors
/// See [`Problem`]; a server of the same name is one unless it is to be replaced.
pub fn insert(text: &str, entry: &Entry, from: &str, replace: bool) -> Result<String, Problem> {
    let name = entry.name.as_str();
    let without = match rewrite::remove(text, name) {
        Ok(without) if replace => Some(without),
        Err(Problem::Missing) | Ok(_) => None,
        Err(problem) => return Err(problem),
    };
    rewrite::add(without.as_deref().unwrap_or(text), name, &block(entry, from))
}

impl Entry {
    /// Whether it is behind a URL; otherwise it is started as a command.
    #[must_use]
    pub fn target_is_url(&self) -> bool {
        self.server.get("url").is_some()
    }

    /// What would run or be reached, in full: a command line, or a URL. Secrets are left out.
    ///
    /// It comes from a file that anybody may have written: control characters have to be made visible where it is shown.
    #[must_use]
    pub fn target(&self) -> String {
        let text = |key: &str| self.server.get(key).and_then(|member| member.value.as_text());
        if let Some(url) = text("url") {
            return masked(url, "url", &self.secrets);
        }
        let mut words: Vec<String> = text("command").map(quoted).into_iter().collect();
        if let Some(Value::List(items)) = self.server.get("args").map(|member| &member.value.value) {
            let args = items.iter().filter_map(Node::as_text).enumerate();
            words.extend(args.map(|(at, arg)| quoted(&masked(arg, &format!("args[{at}]"), &self.secrets))));
        }
        words.join(" ")
    }

    /// Everything else that it says, as `key = value` in TOML; secrets are left out, and their names stay.
    #[must_use]
    pub fn settings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for member in self.server.members() {
            match member.key.as_str() {
                "url" | "command" | "args" => {}
                "env" | "headers" | "auth" => lines.extend(member.value.members().iter().filter_map(|pair| {
                    let place = format!("{}.{}", member.key, pair.key);
                    let hidden =
                        self.secrets.iter().find(|finding| finding.place == place && finding.reference.is_none());
                    let shown = match (hidden, pair.value.as_text()) {
                        (Some(finding), Some(text)) => Toml::from(finding.hidden(text)),
                        (None, Some(text))
                            if member.key != "auth"
                                && speaks_of_secret(&pair.key)
                                && is_literal(text)
                                && !text.is_empty() =>
                        {
                            Toml::from(REDACTED)
                        }
                        _ => value(&pair.value)?,
                    };
                    let shown = shown.to_string();
                    Some(format!("{place} = {}", shown.trim()))
                })),
                _ => lines
                    .extend(value(&member.value).map(|value| format!("{} = {}", member.key, value.to_string().trim()))),
            }
        }
        lines
    }
}

/// A word as a shell would need it, so that one argument with blanks is not taken for two.
fn quoted(word: &str) -> String {
    // A reference is shown as it is written: no shell is run.
    let plain = |c: char| c.is_alphanumeric() || "_-./:=@%+,~${}[]?&#".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
