//! How commands obtain credentials: the store, the token provider of a target, and the user at the terminal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::auth::bearer::{self, BearerProvider, CiVariables};
use crate::auth::credentials::LoginOwner;
use crate::auth::http_client::{OAuthHttpClient, ResponseLimits};
use crate::auth::store::{self, CredentialStore, StoreChoice, StorePaths};
use crate::auth::{BrowserMode, LOGIN_TIMEOUT, LoginContext, OAuthSettings, TokenProvider, UserInteraction};
use crate::browser;
use crate::commands::client_features;
use crate::commands::context::Context;
use crate::config::Config;
use crate::config::bearer::BearerSource;
use crate::env::{self, Environment};
use crate::error::{ErrorKind, Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::Ui;
use crate::secret::Secret;
use crate::target::Target;
use crate::transport::BoxFuture;
use crate::util::lock::lock;
use crate::util::when::When;
use url::Url;

/// How to log in to a target.
#[derive(Clone, Debug)]
pub struct LoginOptions {
    /// Whether to start a login when the server requires one.
    pub mode: When,
    /// How the user gets to the login page.
    pub browser: BrowserMode,
    /// How long the user has to log in.
    pub timeout: Duration,
    /// Log in even if valid tokens are stored.
    pub force: bool,
    /// The settings to use instead of the configuration.
    pub settings: Option<OAuthSettings>,
    /// The options of `auth login`, which hints repeat.
    pub words: Vec<String>,
}

impl Default for LoginOptions {
    fn default() -> Self {
        LoginOptions {
            mode: When::Auto,
            browser: BrowserMode::Launch,
            timeout: LOGIN_TIMEOUT,
            force: false,
            settings: None,
            words: Vec::new(),
        }
    }
}

impl Context {
    /// Whether to start a login when a server requires one: `--login`, else `MCPIPE_LOGIN`. If the command does not
    /// need this server in particular, `auto` means never.
    #[must_use]
    pub fn login_mode(&self, awaited: bool) -> When {
        let variable = || {
            let word = self.env.get(env::LOGIN)?;
            let login = When::parse(word);
            if login.is_none() {
                self.ui.warn(&format!("invalid {} '{word}'; use auto, always or never", env::LOGIN));
            }
            login
        };
        match self.global.login.or_else(variable).unwrap_or_default() {
            When::Auto if !awaited => When::Never,
            login => login,
        }
    }

    /// The token provider of a target; `None` if it needs none: a process has its environment (`AUT-01`), and a
    /// configured `Authorization` header is sent as it is.
    ///
    /// # Errors
    /// If the trace file cannot be written.
    pub fn token_provider(&self, target: &Target, entry: LoginOptions) -> Result<Option<TokenProvider>> {
        let Some(endpoint) = target.endpoint.http_endpoint() else { return Ok(None) };
        if target.has_own_credentials() {
            return Ok(None);
        }
        let settings = entry.settings.unwrap_or_else(|| target.auth.clone());
        // A request does not get more time than the whole login.
        let limits = ResponseLimits::default();
        let limits = ResponseLimits { timeout: limits.timeout.min(entry.timeout), ..limits };
        let login_context = LoginContext {
            http: OAuthHttpClient::new(&endpoint, self.connect_timeout(target), limits, self.trace()?),
            user: self.terminal_user(),
            target_name: target.name.clone(),
            login_command: target
                .command_line("auth login", &entry.words.iter().map(String::as_str).collect::<Vec<_>>()),
            logout_command: target.command_line("auth logout", &[]),
            owner: login_owner(target, &settings),
            configured: target.auth.clone(),
            login_mode: entry.mode,
            has_terminal: self.ui.terminal().is_interactive() && !self.global.no_input,
            browser: entry.browser,
            timeout: entry.timeout,
            force_login: entry.force,
        };
        let store = self.credential_store(target.credential_store.as_deref())?;
        Ok(Some(TokenProvider::new(login_context, settings, store)))
    }

    /// The provider of the configured bearer token that changes, if the target has one and no other credentials.
    ///
    /// # Errors
    /// If the trace file cannot be written.
    pub fn bearer_provider(&self, target: &Target) -> Result<Option<BearerProvider>> {
        let (Some(source), Some(endpoint)) = (&target.bearer, target.endpoint.http_endpoint()) else { return Ok(None) };
        let http =
            OAuthHttpClient::new(&endpoint, self.connect_timeout(target), ResponseLimits::default(), self.trace()?);
        let variables = CiVariables {
            github_url: self.env.get(env::ACTIONS_ID_TOKEN_REQUEST_URL).map(str::to_owned),
            github_token: self.env.get(env::ACTIONS_ID_TOKEN_REQUEST_TOKEN).map(Secret::new),
            gitlab_url: self.env.get(env::CI_SERVER_URL).map(str::to_owned),
            values: match source {
                BearerSource::GitLabOidc(_) => {
                    let values = self.env.iter().map(|(_, value)| value);
                    values.filter(|value| bearer::is_jwt(value)).map(Secret::new).collect()
                }
                _ => Vec::new(),
            },
        };
        let name = target.name.clone();
        Ok(Some(BearerProvider::new(source.clone(), name, variables, http, self.terminal_user())))
    }

    /// The store of this choice; without one, that of servers that are not configured, which reads the user's choice
    /// from the configuration when something is stored.
    ///
    /// # Errors
    /// None at present.
    pub fn credential_store(&self, choice: Option<&str>) -> Result<Arc<dyn CredentialStore>> {
        let mut stores = lock(&self.credential_stores.0);
        let choice = choice.map(str::to_owned);
        if let Some(store) = stores.get(&choice) {
            return Ok(store.clone());
        }
        let is_interactive = self.ui.terminal().is_interactive() && !self.global.no_input;
        let ui = self.ui.clone();
        let notifier: store::Notifier = Arc::new(move |text| ui.note(text));
        let store = match (store_locations(&self.env, is_interactive), choice.as_deref()) {
            (None, _) => store::null_store(),
            (Some(places), Some(choice)) => store::open(parse_store_choice(choice), &places, notifier),
            (Some(places), None) => {
                let (env, config_file) = (self.env.clone(), self.global.config.clone());
                store::open_deferred(places, notifier, move || {
                    // A broken configuration does not prevent storing a login.
                    let (config, _) = Config::load_lenient(&env, config_file.as_deref());
                    parse_store_choice(config.defaults.credential_store.as_deref().unwrap_or_default())
                })
            }
        };
        stores.insert(choice, store.clone());
        Ok(store)
    }

    /// The user of this run.
    #[must_use]
    fn terminal_user(&self) -> Arc<dyn UserInteraction> {
        Arc::new(TerminalUser {
            ui: self.ui.clone(),
            interrupt: self.interrupt.clone(),
            env: self.env.clone(),
            may_ask: !self.global.no_input,
        })
    }
}

/// The value of `credential_store`.
fn parse_store_choice(choice: &str) -> StoreChoice {
    match choice {
        "keyring" => StoreChoice::Keyring,
        "file" => StoreChoice::File,
        _ => StoreChoice::Auto,
    }
}

/// The locations of the stores; `None` if there is neither a home directory nor a file that the user named.
fn store_locations(env: &Environment, is_interactive: bool) -> Option<StorePaths> {
    let credentials_file: Option<PathBuf> = env.get(env::CREDENTIALS_FILE).map(|path| env.expand_tilde(path).into());
    // Without a home directory, locks are stored next to the file.
    let beside = || credentials_file.as_ref()?.parent().map(Path::to_owned);
    Some(StorePaths {
        data_dir: env.data_dir().or_else(beside)?,
        state_dir: env.state_dir().or_else(beside)?,
        credentials_file: credentials_file.clone(),
        is_interactive,
    })
}

/// Whose login a login to this target is.
#[must_use]
pub fn login_owner(target: &Target, settings: &OAuthSettings) -> LoginOwner {
    LoginOwner {
        config_name: target.is_configured.then(|| target.name.clone()),
        client_id: settings.client_id.clone().filter(|_| !target.is_configured),
    }
}

/// The user at the terminal, if there is one.
struct TerminalUser {
    ui: Arc<Ui>,
    interrupt: Interrupt,
    env: Arc<Environment>,
    may_ask: bool,
}

impl UserInteraction for TerminalUser {
    fn show(&self, text: &str) {
        self.ui.prompt_text(text);
    }

    fn warn(&self, text: &str) {
        self.ui.warn(text);
    }

    fn warn_always(&self, text: &str) {
        self.ui.warn_always(text);
    }

    fn open_browser<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<()>> {
        Box::pin(browser::open(url, &self.env))
    }

    fn prompt_line<'a>(&'a self, prompt: &'a str) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move {
            let failed =
                |why: &str| Failure::new(ErrorKind::Auth, "the redirected URL was not pasted").cause(why.to_owned());
            if !self.may_ask {
                return Err(failed("--no-input disables prompts"));
            }
            let _quiet = self.ui.pause_progress();
            self.ui.prompt_text(prompt);
            let line = client_features::ask_line(&self.ui, &self.interrupt, "> ").await?;
            line.ok_or_else(|| failed("standard input ended"))
        })
    }

    fn register_secret(&self, secret: &Secret) {
        self.ui.redact(secret.reveal());
    }

    fn forget_secret(&self, secret: &Secret) {
        self.ui.forget_secret(secret.reveal());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn without_a_home_credentials_lie_in_the_file_that_is_named_or_nowhere() {
        let places = |variables: &[(&str, &str)]| {
            store_locations(&Environment::new(variables.iter().copied(), Path::new("/work")), false)
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
