//! The progress line: on standard error, only at a terminal, only if something is slow, and removed at the end.
//!
//! `indicatif` draws it. No thread is used: the future that waits updates it ([`Progress::show_during`]), and nothing
//! is constructed before the first draw, so that it costs nothing in a fast command or in a pipe.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::escape::{display_width, one_line, truncate};
use super::progress_line::{ProgressLayout, ProgressSlot, Screen};
use super::ui::Ui;
use crate::util::lock::lock;

/// Operations that end sooner show no progress.
const DELAY: Duration = Duration::from_millis(400);
/// Time between two draws.
const TICK: Duration = Duration::from_millis(100);
/// Columns that stay free at the end of the line: what a key echoes (`^C`) must not begin a new line.
const RESERVED_COLUMNS: usize = 8;
/// The longest count that is shown, in columns.
const MAX_COUNT_COLUMNS: usize = 12;

/// While it exists, no progress is drawn: the user is typing.
pub struct ProgressPause<'a>(&'a ProgressSlot);

impl Drop for ProgressPause<'_> {
    fn drop(&mut self) {
        self.0.pause_count.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ui {
    /// A progress line with this message; it shows nothing before [`Progress::show_during`] has waited.
    #[must_use]
    pub fn progress(self: &Arc<Self>, message: &str) -> Progress {
        let shown = self.terminal.stderr_is_tty && !self.terminal.is_dumb && !self.options.quiet;
        let message = if shown { message.to_owned() } else { String::new() };
        let state = ProgressState { message, fraction: None, count: None };
        Progress { ui: shown.then(|| Arc::clone(self)), start: Instant::now(), state: Mutex::new(state) }
    }

    /// Removes the progress line until the guard is dropped.
    pub fn pause_progress(&self) -> ProgressPause<'_> {
        self.progress.pause_count.fetch_add(1, Ordering::SeqCst);
        self.progress.clear();
        ProgressPause(&self.progress)
    }
}

/// One operation that may be slow. Its line is removed when the wait ends; of several at once, one is shown.
pub struct Progress {
    /// `None` if nothing is ever shown.
    ui: Option<Arc<Ui>>,
    start: Instant,
    state: Mutex<ProgressState>,
}

struct ProgressState {
    /// As it was given: it is made visible and redacted when it is drawn.
    message: String,
    /// The part that is done, from 0 to 1.
    fraction: Option<f64>,
    /// What is done, if the total is unknown.
    count: Option<f64>,
}

impl Progress {
    /// Changes the message.
    pub fn set_message(&self, text: &str) {
        if self.ui.is_some() {
            text.clone_into(&mut lock(&self.state).message);
        }
    }

    /// Shows the content of a server's progress notification (2025-11-25, basic/utilities/progress).
    pub fn update(&self, progress: f64, total: Option<f64>, message: Option<&str>) {
        if self.ui.is_none() {
            return;
        }
        let mut state = lock(&self.state);
        state.fraction = total.filter(|&total| total > 0.0).map(|total| (progress / total).clamp(0.0, 1.0));
        state.count = if state.fraction.is_none() { Some(progress) } else { None };
        if let Some(text) = message.filter(|text| !text.trim().is_empty()) {
            text.clone_into(&mut state.message);
        }
    }

    /// Waits for `future`, and shows the line if that is slow.
    pub async fn show_during<F: Future>(&self, future: F) -> F::Output {
        // Boxed, or this future would contain it twice: as an argument, and where it is polled.
        let mut future = Box::pin(future);
        let Some(ui) = &self.ui else { return future.await };
        ui.progress.is_suppressed.store(false, Ordering::SeqCst);
        let _clear = ClearOnDrop(&ui.progress);
        let mut ticks = tokio::time::interval_at(self.start + DELAY, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                output = &mut future => return output,
                _ = ticks.tick() => self.draw(ui),
            }
        }
    }

    fn draw(&self, ui: &Ui) {
        if ui.progress.is_hidden() {
            return;
        }
        let columns = ui.terminal.columns() - RESERVED_COLUMNS;
        let (layout, fraction, message) = {
            let state = lock(&self.state);
            let known = lock(&ui.known_secrets);
            let layout = ProgressLayout::new(state.fraction.is_some(), columns);
            let count = state.count.map(|count| count.to_string());
            let count = count.map(|count| format!(" ({})", truncate(&known.redact(&count), MAX_COUNT_COLUMNS)));
            let count = count.unwrap_or_default();
            let width = columns.saturating_sub(layout.prefix_width() + display_width(&count));
            let message = one_line(&known.redact(&state.message));
            (layout, state.fraction, format!("{}{count}", truncate(&message, width)))
        };
        let screen = || Screen { stream: Arc::clone(&ui.err), columns };
        ui.progress.draw(screen, layout, fraction, message);
    }
}

/// Removes the line when the wait ends, however it ends.
struct ClearOnDrop<'a>(&'a ProgressSlot);

impl Drop for ClearOnDrop<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::escape::display_width as width_of;
    use super::super::testing::*;
    use super::super::{Terminal, UiOptions};
    use super::*;

    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn what_is_fast_shows_nothing() {
        let seen = ui(UiOptions::default(), at_terminal());
        let done = block(async { seen.ui.progress("connecting").show_during(async { 7 }).await });
        assert_eq!((done, seen.err.text().as_str()), (7, ""));
    }

    #[test]
    fn what_is_slow_shows_a_line_and_takes_it_away() {
        let seen = ui(UiOptions::default(), at_terminal());
        block(async {
            let progress = seen.ui.progress("connecting\x1b[2J");
            progress.show_during(tokio::time::sleep(DELAY + TICK * 3)).await;
        });
        let text = seen.err.text();
        assert!(text.contains("connecting\\x1b[2J") && !text.contains("\x1b[2J"), "{text:?}");
        assert!(text.ends_with("\x1b[2K"), "{text:?}");
        assert_eq!(seen.out.text(), "");
    }

    #[test]
    fn secrets_in_a_servers_message_are_redacted_before_it_is_cut() {
        let seen = ui(UiOptions::default(), Terminal { width: Some(30), ..at_terminal() });
        let progress = block(async { seen.ui.progress("x") });
        progress.update(1.0, Some(2.0), Some("token hunter22-long"));
        // A secret may become known after the message that contains it.
        seen.ui.redact("hunter22-long");
        seen.ui.redact("987654321");
        progress.draw(&seen.ui);
        progress.update(987_654_321.0, None, Some("\u{202e}hunter22-long"));
        progress.draw(&seen.ui);
        let text = seen.err.text();
        assert!(text.contains(" 50% token [redacte…") && text.contains(" <U+202… ([redacted])"), "{text:?}");
        assert!(!text.contains("hunt") && !text.contains("9876"), "{text:?}");
    }

    #[test]
    fn a_pipe_a_dumb_terminal_and_quiet_show_nothing() {
        for (options, terminal) in [
            (UiOptions::default(), Terminal::default()),
            (UiOptions::default(), Terminal { is_dumb: true, ..at_terminal() }),
            (UiOptions { quiet: true, ..UiOptions::default() }, at_terminal()),
        ] {
            let seen = ui(options, terminal);
            assert!(block(async { seen.ui.progress("x") }).ui.is_none());
        }
    }

    #[test]
    fn draws_a_bar_where_the_total_is_known_and_never_wraps() {
        for (width, bar) in [(0, true), (1, false), (20, false), (40, false), (80, true)] {
            let terminal = Terminal { width: Some(width), ..at_terminal() };
            let seen = ui(UiOptions::default(), terminal);
            let progress = block(async { seen.ui.progress("x") });
            progress.draw(&seen.ui);
            progress.update(3.0, Some(12.0), Some(&"long 日本 ".repeat(40)));
            progress.draw(&seen.ui);
            seen.ui.progress.clear();
            let text = seen.err.text();
            let frames: Vec<&str> = text.split("\r\x1b[2K").collect();
            let last = frames.iter().rfind(|frame| !frame.is_empty()).unwrap();
            assert!(frames[0].contains(" x"), "{text:?}");
            assert!(last.contains(" 25% ") && last.trim_end().ends_with('…'), "{text:?}");
            assert_eq!(last.contains("[=====>              ]"), bar, "{text:?}");
            assert!(!text.contains('\n') && text.ends_with("\r\x1b[2K"), "{text:?}");
            for frame in frames {
                assert!(width_of(frame) <= terminal.columns() - RESERVED_COLUMNS, "{text:?}");
            }
        }
    }

    #[test]
    fn without_a_total_the_count_is_shown_however_large() {
        let terminal = at_terminal();
        let seen = ui(UiOptions::default(), terminal);
        let progress = block(async { seen.ui.progress("counting") });
        for (count, shown) in [(3.0, "counting (3)"), (1e300, "counting (10000000000…")] {
            progress.update(count, None, None);
            progress.draw(&seen.ui);
            let text = seen.err.text();
            assert!(text.contains(shown), "{text:?}");
        }
    }

    #[test]
    fn output_makes_the_line_go_and_come_back() {
        let seen = ui(UiOptions::default(), at_terminal());
        let progress = block(async { seen.ui.progress("working") });
        progress.draw(&seen.ui);
        let before = seen.err.text().len();
        seen.ui.print_json_line("1").unwrap();
        let after = seen.err.text();
        assert!(after[before..].starts_with("\r\x1b[2K"), "{:?}", &after[before..]);
        assert!(after[before..].contains("working"));
        // The result itself ends it.
        seen.ui.print_line("result").unwrap();
        progress.draw(&seen.ui);
        assert!(seen.err.text()[after.len()..].trim_start_matches("\r\x1b[2K").is_empty());
        assert_eq!(seen.out.text(), "1\nresult\n");
    }

    #[test]
    fn nothing_is_drawn_while_somebody_types() {
        let seen = ui(UiOptions::default(), at_terminal());
        let progress = block(async { seen.ui.progress("working") });
        progress.draw(&seen.ui);
        let pause = seen.ui.pause_progress();
        seen.ui.prompt_question("Really? ");
        let before = seen.err.text();
        progress.draw(&seen.ui);
        assert_eq!(seen.err.text(), before);
        assert!(before.ends_with("Really? "));
        drop(pause);
        progress.draw(&seen.ui);
        assert!(seen.err.text().len() > before.len());
    }
}
