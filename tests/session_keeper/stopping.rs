//! How sessions end, and what a session that does not end, or ends by itself, means for others.

use std::os::unix::net::UnixListener;
use std::sync::Arc;

use serde_json::Value;

use super::{Gate, Sessions};
use crate::support::mcp::play_actions;
use crate::support::{Mcp, ProcessEvent, StdioServer};

/// It ends more slowly than a command waits that starts another keeper.
#[test]
fn a_keeper_that_ends_keeps_the_files_of_the_one_that_has_replaced_it() {
    let (mcp, gate) = (Arc::new(Mcp::modern()), Gate::default());
    let shared = gate.clone();
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            play_actions(&mcp, process, mcp.handle(&message));
        }
        ProcessEvent::Eof => {
            shared.wait();
            process.exit(0);
        }
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    });
    let sessions = Sessions::new();
    sessions.start(&server.target());
    let (record, socket) = (sessions.record(), sessions.record().with_extension("sock"));
    let stop = sessions.sandbox.mcpipe(["session", "stop", "--all", "-q"]).allow_leftovers().start();
    server.wait_for("the end of the input", |seen| seen[0].eof);
    let other = UnixListener::bind(&socket).unwrap();
    gate.open();
    stop.wait().exits(0);
    assert!(record.exists() && socket.exists(), "{:?}", sessions.files());
    drop(other);
    std::fs::remove_file(socket).unwrap();
    sessions.run(&["session", "list"]).exits(0).stderr_is("no sessions\n");
    sessions.assert_gone();
}
