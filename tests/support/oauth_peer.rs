//! The responses of the protected server and its authorization server.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::Request;
use super::oauth::{OAuthState, parse_form};
use super::reply::Reply;

/// Overrides members of a document; `ISSUER` and `SERVER` in strings become the origins.
fn apply_overrides(mut document: Value, over: &Value, issuer: &str, server: &str) -> Value {
    for (name, value) in over.as_object().into_iter().flatten() {
        match value {
            Value::Null => _ = document.as_object_mut().unwrap().remove(name),
            value => {
                let text = value.to_string().replace("ISSUER", issuer).replace("SERVER", server);
                document[name] = serde_json::from_str(&text).unwrap();
            }
        }
    }
    document
}

pub(super) fn resource_reply(
    ledger: &OAuthState,
    issuer: &str,
    request: &Request,
    inner: &impl Fn(&Request) -> Reply,
) -> Reply {
    let origin = ledger.origin(request);
    if request.target == "/.well-known/oauth-protected-resource/mcp" {
        assert_eq!(request.header("authorization"), None, "metadata is public");
        let document = json!({"resource": format!("{origin}/mcp"), "authorization_servers": [issuer]});
        return Reply::json(&apply_overrides(document, &ledger.resource.lock().unwrap(), issuer, &origin));
    }
    assert_eq!(request.target, "/mcp", "nothing else is asked of the server");
    let metadata = format!("resource_metadata=\"{origin}/.well-known/oauth-protected-resource/mcp\"");
    let wants = |scope: &str, status: u16, error: &str| {
        let challenge = format!("Bearer {metadata}, scope=\"{scope}\"{error}");
        Reply::text("text/plain", "no").with_status(status).header("WWW-Authenticate", &challenge)
    };
    let authorization = request.header("authorization").unwrap_or_default();
    let token = match authorization.split_once(' ') {
        Some(("Bearer", token)) => token,
        Some(("DPoP", token)) if request.header("dpop").is_some() => token,
        _ => return wants("read", 401, ""),
    };
    let good = token.starts_with("access-") && !ledger.revoked.lock().unwrap().iter().any(|one| one == token);
    if !good {
        return wants("read", 401, ", error=\"invalid_token\"");
    }
    if request.rpc_method() == "tools/call" && !token.ends_with("-call") {
        return wants("call", 403, ", error=\"insufficient_scope\"");
    }
    inner(request)
}

pub(super) fn authorization_server_reply(ledger: &OAuthState, request: &Request) -> Reply {
    let issuer = ledger.origin(request);
    assert!(request.header("x-key").is_none(), "configured headers are for the server alone");
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    match (request.method.as_str(), path) {
        ("GET", "/.well-known/oauth-authorization-server") => {
            let document = json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{issuer}/authorize"),
                "token_endpoint": format!("{issuer}/token"),
                "registration_endpoint": format!("{issuer}/register"),
                "revocation_endpoint": format!("{issuer}/revoke"),
                "device_authorization_endpoint": format!("{issuer}/device"),
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": true,
                "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
            });
            Reply::json(&apply_overrides(document, &ledger.metadata.lock().unwrap(), &issuer, ""))
        }
        ("POST", "/register") => {
            let method = request.json()["token_endpoint_auth_method"].clone();
            let mut client = json!({"client_id": "mcpipe-1", "token_endpoint_auth_method": method});
            if method != "none" {
                client["client_secret"] = ledger.remember_secret("s3cret/of:mcpipe-1").into();
            }
            Reply::json(&client).with_status(201)
        }
        ("GET", "/authorize") => authorize_reply(ledger, &issuer, query),
        ("POST", "/device") => Reply::json(&json!({
            "device_code": ledger.remember_secret("dev1ce"),
            "user_code": "WDJB-MJHT",
            "verification_uri": format!("{issuer}/activate"),
            "interval": 1,
        })),
        ("POST", "/token") => token_reply(ledger, request),
        ("POST", "/revoke") => {
            ledger.revoked.lock().unwrap().push(parse_form(request)["token"].clone());
            Reply::status(200)
        }
        other => panic!("not asked by a client that follows the rules: {other:?}"),
    }
}

/// The user agrees at once.
fn authorize_reply(ledger: &OAuthState, issuer: &str, query: &str) -> Reply {
    let query: HashMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let calls = query.get("scope").is_some_and(|scope| scope.contains("call"));
    let code = ledger.remember_secret(if calls { "c0de-call" } else { "c0de" });
    let mut back = vec![("code".to_owned(), code), ("state".to_owned(), query["state"].clone())];
    back.push(("iss".to_owned(), issuer.to_owned()));
    for (name, value) in ledger.redirect.lock().unwrap().iter() {
        back.retain(|(there, _)| there != name);
        back.extend(value.as_ref().map(|value| (name.clone(), value.clone())));
    }
    let back = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(back).finish();
    Reply::status(302).header("Location", &format!("{}?{back}", query["redirect_uri"]))
}

/// Refresh tokens rotate; an old one is refused.
fn token_reply(ledger: &OAuthState, request: &Request) -> Reply {
    let form = parse_form(request);
    let may_miss = ledger.allows_missing_resource.load(Ordering::SeqCst);
    assert!(may_miss || form.contains_key("resource"), "the resource goes with every token request: {form:?}");
    let number = ledger.issued.load(Ordering::SeqCst);
    let grant = form["grant_type"].rsplit(':').next().unwrap();
    if grant == "token-exchange" {
        return Reply::json(&json!({"access_token": ledger.remember_secret("jag-1"), "token_type": "N_A"}));
    }
    if grant == "refresh_token" {
        if ledger.ignores_refresh.load(Ordering::SeqCst) {
            return Reply::never();
        }
        let keeps = ledger.keeps_refresh_token.load(Ordering::SeqCst);
        if !keeps && !form["refresh_token"].starts_with(&format!("refresh-{number}")) {
            return Reply::json(&json!({"error": "invalid_grant", "error_description": "reuse"})).with_status(400);
        }
    }
    let ends = |name: &str| form.get(name).is_some_and(|value| value.ends_with("-call"));
    let asks = form.get("scope").is_some_and(|scope| scope.contains("call"));
    let rights = if ends("code") || ends("refresh_token") || asks { "-call" } else { "" };
    let number = ledger.issued.fetch_add(1, Ordering::SeqCst) + 1;
    std::thread::sleep(Duration::from_millis(ledger.token_delay_ms.load(Ordering::SeqCst) as u64));
    let mut answer = json!({
        "access_token": ledger.remember_secret(&format!("access-{number}{rights}")),
        "token_type": if request.header("dpop").is_some() { "DPoP" } else { "bearer" },
    });
    let person = matches!(grant, "authorization_code" | "device_code" | "refresh_token");
    if person && !(grant == "refresh_token" && ledger.keeps_refresh_token.load(Ordering::SeqCst)) {
        answer["refresh_token"] = ledger.remember_secret(&format!("refresh-{number}{rights}")).into();
    }
    match ledger.token_lifetime_secs.load(Ordering::SeqCst) {
        0 => {}
        life => answer["expires_in"] = life.into(),
    }
    Reply::json(&answer)
}
