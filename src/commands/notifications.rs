//! A server's notifications: progress on the progress line, logs as lines, and all of them as events.

use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::LogLevel;
use crate::commands::context::Context;
use crate::error::Result;
use crate::output::{Progress, Ui};
use crate::session::client_handler::SessionObserver;

/// The observer of a session's notifications; `None` if nothing would be shown.
///
/// # Errors
/// When the file of `--events` cannot be created.
pub fn notification_observer(
    context: &Context,
    progress: Option<Arc<Progress>>,
) -> Result<Option<Arc<dyn SessionObserver>>> {
    let events = context.ui.open_events()?;
    let wanted = context.global.log_level;
    if progress.is_none() && !events && wanted.is_none() {
        return Ok(None);
    }
    Ok(Some(Arc::new(NotificationReporter { ui: context.ui.clone(), progress, log_level: wanted })))
}

struct NotificationReporter {
    ui: Arc<Ui>,
    progress: Option<Arc<Progress>>,
    log_level: Option<LogLevel>,
}

impl SessionObserver for NotificationReporter {
    fn notification(&self, method: &str, params: Option<&RawValue>) {
        self.ui.write_event(method, params);
    }

    fn progress(&self, progress: f64, total: Option<f64>, message: Option<&str>) {
        if let Some(line) = &self.progress {
            line.update(progress, total, message);
        }
    }

    /// With `--log-level`, logs of that level are lines on stderr. Without, they are shown only at a terminal: warnings
    /// as lines, others briefly on the progress line.
    fn log(&self, level: &str, logger: Option<&str>, data: &Value) {
        let severity = LogLevel::from_name(level);
        let as_line = match self.log_level {
            Some(wanted) => severity >= wanted,
            None => self.ui.terminal().stderr_is_tty && severity >= LogLevel::Warning,
        };
        if as_line {
            self.ui.print_log(level, logger, data);
        } else if let Some(line) = self.progress.as_ref().filter(|_| self.log_level.is_none()) {
            let text = data.as_str().map_or_else(|| data.to_string(), ToOwned::to_owned);
            line.set_message(&text);
        }
    }

    fn warn(&self, text: &str) {
        self.ui.warn(text);
    }
}
