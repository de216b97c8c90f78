//! Secrets by name: what the configuration refers to as `${keychain:NAME}`. They rest where logins rest, and
//! are kept apart from them: no login looks at them, and `auth logout --all` leaves them alone.

use crate::error::Result;
use crate::secret::Secret;

use super::{About, Store};

/// How the keys of these begin; those of logins begin with a URL.
const PREFIX: &str = "secret:";

/// The account under which the keychain has it, where the key is that of a secret by name: a person finds it there.
pub(super) fn account(key: &str) -> Option<String> {
    key.strip_prefix(PREFIX).map(|name| format!("secret-{name}"))
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn name(about: &About) -> Option<&str> {
    about.key.strip_prefix(PREFIX)
}

/// The secret of this name.
///
/// # Errors
/// [`Class::Config`](crate::error::Class::Config): the store is locked, or broken.
pub async fn get(store: &dyn Store, name: &str) -> Result<Option<Secret>> {
    store.get(&key(name)).await
}

/// Stores a secret under this name, in place of the one that is there.
///
/// # Errors
/// As [`get`].
pub async fn put(store: &dyn Store, name: &str, secret: &Secret) -> Result<()> {
    let key = key(name);
    let _guard = store.lock(&key).await?;
    let about = About { resource: format!("secret {name}"), ..About::default() };
    store.put(&key, &about, secret).await
}

/// Deletes the secret of this name; tells whether there was one.
///
/// # Errors
/// As [`get`].
pub async fn delete(store: &dyn Store, name: &str) -> Result<bool> {
    let key = key(name);
    let _guard = store.lock(&key).await?;
    store.delete(&key).await
}

/// The names of all secrets, in order. Opens no keychain.
///
/// # Errors
/// [`Class::Config`](crate::error::Class::Config): the index or the file cannot be read.
pub fn names(store: &dyn Store) -> Result<Vec<String>> {
    Ok(store.list()?.iter().filter_map(name).map(str::to_owned).collect())
}

/// Where the secret of this name rests, for people.
#[must_use]
pub fn place(store: &dyn Store, name: &str) -> String {
    store.place_of(&key(name))
}

/// Everything in the store that is a login.
///
/// # Errors
/// As [`names`].
pub fn logins(store: &dyn Store) -> Result<Vec<About>> {
    Ok(store.list()?.into_iter().filter(|about| name(about).is_none()).collect())
}
