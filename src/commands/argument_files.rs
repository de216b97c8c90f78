//! The files that arguments name (`name=@FILE`), and standard input.

use std::collections::HashMap;

use crate::args::ArgumentReader;
use crate::commands::context::Context;
use crate::interrupt;
use crate::transport::MAX_MESSAGE;
use crate::util::bounded_read;

/// Reads the files that arguments name. The arguments may be built again, so what can be read only once is kept:
/// standard input, pipes and devices.
pub struct ArgumentFiles<'a> {
    context: &'a Context,
    stdin: Option<Vec<u8>>,
    pipes: HashMap<String, Vec<u8>>,
}

impl<'a> ArgumentFiles<'a> {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(context: &'a Context) -> Self {
        ArgumentFiles { context, stdin: None, pipes: HashMap::new() }
    }
}

impl ArgumentReader for ArgumentFiles<'_> {
    fn read_file(&mut self, path: &str) -> std::io::Result<Vec<u8>> {
        if let Some(all) = self.pipes.get(path) {
            return Ok(all.clone());
        }
        let is_file = std::fs::metadata(path)?.is_file();
        let all = bounded_read::read(path, MAX_MESSAGE as u64)?;
        if !is_file {
            self.pipes.insert(path.to_owned(), all.clone());
        }
        Ok(all)
    }

    fn read_stdin(&mut self, what: &str) -> std::io::Result<Vec<u8>> {
        if let Some(all) = &self.stdin {
            return Ok(all.clone());
        }
        // What is typed must not mix with the progress line.
        let _quiet = self.context.ui.pause_progress();
        self.context.note_awaited_input(what);
        interrupt::enter_blocking();
        let all = bounded_read::read_all(std::io::stdin(), MAX_MESSAGE as u64, 0)?;
        self.stdin = Some(all.clone());
        Ok(all)
    }
}
