//! Which project files and bundles may start processes and send credentials.
//!
//! Others may have written them, and using them runs code. Trust depends on path and content: a change of
//! either requires confirmation again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

use crate::config::file::tree::{ConfigNode, ConfigValue};
use crate::config::file::write;
use crate::config::keys;
use crate::config::keys::SERVER_KEYS;
use crate::config::origin::{ConfigDiagnostic, ConfigFile};
use crate::config::value::expand;
use crate::config::value::secrets::SecretReference;
use crate::env::Environment;
use crate::error::{ErrorKind, Failure, Result};
use crate::util::bounded_read::{self, MAX_FILE};
use crate::util::hex::hex;
use crate::util::json_error::json_fault_at;
use crate::util::quoting;

/// The files that are trusted: canonical path and SHA-256 of the content, in hexadecimal.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct TrustStore {
    /// Path to hash.
    #[serde(default)]
    files: BTreeMap<String, String>,
}

/// The location of the store.
#[must_use]
fn store_file(environment: &Environment) -> Option<PathBuf> {
    environment.state_dir().map(|dir| dir.join("trust.json"))
}

impl TrustStore {
    /// Reads the store; a missing one is empty.
    ///
    /// # Errors
    /// The diagnostic if the store exists and cannot be read.
    pub fn load(environment: &Environment) -> Result<Self, ConfigDiagnostic> {
        let Some(path) = store_file(environment) else { return Ok(TrustStore::default()) };
        let fault =
            || ConfigDiagnostic::for_file(&environment.abbreviate_home(&path), "cannot read the list of trusted files");
        match bounded_read::read_to_string(&path, MAX_FILE) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| {
                fault().cause(json_fault_at(&error)).hint("remove the file and run `mcpipe config trust` again")
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(TrustStore::default()),
            Err(error) => Err(fault().cause(error.to_string())),
        }
    }

    /// Whether this file with this content is trusted.
    #[must_use]
    pub fn is_trusted(&self, path: &Path, content: &str) -> bool {
        self.is_hash_trusted(path, &content_hash(content))
    }

    /// Whether this file is trusted with the content that has this SHA-256.
    #[must_use]
    pub fn is_hash_trusted(&self, path: &Path, sha256: &str) -> bool {
        self.files.get(&file_key(path)).is_some_and(|hash| hash == sha256)
    }

    /// Whether the file was trusted with different content.
    #[must_use]
    pub fn was_ever_trusted(&self, path: &Path) -> bool {
        self.files.contains_key(&file_key(path))
    }
}

/// Fails early if the store cannot be written, before anything else is changed.
///
/// # Errors
/// [`ErrorKind::Config`] for a store that is read-only.
pub fn check_writable(environment: &Environment) -> Result<()> {
    store_file(environment).map_or(Ok(()), |file| write::check_writable(environment, &file))
}

/// Trusts this file with this content, and saves that.
///
/// # Errors
/// [`ErrorKind::Config`] if the store cannot be written.
pub fn trust_file(environment: &Environment, path: &Path, content: &str) -> Result<()> {
    trust_hash(environment, path, content_hash(content))
}

/// Trusts this file with the content that has this SHA-256, and saves that.
///
/// # Errors
/// [`ErrorKind::Config`] if the store cannot be written.
pub fn trust_hash(environment: &Environment, path: &Path, sha256: String) -> Result<()> {
    update(environment, |files| {
        files.insert(file_key(path), sha256);
    })
}

/// Removes the trust in this file; returns whether it was trusted with any content.
///
/// # Errors
/// [`ErrorKind::Config`] if the store cannot be written.
pub fn untrust_file(environment: &Environment, path: &Path) -> Result<bool> {
    let mut known = false;
    update(environment, |files| known = files.remove(&file_key(path)).is_some())?;
    Ok(known)
}

fn update(environment: &Environment, change: impl FnOnce(&mut BTreeMap<String, String>)) -> Result<()> {
    let Some(file) = store_file(environment) else {
        return Err(Failure::no_home_directory("cannot save the list of trusted files", "set XDG_STATE_HOME"));
    };
    let _lock = write::lock_for_edit(&file)?;
    write::check_writable(environment, &file)?;
    let mut store = TrustStore::load(environment)?;
    change(&mut store.files);
    // Deleted files are removed from the store.
    store.files.retain(|path, _| Path::new(path).exists());
    let text = serde_json::to_string_pretty(&store)
        .map_err(|error| Failure::new(ErrorKind::Bug, "cannot write the trust store").caused_by(&error))?;
    write::write_config_file(&file, &format!("{text}\n"))
}

/// The path that identifies a file, with links resolved.
fn file_key(path: &Path) -> String {
    path.canonicalize().unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

/// The SHA-256 of a content, in hexadecimal.
#[must_use]
pub fn content_hash(content: &str) -> String {
    hex(&Sha256::digest(content.as_bytes()))
}

/// Why an entry of this file needs trust, to follow "the entry"; `None` if it does not.
///
/// An untrusted entry may have a URL and restrict what is done there. An entry needs trust if it starts a process,
/// sends something of the user's (a header, a variable, a login, a directory), uses a socket or a file of the machine,
/// disables a check, or overrides a server of the user's own or of a trusted file.
#[must_use]
pub fn trust_reason(source: &ConfigFile, entry: &ConfigNode, replaces_trusted: bool) -> Option<String> {
    if !source.layer.is_project() {
        return None;
    }
    if entry.get("command").is_some() {
        return Some("starts a process".to_owned());
    }
    let mut secrets = Vec::new();
    entry.for_each_string(&mut |text, _| secrets.extend(expand::secret_references(text)));
    if secrets.iter().any(|secret| matches!(secret, SecretReference::Command(_))) {
        return Some("runs a command to get a secret".to_owned());
    }
    if !secrets.is_empty() {
        return Some("sends a secret of your credential store".to_owned());
    }
    if replaces_trusted {
        return Some("overrides a server in a file of yours or one that you trust".to_owned());
    }
    for member in entry.members() {
        if !keys::find_key(SERVER_KEYS, &member.key).is_none_or(|key| key.allowed_untrusted) {
            return Some(format!("sets '{}'", member.key));
        }
    }
    let mut refers = false;
    entry.for_each_string(&mut |text, _| refers |= text.contains("${"));
    if refers {
        return Some("sends variables of your environment".to_owned());
    }
    match entry.get("url").map(|member| &member.value.value) {
        Some(ConfigValue::String(url)) => url_trust_reason(url.trim()).map(str::to_owned),
        _ => None,
    }
}

/// As [`trust_reason`], for a URL without references. It is parsed as it is used: `https:/me:pw@host` has a password.
fn url_trust_reason(url: &str) -> Option<&'static str> {
    if url.starts_with("unix:") {
        return Some("uses a socket of this machine");
    }
    if url.starts_with("replay:") {
        return Some("reads a file");
    }
    let sends_password = match Url::parse(url) {
        Ok(url) => !url.username().is_empty() || url.password().is_some(),
        Err(_) => url.contains('@'),
    };
    sends_password.then_some("sends a password")
}

/// The failure for an entry that needs trust and has none.
#[must_use]
pub fn untrusted_failure(source: &ConfigFile, name: &str, reason: &str, changed: bool) -> Failure {
    let state = if changed { "has changed since it was trusted" } else { "is not trusted" };
    Failure::new(ErrorKind::Config, format!("'{name}' {reason}, and its file {} {state}", source.display_path))
        .cause("a project file may come from somebody else, and using it runs the commands in it")
        .hint(format!("review and trust it: {}", trust_command(source)))
}

/// The command that trusts a file.
#[must_use]
pub fn trust_command(source: &ConfigFile) -> String {
    format!("mcpipe config trust {}", quoting::quote_path(&source.display_path))
}
