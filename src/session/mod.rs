//! Sessions with a server: era detection, requests, lists, and an orderly end.
//!
//! A session sends nothing before the first request. That request decides how the era is detected, so that a known
//! server needs no additional round trip.

pub mod cache;
mod capabilities;
pub mod client_handler;
mod close;
pub mod completion;
mod connection;
pub(crate) mod dispatch;
pub mod era;
pub mod failure;
pub mod input_requests;
pub mod lists;
mod mcp_session;
pub mod negotiate;
pub mod notifications;
pub mod operation;
mod options;
pub mod request;
pub mod retry;
pub mod rpc_client;
mod server_pause;
pub mod server_requests;
pub mod skills;
mod stray;
pub mod subscription;
pub mod tasks;
pub mod watch;

pub use self::lists::{CachePolicy, Listing};
pub use self::mcp_session::{Session, SessionInfo};
pub use self::options::SessionOptions;
