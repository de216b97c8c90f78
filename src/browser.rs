//! Opens a page in the user's own browser: no shell, only web pages, and nothing waited for longer than it
//! takes to see that the browser started.
//!
//! Shared by everything that sends a person to a page: logins, and servers that ask for a visit.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;
use url::Url;

use crate::env::{self, Environment};
use crate::error::{ErrorKind, Failure, Result};
use crate::util::loopback::is_loopback;
use crate::util::quoting;

/// A browser that runs longer than this has started; one that ends sooner tells by its exit status.
const STARTUP_GRACE: Duration = Duration::from_secs(2);

/// Reads a URL that a browser may be sent to: `https`, or `http` on this very machine (`SEC-01`).
///
/// # Errors
/// Why it may not be opened.
pub fn parse_page_url(text: &str) -> std::result::Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("it is no URL: {error}"))?;
    match (url.scheme(), url.host()) {
        (_, None) => Err("it names no host".to_owned()),
        ("https", _) => Ok(url),
        ("http", _) if is_loopback(&url) => Ok(url),
        ("http", _) => Err("plain http is only opened on this machine".to_owned()),
        (scheme, _) => Err(format!("only https pages are opened, not {scheme}:")),
    }
}

/// Opens `url`, by `BROWSER` where it is set, else by the way of the system.
///
/// # Errors
/// [`ErrorKind::Failed`] when it may not be opened or no browser could be started, with what was tried.
pub async fn open(url: &Url, environment: &Environment) -> Result<()> {
    let failed = || Failure::new(ErrorKind::Failed, "no browser could be started");
    parse_page_url(url.as_str()).map_err(|why| failed().cause(why))?;
    let openers = browser_commands(environment);
    if openers.is_empty() {
        return Err(failed().cause("there is no display, and BROWSER is not set"));
    }
    let mut failure = failed();
    for opener in openers {
        match start_browser(&opener, url, environment).await {
            Ok(()) => return Ok(()),
            Err(why) => failure = failure.cause(format!("{}: {why}", opener.join(" "))),
        }
    }
    Err(failure)
}

/// The command lines to try, in order; `%s` in a word stands for the URL, which is the last word without one.
fn browser_commands(environment: &Environment) -> Vec<Vec<String>> {
    if let Some(browser) = environment.get(env::BROWSER) {
        let apart = if cfg!(windows) { ';' } else { ':' };
        return browser.split(apart).filter_map(quoting::split).filter(|words| !words.is_empty()).collect();
    }
    system(environment).iter().map(|words| words.split(' ').map(ToOwned::to_owned).collect()).collect()
}

#[cfg(target_os = "macos")]
fn system(_environment: &Environment) -> &'static [&'static str] {
    &["open"]
}

/// `start` is a word of the shell; this is what it does, without one.
#[cfg(windows)]
fn system(_environment: &Environment) -> &'static [&'static str] {
    &["rundll32 url.dll,FileProtocolHandler"]
}

/// Without a display `xdg-open` would start a browser for terminals, in the midst of ours.
#[cfg(not(any(target_os = "macos", windows)))]
fn system(environment: &Environment) -> &'static [&'static str] {
    if environment.get(env::WSL_DISTRO_NAME).is_some() {
        return &["wslview", "xdg-open"];
    }
    let display = [env::DISPLAY, env::WAYLAND_DISPLAY].iter().any(|name| environment.get(name).is_some());
    if display { &["xdg-open", "x-www-browser"] } else { &[] }
}

/// Starts one opener; it outlives us.
async fn start_browser(opener: &[String], url: &Url, environment: &Environment) -> std::result::Result<(), String> {
    let mut words: Vec<String> = opener.iter().map(|word| word.replace("%s", url.as_str())).collect();
    if !opener.iter().any(|word| word.contains("%s")) {
        words.push(url.to_string());
    }
    let (program, arguments) = words.split_first().ok_or("it names no program")?;
    let mut command = Command::new(environment.resolve_program(program, None));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env_clear().envs(environment.iter().filter(|(name, _)| !env::is_mcpipe_variable(name)));
    // A browser must not end with us, nor hear the interrupt that is meant for us.
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
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
    fn browser_names_alternatives_as_words() {
        let line = "a 'b c' --new=%s||d".replace('|', if cfg!(windows) { ";" } else { ":" });
        let words = browser_commands(&environment(&[("BROWSER", &line), ("DISPLAY", ":0")]));
        assert_eq!(words, [vec!["a", "b c", "--new=%s"], vec!["d"]]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_is_started_where_nothing_can_be_shown() {
        assert!(browser_commands(&environment(&[])).is_empty());
        assert_eq!(browser_commands(&environment(&[("WAYLAND_DISPLAY", "w")]))[0], ["xdg-open"]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_url_is_one_argument_and_secrets_stay_here() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let script = format!("sh -c 'echo \"$*|$MCPIPE_X|\" > {}' x", out.display());
        let url = Url::parse("https://example.com/?a=$(id)&b='\"; c").unwrap();
        let path = std::env::var("PATH").unwrap();
        let here = environment(&[("BROWSER", &script), ("MCPIPE_X", "secret"), ("PATH", &path)]);
        open(&url, &here).await.unwrap();
        assert_eq!(std::fs::read_to_string(out).unwrap(), format!("{url}||\n"));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_next_is_tried_and_every_failure_told() {
        let url = Url::parse("https://example.com/").unwrap();
        let path = std::env::var("PATH").unwrap();
        open(&url, &environment(&[("BROWSER", "false:true"), ("PATH", &path)])).await.unwrap();
        let failure = open(&url, &environment(&[("BROWSER", "false:/no/such"), ("PATH", &path)])).await.unwrap_err();
        let causes = &failure.details().causes;
        assert_eq!(causes.len(), 2, "{causes:?}");
        assert!(causes[0].starts_with("false: exit status") && causes[1].starts_with("/no/such: "), "{causes:?}");
    }
}
