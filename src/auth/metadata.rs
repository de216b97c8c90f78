//! Where metadata is located, what it contains, and whether it can be trusted (RFC 9728, RFC 8414; 2026-07-28,
//! basic/authorization).
//!
//! Nothing here uses the network. `resource` and issuer are identifiers: they are compared and sent byte for byte, not
//! in the normalized form of a URL library.

use serde_json::{Map, Value};
use url::Url;

/// The metadata of a protected resource (RFC 9728 §2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtectedResourceMetadata {
    /// The identifier of the resource, byte for byte.
    pub resource: Option<String>,
    /// The issuers whose tokens it accepts, byte for byte.
    pub authorization_servers: Vec<String>,
    /// The scopes it supports.
    pub scopes_supported: Vec<String>,
    /// Whether it accepts only tokens that are bound to a key.
    pub requires_dpop: bool,
}

impl ProtectedResourceMetadata {
    /// Reads the document.
    #[must_use]
    pub fn from_json(document: &Map<String, Value>) -> Self {
        ProtectedResourceMetadata {
            resource: string_member(document, "resource"),
            authorization_servers: string_list_member(document, "authorization_servers").unwrap_or_default(),
            scopes_supported: string_list_member(document, "scopes_supported").unwrap_or_default(),
            requires_dpop: flag_member(document, "dpop_bound_access_tokens_required"),
        }
    }
}

/// The metadata of an authorization server (RFC 8414 §2, OpenID Connect Discovery §3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the member it is named after")]
pub struct AuthorizationServerMetadata {
    pub issuer: String,
    /// The issuer that the document names, if the user stated another, which is then `issuer`.
    pub declared_issuer: Option<String>,
    pub authorization_endpoint: Option<String>,
    pub token_endpoint: Option<String>,
    pub registration_endpoint: Option<String>,
    pub revocation_endpoint: Option<String>,
    pub device_authorization_endpoint: Option<String>,
    pub scopes_supported: Vec<String>,
    pub code_challenge_methods_supported: Option<Vec<String>>,
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    pub revocation_endpoint_auth_methods_supported: Option<Vec<String>>,
    pub authorization_response_iss_parameter_supported: bool,
    pub client_id_metadata_document_supported: bool,
    /// Assumed, because there is no metadata document (2025-03-26).
    pub is_assumed: bool,
}

impl AuthorizationServerMetadata {
    /// Reads the document; `None` if it names no issuer.
    #[must_use]
    pub fn from_json(document: &Map<String, Value>) -> Option<Self> {
        let flag = |name: &str| flag_member(document, name);
        Some(AuthorizationServerMetadata {
            issuer: string_member(document, "issuer")?,
            declared_issuer: None,
            authorization_endpoint: string_member(document, "authorization_endpoint"),
            token_endpoint: string_member(document, "token_endpoint"),
            registration_endpoint: string_member(document, "registration_endpoint"),
            revocation_endpoint: string_member(document, "revocation_endpoint"),
            device_authorization_endpoint: string_member(document, "device_authorization_endpoint"),
            scopes_supported: string_list_member(document, "scopes_supported").unwrap_or_default(),
            code_challenge_methods_supported: string_list_member(document, "code_challenge_methods_supported"),
            token_endpoint_auth_methods_supported: string_list_member(
                document,
                "token_endpoint_auth_methods_supported",
            ),
            revocation_endpoint_auth_methods_supported: string_list_member(
                document,
                "revocation_endpoint_auth_methods_supported",
            ),
            authorization_response_iss_parameter_supported: flag("authorization_response_iss_parameter_supported"),
            client_id_metadata_document_supported: flag("client_id_metadata_document_supported"),
            is_assumed: false,
        })
    }

    /// The endpoints of 2025-03-26 for a server without any metadata (`AUT-07`).
    #[must_use]
    pub fn assumed_for_origin(origin: &str) -> Self {
        let at = |path: &str| Some(format!("{origin}{path}"));
        AuthorizationServerMetadata {
            issuer: origin.to_owned(),
            authorization_endpoint: at("/authorize"),
            token_endpoint: at("/token"),
            registration_endpoint: at("/register"),
            is_assumed: true,
            ..AuthorizationServerMetadata::default()
        }
    }

    /// Its endpoints.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        [
            &self.authorization_endpoint,
            &self.token_endpoint,
            &self.registration_endpoint,
            &self.revocation_endpoint,
            &self.device_authorization_endpoint,
        ]
        .into_iter()
        .filter_map(Option::as_deref)
    }

    /// Whether it supports PKCE with S256; `None` if it does not say (`AUT-09`).
    #[must_use]
    pub fn supports_pkce_s256(&self) -> Option<bool> {
        let methods = self.code_challenge_methods_supported.as_ref()?;
        Some(methods.iter().any(|method| method == "S256"))
    }
}

/// A boolean; some servers write it as a string.
fn flag_member(document: &Map<String, Value>, name: &str) -> bool {
    document.get(name).is_some_and(|value| value == true || value == "true")
}

fn string_member(document: &Map<String, Value>, name: &str) -> Option<String> {
    document.get(name)?.as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned)
}

/// An array of strings; some servers write a single string instead.
fn string_list_member(document: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    match document.get(name)? {
        Value::Array(items) => Some(items.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect()),
        Value::String(words) => Some(words.split_whitespace().map(ToOwned::to_owned).collect()),
        _ => None,
    }
}

/// `https://host:port` of a URL.
#[must_use]
pub fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Where the metadata of the resource at `server` may be, in order (RFC 9728 §3.1, `AUT-03`).
#[must_use]
pub fn resource_metadata_urls(server: &Url) -> Vec<String> {
    let root = format!("{}/.well-known/oauth-protected-resource", origin(server));
    let path = server.path();
    if path == "/" && server.query().is_none() {
        return vec![root];
    }
    let path = if path == "/" { "" } else { path };
    let mut urls = Vec::new();
    if let Some(query) = server.query() {
        urls.push(format!("{root}{path}?{query}"));
    }
    // Many servers know the document only by its path.
    if !path.is_empty() {
        urls.push(format!("{root}{path}"));
    }
    urls.push(root);
    urls
}

/// Where the metadata of an issuer may be, in order and nowhere else (`AUT-05`).
///
/// # Errors
/// Why the issuer is invalid (RFC 8414 §2: https, without query and fragment; whether `http` is allowed is checked when
/// the request is made).
pub fn server_metadata_urls(issuer: &str) -> Result<Vec<String>, &'static str> {
    let url = Url::parse(issuer).map_err(|_| "it is not a URL")?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err("it is not an https URL");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has a query or a fragment");
    }
    let (origin, path) = (origin(&url), url.path().trim_end_matches('/'));
    let mut all = vec![
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{origin}/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        all.push(format!("{origin}{path}/.well-known/openid-configuration"));
    }
    Ok(all)
}

/// Whether a resource identifier fits the URL of the server: same origin, and the same path or one above it
/// (RFC 9728 §3.3 as MCP applies it, `AUT-04`). A slash at the end of the path makes no difference.
#[must_use]
pub fn resource_covers_server(resource: &str, server: &Url) -> bool {
    let Ok(url) = Url::parse(resource) else { return false };
    if url.origin() != server.origin() || !url.origin().is_tuple() || url.fragment().is_some() {
        return false;
    }
    if url.query().is_some() && url.query() != server.query() {
        return false;
    }
    let above = url.path().trim_end_matches('/');
    match server.path().strip_prefix(above) {
        Some(below) => below.is_empty() || below.starts_with('/'),
        None => false,
    }
}

/// The identifier of a server that names none: its URL without the parts that RFC 8707 §2 excludes, and without the
/// query, which often contains an API key.
#[must_use]
pub fn default_resource(server: &Url) -> String {
    let mut url = server.clone();
    url.set_fragment(None);
    url.set_query(None);
    // Neither can fail for http and https.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let bare = url.path() == "/";
    let text = String::from(url);
    if bare { text.trim_end_matches('/').to_owned() } else { text }
}

/// Whether metadata that names the issuer `found` belongs to `expected` (RFC 8414 §3.3, `AUT-06`).
///
/// Exact, except for the slash of an empty path, which deployed servers write inconsistently.
#[must_use]
pub fn is_same_issuer(expected: &str, found: &str) -> bool {
    fn bare(text: &str) -> Option<&str> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let (_, authority) = text.split_once("://")?;
        (!authority.contains(['/', '?', '#'])).then_some(text)
    }
    expected == found || matches!((bare(expected), bare(found)), (Some(one), Some(other)) if one == other)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn aut_03_resource_metadata_is_looked_for_at_the_path_and_then_at_the_root() {
        assert_eq!(
            resource_metadata_urls(&url("https://h:8443/a/mcp")),
            [
                "https://h:8443/.well-known/oauth-protected-resource/a/mcp",
                "https://h:8443/.well-known/oauth-protected-resource"
            ]
        );
        assert_eq!(resource_metadata_urls(&url("https://h/")), ["https://h/.well-known/oauth-protected-resource"]);
        assert_eq!(
            resource_metadata_urls(&url("https://h/?a=1#f"))[0],
            "https://h/.well-known/oauth-protected-resource?a=1"
        );
    }

    #[test]
    fn aut_05_server_metadata_is_looked_for_in_the_prescribed_order() {
        assert_eq!(
            server_metadata_urls("https://h/tenant1").unwrap(),
            [
                "https://h/.well-known/oauth-authorization-server/tenant1",
                "https://h/.well-known/openid-configuration/tenant1",
                "https://h/tenant1/.well-known/openid-configuration"
            ]
        );
        for issuer in ["https://h", "https://h/"] {
            assert_eq!(
                server_metadata_urls(issuer).unwrap(),
                ["https://h/.well-known/oauth-authorization-server", "https://h/.well-known/openid-configuration"]
            );
        }
        assert_eq!(server_metadata_urls("https://h/t/").unwrap(), server_metadata_urls("https://h/t").unwrap());
        for bad in ["h", "ftp://h/", "https://h/?a", "https://h/#a", ""] {
            assert!(server_metadata_urls(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn aut_04_a_resource_must_be_the_server_or_above_it() {
        let server = url("https://h/a/mcp?k=1");
        for good in
            ["https://h/a/mcp", "https://h/a/mcp/", "https://h/a", "https://h", "https://H:443/", "https://h/a/mcp?k=1"]
        {
            assert!(resource_covers_server(good, &server), "{good}");
        }
        for bad in [
            "https://evil.example.com/a/mcp",
            "http://h/a/mcp",
            "https://h:8443/a/mcp",
            "https://h/a/mc",
            "https://h/a/mcp/deeper",
            "https://h/a/mcp?k=2",
            "https://h/a/mcp#f",
            "https://h.evil/a/mcp",
            "https://h@evil/a/mcp",
            "data:,h",
            "h",
            "",
        ] {
            assert!(!resource_covers_server(bad, &server), "{bad}");
        }
    }

    #[test]
    fn aut_06_issuers_are_compared_exactly_but_for_the_slash_of_an_empty_path() {
        assert!(is_same_issuer("https://h/t", "https://h/t"));
        assert!(is_same_issuer("https://h/", "https://h"));
        assert!(is_same_issuer("https://h:1", "https://h:1/"));
        for (one, other) in [
            ("https://h/t", "https://h/t/"),
            ("https://h", "https://H"),
            ("https://h", "https://h:443"),
            ("https://h", "http://h"),
            ("https://h//", "https://h"),
            ("https://h", "https://evil"),
            ("h", "h/"),
        ] {
            assert!(!is_same_issuer(one, other), "{one} {other}");
        }
    }

    #[test]
    fn the_default_resource_is_the_server_url() {
        assert_eq!(default_resource(&url("HTTPS://u:p@H:443/mcp#x")), "https://h/mcp");
        assert_eq!(default_resource(&url("http://localhost:80/")), "http://localhost");
        assert_eq!(default_resource(&url("https://h/mcp/?key=k")), "https://h/mcp/");
    }

    #[test]
    fn identifiers_are_read_as_they_are_written() {
        let document = json!({"resource": "http://LOCALHOST:80", "authorization_servers": ["https://a/", 1, "b"],
            "scopes_supported": "x y"});
        let found = ProtectedResourceMetadata::from_json(document.as_object().unwrap());
        assert_eq!(found.resource.as_deref(), Some("http://LOCALHOST:80"));
        assert_eq!(found.authorization_servers, ["https://a/", "b"]);
        assert_eq!(found.scopes_supported, ["x", "y"]);
        assert_eq!(ProtectedResourceMetadata::from_json(&Map::new()), ProtectedResourceMetadata::default());
    }
}
