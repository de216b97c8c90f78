//! `--record`, `replay:FILE` and `mcpipe replay`.

mod file_errors;
mod redaction;
mod replay;
mod same_output;
