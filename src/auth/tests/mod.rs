//! Logins against a scripted authorization server.

#![allow(clippy::unwrap_used)]

mod discovery;
mod flows;
mod gate;
mod http;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::testing::{self, Asked, Does, Fake, Somebody, Told};
use super::{Browser, Gate, Login, Manner, PATIENCE, Settings};
use crate::auth::record::Record;
use crate::auth::store::Store;
use crate::error::Failure;
use crate::transport::{Authorize, Refusal};

/// A server at `/mcp` and its authorization server, on one origin.
pub struct World {
    pub fake: Fake,
    pub script: Arc<Script>,
    pub dir: tempfile::TempDir,
    pub store: Arc<dyn Store>,
}

/// How the authorization server behaves.
#[derive(Default)]
pub struct Script {
    /// Laid over the metadata.
    pub metadata: Mutex<Value>,
    /// How many access tokens were issued; their number is in their name.
    pub issued: AtomicUsize,
    /// How long tokens live, in seconds; where 0, the server does not say.
    pub life: AtomicUsize,
    /// What the token endpoint answers to a refresh, in place of tokens.
    pub denies: Mutex<Option<(u16, Value)>>,
    /// No new refresh token comes with a refresh.
    pub keeps: AtomicBool,
    /// How long the token endpoint thinks, in ms.
    pub thinks: AtomicUsize,
}

impl Script {
    fn answer(&self, origin: &str, asked: &Asked) -> Told {
        let path = asked.path.split('?').next().unwrap_or_default();
        match (asked.method.as_str(), path) {
            ("GET", "/.well-known/oauth-protected-resource/mcp") => Told::json(
                200,
                &json!({"resource": format!("{origin}/mcp"), "authorization_servers": [origin], "scopes_supported": ["a", "b"]}),
            ),
            ("GET", "/.well-known/oauth-authorization-server") => Told::json(200, &self.metadata(origin)),
            ("POST", "/register") => Told::json(201, &json!({"client_id": "registered"})),
            ("GET", "/authorize") => {
                let query: std::collections::HashMap<_, _> =
                    Url::parse(&format!("http://h{}", asked.path)).unwrap().query_pairs().into_owned().collect();
                let back = format!("{}?code=c0de&state={}", query["redirect_uri"], query["state"]);
                Told::status(302).header("location", &back)
            }
            ("POST", "/token") => {
                self.token(asked).after(Duration::from_millis(self.thinks.load(Ordering::SeqCst) as u64))
            }
            ("POST", "/device") => Told::json(
                200,
                &json!({"device_code": "dev", "user_code": "ABCD-EFGH", "verification_uri": "https://as/device", "expires_in": 600, "interval": 1}),
            ),
            ("POST", "/revoke") => Told::status(200),
            _ => Told::status(404),
        }
    }

    fn metadata(&self, origin: &str) -> Value {
        let mut all = json!({
            "issuer": origin,
            "authorization_endpoint": format!("{origin}/authorize"),
            "token_endpoint": format!("{origin}/token"),
            "registration_endpoint": format!("{origin}/register"),
            "revocation_endpoint": format!("{origin}/revoke"),
            "device_authorization_endpoint": format!("{origin}/device"),
            "code_challenge_methods_supported": ["S256"],
        });
        for (name, value) in self.metadata.lock().unwrap().as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        all
    }

    /// Refresh tokens rotate: only the newest is good.
    fn token(&self, asked: &Asked) -> Told {
        let form = asked.form();
        if form["grant_type"] == "refresh_token" {
            if let Some((status, body)) = &*self.denies.lock().unwrap() {
                return Told::json(*status, body);
            }
            let good = format!("refresh-{}", self.issued.load(Ordering::SeqCst));
            if !self.keeps.load(Ordering::SeqCst) && form["refresh_token"] != good {
                return Told::json(400, &json!({"error": "invalid_grant", "error_description": "used before"}));
            }
        }
        let number = self.issued.fetch_add(1, Ordering::SeqCst) + 1;
        let mut answer = json!({"access_token": format!("access-{number}"), "token_type": "Bearer"});
        if form["grant_type"] != "refresh_token" || !self.keeps.load(Ordering::SeqCst) {
            answer["refresh_token"] = format!("refresh-{number}").into();
        }
        match self.life.load(Ordering::SeqCst) {
            0 => {}
            life => answer["expires_in"] = life.into(),
        }
        Told::json(200, &answer)
    }
}

impl World {
    pub async fn new() -> Self {
        let script = Arc::new(Script::default());
        let shared = script.clone();
        let fake = Fake::start(|origin| {
            let origin = origin.to_owned();
            move |asked: &Asked| shared.answer(&origin, asked)
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        let store = testing::store(dir.path());
        World { fake, script, dir, store }
    }

    pub fn url(&self) -> Url {
        self.fake.url("/mcp")
    }

    /// Another run of mcpipe: nothing is shared but the file.
    pub fn gate(&self, login: Login, person: &Arc<Somebody>) -> Gate {
        self.gate_with(Settings::default(), login, person)
    }

    pub fn gate_with(&self, settings: Settings, login: Login, person: &Arc<Somebody>) -> Gate {
        let manner = Manner {
            name: "srv".into(),
            command: "mcpipe auth login srv".into(),
            logout: "mcpipe auth logout srv".into(),
            configured: Some("srv".into()),
            secret: None,
            login,
            terminal: false,
            browser: if matches!(person.does, Does::Pastes(_)) { Browser::Elsewhere } else { Browser::Open },
            patience: PATIENCE,
            anew: false,
        };
        let store = testing::store(self.dir.path());
        Gate::new(testing::http(self.url()), settings, manner, person.clone(), store)
    }

    /// A login by a person with a browser.
    pub async fn logged_in(&self) {
        let person = Somebody::who(Does::LogsIn);
        assert!(self.gate(Login::Always, &person).refused(&self.refusal(401, BEARER)).await.unwrap());
    }

    pub fn refusal(&self, status: u16, challenge: &str) -> Refusal {
        Refusal {
            url: self.url().into(),
            status,
            content_type: None,
            challenges: vec![challenge.to_owned()],
            retry_after: None,
            location: None,
            dpop_nonce: None,
            peer: None,
            body: String::new(),
            in_session: false,
        }
    }

    pub async fn record(&self) -> Option<Record> {
        let about = self.store.list().unwrap().pop()?;
        self.store.get(&about.key).await.unwrap().map(|secret| Record::read(&secret).unwrap())
    }

    /// What was granted, by kind, in order.
    pub fn grants(&self) -> Vec<String> {
        let tokens = self.fake.seen().into_iter().filter(|asked| asked.path == "/token");
        tokens.map(|asked| asked.form()["grant_type"].clone()).collect()
    }

    pub async fn shown(&self, gate: &Gate) -> Option<String> {
        shown(gate, &self.url()).await.unwrap()
    }
}

pub const BEARER: &str = "Bearer";

/// The `Authorization` header of a request.
pub async fn shown(gate: &Gate, url: &Url) -> Result<Option<String>, Failure> {
    let headers = gate.headers("POST", url).await?;
    Ok(headers.into_iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.reveal().to_owned()))
}
