//! Authorization code with PKCE: the user logs in with a browser (OAuth 2.1 §4.1; 2026-07-28, basic/authorization).

use std::future::Future;

use super::login_flow::{LoginFlow, LoginOutcome, checked_browser_url};
use crate::auth::authorization_request::AuthorizationRequest;
use crate::auth::clock::unix_seconds;
use crate::auth::credentials::{ClientOrigin, ClientRegistration, Credentials};
use crate::auth::crypto;
use crate::auth::crypto::Pkce;
use crate::auth::interaction::BrowserMode;
use crate::auth::login_context::{LoginContext, LoginRequest};
use crate::auth::redirect_listener::{RedirectListener, loopback_port};
use crate::auth::registration::{self, ClientUse};
use crate::auth::scopes;
use crate::config::oauth::{Grant, OAuthSettings};
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;

pub(super) async fn log_in(context: &LoginContext, request: LoginRequest<'_>) -> Result<LoginOutcome> {
    let LoginRequest { settings, discovery, known, .. } = request;
    let server = &discovery.authorization_server;
    let endpoint =
        server.authorization_endpoint.as_deref().ok_or_else(|| discovery.missing_endpoint("authorization endpoint"))?;
    checked_browser_url(&context.http, endpoint).await?;
    let scopes = scopes::with_offline_access(request.scopes.to_vec(), server);
    // The redirect URI is registered exactly as it will be used, so the port must be known first.
    let listener = bind_listener(settings, known).await?;
    let redirect_uri = listener.redirect_uri();
    let client_use = ClientUse {
        redirect_uri: Some(&redirect_uri),
        scopes: &scopes,
        grant: Grant::AuthorizationCode,
        now: unix_seconds(),
    };
    let client = registration::obtain_client(&context.http, request, client_use).await?;
    let login = LoginFlow::new(context, request, client, scopes)?;
    login.token_endpoint()?;
    let pkce = Pkce::generate()?;
    context.user.register_secret(&pkce.verifier);
    let page = AuthorizationRequest {
        endpoint: endpoint.to_owned(),
        client_id: login.client.id.clone(),
        redirect_uri: redirect_uri.clone(),
        code_challenge: pkce.challenge.clone(),
        state: crypto::random_token()?,
        resource: discovery.requested_resource.clone(),
        params: settings.params.clone(),
        scopes: login.scopes.clone(),
        issuer: server.issuer.clone(),
        declared_issuer: server.declared_issuer.clone(),
        expects_iss: server.authorization_response_iss_parameter_supported,
    };
    if login.is_client_reused && is_client_forgotten(context, &page).await {
        return Ok(LoginOutcome::ClientForgotten);
    }
    let code = with_login_timeout(&login, &redirect_uri, obtain_code(context, listener, &page)).await?;
    context.user.register_secret(&code);
    let form = vec![
        ("grant_type", "authorization_code".to_owned()),
        ("code", code.reveal().to_owned()),
        ("redirect_uri", redirect_uri),
        ("code_verifier", pkce.verifier.reveal().to_owned()),
    ];
    login.finish(form).await
}

/// Whether the login page rejects the client of an earlier login. The server does not redirect then (RFC 6749
/// §4.1.2.1), so that mcpipe would wait in vain. A page that mcpipe cannot fetch says nothing.
async fn is_client_forgotten(context: &LoginContext, page: &AuthorizationRequest) -> bool {
    matches!(context.http.status_of_page(&page.url()).await, Ok(400 | 401))
}

/// Binds the configured redirect URI; else the port of an earlier registration, if it is free; else any port.
async fn bind_listener(settings: &OAuthSettings, known: Option<&Credentials>) -> Result<RedirectListener> {
    if let Some(chosen) = settings.chosen_redirect() {
        return RedirectListener::bind(&chosen).await;
    }
    let port = |client: &ClientRegistration| loopback_port(client.redirect_uri.as_deref()?);
    let registered = known.into_iter().flat_map(Credentials::registered_clients).find_map(port);
    RedirectListener::bind_preferred(registered).await
}

/// Sends the user to the login page, and waits for the code.
async fn obtain_code(
    context: &LoginContext,
    listener: RedirectListener,
    request: &AuthorizationRequest,
) -> Result<Secret> {
    let (user, target_name) = (&context.user, &context.target_name);
    let url = checked_browser_url(&context.http, &request.url()).await?;
    let ignored = |why: &Failure| user.warn(&format!("ignored a response that does not belong to this login: {why}"));
    match context.browser {
        BrowserMode::Manual => {
            user.show(&format!("Log in to {target_name} in a browser:\n\n  {url}\n"));
            let pasted = paste_code(context, request);
            tokio::select! {
                code = pasted => code,
                code = listener.wait_for_code(request, ignored) => code,
            }
        }
        BrowserMode::Launch => {
            user.show(&format!(
                "Opening a browser to log in to {target_name}. If it does not open, go to:\n\n  {url}\n"
            ));
            let opened = async {
                if let Err(failure) = user.open_browser(&url).await {
                    let command = format!("{} --no-browser", context.login_command);
                    if !context.has_terminal {
                        // Without a terminal the user does not see the URL, so waiting would be in vain.
                        let details = failure.details();
                        let mut failure = Failure::new(ErrorKind::Auth, details.message.clone());
                        failure.details_mut().causes.clone_from(&details.causes);
                        return Err(failure.hint(format!("with a browser on another machine: {command}")));
                    }
                    user.show(&format!(
                        "Could not open a browser: {failure}.\nWith a browser on another machine: {command}\n"
                    ));
                }
                std::future::pending().await
            };
            tokio::select! {
                code = listener.wait_for_code(request, ignored) => code,
                code = opened => code,
            }
        }
    }
}

/// Asks for the redirected URL, a second time if what was pasted is not the response to this login.
async fn paste_code(context: &LoginContext, request: &AuthorizationRequest) -> Result<Secret> {
    let user = &context.user;
    let ask = async || {
        let prompt = "Paste the URL to which the browser was redirected (the page itself may fail to load):";
        let text = user.prompt_line(prompt).await?;
        user.register_secret(&Secret::new(text.trim()));
        Ok::<_, Failure>(text)
    };
    let text = ask().await?;
    let failure = match request.verify_pasted(&text) {
        Err(failure) if !request.matches_pasted(&text) => failure,
        verified => return verified,
    };
    user.warn(&format!("this is not the response to this login: {failure}"));
    match ask().await {
        Ok(text) => request.verify_pasted(&text),
        // The input ended.
        Err(_) => Err(failure),
    }
}

/// Waits for the user, but not longer than the login timeout.
async fn with_login_timeout<T>(
    login: &LoginFlow<'_>,
    redirect_uri: &str,
    waiting: impl Future<Output = Result<T>>,
) -> Result<T> {
    let timeout = login.context.timeout;
    tokio::time::timeout(timeout, waiting).await.unwrap_or_else(|_| {
        let failure =
            Failure::new(ErrorKind::Timeout, format!("the login was not finished within {} s", timeout.as_secs()));
        let page = match login.client.origin {
            ClientOrigin::Registered => {
                format!(
                    "if the page did not know mcpipe, remove the registration first: {}",
                    login.context.logout_command
                )
            }
            _ => {
                let fixed = login.settings.chosen_redirect().is_some_and(|chosen| chosen.port().is_some());
                let set = if fixed { "" } else { ", or set the registered one with --redirect-uri" };
                format!("check that the redirect URI {redirect_uri} is registered for the client{set}")
            }
        };
        let may_omit_resource = login.discovery.requested_resource.is_some() && login.settings.resource.is_none();
        Err(match may_omit_resource {
            true => failure.hint(format!(
                "{page}\nif it refused the parameter 'resource', omit it: {} --no-resource",
                login.context.login_command
            )),
            false => failure.hint(page),
        })
    })
}
