//! The command line itself: usage errors, exit codes, names, completion, generated documents.

mod command_reference;
mod config_reference;
mod documented_commands;
mod documented_runs;
mod exit_codes;
mod generated_docs;
mod input_limits;
mod json_documents;
mod messages;
mod promises;
mod recipe_servers;
mod recipes;
mod reference;
mod roff;
mod shell_completion;
mod suggestions;
mod suite_reference;
mod target_and_tool_names;
mod usage_errors;
