//! Servers behind a sign-in page, to which those who did not sign in are sent.

use crate::support::{HttpServer, Reply, Sandbox};

#[test]
fn a_redirect_to_a_sign_in_page_is_a_matter_of_credentials() {
    for (status, location) in [
        (302, "https://login.example.com/common/oauth2/v2.0/authorize?client_id=x"),
        (302, "https://elsewhere.example/start"),
        (302, "/login?next=/mcp"),
        (303, "/users/sign_in"),
        (307, "/api/auth/signin"),
        (302, "/cdn-cgi/access/login/mcp.example.com"),
    ] {
        let server = HttpServer::start(move |_| Reply::status(status).header("Location", location));
        for words in [&["list"][..], &["read", "x:y"]] {
            let url = server.url("/mcp");
            let words = [&words[..1], &[url.as_str()], &words[1..]].concat();
            let run = Sandbox::new().mcpipe(words).run();
            run.exits(4).prints("").stderr_contains(&format!("a sign-in page (HTTP {status})\n")).stderr_contains(&format!(
                "hint: pass its credentials with -H 'Authorization: …' or --bearer-env VAR; if it supports OAuth: mcpipe auth login {url}\n"
            ));
        }
    }
}

/// Only the words of an address show that it is a sign-in page.
#[test]
fn a_redirect_to_another_host_may_be_to_a_sign_in_page() {
    for (location, what) in [
        ("https://elsewhere.example/start", "which may be a sign-in page"),
        ("https://elsewhere.example/login", "a sign-in page"),
    ] {
        let server = HttpServer::start(move |_| Reply::status(302).header("Location", location));
        let run = Sandbox::new().mcpipe(["list", &server.url("/mcp")]).run();
        run.exits(4).stderr_contains(&format!("error: the server redirects to {location}, {what} (HTTP 302)\n"));
    }
}

#[test]
fn other_redirects_are_not() {
    for (status, location) in
        [(301, "https://elsewhere.example/login"), (308, "https://elsewhere.example/mcp"), (302, "/authors/mcp")]
    {
        let server = HttpServer::start(move |_| Reply::status(status).header("Location", location));
        Sandbox::new().mcpipe(["list", &server.url("/mcp")]).run().exits(5).prints("").hides("sign-in");
    }
}

#[test]
fn a_page_with_a_form_for_a_password_is_a_sign_in_page() {
    let page = "<!doctype html><title>Sign in</title><form><input name=user><input type=\"password\" name=p></form>";
    let server = HttpServer::start(move |_| Reply::text("text/html; charset=utf-8", page));
    let run = Sandbox::new().mcpipe(["list", &server.url("/mcp")]).run();
    run.exits(4).prints("").stderr_contains("error: the server sent a sign-in page instead of a response to ");
    let server = HttpServer::start(|_| Reply::text("text/html", "<title>Welcome</title>"));
    Sandbox::new().mcpipe(["list", &server.url("/mcp")]).run().exits(7).hides("sign-in");
}
