//! Records what is exchanged with a server, for `--record`. `docs/recording.md` describes the file.
//!
//! A connection is recorded between the transport and the session: every message, every failure, and everything else
//! that the session learns from the transport. HTTP headers and logins stay below, so a recording has none of them.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, watch};

use crate::error::{Failure, FailureDetails, Result, RetryAdvice};
use crate::protocol::revision::Revision;
use crate::protocol::rpc::{RpcError, RpcMessage};
use crate::secret::Secret;
use crate::transport::connection::{
    BoxFuture, CloseOutcome, ConnectedTransport, Diagnostics, LegacyHttpSession, Transport, TransportKind,
};
use crate::transport::message::{
    BrokenResponse, Certainty, Incoming, IncomingItem, OutgoingKind, OutgoingMessage, UnexpectedResponse,
    incoming_channel,
};
use crate::transport::recorder::{Recorder, ServerRecorder};

/// The ID that is recorded for a response that names no request of mcpipe's.
const FOREIGN_ID: &str = r#""?""#;

/// Records a connection to a server that is opened, if the exchange is recorded.
pub(super) fn record(
    recorder: &Recorder,
    kind: TransportKind,
    connected: Result<ConnectedTransport>,
) -> Result<ConnectedTransport> {
    let Some(recorder) = recorder.server() else { return connected };
    let connection = recorder.sink.next_connection();
    let mut line = vec![
        ("connection", json!(connection)),
        ("server", json!(recorder.server)),
        ("transport", json!(kind.as_str())),
    ];
    match connected {
        Ok(connected) => {
            recorder.write(&line);
            Ok(record_connection(recorder.clone(), connection, connected))
        }
        Err(failure) => {
            line.push(("failure", recorded_failure(&failure)));
            recorder.write(&line);
            Err(failure)
        }
    }
}

fn record_connection(
    recorder: Arc<ServerRecorder>,
    connection: u64,
    connected: ConnectedTransport,
) -> ConnectedTransport {
    let ConnectedTransport { transport, incoming } = connected;
    let log = ConnectionLog { recorder, connection };
    let (sender, recorded) = incoming_channel();
    tokio::spawn(forward(log.clone(), incoming, sender));
    ConnectedTransport { transport: Arc::new(RecordedTransport { inner: transport, log }), incoming: recorded }
}

/// Records what comes back, and passes it on.
async fn forward(log: ConnectionLog, mut incoming: mpsc::Receiver<Incoming>, sender: mpsc::Sender<Incoming>) {
    while let Some(arrived) = incoming.recv().await {
        log.record_incoming(&arrived);
        if sender.send(arrived).await.is_err() {
            return;
        }
    }
}

/// Writes the lines of one connection.
#[derive(Clone)]
struct ConnectionLog {
    recorder: Arc<ServerRecorder>,
    connection: u64,
}

impl ConnectionLog {
    fn write(&self, rest: &str) {
        self.recorder.sink.write(&format!(r#""connection":{},{rest}"#, self.connection));
    }

    /// A line about what came back; `request` is the request on whose stream it came.
    fn write_received(&self, request: Option<u64>, rest: &str) {
        let request = request.map(|id| format!(r#","request":{id}"#)).unwrap_or_default();
        self.write(&format!(r#""dir":"received"{request},{rest}"#));
    }

    fn record_incoming(&self, arrived: &Incoming) {
        self.write_received(arrived.request_id, &item_members(&arrived.item));
    }
}

/// A transport whose exchange is recorded.
struct RecordedTransport {
    inner: Arc<dyn Transport>,
    log: ConnectionLog,
}

impl Transport for RecordedTransport {
    fn kind(&self) -> TransportKind {
        self.inner.kind()
    }

    fn send(&self, message: OutgoingMessage) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.log.write(&format!(r#""dir":"sent","message":{}"#, message.body));
            let kind = message.kind;
            self.inner.send(message).await.inspect_err(|failure| {
                if let OutgoingKind::Request(id) = kind {
                    self.log.write_received(Some(id), &format!(r#""failure":{}"#, recorded_failure(failure)));
                }
            })
        })
    }

    fn first_id(&self) -> u64 {
        self.inner.first_id()
    }

    fn abandon(&self, id: u64) {
        self.inner.abandon(id);
    }

    fn close(&self, patient: bool) -> BoxFuture<'_, CloseOutcome> {
        // What comes from now on is about the end of the connection.
        self.log.write(r#""closed":true"#);
        self.inner.close(patient)
    }

    fn diagnostics(&self) -> Diagnostics {
        let diagnostics = self.inner.diagnostics();
        let Diagnostics { stderr_tail, first_non_message } = &diagnostics;
        if !stderr_tail.is_empty() || first_non_message.is_some() {
            self.log.write(&format!(
                r#""diagnostics":{}"#,
                json!({ "stderr": stderr_tail, "first_non_message": first_non_message })
            ));
        }
        diagnostics
    }

    fn login_in_progress(&self) -> bool {
        self.inner.login_in_progress()
    }

    fn legacy_session(&self) -> Option<&dyn LegacyHttpSession> {
        self.inner.legacy_session().map(|_| self as &dyn LegacyHttpSession)
    }
}

/// Without a session below, [`Transport::legacy_session`] returns none, and nothing here is called.
impl LegacyHttpSession for RecordedTransport {
    fn set_revision(&self, revision: Revision) {
        self.inner.legacy_session().into_iter().for_each(|session| session.set_revision(revision));
    }

    fn listen(&self) -> BoxFuture<'_, ()> {
        match self.inner.legacy_session() {
            Some(session) => session.listen(),
            None => Box::pin(async {}),
        }
    }

    fn is_listening(&self) -> bool {
        let is_listening = self.inner.legacy_session().is_some_and(LegacyHttpSession::is_listening);
        self.log.write(&format!(r#""listening":{is_listening}"#));
        is_listening
    }

    fn listen_stream_closed(&self) -> BoxFuture<'_, bool> {
        match self.inner.legacy_session() {
            Some(session) => session.listen_stream_closed(),
            None => Box::pin(std::future::pending()),
        }
    }

    fn stream_gaps(&self) -> Option<watch::Receiver<()>> {
        self.inner.legacy_session()?.stream_gaps()
    }

    fn session_id(&self) -> Option<Secret> {
        self.inner.legacy_session().and_then(LegacyHttpSession::session_id)
    }

    fn resume_session(&self, session: &Secret) {
        self.inner.legacy_session().into_iter().for_each(|inner| inner.resume_session(session));
    }

    fn forget_session(&self) -> bool {
        let had_session = self.inner.legacy_session().is_some_and(LegacyHttpSession::forget_session);
        self.log.write(&format!(r#""had_session":{had_session}"#));
        had_session
    }
}

/// The members of a line about what came back.
pub(super) fn item_members(item: &IncomingItem) -> String {
    match item {
        IncomingItem::Message(message, status) => {
            let status = status.map(|status| format!(r#","status":{status}"#)).unwrap_or_default();
            format!(r#""message":{}{status}{}"#, message_json(message), retry_after_member(message))
        }
        IncomingItem::EmbeddedResponse(message) => {
            format!(r#""message":{},"embedded":true"#, message_json(message))
        }
        IncomingItem::BrokenResponse(broken) => format!(r#""broken":{}"#, broken_json(broken)),
        IncomingItem::Warning(text) => format!(r#""warning":{}"#, json!(text)),
        IncomingItem::UnexpectedResponse(response) => {
            format!(r#""response":{}"#, response_json(response))
        }
        IncomingItem::Failed(failure) => format!(r#""failure":{}"#, recorded_failure(failure)),
    }
}

/// A message as JSON; results, parameters and error data as they came.
pub(super) fn message_json(message: &RpcMessage) -> String {
    match message {
        RpcMessage::Request { id, method, params } => {
            let params = params.as_ref().map(|raw| format!(r#","params":{raw}"#)).unwrap_or_default();
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{}{params}}}"#, json!(method))
        }
        RpcMessage::Notification { method, params } => {
            let params = params.as_ref().map(|raw| format!(r#","params":{raw}"#)).unwrap_or_default();
            format!(r#"{{"jsonrpc":"2.0","method":{}{params}}}"#, json!(method))
        }
        RpcMessage::Response(response) => {
            let id = match response.id {
                Some(id) => format!(r#""id":{id},"#),
                None if response.has_id => format!(r#""id":{FOREIGN_ID},"#),
                None => String::new(),
            };
            let outcome = match &response.outcome {
                Ok(result) => format!(r#""result":{result}"#),
                Err(error) => format!(r#""error":{}"#, error_json(error)),
            };
            format!(r#"{{"jsonrpc":"2.0",{id}{outcome}}}"#)
        }
    }
}

fn error_json(error: &RpcError) -> String {
    if let Some(raw) = &error.raw {
        return raw.get().to_owned();
    }
    let code = error.code.map(|code| format!(r#""code":{code},"#)).unwrap_or_default();
    let data = error.data.as_ref().map(|data| format!(r#","data":{data}"#)).unwrap_or_default();
    format!(r#"{{{code}"message":{}{data}}}"#, json!(error.message))
}

/// Over HTTP a header beside an error says when to try again.
fn retry_after_member(message: &RpcMessage) -> String {
    let RpcMessage::Response(response) = message else { return String::new() };
    let after = response.outcome.as_ref().err().and_then(|error| error.retry_after);
    after.map(|time| format!(r#","retry_after_ms":{}"#, time.as_millis())).unwrap_or_default()
}

fn broken_json(broken: &BrokenResponse) -> Value {
    let certainty = match broken.certainty {
        Certainty::Certain => "certain",
        Certainty::Likely => "likely",
        Certainty::Possible => "possible",
    };
    json!({ "id": broken.id, "certainty": certainty, "failure": recorded_failure(&broken.failure) })
}

fn response_json(response: &UnexpectedResponse) -> Value {
    json!({
        "url": response.url,
        "status": response.status,
        "content_type": response.content_type,
        "challenges": response.challenges,
        "retry_after_ms": response.retry_after.map(|time| time.as_millis()),
        "location": response.location,
        "remote_ip": response.remote_ip,
        "body": response.body,
        "had_session_id": response.had_session_id,
    })
}

pub(super) fn recorded_failure(failure: &Failure) -> Value {
    let FailureDetails { kind, message, causes, hint, suggests_waiting, stderr_tail, .. } = failure.details();
    let FailureDetails { retry_advice, is_unsent, maybe_starting, is_process_end, has_response, .. } =
        failure.details();
    let mut members = Map::new();
    members.insert("class".to_owned(), json!(kind.as_str()));
    members.insert("message".to_owned(), json!(message));
    let mut add = |name: &str, is_set: bool, value: Value| {
        if is_set {
            members.insert(name.to_owned(), value);
        }
    };
    add("causes", !causes.is_empty(), json!(causes));
    add("hint", hint.is_some(), json!(hint));
    add("suggests_waiting", *suggests_waiting, json!(true));
    add("stderr", !stderr_tail.is_empty(), json!(stderr_tail));
    if let Some(RetryAdvice { is_unprocessed, is_http_status, is_proxy, retry_after }) = retry_advice {
        let after = retry_after.map(|time| time.as_millis());
        let mut advice =
            json!({ "unprocessed": is_unprocessed, "http_status": is_http_status, "retry_after_ms": after });
        if *is_proxy {
            advice["proxy"] = true.into();
        }
        add("retry", true, advice);
    }
    add("unsent", *is_unsent, json!(true));
    add("maybe_starting", *maybe_starting, json!(true));
    add("process_ended", *is_process_end, json!(true));
    add("responded", *has_response, json!(true));
    Value::Object(members)
}
