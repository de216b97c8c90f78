//! `call`: one tool, its arguments typed and checked by its own schema, its result printed; or many calls.

mod batch;
pub(in crate::commands) mod concurrent;
pub mod input_stream;
mod latency;
pub mod lock_check;
mod output_schema;
mod repeat;
mod single;
mod threshold;
pub(in crate::commands) mod tool_call;
mod tool_use;

use crate::cli::CallArgs;
use crate::commands::context::{Context, Exit};
use crate::error::Result;

/// Calls a tool, or those of `--batch` or `--tool-use`.
///
/// # Errors
/// When a tool cannot be called; a result with `isError` is printed and ends with exit code 1.
pub async fn run(context: &Context, args: CallArgs) -> Result<Exit> {
    if let Some(source) = &args.batch {
        return batch::run(context, &args, source).await;
    }
    if let Some(source) = &args.tool_use {
        return tool_use::run(context, &args, source).await;
    }
    single::run(context, &args).await
}
