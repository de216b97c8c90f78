//! Servers that other clients have set up already, read from their files and written as ours.
//!
//! Nothing is started and nothing is written here: [`discover`] finds files, [`read`] translates one,
//! [`plan`](plan::plan) says what an import would do, and [`render`] writes the entries. What does not fit is noted or
//! refused, never dropped without a word, and the whole command of every entry is there to be seen (SEC-06).

mod claude_code;
mod claude_desktop;
mod codex;
mod cursor;
mod draft;
mod finish;
mod gemini;
pub mod jsonc;
mod mcporter;
mod opencode;
mod other;
pub mod places;
pub mod plan;
pub mod render;
pub mod secrets;
pub mod variables;
mod vscode;
mod windsurf;
mod zed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::origins::{Fault, Format, Layer, Source};
use super::paths::{Place, absolute};
use super::tree::{Member, Node, Value, parse_toml};
use super::{Server, mcp_json};
use crate::env::Environment;
use crate::error::{Class, Failure, Result};
use draft::Draft;
pub use places::{Client, Found, Platform, discover, looked_at, of};
use secrets::Finding;
use variables::{Style, Surroundings};

/// What a file of another client holds.
#[derive(Debug)]
pub struct Imported {
    /// The file.
    pub found: Found,
    /// The file as people write it (`~/…`).
    pub shown: String,
    /// The servers, in the order of the file.
    pub entries: Vec<Entry>,
    /// What could not be taken over, and why.
    pub problems: Vec<Fault>,
}

/// A server that could be taken over.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name here.
    pub name: String,
    /// Its name there.
    pub original_name: String,
    /// The entry under mcpipe's own keys.
    pub server: Node,
    /// The line of the file where it stands, from 1.
    pub line: usize,
    /// The folder of the project it belongs to, where it is not for everywhere.
    pub project: Option<PathBuf>,
    /// What changed on the way, a sentence each.
    pub notes: Vec<String>,
    /// The secrets that stand in it as text.
    pub secrets: Vec<Finding>,
    /// Whether the client has it switched off; then it is switched off here too.
    pub disabled: bool,
}

/// A file while it is read.
struct Reading<'a> {
    source: Arc<Source>,
    root: &'a Node,
    environment: &'a Environment,
    platform: Platform,
    found: &'a Found,
}

/// Translates a file of another client.
///
/// # Errors
/// [`Class::Config`] where it cannot be read or is not what its client writes. What is wrong with one server is
/// among the problems.
pub fn read(environment: &Environment, found: &Found) -> Result<Imported> {
    read_on(environment, Platform::current(), found)
}

fn read_on(environment: &Environment, platform: Platform, found: &Found) -> Result<Imported> {
    let source = open(environment, &found.path)?;
    let root = parse(&source)?;
    let mut out =
        Imported { found: found.clone(), shown: source.shown.clone(), entries: Vec::new(), problems: Vec::new() };
    let reading = Reading { source: Arc::new(source), root: &root, environment, platform, found };
    match found.client {
        Client::ClaudeCode => claude_code::read(&reading, &mut out),
        Client::ClaudeDesktop => claude_desktop::read(&reading, &mut out),
        Client::Cursor => cursor::read(&reading, &mut out),
        Client::VsCode => vscode::read(&reading, &mut out),
        Client::Codex => codex::read(&reading, &mut out),
        Client::Windsurf => windsurf::read(&reading, &mut out),
        Client::Gemini => gemini::read(&reading, &mut out),
        Client::OpenCode => opencode::read(&reading, &mut out),
        Client::Zed => zed::read(&reading, &mut out),
        Client::Mcporter => mcporter::read(&reading, &mut out),
        Client::Other => other::read(&reading, &mut out),
    }
    Ok(out)
}

/// A file that somebody names: whose it is follows from where it lies, its name and what it holds.
///
/// # Errors
/// [`Class::Config`] where it cannot be read, or holds no servers in any form that is known.
pub fn recognize(environment: &Environment, path: &Path) -> Result<Found> {
    let path = absolute(environment, &PathBuf::from(environment.expand_tilde(&path.to_string_lossy())));
    let own = Client::all().flat_map(|client| of(environment, client)).find(|found| found.path == path);
    if let Some(found) = own {
        return Ok(found);
    }
    let source = open(environment, &path)?;
    let root = parse(&source)?;
    let Some((client, depth)) = guess(&path, &root) else {
        return Err(Failure::new(Class::Config, format!("there are no MCP servers in {}", source.shown))
            .cause("it has none of mcpServers, servers, mcp, mcp_servers and context_servers"));
    };
    let project = depth.and_then(|depth| path.ancestors().nth(depth)).map(Path::to_owned);
    Ok(Found { client, project: project.filter(|dir| Some(dir.as_path()) != environment.home()), path })
}

/// The client of a file that lies nowhere in particular, and how far up the folder of its project is.
fn guess(path: &Path, root: &Node) -> Option<(Client, Option<usize>)> {
    let word = |path: Option<&Path>| {
        path.and_then(Path::file_name).map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default()
    };
    let (name, dir) = (word(Some(path)), word(path.parent()));
    let has = |key: &str| root.get(key).is_some();
    Some(match (name.as_str(), dir.as_str()) {
        _ if has("mcp_servers") => (Client::Codex, (dir == ".codex").then_some(2)),
        _ if has("context_servers") => (Client::Zed, (dir == ".zed").then_some(2)),
        _ if name.starts_with("opencode.json") && has("mcp") => (Client::OpenCode, Some(1)),
        (_, ".vscode") if has("servers") || has("mcp") => (Client::VsCode, Some(2)),
        _ if has("inputs") && has("servers") => (Client::VsCode, None),
        ("settings.json", _) if has("mcp") && !has("mcpServers") => (Client::VsCode, None),
        (_, ".gemini") if has("mcpServers") => (Client::Gemini, Some(2)),
        (_, ".cursor") if has("mcpServers") => (Client::Cursor, Some(2)),
        ("claude_desktop_config.json", _) => (Client::ClaudeDesktop, None),
        (".claude.json", _) => (Client::ClaudeCode, None),
        (".mcp.json", _) => (Client::ClaudeCode, Some(1)),
        ("mcp_config.json", _) if has("mcpServers") => (Client::Windsurf, None),
        _ if name.starts_with("mcporter.json") => (Client::Mcporter, None),
        _ if has("mcp") => (Client::OpenCode, None),
        _ if has("mcpServers") || has("servers") => (Client::Other, None),
        _ => return None,
    })
}

fn open(environment: &Environment, path: &Path) -> Result<Source> {
    let place = Place { path: path.to_owned(), layer: Layer::Chosen, format: None };
    let text = super::read(environment, &place)?.unwrap_or_default();
    let toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    Ok(Source {
        path: path.to_owned(),
        shown: environment.shorten(path),
        text,
        layer: Layer::Chosen,
        format: if toml { Format::Toml } else { Format::Json },
        trusted: true,
    })
}

fn parse(source: &Source) -> Result<Node> {
    let (parsed, language) = match source.format {
        Format::Toml => (parse_toml(&source.text), "TOML"),
        Format::Json => (jsonc::parse(&source.text), "JSON"),
    };
    parsed.map_err(|error| {
        let fault = Fault::new(source, error.at, format!("this is not {language}")).cause(error.message);
        Fault { column: source.column(error.at), ..fault }.into()
    })
}

/// A name that `config add` would take too: letters, digits, `_`, `-` and `.`, beginning with a letter or digit.
fn name_here(name: &str) -> String {
    let ascii: String = name.chars().filter(char::is_ascii).collect();
    let made = mcp_json::valid_name(&ascii);
    match made.trim_start_matches(['_', '-', '.']) {
        "" => "server".to_owned(),
        name => name.to_owned(),
    }
}

impl Reading<'_> {
    /// What is known about the strings of the file.
    fn around(&self, style: Style) -> Surroundings {
        Surroundings {
            style,
            platform: self.platform,
            project: self.found.project.clone(),
            inputs: BTreeMap::new(),
            client: self.found.client.title(),
        }
    }

    fn fault(&self, at: usize, message: impl Into<String>) -> Fault {
        Fault::new(&self.source, at, message)
    }

    /// Reads every server of a table; `each` reads the members of one.
    fn servers(
        &self,
        container: Option<&Member>,
        around: &Surroundings,
        out: &mut Imported,
        each: &mut dyn FnMut(&mut Draft<'_>, &str, &Node),
    ) {
        let Some(container) = container else { return };
        let Value::Table(members) = &container.value.value else {
            let message = format!("'{}' must be an object, and is {}", container.key, container.value.kind());
            return out.problems.push(self.fault(container.value.at, message));
        };
        for member in members {
            if !matches!(member.value.value, Value::Table(_)) {
                let message = format!("'{}' is no server: it is {}", member.key, member.value.kind());
                out.problems.push(self.fault(member.at, message));
                continue;
            }
            let mut draft = Draft::new(self.found.client, around);
            each(&mut draft, &member.key, &member.value);
            match draft.finish(member.at).and_then(|server| self.entry(member, server, draft)) {
                Ok(entry) => out.entries.push(Entry { project: around.project.clone(), ..entry }),
                Err(why) => {
                    let message = format!("'{}' cannot be taken over: {why}", member.key);
                    out.problems.push(self.fault(member.at, message));
                }
            }
        }
    }

    /// The entry, once mcpipe's own rules find nothing wrong with it.
    fn entry(&self, member: &Member, server: Node, draft: Draft<'_>) -> Result<Entry, String> {
        let name = name_here(&member.key);
        let mut notes = draft.notes;
        if name != member.key {
            notes.insert(0, format!("'{}' cannot be typed as one word, so it is called '{name}'", member.key));
        }
        let checked = Server::new(&self.source, &Member { key: name.clone(), at: member.at, value: server });
        if let Some(fault) = checked.faults().into_iter().next() {
            return Err(fault.message);
        }
        let secrets = secrets::find(&name, &checked.entry);
        let mut seen = Vec::new();
        notes.retain(|note| {
            !seen.contains(note) && {
                seen.push(note.clone());
                true
            }
        });
        Ok(Entry {
            name,
            original_name: member.key.clone(),
            line: self.source.line(member.at),
            server: checked.entry,
            project: None,
            notes,
            secrets,
            disabled: draft.disabled,
        })
    }
}

// What other clients keep is read as it lies on Linux, with its paths.
#[cfg(all(test, unix))]
mod tests;
