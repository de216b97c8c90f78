//! Support for the tests: a sandbox for the binary, scripted servers, terminals, snapshots.

pub mod http;
mod http_peer;
pub mod mcp;
pub mod mcp_http;
pub mod oauth;
mod oauth_peer;
pub mod process;
pub mod pty;
pub mod real;
pub mod reply;
pub mod sandbox;
pub mod snapshot;
pub mod sockets;
pub mod stdio;
pub mod tls;
pub mod ws;

pub use http::{HttpServer, Request};
pub use mcp::{ClientMessage, Mcp, ServerAction};
pub use mcp_http::LegacyHttpOptions;
pub use reply::{Feed, Reply};
pub use sandbox::{Mcpipe, Run, Running, Sandbox};
pub use stdio::{ProcessEvent, StdioServer};
pub use ws::{WebSocketEvent, WebSocketServer};
