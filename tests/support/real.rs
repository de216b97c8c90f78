//! Real servers: where `scripts/parts` installs them, and how to start them.

use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::process;
use super::sandbox::{PROCESS_MARK_VARIABLE, Sandbox};

/// The directory of the installed parts. Tests that need it fail without it.
#[track_caller]
pub fn parts_dir() -> PathBuf {
    let dir = std::env::var_os("MCPIPE_TEST_PARTS").map(PathBuf::from).unwrap_or_else(|| {
        panic!(
            "this test runs a real server: run scripts/test, which installs it, \
             or set MCPIPE_TEST_PARTS=$(scripts/parts)"
        )
    });
    assert!(dir.join("complete").exists(), "MCPIPE_TEST_PARTS names no finished installation: {}", dir.display());
    dir
}

/// The installed Node.
pub fn node_program() -> String {
    parts_dir().join("node/bin/node").display().to_string()
}

/// A file of an installed Node package.
pub fn node_package_file(path: &str) -> String {
    parts_dir().join("node/node_modules").join(path).display().to_string()
}

/// A program of the Python environment.
pub fn python_program(program: &str) -> String {
    parts_dir().join("python/bin").join(program).display().to_string()
}

/// Python with version 1 of the official SDK.
pub fn old_python_program() -> String {
    parts_dir().join("python-websocket/bin/python").display().to_string()
}

/// A file of `tests/real`.
pub fn real_test_file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real").join(name).display().to_string()
}

/// `server-everything`, over stdio.
pub fn everything_server() -> Vec<String> {
    vec![node_program(), node_package_file("@modelcontextprotocol/server-everything/dist/index.js"), "stdio".to_owned()]
}

/// The server of `sdk.mjs`.
pub fn typescript_server(sandbox: &Sandbox) -> Vec<String> {
    vec![node_program(), copy_beside_packages(sandbox, "sdk.mjs")]
}

/// A copy of a script of `tests/real`, which must be in the same directory as the packages that it imports.
pub fn copy_beside_packages(sandbox: &Sandbox, script: &str) -> String {
    let work = sandbox.work();
    if !work.join("node_modules").exists() {
        std::os::unix::fs::symlink(parts_dir().join("node/node_modules"), work.join("node_modules")).unwrap();
    }
    std::fs::copy(real_test_file(script), work.join(script)).unwrap();
    work.join(script).display().to_string()
}

/// A server process that listens on a port.
pub struct ListeningServer {
    child: Child,
    mark: String,
    pub port: u16,
}

impl ListeningServer {
    /// Starts it and waits until the port accepts connections. `PORT` in an argument or a value is replaced by the
    /// port.
    pub fn start<S: AsRef<OsStr>>(sandbox: &Sandbox, words: &[S], env: &[(&str, &str)]) -> Self {
        Self::start_at(sandbox, free_port(), words, env)
    }

    /// The same with a port that was chosen before.
    pub fn start_at<S: AsRef<OsStr>>(sandbox: &Sandbox, port: u16, words: &[S], env: &[(&str, &str)]) -> Self {
        let put = |text: &OsStr| text.to_str().unwrap().replace("PORT", &port.to_string());
        let mut command = Command::new(&words[0]);
        command.args(words[1..].iter().map(|word| put(word.as_ref())));
        // Has a marker of its own, since the server outlives each run of mcpipe in the test.
        let mark = format!("listening-{port}-{}", std::process::id());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", sandbox.path()).env(PROCESS_MARK_VARIABLE, &mark);
        command.envs(env.iter().map(|(name, value)| (*name, put(OsStr::new(value)))));
        let log = std::fs::File::create(sandbox.path().join("server.log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let mut child = command.spawn().expect("the server starts");
        let end = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || std::fs::read_to_string(sandbox.path().join("server.log")).unwrap_or_default();
            assert!(child.try_wait().unwrap().is_none(), "the server ended: {}", log());
            assert!(Instant::now() < end, "the server does not listen on port {port}: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        ListeningServer { child, mark, port }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for ListeningServer {
    fn drop(&mut self) {
        process::kill_all(&process::marked_processes(PROCESS_MARK_VARIABLE, &self.mark));
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// All tools of the real servers that need no network, as they sent them.
pub fn real_tools() -> Vec<serde_json::Value> {
    let package = |path: &str| vec![node_program(), node_package_file(&format!("@modelcontextprotocol/{path}"))];
    let servers = [
        everything_server(),
        [package("server-filesystem/dist/index.js"), vec!["/tmp".to_owned()]].concat(),
        package("server-memory/dist/index.js"),
        vec![python_program("mcp-server-time"), "--local-timezone".to_owned(), "UTC".to_owned()],
        vec![python_program("mcp-server-git")],
    ];
    let tools_of = |words: &Vec<String>| {
        let run = Sandbox::new().mcpipe(["list", "--json", "--"]).args(words).timeout(Duration::from_secs(60)).run();
        run.exits(0).json()["tools"].as_array().unwrap().clone()
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = servers.iter().map(|server| scope.spawn(move || tools_of(server))).collect();
        all.into_iter().flat_map(|one| one.join().unwrap()).collect()
    })
}
