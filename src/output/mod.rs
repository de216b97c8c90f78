//! Everything that is printed: the result on standard output, everything else on standard error.
//!
//! Besides `complete`, the only module that writes to the standard streams. A terminal changes the looks, never the
//! content: what is piped is exact; what a terminal shows is made harmless first (`SEC-05`).

mod closed_stdout;
#[cfg(windows)]
pub mod console;
pub mod content;
pub mod details;
pub mod document;
pub mod escape;
mod events;
mod exchange_log;
mod failure;
pub mod folder_export;
mod image_format;
mod images;
pub mod jq;
mod jq_delete;
mod jq_value;
pub mod json;
pub mod json_documents;
mod limit;
pub mod list_tables;
mod progress;
mod progress_line;
mod protocol_output;
mod question;
mod recording;
pub mod redact;
mod results;
pub mod save;
mod sixel;
pub mod style;
pub mod table;
mod terminal;
#[cfg(test)]
mod testing;
mod trace_writer;
mod ui;

use std::io::{self, Write};

use crate::error::ErrorKind;

pub use closed_stdout::reader_gone;
pub use events::events_go_to_stdout;
pub use exchange_log::ExchangeLog;
pub use failure::failure_json;
pub use progress::{Progress, ProgressPause};
pub use protocol_output::ProtocolOutput;
pub use recording::RecordingWriter;
pub use style::Style;
pub use table::{Cell, Column, Table};
pub use terminal::Terminal;
pub use trace_writer::rfc3339 as time;
pub use ui::{Ui, UiOptions};

/// Says that mcpipe itself failed, after `clean_up`, and ends with 70: a panic never passes in silence.
pub fn install_panic_hook(clean_up: fn()) {
    std::panic::set_hook(Box::new(move |panic| {
        clean_up();
        let text = format!(
            "mcpipe: error: a bug in mcpipe\n  {panic}\nhint: please report it, with the command that was run\n"
        );
        let _ = io::stderr().write_all(text.as_bytes());
        #[expect(clippy::exit, reason = "nothing can be returned from a panic")]
        std::process::exit(i32::from(ErrorKind::Bug.exit_code()));
    }));
}
