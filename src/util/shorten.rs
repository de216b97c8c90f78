//! Texts that are too long to be shown whole.

/// The first `max` characters of a text; `…` follows if something is missing.
#[must_use]
pub fn shorten(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::shorten;

    #[test]
    fn characters_are_kept_whole() {
        assert_eq!([shorten("äöü", 3), shorten("äöü", 2), shorten("ä", 0), shorten("", 0)], ["äöü", "äö…", "…", ""]);
    }
}
