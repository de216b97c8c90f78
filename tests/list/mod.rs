//! `list`: one server, all servers, example calls, formats of model APIs.

mod all_servers;
mod contents;
mod context_cost;
mod example_calls;
mod model_formats;
mod typescript_values;
