//! Origins of values: files, their layers and lines, and diagnostics that name them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::error::{ErrorKind, Failure};

/// A configuration file that was read.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// The file.
    pub path: PathBuf,
    /// The file as it is displayed (`~/…`).
    pub display_path: String,
    /// Its text, byte for byte.
    pub text: String,
    /// Its layer.
    pub layer: Layer,
    /// Its format.
    pub format: ConfigFormat,
    /// Whether it may start processes and send credentials.
    pub is_trusted: bool,
    /// The offset of each line, computed on first use.
    line_starts: OnceLock<Vec<usize>>,
}

/// The precedence of a file; later layers override earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The user's own `config.toml`.
    User,
    /// The `.mcp.json` of a project.
    ProjectMcpJson,
    /// The `.mcpipe.toml` of a project.
    ProjectToml,
    /// The only file, which `--config` or `MCPIPE_CONFIG` names.
    Explicit,
}

impl Layer {
    /// The name for display and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Layer::User => "user",
            Layer::ProjectMcpJson | Layer::ProjectToml => "project",
            Layer::Explicit => "explicit",
        }
    }

    /// Whether it belongs to a project, so that others may have written it.
    #[must_use]
    pub fn is_project(self) -> bool {
        matches!(self, Layer::ProjectToml | Layer::ProjectMcpJson)
    }
}

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigFormat {
    /// mcpipe's own TOML.
    Toml,
    /// JSON with `mcpServers` or `servers`, as other clients write it.
    Json,
}

impl ConfigFile {
    /// A file with this text.
    #[must_use]
    pub fn new(path: PathBuf, display_path: String, text: String, layer: Layer, format: ConfigFormat) -> Self {
        ConfigFile { path, display_path, text, layer, format, is_trusted: true, line_starts: OnceLock::new() }
    }

    /// The directory that relative paths in the file are relative to.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// The line of a byte offset, from 1.
    #[must_use]
    pub fn line_at(&self, at: usize) -> usize {
        let starts = self.line_starts.get_or_init(|| {
            std::iter::once(0).chain(self.text.match_indices('\n').map(|(newline, _)| newline + 1)).collect()
        });
        starts.partition_point(|start| *start <= at.min(self.text.len()))
    }

    /// The column of a byte offset in characters, from 1.
    #[must_use]
    pub fn column_at(&self, at: usize) -> usize {
        self.text_before(at).rsplit('\n').next().unwrap_or_default().chars().count() + 1
    }

    fn text_before(&self, at: usize) -> &str {
        let mut end = at.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        &self.text[..end]
    }
}

/// The line of a file that a value comes from, displayed as `FILE:LINE`.
#[derive(Clone, Debug)]
pub struct ValueOrigin {
    /// The file.
    pub file: Arc<ConfigFile>,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display_path, self.line)
    }
}

/// A problem at one position of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigDiagnostic {
    /// The file as it is displayed.
    pub file: String,
    /// The line, from 1; 0 for the whole file.
    pub line: usize,
    /// The column in characters, from 1; 0 for the whole line.
    pub column: usize,
    /// The problem.
    pub message: String,
    /// The underlying error, if any.
    pub cause: Option<String>,
    /// The next step, if known.
    pub hint: Option<String>,
}

impl ConfigDiagnostic {
    /// A problem at this byte offset of a file.
    pub fn at(source: &ConfigFile, at: usize, message: impl Into<String>) -> Self {
        ConfigDiagnostic { line: source.line_at(at), ..ConfigDiagnostic::for_file(&source.display_path, message) }
    }

    /// A problem of a file as a whole.
    pub fn for_file(file: &str, message: impl Into<String>) -> Self {
        ConfigDiagnostic { file: file.to_owned(), line: 0, column: 0, message: message.into(), cause: None, hint: None }
    }

    /// Sets the underlying error.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Sets the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// `file`, `file:line` or `file:line:column`.
    #[must_use]
    pub fn location(&self) -> String {
        match (self.line, self.column) {
            (0, _) => self.file.clone(),
            (line, 0) => format!("{}:{line}", self.file),
            (line, column) => format!("{}:{line}:{column}", self.file),
        }
    }
}

impl fmt::Display for ConfigDiagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location(), self.message)
    }
}

impl From<ConfigDiagnostic> for Failure {
    fn from(fault: ConfigDiagnostic) -> Self {
        let failure = Failure::new(ErrorKind::Config, fault.to_string());
        let failure = fault.cause.into_iter().fold(failure, Failure::cause);
        fault.hint.into_iter().fold(failure, Failure::hint)
    }
}

/// All problems as one failure: a single one becomes the message, several are counted and listed.
#[must_use]
pub fn combine(what: &str, mut faults: Vec<ConfigDiagnostic>) -> Failure {
    if faults.len() == 1 {
        return faults.remove(0).into();
    }
    let failure = Failure::new(ErrorKind::Config, format!("{what} has {} errors", faults.len()));
    let with_hint = |fault: &ConfigDiagnostic| match &fault.hint {
        Some(hint) => format!("{fault}; {hint}"),
        None => fault.to_string(),
    };
    let mut hints = faults.iter().map(|fault| fault.hint.as_ref());
    match hints.next().flatten().cloned() {
        // One hint for all.
        Some(hint) if hints.all(|other| other == Some(&hint)) => {
            faults.iter().fold(failure, |failure, fault| failure.cause(fault.to_string())).hint(hint)
        }
        _ => faults.iter().fold(failure, |failure, fault| failure.cause(with_hint(fault))),
    }
}
