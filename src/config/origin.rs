//! Where values come from: files, their layers and lines, and faults that name them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::error::{ErrorKind, Failure};

/// A file that was read.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// The file.
    pub path: PathBuf,
    /// The file as people write it (`~/…`).
    pub display_path: String,
    /// What was read, byte for byte.
    pub text: String,
    /// Its place among the others.
    pub layer: Layer,
    /// How it is written.
    pub format: FileFormat,
    /// Whether it may start processes and send credentials.
    pub is_trusted: bool,
    /// Where each line begins, once a line was asked for.
    line_starts: OnceLock<Vec<usize>>,
}

/// The place of a file among the others; later ones lie over earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The user's own `config.toml`.
    User,
    /// The `.mcp.json` of a project.
    ProjectMcpJson,
    /// The `.mcpipe.toml` of a project.
    ProjectToml,
    /// The one file that `--config` or `MCPIPE_CONFIG` names.
    Explicit,
}

impl Layer {
    /// The name for people and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Layer::User => "user",
            Layer::ProjectMcpJson | Layer::ProjectToml => "project",
            Layer::Explicit => "explicit",
        }
    }

    /// Whether it came with a project, so that somebody else may have written it.
    #[must_use]
    pub fn is_project(self) -> bool {
        matches!(self, Layer::ProjectToml | Layer::ProjectMcpJson)
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// mcpipe's own TOML.
    Toml,
    /// `mcpServers` or `servers` in JSON, as other clients write it.
    Json,
}

impl ConfigFile {
    /// A file with this text.
    #[must_use]
    pub fn new(path: PathBuf, display_path: String, text: String, layer: Layer, format: FileFormat) -> Self {
        ConfigFile { path, display_path, text, layer, format, is_trusted: true, line_starts: OnceLock::new() }
    }

    /// The directory that relative paths in the file are relative to.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// The line of a byte, from 1.
    #[must_use]
    pub fn line_at(&self, at: usize) -> usize {
        let starts = self.line_starts.get_or_init(|| {
            std::iter::once(0).chain(self.text.match_indices('\n').map(|(newline, _)| newline + 1)).collect()
        });
        starts.partition_point(|start| *start <= at.min(self.text.len()))
    }

    /// The column of a byte in characters, from 1.
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

/// Something wrong at one place of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigDiagnostic {
    /// The file as people write it.
    pub file: String,
    /// The line, from 1; 0 where it is the file as a whole.
    pub line: usize,
    /// The column in characters, from 1; 0 where the line says enough.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// Why, where somebody else said it.
    pub cause: Option<String>,
    /// What to do, where it is known.
    pub hint: Option<String>,
}

impl ConfigDiagnostic {
    /// A fault at this byte of this file.
    pub fn at(source: &ConfigFile, at: usize, message: impl Into<String>) -> Self {
        ConfigDiagnostic { line: source.line_at(at), ..ConfigDiagnostic::for_file(&source.display_path, message) }
    }

    /// A fault of a file as a whole.
    pub fn for_file(file: &str, message: impl Into<String>) -> Self {
        ConfigDiagnostic { file: file.to_owned(), line: 0, column: 0, message: message.into(), cause: None, hint: None }
    }

    /// Sets the reason that somebody else gave.
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

/// All faults as one failure: a single one speaks for itself, several are counted and listed.
#[must_use]
pub fn combine(what: &str, mut faults: Vec<ConfigDiagnostic>) -> Failure {
    if faults.len() == 1 {
        return faults.remove(0).into();
    }
    let hint = faults.iter().find_map(|fault| fault.hint.clone());
    let message = format!("{what} has {} errors", faults.len());
    let failure =
        faults.iter().fold(Failure::new(ErrorKind::Config, message), |failure, fault| failure.cause(fault.to_string()));
    hint.into_iter().fold(failure, Failure::hint)
}
