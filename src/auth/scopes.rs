//! Which scopes to request (`AUT-15`, `AUT-21`, `AUT-22`).

use crate::auth::metadata::AuthorizationServerMetadata;

/// Requests a refresh token from OpenID Connect servers.
pub const OFFLINE_ACCESS: &str = "offline_access";

/// The scopes of a first authorization: those the user configured, else those of the challenge, else all
/// that the resource supports, else none.
#[must_use]
pub fn initial_scopes(configured: Option<&[String]>, challenged: &[String], known: &[String]) -> Vec<String> {
    let chosen = match configured {
        Some(configured) => configured,
        None if challenged.is_empty() => known,
        None => challenged,
    };
    union(chosen, &[])
}

/// The scopes requested before and now, without duplicates, in this order.
#[must_use]
pub fn union(before: &[String], now: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::with_capacity(before.len() + now.len());
    for scope in before.iter().chain(now) {
        if !all.contains(scope) {
            all.push(scope.clone());
        }
    }
    all
}

/// Adds `offline_access`, if the authorization server supports it and any scopes are requested.
#[must_use]
pub fn with_offline_access(mut scopes: Vec<String>, server: &AuthorizationServerMetadata) -> Vec<String> {
    let known = server.scopes_supported.iter().any(|scope| scope == OFFLINE_ACCESS);
    if known && !scopes.is_empty() && !scopes.iter().any(|scope| scope == OFFLINE_ACCESS) {
        scopes.push(OFFLINE_ACCESS.to_owned());
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::words;

    #[test]
    fn aut_15_configured_scopes_come_before_challenged_before_supported_ones() {
        assert_eq!(initial_scopes(Some(&words("a")), &words("b"), &words("c")), ["a"]);
        assert_eq!(initial_scopes(None, &words("b b"), &words("c")), ["b"]);
        assert_eq!(initial_scopes(None, &[], &words("c d")), ["c", "d"]);
        assert!(initial_scopes(None, &[], &[]).is_empty());
        assert!(initial_scopes(Some(&[]), &words("b"), &words("c")).is_empty());
    }

    #[test]
    fn aut_21_a_step_up_asks_for_the_union() {
        assert_eq!(union(&words("a b"), &words("b c")), ["a", "b", "c"]);
    }

    #[test]
    fn aut_22_offline_access_is_requested_only_if_the_server_supports_it() {
        let knows = AuthorizationServerMetadata {
            scopes_supported: words("openid offline_access"),
            ..AuthorizationServerMetadata::default()
        };
        assert_eq!(with_offline_access(words("a"), &knows), ["a", "offline_access"]);
        assert_eq!(with_offline_access(words("a offline_access"), &knows), ["a", "offline_access"]);
        assert!(with_offline_access(Vec::new(), &knows).is_empty());
        assert_eq!(with_offline_access(words("a"), &AuthorizationServerMetadata::default()), ["a"]);
    }
}
