//! Imports the servers that other clients have configured.
//!
//! Nothing is started and no file is written here: `clients` finds the files, [`read_client_file`] translates one,
//! [`plan_import`](plan::plan_import) says what an import would do, and [`render`] produces the entries. Settings that
//! cannot be translated are noted or rejected, never dropped silently, and every command is shown in full (SEC-06).

mod claude_code;
mod claude_desktop;
pub mod clients;
mod codex;
mod cursor;
mod draft;
mod finish;
mod gemini;
mod generic;
pub mod jsonc;
mod mcporter;
mod opencode;
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

use super::ConfiguredServer;
use super::paths::{ConfigPath, absolute_path};
use crate::config::file::mcp_json;
use crate::config::file::tree::{ConfigMember, ConfigNode, ConfigValue, parse_toml};
pub use crate::config::import::clients::{
    ClientFile, ImportClient, Platform, client_files, discover_files, searched_paths,
};
use crate::config::origin::{ConfigDiagnostic, ConfigFile, FileFormat, Layer};
use crate::env::Environment;
use crate::error::{ErrorKind, Failure, Result};
use draft::ServerDraft;
use secrets::FoundSecret;
use variables::{VariableContext, VariableSyntax};

/// What a file of another client holds.
#[derive(Debug)]
pub struct ImportedFile {
    /// The file.
    pub file: ClientFile,
    /// The file as people write it (`~/…`).
    pub display_path: String,
    /// The servers, in the order of the file.
    pub servers: Vec<ImportedServer>,
    /// What could not be taken over, and why.
    pub diagnostics: Vec<ConfigDiagnostic>,
}

/// A server that could be taken over.
#[derive(Clone, Debug)]
pub struct ImportedServer {
    /// Its name here.
    pub name: String,
    /// Its name there.
    pub original_name: String,
    /// The entry under mcpipe's own keys.
    pub config: ConfigNode,
    /// The line of the file where it stands, from 1.
    pub line: usize,
    /// The folder of the project it belongs to, where it is not for everywhere.
    pub project: Option<PathBuf>,
    /// What changed on the way, a sentence each.
    pub notes: Vec<String>,
    /// The secrets that stand in it as text.
    pub secrets: Vec<FoundSecret>,
    /// Whether the client has it switched off; then it is switched off here too.
    pub is_disabled: bool,
}

/// A file while it is read.
struct ClientFileReader<'a> {
    source: Arc<ConfigFile>,
    root: &'a ConfigNode,
    environment: &'a Environment,
    platform: Platform,
    file: &'a ClientFile,
}

/// Translates a file of another client.
///
/// # Errors
/// [`ErrorKind::Config`] where it cannot be read or is not what its client writes. What is wrong with one server is
/// among the problems.
pub fn read_client_file(environment: &Environment, found: &ClientFile) -> Result<ImportedFile> {
    read_client_file_on(environment, Platform::current(), found)
}

fn read_client_file_on(environment: &Environment, platform: Platform, found: &ClientFile) -> Result<ImportedFile> {
    let source = open_file(environment, &found.path)?;
    let root = parse_file(&source)?;
    let mut out = ImportedFile {
        file: found.clone(),
        display_path: source.display_path.clone(),
        servers: Vec::new(),
        diagnostics: Vec::new(),
    };
    let reading = ClientFileReader { source: Arc::new(source), root: &root, environment, platform, file: found };
    match found.client {
        ImportClient::ClaudeCode => claude_code::read(&reading, &mut out),
        ImportClient::ClaudeDesktop => claude_desktop::read(&reading, &mut out),
        ImportClient::Cursor => cursor::read(&reading, &mut out),
        ImportClient::VsCode => vscode::read(&reading, &mut out),
        ImportClient::Codex => codex::read(&reading, &mut out),
        ImportClient::Windsurf => windsurf::read(&reading, &mut out),
        ImportClient::Gemini => gemini::read(&reading, &mut out),
        ImportClient::OpenCode => opencode::read(&reading, &mut out),
        ImportClient::Zed => zed::read(&reading, &mut out),
        ImportClient::Mcporter => mcporter::read(&reading, &mut out),
        ImportClient::Other => generic::read(&reading, &mut out),
    }
    Ok(out)
}

/// A file that somebody names: whose it is follows from where it lies, its name and what it holds.
///
/// # Errors
/// [`ErrorKind::Config`] where it cannot be read, or holds no servers in any form that is known.
pub fn recognize_file(environment: &Environment, path: &Path) -> Result<ClientFile> {
    let path = absolute_path(environment, &PathBuf::from(environment.expand_tilde(&path.to_string_lossy())));
    let own = ImportClient::all().flat_map(|client| client_files(environment, client)).find(|found| found.path == path);
    if let Some(found) = own {
        return Ok(found);
    }
    let source = open_file(environment, &path)?;
    let root = parse_file(&source)?;
    let Some((client, depth)) = guess_client(&path, &root) else {
        return Err(Failure::new(ErrorKind::Config, format!("no MCP servers in {}", source.display_path))
            .cause("it has none of mcpServers, servers, mcp, mcp_servers and context_servers"));
    };
    let project = depth.and_then(|depth| path.ancestors().nth(depth)).map(Path::to_owned);
    Ok(ClientFile { client, project: project.filter(|dir| Some(dir.as_path()) != environment.home()), path })
}

/// The client of a file that lies nowhere in particular, and how far up the folder of its project is.
fn guess_client(path: &Path, root: &ConfigNode) -> Option<(ImportClient, Option<usize>)> {
    let word = |path: Option<&Path>| {
        path.and_then(Path::file_name).map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default()
    };
    let (name, dir) = (word(Some(path)), word(path.parent()));
    let has = |key: &str| root.get(key).is_some();
    Some(match (name.as_str(), dir.as_str()) {
        _ if has("mcp_servers") => (ImportClient::Codex, (dir == ".codex").then_some(2)),
        _ if has("context_servers") => (ImportClient::Zed, (dir == ".zed").then_some(2)),
        _ if name.starts_with("opencode.json") && has("mcp") => (ImportClient::OpenCode, Some(1)),
        (_, ".vscode") if has("servers") || has("mcp") => (ImportClient::VsCode, Some(2)),
        _ if has("inputs") && has("servers") => (ImportClient::VsCode, None),
        ("settings.json", _) if has("mcp") && !has("mcpServers") => (ImportClient::VsCode, None),
        (_, ".gemini") if has("mcpServers") => (ImportClient::Gemini, Some(2)),
        (_, ".cursor") if has("mcpServers") => (ImportClient::Cursor, Some(2)),
        ("claude_desktop_config.json", _) => (ImportClient::ClaudeDesktop, None),
        (".claude.json", _) => (ImportClient::ClaudeCode, None),
        (".mcp.json", _) => (ImportClient::ClaudeCode, Some(1)),
        ("mcp_config.json", _) if has("mcpServers") => (ImportClient::Windsurf, None),
        _ if name.starts_with("mcporter.json") => (ImportClient::Mcporter, None),
        _ if has("mcp") => (ImportClient::OpenCode, None),
        _ if has("mcpServers") || has("servers") => (ImportClient::Other, None),
        _ => return None,
    })
}

fn open_file(environment: &Environment, path: &Path) -> Result<ConfigFile> {
    let place = ConfigPath { path: path.to_owned(), layer: Layer::Explicit, format: None };
    let text = super::read_file(environment, &place)?.unwrap_or_default();
    let toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    let format = if toml { FileFormat::Toml } else { FileFormat::Json };
    Ok(ConfigFile::new(path.to_owned(), environment.abbreviate_home(path), text, Layer::Explicit, format))
}

fn parse_file(source: &ConfigFile) -> Result<ConfigNode> {
    let (parsed, language) = match source.format {
        FileFormat::Toml => (parse_toml(&source.text), "TOML"),
        FileFormat::Json => (jsonc::parse(&source.text), "JSON"),
    };
    parsed.map_err(|error| {
        let fault = ConfigDiagnostic::at(source, error.offset, format!("this is not {language}")).cause(error.message);
        ConfigDiagnostic { column: source.column_at(error.offset), ..fault }.into()
    })
}

/// A name that `config add` would take too: letters, digits, `_`, `-` and `.`, beginning with a letter or digit.
fn sanitized_name(name: &str) -> String {
    let ascii: String = name.chars().filter(char::is_ascii).collect();
    let made = mcp_json::sanitize_name(&ascii);
    match made.trim_start_matches(['_', '-', '.']) {
        "" => "server".to_owned(),
        name => name.to_owned(),
    }
}

impl ClientFileReader<'_> {
    /// What is known about the strings of the file.
    fn variable_context(&self, style: VariableSyntax) -> VariableContext {
        VariableContext {
            syntax: style,
            platform: self.platform,
            project: self.file.project.clone(),
            inputs: BTreeMap::new(),
            client_title: self.file.client.title(),
        }
    }

    fn diagnostic(&self, at: usize, message: impl Into<String>) -> ConfigDiagnostic {
        ConfigDiagnostic::at(&self.source, at, message)
    }

    /// Reads every server of a table; `each` reads the members of one.
    fn read_servers(
        &self,
        container: Option<&ConfigMember>,
        around: &VariableContext,
        out: &mut ImportedFile,
        each: &mut dyn FnMut(&mut ServerDraft<'_>, &str, &ConfigNode),
    ) {
        let Some(container) = container else { return };
        let ConfigValue::Table(members) = &container.value.value else {
            let message = format!("'{}' must be an object, not {}", container.key, container.value.type_name());
            return out.diagnostics.push(self.diagnostic(container.value.offset, message));
        };
        for member in members {
            if !matches!(member.value.value, ConfigValue::Table(_)) {
                let message = format!("'{}' is not a server entry: it is {}", member.key, member.value.type_name());
                out.diagnostics.push(self.diagnostic(member.offset, message));
                continue;
            }
            let mut draft = ServerDraft::new(self.file.client, around);
            each(&mut draft, &member.key, &member.value);
            match draft.finish(member.offset).and_then(|server| self.build_entry(member, server, draft)) {
                Ok(entry) => out.servers.push(ImportedServer { project: around.project.clone(), ..entry }),
                Err(why) => {
                    let message = format!("'{}' cannot be imported: {why}", member.key);
                    out.diagnostics.push(self.diagnostic(member.offset, message));
                }
            }
        }
    }

    /// The entry, once mcpipe's own rules find nothing wrong with it.
    fn build_entry(
        &self,
        member: &ConfigMember,
        server: ConfigNode,
        draft: ServerDraft<'_>,
    ) -> Result<ImportedServer, String> {
        let name = sanitized_name(&member.key);
        let mut notes = draft.notes;
        if name != member.key {
            notes.insert(0, format!("'{}' cannot be typed as one word, so it was renamed to '{name}'", member.key));
        }
        let checked = ConfiguredServer::new(
            &self.source,
            &ConfigMember { key: name.clone(), offset: member.offset, value: server },
        );
        if let Some(fault) = checked.diagnostics().into_iter().next() {
            return Err(fault.message);
        }
        let secrets = secrets::find_secrets(&name, &checked.entry);
        let mut seen = Vec::new();
        notes.retain(|note| {
            !seen.contains(note) && {
                seen.push(note.clone());
                true
            }
        });
        Ok(ImportedServer {
            name,
            original_name: member.key.clone(),
            line: self.source.line_at(member.offset),
            config: checked.entry,
            project: None,
            notes,
            secrets,
            is_disabled: draft.is_disabled,
        })
    }
}

// What other clients keep is read as it lies on Linux, with its paths.
#[cfg(all(test, unix))]
mod tests;
