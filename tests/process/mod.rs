//! Child processes and signals.

mod server_shutdown;
mod signals;
