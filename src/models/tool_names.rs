//! The names under which tools are known to a model.
//!
//! MCP allows more in a name than the APIs do, and with several servers a name must say whose tool it is. A
//! name that fits stays as it is; any other is made to fit and marked, so that two tools never share one. The
//! way back goes over the list of tools: the tool is the one whose name for the model this is.

use sha2::{Digest, Sha256};

use crate::util::hex::hex;

/// The longest name that every API takes.
const MAX_NAME_LENGTH: usize = 64;
/// What stands between a server's name and its tool's.
const SEPARATOR: &str = "__";
/// How many hexadecimal digits mark a name that was made to fit.
const HASH_DIGITS: usize = 8;

/// The name of a tool for a model; with several servers the server stands before it.
#[must_use]
pub fn exposed_name(server: Option<&str>, tool: &str) -> String {
    let plain = match server {
        Some(server) => format!("{server}{SEPARATOR}{tool}"),
        None => tool.to_owned(),
    };
    // `a__b` + `c` and `a` + `b__c` must not meet: only where the first `__` is ours is the name its own.
    let clear = server.is_none_or(|server| !server.contains(SEPARATOR) && !server.ends_with('_'));
    if clear && is_valid_name(&plain) && !has_hash_suffix(&plain) {
        return plain;
    }
    let mut hash = Sha256::new();
    hash.update(server.unwrap_or_default());
    hash.update([0]);
    hash.update(tool);
    let mark = hex(&hash.finalize()[..HASH_DIGITS / 2]);
    format!("{}_{mark}", sanitized_name(&plain))
}

/// What is left of a name that is made to fit, before its mark.
fn sanitized_name(plain: &str) -> String {
    let mut made: String = plain.chars().map(|c| if is_allowed_char(c) { c } else { '_' }).collect();
    if !made.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        made.insert(0, '_');
    }
    made.truncate(MAX_NAME_LENGTH - HASH_DIGITS - 1);
    made
}

/// Whether a name may be that of one of this server's tools; whether it is, its list of tools tells.
#[must_use]
pub fn may_belong_to(server: &str, name: &str) -> bool {
    if has_hash_suffix(name) {
        return name.starts_with(&sanitized_name(&format!("{server}{SEPARATOR}")));
    }
    name.split_once(SEPARATOR).is_some_and(|(of, _)| of == server)
}

/// Whose tool a name means, where that can be told from the name alone: the server and its tool.
#[must_use]
pub fn split_name(name: &str) -> Option<(&str, &str)> {
    name.split_once(SEPARATOR).filter(|(server, tool)| !server.is_empty() && !tool.is_empty() && !has_hash_suffix(name))
}

fn is_allowed_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn is_valid_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    (1..=MAX_NAME_LENGTH).contains(&name.len()) && name.starts_with(first) && name.chars().all(is_allowed_char)
}

/// Whether a name looks like one that was made to fit; one that merely looks so is marked too.
fn has_hash_suffix(name: &str) -> bool {
    name.rsplit_once('_').is_some_and(|(_, mark)| {
        mark.len() == HASH_DIGITS && mark.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_name_that_fits_stays() {
        for name in ["echo", "get-sum", "_x", "create_issue", &"a".repeat(64)] {
            assert_eq!(exposed_name(None, name), name);
        }
        assert_eq!(exposed_name(Some("linear"), "create_issue"), "linear__create_issue");
        assert_eq!(split_name("linear__create_issue"), Some(("linear", "create_issue")));
        assert_eq!(split_name("a__b__c"), Some(("a", "b__c")));
    }

    #[test]
    fn others_are_made_to_fit_and_marked() {
        assert_eq!(exposed_name(None, "files.read"), "files_read_ba20ec16");
        assert!(exposed_name(None, "7zip").starts_with("_7zip_") && has_hash_suffix(&exposed_name(None, "7zip")));
        assert_eq!(exposed_name(None, &"a".repeat(65)).len(), 64);
        assert_eq!(split_name(&exposed_name(Some("a.b"), "c")), None);
    }

    #[test]
    fn a_name_leads_to_its_server() {
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
                if let Some((of, named)) = split_name(&name).filter(|_| server.is_some()) {
                    assert_eq!((Some(of), named), (server, tool));
                }
                assert!(server.is_none_or(|server| may_belong_to(server, &name)), "{server:?} {tool}: {name}");
            }
        }
    }
}
