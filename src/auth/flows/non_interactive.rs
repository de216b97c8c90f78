//! The grants without a person: the client itself, a platform or an enterprise vouches (digest §5.4).

use std::path::Path;

use super::super::discovery::DiscoveryResult;
use super::super::endpoint::{FormFields, OAuthEndpoint};
use super::super::registration::{self, ClientPreferences};
use super::super::settings::Grant;
use super::{FlowContext, LoginFlow, unix_seconds};
use crate::auth::client_auth::{ClientAuthMethod, ClientAuthentication};
use crate::auth::credentials::Credentials;
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;

const JWT_BEARER_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE_GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_JAG_TYPE: &str = "urn:ietf:params:oauth:token-type:id-jag";
const ID_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:id_token";

pub(super) async fn log_in(
    means: FlowContext<'_>,
    found: &DiscoveryResult,
    scopes: Vec<String>,
    known: Option<&Credentials>,
) -> Result<Credentials> {
    let wish =
        ClientPreferences { redirect_uri: None, scopes: &scopes, grant: means.settings.grant, now: unix_seconds() };
    let client = registration::obtain_client(means.http, means.settings, found, known, wish).await?;
    let login = LoginFlow::new(means, found, client, scopes)?;
    let mut form: FormFields = match means.settings.grant {
        Grant::JwtBearer => {
            let assertion =
                read_token_file(means, means.settings.assertion_file.as_deref(), "assertion_file", "assertion")?;
            vec![("grant_type", JWT_BEARER_GRANT.to_owned()), ("assertion", assertion.reveal().to_owned())]
        }
        Grant::Enterprise => {
            let grant = request_id_jag(&login).await?;
            vec![("grant_type", JWT_BEARER_GRANT.to_owned()), ("assertion", grant.reveal().to_owned())]
        }
        _ => vec![("grant_type", "client_credentials".to_owned())],
    };
    form.extend(login.scope_param());
    match login.request_token(form).await? {
        Ok(granted) => login.into_credentials(granted),
        Err(denied) => Err(login.token_failure(&denied)),
    }
}

/// Exchanges the ID token of the enterprise's identity provider for a grant at the server's authorization
/// server (RFC 8693, ID-JAG).
async fn request_id_jag(login: &LoginFlow<'_>) -> Result<Secret> {
    let (means, settings) = (login.context, login.context.settings);
    let needed = |value: &Option<String>, key: &str| {
        value.clone().ok_or_else(|| {
            Failure::new(ErrorKind::Config, format!("the grant 'enterprise' needs '{key}'"))
                .hint(format!("set {key} in [servers.{}.auth]", means.target_name))
        })
    };
    let url = needed(&settings.idp_token_endpoint, "idp_token_endpoint")?;
    let client_id = needed(&settings.idp_client_id, "idp_client_id")?;
    let token = read_token_file(means, settings.id_token_file.as_deref(), "id_token_file", "ID token")?;
    means.http.allow_host(&url);
    let mut form = vec![
        ("grant_type", TOKEN_EXCHANGE_GRANT.to_owned()),
        ("requested_token_type", ID_JAG_TYPE.to_owned()),
        ("audience", login.discovery.authorization_server.issuer.clone()),
        ("resource", login.discovery.resource.clone()),
        ("subject_token", token.reveal().to_owned()),
        ("subject_token_type", ID_TOKEN_TYPE.to_owned()),
    ];
    form.extend(login.scope_param());
    let identity = ClientAuthentication {
        client_id: &client_id,
        secret: None,
        key: None,
        method: ClientAuthMethod::None,
        audience: &url,
    };
    let endpoint =
        OAuthEndpoint { http: means.http, url: &url, client_auth: identity, dpop_key: None, now: unix_seconds() };
    match endpoint.exchange_token(form).await? {
        Ok(grant) => {
            means.user.register_secret(&grant);
            Ok(grant)
        }
        Err(denied) => Err(denied
            .to_failure(&format!("the identity provider at {url} does not vouch for this login"))
            .hint(format!(
                "check that the ID token in {} is fresh, and idp_client_id",
                quoted_path(settings.id_token_file.as_deref())
            ))),
    }
}

fn quoted_path(path: Option<&Path>) -> String {
    path.map(|path| format!("'{}'", path.display())).unwrap_or_default()
}

/// A token that a platform puts into a file, read anew each time: platforms rotate them.
fn read_token_file(means: FlowContext<'_>, path: Option<&Path>, key: &str, what: &str) -> Result<Secret> {
    let Some(path) = path else {
        let grant = means.settings.grant.as_str();
        return Err(Failure::new(ErrorKind::Config, format!("the grant '{grant}' needs a file with the {what}"))
            .hint(format!("set {key} in [servers.{}.auth]", means.target_name)));
    };
    let unreadable = || Failure::new(ErrorKind::Config, format!("cannot read the {what} in '{}'", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| unreadable().caused_by(&error))?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(unreadable().cause("the file must hold one token and nothing else"));
    }
    let token = Secret::new(token);
    means.user.register_secret(&token);
    Ok(token)
}
