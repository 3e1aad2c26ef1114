//! Aligned columns that are printed while rows arrive: a column is as wide as its widest cell so far.

use console::{measure_text_width, truncate_str};

use super::terminal_columns;

/// Maximum width of a cell; longer names are cut.
const CELL_WIDTH: usize = 40;

/// Maximum number of rows collected before they are printed.
const ROWS: usize = 100;

/// The last column is at least this wide, however narrow the terminal is.
const LAST_WIDTH: usize = 20;

/// Width of a table that is not printed on a terminal.
const LINE_WIDTH: usize = 160;

/// The space between two columns.
const GAP: &str = "  ";

/// How the cells of a column are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A table of `N` columns. Its header is printed with its first rows.
#[derive(Debug)]
pub struct Columns<const N: usize> {
    aligned: [Align; N],
    widths: [usize; N],
    rows: Vec<[String; N]>,
    line_width: usize,
}

impl<const N: usize> Columns<N> {
    pub fn new(head: [&str; N], aligned: [Align; N]) -> Self {
        let mut columns = Self {
            aligned,
            widths: [0; N],
            rows: Vec::new(),
            line_width: terminal_columns().unwrap_or(LINE_WIDTH),
        };
        columns.add(head.map(str::to_owned));
        columns
    }

    /// Adds a row, whose cells are already [`visible`](crate::command_line::visible); returns whether enough rows are collected to
    /// be printed.
    pub fn add(&mut self, mut row: [String; N]) -> bool {
        let others = row.len() - 1;
        for (cell, width) in row.iter_mut().zip(&mut self.widths).take(others) {
            if measure_text_width(cell) > CELL_WIDTH {
                *cell = truncate_str(cell, CELL_WIDTH, "…").into_owned();
            }
            *width = (*width).max(measure_text_width(cell));
        }
        self.rows.push(row);
        self.rows.len() >= ROWS
    }

    /// Appends the collected rows as text.
    pub fn print(&mut self, to: &mut Vec<u8>) {
        let others = &self.widths[..N - 1];
        let taken = others.iter().sum::<usize>() + others.len() * GAP.len();
        let last_width = self.line_width.saturating_sub(taken).max(LAST_WIDTH);
        for row in self.rows.drain(..) {
            let mut line = String::new();
            for (index, cell) in row.iter().enumerate() {
                if index == N - 1 && self.aligned[index] == Align::Left {
                    line += &truncate_str(cell, last_width, "…");
                    continue;
                }
                let padding = self.widths[index].saturating_sub(measure_text_width(cell));
                let padding = " ".repeat(padding);
                let (before, after) = match self.aligned[index] {
                    Align::Left => ("", padding.as_str()),
                    Align::Right => (padding.as_str(), ""),
                };
                line.extend([before, cell.as_str(), after, GAP]);
            }
            to.extend_from_slice(line.trim_end().as_bytes());
            to.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed<const N: usize>(columns: &mut Columns<N>) -> String {
        let mut text = Vec::new();
        columns.print(&mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn columns_are_aligned_and_grow_with_later_rows() {
        let mut columns = Columns::new(
            ["name", "n", "text"],
            [Align::Left, Align::Right, Align::Left],
        );
        columns.add(["a".to_owned(), "1,000".to_owned(), "x".to_owned()]);
        assert_eq!(printed(&mut columns), "name      n  text\na     1,000  x\n");
        columns.add(["日本語".to_owned(), "7".to_owned(), String::new()]);
        assert_eq!(printed(&mut columns), "日本語      7\n");
    }

    #[test]
    fn long_cells_are_cut() {
        let mut columns = Columns::new(["name", "text"], [Align::Left; 2]);
        columns.line_width = 60;
        columns.add(["n".repeat(255), "t".repeat(1_000)]);
        let text = printed(&mut columns);
        let row = text.lines().nth(1).unwrap();
        assert_eq!(row, format!("{}…  {}…", "n".repeat(39), "t".repeat(19)));
    }
}
