//! A [`Ui`] whose streams can be looked at.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::{Terminal, Ui, UiOptions, lock};
use crate::error::Result;

/// A stream that keeps what it is given.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.0)).into_owned()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub struct Seen {
    pub ui: Arc<Ui>,
    pub out: Kept,
    pub err: Kept,
}

pub fn ui(options: UiOptions, terminal: Terminal) -> Seen {
    let (out, err) = (Kept::default(), Kept::default());
    let ui = Arc::new(Ui::with_writers(options, terminal, Box::new(out.clone()), Box::new(err.clone())));
    Seen { ui, out, err }
}

pub fn at_terminal() -> Terminal {
    Terminal { stdin: true, stdout: true, stderr: true, width: Some(80), no_color: true, dumb: false }
}

/// What standard output gets, piped and at a terminal without colours.
pub fn both(print: impl Fn(&Ui) -> Result<()>) -> (String, String) {
    let piped = ui(UiOptions::default(), Terminal::default());
    print(&piped.ui).unwrap_or_else(|failure| panic!("{failure}"));
    let terminal = ui(UiOptions::default(), at_terminal());
    print(&terminal.ui).unwrap_or_else(|failure| panic!("{failure}"));
    (piped.out.text(), terminal.out.text())
}
