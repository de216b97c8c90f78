//! What was learned about a server, kept between runs: its era, and its lists while they are fresh.
//!
//! A file a target and identity, below the cache directory; reading one is all that a known server costs.
//! Nothing here is needed: what cannot be read is learned again, what cannot be written is not kept.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::stamp;
use super::whose::{self, feed};
use crate::env::programs::is_path;
use crate::hex::hex;
use crate::protocol::revision::{Pin, Revision};
use crate::protocol::rpc::Raw;
use crate::protocol::views::{Kind, ServerInfo};
use crate::replace::replace;
use crate::target::Target;
use crate::transport::{Endpoint, HttpMode, Wire};

/// How long a legacy verdict is believed: an upgraded server would go on to be spoken to in the old way
/// without anybody noticing (`ERA-14`).
const LEGACY_TTL: Duration = Duration::from_secs(24 * 3600);
/// After what time the list of another identity is removed.
const FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a server is believed to end only when it is terminated: then it is given time once more, since a newer
/// one may want to put things in order.
const STUBBORN_TTL: Duration = Duration::from_secs(24 * 3600);
/// How long the lists of a legacy server are fresh; it does not say so itself.
pub const LEGACY_LIST_TTL: Duration = Duration::from_secs(300);

/// What is believed about a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The revision it speaks.
    pub revision: Revision,
    /// The transport it speaks it over.
    pub wire: Wire,
    /// Whether it wants `initialized` acknowledged before the first request.
    pub patient: bool,
    /// Its name and version, for display.
    pub server: ServerInfo,
    /// When it was given time to end by itself and had to be terminated all the same, in seconds since 1970; `None`
    /// where it ends when its input does.
    pub stubborn: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct VerdictFile {
    revision: String,
    wire: String,
    patient: bool,
    learned: u64,
    name: Option<String>,
    version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stubborn: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct ListFile {
    expires: u64,
    /// What the server was made of.
    stamp: Option<String>,
    /// Whether it is nobody's own.
    #[serde(default)]
    shared: bool,
    items: Vec<Raw>,
}

/// The memory of one target.
#[derive(Default)]
pub struct Memory {
    dir: Option<PathBuf>,
    place: String,
    identity: String,
    // Read at most once; what is learned or forgotten meanwhile is kept up here too.
    verdict: Mutex<Option<Option<Verdict>>>,
    /// What the server is started from, and what that was made of when it was first looked at.
    endpoint: Option<Endpoint>,
    stamp: OnceLock<Option<String>>,
}

impl Memory {
    /// The memory of this target below `dir`; none where `dir` is `None`. Nothing is read yet.
    #[must_use]
    pub fn of(target: &Target, dir: Option<&Path>, identity: Option<&str>) -> Self {
        if dir.is_none() {
            return Memory::default();
        }
        let mut place = Sha256::new();
        let feed_path = |hash: &mut Sha256, path: Option<&Path>| {
            feed(hash, path.map(|path| path.as_os_str().as_encoded_bytes()).unwrap_or_default());
        };
        feed(&mut place, env!("CARGO_PKG_VERSION"));
        feed(&mut place, pin_name(target.protocol));
        match &target.endpoint {
            Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) => {
                feed(&mut place, endpoint.url.as_str());
                feed(&mut place, if endpoint.mode == HttpMode::Sse { "sse" } else { "http" });
                feed_path(&mut place, endpoint.socket.as_deref());
            }
            Endpoint::Unix(endpoint) => {
                feed(&mut place, "unix");
                feed_path(&mut place, Some(&endpoint.path));
            }
            Endpoint::Stdio(endpoint) => {
                feed(&mut place, &endpoint.program);
                endpoint.args.iter().for_each(|arg| feed(&mut place, arg));
                feed_path(&mut place, endpoint.cwd.as_deref());
                if endpoint.cwd.is_none() && is_relative(endpoint) {
                    feed_path(&mut place, std::env::current_dir().ok().as_deref());
                }
            }
        }
        Memory {
            dir: dir.map(|dir| dir.join("servers")),
            place: name(place),
            identity: name(whose::of(&target.endpoint, identity)),
            verdict: Mutex::default(),
            endpoint: Some(target.endpoint.clone()).filter(|endpoint| matches!(endpoint, Endpoint::Stdio(_))),
            stamp: OnceLock::new(),
        }
    }

    /// Looks at what the server is made of, before it is started: what it lists later is the list of that.
    pub fn look(&self) {
        self.stamp();
    }

    fn stamp(&self) -> Option<&str> {
        self.stamp.get_or_init(|| self.endpoint.as_ref().and_then(stamp::of)).as_deref()
    }

    fn verdict_path(&self) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(format!("{}.json", self.place)))
    }

    fn list_path(&self, kind: Kind) -> Option<PathBuf> {
        let member = kind.member();
        Some(self.dir.as_ref()?.join(format!("{}-{}-{member}.json", self.place, &self.identity[..8])))
    }

    /// What is believed about the server.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.believed().get_or_insert_with(|| self.read_verdict()).clone()
    }

    fn believed(&self) -> MutexGuard<'_, Option<Option<Verdict>>> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_verdict(&self) -> Option<Verdict> {
        let file: VerdictFile = read(&self.verdict_path()?)?;
        let revision = Revision::parse(&file.revision)?;
        let age = now().saturating_sub(file.learned);
        if !revision.is_modern() && age > LEGACY_TTL.as_secs() {
            return None;
        }
        let wire = Wire::ALL.into_iter().find(|wire| wire.as_str() == file.wire)?;
        let server = ServerInfo { name: file.name, version: file.version, ..ServerInfo::default() };
        let stubborn = file.stubborn.filter(|when| now().saturating_sub(*when) <= STUBBORN_TTL.as_secs());
        Some(Verdict { revision, wire, patient: file.patient, server, stubborn })
    }

    /// Keeps a verdict.
    pub fn learn(&self, verdict: &Verdict) {
        *self.believed() = Some(Some(verdict.clone()));
        let file = VerdictFile {
            revision: verdict.revision.as_str().to_owned(),
            wire: verdict.wire.as_str().to_owned(),
            patient: verdict.patient,
            learned: now(),
            name: verdict.server.name.clone(),
            version: verdict.server.version.clone(),
            stubborn: verdict.stubborn,
        };
        if let (Some(path), Ok(text)) = (self.verdict_path(), serde_json::to_vec(&file)) {
            write(&path, &text);
        }
    }

    /// Keeps whether the server ends only when it is terminated, beside what else is believed about it.
    pub fn keep_stubborn(&self, stubborn: bool) {
        let Some(path) = self.verdict_path() else { return };
        let Some(file) = read::<VerdictFile>(&path) else { return };
        let file = VerdictFile { stubborn: stubborn.then(now), ..file };
        if let Some(Some(verdict)) = &mut *self.believed() {
            verdict.stubborn = file.stubborn;
        }
        if let Ok(text) = serde_json::to_vec(&file) {
            write(&path, &text);
        }
    }

    /// Drops the verdict and the lists: they were wrong.
    pub fn forget(&self) {
        *self.believed() = Some(None);
        if let Some(path) = self.verdict_path() {
            let _ = fs::remove_file(path);
        }
        self.forget_lists();
    }

    /// A list that is still fresh, as raw elements.
    #[must_use]
    pub fn list(&self, kind: Kind) -> Option<Vec<Raw>> {
        self.fresh_list(kind).map(|file| file.items)
    }

    fn fresh_list(&self, kind: Kind) -> Option<ListFile> {
        // A server that somebody works on is another one.
        self.read_list(kind).filter(|file| file.expires > now() && file.stamp.as_deref() == self.stamp())
    }

    /// A list, however old it is: for a shell that completes names, where a stale one harms nobody.
    #[must_use]
    pub fn last_list(&self, kind: Kind) -> Option<Vec<Raw>> {
        self.read_list(kind).or_else(|| self.read_shared(kind)).map(|file| file.items)
    }

    fn read_list(&self, kind: Kind) -> Option<ListFile> {
        read(&self.list_path(kind)?)
    }

    /// The latest list that was given to a child with another environment, if it is nobody's own: a key that was set
    /// for one command alone is not there when the next one is typed.
    fn read_shared(&self, kind: Kind) -> Option<ListFile> {
        self.endpoint.as_ref()?;
        let mut all: Vec<_> = self.lists_of_all(kind);
        all.sort_unstable_by(|one, other| other.cmp(one));
        all.into_iter().filter_map(|(_, path)| read(&path)).find(|file: &ListFile| file.shared)
    }

    /// The lists of this place, whosever they are, and when each was kept.
    fn lists_of_all(&self, kind: Kind) -> Vec<(SystemTime, PathBuf)> {
        let (start, end) = (format!("{}-", self.place), format!("-{}.json", kind.member()));
        let entries = self.dir.as_ref().and_then(|dir| fs::read_dir(dir).ok());
        let ours = entries.into_iter().flatten().flatten().filter(|entry| {
            entry.file_name().to_str().is_some_and(|name| name.starts_with(&start) && name.ends_with(&end))
        });
        ours.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect()
    }

    /// Keeps a list, fresh for `ttl`; one that is stale at once is kept for [`Memory::last_list`] alone. `shared` tells
    /// that it is nobody's own.
    pub fn keep_list(&self, kind: Kind, items: &[Raw], ttl: Duration, shared: bool) {
        let Some(path) = self.list_path(kind) else { return };
        // A server's word is not believed for longer than a day.
        let fresh = ttl.min(LEGACY_TTL).as_secs();
        let expires = if fresh == 0 { 0 } else { now() + fresh };
        let items: Vec<&RawValue> = items.iter().map(|item| &**item).collect();
        #[derive(Serialize)]
        struct Borrowed<'a> {
            expires: u64,
            stamp: Option<&'a str>,
            shared: bool,
            items: Vec<&'a RawValue>,
        }
        if let Ok(text) = serde_json::to_vec(&Borrowed { expires, stamp: self.stamp(), shared, items }) {
            // What is stale at once is listed often, and seldom another.
            if expires > 0 || !fs::read(&path).is_ok_and(|old| old == text) {
                if !path.exists() {
                    self.sweep(kind);
                }
                write(&path, &text);
            }
        }
    }

    /// Removes the lists of this place that others were given, or ourselves with another environment, long ago.
    fn sweep(&self, kind: Kind) {
        for (kept, path) in self.lists_of_all(kind) {
            if kept.elapsed().is_ok_and(|age| age > FORGOTTEN) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Lets the lists be fresh no longer (`MSG-11`).
    pub fn forget_lists(&self) {
        for kind in [Kind::Tools, Kind::Resources, Kind::Templates, Kind::Prompts, Kind::Skills] {
            if let Some(file) = self.fresh_list(kind) {
                self.keep_list(kind, &file.items, Duration::ZERO, file.shared);
            }
        }
    }
}

/// A relative program or argument means another server in another directory.
fn is_relative(endpoint: &crate::transport::StdioEndpoint) -> bool {
    let words = std::iter::once(&endpoint.program).chain(&endpoint.args);
    words.into_iter().any(|word| word.starts_with('.') || (is_path(word) && !Path::new(word).has_root()))
}

fn pin_name(pin: Pin) -> &'static str {
    match pin {
        Pin::Auto => "auto",
        Pin::Legacy => "legacy",
        Pin::Exact(revision) => revision.as_str(),
    }
}

fn name(hash: Sha256) -> String {
    hex(&hash.finalize()[..12])
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Replaces a file as a whole, readable by its owner only; a failure is no concern of the user's.
fn write(path: &Path, content: &[u8]) {
    let Some(dir) = path.parent() else { return };
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(dir)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(content)?;
        replace(file, path)
    };
    let _ = write();
}
