//! Messages as lines of text: the framing that standard streams and Unix sockets share, and what every
//! transport with one stream for everything does with what it reads.
//!
//! What is no message is skipped (`STD-09`) and the first of it remembered, because it often says what
//! is wrong.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::trace::{Event, Trace};
use super::{Incoming, Item, MAX_MESSAGE};
use crate::error::Failure;
use crate::protocol::rpc;

/// A line of at most [`MAX_MESSAGE`] bytes; what is longer is read and thrown away.
pub(super) enum Line {
    Text(String),
    TooLong,
    End,
}

/// Reads the next line, without its line feed.
pub(super) async fn next_line<R: AsyncRead + Unpin>(reader: &mut BufReader<R>, buffer: &mut Vec<u8>) -> Line {
    buffer.clear();
    let limit = MAX_MESSAGE as u64 + 1;
    match (&mut *reader).take(limit).read_until(b'\n', buffer).await {
        Ok(0) | Err(_) => return Line::End,
        Ok(_) => {}
    }
    if buffer.last() == Some(&b'\n') {
        buffer.pop();
    } else if buffer.len() > MAX_MESSAGE {
        loop {
            buffer.clear();
            match (&mut *reader).take(1 << 20).read_until(b'\n', buffer).await {
                Ok(0) | Err(_) => return Line::End,
                Ok(_) if buffer.last() == Some(&b'\n') => return Line::TooLong,
                Ok(_) => {}
            }
        }
    }
    Line::Text(match std::str::from_utf8(buffer) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(buffer).into_owned(),
    })
}

/// The way back over one stream: what is read is handed to the session, what is no message is remembered.
pub(super) struct Inbox {
    trace: Trace,
    sender: mpsc::UnboundedSender<Incoming>,
    /// What the server did with what is no message, for people: `printed on stdout`.
    did: &'static str,
    noise: Mutex<Option<String>>,
    ended: AtomicBool,
    ended_notify: Notify,
}

impl Inbox {
    /// `did` tells people what the server did with what is no message: `printed on stdout`.
    pub(super) fn new(trace: Trace, sender: mpsc::UnboundedSender<Incoming>, did: &'static str) -> Self {
        let (noise, ended, ended_notify) = (Mutex::default(), AtomicBool::new(false), Notify::new());
        Inbox { trace, sender, did, noise, ended, ended_notify }
    }

    /// Hands over the messages of a stream until it ends.
    pub(super) async fn read(&self, stream: impl AsyncRead + Unpin) {
        let mut reader = BufReader::with_capacity(16 * 1024, stream);
        let mut buffer = Vec::new();
        loop {
            match next_line(&mut reader, &mut buffer).await {
                Line::Text(line) => self.text(&line),
                Line::TooLong => self.heard_noise("(a line over the size limit)"),
                Line::End => return,
            }
        }
    }

    /// Hands over the messages in a text.
    pub(super) fn text(&self, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        match rpc::parse(text) {
            Ok(messages) => {
                self.trace.record(Event::Received(text));
                for message in messages {
                    let _ = self.sender.send(Incoming { on: None, item: Item::Message(message, None) });
                }
            }
            Err(_) => self.heard_noise(text),
        }
    }

    /// Something that is no message came.
    pub(super) fn heard_noise(&self, text: &str) {
        let start: String = text.chars().take(200).collect();
        self.trace.note(&format!("skipped what the server {}, which is no message: {start}", self.did));
        self.noise.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(start);
    }

    /// The first thing that was no message.
    pub(super) fn noise(&self) -> Option<String> {
        self.noise.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The stream has ended, and nothing more will come back.
    pub(super) fn end(&self, failure: Failure) {
        let failure = match self.noise() {
            Some(noise) => failure.cause(format!("it {}: {noise}", self.did)),
            None => failure,
        };
        let _ = self.sender.send(Incoming { on: None, item: Item::Broken(failure) });
        self.ended.store(true, Ordering::Release);
        self.ended_notify.notify_waiters();
    }

    /// Whether the stream ends within this time: how it ended says more than a failed write does.
    pub(super) async fn ends_within(&self, time: Duration) -> bool {
        let notified = self.ended_notify.notified();
        self.ended.load(Ordering::Acquire) || timeout(time, notified).await.is_ok()
    }
}
