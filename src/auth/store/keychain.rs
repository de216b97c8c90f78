//! The keychain with its index and, where the choice is `auto`, the file beside it.
//!
//! Which of the two holds a record is a matter of dates: the later one counts. So whatever step a process is
//! killed at, what was written last is found. A refreshed token is never lost to a keychain that fails:
//! it goes to the file then.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Result;
use crate::secret::Secret;
use crate::transport::Boxed;

use super::file::{FileStore, lock_key};
use super::index::{Entry, Index};
use super::vault::{SYSTEM, Trouble};
use super::worker::Worker;
use super::{About, Guard, Places, Say, Store, lock, name_of, now, parts};

/// How long a writer waits for other writers of the same record; one of them may be waiting for a person.
const TURN_PATIENCE: Duration = Duration::from_secs(75);

/// The keychain store.
pub struct Keychain {
    worker: Worker,
    index: Index,
    file: Option<FileStore>,
    locks: PathBuf,
    say: Say,
}

/// Where a record is.
enum Place {
    Keychain,
    File,
    Nowhere,
}

impl Keychain {
    /// The keychain behind this worker, and a file for when it does not work.
    pub fn new(places: &Places, worker: Worker, file: Option<FileStore>, say: Say) -> Self {
        let index = Index::new(places, say.clone());
        Keychain { worker, index, file, locks: places.state_dir.join("locks"), say }
    }

    fn turn_path(&self, name: &str) -> PathBuf {
        self.locks.join(format!("{name}.write.lock"))
    }

    /// Writers of one record take turns. This is not the caller's lock, which may be held meanwhile.
    async fn turn(&self, key: &str) -> Result<Guard> {
        lock::take(&self.turn_path(&name_of(key)), TURN_PATIENCE, &format!("the stored credentials for {key}")).await
    }

    /// Where the record is, and when each copy of it was written (0: there is none).
    fn find(&self, key: &str) -> Result<(Place, u64, u64)> {
        let in_keychain = self.index.read()?.entries.get(key).map_or(0, |entry| entry.written.max(1));
        let in_file = match &self.file {
            Some(file) => file.dated(key)?.map_or(0, |(written, _)| written.max(1)),
            None => 0,
        };
        let place = match (in_keychain, in_file) {
            (0, 0) => Place::Nowhere,
            (keychain, file) if file > keychain => Place::File,
            _ => Place::Keychain,
        };
        Ok((place, in_keychain, in_file))
    }

    async fn read(&self, key: &str) -> Result<Option<Secret>> {
        match (self.find(key)?.0, &self.file) {
            (Place::Nowhere, _) => Ok(None),
            (Place::File, Some(file)) => Ok(file.dated(key)?.map(|(_, record)| record)),
            (Place::Keychain | Place::File, _) => {
                let name = name_of(key);
                let found = self.worker.read(move |vault| parts::get(vault, &name)).await;
                let Some(bytes) = found.map_err(|trouble| trouble.failure())? else { return Ok(None) };
                let text = String::from_utf8(bytes);
                let text =
                    text.map_err(|_| Trouble::Broken("what is stored there is not text".to_owned()).failure())?;
                Ok(Some(Secret::new(text)))
            }
        }
    }

    async fn write(&self, key: &str, about: &About, record: &Secret) -> Result<()> {
        let _turn = self.turn(key).await?;
        let (place, in_keychain, in_file) = self.find(key)?;
        let later = in_keychain.max(in_file);
        if let (Place::File, Some(file), false) = (place, &self.file, self.worker.has_person()) {
            // It went to the file for a reason. A script does not find out again whether that still holds.
            return file.put_later(key, about, record, later).await;
        }
        let name = name_of(key);
        if in_keychain == 0 {
            // Whoever ends us now leaves an entry that nothing leads to; this makes it be cleared away.
            let name = name.clone();
            self.index.change(|index| _ = index.left.insert(name)).await?;
        }
        match self.store(&name, about, record).await {
            Ok(()) => self.stored(key, about, later).await,
            Err(trouble) => match &self.file {
                Some(file) => self.fall_back(file, key, about, record, &trouble, later).await,
                None => Err(trouble.failure()),
            },
        }
    }

    async fn store(&self, name: &str, about: &About, record: &Secret) -> Result<(), Trouble> {
        let (name, record) = (name.to_owned(), record.clone());
        let resource = about.server.as_deref().unwrap_or(&about.resource);
        let label = format!("mcpipe: {resource}");
        self.worker.write(move |vault| parts::put(vault, &name, &label, record.reveal().as_bytes())).await
    }

    /// The keychain holds it: the index says so, and the file no longer does.
    async fn stored(&self, key: &str, about: &About, later: u64) -> Result<()> {
        let about = About { key: key.to_owned(), ..about.clone() };
        let entry = Entry { about, written: now().max(later + 1) };
        let before = self
            .index
            .change(|index| {
                index.entries.insert(key.to_owned(), entry);
                index.left.remove(&name_of(key));
                index.warned = false;
            })
            .await?;
        if let Some(file) = &self.file {
            file.remove(key).await?;
        }
        self.tidy(before.left).await;
        Ok(())
    }

    /// The keychain does not take it: it goes to the file, and the person hears so, once.
    async fn fall_back(
        &self,
        file: &FileStore,
        key: &str,
        about: &About,
        record: &Secret,
        trouble: &Trouble,
        later: u64,
    ) -> Result<()> {
        file.put_later(key, about, record, later).await.map_err(|failure| failure.cause(trouble.why()))?;
        let before = self
            .index
            .change(|index| {
                let was = index.entries.remove(key).is_some();
                if was || trouble.is_open() {
                    index.left.insert(name_of(key));
                } else {
                    index.left.remove(&name_of(key));
                }
                index.warned = true;
            })
            .await?;
        if !before.warned {
            let path = file.path().display();
            (self.say)(&format!(
                "cannot use {SYSTEM}: {}; credentials rest in {path}, which only you can read",
                trouble.why()
            ));
        }
        Ok(())
    }

    /// Deletes what was left in the keychain. It will be tried again when this fails.
    async fn tidy(&self, left: impl IntoIterator<Item = String>) {
        for name in left {
            // Whoever is writing it just now wants it there, and has said so by then in the index.
            let Ok(Some(_turn)) = lock::try_take(&self.turn_path(&name)) else { continue };
            if !self.index.read().is_ok_and(|index| index.left.contains(&name)) {
                continue;
            }
            let gone = name.clone();
            if self.worker.write(move |vault| parts::delete(vault, &gone)).await.is_err() {
                return;
            }
            let _ = self.index.change(|index| _ = index.left.remove(&name)).await;
        }
    }

    async fn remove(&self, key: &str) -> Result<bool> {
        let _turn = self.turn(key).await?;
        let contents = self.index.read()?;
        let indexed = contents.entries.contains_key(key);
        if indexed {
            let name = name_of(key);
            let gone = self.worker.write(move |vault| parts::delete(vault, &name)).await;
            gone.map_err(|trouble| trouble.failure())?;
            self.index.change(|index| _ = index.entries.remove(key)).await?;
            self.tidy(contents.left).await;
        }
        let filed = match &self.file {
            Some(file) => file.remove(key).await?,
            None => false,
        };
        Ok(indexed || filed)
    }

    /// Every record, with whether it rests in the file.
    fn all(&self) -> Result<BTreeMap<String, (bool, u64, About)>> {
        let mut all = BTreeMap::new();
        for (key, entry) in self.index.read()?.entries {
            all.insert(key, (false, entry.written, entry.about));
        }
        if let Some(file) = &self.file {
            for (key, (written, about)) in file.abouts()? {
                if all.get(&key).is_none_or(|(_, there, _)| written > *there) {
                    all.insert(key, (true, written, about));
                }
            }
        }
        Ok(all)
    }
}

impl Store for Keychain {
    fn get<'a>(&'a self, key: &'a str) -> Boxed<'a, Result<Option<Secret>>> {
        Box::pin(self.read(key))
    }

    fn put<'a>(&'a self, key: &'a str, about: &'a About, record: &'a Secret) -> Boxed<'a, Result<()>> {
        Box::pin(self.write(key, about, record))
    }

    fn delete<'a>(&'a self, key: &'a str) -> Boxed<'a, Result<bool>> {
        Box::pin(self.remove(key))
    }

    fn list(&self) -> Result<Vec<About>> {
        Ok(self.all()?.into_values().map(|(_, _, about)| about).collect())
    }

    fn place(&self) -> String {
        let (Some(file), Ok(all)) = (&self.file, self.all()) else { return SYSTEM.to_owned() };
        let path = file.path().display();
        match (all.values().any(|(filed, ..)| *filed), all.values().any(|(filed, ..)| !*filed)) {
            (true, true) => format!("{SYSTEM}, and some in {path}"),
            (true, false) => path.to_string(),
            (false, _) => SYSTEM.to_owned(),
        }
    }

    fn place_now(&self) -> Boxed<'_, String> {
        Box::pin(async move {
            if self.all().is_ok_and(|all| !all.is_empty()) {
                return self.place();
            }
            match (self.worker.read(|_| Ok(())).await, &self.file) {
                (Ok(()), _) => SYSTEM.to_owned(),
                (Err(_), Some(file)) => file.place(),
                (Err(trouble), None) => format!("{SYSTEM}, which cannot be used: {}", trouble.why()),
            }
        })
    }

    fn place_of(&self, key: &str) -> String {
        match (self.find(key), &self.file) {
            (Ok((Place::File, ..)), Some(file)) => file.place(),
            _ => SYSTEM.to_owned(),
        }
    }

    fn has_another_place(&self) -> bool {
        self.file.is_some()
    }

    fn lock<'a>(&'a self, key: &'a str) -> Boxed<'a, Result<Guard>> {
        Box::pin(lock_key(&self.locks, None, key))
    }
}
