//! `auth logout`: revoke and remove credentials.

use serde_json::{Value, json};

use super::super::{Context, Exit};
use super::shared::{WhichLogins, resolve_http_target, stored_logins};
use crate::auth::credentials::{Credentials, LoginOwner, Ownership, match_server};
use crate::auth::http_client::{OAuthHttpClient, ResponseLimits};
use crate::auth::store::{CredentialStore, CredentialSummary, named_secrets};
use crate::auth::{OAuthSettings, flows};
use crate::cli::{AuthLogoutArgs, TargetOptions};
use crate::commands::timeouts::{DEFAULT_CONNECT_TIMEOUT, effective_timeout};
use crate::config::Config;
use crate::error::Result;
use crate::target::{TargetWord, classify_word};
use crate::transport::HttpEndpoint;

/// What happened to the tokens at their issuer.
enum RevocationStatus {
    Revoked,
    /// The issuer does not support revocation, or there was nothing to revoke.
    NotRevoked,
    /// The stored credentials are damaged, or gone.
    Unreadable,
    Failed,
}

/// Logs out. It is not an error if there is no login.
///
/// # Errors
/// If the store is locked or broken.
pub async fn run(context: &Context, args: AuthLogoutArgs) -> Result<Exit> {
    let mut gone = Vec::new();
    let removed = args.target.as_deref().map(|word| logins_of_removed_entry(context, word)).transpose()?;
    let removed = removed.unwrap_or_default();
    if let Some(word) = args.target.as_ref().filter(|_| removed.is_empty()) {
        let (target, endpoint) = resolve_http_target(context, word, &args.target_options).await?;
        let store = context.credential_store(target.credential_store.as_deref())?;
        let settings = target.auth.clone();
        for about in stored_logins(&*store, &target, &endpoint, WhichLogins::All)? {
            gone.push(remove(context, &*store, &about, Some(&endpoint), &settings).await?);
        }
        if gone.is_empty() {
            context.ui.note(&format!("not logged in to {}", target.name));
        }
    } else {
        let store = context.credential_store(None)?;
        let (config, _) = Config::load_lenient(&context.env, context.global.config.as_deref());
        let logins = if removed.is_empty() { named_secrets::login_summaries(&*store)? } else { removed };
        for about in logins {
            let (endpoint, settings) = find_configured(context, &config, &about, &args.target_options).await.unzip();
            let settings = settings.unwrap_or_default();
            gone.push(remove(context, &*store, &about, endpoint.as_ref(), &settings).await?);
        }
        if gone.is_empty() {
            context.ui.note("not logged in to any server");
        }
    }
    if context.ui.is_json() {
        context.ui.print_json_value(&json!({"removed": gone}))?;
    }
    Ok(Exit::Done)
}

/// The logins of an entry that is no longer configured.
fn logins_of_removed_entry(context: &Context, word: &str) -> Result<Vec<CredentialSummary>> {
    if !matches!(classify_word(word), Ok(TargetWord::Name(_))) {
        return Ok(Vec::new());
    }
    // An entry that cannot be read is not gone.
    let config = Config::load(&context.env, context.global.config.as_deref());
    if !config.is_ok_and(|config| config.server(word).is_none()) {
        return Ok(Vec::new());
    }
    let mut logins = named_secrets::login_summaries(&*context.credential_store(None)?)?;
    logins.retain(|about| LoginOwner::entry(word).ownership(about) == Some(Ownership::Own));
    Ok(logins)
}

/// The endpoint and the settings of the configured server that a login belongs to: the client secret, for example, is
/// only in the configuration. A server that cannot be resolved does not prevent the logout.
async fn find_configured(
    context: &Context,
    config: &Config,
    about: &CredentialSummary,
    options: &TargetOptions,
) -> Option<(HttpEndpoint, OAuthSettings)> {
    let name = about.server.as_deref().filter(|name| config.server(name).is_some())?;
    let target = match context.resolve_configured(config, name, options, false).await {
        Ok(target) => target,
        Err(failure) => {
            context.ui.warn(&format!("the settings of {name} are not used to revoke its tokens: {failure}"));
            return None;
        }
    };
    let endpoint = target.endpoint.http_endpoint()?;
    match_server(about, &endpoint.url)?;
    Some((endpoint, target.auth))
}

async fn remove(
    context: &Context,
    store: &dyn CredentialStore,
    about: &CredentialSummary,
    endpoint: Option<&HttpEndpoint>,
    settings: &OAuthSettings,
) -> Result<Value> {
    let name = about.server.as_deref().unwrap_or(&about.resource);
    // A process that is refreshing the tokens would otherwise store them again.
    let guard = store.lock(&about.key).await?;
    let (revoked, is_client_deleted) = match store.get(&about.key).await?.as_ref().map(Credentials::from_stored) {
        Some(Ok(record)) => {
            let removing = revoke(context, &record, endpoint, settings);
            match context.interrupt.run_until_interrupted(removing).await? {
                Ok((Ok(is_revoked), is_client_deleted)) => {
                    let revoked = if is_revoked { RevocationStatus::Revoked } else { RevocationStatus::NotRevoked };
                    (revoked, is_client_deleted)
                }
                Ok((Err(failure), is_client_deleted)) => {
                    context.ui.warn(&format!("the tokens of {name} are removed here, but not revoked: {failure}"));
                    (RevocationStatus::Failed, is_client_deleted)
                }
                Err(failure) => {
                    context.ui.warn(&format!("the tokens of {name} are removed here, but not revoked: {failure}"));
                    (RevocationStatus::Failed, false)
                }
            }
        }
        // Damaged credentials are there to be removed.
        Some(Err(_)) | None => (RevocationStatus::Unreadable, false),
    };
    store.delete(&about.key).await?;
    drop(guard);
    let what = match revoked {
        RevocationStatus::Revoked => "and revoked",
        RevocationStatus::NotRevoked => "(their issuer does not support revocation)",
        RevocationStatus::Unreadable => "but not revoked, since they were unreadable",
        RevocationStatus::Failed => "but not revoked",
    };
    let client = if is_client_deleted { " The client registration is deleted." } else { "" };
    context.ui.note(&if about.lacks_tokens {
        format!("Removed what was stored for {name}; there were no tokens.{client}")
    } else {
        format!("Logged out of {name}: the credentials are removed {what}.{client}")
    });
    Ok(json!({
        "server": about.server,
        "url": about.resource,
        "issuer": about.issuer,
        "revoked": matches!(revoked, RevocationStatus::Revoked),
        "client_deleted": is_client_deleted,
    }))
}

/// Revokes the tokens, then deletes the client registration. Returns whether each was done.
async fn revoke(
    context: &Context,
    record: &Credentials,
    endpoint: Option<&HttpEndpoint>,
    settings: &OAuthSettings,
) -> Result<(Result<bool>, bool)> {
    let endpoint = match endpoint {
        Some(endpoint) => endpoint.clone(),
        None => HttpEndpoint::new(url::Url::parse(&record.server).map_err(|error| {
            crate::error::Failure::new(crate::error::ErrorKind::Config, "the stored credentials have no valid URL")
                .caused_by(&error)
        })?),
    };
    // The settings of another client do not fit.
    let fitting = if record.is_of_client(settings) { settings.clone() } else { OAuthSettings::default() };
    let settings = record.settings_under(&fitting);
    let timeout = effective_timeout(context.global.connect_timeout, None, DEFAULT_CONNECT_TIMEOUT);
    let http = OAuthHttpClient::new(&endpoint, timeout, ResponseLimits::default(), context.trace()?);
    let revoked = flows::revoke_tokens(&http, &settings, record).await;
    Ok((revoked, flows::delete_registration(&http, &settings, record).await))
}
