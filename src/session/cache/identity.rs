//! A hash of everything that identifies the user to a server, so that cached data of one identity is never used for
//! another (`MSG-10`).

use std::ffi::OsString;
use std::path::Path;
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use crate::env::MCPIPE_PREFIX;
use crate::transport::{Endpoint, HttpEndpoint, InheritedEnv, StdioEndpoint};

/// Variables of the terminal, the window system, the shell and the trace of the run. They do not change the identity;
/// the program that `PATH` finds is part of the fingerprint ([`fingerprint`](crate::session::cache::fingerprint)).
const VOLATILE_VARIABLES: [&str; 36] = [
    "_",
    "BAGGAGE",
    "COLORTERM",
    "COLUMNS",
    "DESKTOP_STARTUP_ID",
    "GPG_TTY",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LC_TERMINAL",
    "LC_TERMINAL_VERSION",
    "LINES",
    "LS_COLORS",
    "OLDPWD",
    "PATH",
    "PS1",
    "PWD",
    "SECURITYSESSIONID",
    "SHLVL",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "STY",
    "TERM",
    "TERMCAP",
    "TERMINFO",
    "TMUX",
    "TMUX_PANE",
    "TRACEPARENT",
    "TRACESTATE",
    "WINDOW",
    "WINDOWID",
    "WINDOWPATH",
    "WT_PROFILE_ID",
    "WT_SESSION",
    "XDG_ACTIVATION_TOKEN",
    "XDG_SESSION_ID",
];
/// Prefixes of variables of terminals, shells and mcpipe itself, which do not change the identity.
const VOLATILE_PREFIXES: [&str; 15] = [
    "ALACRITTY_",
    "DIRENV_",
    "GHOSTTY_",
    "GNOME_TERMINAL_",
    "ITERM_",
    "KITTY_",
    "KONSOLE_",
    MCPIPE_PREFIX,
    "TERM_",
    "TILIX_",
    "VSCODE_",
    "VTE_",
    "WEZTERM_",
    "ZELLIJ",
    "_CLAP_",
];

/// Feeds a text to the hash, with its length, so that different sequences of texts differ.
pub(crate) fn hash_field(hash: &mut Sha256, text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    hash.update(text.len().to_le_bytes());
    hash.update(text);
}

/// The identity with these credentials at this target.
pub(crate) fn identity_hash(endpoint: &Endpoint, credentials: Option<&str>) -> Sha256 {
    let mut who = Sha256::new();
    match endpoint {
        Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) => hash_http_identity(&mut who, endpoint),
        Endpoint::Stdio(endpoint) => hash_child_environment(&mut who, endpoint),
        Endpoint::Unix(_) | Endpoint::Replay(_) => {}
    }
    hash_field(&mut who, credentials.unwrap_or_default());
    who
}

/// Hashes headers and the client certificate, if there is one.
fn hash_http_identity(who: &mut Sha256, endpoint: &HttpEndpoint) {
    for (name, value) in &endpoint.headers {
        hash_field(who, name);
        hash_field(who, value.reveal());
    }
    if let Some(cert) = &endpoint.tls.cert {
        hash_field(who, cert.as_os_str().as_encoded_bytes());
        hash_field(who, modified_nanos(cert).to_le_bytes());
    }
}

/// The modification time of a file in nanoseconds.
pub(crate) fn modified_nanos(path: &Path) -> u128 {
    let time = std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |time| time.as_nanos())
}

/// Hashes the variables of the child process, configured and inherited.
fn hash_child_environment(who: &mut Sha256, endpoint: &StdioEndpoint) {
    for (name, value) in &endpoint.env {
        hash_field(who, name);
        hash_field(who, value.reveal());
    }
    hash_field(who, "inherited");
    for (name, value) in inherited_variables(endpoint) {
        hash_field(who, name.as_encoded_bytes());
        hash_field(who, value.as_encoded_bytes());
    }
}

/// The variables that a child process inherits, except for those that do not change the identity.
pub(crate) fn inherited_variables(endpoint: &StdioEndpoint) -> Vec<(OsString, OsString)> {
    match &endpoint.inherited_env {
        InheritedEnv::Only(some) => {
            let some = some.iter().filter(|(name, _)| !is_volatile(name.as_bytes()));
            some.map(|(name, value)| (name.into(), value.reveal().into())).collect()
        }
        InheritedEnv::AllBut(names) => {
            let withheld = |name: &OsString| names.iter().any(|other| name == other.as_str());
            let mut all: Vec<_> = std::env::vars_os()
                .filter(|(name, _)| !is_volatile(name.as_encoded_bytes()) && !withheld(name))
                .collect();
            // The order of variables has no meaning.
            all.sort_unstable();
            all
        }
    }
}

/// Whether a variable of this name is irrelevant for the identity.
fn is_volatile(name: &[u8]) -> bool {
    VOLATILE_VARIABLES.iter().any(|passing| passing.as_bytes() == name)
        || VOLATILE_PREFIXES.iter().any(|kind| name.starts_with(kind.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::secret::Secret;
    use crate::transport::TlsOptions;

    fn hash(endpoint: Endpoint) -> Vec<u8> {
        identity_hash(&endpoint, None).finalize().to_vec()
    }

    #[test]
    fn a_different_certificate_is_a_different_identity() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, "PEM").unwrap();
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
            path
        };
        let (alice, bob) = (file("alice.pem"), file("bob.pem"));
        let with = |cert: Option<&Path>| {
            hash(Endpoint::Http(HttpEndpoint {
                tls: TlsOptions { cert: cert.map(Path::to_owned), ..TlsOptions::default() },
                ..HttpEndpoint::new("https://example.com/mcp".parse().unwrap())
            }))
        };
        assert_eq!(with(Some(&alice)), with(Some(&alice)));
        assert_ne!(with(Some(&alice)), with(Some(&bob)));
        assert_ne!(with(Some(&alice)), with(None));
        let before = with(Some(&alice));
        let file = std::fs::File::options().write(true).open(&alice).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        assert_ne!(with(Some(&alice)), before, "its content may be another");
    }

    #[test]
    fn inherited_variables_count_except_volatile_ones() {
        let with = |pairs: &[(&str, &str)]| {
            let some = pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
            hash(Endpoint::Stdio(StdioEndpoint { inherited_env: InheritedEnv::Only(some), ..StdioEndpoint::default() }))
        };
        let alice = with(&[("API_KEY", "alice")]);
        assert_eq!(with(&[("API_KEY", "alice"), ("TERM_PROGRAM", "x"), ("PWD", "/"), ("TMUX", "1")]), alice);
        assert_ne!(with(&[("API_KEY", "alice"), ("TERMINAL_KEY", "x")]), alice);
        assert_ne!(with(&[("API_KEY", "bob")]), alice);
        assert_ne!(with(&[("API_KEY", "alice"), ("PWD_FILE", "x")]), alice);
        assert_ne!(with(&[("API_KEYalice", "")]), alice);
    }
}
