//! Values of the configuration: expanding variables, reading typed values, and references to secrets.

pub mod expand;
pub(crate) mod read;
pub mod secrets;
