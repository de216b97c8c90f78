//! Failures below HTTP, told so that a person can act on them: the whole chain of causes, and a hint.

use std::error::Error;

use reqwest::Url;
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::direct::Fault;
use super::{refusal, tls};
use crate::error::{Again, Class, Failure};

/// How hyper names bytes that came before any request was written.
const UNEXPECTED: &str = "received unexpected message from connection";
/// The same in words.
const EARLY: &str = "it spoke before it was asked";
/// How layers begin that say nothing of their own.
const LAYERS: [&str; 4] =
    ["error sending request", "client error (", "request or response body error", "operation was canceled"];

/// What is known of an error beside its texts.
#[derive(Clone, Copy, Debug, Default)]
struct Kind {
    /// There was no connection.
    connect: bool,
    /// Time ran out.
    timeout: bool,
    /// The host name is not known.
    dns: bool,
    /// The request could not even be put together.
    builder: bool,
    /// Nothing of the request was written.
    unwritten: bool,
}

/// Why no answer came from `url`, or why it broke off.
pub(crate) fn failure(error: reqwest::Error, url: &Url) -> Failure {
    let error = error.without_url();
    let kind = Kind {
        connect: error.is_connect(),
        timeout: error.is_timeout(),
        dns: error.is_dns(),
        builder: error.is_builder(),
        unwritten: is_unwritten(&error),
    };
    told(&error, kind, url)
}

/// The same of a connection of our own.
pub(super) fn direct(fault: &Fault, url: &Url) -> Failure {
    let kind = match fault {
        Fault::Connect(_) => Kind { connect: true, ..Kind::default() },
        Fault::Late => Kind { connect: true, timeout: true, ..Kind::default() },
        Fault::Request(_) => Kind { builder: true, ..Kind::default() },
        Fault::Broken(_) => Kind::default(),
        Fault::Unwritten(_) => Kind { unwritten: true, ..Kind::default() },
    };
    told(fault, kind, url)
}

fn told(error: &(dyn Error + 'static), kind: Kind, url: &Url) -> Failure {
    let shown = refusal::shown(url);
    let chain = chain(error, kind.unwritten);
    let foreign = !kind.connect && chain.iter().any(|cause| cause.starts_with("invalid HTTP") || cause == EARLY);
    let (class, what) = if kind.timeout && kind.connect {
        (Class::Timeout, format!("cannot connect to {shown} in time"))
    } else if kind.connect {
        (Class::Unreachable, format!("cannot connect to {shown}"))
    } else if foreign {
        (Class::Protocol, format!("{shown} does not speak HTTP"))
    } else if hyper_error(error).is_some_and(hyper::Error::is_parse) {
        (Class::Protocol, format!("the answer of {shown} is no valid HTTP"))
    } else if kind.builder {
        (Class::Usage, format!("cannot ask {shown}"))
    } else {
        (Class::Unreachable, format!("the connection to {shown} broke off"))
    };
    let mut failure = Failure::new(class, what);
    let proxy = chain.iter().any(|cause| cause.contains("proxy authorization required"));
    let hint = hint(error, kind, url, proxy).or_else(|| foreign.then(|| "check the port".to_owned()));
    failure.details_mut().causes = chain;
    failure.details_mut().unsent = kind.connect || kind.builder || kind.unwritten;
    // Whoever does not trust the other, or may not pass, will not the next time either.
    if tls_error(error).is_none() && !proxy && matches!(class, Class::Unreachable | Class::Timeout) {
        failure = failure.again(Again { unsent: kind.connect || kind.unwritten, ..Again::default() });
    }
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// An answer in an encoding that nobody asked for (RFC 9110 §12.5.3).
pub(super) fn not_offered(encoding: &str, url: &Url) -> Failure {
    let encoding: String = encoding.chars().take(40).collect();
    let what = format!("the answer of {} is compressed as '{encoding}', which was not asked for", refusal::shown(url));
    Failure::new(Class::Protocol, what).hint("ask its operator to honour Accept-Encoding")
}

/// The texts of an error and of what lies behind it, without layers that say nothing of their own.
fn chain(error: &(dyn Error + 'static), unwritten: bool) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let empty = LAYERS.iter().any(|start| text.starts_with(start));
        let text = if unwritten { before_any_word(text) } else { text };
        let repeated = causes.last().is_some_and(|last| last.ends_with(&text));
        if !empty && !repeated {
            causes.push(in_words(text));
        }
        next = error.source();
    }
    if unknown_issuer(error) {
        causes.extend(tls::problem().map(|problem| format!("of the system's authorities: {problem}")));
    }
    causes
}

/// What hyper says of a connection that ended before anything was written, which hangs on how far it had come with it.
fn before_any_word(text: String) -> String {
    match text.as_str() {
        UNEXPECTED => EARLY.to_owned(),
        "channel closed" | "connection closed" | "connection was not ready" => "it hung up at once".to_owned(),
        _ => text,
    }
}

/// The error of HTTP itself inside.
fn hyper_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a hyper::Error> {
    let mut next: Option<&'a (dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Whether nothing of the request was written, for sure: it was given to no connection, or handed back by one.
fn is_unwritten(error: &(dyn Error + 'static)) -> bool {
    hyper_error(error).is_some_and(|error| {
        // On a connection that a request is under way on, nothing is unexpected.
        error.is_canceled() || error.is_closed() || error.to_string() == UNEXPECTED
    })
}

/// What the TLS library says of a certificate in the terms of its own code, in words.
fn in_words(text: String) -> String {
    let known = [
        ("CaUsedAsEndEntity", "it is that of an authority, and no server may show it"),
        ("EndEntityUsedAsCa", "it is signed by one that is no authority"),
        ("UnsupportedCertVersion", "it is of a version that is no longer accepted (X.509 v3 is needed)"),
        ("UnsupportedSignatureAlgorithm", "its signature is of a kind that is not accepted"),
    ];
    match (text.split_once("Other(OtherError("), known.iter().find(|(code, _)| text.contains(code))) {
        (Some((before, _)), Some((_, words))) => format!("{before}{words}"),
        _ => text,
    }
}

fn unknown_issuer(error: &(dyn Error + 'static)) -> bool {
    matches!(tls_error(error), Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)))
}

/// Whether TLS is what failed.
pub(super) fn is_tls(error: &reqwest::Error) -> bool {
    tls_error(error).is_some()
}

/// The TLS error inside; it rides in I/O errors, which do not name what they hold as their source.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = held.map(|held| held as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

fn hint(error: &(dyn Error + 'static), kind: Kind, url: &Url, proxy: bool) -> Option<String> {
    use rustls::Error as Tls;
    if let Some(error) = tls_error(error) {
        return Some(match error {
            Tls::InvalidCertificate(CertificateError::UnknownIssuer) => {
                "if you trust its authority, name the file with --cacert FILE".to_owned()
            }
            Tls::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
                "the certificate has expired: its owner must renew it (and check this machine's clock)".to_owned()
            }
            Tls::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => "use the host name that the certificate is for".to_owned(),
            Tls::InvalidCertificate(_) => {
                "if you trust this very certificate, name its file with --cacert FILE".to_owned()
            }
            Tls::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure) => {
                "the server may want a client certificate: --cert FILE --key FILE".to_owned()
            }
            Tls::InvalidMessage(InvalidMessage::InvalidContentType) => {
                format!("the server may not speak TLS there; if you mean that, use http://{}", after_scheme(url))
            }
            _ => return None,
        });
    }
    let host = url.host_str().unwrap_or_default();
    if kind.dns {
        Some(format!("check the host name '{host}' and the network"))
    } else if kind.timeout {
        Some("check the network, or wait longer with --connect-timeout TIME".to_owned())
    } else if proxy {
        Some("put the name and password into the proxy's URL".to_owned())
    } else if kind.connect {
        Some("check that the server is running, and its port".to_owned())
    } else {
        None
    }
}

fn after_scheme(url: &Url) -> String {
    refusal::shown(url).split_once("://").map_or_else(String::new, |(_, rest)| rest.to_owned())
}
