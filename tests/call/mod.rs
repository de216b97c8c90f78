//! `call`: arguments, schemas, batches, tasks, server requests.

mod agent_script;
mod batch;
mod batch_order;
mod batch_servers;
mod expectations;
mod late_tools;
mod read_only_tools;
mod schema_defaults;
mod schema_validation;
pub mod server_requests;
mod server_requests_terminal;
mod single;
mod tasks;
mod tool_use;
mod typed_arguments;
