//! `auth logout`: revoke and remove credentials.

use serde_json::{Value, json};

use super::super::credentials::settings;
use super::super::{Context, Exit};
use super::status::default_choice;
use super::{stored, target};
use crate::auth::http::{Http, Limits};
use crate::auth::record::Record;
use crate::auth::store::{About, Store, named};
use crate::auth::{Settings, flow};
use crate::cli::LogoutArgs;
use crate::error::Result;
use crate::transport::{HttpEndpoint, HttpMode, Tls};

/// What happened to the tokens at their issuer.
enum Revoked {
    Yes,
    /// The issuer takes no revocations, or there was nothing to revoke.
    No,
    Failed,
}

/// Logs out. Somebody who is not logged in is logged out already.
///
/// # Errors
/// When the store is locked or broken.
pub async fn run(context: &Context, args: LogoutArgs) -> Result<Exit> {
    let mut gone = Vec::new();
    if let Some(word) = &args.target {
        let (target, endpoint) = target(context, word, &args.reach).await?;
        let store = context.store(target.credential_store.as_deref())?;
        let settings = settings(&target)?;
        for about in stored(&*store, &endpoint)? {
            gone.push(remove(context, &*store, &about, Some(&endpoint), &settings).await?);
        }
        if gone.is_empty() {
            context.ui.note(&format!("nobody is logged in to {}", target.name));
        }
    } else {
        let store = context.store(default_choice(context).as_deref())?;
        for about in named::logins(&*store)? {
            gone.push(remove(context, &*store, &about, None, &Settings::default()).await?);
        }
        if gone.is_empty() {
            context.ui.note("nobody is logged in anywhere");
        }
    }
    if context.ui.json() {
        context.ui.json_value(&json!({"removed": gone}))?;
    }
    Ok(Exit::Done)
}

async fn remove(
    context: &Context,
    store: &dyn Store,
    about: &About,
    endpoint: Option<&HttpEndpoint>,
    settings: &Settings,
) -> Result<Value> {
    let name = about.server.as_deref().unwrap_or(&about.resource);
    // Whoever renews the tokens right now must have ended, or would store them again.
    let guard = store.lock(&about.key).await?;
    let revoked = match store.get(&about.key).await?.as_ref().map(Record::read) {
        Some(Ok(record)) => {
            let revoking = revoke(context, &record, endpoint, settings);
            match context.interrupt.guard(revoking).await? {
                Ok(true) => Revoked::Yes,
                Ok(false) => Revoked::No,
                Err(failure) => {
                    context.ui.warn(&format!("the tokens of {name} are removed here, but not revoked: {failure}"));
                    Revoked::Failed
                }
            }
        }
        // Damaged credentials are there to be removed.
        Some(Err(_)) | None => Revoked::No,
    };
    store.delete(&about.key).await?;
    drop(guard);
    let what = match revoked {
        Revoked::Yes => "and revoked",
        Revoked::No => "(their issuer takes no revocations)",
        Revoked::Failed => "but not revoked",
    };
    context.ui.note(&format!("Logged out of {name}: the credentials are removed {what}."));
    Ok(json!({
        "server": about.server,
        "url": about.resource,
        "issuer": about.issuer,
        "revoked": matches!(revoked, Revoked::Yes),
    }))
}

async fn revoke(
    context: &Context,
    record: &Record,
    endpoint: Option<&HttpEndpoint>,
    settings: &Settings,
) -> Result<bool> {
    let endpoint = match endpoint {
        Some(endpoint) => endpoint.clone(),
        None => HttpEndpoint {
            url: url::Url::parse(&record.server).map_err(|error| {
                crate::error::Failure::new(crate::error::Class::Config, "the stored credentials name no URL")
                    .source(&error)
            })?,
            headers: Vec::new(),
            mode: HttpMode::Auto,
            tls: Tls::default(),
            proxy: None,
            socket: None,
        },
    };
    let settings = if settings.is_plain() { record.settings() } else { settings.clone() };
    let time = context.global.connect_timeout.unwrap_or(super::super::CONNECT_TIMEOUT);
    let http = Http::new(&endpoint, Some(time), Limits::default(), context.trace()?);
    flow::revoke(&http, &settings, record).await
}
