//! Which tools of a server may be listed and called, and when a call needs confirmation.

use std::path::PathBuf;

use globset::{Glob, GlobMatcher};

use crate::protocol::views::ListItem;

/// Rules for the tools of one server.
#[derive(Clone, Debug, Default)]
pub struct ToolPolicy {
    /// Globs of the tools that may be used; all if `None`.
    pub allow_tools: Option<Vec<String>>,
    /// Globs of the tools that may not be used.
    pub deny_tools: Vec<String>,
    /// When a call needs confirmation.
    pub confirm: ConfirmPolicy,
    /// Whether only tools may be called that declare themselves read-only.
    pub read_only: bool,
    /// The lock file that tools must agree with.
    pub locked: Option<PathBuf>,
}

/// When a call needs confirmation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConfirmPolicy {
    /// Never.
    #[default]
    Never,
    /// When the tool is not known to be harmless.
    Destructive,
    /// Always.
    Always,
}

impl ConfirmPolicy {
    /// Parses the value in the configuration.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "never" => Some(ConfirmPolicy::Never),
            "destructive" => Some(ConfirmPolicy::Destructive),
            "always" => Some(ConfirmPolicy::Always),
            _ => None,
        }
    }

    /// Whether a call of a tool has to be confirmed; `tool` is its definition, if it is known.
    #[must_use]
    pub fn requires_confirmation(self, tool: Option<&ListItem>) -> bool {
        match self {
            ConfirmPolicy::Never => false,
            ConfirmPolicy::Destructive => !tool.is_some_and(ListItem::is_declared_harmless),
            ConfirmPolicy::Always => true,
        }
    }

    /// The value in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ConfirmPolicy::Never => "never",
            ConfirmPolicy::Destructive => "destructive",
            ConfirmPolicy::Always => "always",
        }
    }
}

impl ToolPolicy {
    /// Whether this tool may be listed and called.
    ///
    /// A denied tool is not allowed even if it is listed as allowed. An invalid glob, which the configuration rejects,
    /// allows nothing and denies everything.
    #[must_use]
    pub fn permits(&self, tool: &str) -> bool {
        let allowed = self
            .allow_tools
            .as_ref()
            .is_none_or(|globs| globs.iter().any(|glob| glob_matches(glob, tool).unwrap_or(false)));
        allowed && !self.deny_tools.iter().any(|glob| glob_matches(glob, tool).unwrap_or(true))
    }
}

/// Parses a glob: `*`, `?`, `[a-z]`, `{a,b}`. Names are not paths, so `*` also matches `/` and `.`.
///
/// # Errors
/// Why it is invalid.
pub fn compile_glob(text: &str) -> Result<GlobMatcher, String> {
    Glob::new(text).map(|glob| glob.compile_matcher()).map_err(|error| error.kind().to_string())
}

fn glob_matches(text: &str, tool: &str) -> Result<bool, String> {
    // Most entries are plain names, which need no pattern.
    if !text.contains(['*', '?', '[', '{', '\\', '!']) {
        return Ok(text == tool);
    }
    compile_glob(text).map(|glob| glob.is_match(tool))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: Option<&[&str]>, deny: &[&str]) -> ToolPolicy {
        let owned = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect::<Vec<_>>();
        ToolPolicy { allow_tools: allow.map(owned), deny_tools: owned(deny), ..ToolPolicy::default() }
    }

    #[test]
    fn allowing_narrows_and_denying_wins() {
        assert!(policy(None, &[]).permits("anything"));
        assert!(!policy(Some(&[]), &[]).permits("anything"), "an empty list allows nothing");
        let both = policy(Some(&["list_*", "get_{a,b}"]), &["*_secret"]);
        for (tool, expected) in
            [("list_x", true), ("list_", true), ("get_a", true), ("get_c", false), ("list_secret", false), ("x", false)]
        {
            assert_eq!(both.permits(tool), expected, "{tool}");
        }
        assert!(!policy(None, &["a*"]).permits("a/b.c"));
        assert!(policy(None, &["a"]).permits("A"), "names differ by case");
    }

    #[test]
    fn a_glob_that_cannot_be_read_permits_nothing() {
        assert!(!policy(Some(&["a["]), &[]).permits("a["));
        assert!(!policy(None, &["a["]).permits("b"));
        assert!(compile_glob("a[").is_err());
    }
}
