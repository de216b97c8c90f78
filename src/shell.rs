//! Words as a POSIX shell takes them back, for the command lines that hints and examples show.

/// A word, quoted where it must be. A NUL, which no argument can hold, is left out.
#[must_use]
pub fn quoted(word: &str) -> String {
    let word = word.replace('\0', "");
    shlex::try_quote(&word).map(std::borrow::Cow::into_owned).unwrap_or_default()
}

/// The words of a command on one line.
pub fn line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// A path as people write it: the tilde of a home directory stays outside the quotes.
#[must_use]
pub fn path(shown: &str) -> String {
    match shown.strip_prefix("~/") {
        Some("") => "~/".to_owned(),
        Some(rest) => format!("~/{}", quoted(rest)),
        None => quoted(shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_they_must_be() {
        for (word, shown) in [
            ("plain-word_1", "plain-word_1"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", "\"it's\""),
            ("~/x", "'~/x'"),
            ("a\0b", "ab"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }

    #[test]
    fn a_line_is_split_into_the_same_words() {
        let words = ["a b", "", "it's", "~/x", "$HOME"];
        assert_eq!(shlex::split(&line(words)).as_deref(), Some(&words.map(str::to_owned)[..]));
    }

    #[test]
    fn a_tilde_still_means_home() {
        assert_eq!([path("~/a b"), path("~/a"), path("/a b"), path("~/")], ["~/'a b'", "~/a", "'/a b'", "~/"]);
    }
}
