//! What the stores promise, over a keychain in memory, and with many processes at once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod files;
mod processes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use crate::auth::store::entry_name::entry_name;
use crate::auth::store::file_store::FileStore;
use crate::auth::store::keychain_store::KeychainStore;
use crate::auth::store::keychain_worker::{KeychainTimeouts, KeychainWorker};
use crate::auth::store::system_keychain::{KeychainBackend, KeychainError, KeychainOpener};
use crate::error::{ErrorKind, Result};
use crate::secret::Secret;

/// A keychain in memory, shared by all that it opens.
#[derive(Clone, Default)]
pub struct MemoryKeychain(Arc<Mutex<MemoryKeychainState>>);

#[derive(Default)]
struct MemoryKeychainState {
    entries: BTreeMap<String, Vec<u8>>,
    limit: Option<usize>,
    open_count: usize,
    /// What every call answers.
    error: Option<KeychainError>,
    /// Only so many writes are done, then the process "is killed": all fail.
    writes_before_failure: Option<usize>,
    /// Every call hangs.
    is_hanging: bool,
}

impl MemoryKeychain {
    pub fn opener(&self) -> KeychainOpener {
        let memory = self.clone();
        Arc::new(move || {
            memory.0.lock().unwrap().open_count += 1;
            Ok(Box::new(memory.clone()))
        })
    }

    fn configure(&self, change: impl FnOnce(&mut MemoryKeychainState)) {
        change(&mut self.0.lock().unwrap());
    }

    /// Waits until no thread does anything in it any more: what was given up while it hung may still be done.
    /// All that opened it must be gone.
    fn wait_until_idle(&self) {
        let started = Instant::now();
        while Arc::strong_count(&self.0) > 1 {
            assert!(started.elapsed() < Duration::from_secs(20), "a thread still holds the keychain");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn entry_names(&self) -> Vec<String> {
        self.0.lock().unwrap().entries.keys().cloned().collect()
    }

    fn open_count(&self) -> usize {
        self.0.lock().unwrap().open_count
    }

    fn lock_state(&self) -> Result<std::sync::MutexGuard<'_, MemoryKeychainState>, KeychainError> {
        while self.0.lock().unwrap().is_hanging {
            std::thread::sleep(Duration::from_millis(5));
        }
        let inside = self.0.lock().unwrap();
        inside.error.clone().map_or(Ok(inside), Err)
    }
}

impl MemoryKeychainState {
    fn fail_if_due(&mut self) -> Result<(), KeychainError> {
        match &mut self.writes_before_failure {
            Some(0) => Err(KeychainError::Unavailable("killed".into())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl KeychainBackend for MemoryKeychain {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, KeychainError> {
        Ok(self.lock_state()?.entries.get(name).cloned())
    }
    fn set(&self, name: &str, label: &str, secret: &[u8]) -> Result<(), KeychainError> {
        let mut inside = self.lock_state()?;
        inside.fail_if_due()?;
        assert!(label.starts_with("mcpipe"), "{label}");
        assert!(inside.limit.is_none_or(|limit| secret.len() <= limit), "too long: {}", secret.len());
        inside.entries.insert(name.to_owned(), secret.to_vec());
        Ok(())
    }
    fn delete(&self, name: &str) -> Result<bool, KeychainError> {
        let mut inside = self.lock_state()?;
        inside.fail_if_due()?;
        Ok(inside.entries.remove(name).is_some())
    }
    fn max_entry_bytes(&self) -> usize {
        self.0.lock().unwrap().limit.unwrap_or(usize::MAX)
    }
}

pub fn recording_notifier() -> (Notifier, Arc<Mutex<Vec<String>>>) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let sink = said.clone();
    (Arc::new(move |text: &str| sink.lock().unwrap().push(text.to_owned())), said)
}

/// A machine: its directories, its keychain, what was said.
struct StoreTestEnv {
    dir: tempfile::TempDir,
    keychain: MemoryKeychain,
    notifier: Notifier,
    notices: Arc<Mutex<Vec<String>>>,
}

const KEY: &str = "https://mcp.example/ https://as.example";

impl StoreTestEnv {
    fn new() -> Self {
        let (say, said) = recording_notifier();
        StoreTestEnv {
            dir: tempfile::tempdir().unwrap(),
            keychain: MemoryKeychain::default(),
            notifier: say,
            notices: said,
        }
    }

    fn store_paths(&self) -> StorePaths {
        store_paths(self.dir.path())
    }

    /// A new run of mcpipe.
    fn open_store(&self, choice: StoreChoice, person: bool) -> KeychainStore {
        // Long where an answer is expected, since the machine that runs this may be busy.
        let time = Duration::from_millis(if self.keychain.0.lock().unwrap().is_hanging { 150 } else { 10_000 });
        let patience = KeychainTimeouts { connect: time, read: time, write: time, is_interactive: person };
        let worker = KeychainWorker::new(self.keychain.opener(), patience, self.notifier.clone());
        let file =
            (choice == StoreChoice::Auto).then(|| FileStore::new(&self.store_paths(), None, self.notifier.clone()));
        KeychainStore::new(&self.store_paths(), worker, file, self.notifier.clone())
    }

    fn open_auto_store(&self) -> KeychainStore {
        self.open_store(StoreChoice::Auto, true)
    }

    fn data_file(&self, name: &str) -> PathBuf {
        self.dir.path().join("data").join(name)
    }

    fn notice_count(&self) -> usize {
        self.notices.lock().unwrap().len()
    }
}

fn store_paths(root: &Path) -> StorePaths {
    StorePaths { data_dir: root.join("data"), state_dir: root.join("state"), ..StorePaths::default() }
}

fn summary(key: &str) -> CredentialSummary {
    CredentialSummary {
        key: key.into(),
        resource: "https://mcp.example/".into(),
        has_refresh: true,
        ..CredentialSummary::default()
    }
}

async fn put(store: &dyn CredentialStore, key: &str, text: &str) {
    store.put(key, &summary(key), &Secret::new(text)).await.unwrap();
}

async fn get(store: &dyn CredentialStore, key: &str) -> Option<String> {
    store.get(key).await.unwrap().map(|secret| secret.reveal().to_owned())
}

#[tokio::test]
async fn the_keychain_is_opened_only_if_the_index_has_the_key() {
    let machine = StoreTestEnv::new();
    assert_eq!(get(&machine.open_auto_store(), KEY).await, None);
    assert!(!machine.open_auto_store().delete(KEY).await.unwrap());
    assert_eq!(machine.open_auto_store().list().unwrap(), []);
    assert_eq!(machine.keychain.open_count(), 0);
    assert!(!machine.data_file("").exists(), "reading creates nothing");
    put(&machine.open_auto_store(), KEY, "one").await;
    assert_eq!(machine.keychain.open_count(), 1);
    assert_eq!(machine.open_auto_store().list().unwrap(), [summary(KEY)]);
    assert_eq!(get(&machine.open_auto_store(), "another key").await, None);
    assert_eq!(machine.keychain.open_count(), 1);
    assert_eq!(get(&machine.open_auto_store(), KEY).await.as_deref(), Some("one"));
    assert_eq!(machine.keychain.open_count(), 2);
    assert!(!machine.data_file("credentials.json").exists());
    let index = std::fs::read_to_string(machine.data_file("keychain.json")).unwrap();
    assert!(index.contains("https://mcp.example/") && !index.contains("one"), "{index}");
    assert!(machine.open_auto_store().delete(KEY).await.unwrap());
    assert_eq!((machine.open_auto_store().list().unwrap(), machine.keychain.entry_names()), (vec![], vec![]));
}

#[tokio::test]
async fn auto_falls_back_to_the_file_and_says_so_once() {
    let machine = StoreTestEnv::new();
    machine.keychain.configure(|inside| inside.error = Some(KeychainError::Unavailable("no bus".into())));
    put(&machine.open_auto_store(), KEY, "one").await;
    put(&machine.open_auto_store(), "second", "two").await;
    assert_eq!(machine.notice_count(), 1, "{:?}", machine.notices.lock().unwrap());
    let text = machine.notices.lock().unwrap()[0].clone();
    let path = machine.data_file("credentials.json");
    assert!(text.contains("no bus") && text.contains(path.to_str().unwrap()), "{text}");
    assert_eq!(machine.open_auto_store().location(), path.to_str().unwrap());
    assert_eq!(get(&machine.open_auto_store(), KEY).await.as_deref(), Some("one"));
    assert_eq!(machine.open_auto_store().list().unwrap().len(), 2);
    // A script leaves it where it is; a person's next login moves it, and clears the file.
    machine.keychain.configure(|inside| inside.error = None);
    put(&machine.open_store(StoreChoice::Auto, false), KEY, "three").await;
    assert_eq!(machine.keychain.entry_names().len(), 0);
    put(&machine.open_auto_store(), KEY, "four").await;
    assert_eq!(machine.keychain.entry_names().len(), 1);
    assert_eq!(get(&machine.open_auto_store(), KEY).await.as_deref(), Some("four"));
    assert!(!std::fs::read_to_string(&path).unwrap().contains("three"));
    assert!(machine.open_auto_store().location().contains("and some in"), "{}", machine.open_auto_store().location());
    assert_eq!(machine.open_auto_store().location_of("second"), path.to_str().unwrap());
    assert_eq!(machine.open_auto_store().location_of(KEY), system_keychain::KEYCHAIN_NAME);
    // It fails again: news again.
    machine.keychain.configure(|inside| inside.error = Some(KeychainError::Locked("asleep".into())));
    put(&machine.open_auto_store(), "third", "x").await;
    assert_eq!(machine.notice_count(), 2);
}

#[tokio::test]
async fn a_refreshed_token_survives_a_keychain_that_fails_meanwhile() {
    let machine = StoreTestEnv::new();
    put(&machine.open_auto_store(), KEY, "old").await;
    machine.keychain.configure(|inside| inside.is_hanging = true);
    put(&machine.open_store(StoreChoice::Auto, false), KEY, "rotated").await;
    machine.keychain.configure(|inside| inside.is_hanging = false);
    machine.keychain.wait_until_idle();
    assert_eq!(
        get(&machine.open_auto_store(), KEY).await.as_deref(),
        Some("rotated"),
        "not the old one in the keychain"
    );
    // What stayed behind in the keychain goes when it is next written to.
    put(&machine.open_auto_store(), "other", "x").await;
    assert_eq!(machine.keychain.entry_names(), [entry_name("other")]);
    assert_eq!(get(&machine.open_auto_store(), KEY).await.as_deref(), Some("rotated"));
}

#[tokio::test]
async fn not_stored_locked_and_unavailable_are_distinguished() {
    let machine = StoreTestEnv::new();
    let strict = || machine.open_store(StoreChoice::Keyring, false);
    assert_eq!(get(&strict(), KEY).await, None);
    put(&strict(), KEY, "one").await;
    let mut answers = Vec::new();
    for trouble in [KeychainError::Locked("dismissed".into()), KeychainError::Unavailable("no bus".into())] {
        machine.keychain.configure(|inside| inside.error = Some(trouble));
        for failure in [
            strict().get(KEY).await.unwrap_err(),
            strict().put(KEY, &summary(KEY), &Secret::new("two")).await.unwrap_err(),
            strict().delete(KEY).await.unwrap_err(),
        ] {
            assert_eq!(failure.kind(), ErrorKind::Config);
            assert!(failure.details().hint.is_some());
            answers.push(failure.details().message.clone());
        }
    }
    assert!(answers[..3].iter().all(|answer| answer.ends_with("is locked")), "{answers:?}");
    assert!(answers[3..].iter().all(|answer| answer.starts_with("cannot use")), "{answers:?}");
    assert!(!machine.data_file("credentials.json").exists(), "the choice was the keychain");
    machine.keychain.configure(|inside| (inside.error, inside.is_hanging) = (None, true));
    let started = Instant::now();
    let failure = strict().get(KEY).await.unwrap_err();
    assert!(failure.to_string().contains("is locked"), "{failure}");
    assert!(started.elapsed() < Duration::from_secs(2));
    machine.keychain.configure(|inside| inside.is_hanging = false);
    assert_eq!(get(&strict(), KEY).await.as_deref(), Some("one"));
}

#[tokio::test]
async fn the_null_store_is_empty_and_refuses_writes() {
    let store = null_store();
    assert_eq!(get(&*store, KEY).await, None);
    assert!(store.list().unwrap().is_empty() && !store.delete(KEY).await.unwrap());
    let _guard = store.lock(KEY).await.unwrap();
    let failure = store.put(KEY, &summary(KEY), &Secret::new("one")).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Config);
    assert!(failure.to_string().starts_with("no location"), "{failure}");
    assert_eq!(get(&*store, KEY).await, None);
}

#[tokio::test]
async fn an_interrupted_first_login_is_cleaned_up_later() {
    let machine = StoreTestEnv::new();
    let store = machine.open_store(StoreChoice::Keyring, false);
    machine.keychain.configure(|inside| inside.is_hanging = true);
    // Dropped while the keychain works, as Ctrl-C does.
    let record = Secret::new("half");
    let meta = summary(KEY);
    let dropped = tokio::time::timeout(Duration::from_millis(60), store.put(KEY, &meta, &record)).await;
    assert!(dropped.is_err());
    machine.keychain.configure(|inside| inside.is_hanging = false);
    while machine.keychain.entry_names().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let next = || machine.open_store(StoreChoice::Keyring, false);
    assert_eq!(get(&next(), KEY).await, None, "nothing is half stored");
    put(&next(), "other", "x").await;
    assert_eq!(machine.keychain.entry_names(), [entry_name("other")]);
}

#[tokio::test]
async fn concurrent_first_logins_do_not_delete_each_other() {
    let machine = StoreTestEnv::new();
    let stores: Vec<KeychainStore> = (0..20).map(|_| machine.open_store(StoreChoice::Keyring, true)).collect();
    let keys: Vec<String> = (0..20).map(|number| format!("key {number}")).collect();
    let all = stores.iter().zip(&keys).map(|(store, key)| put(store, key, key));
    futures_util::future::join_all(all).await;
    for key in &keys {
        assert_eq!(get(&machine.open_auto_store(), key).await.as_ref(), Some(key));
    }
    assert_eq!(machine.keychain.entry_names().len(), 20);
}

#[tokio::test]
async fn long_records_are_stored_in_chunks_and_leave_none_behind() {
    let machine = StoreTestEnv::new();
    machine.keychain.configure(|inside| inside.limit = Some(100));
    let long = |letter: &str, length: usize| letter.repeat(length);
    for (text, entries) in [("a", 1), (&long("b", 950), 11), (&long("c", 130), 3), (&long("é", 50), 1), ("d", 1)] {
        put(&machine.open_auto_store(), KEY, text).await;
        assert_eq!(get(&machine.open_auto_store(), KEY).await.as_deref(), Some(text));
        assert_eq!(machine.keychain.entry_names().len(), entries, "{} bytes", text.len());
    }
    put(&machine.open_auto_store(), KEY, &long("e", 300)).await;
    assert!(machine.open_auto_store().delete(KEY).await.unwrap());
    assert_eq!(machine.keychain.entry_names(), [""; 0]);
    // A record that looks like the list of its own parts is still only a record.
    put(&machine.open_auto_store(), KEY, "mcpipe-parts:1:a:0:x").await;
    assert_eq!(get(&machine.open_auto_store(), KEY).await.as_deref(), Some("mcpipe-parts:1:a:0:x"));
}

#[tokio::test]
async fn a_writer_killed_at_any_step_leaves_the_old_record_or_the_new_one() {
    let (old, new) = ("o".repeat(450), "n".repeat(250));
    for steps in 0.. {
        let machine = StoreTestEnv::new();
        machine.keychain.configure(|inside| inside.limit = Some(100));
        put(&machine.open_store(StoreChoice::Keyring, false), KEY, &old).await;
        machine.keychain.configure(|inside| inside.writes_before_failure = Some(steps));
        let outcome =
            machine.open_store(StoreChoice::Keyring, false).put(KEY, &summary(KEY), &Secret::new(&*new)).await;
        machine.keychain.configure(|inside| inside.writes_before_failure = None);
        let there = get(&machine.open_store(StoreChoice::Keyring, false), KEY).await.unwrap();
        assert!(there == old || there == new, "after {steps} steps");
        // The next writer clears up.
        put(&machine.open_store(StoreChoice::Keyring, false), KEY, &old).await;
        put(&machine.open_store(StoreChoice::Keyring, false), KEY, "short").await;
        assert_eq!(machine.keychain.entry_names(), [entry_name(KEY)], "after {steps} steps");
        if outcome.is_ok() {
            assert!(steps > 8, "{steps}");
            return;
        }
    }
}

#[tokio::test]
async fn damaged_chunks_are_an_error() {
    let machine = StoreTestEnv::new();
    machine.keychain.configure(|inside| inside.limit = Some(100));
    put(&machine.open_auto_store(), KEY, &"a record ".repeat(30)).await;
    let part = machine.keychain.entry_names().into_iter().find(|name| name.ends_with(".a1")).unwrap();
    machine.keychain.configure(|inside| drop(inside.entries.insert(part, b"something".to_vec())));
    let failure = machine.open_auto_store().get(KEY).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Config);
    assert!(failure.to_string().contains("damaged"), "{failure}");
}

#[tokio::test]
async fn a_damaged_file_or_index_is_named_and_never_overwritten() {
    let garbage = "{\"version\":1,\"records\":{\"k\":{\"secret-token";
    let later = r#"{"version":2,"everything":"else"}"#;
    for (name, text) in [("credentials.json", garbage), ("keychain.json", garbage), ("keychain.json", later)] {
        let machine = StoreTestEnv::new();
        let path = machine.data_file(name);
        std::fs::create_dir_all(machine.data_file("")).unwrap();
        std::fs::write(&path, text).unwrap();
        let store = machine.open_auto_store();
        let failures = [
            store.get(KEY).await.unwrap_err(),
            store.put(KEY, &summary(KEY), &Secret::new("x")).await.unwrap_err(),
            store.delete(KEY).await.unwrap_err(),
            store.list().unwrap_err(),
        ];
        for failure in failures {
            assert_eq!(failure.kind(), ErrorKind::Config);
            assert!(failure.to_string().contains(path.to_str().unwrap()), "{failure}");
            assert!(!format!("{failure} {:?}", failure.details()).contains("secret-token"));
            assert!(failure.details().hint.as_ref().unwrap().contains("mv "));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        assert_eq!(machine.keychain.entry_names(), [""; 0]);
        assert!(store.location().contains(system_keychain::KEYCHAIN_NAME));
    }
}

/// Runs this test binary again, for one test that plays a part.
pub fn spawn_test(test: &str, environment: &[(&str, &str)]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads", "1"]);
    command.envs(environment.iter().copied()).stdout(std::process::Stdio::null()).spawn().unwrap()
}
