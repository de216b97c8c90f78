//! The file store: a symbolic link of the user is followed and kept.

#[cfg(unix)]
mod unix {
    use super::super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn open_file_store(path: &Path, root: &Path) -> (Arc<dyn CredentialStore>, Arc<Mutex<Vec<String>>>) {
        let (say, said) = recording_notifier();
        let places = StorePaths { credentials_file: Some(path.to_owned()), ..store_paths(root) };
        (open(StoreChoice::Keyring, &places, say), said)
    }

    fn permission_bits(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().mode() & 0o777
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
}
