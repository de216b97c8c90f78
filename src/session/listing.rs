//! Lists of tools, resources, templates and prompts: every page, with a guard, and from memory while fresh.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Map, Value};

use super::era::Call;
use super::link::Reply;
use super::memory::LEGACY_LIST_TTL;
use super::{Live, Session};
use crate::error::{Class, Failure, Result};
use crate::protocol::rpc::{Raw, parse_value};
use crate::protocol::views::{Entry, Kind, items, member};
use crate::protocol::{code, extension, method, shape, views};

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
    /// A list that is remembered and fresh; nobody is asked.
    #[must_use]
    pub fn remembered(&self, kind: Kind) -> Option<Listing> {
        self.memory.list(kind).map(|items| Listing { kind, items, offered: true, remembered: true })
    }

    /// Lists everything of one kind.
    ///
    /// A server that does not offer the kind gives an empty list with `offered` false, not an error.
    ///
    /// # Errors
    /// When the server cannot be asked, fails, or repeats a cursor.
    pub async fn list(&self, kind: Kind, from: Use) -> Result<Listing> {
        if from == Use::Memory
            && let Some(listing) = self.remembered(kind)
        {
            return Ok(listing);
        }
        let none = Listing { kind, items: Vec::new(), offered: false, remembered: false };
        let mut first = Call::read_only(kind.method(), Map::new());
        if kind == Kind::Skills {
            first = first.declaring(&[extension::SKILLS]);
            // An extension is used only where it was seen to be declared (EXT-01).
            if !self.offers_skills().await? {
                return Ok(none);
            }
        }
        let (live, reply) = self.trying(&first, async || self.live(&first).await, |_| None).await?;
        // Only what was declared may be asked for (ERA-18); in the modern era nothing need be declared before.
        if kind != Kind::Skills
            && !live.era.revision().is_modern()
            && live.era.server().declares(kind.capability()) == Some(false)
        {
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
        let (mut ttl, mut shared) = (Duration::MAX, true);
        let look = |page: &Raw| {
            ttl = ttl.min(ttl_of(&live, page));
            shared &= is_shared(&live, page);
        };
        let items = self.whole_list(&first, kind.member(), first_page, from, look).await?;
        // One that changed meanwhile is not fresh.
        let ttl = if self.peer.lists_changed() { Duration::ZERO } else { ttl };
        self.memory.keep_list(kind, &items, ttl, shared);
        Ok(Listing { kind, items, offered: true, remembered: false })
    }

    /// Every element of a list that begins with `first`, the answer to `call`; `from` tells whether the list itself is
    /// what is wanted.
    ///
    /// # Errors
    /// When a page cannot be had, or the cursors never end.
    pub(super) async fn whole_list(
        &self,
        call: &Call,
        member: &str,
        first: Raw,
        from: Use,
        mut seen_page: impl FnMut(&Raw),
    ) -> Result<Vec<Raw>> {
        if let Some(items) = self.all_pages(call, member, first, from, &mut seen_page).await? {
            return Ok(items);
        }
        // The server lost its place (-32602 on a cursor): once more from the start.
        let again = self.request(call).await?;
        let restarted = self.all_pages(call, member, again, from, &mut seen_page).await?;
        restarted.ok_or_else(|| self.bad_list(call.method, "refused its own cursor twice"))
    }

    /// Every element of a list that begins with `first`, the answer to `call`; `None` where the server refuses
    /// one of its own cursors.
    async fn all_pages(
        &self,
        call: &Call,
        member: &str,
        first: Raw,
        from: Use,
        mut seen_page: impl FnMut(&Raw),
    ) -> Result<Option<Vec<Raw>>> {
        let mut all: Vec<Raw> = Vec::new();
        // Where the page before begins.
        let mut last = 0;
        let mut seen = HashSet::new();
        let mut result = first;
        loop {
            seen_page(&result);
            let Some((mut page, cursor)) = items(&result, member) else {
                return Err(self.bad_list(call.method, &format!("has no '{member}' array")));
            };
            if let Some(cursor) = &cursor {
                if views::member(&result, "nextCursor").is_some_and(|raw| !raw.get().starts_with('"')) {
                    return Err(self.bad_list(call.method, &format!("has a nextCursor that is no string: {cursor}")));
                }
                if !seen.insert(cursor.clone()) {
                    // A server that takes no cursors and gives one all the same: what there is has been seen.
                    if !is_same(&all[last..], &page) {
                        return Err(self.bad_list(call.method, "repeats its cursor and never ends"));
                    }
                    self.tell_of_repeat(call.method, from);
                    return Ok(Some(all));
                }
            }
            last = all.len();
            all.append(&mut page);
            let Some(cursor) = cursor else { return Ok(Some(all)) };
            if seen.len() >= MAX_PAGES {
                return Err(self.bad_list(call.method, &format!("goes on after {MAX_PAGES} pages")));
            }
            let mut next = call.clone();
            next.params.insert("cursor".into(), Value::String(cursor));
            result = match self.reply(&next).await? {
                Reply::Result(result) => result,
                Reply::Error(error, _) if error.code == code::INVALID_PARAMS => return Ok(None),
                reply => return Err(self.failure(reply, call.method)),
            };
        }
    }

    /// Tells of a list whose last page the server gives again and again: with what is about the list, once; else only
    /// to who looks closely.
    fn tell_of_repeat(&self, method: &str, from: Use) {
        let text = format!("the server gives the last page of {method} again and again; it is taken once");
        match from {
            Use::Server if !self.told_of_repeat.swap(true, Ordering::Relaxed) => self.peer.warn(&text),
            _ => self.options.transport.trace.note(&text),
        }
    }

    /// A result, where it has the shape that the protocol gives it.
    ///
    /// # Errors
    /// [`Class::Protocol`] where it has not.
    pub fn well_formed(&self, method: &str, result: Raw) -> Result<Raw> {
        match shape::wrong(method, &result) {
            Some(wrong) => Err(self.bad_list(method, "is malformed").cause(wrong)),
            None => Ok(result),
        }
    }

    pub(super) fn bad_list(&self, method: &str, what: &str) -> Failure {
        Failure::new(Class::Protocol, format!("the server's answer to {method} {what}"))
            .hint("see what it sent with -v")
            .server(&self.target.name)
    }

    /// One request to `tools/call`.
    #[must_use]
    pub fn tool_call(name: &str, arguments: Map<String, Value>, mirrored: Vec<(String, String)>) -> Call {
        let mut params = Map::new();
        params.insert("name".into(), name.into());
        params.insert("arguments".into(), Value::Object(arguments));
        let call = Call::read_only(method::TOOLS_CALL, params).named(name).with_effects().with_progress();
        Call { mirrored, ..call.declaring(&[extension::TASKS]) }
    }
}

/// Whether two pages hold the same, byte for byte.
fn is_same(one: &[Raw], other: &[Raw]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.get() == other.get())
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

/// Whether a page is nobody's own (`MSG-10`); the legacy era does not know such lists.
fn is_shared(live: &Live, result: &Raw) -> bool {
    !live.era.revision().is_modern() || member(result, "cacheScope").is_some_and(|raw| raw.get() == r#""public""#)
}
