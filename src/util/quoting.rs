//! Words as shells read them: how a command line is split, and how hints and examples show one that is read back.
//!
//! The shells are POSIX ones; on Windows, whose paths hold the sign that there takes away a meaning, `cmd` and
//! PowerShell.

/// A word, quoted where it must be. A NUL, which no argument can hold, is left out.
#[must_use]
pub fn quote(word: &str) -> String {
    let word = word.replace('\0', "");
    if cfg!(windows) {
        return quote_windows(&word);
    }
    shlex::try_quote(&word).map(std::borrow::Cow::into_owned).unwrap_or_default()
}

/// The words of a command on one line.
pub fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// A path as people write it: the tilde of a home directory stays outside the quotes.
#[must_use]
pub fn quote_path(shown: &str) -> String {
    match shown.strip_prefix("~/") {
        Some("") => "~/".to_owned(),
        Some(rest) => format!("~/{}", quote(rest)),
        None => quote(shown),
    }
}

/// Splits a command line into words as the shells of this system do; `None` where a quote is never closed.
#[must_use]
pub fn split(line: &str) -> Option<Vec<String>> {
    if cfg!(windows) { split_windows(line) } else { shlex::split(line) }
}

/// A backslash is one, but before a double quote: there two are one, and a single one takes its meaning away, as the
/// programs of Windows read their arguments. A single quote is a quote as in PowerShell, but within a word
/// (`O'Brien`), where it is an apostrophe.
fn split_windows(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut open = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (open, c) {
            (None, ' ' | '\t' | '\r' | '\n') => words.extend(word.take()),
            (None | Some('"'), '\\') => {
                let mut count = 1;
                while chars.next_if_eq(&'\\').is_some() {
                    count += 1;
                }
                let quote = chars.peek() == Some(&'"');
                let word = word.get_or_insert_default();
                word.extend(std::iter::repeat_n('\\', if quote { count / 2 } else { count }));
                if quote && count % 2 == 1 {
                    word.extend(chars.next());
                }
            }
            (Some(quote), c) if c == quote => open = None,
            (None, '"') => {
                word.get_or_insert_default();
                open = Some(c);
            }
            (None, '\'') if !word.as_ref().is_some_and(|word| word.ends_with(char::is_alphanumeric)) => {
                word.get_or_insert_default();
                open = Some(c);
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    open.is_none().then_some(words)
}

/// Double quotes are the ones of both shells, where nothing in them means something to either; single ones are those
/// of PowerShell.
fn quote_windows(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-+=:./\\~".contains(c);
    if !word.is_empty() && !word.starts_with('~') && word.chars().all(plain) {
        return word.to_owned();
    }
    if word.ends_with('\\') || word.contains(['"', '$', '`', '%', '!']) {
        return format!("'{}'", word.replace('\'', "''"));
    }
    format!("\"{word}\"")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[cfg(unix)]
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
            assert_eq!(quote(word), shown);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_line_is_split_into_the_same_words() {
        let words = ["a b", "", "it's", "~/x", "$HOME"];
        assert_eq!(shlex::split(&join(words)).as_deref(), Some(&words.map(str::to_owned)[..]));
    }

    #[cfg(unix)]
    #[test]
    fn a_tilde_still_means_home() {
        assert_eq!(
            [quote_path("~/a b"), quote_path("~/a"), quote_path("/a b"), quote_path("~/")],
            ["~/'a b'", "~/a", "'/a b'", "~/"]
        );
    }

    #[test]
    fn words_of_windows_are_quoted_for_both_of_its_shells() {
        for (word, quoted) in [
            (r"C:\srv\x.exe", r"C:\srv\x.exe"),
            (r"C:\Program Files\x.exe", r#""C:\Program Files\x.exe""#),
            ("a & calc", "\"a & calc\""),
            ("it's", "\"it's\""),
            ("~/x", "\"~/x\""),
            ("$(calc)", "'$(calc)'"),
            ("{\"a\": 'b'}", "'{\"a\": ''b''}'"),
            (r"a b\", r"'a b\'"),
            ("", "\"\""),
        ] {
            assert_eq!(quote_windows(word), quoted);
            if !word.contains('\'') || !quoted.starts_with('\'') {
                assert_eq!(split_windows(quoted).unwrap(), [word], "it is read back");
            }
        }
    }

    #[test]
    fn lines_of_windows_are_split_as_its_programs_read_them() {
        for (line, words) in [
            (r"C:\srv\x.exe --root D:\a\b", &[r"C:\srv\x.exe", "--root", r"D:\a\b"][..]),
            (r#""C:\Program Files\x.exe"  y"#, &[r"C:\Program Files\x.exe", "y"]),
            (r"'C:\Program Files\x.exe' y", &[r"C:\Program Files\x.exe", "y"]),
            (r#""C:\dir\\" z"#, &[r"C:\dir\", "z"]),
            (r#"say \"hi\" \\"a b\\\"c""#, &["say", "\"hi\"", r#"\a b\"c"#]),
            (r"\\host\share\x.exe C:\O'Brien\y", &[r"\\host\share\x.exe", r"C:\O'Brien\y"]),
            (r#"--a='b c' --d="e f""#, &["--a=b c", "--d=e f"]),
            (r"'a\' '\\' ", &[r"a\", r"\\"]),
            (r#"a "" ''"#, &["a", "", ""]),
            ("", &[]),
        ] {
            assert_eq!(split_windows(line).unwrap(), words, "{line}");
        }
        for line in [r#""a"#, "'a", r#""a\""#] {
            assert_eq!(split_windows(line), None, "{line}");
        }
    }
}
