//! Who records an exchange, and under which name: the handle that the options of a connection carry.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::protocol::revision::Revision;

/// Writes the lines of a recording; implemented by `output`, which also redacts them.
pub trait RecordSink: Send + Sync {
    /// Writes one line, given as the members of a JSON object.
    fn write(&self, members: &str);
    /// A number that no other connection of the recording has.
    fn next_connection(&self) -> u64;
}

/// Records the connections to one server, or nothing.
#[derive(Clone, Default)]
pub struct Recorder(Option<Arc<ServerRecorder>>);

/// Records the connections to one server.
pub(super) struct ServerRecorder {
    pub(super) sink: Arc<dyn RecordSink>,
    pub(super) server: String,
}

impl Recorder {
    /// Records the connections to `server`, which is named so in the recording.
    #[must_use]
    pub fn new(sink: Arc<dyn RecordSink>, server: String) -> Self {
        Recorder(Some(Arc::new(ServerRecorder { sink, server })))
    }

    /// Records which revision was agreed on, once that is known.
    pub fn record_revision(&self, revision: Revision) {
        if let Some(recorder) = &self.0 {
            recorder.write(&[("server", json!(recorder.server)), ("revision", json!(revision.as_str()))]);
        }
    }

    pub(super) fn server(&self) -> Option<&Arc<ServerRecorder>> {
        self.0.as_ref()
    }
}

impl ServerRecorder {
    pub(super) fn write(&self, members: &[(&str, Value)]) {
        let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        self.sink.write(&members.join(","));
    }
}
