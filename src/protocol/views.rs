//! Typed views of raw results: known members are read leniently, and everything else is kept.

use serde_json::Value;
use serde_json::value::RawValue;

use super::json::{MAX_DEPTH, members, nesting_depth, parse_string, parse_truncated};
use super::json_cursor::{find_member, type_name};
use super::meta;
use super::rpc::RawJson;

/// The kinds of lists that a server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// Tools.
    Tools,
    /// Resources.
    Resources,
    /// Resource templates.
    Templates,
    /// Prompts.
    Prompts,
    /// Skills (SEP-2640).
    Skills,
}

impl ListKind {
    /// All kinds.
    pub const ALL: [ListKind; 5] =
        [ListKind::Tools, ListKind::Resources, ListKind::Templates, ListKind::Prompts, ListKind::Skills];

    /// The lists that a notification reports as changed; none if it is about something else. Skills are resources.
    #[must_use]
    pub fn changed_by(notification: &str) -> &'static [ListKind] {
        match notification {
            super::method::TOOLS_CHANGED => &[ListKind::Tools],
            super::method::RESOURCES_CHANGED => &[ListKind::Resources, ListKind::Templates, ListKind::Skills],
            super::method::PROMPTS_CHANGED => &[ListKind::Prompts],
            _ => &[],
        }
    }

    /// The method that lists them.
    #[must_use]
    pub fn list_method(self) -> &'static str {
        match self {
            ListKind::Tools => super::method::TOOLS_LIST,
            ListKind::Resources => super::method::RESOURCES_LIST,
            ListKind::Templates => super::method::TEMPLATES_LIST,
            ListKind::Prompts => super::method::PROMPTS_LIST,
            ListKind::Skills => super::method::SKILLS_LIST,
        }
    }

    /// The member of the result that contains them.
    #[must_use]
    pub fn result_member(self) -> &'static str {
        match self {
            ListKind::Tools => "tools",
            ListKind::Resources => "resources",
            ListKind::Templates => "resourceTemplates",
            ListKind::Prompts => "prompts",
            ListKind::Skills => "skills",
        }
    }

    /// The server capability for them; skills need the resources capability and an extension.
    #[must_use]
    pub fn capability(self) -> &'static str {
        match self {
            ListKind::Tools => "tools",
            ListKind::Resources | ListKind::Templates | ListKind::Skills => "resources",
            ListKind::Prompts => "prompts",
        }
    }

    /// The singular noun for messages.
    #[must_use]
    pub fn singular_name(self) -> &'static str {
        match self {
            ListKind::Tools => "tool",
            ListKind::Resources => "resource",
            ListKind::Templates => "resource template",
            ListKind::Prompts => "prompt",
            ListKind::Skills => "skill",
        }
    }

    /// The plural noun for messages.
    #[must_use]
    pub fn plural_name(self) -> &'static str {
        match self {
            ListKind::Tools => "tools",
            ListKind::Resources => "resources",
            ListKind::Templates => "resource templates",
            ListKind::Prompts => "prompts",
            ListKind::Skills => "skills",
        }
    }
}

/// One item of a list: a tool, a resource, a template or a prompt, with its raw text.
#[derive(Clone, Debug)]
pub struct ListItem {
    raw: RawJson,
    value: Value,
    is_truncated: bool,
}

impl ListItem {
    /// Parses an item; parts that are nested too deeply are omitted.
    #[must_use]
    pub fn new(raw: &RawValue) -> Self {
        let (value, is_truncated) = parse_truncated(raw.get()).unwrap_or_default();
        ListItem { raw: raw.to_owned(), value, is_truncated }
    }

    /// Whether the item is an object, as every item of a list should be.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.value.is_object()
    }

    /// Whether a part of the item is nested too deeply to be read.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// A warning about parts of the item that could not be read; `None` if there are none.
    #[must_use]
    pub fn defect(&self, kind: ListKind) -> Option<String> {
        let kind = kind.singular_name();
        if !self.is_object() {
            return Some(format!("the server lists a {kind} that is {}, not an object", type_name(self.raw.get())));
        }
        self.is_truncated.then(|| {
            let members = members(&self.raw).unwrap_or_default().into_iter();
            let deep = members.filter(|(_, raw)| nesting_depth(raw.get()) >= MAX_DEPTH).map(|(name, _)| name);
            let deep: Vec<_> = deep.collect();
            let name = if self.name().is_empty() { self.uri() } else { self.name() };
            format!(
                "the {kind} '{name}' is read only in part: {} is nested more than {} levels deep",
                deep.join(" and "),
                MAX_DEPTH - 1
            )
        })
    }

    /// The item as the server sent it.
    #[must_use]
    pub fn raw(&self) -> &RawValue {
        &self.raw
    }

    /// The item as a value.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// A member that is a string.
    #[must_use]
    pub fn string_member(&self, key: &str) -> Option<&str> {
        self.value.get(key)?.as_str()
    }

    /// The name; empty if the server gave none. The name of a skill is in its frontmatter.
    #[must_use]
    pub fn name(&self) -> &str {
        self.string_member("name").or_else(|| self.frontmatter_string("name")).unwrap_or_default()
    }

    fn frontmatter_string(&self, key: &str) -> Option<&str> {
        self.value.get("frontmatter")?.get(key)?.as_str()
    }

    /// The title to display: `title`, or `annotations.title` for tools.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.string_member("title").or_else(|| self.value.get("annotations")?.get("title")?.as_str())
    }

    /// The description; empty if there is none.
    #[must_use]
    pub fn description(&self) -> &str {
        self.string_member("description").or_else(|| self.frontmatter_string("description")).unwrap_or_default()
    }

    /// `uri` of a resource or `uriTemplate` of a template.
    #[must_use]
    pub fn uri(&self) -> &str {
        self.string_member("uri").or_else(|| self.string_member("uriTemplate")).unwrap_or_default()
    }

    /// A tool's input schema, if it has one.
    #[must_use]
    pub fn input_schema(&self) -> Option<&Value> {
        self.value.get("inputSchema").filter(|schema| schema.is_object() || schema.is_boolean())
    }

    /// A tool's output schema, if it has one.
    #[must_use]
    pub fn output_schema(&self) -> Option<&Value> {
        self.value.get("outputSchema").filter(|schema| schema.is_object() || schema.is_boolean())
    }

    /// Whether a tool declares that it changes nothing, or nothing that is lost by it. Untrusted (`TOL-05`).
    #[must_use]
    pub fn is_declared_harmless(&self) -> bool {
        self.boolean_annotation("readOnlyHint") == Some(true)
            || self.boolean_annotation("destructiveHint") == Some(false)
    }

    /// A boolean tool annotation, if the server sent it. Untrusted (`TOL-05`).
    #[must_use]
    pub fn boolean_annotation(&self, name: &str) -> Option<bool> {
        self.value.get("annotations")?.get(name)?.as_bool()
    }
}

/// The items of one page of the list in the member `list`, as raw text, and the cursor of the next page.
///
/// `None` if the result has no such list.
#[must_use]
pub fn parse_page(result: &RawValue, list: &str) -> Option<(Vec<RawJson>, Option<String>)> {
    let members = members(result)?;
    let find = |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, raw)| *raw);
    let items: Vec<&RawValue> = serde_json::from_str(find(list)?.get()).ok()?;
    let cursor = find("nextCursor").filter(|raw| raw.get() != "null");
    let cursor = cursor.map(|raw| parse_string(raw.get()).unwrap_or_else(|| raw.get().chars().take(100).collect()));
    Some((items.into_iter().map(ToOwned::to_owned).collect(), cursor))
}

/// The identity of a server: from `initialize`, `server/discover`, or a result's `_meta`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerInfo {
    /// `name`, for display only.
    pub name: Option<String>,
    /// `title`, for display only.
    pub title: Option<String>,
    /// `version`, for display only.
    pub version: Option<String>,
    /// The declared capabilities; `None` if unknown (a modern server before `server/discover`).
    pub capabilities: Option<Value>,
    /// The server's instructions for using it. Untrusted text.
    pub instructions: Option<String>,
}

impl ServerInfo {
    /// Parses the result of `initialize` or `server/discover`, for either position of `serverInfo`.
    #[must_use]
    pub fn from_result(result: &Value) -> Self {
        let info =
            result.get("_meta").and_then(|meta| meta.get(meta::SERVER_INFO)).or_else(|| result.get("serverInfo"));
        let text = |key: &str| info.and_then(|info| info.get(key)).and_then(Value::as_str).map(ToOwned::to_owned);
        ServerInfo {
            name: text("name"),
            title: text("title"),
            version: text("version"),
            capabilities: result.get("capabilities").filter(|value| value.is_object()).cloned(),
            instructions: result.get("instructions").and_then(Value::as_str).map(ToOwned::to_owned),
        }
    }

    /// Whether the server declared this capability; `None` if its capabilities are unknown.
    #[must_use]
    pub fn declares(&self, capability: &str) -> Option<bool> {
        self.capabilities
            .as_ref()
            .map(|all| all.get(capability).is_some_and(|value| !value.is_null() && value != false))
    }
}

/// Whether a tool reported an error (2025-11-25, server/tools, error handling).
#[must_use]
pub fn is_error_result(result: &RawValue) -> bool {
    find_member(result.get(), "isError") == Some("true")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn raw(text: &str) -> RawJson {
        RawValue::from_string(text.to_owned()).expect("JSON")
    }

    #[test]
    fn a_page_survives_a_malformed_element() {
        let result = raw(r#"{"tools":[{"name":"a","x":1E2},7],"nextCursor":""}"#);
        let (items, cursor) = parse_page(&result, "tools").expect("a page");
        assert_eq!(items.iter().map(|item| item.get()).collect::<Vec<_>>(), [r#"{"name":"a","x":1E2}"#, "7"]);
        // An empty string is a cursor like any other (MSG-08).
        assert_eq!(cursor.as_deref(), Some(""));
        assert!(parse_page(&raw(r#"{"tools":[],"nextCursor":null}"#), "tools").expect("a page").1.is_none());
        assert!(parse_page(&raw("{}"), "tools").is_none());
    }

    #[test]
    fn server_info_is_found_in_both_places() {
        let modern = serde_json::json!({"_meta": {"io.modelcontextprotocol/serverInfo": {"name": "a"}}, "capabilities": {"tools": {}}});
        let legacy = serde_json::json!({"serverInfo": {"name": "b", "version": 2}});
        assert_eq!(ServerInfo::from_result(&modern).name.as_deref(), Some("a"));
        assert_eq!(ServerInfo::from_result(&modern).declares("tools"), Some(true));
        assert_eq!(ServerInfo::from_result(&modern).declares("prompts"), Some(false));
        assert_eq!(ServerInfo::from_result(&legacy).name.as_deref(), Some("b"));
        assert_eq!(ServerInfo::from_result(&legacy).declares("tools"), None);
    }
}
