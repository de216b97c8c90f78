//! The supported clients, and the locations of their files on each platform.

use std::path::{Path, PathBuf};

use crate::config::oauth::RedirectUri;
use crate::config::paths;
use crate::env::{self, Environment};
use crate::util::suggest::nearest_name;

/// A client whose configuration can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImportClient {
    /// Claude Code.
    ClaudeCode,
    /// Claude Desktop.
    ClaudeDesktop,
    /// Cursor.
    Cursor,
    /// Visual Studio Code and its builds.
    VsCode,
    /// Codex.
    Codex,
    /// Windsurf.
    Windsurf,
    /// Gemini CLI.
    Gemini,
    /// OpenCode.
    OpenCode,
    /// Zed.
    Zed,
    /// mcporter.
    Mcporter,
    /// Any file with `mcpServers` or `servers`.
    Other,
}

/// The clients, the word for each on the command line, and its display name.
const CLIENTS: &[(ImportClient, &str, &str)] = &[
    (ImportClient::ClaudeCode, "claude-code", "Claude Code"),
    (ImportClient::ClaudeDesktop, "claude-desktop", "Claude Desktop"),
    (ImportClient::Cursor, "cursor", "Cursor"),
    (ImportClient::VsCode, "vscode", "VS Code"),
    (ImportClient::Codex, "codex", "Codex"),
    (ImportClient::Windsurf, "windsurf", "Windsurf"),
    (ImportClient::Gemini, "gemini", "Gemini CLI"),
    (ImportClient::OpenCode, "opencode", "OpenCode"),
    (ImportClient::Zed, "zed", "Zed"),
    (ImportClient::Mcporter, "mcporter", "mcporter"),
];

impl ImportClient {
    /// Every client with file locations of its own.
    pub fn all() -> impl Iterator<Item = ImportClient> {
        CLIENTS.iter().map(|(client, _, _)| *client)
    }

    /// Its word on the command line.
    #[must_use]
    pub fn id(self) -> &'static str {
        CLIENTS.iter().find(|(client, _, _)| *client == self).map_or("file", |(_, id, _)| id)
    }

    /// Its display name.
    #[must_use]
    pub fn title(self) -> &'static str {
        CLIENTS.iter().find(|(client, _, _)| *client == self).map_or("another client", |(_, _, title)| title)
    }

    /// The redirect URI that it uses with a chosen port, as users had to register it.
    ///
    /// Documented at <https://code.claude.com/docs/en/mcp>, <https://developers.openai.com/codex/config-reference> and
    /// <https://opencode.ai/docs/mcp-servers/>.
    #[must_use]
    pub fn redirect_uri(self, port: u16) -> RedirectUri {
        match self {
            ImportClient::Codex => RedirectUri::loopback(Some(port)),
            ImportClient::OpenCode => RedirectUri::loopback(Some(port)).with_path("/mcp/oauth/callback"),
            _ => RedirectUri::localhost(port),
        }
    }

    /// Parses the word of the command line, ignoring case, spaces, `_` and a suffix `-cli`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let word = word.trim().to_lowercase().replace([' ', '_'], "-");
        let word = word.strip_suffix("-cli").unwrap_or(&word);
        match word {
            "claude" => Some(ImportClient::ClaudeCode),
            "vs-code" | "code" => Some(ImportClient::VsCode),
            "codeium" => Some(ImportClient::Windsurf),
            "google-gemini" => Some(ImportClient::Gemini),
            "open-code" => Some(ImportClient::OpenCode),
            _ => CLIENTS.iter().find(|(_, id, _)| *id == word).map(|(client, _, _)| *client),
        }
    }

    /// The most similar word, for a hint.
    #[must_use]
    pub fn suggest(word: &str) -> Option<&'static str> {
        nearest_name(word, CLIENTS.iter().map(|(_, id, _)| *id))
    }
}

/// The system whose conventions determine file locations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Linux and the other Unixes.
    Linux,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
}

impl Platform {
    /// The one that this program was built for.
    #[must_use]
    pub fn current() -> Self {
        if cfg!(windows) {
            Platform::Windows
        } else if cfg!(target_os = "macos") {
            Platform::MacOs
        } else {
            Platform::Linux
        }
    }

    /// The variable that names the home directory.
    #[must_use]
    pub fn home_variable(self) -> &'static str {
        if self == Platform::Windows { "USERPROFILE" } else { env::HOME }
    }

    /// The separator of directories.
    #[must_use]
    pub fn separator(self) -> &'static str {
        if self == Platform::Windows { "\\" } else { "/" }
    }
}

/// A file of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFile {
    /// The client.
    pub client: ImportClient,
    /// The file.
    pub path: PathBuf,
    /// The directory of the project that it belongs to; `None` for the user's own.
    pub project: Option<PathBuf>,
}

/// The directory of Claude Code's files, instead of the home directory.
const CLAUDE_CONFIG_DIR: &str = "CLAUDE_CONFIG_DIR";
/// The directory of Codex's files, instead of `~/.codex`.
const CODEX_HOME: &str = "CODEX_HOME";
/// The file of Gemini CLI that an administrator set.
const GEMINI_SYSTEM_SETTINGS: &str = "GEMINI_CLI_SYSTEM_SETTINGS_PATH";
/// An additional file of OpenCode.
const OPENCODE_CONFIG: &str = "OPENCODE_CONFIG";
/// The only file of mcporter.
const MCPORTER_CONFIG: &str = "MCPORTER_CONFIG";
/// The directory of application settings on Windows.
const APPDATA: &str = "APPDATA";
/// The directory of settings for all users on Windows.
const PROGRAM_DATA: &str = "ProgramData";

/// The existing files of all clients, without duplicates; the user's own before those of the project.
#[must_use]
pub fn discover_files(environment: &Environment) -> Vec<ClientFile> {
    discover_on(environment, Platform::current(), None)
}

/// The existing files of one client.
#[must_use]
pub fn discover_client_files(environment: &Environment, client: ImportClient) -> Vec<ClientFile> {
    discover_on(environment, Platform::current(), Some(client))
}

pub(crate) fn discover_on(
    environment: &Environment,
    platform: Platform,
    only: Option<ImportClient>,
) -> Vec<ClientFile> {
    let mut all: Vec<ClientFile> = Vec::new();
    // The home directory may be behind a link.
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let is_same = |one: &ClientFile, other: &ClientFile| {
        one.path == other.path || (one.client == other.client && real(&one.path) == real(&other.path))
    };
    for client in ImportClient::all().filter(|client| only.is_none_or(|only| only == *client)) {
        for found in candidate_files(environment, platform, client) {
            if found.path.is_file() && !all.iter().any(|other| is_same(other, &found)) {
                all.push(found);
            }
        }
    }
    all
}

/// The possible locations of a client's servers, whether or not a file exists, for messages.
#[must_use]
pub fn searched_paths(environment: &Environment, client: ImportClient) -> Vec<PathBuf> {
    candidate_files(environment, Platform::current(), client).into_iter().map(|found| found.path).collect()
}

/// Base directories of one user on one platform.
struct BaseDirs<'a> {
    environment: &'a Environment,
    platform: Platform,
    home: Option<&'a Path>,
}

impl BaseDirs<'_> {
    /// Below the home directory.
    fn below_home(&self, below: &str) -> Option<PathBuf> {
        self.home.map(|home| home.join(below))
    }

    /// Below the directory that a variable names.
    fn below_variable(&self, variable: &str, below: &str) -> Option<PathBuf> {
        self.environment.get(variable).map(|dir| {
            let dir = PathBuf::from(self.environment.expand_tilde(dir));
            if below.is_empty() { dir } else { dir.join(below) }
        })
    }

    /// Below the XDG configuration directory, on every platform.
    fn below_xdg_config(&self, below: &str) -> Option<PathBuf> {
        let chosen = self.below_variable(env::XDG_CONFIG_HOME, "").filter(|dir| dir.is_absolute());
        chosen.or_else(|| self.below_home(".config")).map(|dir| dir.join(below))
    }

    /// Below the directory where desktop applications store their settings.
    fn below_app_settings(&self, below: &str) -> Option<PathBuf> {
        match self.platform {
            Platform::Linux => self.below_xdg_config(below),
            Platform::MacOs => self.below_home("Library/Application Support").map(|dir| dir.join(below)),
            Platform::Windows => self
                .below_variable(APPDATA, "")
                .or_else(|| self.below_home("AppData/Roaming"))
                .map(|dir| dir.join(below)),
        }
    }

    /// Below the directory of settings for all users.
    fn system_wide(&self, linux: &str, macos: &str, windows: &str) -> Option<PathBuf> {
        match self.platform {
            Platform::Linux => Some(Path::new("/etc").join(linux)),
            Platform::MacOs => Some(Path::new("/Library/Application Support").join(macos)),
            Platform::Windows => self.below_variable(PROGRAM_DATA, windows),
        }
    }

    /// The nearest file with this name in or above the working directory, and the directory that it belongs to.
    fn project_file(&self, client: ImportClient, name: &str) -> Option<ClientFile> {
        let path = paths::find_upwards(self.environment, name)?;
        let depth = Path::new(name).components().count();
        let project = path.ancestors().nth(depth).map(Path::to_owned);
        // In the home directory it is the user's own file.
        let project = project.filter(|project| !paths::is_home(self.environment, project));
        Some(ClientFile { client, path, project })
    }
}

fn candidate_files(environment: &Environment, platform: Platform, client: ImportClient) -> Vec<ClientFile> {
    let at = BaseDirs { environment, platform, home: environment.home() };
    let (user, project) = match client {
        ImportClient::ClaudeCode => claude_code_files(&at),
        ImportClient::ClaudeDesktop => (vec![at.below_app_settings("Claude/claude_desktop_config.json")], &[][..]),
        ImportClient::Cursor => (vec![at.below_home(".cursor/mcp.json")], &[".cursor/mcp.json"][..]),
        ImportClient::VsCode => (vs_code_files(&at), &[".vscode/mcp.json", ".vscode/settings.json"][..]),
        ImportClient::Codex => {
            let own = at.below_variable(CODEX_HOME, "config.toml").or_else(|| at.below_home(".codex/config.toml"));
            (vec![own], &[".codex/config.toml"][..])
        }
        ImportClient::Windsurf => {
            let files = ["windsurf/mcp_config.json", "windsurf-next/mcp_config.json", "mcp_config.json"];
            (files.map(|file| at.below_home(".codeium").map(|dir| dir.join(file))).into(), &[][..])
        }
        ImportClient::Gemini => {
            let file = "settings.json";
            let system = at.below_variable(GEMINI_SYSTEM_SETTINGS, "").or_else(|| {
                let [linux, macos, windows] =
                    ["gemini-cli", "GeminiCli", "gemini-cli"].map(|dir| format!("{dir}/{file}"));
                at.system_wide(&linux, &macos, &windows)
            });
            (vec![at.below_home(".gemini/settings.json"), system], &[".gemini/settings.json"][..])
        }
        ImportClient::OpenCode => {
            let names = ["opencode.json", "opencode.jsonc", "config.json"];
            let mut user: Vec<_> = names.map(|name| at.below_xdg_config("opencode").map(|dir| dir.join(name))).into();
            user.push(at.below_variable(OPENCODE_CONFIG, ""));
            let project =
                &["opencode.json", "opencode.jsonc", ".opencode/opencode.json", ".opencode/opencode.jsonc"][..];
            (user, project)
        }
        ImportClient::Zed => {
            let own = match platform {
                Platform::Windows => at.below_app_settings("Zed/settings.json"),
                _ => at.below_xdg_config("zed/settings.json"),
            };
            (vec![own], &[".zed/settings.json"][..])
        }
        ImportClient::Mcporter => match at.below_variable(MCPORTER_CONFIG, "") {
            Some(only) => (vec![Some(only)], &[][..]),
            None => {
                let mut user: Vec<_> =
                    ["json", "jsonc"].map(|ending| at.below_xdg_config(&format!("mcporter/mcporter.{ending}"))).into();
                user.extend(["json", "jsonc"].map(|ending| at.below_home(&format!(".mcporter/mcporter.{ending}"))));
                (user, &["config/mcporter.json"][..])
            }
        },
        ImportClient::Other => (Vec::new(), &[][..]),
    };
    let user = user.into_iter().flatten().map(|path| ClientFile { client, path, project: None });
    user.chain(project.iter().filter_map(|name| at.project_file(client, name))).collect()
}

fn claude_code_files(at: &BaseDirs<'_>) -> (Vec<Option<PathBuf>>, &'static [&'static str]) {
    let settings = ["settings.json", "settings.local.json", "mcp.json"];
    let mut user = vec![at.below_variable(CLAUDE_CONFIG_DIR, ".claude.json").or_else(|| at.below_home(".claude.json"))];
    let dir = at.below_variable(CLAUDE_CONFIG_DIR, "").or_else(|| at.below_home(".claude"));
    user.extend(settings.map(|name| dir.as_ref().map(|dir| dir.join(name))));
    user.push(at.system_wide(
        "claude-code/managed-mcp.json",
        "ClaudeCode/managed-mcp.json",
        "ClaudeCode/managed-mcp.json",
    ));
    (user, &[".mcp.json", ".claude/settings.json", ".claude/settings.local.json", ".claude/mcp.json"])
}

fn vs_code_files(at: &BaseDirs<'_>) -> Vec<Option<PathBuf>> {
    let mut all = Vec::new();
    for build in ["Code", "Code - Insiders", "VSCodium"] {
        let Some(user) = at.below_app_settings(build).map(|dir| dir.join("User")) else { continue };
        all.extend(["mcp.json", "settings.json"].map(|name| Some(user.join(name))));
        let profiles = std::fs::read_dir(user.join("profiles")).into_iter().flatten().flatten();
        let mut profiles: Vec<PathBuf> = profiles.map(|entry| entry.path().join("mcp.json")).collect();
        profiles.sort();
        all.extend(profiles.into_iter().map(Some));
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "{}").unwrap();
    }

    fn candidate_paths(platform: Platform, variables: &[(&str, &str)], client: ImportClient) -> Vec<String> {
        let mut all = vec![("HOME", "/home/ada")];
        all.extend_from_slice(variables);
        let environment = Environment::new(all, Path::new("/nowhere"));
        let found = candidate_files(&environment, platform, client);
        found.iter().map(|found| found.path.display().to_string().replace('\\', "/")).collect()
    }

    #[test]
    fn client_files_have_platform_specific_paths() {
        use ImportClient::*;
        use Platform::*;
        let appdata = [("APPDATA", "/appdata"), ("ProgramData", "/programdata")];
        for (client, platform, first) in [
            (ClaudeCode, Linux, "/home/ada/.claude.json"),
            (ClaudeDesktop, Linux, "/home/ada/.config/Claude/claude_desktop_config.json"),
            (ClaudeDesktop, MacOs, "/home/ada/Library/Application Support/Claude/claude_desktop_config.json"),
            (ClaudeDesktop, Windows, "/appdata/Claude/claude_desktop_config.json"),
            (Cursor, Windows, "/home/ada/.cursor/mcp.json"),
            (VsCode, Linux, "/home/ada/.config/Code/User/mcp.json"),
            (VsCode, MacOs, "/home/ada/Library/Application Support/Code/User/mcp.json"),
            (VsCode, Windows, "/appdata/Code/User/mcp.json"),
            (Codex, Linux, "/home/ada/.codex/config.toml"),
            (Windsurf, MacOs, "/home/ada/.codeium/windsurf/mcp_config.json"),
            (Gemini, Windows, "/home/ada/.gemini/settings.json"),
            (OpenCode, Windows, "/home/ada/.config/opencode/opencode.json"),
            (Zed, Linux, "/home/ada/.config/zed/settings.json"),
            (Zed, MacOs, "/home/ada/.config/zed/settings.json"),
            (Zed, Windows, "/appdata/Zed/settings.json"),
            (Mcporter, MacOs, "/home/ada/.config/mcporter/mcporter.json"),
        ] {
            assert_eq!(candidate_paths(platform, &appdata, client)[0], first, "{client:?} {platform:?}");
        }
        assert!(candidate_paths(Linux, &[], Gemini).contains(&"/etc/gemini-cli/settings.json".to_owned()));
        assert!(
            candidate_paths(Windows, &appdata, Gemini).contains(&"/programdata/gemini-cli/settings.json".to_owned())
        );
    }

    #[test]
    fn the_variables_of_clients_move_their_files() {
        use ImportClient::*;
        for (variable, value, client, first) in [
            ("CODEX_HOME", "~/cx", Codex, "/home/ada/cx/config.toml"),
            ("CLAUDE_CONFIG_DIR", "/cc", ClaudeCode, "/cc/.claude.json"),
            // Whether a path is absolute depends on the platform.
            #[cfg(unix)]
            ("XDG_CONFIG_HOME", "/cfg", Zed, "/cfg/zed/settings.json"),
            ("XDG_CONFIG_HOME", "relative", Zed, "/home/ada/.config/zed/settings.json"),
            ("MCPORTER_CONFIG", "/m.json", Mcporter, "/m.json"),
        ] {
            assert_eq!(candidate_paths(Platform::Linux, &[(variable, value)], client)[0], first, "{variable}");
        }
        assert!(
            candidate_paths(Platform::Linux, &[("OPENCODE_CONFIG", "/o.json")], OpenCode)
                .contains(&"/o.json".to_owned())
        );
    }

    #[test]
    fn existing_files_are_found_once_with_their_project() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home");
        let project = home.join("site");
        let deep = project.join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        touch(&home.join(".cursor/mcp.json"));
        touch(&home.join(".config/Code/User/profiles/x/mcp.json"));
        touch(&project.join(".cursor/mcp.json"));
        touch(&project.join("opencode.jsonc"));
        let at = |cwd: &Path| Environment::new([("HOME", home.to_str().unwrap())], cwd);
        let found = discover_on(&at(&deep), Platform::Linux, None);
        let seen: Vec<_> = found.iter().map(|found| (found.client, found.project.clone())).collect();
        let site = Some(project);
        assert_eq!(
            seen,
            [
                (ImportClient::Cursor, None),
                (ImportClient::Cursor, site.clone()),
                (ImportClient::VsCode, None),
                (ImportClient::OpenCode, site)
            ]
        );
        // In the home directory the project's file and the user's are the same.
        let found = discover_on(&at(&home), Platform::Linux, Some(ImportClient::Cursor));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].project, None);
        // A home directory behind a link, of which the working directory has the real name.
        #[cfg(unix)]
        {
            let link = root.path().join("link");
            std::os::unix::fs::symlink(&home, &link).unwrap();
            let environment = Environment::new([("HOME", link.to_str().unwrap())], &home.canonicalize().unwrap());
            let found = discover_on(&environment, Platform::Linux, Some(ImportClient::Cursor));
            let cursor = link.join(".cursor/mcp.json");
            assert_eq!(found, [ClientFile { client: ImportClient::Cursor, path: cursor, project: None }]);
        }
    }

    #[test]
    fn clients_are_known_by_several_words() {
        for (word, client) in [
            ("claude-code", ImportClient::ClaudeCode),
            ("Claude", ImportClient::ClaudeCode),
            ("claude_desktop", ImportClient::ClaudeDesktop),
            ("VS Code", ImportClient::VsCode),
            ("gemini-cli", ImportClient::Gemini),
        ] {
            assert_eq!(ImportClient::parse(word), Some(client), "{word}");
        }
        assert!(ImportClient::all().all(|client| ImportClient::parse(client.id()) == Some(client)));
        assert_eq!(ImportClient::parse("emacs"), None);
        assert_eq!(ImportClient::suggest("cursr"), Some("cursor"));
    }
}
