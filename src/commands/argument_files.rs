//! The files that arguments name (`name=@FILE`), and standard input.

use crate::args::ArgumentReader;
use crate::commands::context::Context;
use crate::interrupt;

/// Reads the files that arguments name; standard input is read once and kept.
pub struct ArgumentFiles<'a> {
    context: &'a Context,
    stdin: Option<Vec<u8>>,
}

impl<'a> ArgumentFiles<'a> {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(context: &'a Context) -> Self {
        ArgumentFiles { context, stdin: None }
    }
}

impl ArgumentReader for ArgumentFiles<'_> {
    fn read_file(&mut self, path: &str) -> std::io::Result<Vec<u8>> {
        // A named pipe may block like standard input.
        if !std::fs::metadata(path)?.is_file() {
            interrupt::enter_blocking();
        }
        std::fs::read(path)
    }

    fn read_stdin(&mut self, what: &str) -> std::io::Result<Vec<u8>> {
        if let Some(all) = &self.stdin {
            return Ok(all.clone());
        }
        // What is typed must not mix with the progress line.
        let _quiet = self.context.ui.pause_progress();
        self.context.note_awaited_input(what);
        interrupt::enter_blocking();
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut all)?;
        self.stdin = Some(all.clone());
        Ok(all)
    }
}
