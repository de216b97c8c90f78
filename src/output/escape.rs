//! Server text made harmless for a terminal (`SEC-05`): control, bidirectional and invisible characters
//! are shown instead of sent.

use std::borrow::Cow;
use std::fmt::Write;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Whether a terminal may act on this character, or hide it or others behind it.
///
/// Line feeds and tabs count as harmful too; [`make_visible`] lets them pass, [`one_line`] does not.
#[must_use]
pub fn is_harmful(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'          // C0, DEL, C1
        | '\u{ad}' | '\u{34f}' | '\u{61c}'         // soft hyphen, grapheme joiner, Arabic letter mark
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // Hangul fillers: letters without a look
        | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}'                  // zero-width characters and direction marks
        | '\u{2028}'..='\u{202e}'                  // separators, bidirectional embeddings and overrides
        | '\u{2060}'..='\u{206f}'                  // invisible operators, bidirectional isolates
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}') // tags and variation selectors that carry hidden text
}

/// `text` with everything harmful made visible; line feeds, tabs and `\r\n` stay.
///
/// Characters below U+0080 become `\x1b`, others `<U+202E>`. The joiners U+200C and U+200D stay between
/// characters that are not ASCII: Persian and emoji need them there.
#[must_use]
pub fn make_visible(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| matches!(b, b'\n' | b'\t' | b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut before = ' ';
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let after = rest.clone().next().unwrap_or(' ');
        let keep = match c {
            '\n' | '\t' => true,
            '\r' => after == '\n',
            '\u{200c}' | '\u{200d}' => allows_joiner(before) && allows_joiner(after),
            other => !is_harmful(other),
        };
        if keep {
            out.push(c);
        } else {
            push_visible(&mut out, c);
        }
        before = c;
    }
    Cow::Owned(out)
}

fn allows_joiner(c: char) -> bool {
    !c.is_ascii() && !is_harmful(c)
}

fn push_visible(out: &mut String, c: char) {
    // Writing to a string cannot fail.
    let _ = if c.is_ascii() { write!(out, "\\x{:02x}", c as u32) } else { write!(out, "<U+{:04X}>", c as u32) };
}

/// `text` on one line, harmless: white space of any kind and length becomes one space.
#[must_use]
pub fn one_line(text: &str) -> String {
    make_visible(&collapse_whitespace(text)).into_owned()
}

/// `text` on one line, otherwise unchanged: white space of any kind and length becomes one space.
#[must_use]
pub fn collapse_whitespace(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split([' ', '\t', '\n', '\r', '\x0b', '\x0c', '\u{85}', '\u{2028}', '\u{2029}']) {
        if !word.is_empty() {
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(word);
        }
    }
    out
}

/// How many columns a terminal needs for `text`.
#[must_use]
pub fn display_width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// The length of the longest beginning of `text` that needs at most `columns` columns, in bytes.
fn fitting_length(text: &str, columns: usize) -> usize {
    let (mut used, mut last_width) = (0, 0);
    for (at, c) in text.char_indices() {
        let width = match c {
            // The character before it is shown as an emoji.
            '\u{fe0f}' => 2_usize.saturating_sub(last_width),
            c => c.width().unwrap_or(1),
        };
        used += width;
        if used > columns {
            return at;
        }
        last_width = if width > 0 { width } else { last_width };
    }
    text.len()
}

/// `text` cut to at most `columns` columns; the last is `…` if something is missing.
#[must_use]
pub fn truncate(text: &str, columns: usize) -> Cow<'_, str> {
    if display_width(text) <= columns {
        return Cow::Borrowed(text);
    }
    match columns.checked_sub(1) {
        Some(room) => Cow::Owned(format!("{}…", &text[..fitting_length(text, room)])),
        None => Cow::Borrowed(""),
    }
}

/// `text` in pieces of at most `columns` columns: broken after a space if there is one, otherwise inside of a word.
#[must_use]
pub fn break_at_width(text: &str, columns: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        let fitting = fitting_length(rest, columns);
        if fitting == rest.len() {
            pieces.push(rest);
            return pieces;
        }
        let space = rest[..fitting].rfind(' ').map(|space| space + 1);
        // At least one character, however narrow the terminal is.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let (piece, following) = rest.split_at(space.unwrap_or(fitting).max(first));
        pieces.push(piece);
        rest = following;
        if rest.is_empty() {
            return pieces;
        }
    }
}

/// `text` cut like [`truncate`], but between words, if at least the first one fits.
#[must_use]
pub fn truncate_at_word(text: &str, columns: usize) -> Cow<'_, str> {
    let cut = truncate(text, columns);
    let Some(start) = cut.strip_suffix('…').filter(|_| matches!(cut, Cow::Owned(_))) else { return cut };
    let end = if text[start.len()..].starts_with(' ') { Some(start.len()) } else { start.rfind(' ') };
    match end.map(|end| start[..end].trim_end()) {
        None | Some("") => cut,
        Some(words) => Cow::Owned(format!("{words}…")),
    }
}

/// `text` on lines of at most `columns` columns, broken between words; a word that is wider is not broken.
#[must_use]
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    wrap_units(text.split(' '), columns, columns)
}

/// A sentence on lines like [`wrap`], the first of at most `first` columns. A command line in it is not broken
/// either, so that it can be copied: it begins with `mcpipe` or `--` and goes on to the end, or to a semicolon.
#[must_use]
pub fn wrap_sentence(text: &str, first: usize, columns: usize) -> Vec<String> {
    let mut units: Vec<String> = Vec::new();
    let mut in_command = false;
    for word in text.split(' ') {
        match units.last_mut() {
            Some(command) if in_command => {
                command.push(' ');
                command.push_str(word);
            }
            _ => units.push(word.to_owned()),
        }
        in_command = (in_command || matches!(word, "mcpipe" | "--")) && !word.ends_with(';');
    }
    wrap_units(units.iter().map(String::as_str), first, columns)
}

fn wrap_units<'a>(units: impl Iterator<Item = &'a str>, first: usize, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for unit in units {
        let room = if lines.len() < 2 { first } else { columns };
        match lines.last_mut() {
            Some(line) if display_width(line) + 1 + display_width(unit) <= room => {
                line.push(' ');
                line.push_str(unit);
            }
            _ => lines.push(unit.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_05_shows_what_a_terminal_would_act_on() {
        for (text, shown) in [
            ("plain\ttext\n", "plain\ttext\n"),
            ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
            ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            ("a\rb", "a\\x0db"),
            ("a\r\nb", "a\r\nb"),
            ("end\r", "end\\x0d"),
            ("\u{9b}2J", "<U+009B>2J"),
            ("\u{7f}\0\u{8}", "\\x7f\\x00\\x08"),
            ("gpj.\u{202e}exe", "gpj.<U+202E>exe"),
            ("\u{2066}a\u{2069}\u{200e}\u{200f}\u{61c}", "<U+2066>a<U+2069><U+200E><U+200F><U+061C>"),
            ("a\u{200b}b\u{feff}", "a<U+200B>b<U+FEFF>"),
            ("x\u{e0041}\u{e0100}", "x<U+E0041><U+E0100>"),
            ("größe 日本 👍", "größe 日本 👍"),
        ] {
            assert_eq!(make_visible(text), shown, "{text:?}");
        }
    }

    #[test]
    fn joiners_stay_where_they_are_needed() {
        assert_eq!(make_visible("👩\u{200d}💻 می\u{200c}خواهم"), "👩\u{200d}💻 می\u{200c}خواهم");
        assert_eq!(make_visible("get\u{200d}_user"), "get<U+200D>_user");
        assert_eq!(make_visible("é\u{200d}\u{200d}é"), "é<U+200D><U+200D>é");
    }

    #[test]
    fn one_line_is_one_line() {
        assert_eq!(one_line("  a\n\n b\t\u{2028}c\r\n"), "a b c");
        assert_eq!(one_line("a\u{b}b\x1bc"), "a b\\x1bc");
    }

    #[test]
    fn a_sentence_is_wrapped_between_words_but_not_in_a_command() {
        let lines = |text: &str| wrap_sentence(text, 14, 20);
        assert_eq!(lines("one two three four five six"), ["one two three", "four five six"]);
        assert_eq!(
            lines("list them: mcpipe list a b c d e; or not at all"),
            ["list them:", "mcpipe list a b c d e;", "or not at all"]
        );
        assert_eq!(lines("end with: -- sh -c 'cd x && server'"), ["end with:", "-- sh -c 'cd x && server'"]);
        assert_eq!(lines("  indented"), ["  indented"]);
    }

    #[test]
    fn fits_by_columns_not_characters() {
        assert_eq!(truncate("abc", 3), "abc");
        assert_eq!(truncate("abcd", 3), "ab…");
        assert_eq!(truncate("日本語", 5), "日本…");
        assert_eq!(truncate("日本語", 4), "日…");
        assert_eq!(truncate("abc", 0), "");
        assert_eq!(truncate("abc", 1), "…");
        assert_eq!(truncate("⚠️⚠️⚠️⚠️", 5), "⚠️⚠️…");
        assert_eq!(truncate("⚠️ danger", 8), "⚠️ dang…");
    }

    #[test]
    fn long_lines_are_broken_at_the_width() {
        assert_eq!(break_at_width("one two three", 8), ["one two ", "three"]);
        assert_eq!(break_at_width("a      b", 4), ["a   ", "   b"]);
        assert_eq!(break_at_width("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(break_at_width("日本語", 1), ["日", "本", "語"]);
        assert_eq!(break_at_width("", 3), [""]);
    }

    #[test]
    fn cuts_between_words_if_one_fits() {
        for (columns, shown) in
            [(13, "one two three"), (12, "one two…"), (8, "one two…"), (7, "one…"), (4, "one…"), (3, "on…")]
        {
            assert_eq!(truncate_at_word("one two three", columns), shown, "{columns}");
        }
    }
}
