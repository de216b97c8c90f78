//! TLS: certificates to trust and to present, and errors.

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::tls::{CertificateAndKey, CertificateAuthority};
use crate::support::{HttpServer, Mcp, Run, Sandbox};

fn server(config: std::sync::Arc<rustls::ServerConfig>) -> HttpServer {
    HttpServer::tls(config, Mcp::modern().http_script(LegacyHttpOptions::default()))
}

fn echo(sandbox: &Sandbox, url: &str, words: &[&str]) -> Run {
    sandbox.mcpipe(["call", url, "echo", "text=hi"]).args(words).run()
}

#[test]
fn a_certificate_authority_given_as_an_option_is_trusted() {
    let authority = CertificateAuthority::new();
    let server = server(authority.tls_config(&authority.server_certificate(&["127.0.0.1", "localhost"])));
    let sandbox = Sandbox::new();
    let ca = authority.write(&sandbox.work());
    let ca = ca.to_str().unwrap();
    echo(&sandbox, &server.url("/mcp"), &["--cacert", ca]).succeeds().prints("hi\n");
    let by_variable = sandbox.mcpipe(["call", &server.url("/mcp"), "echo", "text=hi"]).env("SSL_CERT_FILE", ca).run();
    by_variable.succeeds().prints("hi\n");

    echo(&sandbox, &server.url("/mcp"), &[]).exits(5).stderr_contains("UnknownIssuer").stderr_contains("--cacert");
    let insecure = echo(&sandbox, &server.url("/mcp"), &["--insecure"]);
    insecure.exits(0).prints("hi\n").stderr_contains("warning");
}

#[test]
fn certificates_that_must_not_be_trusted() {
    let authority = CertificateAuthority::new();
    let sandbox = Sandbox::new();
    let ca = authority.write(&sandbox.work());
    let ca = ca.to_str().unwrap();
    for (what, identity) in [
        ("not valid for name", authority.server_certificate(&["elsewhere.test"])),
        ("xpired", authority.expired_server_certificate(&["127.0.0.1"])),
        ("invalid peer certificate", CertificateAndKey::self_signed(&["127.0.0.1"])),
    ] {
        let server = server(authority.tls_config(&identity));
        echo(&sandbox, &server.url("/mcp"), &["--cacert", ca]).exits(5).stderr_contains(what);
    }
    // A certificate that is named itself is trusted, for the names in it.
    let own = CertificateAndKey::self_signed(&["127.0.0.1"]);
    let (named, _) = own.write(&sandbox.work(), "own");
    let (server, named) = (server(authority.tls_config(&own)), ["--cacert", named.to_str().unwrap()]);
    echo(&sandbox, &server.url("/mcp"), &named).succeeds().prints("hi\n");
    let other = echo(&sandbox, &server.url("/mcp").replace("127.0.0.1", "localhost"), &named);
    other.exits(5).stderr_contains("hint: use the host name that the certificate is for");
}

#[test]
fn a_server_may_require_a_client_certificate() {
    let authority = CertificateAuthority::new();
    let sandbox = Sandbox::new();
    let ca = authority.write(&sandbox.work());
    let ca = ca.to_str().unwrap();
    let (cert, key) = authority.client_certificate("me").write(&sandbox.work(), "me");
    let server = server(authority.mutual_tls_config(&authority.server_certificate(&["127.0.0.1"])));
    let words = ["--cacert", ca, "--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
    echo(&sandbox, &server.url("/mcp"), &words).succeeds().prints("hi\n");
    // The key may be in the same file.
    let both = sandbox.file("both.pem", [&cert, &key].map(|path| std::fs::read_to_string(path).unwrap()).concat());
    let words = ["--cacert", ca, "--cert", both.to_str().unwrap()];
    echo(&sandbox, &server.url("/mcp"), &words).succeeds().prints("hi\n");
    let without = echo(&sandbox, &server.url("/mcp"), &["--cacert", ca]);
    without.exits(5).stderr_contains("ertificate").stderr_contains("--cert FILE");
}
