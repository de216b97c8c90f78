//! The `mcpipe` command: see `lib.rs`.

#[cfg(any(test, target_env = "musl"))]
mod allocator;

use std::process::ExitCode;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: allocator::BySize<allocator::Keeping<dlmalloc::GlobalDlmalloc>, std::alloc::System> =
    allocator::BySize { small: allocator::Keeping(dlmalloc::GlobalDlmalloc), large: std::alloc::System };

fn main() -> ExitCode {
    #[cfg(target_env = "musl")]
    allocator::keep_blocks();
    ExitCode::from(mcpipe::main())
}
