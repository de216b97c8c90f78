//! Which tools of a server the client may see and call, and the headers that a call needs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::wire::members_of;
use crate::commands::call::lock_check::compare_tool;
use crate::commands::lock::file::LockFile;
use crate::commands::tools::{denied_by_policy, is_read_only, not_read_only};
use crate::config::policy::ConfirmPolicy;
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::rpc::RawJson;
use crate::protocol::views::ListItem;
use crate::schema::{HeaderParam, InvalidAnnotation, collect_header_params};
use crate::target::Target;
use crate::util::lock::lock;

/// How many different warnings are printed.
const MAX_WARNINGS: usize = 100;

/// The rules for the tools of one server.
pub struct ToolGuard {
    target: Target,
    lock: Option<LockFile>,
    /// Whether calls need no confirmation.
    is_confirmed: bool,
    table: Mutex<KeptTable>,
    /// The warnings that were printed.
    warned: Mutex<HashSet<String>>,
}

/// What the tools of a server are, as far as a call depends on it.
#[derive(Default)]
pub struct ToolTable(HashMap<String, ToolRules>);

/// The table, once it was loaded.
#[derive(Default)]
struct KeptTable {
    table: Option<Arc<ToolTable>>,
    /// How many times it was forgotten.
    forgotten: u64,
}

struct ToolRules {
    headers: Vec<HeaderParam>,
    refusal: Option<Failure>,
}

impl ToolGuard {
    /// The rules of a target. With `is_confirmed` calls need no confirmation.
    ///
    /// # Errors
    /// If the lock file cannot be used.
    pub fn new(target: &Target, is_confirmed: bool) -> Result<Self> {
        let lock = target.policy.locked.as_deref().map(LockFile::read).transpose()?;
        Ok(ToolGuard { target: target.clone(), lock, is_confirmed, table: Mutex::default(), warned: Mutex::default() })
    }

    /// Whether lists of tools have to be filtered.
    #[must_use]
    pub fn filters(&self, has_headers: bool) -> bool {
        let policy = &self.target.policy;
        has_headers || policy.allow_tools.is_some() || !policy.deny_tools.is_empty() || self.lock.is_some()
    }

    /// Whether a call needs the definition of its tool.
    #[must_use]
    pub fn needs_tool_definitions(&self, has_headers: bool) -> bool {
        let confirms = self.target.policy.confirm == ConfirmPolicy::Destructive && !self.is_confirmed;
        has_headers || self.lock.is_some() || confirms || self.target.policy.read_only
    }

    /// The table, loaded by `load` if there is none.
    ///
    /// # Errors
    /// Those of `load`.
    pub async fn table(
        &self,
        load: impl Future<Output = Result<Vec<ListItem>>>,
        has_headers: bool,
    ) -> Result<Arc<ToolTable>> {
        let forgotten = {
            let kept = lock(&self.table);
            if let Some(table) = &kept.table {
                return Ok(table.clone());
            }
            kept.forgotten
        };
        // Without the lock: what comes in the meantime, or another connection, forgets the table.
        let items = load.await?;
        let mut table = ToolTable::default();
        for item in &items {
            let headers = collect_headers(item, has_headers);
            let refusal = self.refusal(item, headers.as_ref().err());
            let refusal = refusal.or_else(|| self.not_read_only(item.name(), Some(item)));
            let refusal = refusal.or_else(|| self.unconfirmed(item.name(), Some(item)));
            let headers = headers.unwrap_or_default();
            table.0.entry(item.name().to_owned()).or_insert(ToolRules { headers, refusal });
        }
        let table = Arc::new(table);
        let mut kept = lock(&self.table);
        if kept.forgotten == forgotten {
            kept.table = Some(table.clone());
        }
        Ok(table)
    }

    /// Forgets the table: the tools may have changed.
    pub fn forget_table(&self) {
        let mut kept = lock(&self.table);
        kept.table = None;
        kept.forgotten += 1;
    }

    /// Why a tool must not be called, as far as its name shows.
    #[must_use]
    pub fn denied(&self, tool: &str) -> Option<Failure> {
        if !self.target.policy.permits(tool) {
            return Some(denied_by_policy(&self.target, tool));
        }
        if self.target.policy.confirm == ConfirmPolicy::Always { self.unconfirmed(tool, None) } else { None }
    }

    /// Why a tool must not be shown.
    fn refusal(&self, item: &ListItem, invalid: Option<&InvalidAnnotation>) -> Option<Failure> {
        if !self.target.policy.permits(item.name()) {
            return Some(denied_by_policy(&self.target, item.name()));
        }
        if let Some(invalid) = invalid {
            let message = format!("the tool '{}' is invalid and must not be called", item.name());
            return Some(Failure::new(ErrorKind::Protocol, message).cause(invalid.to_string()));
        }
        let (lock, path) = (self.lock.as_ref()?, self.target.policy.locked.as_deref()?);
        compare_tool(&self.target, lock, path, item.name(), || Ok(item)).err()
    }

    /// Why a tool that the server does not list must not be called.
    #[must_use]
    pub fn unlisted(&self, tool: &str) -> Option<Failure> {
        if let Some(refusal) = self.not_read_only(tool, None).or_else(|| self.unconfirmed(tool, None)) {
            return Some(refusal);
        }
        let (lock, path) = (self.lock.as_ref()?, self.target.policy.locked.as_deref()?);
        let missing = || {
            let message =
                format!("the server does not list the tool '{tool}', so it cannot be compared with the lock file");
            Err(Failure::new(ErrorKind::Refused, message))
        };
        compare_tool(&self.target, lock, path, tool, missing).err()
    }

    /// Why a tool must not be called that does not declare itself read-only.
    fn not_read_only(&self, tool: &str, item: Option<&ListItem>) -> Option<Failure> {
        (self.target.policy.read_only && !item.is_some_and(is_read_only)).then(|| not_read_only(&self.target, tool))
    }

    /// Why a tool cannot be called without a confirmation.
    fn unconfirmed(&self, tool: &str, item: Option<&ListItem>) -> Option<Failure> {
        (!self.is_confirmed && self.target.policy.confirm.requires_confirmation(item)).then(|| {
            Failure::new(
                ErrorKind::Refused,
                format!("calling '{tool}' needs confirmation, for which a bridge cannot ask"),
            )
            .hint("if the client asks for it, add --yes to the command line of the bridge")
        })
    }

    /// Whether a warning was not printed yet.
    #[must_use]
    pub fn is_new_warning(&self, text: &str) -> bool {
        let mut warned = lock(&self.warned);
        warned.len() < MAX_WARNINGS && warned.insert(text.to_owned())
    }

    /// The result of `tools/list` without the tools that the client must not see, and why each was left out for another
    /// reason than its name.
    #[must_use]
    pub fn filter_list(&self, result: RawJson, has_headers: bool) -> (RawJson, Vec<Failure>) {
        let mut failures = Vec::new();
        let filtered = map_items(&result, "tools", |raw| {
            let item = ListItem::new(raw);
            match self.refusal(&item, collect_headers(&item, has_headers).err().as_ref()) {
                Some(failure) => {
                    if self.target.policy.permits(item.name()) {
                        failures.push(failure);
                    }
                    None
                }
                None => Some(raw.get().to_owned()),
            }
        });
        (filtered.unwrap_or(result), failures)
    }
}

impl ToolTable {
    /// The headers of a call of this tool (2026-07-28, basic/transports/streamable-http, "Custom Headers").
    ///
    /// # Errors
    /// Why the tool must not be called.
    pub fn call_headers(
        &self,
        guard: &ToolGuard,
        tool: &str,
        arguments: Option<&str>,
    ) -> Result<Vec<(String, String)>> {
        // If no rule forbids it, a tool that is not listed is the server's to refuse.
        let Some(rules) = self.0.get(tool) else { return guard.unlisted(tool).map_or(Ok(Vec::new()), Err) };
        if let Some(failure) = &rules.refusal {
            return Err(failure.clone());
        }
        let arguments: Map<String, Value> = match arguments {
            Some(text) if !rules.headers.is_empty() => serde_json::from_str(text).unwrap_or_default(),
            _ => Map::new(),
        };
        let value = |one: &HeaderParam| Some((one.header.clone(), one.value(&arguments)?));
        Ok(rules.headers.iter().filter_map(value).collect())
    }
}

/// The parameters of a tool that are sent in headers, if any are.
fn collect_headers(tool: &ListItem, has_headers: bool) -> Result<Vec<HeaderParam>, InvalidAnnotation> {
    if has_headers { collect_header_params(tool.value()) } else { Ok(Vec::new()) }
}

/// The result of a list with other items: `change` returns the new text of each, or `None` to leave it out. Returns
/// `None` if the result has no such list.
pub fn map_items(
    result: &RawValue,
    list: &str,
    mut change: impl FnMut(&RawValue) -> Option<String>,
) -> Option<RawJson> {
    let text = result.get();
    let (_, range) = members_of(text)?.into_iter().find(|(name, _)| name == list)?;
    let items: Vec<&RawValue> = serde_json::from_str(&text[range.clone()]).ok()?;
    let items: Vec<String> = items.into_iter().filter_map(&mut change).collect();
    RawValue::from_string(format!("{}[{}]{}", &text[..range.start], items.join(","), &text[range.end..])).ok()
}
