//! The lock file: what servers offered when it was written, as canonical JSON.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::{ErrorKind, Failure, Result};
use crate::output::save::{FileData, write_file};
use crate::protocol::json::{MAX_DEPTH, parse_up_to};
use crate::util::bounded_read::{self, MAX_FILE};
use crate::util::json_error::json_fault;
use crate::util::quoting::quote;

/// The name of the file if none is given.
pub const DEFAULT_LOCK_FILE: &str = "mcp.lock";
/// The version of the format.
const LOCK_VERSION: u64 = 1;
/// How deep the file is nested: a definition is in a list of a server.
const MAX_FILE_DEPTH: usize = MAX_DEPTH + 4;
/// The lists of a server in the file; each maps a name or URI to the definition.
pub const LISTS: [&str; 4] = ["tools", "prompts", "resources", "resourceTemplates"];

/// A lock file that was read.
#[derive(Clone, Debug, Default)]
pub struct LockFile {
    /// The servers by name: what each offered.
    pub servers: Map<String, Value>,
}

impl LockFile {
    /// Reads a lock file; `None` if it does not exist.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if it cannot be read or is not a lock file, with file and line.
    pub fn read_if_exists(path: &Path) -> Result<Option<Self>> {
        let text = match bounded_read::read_to_string(path, MAX_FILE) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let message = format!("cannot read the lock file '{}'", path.display());
                return Err(Failure::new(ErrorKind::Config, message).caused_by(&error));
            }
        };
        let parsed = serde_json::from_str(&text).or_else(|error| parse_up_to(&text, MAX_FILE_DEPTH).ok_or(error));
        let value: Value = parsed.map_err(|error| {
            broken(path, error.line(), &format!("invalid JSON at column {}: {}", error.column(), json_fault(&error)))
        })?;
        match value.get("version").and_then(Value::as_u64) {
            Some(LOCK_VERSION) => {}
            Some(version) => {
                let line = line_of(&text, "\"version\"");
                let why = format!("it has format version {version}; this mcpipe reads version {LOCK_VERSION}");
                return Err(broken(path, line, &why));
            }
            None => return Err(broken(path, 1, "it is not a lock file: 'version' is missing")),
        }
        let Some(Value::Object(servers)) = value.get("servers") else {
            return Err(broken(path, 1, "'servers' is missing or not an object"));
        };
        for (name, server) in servers {
            let is_valid = LISTS.iter().all(|list| server.get(list).is_none_or(Value::is_object)) && server.is_object();
            if !is_valid {
                let line = line_of(&text, &format!("{}:", json!(name)));
                return Err(broken(path, line, &format!("the entry of '{name}' is not that of a server")));
            }
        }
        Ok(Some(LockFile { servers: servers.clone() }))
    }

    /// Reads a lock file.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] as [`LockFile::read_if_exists`], and if it does not exist.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_if_exists(path)?.ok_or_else(|| {
            Failure::new(ErrorKind::Config, format!("the lock file '{}' does not exist", path.display()))
                .hint(format!("write it: mcpipe lock TARGET{}", file_option(path)))
        })
    }

    /// The text of the file: members sorted by name, each on a line of its own.
    #[must_use]
    pub fn text(&self) -> String {
        let all = json!({ "version": LOCK_VERSION, "servers": self.servers });
        format!("{:#}\n", with_sorted_members(&all))
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] if it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = FileData::Bytes(self.text().into_bytes().into());
        write_file(path, &[text]).map_err(|failure| failure.hint("choose another file: -o FILE"))
    }
}

fn broken(path: &Path, line: usize, why: &str) -> Failure {
    let shown = path.display();
    Failure::new(ErrorKind::Config, format!("the lock file '{shown}' cannot be used"))
        .cause(format!("{shown}:{line}: {why}"))
        .hint(format!("restore it, or delete it and run: mcpipe lock TARGET{}", file_option(path)))
}

/// The option that names the file, unless it is the default.
pub(super) fn file_option(path: &Path) -> String {
    if path == Path::new(DEFAULT_LOCK_FILE) {
        return String::new();
    }
    format!(" -o {}", quote(&path.to_string_lossy()))
}

/// The number of the first line that contains this text.
fn line_of(text: &str, part: &str) -> usize {
    text.lines().position(|line| line.contains(part)).map_or(1, |at| at + 1)
}

/// The value with the members of all objects sorted by name.
#[must_use]
pub fn with_sorted_members(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut all: Vec<(&String, &Value)> = members.iter().collect();
            all.sort_unstable_by_key(|(name, _)| *name);
            Value::Object(all.into_iter().map(|(name, value)| (name.clone(), with_sorted_members(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(with_sorted_members).collect()),
        other => other.clone(),
    }
}
