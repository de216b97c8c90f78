//! Reads the response to a POST: messages in a body, messages in a stream, or neither.

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{Response, Url};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::error;
use super::event_stream::{self, EventStream};
use super::incoming::MessageSender;
use super::unexpected_response;
use crate::protocol::rpc::{self, MessageText, RpcMessage, RpcResponse};
use crate::transport::sse::SseDecoder;

/// How many bytes are read of a body that has an error status, after decompression.
const MAX_ERROR_BODY: usize = 64 << 10;

/// Forwards a response, unless its body is an event stream: then that is returned.
pub(super) async fn read_response(
    sink: &MessageSender,
    id: u64,
    in_session: bool,
    mut response: Response,
    url: Url,
) -> Option<EventStream> {
    let is_success = response.status().is_success();
    let kind = media_type(&response);
    if is_success && let Some(encoding) = unsupported_encoding(&response) {
        sink.send_failure(Some(id), error::unsupported_encoding_failure(&encoding, &url)).await;
        return None;
    }
    if is_success && kind == "text/event-stream" {
        return Some(EventStream::new(response, url, sink.max_message_size));
    }
    let charset = event_stream::declared_charset(&response);
    let mut unexpected = unexpected_response::from_head(&response, &url, in_session);
    let limit = if is_success { sink.max_message_size } else { MAX_ERROR_BODY };
    let mut body = Vec::new();
    let deadline = Instant::now() + unexpected_response::BODY_TIMEOUT;
    loop {
        let next = match is_success {
            true => response.chunk().await,
            false => tokio::time::timeout_at(deadline, response.chunk()).await.unwrap_or(Ok(None)),
        };
        match next {
            Ok(Some(chunk))
                if body.is_empty()
                    && is_success
                    && !is_json_media_type(&kind)
                    && event_stream::looks_like_event_stream(&chunk) =>
            {
                sink.trace.note(&format!("the server sent an event stream with the content type '{kind}'"));
                let mut events = EventStream::new(response, url, sink.max_message_size);
                match events.push_bytes(&chunk) {
                    Ok(()) => return Some(events),
                    Err(failure) => sink.send_failure(Some(id), failure).await,
                }
                return None;
            }
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => {
                if is_success {
                    sink.send_failure(Some(id), event_stream::too_long_failure(&url)).await;
                    return None;
                }
                body.extend_from_slice(&chunk[..limit - body.len()]);
                break;
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            // The part of an error body that has arrived is enough.
            Err(_) if !is_success => break,
            Err(error) => {
                sink.send_failure(Some(id), error::request_failure(error, &url)).await;
                return None;
            }
        }
    }
    let status = unexpected.status;
    // These statuses have a fixed meaning: credentials are required (401), the session has ended (404, `HTL-04`).
    let is_special_status = status == 401 || (status == 404 && in_session);
    unexpected.body = unexpected_response::body_head(&body);
    let (text, is_lossy) = charset.decode_owned(body);
    let found = if is_special_status { Err(text) } else { parse_body(text, status) };
    if let Ok(mut found) = found {
        for message in found.messages() {
            if let RpcMessage::Response(RpcResponse { outcome: Err(error), .. }) = message {
                error.retry_after = unexpected.retry_after;
            }
        }
        if is_lossy {
            sink.warn_not_utf8().await;
        }
        let answered = found.messages().iter().any(|message| matches!(message, RpcMessage::Response(_)));
        sink.send_messages(Some(id), found, Some(status)).await;
        if answered {
            return None;
        }
    } else if let Err(text) = found
        && is_success
        && sink.send_recovered(Some(id), &text, Some(status)).await
    {
        return None;
    }
    sink.send_unexpected_response(id, unexpected).await;
    None
}

/// The media type, in lower case and without parameters; empty if there is none.
pub(super) fn media_type(response: &Response) -> String {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The content coding that reqwest has not decoded; it removes the header for those that the request accepted.
fn unsupported_encoding(response: &Response) -> Option<String> {
    let value = response.headers().get(CONTENT_ENCODING)?;
    let name = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase();
    (!name.is_empty() && name != "identity").then_some(name)
}

fn is_json_media_type(kind: &str) -> bool {
    kind == "application/json" || kind.ends_with("+json")
}

/// The messages in a body: JSON-RPC, or an event stream of it. The body itself if there are none.
fn parse_body(text: String, status: u16) -> Result<MessageText, String> {
    let is_success = (200..300).contains(&status);
    let mut found = match MessageText::parse(text) {
        Ok(found) => found,
        Err(text) => {
            let messages = event_stream_messages(&text);
            return if messages.is_empty() { Err(text) } else { Ok(MessageText::new(text, messages)) };
        }
    };
    let is_rpc = is_success || {
        let is_rpc_error = is_rpc_error(found.text(), status);
        found.messages().iter().all(|message| match message {
            RpcMessage::Response(response) => response.id.is_some() || is_rpc_error,
            _ => false,
        })
    };
    if is_rpc { Ok(found) } else { Err(found.text().to_owned()) }
}

/// The messages in a body that is an event stream.
fn event_stream_messages(text: &str) -> Vec<RpcMessage> {
    if !event_stream::looks_like_event_stream(text.as_bytes()) {
        return Vec::new();
    }
    let mut decoder = SseDecoder::new(text.len());
    let mut events = decoder.push(text.as_bytes()).unwrap_or_default();
    events.extend(decoder.finish());
    let data = events.iter().filter(|event| event.is_message());
    data.filter_map(|event| rpc::parse(&event.data).ok()).flatten().collect()
}

/// Whether an error body without a request ID is JSON-RPC rather than some API's own `{"error":"invalid_token"}`: it
/// has a member `jsonrpc`, or its error has a code other than the HTTP status.
fn is_rpc_error(text: &str, status: u16) -> bool {
    #[derive(Deserialize)]
    struct ErrorBody {
        jsonrpc: Option<IgnoredAny>,
        error: Option<serde_json::Value>,
    }
    let shape: Result<ErrorBody, _> = serde_json::from_str(text.trim_start_matches('\u{feff}').trim());
    shape.is_ok_and(|shape| {
        let code = shape.error.as_ref().and_then(|error| error.get("code")).and_then(serde_json::Value::as_i64);
        shape.jsonrpc.is_some() || code.is_some_and(|code| code != i64::from(status))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message_count(text: &str, status: u16) -> Option<usize> {
        parse_body(text.to_owned(), status).ok().map(|mut found| found.messages().len())
    }

    #[test]
    fn a_json_rpc_error_body_is_a_message() {
        assert_eq!(message_count(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"x"}}"#, 400), Some(1));
        assert_eq!(message_count(r#"{"error":{"code":-32601,"message":"x"}}"#, 404), Some(1));
        assert_eq!(message_count(r#"{"id":3,"error":"sloppy"}"#, 500), Some(1));
        assert_eq!(message_count("\u{feff}{\"jsonrpc\":\"2.0\",\"error\":\"x\"}", 500), Some(1));
    }

    #[test]
    fn other_error_bodies_hold_no_messages() {
        for text in [
            r#"{"error":"invalid_token","error_description":"x"}"#,
            r#"{"error":{"code":403,"message":"x"}}"#,
            r#"{"error":{"code":"not_found"}}"#,
            r#"{"id":"req_9","error":"x"}"#,
            r#"{"method":"x"}"#,
            "<html>",
            "",
        ] {
            assert_eq!(message_count(text, 403), None, "{text}");
        }
    }

    #[test]
    fn batches_and_events_in_a_body_are_read() {
        assert_eq!(message_count(r#"[{"id":1,"result":{}},{"method":"n"}]"#, 200), Some(2));
        assert_eq!(message_count("event: message\ndata: {\"id\":1,\"result\":{}}\n\n: x\n", 200), Some(1));
        assert_eq!(message_count("data: {\"id\":1,\"result\":{}}", 400), Some(1));
        assert_eq!(message_count("data: hello\n\n", 200), None);
    }
}
