//! Logins against a scripted authorization server.

#![allow(clippy::unwrap_used)]

mod http_client;
mod provider;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use url::Url;

use super::testing::{self, AuthTestRequest, AuthTestResponse, AuthTestServer, TestUser, UserAction};
use super::{BrowserMode, LOGIN_TIMEOUT, LoginContext, OAuthSettings, TokenProvider};
use crate::auth::credentials::Credentials;
use crate::auth::store::CredentialStore;
use crate::error::Failure;
use crate::secret::Secret;
use crate::transport::{Authorize, UnexpectedResponse};
use crate::util::when::When;

/// A server at `/mcp` and its authorization server, on one origin.
pub struct AuthTestEnv {
    pub server: AuthTestServer,
    pub script: Arc<AuthServerScript>,
    pub dir: tempfile::TempDir,
    pub store: Arc<dyn CredentialStore>,
    /// The last `Authorization` header of [`AuthTestEnv::authorization_header`].
    pub last_sent: Mutex<Option<Secret>>,
}

/// How the authorization server behaves.
#[derive(Default)]
pub struct AuthServerScript {
    /// Laid over the metadata.
    pub metadata: Mutex<Value>,
    /// How many access tokens were issued; their number is in their name.
    pub issued: AtomicUsize,
    /// How long tokens live, in seconds; where 0, the server does not say.
    pub lifetime_secs: AtomicUsize,
    /// What the token endpoint answers to a refresh, in place of tokens.
    pub refresh_error: Mutex<Option<(u16, Value)>>,
    /// No refresh token comes with a login.
    pub omits_refresh_token: AtomicBool,
}

impl AuthServerScript {
    fn respond(&self, origin: &str, asked: &AuthTestRequest) -> AuthTestResponse {
        let path = asked.path.split('?').next().unwrap_or_default();
        match (asked.method.as_str(), path) {
            ("GET", "/.well-known/oauth-protected-resource/mcp") => AuthTestResponse::json(
                200,
                &json!({"resource": format!("{origin}/mcp"), "authorization_servers": [origin], "scopes_supported": ["a", "b"]}),
            ),
            ("GET", "/.well-known/oauth-authorization-server") => AuthTestResponse::json(200, &self.metadata(origin)),
            ("POST", "/register") => AuthTestResponse::json(201, &json!({"client_id": "registered"})),
            ("GET", "/authorize") => {
                let query: std::collections::HashMap<_, _> =
                    Url::parse(&format!("http://h{}", asked.path)).unwrap().query_pairs().into_owned().collect();
                let back = format!("{}?code=c0de&state={}", query["redirect_uri"], query["state"]);
                AuthTestResponse::status(302).with_header("location", &back)
            }
            ("POST", "/token") => self.token_response(asked),
            _ => AuthTestResponse::status(404),
        }
    }

    fn metadata(&self, origin: &str) -> Value {
        let mut all = json!({
            "issuer": origin,
            "authorization_endpoint": format!("{origin}/authorize"),
            "token_endpoint": format!("{origin}/token"),
            "registration_endpoint": format!("{origin}/register"),
            "code_challenge_methods_supported": ["S256"],
        });
        for (name, value) in self.metadata.lock().unwrap().as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        all
    }

    /// Refresh tokens rotate: only the newest is good.
    fn token_response(&self, asked: &AuthTestRequest) -> AuthTestResponse {
        let form = asked.form();
        if form["grant_type"] == "refresh_token" {
            if let Some((status, body)) = &*self.refresh_error.lock().unwrap() {
                return AuthTestResponse::json(*status, body);
            }
            let good = format!("refresh-{}", self.issued.load(Ordering::SeqCst));
            if form["refresh_token"] != good {
                return AuthTestResponse::json(
                    400,
                    &json!({"error": "invalid_grant", "error_description": "used before"}),
                );
            }
        }
        let number = self.issued.fetch_add(1, Ordering::SeqCst) + 1;
        let mut answer = json!({"access_token": format!("access-{number}"), "token_type": "Bearer"});
        if form["grant_type"] == "refresh_token" || !self.omits_refresh_token.load(Ordering::SeqCst) {
            answer["refresh_token"] = format!("refresh-{number}").into();
        }
        match self.lifetime_secs.load(Ordering::SeqCst) {
            0 => {}
            life => answer["expires_in"] = life.into(),
        }
        AuthTestResponse::json(200, &answer)
    }
}

impl AuthTestEnv {
    pub async fn new() -> Self {
        let script = Arc::new(AuthServerScript::default());
        let shared = script.clone();
        let fake = AuthTestServer::start(|origin| {
            let origin = origin.to_owned();
            move |asked: &AuthTestRequest| shared.respond(&origin, asked)
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        let store = testing::file_store(dir.path());
        AuthTestEnv { server: fake, script, dir, store, last_sent: Mutex::default() }
    }

    pub async fn logged_in() -> Self {
        let world = AuthTestEnv::new().await;
        world.log_in().await;
        world
    }

    pub fn url(&self) -> Url {
        self.server.url("/mcp")
    }

    /// Another run of mcpipe: nothing is shared but the file.
    pub fn provider(&self, login: When, person: &Arc<TestUser>) -> TokenProvider {
        self.provider_with(OAuthSettings::default(), login, person)
    }

    pub fn provider_with(&self, settings: OAuthSettings, login: When, person: &Arc<TestUser>) -> TokenProvider {
        let context = LoginContext {
            http: testing::http_client(self.url()),
            user: person.clone(),
            target_name: "srv".into(),
            login_command: "mcpipe auth login srv".into(),
            logout_command: "mcpipe auth logout srv".into(),
            owner: crate::auth::credentials::LoginOwner { config_name: Some("srv".into()), client_id: None },
            configured: OAuthSettings::default(),
            login_mode: login,
            has_terminal: false,
            browser: BrowserMode::Launch,
            timeout: LOGIN_TIMEOUT,
            force_login: false,
        };
        let store = testing::file_store(self.dir.path());
        TokenProvider::new(context, settings, store)
    }

    /// A login by a person with a browser.
    pub async fn log_in(&self) {
        let person = TestUser::new(UserAction::LogIn);
        assert!(self.provider(When::Always, &person).handle_rejection(None, &self.refusal(401, BEARER)).await.unwrap());
    }

    pub fn refusal(&self, status: u16, challenge: &str) -> UnexpectedResponse {
        UnexpectedResponse {
            url: self.url().into(),
            status,
            content_type: None,
            challenges: vec![challenge.to_owned()],
            retry_after: None,
            location: None,
            dpop_nonce: None,
            remote_ip: None,
            body: String::new(),
            had_session_id: false,
        }
    }

    pub async fn stored_credentials(&self) -> Option<Credentials> {
        let about = self.store.list().unwrap().pop()?;
        self.store.get(&about.key).await.unwrap().map(|secret| Credentials::from_stored(&secret).unwrap())
    }

    /// Lets the stored tokens expire.
    pub async fn expire_tokens(&self) {
        let mut credentials = self.stored_credentials().await.unwrap();
        let tokens = credentials.tokens.as_mut().unwrap();
        tokens.expires_at = Some(tokens.obtained_at);
        let stored = credentials.to_stored().unwrap();
        self.store.put(&credentials.store_key(), &credentials.summary(None), &stored).await.unwrap();
    }

    /// What was granted, by kind, in order.
    pub fn grant_types(&self) -> Vec<String> {
        let tokens = self.server.requests().into_iter().filter(|asked| asked.path == "/token");
        tokens.map(|asked| asked.form()["grant_type"].clone()).collect()
    }

    pub async fn authorization_header(&self, gate: &TokenProvider) -> Option<String> {
        let sent = authorization_header(gate, &self.url()).await.unwrap();
        *self.last_sent.lock().unwrap() = sent.clone().map(Secret::new);
        sent
    }

    /// The server refuses the request with that header.
    pub async fn reject(&self, gate: &TokenProvider, refusal: &UnexpectedResponse) -> Result<bool, Failure> {
        let sent = self.last_sent.lock().unwrap().clone();
        gate.handle_rejection(sent.as_ref(), refusal).await
    }
}

pub const BEARER: &str = "Bearer";

/// The `Authorization` header of a request.
pub async fn authorization_header(gate: &TokenProvider, url: &Url) -> Result<Option<String>, Failure> {
    let headers = gate.headers("POST", url).await?;
    Ok(headers.into_iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.reveal().to_owned()))
}
