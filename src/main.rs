//! The `mcpipe` command: see `lib.rs`.

use std::process::ExitCode;

/// The allocator of musl is slow: it requests memory from the system, and returns it, all the time (docs/performance.md).
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    ExitCode::from(mcpipe::main())
}
