//! OAuth logins and stored credentials.

mod accounts;
mod bearer_sources;
mod client_authentication;
mod concurrent_logins;
mod credential_redaction;
mod credential_store;
mod dpop_nonces;
mod flows;
mod hostile_servers;
mod lenient_providers;
mod login;
mod login_discovery;
mod login_input;
mod login_settings;
mod metadata_checks;
mod redirect_uri;
mod registration;
mod resource_parameter;
mod store_failures;
mod token_refresh;
