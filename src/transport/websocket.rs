//! WebSocket (RFC 6455): one JSON-RPC message a text frame, under the subprotocol `mcp`.
//!
//! No revision specifies it; SDKs have served it, and gateways do. Like standard streams it is one stream
//! for everything, so eras, requests of the server and cancellation work as they do there.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use reqwest::Upgraded;
use reqwest::header::{
    HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use super::http::{UpgradeRequest, upgrade};
use super::trace::Trace;
use super::{
    BoxFuture, ConnectedTransport, HttpEndpoint, MAX_MESSAGE, OutgoingMessage, Transport, TransportKind,
    TransportOptions,
};
use crate::error::{ErrorKind, Failure, Result, RetryAdvice};
use crate::transport::message_reader::MessageReader;
use crate::transport::message_writer::{FrameWriter, MessageWriter};

/// The subprotocol.
const SUBPROTOCOL: &str = "mcp";
/// What RFC 6455 §1.3 has both sides append to the key.
const HANDSHAKE_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// How long after a failed write the end of the connection may take to show.
const END_DETECTION_TIMEOUT: Duration = Duration::from_millis(500);
/// How long the server may take to close the connection once we have said goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(300);

/// Connects, over TLS for `wss`.
///
/// # Errors
/// When the server cannot be reached, refuses, or speaks no WebSocket.
pub(super) async fn connect(endpoint: &HttpEndpoint, options: &TransportOptions) -> Result<ConnectedTransport> {
    let key = random_key()?;
    let mut headers = HeaderMap::new();
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let value =
        HeaderValue::from_str(&key).map_err(|error| Failure::new(ErrorKind::Bug, "a bad key").caused_by(&error))?;
    headers.insert(SEC_WEBSOCKET_KEY, value);
    let (stream, said) = upgrade(endpoint, options, UpgradeRequest { protocol: "websocket", headers }).await?;
    check_handshake(&said, &key, &options.trace)?;
    let socket = WebSocketStream::from_raw_socket(stream, Role::Client, Some(websocket_config(MAX_MESSAGE))).await;
    Ok(into_connection(socket, options))
}

/// A key that no cache knows (RFC 6455 §4.1).
fn random_key() -> Result<String> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::new(ErrorKind::Bug, "the system gives no random numbers"))?;
    Ok(STANDARD.encode(bytes))
}

/// What a server that has understood the key answers.
fn accept_value(key: &str) -> String {
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{HANDSHAKE_GUID}").as_bytes()))
}

/// Checks the answer to the handshake (RFC 6455 §4.1).
fn check_handshake(said: &HeaderMap, key: &str, trace: &Trace) -> Result<()> {
    let broken = |cause: &str| {
        Err(Failure::new(ErrorKind::Protocol, "the server's WebSocket handshake is wrong").cause(cause.to_owned()))
    };
    let text = |name| said.get(name).map(|value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()));
    if text(SEC_WEBSOCKET_ACCEPT).is_none_or(|value| value.trim() != accept_value(key)) {
        return broken("its Sec-WebSocket-Accept does not belong to what it was asked");
    }
    match text(SEC_WEBSOCKET_PROTOCOL) {
        Some(chosen) if chosen != SUBPROTOCOL => broken("it chose a subprotocol that was not offered"),
        Some(_) => Ok(()),
        None => {
            trace.note("the server did not choose the WebSocket subprotocol 'mcp'");
            Ok(())
        }
    }
}

fn websocket_config(most: usize) -> WebSocketConfig {
    // Every message is flushed as it is written; big buffers would only be touched for nothing.
    WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(0)
        .max_message_size(Some(most))
        .max_frame_size(Some(most))
}

type UpgradedWebSocket = WebSocketStream<Upgraded>;

fn into_connection(socket: UpgradedWebSocket, options: &TransportOptions) -> ConnectedTransport {
    let (sender, incoming) = mpsc::unbounded_channel();
    let inbox = Arc::new(MessageReader::new(options.trace.clone(), sender, "sent"));
    let (sink, stream) = socket.split();
    let reader = tokio::spawn(read_messages(stream, inbox.clone()));
    let transport = WebSocketTransport {
        message_writer: MessageWriter::spawn(sink, options.trace.clone()),
        reader_task: std::sync::Mutex::new(Some(reader)),
        message_reader: inbox,
    };
    ConnectedTransport { transport: Arc::new(transport), incoming }
}

/// Hands over what comes until the connection ends, then says how it ended. Pings are answered below.
async fn read_messages(mut stream: SplitStream<UpgradedWebSocket>, inbox: Arc<MessageReader>) {
    let mut goodbye = None;
    let failure = loop {
        match stream.next().await {
            Some(Ok(Message::Text(text))) => inbox.handle_text(&text),
            // Not how it should be, but what it means is clear.
            Some(Ok(Message::Binary(bytes))) => inbox.handle_text(&String::from_utf8_lossy(&bytes)),
            Some(Ok(Message::Close(frame))) => goodbye = Some(frame),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) | None => {
                break closed_failure(goodbye.flatten().as_ref());
            }
            // Who has said goodbye may leave as it likes.
            Some(Err(_)) if goodbye.is_some() => break closed_failure(goodbye.flatten().as_ref()),
            Some(Err(error)) => break connection_failure(&error),
        }
    };
    inbox.report_end(failure);
}

/// The server closed the connection (RFC 6455 §7.4).
fn closed_failure(frame: Option<&CloseFrame>) -> Failure {
    let Some(frame) = frame else {
        return Failure::new(ErrorKind::Unreachable, "the server closed the connection")
            .retry_advice(RetryAdvice::default());
    };
    let code = u16::from(frame.code);
    // As registered with IANA: Unauthorized, Forbidden.
    let class = if matches!(code, 3000 | 3003) { ErrorKind::Auth } else { ErrorKind::Unreachable };
    let meaning = match code {
        1000 => "done",
        1001 => "going away",
        1002 => "protocol error",
        1003 => "unacceptable data",
        1007 => "inconsistent data",
        1008 => "against its policy",
        1009 => "message too big",
        1011 => "internal error",
        1012 => "restarting",
        1013 => "try again later",
        1014 => "bad gateway",
        3000 => "unauthorized",
        3003 => "forbidden",
        _ => "a code of its own",
    };
    let again = (class == ErrorKind::Unreachable && code != 1008 && code != 1009).then_some(RetryAdvice::default());
    let failure =
        Failure::new(class, format!("the server closed the connection with {code} ({meaning})")).retry_advice(again);
    if frame.reason.is_empty() { failure } else { failure.cause(frame.reason.as_str().to_owned()) }
}

fn connection_failure(error: &Error) -> Failure {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { size, .. }) => {
            Failure::new(ErrorKind::Protocol, "the server sent a message over the size limit")
                .cause(format!("{size} bytes, and {MAX_MESSAGE} are allowed"))
                .hint("ask for less at a time, where the tool has an argument for that")
        }
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            Failure::new(ErrorKind::Unreachable, "the connection broke off")
                .cause("the server did not say goodbye")
                .retry_advice(RetryAdvice::default())
        }
        Error::Protocol(_) | Error::Utf8(_) | Error::Capacity(_) | Error::AttackAttempt => {
            Failure::new(ErrorKind::Protocol, "the server broke the WebSocket protocol").caused_by(error)
        }
        _ => Failure::new(ErrorKind::Unreachable, "the connection broke off")
            .caused_by(error)
            .retry_advice(RetryAdvice::default()),
    }
}

/// The connection.
struct WebSocketTransport {
    message_writer: MessageWriter<Error>,
    reader_task: std::sync::Mutex<Option<JoinHandle<()>>>,
    message_reader: Arc<MessageReader>,
}

/// One message a text frame, and a closing frame at the end.
impl FrameWriter for SplitSink<UpgradedWebSocket, Message> {
    type Error = Error;

    async fn write_frame(&mut self, text: String) -> Result<(), Error> {
        self.send(Message::text(text)).await
    }

    async fn write_end(&mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let _ = self.send(Message::Close(Some(frame))).await;
    }
}

impl Transport for WebSocketTransport {
    fn kind(&self) -> TransportKind {
        TransportKind::WebSocket
    }

    fn send(&self, message: OutgoingMessage) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let Some(error) = self.message_writer.send(message).await? else { return Ok(()) };
            // How the connection ended says more than the failed write does.
            if self.message_reader.ends_within(END_DETECTION_TIMEOUT).await {
                Ok(())
            } else {
                Err(connection_failure(&error))
            }
        })
    }

    fn abandon(&self, _id: u64) {}

    fn diagnostics(&self) -> (Vec<String>, Option<String>) {
        (Vec::new(), self.message_reader.first_non_message())
    }

    fn close(&self, patient: bool) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let reader = self.reader_task.lock().ok().and_then(|mut reader| reader.take());
            self.message_writer.close().await;
            if patient {
                self.message_reader.ends_within(CLOSE_TIMEOUT).await;
            }
            if let Some(reader) = reader {
                reader.abort();
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_handshake_of_the_standard_is_accepted_and_others_are_not() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        assert_eq!(accept_value(key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let said = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
            check_handshake(&headers.collect(), key, &Trace::default()).map_err(|failure| failure.to_string())
        };
        let good = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(said(&[good]), Ok(()));
        assert_eq!(said(&[good, ("sec-websocket-protocol", "mcp")]), Ok(()));
        assert!(said(&[good, ("sec-websocket-protocol", "chat")]).unwrap_err().contains("not offered"));
        assert!(said(&[("sec-websocket-accept", "x")]).unwrap_err().contains("does not belong"));
        assert!(said(&[]).is_err());
        assert_ne!(super::random_key().unwrap(), super::random_key().unwrap());
    }

    #[test]
    fn close_codes_have_classes_and_meanings() {
        let of = |code: u16, reason: &str| {
            let failure = closed_failure(Some(&CloseFrame { code: code.into(), reason: reason.into() }));
            (failure.kind(), failure.to_string())
        };
        let said = |text: &str| format!("the server closed the connection with {text}");
        assert_eq!(of(1001, "bye"), (ErrorKind::Unreachable, said("1001 (going away): bye")));
        assert_eq!(of(3000, ""), (ErrorKind::Auth, said("3000 (unauthorized)")));
        assert_eq!(of(4711, ""), (ErrorKind::Unreachable, said("4711 (a code of its own)")));
    }
}
