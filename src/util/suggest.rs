//! Suggests names that are similar to a misspelled one.

use std::cmp::Reverse;

/// The most names that are suggested for one word.
const MAX_SUGGESTIONS: usize = 3;

/// The candidates that are similar to `word`, the most similar first, at most `MAX_SUGGESTIONS`.
///
/// Names that differ only in letter case, dashes and underscores come first (`maxItems` for `--max-items`),
/// then those with a few typing errors, then those that begin or end with the word.
#[must_use]
pub fn nearest_names<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = normalize(word);
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<(Reverse<u32>, &'a str)> = Vec::new();
    for name in candidates {
        if name != word
            && let Some(score) = similarity(&wanted, &normalize(name))
            && !found.iter().any(|(_, other)| *other == name)
        {
            found.push((Reverse(score), name));
        }
    }
    found.sort();
    found.into_iter().take(MAX_SUGGESTIONS).map(|(_, name)| name).collect()
}

/// The candidate that is most similar to `word`.
#[must_use]
pub fn nearest_name<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_names(word, candidates).first().copied()
}

/// `did you mean a?`, `did you mean a or b?`; `None` if nothing is similar.
#[must_use]
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    did_you_mean_one_of(&nearest_names(word, candidates))
}

/// `did you mean a or b?` for names that were already found; `None` if there are none.
#[must_use]
pub fn did_you_mean_one_of(names: &[&str]) -> Option<String> {
    // A question mark after a URI would be copied with it.
    let space = if names.last()?.contains(':') { " " } else { "" };
    Some(format!("did you mean {}{space}?", names.join(" or ")))
}

/// The word in lower case and without separators.
fn normalize(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}

/// How similar two normalized names are, in thousandths; `None` if too little for a suggestion.
fn similarity(wanted: &str, name: &str) -> Option<u32> {
    if wanted == name {
        return Some(1000);
    }
    let longest = wanted.chars().count().max(name.chars().count());
    let errors = strsim::osa_distance(wanted, name);
    // One error in three letters, two in six, at most three: beyond that the similarity is accidental.
    if errors <= (longest / 3).clamp(1, 3) && errors < longest {
        return Some(900 - 100 * u32::try_from(errors).unwrap_or(9));
    }
    let (short, long) = if wanted.len() < name.len() { (wanted, name) } else { (name, wanted) };
    (short.chars().count() >= 3 && (long.starts_with(short) || long.ends_with(short))).then_some(300)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_names_come_first() {
        let names = ["query", "limit", "maxItems", "max_items", "title", "queries"];
        assert_eq!(nearest_names("qeury", names), ["query"]);
        assert_eq!(nearest_names("querie", names), ["queries", "query"]);
        assert_eq!(nearest_names("--max-items", names), ["maxItems", "max_items"]);
        assert_eq!(nearest_names("LIMIT", names), ["limit"]);
        assert_eq!(nearest_names("lim", names), ["limit"]);
        assert_eq!(nearest_names("zzz", names), Vec::<&str>::new());
        assert_eq!(nearest_names("", names), Vec::<&str>::new());
        assert_eq!(nearest_names("--", names), Vec::<&str>::new());
    }

    #[test]
    fn the_name_itself_and_duplicates_are_not_suggested() {
        assert_eq!(nearest_names("query", ["query", "querys", "querys"]), ["querys"]);
    }

    #[test]
    fn short_names_are_not_similar_to_everything() {
        assert_eq!(nearest_names("a", ["b", "c", "A"]), ["A"]);
        assert_eq!(nearest_names("id", ["to", "ids", "is"]), ["ids", "is"]);
    }

    #[test]
    fn at_most_three_names_are_suggested() {
        assert_eq!(nearest_names("name", ["name1", "name2", "name3", "name4"]), ["name1", "name2", "name3"]);
        assert_eq!(did_you_mean("nme", ["name"]).as_deref(), Some("did you mean name?"));
        assert_eq!(did_you_mean("nme", ["other"]), None);
    }
}
