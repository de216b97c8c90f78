//! Completion as it happens: a shell calls mcpipe with `MCPIPE_COMPLETE` set and gets candidates back.
//!
//! Names of servers come from the configuration, names of tools from the remembered lists. Nothing here
//! ever connects.

use std::process::ExitCode;

use clap_complete::CompleteEnv;

use crate::cli;
use crate::env;

/// The completion request of a shell, answered; `None` on an ordinary run.
#[must_use]
pub fn requested() -> Option<ExitCode> {
    let asked = std::env::var_os(env::COMPLETE).is_some_and(|value| !value.is_empty());
    if !asked {
        return None;
    }
    let arguments = std::env::args_os();
    let cwd = std::env::current_dir().ok();
    let done = CompleteEnv::with_factory(cli::command).var(env::COMPLETE).try_complete(arguments, cwd.as_deref());
    Some(if matches!(done, Ok(true)) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
