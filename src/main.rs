//! The `mcpipe` command: see `lib.rs`.

#[cfg(any(test, target_env = "musl"))]
mod allocator;

use std::process::ExitCode;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: allocator::BySize<dlmalloc::GlobalDlmalloc, std::alloc::System> =
    allocator::BySize { small: dlmalloc::GlobalDlmalloc, large: std::alloc::System };

fn main() -> ExitCode {
    ExitCode::from(mcpipe::main())
}
