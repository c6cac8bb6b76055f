//! Columns for a person: each as wide as its widest cell, numbers to the right.

use super::style::Style;

/// A cell, painted after it was filled up with spaces.
pub struct Cell {
    text: String,
    is_number: bool,
    paint: Option<fn(Style, String) -> String>,
}

impl Cell {
    pub fn text(text: impl ToString) -> Self {
        Self { text: text.to_string(), is_number: false, paint: None }
    }

    pub fn number(number: u64) -> Self {
        Self { text: grouped(number), is_number: true, paint: None }
    }

    pub fn good(self) -> Self {
        Self { paint: Some(Style::good), ..self }
    }

    pub fn warn(self) -> Self {
        Self { paint: Some(Style::warn), ..self }
    }

    pub fn bad(self) -> Self {
        Self { paint: Some(Style::bad), ..self }
    }

    pub fn dim(self) -> Self {
        Self { paint: Some(Style::dim), ..self }
    }
}

/// Rows below a line of headings.
pub struct Table {
    headings: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A heading of no text leaves the column without one.
    pub fn new(headings: &[&str]) -> Self {
        Self { headings: headings.iter().map(Cell::text).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The lines, each with its end.
    pub fn lines(&self, style: Style) -> String {
        let all = || std::iter::once(&self.headings).chain(&self.rows);
        let columns = all().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            all().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        // A heading stands where the cells below it do.
        let is_right = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).any(|cell| cell.is_number)
        };
        let mut lines = String::new();
        for (place, row) in all().enumerate() {
            let mut line = String::new();
            for ((column, cell), &width) in row.iter().enumerate().zip(&widths) {
                let right = match place {
                    0 => is_right(column),
                    _ => cell.is_number,
                };
                let is_last = column + 1 == row.len();
                let filled = match (right, is_last) {
                    (true, _) => format!("{:>width$}", cell.text),
                    (false, true) => cell.text.clone(),
                    (false, false) => format!("{:<width$}", cell.text),
                };
                line.push_str(if column == 0 { "" } else { "  " });
                line.push_str(&match (place, cell.paint) {
                    (0, _) => style.dim(filled),
                    (_, Some(paint)) => paint(style, filled),
                    (_, None) => filled,
                });
            }
            lines.push_str(line.trim_end());
            lines.push('\n');
        }
        lines
    }
}

/// A number with commas between its thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let mut table = Table::new(&["node", "keys", "what"]);
        table.row(vec![Cell::text("a:1"), Cell::number(7), Cell::text("it").bad()]);
        table.row(vec![Cell::text("longer:1"), Cell::number(1_234_567), Cell::text("")]);
        let expected = "node           keys  what\na:1               7  it\nlonger:1  1,234,567\n";
        assert_eq!(table.lines(Style::default()), expected);
    }

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
