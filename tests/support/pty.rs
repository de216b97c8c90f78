//! Runs the binary in its own terminal: a new session whose controlling terminal is a pty.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::process;
use super::sandbox::{Mcpipe, Sandbox};

/// Which of the standard streams are the terminal; the others are a file, a pipe or closed.
#[derive(Clone, Copy)]
pub struct TerminalStreams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

impl TerminalStreams {
    pub const ALL: TerminalStreams = TerminalStreams { stdin: true, stdout: true, stderr: true };
    /// `mcpipe … | less`: only stdout is a pipe.
    pub const PIPED: TerminalStreams = TerminalStreams { stdin: true, stdout: false, stderr: true };
}

/// A run at a terminal.
pub struct Terminal {
    child: Child,
    master: File,
    screen: Arc<Mutex<Vec<u8>>>,
    reading: std::thread::JoinHandle<()>,
    piped: Option<std::thread::JoinHandle<Vec<u8>>>,
    started: Instant,
    limit: Duration,
    sandbox: Sandbox,
}

/// The output of a run.
pub struct TerminalRun {
    pub code: i32,
    /// Every byte that the terminal received.
    pub screen: String,
    /// Standard output, if it was a pipe.
    pub piped: Vec<u8>,
    /// Whether the terminal still echoes input at the end.
    pub echo_is_on: bool,
}

impl Mcpipe {
    /// Starts it at a terminal of 80 columns and 24 lines.
    pub fn at_terminal(self, streams: TerminalStreams) -> Terminal {
        self.at_terminal_with_columns(80, streams)
    }

    /// Starts it at a terminal of this width.
    pub fn at_terminal_with_columns(self, columns: u16, streams: TerminalStreams) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = || -> OwnedFd { File::options().read(true).write(true).open(&name).unwrap().into() };

        let limit = self.limit();
        let sandbox = self.sandbox().clone();
        let this = self.env_remove("COLUMNS").env("TERM", "xterm-256color");
        // util-linux creates the session: doing it between fork and exec would need unsafe code.
        let mut command = this.command(&["/usr/bin/setsid", "--ctty"]);
        // `setsid --ctty` takes the terminal from its standard input, so that is always the pty at first.
        command.stdin(slave());
        command.stdout(if streams.stdout { Stdio::from(slave()) } else { Stdio::piped() });
        command.stderr(if streams.stderr { Stdio::from(slave()) } else { Stdio::null() });
        assert!(streams.stdin, "setsid takes the terminal from standard input");
        let mut child = command.spawn().expect("setsid (util-linux) starts");
        drop(command);

        let piped = child.stdout.take().map(|mut pipe| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = pipe.read_to_end(&mut bytes);
                bytes
            })
        });
        let master = File::from(master);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (shared, mut reader) = (Arc::clone(&screen), master.try_clone().unwrap());
        let reading = std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                shared.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Terminal { child, master, screen, reading, piped, started: Instant::now(), limit, sandbox }
    }
}

impl Terminal {
    /// Types this text.
    pub fn type_keys(&mut self, keys: &str) -> &mut Self {
        self.master.write_all(keys.as_bytes()).unwrap();
        self
    }

    /// Waits until the terminal has shown this text.
    #[track_caller]
    pub fn wait_for(&mut self, part: &str) -> &mut Self {
        while !self.screen().contains(part) {
            if self.started.elapsed() > self.limit || self.child.try_wait().unwrap().is_some() {
                std::thread::sleep(Duration::from_millis(50));
                assert!(self.screen().contains(part), "never shown: {part:?}\n--- terminal\n{}", self.screen());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self
    }

    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// Waits until it exits.
    #[track_caller]
    pub fn wait(mut self) -> TerminalRun {
        use std::os::unix::process::ExitStatusExt;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.started.elapsed() > self.limit {
                let _ = self.child.kill();
                process::kill_all(&self.sandbox.leftovers());
                panic!("it did not end within {:?}\n--- terminal\n{}", self.limit, self.screen());
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let left = process::wait_until_gone(Duration::from_secs(1), || self.sandbox.leftovers());
        if !left.is_empty() {
            process::kill_all(&left);
            panic!("processes were left behind: {left:?}");
        }
        // The terminal's buffered output arrives at the reading thread a moment later, followed by its end. On a busy
        // machine that moment is long.
        let late = Instant::now() + Duration::from_secs(5);
        while !self.reading.is_finished() && Instant::now() < late {
            std::thread::sleep(Duration::from_millis(2));
        }
        let piped = self.piped.take().map(|thread| thread.join().unwrap()).unwrap_or_default();
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let modes = rustix::termios::tcgetattr(&self.master).unwrap().local_modes;
        let echoes = modes.contains(rustix::termios::LocalModes::ECHO);
        let seen = TerminalRun { code, screen: self.screen(), piped, echo_is_on: echoes };
        assert!(!seen.screen.contains("panicked at"), "mcpipe panicked\n{}", seen.screen);
        seen
    }
}

impl TerminalRun {
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert!(self.code == code, "expected exit code {code}, got {}\n--- terminal\n{}", self.code, self.screen);
        self
    }

    /// The final content of the screen: escape sequences are applied as far as progress lines need them (carriage
    /// return, erase line, cursor up), and styles are removed.
    pub fn final_screen(&self) -> String {
        render_screen(&self.screen, usize::MAX)
    }

    /// The same for a terminal of this width that wraps long lines.
    pub fn final_screen_within(&self, columns: usize) -> String {
        render_screen(&self.screen, columns)
    }
}

/// Applies the few terminal controls that line-based programs use.
fn render_screen(text: &str, columns: usize) -> String {
    let mut lines = vec![Vec::<char>::new()];
    let (mut row, mut column) = (0, 0);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => {
                row += 1;
                column = 0;
                if row == lines.len() {
                    lines.push(Vec::new());
                }
            }
            '\r' => column = 0,
            '\u{1b}' if chars.next_if_eq(&'[').is_some() => {
                let mut argument = String::new();
                while let Some(part) = chars.next_if(|c| !c.is_ascii_alphabetic()) {
                    argument.push(part);
                }
                let count = argument.parse::<usize>().unwrap_or(1);
                match chars.next() {
                    Some('K') if argument == "2" => lines[row].clear(),
                    Some('K') => lines[row].truncate(column),
                    Some('A') => row = row.saturating_sub(count),
                    Some('G') => column = count.saturating_sub(1),
                    _ => {}
                }
            }
            c => {
                if column == columns {
                    row += 1;
                    column = 0;
                    if row == lines.len() {
                        lines.push(Vec::new());
                    }
                }
                while lines[row].len() < column {
                    lines[row].push(' ');
                }
                if column < lines[row].len() {
                    lines[row][column] = c;
                } else {
                    lines[row].push(c);
                }
                column += 1;
            }
        }
    }
    let all: Vec<String> =
        lines.into_iter().map(|line| line.into_iter().collect::<String>().trim_end().to_owned()).collect();
    all.join("\n").trim_end().to_owned()
}
