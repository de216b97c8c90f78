//! The least that a client can do, for comparison: standard library only, one file, no protocol at all.
//!
//! `bare version` prints a line; `bare stdio MESSAGES COMMAND…` and `bare http MESSAGES PORT` send the lines of
//! the file MESSAGES one after the other, wait for an answer to each that has an id, and print the last answer.
//! `bare peak COMMAND…` runs a command and prints how many kilobytes it needed at most: asked from a small process,
//! since a child starts with the high-water mark of the one that starts it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words[0].as_str() {
        "version" => println!("bare 0"),
        "stdio" => stdio(&std::fs::read_to_string(&words[1]).unwrap(), &words[2..]),
        "http" => http(&std::fs::read_to_string(&words[1]).unwrap(), words[2].parse().unwrap()),
        "peak" => peak(&words[1..]),
        other => panic!("unknown: {other}"),
    }
}

fn stdio(messages: &str, command: &[String]) {
    let mut child =
        Command::new(&command[0]).args(&command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut answer = String::new();
    for message in messages.lines() {
        stdin.write_all(format!("{message}\n").as_bytes()).unwrap();
        if message.contains("\"id\":") {
            answer.clear();
            stdout.read_line(&mut answer).unwrap();
        }
    }
    println!("{}", answer.trim_end());
    drop(stdin);
    child.wait().unwrap();
}

fn http(messages: &str, port: u16) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut body = Vec::new();
    for message in messages.lines() {
        let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                    Accept: application/json, text/event-stream\r\n";
        socket.write_all(format!("{head}Content-Length: {}\r\n\r\n{message}", message.len()).as_bytes()).unwrap();
        let mut length = 0;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
    }
    println!("{}", String::from_utf8(body).unwrap());
}

unsafe extern "C" {
    /// POSIX; on Linux the fifth word is `ru_maxrss`, in kilobytes.
    fn getrusage(who: i32, usage: *mut [i64; 18]) -> i32;
}

fn peak(command: &[String]) {
    let status = Command::new(&command[0]).args(&command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(status.unwrap().success(), "{command:?} failed");
    let mut usage = [0; 18];
    // SAFETY: the array is as large as the structure, and -1 asks for the children.
    assert_eq!(unsafe { getrusage(-1, &mut usage) }, 0);
    println!("{}", usage[4]);
}
