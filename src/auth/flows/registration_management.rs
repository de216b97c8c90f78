//! Deleting the registration of a client (RFC 7592 §2.3).

use crate::auth::credentials::{ClientManagement, Credentials};
use crate::auth::http_client::OAuthHttpClient;
use crate::config::oauth::OAuthSettings;

/// Deletes the clients that mcpipe registered for these credentials, where the authorization server allows that.
/// Returns whether it did.
pub async fn delete_registration(http: &OAuthHttpClient, settings: &OAuthSettings, credentials: &Credentials) -> bool {
    let mut is_deleted = false;
    for ClientManagement { url, token } in
        credentials.registered_clients().filter_map(|client| client.management.as_ref())
    {
        if settings.issuer.is_some() {
            http.allow_host(url);
        }
        match http.delete(url, token).await {
            Ok(200..300) => is_deleted = true,
            Ok(status) => http.trace().note(&format!("the registration of the client is kept (HTTP {status})")),
            Err(failure) => http.trace().note(&format!("the registration of the client is kept: {failure}")),
        }
    }
    is_deleted
}
