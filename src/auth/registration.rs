//! Becoming a client of an authorization server (digest §5.2, step 5): the client that the user registered,
//! else a metadata document, else the client that we registered before, else a new one, else a clear request.

use serde_json::{Value, json};
use url::Url;

use super::discovery::Found;
use super::http::Http;
use super::identity::Method;
use super::metadata::same_issuer;
use super::record::{Client, Origin, Record};
use super::settings::{Grant, Settings};
use super::{scopes, token};
use crate::error::{Class, Failure, Result};
use crate::secret::Secret;

/// What the client is for.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The redirect URI, exactly as it will be used; `None` for grants without one.
    pub redirect_uri: Option<&'a str>,
    /// The scopes that will be asked for.
    pub scopes: &'a [String],
    /// The grant.
    pub grant: Grant,
    /// Now, in seconds since 1970.
    pub now: u64,
}

/// The client for this login.
///
/// # Errors
/// [`Class::Auth`] where there is none and none can be had; [`Class::Config`] where the configuration
/// contradicts itself.
pub async fn client(
    http: &Http,
    settings: &Settings,
    found: &Found,
    known: Option<&Record>,
    wish: Wish<'_>,
) -> Result<Client> {
    let known = known.map(|record| (&record.client, record.issuer.as_str()));
    if let Some(client) = configured(settings, found, known)? {
        return Ok(client);
    }
    if let (Some(url), true) = (&settings.client_metadata_url, found.server.client_id_metadata_document_supported) {
        return document(url);
    }
    if let Some((client, issuer)) = known
        && same_issuer(issuer, &found.server.issuer)
        && reusable(client, wish)
    {
        return Ok(client.clone());
    }
    match &found.server.registration_endpoint {
        Some(endpoint) if wish.grant.needs_person() => register(http, endpoint, found, wish).await,
        _ => Err(unregistered(found)),
    }
}

/// The client that the user registered (`AUT-13`: with one issuer).
fn configured(settings: &Settings, found: &Found, known: Option<(&Client, &str)>) -> Result<Option<Client>> {
    let Some(id) = &settings.client_id else { return Ok(None) };
    let issuer = &found.server.issuer;
    if let Some((client, before)) = known
        && client.origin == Origin::Configured
        && client.id == *id
        && settings.issuer.is_none()
        && !same_issuer(before, issuer)
    {
        return Err(Failure::new(Class::Auth, format!("the server now takes tokens of {issuer}"))
            .cause(format!("the client '{id}' was used with {before}, and its credentials are not for others"))
            .hint(format!("register a client with {issuer}, and configure its client_id with issuer = \"{issuer}\"")));
    }
    let has_secret = settings.client_secret.is_some();
    let offered = found.server.token_endpoint_auth_methods_supported.as_deref();
    let method = settings
        .token_endpoint_auth_method
        .unwrap_or_else(|| Method::choose(has_secret, settings.private_key_file.is_some(), offered));
    Ok(Some(Client {
        id: id.clone(),
        secret: settings.client_secret.clone(),
        secret_expires_at: None,
        method,
        origin: Origin::Configured,
        redirect_uri: None,
        scopes: Vec::new(),
    }))
}

/// The client whose id is the URL of a document (`AUT-12`).
fn document(url: &str) -> Result<Client> {
    let parsed = Url::parse(url).ok().filter(|parsed| {
        parsed.scheme() == "https"
            && parsed.path() != "/"
            && parsed.fragment().is_none()
            && parsed.username().is_empty()
    });
    if parsed.is_none() {
        return Err(Failure::new(Class::Config, format!("'{url}' cannot be a client ID"))
            .cause("client_metadata_url must be an https URL with a path")
            .hint("correct it in [servers.NAME.auth], or in --client-metadata-url"));
    }
    Ok(Client {
        id: url.to_owned(),
        secret: None,
        secret_expires_at: None,
        method: Method::None,
        origin: Origin::Document,
        redirect_uri: None,
        scopes: Vec::new(),
    })
}

/// Whether a client that we registered before will do.
fn reusable(client: &Client, wish: Wish<'_>) -> bool {
    client.origin == Origin::Registered
        && client.secret_expires_at.is_none_or(|at| wish.now < at)
        && (client.redirect_uri.as_deref() == wish.redirect_uri || wish.redirect_uri.is_none())
        && (client.scopes.is_empty() || wish.scopes.iter().all(|scope| client.scopes.contains(scope)))
}

/// Registers a client (RFC 7591, `AUT-11`).
async fn register(http: &Http, endpoint: &str, found: &Found, wish: Wish<'_>) -> Result<Client> {
    let issuer = &found.server.issuer;
    let offered = found.server.token_endpoint_auth_methods_supported.as_deref();
    let asked = Method::to_register(offered);
    // A server that takes the scopes for all that the client may ever ask for must let it step up later.
    let scopes = scopes::union(wish.scopes, &found.scopes);
    let answer = http.post(endpoint, "application/json", body(asked, &scopes, wish).to_string(), &[]).await.map_err(
        |failure| {
            // Where nobody spoke of OAuth, that it is not there explains the refusal better than what was tried.
            if found.told || failure.class() != Class::Auth { failure } else { unregistered(found) }
        },
    )?;
    let document = answer.document();
    let text = |name: &str| document.as_ref()?.get(name)?.as_str().filter(|text| !text.is_empty());
    let Some(id) = text("client_id") else {
        if !found.told {
            return Err(unregistered(found));
        }
        let denied = token::denied(answer.status, &answer.body);
        return Err(denied.failure(&format!("the authorization server {issuer} did not register mcpipe")).hint(
            "register a client there yourself, and give its id: --client-id ID, or client_id in [servers.NAME.auth]",
        ));
    };
    let secret = text("client_secret").map(Secret::new);
    let method = text("token_endpoint_auth_method").and_then(Method::parse);
    let expires = document.as_ref().and_then(|document| document.get("client_secret_expires_at"));
    Ok(Client {
        id: id.to_owned(),
        method: method.unwrap_or_else(|| Method::choose(secret.is_some(), false, offered)),
        secret_expires_at: expires.and_then(Value::as_u64).filter(|at| *at > 0 && secret.is_some()),
        secret,
        origin: Origin::Registered,
        redirect_uri: wish.redirect_uri.map(ToOwned::to_owned),
        scopes,
    })
}

fn body(method: Method, scopes: &[String], wish: Wish<'_>) -> Value {
    let mut grants = vec!["authorization_code", "refresh_token"];
    if wish.grant == Grant::DeviceCode {
        grants.push("urn:ietf:params:oauth:grant-type:device_code");
    }
    let mut body = json!({
        "client_name": "mcpipe",
        "software_id": "mcpipe",
        "software_version": env!("CARGO_PKG_VERSION"),
        "application_type": "native",
        "grant_types": grants,
        "response_types": ["code"],
        // Servers want one even of a device that will not use it.
        "redirect_uris": [wish.redirect_uri.unwrap_or("http://127.0.0.1/callback")],
        "token_endpoint_auth_method": method.as_str(),
    });
    if !scopes.is_empty() {
        body["scope"] = scopes.join(" ").into();
    }
    body
}

/// There is no client and no way to one.
fn unregistered(found: &Found) -> Failure {
    if !found.told {
        return Failure::new(Class::Auth, "the server requires authentication, but does not say how")
            .cause("it names no authorization server")
            .hint("give it a token from a variable with --bearer-env VAR, or a header with -H 'Name: value'");
    }
    let issuer = &found.server.issuer;
    Failure::new(Class::Auth, format!("mcpipe is not registered with the authorization server {issuer}"))
        .cause("it does not register clients by itself")
        .hint("register a client there, and give its id: --client-id ID, or client_id in [servers.NAME.auth]")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::metadata::ServerMetadata;
    use super::*;

    fn found(issuer: &str) -> Found {
        let server = ServerMetadata { issuer: issuer.into(), ..ServerMetadata::default() };
        Found { resource: "https://h/mcp".into(), scopes: Vec::new(), server, told: true }
    }

    fn settings() -> Settings {
        Settings { client_id: Some("id".into()), ..Settings::default() }
    }

    const WISH: Wish<'static> = Wish {
        redirect_uri: Some("http://127.0.0.1:1/callback"),
        scopes: &[],
        grant: Grant::AuthorizationCode,
        now: 100,
    };

    #[test]
    fn aut_13_a_configured_client_does_not_follow_to_another_issuer() {
        let client = configured(&settings(), &found("https://a"), None).unwrap().unwrap();
        assert_eq!((client.origin, client.method), (Origin::Configured, Method::None));
        assert!(configured(&settings(), &found("https://a/"), Some((&client, "https://a"))).unwrap().is_some());
        let failure = configured(&settings(), &found("https://b"), Some((&client, "https://a"))).unwrap_err();
        assert!(failure.details().hint.as_deref().unwrap().contains("issuer = \"https://b\""));
        let pinned = Settings { issuer: Some("https://b".into()), ..settings() };
        assert!(configured(&pinned, &found("https://b"), Some((&client, "https://a"))).unwrap().is_some());
    }

    #[test]
    fn aut_24_a_configured_secret_goes_where_the_server_takes_it() {
        let mut settings = Settings { client_secret: Some(Secret::new("s")), ..settings() };
        let mut found = found("https://a");
        let method = |settings: &Settings, found: &Found| configured(settings, found, None).unwrap().unwrap().method;
        assert_eq!(method(&settings, &found), Method::ClientSecretBasic);
        found.server.token_endpoint_auth_methods_supported = Some(vec!["client_secret_post".into()]);
        assert_eq!(method(&settings, &found), Method::ClientSecretPost);
        settings.token_endpoint_auth_method = Some(Method::ClientSecretBasic);
        assert_eq!(method(&settings, &found), Method::ClientSecretBasic);
    }

    #[test]
    fn aut_12_a_document_has_an_https_url_with_a_path() {
        assert_eq!(document("https://h/client.json").unwrap().id, "https://h/client.json");
        for bad in ["http://h/c", "https://h", "https://h/", "https://h/c#f", "https://u@h/c", "c"] {
            assert_eq!(document(bad).unwrap_err().class(), Class::Config, "{bad}");
        }
    }

    #[test]
    fn a_registration_serves_until_its_secret_or_its_port_is_gone() {
        let mut client = document("https://h/c").unwrap();
        assert!(!reusable(&client, WISH));
        client.origin = Origin::Registered;
        assert!(!reusable(&client, WISH));
        client.redirect_uri = WISH.redirect_uri.map(ToOwned::to_owned);
        assert!(reusable(&client, WISH));
        client.scopes = vec!["a".into()];
        let (one, two) = (["a".to_owned()], ["a".to_owned(), "b".to_owned()]);
        assert!(reusable(&client, Wish { scopes: &one, ..WISH }));
        assert!(!reusable(&client, Wish { scopes: &two, ..WISH }), "it may not ask for more than it registered");
        client.secret_expires_at = Some(100);
        assert!(!reusable(&client, WISH));
        client.secret_expires_at = Some(101);
        assert!(reusable(&client, WISH));
    }

    #[test]
    fn aut_11_a_registration_says_what_the_client_is() {
        let scopes = ["a".to_owned(), "b".to_owned()];
        let body = body(Method::None, &scopes, WISH);
        assert_eq!(body["application_type"], "native");
        assert_eq!(body["redirect_uris"], json!(["http://127.0.0.1:1/callback"]));
        assert_eq!(body["grant_types"], json!(["authorization_code", "refresh_token"]));
        assert_eq!(body["scope"], "a b");
        assert_eq!(body["token_endpoint_auth_method"], "none");
    }
}
