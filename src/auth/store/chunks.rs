//! Secrets that are longer than one entry of the keychain may be, stored in several entries.
//!
//! A short secret is stored in the entry itself. A long one is stored in chunks under other names, and the entry
//! contains their manifest: it is written last, so that a reader finds the old secret or the new one, never a mixture.
//! The caller locks a secret for writing, and two sets of names are used alternately. Chunks are written in ascending
//! and deleted in descending order, so that those of a killed writer are found by counting.

use sha2::{Digest, Sha256};

use crate::auth::store::system_keychain::{KeychainBackend, KeychainError};
use crate::util::hex::hex;

/// The prefix of a manifest. No record begins with it; one that did would be stored in chunks itself.
const MANIFEST_PREFIX: &str = "mcpipe-parts:1:";

/// The most attempts of a reader, if a writer deletes the chunks at the same time.
const READ_ATTEMPTS: usize = 4;

/// The two sets of names.
const CHUNK_SETS: [&str; 2] = ["a", "b"];

struct ChunkManifest {
    set: &'static str,
    count: usize,
    /// SHA-256 of the whole, in hexadecimal.
    digest: String,
}

impl ChunkManifest {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.strip_prefix(MANIFEST_PREFIX)?;
        let mut words = text.split(':');
        let set = words.next()?;
        let set = CHUNK_SETS.into_iter().find(|known| *known == set)?;
        let count = words.next()?.parse().ok()?;
        Some(ChunkManifest { set, count, digest: words.next()?.to_owned() })
    }
}

fn chunk_name(name: &str, set: &str, number: usize) -> String {
    format!("{name}.{set}{number}")
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Reads the secret under this name.
pub fn read_chunked(keychain: &dyn KeychainBackend, name: &str) -> Result<Option<Vec<u8>>, KeychainError> {
    for _ in 0..READ_ATTEMPTS {
        let Some(entry) = keychain.get(name)? else { return Ok(None) };
        if !entry.starts_with(MANIFEST_PREFIX.as_bytes()) {
            return Ok(Some(entry));
        }
        let Some(manifest) = ChunkManifest::parse(&entry) else { break };
        let mut whole = Vec::new();
        for number in 0..manifest.count {
            match keychain.get(&chunk_name(name, manifest.set, number))? {
                Some(bytes) => whole.extend(bytes),
                None => break,
            }
        }
        if sha256_hex(&whole) == manifest.digest {
            return Ok(Some(whole));
        }
    }
    Err(KeychainError::Unavailable("parts of the stored secret are missing or damaged".to_owned()))
}

/// Stores a secret, replacing the previous one.
pub fn write_chunked(
    keychain: &dyn KeychainBackend,
    name: &str,
    label: &str,
    secret: &[u8],
) -> Result<(), KeychainError> {
    if secret.len() <= keychain.max_entry_bytes() && !secret.starts_with(MANIFEST_PREFIX.as_bytes()) {
        keychain.set(name, label, secret)?;
        return CHUNK_SETS.iter().try_for_each(|set| delete_chunks_from(keychain, name, set, 0));
    }
    let before = keychain.get(name)?.and_then(|entry| ChunkManifest::parse(&entry));
    let [set, other] = if before.is_some_and(|manifest| manifest.set == CHUNK_SETS[0]) {
        [CHUNK_SETS[1], CHUNK_SETS[0]]
    } else {
        CHUNK_SETS
    };
    let parts: Vec<&[u8]> = secret.chunks(keychain.max_entry_bytes().max(1)).collect();
    for (number, bytes) in parts.iter().enumerate() {
        keychain.set(&chunk_name(name, set, number), label, bytes)?;
    }
    let entry = format!("{MANIFEST_PREFIX}{set}:{}:{}", parts.len(), sha256_hex(secret));
    keychain.set(name, label, entry.as_bytes())?;
    delete_chunks_from(keychain, name, set, parts.len())?;
    delete_chunks_from(keychain, name, other, 0)
}

/// Deletes a secret. Returns whether there was one.
pub fn delete_chunked(keychain: &dyn KeychainBackend, name: &str) -> Result<bool, KeychainError> {
    let was = keychain.delete(name)?;
    CHUNK_SETS.iter().try_for_each(|set| delete_chunks_from(keychain, name, set, 0))?;
    Ok(was)
}

/// Deletes the chunks of one set from this number on, the last one first.
fn delete_chunks_from(keychain: &dyn KeychainBackend, name: &str, set: &str, from: usize) -> Result<(), KeychainError> {
    let mut end = from;
    while keychain.get(&chunk_name(name, set, end))?.is_some() {
        end += 1;
    }
    for number in (from..end).rev() {
        keychain.delete(&chunk_name(name, set, number))?;
    }
    Ok(())
}
