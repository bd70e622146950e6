//! Tables that fit the terminal, and the styles that everything is printed in.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

/// What is well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What needs attention.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// What is broken.
pub const BAD: Style = AnsiColor::Red.on_default();
/// What stands out.
pub const STRONG: Style = Style::new().bold();
/// What is aside.
pub const DIM: Style = Style::new().dimmed();
/// Headings.
pub const HEADING: Style = AnsiColor::Cyan.on_default().bold();

/// Columns of the terminal that stdout is; none: it isn't one, and nothing needs to fit. `COLUMNS` overrides.
pub fn width() -> Option<usize> {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let asked = || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
    told.or_else(asked).filter(|columns| *columns > 0)
}

/// A text in a style.
pub fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// A cell: text and style.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell in a style.
    pub fn new(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: Style::new() }
    }
}

/// A table without lines: columns two spaces apart, headings in capitals.
#[derive(Debug)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

/// A column is never made narrower than this.
const NARROWEST: usize = 10;
const GAP: usize = 2;

impl Table {
    /// An empty one.
    pub fn new<T: Into<String>>(headings: impl IntoIterator<Item = T>) -> Self {
        Self { headings: headings.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row with a cell for each heading.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text; lines end with a newline. Where it would be wider than `room`, the widest columns wrap.
    pub fn render(&self, room: Option<usize>) -> String {
        let widths = self.widths(room);
        let mut out = String::new();
        let headings: Vec<Cell> = self.headings.iter().map(|text| Cell::new(text.to_uppercase(), DIM)).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            line(&mut out, row, &widths);
        }
        out
    }

    fn widths(&self, room: Option<usize>) -> Vec<usize> {
        let columns = self.headings.len();
        let cells = |at: usize| self.rows.iter().filter_map(move |row| row.get(at)).map(|cell| cell.text.width());
        let mut widths: Vec<usize> =
            (0..columns).map(|at| cells(at).chain([self.headings[at].width()]).max().unwrap_or(0)).collect();
        let Some(room) = room else { return widths };
        let room = room.saturating_sub(GAP * columns.saturating_sub(1));
        while widths.iter().sum::<usize>() > room {
            let over = widths.iter().sum::<usize>() - room;
            let Some(widest) = (0..columns).max_by_key(|at| widths[*at]) else { break };
            let second = widths.iter().enumerate().filter(|(at, _)| *at != widest).map(|(_, width)| *width).max();
            let floor = second.unwrap_or(0).max(NARROWEST).min(widths[widest] - 1);
            if widths[widest] <= NARROWEST {
                break;
            }
            widths[widest] = (widths[widest] - over.min(widths[widest])).max(floor);
        }
        widths
    }
}

fn line(out: &mut String, row: &[Cell], widths: &[usize]) {
    let wrapped: Vec<Vec<String>> = row.iter().zip(widths).map(|(cell, width)| wrap(&cell.text, *width)).collect();
    for at in 0..wrapped.iter().map(Vec::len).max().unwrap_or(1) {
        let mut text = String::new();
        let mut pending = 0;
        for ((cell, lines), width) in row.iter().zip(&wrapped).zip(widths) {
            let part = lines.get(at).map_or("", String::as_str);
            if !part.is_empty() {
                // Spaces are written only before something: no line ends with them.
                text.push_str(&" ".repeat(std::mem::take(&mut pending)));
                // Writing to a string can't fail.
                let _ = write!(
                    text,
                    "{}",
                    if cell.style == Style::new() { part.to_owned() } else { styled(cell.style, part) }
                );
            }
            pending += width - part.width().min(*width) + GAP;
        }
        out.push_str(&text);
        out.push('\n');
    }
}

/// A text in lines of at most so many columns, broken between words where that is possible.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.width() + 1 + word.width() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
            while line.width() > width {
                let rest = split_off(&mut line, width);
                lines.push(std::mem::replace(&mut line, rest));
            }
        }
        lines.push(line);
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

/// Cuts a line after so many columns: after the last `/`, `-` or `,` where there is one in its second half.
fn split_off(line: &mut String, width: usize) -> String {
    let mut end = line.len();
    let mut used = 0;
    let mut soft = None;
    for (at, c) in line.char_indices() {
        let mut buffer = [0; 4];
        let next = used + c.encode_utf8(&mut buffer).width();
        if next > width && at > 0 {
            end = at;
            break;
        }
        used = next;
        if matches!(c, '/' | '-' | ',') && used > width / 2 {
            soft = Some(at + c.len_utf8());
        }
    }
    line.split_off(soft.unwrap_or(end).min(end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["name", "says"]);
        table.row(["a".into(), "one two three four five six seven".into()]);
        table.row([Cell::new("default/long-name", BAD), "".into()]);
        table
    }

    #[test]
    fn columns_fit_and_no_line_ends_with_spaces() {
        for (room, lines) in [(None, 3), (Some(120), 3), (Some(40), 4), (Some(30), 6)] {
            let text = anstream::adapter::strip_str(&table().render(room)).to_string();
            assert_eq!(text.lines().count(), lines, "{room:?}:\n{text}");
            assert!(text.lines().all(|line| line.width() <= room.unwrap_or(usize::MAX)), "{room:?}:\n{text}");
            assert!(text.lines().all(|line| !line.ends_with(' ')), "{text}");
        }
    }

    #[test]
    fn long_words_are_broken_where_it_shows_least() {
        assert_eq!(wrap("tenant-default/local-3f2b8a", 16), ["tenant-default/", "local-3f2b8a"]);
        assert_eq!(wrap("aaaaaa", 4), ["aaaa", "aa"]);
        assert_eq!(wrap("äöü 漢字", 4), ["äöü", "漢字"]);
        assert_eq!(wrap("", 4), [""]);
    }

    proptest! {
        #[test]
        fn lines_fit_and_nothing_is_lost(text in "[a-c漢ä ,/-]{0,60}", width in 2..30usize) {
            let lines = wrap(&text, width);
            prop_assert!(lines.iter().all(|line| line.width() <= width), "{lines:?}");
            let letters = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }

        #[test]
        fn tables_fit_wherever_columns_can(
            rows in prop::collection::vec(prop::array::uniform3("[a-c /-]{0,40}"), 0..5),
            room in 40..120usize,
        ) {
            let mut table = Table::new(["one", "two", "three"]);
            for row in rows {
                table.row(row.map(Cell::from));
            }
            let text = table.render(Some(room));
            let plain = anstream::adapter::strip_str(&text).to_string();
            prop_assert!(plain.lines().all(|line| line.width() <= room), "{plain}");
        }
    }
}
