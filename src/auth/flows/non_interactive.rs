//! The grants without a user: the client itself (OAuth 2.1 §4.2), the assertion of a platform (RFC 7523), or an
//! identity assertion of the enterprise (ID-JAG).

use std::path::Path;

use super::login_flow::{LoginFlow, LoginOutcome};
use crate::auth::client_auth::ClientAuthentication;
use crate::auth::clock::unix_seconds;
use crate::auth::endpoint::{FormFields, OAuthEndpoint};
use crate::auth::login_context::{LoginContext, LoginRequest};
use crate::auth::registration::{self, ClientUse};
use crate::config::oauth::{ClientAuthMethod, Grant};
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::util::bounded_read::{self, MAX_FILE};
use crate::util::home::shown_path;

const JWT_BEARER_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE_GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_JAG_TYPE: &str = "urn:ietf:params:oauth:token-type:id-jag";
const ID_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:id_token";

pub(super) async fn log_in(context: &LoginContext, request: LoginRequest<'_>) -> Result<LoginOutcome> {
    let settings = request.settings;
    let client_use =
        ClientUse { redirect_uri: None, scopes: request.scopes, grant: settings.grant(), now: unix_seconds() };
    let client = registration::obtain_client(&context.http, request, client_use).await?;
    let login = LoginFlow::new(context, request, client, request.scopes.to_vec())?;
    let assertion = match settings.grant() {
        Grant::JwtBearer => {
            Some(read_token_file(&login, settings.assertion_file.as_deref(), "assertion_file", "assertion")?)
        }
        Grant::Enterprise => Some(request_id_jag(&login).await?),
        _ => None,
    };
    let mut form: FormFields = match assertion {
        Some(assertion) => {
            vec![("grant_type", JWT_BEARER_GRANT.to_owned()), ("assertion", assertion.reveal().to_owned())]
        }
        None => vec![("grant_type", "client_credentials".to_owned())],
    };
    form.extend(login.scope_param());
    login.finish(form).await
}

/// Exchanges the ID token of the enterprise's identity provider for an assertion for the server's authorization
/// server (RFC 8693, ID-JAG).
async fn request_id_jag(login: &LoginFlow<'_>) -> Result<Secret> {
    let (context, settings) = (login.context, login.settings);
    let required = |value: &Option<String>, key: &str| {
        value.clone().ok_or_else(|| {
            Failure::new(ErrorKind::Config, format!("the grant 'enterprise' needs '{key}'"))
                .hint(how_to_set(context, key))
        })
    };
    let url = required(&settings.idp_token_endpoint, "idp_token_endpoint")?;
    let client_id = required(&settings.idp_client_id, "idp_client_id")?;
    let token = read_token_file(login, settings.id_token_file.as_deref(), "id_token_file", "ID token")?;
    context.http.allow_host(&url);
    let mut form = vec![
        ("grant_type", TOKEN_EXCHANGE_GRANT.to_owned()),
        ("requested_token_type", ID_JAG_TYPE.to_owned()),
        ("audience", login.discovery.authorization_server.issuer.clone()),
        ("subject_token", token.reveal().to_owned()),
        ("subject_token_type", ID_TOKEN_TYPE.to_owned()),
    ];
    form.extend(login.discovery.requested_resource.clone().map(|resource| ("resource", resource)));
    form.extend(login.scope_param());
    let client_auth = ClientAuthentication {
        client_id: &client_id,
        secret: None,
        key: None,
        method: ClientAuthMethod::None,
        audience: &url,
    };
    let endpoint = OAuthEndpoint { http: &context.http, url: &url, client_auth, dpop_key: None, now: unix_seconds() };
    match endpoint.exchange_token(form).await? {
        Ok(assertion) => {
            context.user.register_secret(&assertion);
            Ok(assertion)
        }
        Err(error) => {
            Err(error.to_failure(&format!("the identity provider at {url} refused the ID token")).hint(format!(
                "check that the ID token in {} has not expired, and idp_client_id",
                settings.id_token_file.as_deref().map(|path| format!("'{}'", shown_path(path))).unwrap_or_default()
            )))
        }
    }
}

/// The hint to set a key of the configuration.
fn how_to_set(context: &LoginContext, key: &str) -> String {
    match &context.owner.config_name {
        Some(name) => format!("set {key} in [servers.{name}.auth]"),
        None => format!("set {key} in [servers.NAME.auth] (for a URL, first: mcpipe config add NAME URL)"),
    }
}

/// Reads a token that a platform writes to a file. It is read for each login, since platforms rotate it.
fn read_token_file(login: &LoginFlow<'_>, path: Option<&Path>, key: &str, what: &str) -> Result<Secret> {
    let Some(path) = path else {
        let grant = login.settings.grant().as_str();
        return Err(Failure::new(ErrorKind::Config, format!("the grant '{grant}' needs a file with the {what}")).hint(
            match login.settings.grant() {
                Grant::JwtBearer => {
                    let command = &login.context.login_command;
                    format!("{command} --assertion-file FILE; or {}", how_to_set(login.context, key))
                }
                _ => how_to_set(login.context, key),
            },
        ));
    };
    let unreadable = || Failure::new(ErrorKind::Config, format!("cannot read the {what} in '{}'", shown_path(path)));
    let text = bounded_read::read_to_string(path, MAX_FILE).map_err(|error| unreadable().caused_by(&error))?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(unreadable().cause("the file must contain one token and nothing else"));
    }
    let token = Secret::new(token);
    login.context.user.register_secret(&token);
    Ok(token)
}
