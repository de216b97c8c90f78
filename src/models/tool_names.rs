//! The names under which tools are known to a model or to the client of a bridge: `server__tool`.
//!
//! MCP allows more characters in a name than the APIs do, and with several servers a name must include the server. A
//! valid name is used as it is; any other is sanitized and gets a hash suffix, so that two tools never share a name. To
//! find the tool of a name, the names of all tools in the list are computed and compared.

use sha2::{Digest, Sha256};

use crate::util::hex::hex;

/// The longest name that all APIs accept.
const MAX_NAME_LENGTH: usize = 64;
/// Between the names of server and tool.
const SEPARATOR: &str = "__";
/// The number of hexadecimal digits in the suffix of a sanitized name.
const HASH_DIGITS: usize = 8;

/// The name of a tool for a model; with several servers it begins with the name of the server.
#[must_use]
pub fn exposed_name(server: Option<&str>, tool: &str) -> String {
    let plain = match server {
        Some(server) => format!("{server}{SEPARATOR}{tool}"),
        None => tool.to_owned(),
    };
    // `a__b` + `c` and `a` + `b__c` must not result in the same name: the first `__` must be the separator.
    let is_unambiguous = server.is_none_or(|server| !server.contains(SEPARATOR) && !server.ends_with('_'));
    if is_unambiguous && is_valid_name(&plain) && !has_hash_suffix(&plain) {
        return plain;
    }
    format!("{}_{}", sanitized_tool_name(&plain), hash_suffix(server.unwrap_or_default(), tool))
}

/// The name of a parameter for Anthropic's models: other APIs accept any name.
#[must_use]
pub fn anthropic_parameter_name(name: &str) -> String {
    let is_allowed = |c: char| is_allowed_char(c) || c == '.';
    if (1..=MAX_NAME_LENGTH).contains(&name.len()) && name.chars().all(is_allowed) {
        return name.to_owned();
    }
    let mut plain: String = name.chars().map(|c| if is_allowed(c) { c } else { '_' }).collect();
    plain.truncate(MAX_NAME_LENGTH - HASH_DIGITS - 1);
    format!("{plain}_{}", hash_suffix("", name))
}

fn hash_suffix(server: &str, name: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(server);
    hash.update([0]);
    hash.update(name);
    hex(&hash.finalize()[..HASH_DIGITS / 2])
}

/// A sanitized name, without its suffix.
fn sanitized_tool_name(plain: &str) -> String {
    let mut name: String = plain.chars().map(|c| if is_allowed_char(c) { c } else { '_' }).collect();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        name.insert(0, '_');
    }
    name.truncate(MAX_NAME_LENGTH - HASH_DIGITS - 1);
    name
}

/// Whether a name may belong to one of this server's tools; only its list of tools can confirm that.
#[must_use]
pub fn may_belong_to(server: &str, name: &str) -> bool {
    if has_hash_suffix(name) {
        return name.starts_with(&sanitized_tool_name(&format!("{server}{SEPARATOR}")));
    }
    name.split_once(SEPARATOR).is_some_and(|(of, _)| of == server)
}

fn is_allowed_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn is_valid_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    (1..=MAX_NAME_LENGTH).contains(&name.len()) && name.starts_with(first) && name.chars().all(is_allowed_char)
}

/// Whether a name looks like a sanitized one; a valid name that looks like one is sanitized too.
fn has_hash_suffix(name: &str) -> bool {
    name.rsplit_once('_').is_some_and(|(_, suffix)| {
        suffix.len() == HASH_DIGITS && suffix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn valid_names_are_kept() {
        for name in ["echo", "get-sum", "_x", "create_issue", &"a".repeat(64)] {
            assert_eq!(exposed_name(None, name), name);
        }
        assert_eq!(exposed_name(Some("linear"), "create_issue"), "linear__create_issue");
    }

    #[test]
    fn other_names_are_sanitized_and_get_a_suffix() {
        assert_eq!(exposed_name(None, "files.read"), "files_read_ba20ec16");
        assert!(exposed_name(None, "7zip").starts_with("_7zip_") && has_hash_suffix(&exposed_name(None, "7zip")));
        assert_eq!(exposed_name(None, &"a".repeat(65)).len(), 64);
    }

    #[test]
    fn parameter_names_fit_the_pattern_of_the_api() {
        for name in ["a", "filter.id", "x-y_z", &"a".repeat(64)] {
            assert_eq!(anthropic_parameter_name(name), name);
        }
        let long = "a".repeat(65);
        let all: BTreeSet<String> = ["$top", "@top", "", "filter[id]", "é", &long].map(anthropic_parameter_name).into();
        assert_eq!(all.len(), 6);
        assert!(all.iter().all(|name| name.len() <= 64 && name.chars().all(|c| is_allowed_char(c) || c == '.')));
    }

    #[test]
    fn a_name_identifies_its_server() {
        assert!(may_belong_to("linear", "linear__create_issue") && !may_belong_to("line", "linear__create_issue"));
        let odd = exposed_name(Some("a.b"), "c");
        assert!(may_belong_to("a.b", &odd) && !may_belong_to("c", &odd));
        assert!(!may_belong_to("linear", "create_issue") && !may_belong_to("a__b", "a__b__c"));
        assert!(may_belong_to(&"x".repeat(80), &exposed_name(Some(&"x".repeat(80)), "y")));
    }

    #[test]
    fn no_two_tools_share_a_name() {
        let servers = [None, Some("a"), Some("a_"), Some("a__b"), Some("a.b"), Some("a-b"), Some("é")];
        let long = "x".repeat(80);
        let longer = format!("{long}y");
        let marked = exposed_name(None, "b.c");
        let tools = ["b", "_b", "b__c", "__b", "b.c", "b_c", "b/c", "", "é", &long, &longer, &marked];
        let mut all = BTreeSet::new();
        for server in servers {
            for tool in tools {
                let name = exposed_name(server, tool);
                assert!(is_valid_name(&name), "{name}");
                assert!(all.insert(name.clone()), "{server:?} {tool}: {name} is taken");
                assert!(server.is_none_or(|server| may_belong_to(server, &name)), "{server:?} {tool}: {name}");
            }
        }
    }
}
