//! What one server's entry says, checked, expanded and typed; and the defaults of all.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::policy::{ConfirmPolicy, ToolPolicy, compile_glob};
use crate::config::bearer::BearerSource;
use crate::config::file::client_forms::split_command;
use crate::config::file::tree::{ConfigMember, ConfigNode, ConfigValue};
use crate::config::keys;
use crate::config::keys::{AUTH_KEYS, AppliesTo, DEFAULTS_KEYS, SERVER_KEYS};
use crate::config::oauth::{
    ClientAuthMethod, Grant, OAuthSettings, ResourceParameter, SigningAlgorithm, check_param_name,
};
use crate::config::origin;
use crate::config::origin::{ConfigDiagnostic, ConfigFile, ConfigFormat, ValueOrigin};
use crate::config::paths::resolve_path;
use crate::config::server::ConfiguredServer;
use crate::config::table_check;
use crate::config::value::read::{CheckedTable, InheritEnv, Spanned, ValueReader};
use crate::config::value::secrets::Secrets;
use crate::env::Environment;
use crate::env::programs::is_path;
use crate::error::Result;
use crate::protocol::revision::RevisionPin;
use crate::secret::Secret;
use crate::transport::HttpMode;
use crate::util::limit::Limit;

/// The variables that Claude Code sets to the directory of a project's or of a plugin's `.mcp.json`
/// (<https://code.claude.com/docs/en/mcp>, <https://code.claude.com/docs/en/plugins-reference>).
pub(crate) const CLIENT_DIRECTORY_VARIABLES: [&str; 2] = ["CLAUDE_PROJECT_DIR", "CLAUDE_PLUGIN_ROOT"];

/// One server's entry, ready for use.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The file.
    pub source: Arc<ConfigFile>,
    /// The URL; exactly one of this and `command` is set.
    pub url: Option<Spanned<Secret>>,
    /// The program.
    pub command: Option<Spanned<String>>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its own variables.
    pub env: Vec<(String, Secret)>,
    /// Its directory.
    pub cwd: Option<PathBuf>,
    /// What it inherits.
    pub inherit_env: InheritEnv,
    /// Headers.
    pub headers: Vec<(String, Spanned<Secret>)>,
    /// The variable that holds the bearer token.
    pub bearer_env: Option<Spanned<String>>,
    /// The source of a bearer token that changes.
    pub bearer: Option<BearerSource>,
    /// `auto`, `http` or `sse`.
    pub transport: Option<HttpMode>,
    /// Which revisions may be spoken.
    pub protocol: RevisionPin,
    /// More authorities.
    pub cacert: Option<PathBuf>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// The proxy.
    pub proxy: Option<Spanned<Secret>>,
    /// Check no certificate.
    pub insecure: bool,
    /// Allow plain http anywhere.
    pub allow_http: bool,
    /// Whether the server's cookies are ignored.
    pub no_cookies: bool,
    /// The Unix socket to connect to, in place of the URL's host and port.
    pub unix_socket: Option<PathBuf>,
    /// Which tools, and when to ask; `confirm` is the default's where the entry has none.
    pub policy: ToolPolicy,
    /// How long to wait for an answer.
    pub timeout: Option<Limit<Duration>>,
    /// How long start and negotiation may take.
    pub connect_timeout: Option<Limit<Duration>>,
    /// After which time without use a session ends; `None` or zero for no session.
    pub keep_alive: Option<Duration>,
    /// Roots: directories (absolute) or `file://` URIs.
    pub roots: Vec<String>,
    /// How to log in.
    pub auth: OAuthSettings,
}

/// `[defaults]`, merged key by key.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// `auto`, `keyring` or `file`.
    pub credential_store: Option<String>,
    /// When a call needs consent.
    pub confirm: Option<ConfirmPolicy>,
    /// How long to wait for an answer.
    pub timeout: Option<Limit<Duration>>,
    /// How long start and negotiation may take.
    pub connect_timeout: Option<Limit<Duration>>,
    /// `auto`, `always` or `never`.
    pub color: Option<String>,
    /// How many servers are asked at a time.
    pub jobs: Option<u16>,
    /// Where each of them comes from.
    pub origins: BTreeMap<&'static str, ValueOrigin>,
}

impl Defaults {
    /// Lays the `[defaults]` of a file over these; hands back what the user should know.
    ///
    /// A project file that is not trusted cannot change what guards the user (consent, where credentials
    /// rest): those keys of it are passed over.
    pub(crate) fn merge(
        &mut self,
        environment: &Environment,
        source: &Arc<ConfigFile>,
        node: &ConfigNode,
        faults: &mut Vec<ConfigDiagnostic>,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        table_check::check_table(source, node, DEFAULTS_KEYS, "[defaults]", &mut wrong);
        if !wrong.is_empty() {
            faults.append(&mut wrong);
            return Vec::new();
        }
        let mut warnings = Vec::new();
        // No key of these holds a secret, which the check has made sure of.
        let secrets = Secrets::default();
        let mut reader = ValueReader::new(source, environment, &secrets);
        for member in node.members() {
            let Some(key) = keys::find_key(DEFAULTS_KEYS, &member.key) else { continue };
            if !source.is_trusted && !key.allowed_untrusted {
                warnings.push(format!(
                    "{} is not trusted, so its '{}' in [defaults] is ignored",
                    ConfigDiagnostic::at(source, member.offset, "the file"),
                    key.name
                ));
                continue;
            }
            let at = CheckedTable { node, keys: DEFAULTS_KEYS, section: "[defaults]" };
            match key.name {
                "credential_store" => self.credential_store = reader.string(at, key.name),
                "confirm" => self.confirm = reader.string(at, key.name).as_deref().and_then(ConfirmPolicy::parse),
                "timeout" => self.timeout = reader.time_limit(at, key.name),
                "connect_timeout" => self.connect_timeout = reader.time_limit(at, key.name),
                "color" => self.color = reader.string(at, key.name),
                "jobs" => self.jobs = reader.integer(at, key.name),
                other => debug_assert!(false, "the key '{other}' of [defaults] is not read"),
            }
            self.origins
                .insert(key.name, ValueOrigin { file: Arc::clone(source), line: source.line_at(member.offset) });
        }
        faults.append(&mut reader.diagnostics);
        warnings
    }
}

impl ConfiguredServer {
    /// Everything wrong with the entry as it is written, whatever the variables hold.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<ConfigDiagnostic> {
        let mut faults = Vec::new();
        table_check::check_table(&self.source, &self.entry, SERVER_KEYS, &self.section_name(), &mut faults);
        if faults.is_empty() {
            self.check_consistency(&mut faults);
        }
        faults
    }

    /// What is wrong between keys.
    fn check_consistency(&self, faults: &mut Vec<ConfigDiagnostic>) {
        let section = self.section_name();
        let mut fault = |at: usize, message: String| faults.push(ConfigDiagnostic::at(&self.source, at, message));
        let (url, command) = (self.entry.get("url"), self.entry.get("command"));
        match (url, command) {
            (Some(_), Some(command)) => fault(command.offset, format!("{section} has both 'url' and 'command'")),
            (None, None) if self.written_disabled_at().is_none() => {
                fault(self.offset, format!("{section} has neither 'url' nor 'command'"));
            }
            _ => {}
        }
        // What takes neither requests with headers nor TLS.
        let address = url.and_then(|url| url.value.as_str()).unwrap_or_default();
        let without_http = match address.split(':').next() {
            Some("unix") => Some("a Unix socket"),
            Some("replay") => Some("a recording"),
            _ => None,
        };
        let web_socket = address.starts_with("ws");
        for member in self.entry.members() {
            let fits = keys::find_key(SERVER_KEYS, &member.key).map_or(AppliesTo::Both, |key| key.applies_to);
            match (fits, url.is_some(), command.is_some()) {
                (AppliesTo::Url, true, false) if web_socket && member.key == "transport" => {
                    fault(member.offset, format!("'transport' in {section} does not apply to a WebSocket"));
                }
                (AppliesTo::Url, true, false) if member.key != "url" && without_http.is_some() => {
                    let what = without_http.unwrap_or_default();
                    fault(member.offset, format!("'{}' in {section} does not apply to {what}", member.key));
                }
                (AppliesTo::Command, true, false) => {
                    fault(
                        member.offset,
                        format!("'{}' in {section} applies only to a command, but the server is a URL", member.key),
                    );
                }
                (AppliesTo::Url, false, true) => {
                    fault(
                        member.offset,
                        format!("'{}' in {section} applies only to a URL, but the server is a command", member.key),
                    );
                }
                _ => {}
            }
        }
        if let Some(bearer) = self.entry.get("bearer") {
            let headers = self.entry.get("headers").map(|member| member.value.members()).unwrap_or_default();
            let other = match self.entry.get("bearer_env") {
                Some(_) => Some("'bearer_env'"),
                None => headers
                    .iter()
                    .any(|header| header.key.trim().eq_ignore_ascii_case("authorization"))
                    .then_some("a header 'Authorization'"),
            };
            if let Some(other) = other {
                fault(bearer.offset, format!("{section} has both 'bearer' and {other}"));
            }
        }
        let auth = |name: &str| self.entry.get("auth").and_then(|auth| auth.value.get(name));
        if let (Some(_), Some(uri)) = (auth("redirect_port"), auth("redirect_uri")) {
            let section = table_check::subsection_name(&section, "auth");
            fault(uri.offset, format!("{section} has both 'redirect_port' and 'redirect_uri'"));
        }
        if let (Some(key), None) = (self.entry.get("key"), self.entry.get("cert")) {
            fault(key.offset, format!("'key' in {section} needs 'cert'"));
        }
        for name in ["allow_tools", "deny_tools"] {
            let Some(ConfigMember { value: ConfigNode { value: ConfigValue::Array(items), .. }, .. }) =
                self.entry.get(name)
            else {
                continue;
            };
            for item in items {
                if let Some(Err(why)) = item.as_str().map(compile_glob) {
                    fault(item.offset, format!("'{name}' in {section} has an invalid pattern: {why}"));
                }
            }
        }
        if let Some(ConfigMember { value: ConfigNode { value: ConfigValue::Table(members), .. }, .. }) =
            self.entry.get("env")
        {
            for member in members {
                if member.key.is_empty() || member.key.contains(['=', '\0']) {
                    let why = "is not a valid variable name: it is empty or contains '='";
                    fault(member.offset, format!("'{}' in {section} {why}", member.key));
                }
            }
        }
    }

    /// The entry, checked and expanded.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::error::ErrorKind::Config) with everything that is wrong, each with its file and
    /// line; a variable or a secret that is missing is named together with the key that refers to it. What is
    /// missing afterwards ([`Secrets::take_missing`]) has to be fetched first.
    pub fn settings(
        &self,
        environment: &Environment,
        defaults: &Defaults,
        secrets: &Secrets<'_>,
    ) -> Result<ServerSettings> {
        let failure = |faults| origin::combine(&format!("'{}'", self.name), faults).server(&self.name);
        self.read_settings(environment, defaults, secrets).map_err(failure)
    }

    /// The entry, checked and expanded, or everything that is wrong with it.
    ///
    /// # Errors
    /// The faults; there is at least one.
    pub fn read_settings(
        &self,
        environment: &Environment,
        defaults: &Defaults,
        secrets: &Secrets<'_>,
    ) -> Result<ServerSettings, Vec<ConfigDiagnostic>> {
        let faults = self.diagnostics();
        if !faults.is_empty() {
            return Err(faults);
        }
        let section = self.section_name();
        let table = CheckedTable { node: &self.entry, keys: SERVER_KEYS, section: &section };
        let mut reader = ValueReader::new(&self.source, environment, secrets);
        reader.own_variables = self.directory_variables(environment);
        let env = reader.string_map(table, "env");
        reader.own_variables = self.own_variables(&env, std::mem::take(&mut reader.own_variables));
        let confirm = reader.string(table, "confirm").as_deref().and_then(ConfirmPolicy::parse);
        let settings = ServerSettings {
            source: Arc::clone(&self.source),
            url: reader.spanned_string(table, "url").map(to_secret),
            command: reader
                .spanned_string(table, "command")
                .map(|set| Spanned { value: self.resolve_program(environment, &set), offset: set.offset }),
            args: reader.string_list(table, "args").unwrap_or_default(),
            env: env.into_iter().map(|(name, set)| (name, Secret::new(set.value))).collect(),
            cwd: reader.path(table, "cwd").or_else(|| self.default_cwd()),
            inherit_env: reader.inherit_env(table, "inherit_env"),
            headers: reader
                .string_map(table, "headers")
                .into_iter()
                .map(|(name, set)| (name, to_secret(set)))
                .collect(),
            bearer_env: reader.spanned_string(table, "bearer_env"),
            bearer: reader.string(table, "bearer").and_then(|text| self.bearer_source(environment, &text)),
            transport: reader.string(table, "transport").as_deref().and_then(HttpMode::parse),
            protocol: reader
                .string(table, "protocol")
                .and_then(|word| RevisionPin::parse(&word).ok())
                .unwrap_or_default(),
            cacert: reader.path(table, "cacert"),
            cert: reader.path(table, "cert"),
            key: reader.path(table, "key"),
            proxy: reader.spanned_string(table, "proxy").map(to_secret),
            insecure: reader.boolean(table, "insecure"),
            allow_http: reader.boolean(table, "allow_http"),
            no_cookies: reader.boolean(table, "no_cookies"),
            unix_socket: reader.path(table, "unix_socket"),
            policy: ToolPolicy {
                allow_tools: reader.string_list(table, "allow_tools"),
                deny_tools: reader.string_list(table, "deny_tools").unwrap_or_default(),
                confirm: confirm.or(defaults.confirm).unwrap_or_default(),
                read_only: reader.boolean(table, "read_only"),
                locked: reader.path(table, "locked"),
                ..ToolPolicy::default()
            },
            timeout: reader.time_limit(table, "timeout").or(defaults.timeout),
            connect_timeout: reader.time_limit(table, "connect_timeout").or(defaults.connect_timeout),
            keep_alive: reader.duration(table, "keep_alive"),
            roots: self.read_roots(&mut reader, table),
            auth: self.read_auth(&mut reader),
        };
        if reader.diagnostics.is_empty() { Ok(settings) } else { Err(reader.diagnostics) }
    }

    /// What `${VAR}` means in the file of a project for Claude Code: the variables that Claude Code itself sets.
    fn directory_variables(&self, environment: &Environment) -> Vec<(String, String)> {
        let json = self.source.format == ConfigFormat::Json;
        let unset = CLIENT_DIRECTORY_VARIABLES.iter().filter(|name| json && environment.get_raw(name).is_none());
        let directory = self.source.directory().to_string_lossy();
        unset.map(|name| ((*name).to_owned(), directory.clone().into_owned())).collect()
    }

    /// What `${VAR}` means in the other values of the entry before the environment is asked: its own `env`, and then
    /// these directories.
    fn own_variables(
        &self,
        env: &[(String, Spanned<String>)],
        directories: Vec<(String, String)>,
    ) -> Vec<(String, String)> {
        let mut own: Vec<_> = env.iter().map(|(name, set)| (name.clone(), set.value.clone())).collect();
        // One whose value is missing has been reported already.
        for name in self.entry.get("env").map(|member| member.value.members()).unwrap_or_default() {
            if !own.iter().any(|(known, _)| *known == name.key) {
                own.push((name.key.clone(), String::new()));
            }
        }
        own.extend(directories);
        own
    }

    /// A program with a slash is a path, relative to the file; one without is looked up in `PATH`.
    fn resolve_program(&self, environment: &Environment, set: &Spanned<String>) -> String {
        // A whole command line, `npx @scope/server`, contains a slash too. It cannot be started, and is shown as it is.
        if is_path(&set.value) && split_command(&set.value, self.source.directory()).is_none() {
            resolve_path(environment, &self.source, &set.value).to_string_lossy().into_owned()
        } else {
            set.value.clone()
        }
    }

    /// A project's server starts in the project, whichever of its directories we are in.
    fn default_cwd(&self) -> Option<PathBuf> {
        let project = self.source.layer.is_project() && !self.is_url();
        project.then(|| self.source.directory().to_owned())
    }

    fn bearer_source(&self, environment: &Environment, text: &str) -> Option<BearerSource> {
        Some(match BearerSource::parse(text).ok()? {
            BearerSource::File(path) => {
                BearerSource::File(resolve_path(environment, &self.source, &path.to_string_lossy()))
            }
            other => other,
        })
    }

    fn read_roots(&self, reader: &mut ValueReader<'_>, table: CheckedTable<'_>) -> Vec<String> {
        let all = reader.string_list(table, "roots").unwrap_or_default();
        all.into_iter()
            .map(|root| match root.contains("://") {
                true => root,
                false => resolve_path(reader.environment, &self.source, &root).to_string_lossy().into_owned(),
            })
            .collect()
    }

    fn read_params(&self, reader: &mut ValueReader<'_>, table: CheckedTable<'_>) -> BTreeMap<String, String> {
        let params = reader.string_map(table, "params");
        for (name, set) in &params {
            if let Err(why) = check_param_name(name) {
                let message = format!("'params' in {} is invalid: {why}", table.section);
                reader.diagnostics.push(ConfigDiagnostic::at(&self.source, set.offset, message));
            }
        }
        params.into_iter().map(|(name, set)| (name, set.value)).collect()
    }

    fn read_auth(&self, reader: &mut ValueReader<'_>) -> OAuthSettings {
        let Some(member) = self.entry.get("auth") else { return OAuthSettings::default() };
        let section = table_check::subsection_name(&self.section_name(), "auth");
        let table = CheckedTable { node: &member.value, keys: AUTH_KEYS, section: &section };
        OAuthSettings {
            client_id: reader.string(table, "client_id"),
            client_secret: reader.string(table, "client_secret").map(Secret::new),
            scopes: reader.string_list(table, "scopes"),
            grant: reader.string(table, "grant").as_deref().and_then(Grant::parse),
            issuer: reader.string(table, "issuer"),
            client_name: reader.string(table, "client_name"),
            client_metadata_url: reader.string(table, "client_metadata_url"),
            redirect_port: reader.integer(table, "redirect_port"),
            redirect_uri: reader.string(table, "redirect_uri"),
            token_endpoint_auth_method: reader
                .string(table, "token_endpoint_auth_method")
                .as_deref()
                .and_then(ClientAuthMethod::parse),
            private_key_file: reader.path(table, "private_key_file"),
            signing_algorithm: reader.string(table, "signing_algorithm").as_deref().and_then(SigningAlgorithm::parse),
            assertion_file: reader.path(table, "assertion_file"),
            idp_token_endpoint: reader.string(table, "idp_token_endpoint"),
            idp_client_id: reader.string(table, "idp_client_id"),
            id_token_file: reader.path(table, "id_token_file"),
            resource: match table.node.get("resource").map(|member| &member.value.value) {
                Some(ConfigValue::Bool(false)) => Some(ResourceParameter::Omitted),
                _ => reader.string(table, "resource").map(ResourceParameter::Stated),
            },
            params: self.read_params(reader, table),
            dpop: reader.optional_boolean(table, "dpop"),
            allow_unadvertised_pkce: reader.optional_boolean(table, "allow_unadvertised_pkce"),
        }
    }
}

fn to_secret(set: Spanned<String>) -> Spanned<Secret> {
    Spanned { value: Secret::new(set.value), offset: set.offset }
}
