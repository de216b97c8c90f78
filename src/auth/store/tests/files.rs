//! The file store: a careful reader, a writer that is never half done.

use super::*;

fn open_file_store(path: &Path, root: &Path) -> (Arc<dyn CredentialStore>, Arc<Mutex<Vec<String>>>) {
    let (say, said) = recording_notifier();
    let places = StorePaths { credentials_file: Some(path.to_owned()), ..store_paths(root) };
    (open(StoreChoice::Keyring, &places, say), said)
}

#[tokio::test]
async fn a_named_file_is_used_whatever_the_choice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("some/where.json");
    let (store, _) = open_file_store(&path, dir.path());
    assert_eq!(get(&*store, KEY).await, None);
    assert!(!path.parent().unwrap().exists());
    put(&*store, KEY, "{\"exact\":  1.0}").await;
    assert_eq!(get(&*store, KEY).await.as_deref(), Some("{\"exact\":  1.0}"), "byte for byte");
    assert_eq!(store.location(), path.to_str().unwrap());
    assert_eq!(store.list().unwrap(), [summary(KEY)]);
    assert!(store.delete(KEY).await.unwrap());
    assert!(!store.delete(KEY).await.unwrap());
    // `mktemp` makes an empty file: nothing is stored there.
    std::fs::write(&path, "\n").unwrap();
    assert_eq!(get(&*store, KEY).await, None);
    put(&*store, KEY, "x").await;
}

#[tokio::test]
async fn leftovers_of_a_killed_writer_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.json");
    std::fs::write(dir.path().join(".c.json.abc.new"), "a secret").unwrap();
    std::fs::write(dir.path().join(".other.json.abc.new"), "somebody else's").unwrap();
    put(&*open_file_store(&path, dir.path()).0, KEY, "x").await;
    assert!(!dir.path().join(".c.json.abc.new").exists());
    assert!(dir.path().join(".other.json.abc.new").exists());
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn permission_bits(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn files_are_0600_in_a_0700_directory() {
        let machine = StoreTestEnv::new();
        machine.keychain.configure(|inside| inside.error = Some(KeychainError::Unavailable("no bus".into())));
        std::fs::create_dir(machine.data_file("")).unwrap();
        std::fs::set_permissions(machine.data_file(""), std::fs::Permissions::from_mode(0o755)).unwrap();
        put(&machine.open_auto_store(), KEY, "x").await;
        assert_eq!(permission_bits(&machine.data_file("")), 0o700);
        for entry in std::fs::read_dir(machine.data_file("")).unwrap() {
            assert_eq!(permission_bits(&entry.unwrap().path()), 0o600);
        }
        assert_eq!(permission_bits(&machine.dir.path().join("state/locks")), 0o700);
    }

    #[tokio::test]
    async fn a_file_readable_by_others_is_restricted_with_a_notice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.json");
        let (store, said) = open_file_store(&path, dir.path());
        put(&*store, KEY, "x").await;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(get(&*store, KEY).await.as_deref(), Some("x"));
        assert_eq!(permission_bits(&path), 0o600);
        assert_eq!(get(&*store, KEY).await.as_deref(), Some("x"));
        assert_eq!(said.lock().unwrap().len(), 1, "{:?}", said.lock().unwrap());
    }

    #[tokio::test]
    async fn our_own_symlink_is_followed_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (link, real) = (dir.path().join("link.json"), dir.path().join("real.json"));
        symlink("real.json", &link).unwrap();
        let (store, _) = open_file_store(&link, dir.path());
        // It leads nowhere yet: nothing to read, and nothing is created where it happens to point.
        assert_eq!(get(&*store, KEY).await, None);
        let failure = store.put(KEY, &summary(KEY), &Secret::new("x")).await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Config);
        std::fs::write(&real, "").unwrap();
        put(&*store, KEY, "x").await;
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(std::fs::read_to_string(&real).unwrap().contains(KEY));
        assert_eq!(permission_bits(&real), 0o600);
    }

    #[tokio::test]
    async fn a_pipe_or_a_directory_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), dir.path()] {
            let (store, _) = open_file_store(path, dir.path());
            let failure = store.get(KEY).await.unwrap_err();
            assert_eq!(failure.kind(), ErrorKind::Config);
            assert!(failure.to_string().contains("not a regular file"), "{failure}");
        }
    }
}
