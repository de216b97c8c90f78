//! Bundles as targets: `.mcpb` files, zip archives of a server with a manifest that says how to start it.
//!
//! A bundle is a program: the first word of a command line, or `command` of an entry. It is started only if it is
//! trusted with its content. It is unpacked into the cache directory, once for each content.

mod archive;
mod manifest;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use self::archive::{Archive, LIMITS, MANIFEST};
pub use self::manifest::{Manifest, ServerCommand};
use self::manifest::{PLATFORM, ReferenceValues};
use crate::config::paths::absolute_path;
use crate::config::trust::TrustStore;
use crate::env::{Environment, programs};
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::transport::StdioEndpoint;
use crate::util::atomic_write::{temporary_in, write_failure_hint};
use crate::util::hex::hex;
use crate::util::private_files::create_private_dir;
use crate::util::quoting;

/// The size of the largest bundle.
const MAX_SIZE: u64 = 1 << 30;
/// The size of the pieces that are read.
const PIECE_SIZE: usize = 64 << 10;

/// A bundle, as far as it was read.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The file.
    pub path: PathBuf,
    /// The file, for messages.
    pub display_path: String,
    /// The SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// The values of the user that are secrets.
    pub secrets: Vec<Secret>,
    /// Where it is unpacked.
    directory: PathBuf,
    /// The text of its manifest, once it was read.
    manifest: Vec<u8>,
}

/// Whether this path is a bundle.
#[must_use]
pub fn is_bundle(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("mcpb"))
}

/// Replaces a bundle as the program by what its manifest starts; `None` if the program is something else.
///
/// The variables of the endpoint that `user_config` of the manifest names are the values of the user.
///
/// # Errors
/// [`ErrorKind::Config`] if the bundle cannot be read or is not trusted, or a required value is missing.
pub fn resolve(endpoint: &mut StdioEndpoint, environment: &Environment) -> Result<Option<Bundle>> {
    let path = PathBuf::from(&endpoint.program);
    if !programs::is_path(&endpoint.program) || !is_bundle(&path) {
        return Ok(None);
    }
    let mut bundle = Bundle::open(&path, environment)?;
    bundle.check_trust(environment)?;
    let manifest = bundle.read_manifest()?;
    if let Some(platforms) = manifest.other_platforms() {
        return Err(Failure::new(ErrorKind::Config, format!("{} does not support {PLATFORM}", bundle.display_path))
            .cause(format!("it supports: {platforms}")));
    }
    let command = manifest.command().map_err(|why| bundle.unusable(&why))?;
    let directory = bundle.directory.clone();
    let mut references = ReferenceValues { directory: &directory, environment, values: BTreeMap::new() };
    for (key, option) in &manifest.user_config {
        let given = endpoint.env.remove(key);
        references.set(key, option, given.as_ref().map(Secret::reveal));
        bundle.secrets.extend(given.filter(|_| option.sensitive));
    }
    bundle.check_required(&manifest, &references)?;
    let (program, _) = references.replace(&command.program);
    // Of a relative path, the system does not promise which directory it starts from.
    let below = programs::is_path(&program) && Path::new(&program).is_relative();
    endpoint.program = if below { directory.join(&program).to_string_lossy().into_owned() } else { program };
    let args: Vec<String> = command.args.iter().flat_map(|text| references.arguments(text)).collect();
    endpoint.args.splice(0..0, args);
    for (name, text) in &command.env {
        if let Some(value) = references.variable(text) {
            endpoint.env.entry(name.clone()).or_insert_with(|| Secret::new(value));
        }
    }
    endpoint.cwd.get_or_insert(directory);
    Ok(Some(bundle))
}

impl Bundle {
    /// Opens a bundle; its manifest is not read yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the file cannot be read, and if there is no cache directory.
    pub fn open(path: &Path, environment: &Environment) -> Result<Self> {
        let path = absolute_path(environment, path);
        let display_path = environment.abbreviate_home(&path);
        let unreadable = |error: io::Error| {
            Failure::new(ErrorKind::Config, format!("cannot read the bundle {display_path}")).caused_by(&error)
        };
        if !fs::metadata(&path).map_err(unreadable)?.is_file() {
            return Err(unreadable(io::Error::other("it is not a file")));
        }
        let mut file = File::open(&path).map_err(unreadable)?;
        let sha256 = copy_and_hash(&mut file, &mut io::sink()).map_err(unreadable)?;
        let Some(cache) = environment.cache_dir() else {
            return Err(Failure::no_home_directory(
                format!("cannot unpack the bundle {display_path}"),
                "set MCPIPE_CACHE_DIR",
            ));
        };
        // The server is started in this directory, so the path has to be absolute.
        let directory = absolute_path(environment, &cache).join("bundles").join(&sha256);
        Ok(Bundle { path, display_path, sha256, directory, manifest: Vec::new(), secrets: Vec::new() })
    }

    /// Reads the manifest: of what was unpacked, or of the archive.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the file is not a bundle.
    pub fn read_manifest(&mut self) -> Result<Manifest> {
        let archived =
            || Archive::open(File::open(&self.path).map_err(|error| error.to_string())?, LIMITS)?.read_manifest();
        self.manifest = match fs::read(self.directory.join(MANIFEST)) {
            Ok(manifest) => manifest,
            Err(_) => archived().map_err(|why| self.unusable(&why))?,
        };
        Manifest::parse(&self.manifest).map_err(|why| self.unusable(&why))
    }

    /// Fails if the file is not the one that was opened.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if its content has changed.
    pub fn check_unchanged(&self, environment: &Environment) -> Result<()> {
        match Bundle::open(&self.path, environment)?.sha256 == self.sha256 {
            true => Ok(()),
            false => Err(self.unusable("it changed while it was read")),
        }
    }

    fn check_trust(&self, environment: &Environment) -> Result<()> {
        let store = TrustStore::load(environment)?;
        if store.is_hash_trusted(&self.path, &self.sha256) {
            return Ok(());
        }
        let changed = store.was_ever_trusted(&self.path);
        let state = if changed { "has changed since it was trusted" } else { "is not trusted" };
        Err(Failure::new(ErrorKind::Config, format!("{} {state}", self.display_path))
            .cause("using a bundle runs the programs in it")
            .hint(format!("review and trust it: mcpipe config trust {}", quoting::quote_path(&self.display_path))))
    }

    fn check_required(&self, manifest: &Manifest, references: &ReferenceValues<'_>) -> Result<()> {
        let missing = manifest.user_config.iter().filter(|(key, option)| option.required && !references.has_value(key));
        let missing: Vec<_> = missing.collect();
        if missing.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = missing.iter().map(|(key, _)| format!("'{key}'")).collect();
        let message = format!("{} needs a value for {}", self.display_path, keys.join(" and "));
        let mut failure = Failure::new(ErrorKind::Config, message);
        for (key, option) in &missing {
            let words = [key.as_str(), &option.title, &option.description].into_iter().filter(|word| !word.is_empty());
            failure = failure.cause(words.collect::<Vec<_>>().join(": "));
        }
        let options: Vec<String> = missing.iter().map(|(key, _)| format!("-e {}=VALUE", quoting::quote(key))).collect();
        Err(failure.hint(format!("add: {}", options.join(" "))))
    }

    fn unusable(&self, why: &str) -> Failure {
        Failure::new(ErrorKind::Config, format!("cannot use the bundle {}", self.display_path)).cause(why)
    }

    /// Unpacks the bundle, unless that was done before.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if that is not possible. Nothing remains then.
    pub fn unpack(&self) -> Result<()> {
        if self.directory.is_dir() {
            return Ok(());
        }
        let parent = self.directory.parent().unwrap_or(&self.directory);
        let failed = |error: io::Error| {
            let failure = Failure::new(ErrorKind::Config, format!("cannot unpack the bundle {}", self.display_path));
            let hint = write_failure_hint(&error, parent);
            hint.into_iter().fold(failure.caused_by(&error), Failure::hint)
        };
        create_private_dir(parent).map_err(failed)?;
        // Exactly the content that is trusted is unpacked, also if the file changes meanwhile.
        let mut copy = temporary_in(parent).tempfile_in(parent).map_err(failed)?;
        let sha256 = File::open(&self.path).and_then(|mut file| copy_and_hash(&mut file, &mut copy)).map_err(failed)?;
        if sha256 != self.sha256 {
            return Err(self.unusable("it changed while it was read"));
        }
        let files = temporary_in(parent).tempdir_in(parent).map_err(failed)?;
        let packed = copy.reopen().map_err(failed)?;
        let unpacked = Archive::open(packed, LIMITS).and_then(|archive| archive.unpack(files.path()));
        unpacked.map_err(|why| self.unusable(&why))?;
        if fs::read(files.path().join(MANIFEST)).map_err(failed)? != self.manifest {
            return Err(self.unusable("it changed while it was read"));
        }
        match fs::rename(files.path(), &self.directory) {
            Ok(()) => {
                let _ = files.keep();
                Ok(())
            }
            // Another command was faster.
            Err(_) if self.directory.is_dir() => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Copies a file of limited size, and returns the SHA-256 of its content, in hexadecimal.
fn copy_and_hash(file: &mut File, out: &mut impl Write) -> io::Result<String> {
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut piece = vec![0; PIECE_SIZE];
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            return Ok(hex(&hash.finalize()));
        }
        size += length as u64;
        if size > MAX_SIZE {
            return Err(io::Error::other("it is larger than 1 GiB"));
        }
        hash.update(&piece[..length]);
        out.write_all(&piece[..length])?;
    }
}
