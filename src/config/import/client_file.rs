//! Reads a file of another client and the servers in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::clients::{ClientFile, Platform};
use super::draft::ServerDraft;
use super::secrets::{self, FoundSecret};
use super::variables::{VariableContext, VariableSyntax};
use crate::config::ConfiguredServer;
use crate::config::file::mcp_json;
use crate::config::file::tree::{ConfigMember, ConfigNode, ConfigValue};
use crate::config::origin::{ConfigDiagnostic, ConfigFile, ConfigFormat, Layer};
use crate::config::paths::ConfigPath;
use crate::config::source::read_file;
use crate::env::Environment;
use crate::error::Result;

/// The content of a file of another client.
#[derive(Debug)]
pub struct ImportedFile {
    /// The file.
    pub file: ClientFile,
    /// The file as it is displayed (`~/…`).
    pub display_path: String,
    /// The servers, in the order of the file.
    pub servers: Vec<ImportedServer>,
    /// What could not be imported, and why.
    pub diagnostics: Vec<ConfigDiagnostic>,
    /// The number of servers, or tables of servers, in the diagnostics.
    pub rejected: usize,
}

/// An imported server.
#[derive(Clone, Debug)]
pub struct ImportedServer {
    /// Its name in mcpipe.
    pub name: String,
    /// Its name in the file.
    pub original_name: String,
    /// The entry with mcpipe's own keys.
    pub config: ConfigNode,
    /// Its line in the file, from 1.
    pub line: usize,
    /// The directory of the project that it belongs to, unless it is global.
    pub project: Option<PathBuf>,
    /// What was changed in the translation, one sentence each.
    pub notes: Vec<String>,
    /// The secrets that it contains as text.
    pub secrets: Vec<FoundSecret>,
    /// Whether the client has it disabled; then it is disabled here too.
    pub is_disabled: bool,
}

/// A file while it is being read.
pub(super) struct ClientFileReader<'a> {
    pub(super) source: Arc<ConfigFile>,
    pub(super) root: &'a ConfigNode,
    pub(super) environment: &'a Environment,
    pub(super) platform: Platform,
    pub(super) file: &'a ClientFile,
}

pub(super) fn open_file(environment: &Environment, path: &Path) -> Result<ConfigFile> {
    let place = ConfigPath { path: path.to_owned(), layer: Layer::Explicit, format: None };
    let text = read_file(environment, &place)?.unwrap_or_default();
    let toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    let format = if toml { ConfigFormat::Toml } else { ConfigFormat::Json };
    Ok(ConfigFile::new(path.to_owned(), environment.abbreviate_home(path), text, Layer::Explicit, format))
}

/// A name that `config add` would accept: letters, digits, `_`, `-`, `.` and `/`, beginning with a letter or digit.
pub(crate) fn sanitized_server_name(name: &str) -> String {
    let ascii: String = name.chars().filter(char::is_ascii).collect();
    let made = mcp_json::sanitize_name(&ascii);
    match made.trim_start_matches(['_', '-', '.', '/']) {
        "" => "server".to_owned(),
        name => name.to_owned(),
    }
}

/// The names of a server's own variables.
fn own_variables(entry: &ConfigNode) -> Vec<String> {
    // The older form of Zed has them next to the program.
    let inner = entry.get("command").map(|command| &command.value);
    let tables =
        ["env", "environment"].into_iter().flat_map(|key| [entry.get(key), inner.and_then(|one| one.get(key))]);
    tables.flatten().flat_map(|table| table.value.members()).map(|pair| pair.key.clone()).collect()
}

impl ClientFileReader<'_> {
    /// How the strings of the file are interpreted.
    pub(super) fn variable_context(&self, style: VariableSyntax) -> VariableContext {
        VariableContext {
            syntax: style,
            platform: self.platform,
            project: self.file.project.clone(),
            inputs: BTreeMap::new(),
            client_title: self.file.client.title(),
        }
    }

    pub(super) fn diagnostic(&self, at: usize, message: impl Into<String>) -> ConfigDiagnostic {
        ConfigDiagnostic::at(&self.source, at, message)
    }

    /// Reads every server of a table; `each` reads the members of one.
    pub(super) fn read_servers(
        &self,
        container: Option<&ConfigMember>,
        around: &VariableContext,
        out: &mut ImportedFile,
        each: &mut dyn FnMut(&mut ServerDraft<'_>, &str, &ConfigNode),
    ) {
        let Some(container) = container else { return };
        let ConfigValue::Table(members) = &container.value.value else {
            out.rejected += 1;
            let message = format!("'{}' must be an object, not {}", container.key, container.value.type_name());
            return out.diagnostics.push(self.diagnostic(container.value.offset, message));
        };
        for member in members {
            if !matches!(member.value.value, ConfigValue::Table(_)) {
                let message = format!("'{}' is not a server entry: it is {}", member.key, member.value.type_name());
                out.diagnostics.push(self.diagnostic(member.offset, message));
                out.rejected += 1;
                continue;
            }
            let mut draft = ServerDraft::new(self.file.client, around, own_variables(&member.value));
            each(&mut draft, &member.key, &member.value);
            match draft.finish(member.offset).and_then(|server| self.build_entry(member, server, draft)) {
                Ok(entry) => out.servers.push(ImportedServer { project: around.project.clone(), ..entry }),
                Err(why) => {
                    let message = format!("'{}' cannot be imported: {why}", member.key);
                    out.diagnostics.push(self.diagnostic(member.offset, message));
                    out.rejected += 1;
                }
            }
        }
    }

    /// The entry, if mcpipe's own checks find nothing wrong with it.
    fn build_entry(
        &self,
        member: &ConfigMember,
        server: ConfigNode,
        draft: ServerDraft<'_>,
    ) -> Result<ImportedServer, String> {
        let name = sanitized_server_name(&member.key);
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
