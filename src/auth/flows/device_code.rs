//! Device code (RFC 8628): a person logs in with a browser on another device.

use std::time::Duration;

use serde_json::{Map, Value};

use super::super::discovery::DiscoveryResult;
use super::super::endpoint::OAuthEndpoint;
use super::super::registration::{self, ClientPreferences};
use super::super::scopes;
use super::super::settings::Grant;
use super::{FlowContext, LoginFlow, checked_browser_url, client_authentication, missing_endpoint, unix_seconds};
use crate::auth::credentials::Credentials;
use crate::auth::token_response;
use crate::auth::token_response::TokenResponse;
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;

const DEVICE_CODE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// How long to wait between two questions where the server does not say (RFC 8628 §3.2), and how much longer
/// after it found us too quick (§3.5).
const POLL_INTERVAL_SECS: u64 = 5;

/// The longest code that is shown, in characters. Those of known servers have less than a dozen.
const MAX_USER_CODE_CHARS: usize = 64;

/// What the person has to do.
struct DeviceAuthorization {
    device_code: Secret,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: Duration,
    interval: u64,
}

impl DeviceAuthorization {
    fn from_json(document: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| document.get(name)?.as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned);
        let number = |name: &str| match document.get(name)? {
            Value::String(text) => text.parse().ok(),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of seconds")]
            value => value.as_f64().map(|number| number as u64),
        };
        Some(DeviceAuthorization {
            device_code: Secret::new(text("device_code")?),
            user_code: text("user_code")?,
            // Google names it so.
            verification_uri: text("verification_uri").or_else(|| text("verification_url"))?,
            verification_uri_complete: text("verification_uri_complete"),
            expires_in: Duration::from_secs(number("expires_in").unwrap_or(900).clamp(1, 86_400)),
            interval: number("interval").unwrap_or(POLL_INTERVAL_SECS).clamp(1, 60),
        })
    }
}

pub(super) async fn log_in(
    means: FlowContext<'_>,
    found: &DiscoveryResult,
    scopes: Vec<String>,
    known: Option<&Credentials>,
) -> Result<Credentials> {
    let endpoint = found.authorization_server.device_authorization_endpoint.as_deref().ok_or_else(|| {
        missing_endpoint(found, "device authorization endpoint")
            .hint("log in with a browser (without --device), or carry the URL over with --no-browser")
    })?;
    let scopes = scopes::with_offline_access(scopes, &found.authorization_server);
    let wish = ClientPreferences { redirect_uri: None, scopes: &scopes, grant: Grant::DeviceCode, now: unix_seconds() };
    let client = registration::obtain_client(means.http, means.settings, found, known, wish).await?;
    let login = LoginFlow::new(means, found, client, scopes)?;
    let offer = request_device_code(&login, endpoint).await?;
    checked_browser_url(means.http, &offer.verification_uri).await?;
    // It is shown in the midst of our own words, and must not pose as more of them.
    let plain = |c: char| c.is_alphanumeric() || c.is_ascii_punctuation() || c == ' ';
    if offer.user_code.chars().count() > MAX_USER_CODE_CHARS || !offer.user_code.chars().all(plain) {
        return Err(Failure::new(ErrorKind::Auth, "the authorization server offers no code that can be shown")
            .cause("it holds line breaks or control characters, or is too long"));
    }
    means.user.register_secret(&offer.device_code);
    let mut text = format!(
        "Log in to {}: open\n\n  {}\n\nand enter the code\n\n  {}\n",
        means.target_name, offer.verification_uri, offer.user_code
    );
    if let Some(complete) = &offer.verification_uri_complete
        && checked_browser_url(means.http, complete).await.is_ok()
    {
        text.push_str(&format!("\nor open this, which holds the code already, and compare it:\n\n  {complete}\n"));
    }
    means.user.show(&text);
    let patience = offer.expires_in.min(means.timeout);
    match tokio::time::timeout(patience, poll_for_token(&login, &offer)).await {
        Ok(granted) => login.into_credentials(granted?),
        Err(_) => Err(Failure::new(ErrorKind::Timeout, format!("nobody logged in within {} s", patience.as_secs()))),
    }
}

/// Asks for a code.
async fn request_device_code(login: &LoginFlow<'_>, url: &str) -> Result<DeviceAuthorization> {
    let (found, now) = (login.discovery, unix_seconds());
    let identity = client_authentication(&login.client, login.signing_key.as_ref(), &found.authorization_server.issuer);
    let mut form = vec![("resource", found.resource.clone())];
    form.extend(login.scope_param());
    // RFC 8628 §3.1: the client is always named; a confidential one shows who it is besides.
    let endpoint = OAuthEndpoint { http: login.context.http, url, client_auth: identity, dpop_key: None, now };
    let answer = endpoint.post_form(form).await?;
    let offer = answer.json_object().as_ref().and_then(DeviceAuthorization::from_json);
    offer.ok_or_else(|| match token_response::parse_error_response(answer.status, &answer.body) {
        denied if denied.code.is_empty() && answer.status < 300 => {
            Failure::new(ErrorKind::Auth, "the authorization server offers no code to log in with")
        }
        denied => login.token_failure(&denied),
    })
}

/// Asks whether the person has logged in, until they have or refuse (RFC 8628 §3.4, §3.5).
async fn poll_for_token(login: &LoginFlow<'_>, offer: &DeviceAuthorization) -> Result<TokenResponse> {
    let mut interval = offer.interval;
    loop {
        tokio::time::sleep(Duration::from_secs(interval)).await;
        let form =
            vec![("grant_type", DEVICE_CODE_GRANT.to_owned()), ("device_code", offer.device_code.reveal().to_owned())];
        match login.request_token(form).await {
            Ok(Ok(granted)) => return Ok(granted),
            Ok(Err(denied)) if denied.has_code("authorization_pending") => {}
            Ok(Err(denied)) if denied.has_code("slow_down") => interval += POLL_INTERVAL_SECS,
            Ok(Err(denied)) if denied.has_code("access_denied") => {
                return Err(Failure::new(ErrorKind::Auth, "the login was refused"));
            }
            Ok(Err(denied)) if denied.has_code("expired_token") => {
                return Err(Failure::new(ErrorKind::Timeout, "nobody logged in before the code expired"));
            }
            Ok(Err(denied)) if denied.is_transient() => interval += POLL_INTERVAL_SECS,
            Ok(Err(denied)) => return Err(login.token_failure(&denied)),
            // RFC 8628 §3.5: a connection that times out is tried again, more slowly.
            Err(failure) if failure.kind() == ErrorKind::Timeout => interval *= 2,
            Err(failure) => return Err(failure),
        }
    }
}
