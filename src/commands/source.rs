//! Input that comes in pieces: lines that are handed on as they arrive, from a file, a pipe or standard input.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use tokio::sync::mpsc;

use super::Context;
use crate::error::{Class, Failure, Result};

/// How many lines wait to be taken. Few: who writes them shall wait for us, and not fill the memory.
const WAITING: usize = 4;

/// Whether this names standard input.
#[must_use]
pub fn is_stdin(source: &Path) -> bool {
    source == Path::new("-")
}

fn unreadable(source: &Path, error: &io::Error) -> Failure {
    let name = if is_stdin(source) { "standard input".to_owned() } else { source.display().to_string() };
    Failure::new(Class::Usage, format!("cannot read {name}")).source(error)
}

async fn open(context: &Context, source: &Path) -> Result<Box<dyn BufRead + Send>> {
    if is_stdin(source) {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    // A named pipe opens when somebody writes to it: a signal must be seen until then.
    let path = source.to_owned();
    let opened = context.interrupt.guard(tokio::task::spawn_blocking(move || File::open(path))).await?;
    let opened = opened.unwrap_or_else(|error| Err(io::Error::other(error)));
    Ok(Box::new(BufReader::new(opened.map_err(|error| unreadable(source, &error))?)))
}

/// All of a source, as text.
///
/// # Errors
/// [`Class::Usage`] where it cannot be read or is not UTF-8; when a stop is asked for meanwhile.
pub async fn whole(context: &Context, source: &Path) -> Result<String> {
    let mut reader = open(context, source).await?;
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    let text = context.interrupt.guard(read).await?.unwrap_or_else(|error| Err(io::Error::other(error)));
    text.map_err(|error| unreadable(source, &error))
}

/// The lines of a source, as they arrive.
pub struct Lines(mpsc::Receiver<Result<Vec<u8>>>);

impl Lines {
    /// Begins to read.
    ///
    /// # Errors
    /// [`Class::Usage`] where it cannot be opened; when a stop is asked for meanwhile.
    pub async fn open(context: &Context, source: &Path) -> Result<Self> {
        let mut reader = open(context, source).await?;
        let source = source.to_owned();
        let (sender, receiver) = mpsc::channel(WAITING);
        // A thread of its own, that nobody waits for: a read cannot be called off.
        std::thread::spawn(move || {
            loop {
                let mut line = Vec::new();
                let line = match reader.read_until(b'\n', &mut line) {
                    Ok(0) => return,
                    Ok(_) => Ok(line),
                    Err(error) => Err(unreadable(&source, &error)),
                };
                let ends = line.is_err();
                if sender.blocking_send(line).is_err() || ends {
                    return;
                }
            }
        });
        Ok(Lines(receiver))
    }

    /// The next line, with its end; `None` where there is none any more.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>>> {
        self.0.recv().await
    }
}
