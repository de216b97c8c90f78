//! Logging in, and what it leaves behind.

pub mod store;
