//! A server's tools as the commands see them: policy applied, broken header annotations left out.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value};
use tokio::sync::{Mutex, OnceCell};

use super::Context;
use crate::error::{Class, Failure, Result};
use crate::near::near;
use crate::protocol::views::{Entry, Kind};
use crate::schema::mirror;
use crate::session::{Listing, Session, Use};
use crate::target::Target;
use crate::transport::Endpoint;

/// The tools that may be seen, and why others are left out.
pub struct Tools {
    /// Those that may be used, in the server's order.
    pub entries: Vec<Entry>,
    /// Names of tools with invalid `x-mcp-header` annotations, and what is wrong with each (`HTM-06`).
    pub invalid: BTreeMap<String, String>,
    /// Names of tools that the configuration hides.
    pub hidden: Vec<String>,
    /// Whether the server offers tools at all.
    pub offered: bool,
    /// Whether the list came from memory.
    pub remembered: bool,
    /// The options by which the server could have been offered more than it was.
    pub not_offered: Vec<&'static str>,
}

impl Tools {
    /// The tool of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name() == name)
    }

    /// Why this tool cannot be used: hidden, invalid, or not there, with the nearest names.
    #[must_use]
    pub fn missing(&self, target: &Target, name: &str) -> Failure {
        if self.hidden.iter().any(|hidden| hidden == name) {
            return not_allowed(target, name);
        }
        if let Some(reason) = self.invalid.get(name) {
            return Failure::new(Class::Protocol, format!("the tool '{name}' is invalid and must not be called"))
                .cause(reason.clone());
        }
        if !self.offered {
            return Failure::new(Class::Failed, "the server offers no tools");
        }
        let failure = Failure::new(Class::Failed, format!("the server has no tool '{name}'"));
        let nearest = near(name, self.entries.iter().map(Entry::name));
        let hint = match nearest.as_slice() {
            [] => format!("see its tools: {}", target.line("list", &[])),
            nearest => format!("did you mean {}?", nearest.join(" or ")),
        };
        // Whom nobody can ask is not shown what would ask, though it was seen at a terminal. There, a slip is a slip.
        let asks = nearest.is_empty() || self.not_offered.contains(&"--elicit");
        if !asks || self.not_offered.is_empty() {
            return failure.hint(hint);
        }
        let options = self.not_offered.join(" or ");
        failure.hint(format!("{hint} (some servers show a tool only to a client that offers {options})"))
    }
}

/// The tools of one server for as long as a command runs, whoever asks for them: listed once, and again where
/// that may help.
#[derive(Default)]
pub struct Catalogue {
    tools: Mutex<Option<Result<Rc<Tools>>>>,
    connected: OnceCell<Option<Failure>>,
}

impl Catalogue {
    /// The tools, from memory where that will do. A list that cannot be had is not asked for again.
    ///
    /// # Errors
    /// When the list cannot be had.
    pub async fn get(&self, context: &Context, session: &Session) -> Result<Rc<Tools>> {
        let mut held = self.tools.lock().await;
        if let Some(tools) = &*held {
            return tools.clone();
        }
        let loaded = load(context, session, Use::Memory).await.map(Rc::new);
        *held = Some(loaded.clone());
        loaded
    }

    /// What the server says now, for somebody whom `seen` did not help; `None` where that cannot be news.
    ///
    /// # Errors
    /// When the list cannot be had.
    pub async fn renew(&self, context: &Context, session: &Session, seen: &Rc<Tools>) -> Result<Option<Rc<Tools>>> {
        let mut held = self.tools.lock().await;
        if let Some(Ok(other)) = &*held
            && !Rc::ptr_eq(other, seen)
        {
            return Ok(Some(other.clone()));
        }
        if !seen.remembered && !session.lists_changed() {
            return Ok(None);
        }
        let fresh = Rc::new(load(context, session, Use::Server).await?);
        *held = Some(Ok(fresh.clone()));
        Ok(Some(fresh))
    }

    /// What the server says now.
    ///
    /// # Errors
    /// When the list cannot be had.
    pub async fn reload(&self, context: &Context, session: &Session) -> Result<Rc<Tools>> {
        let mut held = self.tools.lock().await;
        let fresh = Rc::new(load(context, session, Use::Server).await?);
        *held = Some(Ok(fresh.clone()));
        Ok(fresh)
    }

    /// Connects, where no list was asked for: many calls at once must not be what finds out that a remembered
    /// era is wrong, and what cannot be reached is not tried again by each.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn connect(&self, session: &Session) -> Result<()> {
        let connect = async || {
            let asked = session.about().await;
            // A server that cannot say who it is may still take calls.
            if session.known().await.is_some() { None } else { asked.err() }
        };
        self.connected.get_or_init(connect).await.clone().map_or(Ok(()), Err)
    }
}

/// The failure for a tool that the configuration hides.
#[must_use]
pub fn not_allowed(target: &Target, name: &str) -> Failure {
    Failure::new(Class::Refused, format!("the configuration does not allow the tool '{name}'"))
        .hint(format!("see allow_tools and deny_tools: {}", target.config_line("get")))
}

/// Lists the tools of a server and applies policy and the rules for header annotations.
///
/// # Errors
/// When the list cannot be had.
pub async fn load(context: &Context, session: &Session, from: Use) -> Result<Tools> {
    let listing = session.list(Kind::Tools, from).await?;
    Ok(sift(context, session, &listing).await)
}

/// Applies policy and the rules for header annotations to a list of tools.
pub async fn sift(context: &Context, session: &Session, listing: &Listing) -> Tools {
    let policy = &session.target().policy;
    let checks_headers = mirrors_headers(session).await;
    let mut tools = Tools {
        entries: Vec::new(),
        invalid: BTreeMap::new(),
        hidden: Vec::new(),
        offered: listing.offered,
        remembered: listing.remembered,
        not_offered: session.not_offered(),
    };
    for entry in listing.entries() {
        if !policy.permits(entry.name()) {
            tools.hidden.push(entry.name().to_owned());
            continue;
        }
        if checks_headers && let Err(invalid) = mirror(entry.value()) {
            if !listing.remembered {
                context.ui.warn(&format!("left out the tool '{}': {invalid}", entry.name()));
            }
            tools.invalid.insert(entry.name().to_owned(), invalid.to_string());
            continue;
        }
        tools.entries.push(entry);
    }
    tools
}

/// Whether a tool is meant for the server's own app (MCP Apps), not for those who see the list.
#[must_use]
pub fn is_for_app(tool: &Entry) -> bool {
    let visibility = tool.value().pointer("/_meta/ui/visibility").and_then(Value::as_array);
    visibility.is_some_and(|all| all.iter().any(|who| who == "app") && !all.iter().any(|who| who == "model"))
}

/// Whether arguments travel in headers: modern revisions over HTTP only.
async fn mirrors_headers(session: &Session) -> bool {
    matches!(session.target().endpoint, Endpoint::Http(_)) && session.is_modern().await == Some(true)
}

/// The `Mcp-Param-*` headers of a call (`HTM-04`); they go out in modern revisions over HTTP only.
#[must_use]
pub fn mirrored(session: &Session, tool: &Entry, arguments: &Map<String, Value>) -> Vec<(String, String)> {
    if !matches!(session.target().endpoint, Endpoint::Http(_)) {
        return Vec::new();
    }
    let parameters = mirror(tool.value()).unwrap_or_default();
    parameters.into_iter().filter_map(|one| Some((one.header.clone(), one.value(arguments)?))).collect()
}
