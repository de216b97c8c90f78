//! Finding the authorization server of a protected server (RFC 9728, RFC 8414; 2026-07-28, basic/authorization).

use serde_json::{Map, Value};

use crate::auth::http_client::OAuthHttpClient;
use crate::auth::metadata::{self, AuthorizationServerMetadata, ProtectedResourceMetadata};
use crate::config::oauth::{OAuthSettings, ResourceParameter};
use crate::error::{ErrorKind, Failure, Result, is_temporary_status};
use crate::protocol::challenge::Challenge;
use crate::transport::http::redacted_url;
use crate::util::quoting::quote;
use crate::util::shorten::shorten;

/// The outcome of discovery.
#[derive(Clone, Debug)]
pub struct DiscoveryResult {
    /// The resource that the tokens are for, byte for byte.
    pub resource: String,
    /// What is sent as the parameter `resource`, if anything is.
    pub requested_resource: Option<String>,
    /// Whether the resource accepts only tokens that are bound to a key.
    pub requires_dpop: bool,
    /// The scopes that the resource supports.
    pub resource_scopes: Vec<String>,
    /// The authorization server.
    pub authorization_server: AuthorizationServerMetadata,
    /// What the user should know about the metadata of the resource: it could not be fetched.
    pub warning: Option<String>,
    /// Whether the server, or the user, named it. If it is only assumed (2025-03-26), the server may not use OAuth.
    pub is_advertised: bool,
}

impl DiscoveryResult {
    /// The failure if the metadata of the authorization server has no such endpoint.
    #[must_use]
    pub fn missing_endpoint(&self, what: &str) -> Failure {
        let issuer = &self.authorization_server.issuer;
        Failure::new(ErrorKind::Auth, format!("cannot log in to the authorization server {issuer}"))
            .cause(format!("its metadata names no {what}"))
    }
}

/// Finds the authorization server; `wants_pkce` says whether it is for a grant that needs PKCE. Hints name
/// `login_command`, which logs in to the server.
///
/// # Errors
/// If metadata cannot be fetched, or fails verification.
pub async fn discover(
    http: &OAuthHttpClient,
    login_command: &str,
    settings: &OAuthSettings,
    challenge: Option<&Challenge>,
    wants_pkce: bool,
) -> Result<DiscoveryResult> {
    if let Some(issuer) = &settings.issuer {
        http.allow_host(issuer);
    }
    let server = http.server();
    let (document, warning) = match fetch_resource_metadata(http, challenge).await {
        // The user has named what it would name.
        Err(failure) if settings.issuer.is_some() => {
            (None, Some(format!("{failure}; the scopes and the resource are those of the configuration")))
        }
        found => (found?, None),
    };
    let known =
        document.as_ref().map(|(_, document)| ProtectedResourceMetadata::from_json(document)).unwrap_or_default();
    let resource = match (&document, &known.resource) {
        (None, _) => metadata::default_resource(server),
        (Some(_), Some(resource)) if metadata::resource_covers_server(resource, server) => resource.clone(),
        (Some((url, _)), named) if settings.resource.is_none() => {
            return Err(resource_mismatch(url, named.as_deref(), &redacted_url(server), login_command));
        }
        (Some((url, _)), _) => {
            http.trace().note(&format!(
                "the metadata at {url} is for another resource; the configuration decides which one is requested"
            ));
            metadata::default_resource(server)
        }
    };
    let requested_resource = match &settings.resource {
        None => Some(resource.clone()),
        Some(ResourceParameter::Omitted) => None,
        Some(ResourceParameter::Stated(stated)) => Some(stated.clone()),
    };
    let pkce = match (wants_pkce, settings.allow_unadvertised_pkce.unwrap_or_default()) {
        (false, _) => PkceRequirement::NotNeeded,
        (true, true) => PkceRequirement::AllowUnadvertised,
        (true, false) => PkceRequirement::MustAdvertise,
    };
    let found = |server, told| DiscoveryResult {
        resource,
        requested_resource,
        requires_dpop: known.requires_dpop,
        resource_scopes: known.scopes_supported,
        authorization_server: server,
        warning,
        is_advertised: told,
    };
    let issuer = match &settings.issuer {
        Some(stated) => {
            if !known.authorization_servers.iter().all(|named| metadata::is_same_issuer(stated, named)) {
                let named = shorten(&known.authorization_servers.join(", "), 300);
                http.trace().note(&format!("the server names the issuer {named}; {stated} is configured and used"));
            }
            Some(stated.clone())
        }
        None => known.authorization_servers.first().cloned(),
    };
    let Some(issuer) = issuer else {
        let origin = metadata::origin(server);
        let metadata = fetch_server_metadata(http, login_command, &origin, false, pkce).await?.found;
        let told = metadata.is_some();
        return Ok(found(metadata.unwrap_or_else(|| AuthorizationServerMetadata::assumed_for_origin(&origin)), told));
    };
    let search = fetch_server_metadata(http, login_command, &issuer, settings.issuer.is_some(), pkce).await?;
    let Some(metadata) = search.found else {
        let failure = Failure::new(ErrorKind::Auth, format!("the authorization server {issuer} has no metadata"));
        let hint = match settings.issuer {
            Some(_) => "set another authorization server: `issuer` in [servers.NAME.auth]",
            None => "choose another authorization server with --issuer URL, or `issuer` in [servers.NAME.auth]",
        };
        return Err(search.attempts.into_iter().fold(failure, Failure::cause).hint(hint));
    };
    if settings.issuer.is_some() {
        // An issuer that the user configured may name any hosts.
        metadata.endpoints().for_each(|url| http.allow_host(url));
    }
    Ok(found(metadata, true))
}

fn resource_mismatch(url: &str, resource: Option<&str>, server: &str, login_command: &str) -> Failure {
    let failure = Failure::new(ErrorKind::Auth, format!("the metadata at {} is not for {server}", shorten(url, 200)));
    match resource {
        Some(resource) => {
            let option = quote(&shorten(resource, 200));
            failure.cause(format!("it is for {}", shorten(resource, 200))).hint(format!(
                "if you trust the server with tokens for that resource: {login_command} --resource {option}"
            ))
        }
        None => failure
            .cause("it names no resource")
            .hint(format!("if you trust the server: {login_command} --resource {}", quote(server))),
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
    let urls = metadata::resource_metadata_urls(http.server());
    Ok(fetch_first(http, &urls, |url, document| Ok(Some((url.to_owned(), document)))).await?.found)
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

/// The metadata of an issuer, if there is any.
///
/// If PKCE must be advertised, a document that does not mention it is skipped; if no other document does, it is an
/// error. An issuer that the user stated is used even if its metadata names another: Entra names a template, others
/// leave out the path.
async fn fetch_server_metadata(
    http: &OAuthHttpClient,
    login_command: &str,
    issuer: &str,
    is_stated: bool,
    pkce: PkceRequirement,
) -> Result<MetadataSearch<AuthorizationServerMetadata>> {
    let urls = metadata::server_metadata_urls(issuer).map_err(|why| {
        Failure::new(ErrorKind::Auth, format!("'{}' is not a valid issuer", shorten(issuer, 200))).cause(why)
    })?;
    let mut silent = false;
    let found = fetch_first(http, &urls, |url, mut document| {
        if is_stated {
            document.entry("issuer").or_insert_with(|| issuer.into());
        }
        let mut read = AuthorizationServerMetadata::from_json(&document).unwrap_or_default();
        let is_same = metadata::is_same_issuer(issuer, &read.issuer);
        let named = shorten(&read.issuer, 200);
        if !is_same && !is_stated {
            return Err(Failure::new(ErrorKind::Auth, format!("the metadata at {url} does not belong to {issuer}"))
                .cause(format!("it names the issuer '{named}'"))
                .hint(format!(
                    "if you are sure that the provider publishes a wrong issuer, name the right one: {} --issuer {}",
                    login_command,
                    quote(issuer)
                )));
        }
        if !is_same {
            http.trace().note(&format!("the metadata at {url} names the issuer '{named}'; {issuer} is used"));
        }
        if is_stated && read.issuer != issuer {
            read.declared_issuer = Some(std::mem::replace(&mut read.issuer, issuer.to_owned()));
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
    if found.found.is_none() && silent {
        return Err(Failure::new(ErrorKind::Auth, format!("the authorization server {issuer} may not be safe"))
            .cause("it does not advertise PKCE, which protects the login")
            .hint(format!(
                "log in without a redirect, if it supports that: {login_command} --device; or, if you know that it \
                 supports PKCE, set allow_unadvertised_pkce = true in [servers.NAME.auth] (for a URL, first: mcpipe \
                 config add NAME URL)"
            )));
    }
    Ok(found)
}

/// The outcome of trying the addresses of a document.
struct MetadataSearch<T> {
    found: Option<T>,
    /// Each address without a usable document, and its answer.
    attempts: Vec<String>,
}

/// The first of these documents that exists and that `take` accepts.
///
/// A 4xx response, or one that is not JSON (some servers send a page for every URL), means that it does not exist;
/// after a temporary error that is not known, unless a later address has it.
async fn fetch_first<T>(
    http: &OAuthHttpClient,
    urls: &[String],
    mut take: impl FnMut(&str, Map<String, Value>) -> Result<Option<T>>,
) -> Result<MetadataSearch<T>> {
    let mut attempts = Vec::new();
    let mut is_unknown = false;
    for url in urls {
        let answer = http.get(url).await?;
        is_unknown |= is_temporary_status(answer.status);
        if let Some(document) = answer.json_object().filter(|_| !is_temporary_status(answer.status)) {
            if let Some(taken) = take(url, document)? {
                return Ok(MetadataSearch { found: Some(taken), attempts });
            }
            attempts.push(format!("{url}: its metadata cannot be used"));
        } else if (200..300).contains(&answer.status) {
            attempts.push(format!("{url}: not a JSON object (HTTP {})", answer.status));
        } else {
            attempts.push(format!("{url}: HTTP {}", answer.status));
        }
    }
    if is_unknown {
        let failure = Failure::new(ErrorKind::Unreachable, "the metadata for the login cannot be fetched");
        return Err(attempts.into_iter().fold(failure, Failure::cause).hint("try again later"));
    }
    Ok(MetadataSearch { found: None, attempts })
}
