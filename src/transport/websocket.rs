//! WebSocket (RFC 6455): one JSON-RPC message per text message, with the subprotocol `mcp`.
//!
//! No revision of MCP specifies it, but some SDKs and gateways support it. Like stdio it is one stream for everything,
//! so eras, server requests and cancellation work in the same way.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use reqwest::Upgraded;
use reqwest::header::{
    HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::rand::{SecureRandom, SystemRandom};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use super::http::{UpgradeRequest, upgrade};
use crate::error::{ErrorKind, Failure, Result, RetryAdvice};
use crate::transport::charset::Charset;
use crate::transport::connection::{ConnectedTransport, TransportKind, TransportOptions};
use crate::transport::endpoint::HttpEndpoint;
use crate::transport::frame_splitter::FrameSplitter;
use crate::transport::message::MAX_MESSAGE;
use crate::transport::message_reader::{MessageReader, stream_channel};
use crate::transport::message_writer::{FrameWriter, MessageWriter};
use crate::transport::stream_transport::StreamTransport;
use crate::transport::trace::Trace;

/// The subprotocol.
const SUBPROTOCOL: &str = "mcp";
/// The constant that both sides append to the key (RFC 6455 §1.3).
const HANDSHAKE_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The longest frame that is sent; a longer message is sent in several (RFC 6455 §5.4).
const MAX_FRAME: usize = 4 << 20;
/// How much may wait to be written. The library answers pings into this buffer while the server does not read.
const WRITE_BUFFER: usize = MAX_FRAME + (1 << 20);

/// Connects, over TLS for `wss`.
///
/// # Errors
/// If the server cannot be reached, returns an error status, or does not support WebSocket.
pub(super) async fn connect(endpoint: &HttpEndpoint, options: &TransportOptions) -> Result<ConnectedTransport> {
    let key = random_key()?;
    let mut headers = HeaderMap::new();
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let value = HeaderValue::from_str(&key)
        .map_err(|error| Failure::new(ErrorKind::Bug, "invalid WebSocket key").caused_by(&error))?;
    headers.insert(SEC_WEBSOCKET_KEY, value);
    let (stream, response_headers) =
        upgrade(endpoint, options, UpgradeRequest { protocol: "websocket", headers }).await?;
    check_handshake(&response_headers, &key, &options.trace)?;
    let stream = FrameSplitter::new(stream, MAX_MESSAGE);
    let socket = WebSocketStream::from_raw_socket(stream, Role::Client, Some(websocket_config(MAX_MESSAGE))).await;
    Ok(into_connection(socket, options))
}

/// A random key (RFC 6455 §4.1).
fn random_key() -> Result<String> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::new(ErrorKind::Bug, "cannot get random numbers from the system"))?;
    Ok(STANDARD.encode(bytes))
}

/// The value of `Sec-WebSocket-Accept` for this key (RFC 6455 §4.2.2).
fn accept_value(key: &str) -> String {
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{HANDSHAKE_GUID}").as_bytes()))
}

/// Checks the server's handshake (RFC 6455 §4.1).
fn check_handshake(headers: &HeaderMap, key: &str, trace: &Trace) -> Result<()> {
    let invalid = |cause: &str| {
        Err(Failure::new(ErrorKind::Protocol, "invalid WebSocket handshake from the server").cause(cause.to_owned()))
    };
    let text = |name| headers.get(name).map(|value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()));
    if text(SEC_WEBSOCKET_ACCEPT).is_none_or(|value| value.trim() != accept_value(key)) {
        return invalid("its Sec-WebSocket-Accept does not match the key");
    }
    if text(SEC_WEBSOCKET_EXTENSIONS).is_some_and(|value| !value.trim().is_empty()) {
        return invalid("it chose an extension that was not offered");
    }
    match text(SEC_WEBSOCKET_PROTOCOL) {
        Some(chosen) if chosen != SUBPROTOCOL => invalid("it chose a subprotocol that was not offered"),
        Some(_) => Ok(()),
        None => {
            trace.note("the server did not choose the WebSocket subprotocol 'mcp'");
            Ok(())
        }
    }
}

fn websocket_config(limit: usize) -> WebSocketConfig {
    // Every message is flushed when it is written, so a write buffer would be useless.
    WebSocketConfig::default()
        .read_buffer_size(16 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit))
}

type UpgradedWebSocket = WebSocketStream<FrameSplitter<Upgraded>>;

fn into_connection(socket: UpgradedWebSocket, options: &TransportOptions) -> ConnectedTransport {
    let (sender, incoming) = stream_channel();
    let message_reader = Arc::new(MessageReader::new(options.trace.clone(), sender, "sent"));
    let (sink, stream) = socket.split();
    let transport = StreamTransport {
        kind: TransportKind::WebSocket,
        message_writer: MessageWriter::spawn(sink, options.trace.clone()),
        reader_task: tokio::spawn(read_messages(stream, message_reader.clone())),
        message_reader,
        write_failure: connection_failure,
    };
    ConnectedTransport { transport: Arc::new(transport), incoming }
}

/// Hands over messages until the connection ends, then reports how it ended. The WebSocket library responds to pings.
async fn read_messages(mut stream: SplitStream<UpgradedWebSocket>, reader: Arc<MessageReader>) {
    let failure = loop {
        match stream.next().await {
            // Messages should be text, but some servers send binary frames.
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                let (text, is_lossy) = Charset::Utf8.decode_owned(message.into_data().into());
                reader.handle_text(text, is_lossy).await;
            }
            // Nothing follows it (RFC 6455 §5.5.1), even if the server keeps the connection open.
            Some(Ok(Message::Close(frame))) => break closed_by_server_failure(frame.as_ref()),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) | None => break closed_by_server_failure(None),
            Some(Err(error)) => break connection_failure(&error),
        }
    };
    reader.report_end(failure).await;
    // Sends the library's response to the close frame.
    while let Some(Ok(_)) = stream.next().await {}
}

/// The server closed the connection (RFC 6455 §7.4).
fn closed_by_server_failure(frame: Option<&CloseFrame>) -> Failure {
    let Some(frame) = frame else {
        return Failure::new(ErrorKind::Unreachable, "the server closed the connection")
            .retry_advice(RetryAdvice::default());
    };
    let code = u16::from(frame.code);
    // Unauthorized and Forbidden in the IANA registry of close codes.
    let kind = if matches!(code, 3000 | 3003) { ErrorKind::Auth } else { ErrorKind::Unreachable };
    let meaning = match code {
        1000 => "normal closure",
        1001 => "going away",
        1002 => "protocol error",
        1003 => "unsupported data",
        1007 => "invalid payload data",
        1008 => "policy violation",
        1009 => "message too big",
        1010 => "extension missing",
        1011 => "internal error",
        1012 => "service restart",
        1013 => "try again later",
        1014 => "bad gateway",
        3000 => "unauthorized",
        3003 => "forbidden",
        3001..3003 | 3004.. => "application-specific",
        _ => "unknown code",
    };
    // These are about what was sent, so sending it again does not help.
    let is_refusal = matches!(code, 1002 | 1003 | 1007..=1010);
    let retry_advice = (kind == ErrorKind::Unreachable && !is_refusal).then_some(RetryAdvice::default());
    let failure = Failure::new(kind, format!("the server closed the connection with {code} ({meaning})"))
        .retry_advice(retry_advice);
    if frame.reason.is_empty() { failure } else { failure.cause(frame.reason.as_str().to_owned()) }
}

fn connection_failure(error: &Error) -> Failure {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { size, .. }) => {
            Failure::new(ErrorKind::Protocol, "the server sent a message that is too long")
                .cause(format!("{size} bytes; the limit is {} MiB", MAX_MESSAGE >> 20))
                .hint("request less data at once, if the tool has an argument for that")
        }
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            Failure::new(ErrorKind::Unreachable, "the connection was lost")
                .cause("the server did not send a close frame")
                .retry_advice(RetryAdvice::default())
        }
        Error::Protocol(_) | Error::Utf8(_) | Error::Capacity(_) | Error::AttackAttempt => {
            Failure::new(ErrorKind::Protocol, "the server violated the WebSocket protocol").caused_by(error)
        }
        _ => Failure::new(ErrorKind::Unreachable, "the connection was lost")
            .caused_by(error)
            .retry_advice(RetryAdvice::default()),
    }
}

/// One message per text frame, and a close frame at the end.
impl FrameWriter for SplitSink<UpgradedWebSocket, Message> {
    type Error = Error;

    async fn write_frame(&mut self, text: String) -> Result<(), Error> {
        // Makes room for a whole frame.
        SinkExt::flush(self).await?;
        if text.len() <= MAX_FRAME {
            return self.send(Message::text(text)).await;
        }
        let mut rest = Bytes::from(text);
        let mut opcode = OpCode::Data(Data::Text);
        while !rest.is_empty() {
            let payload = rest.split_to(rest.len().min(MAX_FRAME));
            self.send(Message::Frame(Frame::message(payload, opcode, rest.is_empty()))).await?;
            opcode = OpCode::Data(Data::Continue);
        }
        Ok(())
    }

    /// Every message is written at once.
    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn write_end(&mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let _ = self.send(Message::Close(Some(frame))).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_a_correct_handshake_is_accepted() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        assert_eq!(accept_value(key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let check = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
            check_handshake(&headers.collect(), key, &Trace::default()).map_err(|failure| failure.to_string())
        };
        let good = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(check(&[good]), Ok(()));
        assert_eq!(check(&[good, ("sec-websocket-protocol", "mcp")]), Ok(()));
        assert!(check(&[good, ("sec-websocket-protocol", "chat")]).unwrap_err().contains("not offered"));
        assert!(check(&[("sec-websocket-accept", "x")]).unwrap_err().contains("does not match"));
        assert!(check(&[]).is_err());
        assert_ne!(super::random_key().unwrap(), super::random_key().unwrap());
    }

    #[test]
    fn close_codes_have_error_kinds_and_meanings() {
        let failure_of = |code: u16, reason: &str| {
            let failure = closed_by_server_failure(Some(&CloseFrame { code: code.into(), reason: reason.into() }));
            (failure.kind(), failure.to_string())
        };
        let said = |text: &str| format!("the server closed the connection with {text}");
        assert_eq!(failure_of(1001, "bye"), (ErrorKind::Unreachable, said("1001 (going away): bye")));
        assert_eq!(failure_of(3000, ""), (ErrorKind::Auth, said("3000 (unauthorized)")));
        assert_eq!(failure_of(4711, ""), (ErrorKind::Unreachable, said("4711 (application-specific)")));
    }
}
