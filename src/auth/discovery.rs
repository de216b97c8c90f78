//! Finding the authorization server of a protected server (RFC 9728, RFC 8414; 2026-07-28, basic/authorization).

use serde_json::{Map, Value};

use crate::auth::authorization_request::truncate;
use crate::auth::challenge::Challenge;
use crate::auth::http_client::OAuthHttpClient;
use crate::auth::metadata::{self, AuthorizationServerMetadata, ProtectedResourceMetadata};
use crate::config::oauth::OAuthSettings;
use crate::error::{ErrorKind, Failure, Result};
use crate::transport::http::redacted_url;

/// The outcome of discovery.
#[derive(Clone, Debug)]
pub struct DiscoveryResult {
    /// The resource to request tokens for, byte for byte.
    pub resource: String,
    /// The scopes that the resource supports.
    pub resource_scopes: Vec<String>,
    /// The authorization server.
    pub authorization_server: AuthorizationServerMetadata,
    /// Whether the server, or the user, named it. If it is only assumed (2025-03-26), the server may not use OAuth.
    pub is_advertised: bool,
}

/// Finds the authorization server; `wants_pkce` says whether it is for a grant that needs PKCE.
///
/// # Errors
/// If metadata cannot be fetched, or fails verification.
pub async fn discover(
    http: &OAuthHttpClient,
    settings: &OAuthSettings,
    challenge: Option<&Challenge>,
    wants_pkce: bool,
) -> Result<DiscoveryResult> {
    if let Some(issuer) = &settings.issuer {
        http.allow_host(issuer);
    }
    let server = http.server();
    let document = fetch_resource_metadata(http, challenge).await?;
    let known =
        document.as_ref().map(|(_, document)| ProtectedResourceMetadata::from_json(document)).unwrap_or_default();
    let resource = match (&document, &known.resource) {
        (None, _) => metadata::default_resource(server),
        (Some(_), Some(resource)) if metadata::resource_covers_server(resource, server) => resource.clone(),
        (Some((url, _)), resource) => return Err(resource_mismatch(url, resource.as_deref(), &redacted_url(server))),
    };
    let pkce = match (wants_pkce, settings.allow_unadvertised_pkce) {
        (false, _) => PkceRequirement::NotNeeded,
        (true, true) => PkceRequirement::AllowUnadvertised,
        (true, false) => PkceRequirement::MustAdvertise,
    };
    let found = |server, told| DiscoveryResult {
        resource,
        resource_scopes: known.scopes_supported,
        authorization_server: server,
        is_advertised: told,
    };
    match choose_issuer(settings.issuer.as_deref(), &known.authorization_servers)? {
        Some(issuer) => match fetch_server_metadata(http, &issuer, pkce).await? {
            Some(metadata) => {
                if settings.issuer.is_some() {
                    // An issuer that the user configured may name any hosts.
                    metadata.endpoints().for_each(|url| http.allow_host(url));
                }
                Ok(found(metadata, true))
            }
            None => Err(Failure::new(ErrorKind::Auth, format!("the authorization server {issuer} has no metadata"))
                .cause("there is none at any of the well-known URLs")),
        },
        None => {
            let origin = metadata::origin(server);
            let metadata = fetch_server_metadata(http, &origin, pkce).await?;
            let told = metadata.is_some();
            Ok(found(metadata.unwrap_or_else(|| AuthorizationServerMetadata::assumed_for_origin(&origin)), told))
        }
    }
}

/// The issuer to use: the configured one, unless the server names only others; else the first that it names.
fn choose_issuer(configured: Option<&str>, named: &[String]) -> Result<Option<String>> {
    let Some(configured) = configured else { return Ok(named.first().cloned()) };
    if named.is_empty() {
        return Ok(Some(configured.to_owned()));
    }
    match named.iter().find(|issuer| metadata::is_same_issuer(configured, issuer)) {
        Some(issuer) => Ok(Some(issuer.clone())),
        None => Err(Failure::new(
            ErrorKind::Auth,
            "the server does not accept tokens of the configured authorization server",
        )
        .cause(format!("configured: {configured}; the server names {}", truncate(&named.join(", "), 300)))
        .hint("correct 'issuer' in [servers.NAME.auth], or --issuer, or omit it")),
    }
}

fn resource_mismatch(url: &str, resource: Option<&str>, server: &str) -> Failure {
    let failure = Failure::new(ErrorKind::Auth, format!("the metadata at {} is not for {server}", truncate(url, 200)));
    match resource {
        Some(resource) => failure.cause(format!("it is for {}", truncate(resource, 200))),
        None => failure.cause("it names no resource"),
    }
}

/// The metadata of the protected resource and its URL: that of the challenge, or a well-known one. `None` if there is
/// none.
async fn fetch_resource_metadata(
    http: &OAuthHttpClient,
    challenge: Option<&Challenge>,
) -> Result<Option<(String, Map<String, Value>)>> {
    if let Some(url) = challenge.and_then(Challenge::resource_metadata) {
        match http.get(url).await.map(|answer| (answer.status, answer.json_object())) {
            Ok((_, Some(document))) => return Ok(Some((url.to_owned(), document))),
            // Servers behind a proxy often name an internal URL; their well-known URLs are an equally good source.
            Ok((status, None)) => http.trace().note(&format!("no metadata at {url} (HTTP {status})")),
            Err(failure) => http.trace().note(&format!("no metadata: {failure}")),
        }
    }
    fetch_first(http, &metadata::resource_metadata_urls(http.server()), |_, document| Ok(Some(document))).await
}

/// What the metadata must state about PKCE (`AUT-09`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum PkceRequirement {
    /// Nothing: the grant has no redirect.
    NotNeeded,
    /// Not that it is unsupported: the user knows that it is supported.
    AllowUnadvertised,
    /// That it is supported.
    MustAdvertise,
}

/// The metadata of an issuer. `None` if there is none.
///
/// If PKCE must be advertised, a document that does not mention it is skipped; if no other document does, it is an error.
async fn fetch_server_metadata(
    http: &OAuthHttpClient,
    issuer: &str,
    pkce: PkceRequirement,
) -> Result<Option<AuthorizationServerMetadata>> {
    let urls = metadata::server_metadata_urls(issuer).map_err(|why| {
        Failure::new(ErrorKind::Auth, format!("'{}' is not a valid issuer", truncate(issuer, 200))).cause(why)
    })?;
    let mut silent = false;
    let found = fetch_first(http, &urls, |url, document| {
        let read = AuthorizationServerMetadata::from_json(&document).unwrap_or_default();
        if !metadata::is_same_issuer(issuer, &read.issuer) {
            return Err(Failure::new(ErrorKind::Auth, format!("the metadata at {url} does not belong to {issuer}"))
                .cause(format!("it names the issuer '{}'", truncate(&read.issuer, 200))));
        }
        match read.supports_pkce_s256() {
            None if pkce == PkceRequirement::MustAdvertise => {
                silent = true;
                Ok(None)
            }
            Some(false) if pkce != PkceRequirement::NotNeeded => {
                Err(Failure::new(ErrorKind::Auth, format!("the authorization server {issuer} is not safe"))
                    .cause("it does not support PKCE with S256, which protects the login"))
            }
            _ => Ok(Some(read)),
        }
    })
    .await?;
    match found {
        Some((_, metadata)) => Ok(Some(metadata)),
        None if silent => {
            Err(Failure::new(ErrorKind::Auth, format!("the authorization server {issuer} may not be safe"))
                .cause("it does not advertise PKCE, which protects the login")
                .hint("if you know that it does, set allow_unadvertised_pkce = true in [servers.NAME.auth]"))
        }
        None => Ok(None),
    }
}

/// The first of these documents that exists and that `take` accepts, with its URL.
///
/// A 4xx response, or one that is not JSON (some servers send a page for every URL), means that it does not exist; after
/// a timeout or 5xx that is not known.
async fn fetch_first<T>(
    http: &OAuthHttpClient,
    urls: &[String],
    mut take: impl FnMut(&str, Map<String, Value>) -> Result<Option<T>>,
) -> Result<Option<(String, T)>> {
    for url in urls {
        let answer = http.get(url).await?;
        if answer.status >= 500 {
            return Err(Failure::new(ErrorKind::Unreachable, format!("{url} answered HTTP {}", answer.status)));
        }
        if let Some(document) = answer.json_object()
            && let Some(taken) = take(url, document)?
        {
            return Ok(Some((url.clone(), taken)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::auth::testing::words as names;

    #[test]
    fn the_configured_issuer_is_used_unless_the_server_names_others() {
        assert_eq!(choose_issuer(None, &names("https://a https://b")).unwrap().as_deref(), Some("https://a"));
        assert_eq!(choose_issuer(None, &[]).unwrap(), None);
        assert_eq!(
            choose_issuer(Some("https://b"), &names("https://a https://b/")).unwrap().as_deref(),
            Some("https://b/")
        );
        assert_eq!(choose_issuer(Some("https://c"), &[]).unwrap().as_deref(), Some("https://c"));
        let failure = choose_issuer(Some("https://c"), &names("https://a")).unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Auth);
        assert!(failure.to_string().contains("https://c") && failure.to_string().contains("https://a"));
    }
}
