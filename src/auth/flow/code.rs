//! Authorization code with PKCE: a person logs in with a browser (digest §5.2, steps 5 to 9).

use std::future::Future;

use super::super::callback::{Request, pasted};
use super::super::loopback::{Loopback, port_of};
use super::super::random::{self, Pkce};
use super::super::record::{Origin, Record};
use super::super::registration::{self, Wish};
use super::super::settings::{Browser, Grant};
use super::super::{discovery::Found, scopes};
use super::{Login, Means, lacks, now, page};
use crate::error::{Class, Failure, Result};
use crate::secret::Secret;

pub(super) async fn log_in(
    means: Means<'_>,
    found: &Found,
    scopes: Vec<String>,
    known: Option<&Record>,
) -> Result<Record> {
    let endpoint =
        found.server.authorization_endpoint.as_deref().ok_or_else(|| lacks(found, "authorization endpoint"))?;
    page(means.http, endpoint).await?;
    let scopes = scopes::lasting(scopes, &found.server);
    // The redirect URI is registered as it will be used: the port comes first.
    let loopback = bind(&means, known).await?;
    let redirect_uri = loopback.redirect_uri();
    let wish = Wish { redirect_uri: Some(&redirect_uri), scopes: &scopes, grant: Grant::AuthorizationCode, now: now() };
    let client = registration::client(means.http, means.settings, found, known, wish).await?;
    let login = Login::new(means, found, client, scopes)?;
    login.token_endpoint()?;
    let pkce = Pkce::new()?;
    means.person.hide(&pkce.verifier);
    let request = Request {
        endpoint: endpoint.to_owned(),
        client_id: login.client.id.clone(),
        redirect_uri: redirect_uri.clone(),
        challenge: pkce.challenge.clone(),
        state: random::token()?,
        resource: found.resource.clone(),
        scopes: login.scopes.clone(),
        issuer: found.server.issuer.clone(),
        promises_issuer: found.server.authorization_response_iss_parameter_supported,
    };
    let code = patiently(&means, &login, answer(&means, loopback, &request)).await?;
    means.person.hide(&code);
    let form = vec![
        ("grant_type", "authorization_code".to_owned()),
        ("code", code.reveal().to_owned()),
        ("redirect_uri", redirect_uri),
        ("code_verifier", pkce.verifier.reveal().to_owned()),
    ];
    match login.ask(form).await? {
        Ok(granted) => login.record(granted),
        Err(denied) => Err(login.denied(&denied)),
    }
}

/// The configured port; else the one that an earlier registration names, if it is free; else any.
async fn bind(means: &Means<'_>, known: Option<&Record>) -> Result<Loopback> {
    if means.settings.redirect_port.is_some() {
        return Loopback::bind(means.settings.redirect_port).await;
    }
    let registered = known.map(|record| &record.client).filter(|client| client.origin == Origin::Registered);
    Loopback::bind_near(registered.and_then(|client| port_of(client.redirect_uri.as_deref()?))).await
}

/// Sends the person to the page, and waits for the code.
async fn answer(means: &Means<'_>, loopback: Loopback, request: &Request) -> Result<Secret> {
    let url = page(means.http, &request.url()).await?;
    let ignored = |why: &Failure| {
        means.person.warn(&format!("something else than the answer came, and is ignored: {why}"));
    };
    match means.browser {
        Browser::Elsewhere => {
            means.person.say(&format!("Log in to {} in a browser:\n\n  {url}\n", means.name));
            let prompt = "Paste the address to which the browser was redirected (the page itself may not open):";
            let carried = async {
                let text = means.person.ask(prompt).await?;
                means.person.hide(&Secret::new(text.trim()));
                request.judge(pasted(&text)?)
            };
            tokio::select! {
                code = carried => code,
                code = loopback.answer(request, ignored) => code,
            }
        }
        Browser::Open => {
            means.person.say(&format!(
                "Opening a browser to log in to {}; if it does not open, go to:\n\n  {url}\n",
                means.name
            ));
            let opened = async {
                if let Err(failure) = means.person.open(&url).await {
                    let elsewhere = format!("ith a browser on another machine: {} --no-browser", means.command);
                    if !means.terminal {
                        // Nobody reads where the page is: it would be waited for in vain.
                        let details = failure.details();
                        let mut failure = Failure::new(Class::Auth, details.message.clone());
                        failure.details_mut().causes.clone_from(&details.causes);
                        return Err(failure.hint(format!("w{elsewhere}")));
                    }
                    means.person.say(&format!("The browser could not be opened: {failure}.\nW{elsewhere}\n"));
                }
                std::future::pending().await
            };
            tokio::select! {
                code = loopback.answer(request, ignored) => code,
                code = opened => code,
            }
        }
    }
}

/// Waits for a person, but not for ever.
async fn patiently<T>(means: &Means<'_>, login: &Login<'_>, waiting: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(means.patience, waiting).await.unwrap_or_else(|_| {
        let failure = Failure::new(Class::Timeout, format!("nobody logged in within {} s", means.patience.as_secs()));
        Err(match login.client.origin {
            Origin::Registered => failure
                .hint(format!("if the page did not know mcpipe, forget the registration first: {}", means.logout)),
            _ => {
                failure.hint("check that the redirect URI http://127.0.0.1:PORT/callback is registered for the client")
            }
        })
    })
}
