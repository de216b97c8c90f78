//! Child processes and signals.

mod killed_runs;
mod orphans;
mod server_shutdown;
mod signals;
