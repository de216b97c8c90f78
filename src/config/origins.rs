//! Where values come from: files, their layers and lines, and faults that name them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Class, Failure};

/// A file that was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// The file as people write it (`~/…`).
    pub shown: String,
    /// What was read, byte for byte.
    pub text: String,
    /// Its place among the others.
    pub layer: Layer,
    /// How it is written.
    pub format: Format,
    /// Whether it may start processes and send credentials.
    pub trusted: bool,
}

/// The place of a file among the others; later ones lie over earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The user's own `config.toml`.
    User,
    /// The `.mcp.json` of a project.
    ProjectJson,
    /// The `.mcpipe.toml` of a project.
    Project,
    /// The one file that `--config` or `MCPIPE_CONFIG` names.
    Chosen,
}

impl Layer {
    /// The name for people and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Layer::User => "user",
            Layer::ProjectJson | Layer::Project => "project",
            Layer::Chosen => "chosen",
        }
    }

    /// Whether it came with a project, so that somebody else may have written it.
    #[must_use]
    pub fn is_project(self) -> bool {
        matches!(self, Layer::Project | Layer::ProjectJson)
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// mcpipe's own TOML.
    Toml,
    /// `mcpServers` or `servers` in JSON, as other clients write it.
    Json,
}

impl Source {
    /// The directory that relative paths in the file are relative to.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// The line of a byte, from 1.
    #[must_use]
    pub fn line(&self, at: usize) -> usize {
        self.before(at).matches('\n').count() + 1
    }

    /// The column of a byte in characters, from 1.
    #[must_use]
    pub fn column(&self, at: usize) -> usize {
        self.before(at).rsplit('\n').next().unwrap_or_default().chars().count() + 1
    }

    fn before(&self, at: usize) -> &str {
        let mut end = at.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        &self.text[..end]
    }
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Nobody said anything.
    BuiltIn,
    /// A line of a file.
    File(Arc<Source>, usize),
    /// A flag of this command line.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn => f.write_str("built in"),
            Origin::File(source, line) => write!(f, "{}:{line}", source.shown),
            Origin::Flag(flag) => f.write_str(flag),
            Origin::Variable(name) => write!(f, "${name}"),
        }
    }
}

/// Something wrong at one place of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
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

impl Fault {
    /// A fault at this byte of this file.
    pub fn new(source: &Source, at: usize, message: impl Into<String>) -> Self {
        Fault { line: source.line(at), ..Fault::whole(&source.shown, message) }
    }

    /// A fault of a file as a whole.
    pub fn whole(file: &str, message: impl Into<String>) -> Self {
        Fault { file: file.to_owned(), line: 0, column: 0, message: message.into(), cause: None, hint: None }
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
    pub fn place(&self) -> String {
        match (self.line, self.column) {
            (0, _) => self.file.clone(),
            (line, 0) => format!("{}:{line}", self.file),
            (line, column) => format!("{}:{line}:{column}", self.file),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.message)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let failure = Failure::new(Class::Config, fault.to_string());
        let failure = fault.cause.into_iter().fold(failure, Failure::cause);
        fault.hint.into_iter().fold(failure, Failure::hint)
    }
}

/// All faults as one failure: a single one speaks for itself, several are counted and listed.
#[must_use]
pub fn failure(what: &str, mut faults: Vec<Fault>) -> Failure {
    if faults.len() == 1 {
        return faults.remove(0).into();
    }
    let hint = faults.iter().find_map(|fault| fault.hint.clone());
    let message = format!("{what} has {} faults", faults.len());
    let failure =
        faults.iter().fold(Failure::new(Class::Config, message), |failure, fault| failure.cause(fault.to_string()));
    hint.into_iter().fold(failure, Failure::hint)
}
