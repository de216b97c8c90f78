//! A server on this machine is asked without the general client; nobody can tell.

use std::net::TcpListener;

use super::*;
use crate::error::{Class, Details};
use crate::transport::HttpEndpoint;
use crate::transport::http::testing::{Seen, Server, Step, chunk, end, json, notification, reply, request, stream};

pub(super) const PONG: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

/// The two ways to one URL: the direct one, and the general client, which a file of authorities calls for.
pub(super) fn ways(url: &str) -> [HttpEndpoint; 2] {
    let mut general = endpoint(url);
    general.tls.cacert = Some(concat!(env!("CARGO_MANIFEST_DIR"), "/src/transport/http/tests/pem/ca.pem").into());
    [endpoint(url), general]
}

/// Everything of a failure that anybody sees or decides by.
fn all_of(failure: &Failure) -> String {
    let Details { class, message, causes, hint, unsent, again, .. } = failure.details();
    format!("{class:?}\n{message}\n{causes:#?}\n{hint:?}\n{unsent} {again:?}")
}

async fn failed(endpoint: &HttpEndpoint, options: &Options) -> Failure {
    let mut connection = connect(endpoint, options).await.unwrap();
    connection.transport.send(request(1, "ping")).await.unwrap();
    broken(&mut connection).await
}

#[tokio::test]
async fn the_two_ways_put_the_same_bytes_on_the_wire() {
    let answer = |_: usize, seen: &Seen| match seen.line() {
        line if line.starts_with("POST") && seen.body.contains("initialize") => {
            reply("200 OK", &["Content-Type: application/json", "Mcp-Session-Id: s1"], PONG)
        }
        line if line.starts_with("POST") && seen.body.contains("\"id\"") => json("200 OK", PONG),
        line if line.starts_with("POST") => reply("202 Accepted", &[], ""),
        line if line.starts_with("GET") => reply("405 Method Not Allowed", &[], ""),
        _ => reply("200 OK", &[], ""),
    };
    let mut written = Vec::new();
    let server = Server::start(answer);
    for mut endpoint in ways(&format!("{}?a=%20b|c&d#e", server.url())) {
        endpoint.headers = vec![("X-Team".into(), crate::secret::Secret::new("grün"))];
        let mut connection = connect(&endpoint, &Options::default()).await.unwrap();
        let before = server.seen().len();
        connection.transport.send(request(1, "initialize")).await.unwrap();
        response(&mut connection).await;
        connection.transport.agreed(crate::protocol::revision::Revision::V2025_11_25);
        connection.transport.send(notification("notifications/initialized")).await.unwrap();
        connection.transport.listen().await;
        connection.transport.send(request(1, "ping")).await.unwrap();
        response(&mut connection).await;
        connection.transport.close(true).await;
        let seen = server.seen().split_off(before);
        // One connection does for what comes one after the other.
        assert!(seen.iter().all(|one| one.connection == seen[0].connection), "{seen:#?}");
        written.push(seen.into_iter().map(|one| (one.head, one.body)).collect::<Vec<_>>());
    }
    let methods: Vec<&str> = written[0].iter().map(|(head, _)| head.split(' ').next().unwrap()).collect();
    assert_eq!(methods, ["POST", "POST", "GET", "POST", "DELETE"]);
    assert_eq!(written[0], written[1]);
}

#[tokio::test]
async fn the_two_ways_fail_in_the_same_words() {
    let wrong: [&[u8]; 10] = [
        b"",
        b"HTTP/1.1 2",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"{\"jsonrpc\":\"2.0\"}\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{\"id\":1",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 99\r\n\r\ndata: ",
    ];
    for bytes in wrong {
        let server = Server::start(move |_, _| vec![Step::Write(bytes.to_vec()), Step::Close]);
        let [direct, general] = ways(&server.url());
        let options = Options::default();
        let failures = (failed(&direct, &options).await, failed(&general, &options).await);
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!(all_of(&failures.0), all_of(&failures.1), "{shown}");
        // A request is never sent twice unasked.
        assert_eq!(server.seen().len(), 2, "{shown}");
    }
}

/// Whatever the URL parser lets through, and what HTTP cannot carry.
#[tokio::test]
async fn the_two_ways_ask_for_the_same_place() {
    let server = Server::start(|_, _| json("200 OK", PONG));
    let places = ["", "?", "//double//x/", "/a%zz/..;/b;c=1?d={}|^`\"'<>&e=ü#f", "/\\x/./y/../z", "/?//"];
    for place in places {
        let mut told = Vec::new();
        for endpoint in ways(&format!("http://127.0.0.1:{}{place}", server.port)) {
            let before = server.seen().len();
            let mut connection = connect(&endpoint, &Options::default()).await.unwrap();
            connection.transport.send(request(1, "ping")).await.unwrap();
            told.push(match next(&mut connection).await.item {
                Item::Message(..) => server.seen().split_off(before).into_iter().map(|seen| seen.head).collect(),
                Item::Broken(failure) => all_of(&failure),
                Item::Refused(refusal) => panic!("{refusal:?}"),
            });
        }
        assert_eq!(told[0], told[1], "{place}");
    }
    let long = format!("{}?{}", server.url(), "q".repeat(70_000));
    for endpoint in ways(&long) {
        let failure = failed(&endpoint, &Options::default()).await;
        assert_eq!((failure.class(), failure.details().unsent), (Class::Usage, true));
        assert_eq!(failure.details().message, format!("cannot ask {}", server.url()));
    }
}

/// Fails to ask a server that does this as soon as somebody connects, before the request can be written.
async fn greeted(endpoint: &HttpEndpoint, port: &TcpListener, greeting: &'static [u8], stays: bool) -> Failure {
    let port = port.try_clone().unwrap();
    let (said, hears) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = port.accept().unwrap();
        std::io::Write::write_all(&mut socket, greeting).unwrap();
        let kept = stays.then_some(socket);
        said.send(()).unwrap();
        kept
    });
    let mut connection = connect(endpoint, &Options::default()).await.unwrap();
    connection.transport.send(request(1, "tools/call")).await.unwrap();
    // Runs when the socket is being connected, and keeps the only thread from what comes next.
    tokio::spawn(async move { hears.recv_timeout(Duration::from_secs(5)).unwrap() });
    let failure = broken(&mut connection).await;
    drop(server.join());
    failure
}

#[tokio::test]
async fn the_two_ways_know_who_speaks_before_it_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}/mcp", listener.local_addr().unwrap().port());
    for stays in [true, false] {
        let mut told = Vec::new();
        for endpoint in ways(&url) {
            let failure = greeted(&endpoint, &listener, b"SSH-2.0-OpenSSH_9.2\r\n", stays).await;
            let details = failure.details();
            assert_eq!(details.class, Class::Protocol, "{failure:?}");
            assert_eq!(details.message, format!("{url} does not speak HTTP"));
            assert_eq!(details.causes, ["it spoke before it was asked"]);
            assert_eq!(details.hint.as_deref(), Some("check the port"));
            assert!(details.unsent && details.again.is_none(), "nothing of the request was written");
            told.push(all_of(&failure));
        }
        assert_eq!(told[0], told[1]);
    }
    // Who hangs up without a word has read nothing either; only the direct way is sure of it.
    for (endpoint, sure) in ways(&url).into_iter().zip([true, false]) {
        let failure = greeted(&endpoint, &listener, b"", false).await;
        assert_eq!((failure.class(), failure.details().unsent), (Class::Unreachable, sure), "{failure:?}");
        assert_eq!(failure.details().message, format!("the connection to {url} broke off"));
        assert_eq!(failure.details().causes, ["connection closed before message completed"]);
    }
}

/// An answer that is HTTP but no good HTTP: asking again would bring the same.
#[tokio::test]
async fn the_two_ways_say_what_is_wrong_with_a_head() {
    let huge = format!("HTTP/1.1 200 OK\r\nX-Huge: {}\r\n\r\n", "x".repeat(1_000_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Many: x\r\n".repeat(500));
    let lengths = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}".to_owned();
    for (head, why) in [
        (huge, "message head is too large"),
        (many, "message head is too large"),
        (lengths, "invalid content-length parsed"),
    ] {
        let server = Server::start(move |_, _| vec![Step::Write(head.clone().into_bytes()), Step::Close]);
        for endpoint in ways(&server.url()) {
            let failure = failed(&endpoint, &Options::default()).await;
            let details = failure.details();
            assert_eq!(details.message, format!("the answer of {} is no valid HTTP", server.url()));
            assert_eq!((details.class, details.causes.as_slice()), (Class::Protocol, &[why.to_owned()][..]));
            assert!(!details.unsent && details.again.is_none());
        }
        assert_eq!(server.seen().len(), 2);
    }
}

#[tokio::test]
async fn the_two_ways_find_nobody_in_the_same_words() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for host in ["127.0.0.1", "[::1]", "localhost"] {
        let [direct, general] = ways(&format!("http://{host}:{port}/mcp"));
        let options = Options::default();
        let failures = (failed(&direct, &options).await, failed(&general, &options).await);
        assert_eq!(all_of(&failures.0), all_of(&failures.1), "{host}");
    }
}

#[tokio::test]
async fn the_two_ways_read_the_same_answers() {
    let body = format!("{}{PONG}", " ".repeat(300_000));
    let streamed = vec![stream(), chunk(": hello\r\n"), chunk("\r\ndata: "), chunk(PONG), chunk("\n\n"), end()];
    let cases: Vec<Vec<Step>> = vec![
        json("200 OK", &body),
        json("200 OK", PONG).into_iter().chain([Step::Close]).collect(),
        vec![Step::Write(format!("HTTP/1.0 200 OK\r\n\r\n{PONG}").into_bytes()), Step::Close],
        vec![
            Step::Write(format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{PONG}").into_bytes()),
            Step::Close,
        ],
        [Step::Write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n".to_vec())]
            .into_iter()
            .chain(json("200 OK", PONG))
            .collect(),
        streamed,
    ];
    for steps in cases {
        let server = Server::start(move |_, _| steps.clone());
        for endpoint in ways(&server.url()) {
            let mut connection = connect(&endpoint, &Options::default()).await.unwrap();
            connection.transport.send(request(1, "ping")).await.unwrap();
            assert_eq!(response(&mut connection).await.1.id, Some(1));
        }
    }
}

/// A change of protocol that nobody asked for, bodies packed in ways that nobody offered, an `Expect` of the user's.
#[tokio::test]
async fn the_two_ways_take_odd_answers_alike() {
    let packed = |how: &str| reply("200 OK", &["Content-Type: application/json", how], PONG);
    let switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00";
    let cases = [
        packed("Content-Encoding: compress"),
        packed("Content-Encoding: gzip, br"),
        packed("Content-Encoding: deflate"),
        packed("Content-Encoding: identity"),
        packed("Content-Encoding: gzip"),
        vec![Step::Write(switched.to_vec()), Step::Sleep(50)],
        reply("204 No Content", &[], ""),
        reply("200 OK", &["Content-Encoding: gzip", "Content-Type: application/json"], ""),
        reply("205 Reset Content", &["Content-Type: application/json"], PONG),
        reply("200 OK", &["Content-Type: application/json", "Connection: close"], PONG),
        reply("200 OK", &["Content-Type: application/json", "X-Odd: gr\u{fc}n\u{7f}"], PONG),
        vec![Step::Write(
            format!("HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: {}\n\n{PONG}", PONG.len())
                .into_bytes(),
        )],
        // More than was announced, and a second answer that nobody asked for.
        [json("200 OK", PONG), json("200 OK", PONG)].concat(),
    ];
    for steps in cases {
        let server = Server::start(move |_, _| steps.clone());
        let mut told = Vec::new();
        for mut endpoint in ways(&server.url()) {
            endpoint.headers = vec![("Expect".into(), crate::secret::Secret::new("100-continue"))];
            let mut connection = connect(&endpoint, &Options::default()).await.unwrap();
            let mut all = String::new();
            for _ in 0..2 {
                connection.transport.send(request(1, "ping")).await.unwrap();
                all += &match next(&mut connection).await.item {
                    Item::Broken(failure) => all_of(&failure),
                    other => format!("{other:?}"),
                };
            }
            told.push(all);
        }
        assert_eq!(told[0], told[1]);
        let seen = server.seen();
        assert_eq!(seen.len(), 4, "each goes out once");
        assert!(seen.iter().all(|one| one.header("expect") == Some("100-continue") && one.body == seen[0].body));
    }
}
