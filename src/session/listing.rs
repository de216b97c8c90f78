//! Lists of tools, resources, templates and prompts: every page, with a guard, and from memory while fresh.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Map, Value};

use super::era::Call;
use super::link::Reply;
use super::memory::LEGACY_LIST_TTL;
use super::{Live, Session};
use crate::error::{Class, Failure, Result};
use crate::protocol::rpc::{Raw, parse_value};
use crate::protocol::views::{Entry, Kind, member, page};
use crate::protocol::{code, method};

/// More pages than any honest server has (`MSG-08`).
const MAX_PAGES: usize = 1000;

/// Whether a list may come from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A remembered list will do while it is fresh.
    Memory,
    /// Only what the server says now.
    Server,
}

/// A whole list.
#[derive(Clone, Debug)]
pub struct Listing {
    /// What is listed.
    pub kind: Kind,
    /// The elements as the server sent them.
    pub items: Vec<Raw>,
    /// Whether the server offers such a list at all.
    pub offered: bool,
    /// Whether it came from memory.
    pub remembered: bool,
}

impl Listing {
    /// The elements with views laid over them.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.items.iter().map(|item| Entry::new(item)).collect()
    }

    /// The element of this name, without looking at the others closely.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Entry> {
        let has_name =
            |raw: &&Raw| member(raw, "name").and_then(|raw| parse_value(raw.get())).is_some_and(|value| value == *name);
        self.items.iter().find(has_name).map(|item| Entry::new(item))
    }
}

impl Session {
    /// Lists everything of one kind.
    ///
    /// A server that does not offer the kind gives an empty list with `offered` false, not an error.
    ///
    /// # Errors
    /// When the server cannot be asked, fails, or repeats a cursor.
    pub async fn list(&self, kind: Kind, from: Use) -> Result<Listing> {
        if from == Use::Memory
            && let Some(items) = self.memory.list(kind)
        {
            return Ok(Listing { kind, items, offered: true, remembered: true });
        }
        let first = Call::read_only(kind.method(), Map::new());
        let (live, reply) = self.trying(&first, async || self.live(&first).await, |_| None).await?;
        let none = Listing { kind, items: Vec::new(), offered: false, remembered: false };
        // Only what was declared may be asked for (ERA-18); in the modern era nothing need be declared before.
        if !live.era.revision().is_modern() && live.era.server().declares(kind.capability()) == Some(false) {
            return Ok(none);
        }
        self.peer.set_lists_changed(false);
        let reply = match reply {
            Some(reply) => self.reconsider(&live, &first, reply).await,
            None => self.reply(&first).await?,
        };
        let first_page = match reply {
            Reply::Result(result) => result,
            Reply::Error(error, _) if error.code == code::METHOD_NOT_FOUND => return Ok(none),
            reply => return Err(self.failure(reply, kind.method())),
        };
        let (live, _) = self.live(&first).await?;
        let mut ttl = ttl_of(&live, &first_page);
        let items = match self.pages(&live, kind, first_page, &mut ttl).await? {
            Some(items) => items,
            // The server lost its place (-32602 on a cursor): once more from the start.
            None => {
                let again = self.request(&first).await?;
                let restarted = self.pages(&live, kind, again, &mut ttl).await?;
                restarted.ok_or_else(|| self.bad_list(kind, "refused its own cursor twice"))?
            }
        };
        if !self.peer.lists_changed() {
            self.memory.keep_list(kind, &items, ttl);
        }
        Ok(Listing { kind, items, offered: true, remembered: false })
    }

    /// Follows the cursors from the first page; `None` where the server refuses one of them.
    async fn pages(&self, live: &Live, kind: Kind, first: Raw, ttl: &mut Duration) -> Result<Option<Vec<Raw>>> {
        let mut all = Vec::new();
        let mut seen = HashSet::new();
        let mut result = first;
        loop {
            let Some((mut items, cursor)) = page(&result, kind) else {
                return Err(self.bad_list(kind, &format!("has no '{}' array", kind.member())));
            };
            all.append(&mut items);
            let Some(cursor) = cursor else { return Ok(Some(all)) };
            if !seen.insert(cursor.clone()) || seen.len() > MAX_PAGES {
                return Err(self.bad_list(kind, "repeats its cursor and never ends"));
            }
            let mut params = Map::new();
            params.insert("cursor".into(), Value::String(cursor));
            let call = Call::read_only(kind.method(), params);
            result = match self.reply(&call).await? {
                Reply::Result(result) => result,
                Reply::Error(error, _) if error.code == code::INVALID_PARAMS => return Ok(None),
                reply => return Err(self.failure(reply, kind.method())),
            };
            *ttl = (*ttl).min(ttl_of(live, &result));
        }
    }

    fn bad_list(&self, kind: Kind, what: &str) -> Failure {
        Failure::new(Class::Protocol, format!("the server's answer to {} {what}", kind.method()))
            .hint("see what it sent with -v")
            .server(&self.target.name)
    }

    /// One request to `tools/call`.
    #[must_use]
    pub fn tool_call(name: &str, arguments: Map<String, Value>, mirrored: Vec<(String, String)>) -> Call {
        let mut params = Map::new();
        params.insert("name".into(), name.into());
        params.insert("arguments".into(), Value::Object(arguments));
        let call = Call::read_only(method::TOOLS_CALL, params);
        Call { mirrored, effects: true, progress: true, ..call }.named(name)
    }
}

/// How long a page is fresh: as the server says in the modern era (absent or negative means not at all,
/// `MSG-11`), a short while in the legacy one.
fn ttl_of(live: &Live, result: &Raw) -> Duration {
    if !live.era.revision().is_modern() {
        return LEGACY_LIST_TTL;
    }
    let millis = member(result, "ttlMs").and_then(|raw| parse_value(raw.get())).and_then(|value| value.as_f64());
    Duration::try_from_secs_f64(millis.unwrap_or_default() / 1000.0).unwrap_or_default()
}
