//! A session, and its files: its socket, what is needed to clean up after a crash, the server's stderr, and a lock.
//!
//! They are named after a hash of the identity, so that no name has a secret, and only their owner can access them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::UnixStream;

use crate::env::{Environment, TMPDIR, XDG_RUNTIME_DIR};
use crate::error::{ErrorKind, Failure, Result};
use crate::util::atomic_write::{replace_file, temporary_in};
use crate::util::home::shown_path;
use crate::util::lock::lock;
use crate::util::quoting::quote_path;

/// The directory of all sessions of the user: below the user's runtime directory, else below the temporary directory.
#[must_use]
pub fn session_dir(env: &Environment) -> PathBuf {
    let given = |name: &str| env.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    match given(XDG_RUNTIME_DIR) {
        Some(runtime) => runtime.join("mcpipe"),
        None => {
            let temporary = given(TMPDIR).unwrap_or_else(|| PathBuf::from("/tmp"));
            temporary.join(format!("mcpipe-{}", rustix::process::geteuid().as_raw()))
        }
    }
}

/// The session that a command uses.
pub struct KeptSession {
    /// Its files.
    pub files: SessionFiles,
    /// How to start its keeper, if it is not running.
    pub spec: KeeperSpec,
    /// Whether this command was connected to it.
    pub(super) was_used: AtomicBool,
    /// The first connection to the keeper, if it is being opened.
    pub(super) connecting: Mutex<Option<BoxFuture<'static, io::Result<UnixStream>>>>,
}

impl KeptSession {
    /// A session to which nothing is connected yet.
    #[must_use]
    pub fn new(files: SessionFiles, spec: KeeperSpec) -> Self {
        KeptSession { files, spec, was_used: AtomicBool::new(false), connecting: Mutex::default() }
    }

    /// Begins to connect. That wakes the keeper, which takes about as long as preparing the first request.
    pub fn connect_early(&self) {
        let mut connecting = Box::pin(UnixStream::connect(self.files.socket()));
        // The first poll connects. If that fails, the first request finds out why.
        if (&mut connecting).now_or_never().is_none() {
            *lock(&self.connecting) = Some(connecting);
        }
    }
}

/// How to start a keeper.
#[derive(Clone, Debug)]
pub struct KeeperSpec {
    /// The name of the session.
    pub name: String,
    /// The target, as the user named it, without secrets.
    pub target: String,
    /// After which time without commands it ends.
    pub idle: Duration,
    /// Whether the configuration asks for it, so that it is started again after it was stopped.
    pub keeps_alive: bool,
    /// What the keeper needs to resolve the target again. It has secrets, and only goes through a pipe.
    pub resolution: Value,
}

/// Whether this is a directory of the user that others cannot access.
#[must_use]
pub fn is_private_directory(dir: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    std::fs::symlink_metadata(dir)
        .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == user && metadata.mode() & 0o077 == 0)
}

/// The files of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFiles {
    dir: PathBuf,
    id: String,
}

/// What is needed to clean up after a keeper that was killed, and to name its session.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The name of the session.
    pub name: String,
    /// The target, as the user named it, without secrets.
    pub target: String,
    /// A command that lists what the target offers, without secrets.
    #[serde(default)]
    pub list_command: String,
    /// What the session belongs to, each with a few bits of the hash of its value: enough to name a difference, and too
    /// few to find out a value.
    #[serde(default)]
    pub identity: BTreeMap<String, String>,
    /// After which time without commands it ends, in milliseconds.
    pub idle_ms: u64,
    /// The keeper.
    pub pid: u32,
    /// The process groups of the server, and when their leaders were started.
    pub groups: Vec<(u32, Option<u64>)>,
}

impl SessionFiles {
    /// The files of the session with this ID.
    #[must_use]
    pub fn new(dir: &Path, id: &str) -> Self {
        SessionFiles { dir: dir.to_owned(), id: id.to_owned() }
    }

    /// The files of all sessions, of running and of crashed ones. There are none in a directory of somebody else.
    #[must_use]
    pub fn all(dir: &Path) -> Vec<Self> {
        if !is_private_directory(dir) {
            return Vec::new();
        }
        let names = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let mut ids: Vec<String> = names
            .filter_map(|name| {
                let name = name.to_str()?;
                Some(name.strip_suffix(".sock").or_else(|| name.strip_suffix(".json"))?.to_owned())
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids.iter().map(|id| SessionFiles::new(dir, id)).collect()
    }

    /// The hash of the identity.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.dir.join(format!("{}.{extension}", self.id))
    }

    /// The socket of the keeper.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.file("sock")
    }

    /// The [`SessionRecord`].
    #[must_use]
    pub fn record_path(&self) -> PathBuf {
        self.file("json")
    }

    /// The server's stderr.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.file("log")
    }

    /// Held while the session is started or cleaned up.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.file("lock")
    }

    /// Whether there is a session, or what a crash left of one.
    #[must_use]
    pub fn has_session(&self) -> bool {
        self.socket().exists() || self.record_path().exists()
    }

    /// What was recorded, if it can be read.
    #[must_use]
    pub fn record(&self) -> Option<SessionRecord> {
        serde_json::from_slice(&std::fs::read(self.record_path()).ok()?).ok()
    }

    /// Replaces what was recorded.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_record(&self, record: &SessionRecord) -> io::Result<()> {
        let mut file = temporary_in(&self.dir).tempfile_in(&self.dir)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        replace_file(file, &self.record_path())
    }

    /// Removes everything except the lock.
    pub fn remove(&self) {
        for path in [self.socket(), self.record_path(), self.log()] {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Creates the directory, accessible to its owner only.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if it cannot be created, or if others can access what is there.
    pub fn create_dir(&self) -> Result<()> {
        let dir = &self.dir;
        let failed = || Failure::new(ErrorKind::Config, format!("cannot use the directory {}", shown_path(dir)));
        // In a container, say, the runtime directory may not exist either.
        match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed().caused_by(&error)),
            _ => {}
        }
        if !is_private_directory(dir) {
            return Err(failed()
                .cause("it must be a directory that belongs to you and that others cannot access")
                .hint(format!("remove it, or restrict it: chmod 700 {}", quote_path(&shown_path(dir)))));
        }
        Ok(())
    }
}
