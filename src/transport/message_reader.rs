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

use super::trace::{Trace, TraceEvent};
use super::{Incoming, IncomingItem, MAX_MESSAGE};
use crate::error::Failure;
use crate::protocol::rpc;

/// A line of at most [`MAX_MESSAGE`] bytes; what is longer is read and thrown away.
pub(super) enum InputLine {
    Text(String),
    TooLong,
    End,
}

/// Reads the next line, without its line feed.
pub(super) async fn read_line<R: AsyncRead + Unpin>(reader: &mut BufReader<R>, buffer: &mut Vec<u8>) -> InputLine {
    buffer.clear();
    let limit = MAX_MESSAGE as u64 + 1;
    match (&mut *reader).take(limit).read_until(b'\n', buffer).await {
        Ok(0) | Err(_) => return InputLine::End,
        Ok(_) => {}
    }
    if buffer.last() == Some(&b'\n') {
        buffer.pop();
    } else if buffer.len() > MAX_MESSAGE {
        loop {
            buffer.clear();
            match (&mut *reader).take(1 << 20).read_until(b'\n', buffer).await {
                Ok(0) | Err(_) => return InputLine::End,
                Ok(_) if buffer.last() == Some(&b'\n') => return InputLine::TooLong,
                Ok(_) => {}
            }
        }
    }
    InputLine::Text(match std::str::from_utf8(buffer) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(buffer).into_owned(),
    })
}

/// The way back over one stream: what is read is handed to the session, what is no message is remembered.
pub(super) struct MessageReader {
    trace: Trace,
    sender: mpsc::UnboundedSender<Incoming>,
    /// What the server did with what is no message, for people: `printed on stdout`.
    non_message_verb: &'static str,
    first_non_message: Mutex<Option<String>>,
    has_ended: AtomicBool,
    end_notify: Notify,
}

impl MessageReader {
    /// `did` tells people what the server did with what is no message: `printed on stdout`.
    pub(super) fn new(trace: Trace, sender: mpsc::UnboundedSender<Incoming>, did: &'static str) -> Self {
        let (noise, ended, ended_notify) = (Mutex::default(), AtomicBool::new(false), Notify::new());
        MessageReader {
            trace,
            sender,
            non_message_verb: did,
            first_non_message: noise,
            has_ended: ended,
            end_notify: ended_notify,
        }
    }

    /// Hands over the messages of a stream until it ends.
    pub(super) async fn read_stream(&self, stream: impl AsyncRead + Unpin) {
        let mut reader = BufReader::with_capacity(16 * 1024, stream);
        let mut buffer = Vec::new();
        loop {
            match read_line(&mut reader, &mut buffer).await {
                InputLine::Text(line) => self.handle_text(&line),
                InputLine::TooLong => self.record_non_message("(a line over the size limit)"),
                InputLine::End => return,
            }
        }
    }

    /// Hands over the messages in a text.
    pub(super) fn handle_text(&self, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        match rpc::parse(text) {
            Ok(messages) => {
                self.trace.record(TraceEvent::Received(text));
                for message in messages {
                    let _ = self.sender.send(Incoming { request_id: None, item: IncomingItem::Message(message, None) });
                }
            }
            Err(_) => self.record_non_message(text),
        }
    }

    /// Something that is no message came.
    pub(super) fn record_non_message(&self, text: &str) {
        let start: String = text.chars().take(200).collect();
        self.trace.note(&format!("skipped what the server {}, which is no message: {start}", self.non_message_verb));
        self.first_non_message.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(start);
    }

    /// The first thing that was no message.
    pub(super) fn first_non_message(&self) -> Option<String> {
        self.first_non_message.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The stream has ended, and nothing more will come back.
    pub(super) fn report_end(&self, failure: Failure) {
        let failure = match self.first_non_message() {
            Some(noise) => failure.cause(format!("it {}: {noise}", self.non_message_verb)),
            None => failure,
        };
        let _ = self.sender.send(Incoming { request_id: None, item: IncomingItem::Failed(failure) });
        self.has_ended.store(true, Ordering::Release);
        self.end_notify.notify_waiters();
    }

    /// Whether the stream ends within this time: how it ended says more than a failed write does.
    pub(super) async fn ends_within(&self, time: Duration) -> bool {
        let notified = self.end_notify.notified();
        self.has_ended.load(Ordering::Acquire) || timeout(time, notified).await.is_ok()
    }
}
