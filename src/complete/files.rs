//! Completes files and directories inside a word, such as `name=@FILE`; shells only complete words that are paths.

/// A candidate and its description.
pub type Candidate = (String, String);

/// The files whose names begin with `current`, with `prefix` before each; a directory ends with a slash.
pub fn path_candidates(prefix: &str, current: &str) -> Vec<Candidate> {
    let Some(path) = current.strip_prefix(prefix) else { return Vec::new() };
    let (folder, begun) = path.rfind(std::path::is_separator).map_or(("", path), |at| path.split_at(at + 1));
    let Ok(entries) = std::fs::read_dir(if folder.is_empty() { "." } else { folder }) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let end = if entry.path().is_dir() { "/" } else { "" };
            // Hidden files are offered only after a dot was typed.
            let fits = name.starts_with(begun) && (begun.starts_with('.') || !name.starts_with('.'));
            fits.then(|| format!("{prefix}{folder}{name}{end}"))
        })
        .collect();
    names.sort();
    names.into_iter().map(|name| (name, String::new())).collect()
}
