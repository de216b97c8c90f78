//! Authorization code with PKCE: a person logs in with a browser (digest §5.2, steps 5 to 9).

use std::future::Future;

use super::super::registration::{self, ClientPreferences};
use super::super::settings::{BrowserMode, Grant};
use super::super::{discovery::DiscoveryResult, scopes};
use super::{FlowContext, LoginFlow, checked_browser_url, missing_endpoint, unix_seconds};
use crate::auth::authorization_request::{AuthorizationRequest, pasted_query};
use crate::auth::credentials::{ClientOrigin, Credentials};
use crate::auth::crypto;
use crate::auth::crypto::Pkce;
use crate::auth::redirect_listener::{RedirectListener, loopback_port};
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;

pub(super) async fn log_in(
    means: FlowContext<'_>,
    found: &DiscoveryResult,
    scopes: Vec<String>,
    known: Option<&Credentials>,
) -> Result<Credentials> {
    let endpoint = found
        .authorization_server
        .authorization_endpoint
        .as_deref()
        .ok_or_else(|| missing_endpoint(found, "authorization endpoint"))?;
    checked_browser_url(means.http, endpoint).await?;
    let scopes = scopes::with_offline_access(scopes, &found.authorization_server);
    // The redirect URI is registered as it will be used: the port comes first.
    let loopback = bind_listener(&means, known).await?;
    let redirect_uri = loopback.redirect_uri();
    let wish = ClientPreferences {
        redirect_uri: Some(&redirect_uri),
        scopes: &scopes,
        grant: Grant::AuthorizationCode,
        now: unix_seconds(),
    };
    let client = registration::obtain_client(means.http, means.settings, found, known, wish).await?;
    let login = LoginFlow::new(means, found, client, scopes)?;
    login.token_endpoint()?;
    let pkce = Pkce::generate()?;
    means.user.register_secret(&pkce.verifier);
    let request = AuthorizationRequest {
        endpoint: endpoint.to_owned(),
        client_id: login.client.id.clone(),
        redirect_uri: redirect_uri.clone(),
        code_challenge: pkce.challenge.clone(),
        state: crypto::random_token()?,
        resource: found.resource.clone(),
        scopes: login.scopes.clone(),
        issuer: found.authorization_server.issuer.clone(),
        expects_iss: found.authorization_server.authorization_response_iss_parameter_supported,
    };
    let code = with_login_timeout(&means, &login, obtain_code(&means, loopback, &request)).await?;
    means.user.register_secret(&code);
    let form = vec![
        ("grant_type", "authorization_code".to_owned()),
        ("code", code.reveal().to_owned()),
        ("redirect_uri", redirect_uri),
        ("code_verifier", pkce.verifier.reveal().to_owned()),
    ];
    match login.request_token(form).await? {
        Ok(granted) => login.into_credentials(granted),
        Err(denied) => Err(login.token_failure(&denied)),
    }
}

/// The configured port; else the one that an earlier registration names, if it is free; else any.
async fn bind_listener(means: &FlowContext<'_>, known: Option<&Credentials>) -> Result<RedirectListener> {
    if means.settings.redirect_port.is_some() {
        return RedirectListener::bind(means.settings.redirect_port).await;
    }
    let registered = known.map(|record| &record.client).filter(|client| client.origin == ClientOrigin::Registered);
    RedirectListener::bind_preferred(registered.and_then(|client| loopback_port(client.redirect_uri.as_deref()?))).await
}

/// Sends the person to the page, and waits for the code.
async fn obtain_code(
    means: &FlowContext<'_>,
    loopback: RedirectListener,
    request: &AuthorizationRequest,
) -> Result<Secret> {
    let url = checked_browser_url(means.http, &request.url()).await?;
    let ignored = |why: &Failure| {
        means.user.warn(&format!("something else than the answer came, and is ignored: {why}"));
    };
    match means.browser {
        BrowserMode::Manual => {
            means.user.show(&format!("Log in to {} in a browser:\n\n  {url}\n", means.target_name));
            let prompt = "Paste the address to which the browser was redirected (the page itself may not open):";
            let carried = async {
                let text = means.user.prompt_line(prompt).await?;
                means.user.register_secret(&Secret::new(text.trim()));
                request.verify_response(pasted_query(&text)?)
            };
            tokio::select! {
                code = carried => code,
                code = loopback.wait_for_code(request, ignored) => code,
            }
        }
        BrowserMode::Launch => {
            means.user.show(&format!(
                "Opening a browser to log in to {}; if it does not open, go to:\n\n  {url}\n",
                means.target_name
            ));
            let opened = async {
                if let Err(failure) = means.user.open_browser(&url).await {
                    let elsewhere = format!("ith a browser on another machine: {} --no-browser", means.login_command);
                    if !means.has_terminal {
                        // Nobody reads where the page is: it would be waited for in vain.
                        let details = failure.details();
                        let mut failure = Failure::new(ErrorKind::Auth, details.message.clone());
                        failure.details_mut().causes.clone_from(&details.causes);
                        return Err(failure.hint(format!("w{elsewhere}")));
                    }
                    means.user.show(&format!("The browser could not be opened: {failure}.\nW{elsewhere}\n"));
                }
                std::future::pending().await
            };
            tokio::select! {
                code = loopback.wait_for_code(request, ignored) => code,
                code = opened => code,
            }
        }
    }
}

/// Waits for a person, but not for ever.
async fn with_login_timeout<T>(
    means: &FlowContext<'_>,
    login: &LoginFlow<'_>,
    waiting: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(means.timeout, waiting).await.unwrap_or_else(|_| {
        let failure =
            Failure::new(ErrorKind::Timeout, format!("nobody logged in within {} s", means.timeout.as_secs()));
        Err(match login.client.origin {
            ClientOrigin::Registered => failure.hint(format!(
                "if the page did not know mcpipe, forget the registration first: {}",
                means.logout_command
            )),
            _ => {
                failure.hint("check that the redirect URI http://127.0.0.1:PORT/callback is registered for the client")
            }
        })
    })
}
