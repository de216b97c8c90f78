//! `config secret set` at a terminal: the typed value is not shown, and the terminal is restored.

use crate::support::Sandbox;
use crate::support::pty::TerminalStreams;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.config("[defaults]\ncredential_store = \"file\"\n");
    sandbox
}

fn names(sandbox: &Sandbox) -> String {
    sandbox.mcpipe(["config", "secret", "list"]).run().stdout().to_owned()
}

#[test]
fn what_is_typed_is_not_shown() {
    let sandbox = sandbox();
    let mut terminal = sandbox.mcpipe(["config", "secret", "set", "KEY"]).at_terminal(TerminalStreams::ALL);
    terminal.wait_for("value of KEY (not shown): ").type_keys("hunter2\r");
    let seen = terminal.wait();
    seen.exits(0);
    let place = sandbox.path().join("home/.local/share/mcpipe/credentials.json");
    // The note is wrapped at the width of the terminal.
    assert_eq!(
        seen.final_screen().split_whitespace().collect::<Vec<_>>().join(" "),
        "value of KEY (not shown): stored 'KEY' in ~/.local/share/mcpipe/credentials.json; refer to it as ${keychain:KEY}"
    );
    assert!(seen.echo_is_on && !seen.screen.contains("hunter2"), "{}", seen.screen);
    assert!(std::fs::read_to_string(place).unwrap().contains("\"hunter2\""));
}

#[test]
fn an_interrupt_and_the_end_of_input_store_nothing_and_leave_the_terminal_as_it_was() {
    for (keys, code) in [("half\u{3}", 130), ("\u{4}", 8), ("\r", 2)] {
        let sandbox = sandbox();
        let mut terminal = sandbox.mcpipe(["config", "secret", "set", "KEY"]).at_terminal(TerminalStreams::ALL);
        terminal.wait_for("(not shown): ").type_keys(keys);
        let seen = terminal.wait();
        seen.exits(code);
        assert!(seen.echo_is_on && !seen.screen.contains("half"), "{}", seen.screen);
        assert_eq!(names(&sandbox), "");
    }
}

#[test]
fn nobody_is_asked_who_must_not_be() {
    let sandbox = sandbox();
    let seen =
        sandbox.mcpipe(["config", "secret", "set", "KEY", "--no-input"]).at_terminal(TerminalStreams::ALL).wait();
    seen.exits(2);
    let hint = "hint: pipe it in: printf %s \"$VALUE\" | mcpipe config secret set KEY";
    assert_eq!(seen.final_screen(), format!("mcpipe: error: cannot prompt for the value of 'KEY'\n{hint}"));
}

#[test]
fn a_person_is_told_what_we_wait_for() {
    let sandbox = sandbox();
    let tool = sandbox.script("tool", "sleep 2; echo value; exit 1");
    sandbox.config(&format!(
        "[servers.api]\nurl = \"http://127.0.0.1:9/mcp\"\nheaders = {{ X-Key = \"${{command:{}}}\" }}\n",
        tool.display()
    ));
    let mut terminal = sandbox.mcpipe(["list", "api"]).at_terminal(TerminalStreams::ALL);
    terminal.wait_for(&format!("waiting for '{}'", tool.display()));
    terminal.wait().exits(3);
}

#[test]
fn a_person_can_stop_waiting_for_a_command() {
    let sandbox = sandbox();
    let tool = sandbox.script("tool", "sleep 300");
    sandbox.config(&format!(
        "[servers.api]\nurl = \"http://127.0.0.1:9/mcp\"\nheaders = {{ X-Key = \"${{command:{}}}\" }}\n",
        tool.display()
    ));
    let mut terminal = sandbox.mcpipe(["list", "api"]).at_terminal(TerminalStreams::ALL);
    terminal.wait_for("waiting for ").type_keys("\u{3}");
    terminal.wait().exits(130);
}

#[test]
fn a_command_may_ask_for_something_at_the_terminal() {
    let sandbox = sandbox();
    // Like sudo, it opens the terminal directly. In another process group it would be stopped.
    let tool = sandbox.script("tool", "printf 'PIN: ' >/dev/tty; read pin </dev/tty; echo \"$pin-value\" >got; exit 1");
    sandbox.config(&format!(
        "[servers.api]\nurl = \"http://127.0.0.1:9/mcp\"\nheaders = {{ X-Key = \"${{command:{}}}\" }}\n",
        tool.display()
    ));
    let mut terminal = sandbox.mcpipe(["list", "api"]).at_terminal(TerminalStreams::ALL);
    terminal.wait_for("PIN: ").type_keys("1234\r");
    terminal.wait().exits(3);
    assert_eq!(std::fs::read_to_string(sandbox.work().join("got")).unwrap(), "1234-value\n");
}
