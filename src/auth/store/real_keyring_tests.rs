//! A real Secret Service, and buses that fail in every way: each played by a process of its own, since the
//! bus is found through the environment. `tests/real/keyring.sh` runs those that need a keyring daemon.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(all(unix, not(target_vendor = "apple")))]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::tests::{recording_notifier, spawn_test};
use super::*;
use crate::auth::store::entry_name::entry_name;
use crate::auth::store::keychain_store::KeychainStore;
use crate::auth::store::keychain_worker::{KeychainTimeouts, KeychainWorker};
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;

const KEY: &str = "https://mcp.example/ https://as.example";

fn store_paths(person: bool) -> StorePaths {
    let root = PathBuf::from(std::env::var("STORE_ROOT").expect("is run by another test or tests/real/keyring.sh"));
    StorePaths {
        data_dir: root.join("data"),
        state_dir: root.join("state"),
        credentials_file: None,
        is_interactive: person,
    }
}

fn keyring_store(person: bool) -> Arc<dyn CredentialStore> {
    open(StoreChoice::Keyring, &store_paths(person), recording_notifier().0)
}

fn summary() -> CredentialSummary {
    CredentialSummary { key: KEY.into(), server: Some("example".into()), ..CredentialSummary::default() }
}

async fn put(store: &dyn CredentialStore, text: &str) -> Result<()> {
    store.put(KEY, &summary(), &Secret::new(text)).await
}

async fn get(store: &dyn CredentialStore) -> Result<Option<String>> {
    Ok(store.get(KEY).await?.map(|secret| secret.reveal().to_owned()))
}

/// What another program, which knows nothing of us, finds under this name.
fn secret_tool_lookup(name: &str) -> Option<String> {
    let mut command = Command::new("secret-tool");
    let found = command.args(["lookup", "service", "mcpipe", "username", name]).output().unwrap();
    found.status.success().then(|| String::from_utf8(found.stdout).unwrap())
}

#[tokio::test]
#[ignore = "needs an unlocked keyring: tests/real/keyring.sh"]
async fn unlocked() {
    let name = entry_name(KEY);
    assert_eq!(get(&*keyring_store(false)).await.unwrap(), None);
    put(&*keyring_store(false), "{\"access_token\":\"a1\"}").await.unwrap();
    assert_eq!(secret_tool_lookup(&name).as_deref(), Some("{\"access_token\":\"a1\"}"));
    assert_eq!(get(&*keyring_store(false)).await.unwrap().as_deref(), Some("{\"access_token\":\"a1\"}"));
    put(&*keyring_store(false), "two").await.unwrap();
    assert_eq!(secret_tool_lookup(&name).as_deref(), Some("two"), "replaced, not doubled");

    // Another program stores its own entry under our name, with one attribute more: ours still works.
    let doubled = Command::new("secret-tool")
        .args(["store", "--label=copy", "service", "mcpipe", "username", &name, "more", "x"])
        .stdin(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"copy")?;
            child.wait()
        });
    assert!(doubled.unwrap().success());
    assert!(get(&*keyring_store(false)).await.unwrap().is_some());
    put(&*keyring_store(false), "three").await.unwrap();
    assert_eq!(get(&*keyring_store(false)).await.unwrap().as_deref(), Some("three"));

    // In parts, as where the keychain limits the size.
    let worker = KeychainWorker::new(
        system_keychain::system_keychain_with_limit(100),
        KeychainTimeouts::new(false),
        recording_notifier().0,
    );
    let small = KeychainStore::new(&store_paths(false), worker, None, recording_notifier().0);
    let long = "0123456789".repeat(55);
    put(&small, &long).await.unwrap();
    assert_eq!(secret_tool_lookup(&format!("{name}.a5")).map(|part| part.len()), Some(50));
    assert_eq!(get(&*keyring_store(false)).await.unwrap(), Some(long));
    assert!(small.delete(KEY).await.unwrap());
    for gone in [name.clone(), format!("{name}.a0"), format!("{name}.a5")] {
        assert_eq!(secret_tool_lookup(&gone), None);
    }

    // And it is large where nothing limits it.
    let large = "x".repeat(200_000);
    put(&*keyring_store(false), &large).await.unwrap();
    assert_eq!(secret_tool_lookup(&name).map(|text| text.len()), Some(200_000));
    assert!(keyring_store(false).delete(KEY).await.unwrap());
    assert!(keyring_store(false).list().unwrap().is_empty());

    // Deleted behind our back: nothing is stored, which is no failure.
    put(&*keyring_store(false), "four").await.unwrap();
    assert!(Command::new("secret-tool").args(["clear", "service", "mcpipe"]).status().unwrap().success());
    assert_eq!(get(&*keyring_store(false)).await.unwrap(), None);
    assert!(keyring_store(false).delete(KEY).await.unwrap());
}

/// A secret by name lies under that name, where a person finds it, and beside the logins.
#[tokio::test]
#[ignore = "needs an unlocked keyring: tests/real/keyring.sh"]
async fn by_name() {
    put(&*keyring_store(false), "login").await.unwrap();
    named_secrets::put_secret(&*keyring_store(false), "CRM_KEY", &Secret::new("value")).await.unwrap();
    assert_eq!(secret_tool_lookup("secret-CRM_KEY").as_deref(), Some("value"));
    assert_eq!(named_secrets::get_secret(&*keyring_store(false), "CRM_KEY").await.unwrap(), Some(Secret::new("value")));
    assert_eq!(named_secrets::secret_names(&*keyring_store(false)).unwrap(), ["CRM_KEY"]);
    assert_eq!(named_secrets::login_summaries(&*keyring_store(false)).unwrap().len(), 1);
    assert!(named_secrets::delete_secret(&*keyring_store(false), "CRM_KEY").await.unwrap());
    assert_eq!(
        (secret_tool_lookup("secret-CRM_KEY"), named_secrets::secret_names(&*keyring_store(false)).unwrap().len()),
        (None, 0)
    );
    assert!(!named_secrets::delete_secret(&*keyring_store(false), "CRM_KEY").await.unwrap());
}

/// Twenty processes store and read at once, each its own record and one that is everybody's.
#[tokio::test]
#[ignore = "needs an unlocked keyring: tests/real/keyring.sh"]
async fn crowd() {
    let numbers: Vec<String> = (0..20).map(|number| format!("key {number}")).collect();
    let children: Vec<_> = numbers
        .iter()
        .map(|me| spawn_test("auth::store::real_keyring_tests::one_of_a_crowd", &[("STORE_ME", me)]))
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(keyring_store(false).list().unwrap().len(), 21);
    for me in &numbers {
        assert_eq!(keyring_store(false).get(me).await.unwrap(), Some(Secret::new(me.repeat(40))));
    }
    let all = get(&*keyring_store(false)).await.unwrap().unwrap();
    assert!(numbers.iter().any(|me| all == me.repeat(400)), "one whole record of somebody's");
}

#[tokio::test]
#[ignore = "needs an unlocked keyring: started by the test of concurrent processes"]
async fn one_of_a_crowd() {
    let me = std::env::var("STORE_ME").unwrap();
    keyring_store(false).put(&me, &summary(), &Secret::new(me.repeat(40))).await.unwrap();
    let worker = KeychainWorker::new(
        system_keychain::system_keychain_with_limit(500),
        KeychainTimeouts::new(false),
        recording_notifier().0,
    );
    let small = KeychainStore::new(&store_paths(false), worker, None, recording_notifier().0);
    put(&small, &me.repeat(400)).await.unwrap();
}

#[tokio::test]
#[ignore = "needs an unlocked keyring: tests/real/keyring.sh"]
async fn seed() {
    put(&*keyring_store(false), "seeded").await.unwrap();
}

fn assert_locked(failure: &Failure) {
    assert_eq!(failure.kind(), ErrorKind::Config);
    assert!(failure.to_string().contains("is locked"), "{failure}");
    assert!(failure.details().hint.as_ref().unwrap().contains("unlock"), "{failure}");
}

fn assert_broken(failure: &Failure) {
    assert_eq!(failure.kind(), ErrorKind::Config);
    assert!(failure.to_string().starts_with("cannot use"), "{failure}");
    assert!(!failure.details().causes.is_empty());
}

/// After `seed`, with the keyring locked and no user.
#[tokio::test]
#[ignore = "needs a locked keyring: tests/real/keyring.sh"]
async fn locked() {
    let started = Instant::now();
    assert_locked(&get(&*keyring_store(false)).await.unwrap_err());
    assert_locked(&put(&*keyring_store(false), "x").await.unwrap_err());
    assert_locked(&keyring_store(false).delete(KEY).await.unwrap_err());
    assert_eq!(keyring_store(false).list().unwrap().len(), 1, "what is there can be said nevertheless");
    // A new token still finds a place, and is the one that counts.
    let (say, said) = recording_notifier();
    let auto = open(StoreChoice::Auto, &store_paths(false), say);
    assert_locked(&get(&*auto).await.unwrap_err());
    put(&*auto, "in the file").await.unwrap();
    assert_eq!(get(&*auto).await.unwrap().as_deref(), Some("in the file"));
    assert_eq!(said.lock().unwrap().len(), 1);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

/// After `seed` and `locked`, with the keyring unlocked again.
#[tokio::test]
#[ignore = "needs a keyring unlocked again: tests/real/keyring.sh"]
async fn unlocked_again() {
    let auto = open(StoreChoice::Auto, &store_paths(true), recording_notifier().0);
    assert_eq!(get(&*auto).await.unwrap().as_deref(), Some("in the file"));
    put(&*auto, "back").await.unwrap();
    assert_eq!(secret_tool_lookup(&entry_name(KEY)).as_deref(), Some("back"));
    assert_eq!(get(&*auto).await.unwrap().as_deref(), Some("back"));
    assert!(
        !std::fs::read_to_string(store_paths(true).data_dir.join("credentials.json")).unwrap().contains("in the file")
    );
}

/// With a display on which the daemon prompts, and no user who answers: it would hang.
#[tokio::test]
#[ignore = "needs a locked keyring and a screen: tests/real/keyring.sh"]
async fn asked_and_unanswered() {
    let started = Instant::now();
    assert_locked(&get(&*keyring_store(false)).await.unwrap_err());
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(5), "{took:?}");
}

/// No bus, no service on it, or no keyring in it: an index leads to a keychain that is not there.
#[tokio::test]
#[ignore = "a part in the tests below, and in tests/real/keyring.sh"]
async fn broken() {
    let seed = KeychainWorker::new(
        super::tests::MemoryKeychain::default().opener(),
        KeychainTimeouts::new(false),
        recording_notifier().0,
    );
    put(&KeychainStore::new(&store_paths(false), seed, None, recording_notifier().0), "elsewhere").await.unwrap();
    let started = Instant::now();
    if std::env::var_os("STORE_EMPTY").is_none() {
        assert_broken(&get(&*keyring_store(false)).await.unwrap_err());
    }
    assert_broken(&put(&*keyring_store(false), "x").await.unwrap_err());
    let (say, said) = recording_notifier();
    let auto = open(StoreChoice::Auto, &store_paths(false), say);
    put(&*auto, "in the file").await.unwrap();
    put(&*auto, "in the file again").await.unwrap();
    assert_eq!(get(&*auto).await.unwrap().as_deref(), Some("in the file again"));
    assert_eq!(said.lock().unwrap().len(), 1);
    assert!(auto.location().ends_with("credentials.json"));
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
}

fn run_broken_test(bus: &str) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    let environment = [("STORE_ROOT", root), ("DBUS_SESSION_BUS_ADDRESS", bus), ("XDG_RUNTIME_DIR", root)];
    let started = Instant::now();
    let mut child = spawn_test("auth::store::real_keyring_tests::broken", &environment);
    assert!(child.wait().unwrap().success());
    assert!(started.elapsed() < Duration::from_secs(15), "a thread that hangs holds up the end");
    assert!(dir.path().join("data/credentials.json").exists(), "the part was played");
}

#[test]
fn no_bus_is_broken_at_once() {
    run_broken_test("unix:path=/nowhere/at/all");
}

#[test]
fn a_bus_that_never_answers_is_broken_within_its_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bus");
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        while let Ok(connection) = socket.accept() {
            open.push(connection);
        }
    });
    run_broken_test(&format!("unix:path={}", path.display()));
}
