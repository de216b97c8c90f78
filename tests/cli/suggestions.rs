//! What to type instead: hints name what was meant, and can be pasted.

use std::fs;

use crate::support::{Mcp, Sandbox};

/// The hints of command lines that are refused with exit code `code`.
fn assert_hints(sandbox: &Sandbox, code: i32, cases: &[(&[&str], &str)]) {
    for (words, hint) in cases {
        sandbox.mcpipe(*words).run().exits(code).prints("").stderr_contains(&format!("\nhint: {hint}\n"));
    }
}

#[test]
fn a_server_command_without_dashes_before_it_gets_them() {
    let last = "put the server's command last, after --: mcpipe";
    for (code, words, line) in [
        (2, &["config", "add", "ev", "npx", "-y", "@s/everything"][..], "config add ev -- npx -y @s/everything"),
        (
            2,
            &["config", "add", "ev", "-e", "A=1", "uvx", "time", "--zone", "x"],
            "config add ev -e A=1 -- uvx time --zone x",
        ),
        (2, &["list", "npx", "-z", "@s/everything"], "list -- npx -z @s/everything"),
        (2, &["list", "npx", "-z", "@s/everything", "--no-cache"], "list --no-cache -- npx -z @s/everything"),
        (2, &["list", "docker", "run", "-i", "image"], "list -- docker run -i image"),
        (3, &["list", "npx", "server"], "list -- npx server"),
        (
            3,
            &["call", "npx", "-y", "@s/everything", "get-sum", "a=2", "b=3"],
            "call get-sum a=2 b=3 -- npx -y @s/everything",
        ),
        (3, &["call", "node", "server.js", "echo", "text=a b"], "call echo text='a b' -- node server.js"),
        (2, &["config", "add", "ev", "npx", "-y", "srv", "--env=A=b"], "config add ev --env='A=b' -- npx -y srv"),
        (2, &["session", "start", "npx", "-z", "srv", "--idle=5m"], "session start --idle=5m -- npx -z srv"),
        (3, &["call", "npx", "-y", "srv", "t", "a=1", "--timeout=5"], "call t a=1 --timeout=5 -- npx -y srv"),
        (3, &["call", "npx", "-y", "srv", "t", "a=1", "--locked=f"], "call t a=1 --locked=f -- npx -y srv"),
        (2, &["session", "start", "npx", "-z", "server"], "session start -- npx -z server"),
        (2, &["add", "ev", "npx", "-y", "@s/everything"], "config add ev -- npx -y @s/everything"),
    ] {
        let hint = if words[0] == "add" { format!("use mcpipe {line}") } else { format!("{last} {line}") };
        assert_hints(&Sandbox::new(), code, &[(words, &hint)]);
    }
    // A configured server of that name is meant, and so is an option of curl.
    let sandbox = Sandbox::new();
    sandbox.config("[servers.node]\ncommand = 'true'\n");
    let name = "a tool's arguments have no dashes: mcpipe call node tool name=x";
    assert_hints(
        &sandbox,
        2,
        &[
            (&["list", "./s", "-k"], "use --insecure, or trust a certificate authority with --cacert FILE"),
            (&["call", "node", "tool", "--name", "x"], name),
        ],
    );
    // A secret is not repeated.
    for (words, line) in [
        (&["--api-key", "s3cret"][..], "mcpipe list -- npx -z server --api-key …"),
        (&["-H", "Authorization: Bearer s3cret"], "mcpipe list -H 'Authorization: …' -- npx -z server"),
        (&["--header=Authorization: Bearer s3cret"], "mcpipe list --header='Authorization: …' -- npx -z server"),
        (&["--url", "https://me:s3cret@h/x"], "mcpipe list -- npx -z server --url https://…@h/x"),
        (&["-u", "me:s3cret"], "mcpipe list -- npx -z server -u me:…"),
        (&[r#"{"password": "s3cret"}"#], "mcpipe list -- npx -z server '{…}'"),
    ] {
        let run = sandbox.mcpipe(["list", "npx", "-z", "server"]).args(words).run();
        run.exits(2).stderr_contains(&format!("after --: {line}\n"));
    }
}

/// Whatever is wrong, hints do not repeat what may be a secret.
#[test]
fn hints_repeat_no_secret() {
    let server = Mcp::modern().stdio();
    let (sandbox, target) = (Sandbox::new(), server.target());
    sandbox.config("[servers.api]\nurl = 'https://api.example/mcp'\n");
    for (words, shown) in [
        (&["api", "login(user: \"a\", password: \"s3cret\")"][..], "mcpipe call api 'login(…)'"),
        (&["api", "login", "password=s3cret"], "mcpipe call api login password=…"),
        (&["https://me:s3cret@h/x", "echo"], "mcpipe call https://…@h/x echo"),
        (&["call", &target, "echo", "password:=s3cret"], "to pass a string: password=…"),
        (&["call", &target, "echo", "--args", "password=s3cret"], "without --args: password=…"),
        (&["call", &target, "echo", "--url", "https://me:s3cret@h/x"], "url=https://…@h/x"),
        (&["request", &target, "ping", "password=s3cret"], "for a file: @password=…"),
        (&["prompt", &target, "greet", "password:=s3cret"], "write it as password=…"),
        (&["list", "api", "tool", "password=s3cret"], "unexpected argument 'password=…' found"),
        (&["call", "srv.py --token s3cret", "echo", "--x", "1"], "mcpipe call 'srv.py --token …' echo x=1"),
        (&["list", "npx srv --api-key s3cret \"x"], "cannot split the command line 'npx srv --api-key … x'"),
    ] {
        sandbox.mcpipe(words).run().exits(2).stderr_contains(shown).hides("s3cret");
    }
}

#[test]
fn words_in_the_wrong_order_get_the_command_line_in_order() {
    let sandbox = Sandbox::new();
    sandbox.config("[servers.api]\nurl = 'https://api.example/mcp'\n");
    assert_hints(
        &sandbox,
        2,
        &[
            (&["auth", "linear", "login"], "use mcpipe auth login linear"),
            (
                &["auth", "--timeout", "5", "linear", "login", "--no-browser"],
                "use mcpipe auth login --timeout 5 linear --no-browser",
            ),
            (&["config", "linear", "get"], "use mcpipe config get linear"),
            (&["config", "SERVER", "rename", "NEW"], "use mcpipe config rename SERVER NEW"),
            (&["config", "secret", "KEY", "set"], "use mcpipe config secret set KEY"),
            (&["session", "linear", "start", "--idle", "5m"], "use mcpipe session start linear --idle 5m"),
            (&["session", "shop", "stop"], "use mcpipe session stop shop"),
            (&["task", "7", "wait"], "use mcpipe task wait 7"),
            (&["api", "list"], "mcpipe list api"),
            (&["api", "call", "echo", "text=a b"], "mcpipe call api echo text='a b'"),
            (&["config", "linear", "nonsense"], "see mcpipe config --help"),
        ],
    );
    let run = sandbox.mcpipe(["auth", "--timeout", "5", "a", "b"]).run();
    run.exits(2).stderr_contains("mcpipe: error: unrecognized subcommand 'a'\n").hides("'5'");
}

#[test]
fn a_command_line_in_place_of_a_program_is_shown_as_words() {
    let hint =
        r#"hint: write it without quotes: -- npx -y @s/x; in a configuration: command = "npx", args = ["-y", "@s/x"]"#;
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["list", "--", "npx -y @s/x"]).run();
    run.exits(5).stderr_contains("cannot start 'npx -y @s/x'\n").stderr_contains(hint);
    sandbox.config("[servers.s]\ncommand = 'npx -y @s/x'\n");
    let run = sandbox.mcpipe(["list", "s"]).run();
    run.exits(5).stderr_contains("cannot start 'npx -y @s/x'\n").stderr_contains(hint);
    sandbox.mcpipe(["config", "check"]).run().exits(3).stdout_contains("write it without quotes");
}

#[test]
fn commands_of_other_programs_get_ours_and_not_a_system_program() {
    let sandbox = Sandbox::new();
    assert_hints(
        &sandbox,
        2,
        &[
            (&["trust"], "use mcpipe config trust"),
            (&["kill", "ev"], "use mcpipe session stop ev"),
            (&["kill", "--all"], "use mcpipe session stop --all"),
            (&["logout", "--all", "-v"], "use mcpipe auth logout --all -v"),
            (&["install", "ev"], "use mcpipe config add ev URL"),
            (&["install", "npx", "@x/s"], "use mcpipe config add NAME -- npx @x/s"),
            (&["config", "install", "npx", "-y", "@x/s"], "use mcpipe config add NAME -- npx -y @x/s"),
            (&["install", "npx", "https://h/mcp"], "use mcpipe config add npx https://h/mcp"),
            (&["init"], "use mcpipe config add NAME URL"),
            (&["ps"], "use mcpipe session list"),
            (&["diff"], "use mcpipe lock --check"),
            (&["watch", "ev"], "use mcpipe list ev --watch"),
            (&["watch", "ev", "a://b"], "use mcpipe read ev a://b --watch"),
            (&["reboot"], "see mcpipe --help"),
            (&["config", "show", "ev"], "use mcpipe config get ev"),
            (&["config", "ls"], "use mcpipe config list"),
            (&["config", "rm", "ev"], "use mcpipe config remove ev"),
            (
                &["config", "set", "ev"],
                "change the file with mcpipe config edit, or replace an entry with mcpipe config add --force",
            ),
            (
                &["config", "secret", "get", "K"],
                "stored secrets are not printed; a configuration refers to one with ${keychain:NAME}",
            ),
            (&["session", "ls"], "use mcpipe session list"),
            (&["session", "kill", "ev"], "use mcpipe session stop ev"),
            (&["session", "status"], "use mcpipe session list"),
            (&["task", "status", "7"], "use mcpipe task get 7"),
            // Only words that the command takes are kept.
            (&["session", "status", "ev"], "use mcpipe session list"),
            (&["sessions", "list"], "use mcpipe session list"),
            (&["daemon"], "use mcpipe session start TARGET"),
            (&["daemon", "status"], "use mcpipe session list"),
            (&["daemon", "stop"], "use mcpipe session stop NAME"),
            (&["daemon", "start", "ev"], "use mcpipe session start ev"),
            (&["resource", "ev"], "use mcpipe read ev"),
            (&["resource", "ev", "a://b"], "use mcpipe read ev a://b"),
            (&["tools-call", "ev", "add", "a:=1"], "use mcpipe call ev add a:=1"),
            (&["tools/get", "ev", "add"], "use mcpipe list ev add"),
            (&["ping", "ev"], "use mcpipe request ev ping"),
            (&["emit-ts", "ev"], "use mcpipe list ev --for typescript"),
            (&["alias", "add", "s", "npx", "-y", "x"], "use mcpipe config add s -- npx -y x"),
            // Options and a server's command line are not in the place of TARGET.
            (&["resources", "npx", "-y", "x"], "use mcpipe list --resources -- npx -y x"),
            (&["resources", "--", "npx", "-y", "x"], "use mcpipe list --resources -- npx -y x"),
            (&["resources", "ev", "--no-cache"], "use mcpipe list ev --resources --no-cache"),
            (&["resources", "ev", "--nonsense"], "use mcpipe list TARGET --resources"),
            (&["watch", "npx", "-y", "x"], "use mcpipe list --watch -- npx -y x"),
            (&["watch", "npx", "-y", "x", "a://b"], "use mcpipe read a://b --watch -- npx -y x"),
            (&["watch", "ev", "--timeout", "5"], "use mcpipe list ev --watch --timeout 5"),
            (&["ping", "npx", "-y", "server"], "use mcpipe request ping -- npx -y server"),
            (&["ping", "ev", "-v"], "use mcpipe request ev ping -v"),
            (&["add", "f", "--command", "npx", "--arg", "-y", "--arg", "x"], "use mcpipe config add f -- npx -y x"),
            (&["config", "add", "f", "--command", "npx -y", "--arg", "x"], "use mcpipe config add f -- npx -y x"),
            (&["config", "add", "f", "--url", "https://h/mcp"], "use mcpipe config add f https://h/mcp"),
            (&["configs", "scan"], "to find the servers of other clients: mcpipe config import --dry-run"),
            (&["config", "login", "ev"], "use mcpipe auth login ev"),
            (&["secret", "set", "K"], "use mcpipe config secret set K"),
            (&["add", "https://h/mcp"], "use mcpipe config add NAME https://h/mcp"),
            (&["auth", "lgin", "ev"], "did you mean login?"),
            (&["session", "restart", "ev"], "use mcpipe session stop ev && mcpipe session start ev"),
            (&["restart", "@ev"], "use mcpipe session stop ev && mcpipe session start ev"),
            (&["close", "@ev"], "use mcpipe session stop ev"),
            (&["ping", "@ev"], "use mcpipe request ev ping"),
            (&["login", "@ev", "-v"], "use mcpipe auth login ev -v"),
            (&["login", "mcp.example.com"], "use mcpipe auth login https://mcp.example.com"),
            (&["connect", "mcp.example.com"], "use mcpipe session start https://mcp.example.com"),
            (&["connect", "mcp.example.com", "@s"], "use mcpipe config add s https://mcp.example.com"),
            (&["connect", "https://h/mcp", "@s", "-H", "A: b"], "use mcpipe config add s https://h/mcp -H 'A: b'"),
            (&["https://h/mcp", "--method", "tools/call", "--tool-name", "t"], "mcpipe call https://h/mcp t"),
            (&["config", "add", "q", "127.0.0.1:99/mcp"], "did you mean http://127.0.0.1:99/mcp ?"),
            (&["config", "add", "q", "--", "https://h/mcp"], "omit it: mcpipe config add q https://h/mcp"),
            (&["session", "restart"], "stop it and start it again; to find its name: mcpipe session list"),
            (&["session", "restart", "http://h/"], "stop it and start it again; to find its name: mcpipe session list"),
        ],
    );
    let run = sandbox.mcpipe(["auth", "lgin", "ev"]).run();
    assert!(run.stderr().starts_with("mcpipe: error: unrecognized subcommand 'lgin'\n"), "{run:?}");
    assert_hints(&sandbox, 3, &[(&["auth", "list"], "use mcpipe auth status")]);
}

/// The program is a word of the command line too.
#[cfg(unix)]
#[test]
fn a_target_with_the_name_of_the_program_is_unknown() {
    use std::os::unix::process::CommandExt;
    let sandbox = Sandbox::new();
    let mut mcpipe = std::process::Command::new(env!("CARGO_BIN_EXE_mcpipe"));
    mcpipe.arg0("mcpipe").args(["call", "mcpipe", "echo"]).env_clear().env("HOME", sandbox.path());
    let output = mcpipe.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.starts_with("mcpipe: error: no server named 'mcpipe' is configured\n"), "{stderr}");
}

#[test]
fn options_of_other_programs_get_one_true_hint() {
    let words = "write arguments as words: NAME=VALUE";
    assert_hints(
        &Sandbox::new(),
        2,
        &[
            (
                &["call", "./s", "x", "-f", "a=2"],
                "write arguments as words: NAME=VALUE; if a call fails, the exit code is not 0",
            ),
            (&["list", "./s", "-f"], "omit it: the exit code is not 0 if the command fails"),
            (&["call", "./s", "x", "--field", "a=2"], words),
            (&["call", "./s", "x", "--raw-field", "a=2"], words),
            (
                &["call", "./s", "x", "--data", "{\"a\":1}"],
                "write arguments as words, NAME=VALUE, or pass them all with --args JSON",
            ),
            (&["prompt", "./s", "x", "--args", "{\"a\":1}"], words),
            (&["call", "./s", "x", "--param", "a=2"], words),
            (
                &["request", "./s", "m", "--args", "{}"],
                "write the parameters after the method, as JSON: mcpipe request TARGET METHOD '{…}'",
            ),
            // An option that names a command.
            (&["call", "ev", "--list"], "use mcpipe list ev"),
            (&["call", "./s", "--list-tools"], "use mcpipe list ./s"),
            (&["--list-tools", "ev"], "use mcpipe list ev"),
            (&["--list", "ev", "-v"], "use mcpipe list ev -v"),
            (&["--list-resources", "ev"], "use mcpipe list ev --resources"),
            (&["config", "--list"], "use mcpipe config list"),
            (&["task", "--list"], "use mcpipe task list"),
            (&["call", "ev", "x", "--list"], "a tool's arguments have no dashes: list=…"),
            (&["list", "ev", "a", "b"], "name one tool, or none: mcpipe list ev a"),
            (&["list", "ev", "--for", "claude"], "use anthropic"),
            (&["list", "ev", "--for", "ChatGPT"], "use openai"),
            (&["list", "--tools"], "omit it: list prints the tools unless an option chooses something else"),
            (&["list", "./s", "--paginate"], "omit it: mcpipe requests all pages"),
            (&["list", "--yaml"], "use --json"),
            (&["list", "-j"], "use --json"),
            (&["list", "-t"], "use --transport KIND or --timeout TIME"),
            (&["test", "--reporter", "x"], "use --tap, --junit FILE, --markdown FILE or --html FILE"),
            (&["test", "--only", "sum"], "use --filter WORD to choose tests of a suite"),
            (&["call", "./s", "echo", "-message", "hi"], "a tool's arguments have no dashes: message=hi"),
            (&["list", "./s", "-timeout", "5"], "did you mean --timeout?"),
            (
                &["call", "./s", "x", "-dtitle=x"],
                "write arguments as words, NAME=VALUE, or pass them all with --args JSON",
            ),
            (&["prompt", "./s", "x", "-dtitle=x"], words),
            (&["call", "./s", "x", "-bname=s3cret"], "use -H 'Cookie: NAME=VALUE'"),
            (
                &["call", "./s", "x", "-kfoo"],
                "use --insecure, or trust a certificate authority with --cacert FILE; a tool's arguments have no dashes: kfoo=…",
            ),
            (&["list", "./s", "-kfoo"], "use --insecure, or trust a certificate authority with --cacert FILE"),
            (
                &["call", "./s", "x", "-XPOST"],
                "omit it: MCP decides the HTTP method; each mcpipe command sends one kind of request",
            ),
            (
                &["call", "./s", "x", "-uuser:pw"],
                "write the line 'Authorization: Basic BASE64' to a file that only you can read, and use -H @FILE",
            ),
            (&["call", "./s", "x", "-m10"], "use --timeout TIME, for example --timeout 30s"),
        ],
    );
}

/// Command lines of mcporter, the MCP Inspector, mcp2cli, mcptools and mcpc.
#[test]
fn a_command_line_of_another_client_gets_ours() {
    let sandbox = Sandbox::new();
    for (line, hint) in [
        ("call --server ev --tool add a=2 b=3", "call ev add a=2 b=3"),
        ("call --http-url https://h/mcp --header X-Team=a --tool t", "call https://h/mcp t --header 'X-Team: a'"),
        ("call --http-url https://h/mcp --tool t --output json", "call https://h/mcp t --json"),
        ("call --stdio 'npx -y x' --stdio-arg --flag --tool t --a 1 --b=2", "call t a=1 b=2 -- npx -y x --flag"),
        ("list --stdio 'npx -y x'", "list -- npx -y x"),
        ("--cli node x.js --method tools/list", "list -- node x.js"),
        ("--cli npx -y x --method tools/call --tool-name t --tool-arg a=2", "call t a=2 -- npx -y x"),
        ("--cli node x.js --method resources/templates/list", "list --templates -- node x.js"),
        ("--cli node x.js --method resources/read --uri a://b", "read a://b -- node x.js"),
        ("--cli node x.js --method prompts/get --prompt-name p --prompt-args a=b", "prompt p a=b -- node x.js"),
        ("--cli node x.js -e A=b --transport stdio --method initialize", "list --info -e A=b -- node x.js"),
        ("--cli https://h/mcp --transport http --method ping", "request https://h/mcp ping --transport http"),
        ("--cli --config m.json --server s --method tools/list", "list s --config m.json"),
        ("--mcp https://h/mcp --list-resources", "list https://h/mcp --resources"),
        ("--mcp https://h/mcp t --name @ada", "call https://h/mcp t name=@@ada"),
        ("--mcp https://h/mcp --get-prompt p --prompt-arg a=1", "prompt https://h/mcp p a=1"),
        ("--mcp-stdio 'npx x' add --a 1", "call add a=1 -- npx x"),
        ("call t --params '{\"a\":1}' npx -y x", "call t --args '{\"a\":1}' -- npx -y x"),
        ("call prompt:p --server ev", "prompt ev p"),
    ] {
        let words = shlex::split(line).unwrap();
        sandbox.mcpipe(&words).run().exits(2).prints("").stderr_contains(&format!("hint: use mcpipe {hint}\n"));
    }
    for (line, hint) in [
        ("call resource:a://b npx -y x", "read a://b -- npx -y x"),
        ("call resource:file:///a https://h/mcp", "read https://h/mcp file:///a"),
        ("call prompt:p npx -y x", "prompt p -- npx -y x"),
        ("call resource:a://b", "read TARGET a://b"),
    ] {
        sandbox
            .mcpipe(line.split(' '))
            .run()
            .exits(3)
            .prints("")
            .stderr_contains(&format!("hint: use mcpipe {hint}\n"));
    }
    // What may be an argument of the tool is none of the server.
    for (line, hint) in [
        ("call ev run --command ls", "hint: a tool's arguments have no dashes: mcpipe call ev run command=ls\n"),
        ("call ev open --url a://b", "hint: a tool's arguments have no dashes: mcpipe call ev open url=a://b\n"),
        ("call ev t --uri a://b", "hint: a tool's arguments have no dashes: mcpipe call ev t uri=a://b\n"),
        ("call ev t --method GET", "hint: a tool's arguments have no dashes: mcpipe call ev t method=GET\n"),
        ("call add --a 1 --b 2 -- ./s", "hint: a tool's arguments have no dashes: mcpipe call add a=1 b=2 -- ./s\n"),
        (
            "call ev add --a 1 --dry-run --b=2",
            "hint: a tool's arguments have no dashes: mcpipe call ev add a=1 --dry-run b=2\n",
        ),
        ("call ev add --a 1 --b", "hint: a tool's arguments have no dashes: a=1\n"),
        ("call ev add --a 1 --b @x", "hint: a tool's arguments have no dashes: a=1\n"),
        ("list --server ev --foo bar", "hint: name the server without an option: mcpipe list SERVER\n"),
    ] {
        sandbox.mcpipe(line.split(' ')).run().exits(2).stderr_contains(hint);
    }
    sandbox.config("[servers.ev]\nurl = 'https://h/mcp'\n");
    for (words, hint) in [
        (&["ev", "tools-list"][..], "mcpipe list ev"),
        (&["ev", "tools-call", "add", "a:=1"], "mcpipe call ev add a:=1"),
        (&["@work", "tools-call", "add", "a:=1"], "mcpipe call work add a:=1"),
        (&["@work", "list"], "mcpipe list work"),
        (&["call", "ev.create", "--title", "x"], "a tool's arguments have no dashes: mcpipe call ev.create title=x"),
        (
            &["prompt", "ev.review", "--file", "a"],
            "a prompt's arguments have no dashes: mcpipe prompt ev.review file=a",
        ),
        (&["call", "ev", "-dash"], "to call a tool of that name: ev.-dash, or as ' -dash()'"),
    ] {
        sandbox.mcpipe(words).run().exits(2).stderr_contains(&format!("hint: {hint}\n"));
    }
}

#[test]
fn an_option_without_the_one_that_it_needs_names_it() {
    let sandbox = Sandbox::new();
    for (words, error, hint) in [
        (
            &["call", "./s", "x", "a=1", "--rate", "5/s"][..],
            // The calls of a model have no rate.
            "--rate applies only with --batch or --repeat",
            "omit --rate, or add --batch or --repeat",
        ),
        (
            &["call", "./s", "x", "--jobs", "2"],
            "--jobs applies only with --batch, --tool-use or --repeat",
            "omit --jobs, or add --batch, --tool-use or --repeat",
        ),
        (
            &["call", "./s", "x", "--no-cache", "--threshold=p95<2ms"],
            "--threshold applies only with --repeat",
            "omit --threshold, or add --repeat",
        ),
        (&["lock", "./s", "--strict"], "--strict applies only with --check", "omit --strict, or add --check"),
        (&["list", "./s", "--key", "k"], "--key applies only with --cert", "omit --key, or add --cert"),
    ] {
        let run = sandbox.mcpipe(words).run();
        run.exits(2).prints("").stderr_contains(&format!("hint: {hint}\n"));
        assert!(run.stderr().starts_with(&format!("mcpipe: error: {error}\n")), "{run:?}");
    }
}

#[test]
fn an_invalid_number_is_answered_with_what_is_allowed() {
    let sandbox = Sandbox::new();
    for (words, error) in [
        (&["list", "./s", "--retries", "many"][..], "'many' for '--retries <N>': expected a whole number"),
        (&["list", "--jobs", "0"], "'0' for '--jobs <N>': expected a whole number from 1 to 65535"),
        (&["list", "--budget", "x"], "'x' for '--budget <N>': expected a whole number"),
        (&["call", "./s", "x", "--repeat", "0"], "'0' for '--repeat <N>': expected a whole number of at least 1"),
    ] {
        let run = sandbox.mcpipe(words).run();
        run.exits(2).stderr_contains(&format!("mcpipe: error: invalid value {error}\n"));
    }
}

#[test]
fn a_file_in_place_of_a_target_gets_the_target() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.work().join("s.rec"), "{\"format\":\"mcpipe recording\"}\n").unwrap();
    fs::write(sandbox.work().join("s.py"), "import sys\n").unwrap();
    fs::create_dir(sandbox.work().join("in")).unwrap();
    fs::write(sandbox.work().join("in/start"), "exit\n").unwrap();
    let orphan = sandbox.script("orphan", "");
    fs::write(orphan, "#!/nowhere/at/all/python\n").unwrap();
    let orphan = sandbox.mcpipe(["list", "./orphan"]).run();
    orphan.exits(5).stderr_contains("a program that it needs does not exist; a script names it in its first line");
    orphan.stderr_contains("hint: see its first line: head -n 1 ./orphan\n").hides("install");
    let start = format!("hint: make it executable: chmod +x {}/in/./start\n", sandbox.work().display());
    sandbox.mcpipe(["list", "./start", "--cwd", "in"]).run().exits(5).stderr_contains(&start);
    assert_hints(&sandbox, 3, &[(&["call", "s.rec", "x"], "did you mean replay:s.rec?")]);
    assert_hints(
        &sandbox,
        5,
        &[
            (&["call", "./s.rec", "x"], "if it is a recording: replay:./s.rec"),
            (&["call", "./s.py", "x"], "start it with its interpreter: -- python3 ./s.py"),
        ],
    );
}

#[test]
fn a_url_with_one_slash_gets_the_other_and_only_a_valid_name_can_be_added() {
    let sandbox = Sandbox::new();
    assert_hints(
        &sandbox,
        3,
        &[
            (&["list", "http:/localhost:1/mcp"], "did you mean http://localhost:1/mcp ?"),
            (&["list", "a:b"], "list the configured servers: mcpipe config list"),
        ],
    );
}

#[test]
fn a_file_that_is_named_like_a_format_is_written_with_a_warning() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let words = ["call", &server.target(), "echo", "text=x"];
    let warning = "mcpipe: warning: -o names a file: the result is written to the file";
    let run = sandbox.mcpipe(words).args(["-o", "json"]).run();
    run.exits(0).prints("").stderr_is(&format!("{warning} 'json'; for JSON on stdout use --json\n"));
    assert_eq!(fs::read_to_string(sandbox.work().join("json")).unwrap().trim_end(), "x");
    let run = sandbox.mcpipe(words).args(["--output", "yaml"]).run();
    run.exits(0).stderr_is(&format!("{warning} 'yaml'; to print it on stdout, omit -o\n"));
    sandbox.mcpipe(words).args(["-o", "x.json"]).run().succeeds().stderr_is("");
}

#[test]
fn words_of_a_suite_in_a_batch_and_the_reverse_get_the_right_ones() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    fs::write(sandbox.work().join("b"), "{\"tool\":\"echo\",\"args\":{}}\n").unwrap();
    let run = sandbox.mcpipe(["call", &server.target(), "--batch", "b"]).run();
    run.exits(1).stdout_contains(r#""hint":"did you mean arguments?""#);
    let suite = "target = 'x'\n[[test]]\ncall = 'echo'\narguments = {}\n";
    fs::write(sandbox.work().join("t.toml"), suite).unwrap();
    let run = sandbox.mcpipe(["test", "t.toml"]).run();
    run.exits(3).stderr_contains("t.toml:4: unknown key 'arguments'").stderr_contains("did you mean 'args'?");
    // With several errors each has its own.
    fs::write(sandbox.work().join("t.toml"), format!("{suite}contain = 'x'\n")).unwrap();
    let run = sandbox.mcpipe(["test", "t.toml"]).run();
    run.exits(3).stderr_contains("did you mean 'args'?\n").stderr_contains("did you mean 'contains'?\n");
}

#[test]
fn a_missing_or_broken_lock_file_gets_a_command_that_names_it() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    fs::write(sandbox.work().join("bad.lock"), "x").unwrap();
    let target = server.target();
    assert_hints(
        &sandbox,
        3,
        &[
            (&["lock", "--check", "-o", "no.lock"], "write it: mcpipe lock TARGET -o no.lock"),
            (&["lock", &target, "-o", "bad.lock"], "restore it, or delete it and run: mcpipe lock TARGET -o bad.lock"),
            (&["call", &target, "echo", "text=x", "--locked=no.lock"], "write it: mcpipe lock TARGET -o no.lock"),
        ],
    );
    let words = ["call", &target, "echo", "text=x", "--locked", "no.lock"];
    assert_hints(&sandbox, 2, &[(&words, "to name the lock file: --locked=no.lock")]);
}

#[test]
fn words_without_a_name_get_the_arguments_that_are_missing() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let target = server.target();
    let run = sandbox.mcpipe(["call", &target, "echo", "-"]).run();
    run.exits(2).stderr_contains(
        "\n  '-' is not an argument; for the text on standard input: text=@-; for all arguments as JSON: --args -\nhint",
    );
    let run = sandbox.mcpipe(["call", &target, "echo", "--args", "nofile.json"]).run();
    run.exits(2).stderr_contains(
        "\n  --args is not JSON: expected a JSON value, at column 2; for a file: --args @nofile.json\nhint",
    );
    let run = sandbox.mcpipe(["prompt", &target, "greet", "Bern"]).run();
    run.exits(2).prints("").stderr_contains("'Bern' is not an argument; did you mean who=Bern?\n");
    let run = sandbox.mcpipe(["request", &target, "tools/call", "nofile.json"]).run();
    run.exits(2).stderr_contains("expected a JSON value, at column 2\nhint: for a file: @nofile.json\n");
}

#[test]
fn options_before_the_command_stay_in_the_hint() {
    let sandbox = Sandbox::new();
    let linear = "[servers.linear]\nurl = 'https://linear.example/'\n";
    sandbox.file("f.toml", format!("{linear}[servers.node]\ncommand = 'true'\n"));
    let file = ["--config", "f.toml"];
    for (words, hint) in [
        (&["call", "--server", "linear", "--tool", "add", "a=1"][..], "use mcpipe --config f.toml call linear add a=1"),
        (&["tools", "linear"], "use mcpipe --config f.toml list linear"),
        (&["tools-list", "linear"], "use mcpipe --config f.toml list linear"),
        // A configured server, not a program.
        (&["run", "node", "status"], "use mcpipe --config f.toml call node status"),
        (&["config", "--list"], "use mcpipe --config f.toml config list"),
        (&["config", "linear", "get"], "use mcpipe --config f.toml config get linear"),
        (&["linear", "list"], "mcpipe list --config f.toml linear"),
        (&["linear"], "mcpipe --config f.toml list linear"),
        (
            &["session", "restart", "linear"],
            "use mcpipe --config f.toml session stop linear && mcpipe --config f.toml session start linear",
        ),
    ] {
        assert_hints(&sandbox, 2, &[(&[&file, words].concat(), hint)]);
    }
    assert_hints(&sandbox, 3, &[(&["--config", "f.toml", "auth", "ls"], "use mcpipe --config f.toml auth status")]);
    sandbox.config(linear);
    assert_hints(
        &sandbox,
        2,
        &[
            (&["--no-cache", "linear", "list"], "mcpipe list --no-cache linear"),
            (&["--config=f.toml", "linear", "list"], "mcpipe list --config=f.toml linear"),
            (&["-vv", "linear", "list"], "mcpipe list -vv linear"),
            (&["-vv", "--config", "f.toml", "tools", "linear"], "use mcpipe -vv --config f.toml list linear"),
            (
                &["--sampling-command", "cd /x && mcpipe call llm ask", "tools", "linear"],
                "use mcpipe --sampling-command 'cd /x && mcpipe call llm ask' list linear",
            ),
        ],
    );
}

#[test]
fn options_of_a_command_before_it_are_put_after_it() {
    assert_hints(
        &Sandbox::new(),
        2,
        &[
            (
                &["--header", "X: y", "list", "https://h/"],
                "put --header after the command: mcpipe list --header 'X: y' https://h/",
            ),
            (&["-H", "X: y", "list", "https://h/"], "put -H after the command: mcpipe list -H 'X: y' https://h/"),
            (&["--cwd=/tmp", "call", "srv", "tool"], "put --cwd after the command: mcpipe call --cwd=/tmp srv tool"),
            (
                &["--no-cache", "--yes", "--timeout", "5", "call", "srv", "tool", "a=1"],
                "put --yes after the command: mcpipe --no-cache --timeout 5 call --yes srv tool a=1",
            ),
            (
                &["--no-browser", "auth", "login", "srv"],
                "put --no-browser after the command: mcpipe auth login --no-browser srv",
            ),
            // The line would not be valid for another reason.
            (&["--rate", "5", "call", "demo", "x"], "put --rate after the command"),
            (&["--for", "claude", "list", "demo"], "put --for after the command"),
            (&["--max-bytes=abc", "call", "demo", "x"], "put --max-bytes after the command"),
            (&["--project", "config", "add", "foo"], "put --project after the command"),
            (&["-H", "nonsense", "list", "demo", "x", "y"], "put -H after the command"),
        ],
    );
}

/// Other programs write the server and the tool as one word.
#[test]
fn a_server_and_its_tool_in_one_word_are_two_words() {
    let sandbox = Sandbox::new();
    sandbox.config("[servers.ev]\ncommand = 'true'\n[servers.'ev/two']\ncommand = 'true'\n");
    assert_hints(
        &sandbox,
        3,
        &[
            (&["call", "ev/echo", "message=1"], "use mcpipe call ev echo message=1"),
            (&["call", "ev:echo", "message=1"], "use mcpipe call ev echo message=1"),
            (&["call", "mcp__ev__echo", "-q"], "use mcpipe call ev echo -q"),
            (&["call", "ev/two/echo"], "use mcpipe call ev/two echo"),
            (&["list", "ev/echo"], "use mcpipe list ev echo"),
            (&["read", "ev/demo://x"], "use mcpipe read ev demo://x"),
        ],
    );
    // A URL without a scheme in a file, and with a mistyped one.
    sandbox.config("[servers.ev]\nurl = 'h/mcp'\n");
    let run = sandbox.mcpipe(["list", "ev"]).run();
    run.exits(3).stderr_contains("invalid URL 'h/mcp': it has no scheme such as https://");
    let run = sandbox.mcpipe(["list", "htps://h/mcp"]).run();
    run.exits(2).stderr_contains("unsupported URL scheme 'htps' (did you mean https?); use https, http, wss, ws, ");
}

#[test]
fn a_word_in_place_of_a_tool_is_the_list_or_the_pattern_that_was_meant() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let words = server.words();
    sandbox.config(&format!("[servers.ev]\ncommand = '{}'\nargs = ['{}']\n", words[0], words[1]));
    assert_hints(
        &sandbox,
        1,
        &[
            (&["list", "ev", "resources"], "use mcpipe list ev --resources"),
            (&["list", "ev", "prompts"], "use mcpipe list ev --prompts"),
            (&["list", "ev", "tools"], "list its tools: mcpipe list ev"),
            (&["list", "ev", "ec*"], "search for it: mcpipe list ev --search ec"),
            (&["list", "ev", "*-echo"], "search for it: mcpipe list ev --search echo"),
            (&["read", "ev", "demo://hallo"], "did you mean demo://hello ?"),
        ],
    );
    assert_hints(
        &sandbox,
        2,
        &[
            (&["list", "ev", "echo", "--all"], "omit the tool: mcpipe list ev --all"),
            (&["list", "ev.echo", "--watch"], "omit the tool: mcpipe list ev --watch"),
            (&["list", "ev.echo", "--budget", "5"], "omit the tool: mcpipe list ev --budget=5"),
            (&["list", "ev", "echo", "--search=-a b"], "omit the tool: mcpipe list ev --search='-a b'"),
            (&["list", "ev", "echo", "--for", "anthropic", "--search", "x"], "omit the tool, or --search"),
        ],
    );
}

/// Keys of other clients.
#[test]
fn keys_of_other_clients_get_ours() {
    let sandbox = Sandbox::new();
    for (line, hint) in [
        ("enabled = false", "use disabled = true for a server that is not to be used"),
        ("http_headers = { A = 'b' }", "use headers"),
        ("startup_timeout_sec = 5", "use connect_timeout"),
    ] {
        sandbox.config(&format!("[servers.ev]\nurl = 'https://h/mcp'\n{line}\n"));
        sandbox.mcpipe(["list", "ev"]).run().exits(3).stderr_contains(&format!("\nhint: {hint}\n"));
    }
}
