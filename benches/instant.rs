//! An MCP server that answers at once, for measuring clients: standard library only, one file.
//!
//! `instant stdio [RECORD]` speaks over its standard streams, `instant http PORTFILE [RECORD]` on a loopback port
//! that it writes into PORTFILE. With RECORD, every message that comes in is appended to that file.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["stdio"] => stdio(None),
        ["stdio", record] => stdio(Some(record)),
        ["http", port] => http(port, None),
        ["http", port, record] => http(port, Some(record)),
        _ => panic!("usage: instant stdio [RECORD] | http PORTFILE [RECORD]"),
    }
}

fn record(file: Option<&str>, message: &str) {
    if let Some(file) = file {
        let mut file = std::fs::File::options().create(true).append(true).open(file).unwrap();
        writeln!(file, "{}", message.trim_end()).unwrap();
    }
}

/// The value of a member whose name occurs once at the outermost level, as clients write it.
fn member<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let start = message.find(&format!("\"{name}\":"))? + name.len() + 3;
    let rest = &message[start..];
    let end = if rest.starts_with('"') { rest[1..].find('"')? + 2 } else { rest.find([',', '}'])? };
    Some(&rest[..end])
}

fn answer(message: &str) -> Option<String> {
    let id = member(message, "id")?;
    let modern = message.contains("io.modelcontextprotocol/protocolVersion");
    let tool = r#"{"name":"add","inputSchema":{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}}}}"#;
    let fresh = r#","ttlMs":3600000,"cacheScope":"private""#;
    let result = match member(message, "method")? {
        "\"server/discover\"" => format!(r#""supportedVersions":["2026-07-28"],"capabilities":{{"tools":{{}}}}{fresh}"#),
        "\"initialize\"" => {
            r#""protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"instant","version":"1"}"#.to_owned()
        }
        "\"tools/list\"" => format!(r#""tools":[{tool}]{}"#, if modern { fresh } else { "" }),
        "\"tools/call\"" => r#""content":[{"type":"text","text":"3"}]"#.to_owned(),
        _ => return Some(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"no such method"}}}}"#)),
    };
    let kind = if modern { r#""resultType":"complete","# } else { "" };
    Some(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{{kind}{result}}}}}"#))
}

fn stdio(file: Option<&str>) {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        record(file, &line);
        if let Some(answer) = answer(&line) {
            out.write_all((answer + "\n").as_bytes()).unwrap();
            out.flush().unwrap();
        }
    }
}

fn http(port_file: &str, file: Option<&str>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    std::fs::write(port_file, listener.local_addr().unwrap().port().to_string()).unwrap();
    for socket in listener.incoming() {
        let file = file.map(ToOwned::to_owned);
        std::thread::spawn(move || serve(socket.unwrap(), file.as_deref()));
    }
}

fn serve(mut socket: TcpStream, file: Option<&str>) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(socket.try_clone().ok()?);
    loop {
        let mut length = 0;
        let mut first = String::new();
        if reader.read_line(&mut first).ok()? == 0 {
            return None;
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).ok()?;
        if length > 0 {
            record(file, &body);
        }
        let reply = match (first.starts_with("POST"), answer(&body)) {
            (true, Some(answer)) => {
                format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())
            }
            (true, None) => "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned(),
            (false, _) => "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n".to_owned(),
        };
        socket.write_all(reply.as_bytes()).ok()?;
    }
}
