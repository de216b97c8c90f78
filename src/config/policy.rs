//! Which tools of a server may be seen and called, and when a call needs consent.

use globset::{Glob, GlobMatcher};

/// Rules for the tools of one server.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Globs of the tools that may be used; all where `None`.
    pub allow_tools: Option<Vec<String>>,
    /// Globs of the tools that may not.
    pub deny_tools: Vec<String>,
    /// When a call needs consent.
    pub confirm: Confirm,
}

/// When a call needs consent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confirm {
    /// Never.
    #[default]
    Never,
    /// When the tool is not known to be harmless.
    Destructive,
    /// Always.
    Always,
}

impl Confirm {
    /// Reads the word of the configuration.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "never" => Some(Confirm::Never),
            "destructive" => Some(Confirm::Destructive),
            "always" => Some(Confirm::Always),
            _ => None,
        }
    }

    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Confirm::Never => "never",
            Confirm::Destructive => "destructive",
            Confirm::Always => "always",
        }
    }
}

impl Policy {
    /// Whether this tool may be seen and called.
    ///
    /// Denying wins over allowing. A glob that cannot be read (the configuration refuses those, so only
    /// by a slip of ours) allows nothing and denies everything.
    #[must_use]
    pub fn permits(&self, tool: &str) -> bool {
        let allowed =
            self.allow_tools.as_ref().is_none_or(|globs| globs.iter().any(|glob| matches(glob, tool).unwrap_or(false)));
        allowed && !self.deny_tools.iter().any(|glob| matches(glob, tool).unwrap_or(true))
    }

    /// Whether nothing is ruled out, so that nobody needs to look.
    #[must_use]
    pub fn permits_all(&self) -> bool {
        self.allow_tools.is_none() && self.deny_tools.is_empty()
    }
}

/// Reads a glob: `*`, `?`, `[a-z]`, `{a,b}`; names are no paths, so `*` runs over `/` and `.` too.
///
/// # Errors
/// Why it is none.
pub fn glob(text: &str) -> Result<GlobMatcher, String> {
    Glob::new(text).map(|glob| glob.compile_matcher()).map_err(|error| error.kind().to_string())
}

fn matches(text: &str, tool: &str) -> Result<bool, String> {
    // Most entries are plain names, which need no machine.
    if !text.contains(['*', '?', '[', '{', '\\', '!']) {
        return Ok(text == tool);
    }
    glob(text).map(|glob| glob.is_match(tool))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: Option<&[&str]>, deny: &[&str]) -> Policy {
        let owned = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect::<Vec<_>>();
        Policy { allow_tools: allow.map(owned), deny_tools: owned(deny), confirm: Confirm::Never }
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
        assert!(glob("a[").is_err());
    }
}
