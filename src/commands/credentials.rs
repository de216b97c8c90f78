//! How commands come by credentials: the settings of a target, the store, and the person at the terminal.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Context, inputs};
use crate::auth::http::{Http, Limits};
use crate::auth::identity::Method;
use crate::auth::jwt::Algorithm;
use crate::auth::store::{self, Choice, Places, Store};
use crate::auth::{Browser, Gate, Grant, Login, Manner, PATIENCE, Person, Settings};
use crate::browser;
use crate::cli::LoginWhen;
use crate::env::{self, Environment};
use crate::error::{Class, Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::Ui;
use crate::secret::Secret;
use crate::target::Target;
use crate::transport::Boxed;
use url::Url;

/// The stores of a run, by choice; opened when they are first asked for.
#[derive(Default)]
pub struct Stores(Mutex<HashMap<String, Arc<dyn Store>>>);

/// How a target's credentials are to be treated.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When to log in on the spot.
    pub login: Login,
    /// Where the browser is.
    pub browser: Browser,
    /// How long a person has to log in.
    pub patience: Duration,
    /// Log in even where good tokens are stored.
    pub anew: bool,
    /// What the command line says in place of the configuration.
    pub settings: Option<Settings>,
}

impl Default for Entry {
    fn default() -> Self {
        Entry { login: Login::Auto, browser: Browser::Open, patience: PATIENCE, anew: false, settings: None }
    }
}

impl Context {
    /// When to log in on the spot: `--login`, else `MCPIPE_LOGIN`. Unless somebody waits for this very server,
    /// `auto` means never.
    #[must_use]
    pub fn login(&self, awaited: bool) -> Login {
        let named = match self.global.login {
            Some(LoginWhen::Auto) => Some(Login::Auto),
            Some(LoginWhen::Always) => Some(Login::Always),
            Some(LoginWhen::Never) => Some(Login::Never),
            None => None,
        };
        let variable = || {
            let word = self.env.get(env::LOGIN)?;
            let login = Login::parse(word);
            if login.is_none() {
                self.ui.warn(&format!("{} is '{word}', which is none of auto, always, never", env::LOGIN));
            }
            login
        };
        match named.or_else(variable).unwrap_or_default() {
            Login::Auto if !awaited => Login::Never,
            login => login,
        }
    }

    /// The credentials of a target; `None` where it needs none of ours: a process has its environment
    /// (`AUT-01`), and a configured `Authorization` header is what is to be sent.
    ///
    /// # Errors
    /// When the configured settings cannot be used.
    pub fn gate(&self, target: &Target, entry: Entry) -> Result<Option<Gate>> {
        let Some(endpoint) = target.endpoint.over_http() else { return Ok(None) };
        if sends_credentials(target) {
            return Ok(None);
        }
        let settings = match entry.settings {
            Some(settings) => settings,
            None => settings(target)?,
        };
        let manner = Manner {
            name: target.name.clone(),
            command: target.line("auth login", &[]),
            logout: target.line("auth logout", &[]),
            configured: target.configured.then(|| target.name.clone()),
            secret: target.auth.client_secret.clone(),
            login: entry.login,
            terminal: self.ui.terminal().interactive() && !self.global.no_input,
            browser: entry.browser,
            patience: entry.patience,
            anew: entry.anew,
        };
        // Who gives a login less time gives no single request more.
        let limits = Limits::default();
        let limits = Limits { time: limits.time.min(entry.patience), ..limits };
        let http = Http::new(&endpoint, self.connect_timeout(target), limits, self.trace()?);
        let store = self.store(target.credential_store.as_deref())?;
        Ok(Some(Gate::new(http, settings, manner, self.person(), store)))
    }

    /// The store of this choice.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn store(&self, choice: Option<&str>) -> Result<Arc<dyn Store>> {
        let choice = choice.unwrap_or("auto");
        let mut stores = self.stores.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(choice) {
            return Ok(store.clone());
        }
        let person = self.ui.terminal().interactive() && !self.global.no_input;
        let Some(places) = places(&self.env, person) else {
            let store: Arc<dyn Store> = store::nowhere().into();
            stores.insert(choice.to_owned(), store.clone());
            return Ok(store);
        };
        let parsed = match choice {
            "keyring" => Choice::Keyring,
            "file" => Choice::File,
            _ => Choice::Auto,
        };
        let ui = self.ui.clone();
        let store: Arc<dyn Store> = store::open(parsed, &places, Arc::new(move |text| ui.note(text)))?.into();
        stores.insert(choice.to_owned(), store.clone());
        Ok(store)
    }

    /// The person of this run.
    #[must_use]
    pub fn person(&self) -> Arc<dyn Person> {
        Arc::new(Someone {
            ui: self.ui.clone(),
            interrupt: self.interrupt.clone(),
            env: self.env.clone(),
            may_ask: !self.global.no_input,
        })
    }
}

/// The places for credentials; `None` where there is neither a home nor a file that the user names.
fn places(env: &Environment, person: bool) -> Option<Places> {
    let credentials_file: Option<PathBuf> = env.get(env::CREDENTIALS_FILE).map(|path| env.expand_tilde(path).into());
    // Without a home, what must be shared with other processes lies beside the file.
    let beside = || credentials_file.as_ref()?.parent().map(Path::to_owned);
    Some(Places {
        data_dir: env.data_dir().or_else(beside)?,
        state_dir: env.state_dir().or_else(beside)?,
        credentials_file: credentials_file.clone(),
        person,
    })
}

/// Whether the target sends credentials of its own, which the user configured.
#[must_use]
pub fn sends_credentials(target: &Target) -> bool {
    target.endpoint.over_http().is_some_and(|endpoint| {
        !endpoint.url.username().is_empty()
            || endpoint.headers.iter().any(|(name, _)| name.trim().eq_ignore_ascii_case("authorization"))
    })
}

/// What the configuration says about logging in.
///
/// # Errors
/// [`Class::Config`] for a word that is none of those that are possible.
pub fn settings(target: &Target) -> Result<Settings> {
    fn word<T>(
        text: Option<&String>,
        key: &str,
        target: &Target,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(text) = text else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| {
            Failure::new(Class::Config, format!("'{key}' of '{}' cannot be '{text}'", target.name))
                .hint(target.config_line("check"))
        })
    }
    let auth = &target.auth;
    Ok(Settings {
        client_id: auth.client_id.clone(),
        client_secret: auth.client_secret.clone(),
        scopes: auth.scopes.clone(),
        grant: word(auth.grant.as_ref(), "grant", target, Grant::parse)?.unwrap_or_default(),
        issuer: auth.issuer.clone(),
        client_metadata_url: auth.client_metadata_url.clone(),
        redirect_port: auth.redirect_port,
        token_endpoint_auth_method: word(
            auth.token_endpoint_auth_method.as_ref(),
            "token_endpoint_auth_method",
            target,
            Method::parse,
        )?,
        private_key_file: auth.private_key_file.clone(),
        signing_algorithm: word(auth.signing_algorithm.as_ref(), "signing_algorithm", target, Algorithm::parse)?,
        assertion_file: auth.assertion_file.clone(),
        idp_token_endpoint: auth.idp_token_endpoint.clone(),
        idp_client_id: auth.idp_client_id.clone(),
        id_token_file: auth.id_token_file.clone(),
        dpop: auth.dpop,
        allow_unadvertised_pkce: auth.allow_unadvertised_pkce,
    })
}

/// Whoever sits at the terminal, or nobody.
struct Someone {
    ui: Arc<Ui>,
    interrupt: Interrupt,
    env: Arc<Environment>,
    may_ask: bool,
}

impl Person for Someone {
    fn say(&self, text: &str) {
        self.ui.say(text);
    }

    fn warn(&self, text: &str) {
        self.ui.warn(text);
    }

    fn open<'a>(&'a self, url: &'a Url) -> Boxed<'a, Result<()>> {
        Box::pin(browser::open(url, &self.env))
    }

    fn ask<'a>(&'a self, prompt: &'a str) -> Boxed<'a, Result<String>> {
        Box::pin(async move {
            let nobody = |why: &str| Failure::new(Class::Auth, "nobody carried the login back").cause(why.to_owned());
            if !self.may_ask {
                return Err(nobody("--no-input forbids to ask"));
            }
            let _quiet = self.ui.pause_progress();
            self.ui.say(prompt);
            let line = inputs::line(&self.ui, &self.interrupt, "> ").await?;
            line.ok_or_else(|| nobody("standard input ended"))
        })
    }

    fn hide(&self, secret: &Secret) {
        self.ui.hide(secret.reveal());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn without_a_home_credentials_lie_in_the_file_that_is_named_or_nowhere() {
        let places = |variables: &[(&str, &str)]| {
            places(&Environment::new(variables.iter().copied(), Path::new("/work")), false)
        };
        assert!(places(&[]).is_none());
        let named = places(&[(env::CREDENTIALS_FILE, "/ci/credentials")]).unwrap();
        assert_eq!(named.credentials_file.unwrap(), Path::new("/ci/credentials"));
        assert_eq!(named.state_dir, Path::new("/ci"));
        let home = places(&[("HOME", "/home/ada"), (env::CREDENTIALS_FILE, "~/c")]).unwrap();
        assert_eq!(home.credentials_file.unwrap(), Path::new("/home/ada/c"));
        let state = if cfg!(windows) { "AppData/Local" } else { ".local/state" };
        assert_eq!(home.state_dir, Path::new("/home/ada").join(state).join("mcpipe"));
    }
}
