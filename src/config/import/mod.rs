//! Imports the servers that other clients have configured.
//!
//! Nothing is started and no file is written here: `clients` finds the files, [`read_client_file`] translates one,
//! [`plan_import`](plan::plan_import) says what an import would do, and [`render`] produces the entries. Settings that
//! cannot be translated are noted or rejected, never dropped silently, and every command is shown in full (SEC-06).

mod claude_code;
mod claude_desktop;
pub mod client_file;
pub mod clients;
mod codex;
mod cursor;
mod draft;
mod finish;
mod gemini;
mod generic;
mod mcporter;
mod opencode;
pub mod plan;
pub mod render;
pub mod secrets;
pub mod variables;
mod vscode;
mod windsurf;
mod zed;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::file::client_forms::server_container;
use crate::config::file::tree::ConfigNode;
pub use crate::config::import::client_file::{ImportedFile, ImportedServer};
pub use crate::config::import::clients::{
    ClientFile, ImportClient, Platform, discover_client_files, discover_files, searched_paths,
};
use crate::config::paths::{absolute_path, is_home};
use crate::config::source::parse_file;
use crate::env::Environment;
use crate::error::{ErrorKind, Failure, Result};
use client_file::{ClientFileReader, open_file};

/// Translates a file of another client.
///
/// # Errors
/// [`ErrorKind::Config`] if it cannot be read or does not have the client's format. Problems of single servers are
/// among the diagnostics.
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
        rejected: 0,
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

/// A file given by the user: its client is determined by its location, its name and its content.
///
/// # Errors
/// [`ErrorKind::Config`] if it cannot be read, or contains no servers in any known form.
pub fn recognize_file(environment: &Environment, path: &Path) -> Result<ClientFile> {
    let path = absolute_path(environment, &PathBuf::from(environment.expand_tilde(&path.to_string_lossy())));
    let own = ImportClient::all()
        .flat_map(|client| discover_client_files(environment, client))
        .find(|found| found.path == path);
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
    Ok(ClientFile { client, project: project.filter(|dir| !is_home(environment, dir)), path })
}

/// The client of a file in an unknown location, and how many directories up the directory of its project is.
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
        _ if server_container(root).is_some() => (ImportClient::Other, None),
        _ => return None,
    })
}

// Files of other clients are read as they are on Linux, with its paths.
#[cfg(all(test, unix))]
mod tests;
