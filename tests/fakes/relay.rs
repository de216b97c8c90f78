//! The scripted stdio server of the tests: a program that only forwards.
//!
//! It connects to the Unix socket named by its first argument, says who it is, forwards every byte of
//! its standard input to the test, and does what the test's frames tell it. So a stdio server is a
//! closure inside the test, and the test sees the exact bytes that the client wrote.
//!
//! A frame is one byte of kind, a big-endian `u32` of length, and the payload; `tests/support/stdio.rs`
//! is the other end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::exit, reason = "a test fixture, never installed")]

use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let path = arguments.next().expect("the first argument is the socket of the test");
    let socket = UnixStream::connect(&path).expect("the test listens");
    let out = Arc::new(Mutex::new(socket.try_clone().unwrap()));
    let mut frames = socket;

    send(&out, b'P', std::process::id().to_string().as_bytes());
    for argument in arguments {
        send(&out, b'A', argument.as_bytes());
    }
    send(
        &out,
        b'D',
        std::env::current_dir().map(|dir| dir.as_os_str().as_bytes().to_vec()).unwrap_or_default().as_slice(),
    );
    for (name, value) in std::env::vars_os() {
        send(&out, b'V', &[name.as_bytes(), b"=", value.as_bytes()].concat());
    }
    send(&out, b'H', b"");

    let mut head = [0; 5];
    while frames.read_exact(&mut head).is_ok() {
        let mut payload = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize];
        if frames.read_exact(&mut payload).is_err() {
            break;
        }
        execute_frame(head[0], &payload, &out);
    }
    // The test has ended: no process may outlive it.
    std::process::exit(99);
}

/// Executes one frame.
fn execute_frame(kind: u8, payload: &[u8], out: &Arc<Mutex<UnixStream>>) {
    match kind {
        // Read standard input; until this comes, the pipe fills.
        b'B' => {
            let out = Arc::clone(out);
            std::thread::spawn(move || forward_stdin(&out));
        }
        b'O' => {
            let mut stdout = std::io::stdout().lock();
            let done = stdout.write_all(payload).and_then(|()| stdout.flush());
            send(out, b'w', if done.is_ok() { b"ok" } else { b"gone" });
        }
        b'R' => {
            let mut stderr = std::io::stderr().lock();
            let done = stderr.write_all(payload).and_then(|()| stderr.flush());
            send(out, b'w', if done.is_ok() { b"ok" } else { b"gone" });
        }
        b'X' => std::process::exit(std::str::from_utf8(payload).unwrap().parse().unwrap()),
        // Close standard output and keep running.
        b'C' => {
            let nowhere = std::fs::File::open("/dev/null").unwrap();
            rustix::stdio::dup2_stdout(&nowhere).unwrap();
            send(out, b'w', b"ok");
        }
        // Catch the signals that ask a process to end, report them to the test, and keep running.
        b'T' => trap_signals(out),
        // A grandchild that holds the standard streams and sleeps for a long time.
        b'G' => {
            #[allow(clippy::zombie_processes, reason = "whether anybody ends it is what the test looks at")]
            let child = std::process::Command::new("sleep").arg("300").spawn().expect("sleep starts");
            send(out, b'g', child.id().to_string().as_bytes());
        }
        // End by a signal, as a crash does.
        b'K' => rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap(),
        other => panic!("unknown frame {}", char::from(other)),
    }
}

fn forward_stdin(out: &Arc<Mutex<UnixStream>>) {
    let mut stdin = std::io::stdin().lock();
    let mut buffer = vec![0; 65536];
    loop {
        match stdin.read(&mut buffer) {
            Ok(0) | Err(_) => return send(out, b'E', b""),
            Ok(count) => send(out, b'I', &buffer[..count]),
        }
    }
}

fn trap_signals(out: &Arc<Mutex<UnixStream>>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (ready, wait) = std::sync::mpsc::channel();
    let teller = Arc::clone(out);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut term = signal(SignalKind::terminate()).unwrap();
            let mut int = signal(SignalKind::interrupt()).unwrap();
            let mut hup = signal(SignalKind::hangup()).unwrap();
            ready.send(()).unwrap();
            loop {
                let name: &[u8] = tokio::select! {
                    _ = term.recv() => b"TERM",
                    _ = int.recv() => b"INT",
                    _ = hup.recv() => b"HUP",
                };
                send(&teller, b'S', name);
            }
        });
    });
    wait.recv().unwrap();
    send(out, b'w', b"ok");
}

/// Sends one frame to the test; errors are ignored, since the test may have ended.
fn send(out: &Arc<Mutex<UnixStream>>, kind: u8, payload: &[u8]) {
    let mut frame = vec![kind];
    frame.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(payload);
    let _ = out.lock().unwrap().write_all(&frame);
}
