//! The configuration: which files count, what they say, and where each value comes from.
//!
//! Files are read into trees; servers are checked, trusted and expanded one by one when they are
//! used, so that one broken or incomplete entry is nobody else's trouble.

pub mod bearer;
pub mod file;
pub mod import;
pub mod json_schema;
pub mod keys;
mod lazy;
pub mod oauth;
pub mod origin;
pub mod paths;
pub mod policy;
pub mod redact;
mod server;
pub mod server_json;
pub mod settings;
pub mod source;
pub mod table_check;
pub mod trust;
pub mod value;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::file::tree::{ConfigMember, ConfigNode, ConfigValue};
pub use crate::config::lazy::LazyConfig;
use crate::config::origin::{ConfigDiagnostic, ConfigFile, ConfigFormat};
pub use crate::config::server::ConfiguredServer;
use crate::config::source::{detect_format, parse_file, read_file};
use crate::config::value::secrets::SecretReference;
use crate::env::Environment;
use crate::error::Result;
use crate::util::quoting;
use paths::ConfigPath;
use settings::Defaults;

/// Everything that the files of this run say.
#[derive(Debug, Default)]
pub struct Config {
    /// The places looked at, lowest first.
    pub paths: Vec<ConfigPath>,
    /// The files that were there, lowest first.
    pub files: Vec<Arc<ConfigFile>>,
    /// What holds for every configured server.
    pub defaults: Defaults,
    /// What the user should know, a sentence each.
    pub warnings: Vec<String>,
    /// What was passed over in files that belong to other clients too.
    pub notes: Vec<ConfigDiagnostic>,
    /// What is wrong with files of a project that was never trusted: they are passed over, since a checkout from
    /// somewhere must not disable the user's own servers.
    pub skipped_files: Vec<ConfigDiagnostic>,
    /// The file that `--config` names, as it was typed.
    explicit_file: Option<PathBuf>,
    servers: Vec<ConfiguredServer>,
    /// The secret variables of entries that others override.
    overridden_variables: Vec<String>,
}

impl Config {
    /// Reads the files of this run.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::error::ErrorKind::Config) where a file cannot be read or is no TOML or JSON, where
    /// the one named by `--config` or `MCPIPE_CONFIG` is missing, or where its top level or `[defaults]` is
    /// wrong. What is wrong with a server is reported when it is used, and what is wrong with a file of a project
    /// that was never trusted is kept in [`Config::skipped_files`].
    pub fn load(environment: &Environment, flag: Option<&Path>) -> Result<Self> {
        let (mut config, faults) = Config::read_layers(environment, flag);
        let (passed_over, faults): (Vec<_>, Vec<_>) = faults.into_iter().partition(|(_, strange)| *strange);
        config.skipped_files = passed_over.into_iter().map(|(fault, _)| fault).collect();
        match faults.first() {
            None => Ok(config),
            Some((first, _)) => {
                let what = first.file.clone();
                let faults = faults.into_iter().map(|(fault, _)| fault).filter(|fault| fault.file == what);
                Err(origin::combine(&what, faults.collect()))
            }
        }
    }

    /// A configuration with one server, which another file than a configuration file describes.
    #[must_use]
    pub fn of_server(server: ConfiguredServer) -> Self {
        Config { servers: vec![server], ..Config::default() }
    }

    /// Reads the files of this run as far as they can be read, and tells what is wrong with the others.
    #[must_use]
    pub fn load_lenient(environment: &Environment, flag: Option<&Path>) -> (Self, Vec<ConfigDiagnostic>) {
        let (config, faults) = Config::read_layers(environment, flag);
        (config, faults.into_iter().map(|(fault, _)| fault).collect())
    }

    /// With each fault, whether it is a stranger's: of a project that was never trusted.
    fn read_layers(environment: &Environment, flag: Option<&Path>) -> (Self, Vec<(ConfigDiagnostic, bool)>) {
        let mut config = Config {
            paths: paths::config_paths(environment, flag),
            explicit_file: flag.map(Path::to_owned),
            ..Config::default()
        };
        let mut faults = Vec::new();
        let mut store = OnceCell::new();
        for place in config.paths.clone() {
            if let Err(found) = config.add_file(environment, &place, &mut store) {
                let strange = place.layer.is_project() && is_never_trusted(environment, &place.path, &store);
                faults.extend(found.into_iter().map(|fault| (fault, strange)));
            }
        }
        config.servers.sort_by(|a, b| a.name.cmp(&b.name));
        (config, faults)
    }

    /// What the user should know of files that were passed over, a sentence each.
    pub fn skip_warnings(&self) -> impl Iterator<Item = String> {
        self.skipped_files.iter().map(|fault| format!("{fault}; the file is ignored (see: mcpipe config check)"))
    }

    fn add_file(
        &mut self,
        environment: &Environment,
        place: &ConfigPath,
        store: &mut OnceCell<trust::TrustStore>,
    ) -> Result<(), Vec<ConfigDiagnostic>> {
        let one = |fault: ConfigDiagnostic| vec![fault];
        let Some(text) = read_file(environment, place).map_err(one)? else { return Ok(()) };
        let (mut trusted, mut changed) = (true, false);
        if place.layer.is_project() {
            if store.get().is_none() {
                let _ = store.set(trust::TrustStore::load(environment).map_err(one)?);
            }
            trusted = store.get().is_some_and(|store| store.is_trusted(&place.path, &text));
            changed = !trusted && store.get().is_some_and(|store| store.was_ever_trusted(&place.path));
        }
        let format = place.format.unwrap_or_else(|| detect_format(&place.path, &text));
        let shown = environment.abbreviate_home(&place.path);
        let mut source = ConfigFile::new(place.path.clone(), shown, text, place.layer, format);
        source.is_trusted = trusted;
        let source = Arc::new(source);
        self.files.push(Arc::clone(&source));
        let root = parse_file(&source).map_err(one)?;
        let (servers, faults) = match format {
            ConfigFormat::Json => {
                let translated = file::mcp_json::translate_file(&source, &root).map_err(one)?;
                self.notes.extend(translated.notes);
                (translated.servers, Vec::new())
            }
            ConfigFormat::Toml => self.read_toml_file(environment, &source, &root),
        };
        // A stranger's file is passed over as a whole.
        if !faults.is_empty() && !trusted && !changed {
            return Err(faults);
        }
        for member in &servers {
            self.insert_server(ConfiguredServer {
                is_changed_since_trusted: changed,
                ..ConfiguredServer::new(&source, member)
            });
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Takes `[defaults]` of a file of our own, if nothing is wrong in it, and hands back its servers and what is wrong.
    fn read_toml_file(
        &mut self,
        environment: &Environment,
        source: &Arc<ConfigFile>,
        root: &ConfigNode,
    ) -> (Vec<ConfigMember>, Vec<ConfigDiagnostic>) {
        let mut faults = Vec::new();
        let mut servers = Vec::new();
        let mut warnings = Vec::new();
        let mut defaults = self.defaults.clone();
        for member in root.members() {
            match (member.key.as_str(), &member.value.value) {
                ("servers", ConfigValue::Table(members)) => servers.clone_from(members),
                ("servers", _) => {
                    let message = format!("'servers' must be a table, not {}", member.value.type_name());
                    faults.push(ConfigDiagnostic::at(source, member.value.offset, message));
                }
                ("defaults", _) => {
                    warnings = defaults.merge(environment, source, &member.value, &mut faults);
                }
                // Editors find the schema by it.
                ("$schema", _) => {}
                (other, _) => faults.push(table_check::unknown_key(source, member.offset, other, keys::FILE_KEYS, "")),
            }
        }
        if faults.is_empty() {
            self.defaults = defaults;
            self.warnings.append(&mut warnings);
        }
        (servers, faults)
    }

    /// Adds a server in the place of one of the same name of a lower layer.
    fn insert_server(&mut self, mut server: ConfiguredServer) {
        if let Some(at) = self.servers.iter().position(|other| other.name == server.name) {
            let old = self.servers.swap_remove(at);
            server.overrides_trusted_entry =
                old.overrides_trusted_entry || old.source.is_trusted || old.is_changed_since_trusted;
            let origin = old.origin();
            self.overridden_variables.extend(old.secret_variables());
            server.overridden = old.overridden;
            server.overridden.push(origin);
        }
        self.servers.push(server);
    }

    /// All servers by name.
    #[must_use]
    pub fn servers(&self) -> &[ConfiguredServer] {
        &self.servers
    }

    /// This command line, about the configuration that was read and no other.
    #[must_use]
    pub fn append_config_flag(&self, line: &str) -> String {
        match &self.explicit_file {
            Some(file) => format!("{line} --config {}", quoting::quote(&file.to_string_lossy())),
            None => line.to_owned(),
        }
    }

    /// The names of all that are not disabled.
    pub fn enabled_names(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().filter(|server| server.disabled_at().is_none()).map(|server| server.name.as_str())
    }

    /// The server of this name.
    #[must_use]
    pub fn server(&self, name: &str) -> Option<&ConfiguredServer> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// The names nearest to this one, best first.
    #[must_use]
    pub fn suggest(&self, name: &str) -> Vec<&str> {
        crate::util::suggest::nearest_names(name, self.servers.iter().map(|server| server.name.as_str()))
    }

    /// The same with this server in the place of the one of its name.
    #[must_use]
    pub fn with_server(mut self, server: ConfiguredServer) -> Self {
        self.servers.retain(|other| other.name != server.name);
        self.servers.push(server);
        self
    }

    /// The servers that refer to this secret of the credential store.
    #[must_use]
    pub fn servers_using_secret(&self, secret: &str) -> Vec<&str> {
        let named =
            |reference: &SecretReference| matches!(reference, SecretReference::Keychain(name) if name == secret);
        let refers = |server: &&ConfiguredServer| {
            let mut refers = false;
            server
                .entry
                .for_each_string(&mut |text, _| refers |= value::expand::secret_references(text).iter().any(named));
            refers
        };
        self.servers.iter().filter(refers).map(|server| server.name.as_str()).collect()
    }

    /// The variables that hold secrets of mcpipe's own: what `bearer_env` names and what `auth` refers to,
    /// of any server that is trusted, even if another file overrides it. No child inherits them.
    #[must_use]
    pub fn secret_variables(&self) -> Vec<String> {
        let mut names = self.overridden_variables.clone();
        names.extend(self.servers.iter().flat_map(ConfiguredServer::secret_variables));
        names
    }
}

/// Whether this file was trusted with no content at all. Where that cannot be told, it is not so.
fn is_never_trusted(environment: &Environment, path: &Path, store: &OnceCell<trust::TrustStore>) -> bool {
    match store.get() {
        Some(store) => !store.was_ever_trusted(path),
        None => trust::TrustStore::load(environment).is_ok_and(|store| !store.was_ever_trusted(path)),
    }
}

#[cfg(test)]
mod tests;
