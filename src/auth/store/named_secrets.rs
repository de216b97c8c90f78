//! Secrets by name, which the configuration refers to as `${keychain:NAME}`. They are stored where logins are, but are
//! separate from them: `auth logout --all` does not remove them.

use crate::auth::store::entry_name::{secret_key, secret_name};
use crate::auth::store::types::{CredentialStore, CredentialSummary};
use crate::error::Result;
use crate::secret::Secret;

/// The secret of this name.
///
/// # Errors
/// [`ErrorKind::Config`](crate::error::ErrorKind::Config): the store is locked, or broken.
pub async fn get_secret(store: &dyn CredentialStore, name: &str) -> Result<Option<Secret>> {
    store.get(&secret_key(name)).await
}

/// Stores a secret under this name, replacing the previous one.
///
/// # Errors
/// As [`get_secret`].
pub async fn put_secret(store: &dyn CredentialStore, name: &str, secret: &Secret) -> Result<()> {
    let key = secret_key(name);
    let _guard = store.lock(&key).await?;
    let about = CredentialSummary { resource: format!("secret {name}"), ..CredentialSummary::default() };
    store.put(&key, &about, secret).await
}

/// Deletes the secret of this name. Returns whether there was one.
///
/// # Errors
/// As [`get_secret`].
pub async fn delete_secret(store: &dyn CredentialStore, name: &str) -> Result<bool> {
    let key = secret_key(name);
    let _guard = store.lock(&key).await?;
    store.delete(&key).await
}

/// The names of all secrets, in order. Does not open the keychain.
///
/// # Errors
/// [`ErrorKind::Config`](crate::error::ErrorKind::Config): the index or the file cannot be read.
pub fn secret_names(store: &dyn CredentialStore) -> Result<Vec<String>> {
    Ok(store.list()?.iter().filter_map(|summary| secret_name(&summary.key)).map(str::to_owned).collect())
}

/// Where the secret of this name is stored, for users.
#[must_use]
pub fn location(store: &dyn CredentialStore, name: &str) -> String {
    store.location_of(&secret_key(name))
}

/// The logins in the store.
///
/// # Errors
/// As [`secret_names`].
pub fn login_summaries(store: &dyn CredentialStore) -> Result<Vec<CredentialSummary>> {
    Ok(store.list()?.into_iter().filter(|summary| secret_name(&summary.key).is_none()).collect())
}
