//! Secrets that are longer than one entry of the keychain may be.
//!
//! A short secret is the entry itself. A long one lies in parts under names of their own, and the entry says
//! which: it is written last, so that a reader finds the old secret or the new one, never a mixture. Writers
//! of one secret take turns (the caller's lock) and use two sets of names alternately. Parts are written
//! upwards and deleted downwards, so that what a killed writer leaves is found by counting.

use sha2::{Digest, Sha256};

use super::vault::{Trouble, Vault};
use crate::hex::hex;

/// How an entry begins that only says where the parts are. No record of ours begins so, and one that did
/// would be stored in parts itself.
const MARK: &str = "mcpipe-parts:1:";

/// How often a reader looks again when a writer took the parts away under its eyes.
const LOOKS: usize = 4;

/// The two sets of names.
const SETS: [&str; 2] = ["a", "b"];

struct Manifest {
    set: &'static str,
    count: usize,
    /// SHA-256 of the whole, in hexadecimal.
    digest: String,
}

impl Manifest {
    fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.strip_prefix(MARK)?;
        let mut words = text.split(':');
        let set = words.next()?;
        let set = SETS.into_iter().find(|known| *known == set)?;
        let count = words.next()?.parse().ok()?;
        Some(Manifest { set, count, digest: words.next()?.to_owned() })
    }
}

fn part(name: &str, set: &str, number: usize) -> String {
    format!("{name}.{set}{number}")
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The secret under this name, put together.
pub fn get(vault: &dyn Vault, name: &str) -> Result<Option<Vec<u8>>, Trouble> {
    for _ in 0..LOOKS {
        let Some(entry) = vault.get(name)? else { return Ok(None) };
        if !entry.starts_with(MARK.as_bytes()) {
            return Ok(Some(entry));
        }
        let Some(manifest) = Manifest::read(&entry) else { break };
        let mut whole = Vec::new();
        for number in 0..manifest.count {
            match vault.get(&part(name, manifest.set, number))? {
                Some(bytes) => whole.extend(bytes),
                None => break,
            }
        }
        if digest(&whole) == manifest.digest {
            return Ok(Some(whole));
        }
    }
    Err(Trouble::Broken("parts of what is stored there are missing or damaged".to_owned()))
}

/// Stores a secret in place of the one that is there.
pub fn put(vault: &dyn Vault, name: &str, label: &str, secret: &[u8]) -> Result<(), Trouble> {
    if secret.len() <= vault.limit() && !secret.starts_with(MARK.as_bytes()) {
        vault.set(name, label, secret)?;
        return SETS.iter().try_for_each(|set| clear(vault, name, set, 0));
    }
    let before = vault.get(name)?.and_then(|entry| Manifest::read(&entry));
    let [set, other] = if before.is_some_and(|manifest| manifest.set == SETS[0]) { [SETS[1], SETS[0]] } else { SETS };
    let parts: Vec<&[u8]> = secret.chunks(vault.limit().max(1)).collect();
    for (number, bytes) in parts.iter().enumerate() {
        vault.set(&part(name, set, number), label, bytes)?;
    }
    let entry = format!("{MARK}{set}:{}:{}", parts.len(), digest(secret));
    vault.set(name, label, entry.as_bytes())?;
    clear(vault, name, set, parts.len())?;
    clear(vault, name, other, 0)
}

/// Deletes a secret; tells whether there was one.
pub fn delete(vault: &dyn Vault, name: &str) -> Result<bool, Trouble> {
    let was = vault.delete(name)?;
    SETS.iter().try_for_each(|set| clear(vault, name, set, 0))?;
    Ok(was)
}

/// Deletes the parts of one set from this number on, the last one first.
fn clear(vault: &dyn Vault, name: &str, set: &str, from: usize) -> Result<(), Trouble> {
    let mut end = from;
    while vault.get(&part(name, set, end))?.is_some() {
        end += 1;
    }
    for number in (from..end).rev() {
        vault.delete(&part(name, set, number))?;
    }
    Ok(())
}
