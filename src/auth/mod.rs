//! Logging in (digest §5): discovery, registration, the flows, renewal, and what keeps the credentials.

pub mod callback;
pub mod challenge;
pub mod discovery;
pub mod dpop;
pub mod endpoint;
pub mod flow;
pub mod gate;
pub mod http;
pub mod identity;
pub mod jwt;
pub mod loopback;
pub mod metadata;
pub mod random;
pub mod record;
pub mod registration;
pub mod scopes;
pub mod settings;
pub mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod token;
pub mod zone;

pub use flow::PATIENCE;
pub use gate::{Gate, Manner};
pub use settings::{Browser, Grant, Login, Person, Settings};
