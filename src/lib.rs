//! mcpipe: a command-line client for the Model Context Protocol.
//!
//! The library exists so that tests, fuzzers and benches reach the parts; its API promises nothing.

pub mod args;
pub mod auth;
pub mod cli;
pub mod config;
pub mod env;
pub mod error;
pub mod interrupt;
pub mod output;
pub mod protocol;
pub mod schema;
pub mod secret;
pub mod session;
pub mod target;
pub mod transport;

use std::process::ExitCode;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
