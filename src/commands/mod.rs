//! The commands: one file or folder each, from parsed arguments to printed result, above what they share.

mod argument_completion;
mod argument_files;
pub mod assets;
pub mod auth;
pub mod bridge;
pub mod call;
pub mod client_features;
pub mod config;
mod connect;
pub mod context;
pub mod credentials;
mod expect;
pub mod list;
mod lists;
pub mod lock;
mod notifications;
pub mod prompt;
pub mod read;
mod recording;
mod redaction;
pub mod replay;
mod resolve;
pub mod runtime;
pub mod secret_references;
pub mod session;
pub mod signals;
pub mod task;
pub mod task_handles;
pub mod test;
mod timeouts;
mod tool_result;
mod tools;
pub mod usage_errors;
mod watch;

pub use crate::commands::context::{Context, Exit};
