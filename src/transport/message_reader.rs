//! Reads messages from a stream that carries everything: stdio, a Unix socket (one message per line) or a WebSocket.
//!
//! What is not a message is skipped (`STD-09`), but the first such text is kept for errors, since it often says what
//! is wrong.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::line_reader::{Continuation, InputText, LineReader, PartialMessage, content_length, is_other_header};
use super::malformed::{self, Recovered};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::rpc::{self, MessageText};
use crate::transport::charset::NOT_UTF8_WARNING;
use crate::transport::message::{Incoming, IncomingItem, MAX_MESSAGE};
use crate::transport::trace::{Trace, TraceEvent};
use crate::util::lock::lock;
use crate::util::shorten::shorten;

/// How many messages wait for the session at most.
const MAX_WAITING: usize = 32;
/// A text of at least this many bytes is large: it is handed over only when no other message waits.
const LARGE_TEXT: usize = 64 << 10;
/// How much of a text that is not a message is kept, in characters.
const NON_MESSAGE_WIDTH: usize = 200;

/// The channel from a [`MessageReader`] to the session.
///
/// It holds a few short messages, so that the session does not have to be woken for each of them, and at most one large
/// one. When it is full, no more is read: a server that sends faster than the session works is slowed down and does not
/// fill the memory.
pub(super) fn stream_channel() -> (mpsc::Sender<Incoming>, mpsc::Receiver<Incoming>) {
    mpsc::channel(MAX_WAITING)
}

/// Hands what is read to the session.
pub(super) struct MessageReader {
    trace: Trace,
    sender: mpsc::Sender<Incoming>,
    /// What the server did with what is not a message: `printed on stdout` or `sent`.
    non_message_verb: &'static str,
    first_non_message: Mutex<Option<String>>,
    /// The first line of a message that has not ended.
    unfinished: Mutex<Option<String>>,
    /// Where the stream ended in the middle of a message.
    cut: Mutex<Option<String>>,
    has_warned_of_encoding: AtomicBool,
    has_ended: AtomicBool,
    end_notify: Notify,
}

impl MessageReader {
    /// `non_message_verb` is for errors: `printed on stdout` or `sent`.
    pub(super) fn new(trace: Trace, sender: mpsc::Sender<Incoming>, non_message_verb: &'static str) -> Self {
        MessageReader {
            trace,
            sender,
            non_message_verb,
            first_non_message: Mutex::default(),
            unfinished: Mutex::default(),
            cut: Mutex::default(),
            has_warned_of_encoding: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            end_notify: Notify::new(),
        }
    }

    /// Hands over the messages of a stream until it ends.
    ///
    /// # Errors
    /// If the server sends more than [`MAX_MESSAGE`] bytes without a line feed.
    pub(super) async fn read_stream(&self, stream: impl AsyncRead + Unpin) -> Result<()> {
        let mut lines = LineReader::new(stream, MAX_MESSAGE);
        let mut partial = None;
        let mut body_length = None;
        loop {
            let (mut text, mut is_lossy, mut is_cut) = match lines.next_line().await {
                InputText::Text { text, is_lossy, is_cut } => (text, is_lossy, is_cut),
                InputText::TooLong => return Err(too_long_failure()),
                InputText::End => break,
            };
            match (content_length(&text), body_length) {
                (Some(length), _) => {
                    body_length = Some(length);
                    continue;
                }
                (None, Some(_)) if is_other_header(&text) => continue,
                (None, Some(length)) if text.trim().is_empty() => {
                    body_length = None;
                    match lines.body(length).await {
                        Some(InputText::Text { text: body, is_lossy: lossy, is_cut: cut }) => {
                            (text, is_lossy, is_cut) = (body, lossy, cut);
                        }
                        Some(InputText::TooLong) => return Err(too_long_failure()),
                        Some(InputText::End) | None => continue,
                    }
                    self.trace.note("the server puts a Content-Length header before each message; over stdio, a message is one line");
                }
                (None, _) => body_length = None,
            }
            if is_cut && partial.is_none() {
                if let Err(text) = self.hand_over_messages(text, is_lossy).await {
                    self.handle_cut_text(&text).await;
                }
                break;
            }
            self.handle_line(text, is_lossy, &mut partial).await;
            let start = partial.as_ref().map(|partial| shorten(partial.text(), NON_MESSAGE_WIDTH));
            *lock(&self.unfinished) = start;
        }
        if let Some(partial) = partial {
            *lock(&self.unfinished) = None;
            self.handle_cut_text(partial.text()).await;
        }
        Ok(())
    }

    /// Handles the last text of a stream that ended before the line feed. In the middle of a message, it is the stream
    /// that broke, and not the message that is wrong.
    async fn handle_cut_text(&self, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        let Some(cut) = malformed::describe_cut(text) else { return self.handle_other_text(text).await };
        self.trace.record(TraceEvent::Received(text.trim()));
        for message in malformed::recover(text).leading {
            self.send(IncomingItem::Message(message, None)).await;
        }
        *lock(&self.cut) = Some(cut);
    }

    /// Hands over what a line holds or completes.
    async fn handle_line(&self, line: String, is_lossy: bool, partial: &mut Option<PartialMessage>) {
        let Some(mut begun) = partial.take() else {
            if !line.trim().is_empty()
                && let Err(line) = self.hand_over_messages(line, is_lossy).await
            {
                *partial = PartialMessage::begin(&line, is_lossy);
                if partial.is_none() {
                    self.handle_other_text(&line).await;
                }
            }
            return;
        };
        // A whole message: what was begun is not one.
        if line.trim_start().starts_with('{') && line.contains("\"jsonrpc\"") && rpc::parse(&line).is_ok() {
            self.handle_other_text(begun.text()).await;
            return Box::pin(self.handle_line(line, is_lossy, partial)).await;
        }
        match begun.push(&line, is_lossy, MAX_MESSAGE) {
            Continuation::Incomplete => *partial = Some(begun),
            Continuation::Complete if begun.has_prefix() => self.handle_other_text(begun.text()).await,
            Continuation::Complete => match self.hand_over_messages(begun.text().to_owned(), begun.is_lossy()).await {
                Ok(()) => self.trace.note("the server sent a message over several lines, not on one"),
                Err(text) => self.handle_other_text(&text).await,
            },
            Continuation::Unrelated => {
                self.handle_other_text(begun.text()).await;
                Box::pin(self.handle_line(line, is_lossy, partial)).await;
            }
        }
    }

    /// Hands over the messages in a text.
    pub(super) async fn handle_text(&self, text: String, is_lossy: bool) {
        if !text.trim().is_empty()
            && let Err(text) = self.hand_over_messages(text, is_lossy).await
        {
            self.handle_other_text(&text).await;
        }
    }

    /// Hands over the messages in a text, or returns it if it does not consist of messages.
    async fn hand_over_messages(&self, text: String, is_lossy: bool) -> std::result::Result<(), String> {
        if text.len() >= LARGE_TEXT {
            self.wait_until_taken().await;
        }
        let found = MessageText::parse(text)?;
        if is_lossy && !self.has_warned_of_encoding.swap(true, Ordering::Relaxed) {
            self.warn(NOT_UTF8_WARNING.to_owned()).await;
        }
        if self.trace.is_enabled() {
            self.trace.record(TraceEvent::Received(found.text()));
        }
        for message in found.into_messages() {
            self.send(IncomingItem::Message(message, None)).await;
        }
        Ok(())
    }

    /// Hands over what can be recovered from a text that does not consist of messages.
    async fn handle_other_text(&self, text: &str) {
        let Recovered { leading, trailing, broken } = malformed::recover(text);
        if broken.is_some() || !(leading.is_empty() && trailing.is_empty()) {
            self.trace.record(TraceEvent::Received(text.trim()));
        }
        if !(leading.is_empty() && trailing.is_empty()) {
            self.trace.note("the server put other text on the line of a message");
        } else {
            self.record_non_message(text.trim());
        }
        for message in leading {
            self.send(IncomingItem::Message(message, None)).await;
        }
        for message in trailing {
            self.send(IncomingItem::EmbeddedResponse(message)).await;
        }
        if let Some(broken) = broken {
            self.send(IncomingItem::BrokenResponse(broken)).await;
        }
    }

    /// Waits until the session takes it. It is not an error if the session has stopped listening.
    async fn send(&self, item: IncomingItem) {
        let _ = self.sender.send(Incoming { request_id: None, item }).await;
    }

    /// Warns the user. Waits until the session has the warning.
    pub(super) async fn warn(&self, text: String) {
        self.send(IncomingItem::Warning(text)).await;
        self.wait_until_taken().await;
    }

    /// Waits until the session has everything that was handed over.
    async fn wait_until_taken(&self) {
        let _ = self.sender.reserve_many(self.sender.max_capacity()).await;
    }

    /// Notes a text that is not a message, and keeps the first one.
    fn record_non_message(&self, text: &str) {
        let start = shorten(text, NON_MESSAGE_WIDTH);
        self.trace
            .note(&format!("skipped text that is not a message, which the server {}: {start}", self.non_message_verb));
        lock(&self.first_non_message).get_or_insert(start);
    }

    /// The first text that was not a message, or else the beginning of one that is unfinished.
    pub(super) fn first_non_message(&self) -> Option<String> {
        lock(&self.first_non_message).clone().or_else(|| lock(&self.unfinished).clone())
    }

    /// Reports that the stream has ended: nothing more will come back.
    pub(super) async fn report_end(&self, failure: Failure) {
        let failure = match (lock(&self.cut).take(), self.first_non_message()) {
            (Some(cut), _) => failure.cause(cut),
            (None, Some(text)) => failure.cause(format!("it {}: {text}", self.non_message_verb)),
            (None, None) => failure,
        };
        self.send(IncomingItem::Failed(failure)).await;
        self.has_ended.store(true, Ordering::Release);
        self.end_notify.notify_waiters();
    }

    /// Whether the stream ends within this time. How it ended is more informative than the error of a failed write.
    pub(super) async fn ends_within(&self, time: Duration) -> bool {
        let notified = self.end_notify.notified();
        self.has_ended.load(Ordering::Acquire) || timeout(time, notified).await.is_ok()
    }
}

/// The failure for a message beyond the limit.
fn too_long_failure() -> Failure {
    Failure::new(ErrorKind::Protocol, "the server sent a message that is too long")
        .cause(format!("the limit is {} MiB without a line break", MAX_MESSAGE >> 20))
        .hint("request less data at once, if the tool has an argument for that")
}
