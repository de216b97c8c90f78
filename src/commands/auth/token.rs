//! `auth token`: print the access token.

use serde_json::json;

use super::super::credentials::LoginOptions;
use super::super::{Context, Exit};
use super::shared::{WhichLogins, own_credentials_failure, resolve_http_target, stored_logins};
use crate::auth::credentials::match_server;
use crate::auth::store::named_secrets;
use crate::cli::AuthTokenArgs;
use crate::error::{ErrorKind, Failure, Result};
use crate::target::Target;
use crate::transport::HttpEndpoint;
use crate::util::when::When;

/// Prints the access token, refreshed if it is about to expire.
///
/// # Errors
/// [`ErrorKind::Auth`] if the user must log in first.
pub async fn run(context: &Context, args: AuthTokenArgs) -> Result<Exit> {
    let (target, endpoint) = resolve_http_target(context, &args.target, &args.target_options).await?;
    if target.has_own_credentials() {
        return Err(own_credentials_failure(&target, "print a stored token for"));
    }
    let entry = LoginOptions { mode: When::Never, ..LoginOptions::default() };
    let Some(gate) = context.token_provider(&target, entry)? else {
        return Err(Failure::new(ErrorKind::Bug, "no token provider for a URL"));
    };
    let record = context.interrupt.run_until_interrupted(Box::pin(gate.tokens())).await;
    crate::transport::Authorize::wait_for_refresh(&gate).await;
    let (record, tokens) = match record? {
        Ok(found) => found,
        Err(failure) => return Err(add_other_login_cause(context, &target, &endpoint, failure)?.server(&target.name)),
    };
    if context.ui.is_json() {
        return context
            .ui
            .print_json_value(&json!({
                "access_token": tokens.access.reveal(),
                "token_type": if tokens.dpop { "DPoP" } else { "Bearer" },
                "expires_at": tokens.expires_at,
                "scope": tokens.scopes.join(" "),
                "issuer": record.issuer,
                "client_id": record.client.id,
            }))
            .map(|()| Exit::Done);
    }
    if tokens.dpop {
        context.ui.warn("the token is bound to a key (DPoP): servers refuse it without a proof");
    }
    context.ui.print_line(tokens.access.reveal())?;
    Ok(Exit::Done)
}

/// Adds to the failure of a configured server without a login that there is one for its URL.
fn add_other_login_cause(
    context: &Context,
    target: &Target,
    endpoint: &HttpEndpoint,
    failure: Failure,
) -> Result<Failure> {
    let store = context.credential_store(target.credential_store.as_deref())?;
    if !target.is_configured || !stored_logins(&*store, target, endpoint, WhichLogins::All)?.is_empty() {
        return Ok(failure);
    }
    let all = named_secrets::login_summaries(&*store)?;
    let has_other = all.iter().any(|about| match_server(about, &endpoint.url).is_some());
    Ok(if has_other {
        failure.cause("another login is stored for the same URL, but configured servers do not share logins")
    } else {
        failure
    })
}
