//! What mcpipe remembers about a server between runs: its era, and its lists while they are fresh. There is one file
//! for each target and identity below the cache directory. Everything here can be lost: what cannot be read is fetched
//! again, and a failed write is ignored.

pub(crate) mod fingerprint;
pub(crate) mod identity;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::env::programs::is_path;
use crate::protocol::revision::{Revision, RevisionPin};
use crate::protocol::rpc::RawJson;
use crate::protocol::views::{ListKind, ServerInfo};
use crate::session::cache::identity::hash_field;
use crate::target::Target;
use crate::transport::replay::Recording;
use crate::transport::{Endpoint, HttpMode, TransportKind};
use crate::util::atomic_write::{replace_file, temporary_in};
use crate::util::hex::hex;
use crate::util::lock::lock;

/// How long the profile of a legacy server is valid. After an upgrade, the server would otherwise be addressed in the
/// old era until the cache is cleared (`ERA-14`).
const LEGACY_PROFILE_TTL: Duration = Duration::from_secs(24 * 3600);
/// A server can make a list fresh for this long at most.
const MAX_LIST_TTL: Duration = Duration::from_secs(24 * 3600);
/// The age at which the list of another identity is removed.
const LIST_FILE_MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a server counts as one that ignores the end of its input. After that it gets the full grace period again,
/// since a newer version may shut down properly.
const IGNORES_EOF_TTL: Duration = Duration::from_secs(24 * 3600);
/// How long the lists of a legacy server are fresh; the protocol has no field for it.
pub const LEGACY_LIST_TTL: Duration = Duration::from_secs(300);

/// What is known about a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerProfile {
    /// The revision that it supports.
    pub revision: Revision,
    /// The transport that it uses.
    pub transport: TransportKind,
    /// Its name and version, for display.
    pub server: ServerInfo,
    /// When it last had to be terminated after ignoring the end of its input, in seconds since 1970; `None` if it
    /// exits at the end of its input.
    pub ignores_eof: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct ProfileFile {
    revision: String,
    transport: String,
    learned: u64,
    name: Option<String>,
    version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ignores_eof: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct CachedListFile {
    expires: u64,
    /// The fingerprint of the server's files.
    stamp: Option<String>,
    /// Whether the list is the same for all users.
    #[serde(default)]
    shared: bool,
    items: Vec<RawJson>,
}

/// Hashes where a server is: its URL, socket or command line.
fn hash_endpoint(place: &mut Sha256, endpoint: &Endpoint) {
    let feed_path = |hash: &mut Sha256, path: Option<&Path>| {
        hash_field(hash, path.map(|path| path.as_os_str().as_encoded_bytes()).unwrap_or_default());
    };
    match endpoint {
        Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) => {
            hash_field(place, endpoint.url.as_str());
            hash_field(place, if endpoint.mode == HttpMode::Sse { "sse" } else { "http" });
            feed_path(place, endpoint.unix_socket.as_deref());
        }
        Endpoint::Unix(endpoint) => {
            hash_field(place, "unix");
            feed_path(place, Some(&endpoint.path));
        }
        Endpoint::Replay(_) => {}
        Endpoint::Stdio(endpoint) => {
            hash_field(place, &endpoint.program);
            endpoint.args.iter().for_each(|arg| hash_field(place, arg));
            feed_path(place, endpoint.cwd.as_deref());
            if endpoint.cwd.is_none() && has_relative_path(endpoint) {
                feed_path(place, std::env::current_dir().ok().as_deref());
            }
        }
    }
}

/// The cache of one target.
#[derive(Default)]
pub struct ServerCache {
    dir: Option<PathBuf>,
    target_key: String,
    identity_key: String,
    /// The client capabilities that the lists were requested with.
    capabilities_key: String,
    // Read from disk at most once; changes during the run are applied here too.
    profile: Mutex<Option<Option<ServerProfile>>>,
    /// The server's command line, and its fingerprint when it was first needed.
    endpoint: Option<Endpoint>,
    fingerprint: OnceLock<Option<String>>,
}

impl ServerCache {
    /// The cache of this target below `dir`; without `dir` nothing is cached. Nothing is read yet.
    #[must_use]
    pub fn for_target(target: &Target, dir: Option<&Path>, identity: Option<&str>) -> Self {
        if let Endpoint::Replay(recording) = &target.endpoint {
            return ServerCache::of_recording(recording);
        }
        if dir.is_none() {
            return ServerCache::default();
        }
        let mut place = Sha256::new();
        hash_field(&mut place, env!("CARGO_PKG_VERSION"));
        hash_field(&mut place, revision_pin_name(target.protocol));
        hash_endpoint(&mut place, &target.endpoint);
        ServerCache {
            dir: dir.map(|dir| dir.join("servers")),
            target_key: short_hex(place),
            identity_key: short_hex(identity::identity_hash(&target.endpoint, identity)),
            capabilities_key: String::new(),
            profile: Mutex::default(),
            endpoint: Some(target.endpoint.clone()).filter(|endpoint| matches!(endpoint, Endpoint::Stdio(_))),
            fingerprint: OnceLock::new(),
        }
    }

    /// What a recording shows about its server; nothing is written.
    fn of_recording(recording: &Recording) -> Self {
        let profile = recording.revision().map(|revision| ServerProfile {
            revision,
            transport: recording.transport_kind(),
            server: recording.server_info(),
            ignores_eof: None,
        });
        ServerCache { profile: Mutex::new(Some(profile)), ..ServerCache::default() }
    }

    /// The cache for a client that declares these capabilities; servers may list different tools for different
    /// capabilities.
    #[must_use]
    pub fn with_capabilities(mut self, declared: &str) -> Self {
        declared.clone_into(&mut self.capabilities_key);
        self
    }

    /// Takes the fingerprint before the server is started, since its lists belong to the files as they were at that
    /// time.
    pub fn capture_fingerprint(&self) {
        self.fingerprint();
    }

    fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.get_or_init(|| self.endpoint.as_ref().and_then(fingerprint::server_fingerprint)).as_deref()
    }

    fn profile_path(&self) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(format!("{}.json", self.target_key)))
    }

    fn list_path(&self, kind: ListKind) -> Option<PathBuf> {
        let (member, declared) = (kind.result_member(), &self.capabilities_key);
        Some(self.dir.as_ref()?.join(format!("{}{declared}-{member}.json", self.own_prefix())))
    }

    /// The common prefix of the file names of this identity's lists, for any capabilities.
    fn own_prefix(&self) -> String {
        format!("{}-{}-", self.target_key, self.identity_key.get(..8).unwrap_or_default())
    }

    /// The profile of the server, if it is known.
    #[must_use]
    pub fn profile(&self) -> Option<ServerProfile> {
        self.lock_profile().get_or_insert_with(|| self.read_profile()).clone()
    }

    fn lock_profile(&self) -> MutexGuard<'_, Option<Option<ServerProfile>>> {
        lock(&self.profile)
    }

    fn read_profile(&self) -> Option<ServerProfile> {
        let file: ProfileFile = read_json(&self.profile_path()?)?;
        let revision = Revision::parse(&file.revision)?;
        let age = unix_time().saturating_sub(file.learned);
        if !revision.is_modern() && age > LEGACY_PROFILE_TTL.as_secs() {
            return None;
        }
        let transport = TransportKind::ALL.into_iter().find(|transport| transport.as_str() == file.transport)?;
        let server = ServerInfo { name: file.name, version: file.version, ..ServerInfo::default() };
        let ignores_eof =
            file.ignores_eof.filter(|when| unix_time().saturating_sub(*when) <= IGNORES_EOF_TTL.as_secs());
        Some(ServerProfile { revision, transport, server, ignores_eof })
    }

    /// Saves a profile.
    pub fn store_profile(&self, profile: &ServerProfile) {
        *self.lock_profile() = Some(Some(profile.clone()));
        let file = ProfileFile {
            revision: profile.revision.as_str().to_owned(),
            transport: profile.transport.as_str().to_owned(),
            learned: unix_time(),
            name: profile.server.name.clone(),
            version: profile.server.version.clone(),
            ignores_eof: profile.ignores_eof,
        };
        if let (Some(path), Ok(text)) = (self.profile_path(), serde_json::to_vec(&file)) {
            write_if_possible(&path, &text);
        }
    }

    /// Saves whether the server ignores the end of its input.
    pub fn set_ignores_eof(&self, ignores_eof: bool) {
        let Some(path) = self.profile_path() else { return };
        let Some(file) = read_json::<ProfileFile>(&path) else { return };
        let file = ProfileFile { ignores_eof: ignores_eof.then(unix_time), ..file };
        if let Some(Some(profile)) = &mut *self.lock_profile() {
            profile.ignores_eof = file.ignores_eof;
        }
        if let Ok(text) = serde_json::to_vec(&file) {
            write_if_possible(&path, &text);
        }
    }

    /// Removes the profile and the lists after they turned out to be wrong.
    pub fn clear(&self) {
        *self.lock_profile() = Some(None);
        if let Some(path) = self.profile_path() {
            let _ = fs::remove_file(path);
        }
        self.expire_lists(&ListKind::ALL);
    }

    /// A list that is still fresh, as raw items.
    #[must_use]
    pub fn fresh_list(&self, kind: ListKind) -> Option<Vec<RawJson>> {
        self.read_fresh_list(kind).map(|file| file.items)
    }

    fn read_fresh_list(&self, kind: ListKind) -> Option<CachedListFile> {
        // A changed fingerprint means another server.
        self.read_list(kind).filter(|file| file.expires > unix_time() && file.stamp.as_deref() == self.fingerprint())
    }

    /// A list of any age, for shell completion, where a stale list does no harm: the latest of this identity for any
    /// capabilities. For stdio servers, a public list of another environment is used otherwise: variables that are set
    /// for one command only are not set while the next one is typed.
    #[must_use]
    pub fn latest_list(&self, kind: ListKind) -> Option<Vec<RawJson>> {
        let mut all = self.list_files_of_all_identities(kind);
        all.sort_unstable_by(|one, other| other.cmp(one));
        let (own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, path)| self.is_own_list(path));
        let public = others.iter().filter(|_| self.endpoint.is_some());
        let read = |(_, path): &(SystemTime, PathBuf)| read_json::<CachedListFile>(path);
        let found = own.iter().find_map(read).or_else(|| public.filter_map(read).find(|file| file.shared));
        found.map(|file| file.items)
    }

    /// The lists of this identity for other capabilities, of any age.
    #[must_use]
    pub fn lists_for_other_capabilities(&self, kind: ListKind) -> Vec<Vec<RawJson>> {
        let this = self.list_path(kind);
        let all = self.list_files_of_all_identities(kind).into_iter().map(|(_, path)| path);
        let others = all.filter(|path| self.is_own_list(path) && this.as_ref() != Some(path));
        others.filter_map(|path| read_json::<CachedListFile>(&path)).map(|file| file.items).collect()
    }

    fn is_own_list(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(&self.own_prefix()))
    }

    fn read_list(&self, kind: ListKind) -> Option<CachedListFile> {
        read_json(&self.list_path(kind)?)
    }

    /// The list files of this target for all identities, with their modification times.
    fn list_files_of_all_identities(&self, kind: ListKind) -> Vec<(SystemTime, PathBuf)> {
        let (start, end) = (format!("{}-", self.target_key), format!("-{}.json", kind.result_member()));
        let entries = self.dir.as_ref().and_then(|dir| fs::read_dir(dir).ok());
        let ours = entries.into_iter().flatten().flatten().filter(|entry| {
            entry.file_name().to_str().is_some_and(|name| name.starts_with(&start) && name.ends_with(&end))
        });
        ours.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect()
    }

    /// Saves a list that is fresh for `ttl`. A list without any is saved for [`ServerCache::latest_list`] only.
    /// `shared` means that it is the same for all users.
    pub fn store_list(&self, kind: ListKind, items: &[RawJson], ttl: Duration, shared: bool) {
        let Some(path) = self.list_path(kind) else { return };
        let fresh = ttl.min(MAX_LIST_TTL).as_secs();
        let expires = if fresh == 0 { 0 } else { unix_time() + fresh };
        let items: Vec<&RawValue> = items.iter().map(|item| &**item).collect();
        #[derive(Serialize)]
        struct CachedListRef<'a> {
            expires: u64,
            stamp: Option<&'a str>,
            shared: bool,
            items: Vec<&'a RawValue>,
        }
        if let Ok(text) = serde_json::to_vec(&CachedListRef { expires, stamp: self.fingerprint(), shared, items }) {
            // A list with no time to live is fetched often and rarely changes.
            if expires > 0 || !fs::read(&path).is_ok_and(|old| old == text) {
                if !path.exists() {
                    self.remove_old_list_files(kind);
                }
                write_if_possible(&path, &text);
            }
        }
    }

    /// Removes old lists of other identities and environments at this target.
    fn remove_old_list_files(&self, kind: ListKind) {
        for (kept, path) in self.list_files_of_all_identities(kind) {
            if kept.elapsed().is_ok_and(|age| age > LIST_FILE_MAX_AGE) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Marks these lists of this identity as stale (`MSG-11`).
    pub fn expire_lists(&self, kinds: &[ListKind]) {
        for kind in kinds {
            let all = self.list_files_of_all_identities(*kind).into_iter().map(|(_, path)| path);
            for path in all.filter(|path| self.is_own_list(path)) {
                let Some(mut file) = read_json::<CachedListFile>(&path).filter(|file| file.expires > 0) else {
                    continue;
                };
                file.expires = 0;
                if let Ok(text) = serde_json::to_vec(&file) {
                    write_if_possible(&path, &text);
                }
            }
        }
    }
}

/// Whether the program or an argument is a relative path, which makes it another server in another directory.
fn has_relative_path(endpoint: &crate::transport::StdioEndpoint) -> bool {
    let words = std::iter::once(&endpoint.program).chain(&endpoint.args);
    words.into_iter().any(|word| word.starts_with('.') || (is_path(word) && !Path::new(word).has_root()))
}

fn revision_pin_name(pin: RevisionPin) -> &'static str {
    match pin {
        RevisionPin::Auto => "auto",
        RevisionPin::Legacy => "legacy",
        RevisionPin::Exact(revision) => revision.as_str(),
    }
}

pub(crate) fn short_hex(hash: Sha256) -> String {
    hex(&hash.finalize()[..12])
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Replaces a file atomically, readable by its owner only. Failures are ignored, since the cache is optional.
fn write_if_possible(path: &Path, content: &[u8]) {
    let Some(dir) = path.parent() else { return };
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(dir)?;
        let mut file = temporary_in(dir).tempfile_in(dir)?;
        file.write_all(content)?;
        replace_file(file, path)
    };
    let _ = write();
}
