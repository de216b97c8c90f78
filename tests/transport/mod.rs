//! Stdio, HTTP, event streams, WebSocket, Unix sockets, proxies, TLS.

mod cookies;
mod event_streams;
mod fault_matrix;
mod faulty_http_servers;
mod faulty_stdio_servers;
mod floods;
mod http2_and_compression;
mod idle_connections;
mod interrupted_writes;
mod large_messages;
mod loopback;
mod malformed_messages;
mod proxies;
mod sign_in_pages;
mod sse_fallback;
mod stream_resumption;
mod tls;
mod websocket_and_unix_socket;
mod wire_bytes;
