//! `mcpipe bridge`: a server over stdio in front of others.

mod eras;
mod joined;
mod logins;
mod lost_connections;
mod pass_through;
mod policy;
mod real_clients;
mod resources_in_use;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Run, Running, Sandbox};

/// A client of `mcpipe bridge`, inside the test.
pub struct BridgeClient {
    running: Running,
    /// How many lines of standard output were taken.
    taken: usize,
}

impl BridgeClient {
    /// Starts `mcpipe bridge` with these words.
    pub fn start(sandbox: &Sandbox, words: &[&str]) -> Self {
        BridgeClient::start_with(sandbox.mcpipe([&["bridge"], words].concat()))
    }

    /// As [`BridgeClient::start`], with a command line of the test.
    pub fn start_with(mcpipe: crate::support::Mcpipe) -> Self {
        BridgeClient { running: mcpipe.stdin_open().start(), taken: 0 }
    }

    /// Completes the handshake, and returns the result of `initialize`.
    pub fn initialize(&mut self, capabilities: Value) -> Value {
        let result = self.request(
            "init",
            "initialize",
            json!({"protocolVersion": "2025-11-25", "capabilities": capabilities,
            "clientInfo": {"name": "tester", "version": "9"}}),
        );
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        result
    }

    pub fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string());
    }

    pub fn send_text(&mut self, text: &str) {
        self.running.write(&format!("{text}\n"));
    }

    /// Sends a request without waiting for its response.
    pub fn ask(&mut self, id: impl Into<Value>, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": params}));
    }

    /// The response to this request, which must be the next message.
    #[track_caller]
    pub fn response(&mut self, id: impl Into<Value>) -> Value {
        let message = self.next();
        assert_eq!(message["id"], id.into(), "{message}");
        message
    }

    /// Sends a request, and returns its result.
    #[track_caller]
    pub fn request(&mut self, id: impl Into<Value>, method: &str, params: Value) -> Value {
        let id = id.into();
        self.ask(id.clone(), method, params);
        let message = self.response(id);
        assert!(message["result"].is_object(), "a result was expected: {message}\n{}", self.running.stderr_so_far());
        message["result"].clone()
    }

    /// Sends a request, and returns its error.
    #[track_caller]
    pub fn error(&mut self, id: impl Into<Value>, method: &str, params: Value) -> Value {
        let id = id.into();
        self.ask(id.clone(), method, params);
        let message = self.response(id);
        assert!(message["error"].is_object(), "an error was expected: {message}");
        message["error"].clone()
    }

    /// The text of the next line.
    #[track_caller]
    pub fn next_text(&mut self) -> String {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let stdout = self.running.stdout_so_far();
            if let Some(line) = stdout.split_inclusive('\n').nth(self.taken).filter(|line| line.ends_with('\n')) {
                self.taken += 1;
                return line.trim_end_matches('\n').to_owned();
            }
            assert!(Instant::now() < end, "no further message; stderr:\n{}", self.running.stderr_so_far());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The next message.
    #[track_caller]
    pub fn next(&mut self) -> Value {
        let text = self.next_text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
    }

    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Ends the input; the bridge must write nothing more, and exit with 0.
    #[track_caller]
    pub fn end(mut self) -> Run {
        self.running.end_stdin();
        let taken = self.taken;
        let run = self.running.wait();
        run.exits(0);
        let further: Vec<&str> = run.stdout().lines().skip(taken).collect();
        assert!(further.is_empty(), "further messages: {further:#?}");
        run
    }
}

/// The parameters of a call.
pub fn call(tool: &str, arguments: Value) -> Value {
    json!({"name": tool, "arguments": arguments})
}

/// The parameters of a modern client.
pub fn modern(mut params: Value, capabilities: Value) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "tester", "version": "9"},
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    });
    match params.get_mut("_meta").and_then(Value::as_object_mut) {
        Some(own) => own.extend(meta.as_object().unwrap().clone()),
        None => params["_meta"] = meta,
    }
    params
}

pub fn text_of(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}

/// Opened when the test has called it.
pub fn gate() -> (impl Fn(), impl Fn()) {
    let gate = std::sync::Arc::new((std::sync::Mutex::new(false), std::sync::Condvar::new()));
    let opened = gate.clone();
    let open = move || {
        *opened.0.lock().unwrap() = true;
        opened.1.notify_all();
    };
    let wait = move || drop(gate.1.wait_while(gate.0.lock().unwrap(), |is_open| !*is_open).unwrap());
    (open, wait)
}
