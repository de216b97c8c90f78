//! Connections that the server closes between two requests are not used for the second one.

use std::time::Duration;

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{HttpServer, Mcp, Sandbox};

#[test]
fn a_connection_closed_after_a_response_is_not_used_again() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        // It closes each connection right after the response, without announcing it.
        let script = mcp.http_script(LegacyHttpOptions::default());
        let server = HttpServer::start(move |request| script(request).then_disconnect());
        let words = ["call", &server.url("/mcp"), "--batch", "-", "--no-validate", "--retries", "0", "--jq", ".id"];
        let mut running = Sandbox::new().mcpipe(words).stdin_open().start();
        let mut expected = String::new();
        for n in 0..10 {
            running.write(&format!("{{\"tool\":\"echo\",\"arguments\":{{\"text\":\"x\"}},\"id\":{n}}}\n"));
            expected += &format!("{n}\n");
            running.wait_for_stdout(&expected);
            // The end of the connection is in transit.
            std::thread::sleep(Duration::from_millis(20));
        }
        running.end_stdin();
        running.wait().succeeds().prints(&expected);
        assert_eq!(server.requests().iter().filter(|request| request.rpc_method() == "tools/call").count(), 10);
    }
}
