//! Renewing tokens and revoking them, by what the record holds (digest §5.3, RFC 7009).

use super::super::dpop::Prover;
use super::super::endpoint::Endpoint;
use super::super::http::Http;
use super::super::record::{Client, Origin, Record, Tokens};
use super::super::settings::{Person, Settings};
use super::super::token;
use super::{identity, key, now};
use crate::error::{Class, Failure, Result};
use crate::secret::Secret;

/// How renewing ended.
#[derive(Debug)]
pub enum Renewed {
    /// New tokens.
    Tokens(Tokens),
    /// The refresh token is good no more: another login is needed (`invalid_grant`).
    Refused(Failure),
    /// It was not renewed, for a reason that says nothing against the refresh token: it may do another time.
    Denied(Failure),
    /// The issuer does not know the client any more (`invalid_client`).
    Unregistered(Failure),
}

/// Asks for new tokens with the refresh token of a record.
///
/// # Errors
/// When there is no answer, or one that says nothing about the token: the record stays good.
pub async fn renew(http: &Http, settings: &Settings, person: &dyn Person, record: &Record) -> Result<Renewed> {
    let refresh = record.tokens.as_ref().and_then(|tokens| tokens.refresh.as_ref());
    let Some(refresh) = refresh else {
        return Ok(Renewed::Refused(Failure::new(Class::Auth, "there is no refresh token")));
    };
    if record.token_endpoint.is_empty() {
        // Imported, and nobody knew where from.
        return Ok(Renewed::Refused(Failure::new(Class::Auth, "nobody knows where the tokens are renewed")));
    }
    trust(http, settings, record);
    person.hide(refresh);
    let prover = record.dpop_key.clone().map(Prover::stored).transpose()?;
    let form = vec![
        ("grant_type", "refresh_token".to_owned()),
        ("refresh_token", refresh.reveal().to_owned()),
        ("resource", record.resource.clone()),
    ];
    let client = current(settings, record);
    let key = key(settings, &client)?;
    let endpoint = Endpoint {
        http,
        url: &record.token_endpoint,
        identity: identity(&client, key.as_ref(), &record.issuer),
        prover: prover.as_ref(),
        now: now(),
    };
    let granted = match endpoint.token(form).await? {
        Ok(granted) => granted,
        Err(denied) => {
            let failure = denied.failure("the login cannot be renewed");
            return match denied.error.as_str() {
                _ if denied.passing() => Err(failure),
                // Not the word of the issuer: the page of a proxy, say. The tokens may be as good as before.
                "" => Err(failure),
                // The first is the word of the standard (RFC 6749 §5.2), the second that of GitHub.
                "invalid_grant" | "bad_refresh_token" => Ok(Renewed::Refused(failure)),
                "invalid_client" if record.client.origin == Origin::Registered => Ok(Renewed::Unregistered(failure)),
                // Nothing is registered here that could be dropped, and with the right secret the tokens are good.
                "invalid_client" => Err(failure.hint(match record.client.origin {
                    Origin::Document => "check client_metadata_url in [servers.NAME.auth], or log in again",
                    _ => "check client_id and its secret or key in [servers.NAME.auth], or log in again",
                })),
                _ => Ok(Renewed::Denied(failure)),
            };
        }
    };
    person.hide(&granted.access);
    if let Some(refresh) = &granted.refresh {
        person.hide(refresh);
    }
    let scopes = record.tokens.as_ref().map(|tokens| tokens.scopes.clone()).unwrap_or_default();
    Ok(Renewed::Tokens(Tokens::new(granted, &scopes, Some(refresh), now())))
}

/// An issuer that the user named may have its endpoints anywhere.
fn trust(http: &Http, settings: &Settings, record: &Record) {
    if settings.issuer.is_some() {
        http.trust(&record.token_endpoint);
        record.revocation_endpoint.iter().for_each(|url| http.trust(url));
    }
}

/// The client of a record, with the secret that the user configures now.
fn current(settings: &Settings, record: &Record) -> Client {
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
pub async fn revoke(http: &Http, settings: &Settings, record: &Record) -> Result<bool> {
    let (Some(url), Some(tokens)) = (&record.revocation_endpoint, &record.tokens) else { return Ok(false) };
    trust(http, settings, record);
    let client = current(settings, record);
    let key = key(settings, &client)?;
    let endpoint =
        || Endpoint { http, url, identity: identity(&client, key.as_ref(), &record.issuer), prover: None, now: now() };
    let send = async |one: &Secret, hint: &str| {
        let form = vec![("token", one.reveal().to_owned()), ("token_type_hint", hint.to_owned())];
        let answer = endpoint().post(form).await?;
        let denied = token::denied(answer.status, &answer.body);
        match answer.status {
            200..300 => Ok(true),
            // RFC 7009 §2.2.1: signed tokens, say, which nobody can take back.
            _ if denied.is("unsupported_token_type") => Ok(false),
            _ => Err(denied.failure("the tokens could not be revoked")),
        }
    };
    let refresh = match &tokens.refresh {
        Some(refresh) => send(refresh, "refresh_token").await?,
        None => false,
    };
    // Not every issuer drops the access token with the refresh token.
    Ok(send(&tokens.access, "access_token").await? || refresh)
}
