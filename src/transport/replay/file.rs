//! Reads a recording, or a trace, from a file.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::matching;
use super::script::{Event, ReceivedItem, RecordedContent, Script, SentKind, SentMessage};
use crate::error::{ErrorKind, Failure, Result, RetryAdvice};
use crate::protocol::json::{member, parse_value};
use crate::protocol::revision::Revision;
use crate::protocol::views::ServerInfo;
use crate::protocol::{meta, method};
use crate::transport::connection::TransportKind;
use crate::transport::message::{BrokenResponse, Certainty, UnexpectedResponse};
use crate::util::bounded_read;
use crate::util::json_error;
use crate::util::quoting::quote;

/// What the first line of a recording says under `format`.
pub const RECORDING_FORMAT: &str = "mcpipe recording";
/// The version of the format.
pub const RECORDING_VERSION: u64 = 1;
/// The most bytes of a recording that is read, which are kept in memory.
const MAX_RECORDING: u64 = 1 << 30;

/// One line. Members that are not known here are ignored: a later mcpipe may add some without a new version.
#[derive(Deserialize)]
pub(super) struct RecordingLine<'a> {
    format: Option<String>,
    version: Option<u64>,
    connection: Option<u64>,
    server: Option<String>,
    transport: Option<String>,
    revision: Option<String>,
    dir: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    pub(super) request: Option<u64>,
    status: Option<u16>,
    retry_after_ms: Option<u64>,
    #[serde(default)]
    embedded: bool,
    broken: Option<BrokenLine>,
    warning: Option<String>,
    response: Option<ResponseLine>,
    failure: Option<FailureLine>,
    diagnostics: Option<DiagnosticsLine>,
    listening: Option<bool>,
    had_session: Option<bool>,
    #[serde(default)]
    closed: bool,
    /// Only in a trace: the head of an HTTP request or response.
    http: Option<serde::de::IgnoredAny>,
    /// Only in a trace.
    note: Option<serde::de::IgnoredAny>,
    stderr: Option<String>,
}

#[derive(Deserialize)]
struct BrokenLine {
    id: Option<u64>,
    certainty: String,
    failure: FailureLine,
}

#[derive(Deserialize)]
struct ResponseLine {
    url: String,
    status: u16,
    content_type: Option<String>,
    #[serde(default)]
    challenges: Vec<String>,
    retry_after_ms: Option<u64>,
    location: Option<String>,
    remote_ip: Option<IpAddr>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    had_session_id: bool,
}

#[derive(Deserialize)]
struct RetryLine {
    #[serde(default)]
    unprocessed: bool,
    #[serde(default)]
    http_status: bool,
    #[serde(default)]
    proxy: bool,
    retry_after_ms: Option<u64>,
}

#[derive(Deserialize)]
pub(crate) struct FailureLine {
    class: String,
    message: String,
    #[serde(default)]
    causes: Vec<String>,
    hint: Option<String>,
    #[serde(default)]
    suggests_waiting: bool,
    #[serde(default)]
    stderr: Vec<String>,
    retry: Option<RetryLine>,
    #[serde(default)]
    unsent: bool,
    #[serde(default)]
    maybe_starting: bool,
    #[serde(default)]
    process_ended: bool,
    #[serde(default)]
    responded: bool,
}

#[derive(Deserialize)]
struct DiagnosticsLine {
    #[serde(default)]
    stderr: Vec<String>,
    first_non_message: Option<String>,
}

impl RecordingLine<'_> {
    /// What the line says came back, if it says so.
    pub(super) fn received(self) -> Result<Option<RecordedContent>, String> {
        Ok(Some(if let Some(message) = self.message {
            RecordedContent::Message {
                raw: message.to_owned(),
                status: self.status,
                retry_after_ms: self.retry_after_ms,
                is_embedded: self.embedded,
            }
        } else if let Some(broken) = self.broken {
            RecordedContent::Broken(broken.parse()?)
        } else if let Some(warning) = self.warning {
            RecordedContent::Warning(warning)
        } else if let Some(response) = self.response {
            RecordedContent::Response(response.into())
        } else if let Some(failure) = self.failure {
            RecordedContent::Failed(failure.parse()?)
        } else {
            return Ok(None);
        }))
    }
}

impl FailureLine {
    pub(crate) fn parse(self) -> Result<Failure, String> {
        let kind = ErrorKind::parse(&self.class).ok_or_else(|| format!("unknown class '{}'", self.class))?;
        let mut failure = Failure::new(kind, self.message);
        let details = failure.details_mut();
        details.causes = self.causes;
        details.hint = self.hint;
        details.suggests_waiting = self.suggests_waiting;
        details.stderr_tail = self.stderr;
        details.retry_advice = self.retry.map(|retry| RetryAdvice {
            is_unprocessed: retry.unprocessed,
            is_http_status: retry.http_status,
            is_proxy: retry.proxy,
            retry_after: retry.retry_after_ms.map(Duration::from_millis),
        });
        details.is_unsent = self.unsent;
        details.maybe_starting = self.maybe_starting;
        details.is_process_end = self.process_ended;
        details.has_response = self.responded;
        Ok(failure)
    }
}

impl BrokenLine {
    fn parse(self) -> Result<BrokenResponse, String> {
        let certainty = match self.certainty.as_str() {
            "certain" => Certainty::Certain,
            "likely" => Certainty::Likely,
            "possible" => Certainty::Possible,
            other => return Err(format!("unknown certainty '{other}'")),
        };
        let mut failure = self.failure.parse()?;
        failure.details_mut().has_response = true;
        Ok(BrokenResponse { id: self.id, certainty, failure })
    }
}

impl From<ResponseLine> for UnexpectedResponse {
    fn from(line: ResponseLine) -> Self {
        UnexpectedResponse {
            url: line.url,
            status: line.status,
            content_type: line.content_type,
            challenges: line.challenges,
            retry_after: line.retry_after_ms.map(Duration::from_millis),
            location: line.location,
            dpop_nonce: None,
            remote_ip: line.remote_ip,
            body: line.body,
            had_session_id: line.had_session_id,
        }
    }
}

/// Reads the exchange with one server from a file; with `server`, the one of that name. A pipe or a device, whose content
/// may never come or never end, is refused unless `allows_stream`.
///
/// # Errors
/// [`ErrorKind::Config`] if the file cannot be read, is broken, or has the exchange with several servers and none is
/// named.
pub(super) fn load(path: &Path, server: Option<&str>, allows_stream: bool) -> Result<Script> {
    let shown = path.display();
    let is_stream = path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir());
    let read = match is_stream && !allows_stream {
        true => Err(std::io::Error::other("it is not a regular file")),
        false => bounded_read::read(path, MAX_RECORDING),
    };
    let bytes = read.map_err(|error| {
        let failure = Failure::new(ErrorKind::Config, format!("cannot read the recording '{shown}'")).caused_by(&error);
        match error.kind() {
            std::io::ErrorKind::NotFound => failure.hint("record a command first: add --record FILE to it"),
            _ => failure,
        }
    })?;
    let text = String::from_utf8(bytes).or_else(|error| {
        let is_cut = error.utf8_error().error_len().is_none();
        let (valid, mut bytes) = (error.utf8_error().valid_up_to(), error.into_bytes());
        // The last line may be cut inside a character.
        if !is_cut || !bytes[..valid].contains(&b'\n') {
            let line = bytes[..valid].iter().filter(|byte| **byte == b'\n').count();
            return Err(broken_file(path, line + 1, "it is not valid UTF-8"));
        }
        bytes.truncate(valid);
        Ok(String::from_utf8(bytes).unwrap_or_default())
    })?;
    let mut reader = RecordingReader::default();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str::<RecordingLine<'_>>(line) {
            Ok(parsed) => reader.add(parsed, number == 0).map_err(|why| broken_file(path, number + 1, &why))?,
            // The process that wrote it was killed.
            Err(error) if error.is_eof() && number > 0 && !text.ends_with('\n') && text.ends_with(line) => {}
            Err(error) => return Err(broken_file(path, number + 1, &describe_json_error(&error))),
        }
    }
    if !reader.has_header {
        return Err(broken_file(path, 1, "the file is empty"));
    }
    reader.finish(path, server)
}

/// Whether a file begins as a recording does, with a JSON object.
#[must_use]
pub fn may_be_recording(path: &Path) -> bool {
    // A pipe may have nothing to read.
    if !path.is_file() {
        return false;
    }
    let mut head = [0; 64];
    let read = std::fs::File::open(path).and_then(|mut file| std::io::Read::read(&mut file, &mut head));
    read.is_ok_and(|length| head[..length].trim_ascii_start().starts_with(b"{"))
}

fn broken_file(path: &Path, line: usize, why: &str) -> Failure {
    let shown = path.display();
    Failure::new(ErrorKind::Config, format!("the recording '{shown}' cannot be used"))
        .cause(format!("{shown}:{line}: {why}"))
        .hint("make a recording: mcpipe call TARGET TOOL --record FILE")
}

fn describe_json_error(error: &serde_json::Error) -> String {
    let fault = json_error::json_fault(error);
    if error.is_data() {
        format!("{fault} (column {})", error.column())
    } else {
        format!("invalid JSON at column {}: {fault}", error.column())
    }
}

/// The servers of a recording and their exchanges, as far as they were read.
#[derive(Default)]
struct RecordingReader {
    has_header: bool,
    is_trace: bool,
    servers: Vec<(String, ServerReader)>,
    /// The server of each connection.
    connections: HashMap<u64, usize>,
}

#[derive(Default)]
struct ServerReader {
    events: Vec<Event>,
    /// What came of each attempt to connect, with the number and the transport of the connection.
    connections: Vec<(u64, TransportKind, Option<Failure>)>,
    revision: Option<Revision>,
    stderr_tail: Vec<String>,
    first_non_message: Option<String>,
    is_listening: bool,
    had_session: bool,
    /// The connections that mcpipe closed.
    closed: HashSet<u64>,
}

impl RecordingReader {
    fn add(&mut self, line: RecordingLine<'_>, is_first: bool) -> Result<(), String> {
        if is_first {
            return self.add_first(line);
        }
        if self.is_trace { self.add_trace_line(line) } else { self.add_line(line) }
    }

    fn add_first(&mut self, line: RecordingLine<'_>) -> Result<(), String> {
        self.has_header = true;
        match (line.format.as_deref(), line.version) {
            (Some(RECORDING_FORMAT), Some(RECORDING_VERSION)) => Ok(()),
            (Some(RECORDING_FORMAT), Some(version)) => {
                Err(format!("it has format version {version}; this mcpipe reads version {RECORDING_VERSION}"))
            }
            (Some(RECORDING_FORMAT), None) => Err("'version' is missing".to_owned()),
            _ if line.dir.is_some() || line.note.is_some() => {
                self.is_trace = true;
                self.connections.insert(0, 0);
                let server =
                    ServerReader { connections: vec![(0, TransportKind::Stdio, None)], ..ServerReader::default() };
                self.servers.push(("the server".to_owned(), server));
                self.add_trace_line(line)
            }
            _ => Err("it is neither a recording (--record) nor a trace (--trace) of mcpipe".to_owned()),
        }
    }

    fn server_named(&mut self, name: String) -> usize {
        let known = self.servers.iter().position(|(known, _)| *known == name);
        known.unwrap_or_else(|| {
            self.servers.push((name, ServerReader::default()));
            self.servers.len() - 1
        })
    }

    fn add_line(&mut self, line: RecordingLine<'_>) -> Result<(), String> {
        if let Some(server) = line.server {
            let at = self.server_named(server);
            let Some((_, server)) = self.servers.get_mut(at) else { return Ok(()) };
            if let Some(revision) = line.revision {
                let parsed = Revision::parse(&revision);
                server.revision = Some(parsed.ok_or_else(|| format!("unknown protocol revision '{revision}'"))?);
                return Ok(());
            }
            let number = line.connection.ok_or("'connection' is missing")?;
            let transport = line.transport.ok_or("'transport' is missing")?;
            let kind = TransportKind::ALL.into_iter().find(|kind| kind.as_str() == transport);
            let kind = kind.ok_or_else(|| format!("unknown transport '{transport}'"))?;
            let failure = line.failure.map(FailureLine::parse).transpose()?;
            server.connections.push((number, kind, failure));
            self.connections.insert(number, at);
            return Ok(());
        }
        let number = line.connection.ok_or("'connection' is missing")?;
        let server = self.connections.get(&number).and_then(|at| self.servers.get_mut(*at));
        let (_, server) = server.ok_or_else(|| format!("connection {number} was not opened before"))?;
        server.add(number, line)
    }

    fn add_trace_line(&mut self, line: RecordingLine<'_>) -> Result<(), String> {
        let Some((_, server)) = self.servers.first_mut() else { return Ok(()) };
        if let Some(text) = line.stderr {
            server.stderr_tail.push(text);
            return Ok(());
        }
        if line.http.is_some() {
            server.connections = vec![(0, TransportKind::Http, None)];
            return Ok(());
        }
        let Some(message) = line.message else { return Ok(()) };
        let batch: Vec<&RawValue> = match message.get().get(..1) {
            Some("[") => serde_json::from_str(message.get()).map_err(|error| describe_json_error(&error))?,
            Some("{") => vec![message],
            _ => return Ok(()),
        };
        for message in batch {
            if line.dir.as_deref() == Some("sent") {
                server.add_sent(0, message)?;
            } else {
                server.add_received(0, None, message_content(message));
            }
        }
        Ok(())
    }

    fn finish(mut self, path: &Path, server: Option<&str>) -> Result<Script> {
        let shown = path.display();
        let names: Vec<&str> = self.servers.iter().map(|(name, _)| name.as_str()).collect();
        let at = match (server, names.as_slice()) {
            (None, []) => return Err(broken_file(path, 1, "it has no connection to a server")),
            (None, [_]) => 0,
            (None, [first, ..]) => {
                return Err(Failure::new(
                    ErrorKind::Config,
                    format!("the recording '{shown}' has the exchange with {} servers", names.len()),
                )
                .cause(format!("the servers are {}", names.join(", ")))
                .hint(format!("add # and its name to the file: {}", quote(&format!("{shown}#{first}")))));
            }
            (Some(name), names) => names.iter().position(|known| *known == name).ok_or_else(|| {
                Failure::new(ErrorKind::Config, format!("the recording '{shown}' has no server '{name}'"))
                    .cause(format!("the servers are {}", names.join(", ")))
            })?,
        };
        Ok(self.servers.swap_remove(at).1.finish(!self.is_trace))
    }
}

fn message_content(raw: &RawValue) -> RecordedContent {
    RecordedContent::Message { raw: raw.to_owned(), status: None, retry_after_ms: None, is_embedded: false }
}

impl ServerReader {
    fn add(&mut self, connection: u64, line: RecordingLine<'_>) -> Result<(), String> {
        if let Some(diagnostics) = line.diagnostics {
            self.stderr_tail = diagnostics.stderr;
            self.first_non_message = diagnostics.first_non_message;
            return Ok(());
        }
        if let Some(listening) = line.listening {
            self.is_listening |= listening;
            return Ok(());
        }
        if let Some(forgot) = line.had_session {
            self.had_session |= forgot;
            return Ok(());
        }
        if line.closed {
            self.closed.insert(connection);
            return Ok(());
        }
        match line.dir.as_deref() {
            Some("sent") => {
                let message = line.message.ok_or("'message' is missing")?;
                return self.add_sent(connection, message);
            }
            Some("received") => {}
            Some(other) => return Err(format!("'dir' is '{other}', not 'sent' or 'received'")),
            None => return Err("'dir' is missing".to_owned()),
        }
        let stream = line.request;
        let content = line
            .received()?
            .ok_or("a 'received' line has none of the members that say what came, such as 'message'")?;
        if !self.closed.contains(&connection) {
            self.add_received(connection, stream, content);
        }
        Ok(())
    }

    fn add_sent(&mut self, connection: u64, message: &RawValue) -> Result<(), String> {
        let kind = matching::sent_kind(message).ok_or("the sent message is not JSON-RPC")?;
        self.events.push(Event::Sent(SentMessage { connection, kind }));
        Ok(())
    }

    fn add_received(&mut self, connection: u64, stream: Option<u64>, content: RecordedContent) {
        let stream_request = stream.and_then(|id| self.request_with_id(connection, &id.to_string()));
        let answered = match &content {
            RecordedContent::Message { raw, .. } => matching::response_id(raw),
            RecordedContent::Broken(broken) => broken.id.map(|id| id.to_string()),
            _ => None,
        };
        let answered = answered.and_then(|id| self.request_with_id(connection, &id));
        let is_final = match &content {
            RecordedContent::Message { .. } | RecordedContent::Broken(_) => answered.is_some(),
            RecordedContent::Response(_) | RecordedContent::Failed(_) => stream_request.is_some(),
            RecordedContent::Warning(_) => false,
        };
        let after =
            self.events.iter().rposition(|event| matches!(event, Event::Sent(sent) if sent.connection == connection));
        self.events.push(Event::Received(ReceivedItem {
            connection,
            request: answered.or(stream_request),
            is_final,
            on_stream: stream.is_some(),
            after,
            content,
        }));
    }

    fn request_with_id(&self, connection: u64, wanted: &str) -> Option<usize> {
        self.events.iter().rposition(|event| match event {
            Event::Sent(SentMessage { connection: other, kind: SentKind::Request { id, .. } }) => {
                *other == connection && matching::is_same_id(id, wanted)
            }
            _ => false,
        })
    }

    fn finish(self, silence_is_recorded: bool) -> Script {
        let handshake = self.handshake();
        let modern = self.modern_server();
        let derived = handshake.map(|(_, revision)| revision).or(modern.as_ref().map(|(revision, _)| *revision));
        let revision = self.revision.or(derived);
        let negotiated = handshake.filter(|_| revision.is_some_and(|revision| !revision.is_modern()));
        let mut connections = self.connections;
        let mut transport = connections.last().map_or(TransportKind::Stdio, |(_, kind, _)| *kind);
        let mut events = self.events;
        if let Some((at, _)) = negotiated {
            // How the revision was found out is not repeated.
            if let Some(Event::Sent(first)) = events.get(at) {
                let number = first.connection;
                let opened = connections.iter().position(|(connection, ..)| *connection == number).unwrap_or_default();
                connections.drain(..opened);
                transport = connections.first().map_or(transport, |(_, kind, _)| *kind);
                events = drop_negotiation(events, at, number);
            }
        } else if revision.is_some() {
            let opened = connections.iter().position(|(_, _, failure)| failure.is_none()).unwrap_or_default();
            connections.drain(..opened);
            transport = connections.first().map_or(transport, |(_, kind, _)| *kind);
        }
        Script {
            events,
            connections: connections.into_iter().map(|(_, _, failure)| failure).collect(),
            transport,
            revision,
            server_info: modern.map(|(_, server)| server).unwrap_or_default(),
            stderr_tail: self.stderr_tail,
            first_non_message: self.first_non_message,
            is_listening: self.is_listening,
            had_session: self.had_session,
            silence_is_recorded,
        }
    }

    /// The place of the first `initialize` that the server accepted, and the revision that it chose.
    fn handshake(&self) -> Option<(usize, Revision)> {
        self.events.iter().find_map(|event| {
            let (at, result) = self.result(event, |name| name == method::INITIALIZE)?;
            let revision = result.get("protocolVersion").and_then(Value::as_str).and_then(Revision::parse)?;
            Some((at, revision))
        })
    }

    /// What the first result of a server without a handshake shows.
    fn modern_server(&self) -> Option<(Revision, ServerInfo)> {
        self.events.iter().find_map(|event| {
            let (at, result) = self.result(event, |name| name != method::INITIALIZE)?;
            let Event::Sent(SentMessage { kind: SentKind::Request { method, .. }, .. }) = self.events.get(at)? else {
                return None;
            };
            let is_discover = method == method::DISCOVER;
            let has_mark = result.get("resultType").is_some()
                || result.pointer("/_meta").is_some_and(|all| all.get(meta::SERVER_INFO).is_some());
            if !(has_mark || (is_discover && result.get("supportedVersions").is_some())) {
                return None;
            }
            let mut server = ServerInfo::from_result(&result);
            if !is_discover {
                server.capabilities = None;
            }
            Some((Revision::ALL.into_iter().find(|revision| revision.is_modern())?, server))
        })
    }

    /// The result that an event is, and the place of its request, if the method fits.
    fn result(&self, event: &Event, fits: impl Fn(&str) -> bool) -> Option<(usize, Value)> {
        let Event::Received(ReceivedItem { request: Some(at), content: RecordedContent::Message { raw, .. }, .. }) =
            event
        else {
            return None;
        };
        let Event::Sent(SentMessage { kind: SentKind::Request { method, .. }, .. }) = self.events.get(*at)? else {
            return None;
        };
        if !fits(method) {
            return None;
        }
        Some((*at, parse_value(member(raw, "result")?.get())?))
    }
}

/// The events from the accepted handshake on. Notifications that came before it over the same connection are kept.
fn drop_negotiation(events: Vec<Event>, handshake: usize, connection: u64) -> Vec<Event> {
    let mut places = vec![None; events.len()];
    let mut kept = Vec::new();
    for (at, event) in events.into_iter().enumerate() {
        let keep = at >= handshake
            || match &event {
                Event::Received(item) => {
                    item.connection == connection
                        && item.request.is_none()
                        && !matches!(item.content, RecordedContent::Failed(_))
                }
                Event::Sent(_) => false,
            };
        if !keep {
            continue;
        }
        let moved = |place: Option<usize>| place.and_then(|place| places.get(place).copied().flatten());
        let event = match event {
            Event::Received(item) => {
                // The answer to a request that is not kept.
                if item.request.is_some() && moved(item.request).is_none() {
                    continue;
                }
                let (request, after) = (moved(item.request), moved(item.after));
                Event::Received(ReceivedItem { request, after, ..item })
            }
            sent => sent,
        };
        if let Some(place) = places.get_mut(at) {
            *place = Some(kept.len());
        }
        kept.push(event);
    }
    kept
}
