//! Opens a page in the user's browser, for logins and for servers that request a visit (URL elicitation).
//!
//! Only web pages are opened, and without a shell. mcpipe does not wait until the browser ends.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;
use url::Url;

use crate::env::{self, Environment};
use crate::error::{ErrorKind, Failure, Result};
use crate::transport::process;
use crate::util::loopback::is_loopback;
use crate::util::quoting;

/// A command that runs longer than this has started the browser; the exit status of a shorter one shows if it has.
const STARTUP_GRACE: Duration = Duration::from_secs(2);

/// Parses a URL that may be opened in a browser: `https`, or `http` on this machine (`SEC-01`).
///
/// # Errors
/// Why it must not be opened.
pub fn parse_page_url(text: &str) -> std::result::Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
    match (url.scheme(), url.host()) {
        (_, None) => Err("the URL has no host".to_owned()),
        ("https", _) => Ok(url),
        ("http", _) if is_loopback(&url) => Ok(url),
        ("http", _) => Err("http is only allowed for this machine".to_owned()),
        (scheme, _) => Err(format!("unsupported scheme '{scheme}'; only https is allowed")),
    }
}

/// Opens `url` with `BROWSER` if it is set, otherwise with the system's default browser.
///
/// # Errors
/// [`ErrorKind::Failed`] if it must not be opened or no browser could be started, with the commands that were tried.
pub async fn open(url: &Url, environment: &Environment) -> Result<()> {
    let failed = || Failure::new(ErrorKind::Failed, "cannot open a browser");
    parse_page_url(url.as_str()).map_err(|why| failed().cause(why))?;
    let command_lines = browser_commands(environment);
    if command_lines.is_empty() {
        return Err(failed().cause("no display is available, and BROWSER is not set"));
    }
    let mut failure = failed();
    for command_line in command_lines {
        match start_browser(&command_line, url, environment).await {
            Ok(()) => return Ok(()),
            Err(why) => failure = failure.cause(format!("{}: {why}", command_line.join(" "))),
        }
    }
    Err(failure)
}

/// The command lines to try, in order. `%s` in a word is replaced by the URL; without it, the URL is appended.
fn browser_commands(environment: &Environment) -> Vec<Vec<String>> {
    if let Some(browser) = environment.get(env::BROWSER) {
        let separator = if cfg!(windows) { ';' } else { ':' };
        return browser.split(separator).filter_map(quoting::split).filter(|words| !words.is_empty()).collect();
    }
    default_commands(environment).iter().map(|words| words.split(' ').map(ToOwned::to_owned).collect()).collect()
}

#[cfg(target_os = "macos")]
fn default_commands(_environment: &Environment) -> &'static [&'static str] {
    &["open"]
}

/// What the shell's `start` does, without a shell.
#[cfg(windows)]
fn default_commands(_environment: &Environment) -> &'static [&'static str] {
    &["rundll32 url.dll,FileProtocolHandler"]
}

/// Without a display, `xdg-open` would start a text browser in this terminal.
#[cfg(not(any(target_os = "macos", windows)))]
fn default_commands(environment: &Environment) -> &'static [&'static str] {
    if environment.get(env::WSL_DISTRO_NAME).is_some() {
        return &["wslview", "xdg-open"];
    }
    let display = [env::DISPLAY, env::WAYLAND_DISPLAY].iter().any(|name| environment.get(name).is_some());
    if display { &["xdg-open", "x-www-browser"] } else { &[] }
}

/// Runs one command. The browser keeps running after mcpipe ends.
async fn start_browser(
    command_line: &[String],
    url: &Url,
    environment: &Environment,
) -> std::result::Result<(), String> {
    let mut words: Vec<String> = command_line.iter().map(|word| word.replace("%s", url.as_str())).collect();
    if !command_line.iter().any(|word| word.contains("%s")) {
        words.push(url.to_string());
    }
    let (program, arguments) = words.split_first().ok_or("it has no program")?;
    let mut command = Command::new(environment.resolve_program(program, None));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env_clear().envs(environment.iter().filter(|(name, _)| !env::is_mcpipe_variable(name)));
    // Ctrl-C for mcpipe must not reach the browser.
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    process::exclude_child(child.id());
    match timeout(STARTUP_GRACE, child.wait()).await {
        Err(_) => Ok(()),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(status.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::new(variables.iter().copied(), std::path::Path::new("/"))
    }

    #[test]
    fn only_web_pages_are_opened() {
        let good = ["https://example.com/a?b=c#d", "http://localhost:1/", "http://127.0.0.1", "http://[::1]/"];
        let same_machine = ["http://localhost.:1/", "http://a.localhost/", "http://[::ffff:127.0.0.1]/"];
        for good in good.into_iter().chain(same_machine) {
            assert!(parse_page_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://example.com/",
            "http://localhost.example.com/",
            "http://0.0.0.0/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "data:text/html,x",
            "-flag",
            "https://",
            "",
        ] {
            assert!(parse_page_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn browser_contains_alternative_command_lines() {
        let line = "a 'b c' --new=%s||d".replace('|', if cfg!(windows) { ";" } else { ":" });
        let words = browser_commands(&environment(&[("BROWSER", &line), ("DISPLAY", ":0")]));
        assert_eq!(words, [vec!["a", "b c", "--new=%s"], vec!["d"]]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_is_started_without_a_display() {
        assert!(browser_commands(&environment(&[])).is_empty());
        assert_eq!(browser_commands(&environment(&[("WAYLAND_DISPLAY", "w")]))[0], ["xdg-open"]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_url_is_one_argument_and_mcpipe_variables_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let script = format!("sh -c 'echo \"$*|$MCPIPE_X|\" > {}' x", out.display());
        let url = Url::parse("https://example.com/?a=$(id)&b='\"; c").unwrap();
        let path = std::env::var("PATH").unwrap();
        let here = environment(&[("BROWSER", &script), ("MCPIPE_X", "secret"), ("PATH", &path)]);
        open(&url, &here).await.unwrap();
        assert_eq!(std::fs::read_to_string(out).unwrap(), format!("{url}||\n"));
    }
}
