//! Tests of the scripted servers themselves, without mcpipe: the other tests rely on what they record and play.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::{Feed, HttpServer, Mcp, ProcessEvent, Reply, Sandbox, StdioServer, process};

fn talk(server: &HttpServer, request: &str) -> String {
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_http_server_records_bytes_and_plays_pieces() {
    let server = HttpServer::start(|request| match request.n {
        0 => Reply::sse().event(&json!({"a": 1})).in_pieces(7).header("Connection", "close"),
        _ => Reply::json(&json!({"n": request.n})).with_status(400).header("Connection", "close"),
    });
    let answer = talk(&server, "POST /x?y=1 HTTP/1.1\r\nhOST: a\r\nContent-Length: 2\r\nX-b:  c \r\n\r\n{}");
    assert!(
        answer.contains("7\r\nevent: \r\n7\r\nmessage\r\n7\r\n\ndata: \r\n7\r\n{\"a\":1}\r\n2\r\n\n\n\r\n0\r\n\r\n"),
        "{answer}"
    );
    let answer = talk(&server, "GET /z HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n{\"n\":1}"), "{answer}");
    let requests = server.requests();
    assert_eq!(requests[0].head, "POST /x?y=1 HTTP/1.1\r\nhOST: a\r\nContent-Length: 2\r\nX-b:  c \r\n\r\n");
    assert_eq!((requests[0].body.as_slice(), requests[0].header("x-B")), (b"{}".as_slice(), Some("c")));
    assert_eq!((server.connections(), server.exchanges()), (2, vec!["POST answer".to_owned(), "GET".to_owned()]));
}

#[test]
fn the_http_server_keeps_connections_cuts_and_sees_who_leaves() {
    let feed = Feed::default();
    let stream = feed.clone();
    let server = HttpServer::start(move |request| match request.n {
        0 => Reply::status(202),
        1 => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        _ => Reply::sse().feed(&stream).then_stall(),
    });
    let both = talk(&server, "GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n");
    assert_eq!(
        both,
        "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
    );
    assert_eq!(server.connections(), 1);

    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.write_all(b"GET /c HTTP/1.1\r\n\r\n").unwrap();
    feed.send("data: later\n\n");
    feed.end();
    let mut got = Vec::new();
    let mut buffer = [0; 100];
    while !String::from_utf8_lossy(&got).contains("later") {
        let count = socket.read(&mut buffer).unwrap();
        got.extend_from_slice(&buffer[..count]);
    }
    drop(socket);
    let end = std::time::Instant::now() + Duration::from_secs(5);
    while server.abandoned() != [2] {
        assert!(std::time::Instant::now() < end, "the server saw the client leave: {:?}", server.abandoned());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
#[should_panic(expected = "1 scripted steps were never asked for")]
fn an_unvisited_step_fails_the_test() {
    let server = HttpServer::sequence(vec![
        Box::new(|_| Reply::status(204).header("Connection", "close")),
        Box::new(|_| Reply::status(204)),
    ]);
    talk(&server, "GET / HTTP/1.1\r\n\r\n");
}

#[test]
#[should_panic(expected = "that is not what was asked for")]
fn a_script_that_panics_fails_the_test() {
    let server = HttpServer::start(|request| {
        assert_eq!(request.target, "/other", "that is not what was asked for");
        Reply::status(200)
    });
    let answer = talk(&server, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    drop(server);
}

#[test]
fn the_relay_forwards_bytes_and_obeys() {
    let server = StdioServer::start(|process, event| match event {
        ProcessEvent::Started => process.trap_signals(),
        ProcessEvent::Line(line) if line == "child" => {
            let pid = process.spawn_grandchild();
            process.write(format!("{pid}\n"));
        }
        ProcessEvent::Line(line) => {
            process.write(format!("<{line}>\n"));
            process.write_stderr("noted\n");
        }
        ProcessEvent::Signal(name) => process.write(format!("{name}\n")),
        ProcessEvent::Eof => process.exit(7),
    });
    let words = server.words();
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .arg("more")
        .env("SEEN", "yes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"a\nchild\nb").unwrap();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut lines = String::new();
    while lines.matches('\n').count() < 2 {
        std::io::BufRead::read_line(&mut stdout, &mut lines).unwrap();
    }
    let grandchild: u32 = lines.lines().nth(1).unwrap().parse().unwrap();
    assert!(process::is_alive(grandchild), "the grandchild runs");
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    std::io::BufRead::read_line(&mut stdout, &mut lines).unwrap();
    assert_eq!(lines, format!("<a>\n{grandchild}\nTERM\n"));
    Command::new("kill").arg(grandchild.to_string()).status().unwrap();
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(7));
    let seen = server.single_process();
    assert_eq!((seen.stdin.as_slice(), seen.eof), (b"a\nchild\nb".as_slice(), true));
    assert_eq!(
        (seen.args, seen.env["SEEN"].as_str(), seen.signals),
        (vec!["more".to_owned()], "yes", vec!["TERM".to_owned()])
    );
}

#[test]
fn the_ready_made_servers_answer() {
    let legacy = Mcp::legacy("2025-06-18").page_size(2);
    let texts = |server: &Mcp, message| -> Vec<String> {
        let sent = server.handle(&message).into_iter();
        sent.map(|out| match out {
            crate::support::ServerAction::Send(message) => message.to_string(),
            _ => String::new(),
        })
        .collect()
    };
    let opened = texts(&legacy, json!({"id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}));
    assert!(opened[0].contains(r#""protocolVersion":"2025-06-18""#), "{opened:?}");
    let page = texts(&legacy, json!({"id": 2, "method": "tools/list", "params": {"cursor": "from 4"}}));
    assert!(page[0].contains("slow") && !page[0].contains("nextCursor"), "{page:?}");
    let modern = Mcp::modern();
    let refused = texts(&modern, json!({"id": 1, "method": "tools/list", "params": {}}));
    assert!(refused[0].contains("-32602"), "{refused:?}");
}

#[test]
fn the_sandbox_notices_what_is_left_behind() {
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["--version"]).run();
    run.succeeds().prints(&format!("mcpipe {}\n", env!("CARGO_PKG_VERSION")));
    let mut orphan = sandbox.mcpipe(["--version"]).command(&["/bin/sh", "-c", "exec sleep 30"]).spawn().unwrap();
    // A process that executes another program has no readable environment for a moment, so the leftover process is
    // found a moment later.
    let left = std::iter::repeat_with(|| sandbox.leftovers()).find(|left| !left.is_empty()).unwrap();
    process::kill_all(&left);
    orphan.wait().unwrap();
    assert!(sandbox.leftovers().is_empty(), "a killed process is gone");
}
