//! (skeleton)
use super::{Connection, Options, StdioEndpoint};
use crate::error::{Class, Failure, Result};
/// skeleton
pub fn connect(_endpoint: &StdioEndpoint, _options: &Options) -> Result<Connection> {
    Err(Failure::new(Class::Bug, "skeleton"))
}
