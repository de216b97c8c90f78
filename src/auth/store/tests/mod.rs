//! What the stores promise, over a keychain in memory, and with many processes at once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod files;
mod processes;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::file::FileStore;
use super::keychain::Keychain;
use super::vault::{Opener, Trouble, Vault};
use super::worker::{Patience, Worker};
use super::*;
use crate::error::Class;

/// A keychain in memory, shared by all that it opens.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    entries: BTreeMap<String, Vec<u8>>,
    limit: Option<usize>,
    opened: usize,
    /// What every call answers.
    trouble: Option<Trouble>,
    /// Only so many writes are done, then the process "is killed": all fail.
    writes_left: Option<usize>,
    /// Every call hangs for ever.
    hangs: bool,
}

impl Memory {
    pub fn opener(&self) -> Opener {
        let memory = self.clone();
        Arc::new(move || {
            memory.0.lock().unwrap().opened += 1;
            Ok(Box::new(memory.clone()))
        })
    }

    fn set(&self, change: impl FnOnce(&mut Inside)) {
        change(&mut self.0.lock().unwrap());
    }

    /// Waits until no thread does anything in it any more: what was given up while it hung may still be done.
    /// All that opened it must be gone.
    fn settles(&self) {
        let started = Instant::now();
        while Arc::strong_count(&self.0) > 1 {
            assert!(started.elapsed() < Duration::from_secs(20), "a thread still holds the keychain");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().entries.keys().cloned().collect()
    }

    fn opened(&self) -> usize {
        self.0.lock().unwrap().opened
    }

    fn enter(&self) -> Result<std::sync::MutexGuard<'_, Inside>, Trouble> {
        while self.0.lock().unwrap().hangs {
            std::thread::sleep(Duration::from_millis(5));
        }
        let inside = self.0.lock().unwrap();
        inside.trouble.clone().map_or(Ok(inside), Err)
    }
}

impl Inside {
    fn write(&mut self) -> Result<(), Trouble> {
        match &mut self.writes_left {
            Some(0) => Err(Trouble::Broken("killed".into())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Vault for Memory {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Trouble> {
        Ok(self.enter()?.entries.get(name).cloned())
    }
    fn set(&self, name: &str, label: &str, secret: &[u8]) -> Result<(), Trouble> {
        let mut inside = self.enter()?;
        inside.write()?;
        assert!(label.starts_with("mcpipe"), "{label}");
        assert!(inside.limit.is_none_or(|limit| secret.len() <= limit), "too long: {}", secret.len());
        inside.entries.insert(name.to_owned(), secret.to_vec());
        Ok(())
    }
    fn delete(&self, name: &str) -> Result<bool, Trouble> {
        let mut inside = self.enter()?;
        inside.write()?;
        Ok(inside.entries.remove(name).is_some())
    }
    fn limit(&self) -> usize {
        self.0.lock().unwrap().limit.unwrap_or(usize::MAX)
    }
}

pub fn heard() -> (Say, Arc<Mutex<Vec<String>>>) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let sink = said.clone();
    (Arc::new(move |text: &str| sink.lock().unwrap().push(text.to_owned())), said)
}

/// A machine: its directories, its keychain, what was said.
struct Machine {
    dir: tempfile::TempDir,
    memory: Memory,
    say: Say,
    said: Arc<Mutex<Vec<String>>>,
}

const KEY: &str = "https://mcp.example/ https://as.example";

impl Machine {
    fn new() -> Self {
        let (say, said) = heard();
        Machine { dir: tempfile::tempdir().unwrap(), memory: Memory::default(), say, said }
    }

    fn places(&self) -> Places {
        places(self.dir.path())
    }

    /// A new run of mcpipe.
    fn run(&self, choice: Choice, person: bool) -> Keychain {
        // Long where an answer is expected, since the machine that runs this may be busy.
        let time = Duration::from_millis(if self.memory.0.lock().unwrap().hangs { 150 } else { 10_000 });
        let patience = Patience { connect: time, read: time, write: time, person };
        let worker = Worker::new(self.memory.opener(), patience, self.say.clone());
        let file = (choice == Choice::Auto).then(|| FileStore::new(&self.places(), None, self.say.clone()));
        Keychain::new(&self.places(), worker, file, self.say.clone())
    }

    fn auto(&self) -> Keychain {
        self.run(Choice::Auto, true)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("data").join(name)
    }

    fn said(&self) -> usize {
        self.said.lock().unwrap().len()
    }
}

fn places(root: &Path) -> Places {
    Places { data_dir: root.join("data"), state_dir: root.join("state"), ..Places::default() }
}

fn about(key: &str) -> About {
    About { key: key.into(), resource: "https://mcp.example/".into(), has_refresh: true, ..About::default() }
}

async fn put(store: &dyn Store, key: &str, text: &str) {
    store.put(key, &about(key), &Secret::new(text)).await.unwrap();
}

async fn get(store: &dyn Store, key: &str) -> Option<String> {
    store.get(key).await.unwrap().map(|secret| secret.reveal().to_owned())
}

#[tokio::test]
async fn the_keychain_is_opened_only_when_the_index_leads_there() {
    let machine = Machine::new();
    assert_eq!(get(&machine.auto(), KEY).await, None);
    assert!(!machine.auto().delete(KEY).await.unwrap());
    assert_eq!(machine.auto().list().unwrap(), []);
    assert_eq!(machine.memory.opened(), 0);
    assert!(!machine.path("").exists(), "reading creates nothing");
    put(&machine.auto(), KEY, "one").await;
    assert_eq!(machine.memory.opened(), 1);
    assert_eq!(machine.auto().list().unwrap(), [about(KEY)]);
    assert_eq!(get(&machine.auto(), "another key").await, None);
    assert_eq!(machine.memory.opened(), 1);
    assert_eq!(get(&machine.auto(), KEY).await.as_deref(), Some("one"));
    assert_eq!(machine.memory.opened(), 2);
    assert!(!machine.path("credentials.json").exists());
    let index = std::fs::read_to_string(machine.path("keychain.json")).unwrap();
    assert!(index.contains("https://mcp.example/") && !index.contains("one"), "{index}");
    assert!(machine.auto().delete(KEY).await.unwrap());
    assert_eq!((machine.auto().list().unwrap(), machine.memory.names()), (vec![], vec![]));
}

#[tokio::test]
async fn auto_falls_back_to_the_file_and_says_so_once() {
    let machine = Machine::new();
    machine.memory.set(|inside| inside.trouble = Some(Trouble::Broken("no bus".into())));
    put(&machine.auto(), KEY, "one").await;
    put(&machine.auto(), "second", "two").await;
    assert_eq!(machine.said(), 1, "{:?}", machine.said.lock().unwrap());
    let text = machine.said.lock().unwrap()[0].clone();
    let path = machine.path("credentials.json");
    assert!(text.contains("no bus") && text.contains(path.to_str().unwrap()), "{text}");
    assert_eq!(machine.auto().place(), path.to_str().unwrap());
    assert_eq!(get(&machine.auto(), KEY).await.as_deref(), Some("one"));
    assert_eq!(machine.auto().list().unwrap().len(), 2);
    // A script leaves it where it is; a person's next login moves it, and clears the file.
    machine.memory.set(|inside| inside.trouble = None);
    put(&machine.run(Choice::Auto, false), KEY, "three").await;
    assert_eq!(machine.memory.names().len(), 0);
    put(&machine.auto(), KEY, "four").await;
    assert_eq!(machine.memory.names().len(), 1);
    assert_eq!(get(&machine.auto(), KEY).await.as_deref(), Some("four"));
    assert!(!std::fs::read_to_string(&path).unwrap().contains("three"));
    assert!(machine.auto().place().contains("and some in"), "{}", machine.auto().place());
    assert_eq!(machine.auto().place_of("second"), path.to_str().unwrap());
    assert_eq!(machine.auto().place_of(KEY), vault::SYSTEM);
    // It fails again: news again.
    machine.memory.set(|inside| inside.trouble = Some(Trouble::Locked("asleep".into())));
    put(&machine.auto(), "third", "x").await;
    assert_eq!(machine.said(), 2);
}

#[tokio::test]
async fn a_refreshed_token_survives_a_keychain_that_fails_meanwhile() {
    let machine = Machine::new();
    put(&machine.auto(), KEY, "old").await;
    machine.memory.set(|inside| inside.hangs = true);
    put(&machine.run(Choice::Auto, false), KEY, "rotated").await;
    machine.memory.set(|inside| inside.hangs = false);
    machine.memory.settles();
    assert_eq!(get(&machine.auto(), KEY).await.as_deref(), Some("rotated"), "not the old one in the keychain");
    // What stayed behind in the keychain goes when it is next written to.
    put(&machine.auto(), "other", "x").await;
    assert_eq!(machine.memory.names(), [name_of("other")]);
    assert_eq!(get(&machine.auto(), KEY).await.as_deref(), Some("rotated"));
}

#[tokio::test]
async fn nothing_locked_and_broken_are_three_answers() {
    let machine = Machine::new();
    let strict = || machine.run(Choice::Keyring, false);
    assert_eq!(get(&strict(), KEY).await, None);
    put(&strict(), KEY, "one").await;
    let mut answers = Vec::new();
    for trouble in [Trouble::Locked("dismissed".into()), Trouble::Broken("no bus".into())] {
        machine.memory.set(|inside| inside.trouble = Some(trouble));
        for failure in [
            strict().get(KEY).await.unwrap_err(),
            strict().put(KEY, &about(KEY), &Secret::new("two")).await.unwrap_err(),
            strict().delete(KEY).await.unwrap_err(),
        ] {
            assert_eq!(failure.class(), Class::Config);
            assert!(failure.details().hint.is_some());
            answers.push(failure.details().message.clone());
        }
    }
    assert!(answers[..3].iter().all(|answer| answer.ends_with("is locked")), "{answers:?}");
    assert!(answers[3..].iter().all(|answer| answer.starts_with("cannot use")), "{answers:?}");
    assert!(!machine.path("credentials.json").exists(), "the choice was the keychain");
    machine.memory.set(|inside| (inside.trouble, inside.hangs) = (None, true));
    let started = Instant::now();
    let failure = strict().get(KEY).await.unwrap_err();
    assert!(failure.to_string().contains("is locked"), "{failure}");
    assert!(started.elapsed() < Duration::from_secs(2));
    machine.memory.set(|inside| inside.hangs = false);
    assert_eq!(get(&strict(), KEY).await.as_deref(), Some("one"));
}

#[tokio::test]
async fn without_a_place_nothing_is_stored_and_storing_says_so() {
    let store = nowhere();
    assert_eq!(get(&*store, KEY).await, None);
    assert!(store.list().unwrap().is_empty() && !store.delete(KEY).await.unwrap());
    let _guard = store.lock(KEY).await.unwrap();
    let failure = store.put(KEY, &about(KEY), &Secret::new("one")).await.unwrap_err();
    assert_eq!(failure.class(), Class::Config);
    assert!(failure.to_string().starts_with("there is no place"), "{failure}");
    assert_eq!(get(&*store, KEY).await, None);
}

#[tokio::test]
async fn an_interrupted_first_login_leaves_nothing_for_good() {
    let machine = Machine::new();
    let store = machine.run(Choice::Keyring, false);
    machine.memory.set(|inside| inside.hangs = true);
    // Dropped while the keychain works, as Ctrl-C does.
    let record = Secret::new("half");
    let meta = about(KEY);
    let dropped = tokio::time::timeout(Duration::from_millis(60), store.put(KEY, &meta, &record)).await;
    assert!(dropped.is_err());
    machine.memory.set(|inside| inside.hangs = false);
    while machine.memory.names().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let next = || machine.run(Choice::Keyring, false);
    assert_eq!(get(&next(), KEY).await, None, "nothing is half stored");
    put(&next(), "other", "x").await;
    assert_eq!(machine.memory.names(), [name_of("other")]);
}

#[tokio::test]
async fn first_logins_at_once_do_not_clear_away_each_other() {
    let machine = Machine::new();
    let stores: Vec<Keychain> = (0..20).map(|_| machine.run(Choice::Keyring, true)).collect();
    let keys: Vec<String> = (0..20).map(|number| format!("key {number}")).collect();
    let all = stores.iter().zip(&keys).map(|(store, key)| put(store, key, key));
    futures_util::future::join_all(all).await;
    for key in &keys {
        assert_eq!(get(&machine.auto(), key).await.as_ref(), Some(key));
    }
    assert_eq!(machine.memory.names().len(), 20);
}

#[tokio::test]
async fn long_records_lie_in_parts_and_leave_none_behind() {
    let machine = Machine::new();
    machine.memory.set(|inside| inside.limit = Some(100));
    let long = |letter: &str, length: usize| letter.repeat(length);
    for (text, entries) in [("a", 1), (&long("b", 950), 11), (&long("c", 130), 3), (&long("é", 50), 1), ("d", 1)] {
        put(&machine.auto(), KEY, text).await;
        assert_eq!(get(&machine.auto(), KEY).await.as_deref(), Some(text));
        assert_eq!(machine.memory.names().len(), entries, "{} bytes", text.len());
    }
    put(&machine.auto(), KEY, &long("e", 300)).await;
    assert!(machine.auto().delete(KEY).await.unwrap());
    assert_eq!(machine.memory.names(), [""; 0]);
    // A record that looks like the list of its own parts is still only a record.
    put(&machine.auto(), KEY, "mcpipe-parts:1:a:0:x").await;
    assert_eq!(get(&machine.auto(), KEY).await.as_deref(), Some("mcpipe-parts:1:a:0:x"));
}

#[tokio::test]
async fn a_writer_killed_at_any_step_leaves_the_old_record_or_the_new_one() {
    let (old, new) = ("o".repeat(450), "n".repeat(250));
    for steps in 0.. {
        let machine = Machine::new();
        machine.memory.set(|inside| inside.limit = Some(100));
        put(&machine.run(Choice::Keyring, false), KEY, &old).await;
        machine.memory.set(|inside| inside.writes_left = Some(steps));
        let outcome = machine.run(Choice::Keyring, false).put(KEY, &about(KEY), &Secret::new(&*new)).await;
        machine.memory.set(|inside| inside.writes_left = None);
        let there = get(&machine.run(Choice::Keyring, false), KEY).await.unwrap();
        assert!(there == old || there == new, "after {steps} steps");
        // The next writer clears up.
        put(&machine.run(Choice::Keyring, false), KEY, &old).await;
        put(&machine.run(Choice::Keyring, false), KEY, "short").await;
        assert_eq!(machine.memory.names(), [name_of(KEY)], "after {steps} steps");
        if outcome.is_ok() {
            assert!(steps > 8, "{steps}");
            return;
        }
    }
}

#[tokio::test]
async fn damaged_parts_are_broken_not_garbage() {
    let machine = Machine::new();
    machine.memory.set(|inside| inside.limit = Some(100));
    put(&machine.auto(), KEY, &"a record ".repeat(30)).await;
    let part = machine.memory.names().into_iter().find(|name| name.ends_with(".a1")).unwrap();
    machine.memory.set(|inside| drop(inside.entries.insert(part, b"something".to_vec())));
    let failure = machine.auto().get(KEY).await.unwrap_err();
    assert_eq!(failure.class(), Class::Config);
    assert!(failure.to_string().contains("damaged"), "{failure}");
}

#[tokio::test]
async fn a_broken_file_or_index_is_named_and_never_overwritten() {
    let garbage = "{\"version\":1,\"records\":{\"k\":{\"secret-token";
    let later = r#"{"version":2,"everything":"else"}"#;
    for (name, text) in [("credentials.json", garbage), ("keychain.json", garbage), ("keychain.json", later)] {
        let machine = Machine::new();
        let path = machine.path(name);
        std::fs::create_dir_all(machine.path("")).unwrap();
        std::fs::write(&path, text).unwrap();
        let store = machine.auto();
        let failures = [
            store.get(KEY).await.unwrap_err(),
            store.put(KEY, &about(KEY), &Secret::new("x")).await.unwrap_err(),
            store.delete(KEY).await.unwrap_err(),
            store.list().unwrap_err(),
        ];
        for failure in failures {
            assert_eq!(failure.class(), Class::Config);
            assert!(failure.to_string().contains(path.to_str().unwrap()), "{failure}");
            assert!(!format!("{failure} {:?}", failure.details()).contains("secret-token"));
            assert!(failure.details().hint.as_ref().unwrap().contains("mv "));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        assert_eq!(machine.memory.names(), [""; 0]);
        assert!(store.place().contains(vault::SYSTEM));
    }
}

/// Runs this test binary again, for one test that plays a part.
pub fn again(test: &str, environment: &[(&str, &str)]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads", "1"]);
    command.envs(environment.iter().copied()).stdout(std::process::Stdio::null()).spawn().unwrap()
}
