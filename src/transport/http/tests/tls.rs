//! Whom the client trusts, and what it says when it does not. The certificates in `pem/` are for these
//! tests only, were made with openssl, and are good for a century.

use std::path::{Path, PathBuf};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::error::ErrorKind;
use crate::transport::TlsOptions;
use crate::transport::http::scripted_server::{ScriptedServer, json_response, outgoing_request};

fn pem_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/transport/http/tests/pem").join(name)
}

/// A server with this certificate.
fn server(name: &str) -> ScriptedServer {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let chain = vec![CertificateDer::from_pem_file(pem_path(name)).unwrap()];
    let mut config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(pem_path(name)).unwrap()).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    ScriptedServer::start_tls(config, |_, _| json_response("200 OK", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#))
}

async fn ping(server: &ScriptedServer, host: &str, tls: TlsOptions) -> Result<(), Failure> {
    let mut endpoint = endpoint(&format!("https://{host}:{}/mcp", server.port));
    endpoint.tls = tls;
    let mut connection = connect(&endpoint, &TransportOptions::default()).await?;
    connection.transport.send(outgoing_request(1, "ping")).await?;
    match next(&mut connection).await.item {
        IncomingItem::Message(..) => Ok(()),
        IncomingItem::Failed(failure) => Err(failure),
        other => panic!("{other:?}"),
    }
}

fn cacert(name: &str) -> TlsOptions {
    TlsOptions { cacert: Some(pem_path(name)), ..TlsOptions::default() }
}

#[tokio::test]
async fn trusts_the_given_authority() {
    let server = server("server.pem");
    for host in ["127.0.0.1", "localhost"] {
        ping(&server, host, cacert("ca.pem")).await.unwrap();
    }
}

#[tokio::test]
async fn rejects_other_authorities() {
    let server = server("server.pem");
    for tls in [TlsOptions::default(), cacert("self.pem")] {
        let failure = ping(&server, "127.0.0.1", tls).await.unwrap_err();
        let details = failure.details();
        assert_eq!(details.kind, ErrorKind::Unreachable);
        assert_eq!(details.message, format!("cannot connect to https://127.0.0.1:{}/mcp", server.port));
        assert!(details.causes[0].contains("UnknownIssuer"), "{details:?}");
        assert!(details.hint.as_ref().unwrap().contains("--cacert FILE"));
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn unusable_files_are_named() {
    let server = server("server.pem");
    let empty = tempfile::NamedTempFile::new().unwrap();
    let broken = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let client = Some(pem_path("client.pem"));
    let cases = [
        (cacert("missing.pem"), pem_path("missing.pem")),
        (TlsOptions { cacert: Some(empty.path().into()), ..TlsOptions::default() }, empty.path().into()),
        (TlsOptions { cacert: Some(broken.path().into()), ..TlsOptions::default() }, broken.path().into()),
        (TlsOptions { cert: Some(pem_path("missing.pem")), ..TlsOptions::default() }, pem_path("missing.pem")),
        (TlsOptions { cert: Some(pem_path("ca.pem")), ..TlsOptions::default() }, pem_path("ca.pem")),
        (
            TlsOptions { cert: client.clone(), key: Some(pem_path("ca.pem")), ..TlsOptions::default() },
            pem_path("ca.pem"),
        ),
        (
            TlsOptions { cert: client.clone(), key: Some(pem_path("server.pem")), ..TlsOptions::default() },
            pem_path("client.pem"),
        ),
        (TlsOptions { key: client, ..TlsOptions::default() }, pem_path("client.pem")),
    ];
    for (tls, file) in cases {
        let shown = format!("{tls:?}");
        let failure = ping(&server, "127.0.0.1", tls).await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Config, "{shown}");
        assert!(failure.details().message.contains(&file.display().to_string()), "{shown}: {failure:?}");
    }
    assert!(server.requests().is_empty());
}
