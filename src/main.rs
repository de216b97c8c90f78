//! The `mcpipe` command: see `lib.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(mcpipe::main())
}
