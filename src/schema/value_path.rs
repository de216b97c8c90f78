//! The way from a value to a value in it, and how messages write it.

use serde_json::Value;

use crate::util::secret_names::looks_secret;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStep {
    /// To the member of an object.
    Member(String),
    /// To the item of an array, counted from 0.
    Item(usize),
}

impl PathStep {
    /// The step to a member.
    pub fn member(name: impl Into<String>) -> PathStep {
        PathStep::Member(name.into())
    }

    /// Whether this is the step to the member with this name.
    #[must_use]
    pub fn is_member(&self, name: &str) -> bool {
        matches!(self, PathStep::Member(member) if member == name)
    }

    /// The value that this step leads to.
    #[must_use]
    pub fn get_from<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match self {
            PathStep::Member(name) => value.get(name),
            PathStep::Item(position) => value.get(position),
        }
    }
}

/// Whether the value there may be a secret, judged by the names of the members on the way to it.
#[must_use]
pub fn has_secret_name(path: &[PathStep]) -> bool {
    let mut names = path.iter().filter_map(|step| match step {
        PathStep::Member(name) => Some(name),
        PathStep::Item(_) => None,
    });
    names.any(|name| looks_secret(name))
}

/// A path as the arguments of a call are typed: `filters.page`, `edits[0].text`.
#[must_use]
pub fn path_text(path: &[PathStep]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            PathStep::Item(position) => text.push_str(&format!("[{position}]")),
            PathStep::Member(name) if text.is_empty() => text.push_str(name),
            PathStep::Member(name) => text.push_str(&format!(".{name}")),
        }
    }
    text
}
