//! `--record`: the file of the run, and what must not get into it.

use std::path::Path;
use std::sync::Arc;

use crate::commands::context::Context;
use crate::commands::redaction::MIN_SECRET_LENGTH;
use crate::error::Result;
use crate::output::RecordingWriter;
use crate::target::Target;
use crate::transport::Endpoint;
use crate::transport::recorder::Recorder;
use crate::util::secret_names::{looks_like_key, looks_secret};

impl Context {
    /// Records the exchange with a target, if `--record` was given.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub(super) fn recorder(&self, target: &Target) -> Result<Recorder> {
        let Some(path) = &self.global.record else { return Ok(Recorder::default()) };
        let writer = match self.recording.get() {
            Some(writer) => writer.clone(),
            None => {
                let writer = Arc::new(self.ui.create_recording(path)?);
                self.redact_environment(&writer);
                self.recording.get_or_init(|| writer).clone()
            }
        };
        if let Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) = &target.endpoint {
            let segments = endpoint.url.path_segments().into_iter().flatten();
            segments.filter(|segment| looks_like_key(segment)).for_each(|segment| writer.redact(segment));
        }
        Ok(Recorder::new(writer, recorded_server_name(target)))
    }

    /// A server process inherits the environment, and some print it.
    fn redact_environment(&self, writer: &RecordingWriter) {
        for (name, value) in self.env.iter() {
            let is_long = value.len() >= MIN_SECRET_LENGTH;
            // The path of a socket, say. A key in base64 may begin with a slash, too.
            let is_path = || value.starts_with('/') && Path::new(value).exists();
            if looks_secret(name) && is_long && !is_path() && !is_kind_of_desktop(name) {
                writer.redact(value);
            }
        }
    }
}

/// Whether a variable says what kind of desktop it is: such a value is an ordinary word, as in `XDG_SESSION_TYPE=wayland`.
fn is_kind_of_desktop(variable: &str) -> bool {
    matches!(
        variable,
        "DESKTOP_SESSION"
            | "GDMSESSION"
            | "GNOME_SHELL_SESSION_MODE"
            | "SESSIONTYPE"
            | "XDG_SESSION_CLASS"
            | "XDG_SESSION_DESKTOP"
            | "XDG_SESSION_TYPE"
    )
}

/// What a recording calls a server. Command lines and URLs may contain secrets.
pub(super) fn recorded_server_name(target: &Target) -> String {
    match &target.endpoint {
        Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) if !target.is_configured => {
            endpoint.url.origin().ascii_serialization()
        }
        _ => target.short_name(),
    }
}
