//! `mcpipe lock` and `--locked`.

mod file;
mod locked_calls;
mod real_schemas;
