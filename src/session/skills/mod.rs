//! Skills (SEP-2640): directories of instructions that a server offers as resources, each file with a digest.
//!
//! An entry from `skills/list` or `skills/get` is the complete manifest of a skill; files that are read later are
//! compared with it. A URI alone never makes a skill, only the server's manifest does.

pub mod frontmatter;

use std::collections::HashSet;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json::{member, parse_value};
use crate::protocol::views::{ListItem, ListKind};
use crate::protocol::{extension, method};
use crate::session::lists::CachePolicy;
use crate::session::mcp_session::Session;
use crate::session::operation::Operation;
use crate::session::request::RequestOutcome;
use crate::util::hex::hex;

/// The maximum number of files of a skill, and its maximum size in bytes, that every client must support (SEP-2640,
/// "Limits").
const MAX_FILES: usize = 512;
/// See [`MAX_FILES`].
const MAX_BYTES: u64 = 16 << 20;
/// The file that makes a directory a skill.
const SKILL_FILE_NAME: &str = "SKILL.md";
/// The maximum number of parent directories of a file to check for a skill.
const MAX_PARENT_LOOKUPS: usize = 16;

fn too_many_files(count: usize) -> String {
    format!("it has {count} files; {MAX_FILES} are the limit")
}

/// A file of a skill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkillFile {
    /// The URI of the resource.
    pub uri: String,
    digest: String,
    /// Its length in bytes.
    pub size: u64,
}

/// A skill, as its entry describes it.
#[derive(Clone, Debug)]
pub struct Skill {
    /// The URI of its `SKILL.md`.
    pub uri: String,
    /// Its name: the name of its directory.
    pub name: String,
    frontmatter: Value,
    /// Its files; `None` if the server generates them on request.
    pub files: Option<Vec<SkillFile>>,
}

impl Skill {
    /// Parses an entry.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if it is not a valid one.
    pub fn parse(entry: &Value) -> Result<Self> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str);
        let uri = text("uri").unwrap_or_default().to_owned();
        let bad = |why: String| invalid_skill(&uri, why);
        let root = uri.strip_suffix(SKILL_FILE_NAME).filter(|root| root.ends_with('/'));
        let Some(root) = root else { return Err(bad(format!("its URI does not end in /{SKILL_FILE_NAME}"))) };
        let frontmatter = entry.get("frontmatter").filter(|value| value.is_object());
        let Some(frontmatter) = frontmatter.cloned() else { return Err(bad("it has no frontmatter".into())) };
        let name = frontmatter.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let directory = root.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        if name.is_empty() || name != directory {
            return Err(bad(format!("its name is '{name}', but its directory '{directory}'")));
        }
        let files = match entry.get("resources") {
            Some(Value::String(word)) if word == "dynamic" => None,
            Some(Value::Array(files)) if files.len() > MAX_FILES => return Err(bad(too_many_files(files.len()))),
            Some(Value::Array(files)) => Some(files.iter().map(SkillFile::parse).collect::<Option<Vec<SkillFile>>>()),
            _ => return Err(bad("its 'resources' are neither a list of files nor \"dynamic\"".into())),
        };
        let files = match files {
            None => None,
            Some(None) => return Err(bad("a file has no URI, digest or size".into())),
            Some(Some(files)) => Some(files),
        };
        let mut seen = HashSet::new();
        for file in files.iter().flatten() {
            if !file.uri.starts_with(root) || file.uri.len() == root.len() {
                return Err(bad(format!("{} is not in its directory", file.uri)));
            }
            if !seen.insert(&file.uri) {
                return Err(bad(format!("{} is listed twice", file.uri)));
            }
        }
        if files.as_ref().is_some_and(|files| files.iter().all(|file| file.uri != uri)) {
            return Err(bad(format!("its {SKILL_FILE_NAME} is not among its files")));
        }
        Ok(Skill { name, frontmatter, files, uri })
    }

    /// The URI of its directory, with a slash at its end.
    #[must_use]
    pub fn root_uri(&self) -> &str {
        self.uri.strip_suffix(SKILL_FILE_NAME).unwrap_or(&self.uri)
    }

    /// Why it exceeds the limits, if it does.
    #[must_use]
    pub fn size_violation(&self) -> Option<String> {
        let files = self.files.as_deref().unwrap_or_default();
        let bytes = files.iter().map(|file| file.size).fold(0, u64::saturating_add);
        if files.len() > MAX_FILES {
            Some(too_many_files(files.len()))
        } else {
            (bytes > MAX_BYTES).then(|| format!("it has {bytes} bytes; {MAX_BYTES} are the limit"))
        }
    }

    /// Compares the content of a file with its entry. Dynamic files have no entry to compare with.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if it differs from the entry: it must not be used then.
    pub fn verify(&self, uri: &str, bytes: &[u8]) -> Result<()> {
        let bad = |why: String| content_mismatch(uri, why);
        if let Some(files) = &self.files {
            let Some(file) = files.iter().find(|file| file.uri == uri) else {
                return Err(bad(format!("it is not among the files of {}", self.uri)));
            };
            if u64::try_from(bytes.len()) != Ok(file.size) {
                return Err(bad(format!("it has {} bytes instead of {}", bytes.len(), file.size)));
            }
            let found = hex(&Sha256::digest(bytes));
            if file.digest.strip_prefix("sha256:") != Some(&found) {
                return Err(bad(format!("its digest is sha256:{found} instead of {}", file.digest)));
            }
        }
        if uri == self.uri {
            let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8 text".into()))?;
            frontmatter::compare(text, &self.frontmatter).map_err(|why| bad(format!("its frontmatter: {why}")))?;
        }
        Ok(())
    }
}

impl SkillFile {
    fn parse(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        Some(SkillFile { uri: text("uri")?, digest: text("digest")?, size: value.get("size")?.as_u64()? })
    }
}

fn invalid_skill(uri: &str, why: String) -> Failure {
    Failure::new(ErrorKind::Protocol, format!("the skill '{uri}' must not be used")).cause(why)
}

fn content_mismatch(uri: &str, why: String) -> Failure {
    Failure::new(ErrorKind::Protocol, format!("'{uri}' does not match what the server declared")).cause(why)
}

impl Session {
    /// Whether the server declares skills.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn offers_skills(&self) -> Result<bool> {
        let offered = self.declares_skills.get_or_try_init(async || {
            let discover = Operation::read_only(method::DISCOVER, Map::new()).with_extensions(&[extension::SKILLS]);
            let capabilities = self.session_info_from(discover).await?.server.capabilities.unwrap_or(Value::Null);
            let settings = capabilities.get("extensions").and_then(|all| all.get(extension::SKILLS));
            Ok(settings.is_some_and(|settings| !settings.is_null() && *settings != false))
        });
        offered.await.copied()
    }

    /// The skill that contains this file; `None` if the server knows none.
    ///
    /// # Errors
    /// When the server cannot be asked, or its entry must not be used.
    pub async fn find_skill_of_file(&self, uri: &str) -> Result<Option<Skill>> {
        if !self.offers_skills().await? {
            return Ok(None);
        }
        if uri.ends_with(&format!("/{SKILL_FILE_NAME}"))
            && let Some(skill) = self.get_skill(uri).await?
        {
            return Ok(Some(skill));
        }
        let entries = self.list(ListKind::Skills, CachePolicy::Bypass).await?.parsed_items();
        if let Some(entry) = innermost_skill(&entries, uri) {
            return Skill::parse(entry.value()).map(Some);
        }
        // A list need not be complete: the directories above are asked for one by one.
        let mut above = uri;
        for _ in 0..MAX_PARENT_LOOKUPS {
            let Some((directory, _)) = above.rsplit_once('/') else { break };
            if directory.ends_with('/') || !directory.contains("://") {
                break;
            }
            if let Some(skill) = self.get_skill(&format!("{directory}/{SKILL_FILE_NAME}")).await? {
                return Ok(Some(skill));
            }
            above = directory;
        }
        Ok(None)
    }

    /// `skills/get`; `None` where the server says that this is no skill.
    async fn get_skill(&self, uri: &str) -> Result<Option<Skill>> {
        let mut params = Map::new();
        params.insert("uri".into(), uri.into());
        let call = Operation::read_only(method::SKILLS_GET, params).with_extensions(&[extension::SKILLS]);
        match self.send(&call).await? {
            RequestOutcome::Result(result) => {
                let entry = member(&result, "skill").and_then(|raw| parse_value(raw.get()));
                let Some(skill) = entry.filter(Value::is_object).map(|entry| Skill::parse(&entry)).transpose()? else {
                    return Ok(None);
                };
                if skill.uri == uri {
                    Ok(Some(skill))
                } else {
                    Err(invalid_skill(&skill.uri, format!("{uri} was asked for")))
                }
            }
            RequestOutcome::Error(..) => Ok(None),
            reply => Err(self.failure_from(reply, method::SKILLS_GET)),
        }
    }
}

/// The entry of the innermost skill that has this file.
fn innermost_skill<'a>(entries: &'a [ListItem], uri: &str) -> Option<&'a ListItem> {
    let root = |entry: &ListItem| entry.uri().strip_suffix(SKILL_FILE_NAME).map_or(0, str::len);
    let inside = |entry: &&ListItem| {
        entry.uri().strip_suffix(SKILL_FILE_NAME).is_some_and(|root| root.ends_with('/') && uri.starts_with(root))
    };
    entries.iter().filter(inside).max_by_key(|entry| root(entry))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;
    use serde_json::value::RawValue;

    use super::*;

    const TEXT: &str = "---\nname: pdf\ndescription: Reads\n---\nbody\n";

    fn digest(text: &str) -> String {
        format!("sha256:{}", hex(&Sha256::digest(text)))
    }

    fn entry() -> Value {
        json!({"uri": "skill://a/pdf/SKILL.md", "frontmatter": {"name": "pdf", "description": "Reads"}, "resources": [
            {"uri": "skill://a/pdf/SKILL.md", "digest": digest(TEXT), "size": TEXT.len()},
            {"uri": "skill://a/pdf/x/y.txt", "digest": digest("y"), "size": 1}]})
    }

    #[test]
    fn an_invalid_entry_is_rejected() {
        assert_eq!(Skill::parse(&entry()).unwrap().root_uri(), "skill://a/pdf/");
        let dynamic = json!({"uri": "x://pdf/SKILL.md", "frontmatter": {"name": "pdf"}, "resources": "dynamic"});
        assert!(Skill::parse(&dynamic).unwrap().files.is_none());
        let change = |pointer: &str, value: Value| {
            let mut changed = entry();
            *changed.pointer_mut(pointer).unwrap() = value;
            Skill::parse(&changed).unwrap_err().to_string()
        };
        for (pointer, value, says) in [
            ("/uri", json!("skill://a/pdf/other.md"), "does not end in /SKILL.md"),
            ("/uri", json!("skill://a/docs/SKILL.md"), "but its directory 'docs'"),
            ("/frontmatter", Value::Null, "no frontmatter"),
            ("/resources", json!("later"), "neither a list of files nor"),
            ("/resources", json!([]), "not among its files"),
            ("/resources/1/size", json!("1"), "has no URI, digest or size"),
            ("/resources/1/uri", json!("skill://a/pdf2/y"), "not in its directory"),
            ("/resources/1/uri", json!("skill://a/pdf/SKILL.md"), "listed twice"),
        ] {
            let said = change(pointer, value);
            assert!(said.contains(says), "{pointer}: {said}");
        }
    }

    #[test]
    fn limits_are_those_of_the_specification() {
        let mut skill = Skill::parse(&entry()).unwrap();
        assert_eq!(skill.size_violation(), None);
        let file = SkillFile { uri: String::new(), digest: String::new(), size: MAX_BYTES };
        skill.files = Some(vec![file.clone()]);
        assert_eq!(skill.size_violation(), None);
        skill.files = Some(vec![SkillFile { size: 0, ..file.clone() }; MAX_FILES + 1]);
        assert!(skill.size_violation().is_some());
        skill.files = Some(vec![file, SkillFile { uri: String::new(), digest: String::new(), size: 1 }]);
        assert!(skill.size_violation().is_some());
    }

    #[test]
    fn a_manifest_with_too_many_files_is_rejected_before_its_files_are_looked_at() {
        let mut entry = entry();
        entry["resources"] = vec![Value::Null; MAX_FILES + 1].into();
        assert!(Skill::parse(&entry).unwrap_err().to_string().contains("it has 513 files; 512 are the limit"));
    }

    #[test]
    fn a_file_belongs_to_the_innermost_skill() {
        let entry = |uri: &str| ListItem::new(&RawValue::from_string(json!({ "uri": uri }).to_string()).unwrap());
        let entries = [entry("skill://a/SKILL.md"), entry("skill://a/b/SKILL.md"), entry("skill://abc")];
        let found = |uri: &str| innermost_skill(&entries, uri).map(ListItem::uri);
        assert_eq!(found("skill://a/b/c.txt"), Some("skill://a/b/SKILL.md"));
        assert_eq!(found("skill://a/bc.txt"), Some("skill://a/SKILL.md"));
        assert_eq!(found("skill://ab/c.txt"), None);
    }
}
