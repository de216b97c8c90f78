//! Parses what users write in options and configuration: headers, variables, URLs, proxies.

use std::path::Path;

use base64::Engine as _;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use url::ParseError;

use crate::config::bearer::strip_bearer_scheme;
use crate::env::Environment;
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::{REDACTED, Secret};
use crate::util::bounded_read::{self, MAX_FILE};
use crate::util::loopback;
use crate::util::quoting::HIDDEN;
use crate::util::secret_names::looks_secret;
use crate::util::secret_words::{hide_in_likely_url, hide_in_url};
use crate::util::suggest::nearest_name;

/// The supported schemes of proxies.
const PROXY_SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// Parses the value of one `--header`, of which `number` counts from 1: `Name: value`, `Name;` (sent empty), or `@FILE`
/// with one header per line, as in curl.
///
/// # Errors
/// [`ErrorKind::Usage`], never showing the value.
pub fn parse_header_flag(text: &str, number: usize) -> Result<Vec<(String, Secret)>> {
    let Some(file) = text.strip_prefix('@') else {
        // Its content may be a secret, so it is named by its position.
        return parse_header_line(text, &format!("-H number {number}")).map(|header| vec![header]);
    };
    let content = bounded_read::read_to_string(file, MAX_FILE).map_err(|error| {
        Failure::new(ErrorKind::Usage, format!("cannot read the headers in '{file}'")).caused_by(&error)
    })?;
    let lines = content.lines().map(str::trim).enumerate();
    let headers = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    headers.map(|(index, line)| parse_header_line(line, &format!("{file}:{}", index + 1))).collect()
}

/// Parses `Name: value` or `Name;`, which stands at `place`.
fn parse_header_line(text: &str, place: &str) -> Result<(String, Secret)> {
    let failure = |why: &str| {
        Failure::new(ErrorKind::Usage, format!("{place}: {why}"))
            .hint("write it as 'Name: value'; 'Name;' sends it empty")
    };
    let (name, value) = match text.split_once(':') {
        Some((_, value)) if value.trim().is_empty() => {
            let name = text.trim_end().trim_end_matches(':').trim();
            return Err(failure(&format!("the header '{}' has no value", shown_header_name(name))));
        }
        Some((name, value)) => (name.trim(), value.trim()),
        None => match text.trim().strip_suffix(';') {
            Some(name) => (name.trim(), ""),
            None => return Err(failure("the header has no colon")),
        },
    };
    validate_header(name, value).map_err(|why| failure(&why))?;
    Ok((name.to_owned(), Secret::new(value)))
}

/// Checks a header.
///
/// # Errors
/// What is wrong, without the value.
pub fn validate_header(name: &str, value: &str) -> Result<(), String> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("'{}' is not a valid header name", shown_header_name(name)))?;
    HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| format!("the value of the header '{name}' contains a line break or another control character"))?;
    Ok(())
}

/// The name of a header as it was typed, without a secret that follows it in the wrong notation: `Authorization=…`.
fn shown_header_name(name: &str) -> String {
    let is_name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match name.find(|c: char| !is_name_char(c)).filter(|_| looks_secret(name)) {
        Some(end) => format!("{}{HIDDEN}", &name[..name.ceil_char_boundary(end + 1)]),
        None => name.to_owned(),
    }
}

/// Parses the value of one `--env`, of which `number` counts from 1: `KEY=VALUE`.
///
/// # Errors
/// [`ErrorKind::Usage`], never showing the value.
pub fn parse_variable(text: &str, number: usize) -> Result<(String, Secret)> {
    // Its content may be a secret, so it is named by its position.
    let failure = |problem: &str| {
        Failure::new(ErrorKind::Usage, format!("-e number {number}: the variable {problem}"))
            .hint("write it as --env KEY=VALUE")
    };
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !text.contains('\0') => Ok((name.to_owned(), Secret::new(value))),
        Some(_) => Err(failure("has no name")),
        None => Err(failure("has no value")
            .cause("the server inherits your environment already; --env sets a variable to a value")),
    }
}

/// A URL, the credentials in it, and the URL as it may be displayed.
#[derive(Debug)]
pub struct ParsedUrl {
    /// The URL without user, password and fragment.
    pub url: Url,
    /// The value of `Authorization` for its user and password.
    pub basic_auth: Option<Secret>,
    /// The URL without query parameters that look like secrets.
    pub display_url: String,
}

/// Parses a URL with a supported scheme.
///
/// # Errors
/// What is wrong; without the URL if it could show a password.
pub fn parse_url(text: &str) -> Result<ParsedUrl, String> {
    let mut url = Url::parse(text.trim()).map_err(|error| {
        let why = match error {
            ParseError::RelativeUrlWithoutBase => "it has no scheme such as https://".to_owned(),
            other => other.to_string(),
        };
        match text.contains('@') {
            true => format!("invalid URL: {why}"),
            false => format!("invalid URL '{}': {why}", hide_in_likely_url(text, REDACTED)),
        }
    })?;
    if !matches!(url.scheme(), "http" | "https" | "ws" | "wss") {
        let scheme = url.scheme();
        let near = nearest_name(scheme, ["https", "http", "wss", "ws"]);
        let near = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
        let socket =
            if scheme.contains("unix") { " (HTTP over a Unix socket: --unix-socket PATH http://…)" } else { "" };
        return Err(format!(
            "unsupported URL scheme '{scheme}'{near}; use https, http, wss, ws, unix:PATH or replay:FILE{socket}"
        ));
    }
    let basic = basic_auth_header(&url);
    // This cannot fail for a URL with a host, which these schemes always have.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    let shown = hide_in_url(url.as_str(), REDACTED);
    Ok(ParsedUrl { url, basic_auth: basic, display_url: shown })
}

/// The path in `unix:PATH`, also written `unix://PATH`; `None` for anything else.
#[must_use]
pub fn unix_socket_path(text: &str) -> Option<&str> {
    let path = text.trim().strip_prefix("unix:")?;
    Some(path.strip_prefix("//").unwrap_or(path))
}

/// The file in `replay:FILE`; `None` where it is something else.
#[must_use]
pub fn recording_path(text: &str) -> Option<&str> {
    text.trim().strip_prefix("replay:")
}

/// Whether requests to this URL can be read and changed in transit: unencrypted, and to another host.
#[must_use]
pub fn is_plaintext_to_remote(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "ws") && !loopback::is_loopback(url)
}

/// The `Authorization` header for the user and password of a URL (RFC 7617).
fn basic_auth_header(url: &Url) -> Option<Secret> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_encoding::percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_encoding::percent_decode_str(url.password().unwrap_or_default()));
    Some(Secret::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))))
}

/// Parses the URL of a proxy. As in curl, an empty one means no proxy, and `host:port` alone means an HTTP proxy.
///
/// # Errors
/// What is wrong, without the URL, which may contain a password.
pub fn parse_proxy(text: &str) -> Result<Secret, String> {
    let supported = || format!("use {}://", PROXY_SCHEMES.join("://, "));
    if text.is_empty() {
        return Ok(Secret::default());
    }
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&text).map_err(|error| format!("invalid proxy URL: {error}"))?;
    if !PROXY_SCHEMES.contains(&url.scheme()) {
        return Err(format!("unsupported proxy scheme '{}'; {}", url.scheme(), supported()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the proxy URL has no host".to_owned());
    }
    Ok(Secret::new(text))
}

/// The bearer token in a variable, without surrounding white space (files end with a line break).
///
/// # Errors
/// What is wrong, without the token.
pub fn bearer_header_from_env(variable: &str, environment: &Environment) -> Result<Secret, String> {
    let token = environment.get_raw(variable).map(str::trim).unwrap_or_default();
    // Variables often hold the whole value of the header.
    let token = strip_bearer_scheme(token);
    if token.is_empty() {
        let state = if environment.get_raw(variable).is_some() { "is empty" } else { "is not set" };
        return Err(format!("the variable {variable} for the bearer token {state}"));
    }
    let value = format!("Bearer {token}");
    validate_header("Authorization", &value)
        .map_err(|_| format!("the bearer token in the variable {variable} contains control characters"))?;
    Ok(Secret::new(value))
}

/// Checks that a directory exists, since a child process cannot be started otherwise.
///
/// # Errors
/// What is wrong.
pub fn check_directory(path: &Path) -> Result<(), String> {
    match path.metadata() {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(format!("'{}' is not a directory", path.display())),
        Err(error) => Err(format!("cannot use the directory '{}': {error}", path.display())),
    }
}
