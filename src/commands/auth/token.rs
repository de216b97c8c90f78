//! `auth token`: print the access token.

use serde_json::json;

use super::super::credentials::{Entry, sends_credentials};
use super::super::{Context, Exit};
use super::{stored, target};
use crate::auth::Login;
use crate::cli::TokenArgs;
use crate::error::{Class, Failure, Result};

/// Prints it, renewed if it is due.
///
/// # Errors
/// [`Class::Auth`] where somebody has to log in first.
pub async fn run(context: &Context, args: TokenArgs) -> Result<Exit> {
    let (target, endpoint) = target(context, &args.target, &args.reach).await?;
    if sends_credentials(&target) {
        return Err(Failure::new(Class::Usage, format!("'{}' sends an Authorization header of its own", target.name))
            .cause("there is no token but that"));
    }
    let entry = Entry { login: Login::Never, ..Entry::default() };
    let Some(gate) = context.gate(&target, entry)? else {
        return Err(Failure::new(Class::Bug, "a URL has no credentials"));
    };
    let tokens = context.interrupt.guard(gate.tokens()).await;
    crate::transport::Authorize::settle(&gate).await;
    let tokens = tokens?.map_err(|failure| failure.server(&target.name))?;
    if context.ui.json() {
        let store = context.store(target.credential_store.as_deref())?;
        let about = stored(&*store, &endpoint)?.into_iter().next();
        return context
            .ui
            .json_value(&json!({
                "access_token": tokens.access.reveal(),
                "token_type": if tokens.dpop { "DPoP" } else { "Bearer" },
                "expires_at": tokens.expires_at,
                "scope": tokens.scopes.join(" "),
                "issuer": about.as_ref().map(|about| about.issuer.clone()),
                "client_id": about.and_then(|about| about.client_id),
            }))
            .map(|()| Exit::Done);
    }
    if tokens.dpop {
        context.ui.warn("the token is bound to a key (DPoP): shown alone, servers refuse it");
    }
    context.ui.line(tokens.access.reveal())?;
    Ok(Exit::Done)
}
