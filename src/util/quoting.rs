//! Splits command lines into words, and quotes words for hints and examples, by the rules of a shell: POSIX, or on
//! Windows, where paths contain backslashes, `cmd` and PowerShell.

use super::secret_words::{has_secret_member, hide_in_url, secret_pair_start, secret_start};

/// What a command line shows in place of a secret.
pub const HIDDEN: &str = "…";

/// A word, quoted if necessary. NUL is removed, since no argument can contain it.
#[must_use]
pub fn quote(word: &str) -> String {
    let word = word.replace('\0', "");
    if cfg!(windows) {
        return quote_windows(&word);
    }
    shlex::try_quote(&word).map(std::borrow::Cow::into_owned).unwrap_or_default()
}

/// The words of a command as one line.
pub fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// A path, quoted if necessary; a leading `~/` stays outside the quotes.
#[must_use]
pub fn quote_path(shown: &str) -> String {
    match shown.strip_prefix("~/") {
        Some("") => "~/".to_owned(),
        Some(rest) => format!("~/{}", quote(rest)),
        None => quote(shown),
    }
}

/// Words for a command line that is shown, quoted for a shell, without the values of what may be secrets.
///
/// In `NAME=VALUE` only the value is quoted: a shell would take a quoted name for a command.
#[must_use]
pub fn quote_without_secrets(words: &[&str]) -> Vec<String> {
    let previous = |at: usize| at.checked_sub(1).map(|at| words[at]);
    words.iter().enumerate().map(|(at, word)| quote_without_secret(previous(at), word)).collect()
}

fn quote_without_secret(previous: Option<&str>, word: &str) -> String {
    let word = without_secret(previous, word);
    match word.split_once('=') {
        Some((name, value)) if quote(name) == name => format!("{name}={}", quote_ignoring_hidden(value)),
        _ => quote_ignoring_hidden(&word),
    }
}

/// A word of a command line, which follows `previous`, without the value of what may be a secret. The word may be a
/// whole command line.
#[must_use]
pub fn without_secret(previous: Option<&str>, word: &str) -> String {
    if let Some(start) = secret_start(previous, word) {
        return format!("{}{HIDDEN}", &word[..start]);
    }
    if let Some(open) = word.find(['{', '(']).filter(|_| has_secret_member(word)) {
        let close = word.chars().next_back().filter(|c| matches!(c, '}' | ')')).map(String::from).unwrap_or_default();
        let before = word[..open].trim_end();
        return format!("{}{}{HIDDEN}{close}", without_secret(previous, before), &word[before.len()..=open]);
    }
    let pair_start = |start: usize| word[..start].rfind([';', ',']).map_or(0, |at| at + 1);
    // A name has no option in it, as `write --token` has.
    let in_pairs = |start: &usize| !word[pair_start(*start)..*start].contains(" -");
    if let Some(start) = secret_pair_start(word).filter(in_pairs) {
        // What precedes the pair may be a URL, or the beginning of a command line.
        let pair = pair_start(start);
        return format!("{}{}{HIDDEN}", without_secret(previous, &word[..pair]), &word[pair..start]);
    }
    // JSON and call forms are no command lines.
    let first = word.split_whitespace().next().unwrap_or_default();
    if first.len() < word.len() && !first.replace("${", "").contains(['{', '[', '(']) {
        let words = split_leniently(word);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let hides = |at: usize| without_secret(at.checked_sub(1).map(|at| words[at]), words[at]) != words[at];
        if words.len() > 1 && (0..words.len()).any(hides) {
            return quote_without_secrets(&words).join(" ");
        }
    }
    hide_in_url(word, HIDDEN)
}

/// A word, quoted if necessary: not because of the mark in place of a secret, nor of the `=` before it.
fn quote_ignoring_hidden(word: &str) -> String {
    let bare = word.replace(HIDDEN, "");
    let bare = bare.strip_suffix('=').unwrap_or(&bare);
    if bare != word && (bare.is_empty() || quote(bare) == bare) { word.to_owned() } else { quote(word) }
}

/// Splits a command line into words as the shells of this system do; `None` if a quote is not closed.
#[must_use]
pub fn split(line: &str) -> Option<Vec<String>> {
    if cfg!(windows) { split_windows(line) } else { shlex::split(line) }
}

/// As [`split`]; a quote that is not closed ends with the line, and so does what a backslash precedes.
#[must_use]
pub fn split_leniently(line: &str) -> Vec<String> {
    ["", "\"", "'", "\\", "\\\""].iter().find_map(|end| split(&format!("{line}{end}"))).unwrap_or_default()
}

/// What PowerShell takes for a single quote; inside single quotes, two of one kind mean one.
const SINGLE_QUOTES: [char; 5] = ['\'', '‘', '’', '‚', '‛'];

/// What PowerShell takes for a double quote.
const DOUBLE_QUOTES: [char; 4] = ['"', '“', '”', '„'];

/// Backslashes are literal, except before a double quote: there two mean one, and a single one escapes the quote, as
/// in the arguments of Windows programs. A single quote is a quote as in PowerShell, but inside a word (`O'Brien`) it
/// is an apostrophe.
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
            (Some('\''), c) if SINGLE_QUOTES.contains(&c) && chars.peek() == Some(&c) => {
                word.get_or_insert_default().extend(chars.next());
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

/// Double quotes work in both shells, unless the word contains a character that is special inside them in one of the
/// two; single quotes work in PowerShell only, which has several characters for each kind of quote.
fn quote_windows(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-+=:./\\~".contains(c);
    if !word.is_empty() && !word.starts_with('~') && word.chars().all(plain) {
        return word.to_owned();
    }
    if word.ends_with('\\') || word.contains(['$', '`', '%', '!']) || word.contains(DOUBLE_QUOTES) {
        let repeated = |c: char| std::iter::repeat_n(c, if SINGLE_QUOTES.contains(&c) { 2 } else { 1 });
        return format!("'{}'", word.chars().flat_map(repeated).collect::<String>());
    }
    format!("\"{word}\"")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[cfg(unix)]
    #[test]
    fn words_are_quoted_if_necessary() {
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
    fn a_leading_tilde_is_not_quoted() {
        assert_eq!(
            [quote_path("~/a b"), quote_path("~/a"), quote_path("/a b"), quote_path("~/")],
            ["~/'a b'", "~/a", "'/a b'", "~/"]
        );
    }

    #[cfg(unix)]
    #[test]
    fn secrets_are_not_repeated() {
        for (words, shown) in [
            (&["-H", "Authorization: Bearer s3cret"][..], "-H 'Authorization: …'"),
            (&["--header=Authorization: Bearer s3cret"], "--header='Authorization: …'"),
            (&["-HX-Team: a", "--token", "s3cret"], "'-HX-Team: a' --token …"),
            (&["password=s3cret", "title=a b"], "password=… title='a b'"),
            (&["--args", r#"{"password": "s3cret"}"#], "--args '{…}'"),
            (&["login(user: \"a\", password: \"s3cret\")"], "'login(…)'"),
            (&["url=https://me:s3cret@h/x"], "url=https://…@h/x"),
            (&["https://h/x?token=s3cret&a=1"], "'https://h/x?token=…&a=1'"),
            (&["npx srv --token s3cret", "text=it's a  b"], "'npx srv --token …' text=\"it's a  b\""),
            (&["npx srv --token \"s3 cret"], "'npx srv --token …'"),
        ] {
            assert_eq!(quote_without_secrets(words).join(" "), shown);
        }
        for word in [
            "https://me:s3cret@h/mcp;jsessionid=1",
            "https://h/?token=s3cret&f=a,key=2",
            "sqlserver://sa:s3cret@h:1433;authentication=x",
            "url=https://me:s3cret@h/mcp;jsessionid=1",
            r#"{"password":"s3cret","url":"a;key=2"}"#,
            "srv.py --token s3cret --db a=1;key=2",
            "npx srv --scopes read,write --token s3cret --mode=fast",
            "srv.py ${HOME} --token=s3cret",
            "${HOME}/bin/srv --token s3cret",
            r#"npx srv --token s3cret --config {"apiKey":"k"}"#,
            "Server=h;Password=my s3cret phrase",
            "h:6379,password=my s3cret",
            "npx -y srv --token s3cret --note (x) \"x",
            "npx -y srv --token s3cret \"x\\",
            r#"{"password":"${USER}s3cret"}"#,
        ] {
            let shown = quote_without_secrets(&[word]).concat();
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }

    #[test]
    fn windows_words_are_quoted_for_both_shells() {
        for (word, quoted) in [
            (r"C:\srv\x.exe", r"C:\srv\x.exe"),
            (r"C:\Program Files\x.exe", r#""C:\Program Files\x.exe""#),
            ("a & calc", "\"a & calc\""),
            ("it's", "\"it's\""),
            ("~/x", "\"~/x\""),
            ("$(calc)", "'$(calc)'"),
            ("{\"a\": 'b'}", "'{\"a\": ''b''}'"),
            (r"a b\", r"'a b\'"),
            ("a” ; calc ; “", "'a” ; calc ; “'"),
            ("O’Brien ; calc", "\"O’Brien ; calc\""),
            ("$x ’ ; calc ; ‘'", "'$x ’’ ; calc ; ‘‘'''"),
            ("", "\"\""),
        ] {
            assert_eq!(quote_windows(word), quoted);
            assert_eq!(split_windows(quoted).unwrap(), [word], "it is read back");
        }
    }

    #[test]
    fn windows_lines_are_split_as_windows_programs_do() {
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
