//! What many requests share in a session: a call is sent once, a session that is opened anew is opened anew for
//! all, and nobody is left waiting on a connection that is given up.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::mcp::play;
use crate::support::mcp_http::{Legacy, to_reply};
use crate::support::{Event, HttpServer, Mcp, Reply, Request, Sandbox, StdioServer};

fn count(server: &HttpServer, method: &str) -> usize {
    server.requests().iter().filter(|request| request.rpc() == method).count()
}

fn error(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

fn session() -> Legacy {
    Legacy { session: Some("s"), ..Legacy::default() }
}

/// Something that several requests wait for.
#[derive(Default)]
struct Gate(Mutex<usize>, Condvar);

impl Gate {
    fn pass(&self) {
        *self.0.lock().unwrap() += 1;
        self.1.notify_all();
    }

    /// Whether so many have passed in time.
    fn passed(&self, count: usize) -> bool {
        let passed = self.0.lock().unwrap();
        let (passed, _) = self.1.wait_timeout_while(passed, Duration::from_secs(5), |passed| *passed < count).unwrap();
        *passed >= count
    }
}

/// A known legacy server gets the call beside `initialized`. What it says then may be of the tool's own making:
/// the call is repeated only where it was certainly refused unread.
#[test]
fn a_call_beside_initialized_is_repeated_only_where_it_was_not_carried_out() {
    type Bad = fn(&Value) -> Reply;
    let cases: &[(&str, Bad, usize)] = &[
        ("-32603", |id| Reply::json(&error(id, -32603, "Could not initialize the database")), 1),
        ("-32000", |id| Reply::json(&error(id, -32000, "the session with the bank was not initialized")), 1),
        ("-32602", |id| Reply::json(&error(id, -32602, "initialize the account first")), 1),
        ("400 -32603", |id| Reply::json(&error(id, -32603, "cannot initialize X")).with_status(400), 1),
        ("-32600", |id| Reply::json(&error(id, -32600, "request before initialization was complete")), 2),
        ("-32002", |id| Reply::json(&error(id, -32002, "Server not initialized")), 2),
        ("400 -32000", |_| Reply::json(&error(&Value::Null, -32000, "Server not initialized")).with_status(400), 2),
        ("400 text", |_| Reply::text("text/plain", "Session not initialized").with_status(400), 2),
    ];
    for (name, bad, calls) in cases {
        let (bad, good) = (*bad, Mcp::legacy("2025-11-25").http_script(session()));
        let fails = Arc::new(AtomicBool::new(false));
        let failing = fails.clone();
        let server = HttpServer::start(move |request| {
            let now = request.rpc() == "tools/call" && failing.swap(false, Ordering::SeqCst);
            if now { bad(&request.id()) } else { good(request) }
        });
        let sandbox = Sandbox::new();
        let call = || sandbox.mcpipe(["call", &server.url("/mcp"), "add", "a=1", "b=2"]).run();
        call().succeeds().prints("3\n");
        fails.store(true, Ordering::SeqCst);
        let run = call();
        assert_eq!(count(&server, "tools/call") - 1, *calls, "{name}: {run:?}");
        if *calls == 1 {
            run.exits(1).prints("").says("error: the server refused tools/call: ").says("initialize");
        } else {
            run.succeeds().prints("3\n");
        }
        // From now on it is waited for what the server seems to want first.
        let before = server.exchange().len();
        call().succeeds().prints("3\n");
        let expected = ["POST initialize", "POST notifications/initialized", "POST tools/call", "DELETE"];
        assert_eq!(server.exchange()[before..], expected, "{name}");
        let told = &server.requests()[before..];
        assert_eq!(told[1].connection, told[2].connection, "{name}: one after the other");
    }
}
