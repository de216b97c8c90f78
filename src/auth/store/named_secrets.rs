//! Secrets by name: what the configuration refers to as `${keychain:NAME}`. They rest where logins rest, and
//! are kept apart from them: no login looks at them, and `auth logout --all` leaves them alone.

use crate::error::Result;
use crate::secret::Secret;

use super::{CredentialStore, CredentialSummary};

/// How the keys of these begin; those of logins begin with a URL.
const KEY_PREFIX: &str = "secret:";

/// The account under which the keychain has it, where the key is that of a secret by name: a person finds it there.
pub(super) fn keychain_account(key: &str) -> Option<String> {
    key.strip_prefix(KEY_PREFIX).map(|name| format!("secret-{name}"))
}

fn store_key(name: &str) -> String {
    format!("{KEY_PREFIX}{name}")
}

fn secret_name(about: &CredentialSummary) -> Option<&str> {
    about.key.strip_prefix(KEY_PREFIX)
}

/// The secret of this name.
///
/// # Errors
/// [`ErrorKind::Config`](crate::error::ErrorKind::Config): the store is locked, or broken.
pub async fn get_secret(store: &dyn CredentialStore, name: &str) -> Result<Option<Secret>> {
    store.get(&store_key(name)).await
}

/// Stores a secret under this name, in place of the one that is there.
///
/// # Errors
/// As [`get_secret`].
pub async fn put_secret(store: &dyn CredentialStore, name: &str, secret: &Secret) -> Result<()> {
    let key = store_key(name);
    let _guard = store.lock(&key).await?;
    let about = CredentialSummary { resource: format!("secret {name}"), ..CredentialSummary::default() };
    store.put(&key, &about, secret).await
}

/// Deletes the secret of this name; tells whether there was one.
///
/// # Errors
/// As [`get_secret`].
pub async fn delete_secret(store: &dyn CredentialStore, name: &str) -> Result<bool> {
    let key = store_key(name);
    let _guard = store.lock(&key).await?;
    store.delete(&key).await
}

/// The names of all secrets, in order. Opens no keychain.
///
/// # Errors
/// [`ErrorKind::Config`](crate::error::ErrorKind::Config): the index or the file cannot be read.
pub fn secret_names(store: &dyn CredentialStore) -> Result<Vec<String>> {
    Ok(store.list()?.iter().filter_map(secret_name).map(str::to_owned).collect())
}

/// Where the secret of this name rests, for people.
#[must_use]
pub fn location(store: &dyn CredentialStore, name: &str) -> String {
    store.location_of(&store_key(name))
}

/// Everything in the store that is a login.
///
/// # Errors
/// As [`secret_names`].
pub fn login_summaries(store: &dyn CredentialStore) -> Result<Vec<CredentialSummary>> {
    Ok(store.list()?.into_iter().filter(|about| secret_name(about).is_none()).collect())
}
