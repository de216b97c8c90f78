//! Tables: aligned columns with a heading at a terminal, tab-separated lines in a pipe. If a terminal is too narrow for
//! the columns, each row becomes a record of its own, a line or more for each cell, and nothing is cut. A word that
//! does not fit beside the heading of its cell begins below it.
//!
//! In a pipe each row is one line and nothing is cut; a tab, line feed or carriage return in a cell becomes a space,
//! and an empty cell a dash, so that lines and columns can be counted on.

use std::fmt::Write;

use super::escape;
use super::style::Style;

/// Columns of the terminal between two columns of a table.
const GAP: usize = 2;
/// If a column that is wrapped or cut would be narrower than this, rows become records.
const MIN_COLUMN_WIDTH: usize = 10;
/// What a pipe gets for an empty cell.
const EMPTY_CELL: char = '-';
/// The first word of a cell that is cut is shown whole, if it is not longer than this.
const MAX_FIRST_WORD: usize = 32;
/// The indentation of what is put below a row.
const TAIL_INDENT: &str = "    ";
/// The indentation of the last cell of a row, if it is put below the others.
const LAST_CELL_INDENT: &str = "  ";

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    heading: &'static str,
    style: Style,
    whole: bool,
    cut: bool,
    below: bool,
    style_of: Option<fn(&str) -> Style>,
}

impl Column {
    /// A column whose cells may be wrapped.
    #[must_use]
    pub fn new(heading: &'static str) -> Self {
        Column { heading, style: Style::PLAIN, whole: false, cut: false, below: false, style_of: None }
    }

    /// A column of states, in the colors that they have everywhere.
    #[must_use]
    pub fn state(heading: &'static str) -> Self {
        Column { style_of: Some(Style::of_state), ..Column::new(heading) }
    }

    /// At a terminal its cells are put below their rows, behind the heading in lower case.
    #[must_use]
    pub fn below(mut self) -> Self {
        self.below = true;
        self
    }

    /// The style of its cells.
    #[must_use]
    pub fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// Cuts its cells between words, so that a row is one line: for text that a terminal shows in full elsewhere.
    /// Records have all of it.
    #[must_use]
    pub fn cut(mut self) -> Self {
        self.cut = true;
        self
    }

    /// Keeps its cells on one line: names and addresses, to be copied.
    #[must_use]
    pub fn on_one_line(mut self) -> Self {
        self.whole = true;
        self
    }
}

/// A cell.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    short: Option<String>,
    folded: Option<(String, Vec<String>)>,
    style: Option<Style>,
}

impl Cell {
    /// A cell with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Cell { text: text.into(), ..Cell::default() }
    }

    /// What a terminal shows instead.
    #[must_use]
    pub fn short(mut self, text: impl Into<String>) -> Self {
        self.short = Some(text.into());
        self
    }

    /// What a terminal shows if the rows do not fit on a line each: `head` in the cell, and below the row the
    /// parts of `tail`, as many on a line as fit.
    #[must_use]
    pub fn with_tail(mut self, head: impl Into<String>, tail: impl IntoIterator<Item = String>) -> Self {
        self.folded = Some((head.into(), tail.into_iter().collect()));
        self
    }

    /// Its own style, instead of that of its column.
    #[must_use]
    pub fn style(mut self, style: Style) -> Self {
        self.style = Some(style);
        self
    }

    fn text_for_terminal(&self) -> String {
        escape::one_line(self.short.as_ref().unwrap_or(&self.text))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::new(text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::new(text)
    }
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    has_heading: bool,
}

impl Table {
    /// An empty table with these columns.
    #[must_use]
    pub fn new(columns: impl Into<Vec<Column>>) -> Self {
        Table { columns: columns.into(), rows: Vec::new(), has_heading: true }
    }

    /// No heading, even at a terminal: names and values.
    #[must_use]
    pub fn without_heading(mut self) -> Self {
        self.has_heading = false;
        self
    }

    /// Adds a row; one cell for each column.
    pub fn add_row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// How many columns there are.
    #[must_use]
    pub fn column_count(&self) -> usize {
        self.columns.len()
    }

    /// Adds empty columns up to `count`, so that the lines of several tables in a pipe have the same number of fields.
    pub fn pad_columns(&mut self, count: usize) {
        for row in &mut self.rows {
            row.resize_with(row.len().max(count), Cell::default);
        }
        self.columns.resize_with(self.columns.len().max(count), || Column::new(""));
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Lines of tab-separated cells; an empty one is `-`, so that a shell's `read` does not take two tabs for one.
    #[must_use]
    pub fn render_tsv(&self) -> String {
        let mut out = String::new();
        for row in &self.rows {
            for (index, cell) in row.iter().enumerate() {
                if index > 0 {
                    out.push('\t');
                }
                if cell.text.is_empty() {
                    out.push(EMPTY_CELL);
                }
                out.extend(cell.text.chars().map(|c| if matches!(c, '\t' | '\n' | '\r') { ' ' } else { c }));
            }
            out.push('\n');
        }
        out
    }

    /// Aligned columns that fit into `width`; columns without any text are omitted. Words are never broken: a table
    /// that does not fit becomes records, and only a word that is wider than the terminal makes a line that is too
    /// wide.
    #[must_use]
    pub fn render_for_terminal(&self, width: usize, color: bool) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut texts: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(Cell::text_for_terminal).collect()).collect();
        let used: Vec<usize> = (0..self.columns.len())
            .filter(|&column| texts.iter().any(|row| row.get(column).is_some_and(|text| !text.is_empty())))
            .collect();
        let (below, used): (Vec<usize>, Vec<usize>) = used.into_iter().partition(|&column| self.columns[column].below);
        let mut tails: Vec<Vec<String>> = vec![Vec::new(); self.rows.len()];
        let whole = texts.clone();
        if self.natural_width(&texts, &used) > width {
            self.move_tails_below(&mut texts, &mut tails);
        }
        let Some(widths) = self.column_widths(&texts, &used, width) else {
            return self.render_records(&whole, &[used, below].concat(), width, color);
        };
        let mut out = String::new();
        let layout = TableLayout { used: &used, widths: &widths, width, color };
        if self.has_heading {
            let headings: Vec<&str> = used.iter().map(|&column| self.columns[column].heading).collect();
            self.write_row(&mut out, &headings, &layout, None);
        }
        for (index, row) in texts.iter().enumerate() {
            let cells: Vec<&str> = used.iter().map(|&column| row.get(column).map_or("", String::as_str)).collect();
            self.write_row(&mut out, &cells, &layout, Some(index));
            let room = width.saturating_sub(TAIL_INDENT.len()).max(1);
            for line in pack_lines(&tails[index], room).iter().flat_map(|line| escape::wrap(line, room)) {
                let _ = writeln!(out, "{TAIL_INDENT}{}", Style::DIM.paint(&line, color));
            }
            for &column in &below {
                self.write_below(&mut out, column, row.get(column).map_or("", String::as_str), room, color);
            }
        }
        out
    }

    /// The columns of the terminal that the table takes if nothing is wrapped.
    fn natural_width(&self, texts: &[Vec<String>], used: &[usize]) -> usize {
        let widths: usize = used.iter().map(|&column| self.natural_column_width(texts, column)).sum();
        widths + GAP * used.len().saturating_sub(1)
    }

    fn natural_column_width(&self, texts: &[Vec<String>], column: usize) -> usize {
        let heading = if self.has_heading { escape::display_width(self.columns[column].heading) } else { 0 };
        let widths = texts.iter().filter_map(|row| row.get(column)).map(|text| escape::display_width(text));
        widths.max().unwrap_or(0).max(heading)
    }

    /// The width of each column; `None` if a column would be too narrow for its words, or to be read.
    fn column_widths(&self, texts: &[Vec<String>], used: &[usize], width: usize) -> Option<Vec<usize>> {
        let natural: Vec<usize> = used.iter().map(|&column| self.natural_column_width(texts, column)).collect();
        let may_be_records = self.has_heading && used.len() > 1;
        let least = |(&column, &natural): (&usize, &usize)| {
            let Column { heading, whole, cut, .. } = &self.columns[column];
            if *whole {
                return natural;
            }
            let cells = texts.iter().filter_map(|row| row.get(column));
            let longest = match cut {
                true => cells.map(|text| first_word_width(text)).max(),
                false => cells.flat_map(|text| text.split(' ')).map(escape::display_width).max(),
            };
            let longest = longest.unwrap_or(0);
            natural.min(longest.max(MIN_COLUMN_WIDTH).max(escape::display_width(heading)))
        };
        let mut widths: Vec<usize> = used.iter().zip(&natural).map(least).collect();
        let room = width.saturating_sub(GAP * used.len().saturating_sub(1));
        let taken: usize = widths.iter().sum();
        if taken > room && may_be_records {
            return None;
        }
        if taken > room
            && let [others @ .., last] = &mut widths[..]
        {
            // A cell of the last column that does not fit is put below.
            *last = room.saturating_sub(others.iter().sum()).max(MIN_COLUMN_WIDTH).min(*last);
        }
        // What is left is shared by the columns that need more.
        let mut left = room.saturating_sub(taken);
        while left > 0 {
            let open: Vec<usize> = (0..widths.len()).filter(|&place| widths[place] < natural[place]).collect();
            if open.is_empty() {
                break;
            }
            let share = (left / open.len()).max(1);
            for place in open {
                let more = share.min(natural[place] - widths[place]).min(left);
                widths[place] += more;
                left -= more;
            }
        }
        Some(widths)
    }

    /// Puts the tails of cells below their rows.
    fn move_tails_below(&self, texts: &mut [Vec<String>], tails: &mut [Vec<String>]) {
        for ((row, texts), tail) in self.rows.iter().zip(texts).zip(tails) {
            for (cell, text) in row.iter().zip(texts) {
                if let Some((head, below)) = &cell.folded {
                    *text = escape::one_line(head);
                    *tail = below.iter().map(|part| escape::one_line(part)).collect();
                }
            }
        }
    }

    /// Writes the lines of a row, or of the heading.
    fn write_row(&self, out: &mut String, cells: &[&str], layout: &TableLayout<'_>, row: Option<usize>) {
        let &TableLayout { used, widths, width, color } = layout;
        let lines = |(place, text): (usize, &&str)| match self.columns[used[place]].cut {
            true => vec![escape::truncate_at_word(text, widths[place]).into_owned()],
            false => escape::wrap(text, widths[place]),
        };
        let mut cells: Vec<Vec<String>> = cells.iter().enumerate().map(lines).collect();
        // Where a word is wider than the terminal, another place does not help.
        let room_below = width.saturating_sub(LAST_CELL_INDENT.len());
        let mut last_cell = None;
        if let ([_, .., last], [.., room]) = (&mut cells[..], widths)
            && last.iter().any(|line| escape::display_width(line) > *room)
            && last.iter().all(|line| escape::display_width(line) <= room_below)
        {
            last_cell = Some(std::mem::take(last).join(" "));
        }
        let height = cells.iter().map(Vec::len).max().unwrap_or(0).max(1);
        for line in 0..height {
            let mut gap = 0;
            for (place, cell) in cells.iter().enumerate() {
                let text = cell.get(line).map_or("", String::as_str);
                if !text.is_empty() {
                    let style = self.style_of(used.get(place), row);
                    // Writing to a string cannot fail.
                    let _ = write!(out, "{:gap$}{}", "", style.paint(text, color));
                    gap = 0;
                }
                gap += widths[place].saturating_sub(escape::display_width(text)) + GAP;
            }
            out.push('\n');
        }
        if let Some(text) = last_cell {
            let style = self.style_of(used.last(), row);
            for line in escape::wrap(&text, room_below) {
                let _ = writeln!(out, "{LAST_CELL_INDENT}{}", style.paint(&line, color));
            }
        }
    }

    /// Writes a cell below its row.
    fn write_below(&self, out: &mut String, column: usize, text: &str, room: usize, color: bool) {
        if text.is_empty() {
            return;
        }
        let label = format!("{}:", self.columns[column].heading.to_lowercase());
        let first = room.saturating_sub(label.len() + 1);
        let lines = escape::wrap_sentence(text, first, room.saturating_sub(2)).join(&format!("\n{TAIL_INDENT}  "));
        let _ = writeln!(out, "{TAIL_INDENT}{} {lines}", Style::CYAN.paint(&label, color));
    }

    /// Each row as a record: heading and cell, cells without text omitted, a blank line between two.
    fn render_records(&self, texts: &[Vec<String>], used: &[usize], width: usize, color: bool) -> String {
        let mut records =
            Table::new([Column::new("").on_one_line().style(Style::BOLD), Column::new("")]).without_heading();
        for (row, texts) in texts.iter().enumerate() {
            if row > 0 {
                records.add_row([Cell::default(), Cell::default()]);
            }
            for &column in used {
                let Some(text) = texts.get(column).filter(|text| !text.is_empty()) else { continue };
                let style = self.style_of(Some(&column), Some(row));
                let heading = self.columns[column].heading;
                records.add_row([heading.into(), Cell::new(text.as_str()).style(style)]);
            }
        }
        records.render_for_terminal(width, color)
    }

    fn style_of(&self, column: Option<&usize>, row: Option<usize>) -> Style {
        let (Some(&column), Some(row)) = (column, row) else { return Style::BOLD };
        let cell = self.rows.get(row).and_then(|row| row.get(column));
        let of_state = || self.columns[column].style_of.map(|style_of| style_of(cell.map_or("", |cell| &cell.text)));
        cell.and_then(|cell| cell.style).or_else(of_state).unwrap_or(self.columns[column].style)
    }
}

/// How the columns of a table are laid out.
struct TableLayout<'a> {
    /// The columns that have text.
    used: &'a [usize],
    /// The width of each of them.
    widths: &'a [usize],
    /// The width of the terminal.
    width: usize,
    /// Whether there are colors.
    color: bool,
}

/// The columns that the first word of a text takes, with the mark of what is cut after it.
fn first_word_width(text: &str) -> usize {
    match text.split_once(' ') {
        Some((word, _)) => escape::display_width(word) + 1,
        None => escape::display_width(text),
    }
    .min(MAX_FIRST_WORD)
}

/// Parts of a text on as few lines as they need, a part on one line if it fits.
fn pack_lines(parts: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if escape::display_width(line) + 2 + escape::display_width(part) <= width => {
                *line = format!("{line}: {part}")
            }
            _ => lines.push(part.clone()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new([
            Column::new("NAME").on_one_line(),
            Column::new("EMPTY"),
            Column::new("DESCRIPTION").style(Style::DIM),
        ]);
        table.add_row([Cell::new("get_user"), Cell::default(), Cell::new("Gets\ta user\nby \x1b[1mid")]);
        table.add_row([Cell::new("x").style(Style::RED), Cell::default(), Cell::new("long").short("short")]);
        table
    }

    #[test]
    fn a_pipe_gets_one_line_a_row_and_all_of_it() {
        assert_eq!(sample().render_tsv(), "get_user\t-\tGets a user by \x1b[1mid\nx\t-\tlong\n");
    }

    #[test]
    fn a_terminal_gets_a_heading_and_aligned_columns() {
        assert_eq!(
            sample().render_for_terminal(80, false),
            "NAME      DESCRIPTION\nget_user  Gets a user by \\x1b[1mid\nx         short\n"
        );
    }

    #[test]
    fn colors_end_where_the_text_ends() {
        assert_eq!(
            sample().render_for_terminal(80, true),
            "\x1b[1mNAME\x1b[0m      \x1b[1mDESCRIPTION\x1b[0m\n\
             get_user  \x1b[2mGets a user by \\x1b[1mid\x1b[0m\n\
             \x1b[31mx\x1b[0m         \x1b[2mshort\x1b[0m\n"
        );
    }

    #[test]
    fn a_column_that_is_cut_takes_one_line() {
        let columns = [Column::new("NAME").on_one_line(), Column::new("DESCRIPTION").style(Style::DIM).cut()];
        let mut table = Table::new(columns);
        table.add_row(["a_name_of_some_length".into(), Cell::new("word ".repeat(100))]);
        table.add_row(["b".into(), "c".into()]);
        assert_eq!(
            table.render_for_terminal(40, false),
            "NAME                   DESCRIPTION\n\
             a_name_of_some_length  word word word…\n\
             b                      c\n"
        );
    }

    #[test]
    fn words_and_addresses_are_never_broken() {
        let mut table = Table::new([Column::new("URI").on_one_line(), Column::new("NAME"), Column::new("TEXT").cut()]);
        let uri = "demo://a/resource/of/some/length";
        table.add_row([uri.into(), "a-name-of-one-word and more".into(), "some words".into()]);
        let lines = |width| table.render_for_terminal(width, false).lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(70)[1..], [format!("{uri}  a-name-of-one-word and    some words"), format!("{:34}more", "")]);
        assert_eq!(
            lines(40),
            [format!("URI   {uri}"), "NAME  a-name-of-one-word and more".into(), "TEXT  some words".into()]
        );
    }

    #[test]
    fn a_column_below_is_a_line_under_its_row() {
        let mut table = Table::new([Column::state("STATE"), Column::new("WHAT"), Column::new("HINT").below()]);
        table.add_row(["error".into(), "it is broken".into(), "mend it: mcpipe config edit --project".into()]);
        table.add_row(["warning".into(), "it is old".into(), "".into()]);
        assert_eq!(
            table.render_for_terminal(30, false),
            "STATE    WHAT\nerror    it is broken\n    hint: mend it:\n      mcpipe config edit --project\nwarning  it is old\n"
        );
        assert!(table.render_for_terminal(80, true).contains(
            "\x1b[31merror\x1b[0m    it is broken\n    \x1b[36mhint:\x1b[0m mend it: mcpipe config edit --project\n"
        ));
        assert_eq!(
            table.render_tsv(),
            "error\tit is broken\tmend it: mcpipe config edit --project\nwarning\tit is old\t-\n"
        );
    }

    #[test]
    fn a_word_that_does_not_fit_beside_its_heading_begins_below() {
        let mut table =
            Table::new([Column::new("NAME").on_one_line(), Column::new("DESCRIPTION").cut(), Column::new("URL")]);
        let url = "https://example.com/of/31/columns";
        table.add_row(["a".into(), "one two three four five six seven".into(), url.into()]);
        table.add_row(["b".into(), "one".into(), format!("at {url} and more").into()]);
        assert_eq!(
            table.render_for_terminal(36, false),
            format!(
                "NAME         a\nDESCRIPTION  one two three four five\n             six seven\nURL\n  {url}\n\n\
                 NAME         b\nDESCRIPTION  one\nURL\n  at\n  {url}\n  and more\n"
            )
        );
        let mut pairs =
            Table::new([Column::new("").on_one_line().style(Style::BOLD), Column::new("")]).without_heading();
        pairs.add_row(["a long name".into(), "one two three".into()]);
        pairs.add_row(["b".into(), url.into()]);
        assert_eq!(
            pairs.render_for_terminal(36, true),
            format!("\x1b[1ma long name\x1b[0m  one two three\n\x1b[1mb\x1b[0m\n  {url}\n")
        );
    }

    /// Whatever the width, no word is broken, and no line is wider than the terminal if its words are not.
    #[test]
    fn no_table_breaks_a_word_at_any_width() {
        let headings = ["NAME", "TYPE", "DEFAULT", "DESCRIPTION"];
        let words = ["a", "\"resourceLink\",", "https://example.com/a/b/c", "DEFAULT", "of", "input_required"];
        let text = |seed: usize| (0..seed % 7).map(|n| words[(seed * 5 + n * n) % 6]).collect::<Vec<_>>().join(" ");
        for (first, cut, has_heading) in
            [(true, false, true), (false, false, true), (true, true, true), (true, false, false)]
        {
            let mut columns = headings.map(Column::new);
            columns[0].whole = first;
            columns[3].cut = cut;
            let mut table = Table::new(columns);
            table.has_heading = has_heading;
            let rows: Vec<[String; 4]> =
                (0..8).map(|row| [format!("name_{row}"), text(row), text(row * 3 + 1), text(row + 4)]).collect();
            rows.iter().for_each(|row| table.add_row(row.clone().map(Cell::from)));
            for width in 28..120 {
                let shown = table.render_for_terminal(width, false);
                for line in shown.lines() {
                    assert!(escape::display_width(line) <= width || !has_heading, "{width}: {line}\n{shown}");
                    let known = |word: &str| {
                        headings.contains(&word)
                            || words.contains(&word.trim_end_matches('…'))
                            || word.starts_with("name_")
                    };
                    assert!(line.split_whitespace().all(known), "{width}: {line}\n{shown}");
                }
            }
        }
    }

    #[test]
    fn other_columns_are_never_cut() {
        let mut table = Table::new([Column::new("NAME").on_one_line(), Column::new("PARAMETERS")]);
        let many: Vec<String> = (0..60).map(|n| format!("p{n}")).collect();
        table.add_row(["a".into(), Cell::new(many.join(", "))]);
        let text = table.render_for_terminal(40, false);
        assert!(many.iter().all(|name| text.contains(name.as_str())) && !text.contains('…'), "{text}");
    }

    #[test]
    fn rows_become_records_where_columns_would_be_too_narrow() {
        let mut table = Table::new([
            Column::new("NAME").on_one_line(),
            Column::new("TYPE"),
            Column::new("EMPTY"),
            Column::new("DESCRIPTION"),
        ]);
        table.add_row(["a_parameter".into(), "string (date-time)".into(), "".into(), "word ".repeat(12).into()]);
        table.add_row(["b".into(), "null".into(), "".into(), "".into()]);
        assert_eq!(
            table.render_for_terminal(30, false),
            "NAME         a_parameter\n\
             TYPE         string\n             (date-time)\n\
             DESCRIPTION  word word word\n             word word word\n             word word word\n\
             \x20            word word word\n\
             \nNAME         b\nTYPE         null\n"
        );
        assert!(
            table.render_for_terminal(80, false).starts_with("NAME         TYPE"),
            "{}",
            table.render_for_terminal(80, false)
        );
    }

    #[test]
    fn only_a_long_word_makes_a_line_too_wide() {
        let mut table =
            Table::new([Column::new("A").on_one_line(), Column::new("B"), Column::new("C"), Column::new("D")]);
        table.add_row(["日本語日本語".into(), "x y ".repeat(200).into(), "".into(), "y z".into()]);
        for width in 20..60 {
            for line in table.render_for_terminal(width, false).lines() {
                assert!(escape::display_width(line) <= width, "{width}: {line}");
            }
        }
        for width in [0, 1, 2, 3, 5] {
            assert!(!table.render_for_terminal(width, true).is_empty());
        }
    }

    #[test]
    fn what_does_not_fit_goes_below_its_row() {
        let mut table = Table::new([Column::new("NAME").on_one_line(), Column::new("STATE")]);
        let state = Cell::new("timeout: no response to tools/list within 3 s")
            .with_tail("timeout", ["no response to tools/list".to_owned()]);
        table.add_row(["far".into(), state.style(Style::RED)]);
        table.add_row(["near".into(), "ok".into()]);
        assert_eq!(
            table.render_for_terminal(80, false),
            "NAME  STATE\nfar   timeout: no response to tools/list within 3 s\nnear  ok\n"
        );
        assert_eq!(
            table.render_for_terminal(24, true),
            "\x1b[1mNAME\x1b[0m  \x1b[1mSTATE\x1b[0m\nfar   \x1b[31mtimeout\x1b[0m\n    \x1b[2mno response to\x1b[0m\n    \x1b[2mtools/list\x1b[0m\n\
             near  ok\n"
        );
        assert_eq!(table.render_tsv(), "far\ttimeout: no response to tools/list within 3 s\nnear\tok\n");
    }

    #[test]
    fn nothing_is_printed_for_no_rows() {
        let table = Table::new([Column::new("A")]);
        assert_eq!((table.render_tsv().as_str(), table.render_for_terminal(80, true).as_str()), ("", ""));
    }
}
