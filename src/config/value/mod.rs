//! Values of the configuration: expansion of variables, typed reading, and references to secrets.

pub mod expand;
pub(crate) mod read;
pub mod secrets;
