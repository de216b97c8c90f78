//! stub
use super::{Context, Exit};
use crate::error::Result;
/// stub
pub fn run(_c: &Context, _a: crate::cli::ConfigArgs) -> Result<Exit> {
    Ok(Exit::Done)
}
