//! The directories offered to a server: those of `--root`, else those of the configuration.

use std::path::Path;

use crate::commands::context::Context;
use crate::error::{ErrorKind, Failure, Result};
use crate::session::client_handler::Root;
use crate::target::Target;

/// The roots to offer to a target.
///
/// # Errors
/// [`ErrorKind::Usage`], or [`ErrorKind::Config`] if the configuration names it, for a path that is not a directory.
pub fn roots(context: &Context, target: &Target) -> Result<Vec<Root>> {
    if context.global.roots.is_empty() {
        let failed = |word: &str| Failure::new(ErrorKind::Config, format!("cannot offer the configured root '{word}'"));
        return target.roots.iter().map(|word| parse_root(context, word, &failed(word))).collect();
    }
    let words = context.global.roots.iter().map(|word| word.to_string_lossy());
    let failed = |word: &str| Failure::new(ErrorKind::Usage, format!("cannot offer --root {word}"));
    words.map(|word| parse_root(context, &word, &failed(&word))).collect()
}

fn parse_root(context: &Context, word: &str, failed: &Failure) -> Result<Root> {
    if word.starts_with("file://") {
        return match url::Url::parse(word) {
            Ok(_) => Ok(Root { uri: word.to_owned(), name: None }),
            Err(error) => Err(failed.clone().caused_by(&error)),
        };
    }
    let here = context.env.cwd().unwrap_or_else(|| Path::new("/"));
    let path = here.join(context.env.expand_tilde(word));
    let hint = "name a directory that exists, or a file:// URI";
    let path = std::fs::canonicalize(&path).map_err(|error| failed.clone().caused_by(&error).hint(hint))?;
    let uri = if path.is_dir() { url::Url::from_directory_path(&path).ok() } else { None };
    let uri = uri.ok_or_else(|| failed.clone().cause("not a directory").hint(hint))?;
    let uri = uri.as_str().trim_end_matches('/');
    // The root directory keeps its slash: without it there is no path.
    let uri = if uri == "file:" { "file:///".to_owned() } else { uri.to_owned() };
    Ok(Root { uri, name: path.file_name().map(|name| name.to_string_lossy().into_owned()) })
}
