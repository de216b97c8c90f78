//! The progress line: on standard error at a terminal, only where something takes long, gone at the end.
//!
//! No thread draws it: the waiting future itself does ([`Progress::show_during`]), so that a fast command
//! or a piped one pays nothing for it. It is drawn by hand, since the crate for it measures rates with `pow`: that
//! alone made every start load the library of mathematics, a tenth of what `--version` takes.

use std::future::Future;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::escape::{display_width, one_line, truncate};
use super::{OutputStream, Ui};

use crate::util::lock::lock;

/// What ends sooner shows no progress.
const DELAY: Duration = Duration::from_millis(400);
/// How often it is drawn.
const TICK: Duration = Duration::from_millis(100);
/// Terminals with fewer columns get a percentage without a bar.
const MIN_BAR_COLUMNS: usize = 56;
/// So many columns are left free: what a key echoes (`^C`) must not begin a new line.
const RESERVED_COLUMNS: usize = 8;
/// What turns at the beginning of the line.
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/// Columns within the brackets of the bar.
const BAR_WIDTH: usize = 20;
/// Goes to the beginning of the line and empties it.
const ERASE: &str = "\r\x1b[2K";

/// The place of the one progress line on the screen.
#[derive(Default)]
pub(super) struct ProgressSlot {
    line: Mutex<Option<ProgressLine>>,
    pause_count: AtomicUsize,
    /// The result is being printed: nothing is drawn until the next waiting.
    is_suppressed: AtomicBool,
}

/// A line that is on the screen.
struct ProgressLine {
    screen: Arc<Mutex<OutputStream>>,
    text: String,
    /// How often it was drawn.
    frames: usize,
}

impl ProgressLine {
    fn write(&self, text: &str) {
        let mut screen = lock(&self.screen);
        // A progress line that cannot be shown is none.
        let _ = screen.write_all(text.as_bytes()).and_then(|()| screen.flush());
    }
}

impl ProgressSlot {
    /// Takes the line away while `print` prints.
    pub(super) fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        let line = lock(&self.line);
        line.iter().for_each(|line| line.write(ERASE));
        let printed = print();
        line.iter().for_each(|line| line.write(&line.text));
        printed
    }

    /// Takes the line away for good, before a result is printed: wherever that goes, a reader behind a pipe may
    /// write to the same screen.
    pub(super) fn end(&self) {
        self.is_suppressed.store(true, Ordering::SeqCst);
        self.clear();
    }

    /// Takes the line away until it is drawn again.
    pub(super) fn clear(&self) {
        if let Some(line) = lock(&self.line).take() {
            line.write(ERASE);
        }
    }

    /// Draws `text` behind the spinner, in the place of what was drawn before.
    fn draw(&self, screen: &Arc<Mutex<OutputStream>>, text: &str) {
        let mut slot = lock(&self.line);
        let new = slot.is_none();
        let line =
            slot.get_or_insert_with(|| ProgressLine { screen: Arc::clone(screen), text: String::new(), frames: 0 });
        line.text = format!("{} {text}", SPINNER[line.frames % SPINNER.len()]);
        line.frames += 1;
        line.write(&if new { line.text.clone() } else { format!("{ERASE}{}", line.text) });
    }
}

/// While it lives, no progress is drawn: somebody is typing.
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
        let state = ProgressState {
            message: if shown { one_line(message) } else { String::new() },
            fraction: None,
            count: None,
        };
        let start = Instant::now();
        Progress { ui: shown.then(|| Arc::clone(self)), start, state: Mutex::new(state) }
    }

    /// Takes the progress line away until the guard is dropped.
    pub fn pause_progress(&self) -> ProgressPause<'_> {
        self.progress.pause_count.fetch_add(1, Ordering::SeqCst);
        self.progress.clear();
        ProgressPause(&self.progress)
    }
}

/// One long operation. Cleared when its waiting ends; any number may exist, one is shown.
pub struct Progress {
    /// `None` where nothing is ever shown.
    ui: Option<Arc<Ui>>,
    start: Instant,
    state: Mutex<ProgressState>,
}

struct ProgressState {
    message: String,
    /// The part that is done, from 0 to 1.
    fraction: Option<f64>,
    /// What is done, where nobody knows of how much.
    count: Option<f64>,
}

impl Progress {
    /// Says what is being done now.
    pub fn set_message(&self, text: &str) {
        if self.ui.is_some() {
            lock(&self.state).message = one_line(text);
        }
    }

    /// Takes over what a server's progress notification says (digest §3.6).
    pub fn update(&self, progress: f64, total: Option<f64>, message: Option<&str>) {
        if self.ui.is_none() {
            return;
        }
        let mut state = lock(&self.state);
        state.fraction = total.filter(|&total| total > 0.0).map(|total| (progress / total).clamp(0.0, 1.0));
        state.count = if state.fraction.is_none() { Some(progress) } else { None };
        if let Some(text) = message.filter(|text| !text.trim().is_empty()) {
            state.message = one_line(text);
        }
    }

    /// Waits for `future`, and shows the line while that takes long.
    pub async fn show_during<F: Future>(&self, future: F) -> F::Output {
        // Boxed, since it would lie in this future twice: as it was given, and where it is polled.
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
        if ui.progress.pause_count.load(Ordering::SeqCst) > 0 || ui.progress.is_suppressed.load(Ordering::SeqCst) {
            return;
        }
        let columns = ui.terminal.columns() - RESERVED_COLUMNS;
        let state = lock(&self.state);
        let (tail, taken) = match state.fraction {
            None => (String::new(), 2),
            Some(done) => {
                let percent = format!(" {}%", (done * 100.0) as u32);
                if columns < MIN_BAR_COLUMNS {
                    (percent, 7)
                } else {
                    (format!(" {}{percent}", bar(done)), 10 + BAR_WIDTH)
                }
            }
        };
        let count = state.count.map(|count| format!(" ({})", truncate(&count.to_string(), 12))).unwrap_or_default();
        let message = truncate(&state.message, columns.saturating_sub(taken + display_width(&count)));
        ui.progress.draw(&ui.err, &format!("{message}{count}{tail}"));
    }
}

/// How far something is, from 0 to 1, in brackets.
fn bar(done: f64) -> String {
    let filled = (done * BAR_WIDTH as f64) as usize;
    let head = if filled < BAR_WIDTH { ">" } else { "" };
    format!("[{:<BAR_WIDTH$}]", "=".repeat(filled) + head)
}

/// Takes the line away when the waiting ends, however it ends.
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
            assert!(frames[0].starts_with("⠋ x"), "{text:?}");
            assert!(frames[1].trim_end().ends_with("25%"), "{text:?}");
            assert_eq!(frames[1].contains("[=====>              ]"), bar, "{text:?}");
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
