//! Reads a configuration file: its text, its format and its tree.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::config::file::jsonc;
use crate::config::file::tree::{self, ConfigNode};
use crate::config::origin::{ConfigDiagnostic, ConfigFile, ConfigFormat, Layer};
use crate::config::paths::ConfigPath;
use crate::env::Environment;
use crate::util::bounded_read::{self, MAX_FILE};

/// Reads a file; `None` if it does not exist and is optional.
pub(super) fn read_file(environment: &Environment, place: &ConfigPath) -> Result<Option<String>, ConfigDiagnostic> {
    let fault = |message: &str| ConfigDiagnostic::for_file(&environment.abbreviate_home(&place.path), message);
    let bytes = match read_once(&place.path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound && place.layer != Layer::Explicit => return Ok(None),
        // A file instead of a directory: there is nothing below it.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory && place.layer == Layer::User => return Ok(None),
        Err(error) => return Err(fault("cannot read the configuration file").cause(error.to_string())),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count() + 1;
            Err(ConfigDiagnostic { line, ..fault("the file is not UTF-8 text") })
        }
    }
}

/// The bytes of a file. A pipe, which ends after its first reader, is kept for later readers of this run.
fn read_once(path: &Path) -> io::Result<Vec<u8>> {
    static PIPE: OnceLock<(PathBuf, Vec<u8>)> = OnceLock::new();
    if let Some((_, bytes)) = PIPE.get().filter(|(pipe, _)| pipe == path) {
        return Ok(bytes.clone());
    }
    let bytes = bounded_read::read(path, MAX_FILE)?;
    if !path.is_file() {
        let _ = PIPE.set((path.to_owned(), bytes.clone()));
    }
    Ok(bytes)
}

/// The tree of a file.
///
/// # Errors
/// The diagnostic, with file, line, column and cause.
pub fn parse_file(source: &ConfigFile) -> Result<ConfigNode, ConfigDiagnostic> {
    let (parsed, language) = match source.format {
        ConfigFormat::Toml => (tree::parse_toml(&source.text), "TOML"),
        ConfigFormat::Json => (jsonc::parse(&source.text), "JSON"),
    };
    parsed.map_err(|error| {
        let fault = ConfigDiagnostic::at(source, error.offset, format!("this is not {language}")).cause(error.message);
        ConfigDiagnostic { column: source.column_at(error.offset), ..fault }
    })
}

/// A file given by the user may have either format; TOML begins neither with a brace nor with a slash.
pub(super) fn detect_format(path: &Path, text: &str) -> ConfigFormat {
    let has_extension = |name| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(name));
    if has_extension("json") || has_extension("jsonc") || text.trim_start().starts_with(['{', '/']) {
        ConfigFormat::Json
    } else {
        ConfigFormat::Toml
    }
}
