//! `auth import`: store tokens that were obtained elsewhere.

use std::io::Read;

use serde_json::{Map, Value};

use super::super::credentials::login_owner;
use super::super::{Context, Exit};
use super::shared::{
    WhichLogins, login_json, own_credentials_failure, refuse_unused_login, resolve_http_target, stored_logins,
};
use crate::auth::clock::unix_seconds;
use crate::auth::credentials::{ClientOrigin, ClientRegistration, Credentials, TokenSet, match_server, server_id};
use crate::auth::discovery::{self, DiscoveryResult};
use crate::auth::http_client::{OAuthHttpClient, ResponseLimits};
use crate::auth::metadata;
use crate::auth::token_response;
use crate::auth::token_response::TokenType;
use crate::auth::{OAuthSettings, crypto};
use crate::cli::AuthImportArgs;
use crate::config::oauth::ClientAuthMethod;
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::transport::HttpEndpoint;
use crate::util::home::shown_location;

/// The longest input, in bytes.
const MAX_INPUT_LENGTH: u64 = 1 << 20;

/// Reads tokens from standard input and stores them.
///
/// # Errors
/// [`ErrorKind::Usage`] if they cannot be used; the failure of discovery if there is a refresh token and its token
/// endpoint cannot be found.
pub async fn run(context: &Context, args: AuthImportArgs) -> Result<Exit> {
    let (target, endpoint) = resolve_http_target(context, &args.target, &args.target_options).await?;
    if target.has_own_credentials() {
        return Err(own_credentials_failure(&target, "store tokens for"));
    }
    context.note_awaited_input("tokens as JSON");
    let reading = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        std::io::stdin().take(MAX_INPUT_LENGTH).read_to_string(&mut text).map(|_| text)
    });
    let text = match context.interrupt.run_until_interrupted(reading).await? {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => return Err(invalid_input("it cannot be read").caused_by(&error)),
        Err(error) => return Err(invalid_input("it cannot be read").caused_by(&error)),
    };
    let mut settings = target.auth.clone();
    let given = ImportedTokens::parse(&text, &mut settings)?;
    let (client_id, issuer) = (given.client_id.as_deref(), given.issuer.as_deref());
    refuse_unused_login(&target, ("the imported client_id", client_id), ("the imported issuer", issuer))?;
    let http =
        OAuthHttpClient::new(&endpoint, context.connect_timeout(&target), ResponseLimits::default(), context.trace()?);
    let login_command = target.command_line("auth login", &[]);
    let discovery = discovery::discover(&http, &login_command, &settings, None, false);
    let found = match context.interrupt.run_until_interrupted(discovery).await? {
        Ok(found) if found.is_advertised => Some(found),
        // Without a refresh token, no authorization server is needed.
        Ok(_) | Err(_) if given.tokens.refresh.is_none() => None,
        Ok(_) => None,
        Err(failure) => return Err(failure.server(&target.name)),
    };
    if let Some(warning) = found.as_ref().and_then(|found| found.warning.as_ref()) {
        context.ui.warn(warning);
    }
    if found.is_none() && given.tokens.refresh.is_some() {
        context.ui.warn("the server names no authorization server: the tokens cannot be refreshed");
    }
    let owner = login_owner(&target, &settings);
    let record = Credentials { owner: Some(owner.id()), ..given.into_record(&endpoint, settings, found)? };
    let store = context.credential_store(target.credential_store.as_deref())?;
    let about = record.summary(target.is_configured.then_some(target.name.as_str()));
    let guard = store.lock(&about.key).await?;
    store.put(&about.key, &about, &record.to_stored_without(&target.auth)?).await?;
    for other in stored_logins(&*store, &target, &endpoint, WhichLogins::All)? {
        let is_same_server = match_server(&other, &endpoint.url) == match_server(&about, &endpoint.url);
        if other.key != about.key && is_same_server && owner.replaces(&other) {
            store.delete(&other.key).await?;
        }
    }
    drop(guard);
    if context.ui.is_json() {
        context.ui.print_json_value(&login_json(&about, &*store))?;
    } else {
        context.ui.note(&format!(
            "Stored the credentials for {} in {}.",
            target.name,
            shown_location(&store.location_of(&about.key))
        ));
    }
    Ok(Exit::Done)
}

fn invalid_input(why: &str) -> Failure {
    Failure::new(ErrorKind::Usage, "no tokens on standard input")
        .cause(why)
        .hint("pass the response of a token endpoint: {\"access_token\": \"…\", \"refresh_token\": \"…\", \"expires_in\": 3600}")
}

/// The tokens read from standard input.
#[derive(Debug)]
struct ImportedTokens {
    tokens: TokenSet,
    client_id: Option<String>,
    client_secret: Option<Secret>,
    issuer: Option<String>,
}

impl ImportedTokens {
    fn parse(text: &str, settings: &mut OAuthSettings) -> Result<Self> {
        let document: Map<String, Value> =
            serde_json::from_str(text.trim()).map_err(|_| invalid_input("it is not a JSON object"))?;
        let granted = token_response::parse_token_response(200, text.as_bytes())
            .map_err(|why| invalid_input(&why))?
            .map_err(|_| invalid_input("it is an error response"))?;
        if granted.token_type == TokenType::Dpop {
            return Err(invalid_input("the token is bound to a DPoP key, which cannot be imported"));
        }
        let member = |name: &str| document.get(name)?.as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned);
        let mut tokens = TokenSet::from_response(granted, &[], None, unix_seconds());
        if let Some(at) = document.get("expires_at").and_then(Value::as_f64) {
            // JavaScript clients write milliseconds.
            let at = if at > 1e11 { at / 1000.0 } else { at };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of seconds")]
            let at = at.clamp(0.0, 1e11) as u64;
            tokens.expires_at = Some(at);
        }
        let issuer = member("issuer");
        if settings.issuer.is_none() {
            settings.issuer.clone_from(&issuer);
        }
        Ok(ImportedTokens {
            tokens,
            client_id: member("client_id"),
            client_secret: member("client_secret").map(Secret::new),
            issuer,
        })
    }

    fn into_record(
        self,
        endpoint: &HttpEndpoint,
        settings: OAuthSettings,
        found: Option<DiscoveryResult>,
    ) -> Result<Credentials> {
        let origin = metadata::origin(&endpoint.url);
        let server = found.as_ref().map(|found| &found.authorization_server);
        let id = self.client_id.or_else(|| settings.client_id.clone());
        if id.is_none() && self.tokens.refresh.is_some() {
            return Err(invalid_input("it has a refresh token, but not the client_id that it was issued to"));
        }
        let secret = self.client_secret.or_else(|| settings.client_secret.clone());
        let offered = server.and_then(|server| server.token_endpoint_auth_methods_supported.as_deref());
        let has_key = settings.private_key_file.is_some();
        let client_method = settings
            .token_endpoint_auth_method
            .unwrap_or_else(|| ClientAuthMethod::choose(secret.is_some(), has_key, offered));
        Ok(Credentials {
            server: server_id(&endpoint.url),
            owner: None,
            logged_in_at: unix_seconds(),
            resource: found
                .as_ref()
                .map_or_else(|| metadata::default_resource(&endpoint.url), |found| found.resource.clone()),
            resource_parameter: settings.resource.clone(),
            issuer: server.map(|server| server.issuer.clone()).or(self.issuer).unwrap_or(origin),
            token_endpoint: server.and_then(|server| server.token_endpoint.clone()).unwrap_or_default(),
            revocation_endpoint: server.and_then(|server| server.revocation_endpoint.clone()),
            revocation_method: server.map(|server| {
                let offered = server.revocation_endpoint_auth_methods_supported.as_deref();
                client_method.for_revocation(secret.is_some(), offered)
            }),
            unused_client: None,
            client: ClientRegistration {
                secret,
                ..ClientRegistration::new(id.unwrap_or_default(), client_method, ClientOrigin::Configured)
            },
            asked: self.tokens.scopes.clone(),
            login: crypto::random_token()?,
            settings,
            tokens: Some(self.tokens),
            dpop_key: None,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<ImportedTokens> {
        ImportedTokens::parse(text, &mut OAuthSettings::default())
    }

    #[test]
    fn reads_the_answer_of_a_token_endpoint() {
        let given =
            read(r#"{"access_token":"a","refresh_token":"r","expires_in":60,"scope":"x y","client_id":"c"}"#).unwrap();
        assert_eq!(given.tokens.scopes, ["x", "y"]);
        let left = given.tokens.expires_at.unwrap() - unix_seconds();
        assert!((59..=60).contains(&left), "{left}");
        let at =
            |number: &str| read(&format!(r#"{{"access_token":"a","expires_at":{number}}}"#)).unwrap().tokens.expires_at;
        assert_eq!([at("1795000000"), at("1795000000000"), at("1795000000.5")], [Some(1_795_000_000); 3]);
        assert_eq!(at("null"), None);
    }

    #[test]
    fn an_issuer_is_looked_for_where_it_says() {
        let mut settings = OAuthSettings::default();
        ImportedTokens::parse(r#"{"access_token":"a","issuer":"https://as"}"#, &mut settings).unwrap();
        assert_eq!(settings.issuer.as_deref(), Some("https://as"));
        ImportedTokens::parse(r#"{"access_token":"a","issuer":"https://as/"}"#, &mut settings).unwrap();
        assert_eq!(settings.issuer.as_deref(), Some("https://as"), "the notation of the configuration");
    }
}
