//! Lists of tools, resources, templates and prompts: all pages up to a limit, from the cache while fresh.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json::{self, member, parse_value};
use crate::protocol::result_shape::{ToolResultShape, shape_error};
use crate::protocol::rpc::RawJson;
use crate::protocol::views::{ListItem, ListKind, parse_page};
use crate::protocol::{code, extension, method};
use crate::session::cache::LEGACY_LIST_TTL;
use crate::session::mcp_session::{Connection, Session};
use crate::session::operation::{Operation, Params};
use crate::session::request::RequestOutcome;
use crate::util::size::format_size;

/// The maximum number of pages of a list (`MSG-08`).
pub(crate) const MAX_PAGES: usize = 1000;

/// Whether a list may come from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachePolicy {
    /// A cached list is used while it is fresh.
    Allow,
    /// The list is always fetched.
    Bypass,
}

/// A complete list.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The items as the server sent them.
    pub raw_items: Vec<RawJson>,
    /// Whether the server offers this kind of list.
    pub is_offered: bool,
    /// Whether it came from the cache.
    pub is_cached: bool,
    /// Whether a page came without `ttlMs` or `cacheScope`, which the modern era requires.
    pub lacks_cache_hints: bool,
}

impl Listing {
    /// The items, parsed.
    #[must_use]
    pub fn parsed_items(&self) -> Vec<ListItem> {
        self.raw_items.iter().map(|item| ListItem::new(item)).collect()
    }

    /// The item with this name; the others are not parsed completely.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<ListItem> {
        let has_name = |raw: &&RawJson| {
            member(raw, "name").and_then(|raw| parse_value(raw.get())).is_some_and(|value| value == *name)
        };
        self.raw_items.iter().find(has_name).map(|item| ListItem::new(item))
    }
}

impl Session {
    /// A cached list that is still fresh, without a request.
    #[must_use]
    pub fn cached_list(&self, kind: ListKind) -> Option<Listing> {
        let items = self.cache.fresh_list(kind)?;
        Some(Listing { raw_items: items, is_offered: true, is_cached: true, lacks_cache_hints: false })
    }

    /// Fetches all items of one kind.
    ///
    /// If the server does not offer the kind, the list is empty and `is_offered` is false; that is not an error.
    ///
    /// # Errors
    /// If the request cannot be sent, fails, or the server repeats a cursor.
    pub async fn list(&self, kind: ListKind, from: CachePolicy) -> Result<Listing> {
        if from == CachePolicy::Allow
            && let Some(listing) = self.cached_list(kind)
        {
            return Ok(listing);
        }
        let none = Listing { raw_items: Vec::new(), is_offered: false, is_cached: false, lacks_cache_hints: false };
        let mut first = Operation::read_only(kind.list_method(), Map::new());
        if kind == ListKind::Skills {
            first = first.with_extensions(&[extension::SKILLS]);
            // Extensions are used only if the server declared them (EXT-01).
            if !self.offers_skills().await? {
                return Ok(none);
            }
        }
        let (connection, reply) =
            self.with_retries(&first, async || self.connection_for(&first).await, |_| None).await?;
        // Only declared features may be requested (ERA-18); in the modern era nothing has to be declared before.
        if kind != ListKind::Skills
            && !connection.era.revision().is_modern()
            && connection.era.server_info().declares(kind.capability()) == Some(false)
        {
            return Ok(none);
        }
        self.client_handler.clear_list_change(kind);
        let reply = match reply {
            Some(reply) => self.retry_in_other_era(&connection, &first, reply).await,
            None => self.send(&first).await?,
        };
        let first_page = match reply {
            RequestOutcome::Result(result) => result,
            RequestOutcome::Error(error, _) if error.code == Some(code::METHOD_NOT_FOUND) => return Ok(none),
            reply => return Err(self.failure_from(reply, kind.list_method())),
        };
        let (connection, _) = self.connection_for(&first).await?;
        let (mut ttl, mut shared, mut lacks_cache_hints) = (Duration::MAX, true, false);
        let look = |page: &RawJson| {
            lacks_cache_hints |= connection.era.revision().is_modern()
                && ["ttlMs", "cacheScope"].iter().any(|name| member(page, name).is_none());
            ttl = ttl.min(page_ttl(&connection, page));
            shared &= is_public(&connection, page);
        };
        let items = self.fetch_all_pages(&first, kind.result_member(), first_page, from, look).await?;
        // A list that changed while it was fetched is not fresh.
        let ttl = if self.has_list_changed(kind) { Duration::ZERO } else { ttl };
        self.cache.store_list(kind, &items, ttl, shared);
        Ok(Listing { raw_items: items, is_offered: true, is_cached: false, lacks_cache_hints })
    }

    /// All items of a list whose first page is `first`, the response to `operation`. `from` is the cache policy of the
    /// list.
    ///
    /// # Errors
    /// If a page cannot be fetched, or the cursors never end.
    pub(crate) async fn fetch_all_pages(
        &self,
        operation: &Operation,
        member: &str,
        first: RawJson,
        from: CachePolicy,
        mut seen_page: impl FnMut(&RawJson),
    ) -> Result<Vec<RawJson>> {
        if let Some(items) = self.try_all_pages(operation, member, first, from, &mut seen_page).await? {
            return Ok(items);
        }
        // The server no longer knows the cursor (-32602): start again from the first page.
        let again = self.request(operation).await?;
        let restarted = self.try_all_pages(operation, member, again, from, &mut seen_page).await?;
        restarted.ok_or_else(|| self.invalid_result_failure(operation.method, "refused its own cursor twice"))
    }

    /// All items of a list whose first page is `first`, the response to `operation`; `None` if the server rejects one
    /// of its own cursors.
    async fn try_all_pages(
        &self,
        operation: &Operation,
        member: &str,
        first: RawJson,
        from: CachePolicy,
        mut seen_page: impl FnMut(&RawJson),
    ) -> Result<Option<Vec<RawJson>>> {
        let mut all: Vec<RawJson> = Vec::new();
        // Where the previous page begins.
        let mut last = 0;
        let mut seen = HashSet::new();
        let mut result = first;
        let mut size = 0;
        loop {
            size += result.get().len() as u64;
            self.check_list_size(operation.method, size)?;
            seen_page(&result);
            let Some((mut page, cursor)) = parse_page(&result, member) else {
                return Err(self.invalid_result_failure(operation.method, &format!("has no '{member}' array")));
            };
            if let Some(cursor) = &cursor {
                if json::member(&result, "nextCursor").is_some_and(|raw| !raw.get().starts_with('"')) {
                    return Err(self.invalid_result_failure(
                        operation.method,
                        &format!("has a nextCursor that is not a string: {cursor}"),
                    ));
                }
                if !seen.insert(cursor.clone()) {
                    // A server that ignores cursors but returns one: the list is complete.
                    if !is_same_page(&all[last..], &page) {
                        return Err(
                            self.invalid_result_failure(operation.method, "repeats its cursor, so it never ends")
                        );
                    }
                    self.warn_repeated_page(operation.method, from);
                    return Ok(Some(all));
                }
            }
            last = all.len();
            all.append(&mut page);
            let Some(cursor) = cursor else { return Ok(Some(all)) };
            if seen.len() >= MAX_PAGES {
                return Err(
                    self.invalid_result_failure(operation.method, &format!("does not end after {MAX_PAGES} pages"))
                );
            }
            let mut next = operation.clone();
            next.params.insert("cursor", Value::String(cursor));
            result = match self.send(&next).await? {
                RequestOutcome::Result(result) => result,
                RequestOutcome::Error(error, _) if error.code == Some(code::INVALID_PARAMS) => return Ok(None),
                reply => return Err(self.failure_from(reply, operation.method)),
            };
        }
    }

    fn check_list_size(&self, method: &str, size: u64) -> Result<()> {
        match self.options.max_list_size.filter(|limit| size > *limit) {
            Some(limit) => Err(self
                .invalid_result_failure(method, &format!("is larger than {} over all its pages", format_size(limit)))
                .hint("accept more with --max-list-size SIZE")),
            None => Ok(()),
        }
    }

    /// Reports a list whose last page the server repeats: a warning for a requested list, otherwise only with
    /// `--verbose`.
    fn warn_repeated_page(&self, method: &str, from: CachePolicy) {
        let text = format!("the server repeats the last page of {method}; it is used once");
        match from {
            CachePolicy::Bypass if !self.has_warned_of_repeated_page.swap(true, Ordering::Relaxed) => {
                self.client_handler.warn(&text)
            }
            _ => self.options.transport.trace.note(&text),
        }
    }

    /// The result, if it has the structure that the protocol defines.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if it does not.
    pub fn check_result_shape(&self, method: &str, result: RawJson) -> Result<RawJson> {
        match shape_error(method, &result) {
            Some(wrong) => Err(self.invalid_result_failure(method, "is malformed").cause(wrong)),
            None => Ok(result),
        }
    }

    /// What is wrong with the result of a tool that ran; `None` if it is valid. There is no hint to call the tool
    /// again.
    #[must_use]
    pub fn malformed_tool_result(&self, result: &RawValue) -> Option<Failure> {
        self.tool_result_failure(ToolResultShape::read(result))
    }

    /// The same, for a result that was looked at.
    #[must_use]
    pub fn tool_result_failure(&self, shape: ToolResultShape) -> Option<Failure> {
        if shape.errors.is_empty() {
            return None;
        }
        let message = format!("the server's response to {} is malformed", method::TOOLS_CALL);
        let failure = shape.errors.into_iter().fold(Failure::new(ErrorKind::Protocol, message), Failure::cause);
        Some(failure.cause("the tool ran").server(&self.target.name))
    }

    pub(crate) fn invalid_result_failure(&self, method: &str, what: &str) -> Failure {
        Failure::new(ErrorKind::Protocol, format!("the server's response to {method} {what}"))
            .hint("use -v to see what it sent")
            .server(&self.target.name)
    }

    /// The operation for a `tools/call`.
    #[must_use]
    pub fn tool_call_operation(
        name: &str,
        arguments: &Map<String, Value>,
        mirrored: Vec<(String, String)>,
    ) -> Operation {
        let params = Params::of_tool_call(name, arguments);
        let call = Operation::read_only(method::TOOLS_CALL, params).with_mcp_name(name).with_effects().with_progress();
        Operation { param_headers: mirrored, ..call.with_extensions(&[extension::TASKS]) }
    }
}

/// Whether two pages are identical, byte for byte.
fn is_same_page(one: &[RawJson], other: &[RawJson]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.get() == other.get())
}

/// How long a page is fresh: in the modern era as the server says (absent or negative means not at all, `MSG-11`), a
/// short time in the legacy era.
fn page_ttl(connection: &Connection, result: &RawJson) -> Duration {
    if !connection.era.revision().is_modern() {
        return LEGACY_LIST_TTL;
    }
    let millis = member(result, "ttlMs").and_then(|raw| parse_value(raw.get())).and_then(|value| value.as_f64());
    Duration::try_from_secs_f64(millis.unwrap_or_default() / 1000.0).unwrap_or_default()
}

/// Whether a page is the same for all users (`MSG-10`); the legacy era does not have such lists.
fn is_public(connection: &Connection, result: &RawJson) -> bool {
    !connection.era.revision().is_modern() || member(result, "cacheScope").is_some_and(|raw| raw.get() == r#""public""#)
}
