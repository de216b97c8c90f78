//! HTTP/2 and compressed bodies, with Node's implementation of the server.

use crate::support::real::{ListeningServer, node_program, real_test_file};
use crate::support::tls::CertificateAuthority;
use crate::support::{Run, Sandbox};

fn node_server(sandbox: &Sandbox, env: &[(&str, &str)]) -> ListeningServer {
    let env: Vec<(&str, &str)> = [("RS_PORT", "PORT")].into_iter().chain(env.iter().copied()).collect();
    ListeningServer::start(sandbox, &[node_program(), real_test_file("http.mjs")], &env)
}

/// A call over TLS: the result names the HTTP version and the accepted encodings.
fn over_tls(env: &[(&str, &str)]) -> Run {
    let sandbox = Sandbox::new();
    let authority = CertificateAuthority::new();
    let ca = authority.write(&sandbox.work());
    let (cert, key) = authority.server_certificate(&["localhost", "127.0.0.1"]).write(&sandbox.work(), "server");
    let mut env = env.to_vec();
    env.extend([("CERT", cert.to_str().unwrap()), ("KEY", key.to_str().unwrap())]);
    let server = node_server(&sandbox, &env);
    let url = format!("https://localhost:{}/mcp", server.port);
    sandbox.mcpipe(["call", &url, "how", "--cacert", ca.to_str().unwrap()]).run()
}

#[test]
fn http_2_is_used_if_the_server_offers_it() {
    over_tls(&[]).succeeds().prints("HTTP/2.0, br,gzip,zstd\n");
    over_tls(&[("STREAM", "1"), ("ENCODING", "br")]).succeeds().prints("HTTP/2.0, br,gzip,zstd\n");
    over_tls(&[("HTTP1", "1")]).succeeds().prints("HTTP/1.1, br,gzip,zstd\n");
}

#[test]
fn bodies_and_streams_are_decompressed_with_every_offered_coding() {
    for encoding in ["gzip", "br", "zstd"] {
        for stream in ["", "1"] {
            let sandbox = Sandbox::new();
            let server = node_server(&sandbox, &[("ENCODING", encoding), ("STREAM", stream)]);
            let run = sandbox.mcpipe(["call", &server.url("/mcp"), "how"]).run();
            assert_eq!(run.succeeds().stdout(), "HTTP/1.1, br,gzip,zstd\n", "{encoding} {stream}");
        }
    }
}

/// An encoding that was not accepted is not guessed: the server violated the protocol, and the error names the
/// encoding.
#[test]
fn an_unrequested_compression_is_reported() {
    let sandbox = Sandbox::new();
    let server = node_server(&sandbox, &[("ENCODING", "deflate")]);
    let run = sandbox.mcpipe(["call", &server.url("/mcp"), "how"]).run();
    let url = server.url("/mcp");
    run.exits(7).prints("");
    let said = format!(
        "mcpipe: error: the response from {url} is compressed as 'deflate', which was not requested\n\
         hint: ask its operator to honor Accept-Encoding\n"
    );
    assert_eq!(run.stderr(), said);
}
