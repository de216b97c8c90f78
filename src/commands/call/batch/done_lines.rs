//! `--skip-done`: the lines of a batch that an earlier run has done.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde_json::value::RawValue;

use crate::commands::context::Context;
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json::{member, parse_value};
use crate::protocol::views::is_error_result;
use crate::transport::MAX_MESSAGE;
use crate::util::bounded_read;

/// The IDs of the lines that are done.
#[derive(Default)]
pub(super) struct DoneLines(HashSet<String>);

impl DoneLines {
    /// Reads the output of an earlier run. A line that is not a result is ignored: the run may have been killed.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it cannot be read; when mcpipe is interrupted.
    pub async fn read(context: &Context, path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Err(Failure::new(ErrorKind::Usage, "--skip-done needs a file, not standard input")
                .hint("name the file with the output of an earlier run: --skip-done FILE"));
        }
        let file = path.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let mut done = HashSet::new();
            let (mut reader, mut number, mut line) = (BufReader::new(File::open(file)?), 0, Vec::new());
            while bounded_read::read_line(&mut reader, MAX_MESSAGE as u64, &mut number, &mut line)? > 0 {
                done.extend(done_id(&line));
                line.clear();
            }
            Ok(done)
        });
        let read = context.interrupt.run_until_interrupted(read).await?;
        read.unwrap_or_else(|error| Err(std::io::Error::other(error))).map(DoneLines).map_err(|error| {
            Failure::new(ErrorKind::Usage, format!("cannot read {}", path.display()))
                .caused_by(&error)
                .hint("FILE is the output of an earlier run of the batch")
        })
    }

    /// Whether the line with this ID (JSON) is done. For a line that can be read: another has no result, and its number
    /// may be the ID of a line that has one.
    pub fn contains(&self, id: &str) -> bool {
        !self.0.is_empty() && self.0.contains(&comparable(id))
    }
}

/// The ID of a line with a result that is not an error.
fn done_id(line: &[u8]) -> Option<String> {
    let raw: &RawValue = serde_json::from_slice(line).ok()?;
    let result = member(raw, "result")?;
    if member(raw, "error").is_some() || is_error_result(result) {
        return None;
    }
    Some(comparable(member(raw, "id")?.get()))
}

/// The same text for the same value, however it is written.
fn comparable(id: &str) -> String {
    parse_value(id).map_or_else(|| id.to_owned(), |value| value.to_string())
}
