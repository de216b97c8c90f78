//! Which tools of a server may be listed and called, and when a call needs confirmation.

use std::path::PathBuf;
use std::str::Chars;
use std::sync::OnceLock;

use regex::Regex;

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
    /// The globs of both lists, compiled when the first tool is looked up.
    pub(crate) compiled: OnceLock<(Option<Vec<ToolGlob>>, Vec<ToolGlob>)>,
}

/// A glob that is ready to be compared.
#[derive(Clone, Debug)]
pub(crate) enum ToolGlob {
    Name(String),
    Pattern(Regex),
    Invalid,
}

impl ToolGlob {
    fn new(text: &str) -> Self {
        // Most entries are plain names, which need no pattern.
        if text.contains(['*', '?', '[', '{', '}', '\\']) {
            compile_glob(text).map_or(ToolGlob::Invalid, ToolGlob::Pattern)
        } else {
            ToolGlob::Name(text.to_owned())
        }
    }

    /// Whether it matches; `None` if it is invalid.
    fn matches(&self, tool: &str) -> Option<bool> {
        match self {
            ToolGlob::Name(name) => Some(name == tool),
            ToolGlob::Pattern(pattern) => Some(pattern.is_match(tool)),
            ToolGlob::Invalid => None,
        }
    }
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
        let (allowed, denied) = self.compiled.get_or_init(|| {
            let compile = |globs: &[String]| globs.iter().map(|glob| ToolGlob::new(glob)).collect();
            (self.allow_tools.as_deref().map(compile), compile(&self.deny_tools))
        });
        allowed.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(tool).unwrap_or(false)))
            && !denied.iter().any(|glob| glob.matches(tool).unwrap_or(true))
    }
}

/// Parses a glob: `*`, `?`, `[a-z]`, `{a,b}`. Names are not paths, so `*` also matches `/` and `.`.
///
/// # Errors
/// Why it is invalid.
pub fn compile_glob(text: &str) -> Result<Regex, String> {
    let mut pattern = r"(?s)\A".to_owned();
    let mut rest = text.chars();
    let mut groups = 0;
    while let Some(c) = rest.next() {
        match c {
            '*' => pattern.push_str(".*"),
            '?' => pattern.push('.'),
            '[' => push_class(&mut rest, &mut pattern)?,
            '{' => {
                groups += 1;
                pattern.push_str("(?:");
            }
            ',' if groups > 0 => pattern.push('|'),
            '}' if groups == 0 => return Err("unopened alternate group; missing '{'".to_owned()),
            '}' => {
                groups -= 1;
                pattern.push(')');
            }
            '\\' => push_literal(rest.next().ok_or("dangling '\\'")?, &mut pattern),
            c => push_literal(c, &mut pattern),
        }
    }
    if groups > 0 {
        return Err("unclosed alternate group; missing '}'".to_owned());
    }
    pattern.push_str(r"\z");
    Regex::new(&pattern).map_err(|error| error.to_string())
}

/// Adds the class that follows a `[`. A `]` is a member at its start, and a `-` at its start or end.
fn push_class(rest: &mut Chars<'_>, pattern: &mut String) -> Result<(), String> {
    let text = rest.as_str();
    let body = text.strip_prefix(['!', '^']).unwrap_or(text);
    pattern.push_str(if body.len() < text.len() { "[^" } else { "[" });
    let first = body.chars().next().map_or(0, char::len_utf8);
    let end = first + body[first..].find(']').ok_or("unclosed character class; missing ']'")?;
    let members: Vec<char> = body[..end].chars().collect();
    let mut members = members.as_slice();
    while let [from, after @ ..] = members {
        push_literal(*from, pattern);
        members = after;
        if let ['-', to, after @ ..] = members {
            if to < from {
                return Err(format!("invalid range; '{from}' > '{to}'"));
            }
            pattern.push('-');
            push_literal(*to, pattern);
            members = after;
        }
    }
    pattern.push(']');
    *rest = body[end + 1..].chars();
    Ok(())
}

fn push_literal(c: char, pattern: &mut String) {
    pattern.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
    fn globs_match_whole_names_by_their_characters() {
        for (glob, matching, others) in [
            ("delete{,_all}", &["delete", "delete_all"][..], &["delete_", "delete_all_"][..]),
            ("supprim?", &["supprimé", "supprime"], &["supprim", "supprimés"]),
            ("[à-é]*", &["ça", "é"], &["a", ""]),
            ("[!a-c]x", &["éx", "dx", "\nx"], &["ax", "x", "ééx"]),
            ("[^a]", &["b"], &["a"]),
            ("[]-]a", &["]a", "-a"], &["a"]),
            ("[a-]b", &["-b", "ab"], &["b"]),
            ("[[]x[]][{]", &["[x]{"], &["x"]),
            ("[\\][&&a]", &["\\&", "\\a"], &["a"]),
            ("a.b+(c)|d", &["a.b+(c)|d"], &["axb+(c)|d", "d"]),
            ("{a,{b,c}*}d", &["ad", "bd", "cxd"], &["d", "bx"]),
            ("a,b", &["a,b"], &["a"]),
            ("\\*", &["*"], &["a", "\\"]),
            ("*", &["", "a\nb/c"], &[]),
        ] {
            let compiled = compile_glob(glob).unwrap();
            assert!(matching.iter().all(|name| compiled.is_match(name)), "{glob}");
            assert!(!others.iter().any(|name| compiled.is_match(name)), "{glob}");
        }
        for (glob, why) in [
            ("a[", "unclosed character class; missing ']'"),
            ("a[]", "unclosed character class; missing ']'"),
            ("[z-a]", "invalid range; 'z' > 'a'"),
            ("{a", "unclosed alternate group; missing '}'"),
            ("a}", "unopened alternate group; missing '{'"),
            ("a\\", "dangling '\\'"),
        ] {
            assert_eq!(compile_glob(glob).err().as_deref(), Some(why), "{glob}");
        }
    }

    #[test]
    fn a_glob_that_cannot_be_read_permits_nothing() {
        assert!(!policy(Some(&["a["]), &[]).permits("a["));
        assert!(!policy(None, &["a["]).permits("b"));
        assert!(compile_glob("a[").is_err());
    }
}
