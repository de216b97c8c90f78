//! Whose memory it is: what a server is told of who we are, in a hash, so that nothing remembered crosses from one
//! identity to another (`MSG-10`).

use std::ffi::OsString;
use std::path::Path;
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use crate::env::OWN_PREFIX;
use crate::transport::{Endpoint, HttpEndpoint, Inherited, StdioEndpoint};

/// Variables of the terminal, the window and the shell: another one makes nobody another. Which program is found is
/// looked at elsewhere ([`stamp`](super::stamp)).
const PASSING: [&str; 33] = [
    "_",
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
    "WINDOW",
    "WINDOWID",
    "WINDOWPATH",
    "WT_PROFILE_ID",
    "WT_SESSION",
    "XDG_ACTIVATION_TOKEN",
    "XDG_SESSION_ID",
];
/// How the names of others begin; those of our own are never handed on.
const PASSING_KINDS: [&str; 15] = [
    "ALACRITTY_",
    "DIRENV_",
    "GHOSTTY_",
    "GNOME_TERMINAL_",
    "ITERM_",
    "KITTY_",
    "KONSOLE_",
    OWN_PREFIX,
    "TERM_",
    "TILIX_",
    "VSCODE_",
    "VTE_",
    "WEZTERM_",
    "ZELLIJ",
    "_CLAP_",
];

/// Feeds a text to a hash so that no two rows of texts are the same.
pub(super) fn feed(hash: &mut Sha256, text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    hash.update(text.len().to_le_bytes());
    hash.update(text);
}

/// Who we are at this place, with these credentials.
pub(super) fn of(endpoint: &Endpoint, credentials: Option<&str>) -> Sha256 {
    let mut who = Sha256::new();
    match endpoint {
        Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) => over_http(&mut who, endpoint),
        Endpoint::Stdio(endpoint) => as_a_child(&mut who, endpoint),
        Endpoint::Unix(_) => {}
    }
    feed(&mut who, credentials.unwrap_or_default());
    who
}

/// Headers and a certificate, which is looked at only where there is one.
fn over_http(who: &mut Sha256, endpoint: &HttpEndpoint) {
    for (name, value) in &endpoint.headers {
        feed(who, name);
        feed(who, value.reveal());
    }
    if let Some(cert) = &endpoint.tls.cert {
        feed(who, cert.as_os_str().as_encoded_bytes());
        feed(who, changed(cert).to_le_bytes());
    }
}

/// When a file was changed last, in nanoseconds.
fn changed(path: &Path) -> u128 {
    let time = std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |time| time.as_nanos())
}

/// The variables that the child gets, configured or inherited.
fn as_a_child(who: &mut Sha256, endpoint: &StdioEndpoint) {
    for (name, value) in &endpoint.env {
        feed(who, name);
        feed(who, value.reveal());
    }
    feed(who, "inherited");
    match &endpoint.inherited {
        Inherited::Only(some) => {
            for (name, value) in some.iter().filter(|(name, _)| !passes(name.as_bytes())) {
                feed(who, name);
                feed(who, value.reveal());
            }
        }
        Inherited::AllBut(names) => {
            let withheld = |name: &OsString| names.iter().any(|other| name == other.as_str());
            let mut all: Vec<_> =
                std::env::vars_os().filter(|(name, _)| !passes(name.as_encoded_bytes()) && !withheld(name)).collect();
            // A shell may hand them on in another order.
            all.sort_unstable();
            for (name, value) in &all {
                feed(who, name.as_encoded_bytes());
                feed(who, value.as_encoded_bytes());
            }
        }
    }
}

/// Whether a variable of this name says nothing of who we are.
fn passes(name: &[u8]) -> bool {
    PASSING.iter().any(|passing| passing.as_bytes() == name)
        || PASSING_KINDS.iter().any(|kind| name.starts_with(kind.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::secret::Secret;
    use crate::transport::{HttpMode, Tls};

    fn hash(endpoint: Endpoint) -> Vec<u8> {
        of(&endpoint, None).finalize().to_vec()
    }

    #[test]
    fn another_certificate_makes_another_of_us() {
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
                url: "https://example.com/mcp".parse().unwrap(),
                headers: Vec::new(),
                mode: HttpMode::Auto,
                tls: Tls { cert: cert.map(Path::to_owned), ..Tls::default() },
                proxy: None,
                socket: None,
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
    fn what_is_handed_on_by_name_counts_but_for_what_passes() {
        let with = |pairs: &[(&str, &str)]| {
            let some = pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
            hash(Endpoint::Stdio(StdioEndpoint { inherited: Inherited::Only(some), ..StdioEndpoint::default() }))
        };
        let alice = with(&[("API_KEY", "alice")]);
        assert_eq!(with(&[("API_KEY", "alice"), ("TERM_PROGRAM", "x"), ("PWD", "/"), ("TMUX", "1")]), alice);
        assert_ne!(with(&[("API_KEY", "alice"), ("TERMINAL_KEY", "x")]), alice);
        assert_ne!(with(&[("API_KEY", "bob")]), alice);
        assert_ne!(with(&[("API_KEY", "alice"), ("PWD_FILE", "x")]), alice);
        assert_ne!(with(&[("API_KEYalice", "")]), alice);
    }
}
