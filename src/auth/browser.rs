//! Opening a URL in the person's browser: no shell, and nothing but http and https (`SEC-01`).

use std::process::{Command, Stdio};
use std::time::Duration;

use url::Url;

use crate::error::{Class, Failure, Result};
use crate::transport::http::is_loopback;

/// How long a program that opens browsers has to show that it cannot.
const PATIENCE: Duration = Duration::from_millis(300);

/// Whether a browser may be sent to this URL: https, or http on this very machine.
///
/// # Errors
/// [`Class::Auth`], without the URL's query.
pub fn check(url: &str) -> Result<()> {
    let refuse = |why: &str| {
        Failure::new(Class::Auth, "the authorization server names no page that may be opened").cause(why.to_owned())
    };
    let parsed = Url::parse(url).map_err(|error| refuse(&error.to_string()))?;
    // What the browser is given is the text, not what the parser makes of it.
    if !url.starts_with("http") || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(refuse("it holds blanks or control characters"));
    }
    match parsed.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(&parsed) => Ok(()),
        "http" => Err(refuse("it is not encrypted (http)")),
        scheme => Err(refuse(&format!("its scheme is '{scheme}'"))),
    }
}

/// Opens a URL: with the program of `BROWSER`, else as the platform does it. Returns when the program has
/// been started and did not fail at once.
///
/// # Errors
/// Why it did not work, in a few words.
pub fn open(url: &str, browser: Option<&str>) -> Result<(), String> {
    check(url).map_err(|failure| failure.to_string())?;
    let words = match browser {
        Some(text) => words(text, url)?,
        None => platform(url),
    };
    let Some((program, arguments)) = words.split_first() else { return Err("BROWSER is empty".to_owned()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(unix)]
    {
        // Ctrl-C at our terminal is not meant for the browser.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
    }
    let mut child = command.spawn().map_err(|error| format!("cannot start '{program}': {error}"))?;
    let started = std::time::Instant::now();
    while started.elapsed() < PATIENCE {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("'{program}' failed ({status})")),
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

/// The words of `BROWSER`, split as a shell would, with the URL in place of `%s` or at the end.
fn words(browser: &str, url: &str) -> Result<Vec<String>, String> {
    let mut words = shlex::split(browser).ok_or("the quotes of BROWSER do not match")?;
    if words.iter().skip(1).any(|word| word.contains("%s")) {
        for word in words.iter_mut().skip(1) {
            *word = word.replace("%s", url);
        }
    } else {
        words.push(url.to_owned());
    }
    Ok(words)
}

fn platform(url: &str) -> Vec<String> {
    let program: &[&str] = if cfg!(target_os = "macos") {
        &["open"]
    } else if cfg!(windows) {
        // `start` belongs to the shell.
        &["rundll32.exe", "url.dll,FileProtocolHandler"]
    } else {
        &["xdg-open"]
    };
    program.iter().copied().chain([url]).map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sec_01_only_pages_of_the_web_are_opened() {
        for good in ["https://as/authorize?a=b%20c", "http://localhost:1/x", "http://127.0.0.1:1/x", "http://[::1]/x"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "http://as/authorize",
            "http://localhost.evil/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "-https://as/",
            " https://as/",
            "https://as/ --flag",
            "https://as/\n",
            "HTTPS://as/",
            "ssh://as/$(calc)",
            "",
        ] {
            assert_eq!(check(bad).unwrap_err().class(), Class::Auth, "{bad}");
        }
    }

    #[test]
    fn sec_01_browser_is_split_into_words_and_never_given_to_a_shell() {
        assert_eq!(words("firefox --new-window", "U").unwrap(), ["firefox", "--new-window", "U"]);
        assert_eq!(words("'/a b/c' -u %s --x=%s", "U").unwrap(), ["/a b/c", "-u", "U", "--x=U"]);
        assert_eq!(words("b; rm $(x)", "U").unwrap(), ["b;", "rm", "$(x)", "U"]);
        assert!(words("'", "U").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_program_that_cannot_open_it_is_told() {
        assert!(open("https://as/", Some("false")).unwrap_err().contains("'false' failed"));
        assert!(open("https://as/", Some("/nonexistent/browser")).unwrap_err().contains("cannot start"));
        assert_eq!(open("https://as/", Some("true")), Ok(()));
        assert!(open("file:///etc/passwd", Some("true")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn the_program_gets_the_url_as_one_word() {
        let dir = tempfile::tempdir().unwrap();
        let (script, out) = (dir.path().join("browser"), dir.path().join("out"));
        std::fs::write(&script, "#!/bin/sh\nprintf '%s|' \"$@\" > \"$(dirname \"$0\")/out\"\n").unwrap();
        let browser = format!("/bin/sh {} -x", script.display());
        open("https://as/?a=1&b=$(touch%20x);c", Some(&browser)).unwrap();
        assert_eq!(std::fs::read_to_string(out).unwrap(), "-x|https://as/?a=1&b=$(touch%20x);c|");
    }
}
