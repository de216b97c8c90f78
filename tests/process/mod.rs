//! Child processes and signals.

mod orphans;
mod server_shutdown;
mod signals;
