//! Images of a result at terminals that can show them.

use serde_json::json;

use crate::support::mcp::PIXEL;
use crate::support::pty::TerminalStreams;
use crate::support::{Mcp, Sandbox};

/// One pixel in kitty's format.
fn kitty() -> String {
    format!("\x1b_Ga=T,f=100,q=2,m=0;{PIXEL}\x1b\\\r\n")
}

/// What a terminal with this variable gets for a call that returns a text and an image.
fn screen(name: &str, value: &str, options: &[&str]) -> String {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "image"]).args(options.iter().copied());
    let seen = run.env(name, value).env("NO_COLOR", "1").at_terminal(TerminalStreams::ALL).wait();
    seen.exits(0);
    // On a busy machine a progress line comes first, and is erased.
    let printed = seen.screen.rsplit_once("\r\x1b[2K").map_or(seen.screen.as_str(), |(_, rest)| rest);
    printed.replace("\x1b[K", "")
}

const LINE: &str = "[image/png, 70 B; --save DIR writes it]\r\n";

#[test]
fn each_terminal_gets_its_own_format() {
    assert_eq!(screen("KITTY_WINDOW_ID", "1", &[]), format!("a pixel\r\n{}{LINE}", kitty()));
    let iterm = format!("\x1b]1337;File=inline=1;size=70:{PIXEL}\x07\r\n");
    assert_eq!(screen("TERM_PROGRAM", "iTerm.app", &[]), format!("a pixel\r\n{iterm}{LINE}"));
    // The pixel is transparent.
    let sixel = "\x1bP0;1q\"1;1;1;1-\x1b\\\r\n";
    assert_eq!(screen("TERM_PROGRAM", "other", &["--images", "always"]), format!("a pixel\r\n{sixel}{LINE}"));
    assert_eq!(screen("TERM_PROGRAM", "other", &[]), format!("a pixel\r\n{LINE}"));
    assert_eq!(screen("KITTY_WINDOW_ID", "1", &["--images", "never"]), format!("a pixel\r\n{LINE}"));
    // Half of an image would hide what follows.
    assert_eq!(screen("KITTY_WINDOW_ID", "1", &["--max-bytes", "1kB"]), format!("a pixel\r\n{LINE}"));
}

#[test]
fn a_pipe_never_gets_an_image() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["call", &server.target(), "image", "--images", "always"]).env("KITTY_WINDOW_ID", "1");
    run.run().succeeds().prints("a pixel\n[image/png, 70 B; --save DIR writes it]\n");
    let run = sandbox.mcpipe(["read", &server.target(), "demo://logo", "--images", "always"]);
    assert!(run.run().succeeds().stdout.starts_with(b"\x89PNG"));
}

#[test]
fn a_resource_that_is_an_image_is_shown_and_others_are_refused() {
    let server = Mcp::modern().stdio();
    let read = |uri| Sandbox::new().mcpipe(["read", &server.target(), uri]).env("NO_COLOR", "1");
    let seen = read("demo://logo").env("KITTY_WINDOW_ID", "1").at_terminal(TerminalStreams::ALL).wait();
    let line = "[demo://logo, image/png, 70 B; --save DIR writes it]\r\n";
    assert_eq!(seen.screen.replace("\x1b[K", ""), format!("{}{line}", kitty()));
    let seen = read("demo://logo").at_terminal(TerminalStreams::ALL).wait();
    assert!(seen.exits(2).screen.contains("binary content is not written to a terminal"), "{}", seen.screen);
}

#[test]
fn content_that_is_no_image_is_a_line_and_a_command_that_saves_it() {
    let schema = json!({"type": "object", "properties": {"text": {"type": "string"}}});
    let server = Mcp::modern()
        .tools(json!([
            {"name": "say", "inputSchema": schema, "annotations": {"readOnlyHint": true}},
            {"name": "record", "inputSchema": schema},
        ]))
        .on("tools/call", |call| {
            // What is called an image is not passed to the terminal unless it is one.
            call.result(json!({"content": [{"type": "audio", "mimeType": "audio/wav", "data": "AAAA"},
                {"type": "image", "mimeType": "image/png", "data": "GzBjAAAA"}]}))
        })
        .stdio();
    let sandbox = Sandbox::new();
    let command = ["call", &server.target(), "say", "text=good day"];
    let run = sandbox.mcpipe(command).env("KITTY_WINDOW_ID", "1").env("NO_COLOR", "1");
    let seen = run.at_terminal(TerminalStreams::ALL).wait();
    let lines = "[audio/wav, 3 B; --save DIR writes it]\r\n[image/png, 6 B; --save DIR writes it]\r\n";
    let next = format!("next: mcpipe call '{}' say text='good day' --save .\r\n", server.target());
    assert_eq!(seen.screen.replace("\x1b[K", ""), format!("{lines}{next}"));
    // The suggestion works, and is not made where it would not, or would repeat an effect.
    sandbox.mcpipe(command).args(["--save", "."]).run().succeeds().prints("./audio-1.wav\n./image-1.png\n");
    let run = sandbox.mcpipe(["call", &server.target(), "say", "--args", "@args.json", "--quiet"]);
    sandbox.file("args.json", "{}");
    let seen = run.env("NO_COLOR", "1").at_terminal(TerminalStreams::ALL).wait();
    assert_eq!(seen.screen.replace("\x1b[K", ""), lines);
    let run = sandbox.mcpipe(["call", &server.target(), "record", "text=a"]).env("NO_COLOR", "1");
    assert_eq!(run.at_terminal(TerminalStreams::ALL).wait().screen.replace("\x1b[K", ""), lines);
}
