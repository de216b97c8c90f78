//! (skeleton)
use super::{Connection, HttpEndpoint, Options};
use crate::error::{Class, Failure, Result};
/// skeleton
pub async fn connect(_endpoint: &HttpEndpoint, _options: &Options) -> Result<Connection> {
    Err(Failure::new(Class::Bug, "skeleton"))
}
