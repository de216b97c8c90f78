//! What the two protocol families have in common: one small trait, implemented once each.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::link::{Ask, Link, Reply};
use super::questions::Questions;
use super::subscribe::Subscribe;
use super::tasks::{Tasks, Wish};
use crate::protocol::meta;
use crate::protocol::revision::Revision;
use crate::protocol::views::ServerInfo;
use crate::transport::Boxed;

/// One operation to be asked of a server, in neither era's words.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: &'static str,
    /// The members of `params`, without `_meta`.
    pub params: Map<String, Value>,
    /// What `Mcp-Name` mirrors, over modern HTTP (`HTM-03`).
    pub name: Option<String>,
    /// The `Mcp-Param-*` headers, over modern HTTP (`HTM-04`).
    pub mirrored: Vec<(String, String)>,
    /// Whether the server may change something: such a request is never a probe and never repeated silently.
    pub effects: bool,
    /// Whether the tool says that it may be called twice for once: it changes nothing, or nothing more.
    pub repeatable: bool,
    /// Whether progress is wanted.
    pub progress: bool,
    /// The extensions that are declared with it, in the modern era (`EXT-01`).
    pub extensions: &'static [&'static str],
    /// Whether it may become a task, where the era leaves that to the client (`TOL-10`).
    pub task: Option<Wish>,
    /// Its own account of what the server asks meanwhile, where other requests are under way beside it.
    pub questions: Option<Arc<Questions>>,
}

impl Call {
    /// A request that changes nothing.
    #[must_use]
    pub fn read_only(method: &'static str, params: Map<String, Value>) -> Self {
        Call {
            method,
            params,
            name: None,
            mirrored: Vec::new(),
            effects: false,
            repeatable: false,
            progress: false,
            extensions: &[],
            task: None,
            questions: None,
        }
    }

    /// Keeps its own account of what the server asks meanwhile: other requests are under way beside it.
    #[must_use]
    pub fn asking(mut self, questions: &Arc<Questions>) -> Self {
        self.questions = Some(questions.clone());
        self
    }

    /// Sets what `Mcp-Name` mirrors.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Declares these extensions with it.
    #[must_use]
    pub fn declaring(mut self, extensions: &'static [&'static str]) -> Self {
        self.extensions = extensions;
        self
    }

    /// Says that the server may change something.
    #[must_use]
    pub fn with_effects(mut self) -> Self {
        self.effects = true;
        self
    }

    /// Asks for progress.
    #[must_use]
    pub fn with_progress(mut self) -> Self {
        self.progress = true;
        self
    }
}

/// One of the two families, for one connection.
pub trait Era: Subscribe + Tasks + Send + Sync {
    /// The revision spoken.
    fn revision(&self) -> Revision;

    /// Who the server is, as far as it has said.
    fn server(&self) -> ServerInfo;

    /// One request in this era's words, ready to go.
    fn worded(&self, link: &Link, call: &Call) -> Ask;

    /// Asks one operation and follows it to its end.
    fn request<'a>(&'a self, link: &'a Link, call: &'a Call) -> Boxed<'a, Reply>;

    /// Whether the server bears a request beside `initialized` (legacy over HTTP); `None` where it was not tried.
    fn bears_haste(&self) -> Option<bool> {
        None
    }
}

/// Who we are, on the wire.
#[must_use]
pub fn client_info() -> Value {
    json!({"name": "mcpipe", "version": env!("CARGO_PKG_VERSION")})
}

/// `params` with a `_meta` that asks for progress under the request's own id (`MSG-07`).
#[must_use]
pub fn meta_with_progress(id: u64, call: &Call) -> Map<String, Value> {
    let mut all = Map::new();
    if call.progress {
        all.insert(meta::PROGRESS_TOKEN.into(), id.into());
    }
    all
}
