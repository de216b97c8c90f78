//! Which session a command uses.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::commands::client_features;
use crate::commands::context::Context;
use crate::commands::recording::recorded_server_name;
use crate::commands::timeouts::DEFAULT_IDLE;
use crate::commands::usage_errors::line_with_target_of;
use crate::config::Config;
use crate::config::redact::{Sensitivity, redact_arguments, redact_value};
use crate::error::{Failure, Result};
use crate::session::SessionOptions;
use crate::session::cache::identity::{hash_field, inherited_variables, modified_nanos};
use crate::session::cache::short_hex;
use crate::target::{Target, TargetName, TargetWord, classify_word};
use crate::transport::kept::files::{
    KeeperSpec, KeptSession, SessionFiles, SessionRecord, is_private_directory, session_dir,
};
use crate::transport::process::is_running;
use crate::transport::{Endpoint, StdioEndpoint, TransportOptions};
use crate::util::quoting::{self, quote};

/// The part of the identity of a session that names its server.
const SERVER_PART: &str = "the command line or URL";
/// The number of hexadecimal digits of a digest.
const DIGEST_LENGTH: usize = 4;
/// How many differences to a session are named.
const MAX_SHOWN_DIFFERENCES: usize = 4;

impl Context {
    /// Uses the session of this target, if there is one or the configuration asks for one.
    pub(in crate::commands) fn with_kept_session(
        &self,
        target: &Target,
        mut options: SessionOptions,
    ) -> Result<SessionOptions> {
        let keep_alive = target.keep_alive.filter(|time| !time.is_zero());
        let dir = session_dir(&self.env);
        // Most users have no session, and do not pay for it.
        if self.global.no_session || !can_be_kept(target) || (keep_alive.is_none() && !is_private_directory(&dir)) {
            return Ok(options);
        }
        let files = self.session_files(target, &options)?;
        let is_running = files.has_session();
        if !is_running && SessionFiles::all(&dir).iter().any(SessionFiles::has_session) {
            let identity = self.session_identity(target, &options)?;
            match nearest_session(&dir, target, &identity) {
                // A command may connect more than once.
                Some((name, differences)) => self.unused_session.call_once(|| {
                    let differences = list_differences(&differences);
                    let text = format!("not using the session '{name}': this command differs in {differences}");
                    if self.ui.is_json() { self.ui.warn(&text) } else { self.ui.note(&text) }
                }),
                None if keep_alive.is_some() => {}
                None => options.transport.trace.note("not using a session: none is running for this exact target"),
            }
        }
        if keep_alive.is_some() || is_running {
            let record = files.record();
            let known = record.as_ref().map(|record| Duration::from_millis(record.idle_ms));
            let idle = known.or(keep_alive).unwrap_or(DEFAULT_IDLE);
            let name = record.map_or_else(|| free_name(&files, &default_name(target)), |record| record.name);
            options.transport.kept = self.kept_session(target, files, name, idle, keep_alive.is_some());
        }
        Ok(options)
    }

    /// What a session belongs to: everything that makes a difference to the server or to the connection, with a name
    /// for it.
    fn session_parts(&self, target: &Target, options: &SessionOptions) -> Result<Vec<(String, Vec<u8>)>> {
        let mut parts = Vec::new();
        let mut add = |name: &str, value: &[u8]| parts.push((name.to_owned(), value.to_owned()));
        add("the version of mcpipe", env!("CARGO_PKG_VERSION").as_bytes());
        add("the login", options.identity.as_deref().unwrap_or_default().as_bytes());
        add("--protocol", format!("{:?}", target.protocol).as_bytes());
        for root in client_features::roots(self, target)? {
            add("--root", root.uri.as_bytes());
        }
        match &target.endpoint {
            Endpoint::Stdio(endpoint) => {
                add(SERVER_PART, endpoint.program.as_bytes());
                endpoint.args.iter().for_each(|arg| add(SERVER_PART, arg.as_bytes()));
                add("the working directory", self.child_dir(endpoint).as_os_str().as_encoded_bytes());
                add("the variable PATH", endpoint.search_path().unwrap_or_default().as_encoded_bytes());
                for (name, value) in inherited_variables(endpoint) {
                    add(&format!("the variable {}", name.to_string_lossy()), value.as_encoded_bytes());
                }
                for (name, value) in &endpoint.env {
                    add(&format!("the variable {name}"), value.reveal().as_bytes());
                }
            }
            Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) => {
                add(SERVER_PART, endpoint.url.as_str().as_bytes());
                let proxy = endpoint.proxy.as_ref().map(|proxy| proxy.reveal()).unwrap_or_default();
                add("the proxy", proxy.as_bytes());
                let (tls, socket) = (&endpoint.tls, &endpoint.unix_socket);
                let (no_cookies, mode) = (endpoint.no_cookies, endpoint.mode.name());
                add("connection options", format!("{tls:?} {socket:?} {no_cookies} {mode}").as_bytes());
                if let Some(cert) = &tls.cert {
                    // A renewed certificate has the same name.
                    add("the client certificate", &modified_nanos(cert).to_le_bytes());
                }
                for (name, value) in &endpoint.headers {
                    add(&format!("the header {name}"), value.reveal().as_bytes());
                }
            }
            Endpoint::Unix(endpoint) => add(SERVER_PART, endpoint.path.as_os_str().as_encoded_bytes()),
            Endpoint::Replay(_) => {}
        }
        Ok(parts)
    }

    /// What a session belongs to, named, with a short digest of each value.
    fn session_identity(&self, target: &Target, options: &SessionOptions) -> Result<BTreeMap<String, String>> {
        let mut hashes: BTreeMap<String, Sha256> = BTreeMap::new();
        for (name, value) in self.session_parts(target, options)? {
            hash_field(hashes.entry(name).or_default(), value);
        }
        let digest = |hash| short_hex(hash)[..DIGEST_LENGTH].to_owned();
        Ok(hashes.into_iter().map(|(name, hash)| (name, digest(hash))).collect())
    }

    /// The working directory of a child process, whether it is set for the server or inherited.
    fn child_dir(&self, endpoint: &StdioEndpoint) -> PathBuf {
        let here = self.env.cwd().unwrap_or(Path::new(""));
        endpoint.cwd.as_ref().map_or_else(|| here.to_owned(), |dir| here.join(dir))
    }

    /// Replaces the hint of a failure for a word that is not a configured server, if a session has that name.
    pub(in crate::commands) fn with_session_hint(&self, word: &str, failure: Failure) -> Failure {
        let all = SessionFiles::all(&session_dir(&self.env));
        let mut records = all.iter().filter_map(SessionFiles::record);
        match records.find(|record| record.name == word && is_running(record.pid)) {
            Some(record) => failure
                .cause(format!(
                    "'{word}' is the name of a session, which only `session stop` and `session logs` accept"
                ))
                .hint(match record.list_command.as_str() {
                    // An older version wrote none.
                    "" => "find the target of the session, and name that: mcpipe session list".to_owned(),
                    line if self.lists_removed_server(line) => format!(
                        "its server is no longer configured here; to stop the session: mcpipe session stop {}",
                        quote(word)
                    ),
                    line => {
                        let arguments: Vec<OsString> = std::env::args_os().collect();
                        let own = line_with_target_of(line, word, &arguments);
                        format!("name the target of the session: {}", own.as_deref().unwrap_or(line))
                    }
                }),
            None => failure,
        }
    }

    /// Whether the command that lists a session's target names a server that is not configured, or not any more.
    fn lists_removed_server(&self, line: &str) -> bool {
        let words = quoting::split(line).unwrap_or_default();
        let Some(Ok(TargetWord::Name(server))) = words.get(2).map(|word| classify_word(word)) else { return false };
        let file = words.iter().position(|word| word == "--config").and_then(|at| words.get(at + 1)).map(Path::new);
        let (config, _) = Config::load_lenient(&self.env, file.or(self.global.config.as_deref()));
        !server.starts_with('-') && config.server(&server).is_none()
    }

    /// The session with these files, to which a connection is being opened.
    pub(super) fn kept_session(
        &self,
        target: &Target,
        files: SessionFiles,
        name: String,
        idle: Duration,
        keeps_alive: bool,
    ) -> Option<Arc<KeptSession>> {
        let resolution = self.resolution_json(target.reference.as_deref()?);
        let spec = KeeperSpec { name, target: shown_target(target), idle, keeps_alive, resolution };
        let session = KeptSession::new(files, spec);
        session.connect_early();
        Some(Arc::new(session))
    }

    /// The files of the session that belongs to a target and to what identifies the user to it.
    pub(super) fn session_files(&self, target: &Target, options: &SessionOptions) -> Result<SessionFiles> {
        let mut hash = Sha256::new();
        for (name, value) in self.session_parts(target, options)? {
            hash_field(&mut hash, name);
            hash_field(&mut hash, value);
        }
        Ok(SessionFiles::new(&session_dir(&self.env), &short_hex(hash)))
    }

    /// What the keeper of a session needs to know about it.
    pub(super) fn keeper_options(&self, target: &Target) -> Result<KeeperOptions> {
        let options = self.direct_options(target)?;
        let id = self.session_files(target, &options)?.id().to_owned();
        Ok(KeeperOptions { id, identity: self.session_identity(target, &options)?, transport: options.transport })
    }
}

/// A session, in its keeper.
pub(super) struct KeeperOptions {
    /// The ID of the session.
    pub(super) id: String,
    /// What it belongs to.
    pub(super) identity: BTreeMap<String, String>,
    /// How its connection is opened.
    pub(super) transport: TransportOptions,
}

/// The running session for the same server that differs the least, and in what.
fn nearest_session(dir: &Path, target: &Target, identity: &BTreeMap<String, String>) -> Option<(String, Vec<String>)> {
    let records = SessionFiles::all(dir).into_iter().filter_map(|files| files.record());
    let is_same_server = |record: &SessionRecord| {
        (target.is_configured && record.target == target.name)
            || record.identity.get(SERVER_PART).is_some_and(|server| identity.get(SERVER_PART) == Some(server))
    };
    let differences = |record: SessionRecord| {
        let names: BTreeSet<&String> = record.identity.keys().chain(identity.keys()).collect();
        let differing = names.into_iter().filter(|name| record.identity.get(*name) != identity.get(*name));
        let differing: Vec<String> = differing.cloned().collect();
        (record.name, differing)
    };
    let near = records.filter(|record| is_running(record.pid) && is_same_server(record)).map(differences);
    near.filter(|(_, differing)| !differing.is_empty()).min_by_key(|(_, differing)| differing.len())
}

/// The first differences, and how many more there are.
fn list_differences(all: &[String]) -> String {
    let shown = all.iter().take(MAX_SHOWN_DIFFERENCES).map(String::as_str).collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(MAX_SHOWN_DIFFERENCES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A recording starts nothing that could be kept.
pub(super) fn can_be_kept(target: &Target) -> bool {
    !matches!(target.endpoint, Endpoint::Replay(_)) && target.reference.is_some()
}

/// What to call the session of a target.
pub(super) fn default_name(target: &Target) -> String {
    if target.is_configured {
        return target.name.clone();
    }
    target.short_name().chars().filter(|c| c.is_alphanumeric() || "._@-".contains(*c)).collect()
}

/// A command that lists what a target offers, with the options for the target, the roots, and without secrets.
pub(super) fn list_command(context: &Context, target: &Target) -> String {
    let here = context.env.cwd().unwrap_or(Path::new("/"));
    let roots = context.global.roots.iter().map(|root| match root.to_string_lossy() {
        uri if uri.starts_with("file://") => format!(" --root {}", quote(&uri)),
        dir => format!(" --root {}", quote(&here.join(context.env.expand_tilde(&dir)).to_string_lossy())),
    });
    let roots: String = roots.collect();
    if let Some(TargetName::Command(command)) = target.reference.as_ref().map(|reference| &reference.name) {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let words = redact_arguments(&command, None).into_iter().map(|word| quote(&word.text));
        return format!("{}{roots} -- {}", target.append_flags("mcpipe list"), words.collect::<Vec<_>>().join(" "));
    }
    let name = redacted_url(target).unwrap_or_else(|| target.name.clone());
    target.append_flags(&format!("mcpipe list {}", quote(&name))) + &roots
}

/// What `session list` shows as the target: the configured name, the URL without secrets, or the program.
fn shown_target(target: &Target) -> String {
    redacted_url(target).unwrap_or_else(|| recorded_server_name(target))
}

/// The URL of a target that is not configured, without secrets.
fn redacted_url(target: &Target) -> Option<String> {
    match &target.endpoint {
        Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) if !target.is_configured => {
            Some(redact_url(endpoint.url.as_str()))
        }
        _ => None,
    }
}

/// A URL without secrets.
pub(super) fn redact_url(url: &str) -> String {
    redact_value(url, "url", Sensitivity::Plain, None).text
}

/// The name, with a number if another session has it.
pub(super) fn free_name(files: &SessionFiles, name: &str) -> String {
    let taken: Vec<String> = SessionFiles::all(files.dir())
        .iter()
        .filter(|other| other.id() != files.id())
        .filter_map(|other| Some(other.record()?.name))
        .collect();
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or_else(|| name.to_owned())
}
