//! Logging in (digest §5): discovery, registration, the flows, renewal, and what keeps the credentials.

pub mod callback;
pub mod challenge;
pub mod dpop;
pub mod http;
pub mod identity;
pub mod jwt;
pub mod metadata;
pub mod random;
pub mod record;
pub mod scopes;
pub mod store;
pub mod token;
pub mod zone;
