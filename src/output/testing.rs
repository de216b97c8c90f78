//! A [`Ui`] whose streams can be looked at.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::{Terminal, Ui, UiOptions};
use crate::error::Result;
use crate::util::lock::lock;

/// A stream that keeps what it is given.
#[derive(Clone, Default)]
pub struct CapturedStream(Arc<Mutex<Vec<u8>>>);

impl CapturedStream {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.0)).into_owned()
    }
}

impl Write for CapturedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub struct CapturedUi {
    pub ui: Arc<Ui>,
    pub out: CapturedStream,
    pub err: CapturedStream,
}

pub fn ui(options: UiOptions, terminal: Terminal) -> CapturedUi {
    let (out, err) = (CapturedStream::default(), CapturedStream::default());
    let ui = Arc::new(Ui::with_writers(options, terminal, Box::new(out.clone()), Box::new(err.clone())));
    CapturedUi { ui, out, err }
}

pub fn at_terminal() -> Terminal {
    Terminal {
        stdin_is_tty: true,
        stdout_is_tty: true,
        stderr_is_tty: true,
        width: Some(80),
        no_color: true,
        is_dumb: false,
        ..Terminal::default()
    }
}

/// What standard output gets, piped and at a terminal without colors.
pub fn render_both(print: impl Fn(&Ui) -> Result<()>) -> (String, String) {
    let piped = ui(UiOptions::default(), Terminal::default());
    print(&piped.ui).unwrap_or_else(|failure| panic!("{failure}"));
    let terminal = ui(UiOptions::default(), at_terminal());
    print(&terminal.ui).unwrap_or_else(|failure| panic!("{failure}"));
    (piped.out.text(), terminal.out.text())
}
