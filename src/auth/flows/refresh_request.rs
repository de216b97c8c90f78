//! Refreshing tokens (RFC 6749 §6) and revoking them (RFC 7009), with what the stored credentials contain.

use crate::auth::client_auth::{ClientAuthentication, load_signing_key};
use crate::auth::clock::unix_seconds;
use crate::auth::credentials::{ClientOrigin, ClientRegistration, Credentials, TokenSet};
use crate::auth::dpop::DpopKey;
use crate::auth::endpoint::OAuthEndpoint;
use crate::auth::http_client::OAuthHttpClient;
use crate::auth::interaction::UserInteraction;
use crate::auth::token_response::{self, OAuthError, RESOURCE_HINT};
use crate::config::oauth::{OAuthSettings, ResourceParameter};
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;

/// How a refresh ended.
#[derive(Debug)]
pub enum TokenOutcome {
    /// The credentials with new tokens.
    Granted(Box<Credentials>),
    /// The user must log in again. What is left of the credentials: the client registration, unless the issuer no
    /// longer knows it.
    LoginRequired(Option<Box<Credentials>>, Failure),
    /// There are no new tokens, for a reason that does not invalidate the refresh token: a later attempt may succeed.
    Retryable(Failure),
}

/// Requests new tokens with the refresh token of these credentials.
///
/// # Errors
/// If there is no response, or one that says nothing about the refresh token: the credentials remain valid.
pub async fn refresh_tokens(
    http: &OAuthHttpClient,
    settings: &OAuthSettings,
    user: &dyn UserInteraction,
    mut credentials: Credentials,
) -> Result<TokenOutcome> {
    let login_required = |mut credentials: Credentials, failure: Failure| {
        credentials.tokens = None;
        Ok(TokenOutcome::LoginRequired(Some(Box::new(credentials)), failure))
    };
    let Some(refresh) = credentials.tokens.as_ref().and_then(|tokens| tokens.refresh.clone()) else {
        return login_required(credentials, Failure::new(ErrorKind::Auth, "there is no refresh token"));
    };
    if credentials.token_endpoint.is_empty() {
        // Imported tokens of a server that names no authorization server.
        let failure = Failure::new(ErrorKind::Auth, "no token endpoint is known to refresh these tokens");
        return login_required(credentials, failure);
    }
    allow_configured_hosts(http, settings, &credentials);
    user.register_secret(&refresh);
    let dpop_key = credentials.dpop_key.clone().map(DpopKey::from_encoded).transpose()?;
    let form = vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", refresh.reveal().to_owned())];
    let resource = match settings.resource.as_ref().or(credentials.resource_parameter.as_ref()) {
        None => Some(credentials.resource.clone()),
        Some(ResourceParameter::Omitted) => None,
        Some(ResourceParameter::Stated(stated)) => Some(stated.clone()),
    };
    let client = current_client(settings, &credentials);
    let key = load_signing_key(settings, &client)?;
    let endpoint = OAuthEndpoint {
        http,
        url: &credentials.token_endpoint,
        client_auth: ClientAuthentication::new(&client, key.as_ref(), &credentials.issuer),
        dpop_key: dpop_key.as_ref(),
        now: unix_seconds(),
    };
    let with_resource = form.iter().cloned().chain(resource.iter().map(|one| ("resource", one.clone()))).collect();
    let mut answer = endpoint.request_token(with_resource).await?;
    let mut omits_resource = false;
    if resource.is_some() && answer.as_ref().is_err_and(OAuthError::may_be_about_resource) {
        // Without it, the token is for the resource of the login (RFC 8707 §2.2).
        if let Ok(response) = endpoint.request_token(form).await? {
            (answer, omits_resource) = (Ok(response), true);
        }
    }
    let error = match answer {
        Ok(response) => {
            if omits_resource {
                credentials.resource_parameter = Some(ResourceParameter::Omitted);
            }
            response.register_secrets(user);
            let scopes = credentials.tokens.take().map(|tokens| tokens.scopes).unwrap_or_default();
            credentials.tokens = Some(TokenSet::from_response(response, &scopes, Some(&refresh), unix_seconds()));
            return Ok(TokenOutcome::Granted(Box::new(credentials)));
        }
        Err(error) => error,
    };
    let failure = error.to_failure("cannot refresh the login");
    let failure =
        if error.may_be_about_resource() && resource.is_some() { failure.hint(RESOURCE_HINT) } else { failure };
    match error.code.as_str() {
        _ if error.is_transient() => Err(failure),
        // Not an OAuth error, but, for example, the page of a proxy: the tokens may still be valid.
        "" => Err(failure),
        // The first is the code of RFC 6749 §5.2, the second is GitHub's.
        "invalid_grant" | "bad_refresh_token" => login_required(credentials, failure),
        // With a client that the user configured, the tokens are valid again once its secret is corrected.
        "invalid_client" => match credentials.client.origin {
            ClientOrigin::Registered => Ok(TokenOutcome::LoginRequired(None, failure)),
            ClientOrigin::Document => {
                Err(failure.hint("check client_metadata_url in [servers.NAME.auth], or log in again"))
            }
            ClientOrigin::Configured => {
                Err(failure.hint("check client_id and its secret or key in [servers.NAME.auth], or log in again"))
            }
        },
        _ => Ok(TokenOutcome::Retryable(failure)),
    }
}

/// The endpoints of an issuer that the user configured may be on any host.
fn allow_configured_hosts(http: &OAuthHttpClient, settings: &OAuthSettings, credentials: &Credentials) {
    if settings.issuer.is_some() {
        http.allow_host(&credentials.token_endpoint);
        credentials.revocation_endpoint.iter().for_each(|url| http.allow_host(url));
    }
}

/// The client of these credentials, with the secret that is configured now.
fn current_client(settings: &OAuthSettings, credentials: &Credentials) -> ClientRegistration {
    let mut client = credentials.client.clone();
    if settings.client_id.as_ref() == Some(&client.id) {
        client.secret = settings.client_secret.clone().or(client.secret);
        client.method = settings.token_endpoint_auth_method.unwrap_or(client.method);
    }
    client
}

/// Revokes the refresh token and the access token of these credentials. Returns whether the issuer supports it.
///
/// # Errors
/// If there is no response, or the issuer refuses.
pub async fn revoke_tokens(
    http: &OAuthHttpClient,
    settings: &OAuthSettings,
    credentials: &Credentials,
) -> Result<bool> {
    let (Some(url), Some(tokens)) = (&credentials.revocation_endpoint, &credentials.tokens) else { return Ok(false) };
    allow_configured_hosts(http, settings, credentials);
    let mut client = current_client(settings, credentials);
    client.method = credentials.revocation_method.unwrap_or(client.method);
    let key = load_signing_key(settings, &client)?;
    let revoke = async |token: &Secret, hint: &str| {
        let client_auth = ClientAuthentication::new(&client, key.as_ref(), &credentials.issuer);
        let endpoint = OAuthEndpoint { http, url, client_auth, dpop_key: None, now: unix_seconds() };
        let form = vec![("token", token.reveal().to_owned()), ("token_type_hint", hint.to_owned())];
        let response = endpoint.post_form(form).await?;
        let error = token_response::parse_error_response(response.status, &response.body);
        match response.status {
            200..300 => Ok(true),
            // RFC 7009 §2.2.1: for example, self-contained tokens, which cannot be revoked.
            _ if error.has_code("unsupported_token_type") => Ok(false),
            _ => Err(error.to_failure("cannot revoke the tokens")),
        }
    };
    let refresh_revoked = match &tokens.refresh {
        Some(refresh) => revoke(refresh, "refresh_token").await?,
        None => false,
    };
    // Not every issuer revokes the access token together with the refresh token.
    Ok(revoke(&tokens.access, "access_token").await? || refresh_revoked)
}
