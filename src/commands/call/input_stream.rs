//! Lines of a file, a pipe or standard input, passed on as they arrive.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use tokio::sync::mpsc;

use crate::commands::context::Context;
use crate::error::{ErrorKind, Failure, Result};

/// How many lines are buffered. Few: a fast writer must wait instead of filling the memory.
const QUEUED_LINES: usize = 4;

/// Whether this names standard input.
#[must_use]
pub fn is_stdin(source: &Path) -> bool {
    source == Path::new("-")
}

fn read_failure(source: &Path, error: &io::Error) -> Failure {
    let name = if is_stdin(source) { "standard input".to_owned() } else { source.display().to_string() };
    Failure::new(ErrorKind::Usage, format!("cannot read {name}")).caused_by(error)
}

async fn open_input(context: &Context, source: &Path) -> Result<Box<dyn BufRead + Send>> {
    if is_stdin(source) {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    // A named pipe opens when its other end does: signals must be handled until then.
    let path = source.to_owned();
    let opened = context.interrupt.run_until_interrupted(tokio::task::spawn_blocking(move || File::open(path))).await?;
    let opened = opened.unwrap_or_else(|error| Err(io::Error::other(error)));
    Ok(Box::new(BufReader::new(opened.map_err(|error| read_failure(source, &error))?)))
}

/// All of a source, as text.
///
/// # Errors
/// [`ErrorKind::Usage`] if it cannot be read or is not UTF-8; when mcpipe is interrupted.
pub async fn read_to_string(context: &Context, source: &Path) -> Result<String> {
    let mut reader = open_input(context, source).await?;
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    let text =
        context.interrupt.run_until_interrupted(read).await?.unwrap_or_else(|error| Err(io::Error::other(error)));
    text.map_err(|error| read_failure(source, &error))
}

/// The lines of a source, as they arrive.
pub struct LineStream(mpsc::Receiver<Result<Vec<u8>>>);

impl LineStream {
    /// Starts to read.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it cannot be opened; when mcpipe is interrupted.
    pub async fn open(context: &Context, source: &Path) -> Result<Self> {
        let mut reader = open_input(context, source).await?;
        let source = source.to_owned();
        let (sender, receiver) = mpsc::channel(QUEUED_LINES);
        // On its own detached thread: a blocking read cannot be canceled.
        std::thread::spawn(move || {
            loop {
                let mut line = Vec::new();
                let line = match reader.read_until(b'\n', &mut line) {
                    Ok(0) => return,
                    Ok(_) => Ok(line),
                    Err(error) => Err(read_failure(&source, &error)),
                };
                let ends = line.is_err();
                if sender.blocking_send(line).is_err() || ends {
                    return;
                }
            }
        });
        Ok(LineStream(receiver))
    }

    /// The next line, including its line end; `None` at the end of the input.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>>> {
        self.0.recv().await
    }
}
