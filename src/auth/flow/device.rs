//! Device code (RFC 8628): a person logs in with a browser on another device.

use std::time::Duration;

use serde_json::{Map, Value};

use super::super::discovery::Found;
use super::super::endpoint::Endpoint;
use super::super::record::Record;
use super::super::registration::{self, Wish};
use super::super::scopes;
use super::super::settings::Grant;
use super::super::token::{self, Granted};
use super::{Login, Means, identity, lacks, now, page};
use crate::error::{Class, Failure, Result};
use crate::secret::Secret;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// How long to wait between two questions where the server does not say (RFC 8628 §3.2), and how much longer
/// after it found us too quick (§3.5).
const INTERVAL: u64 = 5;

/// The longest code that is shown, in characters. Those of known servers have less than a dozen.
const LONGEST_CODE: usize = 64;

/// What the person has to do.
struct Offer {
    device_code: Secret,
    user_code: String,
    uri: String,
    complete: Option<String>,
    life: Duration,
    interval: u64,
}

impl Offer {
    fn read(document: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| document.get(name)?.as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned);
        let number = |name: &str| match document.get(name)? {
            Value::String(text) => text.parse().ok(),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of seconds")]
            value => value.as_f64().map(|number| number as u64),
        };
        Some(Offer {
            device_code: Secret::new(text("device_code")?),
            user_code: text("user_code")?,
            // Google names it so.
            uri: text("verification_uri").or_else(|| text("verification_url"))?,
            complete: text("verification_uri_complete"),
            life: Duration::from_secs(number("expires_in").unwrap_or(900).clamp(1, 86_400)),
            interval: number("interval").unwrap_or(INTERVAL).clamp(1, 60),
        })
    }
}

pub(super) async fn log_in(
    means: Means<'_>,
    found: &Found,
    scopes: Vec<String>,
    known: Option<&Record>,
) -> Result<Record> {
    let endpoint = found.server.device_authorization_endpoint.as_deref().ok_or_else(|| {
        lacks(found, "device authorization endpoint")
            .hint("log in with a browser (without --device), or carry the URL over with --no-browser")
    })?;
    let scopes = scopes::lasting(scopes, &found.server);
    let wish = Wish { redirect_uri: None, scopes: &scopes, grant: Grant::DeviceCode, now: now() };
    let client = registration::client(means.http, means.settings, found, known, wish).await?;
    let login = Login::new(means, found, client, scopes)?;
    let offer = start(&login, endpoint).await?;
    page(means.http, &offer.uri).await?;
    // It is shown in the midst of our own words, and must not pose as more of them.
    let plain = |c: char| c.is_alphanumeric() || c.is_ascii_punctuation() || c == ' ';
    if offer.user_code.chars().count() > LONGEST_CODE || !offer.user_code.chars().all(plain) {
        return Err(Failure::new(Class::Auth, "the authorization server offers no code that can be shown")
            .cause("it holds line breaks or control characters, or is too long"));
    }
    means.person.hide(&offer.device_code);
    let mut text =
        format!("Log in to {}: open\n\n  {}\n\nand enter the code\n\n  {}\n", means.name, offer.uri, offer.user_code);
    if let Some(complete) = &offer.complete
        && page(means.http, complete).await.is_ok()
    {
        text.push_str(&format!("\nor open this, which holds the code already, and compare it:\n\n  {complete}\n"));
    }
    means.person.say(&text);
    let patience = offer.life.min(means.patience);
    match tokio::time::timeout(patience, poll(&login, &offer)).await {
        Ok(granted) => login.record(granted?),
        Err(_) => Err(Failure::new(Class::Timeout, format!("nobody logged in within {} s", patience.as_secs()))),
    }
}

/// Asks for a code.
async fn start(login: &Login<'_>, url: &str) -> Result<Offer> {
    let (found, now) = (login.found, now());
    let identity = identity(&login.client, login.key.as_ref(), &found.server.issuer);
    let mut form = vec![("resource", found.resource.clone())];
    form.extend(login.scope());
    // RFC 8628 §3.1: the client is always named; a confidential one shows who it is besides.
    let endpoint = Endpoint { http: login.means.http, url, identity, prover: None, now };
    let answer = endpoint.post(form).await?;
    let offer = answer.document().as_ref().and_then(Offer::read);
    offer.ok_or_else(|| match token::denied(answer.status, &answer.body) {
        denied if denied.error.is_empty() && answer.status < 300 => {
            Failure::new(Class::Auth, "the authorization server offers no code to log in with")
        }
        denied => login.denied(&denied),
    })
}

/// Asks whether the person has logged in, until they have or refuse (RFC 8628 §3.4, §3.5).
async fn poll(login: &Login<'_>, offer: &Offer) -> Result<Granted> {
    let mut interval = offer.interval;
    loop {
        tokio::time::sleep(Duration::from_secs(interval)).await;
        let form = vec![("grant_type", GRANT.to_owned()), ("device_code", offer.device_code.reveal().to_owned())];
        match login.ask(form).await {
            Ok(Ok(granted)) => return Ok(granted),
            Ok(Err(denied)) if denied.is("authorization_pending") => {}
            Ok(Err(denied)) if denied.is("slow_down") => interval += INTERVAL,
            Ok(Err(denied)) if denied.is("access_denied") => {
                return Err(Failure::new(Class::Auth, "the login was refused"));
            }
            Ok(Err(denied)) if denied.is("expired_token") => {
                return Err(Failure::new(Class::Timeout, "nobody logged in before the code expired"));
            }
            Ok(Err(denied)) if denied.passing() => interval += INTERVAL,
            Ok(Err(denied)) => return Err(login.denied(&denied)),
            // RFC 8628 §3.5: a connection that times out is tried again, more slowly.
            Err(failure) if failure.class() == Class::Timeout => interval *= 2,
            Err(failure) => return Err(failure),
        }
    }
}
