//! `read` and `prompt`, and watching for changes.

mod argument_completion;
mod prompts;
mod resources;
mod skills;
mod watch;
