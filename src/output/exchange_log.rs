//! The last messages of an exchange, without secrets, for a report.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::ui::Ui;
use crate::transport::trace::{Trace, TraceEvent, TraceSink};
use crate::util::lock::lock;

/// How many messages are kept.
const MAX_MESSAGES: usize = 40;
/// How much of a message is kept, in bytes.
const MAX_KEPT_BYTES: usize = 4096;

/// Keeps the last messages, and passes every event on.
pub struct ExchangeLog {
    ui: Arc<Ui>,
    next: Trace,
    messages: Mutex<VecDeque<String>>,
}

impl Ui {
    /// A log that passes every event on to `next`.
    #[must_use]
    pub fn exchange_log(self: &Arc<Self>, next: Trace) -> Arc<ExchangeLog> {
        Arc::new(ExchangeLog { ui: Arc::clone(self), next, messages: Mutex::default() })
    }
}

impl ExchangeLog {
    /// Removes and returns the messages: `→` was sent, `←` was received, `|` was printed on stderr by the server.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.messages)).into()
    }

    fn add(&self, mark: &str, text: &str) {
        let text = self.ui.redacted_message(text);
        let mut line = format!("{mark} {}", &text[..text.floor_char_boundary(MAX_KEPT_BYTES)]);
        if text.len() > MAX_KEPT_BYTES {
            line += &format!("… ({} bytes)", text.len());
        }
        let mut messages = lock(&self.messages);
        if messages.len() == MAX_MESSAGES {
            messages.pop_front();
        }
        messages.push_back(line);
    }
}

impl TraceSink for ExchangeLog {
    fn record(&self, event: TraceEvent<'_>) {
        match event {
            TraceEvent::Sent(text) => self.add("→", text),
            TraceEvent::Received(text) => self.add("←", text),
            TraceEvent::Stderr(line) => self.add("|", line),
            TraceEvent::RequestHead { .. } | TraceEvent::ResponseHead { .. } | TraceEvent::Note(_) => {}
        }
        self.next.record(event);
    }
}
