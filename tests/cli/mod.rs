//! The command line itself: usage errors, exit codes, names, completion, generated documents.

mod exit_codes;
mod generated_docs;
mod shell_completion;
mod target_and_tool_names;
mod usage_errors;
