//! The progress line as it is drawn on the screen.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::terminal::OutputStream;
use crate::util::lock::lock;

/// Terminals with fewer columns get a percentage without a bar.
const MIN_BAR_COLUMNS: usize = 56;
/// The length of a bar whose total is known.
const BAR_LENGTH: u64 = 1000;

/// What is shown before the message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ProgressLayout {
    Spinner,
    Percentage,
    Bar,
}

impl ProgressLayout {
    pub(super) fn new(has_fraction: bool, columns: usize) -> Self {
        match has_fraction {
            false => ProgressLayout::Spinner,
            true if columns < MIN_BAR_COLUMNS => ProgressLayout::Percentage,
            true => ProgressLayout::Bar,
        }
    }

    /// Columns before the message.
    pub(super) fn prefix_width(self) -> usize {
        match self {
            ProgressLayout::Spinner => 2,
            ProgressLayout::Percentage => 7,
            ProgressLayout::Bar => 30,
        }
    }

    fn style(self) -> ProgressStyle {
        let template = match self {
            ProgressLayout::Spinner => "{spinner} {msg}",
            ProgressLayout::Percentage => "{spinner} {percent:>3}% {msg}",
            ProgressLayout::Bar => "{spinner} [{bar:20}] {percent:>3}% {msg}",
        };
        ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_spinner())
            .progress_chars("=> ")
    }
}

/// Standard error as `indicatif` draws on it, through the writer that messages use.
pub(super) struct Screen {
    pub(super) stream: Arc<Mutex<OutputStream>>,
    pub(super) columns: usize,
}

impl Screen {
    /// Moves the cursor by `count`; a terminal reads 0 as 1.
    fn move_cursor(&self, count: usize, direction: char) -> io::Result<()> {
        if count == 0 { Ok(()) } else { self.write_str(&format!("\x1b[{count}{direction}")) }
    }
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        u16::try_from(self.columns).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'D')
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.write_str(&format!("{s}\n"))
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        lock(&self.stream).write_all(s.as_bytes())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.write_str("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        lock(&self.stream).flush()
    }
}

/// The place of the one progress line on the screen.
#[derive(Default)]
pub(super) struct ProgressSlot {
    shown: Mutex<Option<(ProgressBar, ProgressLayout)>>,
    pub(super) pause_count: AtomicUsize,
    /// The result is being printed: nothing is drawn until `Progress::show_during` is called again.
    pub(super) is_suppressed: AtomicBool,
}

impl ProgressSlot {
    /// Removes the line while `print` prints.
    pub(super) fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        match &*lock(&self.shown) {
            Some((bar, _)) => bar.suspend(print),
            None => print(),
        }
    }

    /// Removes the line before a result is printed: if the result goes to a pipe, its reader may write to the same
    /// screen.
    pub(super) fn end(&self) {
        self.is_suppressed.store(true, Ordering::SeqCst);
        self.clear();
    }

    /// Removes the line until the next draw.
    pub(super) fn clear(&self) {
        if let Some((bar, _)) = lock(&self.shown).take() {
            bar.finish_and_clear();
        }
    }

    pub(super) fn is_hidden(&self) -> bool {
        self.pause_count.load(Ordering::SeqCst) > 0 || self.is_suppressed.load(Ordering::SeqCst)
    }

    /// Draws the line, or draws it again with new content.
    pub(super) fn draw(
        &self,
        screen: impl FnOnce() -> Screen,
        layout: ProgressLayout,
        fraction: Option<f64>,
        message: String,
    ) {
        let position = (fraction.unwrap_or_default() * BAR_LENGTH as f64) as u64;
        let mut slot = lock(&self.shown);
        let (bar, shown_layout) = slot.get_or_insert_with(|| {
            let target = ProgressDrawTarget::term_like(Box::new(screen()));
            let bar = ProgressBar::with_draw_target(Some(BAR_LENGTH), target).with_style(layout.style());
            (bar.with_position(position).with_message(message.clone()), layout)
        });
        if *shown_layout != layout {
            *shown_layout = layout;
            bar.set_style(layout.style());
        }
        // Each of these draws the line, so only a change is set.
        if bar.position() != position {
            bar.set_position(position);
        }
        if bar.message() != message {
            bar.set_message(message);
        }
        bar.tick();
    }
}
