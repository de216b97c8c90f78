//! Renewing tokens and revoking them, by what the record holds (digest §5.3, RFC 7009).

use super::super::dpop::DpopKey;
use super::super::endpoint::OAuthEndpoint;
use super::super::settings::{OAuthSettings, UserInteraction};
use super::{client_authentication, load_signing_key, unix_seconds};
use crate::auth::credentials::{ClientOrigin, ClientRegistration, Credentials, TokenSet};
use crate::auth::http_client::OAuthHttpClient;
use crate::auth::token_response;
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;

/// How renewing ended.
#[derive(Debug)]
pub enum RefreshOutcome {
    /// New tokens.
    Refreshed(TokenSet),
    /// The refresh token is good no more: another login is needed (`invalid_grant`).
    LoginRequired(Failure),
    /// It was not renewed, for a reason that says nothing against the refresh token: it may do another time.
    Retryable(Failure),
    /// The issuer does not know the client any more (`invalid_client`).
    ClientUnknown(Failure),
}

/// Asks for new tokens with the refresh token of a record.
///
/// # Errors
/// When there is no answer, or one that says nothing about the token: the record stays good.
pub async fn refresh_tokens(
    http: &OAuthHttpClient,
    settings: &OAuthSettings,
    person: &dyn UserInteraction,
    record: &Credentials,
) -> Result<RefreshOutcome> {
    let refresh = record.tokens.as_ref().and_then(|tokens| tokens.refresh.as_ref());
    let Some(refresh) = refresh else {
        return Ok(RefreshOutcome::LoginRequired(Failure::new(ErrorKind::Auth, "there is no refresh token")));
    };
    if record.token_endpoint.is_empty() {
        // Imported, and nobody knew where from.
        return Ok(RefreshOutcome::LoginRequired(Failure::new(
            ErrorKind::Auth,
            "nobody knows where the tokens are renewed",
        )));
    }
    allow_configured_hosts(http, settings, record);
    person.register_secret(refresh);
    let prover = record.dpop_key.clone().map(DpopKey::from_encoded).transpose()?;
    let form = vec![
        ("grant_type", "refresh_token".to_owned()),
        ("refresh_token", refresh.reveal().to_owned()),
        ("resource", record.resource.clone()),
    ];
    let client = current_client(settings, record);
    let key = load_signing_key(settings, &client)?;
    let endpoint = OAuthEndpoint {
        http,
        url: &record.token_endpoint,
        client_auth: client_authentication(&client, key.as_ref(), &record.issuer),
        dpop_key: prover.as_ref(),
        now: unix_seconds(),
    };
    let granted = match endpoint.request_token(form).await? {
        Ok(granted) => granted,
        Err(denied) => {
            let failure = denied.to_failure("the login cannot be renewed");
            return match denied.code.as_str() {
                _ if denied.is_transient() => Err(failure),
                // Not the word of the issuer: the page of a proxy, say. The tokens may be as good as before.
                "" => Err(failure),
                // The first is the word of the standard (RFC 6749 §5.2), the second that of GitHub.
                "invalid_grant" | "bad_refresh_token" => Ok(RefreshOutcome::LoginRequired(failure)),
                "invalid_client" if record.client.origin == ClientOrigin::Registered => {
                    Ok(RefreshOutcome::ClientUnknown(failure))
                }
                // Nothing is registered here that could be dropped, and with the right secret the tokens are good.
                "invalid_client" => Err(failure.hint(match record.client.origin {
                    ClientOrigin::Document => "check client_metadata_url in [servers.NAME.auth], or log in again",
                    _ => "check client_id and its secret or key in [servers.NAME.auth], or log in again",
                })),
                _ => Ok(RefreshOutcome::Retryable(failure)),
            };
        }
    };
    person.register_secret(&granted.access_token);
    if let Some(refresh) = &granted.refresh_token {
        person.register_secret(refresh);
    }
    let scopes = record.tokens.as_ref().map(|tokens| tokens.scopes.clone()).unwrap_or_default();
    Ok(RefreshOutcome::Refreshed(TokenSet::from_response(granted, &scopes, Some(refresh), unix_seconds())))
}

/// An issuer that the user named may have its endpoints anywhere.
fn allow_configured_hosts(http: &OAuthHttpClient, settings: &OAuthSettings, record: &Credentials) {
    if settings.issuer.is_some() {
        http.allow_host(&record.token_endpoint);
        record.revocation_endpoint.iter().for_each(|url| http.allow_host(url));
    }
}

/// The client of a record, with the secret that the user configures now.
fn current_client(settings: &OAuthSettings, record: &Credentials) -> ClientRegistration {
    let mut client = record.client.clone();
    if settings.client_id.as_ref() == Some(&client.id) {
        client.secret = settings.client_secret.clone().or(client.secret);
        client.method = settings.token_endpoint_auth_method.unwrap_or(client.method);
    }
    client
}

/// Revokes what a record holds: the refresh token, with which the access token goes too, else that one.
/// Tells whether the issuer takes revocations.
///
/// # Errors
/// When there is no answer, or a refusal.
pub async fn revoke_tokens(http: &OAuthHttpClient, settings: &OAuthSettings, record: &Credentials) -> Result<bool> {
    let (Some(url), Some(tokens)) = (&record.revocation_endpoint, &record.tokens) else { return Ok(false) };
    allow_configured_hosts(http, settings, record);
    let client = current_client(settings, record);
    let key = load_signing_key(settings, &client)?;
    let endpoint = || OAuthEndpoint {
        http,
        url,
        client_auth: client_authentication(&client, key.as_ref(), &record.issuer),
        dpop_key: None,
        now: unix_seconds(),
    };
    let send = async |one: &Secret, hint: &str| {
        let form = vec![("token", one.reveal().to_owned()), ("token_type_hint", hint.to_owned())];
        let answer = endpoint().post_form(form).await?;
        let denied = token_response::parse_error_response(answer.status, &answer.body);
        match answer.status {
            200..300 => Ok(true),
            // RFC 7009 §2.2.1: signed tokens, say, which nobody can take back.
            _ if denied.has_code("unsupported_token_type") => Ok(false),
            _ => Err(denied.to_failure("the tokens could not be revoked")),
        }
    };
    let refresh = match &tokens.refresh {
        Some(refresh) => send(refresh, "refresh_token").await?,
        None => false,
    };
    // Not every issuer drops the access token with the refresh token.
    Ok(send(&tokens.access, "access_token").await? || refresh)
}
