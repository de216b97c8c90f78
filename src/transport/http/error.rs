//! Failures below HTTP, told so that a person can act on them: the whole chain of causes, and a hint.

use std::error::Error;

use reqwest::Url;
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::tls;
use crate::error::{ErrorKind, Failure, RetryAdvice};
use crate::transport::http::unexpected_response;

/// How hyper names bytes that came before any request was written.
const UNEXPECTED_MESSAGE: &str = "received unexpected message from connection";
/// The same in words.
const SPOKE_FIRST: &str = "it spoke before it was asked";
/// How layers begin that say nothing of their own.
const UNINFORMATIVE_PREFIXES: [&str; 4] =
    ["error sending request", "client error (", "request or response body error", "operation was canceled"];

/// What is known of an error beside its texts.
#[derive(Clone, Copy, Debug, Default)]
struct ErrorFlags {
    /// There was no connection.
    is_connect: bool,
    /// Time ran out.
    is_timeout: bool,
    /// The host name is not known.
    is_dns: bool,
    /// The request could not even be put together.
    is_builder: bool,
    /// Nothing of the request was written.
    is_unsent: bool,
}

/// Why no answer came from `url`, or why it broke off.
pub(crate) fn request_failure(error: reqwest::Error, url: &Url) -> Failure {
    let error = error.without_url();
    let kind = ErrorFlags {
        is_connect: error.is_connect(),
        is_timeout: error.is_timeout(),
        is_dns: error.is_dns(),
        is_builder: error.is_builder(),
        is_unsent: was_not_written(&error),
    };
    let error: &(dyn Error + 'static) = &error;
    let shown = unexpected_response::redacted_url(url);
    let chain = cause_chain(error, kind.is_unsent);
    let foreign =
        !kind.is_connect && chain.iter().any(|cause| cause.starts_with("invalid HTTP") || cause == SPOKE_FIRST);
    let (class, what) = if kind.is_timeout && kind.is_connect {
        (ErrorKind::Timeout, format!("cannot connect to {shown} in time"))
    } else if kind.is_connect {
        (ErrorKind::Unreachable, format!("cannot connect to {shown}"))
    } else if foreign {
        (ErrorKind::Protocol, format!("{shown} does not speak HTTP"))
    } else if find_hyper_error(error).is_some_and(hyper::Error::is_parse) {
        (ErrorKind::Protocol, format!("the answer of {shown} is no valid HTTP"))
    } else if kind.is_builder {
        (ErrorKind::Usage, format!("cannot ask {shown}"))
    } else {
        (ErrorKind::Unreachable, format!("the connection to {shown} broke off"))
    };
    let mut failure = Failure::new(class, what);
    let proxy = chain.iter().any(|cause| cause.contains("proxy authorization required"));
    let hint = error_hint(error, kind, url, proxy).or_else(|| foreign.then(|| "check the port".to_owned()));
    failure.details_mut().causes = chain;
    failure.details_mut().is_unsent = kind.is_connect || kind.is_builder || kind.is_unsent;
    // Whoever does not trust the other, or may not pass, will not the next time either.
    if find_tls_error(error).is_none() && !proxy && matches!(class, ErrorKind::Unreachable | ErrorKind::Timeout) {
        failure = failure
            .retry_advice(RetryAdvice { is_unprocessed: kind.is_connect || kind.is_unsent, ..RetryAdvice::default() });
    }
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// An answer in an encoding that nobody asked for (RFC 9110 §12.5.3).
pub(super) fn unsupported_encoding_failure(encoding: &str, url: &Url) -> Failure {
    let encoding: String = encoding.chars().take(40).collect();
    let what = format!(
        "the answer of {} is compressed as '{encoding}', which was not asked for",
        unexpected_response::redacted_url(url)
    );
    Failure::new(ErrorKind::Protocol, what).hint("ask its operator to honour Accept-Encoding")
}

/// The texts of an error and of what lies behind it, without layers that say nothing of their own.
fn cause_chain(error: &(dyn Error + 'static), unwritten: bool) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let empty = UNINFORMATIVE_PREFIXES.iter().any(|start| text.starts_with(start));
        let text = if unwritten { describe_early_close(text) } else { text };
        let repeated = causes.last().is_some_and(|last| last.ends_with(&text));
        if !empty && !repeated {
            causes.push(describe_certificate_error(text));
        }
        next = error.source();
    }
    if is_unknown_issuer(error) {
        causes.extend(tls::system_roots_error().map(|problem| format!("of the system's authorities: {problem}")));
    }
    causes
}

/// What hyper says of a connection that ended before anything was written, which hangs on how far it had come with it.
fn describe_early_close(text: String) -> String {
    match text.as_str() {
        UNEXPECTED_MESSAGE => SPOKE_FIRST.to_owned(),
        "channel closed" | "connection closed" | "connection was not ready" => "it hung up at once".to_owned(),
        _ => text,
    }
}

/// The error of HTTP itself inside.
fn find_hyper_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a hyper::Error> {
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
fn was_not_written(error: &(dyn Error + 'static)) -> bool {
    find_hyper_error(error).is_some_and(|error| {
        // On a connection that a request is under way on, nothing is unexpected.
        error.is_canceled() || error.is_closed() || error.to_string() == UNEXPECTED_MESSAGE
    })
}

/// What the TLS library says of a certificate in the terms of its own code, in words.
fn describe_certificate_error(text: String) -> String {
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

fn is_unknown_issuer(error: &(dyn Error + 'static)) -> bool {
    matches!(find_tls_error(error), Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)))
}

/// Whether TLS is what failed.
pub(super) fn is_tls_error(error: &reqwest::Error) -> bool {
    find_tls_error(error).is_some()
}

/// The TLS error inside; it rides in I/O errors, which do not name what they hold as their source.
fn find_tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
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

fn error_hint(error: &(dyn Error + 'static), kind: ErrorFlags, url: &Url, proxy: bool) -> Option<String> {
    use rustls::Error as Tls;
    if let Some(error) = find_tls_error(error) {
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
                format!("the server may not speak TLS there; if you mean that, use http://{}", without_scheme(url))
            }
            _ => return None,
        });
    }
    let host = url.host_str().unwrap_or_default();
    if kind.is_dns {
        Some(format!("check the host name '{host}' and the network"))
    } else if kind.is_timeout {
        Some("check the network, or wait longer with --connect-timeout TIME".to_owned())
    } else if proxy {
        Some("put the name and password into the proxy's URL".to_owned())
    } else if kind.is_connect {
        Some("check that the server is running, and its port".to_owned())
    } else {
        None
    }
}

fn without_scheme(url: &Url) -> String {
    unexpected_response::redacted_url(url).split_once("://").map_or_else(String::new, |(_, rest)| rest.to_owned())
}
