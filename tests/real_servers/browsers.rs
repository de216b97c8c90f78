//! Servers that drive a browser: a session keeps the page between commands.

use std::sync::Arc;
use std::time::Duration;

use crate::support::real::{node_package_file, node_program};
use crate::support::{HttpServer, Reply, Run, Sandbox, process};

const PAGE: &str = "<!doctype html><title>Start</title><button onclick=\"document.title='Clicked'\">Go</button>";

/// A configured browser server with a session, and a page to visit.
struct Browser {
    sandbox: Sandbox,
    page: HttpServer,
}

impl Browser {
    fn start(script: &str, options: &[&str]) -> Self {
        let sandbox = Sandbox::new();
        let args: Vec<String> =
            std::iter::once(node_package_file(script)).chain(options.iter().map(|word| (*word).to_owned())).collect();
        let command = node_program();
        sandbox.config(&format!("[servers.browser]\ncommand = {command:?}\nargs = {args:?}\nkeep_alive = \"10m\"\n"));
        let page = HttpServer::start(|_| Reply::text("text/html", PAGE));
        Browser { sandbox, page }
    }

    fn call(&self, tool: &str, args: &[&str]) -> Run {
        let words = ["call", "browser", tool].into_iter().chain(args.iter().copied());
        let run = self.sandbox.mcpipe(words).allow_leftovers().timeout(Duration::from_secs(120)).run();
        run.exits(0);
        run
    }

    /// Ends the session, of which nothing may be left.
    fn end(self) {
        self.sandbox.mcpipe(["session", "stop", "--all", "-q"]).timeout(Duration::from_secs(60)).run().exits(0);
        let left = process::wait_until_gone(Duration::from_secs(20), || self.sandbox.leftovers());
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn pages_of_chrome_devtools_stay_between_commands() {
    let browser = Browser::start(
        "chrome-devtools-mcp/build/src/bin/chrome-devtools-mcp.js",
        &["--headless", "--isolated", "--executablePath", "/usr/bin/chromium", "--chromeArg=--no-sandbox"],
    );
    browser.call("new_page", &[&format!("url={}", browser.page.url("/"))]).stdout_contains("Start");
    let snapshot = browser.call("take_snapshot", &["pageId=2"]);
    let button = snapshot.stdout().lines().find(|line| line.contains("button \"Go\"")).unwrap_or_default();
    let uid = button.split_whitespace().next().unwrap_or_default().replace("uid=", "uid:=\"") + "\"";
    browser.call("click", &["pageId=2", &uid]);
    browser.call("list_pages", &[]).stdout_contains("2: Clicked");
    browser.call("take_screenshot", &["pageId=2", "--save", "shots"]).stdout_contains("shots/image-1.png");
    let image = std::fs::read(browser.sandbox.work().join("shots/image-1.png")).unwrap();
    assert!(image.starts_with(b"\x89PNG"), "{} bytes", image.len());
    // Two users of one session at once.
    let browser = Arc::new(browser);
    let users: Vec<_> = [17, 25]
        .map(|number| {
            let browser = browser.clone();
            std::thread::spawn(move || {
                let function = format!("function=() => new Promise(done => setTimeout(() => done({number} * 2), 300))");
                browser.call("evaluate_script", &["pageId=2", &function]).stdout_contains(&(number * 2).to_string());
            })
        })
        .into();
    users.into_iter().for_each(|user| user.join().unwrap());
    Arc::into_inner(browser).unwrap().end();
}

#[test]
fn pages_of_playwright_stay_between_commands() {
    let browser = Browser::start(
        "@playwright/mcp/cli.js",
        &["--headless", "--isolated", "--no-sandbox", "--executable-path", "/usr/bin/chromium"],
    );
    browser.call("browser_navigate", &[&format!("url={}", browser.page.url("/"))]).stdout_contains("Page Title: Start");
    browser.call("browser_snapshot", &[]).stdout_contains("button \"Go\"");
    browser.call("browser_click", &["target=button", "element=Go"]);
    browser.call("browser_snapshot", &[]).stdout_contains("Page Title: Clicked");
    browser.call("browser_take_screenshot", &["--save", "shots"]).stdout_contains("shots/image-1.png");
    browser.end();
}
