//! The parts of one login that its requests share.

use std::sync::atomic::{AtomicBool, Ordering};

use url::Url;

use crate::auth::client_auth::{ClientAuthentication, load_signing_key};
use crate::auth::clock::unix_seconds;
use crate::auth::credentials::{ClientOrigin, ClientRegistration, Credentials, TokenSet, server_id};
use crate::auth::crypto;
use crate::auth::discovery::DiscoveryResult;
use crate::auth::dpop::DpopKey;
use crate::auth::endpoint::{FormFields, OAuthEndpoint};
use crate::auth::http_client::OAuthHttpClient;
use crate::auth::jwt::JwtKey;
use crate::auth::login_context::{LoginContext, LoginRequest};
use crate::auth::registration::ObtainedClient;
use crate::auth::token_response::{OAuthError, RESOURCE_HINT, TokenResponse};
use crate::browser;
use crate::config::oauth::{ClientAuthMethod, Grant, OAuthSettings, ResourceParameter};
use crate::error::{ErrorKind, Failure, Result};
use crate::transport::BoxFuture;

/// How a login ended.
pub(super) enum LoginOutcome {
    /// The user is logged in.
    Done(Box<Credentials>),
    /// The authorization server no longer knows the client that was registered for an earlier login.
    ClientForgotten,
}

/// A login under way.
pub(super) struct LoginFlow<'a> {
    pub context: &'a LoginContext,
    pub settings: &'a OAuthSettings,
    pub discovery: &'a DiscoveryResult,
    pub client: ClientRegistration,
    /// Whether the client was registered for an earlier login.
    pub is_client_reused: bool,
    pub scopes: Vec<String>,
    signing_key: Option<JwtKey>,
    dpop_key: Option<DpopKey>,
    /// Whether the authorization server refused the resource and accepted a request without it.
    omits_resource: AtomicBool,
    /// Whether the client omits the secret with which it was registered.
    is_public: AtomicBool,
}

impl<'a> LoginFlow<'a> {
    pub fn new(
        context: &'a LoginContext,
        LoginRequest { settings, discovery, .. }: LoginRequest<'a>,
        client: ObtainedClient,
        scopes: Vec<String>,
    ) -> Result<Self> {
        let ObtainedClient { client, is_reused } = client;
        let signing_key = load_signing_key(settings, &client)?;
        let dpop_key =
            (settings.dpop.unwrap_or_default() || discovery.requires_dpop).then(DpopKey::generate).transpose()?;
        if let Some(secret) = &client.secret {
            context.user.register_secret(secret);
        }
        Ok(LoginFlow {
            context,
            settings,
            discovery,
            client,
            is_client_reused: is_reused,
            scopes,
            signing_key,
            dpop_key,
            omits_resource: AtomicBool::new(false),
            is_public: AtomicBool::new(false),
        })
    }

    pub fn token_endpoint(&self) -> Result<&'a str> {
        self.discovery
            .authorization_server
            .token_endpoint
            .as_deref()
            .ok_or_else(|| self.discovery.missing_endpoint("token endpoint"))
    }

    /// An endpoint of the authorization server; tokens from it are bound to `dpop_key`, if one is given.
    pub fn endpoint(&'a self, url: &'a str, dpop_key: Option<&'a DpopKey>) -> OAuthEndpoint<'a> {
        let issuer = &self.discovery.authorization_server.issuer;
        let mut client_auth = ClientAuthentication::new(&self.client, self.signing_key.as_ref(), issuer);
        if self.is_public.load(Ordering::Relaxed) {
            client_auth.method = ClientAuthMethod::None;
        }
        OAuthEndpoint { http: &self.context.http, url, client_auth, dpop_key, now: unix_seconds() }
    }

    /// Requests a token for the resource (`AUT-14`).
    pub async fn request_token(&self, form: FormFields) -> Result<Result<TokenResponse, OAuthError>> {
        let endpoint = self.token_endpoint()?;
        self.send_leniently(form, |form| {
            Box::pin(async move { self.endpoint(endpoint, self.dpop_key.as_ref()).request_token(form).await })
        })
        .await
    }

    /// Sends a request for the resource, and once more without what is refused.
    ///
    /// Some servers register a public client and return a secret that they then refuse, so it is omitted if it is
    /// refused.
    pub async fn send_leniently<'f, T>(
        &self,
        form: FormFields,
        send: impl Fn(FormFields) -> BoxFuture<'f, Result<Result<T, OAuthError>>>,
    ) -> Result<Result<T, OAuthError>> {
        let answer = self.send_with_resource(form.clone(), &send).await?;
        if let Err(error) = &answer
            && error.has_code("invalid_client")
            && self.may_be_public()
        {
            self.is_public.store(true, Ordering::Relaxed);
            let second = self.send_with_resource(form, &send).await?;
            if is_accepted(&second) {
                self.context
                    .http
                    .trace()
                    .note("the authorization server refuses the secret that it issued; it is omitted");
                return Ok(second);
            }
            self.is_public.store(false, Ordering::Relaxed);
        }
        Ok(answer)
    }

    /// Whether mcpipe asked to be registered as a public client, and got a secret all the same.
    fn may_be_public(&self) -> bool {
        let offered = &self.discovery.authorization_server.token_endpoint_auth_methods_supported;
        self.client.origin == ClientOrigin::Registered
            && self.client.secret.is_some()
            && self.settings.token_endpoint_auth_method.is_none()
            && offered.iter().flatten().any(|method| method == ClientAuthMethod::None.as_str())
    }

    /// Sends a request with the resource; and if that is refused, without it, where that is safe.
    async fn send_with_resource<'f, T>(
        &self,
        form: FormFields,
        send: &impl Fn(FormFields) -> BoxFuture<'f, Result<Result<T, OAuthError>>>,
    ) -> Result<Result<T, OAuthError>> {
        let resource =
            self.discovery.requested_resource.clone().filter(|_| !self.omits_resource.load(Ordering::Relaxed));
        let Some(resource) = resource else { return send(form).await };
        let answer = send([form.clone(), vec![("resource", resource)]].concat()).await?;
        if let Err(error) = &answer
            && error.may_be_about_resource()
            && self.may_omit_resource()
        {
            let second = send(form).await?;
            if is_accepted(&second) {
                self.omits_resource.store(true, Ordering::Relaxed);
                self.context.http.trace().note("the authorization server refuses 'resource'; it is omitted");
                return Ok(second);
            }
        }
        Ok(answer)
    }

    /// Whether a token that is requested without the resource is for this server all the same: the code is bound to the
    /// resource of the authorization request (RFC 8707 §2.2), or the authorization server is the server's own, or the
    /// user's choice. Otherwise a server could obtain tokens for others.
    fn may_omit_resource(&self) -> bool {
        let issuer = Url::parse(&self.discovery.authorization_server.issuer);
        self.settings.resource.is_none()
            && (self.settings.grant() == Grant::AuthorizationCode
                || self.settings.issuer.is_some()
                || issuer.is_ok_and(|issuer| issuer.origin() == self.context.http.server().origin()))
    }

    /// Requests the token that ends the login.
    pub async fn finish(self, form: FormFields) -> Result<LoginOutcome> {
        match self.request_token(form).await? {
            Ok(response) => self.into_credentials(response),
            Err(error) => self.refused(&error),
        }
    }

    pub fn scope_param(&self) -> Option<(&'static str, String)> {
        (!self.scopes.is_empty()).then(|| ("scope", self.scopes.join(" ")))
    }

    /// The credentials made of a token response.
    pub fn into_credentials(mut self, response: TokenResponse) -> Result<LoginOutcome> {
        let token_endpoint = self.token_endpoint()?.to_owned();
        response.register_secrets(&*self.context.user);
        response.warn_about_deviations(&*self.context.user);
        let server = &self.discovery.authorization_server;
        let offered = server.revocation_endpoint_auth_methods_supported.as_deref();
        if self.is_public.into_inner() {
            self.client.method = ClientAuthMethod::None;
        }
        Ok(LoginOutcome::Done(Box::new(Credentials {
            server: server_id(self.context.http.server()),
            owner: Some(self.context.owner.id()),
            logged_in_at: unix_seconds(),
            resource: self.discovery.resource.clone(),
            resource_parameter: match self.omits_resource.into_inner() {
                true => Some(ResourceParameter::Omitted),
                false => self.settings.resource.clone(),
            },
            issuer: server.issuer.clone(),
            token_endpoint,
            revocation_endpoint: server.revocation_endpoint.clone(),
            revocation_method: Some(self.client.method.for_revocation(self.client.secret.is_some(), offered)),
            unused_client: None,
            tokens: Some(TokenSet::from_response(response, &self.scopes, None, unix_seconds())),
            asked: self.scopes,
            login: crypto::random_token()?,
            settings: self.settings.clone(),
            client: self.client,
            dpop_key: self.dpop_key.map(|key| key.encoded().clone()),
        })))
    }

    /// The outcome of a login that an endpoint refused.
    ///
    /// # Errors
    /// The refusal, unless an earlier registration may be the reason.
    pub fn refused(&self, error: &OAuthError) -> Result<LoginOutcome> {
        // A client that was registered for another grant may not be allowed to use this one (RFC 6749 §5.2).
        let is_about_client = error.has_code("invalid_client") || error.has_code("unauthorized_client");
        match self.is_client_reused && is_about_client {
            true => Ok(LoginOutcome::ClientForgotten),
            false => Err(self.token_failure(error)),
        }
    }

    fn token_failure(&self, error: &OAuthError) -> Failure {
        let issuer = &self.discovery.authorization_server.issuer;
        let failure = error.to_failure(&format!("the authorization server {issuer} did not issue a token"));
        if error.may_be_about_resource() && self.discovery.requested_resource.is_some() {
            return failure.hint(RESOURCE_HINT);
        }
        if !error.has_code("invalid_client") {
            return failure;
        }
        match self.client.origin {
            ClientOrigin::Registered => failure.hint(format!(
                "try another method of client authentication: {} --token-endpoint-auth-method METHOD",
                self.context.login_command
            )),
            _ => failure.hint("check client_id and its secret or key, and token_endpoint_auth_method"),
        }
    }
}

/// Whether a request was accepted, although the user may still have to log in on another device.
fn is_accepted<T>(answer: &Result<T, OAuthError>) -> bool {
    answer.as_ref().err().is_none_or(OAuthError::is_about_device_login)
}

/// A page that the user may be sent to (`SEC-01`): a web page, and not in a network that the server itself is not in
/// (`SEC-02`).
pub(super) async fn checked_browser_url(http: &OAuthHttpClient, text: &str) -> Result<Url> {
    let refused = || Failure::new(ErrorKind::Auth, "the authorization server names a page that must not be opened");
    // The parser silently drops blanks and control characters, so what is shown would not be what is opened.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(refused().cause("its URL contains spaces or control characters"));
    }
    let url = browser::parse_page_url(text).map_err(|why| refused().cause(why))?;
    http.check_browser_url(&url).await?;
    Ok(url)
}
