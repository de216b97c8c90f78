//! Many processes at once lose nothing.

use super::*;

fn required_variable(name: &str) -> String {
    std::env::var(name).expect("is run by another test only")
}

const ADD: &str = "auth::store::tests::processes::part_add";

/// Adds a record to a file, and one to an index.
#[tokio::test]
#[ignore = "a part in twenty_processes_lose_nothing"]
async fn part_add() {
    let (root, me) = (PathBuf::from(required_variable("STORE_ROOT")), required_variable("STORE_ME"));
    let file = open(StoreChoice::File, &store_paths(&root), recording_notifier().0);
    put(&*file, &me, &format!("record of {me}")).await;
    let patience = KeychainTimeouts::new(false);
    let worker = KeychainWorker::new(MemoryKeychain::default().opener(), patience, recording_notifier().0);
    let indexed = KeychainStore::new(&store_paths(&root), worker, None, recording_notifier().0);
    put(&indexed, &me, "x").await;
}

#[tokio::test]
async fn twenty_processes_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    let children: Vec<Child> =
        (0..20).map(|n| spawn_test(ADD, &[("STORE_ROOT", root), ("STORE_ME", &format!("key {n}"))])).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let file = open(StoreChoice::File, &store_paths(dir.path()), recording_notifier().0);
    assert_eq!(file.list().unwrap().len(), 20);
    for n in 0..20 {
        assert_eq!(get(&*file, &format!("key {n}")).await.unwrap(), format!("record of key {n}"));
    }
    let worker =
        KeychainWorker::new(MemoryKeychain::default().opener(), KeychainTimeouts::new(false), recording_notifier().0);
    let indexed = KeychainStore::new(&store_paths(dir.path()), worker, None, recording_notifier().0);
    assert_eq!(indexed.list().unwrap().len(), 20);
}
