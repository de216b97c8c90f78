//! The configuration: which files count, what they say, and where each value comes from.
//!
//! Files are read into trees; servers are checked, trusted and expanded one by one when they are
//! used, so that one broken or incomplete entry is nobody else's trouble.

pub mod edit;
pub mod expand;
pub mod import;
pub mod json_schema;
mod lookup;
pub mod mcp_json;
pub mod origins;
pub mod paths;
pub mod policy;
mod reader;
pub mod rewrite;
pub mod schema;
pub mod secrets;
pub mod settings;
pub mod shown;
pub mod tree;
pub mod trust;

use std::cell::OnceCell;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::Environment;
use crate::error::{Failure, Result};
use crate::shell;
pub use lookup::Lookup;
use origins::{Fault, Format, Layer, Origin, Source};
use paths::Place;
use secrets::Reference;
use settings::Defaults;
use tree::{Member, Node, Value};

/// Everything that the files of this run say.
#[derive(Debug, Default)]
pub struct Config {
    /// The places looked at, lowest first.
    pub places: Vec<Place>,
    /// The files that were there, lowest first.
    pub sources: Vec<Arc<Source>>,
    /// What holds for every configured server.
    pub defaults: Defaults,
    /// What the user should know, a sentence each.
    pub warnings: Vec<String>,
    /// What was passed over in files that belong to other clients too.
    pub notes: Vec<Fault>,
    /// What is wrong with files of a project that was never trusted: they are passed over, since a checkout from
    /// somewhere must not disable the user's own servers.
    pub passed_over: Vec<Fault>,
    /// The file that `--config` names, as it was typed.
    named: Option<PathBuf>,
    servers: Vec<Server>,
}

/// One configured server, as written.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// The file it is in.
    pub source: Arc<Source>,
    /// Where its name stands in the file.
    pub at: usize,
    /// What is written there, under mcpipe's own keys.
    pub entry: Node,
    /// The entries of lower layers whose place it takes, lowest first.
    pub replaces: Vec<Origin>,
    /// Whether one of them is the user's own.
    replaces_users: bool,
    /// Whether its file was trusted with another content.
    changed: bool,
}

impl Config {
    /// Reads the files of this run.
    ///
    /// # Errors
    /// [`Class::Config`](crate::error::Class::Config) where a file cannot be read or is no TOML or JSON, where
    /// the one named by `--config` or `MCPIPE_CONFIG` is missing, or where its top level or `[defaults]` is
    /// wrong. What is wrong with a server is reported when it is used, and what is wrong with a file of a project
    /// that was never trusted is kept in [`Config::passed_over`].
    pub fn load(environment: &Environment, flag: Option<&Path>) -> Result<Self> {
        let (mut config, faults) = Config::read(environment, flag);
        let (passed_over, faults): (Vec<_>, Vec<_>) = faults.into_iter().partition(|(_, strange)| *strange);
        config.passed_over = passed_over.into_iter().map(|(fault, _)| fault).collect();
        match faults.first() {
            None => Ok(config),
            Some((first, _)) => {
                let what = first.file.clone();
                let faults = faults.into_iter().map(|(fault, _)| fault).filter(|fault| fault.file == what);
                Err(origins::failure(&what, faults.collect()))
            }
        }
    }

    /// Reads the files of this run as far as they can be read, and tells what is wrong with the others.
    #[must_use]
    pub fn survey(environment: &Environment, flag: Option<&Path>) -> (Self, Vec<Fault>) {
        let (config, faults) = Config::read(environment, flag);
        (config, faults.into_iter().map(|(fault, _)| fault).collect())
    }

    /// With each fault, whether it is a stranger's: of a project that was never trusted.
    fn read(environment: &Environment, flag: Option<&Path>) -> (Self, Vec<(Fault, bool)>) {
        let mut config =
            Config { places: paths::places(environment, flag), named: flag.map(Path::to_owned), ..Config::default() };
        let mut faults = Vec::new();
        let mut store = OnceCell::new();
        for place in config.places.clone() {
            if let Err(found) = config.add(environment, &place, &mut store) {
                let strange = place.layer.is_project() && never_trusted(environment, &place.path, &store);
                faults.extend(found.into_iter().map(|fault| (fault, strange)));
            }
        }
        config.servers.sort_by(|a, b| a.name.cmp(&b.name));
        (config, faults)
    }

    /// What the user should know of files that were passed over, a sentence each.
    pub fn unread(&self) -> impl Iterator<Item = String> {
        self.passed_over.iter().map(|fault| format!("{fault}; the file is passed over (mcpipe config check)"))
    }

    fn add(
        &mut self,
        environment: &Environment,
        place: &Place,
        store: &mut OnceCell<trust::Store>,
    ) -> Result<(), Vec<Fault>> {
        let one = |fault: Fault| vec![fault];
        let Some(text) = read(environment, place).map_err(one)? else { return Ok(()) };
        let (mut trusted, mut changed) = (true, false);
        if place.layer.is_project() {
            if store.get().is_none() {
                let _ = store.set(trust::Store::load(environment).map_err(one)?);
            }
            trusted = store.get().is_some_and(|store| store.trusts(&place.path, &text));
            changed = !trusted && store.get().is_some_and(|store| store.knew(&place.path));
        }
        let format = place.format.unwrap_or_else(|| sniff(&place.path, &text));
        let shown = environment.shorten(&place.path);
        let source = Arc::new(Source { path: place.path.clone(), shown, text, layer: place.layer, format, trusted });
        self.sources.push(Arc::clone(&source));
        let root = parse(&source).map_err(one)?;
        let servers = match format {
            Format::Json => {
                let translated = mcp_json::translate(&source, &root).map_err(one)?;
                self.notes.extend(translated.notes);
                translated.servers
            }
            Format::Toml => self.own_file(environment, &source, &root)?,
        };
        for member in &servers {
            self.put(Server { changed, ..Server::new(&source, member) });
        }
        Ok(())
    }

    /// Takes `[defaults]` of a file of our own and hands back its servers.
    fn own_file(
        &mut self,
        environment: &Environment,
        source: &Arc<Source>,
        root: &Node,
    ) -> Result<Vec<Member>, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut servers = Vec::new();
        for member in root.members() {
            match (member.key.as_str(), &member.value.value) {
                ("servers", Value::Table(members)) => servers.clone_from(members),
                ("servers", _) => {
                    let message = format!("'servers' must be a table, and is {}", member.value.kind());
                    faults.push(Fault::new(source, member.value.at, message));
                }
                ("defaults", _) => {
                    self.warnings.extend(self.defaults.merge(environment, source, &member.value, &mut faults));
                }
                // Editors find the schema by it.
                ("$schema", _) => {}
                (other, _) => faults.push(schema::unknown(source, member.at, other, schema::FILE, "")),
            }
        }
        if faults.is_empty() { Ok(servers) } else { Err(faults) }
    }

    /// Adds a server in the place of one of the same name of a lower layer.
    fn put(&mut self, mut server: Server) {
        if let Some(at) = self.servers.iter().position(|other| other.name == server.name) {
            let old = self.servers.swap_remove(at);
            server.replaces_users = old.replaces_users || old.source.layer == Layer::User;
            let origin = old.origin();
            server.replaces = old.replaces;
            server.replaces.push(origin);
        }
        self.servers.push(server);
    }

    /// All servers by name.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// This command line, about the configuration that was read and no other.
    #[must_use]
    pub fn followed(&self, line: &str) -> String {
        match &self.named {
            Some(file) => format!("{line} --config {}", shell::quoted(&file.to_string_lossy())),
            None => line.to_owned(),
        }
    }

    /// The names of all that are not disabled.
    pub fn enabled(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().filter(|server| server.disabled().is_none()).map(|server| server.name.as_str())
    }

    /// The server of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Server> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// The names nearest to this one, best first.
    #[must_use]
    pub fn near(&self, name: &str) -> Vec<&str> {
        crate::near::near(name, self.servers.iter().map(|server| server.name.as_str()))
    }

    /// The same with this server in the place of the one of its name.
    #[must_use]
    pub fn with(mut self, server: Server) -> Self {
        self.servers.retain(|other| other.name != server.name);
        self.servers.push(server);
        self
    }

    /// The servers that refer to this secret of the credential store.
    #[must_use]
    pub fn users_of(&self, secret: &str) -> Vec<&str> {
        let named = |reference: &Reference| matches!(reference, Reference::Keychain(name) if name == secret);
        let refers = |server: &&Server| {
            let mut refers = false;
            server.entry.each_text(&mut |text| refers |= expand::secrets(text).iter().any(named));
            refers
        };
        self.servers.iter().filter(refers).map(|server| server.name.as_str()).collect()
    }

    /// The variables that hold secrets of mcpipe's own: what `bearer_env` names and what `auth` refers to,
    /// of any server. No child inherits them.
    #[must_use]
    pub fn secret_variables(&self) -> Vec<String> {
        let mut names = Vec::new();
        for server in &self.servers {
            if let Some(name) = server.entry.get("bearer_env").and_then(|member| member.value.as_text()) {
                names.push(name.to_owned());
            }
            if let Some(auth) = server.entry.get("auth") {
                auth.value.each_text(&mut |text| names.extend(expand::references(text)));
            }
        }
        names
    }
}

/// Whether this file was trusted with no content at all. Where that cannot be told, it is not so.
fn never_trusted(environment: &Environment, path: &Path, store: &OnceCell<trust::Store>) -> bool {
    match store.get() {
        Some(store) => !store.knew(path),
        None => trust::Store::load(environment).is_ok_and(|store| !store.knew(path)),
    }
}

impl Server {
    /// The entry of this member of a file.
    #[must_use]
    pub fn new(source: &Arc<Source>, member: &Member) -> Self {
        Server {
            name: member.key.clone(),
            source: Arc::clone(source),
            at: member.at,
            entry: member.value.clone(),
            replaces: Vec::new(),
            replaces_users: false,
            changed: false,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin::File(Arc::clone(&self.source), self.source.line(self.at))
    }

    /// The table it is in, for messages.
    #[must_use]
    pub fn section(&self) -> String {
        match self.source.format {
            Format::Toml => format!("[servers.{}]", self.name),
            Format::Json => format!("'{}'", self.name),
        }
    }

    /// Whether it is behind a URL; otherwise it is started as a command.
    #[must_use]
    pub fn is_url(&self) -> bool {
        self.entry.get("url").is_some()
    }

    /// The byte at which it is switched off, where it is.
    #[must_use]
    pub fn disabled(&self) -> Option<usize> {
        self.entry.get("disabled").filter(|member| member.value.value == Value::Flag(true)).map(|member| member.at)
    }

    /// Why it needs the trust that its file does not have.
    #[must_use]
    pub fn untrusted(&self) -> Option<String> {
        if self.source.trusted { None } else { trust::reason(&self.source, &self.entry, self.replaces_users) }
    }

    /// Whether it may be used at all.
    ///
    /// # Errors
    /// [`Class::Config`](crate::error::Class::Config) where it is switched off, or needs trust that its file does not have.
    pub fn usable(&self) -> Result<()> {
        if let Some(at) = self.disabled() {
            let fault = Fault::new(&self.source, at, format!("'{}' is disabled", self.name));
            return Err(Failure::from(fault.hint("take 'disabled' out of the entry to use it")));
        }
        match self.untrusted() {
            Some(reason) => Err(trust::refused(&self.source, &self.name, &reason, self.changed)),
            None => Ok(()),
        }
    }
}

/// Reads a file; `None` where it does not exist and need not.
fn read(environment: &Environment, place: &Place) -> Result<Option<String>, Fault> {
    let fault = |message: &str| Fault::whole(&environment.shorten(&place.path), message);
    let bytes = match std::fs::read(&place.path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound && place.layer != Layer::Chosen => return Ok(None),
        // A file where a directory should be: there is nothing below it.
        Err(error) if error.kind() == ErrorKind::NotADirectory && place.layer == Layer::User => return Ok(None),
        Err(error) => return Err(fault("the configuration file cannot be read").cause(error.to_string())),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count() + 1;
            Err(Fault { line, ..fault("the file is not UTF-8 text") })
        }
    }
}

/// The tree of a file.
///
/// # Errors
/// The fault, naming file, line, column and cause.
pub fn parse(source: &Source) -> Result<Node, Fault> {
    let (parsed, language) = match source.format {
        Format::Toml => (tree::parse_toml(&source.text), "TOML"),
        Format::Json => (tree::parse_json(&source.text), "JSON"),
    };
    parsed.map_err(|error| {
        let fault = Fault::new(source, error.at, format!("this is not {language}")).cause(error.message);
        Fault { column: source.column(error.at), ..fault }
    })
}

/// A file that somebody names may be of either kind; no TOML begins with a brace.
fn sniff(path: &Path, text: &str) -> Format {
    let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    if json || text.trim_start().starts_with('{') { Format::Json } else { Format::Toml }
}

/// A path of a configuration file: `~/` below home, anything relative below the file's own directory.
#[must_use]
pub fn relative_to(environment: &Environment, source: &Source, text: &str) -> PathBuf {
    // Going over the components drops every `.` between them.
    source.directory().join(environment.expand_tilde(text)).components().collect()
}

#[cfg(test)]
mod tests;
