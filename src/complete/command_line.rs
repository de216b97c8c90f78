//! The command line that is being completed.

use std::ffi::OsString;

use crate::util::quoting;

/// The words of the command line, beginning with the program's name.
pub struct PartialCommandLine {
    /// The words before the one that is being completed.
    pub words_before: Vec<String>,
    /// The word that is being completed, as far as it is typed.
    pub current: String,
    /// Whether the shell inserts candidates without quoting them.
    inserts_unquoted: bool,
}

impl PartialCommandLine {
    /// The command line that a script in `completions/` passed to this process.
    pub fn from_process(shell: &str) -> Self {
        let index = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse().ok());
        PartialCommandLine::parse(shell, index, std::env::args_os())
    }

    /// The words after `--`; without an index the last of them is being completed.
    fn parse(shell: &str, index: Option<usize>, arguments: impl IntoIterator<Item = OsString>) -> Self {
        let words = arguments.into_iter().skip_while(|word| word != "--").skip(1);
        let mut before: Vec<String> = words.map(|word| strip_quotes(&word.to_string_lossy())).collect();
        let index = index.unwrap_or(before.len().saturating_sub(1)).min(before.len());
        let current = before.split_off(index).into_iter().next().unwrap_or_default();
        PartialCommandLine {
            words_before: before,
            current,
            inserts_unquoted: ["powershell", "pwsh", "nushell"].iter().any(|name| shell.contains(name))
                || shell == "nu",
        }
    }

    /// The value of a long option.
    pub fn option_value(&self, name: &str) -> Option<&str> {
        let at = self.words_before.iter().rposition(|word| word.starts_with(name))?;
        match self.words_before[at].strip_prefix(name)? {
            "" => self.words_before.get(at + 1).map(String::as_str),
            value => value.strip_prefix('='),
        }
    }

    /// How many words of the server's command line are typed: those after `--`. `None` before it.
    pub fn words_of_command(&self) -> Option<usize> {
        let at = self.words_before.iter().position(|word| word == "--")?;
        Some(self.words_before.len() - at - 1)
    }

    /// Whether a candidate may be offered. It comes from a server: nothing in it may affect the terminal or, once
    /// inserted, have a meaning for the shell.
    pub fn is_safe_candidate(&self, value: &str) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=+".contains(c);
        !value.is_empty()
            && !value.starts_with('-')
            && !value.chars().any(crate::output::escape::is_harmful)
            && !value.contains(['\n', '\t', '\r'])
            && (!self.inserts_unquoted || value.chars().all(plain))
    }
}

/// A word without the quotes that it was typed with; some shells pass them on.
fn strip_quotes(word: &str) -> String {
    if !word.contains(['\'', '"', '\\']) {
        return word.to_owned();
    }
    match quoting::split(word).as_deref() {
        Some([one]) => one.clone(),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(shell: &str, index: Option<usize>, words: &[&str]) -> PartialCommandLine {
        PartialCommandLine::parse(shell, index, words.iter().map(OsString::from))
    }

    #[test]
    fn the_word_is_the_one_at_the_index_or_the_last() {
        let all = typed("bash", Some(2), &["/bin/mcpipe", "--", "mcpipe", "call", "de", "x"]);
        assert_eq!((all.words_before, all.current), (vec!["mcpipe".to_owned(), "call".to_owned()], "de".to_owned()));
        let last = typed("fish", None, &["mcpipe", "--", "mcpipe", "call", "'npx -y a'", ""]);
        assert_eq!(
            (last.words_before, last.current.as_str()),
            (vec!["mcpipe".to_owned(), "call".into(), "npx -y a".into()], "")
        );
        let beyond = typed("zsh", Some(2), &["mcpipe", "--", "mcpipe", "call"]);
        assert_eq!((beyond.words_before.len(), beyond.current.as_str()), (2, ""));
    }

    #[test]
    fn what_would_act_is_not_offered() {
        let (bash, powershell) = (typed("bash", None, &[]), typed("powershell", None, &[]));
        for word in ["echo", "demo://item/{id}", "a b", "x;y"] {
            assert!(bash.is_safe_candidate(word), "{word}");
        }
        for word in ["", "-rf", "a\nb", "a\tb", "a\u{1b}[2J", "a\u{202e}b"] {
            assert!(!bash.is_safe_candidate(word), "{word:?}");
        }
        assert!(
            powershell.is_safe_candidate("a.b_c-d=")
                && !powershell.is_safe_candidate("a;b")
                && !powershell.is_safe_candidate("$(x)")
        );
    }
}
