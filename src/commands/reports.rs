//! What a server reports while it works: progress on the progress line, logs as lines, all of it as events.

use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::Context;
use crate::cli::LogLevel;
use crate::error::Result;
use crate::output::{Progress, Ui};
use crate::session::peer::Observer;

/// Who is told of a session's notifications; nobody where nothing is shown anyway.
///
/// # Errors
/// When the file of `--events` cannot be made.
pub fn observer(context: &Context, progress: Option<Arc<Progress>>) -> Result<Option<Arc<dyn Observer>>> {
    let events = context.ui.open_events()?;
    let wanted = context.global.log_level;
    if progress.is_none() && !events && wanted.is_none() {
        return Ok(None);
    }
    Ok(Some(Arc::new(Reporter { ui: context.ui.clone(), progress, wanted })))
}

struct Reporter {
    ui: Arc<Ui>,
    progress: Option<Arc<Progress>>,
    wanted: Option<LogLevel>,
}

impl Observer for Reporter {
    fn notification(&self, method: &str, params: Option<&RawValue>) {
        self.ui.event(method, params);
    }

    fn progress(&self, progress: f64, total: Option<f64>, message: Option<&str>) {
        if let Some(line) = &self.progress {
            line.update(progress, total, message);
        }
    }

    /// Logs that were asked for are lines wherever stderr goes. Others are shown at a terminal only: as lines
    /// where they warn, else for a moment on the progress line.
    fn log(&self, level: &str, logger: Option<&str>, data: &Value) {
        let severity = LogLevel::read(level);
        let as_line = match self.wanted {
            Some(wanted) => severity >= wanted,
            None => self.ui.terminal().stderr && severity >= LogLevel::Warning,
        };
        if as_line {
            self.ui.log(level, logger, data);
        } else if let Some(line) = self.progress.as_ref().filter(|_| self.wanted.is_none()) {
            let text = data.as_str().map_or_else(|| data.to_string(), ToOwned::to_owned);
            line.message(&text);
        }
    }

    fn warn(&self, text: &str) {
        self.ui.warn(text);
    }
}
