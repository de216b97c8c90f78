//! The environment of this process: every variable that mcpipe reads, and the one place that reads them.
//!
//! Everything else is handed an [`Environment`], so tests bring their own home, variables and
//! working directory, and nothing depends on when a variable is looked at.

pub mod programs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

macro_rules! variables {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: &str = $text;)+

        /// Every variable that mcpipe itself looks at, and what for; `docs/cli.md` lists them.
        pub const DOCUMENTED: &[(&str, &str)] = &[$(($text, concat!($($doc),+))),+];
    };
}

variables! {
    /// Read this configuration file and no other; `--config` wins over it.
    CONFIG = "MCPIPE_CONFIG";
    /// When to log in on the spot: auto, always or never; `--login` wins over it.
    LOGIN = "MCPIPE_LOGIN";
    /// Keep credentials in this file instead of the keychain.
    CREDENTIALS_FILE = "MCPIPE_CREDENTIALS_FILE";
    /// Keep what was learned about servers in this directory.
    CACHE_DIR = "MCPIPE_CACHE_DIR";
    /// Set by the completion scripts: print candidates and do nothing else.
    COMPLETE = "MCPIPE_COMPLETE";
    /// No colours where it is set and not empty.
    NO_COLOR = "NO_COLOR";
    /// The kind of terminal; `dumb` means no colours and no cursor movement.
    TERM = "TERM";
    /// The width of the terminal, where it cannot be asked.
    COLUMNS = "COLUMNS";
    /// The program that opens a URL.
    BROWSER = "BROWSER";
    /// A display: without one, no browser is started unless `BROWSER` says which.
    DISPLAY = "DISPLAY";
    /// The same, for Wayland.
    WAYLAND_DISPLAY = "WAYLAND_DISPLAY";
    /// Set where the browser is that of the Windows around us.
    WSL_DISTRO_NAME = "WSL_DISTRO_NAME";
    /// The editor of `config edit`, first choice.
    VISUAL = "VISUAL";
    /// The editor of `config edit`, second choice.
    EDITOR = "EDITOR";
    /// The home directory.
    HOME = "HOME";
    /// Where programs are found.
    PATH = "PATH";
    /// Configuration lies in `mcpipe/` below it.
    XDG_CONFIG_HOME = "XDG_CONFIG_HOME";
    /// Credentials lie in `mcpipe/` below it.
    XDG_DATA_HOME = "XDG_DATA_HOME";
    /// Which project files are trusted lies in `mcpipe/` below it.
    XDG_STATE_HOME = "XDG_STATE_HOME";
    /// What was learned about servers lies in `mcpipe/` below it.
    XDG_CACHE_HOME = "XDG_CACHE_HOME";
    /// Sockets and locks of this session lie in `mcpipe/` below it.
    XDG_RUNTIME_DIR = "XDG_RUNTIME_DIR";
    /// The proxy for `https` URLs (also in lower case).
    HTTPS_PROXY = "HTTPS_PROXY";
    /// The proxy for `http` URLs (only in lower case, as everywhere).
    HTTP_PROXY = "http_proxy";
    /// The proxy for every URL (also in lower case).
    ALL_PROXY = "ALL_PROXY";
    /// Hosts that are reached without a proxy (also in lower case).
    NO_PROXY = "NO_PROXY";
    /// Trust the certificate authorities in this file instead of the system's.
    SSL_CERT_FILE = "SSL_CERT_FILE";
    /// Trust the certificate authorities in this directory instead of the system's.
    SSL_CERT_DIR = "SSL_CERT_DIR";
}

/// Variables that begin with this are mcpipe's own and are never handed to a server.
pub const MCPIPE_PREFIX: &str = "MCPIPE_";

/// The variables, the home directory and the working directory of a run.
#[derive(Clone, Default)]
pub struct Environment {
    // In no order and searched from the front: a few look-ups cost less than building a tree would.
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
    /// What this process was started with.
    ///
    /// Variables that are not Unicode cannot be expanded or handed on and are left out.
    #[must_use]
    pub fn from_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Environment { variables, home: std::env::home_dir(), cwd: std::env::current_dir().ok() }
    }

    /// An environment of one's own, for tests; `HOME` names the home directory.
    pub fn new<K: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (K, V)>, cwd: &Path) -> Self {
        // The last value given for a name counts.
        let named: BTreeMap<String, String> =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let home = named.get(HOME).filter(|home| !home.is_empty()).map(PathBuf::from);
        Environment { variables: named.into_iter().collect(), home, cwd: Some(cwd.to_owned()) }
    }

    /// The value of a variable, `None` where it is unset or empty: for mcpipe's own settings.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_raw(name).filter(|value| !value.is_empty())
    }

    /// The value of a variable, which may be empty: for `${VAR}` and for children.
    #[must_use]
    pub fn get_raw(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(known, _)| is_same_variable(known, name)).map(|(_, value)| value.as_str())
    }

    /// The same without one variable.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let mut other = self.clone();
        other.variables.retain(|(known, _)| !is_same_variable(known, name));
        other
    }

    /// The same without the variables whose values do not fit.
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

    /// The home directory, where there is one.
    #[must_use]
    pub fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// The working directory, unless it was removed.
    #[must_use]
    pub fn cwd(&self) -> Option<&Path> {
        self.cwd.as_deref()
    }

    /// `~` and `~/…` with the home directory in place of the tilde; anything else as it is.
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

    /// A path as people write it: `~/…` below the home directory.
    #[must_use]
    pub fn abbreviate_home(&self, path: &Path) -> String {
        match self.home().filter(|home| home.parent().is_some()).and_then(|home| path.strip_prefix(home).ok()) {
            Some(rest) if rest.as_os_str().is_empty() => "~".to_owned(),
            Some(rest) => format!("~/{}", with_forward_slashes(rest)),
            None => path.display().to_string(),
        }
    }

    /// The program of this name that a shell would run; names with a slash are no names.
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

    /// What is to be started as this program; `directory` is where paths are relative to, if not to where we are.
    #[must_use]
    pub fn resolve_program(&self, program: &str, directory: Option<&Path>) -> PathBuf {
        programs::resolve_program(program, directory, self.get(PATH).map(AsRef::as_ref))
    }

    /// The directory of the user's configuration.
    ///
    /// The XDG directories are honoured everywhere. Where a variable is unset, Unix (macOS included: that
    /// is where the users of command-line tools look) has the XDG defaults and Windows its own places.
    #[must_use]
    pub fn config_dir(&self) -> Option<PathBuf> {
        self.xdg_dir(XDG_CONFIG_HOME, ".config", "APPDATA")
    }

    /// The directory of credentials.
    #[must_use]
    pub fn data_dir(&self) -> Option<PathBuf> {
        self.xdg_dir(XDG_DATA_HOME, ".local/share", "LOCALAPPDATA")
    }

    /// The directory of what mcpipe remembers between runs and must not lose.
    #[must_use]
    pub fn state_dir(&self) -> Option<PathBuf> {
        self.xdg_dir(XDG_STATE_HOME, ".local/state", "LOCALAPPDATA")
    }

    /// The directory of what can be learned again.
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
                let told = self.get(windows).map(PathBuf::from);
                let usual = Path::new("AppData").join(if windows == "APPDATA" { "Roaming" } else { "Local" });
                told.or_else(|| self.home().map(|home| home.join(usual)))
            } else {
                self.home().map(|home| home.join(below_home))
            }
        };
        chosen.or_else(platform).map(|base| base.join("mcpipe"))
    }
}

/// A relative path as it is written in files and shown: with slashes, which all systems read.
#[must_use]
pub fn with_forward_slashes(path: &Path) -> String {
    let text = path.display().to_string();
    if cfg!(windows) { text.replace('\\', "/") } else { text }
}

/// Whether two names are those of one variable.
#[must_use]
pub fn is_same_variable(one: &str, other: &str) -> bool {
    if cfg!(windows) { one.eq_ignore_ascii_case(other) } else { one == other }
}

/// Whether a variable is mcpipe's own.
#[must_use]
pub fn is_mcpipe_variable(name: &str) -> bool {
    name.get(..MCPIPE_PREFIX.len()).is_some_and(|start| is_same_variable(start, MCPIPE_PREFIX))
}

/// The variables of somebody who is at home at `home`, and keeps things there as on Unix wherever the tests run.
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
    fn xdg_wins_over_home_and_relative_paths_are_ignored() {
        let dir = |environment: &Environment| environment.config_dir().map(|dir| dir.display().to_string());
        #[cfg(unix)]
        {
            assert_eq!(dir(&home(&[("XDG_CONFIG_HOME", "/cfg")])).as_deref(), Some("/cfg/mcpipe"));
            assert_eq!(dir(&home(&[("XDG_CONFIG_HOME", "cfg")])).as_deref(), Some("/home/ada/.config/mcpipe"));
            assert_eq!(dir(&home(&[("XDG_CONFIG_HOME", "")])).as_deref(), Some("/home/ada/.config/mcpipe"));
        }
        #[cfg(windows)]
        {
            let dir = |variables| dir(&home(variables)).unwrap();
            assert_eq!(dir(&[("XDG_CONFIG_HOME", r"D:\cfg"), ("AppData", r"C:\a")]), r"D:\cfg\mcpipe");
            assert_eq!(dir(&[("XDG_CONFIG_HOME", "/cfg"), ("AppData", r"C:\a")]), r"C:\a\mcpipe");
            assert_eq!(dir(&[]), r"/home/ada\AppData\Roaming\mcpipe");
        }
        let nobody: [(&str, &str); 0] = [];
        assert_eq!(dir(&Environment::new(nobody, Path::new("/"))), None);
    }

    #[test]
    fn an_empty_variable_counts_as_unset_for_settings_only() {
        let environment = home(&[("NO_COLOR", "")]);
        assert_eq!(environment.get(NO_COLOR), None);
        assert_eq!(environment.get_raw(NO_COLOR), Some(""));
    }

    #[test]
    fn tilde_stands_for_the_home_directory_only_at_the_start() {
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
