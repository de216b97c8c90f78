//! Secrets that are longer than one entry of the keychain may be.
//!
//! A short secret is the entry itself. A long one lies in parts under names of their own, and the entry says
//! which: it is written last, so that a reader finds the old secret or the new one, never a mixture. Writers
//! of one secret take turns (the caller's lock) and use two sets of names alternately. Parts are written
//! upwards and deleted downwards, so that what a killed writer leaves is found by counting.

use sha2::{Digest, Sha256};

use crate::auth::store::system_keychain::{KeychainBackend, KeychainError};
use crate::util::hex::hex;

/// How an entry begins that only says where the parts are. No record of ours begins so, and one that did
/// would be stored in parts itself.
const MANIFEST_PREFIX: &str = "mcpipe-parts:1:";

/// How often a reader looks again when a writer took the parts away under its eyes.
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

/// The secret under this name, put together.
pub fn read_chunked(vault: &dyn KeychainBackend, name: &str) -> Result<Option<Vec<u8>>, KeychainError> {
    for _ in 0..READ_ATTEMPTS {
        let Some(entry) = vault.get(name)? else { return Ok(None) };
        if !entry.starts_with(MANIFEST_PREFIX.as_bytes()) {
            return Ok(Some(entry));
        }
        let Some(manifest) = ChunkManifest::parse(&entry) else { break };
        let mut whole = Vec::new();
        for number in 0..manifest.count {
            match vault.get(&chunk_name(name, manifest.set, number))? {
                Some(bytes) => whole.extend(bytes),
                None => break,
            }
        }
        if sha256_hex(&whole) == manifest.digest {
            return Ok(Some(whole));
        }
    }
    Err(KeychainError::Unavailable("parts of what is stored there are missing or damaged".to_owned()))
}

/// Stores a secret in place of the one that is there.
pub fn write_chunked(vault: &dyn KeychainBackend, name: &str, label: &str, secret: &[u8]) -> Result<(), KeychainError> {
    if secret.len() <= vault.max_entry_bytes() && !secret.starts_with(MANIFEST_PREFIX.as_bytes()) {
        vault.set(name, label, secret)?;
        return CHUNK_SETS.iter().try_for_each(|set| delete_chunks_from(vault, name, set, 0));
    }
    let before = vault.get(name)?.and_then(|entry| ChunkManifest::parse(&entry));
    let [set, other] = if before.is_some_and(|manifest| manifest.set == CHUNK_SETS[0]) {
        [CHUNK_SETS[1], CHUNK_SETS[0]]
    } else {
        CHUNK_SETS
    };
    let parts: Vec<&[u8]> = secret.chunks(vault.max_entry_bytes().max(1)).collect();
    for (number, bytes) in parts.iter().enumerate() {
        vault.set(&chunk_name(name, set, number), label, bytes)?;
    }
    let entry = format!("{MANIFEST_PREFIX}{set}:{}:{}", parts.len(), sha256_hex(secret));
    vault.set(name, label, entry.as_bytes())?;
    delete_chunks_from(vault, name, set, parts.len())?;
    delete_chunks_from(vault, name, other, 0)
}

/// Deletes a secret; tells whether there was one.
pub fn delete_chunked(vault: &dyn KeychainBackend, name: &str) -> Result<bool, KeychainError> {
    let was = vault.delete(name)?;
    CHUNK_SETS.iter().try_for_each(|set| delete_chunks_from(vault, name, set, 0))?;
    Ok(was)
}

/// Deletes the parts of one set from this number on, the last one first.
fn delete_chunks_from(vault: &dyn KeychainBackend, name: &str, set: &str, from: usize) -> Result<(), KeychainError> {
    let mut end = from;
    while vault.get(&chunk_name(name, set, end))?.is_some() {
        end += 1;
    }
    for number in (from..end).rev() {
        vault.delete(&chunk_name(name, set, number))?;
    }
    Ok(())
}
