//! Reads messages from a stream that carries everything: stdio, a Unix socket (one message per line) or a WebSocket.
//!
//! What is not a message is skipped (`STD-09`), but the first such text is kept for errors, since it often says what
//! is wrong.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::error::Failure;
use crate::protocol::rpc;
use crate::transport::message::{Incoming, IncomingItem, MAX_MESSAGE};
use crate::transport::trace::{Trace, TraceEvent};
use crate::util::lock::lock;

/// A line of at most [`MAX_MESSAGE`] bytes; a longer one is discarded.
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

/// Hands what is read to the session.
pub(super) struct MessageReader {
    trace: Trace,
    sender: mpsc::UnboundedSender<Incoming>,
    /// What the server did with what is not a message: `printed on stdout` or `sent`.
    non_message_verb: &'static str,
    first_non_message: Mutex<Option<String>>,
    has_ended: AtomicBool,
    end_notify: Notify,
}

impl MessageReader {
    /// `non_message_verb` is for errors: `printed on stdout` or `sent`.
    pub(super) fn new(trace: Trace, sender: mpsc::UnboundedSender<Incoming>, non_message_verb: &'static str) -> Self {
        MessageReader {
            trace,
            sender,
            non_message_verb,
            first_non_message: Mutex::default(),
            has_ended: AtomicBool::new(false),
            end_notify: Notify::new(),
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

    /// Notes a text that is not a message, and keeps the first one.
    pub(super) fn record_non_message(&self, text: &str) {
        let start: String = text.chars().take(200).collect();
        self.trace.note(&format!("skipped what the server {}, which is not a message: {start}", self.non_message_verb));
        lock(&self.first_non_message).get_or_insert(start);
    }

    /// The first text that was not a message.
    pub(super) fn first_non_message(&self) -> Option<String> {
        lock(&self.first_non_message).clone()
    }

    /// Reports that the stream has ended: nothing more will come back.
    pub(super) fn report_end(&self, failure: Failure) {
        let failure = match self.first_non_message() {
            Some(text) => failure.cause(format!("it {}: {text}", self.non_message_verb)),
            None => failure,
        };
        let _ = self.sender.send(Incoming { request_id: None, item: IncomingItem::Failed(failure) });
        self.has_ended.store(true, Ordering::Release);
        self.end_notify.notify_waiters();
    }

    /// Whether the stream ends within this time. How it ended is more informative than the error of a failed write.
    pub(super) async fn ends_within(&self, time: Duration) -> bool {
        let notified = self.end_notify.notified();
        self.has_ended.load(Ordering::Acquire) || timeout(time, notified).await.is_ok()
    }
}
