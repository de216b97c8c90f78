//! What one server's entry says, checked, expanded and typed; and the defaults of all.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::origins::{self, Fault, Origin, Source};
use super::policy::{Confirm, Policy, glob};
use super::reader::{Reader, Table};
use super::schema::{self, AUTH, DEFAULTS, Fits, SERVER};
use super::secrets::Secrets;
use super::tree::{Member, Node, Value};
use super::{Server, relative_to};
use crate::env::Environment;
use crate::env::programs::is_path;
use crate::error::Result;
use crate::protocol::revision::Pin;
use crate::secret::Secret;

/// A value and the byte of its file where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: usize,
}

/// One server's entry, ready for use.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file.
    pub source: Arc<Source>,
    /// The URL; exactly one of this and `command` is set.
    pub url: Option<Set<Secret>>,
    /// The program.
    pub command: Option<Set<String>>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its own variables.
    pub env: Vec<(String, Secret)>,
    /// Its directory.
    pub cwd: Option<PathBuf>,
    /// What it inherits.
    pub inherit_env: Inherit,
    /// Headers.
    pub headers: Vec<(String, Set<Secret>)>,
    /// The variable that holds the bearer token.
    pub bearer_env: Option<Set<String>>,
    /// `auto`, `http` or `sse`.
    pub transport: Option<String>,
    /// Which revisions may be spoken.
    pub protocol: Pin,
    /// More authorities.
    pub cacert: Option<PathBuf>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// The proxy.
    pub proxy: Option<Set<Secret>>,
    /// Check no certificate.
    pub insecure: bool,
    /// Allow plain http anywhere.
    pub allow_http: bool,
    /// The Unix socket to connect to, in place of the URL's host and port.
    pub unix_socket: Option<PathBuf>,
    /// Which tools, and when to ask; `confirm` is the default's where the entry has none.
    pub policy: Policy,
    /// How long to wait for an answer.
    pub timeout: Option<Duration>,
    /// How long start and negotiation may take.
    pub connect_timeout: Option<Duration>,
    /// Roots: directories (absolute) or `file://` URIs.
    pub roots: Vec<String>,
    /// How to log in.
    pub auth: Auth,
}

/// What a child process inherits of our environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Inherit {
    /// Everything but mcpipe's own secrets.
    #[default]
    All,
    /// Nothing.
    Nothing,
    /// These variables.
    Names(Vec<String>),
}

/// `[servers.NAME.auth]`.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "each field is the key it is named after; see schema::AUTH")]
pub struct Auth {
    pub client_id: Option<String>,
    pub client_secret: Option<Secret>,
    pub scopes: Option<Vec<String>>,
    pub grant: Option<String>,
    pub issuer: Option<String>,
    pub client_metadata_url: Option<String>,
    pub redirect_port: Option<u16>,
    pub token_endpoint_auth_method: Option<String>,
    pub private_key_file: Option<PathBuf>,
    pub signing_algorithm: Option<String>,
    pub assertion_file: Option<PathBuf>,
    pub idp_token_endpoint: Option<String>,
    pub idp_client_id: Option<String>,
    pub id_token_file: Option<PathBuf>,
    pub dpop: bool,
    pub allow_unadvertised_pkce: bool,
}

/// `[defaults]`, merged key by key.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// `auto`, `keyring` or `file`.
    pub credential_store: Option<String>,
    /// When a call needs consent.
    pub confirm: Option<Confirm>,
    /// How long to wait for an answer.
    pub timeout: Option<Duration>,
    /// How long start and negotiation may take.
    pub connect_timeout: Option<Duration>,
    /// `auto`, `always` or `never`.
    pub color: Option<String>,
    /// How many servers are asked at a time.
    pub jobs: Option<u16>,
    /// Where each of them comes from.
    pub origins: BTreeMap<&'static str, Origin>,
}

impl Defaults {
    /// Lays the `[defaults]` of a file over these; hands back what the user should know.
    ///
    /// A project file that is not trusted cannot change what guards the user (consent, where credentials
    /// rest): those keys of it are passed over.
    pub(super) fn merge(
        &mut self,
        environment: &Environment,
        source: &Arc<Source>,
        node: &Node,
        faults: &mut Vec<Fault>,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        schema::check(source, node, DEFAULTS, "[defaults]", &mut wrong);
        if !wrong.is_empty() {
            faults.append(&mut wrong);
            return Vec::new();
        }
        let mut warnings = Vec::new();
        // No key of these holds a secret, which the check has made sure of.
        let secrets = Secrets::default();
        let mut reader = Reader::new(source, environment, &secrets);
        for member in node.members() {
            let Some(key) = schema::find(DEFAULTS, &member.key) else { continue };
            if !source.trusted && !key.harmless {
                warnings.push(format!(
                    "{} is not trusted, so its '{}' in [defaults] does not count",
                    Fault::new(source, member.at, "the file"),
                    key.name
                ));
                continue;
            }
            let at = Table { node, keys: DEFAULTS, section: "[defaults]" };
            match key.name {
                "credential_store" => self.credential_store = reader.plain(at, key.name),
                "confirm" => self.confirm = reader.plain(at, key.name).as_deref().and_then(Confirm::parse),
                "timeout" => self.timeout = reader.time(at, key.name),
                "connect_timeout" => self.connect_timeout = reader.time(at, key.name),
                "color" => self.color = reader.plain(at, key.name),
                _ => self.jobs = reader.whole(at, key.name),
            }
            self.origins.insert(key.name, Origin::File(Arc::clone(source), source.line(member.at)));
        }
        faults.append(&mut reader.faults);
        warnings
    }
}

impl Server {
    /// Everything wrong with the entry as it is written, whatever the variables hold.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        schema::check(&self.source, &self.entry, SERVER, &self.section(), &mut faults);
        if faults.is_empty() {
            self.coherent(&mut faults);
        }
        faults
    }

    /// What is wrong between keys.
    fn coherent(&self, faults: &mut Vec<Fault>) {
        let section = self.section();
        let mut fault = |at: usize, message: String| faults.push(Fault::new(&self.source, at, message));
        let (url, command) = (self.entry.get("url"), self.entry.get("command"));
        match (url, command) {
            (Some(_), Some(command)) => fault(command.at, format!("{section} has both 'url' and 'command'")),
            (None, None) if self.disabled().is_none() => {
                fault(self.at, format!("{section} has neither 'url' nor 'command'"));
            }
            _ => {}
        }
        // Over such a socket go lines, and neither requests with headers nor TLS.
        let address = url.and_then(|url| url.value.as_text()).unwrap_or_default();
        let (socket, web_socket) = (address.starts_with("unix:"), address.starts_with("ws"));
        for member in self.entry.members() {
            let fits = schema::find(SERVER, &member.key).map_or(Fits::Both, |key| key.fits);
            match (fits, url.is_some(), command.is_some()) {
                (Fits::Url, true, false) if web_socket && member.key == "transport" => {
                    fault(member.at, format!("'transport' in {section} has no meaning for a WebSocket"));
                }
                (Fits::Url, true, false) if socket && member.key != "url" => {
                    fault(member.at, format!("'{}' in {section} has no meaning for a Unix socket", member.key));
                }
                (Fits::Command, true, false) => {
                    fault(member.at, format!("'{}' in {section} is for a command, and this is a URL", member.key));
                }
                (Fits::Url, false, true) => {
                    fault(member.at, format!("'{}' in {section} is for a URL, and this is a command", member.key));
                }
                _ => {}
            }
        }
        if let (Some(key), None) = (self.entry.get("key"), self.entry.get("cert")) {
            fault(key.at, format!("'key' in {section} needs 'cert'"));
        }
        for name in ["allow_tools", "deny_tools"] {
            let Some(Member { value: Node { value: Value::List(items), .. }, .. }) = self.entry.get(name) else {
                continue;
            };
            for item in items {
                if let Some(Err(why)) = item.as_text().map(glob) {
                    fault(item.at, format!("'{name}' in {section} holds a pattern that cannot be read: {why}"));
                }
            }
        }
        if let Some(Member { value: Node { value: Value::Table(members), .. }, .. }) = self.entry.get("env") {
            for member in members {
                if member.key.is_empty() || member.key.contains(['=', '\0']) {
                    fault(member.at, format!("'{}' in {section} cannot be the name of a variable", member.key));
                }
            }
        }
    }

    /// The entry, checked and expanded.
    ///
    /// # Errors
    /// [`Class::Config`](crate::error::Class::Config) with everything that is wrong, each with its file and
    /// line; a variable or a secret that is missing is named together with the key that refers to it. What is
    /// [wanted](Secrets::wanted) afterwards has to be fetched first.
    pub fn settings(&self, environment: &Environment, defaults: &Defaults, secrets: &Secrets<'_>) -> Result<Settings> {
        let failure = |faults| origins::failure(&format!("'{}'", self.name), faults).server(&self.name);
        self.read(environment, defaults, secrets).map_err(failure)
    }

    /// The entry, checked and expanded, or everything that is wrong with it.
    ///
    /// # Errors
    /// The faults; there is at least one.
    pub fn read(
        &self,
        environment: &Environment,
        defaults: &Defaults,
        secrets: &Secrets<'_>,
    ) -> Result<Settings, Vec<Fault>> {
        let faults = self.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        let section = self.section();
        let table = Table { node: &self.entry, keys: SERVER, section: &section };
        let mut reader = Reader::new(&self.source, environment, secrets);
        let confirm = reader.plain(table, "confirm").as_deref().and_then(Confirm::parse);
        let settings = Settings {
            source: Arc::clone(&self.source),
            url: reader.text(table, "url").map(secret),
            command: reader
                .text(table, "command")
                .map(|set| Set { value: self.program(environment, &set), at: set.at }),
            args: reader.texts(table, "args").unwrap_or_default(),
            env: reader.pairs(table, "env").into_iter().map(|(name, set)| (name, Secret::new(set.value))).collect(),
            cwd: reader.path(table, "cwd").or_else(|| self.default_cwd()),
            inherit_env: reader.inherit(table, "inherit_env"),
            headers: reader.pairs(table, "headers").into_iter().map(|(name, set)| (name, secret(set))).collect(),
            bearer_env: reader.text(table, "bearer_env"),
            transport: reader.plain(table, "transport"),
            protocol: reader.plain(table, "protocol").and_then(|word| Pin::parse(&word).ok()).unwrap_or_default(),
            cacert: reader.path(table, "cacert"),
            cert: reader.path(table, "cert"),
            key: reader.path(table, "key"),
            proxy: reader.text(table, "proxy").map(secret),
            insecure: reader.flag(table, "insecure"),
            allow_http: reader.flag(table, "allow_http"),
            unix_socket: reader.path(table, "unix_socket"),
            policy: Policy {
                allow_tools: reader.texts(table, "allow_tools"),
                deny_tools: reader.texts(table, "deny_tools").unwrap_or_default(),
                confirm: confirm.or(defaults.confirm).unwrap_or_default(),
            },
            timeout: reader.time(table, "timeout").or(defaults.timeout),
            connect_timeout: reader.time(table, "connect_timeout").or(defaults.connect_timeout),
            roots: self.roots(&mut reader, table),
            auth: self.auth(&mut reader),
        };
        if reader.faults.is_empty() { Ok(settings) } else { Err(reader.faults) }
    }

    /// A program with a slash is a path, relative to the file; one without is looked up in `PATH`.
    fn program(&self, environment: &Environment, set: &Set<String>) -> String {
        if is_path(&set.value) {
            relative_to(environment, &self.source, &set.value).to_string_lossy().into_owned()
        } else {
            set.value.clone()
        }
    }

    /// A project's server starts in the project, whichever of its directories we are in.
    fn default_cwd(&self) -> Option<PathBuf> {
        let project = self.source.layer.is_project() && !self.is_url();
        project.then(|| self.source.directory().to_owned())
    }

    fn roots(&self, reader: &mut Reader<'_>, table: Table<'_>) -> Vec<String> {
        let all = reader.texts(table, "roots").unwrap_or_default();
        all.into_iter()
            .map(|root| match root.contains("://") {
                true => root,
                false => relative_to(reader.environment, &self.source, &root).to_string_lossy().into_owned(),
            })
            .collect()
    }

    fn auth(&self, reader: &mut Reader<'_>) -> Auth {
        let Some(member) = self.entry.get("auth") else { return Auth::default() };
        let section = schema::inside(&self.section(), "auth");
        let table = Table { node: &member.value, keys: AUTH, section: &section };
        Auth {
            client_id: reader.plain(table, "client_id"),
            client_secret: reader.plain(table, "client_secret").map(Secret::new),
            scopes: reader.texts(table, "scopes"),
            grant: reader.plain(table, "grant"),
            issuer: reader.plain(table, "issuer"),
            client_metadata_url: reader.plain(table, "client_metadata_url"),
            redirect_port: reader.whole(table, "redirect_port"),
            token_endpoint_auth_method: reader.plain(table, "token_endpoint_auth_method"),
            private_key_file: reader.path(table, "private_key_file"),
            signing_algorithm: reader.plain(table, "signing_algorithm"),
            assertion_file: reader.path(table, "assertion_file"),
            idp_token_endpoint: reader.plain(table, "idp_token_endpoint"),
            idp_client_id: reader.plain(table, "idp_client_id"),
            id_token_file: reader.path(table, "id_token_file"),
            dpop: reader.flag(table, "dpop"),
            allow_unadvertised_pkce: reader.flag(table, "allow_unadvertised_pkce"),
        }
    }
}

fn secret(set: Set<String>) -> Set<Secret> {
    Set { value: Secret::new(set.value), at: set.at }
}
