//! Tables: wrapped columns with a heading at a terminal, tab-separated lines in a pipe. Where a terminal is too
//! narrow for the columns, each row becomes a record of its own, a line or more for each cell.
//!
//! In a pipe each row is one line and nothing is cut; a tab, line feed or carriage return inside a cell
//! becomes a blank and an empty cell a dash, so that lines and columns can be counted on.

use std::fmt::Write;

use comfy_table::{ColumnConstraint, ContentArrangement, ContentLineStyle, LineStyle, Row, TableStyle, Width};

use super::escape;
use super::style::Style;

/// Marks between columns and rows, taken out again when the laid-out lines are painted. Control
/// characters are free for this: no cell holds one (`escape::one_line`).
const COLUMN_MARK: char = '\x1f';
const ROW_MARK: char = '\x1e';
/// A cell of a brief column does not get higher than this at a terminal.
const MAX_LINES: usize = 4;
/// Where a column would wrap its cells within fewer columns of the terminal than this, rows become records.
const MIN_COLUMN_WIDTH: usize = 10;

/// Stands in a pipe where a cell is empty.
const EMPTY_CELL: char = '-';

/// Stands before what was put below a row.
const TAIL_INDENT: &str = "    ";

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    heading: &'static str,
    style: Style,
    whole: bool,
    brief: bool,
}

impl Column {
    /// A column whose cells may be wrapped.
    #[must_use]
    pub fn new(heading: &'static str) -> Self {
        Column { heading, style: Style::PLAIN, whole: false, brief: false }
    }

    /// Paints its cells so.
    #[must_use]
    pub fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// Cuts its cells after a few lines: prose, told in full elsewhere.
    #[must_use]
    pub fn brief(mut self) -> Self {
        self.brief = true;
        self
    }

    /// Keeps its cells on one line where they take up to half of the width: names, to be copied.
    #[must_use]
    pub fn whole(mut self) -> Self {
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

    /// What a terminal shows in its place.
    #[must_use]
    pub fn short(mut self, text: impl Into<String>) -> Self {
        self.short = Some(text.into());
        self
    }

    /// What a terminal shows where the rows do not fit on a line each: `head` in the cell, and below the row the
    /// parts of `tail`, as many on a line as fit.
    #[must_use]
    pub fn folded(mut self, head: impl Into<String>, tail: impl IntoIterator<Item = String>) -> Self {
        self.folded = Some((head.into(), tail.into_iter().collect()));
        self
    }

    /// Painted so, instead of in its column's style.
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

    /// Without a heading at a terminal, either: names and values.
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

    /// Aligned columns that fit into `width`; columns without any text are left out.
    #[must_use]
    pub fn render_for_terminal(&self, width: usize, colour: bool) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let texts: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(Cell::text_for_terminal).collect()).collect();
        let used: Vec<usize> = (0..self.columns.len())
            .filter(|&column| texts.iter().any(|row| row.get(column).is_some_and(|text| !text.is_empty())))
            .collect();
        let mut blocks = self.lay_out(&texts, &used, width);
        let mut tails: Vec<Vec<String>> = vec![Vec::new(); self.rows.len()];
        if blocks.iter().any(|block| block.len() > 1) {
            let mut heads = texts.clone();
            if self.move_tails_below(&mut heads, &mut tails) {
                blocks = self.lay_out(&heads, &used, width);
            }
            if self.has_heading && used.len() > 1 && self.has_squeezed_column(&blocks, &heads, &used) {
                return self.render_records(&texts, &used, width, colour);
            }
        }
        let mut out = String::new();
        let room = width.saturating_sub(TAIL_INDENT.len()).max(1);
        for (index, block) in blocks.iter().enumerate() {
            // The heading is the first block.
            let row = if self.has_heading { index.checked_sub(1) } else { Some(index) };
            for line in block {
                self.paint_line(&mut out, line, &used, row, colour);
            }
            for line in row.and_then(|row| tails.get(row)).map(|tail| pack_lines(tail, room)).unwrap_or_default() {
                let _ = writeln!(out, "{TAIL_INDENT}{}", Style::DIM.paint(&escape::truncate(&line, room), colour));
            }
        }
        out
    }

    /// Puts the tails of cells below their rows; tells whether there are any.
    fn move_tails_below(&self, texts: &mut [Vec<String>], tails: &mut [Vec<String>]) -> bool {
        let mut any = false;
        for ((row, texts), tail) in self.rows.iter().zip(texts).zip(tails) {
            for (cell, text) in row.iter().zip(texts) {
                if let Some((head, below)) = &cell.folded {
                    *text = escape::one_line(head);
                    *tail = below.iter().map(|part| escape::one_line(part)).collect();
                    any = true;
                }
            }
        }
        any
    }

    /// The lines of the heading and of each row; columns are parted by [`COLUMN_MARK`].
    fn lay_out(&self, texts: &[Vec<String>], used: &[usize], width: usize) -> Vec<Vec<String>> {
        let mut table = comfy_table::Table::new();
        table
            .load_style(
                TableStyle::new()
                    .header_lines(ContentLineStyle::none().junction(COLUMN_MARK))
                    .header_separator(LineStyle::none().fill(ROW_MARK).junction(ROW_MARK))
                    .content_lines(ContentLineStyle::none().junction(COLUMN_MARK))
                    .row_separator(LineStyle::none().fill(ROW_MARK).junction(ROW_MARK)),
            )
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(u16::try_from(width).unwrap_or(u16::MAX))
            .set_truncation_indicator("…");
        if self.has_heading {
            table.set_header(used.iter().map(|&column| self.columns[column].heading));
        }
        for row in texts {
            let mut cells = Row::new();
            for &column in used {
                cells.add_cell(row.get(column).map_or("", String::as_str).into());
            }
            table.add_row(cells);
        }
        for (place, &column) in used.iter().enumerate() {
            let Some(laid) = table.column_mut(place) else { continue };
            // A mark and a blank part two columns.
            laid.set_padding((u16::from(place > 0), 0));
            if self.columns[column].whole && used.len() > 1 {
                let heading = if self.has_heading { escape::display_width(self.columns[column].heading) } else { 0 };
                let widest =
                    texts.iter().filter_map(|row| row.get(column)).map(|text| escape::display_width(text)).max();
                let wanted = widest.unwrap_or(0).max(heading).min(width / 2) + usize::from(place > 0);
                laid.set_constraint(ColumnConstraint::Absolute(Width::Fixed(
                    u16::try_from(wanted).unwrap_or(u16::MAX),
                )));
            }
        }
        let mut blocks = vec![Vec::new()];
        for line in table.lines() {
            if line.contains(ROW_MARK) {
                blocks.push(Vec::new());
            } else if let Some(block) = blocks.last_mut() {
                block.push(line);
            }
        }
        blocks.into_iter().map(|block| self.truncate_block(block, used)).collect()
    }

    /// The block of a row without what is too much for its brief columns.
    fn truncate_block(&self, block: Vec<String>, used: &[usize]) -> Vec<String> {
        if block.len() <= MAX_LINES {
            return block;
        }
        let mut lines: Vec<Vec<String>> =
            block.iter().map(|line| line.split(COLUMN_MARK).map(ToOwned::to_owned).collect()).collect();
        let brief = |place: usize| used.get(place).is_some_and(|&column| self.columns[column].brief);
        for place in (0..used.len()).filter(|&place| brief(place)) {
            let mut missing = false;
            for part in lines.iter_mut().skip(MAX_LINES).filter_map(|line| line.get_mut(place)) {
                missing |= !part.trim().is_empty();
                *part = " ".repeat(escape::display_width(part));
            }
            if let Some(part) = lines[MAX_LINES - 1].get_mut(place).filter(|_| missing) {
                let width = escape::display_width(part);
                let cut = escape::truncate(&format!("{} …", part.trim_end()), width).into_owned();
                *part = format!("{cut}{}", " ".repeat(width - escape::display_width(&cut)));
            }
        }
        while lines.last().is_some_and(|line| line.iter().all(|part| part.trim().is_empty())) {
            lines.pop();
        }
        lines.into_iter().map(|line| line.join(&COLUMN_MARK.to_string())).collect()
    }

    /// Whether a column is too narrow to be read.
    fn has_squeezed_column(&self, blocks: &[Vec<String>], texts: &[Vec<String>], used: &[usize]) -> bool {
        let Some(line) = blocks.iter().flatten().next() else { return false };
        line.split(COLUMN_MARK).zip(used).enumerate().any(|(place, (part, &column))| {
            let width = escape::display_width(part).saturating_sub(usize::from(place > 0));
            let heading = escape::display_width(self.columns[column].heading);
            let longest = texts.iter().filter_map(|row| row.get(column)).map(|text| escape::display_width(text)).max();
            width < MIN_COLUMN_WIDTH && longest.unwrap_or(0).max(heading) > width
        })
    }

    /// Each row as a record: heading and cell, cells without text left out, a blank line between two.
    fn render_records(&self, texts: &[Vec<String>], used: &[usize], width: usize, colour: bool) -> String {
        let mut records = Table::new([Column::new("").whole().style(Style::BOLD), Column::new("")]).without_heading();
        for (row, texts) in texts.iter().enumerate() {
            if row > 0 {
                records.add_row([Cell::default(), Cell::default()]);
            }
            for &column in used {
                let Some(text) = texts.get(column).filter(|text| !text.is_empty()) else { continue };
                let style = self.style_of(Some(&column), Some(row));
                records.add_row([self.columns[column].heading.into(), Cell::new(text.as_str()).style(style)]);
            }
        }
        records.render_for_terminal(width, colour)
    }

    fn paint_line(&self, out: &mut String, line: &str, used: &[usize], row: Option<usize>, colour: bool) {
        let mut gap = 0;
        for (place, part) in line.split(COLUMN_MARK).enumerate() {
            let part = if place > 0 { part.strip_prefix(' ').unwrap_or(part) } else { part };
            let text = part.trim_end_matches(' ');
            if !text.is_empty() {
                // Writing to a string cannot fail.
                let _ = write!(out, "{:gap$}{}", "", self.style_of(used.get(place), row).paint(text, colour));
                gap = 0;
            }
            gap += escape::display_width(part) - escape::display_width(text) + 2;
        }
        out.push('\n');
    }

    fn style_of(&self, column: Option<&usize>, row: Option<usize>) -> Style {
        let (Some(&column), Some(row)) = (column, row) else { return Style::BOLD };
        let cell = self.rows.get(row).and_then(|row| row.get(column));
        cell.and_then(|cell| cell.style).unwrap_or(self.columns[column].style)
    }
}

/// Parts of a text on as few lines as they need, a part on one line where it fits.
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
            Column::new("NAME").whole(),
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
    fn colours_end_where_the_text_ends() {
        assert_eq!(
            sample().render_for_terminal(80, true),
            "\x1b[1mNAME\x1b[0m      \x1b[1mDESCRIPTION\x1b[0m\n\
             get_user  \x1b[2mGets a user by \\x1b[1mid\x1b[0m\n\
             \x1b[31mx\x1b[0m         \x1b[2mshort\x1b[0m\n"
        );
    }

    #[test]
    fn long_cells_are_wrapped_within_the_width_and_cut_at_last() {
        let columns = [Column::new("NAME").whole(), Column::new("DESCRIPTION").style(Style::DIM).brief()];
        let mut table = Table::new(columns);
        table.add_row(["a_name_of_some_length".into(), Cell::new("word ".repeat(100))]);
        table.add_row(["b".into(), "c".into()]);
        let indent = " ".repeat(22);
        assert_eq!(
            table.render_for_terminal(40, false),
            format!(
                "NAME                  DESCRIPTION\n\
                 a_name_of_some_lengt  word word word\n\
                 h                     word word word\n\
                 {indent}word word word\n\
                 {indent}word word wor…\n\
                 b                     c\n"
            )
        );
    }

    #[test]
    fn what_is_not_brief_is_never_cut() {
        let mut table = Table::new([Column::new("NAME").whole(), Column::new("PARAMETERS")]);
        let many: Vec<String> = (0..60).map(|n| format!("p{n}")).collect();
        table.add_row(["a".into(), Cell::new(many.join(", "))]);
        let text = table.render_for_terminal(40, false);
        assert!(many.iter().all(|name| text.contains(name.as_str())) && !text.contains('…'), "{text}");
    }

    #[test]
    fn rows_become_records_where_columns_would_be_too_narrow() {
        let mut table = Table::new([
            Column::new("NAME").whole(),
            Column::new("TYPE"),
            Column::new("EMPTY"),
            Column::new("DESCRIPTION").brief(),
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
    fn no_width_makes_it_hang_or_overflow() {
        let mut table = Table::new([Column::new("A").whole(), Column::new("B"), Column::new("C"), Column::new("D")]);
        table.add_row(["日本語日本語".into(), "x".repeat(500).into(), "".into(), "y z".into()]);
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
        let mut table = Table::new([Column::new("NAME").whole(), Column::new("STATE")]);
        let state = Cell::new("timeout: no response to tools/list within 3 s")
            .folded("timeout", ["no response to tools/list".to_owned()]);
        table.add_row(["far".into(), state.style(Style::RED)]);
        table.add_row(["near".into(), "ok".into()]);
        assert_eq!(
            table.render_for_terminal(80, false),
            "NAME  STATE\nfar   timeout: no response to tools/list within 3 s\nnear  ok\n"
        );
        assert_eq!(
            table.render_for_terminal(24, true),
            "\x1b[1mNAME\x1b[0m  \x1b[1mSTATE\x1b[0m\nfar   \x1b[31mtimeout\x1b[0m\n    \x1b[2mno response to tool…\x1b[0m\n\
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
