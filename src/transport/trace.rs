//! The messages and headers exchanged with a server, for `-v`, `-vv` and `--trace`.

use std::sync::Arc;

/// One thing that happened on the wire.
#[derive(Clone, Copy, Debug)]
pub enum TraceEvent<'a> {
    /// A JSON-RPC message went out.
    Sent(&'a str),
    /// A JSON-RPC message came in.
    Received(&'a str),
    /// An HTTP request line and its headers, secrets already redacted.
    RequestHead {
        /// The HTTP method.
        method: &'a str,
        /// The URL.
        url: &'a str,
        /// Names and values.
        headers: &'a [(String, String)],
    },
    /// An HTTP status and its headers, secrets already redacted.
    ResponseHead {
        /// The status.
        status: u16,
        /// Names and values.
        headers: &'a [(String, String)],
    },
    /// A line of the child's stderr.
    Stderr(&'a str),
    /// A violation of the protocol that was tolerated, or other useful information.
    Note(&'a str),
}

/// Receives the events; implemented by `output`, which also redacts message bodies.
pub trait TraceSink: Send + Sync {
    /// Records one event.
    fn record(&self, event: TraceEvent<'_>);
}

/// A handle to a sink, or to none.
#[derive(Clone, Default)]
pub struct Trace(Option<Arc<dyn TraceSink>>);

impl Trace {
    /// Sends every event to `sink`.
    #[must_use]
    pub fn new(sink: Arc<dyn TraceSink>) -> Self {
        Trace(Some(sink))
    }

    /// Whether there is a sink; checked before an event that is costly to create.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Records an event.
    pub fn record(&self, event: TraceEvent<'_>) {
        if let Some(sink) = &self.0 {
            sink.record(event);
        }
    }

    /// Records a note.
    pub fn note(&self, text: &str) {
        self.record(TraceEvent::Note(text));
    }
}
