//! The grants without a person: the client itself, a platform or an enterprise vouches (digest §5.4).

use std::path::Path;

use super::super::discovery::Found;
use super::super::endpoint::{Endpoint, Form};
use super::super::identity::{Identity, Method};
use super::super::record::Record;
use super::super::registration::{self, Wish};
use super::super::settings::Grant;
use super::{Login, Means, now};
use crate::error::{Class, Failure, Result};
use crate::secret::Secret;

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

pub(super) async fn log_in(
    means: Means<'_>,
    found: &Found,
    scopes: Vec<String>,
    known: Option<&Record>,
) -> Result<Record> {
    let wish = Wish { redirect_uri: None, scopes: &scopes, grant: means.settings.grant, now: now() };
    let client = registration::client(means.http, means.settings, found, known, wish).await?;
    let login = Login::new(means, found, client, scopes)?;
    let mut form: Form = match means.settings.grant {
        Grant::JwtBearer => {
            let assertion = file(means, means.settings.assertion_file.as_deref(), "assertion_file", "assertion")?;
            vec![("grant_type", JWT_BEARER.to_owned()), ("assertion", assertion.reveal().to_owned())]
        }
        Grant::Enterprise => {
            let grant = id_jag(&login).await?;
            vec![("grant_type", JWT_BEARER.to_owned()), ("assertion", grant.reveal().to_owned())]
        }
        _ => vec![("grant_type", "client_credentials".to_owned())],
    };
    form.extend(login.scope());
    match login.ask(form).await? {
        Ok(granted) => login.record(granted),
        Err(denied) => Err(login.denied(&denied)),
    }
}

/// Exchanges the ID token of the enterprise's identity provider for a grant at the server's authorization
/// server (RFC 8693, ID-JAG).
async fn id_jag(login: &Login<'_>) -> Result<Secret> {
    let (means, settings) = (login.means, login.means.settings);
    let needed = |value: &Option<String>, key: &str| {
        value.clone().ok_or_else(|| {
            Failure::new(Class::Config, format!("the grant 'enterprise' needs '{key}'"))
                .hint(format!("set {key} in [servers.{}.auth]", means.name))
        })
    };
    let url = needed(&settings.idp_token_endpoint, "idp_token_endpoint")?;
    let client_id = needed(&settings.idp_client_id, "idp_client_id")?;
    let token = file(means, settings.id_token_file.as_deref(), "id_token_file", "ID token")?;
    means.http.trust(&url);
    let mut form = vec![
        ("grant_type", TOKEN_EXCHANGE.to_owned()),
        ("requested_token_type", ID_JAG.to_owned()),
        ("audience", login.found.server.issuer.clone()),
        ("resource", login.found.resource.clone()),
        ("subject_token", token.reveal().to_owned()),
        ("subject_token_type", ID_TOKEN.to_owned()),
    ];
    form.extend(login.scope());
    let identity = Identity { client_id: &client_id, secret: None, key: None, method: Method::None, audience: &url };
    let endpoint = Endpoint { http: means.http, url: &url, identity, prover: None, now: now() };
    match endpoint.exchange(form).await? {
        Ok(grant) => {
            means.person.hide(&grant);
            Ok(grant)
        }
        Err(denied) => {
            Err(denied.failure(&format!("the identity provider at {url} does not vouch for this login")).hint(format!(
                "check that the ID token in {} is fresh, and idp_client_id",
                shown(settings.id_token_file.as_deref())
            )))
        }
    }
}

fn shown(path: Option<&Path>) -> String {
    path.map(|path| format!("'{}'", path.display())).unwrap_or_default()
}

/// A token that a platform puts into a file, read anew each time: platforms rotate them.
fn file(means: Means<'_>, path: Option<&Path>, key: &str, what: &str) -> Result<Secret> {
    let Some(path) = path else {
        let grant = means.settings.grant.as_str();
        return Err(Failure::new(Class::Config, format!("the grant '{grant}' needs a file with the {what}"))
            .hint(format!("set {key} in [servers.{}.auth]", means.name)));
    };
    let unreadable = || Failure::new(Class::Config, format!("cannot read the {what} in '{}'", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| unreadable().source(&error))?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(unreadable().cause("the file must hold one token and nothing else"));
    }
    let token = Secret::new(token);
    means.person.hide(&token);
    Ok(token)
}
