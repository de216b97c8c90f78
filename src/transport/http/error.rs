//! Errors without a readable HTTP response (refused connections, failed TLS handshakes, invalid HTTP, another
//! protocol): all causes, and a hint.

use std::error::Error;

use reqwest::Url;
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::library_errors::{
    CONNECTION_ENDED, NOT_HTTP_ERROR_PREFIX, NOT_TLS_ERROR_SUFFIX, PROXY_AUTHORIZATION_REQUIRED, UNEXPECTED_MESSAGE,
    UNINFORMATIVE_PREFIXES,
};
use super::tls;
use crate::error::{ConnectStep, ErrorKind, Failure, RetryAdvice};
use crate::transport::url::redacted_url;
use crate::util::shorten::shorten;

/// Why `url` did not respond, or why the response broke off.
pub(crate) fn request_failure(error: reqwest::Error, url: &Url) -> Failure {
    let error = error.without_url();
    let shown = redacted_url(url);
    let cause = hyper_error(&error);
    let spoke_first = cause.is_some_and(is_unexpected_message);
    // On a connection without a request: nothing of it was written.
    let is_unwritten = spoke_first || cause.is_some_and(|error| error.is_canceled() || error.is_closed());
    let is_not_http = spoke_first
        || cause.is_some_and(|error| error.is_parse() && error.to_string().starts_with(NOT_HTTP_ERROR_PREFIX));
    let (kind, message) = if error.is_timeout() && error.is_connect() {
        (ErrorKind::Timeout, format!("connecting to {shown} timed out"))
    } else if error.is_connect() {
        (ErrorKind::Unreachable, format!("cannot connect to {shown}"))
    } else if is_not_http {
        (ErrorKind::Protocol, format!("{shown} is not an HTTP server"))
    } else if cause.is_some_and(hyper::Error::is_parse) {
        (ErrorKind::Protocol, format!("invalid HTTP response from {shown}"))
    } else if error.is_builder() {
        (ErrorKind::Usage, format!("cannot send a request to {shown}"))
    } else {
        (ErrorKind::Unreachable, format!("the connection to {shown} was lost"))
    };
    let mut failure = Failure::new(kind, message);
    let details = failure.details_mut();
    details.causes = causes(&error, is_unwritten);
    details.is_unsent = error.is_connect() || error.is_builder() || is_unwritten;
    let tls_error = find_tls_error(&error);
    details.connect_step = match tls_error {
        Some(_) => Some(ConnectStep::Tls),
        None if error.is_dns() => Some(ConnectStep::Resolve),
        None if error.is_connect() => Some(ConnectStep::Connect),
        None => is_not_http.then_some(ConnectStep::Http),
    };
    let proxy_wants_login = details.causes.iter().any(|cause| cause.contains(PROXY_AUTHORIZATION_REQUIRED));
    if proxy_wants_login {
        "the proxy requires authentication (HTTP 407)".clone_into(&mut details.message);
        details.causes.clear();
    }
    details.hint = match tls_error {
        Some(tls_error) => tls_hint(tls_error, url),
        None if error.is_dns() => {
            Some(format!("check the host name '{}' and the network", url.host_str().unwrap_or_default()))
        }
        None if error.is_timeout() => Some("check the network, or wait longer with --connect-timeout TIME".to_owned()),
        None if proxy_wants_login => {
            Some("put the credentials into the proxy's URL: --proxy http://USER:PASSWORD@HOST:PORT".to_owned())
        }
        None if error.is_connect() => Some("check that the server is running, and its port".to_owned()),
        None => is_not_http.then(|| "check the port".to_owned()),
    };
    // Another attempt would fail in the same way.
    let is_permanent = tls_error.is_some() || proxy_wants_login;
    if !is_permanent && matches!(kind, ErrorKind::Unreachable | ErrorKind::Timeout) {
        let is_unprocessed = error.is_connect() || is_unwritten;
        details.retry_advice = Some(RetryAdvice { is_unprocessed, ..RetryAdvice::default() });
    }
    failure
}

/// A response with a content coding that the request did not accept (RFC 9110 §12.5.3).
pub(super) fn unsupported_encoding_failure(encoding: &str, url: &Url) -> Failure {
    let encoding = shorten(encoding, 40);
    let message =
        format!("the response from {} is compressed as '{encoding}', which was not requested", redacted_url(url));
    Failure::new(ErrorKind::Protocol, message).hint("ask its operator to honor Accept-Encoding")
}

/// The texts of an error and its sources, without those that add nothing.
fn causes(error: &(dyn Error + 'static), is_unwritten: bool) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    for error in chain(error) {
        let text = error.to_string();
        if UNINFORMATIVE_PREFIXES.iter().any(|start| text.starts_with(start)) {
            continue;
        }
        if error.source().is_some() && (error.is::<reqwest::Error>() || is_body_error(error)) {
            continue;
        }
        let text = match text.as_str() {
            _ if is_incomplete_message(error) => "it was closed before a response came".to_owned(),
            _ if is_unexpected_end(error) => "it was closed before the end of the response".to_owned(),
            UNEXPECTED_MESSAGE => "it sent data before the request".to_owned(),
            text if is_unwritten && CONNECTION_ENDED.contains(&text) => {
                "it closed the connection immediately".to_owned()
            }
            _ if text.ends_with(NOT_TLS_ERROR_SUFFIX) => "the response is not TLS".to_owned(),
            _ => describe_certificate_error(text),
        };
        if !causes.last().is_some_and(|last| last.ends_with(&text)) {
            causes.push(text);
        }
    }
    let is_unknown_issuer =
        matches!(find_tls_error(error), Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)));
    if is_unknown_issuer {
        causes.extend(
            tls::system_roots_read_error().map(|error| format!("the system's certificate authorities: {error}")),
        );
    }
    causes
}

/// Whether hyper found the end of the connection where it expected a response.
fn is_incomplete_message(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message)
}

/// Whether hyper could not read or write, for which its source says why.
fn is_body_error(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(|error| !error.is_parse() && !error.is_user())
}

/// Whether the connection ended within a body (RFC 9112 §8).
fn is_unexpected_end(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::UnexpectedEof)
}

/// An error and its sources, outermost first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

fn hyper_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a hyper::Error> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn is_unexpected_message(error: &hyper::Error) -> bool {
    error.to_string() == UNEXPECTED_MESSAGE
}

/// Replaces rustls's names of certificate errors by words.
fn describe_certificate_error(text: String) -> String {
    let known = [
        ("CaUsedAsEndEntity", "it is a certificate authority's, which a server must not present"),
        ("EndEntityUsedAsCa", "the issuer is not a certificate authority"),
        ("UnsupportedCertVersion", "its version is not supported (X.509 v3 is required)"),
        ("UnsupportedSignatureAlgorithm", "its signature algorithm is not supported"),
    ];
    match (text.split_once("Other(OtherError("), known.iter().find(|(code, _)| text.contains(code))) {
        (Some((before, _)), Some((_, words))) => format!("{before}{words}"),
        _ => text,
    }
}

/// The TLS error, which is inside I/O errors that do not return it as their source.
fn find_tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let inner = |error: &'a (dyn Error + 'static)| -> Option<&'a (dyn Error + 'static)> {
        let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        held.map(|held| held as &(dyn Error + 'static)).or_else(|| error.source())
    };
    std::iter::successors(Some(error), |error| inner(*error)).find_map(|error| error.downcast_ref())
}

fn tls_hint(error: &rustls::Error, url: &Url) -> Option<String> {
    use rustls::Error as Tls;
    let hint = match error {
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "if you trust its certificate authority, pass it with --cacert FILE"
        }
        Tls::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the certificate has expired: its owner must renew it (or this machine's clock is wrong)"
        }
        Tls::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "use the host name that the certificate is for",
        Tls::InvalidCertificate(_) => "if you trust this certificate, pass it with --cacert FILE",
        Tls::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure) => {
            "the server may require a client certificate: --cert FILE --key FILE"
        }
        Tls::InvalidMessage(InvalidMessage::InvalidContentType) => {
            let shown = redacted_url(url);
            let rest = shown.split_once("://").map_or("", |(_, rest)| rest);
            return Some(format!("the server may not support TLS on this port; for plain HTTP use http://{rest}"));
        }
        _ => return None,
    };
    Some(hint.to_owned())
}
