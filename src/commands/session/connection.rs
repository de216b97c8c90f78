//! Which session a command uses.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sha2::Sha256;

use crate::commands::client_features;
use crate::commands::context::Context;
use crate::commands::recording::server_name;
use crate::error::Result;
use crate::session::SessionOptions;
use crate::session::cache::identity::{hash_field, identity_hash};
use crate::session::cache::{hash_endpoint, short_hex};
use crate::target::Target;
use crate::transport::kept::files::{KeeperSpec, KeptSession, SessionFiles, is_private_directory, session_dir};
use crate::transport::{Endpoint, StdioEndpoint, TransportOptions};
use crate::util::secret_names::looks_like_key;

/// The idle time of a session without another one.
pub(super) const DEFAULT_IDLE: Duration = Duration::from_secs(600);
/// Programs that start another one, after which the session is named.
const LAUNCHERS: [&str; 12] =
    ["npx", "bunx", "pnpx", "uvx", "pipx", "node", "bun", "deno", "tsx", "uv", "python", "python3"];

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
        if keep_alive.is_some() || files.exist() {
            let record = files.record();
            let known = record.as_ref().map(|record| Duration::from_millis(record.idle_ms));
            let idle = known.or(keep_alive).unwrap_or(DEFAULT_IDLE);
            let name = record.map_or_else(|| free_name(&files, &default_name(target)), |record| record.name);
            options.transport.kept = self.kept_session(target, files, name, idle);
        } else if SessionFiles::all(&dir).iter().any(SessionFiles::exist) {
            options.transport.trace.note("not using a session: none is running for this exact target");
        }
        Ok(options)
    }

    /// The session with these files.
    pub(super) fn kept_session(
        &self,
        target: &Target,
        files: SessionFiles,
        name: String,
        idle: Duration,
    ) -> Option<Arc<KeptSession>> {
        let resolution = self.resolution_json(target.reference.as_deref()?);
        let spec = KeeperSpec { name, target: server_name(target), idle, resolution };
        Some(Arc::new(KeptSession { files, spec }))
    }

    /// The files of the session that belongs to a target and to what identifies the user to it.
    pub(super) fn session_files(&self, target: &Target, options: &SessionOptions) -> Result<SessionFiles> {
        let mut hash = identity_hash(&target.endpoint, options.identity.as_deref());
        hash_field(&mut hash, env!("CARGO_PKG_VERSION"));
        hash_field(&mut hash, format!("{:?}", target.protocol));
        match &target.endpoint {
            // The working directory counts, whether it is set for the server or inherited.
            Endpoint::Stdio(endpoint) => {
                let here = self.env.cwd().unwrap_or(Path::new(""));
                let dir = endpoint.cwd.as_ref().map_or_else(|| here.to_owned(), |dir| here.join(dir));
                let endpoint = StdioEndpoint { cwd: Some(dir), ..endpoint.clone() };
                let path = endpoint.search_path().unwrap_or_default();
                hash_field(&mut hash, path.as_encoded_bytes());
                hash_endpoint(&mut hash, &Endpoint::Stdio(endpoint));
            }
            Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) => {
                hash_endpoint(&mut hash, &target.endpoint);
                hash_field(&mut hash, format!("{:?}", endpoint.tls));
                hash_field(&mut hash, endpoint.proxy.as_ref().map(|proxy| proxy.reveal()).unwrap_or_default());
                hash_field(&mut hash, endpoint.no_cookies.to_string());
                hash_field(&mut hash, endpoint.mode.name());
            }
            Endpoint::Unix(_) | Endpoint::Replay(_) => hash_endpoint(&mut hash, &target.endpoint),
        }
        hash_roots(&mut hash, self, target)?;
        Ok(SessionFiles::new(&session_dir(&self.env), &short_hex(hash)))
    }

    /// The ID of the session and the options of its connection, in the keeper.
    pub(super) fn keeper_options(&self, target: &Target) -> Result<(String, TransportOptions)> {
        let options = self.direct_options(target)?;
        let files = self.session_files(target, &options)?;
        Ok((files.id().to_owned(), options.transport))
    }
}

fn hash_roots(hash: &mut Sha256, context: &Context, target: &Target) -> Result<()> {
    for root in client_features::roots(context, target)? {
        hash_field(hash, root.uri);
    }
    Ok(())
}

/// A recording starts nothing that could be kept.
pub(super) fn can_be_kept(target: &Target) -> bool {
    !matches!(target.endpoint, Endpoint::Replay(_)) && target.reference.is_some()
}

/// What to call the session of a target: the configured name, the host, or the program.
pub(super) fn default_name(target: &Target) -> String {
    let name = match &target.endpoint {
        _ if target.is_configured => return target.name.clone(),
        Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) => endpoint.url.host_str().unwrap_or("url").to_owned(),
        Endpoint::Stdio(endpoint) => {
            let program = server_name(target);
            let started = endpoint.args.iter().find(|word| !word.starts_with('-') && !looks_like_key(word));
            match started.filter(|_| LAUNCHERS.contains(&program.as_str())) {
                Some(word) => word.rsplit('/').next().unwrap_or(word).to_owned(),
                None => program,
            }
        }
        Endpoint::Unix(_) | Endpoint::Replay(_) => server_name(target),
    };
    name.chars().filter(|c| c.is_alphanumeric() || "._@-".contains(*c)).collect()
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
