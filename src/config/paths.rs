//! The locations of configuration files.

use std::path::{Path, PathBuf};

use crate::config::origin::{ConfigFile, ConfigFormat, Layer};
use crate::env::{self, Environment};

/// The project's own file.
pub const PROJECT_TOML: &str = ".mcpipe.toml";
/// The project's file that other clients use too.
pub const PROJECT_JSON: &str = ".mcp.json";

/// A location of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigPath {
    /// The file.
    pub path: PathBuf,
    /// Its layer.
    pub layer: Layer,
    /// Its format, if the location determines it.
    pub format: Option<ConfigFormat>,
}

/// The user's own file.
#[must_use]
pub fn user_file(environment: &Environment) -> Option<PathBuf> {
    environment.config_dir().map(|dir| dir.join("config.toml"))
}

/// The only file, if `--config` or `MCPIPE_CONFIG` names one.
#[must_use]
pub fn explicit_file(environment: &Environment, flag: Option<&Path>) -> Option<PathBuf> {
    let named = match flag {
        Some(path) => path.to_owned(),
        None => PathBuf::from(environment.expand_tilde(environment.get(env::CONFIG)?)),
    };
    // `-` is not a file, and is refused when it is read.
    Some(if named == Path::new("-") { named } else { absolute_path(environment, &named) })
}

/// Every location for this run, lowest layer first, whether or not a file exists.
///
/// Project files are listed only if they exist, since the nearest one has to be found first.
#[must_use]
pub fn config_paths(environment: &Environment, flag: Option<&Path>) -> Vec<ConfigPath> {
    if let Some(path) = explicit_file(environment, flag) {
        return vec![ConfigPath { path, layer: Layer::Explicit, format: None }];
    }
    let user =
        user_file(environment).map(|path| ConfigPath { path, layer: Layer::User, format: Some(ConfigFormat::Toml) });
    let json = find_upwards(environment, PROJECT_JSON).map(|path| ConfigPath {
        path,
        layer: Layer::ProjectMcpJson,
        format: Some(ConfigFormat::Json),
    });
    let toml = find_upwards(environment, PROJECT_TOML).map(|path| ConfigPath {
        path,
        layer: Layer::ProjectToml,
        format: Some(ConfigFormat::Toml),
    });
    user.into_iter().chain(json).chain(toml).collect()
}

/// The nearest file of this name in or above the working directory.
///
/// The search ends below the home directory and below the root, so that one file does not apply to every project; the
/// working directory itself is always searched.
#[must_use]
pub fn find_upwards(environment: &Environment, name: &str) -> Option<PathBuf> {
    let cwd = environment.cwd()?;
    let homes = home_directories(environment);
    let ends = |dir: &Path| dir.parent().is_none() || homes.iter().any(|home| home == dir);
    cwd.ancestors()
        .enumerate()
        .take_while(|(depth, dir)| *depth == 0 || !ends(dir))
        .map(|(_, dir)| dir.join(name))
        .find(|file| file.is_file())
}

/// Whether this is the home directory.
#[must_use]
pub fn is_home(environment: &Environment, directory: &Path) -> bool {
    home_directories(environment).iter().any(|home| home == directory)
}

/// The home directory as it is named and, since it may be behind a link, as the working directory names it.
fn home_directories(environment: &Environment) -> Vec<PathBuf> {
    let home = environment.home().map(Path::to_owned);
    let real = home.as_ref().and_then(|home| home.canonicalize().ok());
    home.into_iter().chain(real).collect()
}

/// The path below the working directory, unless it is absolute.
#[must_use]
pub fn absolute_path(environment: &Environment, path: &Path) -> PathBuf {
    match environment.cwd() {
        // Iterating over the components removes every `.` between them.
        Some(cwd) if path.is_relative() => cwd.join(path).components().collect(),
        _ => path.to_owned(),
    }
}

/// A path in a configuration file: `~/` is the home directory, and relative paths start at the file's directory.
#[must_use]
pub fn resolve_path(environment: &Environment, source: &ConfigFile, text: &str) -> PathBuf {
    // Iterating over the components removes every `.` between them.
    source.directory().join(environment.expand_tilde(text)).components().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_nearest_project_file_counts_and_home_and_root_end_the_search() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home");
        let deep = home.join("project/a/b");
        std::fs::create_dir_all(&deep).unwrap();
        let at = |cwd: &Path| Environment::new([("HOME", home.to_str().unwrap())], cwd);
        std::fs::write(home.join(PROJECT_TOML), "").unwrap();
        assert_eq!(find_upwards(&at(&deep), PROJECT_TOML), None, "home is not a project of all below it");
        assert_eq!(find_upwards(&at(&home), PROJECT_TOML), Some(home.join(PROJECT_TOML)));
        std::fs::write(home.join("project").join(PROJECT_TOML), "").unwrap();
        assert_eq!(find_upwards(&at(&deep), PROJECT_TOML), Some(home.join("project").join(PROJECT_TOML)));
        std::fs::write(deep.join(PROJECT_TOML), "").unwrap();
        assert_eq!(find_upwards(&at(&deep), PROJECT_TOML), Some(deep.join(PROJECT_TOML)));
    }
}
