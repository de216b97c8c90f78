//! Nonces for DPoP proofs (RFC 9449 §8.2): any response may contain one, the newest applies from then on, and it is
//! sent only to the origin that it came from.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::oauth::{ProtectedServer, oauth_error, parse_form};
use crate::support::{Mcp, Reply, Request, Run, Sandbox};

/// The nonce in the proof of a request that has one.
fn nonce(request: &Request) -> Option<Value> {
    let claims = URL_SAFE_NO_PAD.decode(request.header("dpop")?.split('.').nth(1)?).unwrap();
    Some(serde_json::from_slice::<Value>(&claims).unwrap()["nonce"].clone())
}

/// The nonces of these requests' proofs, in order.
fn nonces(requests: &[Request]) -> Vec<Value> {
    requests.iter().filter_map(nonce).collect()
}

/// Every response contains the next nonce, and only a proof with the newest is accepted.
#[derive(Clone, Default)]
struct StrictNonces {
    given: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    statuses: Arc<Mutex<Vec<u16>>>,
}

impl StrictNonces {
    fn newest(&self, of: &str) -> String {
        format!("{of}-{}", self.given.load(Ordering::SeqCst))
    }

    /// Whether the proof of this request contains the newest nonce.
    fn takes(&self, of: &str, request: &Request) -> bool {
        let good = nonce(request) == Some(json!(self.newest(of)));
        self.refused.fetch_add(usize::from(!good), Ordering::SeqCst);
        good
    }

    /// The next nonce, with this response.
    fn with(&self, of: &str, reply: Reply) -> Reply {
        self.given.fetch_add(1, Ordering::SeqCst);
        reply.header("DPoP-Nonce", &self.newest(of))
    }
}

fn wants_nonce() -> Reply {
    Reply::status(401).header("WWW-Authenticate", "DPoP error=\"use_dpop_nonce\"")
}

/// A server that requires each proof to contain the nonce of the previous response.
fn strict(behave: LegacyHttpOptions) -> (ProtectedServer, StrictNonces) {
    let strict = StrictNonces::default();
    let (ours, mcp) = (strict.clone(), Mcp::legacy("2025-11-25").http_script(behave));
    let server = ProtectedServer::in_front_of(move |request| {
        let reply = if ours.takes("r", request) { mcp(request) } else { wants_nonce() };
        ours.statuses.lock().unwrap().push(reply.status_code());
        ours.with("r", reply)
    });
    (server, strict)
}

fn log_in(sandbox: &Sandbox, server: &ProtectedServer) -> Run {
    sandbox.mcpipe(["auth", "login", &server.url(), "--dpop", "--scope", "call"]).with_browser().run()
}

#[test]
fn the_nonce_of_any_answer_is_in_the_next_proof() {
    for always_stream in [false, true] {
        let (server, strict) = strict(LegacyHttpOptions {
            session_id: Some("s"),
            always_streams: always_stream,
            ..LegacyHttpOptions::default()
        });
        let sandbox = Sandbox::new();
        log_in(&sandbox, &server).exits(0);
        let before = server.mcp.requests().len();
        strict.statuses.lock().unwrap().clear();
        let (given, refused) = (strict.given.load(Ordering::SeqCst), strict.refused.load(Ordering::SeqCst));
        // A known server may get two requests at once, which use the same nonce.
        let words = ["call", &server.url(), "add", "a=1", "b=2", "-vv"];
        let run = sandbox.mcpipe(words).env("XDG_CACHE_HOME", sandbox.work().join("new")).run();
        run.exits(0).prints("3\n");
        let asked = server.mcp.requests().split_off(before);
        // The first request has no nonce yet; each later one has that of the previous response, whatever it was.
        let expected = (0..asked.len()).map(|n| if n == 0 { Value::Null } else { json!(format!("r-{}", given + n)) });
        assert_eq!(nonces(&asked), expected.collect::<Vec<_>>(), "{:?}", server.mcp.exchanges());
        assert_eq!(strict.refused.load(Ordering::SeqCst) - refused, 1);
        let statuses = strict.statuses.lock().unwrap().clone();
        assert!(statuses.starts_with(&[401]) && statuses.contains(&202) && statuses.contains(&200), "{statuses:?}");
        assert_eq!(asked.last().unwrap().method, "DELETE");
        server.assert_no_secret_left(&sandbox, &[&run]);
    }
}

/// A nonce in the token response is used for the next token request, and not sent to the server.
#[test]
fn the_nonce_of_a_token_is_in_the_proof_for_the_next_and_stays_with_its_origin() {
    let issuer = StrictNonces::default();
    let resource = StrictNonces::default();
    let (ours, mcp) = (resource.clone(), Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default()));
    let server = ProtectedServer::in_front_of(move |request| {
        if !ours.takes("r", request) {
            return ours.with("r", wants_nonce());
        }
        if request.rpc_method() == "initialize" {
            // The token is valid for a second, so the next request needs another.
            std::thread::sleep(Duration::from_millis(1100));
        }
        ours.with("r", mcp(request))
    });
    let ours = issuer.clone();
    let tokens = AtomicUsize::new(0);
    server.at_issuer(move |request| {
        if request.target != "/token" {
            return None;
        }
        if !ours.takes("i", request) {
            return Some(ours.with("i", oauth_error(400, "use_dpop_nonce")));
        }
        let n = tokens.fetch_add(1, Ordering::SeqCst) + 1;
        let token = json!({
            "access_token": format!("access-{n}-call"),
            "refresh_token": format!("refresh-{n}-call"),
            "token_type": "DPoP",
            "expires_in": 1,
        });
        Some(ours.with("i", Reply::json(&token)))
    });
    let sandbox = Sandbox::new();
    log_in(&sandbox, &server).exits(0);
    std::thread::sleep(Duration::from_millis(1100));
    let asked = || server.issuer.requests().into_iter().filter(|request| request.target == "/token");
    let (before, given) = (asked().count(), issuer.given.load(Ordering::SeqCst));
    sandbox.call_add(&server.url(), &[]).exits(0).prints("3\n");
    let asked = asked().skip(before).collect::<Vec<_>>();
    assert!(
        asked.len() >= 3 && asked.iter().all(|request| parse_form(request)["grant_type"] == "refresh_token"),
        "{asked:?}"
    );
    // One rejection, since the first request of this run has no nonce; later refreshes use the one from the token
    // response.
    let expected = (0..asked.len()).map(|n| if n == 0 { Value::Null } else { json!(format!("i-{}", given + n)) });
    assert_eq!(nonces(&asked), expected.collect::<Vec<_>>());
    let at = |requests: Vec<Request>, own: &str| {
        let foreign = |nonce: &Value| nonce.as_str().is_some_and(|nonce| !nonce.starts_with(own));
        assert!(!nonces(&requests).iter().any(foreign), "{:?}", nonces(&requests));
    };
    at(server.issuer.requests(), "i-");
    at(server.mcp.requests(), "r-");
}
