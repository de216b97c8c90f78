//! A session is used only by who it belongs to, and shows no secrets.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use super::Sessions;
use crate::support::Mcp;

#[test]
fn another_identity_does_not_get_into_a_session() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let target = server.target();
    sessions.run(&["session", "start", &target, "-e", "API_KEY=alice", "-q"]).succeeds();
    let call = |words: &[&str]| sessions.run(&[&["call", &target, "echo", "text=hi"], words].concat());
    call(&["-e", "API_KEY=alice"]).succeeds();
    assert_eq!(server.processes().len(), 1);
    let root = sessions.sandbox.path().display().to_string();
    let others: [&[&str]; 4] = [
        &[],
        &["-e", "API_KEY=bob"],
        &["-e", "API_KEY=alice", "--cwd", &root],
        &["-e", "API_KEY=alice", "--root", &root],
    ];
    for (n, words) in others.into_iter().enumerate() {
        call(words).exits(0).stderr_contains("not using the session 'relay': this command differs in ");
        assert_eq!(server.processes().len(), n + 2, "{words:?}");
    }
    // What the server inherits counts like what is set for it, and so does the directory of the command.
    let inherits = sessions.sandbox.mcpipe(["call", &target, "echo", "text=hi", "-e", "API_KEY=alice"]);
    inherits.env("OTHER_KEY", "x").allow_leftovers().run().exits(0);
    let elsewhere = sessions.sandbox.mcpipe(["call", &target, "echo", "text=hi", "-e", "API_KEY=alice"]);
    elsewhere.cwd(&root).allow_leftovers().run().exits(0);
    assert_eq!(server.processes().len(), 7);
    let other = Mcp::modern().stdio();
    let run = sessions.run(&["call", &other.target(), "echo", "text=hi", "-v"]);
    run.exits(0).stderr_contains("note: not using a session: none is running for this exact target\n");
    sessions.stop_all();
}

/// A command that would start the server again, with other state, says why it does not use the session.
#[test]
fn a_session_that_is_not_used_is_named_with_the_differences() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let words = server.words();
    sessions.sandbox.config(&format!("[servers.demo]\ncommand = '{}'\nargs = ['{}']\n", words[0], words[1]));
    let call =
        |words: &[&str]| sessions.sandbox.mcpipe(["call", "demo", "echo", "text=hi"]).args(words).allow_leftovers();
    call(&[]).run().succeeds().stderr_is("");
    sessions.start("demo");
    call(&[]).run().succeeds().stderr_is("");
    let note = |differences: &str| format!("not using the session 'demo': this command differs in {differences}\n");
    let root = sessions.sandbox.path();
    call(&[]).cwd(root).run().exits(0).stderr_is(&note("the working directory"));
    call(&[]).env("EDITOR", "secret-editor").run().exits(0).stderr_is(&note("the variable EDITOR"));
    call(&["-e", "B_KEY=secret", "--root", "."]).run().exits(0).stderr_is(&note("--root, the variable B_KEY"));
    let many = call(&[]).env("V1", "x").env("V2", "x").env("V3", "x").env("V4", "x").env("V5", "x").run();
    many.exits(0).stderr_is(&note("the variable V1, the variable V2, the variable V3, the variable V4 and 1 more"));
    call(&["--no-session"]).cwd(root).run().succeeds().stderr_is("");
    call(&["--quiet"]).cwd(root).run().succeeds().stderr_is("");
    // The same server without its name.
    let run = sessions.run(&["list", &server.target(), "--cwd", &root.display().to_string()]);
    run.exits(0).stderr_is(&note("the working directory"));
    sessions.stop_all();
    call(&[]).cwd(root).run().succeeds().stderr_is("");
}

#[test]
fn the_name_of_a_session_is_not_a_target() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let words = server.words();
    sessions.run(&["session", "start", "--name", "shop", "-q", "--", &words[0], &words[1]]).succeeds();
    let run = sessions.run(&["call", "shop", "echo", "text=hi"]);
    run.exits(3);
    let hint = format!("mcpipe call echo text=hi -- {} {}", words[0], words[1]);
    assert_eq!(
        run.stderr(),
        format!(
            "mcpipe: error: no server named 'shop' is configured\n  no servers are configured\n  \
             'shop' is the name of a session, which only `session stop` and `session logs` accept\n\
             hint: name the target of the session: {hint}\n"
        )
    );
    let pasted: Vec<String> = shlex::split(&hint).unwrap().split_off(1);
    let pasted: Vec<&str> = pasted.iter().map(String::as_str).collect();
    sessions.run(&pasted).succeeds().stderr_is("");
    // The record of a version that did not write the command.
    let record = sessions.record();
    let text = std::fs::read_to_string(&record).unwrap();
    let mut members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(members.remove("list_command").is_some());
    std::fs::write(&record, serde_json::to_string(&members).unwrap()).unwrap();
    sessions
        .run(&["call", "shop", "echo", "text=hi"])
        .exits(3)
        .stderr_contains("\nhint: find the target of the session, and name that: mcpipe session list\n");
    assert_eq!(server.processes().len(), 1);
    sessions.stop_all();
}

#[test]
fn another_configuration_does_not_get_into_a_session() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let words = server.words();
    let entry = |key: &str| {
        format!("[servers.demo]\ncommand = '{}'\nargs = ['{}']\nenv = {{ API_KEY = '{key}' }}\n", words[0], words[1])
    };
    let call = |words: &[&str]| sessions.run(&[&["call", "demo", "echo", "text=hi"], words].concat());
    sessions.sandbox.config(&entry("alice"));
    sessions.start("demo");
    call(&[]).succeeds();
    assert_eq!(server.processes().len(), 1);
    // The same entry in another file is the same identity.
    let same = sessions.sandbox.file("same.toml", entry("alice")).display().to_string();
    call(&["--config", &same]).succeeds();
    assert_eq!(server.processes().len(), 1);
    let other = sessions.sandbox.file("other.toml", entry("bob")).display().to_string();
    let differs = "not using the session 'demo': this command differs in the variable API_KEY\n";
    call(&["--config", &other]).exits(0).stderr_is(differs);
    assert_eq!(server.processes().len(), 2);
    sessions.sandbox.config(&entry("carol"));
    call(&[]).exits(0).stderr_is(differs);
    assert_eq!(server.processes().len(), 3);
    sessions.stop_all();
}

#[test]
fn the_files_of_a_session_are_private_and_have_no_secrets() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let secrets = ["hunter2secret", "sesame9secret", "owl9secret", "fox9secret"];
    let target = format!(
        "{} --token hunter2secret --header 'Authorization: Bearer owl9secret' https://ann:fox9secret@h/",
        server.target()
    );
    sessions.run(&["session", "start", &target, "-e", "API_KEY=sesame9secret", "-q"]).succeeds();
    let dir = sessions.sandbox.path().join("run/mcpipe");
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(sessions.files().len(), 3);
    for name in sessions.files() {
        let path = dir.join(&name);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{name}");
        let content = std::fs::read(&path).unwrap_or_default();
        let text = format!("{name} {}", String::from_utf8_lossy(&content));
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    }
    let listed = sessions.run(&["session", "list", "--json"]);
    secrets.iter().for_each(|secret| _ = listed.succeeds().hides(secret));
    let keeper = listed.json()["sessions"][0]["pid"].to_string();
    let command_line = std::fs::read_to_string(format!("/proc/{keeper}/cmdline")).unwrap();
    assert!(!command_line.contains("secret"), "{command_line:?}");
    sessions.stop_all();
}

#[test]
fn a_directory_that_others_can_access_is_refused() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let dir = sessions.sandbox.path().join("run/mcpipe");
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
    let run = sessions.run(&["session", "start", &server.target()]);
    run.exits(3).stderr_contains("it must be a directory that belongs to you and that others cannot access\n");
    assert!(server.processes().is_empty());
}

/// A user that owns nothing; tests that run as root use it as another user.
const OTHER_USER: &str = "65534";

/// A Perl program that runs as another user, if this test may start one. The configuration of nextest shows the output of
/// these tests, so that it is seen that one was skipped.
fn as_other_user(program: &str, path: &Path) -> Option<Command> {
    let mut command = Command::new("setpriv");
    let switch = ["--reuid", OTHER_USER, "--regid", OTHER_USER, "--clear-groups", "--"];
    command.args(switch).stdin(Stdio::null());
    let may_switch = Command::new("setpriv").args(switch).args(["perl", "-MIO::Socket::UNIX", "-e", "1"]).output();
    if !may_switch.is_ok_and(|output| output.status.success()) {
        eprintln!("NOT TESTED: only root can run a program as another user, with setpriv and perl");
        return None;
    }
    command.args(["perl", "-MIO::Socket::UNIX", "-e", program]).arg(path);
    Some(command)
}

/// A process that does not outlive its test, if that fails.
struct KilledAtEnd(std::process::Child);

impl Drop for KilledAtEnd {
    fn drop(&mut self) {
        // It has usually ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets other users reach what is in a directory of the sandbox, whose names they know.
fn open_to_others(sessions: &Sessions, directory: &Path) {
    for path in [sessions.sandbox.path(), directory] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o711)).unwrap();
    }
}

fn socket_of(sessions: &Sessions) -> std::path::PathBuf {
    let name = sessions.files().into_iter().find(|name| name.ends_with(".sock")).unwrap();
    sessions.sandbox.path().join("run/mcpipe").join(name)
}

#[test]
fn a_session_answers_no_other_user() {
    const ASK: &str = r#"
        $SIG{PIPE} = "IGNORE";
        my $socket = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "cannot connect: $!";
        print $socket "{\"command\":\"status\"}\n"; $socket->flush; print "connected\n", <$socket>;"#;
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    sessions.start(&server.target());
    let socket = socket_of(&sessions);
    if let Some(mut other) = as_other_user(ASK, &socket) {
        open_to_others(&sessions, socket.parent().unwrap());
        std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o777)).unwrap();
        let own = Command::new("perl").args(["-MIO::Socket::UNIX", "-e", ASK]).arg(&socket).output().unwrap();
        assert!(String::from_utf8_lossy(&own.stdout).starts_with("connected\n{\"name\":\"relay\","), "{own:?}");
        let output = other.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "connected\n", "{output:?}");
        std::fs::set_permissions(socket.parent().unwrap(), PermissionsExt::from_mode(0o700)).unwrap();
    }
    sessions.stop_all();
}

#[test]
fn a_command_does_not_use_the_socket_of_another_user() {
    const LISTEN: &str = r#"
        my $socket = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1) or die "cannot listen: $!";
        $| = 1; print "listening\n"; my $client = $socket->accept; print <$client>;"#;
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let directory = sessions.sandbox.path().join("others");
    std::fs::create_dir(&directory).unwrap();
    let theirs = directory.join("socket");
    if let Some(mut other) = as_other_user(LISTEN, &theirs) {
        sessions.start(&server.target());
        let socket = socket_of(&sessions);
        sessions.stop_all();
        open_to_others(&sessions, &directory);
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o777)).unwrap();
        let mut listener = KilledAtEnd(other.stdout(Stdio::piped()).spawn().unwrap());
        let mut output = std::io::BufReader::new(listener.0.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        assert_eq!(line, "listening\n");
        symlink(&theirs, &socket).unwrap();
        sessions.run(&["call", &server.target(), "echo", "text=hi"]).exits(5).prints("").stderr_is(
            "mcpipe: error: cannot use the session 'relay'\n  the socket belongs to another user\n\
            hint: use the server without a session: --no-session\n",
        );
        line.clear();
        std::io::Read::read_to_string(&mut output, &mut line).unwrap();
        assert_eq!(line, "", "nothing was sent to it");
        assert!(listener.0.wait().unwrap().success());
        std::fs::remove_file(&socket).unwrap();
    }
}

/// A hint never leads back to the command that failed.
#[test]
fn a_session_whose_server_was_removed_can_be_stopped() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let words = server.words();
    sessions.sandbox.config(&format!("[servers.demo]\ncommand = '{}'\nargs = ['{}']\n", words[0], words[1]));
    sessions.start("demo");
    sessions.run(&["config", "remove", "demo", "--quiet"]).succeeds();
    sessions.run(&["list", "demo"]).exits(3).stderr_is(
        "mcpipe: error: no server named 'demo' is configured\n  no servers are configured\n  \
         'demo' is the name of a session, which only `session stop` and `session logs` accept\n\
         hint: its server is no longer configured here; to stop the session: mcpipe session stop demo\n",
    );
    sessions.run(&["session", "stop", "demo"]).exits(0).stderr_is("stopped the session 'demo'\n");
    sessions.assert_gone();
}

#[test]
fn a_session_is_stopped_by_the_word_that_started_it() {
    let (server, sessions) = (Mcp::modern().http(), Sessions::new());
    let url = server.url("/mcp");
    sessions
        .run(&["session", "start", &url])
        .exits(0)
        .prints("")
        .stderr_is(&format!("started the session '127.0.0.1'\nto use it, name its target: mcpipe list {url}\n"));
    assert_eq!(sessions.list()[0]["target"], url.as_str());
    sessions.run(&["session", "stop", &server.url("/other")]).exits(3).stderr_contains("there is no session 'http");
    sessions.run(&["session", "stop", &url]).exits(0).stderr_is("stopped the session '127.0.0.1'\n");
    sessions.assert_gone();
}

#[test]
fn the_command_that_uses_a_session_names_its_roots() {
    let (server, sessions) = (Mcp::legacy("2025-11-25").stdio(), Sessions::new());
    let work = sessions.sandbox.work().canonicalize().unwrap();
    std::fs::create_dir(work.join("a dir")).unwrap();
    let start = sessions.run(&["session", "start", "--name", "r", "--root", "a dir", &server.target()]);
    let line = format!("mcpipe list --root '{}' -- {}", work.join("a dir").display(), server.target());
    start.exits(0).stderr_is(&format!("started the session 'r'\nto use it, name its target: {line}\n"));
    let root = work.join("a dir").display().to_string();
    let words = server.words();
    let pasted = ["list", "--root", &root, "--", &words[0], &words[1]];
    sessions.run(&pasted).exits(0).stderr_is("");
    sessions.run(&["list", "r"]).exits(3).stderr_contains(&format!("name the target of the session: {line}\n"));
    let typed = format!("name the target of the session: mcpipe list --root 'a dir' -- {}\n", server.target());
    sessions.run(&["list", "r", "--root", "a dir"]).exits(3).stderr_contains(&typed);
    sessions.stop_all();
}
