//! What the subcommands of `auth` share.

use serde_json::{Value, json};

use super::super::Context;
use super::super::credentials::login_owner;
use crate::auth::OAuthSettings;
use crate::auth::clock::unix_seconds;
use crate::auth::credentials::{Ownership, match_server};
use crate::auth::metadata::is_same_issuer;
use crate::auth::store::{CredentialStore, CredentialSummary, named_secrets};
use crate::cli::TargetOptions;
use crate::error::{ErrorKind, Failure, Result};
use crate::target::Target;
use crate::transport::{Endpoint, HttpEndpoint};
use crate::util::duration::format_lifetime;
use crate::util::shorten::shorten;

/// The target of a subcommand, which must be a server at a URL.
///
/// # Errors
/// If it cannot be resolved; [`ErrorKind::Usage`] if it is a process (`AUT-01`).
pub(super) async fn resolve_http_target(
    context: &Context,
    word: &str,
    reach: &TargetOptions,
) -> Result<(Target, HttpEndpoint)> {
    let (target, _) = context.resolve_target([&word.to_owned()], &[], false, reach).await?;
    match target.endpoint.http_endpoint() {
        Some(endpoint) => Ok((target, endpoint)),
        None if matches!(target.endpoint, Endpoint::Unix(_)) => {
            Err(Failure::new(ErrorKind::Usage, format!("'{}' is a socket and does not support logins", target.name))
                .hint("access to it is controlled by the permissions of its file"))
        }
        None if matches!(target.endpoint, Endpoint::Replay(_)) => {
            Err(Failure::new(ErrorKind::Usage, format!("'{}' is a recording and does not support logins", target.name))
                .hint("log in to the server itself"))
        }
        None => {
            Err(Failure::new(ErrorKind::Usage, format!("'{}' is a process and does not support logins", target.name))
                .hint("pass credentials in its environment: -e KEY=VALUE, or env in the configuration"))
        }
    }
}

/// Which of the credentials that are stored for a target.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WhichLogins {
    All,
    /// Those of the configured issuer and client, which other commands use.
    Used,
}

/// The credentials stored for a target: those for its query, else those for any; its own, else those that it shares.
/// The newest login comes first.
pub(super) fn stored_logins(
    store: &dyn CredentialStore,
    target: &Target,
    endpoint: &HttpEndpoint,
    which: WhichLogins,
) -> Result<Vec<CredentialSummary>> {
    let owner = login_owner(target, &target.auth);
    let OAuthSettings { issuer, client_id, .. } = &target.auth;
    let is_used = |about: &CredentialSummary| {
        issuer.as_ref().is_none_or(|issuer| is_same_issuer(issuer, &about.issuer))
            && (client_id.is_none() || *client_id == about.client_id)
    };
    let mut all: Vec<((bool, Ownership), CredentialSummary)> = named_secrets::login_summaries(store)?
        .into_iter()
        .filter(|about| which == WhichLogins::All || is_used(about))
        .filter_map(|about| Some(((match_server(&about, &endpoint.url)?, owner.ownership(&about)?), about)))
        .collect();
    let best = all.iter().map(|(rank, _)| *rank).max();
    all.retain(|(rank, _)| Some(*rank) == best);
    all.sort_by_key(|(_, about)| std::cmp::Reverse(about.logged_in_at));
    Ok(all.into_iter().map(|(_, about)| about).collect())
}

/// The public part of stored credentials, for `--json`.
pub(super) fn login_json(about: &CredentialSummary, store: &dyn CredentialStore) -> Value {
    json!({
        "server": about.server,
        "url": about.resource,
        "issuer": about.issuer,
        "client_id": about.client_id,
        "scopes": about.scopes,
        "state": token_state(about),
        "expires_at": about.expires_at,
        "refreshable": about.has_refresh,
        "stored_in": store.location_of(&about.key),
    })
}

/// The state of the tokens, as far as it is known without a request.
pub(super) fn token_state(about: &CredentialSummary) -> &'static str {
    match about.expires_at {
        _ if about.lacks_tokens && about.login.is_none() => "registered",
        _ if about.lacks_tokens => "ended",
        Some(at) if at <= unix_seconds() && about.has_refresh => "refreshable",
        Some(at) if at <= unix_seconds() => "expired",
        _ if about.login.is_none() => "unknown",
        _ => "valid",
    }
}

/// The state of the tokens, for users.
pub(super) fn shown_state(about: &CredentialSummary) -> &'static str {
    match token_state(about) {
        // Only the client is: a login was begun and not finished.
        "registered" => "not logged in",
        state => state,
    }
}

/// How long tokens are valid, for users; empty if there are none.
pub(super) fn format_expiry(about: &CredentialSummary) -> String {
    let until = about.expires_at.map(|at| at.saturating_sub(unix_seconds()));
    match (until, about.has_refresh) {
        _ if about.lacks_tokens => String::new(),
        (Some(0), true) => "refreshed when used".to_owned(),
        (Some(0), false) => "expired".to_owned(),
        (Some(left), true) => format!("{}, then refreshed", format_lifetime(left)),
        (Some(left), false) => format_lifetime(left),
        (None, _) => "unknown".to_owned(),
    }
}

/// The failure for a target whose own credentials are sent instead of a login; `what` is what is not done.
pub(super) fn own_credentials_failure(target: &Target, what: &str) -> Failure {
    Failure::new(ErrorKind::Usage, format!("cannot {what} '{}'", target.name))
        .cause("credentials of its own are sent instead of a login")
        .hint(match target.bearer_hint() {
            Some(_) => "remove bearer from the configuration",
            None => "omit --bearer-env and -H Authorization, and bearer_env and headers in the configuration",
        })
}

/// Refuses the login of another client or issuer than the configured one, which no command would use.
///
/// # Errors
/// [`ErrorKind::Usage`], with what the value is called that differs.
pub(super) fn refuse_unused_login(
    target: &Target,
    (client_id_name, client_id): (&str, Option<&str>),
    (issuer_name, issuer): (&str, Option<&str>),
) -> Result<()> {
    let configured = &target.auth;
    for (what, key, given, set) in [
        (client_id_name, "client_id", client_id, &configured.client_id),
        (issuer_name, "issuer", issuer, &configured.issuer),
    ] {
        if let (Some(given), Some(set)) = (given, set)
            && given != set
            && !(key == "issuer" && is_same_issuer(given, set))
        {
            let given = shorten(given, 200);
            let message = format!("{what} '{given}' differs from {key} in the configuration of '{}'", target.name);
            return Err(Failure::new(ErrorKind::Usage, message)
                .cause(format!("it is '{set}'"))
                .hint(format!("show where it is set: {}", target.config_command_line("get"))));
        }
    }
    Ok(())
}

/// The user is not logged in; `login` is the command to log in.
pub(super) fn not_logged_in(name: &str, login: String) -> Failure {
    Failure::new(ErrorKind::Auth, format!("not logged in to {name}")).hint(login).server(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_key_of_the_configuration_is_explained() {
        let guide = include_str!("../../../docs/auth.md");
        let explained: Vec<&str> = guide
            .lines()
            .skip_while(|line| !line.contains("[servers.NAME.auth]"))
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        let mut known: Vec<&str> = crate::config::keys::AUTH_KEYS.iter().map(|key| key.name).collect();
        known.sort_unstable();
        let mut sorted = explained.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, known);
    }

    #[test]
    fn the_state_is_known_without_a_request() {
        let about = |expires_at, has_refresh| CredentialSummary {
            expires_at,
            has_refresh,
            login: Some("x".into()),
            ..CredentialSummary::default()
        };
        assert_eq!(token_state(&about(None, false)), "valid");
        assert_eq!(token_state(&about(Some(unix_seconds() + 100), false)), "valid");
        assert_eq!(token_state(&about(Some(1), true)), "refreshable");
        assert_eq!(token_state(&about(Some(1), false)), "expired");
        let ended = CredentialSummary { lacks_tokens: true, ..about(None, false) };
        assert_eq!((token_state(&ended), shown_state(&ended), format_expiry(&ended).as_str()), ("ended", "ended", ""));
        let registered = CredentialSummary { login: None, ..ended };
        assert_eq!((token_state(&registered), shown_state(&registered)), ("registered", "not logged in"));
        assert_eq!(format_expiry(&about(Some(unix_seconds() + 7200), true)), "2 h, then refreshed");
        assert_eq!(format_expiry(&about(Some(1), false)), "expired");
    }

    #[test]
    fn lifetimes_are_shown_in_a_suitable_unit() {
        assert_eq!([59, 180, 7200, 200_000].map(format_lifetime), ["59 s", "3 min", "2 h", "2 days"]);
    }
}
