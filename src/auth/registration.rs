//! Obtaining a client ID (2026-07-28, basic/authorization): the configured client, else a metadata document, else the
//! client that mcpipe registered earlier, else a new registration, else a request to the user to register one.

use serde_json::{Value, json};
use url::Url;

use crate::auth::credentials::{ClientManagement, ClientOrigin, ClientRegistration, Credentials};
use crate::auth::discovery::DiscoveryResult;
use crate::auth::http_client::{OAuthHttpClient, OAuthHttpResponse};
use crate::auth::login_context::LoginRequest;
use crate::auth::metadata::is_same_issuer;
use crate::auth::scopes;
use crate::auth::token_response;
use crate::config::oauth::{ClientAuthMethod, Grant, OAuthSettings};
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::util::shorten::shorten;

/// What the client will be used for.
#[derive(Clone, Copy, Debug)]
pub struct ClientUse<'a> {
    /// The redirect URI, exactly as it will be used; `None` for grants without it.
    pub redirect_uri: Option<&'a str>,
    /// The scopes that will be requested.
    pub scopes: &'a [String],
    /// The grant.
    pub grant: Grant,
    /// Now, in seconds since 1970.
    pub now: u64,
}

/// A client, and whether it was registered for an earlier login.
#[derive(Debug)]
pub struct ObtainedClient {
    /// The client.
    pub client: ClientRegistration,
    /// Whether the authorization server may have forgotten it since.
    pub is_reused: bool,
}

/// The client for this login.
///
/// # Errors
/// [`ErrorKind::Auth`] if there is none and none can be registered; [`ErrorKind::Config`] if the configuration is
/// contradictory.
pub async fn obtain_client(
    http: &OAuthHttpClient,
    LoginRequest { settings, discovery: found, known, registrations, .. }: LoginRequest<'_>,
    client_use: ClientUse<'_>,
) -> Result<ObtainedClient> {
    let obtained = |client| Ok(ObtainedClient { client, is_reused: false });
    if let Some(client) = configured_client(settings, found, known.map(|record| (&record.client, &*record.issuer)))? {
        return obtained(client);
    }
    if let (Some(url), true) =
        (&settings.client_metadata_url, found.authorization_server.client_id_metadata_document_supported)
    {
        return obtained(metadata_document_client(url)?);
    }
    let known = known.filter(|known| is_same_issuer(&known.issuer, &found.authorization_server.issuer));
    let mut registered = known.into_iter().flat_map(Credentials::registered_clients);
    if let Some(client) = registered.find(|client| is_reusable(client, settings, client_use)) {
        return Ok(ObtainedClient { client: client.clone(), is_reused: true });
    }
    match &found.authorization_server.registration_endpoint {
        Some(endpoint) if client_use.grant.is_interactive() => {
            let client = register_client(http, endpoint, settings, found, client_use).await?;
            registrations.save(&client).await;
            obtained(client)
        }
        _ => Err(no_client_failure(found)),
    }
}

/// The client that the user registered (`AUT-13`: with one issuer).
fn configured_client(
    settings: &OAuthSettings,
    found: &DiscoveryResult,
    known: Option<(&ClientRegistration, &str)>,
) -> Result<Option<ClientRegistration>> {
    let Some(id) = &settings.client_id else { return Ok(None) };
    let issuer = &found.authorization_server.issuer;
    if let Some((client, before)) = known
        && client.origin == ClientOrigin::Configured
        && client.id == *id
        && settings.issuer.is_none()
        && !is_same_issuer(before, issuer)
    {
        return Err(Failure::new(ErrorKind::Auth, format!("the server now accepts tokens of {issuer}"))
            .cause(format!("the client '{id}' belongs to {before}; its credentials are not sent to other issuers"))
            .hint(format!("register a client with {issuer} and set its client_id, with issuer = \"{issuer}\"")));
    }
    let has_secret = settings.client_secret.is_some();
    let offered = found.authorization_server.token_endpoint_auth_methods_supported.as_deref();
    let method = settings
        .token_endpoint_auth_method
        .unwrap_or_else(|| ClientAuthMethod::choose(has_secret, settings.private_key_file.is_some(), offered));
    let client = ClientRegistration::new(id.clone(), method, ClientOrigin::Configured);
    Ok(Some(ClientRegistration { secret: settings.client_secret.clone(), ..client }))
}

/// The client whose ID is the URL of a metadata document (`AUT-12`).
fn metadata_document_client(url: &str) -> Result<ClientRegistration> {
    let parsed = Url::parse(url).ok().filter(|parsed| {
        parsed.scheme() == "https"
            && parsed.path() != "/"
            && parsed.fragment().is_none()
            && parsed.username().is_empty()
            && parsed.password().is_none()
    });
    if parsed.is_none() {
        return Err(Failure::new(ErrorKind::Config, format!("'{url}' is not a valid client ID"))
            .cause("client_metadata_url must be an https URL with a path")
            .hint("correct it in [servers.NAME.auth], or in --client-metadata-url"));
    }
    Ok(ClientRegistration::new(url.to_owned(), ClientAuthMethod::None, ClientOrigin::Document))
}

/// Whether an earlier registration can be used: what the user states now is what it was made with. Without a user no
/// client is registered, so another name does not matter then.
fn is_reusable(client: &ClientRegistration, settings: &OAuthSettings, client_use: ClientUse<'_>) -> bool {
    settings.token_endpoint_auth_method.is_none_or(|method| method == client.method)
        && (settings.client_name.is_none() || settings.client_name == client.name || !client_use.grant.is_interactive())
        && client.origin == ClientOrigin::Registered
        && client.secret_expires_at.is_none_or(|at| client_use.now < at)
        && (client.redirect_uri.as_deref() == client_use.redirect_uri || client_use.redirect_uri.is_none())
        && (client.scopes.is_empty() || client_use.scopes.iter().all(|scope| client.scopes.contains(scope)))
}

/// Registers a client (RFC 7591, `AUT-11`).
async fn register_client(
    http: &OAuthHttpClient,
    endpoint: &str,
    settings: &OAuthSettings,
    found: &DiscoveryResult,
    client_use: ClientUse<'_>,
) -> Result<ClientRegistration> {
    let issuer = &found.authorization_server.issuer;
    let offered = found.authorization_server.token_endpoint_auth_methods_supported.as_deref();
    // Some servers limit a client to the scopes of its registration, so it includes those of a later step-up.
    let scopes = scopes::union(client_use.scopes, &found.resource_scopes);
    let methods = match settings.token_endpoint_auth_method {
        Some(stated) => vec![stated],
        None => ClientAuthMethod::for_registration(&found.authorization_server),
    };
    let request = registration_request(settings, &scopes, client_use);
    let answer = post_registration(http, endpoint, request, &methods).await.map_err(|failure| {
        // If no OAuth metadata was found, its absence explains the failure better than the failed request.
        if found.is_advertised || failure.kind() != ErrorKind::Auth { failure } else { no_client_failure(found) }
    })?;
    let document = answer.json_object();
    let text = |name: &str| document.as_ref()?.get(name)?.as_str().filter(|text| !text.is_empty());
    let Some(id) = text("client_id") else {
        if !found.is_advertised {
            return Err(no_client_failure(found));
        }
        return Err(registration_failure(found, &answer));
    };
    let secret = text("client_secret").map(Secret::new);
    if let (Some(stated), None) = (settings.token_endpoint_auth_method, &secret)
        && stated != ClientAuthMethod::None
    {
        let what = format!("the authorization server {issuer} registered mcpipe without credentials");
        return Err(Failure::new(ErrorKind::Auth, what)
            .cause(format!("the method '{}' needs them", stated.as_str()))
            .hint("omit --token-endpoint-auth-method, and token_endpoint_auth_method in [servers.NAME.auth]"));
    }
    // A client with a secret that is registered as public, or for a method that needs a key, is a mistake of the
    // server.
    let echoed = text("token_endpoint_auth_method").and_then(ClientAuthMethod::parse).filter(|method| match method {
        ClientAuthMethod::None => secret.is_none(),
        ClientAuthMethod::ClientSecretBasic | ClientAuthMethod::ClientSecretPost => secret.is_some(),
        ClientAuthMethod::PrivateKeyJwt => false,
    });
    let method = settings.token_endpoint_auth_method.or(echoed);
    let management = text("registration_client_uri").zip(text("registration_access_token"));
    let expires = document.as_ref().and_then(|document| document.get("client_secret_expires_at"));
    Ok(ClientRegistration {
        id: id.to_owned(),
        method: method.unwrap_or_else(|| ClientAuthMethod::choose(secret.is_some(), false, offered)),
        secret_expires_at: expires.and_then(Value::as_u64).filter(|at| *at > 0 && secret.is_some()),
        secret,
        origin: ClientOrigin::Registered,
        name: Some(client_name(settings).to_owned()),
        redirect_uri: client_use.redirect_uri.map(ToOwned::to_owned),
        scopes,
        management: management.map(|(url, token)| ClientManagement { url: url.to_owned(), token: Secret::new(token) }),
    })
}

/// Posts the request with each method in turn, until one is not refused as invalid (RFC 7591 §3.2.2).
async fn post_registration(
    http: &OAuthHttpClient,
    endpoint: &str,
    mut request: Value,
    methods: &[ClientAuthMethod],
) -> Result<OAuthHttpResponse> {
    let mut first_refusal = None;
    for method in methods {
        request["token_endpoint_auth_method"] = method.as_str().into();
        let answer = http.post(endpoint, "application/json", request.to_string(), &[]).await?;
        let denied = token_response::parse_error_response(answer.status, &answer.body);
        if denied.status != 400 || !matches!(denied.code.as_str(), "" | "invalid_client_metadata") {
            return Ok(answer);
        }
        first_refusal.get_or_insert(answer);
    }
    first_refusal.ok_or_else(|| Failure::new(ErrorKind::Bug, "no method to register a client with"))
}

/// The authorization server refused to register mcpipe. Nothing in a refusal is secret, so all that it says is shown.
fn registration_failure(found: &DiscoveryResult, answer: &OAuthHttpResponse) -> Failure {
    let mut denied = token_response::parse_error_response(answer.status, &answer.body);
    if answer.status < 300 {
        // It may contain the secret of a client.
        denied.description = Some("its response has no 'client_id'".to_owned());
    } else if denied.description.is_none() && denied.code.is_empty() {
        let text = String::from_utf8_lossy(&answer.body);
        let words: Vec<&str> = text.split_whitespace().collect();
        denied.description = (!words.is_empty()).then(|| shorten(&words.join(" "), 300));
    }
    let failure = denied
        .to_failure(&format!("the authorization server {} did not register mcpipe", found.authorization_server.issuer));
    let own_client = client_id_hint(found);
    match answer.status {
        // Some allow only clients whose names they know.
        401 | 403 => failure.hint(format!("{own_client}; to register under another name: --client-name NAME")),
        _ => failure.hint(own_client),
    }
}

/// The request, without the method of client authentication.
fn registration_request(settings: &OAuthSettings, scopes: &[String], client_use: ClientUse<'_>) -> Value {
    let mut grants = vec!["authorization_code", "refresh_token"];
    if client_use.grant == Grant::DeviceCode {
        grants.push("urn:ietf:params:oauth:grant-type:device_code");
    }
    let mut body = json!({
        "client_name": client_name(settings),
        "software_id": "mcpipe",
        "software_version": env!("CARGO_PKG_VERSION"),
        "application_type": "native",
        "grant_types": grants,
        "response_types": ["code"],
        // Servers require one even for the device grant, which does not use it.
        "redirect_uris": [client_use.redirect_uri.unwrap_or("http://127.0.0.1/callback")],
    });
    if !scopes.is_empty() {
        body["scope"] = scopes.join(" ").into();
    }
    body
}

fn client_name(settings: &OAuthSettings) -> &str {
    settings.client_name.as_deref().unwrap_or("mcpipe")
}

/// How to log in without a registration by mcpipe.
fn client_id_hint(found: &DiscoveryResult) -> &'static str {
    match found.authorization_server.client_id_metadata_document_supported {
        true => {
            "register a client there, and set its ID with --client-id ID, or client_id in [servers.NAME.auth]; or publish a \
             client ID metadata document, and name it with --client-metadata-url URL"
        }
        false => "register a client there, and set its ID with --client-id ID, or client_id in [servers.NAME.auth]",
    }
}

/// There is no client, and none can be registered.
fn no_client_failure(found: &DiscoveryResult) -> Failure {
    if !found.is_advertised {
        return Failure::new(ErrorKind::Auth, "the server requires authentication, but does not say how")
            .cause("it names no authorization server")
            .hint("pass a token from a variable with --bearer-env VAR, or a header with -H 'Name: value'");
    }
    let issuer = &found.authorization_server.issuer;
    Failure::new(ErrorKind::Auth, format!("mcpipe is not registered with the authorization server {issuer}"))
        .cause(match found.authorization_server.registration_endpoint {
            Some(_) => "mcpipe registers clients only for logins of a user",
            None => "it does not support client registration",
        })
        .hint(client_id_hint(found))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CLIENT_USE: ClientUse<'static> = ClientUse {
        redirect_uri: Some("http://127.0.0.1:1/callback"),
        scopes: &[],
        grant: Grant::AuthorizationCode,
        now: 100,
    };

    #[test]
    fn aut_12_a_document_has_an_https_url_with_a_path() {
        assert_eq!(metadata_document_client("https://h/client.json").unwrap().id, "https://h/client.json");
        for bad in ["http://h/c", "https://h", "https://h/", "https://h/c#f", "https://u@h/c", "https://:p@h/c", "c"] {
            assert_eq!(metadata_document_client(bad).unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
    }

    #[test]
    fn a_registration_is_reused_until_what_it_was_made_with_changes() {
        let any = OAuthSettings::default();
        let mut client = metadata_document_client("https://h/c").unwrap();
        assert!(!is_reusable(&client, &any, CLIENT_USE));
        client.origin = ClientOrigin::Registered;
        assert!(!is_reusable(&client, &any, CLIENT_USE));
        client.redirect_uri = CLIENT_USE.redirect_uri.map(ToOwned::to_owned);
        assert!(is_reusable(&client, &any, CLIENT_USE));
        client.scopes = vec!["a".into()];
        let (one, two) = (["a".to_owned()], ["a".to_owned(), "b".to_owned()]);
        assert!(is_reusable(&client, &any, ClientUse { scopes: &one, ..CLIENT_USE }));
        assert!(
            !is_reusable(&client, &any, ClientUse { scopes: &two, ..CLIENT_USE }),
            "it may not ask for more than it registered"
        );
        client.secret_expires_at = Some(100);
        assert!(!is_reusable(&client, &any, CLIENT_USE));
        client.secret_expires_at = Some(101);
        assert!(is_reusable(&client, &any, CLIENT_USE));
        let method = |method| OAuthSettings { token_endpoint_auth_method: Some(method), ..OAuthSettings::default() };
        assert!(is_reusable(&client, &method(ClientAuthMethod::None), CLIENT_USE));
        assert!(!is_reusable(&client, &method(ClientAuthMethod::ClientSecretPost), CLIENT_USE));
        client.name = Some("mcpipe".into());
        let named = |name: &str| OAuthSettings { client_name: Some(name.into()), ..OAuthSettings::default() };
        assert!(is_reusable(&client, &named("mcpipe"), CLIENT_USE));
        assert!(!is_reusable(&client, &named("my editor"), CLIENT_USE));
        let jwt_bearer = ClientUse { grant: Grant::JwtBearer, ..CLIENT_USE };
        assert!(is_reusable(&client, &named("my editor"), jwt_bearer), "no other is registered for it");
    }
}
