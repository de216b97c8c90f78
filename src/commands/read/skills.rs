//! Skills: files verified against the digests of the server, and whole skills exported to a folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::commands::context::Context;
use crate::commands::read::resource::read_resource;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::content;
use crate::output::folder_export;
use crate::output::folder_export::FolderExport;
use crate::protocol::rpc::RawJson;
use crate::session::Session;
use crate::session::server_requests::ServerRequestLog;
use crate::session::skills::{Skill, SkillFile};

/// How many files of a skill are read at once.
const MAX_CONCURRENT_READS: usize = 8;

/// Whether the URI may be a file of a skill; only the server knows.
fn may_be_skill_uri(uri: &str) -> bool {
    uri.starts_with("skill:") || uri.ends_with("/SKILL.md")
}

/// Reads a resource; a file of a skill is returned only if it matches its digest. `log` is the log of the server's
/// requests during it, if it is not that of the session.
///
/// # Errors
/// When it cannot be read, or does not match its digest.
pub async fn read_verified(
    context: &Context,
    session: &Session,
    uri: &str,
    log: Option<&Arc<ServerRequestLog>>,
) -> Result<RawJson> {
    if !may_be_skill_uri(uri) || !session.offers_skills().await? {
        return read_resource(session, uri, log).await;
    }
    let skill = session.find_skill_of_file(uri).await?;
    if skill.as_ref().is_none_or(|skill| skill.files.is_none()) {
        context.ui.warn(&format!("cannot verify '{uri}': the server has no digest for it"));
    }
    match skill {
        Some(skill) => Ok(read_verified_file(session, &skill, uri, log).await?.0),
        None => read_resource(session, uri, log).await,
    }
}

/// One file of a skill, verified: the result as it came, and the bytes in it.
async fn read_verified_file(
    session: &Session,
    skill: &Skill,
    uri: &str,
    log: Option<&Arc<ServerRequestLog>>,
) -> Result<(RawJson, Vec<u8>)> {
    let result = read_resource(session, uri, log).await?;
    let bytes = content::resource_bytes(&result)?;
    skill.verify(uri, &bytes).map_err(|failure| {
        failure.hint("it may have changed in the meantime: try again; if that does not help, do not use the skill")
    })?;
    Ok((result, bytes))
}

/// A skill that was exported to a folder.
pub struct ExportedSkill {
    skill: String,
    folder: PathBuf,
    files: Vec<PathBuf>,
}

impl ExportedSkill {
    /// Prints the paths of its files, one per line, or as a JSON document.
    ///
    /// # Errors
    /// When they cannot be printed.
    pub fn print(&self, context: &Context) -> Result<()> {
        if context.ui.is_json() {
            return context.ui.print_json_value(&self.json());
        }
        self.files.iter().try_for_each(|path| context.ui.print_saved_path(path))
    }

    /// The skill, the folder and the files as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let names: Vec<_> = self.files.iter().map(|path| path.to_string_lossy()).collect();
        json!({"skill": self.skill, "directory": self.folder.to_string_lossy(), "files": names})
    }
}

/// Exports a whole skill to a new folder with its name in `directory`; `None` if the URI is not that of a skill.
///
/// Nothing is written unless every file matches its digest.
///
/// # Errors
/// When a file cannot be read, verified or written, or has a path that leads out of the folder.
pub async fn export(
    context: &Context,
    session: &Session,
    uri: &str,
    directory: &Path,
) -> Result<Option<ExportedSkill>> {
    if !may_be_skill_uri(uri) {
        return Ok(None);
    }
    let Some(skill) = session.find_skill_of_file(uri).await?.filter(|skill| skill.uri == uri) else { return Ok(None) };
    if let Some(why) = skill.size_violation() {
        return Err(Failure::new(ErrorKind::Refused, format!("refused to save the skill '{uri}'")).cause(why));
    }
    let dynamic = [skill.uri.clone()];
    let uris: Vec<&String> = match &skill.files {
        Some(files) => files.iter().map(|SkillFile { uri, .. }| uri).collect(),
        None => {
            context.ui.warn(&format!(
                "the server generates the files of '{uri}' dynamically: only SKILL.md is saved, unverified"
            ));
            dynamic.iter().collect()
        }
    };
    let place = |uri: &String| {
        let below = uri.strip_prefix(skill.root_uri()).unwrap_or_default();
        folder_export::relative_path(below).map_err(|why| {
            let what = format!("the skill '{}' has a file that cannot be written", skill.uri);
            Failure::new(ErrorKind::Refused, what).cause(format!("{uri}: {why}"))
        })
    };
    let mut files: Vec<(&String, PathBuf)> =
        uris.into_iter().map(|uri| Ok((uri, place(uri)?))).collect::<Result<_>>()?;
    // SKILL.md first: if it does not match its digest, nothing else is requested.
    files.sort_by_key(|(uri, _)| **uri != skill.uri);
    let mut export = FolderExport::new(directory, &skill.name)?;
    for some in split_after_first(&files).into_iter().flat_map(|part| part.chunks(MAX_CONCURRENT_READS)) {
        let read = join_all(some.iter().map(|(uri, _)| read_verified_file(session, &skill, uri, None))).await;
        for (result, (_, path)) in read.into_iter().zip(some) {
            export.add(path, &result?.1)?;
        }
    }
    let folder = export.finish()?;
    let files = files.iter().map(|(_, path)| folder.join(path)).collect();
    Ok(Some(ExportedSkill { skill: skill.uri.clone(), folder, files }))
}

fn split_after_first<T>(all: &[T]) -> [&[T]; 2] {
    let (first, rest) = all.split_at(all.len().min(1));
    [first, rest]
}
