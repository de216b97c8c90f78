//! What the answer to a POST means: messages in a body, messages in a stream, or neither.

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{Response, Url};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::events::{self, Events};
use super::{fault, refusal, sink::Sink};
use crate::error::Result;
use crate::protocol::rpc::{self, Message, Response as Reply};
use crate::transport::sse::Decoder;

/// How much of a body is read that comes with an error status and is not JSON, in bytes.
const ERROR_BODY: usize = 64 * 1024;

/// Passes on an answer whose body is not an event stream; gives the stream back where it is one.
pub(super) async fn read(sink: &Sink, id: u64, in_session: bool, mut response: Response, url: Url) -> Option<Events> {
    let good = response.status().is_success();
    let kind = kind(&response);
    if good && let Some(encoding) = undecoded(&response) {
        sink.broken(Some(id), fault::not_offered(&encoding, &url));
        return None;
    }
    if good && kind == "text/event-stream" {
        return Some(Events::new(response, url, sink.limit));
    }
    let mut refusal = refusal::of(&response, &url, in_session);
    let limit = if good || is_json(&kind) { sink.limit } else { ERROR_BODY };
    let mut body = Vec::new();
    loop {
        let next = match good {
            true => response.chunk().await,
            false => tokio::time::timeout(refusal::PATIENCE, response.chunk()).await.unwrap_or(Ok(None)),
        };
        match next {
            Ok(Some(chunk)) if body.is_empty() && good && !is_json(&kind) && events::looks_like_events(&chunk) => {
                sink.trace.note(&format!("an event stream came as '{kind}'"));
                let mut events = Events::new(response, url, sink.limit);
                match events.push(&chunk) {
                    Ok(()) => return Some(events),
                    Err(failure) => sink.broken(Some(id), failure),
                }
                return None;
            }
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => {
                if good {
                    sink.broken(Some(id), events::too_long(&url));
                    return None;
                }
                break;
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            // Of a refusal, what has come says enough.
            Err(_) if !good => break,
            Err(error) => {
                sink.broken(Some(id), fault::failure(error, &url));
                return None;
            }
        }
    }
    let status = refusal.status;
    // The status says it all: credentials are wanted (401), the session is gone (404).
    let told_by_status = status == 401 || (status == 404 && in_session);
    let text = String::from_utf8_lossy(&body);
    if !told_by_status && let Some(mut messages) = messages(&text, status) {
        for message in &mut messages {
            if let Message::Response(Reply { outcome: Err(error), .. }) = message {
                error.retry_after = refusal.retry_after;
            }
        }
        let answered = messages.iter().any(|message| matches!(message, Message::Response(_)));
        sink.messages(Some(id), text.trim(), messages, Some(status));
        if answered {
            return None;
        }
    }
    refusal.body = refusal::body_head(&body);
    sink.refused(id, refusal);
    None
}

/// The media type, in lower case and without parameters; empty where there is none.
pub(super) fn kind(response: &Response) -> String {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The `Content-Encoding` that is still to be undone: those that we offered are gone by now, body and header.
fn undecoded(response: &Response) -> Option<String> {
    let value = response.headers().get(CONTENT_ENCODING)?;
    let name = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase();
    (!name.is_empty() && name != "identity").then_some(name)
}

fn is_json(kind: &str) -> bool {
    kind == "application/json" || kind.ends_with("+json")
}

/// The messages in a body: JSON-RPC, or events that hold it. `None` where there are none.
fn messages(text: &str, status: u16) -> Option<Vec<Message>> {
    let good = (200..300).contains(&status);
    match rpc::parse(text) {
        Ok(messages) if good => Some(messages),
        Ok(messages) => {
            let responses = messages.iter().all(|message| match message {
                Message::Response(response) => response.id.is_some() || is_rpc(text, status),
                _ => false,
            });
            responses.then_some(messages)
        }
        Err(_) if events::looks_like_events(text.as_bytes()) => {
            let mut decoder = Decoder::new(text.len());
            let mut found = decoder.push(text.as_bytes()).ok()?;
            found.extend(decoder.finish());
            let data = found.iter().filter(|event| event.is_message());
            let messages: Vec<Message> = data.filter_map(|event| rpc::parse(&event.data).ok()).flatten().collect();
            (!messages.is_empty()).then_some(messages)
        }
        Err(_) => None,
    }
}

/// Whether an error body without an id of ours is JSON-RPC rather than some API's own
/// `{"error":"invalid_token"}`: it says so, or its error has a code that is not just the HTTP status.
fn is_rpc(text: &str, status: u16) -> bool {
    #[derive(Deserialize)]
    struct Shape {
        jsonrpc: Option<IgnoredAny>,
        error: Option<serde_json::Value>,
    }
    let shape: Result<Shape, _> = serde_json::from_str(text.trim_start_matches('\u{feff}').trim());
    shape.is_ok_and(|shape| {
        let code = shape.error.as_ref().and_then(|error| error.get("code")).and_then(serde_json::Value::as_i64);
        shape.jsonrpc.is_some() || code.is_some_and(|code| code != i64::from(status))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str, status: u16) -> Option<usize> {
        messages(text, status).map(|messages| messages.len())
    }

    #[test]
    fn a_json_rpc_error_body_is_a_message() {
        assert_eq!(count(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"x"}}"#, 400), Some(1));
        assert_eq!(count(r#"{"error":{"code":-32601,"message":"x"}}"#, 404), Some(1));
        assert_eq!(count(r#"{"id":3,"error":"sloppy"}"#, 500), Some(1));
        assert_eq!(count("\u{feff}{\"jsonrpc\":\"2.0\",\"error\":\"x\"}", 500), Some(1));
    }

    #[test]
    fn other_error_bodies_are_none() {
        for text in [
            r#"{"error":"invalid_token","error_description":"x"}"#,
            r#"{"error":{"code":403,"message":"x"}}"#,
            r#"{"error":{"code":"not_found"}}"#,
            r#"{"id":"req_9","error":"x"}"#,
            r#"{"method":"x"}"#,
            "<html>",
            "",
        ] {
            assert_eq!(count(text, 403), None, "{text}");
        }
    }

    #[test]
    fn batches_and_events_in_a_body_are_read() {
        assert_eq!(count(r#"[{"id":1,"result":{}},{"method":"n"}]"#, 200), Some(2));
        assert_eq!(count("event: message\ndata: {\"id\":1,\"result\":{}}\n\n: x\n", 200), Some(1));
        assert_eq!(count("data: {\"id\":1,\"result\":{}}", 400), Some(1));
        assert_eq!(count("data: hello\n\n", 200), None);
    }
}
