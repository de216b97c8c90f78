//! The command line: clap types and their help, nothing else.
//!
//! Each help text exists once. The man pages, the completions, and `docs/cli.md` are generated from
//! these definitions (`tests/cli/generated_docs.rs`), and a test compares them.
#![allow(missing_docs, reason = "a flattened field is described by its type, every other one by its help")]

#[macro_use]
mod help;

mod assets;
mod auth;
mod bridge;
mod call;
mod config;
mod fast_path;
pub mod foreign_options;
mod list;
mod lock;
mod model_formats;
mod options;
mod parse;
mod prompt;
mod read;
mod replay;
mod request;
mod root;
mod session;
mod task;
mod test;

pub use crate::target::TargetOptions;
pub use assets::{CompletionsArgs, ManArgs, Shell};
pub use auth::*;
pub use bridge::BridgeArgs;
pub use call::CallArgs;
pub use config::*;
pub use list::ListArgs;
pub use lock::LockArgs;
pub use model_formats::{ApiFormat, ToolFormat};
pub use options::{ElicitOption, GlobalOptions, LogLevel};
pub use parse::parse;
pub use prompt::PromptArgs;
pub use read::ReadArgs;
pub use replay::ReplayArgs;
pub use request::RequestArgs;
pub use root::{Cli, Command, command, valid_line};
pub use session::{SessionArgs, SessionCommand, SessionListArgs, SessionLogsArgs, SessionStartArgs, SessionStopArgs};
pub use task::{TaskArgs, TaskCommand, TaskIdArgs, TaskListArgs, TaskWaitArgs};
pub use test::TestArgs;
