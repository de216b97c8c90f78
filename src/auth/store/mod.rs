//! Where credentials are stored between runs: the system's keychain, or a file that only its owner can read.
//!
//! A store holds opaque records by key and knows nothing about OAuth. Three answers are distinguished: nothing is
//! stored (`None`), the store is locked, the store is broken (both
//! [`ErrorKind::Config`](crate::error::ErrorKind::Config), with different hints). No call waits indefinitely: the
//! keychain is accessed on a thread of its own with a deadline, locks have a timeout, and what a killed process held is
//! free at once.
//!
//! | module | what it does |
//! |---|---|
//! | `types` | what all stores have in common |
//! | `keychain_store` | the keychain with its index, and with a file as fallback if the choice is `auto` |
//! | `file_store` | the file |
//! | `keychain_worker` | the thread that accesses the keychain, and the deadlines |
//! | `system_keychain` | the system's keychain, blocking |
//! | `chunks` | secrets longer than one entry of the keychain may be |
//! | `keychain_index` | what the keychain contains, without opening it |
//! | `deferred` | a store whose choice is read from the configuration when something is stored |
//! | `null` | the store if there is no home directory |
//! | `named_secrets`, `entry_name` | secrets by name, which are not logins; names of entries |
//! | `private_file`, `lock` | private files, and locks across processes |

mod chunks;
mod deferred;
mod entry_name;
mod file_store;
mod keychain_index;
mod keychain_store;
mod keychain_worker;
mod lock;
pub mod named_secrets;
mod null;
mod private_file;
#[cfg(test)]
mod real_keyring_tests;
mod system_keychain;
#[cfg(test)]
mod tests;
mod types;

use std::sync::Arc;

pub use private_file::Notifier;
pub use types::{CredentialStore, CredentialSummary, StoreChoice, StorePaths};

/// Creates the store of this choice. Neither a file nor the keychain is opened yet.
///
/// `notifier` is called once when `auto` falls back to the file, and when permissions had to be tightened.
#[must_use]
pub fn open(choice: StoreChoice, paths: &StorePaths, notifier: Notifier) -> Arc<dyn CredentialStore> {
    let named_file = paths.credentials_file.clone();
    if named_file.is_some() || choice == StoreChoice::File {
        return Arc::new(file_store::FileStore::new(paths, named_file, notifier));
    }
    let file = (choice == StoreChoice::Auto).then(|| file_store::FileStore::new(paths, None, notifier.clone()));
    let timeouts = keychain_worker::KeychainTimeouts::new(paths.is_interactive);
    let worker = keychain_worker::KeychainWorker::new(system_keychain::system_keychain(), timeouts, notifier.clone());
    Arc::new(keychain_store::KeychainStore::new(paths, worker, file, notifier))
}

/// Creates the store of servers that are not configured: `choose` reads the user's choice when something is stored.
#[must_use]
pub fn open_deferred(
    paths: StorePaths,
    notifier: Notifier,
    choose: impl FnOnce() -> StoreChoice + Send + 'static,
) -> Arc<dyn CredentialStore> {
    let reader = open(StoreChoice::Auto, &paths, notifier.clone());
    let same = reader.clone();
    let open_writer = move || match choose() {
        // One store, so that the keychain is opened once.
        StoreChoice::Auto => (StoreChoice::Auto, same),
        choice => (choice, open(choice, &paths, notifier)),
    };
    Arc::new(deferred::DeferredStore::new(reader, Box::new(open_writer)))
}

/// The store if there is no home directory: nothing is stored, and storing fails.
#[must_use]
pub fn null_store() -> Arc<dyn CredentialStore> {
    Arc::new(null::NullStore)
}
