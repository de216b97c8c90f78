//! Turns responses that are not results into failures: error kind, message and hint.

use std::time::Duration;

use serde_json::Value;

use crate::error::{ErrorKind, Failure, RetryAdvice};
use crate::protocol::challenge::parse_challenges;
use crate::protocol::revision::{Revision, RevisionPin, names_revision, supported_revisions};
use crate::protocol::rpc::{RawJson, RpcError, RpcErrorDefect};
use crate::protocol::{code, method};
use crate::session::capabilities;
use crate::session::request::{MAY_HAVE_RUN, MAY_STILL_RUN, RequestOutcome};
use crate::target::Target;
use crate::transport::replay::is_not_recorded;
use crate::transport::{Endpoint, UnexpectedResponse};
use crate::util::duration::format_duration;
use crate::util::shorten::shorten;

/// The failure for a response that is not a result.
#[must_use]
pub fn failure_from_outcome(reply: RequestOutcome, asked: &str, target: &Target) -> Failure {
    let failure = match reply {
        RequestOutcome::Result(_) => Failure::new(ErrorKind::Bug, "a result was taken for a failure"),
        RequestOutcome::Error(error, status) => {
            let pin = target.protocol;
            let about_revision = lacks_pinned_revision(pin, &error, status)
                || (asked == method::INITIALIZE && refuses_revision(&error, status));
            let failure = rpc_failure(error, status, asked, target);
            if about_revision { revision_failure(failure, pin) } else { failure }
        }
        RequestOutcome::UnexpectedResponse(refusal) => {
            let failure = response_failure(&refusal, asked, target);
            let about_revision = refusal.status == 400 && asked == method::INITIALIZE;
            if about_revision { revision_failure(failure, target.protocol) } else { failure }
        }
        RequestOutcome::Failed(failure) => failure,
    };
    failure.server(&target.name)
}

/// Whether a retry may help after this response.
#[must_use]
pub fn retry_advice(reply: &RequestOutcome) -> Option<RetryAdvice> {
    match reply {
        RequestOutcome::Result(_) => None,
        RequestOutcome::Error(error, status) => rpc_error_retry_advice(error, *status),
        RequestOutcome::UnexpectedResponse(refusal) => RetryAdvice::from_status(refusal.status, refusal.retry_after),
        RequestOutcome::Failed(failure) => failure.details().retry_advice,
    }
}

fn rpc_error_retry_advice(error: &RpcError, status: Option<u16>) -> Option<RetryAdvice> {
    let advice = RetryAdvice::from_status(status?, error.retry_after)?;
    // A JSON-RPC error means that the request was read, except for rate limits, which are checked before.
    Some(RetryAdvice { is_unprocessed: advice.is_unprocessed && status == Some(429), ..advice })
}

/// Whether a pinned revision without a handshake seems to be unknown: with HTTP 400 and a code of their own, from the
/// range in which that revision defines none, servers of older revisions refuse requests before the handshake.
fn lacks_pinned_revision(pin: RevisionPin, error: &RpcError, status: Option<u16>) -> bool {
    matches!(pin, RevisionPin::Exact(revision) if revision.is_modern())
        && status == Some(400)
        && error.code.is_some_and(|code| code::LEFT_TO_SERVERS.contains(&code))
}

/// Whether `initialize` was refused for its revision: with the code that the specification shows for this (2025-11-25,
/// basic/lifecycle, "Error Handling"), or naming a revision: some servers use another code,
/// and the revision in the message or in the data is then the only sign.
fn refuses_revision(error: &RpcError, status: Option<u16>) -> bool {
    matches!(status, None | Some(200 | 400))
        && error.code != Some(code::UNSUPPORTED_VERSION)
        && (error.code == Some(code::INVALID_PARAMS) || mentions_revision(error))
}

/// Whether an error names a revision of the protocol.
pub(crate) fn mentions_revision(error: &RpcError) -> bool {
    names_revision(&error.message) || names_revision(&error.data_value().to_string())
}

/// The failure of a server that speaks none of the offered revisions.
fn revision_failure(mut failure: Failure, pin: RevisionPin) -> Failure {
    failure.details_mut().kind = ErrorKind::Protocol;
    match pin {
        RevisionPin::Exact(revision) => failure
            .cause(format!("it may not support {revision}, and no other revision is allowed"))
            .hint("omit --protocol: mcpipe finds out which revision the server supports"),
        RevisionPin::Auto | RevisionPin::Legacy => {
            let offered: Vec<Revision> = Revision::ALL.into_iter().filter(|one| !one.is_modern()).collect();
            failure
                .cause(format!("mcpipe offered {}", join_revisions(&offered)))
                .hint("if you know which revision it supports, name it: --protocol REVISION")
        }
    }
}

/// The failure for a server that accepts `initialize` and then does not know the session that this opened.
pub(crate) fn forgotten_session_failure(response: &UnexpectedResponse, asked: &str) -> Failure {
    let failure = if response.had_session_id {
        Failure::new(ErrorKind::Unreachable, format!("the server no longer knows its session (HTTP 404 for {asked})"))
            .cause("it accepted initialize right before")
            .hint("if several instances serve this URL, route all requests of a session to the same one")
    } else {
        Failure::new(ErrorKind::Unreachable, format!("the server accepted initialize but not {asked} (HTTP 404)"))
            .hint("see the server's log; -vv shows the exchange")
    };
    match response.body_summary() {
        Some(line) => failure.cause(format!("response: {line}")),
        None => failure,
    }
}

/// The failure of a request for which another session had to be opened, if `initialize` was refused. Neither of them was
/// processed.
pub(crate) fn refused_handshake_failure(refusal: RequestOutcome) -> Failure {
    let advice = retry_advice(&refusal).map(|advice| RetryAdvice { is_unprocessed: true, ..advice });
    let failure = match refusal {
        RequestOutcome::UnexpectedResponse(response) => response.to_failure(),
        RequestOutcome::Error(error, _) => {
            Failure::new(ErrorKind::Failed, format!("the server refused {}: {error}", method::INITIALIZE)).rpc(error)
        }
        RequestOutcome::Failed(failure) => failure,
        RequestOutcome::Result(_) => Failure::new(ErrorKind::Bug, "a result was taken for a failure"),
    };
    failure.retry_advice(advice)
}

/// The failure for a result that the request cannot have, such as `null` for a list.
pub(crate) fn invalid_result_failure(asked: &str, result: &RawJson) -> Failure {
    let text = shorten(result.get(), 100);
    Failure::new(ErrorKind::Protocol, format!("the response to {asked} is not a valid result: {text}"))
        .hint("check that the URL is that of an MCP server")
}

/// Whether an error is about the method itself, rather than about something that was not found. Servers use -32601 for
/// an unknown prompt or resource as well, and only the message distinguishes them. It decides what is printed, not the
/// exit code.
fn is_unknown_method(error: &RpcError) -> bool {
    let message = error.message.to_ascii_lowercase();
    error.code == Some(code::METHOD_NOT_FOUND) && (message.is_empty() || message.contains("method"))
}

fn rpc_failure(error: Box<RpcError>, status: Option<u16>, asked: &str, target: &Target) -> Failure {
    let said = if error.message.is_empty() { "no reason given".to_owned() } else { error.message.clone() };
    let failure = match error.code {
        Some(code::UNSUPPORTED_VERSION) => {
            return no_common_revision(&error, target.protocol).rpc(error);
        }
        Some(code::MISSING_CAPABILITY) => missing_capability(&error, &said),
        _ if matches!(target.endpoint, Endpoint::Replay(_)) && is_not_recorded(&error) => {
            return Failure::new(ErrorKind::Failed, said)
                .hint("to record it, run the command with the server as the target, and add --record FILE");
        }
        _ => {
            let kind = match status {
                // With 404 the server answers that it does not know the method (Streamable HTTP of the modern
                // revisions).
                Some(status @ (401 | 403 | 405..)) if ErrorKind::from_http_status(status) != ErrorKind::Protocol => {
                    ErrorKind::from_http_status(status)
                }
                _ if matches!(error.defect, Some(RpcErrorDefect::NotAnObject(_))) => ErrorKind::Protocol,
                _ => ErrorKind::Failed,
            };
            let words = error.to_string();
            match (
                status.filter(|_| matches!(kind, ErrorKind::Auth | ErrorKind::Unreachable)),
                capabilities::method_capability(asked),
            ) {
                (Some(status), _) => {
                    Failure::new(kind, format!("the server refused {asked}: {words}")).cause(format!("HTTP {status}"))
                }
                // Servers refuse an unknown tool with the same message.
                (None, Some((_, what))) if is_unknown_method(&error) && asked != method::TOOLS_CALL => {
                    Failure::new(kind, format!("the server offers no {what}"))
                        .cause(format!("it refused {asked}: {words}"))
                        .hint(capabilities::list_hint(target))
                }
                (None, _) => Failure::new(kind, format!("the server refused {asked}: {words}")),
            }
        }
    };
    let failure = match error.retry_after {
        Some(after) if failure.details().hint.is_none() => failure.hint(retry_hint(Some(after))),
        _ => failure,
    };
    failure.retry_advice(rpc_error_retry_advice(&error, status)).rpc(error)
}

/// The capability that the server requires, and the option that enables it (-32021).
fn missing_capability(error: &RpcError, said: &str) -> Failure {
    let data = error.data_value();
    let mut failure =
        Failure::new(ErrorKind::Failed, format!("the server needs a capability that was not offered: {said}"));
    let mut hints = Vec::new();
    let needed = data.get("requiredCapabilities").and_then(Value::as_object);
    for (name, details) in needed.into_iter().flatten() {
        let part = |part: &str| details.get(part).is_some();
        let (why, hint) = match name.as_str() {
            "elicitation" if part("url") => ("the server asks you to visit a page", Some("run it at a terminal")),
            "elicitation" => (
                "the server asks for your input",
                Some("run it at a terminal, or use --elicit accept or --elicit JSON"),
            ),
            "sampling" if part("tools") => {
                ("the server asks for a model that can call tools; mcpipe offers sampling only without tools", None)
            }
            "sampling" => ("the server uses a model", Some("--sampling-command CMD")),
            "roots" => ("the server asks for your directories", Some("--root DIR")),
            _ => ("mcpipe does not support it", None),
        };
        failure = failure.cause(format!("{name}: {why}"));
        hints.extend(hint);
    }
    if hints.is_empty() { failure } else { failure.hint(format!("offer it: {}", hints.join("; "))) }
}

fn response_failure(refusal: &UnexpectedResponse, asked: &str, target: &Target) -> Failure {
    let status = refusal.status;
    let url = &refusal.url;
    let kind = ErrorKind::from_http_status(status);
    let failure = match status {
        401 if target.has_own_credentials() => {
            let hint = target.bearer_hint().unwrap_or_else(|| {
                "check the token: --bearer-env or -H Authorization, or bearer_env or headers in the configuration"
                    .to_owned()
            });
            Failure::new(kind, "the server refused the credentials that are configured (HTTP 401)").hint(hint)
        }
        401 => Failure::new(kind, "the server requires authentication (HTTP 401)")
            .hint(format!("pass the credentials that it requires: {}", credentials_hint(target))),
        403 => {
            Failure::new(kind, "the server refused access (HTTP 403)").hint(target.bearer_hint().unwrap_or_else(|| {
                format!("check the token or the headers that are sent: {}", credentials_hint(target))
            }))
        }
        404 => Failure::new(kind, format!("no MCP server at {url} (HTTP 404)"))
            .hint("check the path of the URL; servers often listen at /mcp or /sse"),
        408 | 425 => Failure::new(kind, format!("the server rejected the request (HTTP {status})"))
            .hint(retry_hint(refusal.retry_after)),
        407 => Failure::new(kind, "the proxy requires authentication (HTTP 407)")
            .hint("put the credentials into the proxy's URL: --proxy http://USER:PASSWORD@HOST:PORT"),
        429 => {
            Failure::new(kind, "the server received too many requests (HTTP 429)").hint(retry_hint(refusal.retry_after))
        }
        500.. => {
            let failure = Failure::new(kind, format!("the server failed (HTTP {status})"));
            match refusal.retry_after {
                // A web server that does not know the method POST.
                None if status == 501 => failure.hint("check that the URL is that of an MCP server"),
                None if matches!(status, 502..=504) => {
                    failure.wait_hint("if it is still starting, wait until it is ready: --wait TIME")
                }
                None => failure.hint("see the server's log; -vv shows the exchange"),
                after => failure.hint(retry_hint(after)),
            }
        }
        300..=399 => redirect_failure(refusal, target),
        202 | 204 => Failure::new(kind, format!("the server accepted {asked} but sent no response (HTTP {status})")),
        200..=299 if is_login_page(refusal) => {
            login_page_failure(format!("the server sent a sign-in page instead of a response to {asked}"), target)
        }
        200..=299 => {
            let media_type = refusal.content_type.as_deref().unwrap_or("no content type");
            Failure::new(kind, format!("the response to {asked} is not a JSON-RPC message ({media_type})"))
                .hint("check that the URL is that of an MCP server")
        }
        _ => Failure::new(kind, format!("the server refused {asked} (HTTP {status})"))
            .hint("check that the URL is that of an MCP server"),
    };
    let mut failure = refusal.with_retry_advice(failure);
    let challenges = parse_challenges(&refusal.challenges);
    let description = challenges.iter().find_map(|challenge| challenge.param("error_description"));
    if let Some(description) = description.and_then(first_line) {
        failure = failure.cause(format!("response: {description}"));
    }
    if let Some(line) = refusal.body_summary() {
        failure = failure.cause(format!("response: {line}"));
    }
    // A server that accepted the request, or failed while it ran, may have carried it out.
    let turned_away = failure.details().retry_advice.is_some_and(|advice| advice.is_unprocessed);
    match status {
        _ if asked != method::TOOLS_CALL || turned_away => failure,
        // 202 and 204 announce no result, and a gateway may have answered with an error.
        202 | 204 | 500.. => failure.cause(MAY_STILL_RUN),
        200..=299 => failure.cause(MAY_HAVE_RUN),
        _ => failure,
    }
}

/// The failure for a redirect that was not followed.
fn redirect_failure(refusal: &UnexpectedResponse, target: &Target) -> Failure {
    let UnexpectedResponse { status, location, .. } = refusal;
    let failure = |what: String| Failure::new(ErrorKind::Unreachable, format!("{what} (HTTP {status})"));
    let Some(location) = location else {
        return failure("the server redirects without a location".to_owned())
            .hint("check that the URL is that of an MCP server");
    };
    let origin = |url: &str| url::Url::parse(url).map(|url| url.origin()).ok();
    let home = origin(&refusal.url).is_some_and(|home| Some(home) == origin(location));
    if let Some(login) = login_redirect(refusal, location) {
        let what = match login {
            LoginRedirect::Named => "a sign-in page",
            LoginRedirect::Likely => "which may be a sign-in page",
        };
        let message = format!("the server redirects to {location}, {what} (HTTP {status})");
        return login_page_failure(message, target);
    }
    match status {
        // Redirects within the origin are followed up to a limit.
        307 | 308 if home => failure(format!("the server redirects too many times, last to {location}"))
            .hint("check that the URL is that of an MCP server"),
        _ if home => failure(format!("the server redirects to {location}"))
            .cause("this kind of redirect drops the content of the request")
            .hint(format!("use that URL as the target: {location}")),
        _ => failure(format!("the server redirects to {location}"))
            .cause("requests and credentials do not follow a redirect to another host")
            .hint(format!("if you trust that host, use its URL as the target: {location}")),
    }
}

/// Words in hosts and paths of sign-in pages.
const LOGIN_WORDS: [&str; 14] = [
    "accounts",
    "auth",
    "authenticate",
    "authorize",
    "cas",
    "idp",
    "login",
    "logon",
    "oauth",
    "oauth2",
    "saml",
    "saml2",
    "signin",
    "sso",
];

/// A redirect that leads to a sign-in page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LoginRedirect {
    /// Its address says so.
    Named,
    /// It leads to a page on another host.
    Likely,
}

/// Whether a redirect leads to a sign-in page. 302 and 303 turn a POST into a GET of a page (RFC 9110 §15.4), while
/// 301 and 308 move an endpoint. Applications and their proxies redirect to a page of their own or to the host of an
/// identity provider.
fn login_redirect(refusal: &UnexpectedResponse, location: &str) -> Option<LoginRedirect> {
    let url = url::Url::parse(location).ok()?;
    let host = url.host_str().unwrap_or_default();
    let is_login_word = |word: &str| LOGIN_WORDS.contains(&word.to_ascii_lowercase().as_str());
    // `sign_in` and `log-in` count as one word.
    let segments = url.path_segments().into_iter().flatten();
    let mut words = host.split('.').map(str::to_owned).chain(segments.map(|segment| segment.replace(['-', '_'], "")));
    let elsewhere = url::Url::parse(&refusal.url).is_ok_and(|home| home.host_str() != Some(host));
    match refusal.status {
        302 | 303 | 307 if words.any(|word| is_login_word(&word)) => Some(LoginRedirect::Named),
        302 | 303 if elsewhere => Some(LoginRedirect::Likely),
        _ => None,
    }
}

/// Whether the body is a page with a password form.
fn is_login_page(refusal: &UnexpectedResponse) -> bool {
    let is_html =
        refusal.content_type.as_deref().is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"));
    let body = refusal.body.to_ascii_lowercase();
    is_html && ["type=\"password\"", "type='password'", "type=password"].iter().any(|part| body.contains(part))
}

fn login_page_failure(message: String, target: &Target) -> Failure {
    Failure::new(ErrorKind::Auth, message).hint(format!("pass its credentials with {}", credentials_hint(target)))
}

/// The options that pass credentials, and the command that looks for a login.
fn credentials_hint(target: &Target) -> String {
    let login = target.command_line("auth login", &[]);
    format!("-H 'Authorization: …' or --bearer-env VAR; if it supports OAuth: {login}")
}

fn retry_hint(after: Option<Duration>) -> String {
    match after {
        Some(after) => format!("try again in {}", format_duration(after)),
        None => "try again later".to_owned(),
    }
}

/// The first line that is not empty, shortened.
fn first_line(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(shorten(line, 200))
}

/// Revisions as a list for people.
fn join_revisions(revisions: &[Revision]) -> String {
    revisions.iter().map(|revision| revision.as_str()).collect::<Vec<_>>().join(", ")
}

/// The failure for an unsupported revision (-32022, `ERA-09`).
fn no_common_revision(error: &RpcError, pin: RevisionPin) -> Failure {
    let data = error.data_value();
    let listed = data.get("supported").and_then(Value::as_array);
    let listed: Vec<&str> = listed.into_iter().flatten().filter_map(Value::as_str).collect();
    let listed = if listed.is_empty() { "other revisions".to_owned() } else { listed.join(", ") };
    let known = supported_revisions(&data);
    let allowed = |revision: &Revision| match pin {
        RevisionPin::Auto => true,
        RevisionPin::Legacy => !revision.is_modern(),
        RevisionPin::Exact(pinned) => *revision == pinned,
    };
    // The request was already repeated.
    if let Some(mutual) = known.iter().copied().filter(allowed).max() {
        return Failure::new(
            ErrorKind::Protocol,
            format!("the server refuses revision {mutual}, although it lists it"),
        )
        .cause(format!("it said: {}", error));
    }
    let failure = Failure::new(ErrorKind::Protocol, "the server and mcpipe have no protocol revision in common")
        .cause(format!("the server supports {listed}"));
    let failure = match pin {
        RevisionPin::Legacy if !known.is_empty() => {
            failure.cause("only revisions with an initialize request are allowed")
        }
        RevisionPin::Exact(pinned) if !known.is_empty() => failure.cause(format!("only {pinned} is allowed")),
        _ => failure.cause(format!("mcpipe supports {}", join_revisions(&Revision::ALL))),
    };
    let failure = failure.cause(format!("it said: {}", error));
    if known.is_empty() {
        failure
    } else {
        failure.hint("omit --protocol, or set it to a revision that the server supports")
    }
}
