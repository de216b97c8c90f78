//! Streams that break anywhere: resumed if possible, otherwise reported, and never mistaken for a response.

use serde_json::json;

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{HttpServer, Mcp, Reply, Sandbox};

/// The events of one answer: two notifications and the result, each with an id.
fn events(id: u64) -> [String; 3] {
    let progress = |at: u64| {
        json!({"jsonrpc": "2.0", "method": "notifications/progress",
            "params": {"progressToken": id, "progress": at, "total": 2}})
    };
    let result = json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": "whole"}]}});
    [progress(1), progress(2), result].map(|message| message.to_string())
}

/// A legacy server whose answer to a call breaks off after `cut` bytes; a stream that is taken up again goes on
/// behind the event that was named.
fn server_that_cuts_at(cut: usize, ids: bool) -> HttpServer {
    let script = Mcp::legacy("2025-11-25")
        .http_script(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() });
    HttpServer::start(move |request| {
        let framed = |id: u64| -> Vec<String> {
            let number = |(at, data): (usize, String)| match ids {
                true => format!("id: e{at}\nretry: 10\ndata: {data}\n\n"),
                false => format!("data: {data}\n\n"),
            };
            events(id).into_iter().enumerate().map(number).collect()
        };
        if request.rpc_method() == "tools/call" {
            let all = framed(request.id().as_u64().unwrap()).concat();
            return Reply::sse().write(&all[..cut]).then_disconnect();
        }
        if let Some(last) = request.header("last-event-id") {
            let seen: usize = last.trim_start_matches('e').parse().unwrap();
            // The call was the third request of the session.
            return Reply::sse().write(framed(3)[seen + 1..].concat());
        }
        script(request)
    })
}

fn call(server: &HttpServer) -> crate::support::Run {
    let words = ["call", &server.url("/mcp"), "echo", "text=hi", "--protocol", "2025-11-25", "--timeout", "5s"];
    Sandbox::new().mcpipe(words).run()
}

fn calls(server: &HttpServer) -> usize {
    server.exchanges().iter().filter(|title| *title == "POST tools/call").count()
}

/// Where each event of the answer with ids ends, in bytes.
fn cut_positions() -> Vec<usize> {
    let length = |(at, data): (usize, &String)| format!("id: e{at}\nretry: 10\ndata: {data}\n\n").len();
    let lengths = events(3).iter().enumerate().map(length).collect::<Vec<_>>();
    lengths.iter().scan(0, |sum, length| Some(*sum + length).inspect(|end| *sum = *end)).collect()
}

/// HTL-07: cut behind each event, within each, and before the first.
#[test]
fn a_stream_with_event_ids_is_resumed_wherever_it_broke() {
    let ends = cut_positions();
    for (name, cut, code) in [
        // Nothing was named that could be asked for.
        ("before the first event", 0, 5),
        ("within the first event", ends[0] / 2, 5),
        ("behind the first event", ends[0], 0),
        ("within the second event", (ends[0] + ends[1]) / 2, 0),
        ("behind the second event", ends[1], 0),
        ("within the result", ends[2] - 20, 0),
        ("before the blank line that ends the result", ends[2] - 1, 0),
        ("behind the result", ends[2], 0),
    ] {
        let server = server_that_cuts_at(cut, true);
        let run = call(&server);
        let expected = if code == 0 { "whole\n" } else { "" };
        assert!(run.code() == code && run.stdout() == expected, "{name}: {run:?}\n{:?}", server.exchanges());
        assert_eq!(calls(&server), 1, "{name}: the call itself is never sent again");
    }
}

/// Without ids there is nothing to take up: whatever came, it is no answer.
#[test]
fn a_broken_stream_without_event_ids_is_a_lost_connection() {
    let whole: String = events(3).iter().map(|data| format!("data: {data}\n\n")).collect();
    // Every byte of the result's event, and some before.
    let from = whole.rfind("data: ").unwrap();
    for cut in (0..from).step_by(29).chain(from..whole.len() - 1) {
        let server = server_that_cuts_at(cut, false);
        let run = call(&server);
        run.exits(5).prints("").stderr_contains("mcpipe: error:");
        assert_eq!(calls(&server), 1, "cut at {cut}");
    }
    call(&server_that_cuts_at(whole.len(), false)).succeeds().prints("whole\n");
}
