//! The files that arguments name (`name=@FILE`), and standard input.

use crate::args::ArgumentReader;
use crate::interrupt;

/// Reads the files that arguments name; standard input is read once and kept.
#[derive(Default)]
pub struct ArgumentFiles {
    stdin: Option<Vec<u8>>,
}

impl ArgumentReader for ArgumentFiles {
    fn read_file(&mut self, path: &str) -> std::io::Result<Vec<u8>> {
        // A named pipe may block like standard input.
        if !std::fs::metadata(path)?.is_file() {
            interrupt::enter_blocking();
        }
        std::fs::read(path)
    }

    fn read_stdin(&mut self) -> std::io::Result<Vec<u8>> {
        if let Some(all) = &self.stdin {
            return Ok(all.clone());
        }
        interrupt::enter_blocking();
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut all)?;
        self.stdin = Some(all.clone());
        Ok(all)
    }
}
