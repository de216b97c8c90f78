//! The pages of a list: limits and repeated pages.

use serde_json::json;

use crate::session::malformed_results::answering;
use crate::support::{Mcp, Sandbox};

#[test]
fn the_pages_of_a_list_have_a_size_limit_that_can_be_set() {
    let server = || {
        let mcp = Mcp::legacy("2025-11-25").on("tools/list", |call| {
            let n: u64 = call.params()["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap());
            let tool = json!({"name": format!("t{n}"), "description": "x".repeat(1 << 20), "inputSchema": {}});
            let mut result = json!({"tools": [tool]});
            if n < 79 {
                result["nextCursor"] = (n + 1).to_string().into();
            }
            call.result(result)
        });
        mcp.stdio()
    };
    let list = |words: &[&str]| Sandbox::new().mcpipe(["list", &server().target()]).args(words).run();
    list(&[]).exits(7).prints("").stderr_contains(
        "mcpipe: error: the server's response to tools/list is larger than 64 MiB over all its pages\n\
         hint: accept more with --max-list-size SIZE\n",
    );
    list(&["--max-list-size", "2500kB"]).exits(7).stderr_contains("is larger than 2500000 bytes over all its pages");
    for size in ["81MiB", "0"] {
        let run = list(&["--max-list-size", size, "--json"]);
        assert_eq!(run.succeeds().json()["tools"].as_array().unwrap().len(), 80);
    }
    let run = list(&["--max-list-size", "1.5"]);
    run.exits(2).stderr_contains("expected a size such as 500kB, 64MiB or 1GiB");
}

/// MSG-08: an endless list ends with an error.
#[test]
fn pagination_is_bounded() {
    let sandbox = Sandbox::new();
    let endless = Mcp::legacy("2025-11-25").on("tools/list", |call| {
        let n: u64 = call.params()["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap());
        call.result(json!({"tools": [], "nextCursor": (n + 1).to_string()}))
    });
    let run = sandbox.mcpipe(["list", &endless.stdio().target()]).run();
    run.exits(7).prints("").stderr_contains("the server's response to tools/list does not end after 1000 pages");
    // Each page differs, whatever the cursor is.
    let turning = || {
        Mcp::legacy("2025-11-25").on("tools/list", |call| {
            let tool = json!({"name": format!("t{}", call.n), "inputSchema": {"type": "object"}});
            call.result(json!({"tools": [tool], "nextCursor": "same"}))
        })
    };
    let wrong = answering("tools/list", json!({"tools": [], "nextCursor": 5}));
    for (server, what) in [
        (turning().stdio(), "repeats its cursor, so it never ends"),
        (wrong, "has a nextCursor that is not a string: 5"),
    ] {
        let run = sandbox.mcpipe(["list", &server.target()]).run();
        run.exits(7).prints("").stderr_contains(&format!("the server's response to tools/list {what}"));
    }
    let server = turning().stdio();
    sandbox.mcpipe(["call", &server.target(), "t0"]).run().exits(7).prints("").stderr_contains("repeats its cursor");
}

/// A server that ignores cursors and always returns one has one page, or ends with the page that it repeats: its tools
/// stay usable.
#[test]
fn a_repeated_page_ends_pagination() {
    const WARNING: &str = "the server repeats the last page of tools/list; it is used once";
    let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    for cursor in ["", "same"] {
        let sandbox = Sandbox::new();
        let server = Mcp::legacy("2025-11-25").on("tools/list", move |call| {
            let tools = crate::support::mcp::tools();
            call.result(json!({"tools": tools, "nextCursor": cursor}))
        });
        let server = server.stdio();
        let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=hi"]).run();
        run.exits(0).prints("hi\n");
        assert_eq!(run.stderr(), "");
        let lists = server.single_process().methods().into_iter().filter(|method| method == "tools/list").count();
        assert_eq!(lists, 2);
        let run = sandbox.mcpipe(["list", &server.target()]).run();
        run.exits(0);
        assert_eq!(run.stderr(), format!("mcpipe: warning: {WARNING}\n"));
        let names: Vec<&str> = run.stdout().lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(names, ["echo", "add", "fail", "image", "slow"]);
        // The cached list works for the next call.
        let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=ho", "-v"]).run();
        run.exits(0).prints("ho\n").hides("tools/list");
        let forgetful = sandbox.mcpipe(["call", &server.target(), "echo", "text=ho", "-v", "--no-cache"]).run();
        forgetful.exits(0).prints("ho\n").stderr_contains(&format!("note: {WARNING}")).hides("warning:");
    }
    // Only the last page is repeated; a repetition of an earlier one would be a loop.
    for (again, code) in [("b", 0), ("a", 7)] {
        let server = Mcp::modern().on("tools/list", move |call| {
            let (name, next) = match call.params()["cursor"].as_str() {
                None => ("a", "1"),
                Some("1") => ("b", "2"),
                Some(_) if again == "a" => ("a", "1"),
                Some(_) => ("b", "2"),
            };
            call.result(json!({"tools": [tool(name)], "nextCursor": next, "ttlMs": 0, "cacheScope": "private"}))
        });
        let server = server.http();
        let run = Sandbox::new().mcpipe(["list", &server.url("/mcp")]).run();
        run.exits(code).prints(if code == 0 { "a\t-\t-\nb\t-\t-\n" } else { "" });
    }
}
