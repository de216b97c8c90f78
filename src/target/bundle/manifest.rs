//! The manifest of a bundle: what it starts, and the values that its user sets.
//!
//! The format is `MANIFEST.md` of <https://github.com/modelcontextprotocol/mcpb>, versions 0.1 to 0.4.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::config::paths::absolute_path;
use crate::env::Environment;

/// The name of this system in manifests.
pub const PLATFORM: &str = if cfg!(windows) {
    "win32"
} else if cfg!(target_os = "macos") {
    "darwin"
} else {
    "linux"
};

/// The part of a manifest that is needed to start the server.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    /// The name of the bundle.
    pub name: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    server: Server,
    /// The values that the user sets.
    #[serde(default)]
    pub user_config: BTreeMap<String, UserOption>,
    #[serde(default)]
    compatibility: Compatibility,
}

#[derive(Debug, Deserialize)]
struct Server {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    entry_point: String,
    mcp_config: Option<CommandSettings>,
}

#[derive(Debug, Deserialize)]
struct CommandSettings {
    command: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    platform_overrides: BTreeMap<String, PlatformSettings>,
}

#[derive(Debug, Deserialize)]
struct PlatformSettings {
    command: Option<String>,
    args: Option<Vec<String>>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
struct Compatibility {
    platforms: Option<Vec<String>>,
}

/// A value that the user sets.
#[derive(Debug, Deserialize)]
pub struct UserOption {
    #[serde(default, rename = "type")]
    kind: String,
    /// Its name for people.
    #[serde(default)]
    pub title: String,
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// Whether the server does not work without it.
    #[serde(default)]
    pub required: bool,
    #[serde(default)]
    default: Value,
    #[serde(default)]
    multiple: bool,
    /// Whether it is a secret.
    #[serde(default)]
    pub sensitive: bool,
}

/// The command of a server.
#[derive(Debug, PartialEq, Eq)]
pub struct ServerCommand {
    /// The program: a name, or a path below the directory of the bundle.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The variables that are set for it.
    pub env: BTreeMap<String, String>,
}

impl Manifest {
    /// Parses a manifest.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| format!("its manifest.json is invalid: {error}"))
    }

    /// The systems that the bundle supports, if this one is not among them.
    #[must_use]
    pub fn other_platforms(&self) -> Option<String> {
        let platforms = self.compatibility.platforms.as_ref()?;
        (!platforms.iter().any(|platform| platform == PLATFORM)).then(|| platforms.join(", "))
    }

    /// The command on this system, with references that are not replaced yet.
    ///
    /// # Errors
    /// When the manifest has none.
    pub fn command(&self) -> Result<ServerCommand, String> {
        let server = &self.server;
        let Some(settings) = &server.mcp_config else {
            // Only this type works without: "mcp_config is optional (host manages execution)".
            if server.kind != "uv" || server.entry_point.is_empty() {
                return Err("its manifest.json has no server.mcp_config".to_owned());
            }
            let args = ["run", "--directory", "${__dirname}", &server.entry_point];
            let args = args.into_iter().map(str::to_owned).collect();
            return Ok(ServerCommand { program: "uv".to_owned(), args, env: BTreeMap::new() });
        };
        let here = settings.platform_overrides.get(PLATFORM);
        let mut env = settings.env.clone();
        env.extend(here.map(|here| here.env.clone()).unwrap_or_default());
        Ok(ServerCommand {
            program: here.and_then(|here| here.command.as_ref()).unwrap_or(&settings.command).clone(),
            args: here.and_then(|here| here.args.as_ref()).unwrap_or(&settings.args).clone(),
            env,
        })
    }
}

/// What the references in a manifest stand for.
pub struct ReferenceValues<'a> {
    /// The directory of the bundle.
    pub directory: &'a Path,
    /// For the home directory, and for relative paths of the user.
    pub environment: &'a Environment,
    /// The values that are set, and the defaults of the others.
    pub values: BTreeMap<String, Vec<String>>,
}

impl ReferenceValues<'_> {
    /// Sets the value of an option, given by the user or by default.
    pub fn set(&mut self, key: &str, option: &UserOption, given: Option<&str>) {
        let values = match given {
            Some(given) if option.multiple && given.starts_with('[') => {
                serde_json::from_str(given).unwrap_or_else(|_| vec![given.to_owned()])
            }
            Some(given) => vec![given.to_owned()],
            None => default_texts(&option.default).iter().map(|text| self.replace(text).0).collect(),
        };
        let is_path = matches!(option.kind.as_str(), "directory" | "file");
        let absolute = |text: String| match is_path && !text.is_empty() {
            true => {
                let path = PathBuf::from(self.environment.expand_tilde(&text));
                absolute_path(self.environment, &path).to_string_lossy().into_owned()
            }
            false => text,
        };
        let values: Vec<String> = values.into_iter().map(absolute).collect();
        if given.is_some() || !option.default.is_null() {
            self.values.insert(key.to_owned(), values);
        }
    }

    /// Whether a value is set and not empty.
    #[must_use]
    pub fn has_value(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|values| !values.is_empty() && !values.iter().any(String::is_empty))
    }

    /// The arguments for an argument of the manifest: several or none if it is only a reference.
    #[must_use]
    pub fn arguments(&self, text: &str) -> Vec<String> {
        match only_reference(text) {
            Some(key) => self.values.get(key).cloned().unwrap_or_default(),
            None => vec![self.replace(text).0],
        }
    }

    /// The value of a variable; `None` if it refers to a value that is not set.
    #[must_use]
    pub fn variable(&self, text: &str) -> Option<String> {
        let (text, is_set) = self.replace(text);
        is_set.then_some(text)
    }

    /// The text with every reference replaced once, and whether all of them have values.
    #[must_use]
    pub fn replace(&self, text: &str) -> (String, bool) {
        let (mut out, mut rest, mut is_set) = (String::new(), text, true);
        while let Some((before, name, after)) = next_reference(rest) {
            out.push_str(before);
            rest = after;
            match (name.strip_prefix("user_config."), self.system_value(name)) {
                (Some(key), _) => match self.values.get(key) {
                    Some(values) => out.push_str(&values.join(",")),
                    None => is_set = false,
                },
                (None, Some(value)) => out.push_str(&value),
                // Perhaps it is meant for the server.
                (None, None) => out.push_str(&format!("${{{name}}}")),
            }
        }
        out.push_str(rest);
        (out, is_set)
    }

    fn system_value(&self, name: &str) -> Option<String> {
        let home = |below: &str| Some(self.environment.home()?.join(below).to_string_lossy().into_owned());
        match name {
            "__dirname" => Some(self.directory.to_string_lossy().into_owned()),
            "HOME" => Some(self.environment.home()?.to_string_lossy().into_owned()),
            "DESKTOP" => home("Desktop"),
            "DOCUMENTS" => home("Documents"),
            "DOWNLOADS" => home("Downloads"),
            "pathSeparator" | "/" => Some(std::path::MAIN_SEPARATOR_STR.to_owned()),
            _ => None,
        }
    }
}

/// What is before the next reference, its name, and what follows it.
fn next_reference(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("${")?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

/// The key of a text that is only a reference to a value of the user.
fn only_reference(text: &str) -> Option<&str> {
    match next_reference(text)? {
        ("", name, "") => name.strip_prefix("user_config."),
        _ => None,
    }
}

fn default_texts(default: &Value) -> Vec<String> {
    match default {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(default_texts).collect(),
        other => vec![other.to_string()],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn manifest(server: Value, user_config: Value) -> Manifest {
        let text = json!({"name": "demo", "server": server, "user_config": user_config}).to_string();
        Manifest::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_settings_of_this_platform_override_the_others() {
        let config = json!({"command": "node", "args": ["a"], "env": {"A": "1", "B": "1"}, "platform_overrides": {
            PLATFORM: {"args": ["b"], "env": {"B": "2"}}, "other": {"command": "x"}}});
        let command = manifest(json!({"type": "node", "mcp_config": config}), json!({})).command().unwrap();
        let env = [("A", "1"), ("B", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let expected = ServerCommand { program: "node".into(), args: vec!["b".into()], env: env.into() };
        assert_eq!(command, expected);
        let uv = manifest(json!({"type": "uv", "entry_point": "src/server.py"}), json!({})).command().unwrap();
        assert_eq!(
            (uv.program.as_str(), uv.args.join(" ").as_str()),
            ("uv", "run --directory ${__dirname} src/server.py")
        );
        assert!(manifest(json!({"type": "node", "entry_point": "x"}), json!({})).command().is_err());
    }

    #[test]
    fn references_are_replaced_once() {
        let options = json!({
            "dirs": {"type": "directory", "multiple": true, "default": ["${HOME}/a", "b"]},
            "key": {"type": "string"}, "flag": {"type": "boolean", "default": true}, "none": {"type": "string"}});
        let options = manifest(json!({}), options).user_config;
        let environment = Environment::new([("HOME", "/home/me")], Path::new("/work"));
        let mut references =
            ReferenceValues { directory: Path::new("/dir"), environment: &environment, values: BTreeMap::new() };
        let given = BTreeMap::from([("key", "${HOME}")]);
        for (key, option) in &options {
            references.set(key, option, given.get(key.as_str()).copied());
        }
        // Windows writes the same paths with its own separator.
        let arguments = |references: &ReferenceValues<'_>, text: &str| {
            references.arguments(text).iter().map(|argument| argument.replace('\\', "/")).collect::<Vec<_>>()
        };
        assert_eq!(arguments(&references, "${user_config.dirs}"), ["/home/me/a", "/work/b"]);
        assert_eq!(references.arguments("${user_config.none}"), [""; 0]);
        assert_eq!(references.arguments("-k=${user_config.key}"), ["-k=${HOME}"]);
        assert_eq!(
            arguments(&references, "${__dirname}${/}x ${user_config.flag} ${OTHER} $"),
            ["/dir/x true ${OTHER} $"]
        );
        assert_eq!(references.variable("${user_config.dirs}").unwrap().replace('\\', "/"), "/home/me/a,/work/b");
        assert_eq!(references.variable("x${user_config.none}"), None);
        references.set("dirs", &options["dirs"], Some(r#"["~/c", "/d"]"#));
        assert_eq!(arguments(&references, "${user_config.dirs}"), ["/home/me/c", "/d"]);
    }
}
