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

/// The programs in `PATH` whose names begin with `current`, or the files, if that is the beginning of a path.
pub fn program_candidates(current: &str) -> Vec<Candidate> {
    if current.contains(std::path::is_separator) || current.starts_with('.') {
        return path_candidates("", current);
    }
    // Without a letter there would be thousands.
    let path = std::env::var_os("PATH").filter(|_| !current.is_empty()).unwrap_or_default();
    let entries = std::env::split_paths(&path).filter_map(|directory| std::fs::read_dir(directory).ok()).flatten();
    let names = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        (name.starts_with(current) && is_executable(&entry.path())).then_some(name)
    });
    let sorted: std::collections::BTreeSet<String> = names.collect();
    sorted.into_iter().map(|name| (name, String::new())).collect()
}

#[cfg(unix)]
fn is_executable(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &std::path::Path) -> bool {
    path.is_file()
}
