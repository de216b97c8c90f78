//! Device authorization grant (RFC 8628): the user logs in with a browser on another device.

use std::time::Duration;

use serde_json::{Map, Value};

use super::login_flow::{LoginFlow, LoginOutcome, checked_browser_url};
use crate::auth::clock::unix_seconds;
use crate::auth::endpoint::FormFields;
use crate::auth::login_context::{LoginContext, LoginRequest};
use crate::auth::registration::{self, ClientUse};
use crate::auth::scopes;
use crate::auth::token_response;
use crate::auth::token_response::{OAuthError, TokenResponse};
use crate::config::oauth::Grant;
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;

const DEVICE_CODE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// The polling interval if the server names none (RFC 8628 §3.2), and how much is added to it on `slow_down` (§3.5).
const POLL_INTERVAL_SECS: u64 = 5;

/// The longest user code that is shown, in characters. Known servers send fewer than 12.
const MAX_USER_CODE_CHARS: usize = 64;

/// A device authorization response (RFC 8628 §3.2).
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
            // Google's name for it.
            verification_uri: text("verification_uri").or_else(|| text("verification_url"))?,
            verification_uri_complete: text("verification_uri_complete"),
            expires_in: Duration::from_secs(number("expires_in").unwrap_or(900).clamp(1, 86_400)),
            interval: number("interval").unwrap_or(POLL_INTERVAL_SECS).clamp(1, 60),
        })
    }
}

pub(super) async fn log_in(context: &LoginContext, request: LoginRequest<'_>) -> Result<LoginOutcome> {
    let discovery = request.discovery;
    let server = &discovery.authorization_server;
    let endpoint = server.device_authorization_endpoint.as_deref().ok_or_else(|| {
        discovery
            .missing_endpoint("device authorization endpoint")
            .hint("log in with a browser on this machine (without --device) or on another one (--no-browser)")
    })?;
    let scopes = scopes::with_offline_access(request.scopes.to_vec(), server);
    let client_use = ClientUse { redirect_uri: None, scopes: &scopes, grant: Grant::DeviceCode, now: unix_seconds() };
    let client = registration::obtain_client(&context.http, request, client_use).await?;
    let login = LoginFlow::new(context, request, client, scopes)?;
    let form = login.scope_param().into_iter().collect();
    let asked = login.send_leniently(form, |form| Box::pin(request_device_code(&login, endpoint, form))).await?;
    let device = match asked {
        Ok(device) => device,
        Err(error) => return login.refused(&error),
    };
    checked_browser_url(&context.http, &device.verification_uri).await?;
    // The code is shown within mcpipe's own text and must not imitate it.
    let plain = |c: char| c.is_alphanumeric() || c.is_ascii_punctuation() || c == ' ';
    if device.user_code.chars().count() > MAX_USER_CODE_CHARS || !device.user_code.chars().all(plain) {
        return Err(Failure::new(ErrorKind::Auth, "the authorization server sent a code that cannot be shown")
            .cause("it contains characters other than letters, digits, ASCII punctuation and spaces, or is too long"));
    }
    context.user.register_secret(&device.device_code);
    let mut text = format!(
        "Log in to {}: open\n\n  {}\n\nand enter the code\n\n  {}\n",
        context.target_name, device.verification_uri, device.user_code
    );
    if let Some(complete) = &device.verification_uri_complete
        && checked_browser_url(&context.http, complete).await.is_ok()
    {
        text.push_str(&format!("\nor open this URL, and check that the page shows the same code:\n\n  {complete}\n"));
    }
    context.user.show(&text);
    let timeout = device.expires_in.min(context.timeout);
    match tokio::time::timeout(timeout, poll_for_token(&login, &device)).await {
        Ok(response) => match response? {
            Ok(response) => login.into_credentials(response),
            Err(error) => login.refused(&error),
        },
        Err(_) => {
            Err(Failure::new(ErrorKind::Timeout, format!("the login was not finished within {} s", timeout.as_secs())))
        }
    }
}

/// Requests a device code (RFC 8628 §3.1).
async fn request_device_code(
    login: &LoginFlow<'_>,
    url: &str,
    form: FormFields,
) -> Result<Result<DeviceAuthorization, OAuthError>> {
    let response = login.endpoint(url, None).post_form(form).await?;
    let device = response.json_object().as_ref().and_then(DeviceAuthorization::from_json);
    match (device, token_response::parse_error_response(response.status, &response.body)) {
        (Some(device), _) => Ok(Ok(device)),
        (None, error) if error.code.is_empty() && response.status < 300 => {
            Err(Failure::new(ErrorKind::Auth, "the authorization server sent no code to log in with"))
        }
        (None, error) => Ok(Err(error)),
    }
}

/// Polls the token endpoint until the user has logged in or refused (RFC 8628 §3.4, §3.5).
async fn poll_for_token(
    login: &LoginFlow<'_>,
    device: &DeviceAuthorization,
) -> Result<Result<TokenResponse, OAuthError>> {
    let mut interval = device.interval;
    loop {
        tokio::time::sleep(Duration::from_secs(interval)).await;
        let form =
            vec![("grant_type", DEVICE_CODE_GRANT.to_owned()), ("device_code", device.device_code.reveal().to_owned())];
        let error = match login.request_token(form).await {
            Ok(Ok(response)) => return Ok(Ok(response)),
            Ok(Err(error)) => error,
            // RFC 8628 §3.5: after a connection timeout, poll less often.
            Err(failure) if failure.kind() == ErrorKind::Timeout => {
                interval *= 2;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        match error.code.as_str() {
            "authorization_pending" => {}
            "access_denied" => return Err(Failure::new(ErrorKind::Auth, "the login was refused")),
            "expired_token" => {
                return Err(Failure::new(ErrorKind::Timeout, "the code expired before the login was finished"));
            }
            _ if error.is_transient() => interval += POLL_INTERVAL_SECS,
            _ => return Ok(Err(error)),
        }
    }
}
