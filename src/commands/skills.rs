//! Skills: their files held against the digests that the server gives, and whole skills brought into a folder.

use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Context, read};
use crate::error::{Class, Failure, Result};
use crate::output::content;
use crate::output::export::{self, Export};
use crate::protocol::rpc::Raw;
use crate::session::Session;
use crate::session::skills::{File, Skill};

/// How many files of a skill are read at a time.
const AT_ONCE: usize = 8;

/// Whether it is worth asking the server whether this is a file of a skill. The URI says no more than that.
fn may_be_skill(uri: &str) -> bool {
    uri.starts_with("skill:") || uri.ends_with("/SKILL.md")
}

/// Reads a resource; a file of a skill is passed on only if it is what the server promised.
///
/// # Errors
/// When it cannot be read, or is not what was promised.
pub async fn read(context: &Context, session: &Session, uri: &str) -> Result<Raw> {
    if !may_be_skill(uri) || !session.offers_skills().await? {
        return read::one(session, uri).await;
    }
    let skill = session.skill_of(uri).await?;
    if skill.as_ref().is_none_or(|skill| skill.files.is_none()) {
        context.ui.warn(&format!("'{uri}' cannot be verified: the server gives no digest for it"));
    }
    match skill {
        Some(skill) => Ok(verified(session, &skill, uri).await?.0),
        None => read::one(session, uri).await,
    }
}

/// One file of a skill, verified: the result as it came, and the bytes in it.
async fn verified(session: &Session, skill: &Skill, uri: &str) -> Result<(Raw, Vec<u8>)> {
    let result = read::one(session, uri).await?;
    let bytes = content::bytes_of_contents(&result)?;
    skill.verify(uri, &bytes).map_err(|failure| {
        failure.hint("it may have changed meanwhile: try again; if that does not help, do not use the skill")
    })?;
    Ok((result, bytes))
}

/// A skill that was brought into a folder.
pub struct Exported {
    skill: String,
    folder: PathBuf,
    files: Vec<PathBuf>,
}

impl Exported {
    /// The names of its files, a line each, or all as a document.
    ///
    /// # Errors
    /// When they cannot be printed.
    pub fn print(&self, context: &Context) -> Result<()> {
        if context.ui.json() {
            return context.ui.json_value(&self.json());
        }
        self.files.iter().try_for_each(|path| context.ui.path(path))
    }

    /// The skill, the folder and the files as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let names: Vec<_> = self.files.iter().map(|path| path.to_string_lossy()).collect();
        json!({"skill": self.skill, "directory": self.folder.to_string_lossy(), "files": names})
    }
}

/// Brings a whole skill into a new folder of its name in `directory`, where the URI is that of a skill; `None` where
/// it is none.
///
/// Nothing is written unless every file is what the server promised.
///
/// # Errors
/// When a file cannot be read, verified or written, or has a name that leads out of the folder.
pub async fn export(context: &Context, session: &Session, uri: &str, directory: &Path) -> Result<Option<Exported>> {
    if !may_be_skill(uri) {
        return Ok(None);
    }
    let Some(skill) = session.skill_of(uri).await?.filter(|skill| skill.uri == uri) else { return Ok(None) };
    if let Some(why) = skill.too_large() {
        return Err(Failure::new(Class::Refused, format!("the skill '{uri}' is not taken")).cause(why));
    }
    let dynamic = [skill.uri.clone()];
    let uris: Vec<&String> = match &skill.files {
        Some(files) => files.iter().map(|File { uri, .. }| uri).collect(),
        None => {
            context
                .ui
                .warn(&format!("the files of '{uri}' are made up by the server: only SKILL.md is taken, unverified"));
            dynamic.iter().collect()
        }
    };
    let place = |uri: &String| {
        let below = uri.strip_prefix(skill.root()).unwrap_or_default();
        export::relative(below).map_err(|why| {
            let what = format!("the skill '{}' has a file that cannot be written", skill.uri);
            Failure::new(Class::Refused, what).cause(format!("{uri}: {why}"))
        })
    };
    let mut files: Vec<(&String, PathBuf)> =
        uris.into_iter().map(|uri| Ok((uri, place(uri)?))).collect::<Result<_>>()?;
    // Its SKILL.md first: where that is not what was promised, nothing else is asked for.
    files.sort_by_key(|(uri, _)| **uri != skill.uri);
    let mut export = Export::new(directory, &skill.name)?;
    for some in first_alone(&files).into_iter().flat_map(|part| part.chunks(AT_ONCE)) {
        let read = join_all(some.iter().map(|(uri, _)| verified(session, &skill, uri))).await;
        for (result, (_, path)) in read.into_iter().zip(some) {
            export.add(path, &result?.1)?;
        }
    }
    let folder = export.finish()?;
    let files = files.iter().map(|(_, path)| folder.join(path)).collect();
    Ok(Some(Exported { skill: skill.uri.clone(), folder, files }))
}

fn first_alone<T>(all: &[T]) -> [&[T]; 2] {
    let (first, rest) = all.split_at(all.len().min(1));
    [first, rest]
}
