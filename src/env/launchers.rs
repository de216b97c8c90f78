//! Programs that start other programs, and what a command line starts.

use std::path::Path;

use crate::env::missing_program::is_assignment;
use crate::util::secret_names::looks_like_key;

/// Programs that start servers written for them.
const LAUNCHERS: [&str; 21] = [
    "npx", "bunx", "pnpx", "uvx", "pipx", "npm", "pnpm", "yarn", "bun", "deno", "node", "tsx", "python", "python3",
    "uv", "docker", "podman", "go", "java", "dotnet", "ruby",
];
/// Programs that start any other program.
const WRAPPERS: [&str; 4] = ["sh", "bash", "cmd", "env"];
/// Commands of launchers, after which the package or the image follows.
const LAUNCHER_COMMANDS: [&str; 6] = ["run", "exec", "x", "dlx", "tool", "/c"];
/// Names of files and directories that many servers have, and that name none of them.
const GENERIC_NAMES: [&str; 12] =
    ["index", "main", "__main__", "server", "cli", "app", "dist", "build", "out", "src", "lib", "bin"];
/// Options of `docker run` and `podman run` with a value of their own, which comes before the image.
const CONTAINER_OPTIONS: [&str; 14] = [
    "-e",
    "--env",
    "--env-file",
    "-v",
    "--volume",
    "--mount",
    "-p",
    "--publish",
    "--name",
    "--network",
    "-u",
    "--user",
    "-w",
    "--entrypoint",
];

/// Whether a program is known to start servers.
#[must_use]
pub fn is_launcher(word: &str) -> bool {
    LAUNCHERS.contains(&word)
}

/// Whether a word is a command of a launcher.
#[must_use]
pub fn is_launcher_command(word: &str) -> bool {
    LAUNCHER_COMMANDS.contains(&word)
}

/// What a command line runs, without its path, version and extension: of a launcher, the package, image or file that it
/// starts.
#[must_use]
pub fn started_program(program: &str, args: &[String]) -> String {
    let own = bare_name(program);
    if !is_launcher_file(&own) {
        let is_script = Path::new(program).extension().is_some_and(|extension| extension != "exe");
        return if is_script { package_name(program) } else { own };
    }
    let has_values = matches!(own.as_str(), "docker" | "podman");
    let mut previous = "";
    for word in args {
        let is_value = has_values && CONTAINER_OPTIONS.contains(&previous);
        previous = word;
        let is_other = word.starts_with('-') || is_value || is_assignment(word) || is_launcher_command(word);
        if is_other || looks_like_key(word) || is_launcher_file(&bare_name(word)) {
            continue;
        }
        let name = match word {
            // It is code.
            _ if word.contains(char::is_whitespace) => String::new(),
            _ if has_values => bare_name(word),
            _ => package_name(word),
        };
        return if name.is_empty() { own } else { name };
    }
    own
}

fn is_launcher_file(name: &str) -> bool {
    let version = name.strip_prefix("python");
    is_launcher(name)
        || WRAPPERS.contains(&name)
        || version.is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// The last part of a path that names more than a part of a package: `weather` for `weather/dist/index.js`.
fn package_name(word: &str) -> String {
    // The drive of a path is not a name.
    let is_name = |part: &&str| part.chars().any(char::is_alphanumeric) && !part.ends_with(':');
    let mut parts = word.rsplit(['/', '\\']).filter(is_name).map(|part| bare_name(part.trim_start_matches('@')));
    parts.find(|part| !GENERIC_NAMES.contains(&part.as_str())).unwrap_or_else(|| bare_name(word))
}

/// The last part of a path without its extension, or of a package or image without its version.
fn bare_name(word: &str) -> String {
    let name = word.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or(word);
    let name = name.split_once(['@', ':']).filter(|(name, _)| !name.is_empty()).map_or(name, |(name, _)| name);
    name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map_or(name, |(stem, _)| stem).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_named_after_what_it_runs() {
        for (line, expected) in [
            ("/opt/bin/weather-server --port 1", "weather-server"),
            ("C:\\tools\\server.exe", "server"),
            ("./server.py", "server"),
            ("npx -y @modelcontextprotocol/server-filesystem@2025.1 /tmp", "server-filesystem"),
            ("npx -y mcp-server", "mcp-server"),
            ("cmd /c npx -y mcp-server@latest", "mcp-server"),
            ("env A=1 uvx mcp-server", "mcp-server"),
            ("uv tool run mcp-server", "mcp-server"),
            ("python3.12 -u src/weather.py", "weather"),
            ("python3 -m weather", "weather"),
            ("docker run -i --rm -e TOKEN -v /data:/data ghcr.io/x/server:1.2 --flag", "server"),
            ("go run ./cmd/weather/", "weather"),
            ("node /srv/weather/dist/index.js", "weather"),
            ("node weather/build/src/main.js --port 1", "weather"),
            ("node C:\\weather\\dist\\index.js", "weather"),
            ("node C:\\dist\\index.js", "index"),
            ("node node_modules/@scope/weather-mcp/dist/cli.js", "weather-mcp"),
            ("node dist/index.js", "index"),
            ("node ../dist/index.js", "index"),
            ("python3 -m weather.server", "weather"),
            ("/opt/weather/server", "server"),
            ("/opt/weather/server.py", "weather"),
            ("npx -y @weather/server", "weather"),
            ("npx", "npx"),
            ("npx --yes", "npx"),
        ] {
            let words: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
            assert_eq!(started_program(&words[0], &words[1..]), expected, "{line}");
        }
        let code = ["-c".to_owned(), "import server; server.run()".to_owned()];
        assert_eq!(started_program("python3", &code), "python3");
    }

    #[test]
    fn a_secret_is_not_a_name() {
        let key = "sk_live_4eC39HqLyjWDarjtT1zdp7dc".to_owned();
        assert_eq!(started_program("npx", &[key, "server".to_owned()]), "server");
    }
}
