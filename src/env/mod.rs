//! The environment of this process: every variable that mcpipe reads, and the one place that reads them.
//!
//! All other code gets an [`Environment`], so that tests can set variables, home and working directory, and nothing
//! depends on when a variable is read.

pub mod launchers;
pub mod missing_program;
pub mod programs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::util::home;

macro_rules! variables {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: &str = $text;)+

        /// Every variable that mcpipe itself reads, and its purpose; `docs/cli.md` lists them.
        pub const DOCUMENTED: &[(&str, &str)] = &[$(($text, concat!($($doc),+))),+];
    };
}

variables! {
    /// Use this configuration file instead of all others; `--config` overrides it.
    CONFIG = "MCPIPE_CONFIG";
    /// Whether to start a login when a server requires one: auto, always or never; `--login` overrides it.
    LOGIN = "MCPIPE_LOGIN";
    /// The registry of `config add NAME registry:NAME`, instead of the official one.
    REGISTRY = "MCPIPE_REGISTRY";
    /// Store credentials in this file instead of the keychain.
    CREDENTIALS_FILE = "MCPIPE_CREDENTIALS_FILE";
    /// Store cached server metadata in this directory.
    CACHE_DIR = "MCPIPE_CACHE_DIR";
    /// Set by the completion scripts: print candidates and do nothing else.
    COMPLETE = "MCPIPE_COMPLETE";
    /// The trace context that requests carry as `traceparent` in `_meta`.
    TRACEPARENT = "TRACEPARENT";
    /// The vendors' part of the trace context, sent as `tracestate`.
    TRACESTATE = "TRACESTATE";
    /// The properties of the trace context, sent as `baggage`.
    BAGGAGE = "BAGGAGE";
    /// Disables colors if set and not empty.
    NO_COLOR = "NO_COLOR";
    /// The type of terminal; `dumb` means no colors and no cursor movement.
    TERM = "TERM";
    /// The terminal program: shows whether it can show images.
    TERM_PROGRAM = "TERM_PROGRAM";
    /// Set by kitty, which can show images.
    KITTY_WINDOW_ID = "KITTY_WINDOW_ID";
    /// `iTerm2` if that is the terminal, also on other machines over SSH.
    LC_TERMINAL = "LC_TERMINAL";
    /// The width of the terminal, if the terminal does not report it.
    COLUMNS = "COLUMNS";
    /// The program that opens a URL.
    BROWSER = "BROWSER";
    /// The X11 display. Without a display, no browser is opened unless `BROWSER` is set.
    DISPLAY = "DISPLAY";
    /// The Wayland display.
    WAYLAND_DISPLAY = "WAYLAND_DISPLAY";
    /// Set under WSL: open URLs in the Windows browser.
    WSL_DISTRO_NAME = "WSL_DISTRO_NAME";
    /// The editor of `config edit`, first choice.
    VISUAL = "VISUAL";
    /// The editor of `config edit`, second choice.
    EDITOR = "EDITOR";
    /// The home directory.
    HOME = "HOME";
    /// The working directory; a value that is not its path is replaced by it.
    PWD = "PWD";
    /// The directories in which programs are looked up.
    PATH = "PATH";
    /// Configuration is stored in its `mcpipe/` subdirectory.
    XDG_CONFIG_HOME = "XDG_CONFIG_HOME";
    /// Credentials are stored in its `mcpipe/` subdirectory.
    XDG_DATA_HOME = "XDG_DATA_HOME";
    /// The list of trusted files is stored in its `mcpipe/` subdirectory.
    XDG_STATE_HOME = "XDG_STATE_HOME";
    /// Cached server metadata is stored in its `mcpipe/` subdirectory.
    XDG_CACHE_HOME = "XDG_CACHE_HOME";
    /// Sessions have their sockets in its `mcpipe/` subdirectory; also, the keychain may have its D-Bus socket there.
    XDG_RUNTIME_DIR = "XDG_RUNTIME_DIR";
    /// Without `XDG_RUNTIME_DIR`, sessions have their sockets in its subdirectory `mcpipe-UID`.
    TMPDIR = "TMPDIR";
    /// Where GitHub Actions issues the ID tokens of `bearer = "github-oidc:…"`.
    ACTIONS_ID_TOKEN_REQUEST_URL = "ACTIONS_ID_TOKEN_REQUEST_URL";
    /// The token for requests to `ACTIONS_ID_TOKEN_REQUEST_URL`.
    ACTIONS_ID_TOKEN_REQUEST_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
    /// The GitLab instance that issues the ID tokens of `bearer = "gitlab-oidc:…"`.
    CI_SERVER_URL = "CI_SERVER_URL";
    /// The proxy for `https` URLs; `https_proxy` is read too. Not used for requests to this machine, such as
    /// to `localhost`: for these, only `--proxy` and the key `proxy` apply.
    HTTPS_PROXY = "HTTPS_PROXY";
    /// The proxy for `http` URLs; `HTTP_PROXY` is read too. Not used for requests to this machine, such as
    /// to `localhost`: for these, only `--proxy` and the key `proxy` apply.
    HTTP_PROXY = "http_proxy";
    /// The proxy for every URL; `all_proxy` is read too. Not used for requests to this machine, such as to
    /// `localhost`: for these, only `--proxy` and the key `proxy` apply.
    ALL_PROXY = "ALL_PROXY";
    /// Hosts that are reached without a proxy; `no_proxy` is read too.
    NO_PROXY = "NO_PROXY";
    /// Trust the certificate authorities in this file instead of the system's.
    SSL_CERT_FILE = "SSL_CERT_FILE";
    /// Trust the certificate authorities in this directory instead of the system's.
    SSL_CERT_DIR = "SSL_CERT_DIR";
}

/// The prefix of mcpipe's own variables, which servers do not inherit.
pub const MCPIPE_PREFIX: &str = "MCPIPE_";

/// Variables, home directory and working directory.
#[derive(Clone, Default)]
pub struct Environment {
    // Searched linearly: a few look-ups cost less than building a map.
    variables: Vec<(String, String)>,
    home: Option<PathBuf>,
    cwd: Option<PathBuf>,
}

impl std::fmt::Debug for Environment {
    /// Names only: the values hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("home", &self.home)
            .field("cwd", &self.cwd)
            .finish()
    }
}

impl Environment {
    /// The environment of this process.
    ///
    /// Variables that are not valid Unicode are ignored: they cannot be expanded or passed on.
    #[must_use]
    pub fn from_process() -> Self {
        let mut variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let cwd = std::env::current_dir().ok();
        // As in a shell, PWD names the working directory, perhaps through links.
        if let Some((cwd, shown)) = cwd.as_deref().and_then(|cwd| Some((cwd, cwd.to_str()?))) {
            let names_cwd = |pwd: &str| {
                let path = Path::new(pwd);
                pwd == shown
                    || (path.is_absolute()
                        && path.canonicalize().is_ok_and(|path| cwd.canonicalize().is_ok_and(|cwd| cwd == path)))
            };
            if !variables.iter().any(|(name, value)| is_same_variable(name, PWD) && names_cwd(value)) {
                variables.retain(|(name, _)| !is_same_variable(name, PWD));
                variables.push((PWD.to_owned(), shown.to_owned()));
            }
        }
        Environment { variables, home: std::env::home_dir(), cwd }
    }

    /// A custom environment, for tests; `HOME` is the home directory.
    pub fn new<K: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (K, V)>, cwd: &Path) -> Self {
        // The last value of a name wins.
        let named: BTreeMap<String, String> =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let home = named.get(HOME).filter(|home| !home.is_empty()).map(PathBuf::from);
        Environment { variables: named.into_iter().collect(), home, cwd: Some(cwd.to_owned()) }
    }

    /// The value of a variable, `None` if it is unset or empty: for mcpipe's own settings.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_raw(name).filter(|value| !value.is_empty())
    }

    /// The value of a variable, which may be empty: for `${VAR}` and for children.
    #[must_use]
    pub fn get_raw(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(known, _)| is_same_variable(known, name)).map(|(_, value)| value.as_str())
    }

    /// A copy without one variable.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let mut other = self.clone();
        other.variables.retain(|(known, _)| !is_same_variable(known, name));
        other
    }

    /// A copy with only the variables whose values match.
    #[must_use]
    pub fn retain_values(&self, fits: impl Fn(&str) -> bool) -> Self {
        let mut other = self.clone();
        other.variables.retain(|(_, value)| fits(value));
        other
    }

    /// All variables, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// All variables, by name, as a filter sees them in `$ENV`.
    #[must_use]
    pub fn to_pairs(&self) -> Vec<(String, String)> {
        self.variables.clone()
    }

    /// The home directory, where there is one.
    #[must_use]
    pub fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// The working directory, unless it has been removed.
    #[must_use]
    pub fn cwd(&self) -> Option<&Path> {
        self.cwd.as_deref()
    }

    /// `~` and `~/…` with the tilde replaced by the home directory; anything else is unchanged.
    #[must_use]
    pub fn expand_tilde(&self, word: &str) -> String {
        let rest = match word.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with(std::path::is_separator) => rest,
            _ => return word.to_owned(),
        };
        match self.home().and_then(Path::to_str) {
            Some(home) => format!("{}{rest}", home.trim_end_matches(std::path::is_separator)),
            None => word.to_owned(),
        }
    }

    /// A path for messages: `~/…` below the home directory.
    #[must_use]
    pub fn abbreviate_home(&self, path: &Path) -> String {
        home::abbreviate(path, self.home())
    }

    /// The program that a shell would run for this name; `None` for a path.
    #[must_use]
    pub fn find_program(&self, name: &str) -> Option<PathBuf> {
        if name.is_empty() || programs::is_path(name) {
            return None;
        }
        let directories = std::env::split_paths(self.get(PATH)?).filter(|directory| directory.is_absolute());
        directories
            .flat_map(|directory| programs::executable_candidates(&directory.join(name)))
            .find(|file| programs::is_program(file))
    }

    /// The file to start as this program. Paths are relative to `directory`, or to the working directory if `None`.
    #[must_use]
    pub fn resolve_program(&self, program: &str, directory: Option<&Path>) -> PathBuf {
        programs::resolve_program(program, directory, self.get(PATH).map(AsRef::as_ref))
    }

    /// The directory of the user's configuration.
    ///
    /// The XDG variables work on all systems. If one is unset, Unix (including macOS, where users of command-line tools
    /// expect it) uses the XDG default, and Windows its own directories.
    #[must_use]
    pub fn config_dir(&self) -> Option<PathBuf> {
        self.xdg_dir(XDG_CONFIG_HOME, ".config", "APPDATA")
    }

    /// The directory of credentials.
    #[must_use]
    pub fn data_dir(&self) -> Option<PathBuf> {
        self.xdg_dir(XDG_DATA_HOME, ".local/share", "LOCALAPPDATA")
    }

    /// The directory of data that is kept between runs and must not be lost.
    #[must_use]
    pub fn state_dir(&self) -> Option<PathBuf> {
        self.xdg_dir(XDG_STATE_HOME, ".local/state", "LOCALAPPDATA")
    }

    /// The directory of cached data.
    #[must_use]
    pub fn cache_dir(&self) -> Option<PathBuf> {
        match self.get(CACHE_DIR) {
            Some(own) => Some(PathBuf::from(own)),
            None => self.xdg_dir(XDG_CACHE_HOME, ".cache", "LOCALAPPDATA"),
        }
    }

    /// A relative path in an XDG variable is to be ignored (XDG Base Directory Specification, "Basics").
    fn xdg_dir(&self, variable: &str, below_home: &str, windows: &str) -> Option<PathBuf> {
        let chosen = self.get(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let platform = || {
            if cfg!(windows) {
                let configured = self.get(windows).map(PathBuf::from);
                let default = Path::new("AppData").join(if windows == "APPDATA" { "Roaming" } else { "Local" });
                configured.or_else(|| self.home().map(|home| home.join(default)))
            } else {
                self.home().map(|home| home.join(below_home))
            }
        };
        chosen.or_else(platform).map(|base| base.join("mcpipe"))
    }
}

/// Whether two names mean the same variable: on Windows, case does not matter.
#[must_use]
pub fn is_same_variable(one: &str, other: &str) -> bool {
    if cfg!(windows) { one.eq_ignore_ascii_case(other) } else { one == other }
}

/// Whether a variable belongs to mcpipe.
#[must_use]
pub fn is_mcpipe_variable(name: &str) -> bool {
    name.get(..MCPIPE_PREFIX.len()).is_some_and(|start| is_same_variable(start, MCPIPE_PREFIX))
}

/// The variables of a user with this home directory, which contains the same directories as on Unix on all systems.
#[cfg(test)]
#[must_use]
pub fn home_variables(home: &str) -> Vec<(String, String)> {
    let below = [
        (XDG_CONFIG_HOME, ".config"),
        (XDG_DATA_HOME, ".local/share"),
        (XDG_STATE_HOME, ".local/state"),
        (XDG_CACHE_HOME, ".cache"),
    ];
    let place = |path: &str| Path::new(home).join(path).components().collect::<PathBuf>().display().to_string();
    let moved = below.iter().filter(|_| cfg!(windows)).map(|(name, path)| ((*name).to_owned(), place(path)));
    [(HOME.to_owned(), home.to_owned())].into_iter().chain(moved).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(variables: &[(&str, &str)]) -> Environment {
        let mut all = vec![("HOME", "/home/ada")];
        all.extend_from_slice(variables);
        Environment::new(all, Path::new("/work"))
    }

    #[test]
    fn xdg_variables_override_the_default_and_relative_paths_are_ignored() {
        let dir = |environment: &Environment| environment.config_dir().map(|dir| dir.display().to_string());
        #[cfg(unix)]
        {
            assert_eq!(dir(&home(&[("XDG_CONFIG_HOME", "/cfg")])).as_deref(), Some("/cfg/mcpipe"));
            assert_eq!(dir(&home(&[("XDG_CONFIG_HOME", "cfg")])).as_deref(), Some("/home/ada/.config/mcpipe"));
            assert_eq!(dir(&home(&[("XDG_CONFIG_HOME", "")])).as_deref(), Some("/home/ada/.config/mcpipe"));
        }
        #[cfg(windows)]
        {
            let dir = |variables| dir(&home(variables));
            assert_eq!(dir(&[("XDG_CONFIG_HOME", r"D:\cfg"), ("AppData", r"C:\a")]).as_deref(), Some(r"D:\cfg\mcpipe"));
            assert_eq!(dir(&[("XDG_CONFIG_HOME", "/cfg"), ("AppData", r"C:\a")]).as_deref(), Some(r"C:\a\mcpipe"));
            assert_eq!(dir(&[]).as_deref(), Some(r"/home/ada\AppData\Roaming\mcpipe"));
        }
        let no_variables: [(&str, &str); 0] = [];
        assert_eq!(dir(&Environment::new(no_variables, Path::new("/"))), None);
    }

    #[test]
    fn an_empty_variable_counts_as_unset_for_settings_only() {
        let environment = home(&[("NO_COLOR", "")]);
        assert_eq!(environment.get(NO_COLOR), None);
        assert_eq!(environment.get_raw(NO_COLOR), Some(""));
    }

    #[test]
    fn a_tilde_means_the_home_directory_only_at_the_start() {
        let environment = home(&[]);
        assert_eq!(environment.expand_tilde("~/a b"), "/home/ada/a b");
        assert_eq!(environment.expand_tilde("~"), "/home/ada");
        assert_eq!(environment.expand_tilde("~bob/x"), "~bob/x");
        assert_eq!(environment.expand_tilde("a~/x"), "a~/x");
        assert_eq!(environment.abbreviate_home(Path::new("/home/ada/x/y")), "~/x/y");
        assert_eq!(environment.abbreviate_home(Path::new("/home/adam")), "/home/adam");
    }

    #[test]
    fn debug_shows_no_value() {
        let text = format!("{:?}", home(&[("API_KEY", "s3cret")]));
        assert!(text.contains("API_KEY") && !text.contains("s3cret"), "{text}");
    }

    #[test]
    fn every_variable_is_described() {
        assert!(DOCUMENTED.iter().all(|(name, what)| !name.is_empty() && what.trim_end().ends_with('.')));
        assert!(DOCUMENTED.iter().any(|(name, _)| *name == CONFIG));
    }
}
