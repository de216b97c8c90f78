//! Texts of errors of hyper, reqwest and rustls by which mcpipe recognizes what has no type or method. They are not
//! shown.

/// hyper's error for bytes that arrived on a connection without a request. It has no `is_` method.
pub(super) const UNEXPECTED_MESSAGE: &str = "received unexpected message from connection";
/// How hyper's errors begin for a status line or header that is not HTTP. Others are invalid lengths and sizes.
pub(super) const NOT_HTTP_ERROR_PREFIX: &str = "invalid HTTP";
/// hyper-util's error for a proxy that responded with 407. The type is not public.
pub(super) const PROXY_AUTHORIZATION_REQUIRED: &str = "proxy authorization required";
/// How the errors of layers begin that add nothing to their cause.
pub(super) const UNINFORMATIVE_PREFIXES: [&str; 8] = [
    "error sending request",
    "client error (",
    "request or response body error",
    "operation was canceled",
    // The system says what failed.
    "dns error",
    "error resolving DNS",
    "tcp connect error",
    // The proxy is named in the message.
    "tunnel error: failed to create underlying connection",
];
/// hyper's errors for a connection that was closed before the request was written.
pub(super) const CONNECTION_ENDED: [&str; 3] = ["channel closed", "connection closed", "connection was not ready"];
/// How rustls's error ends for a peer that does not speak TLS.
pub(super) const NOT_TLS_ERROR_SUFFIX: &str = "of type InvalidContentType";
