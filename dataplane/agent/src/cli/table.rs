//! Decides how wide columns are. It never wraps or cuts: a terminal that is too narrow does that.

use super::page::{Span, faint};
use std::borrow::Cow;

/// Space between columns.
const GAP: usize = 3;

/// Where a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows under heads.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(Cow<'static, str>, Side)>,
    rows: Vec<Row>,
}

#[derive(Debug)]
enum Row {
    /// A cell for each column.
    Cells(Vec<Span>),
    /// A line over the whole width, which makes no column wider.
    Line(Vec<Span>),
}

impl Table {
    pub(super) fn new<H: Into<Cow<'static, str>>>(columns: impl IntoIterator<Item = (H, Side)>) -> Self {
        Self {
            columns: columns.into_iter().map(|(head, side)| (head.into(), side)).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; it should have a cell for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Span>) {
        self.rows.push(Row::Cells(cells.into_iter().collect()));
    }

    /// Adds a line over the whole width: what the rows after it have in common.
    pub(super) fn heading(&mut self, spans: impl IntoIterator<Item = Span>) {
        self.rows.push(Row::Line(spans.into_iter().collect()));
    }

    /// Whether it has no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table line by line; nothing without rows.
    pub(super) fn lines(self) -> Vec<Vec<Span>> {
        if self.is_empty() {
            return Vec::new();
        }
        let heads = self.columns.iter().map(|(head, _)| faint(head)).collect();
        let mut lines = vec![Row::Cells(heads)];
        lines.extend(self.rows);
        let width = |column: usize| {
            let cell = |row: &Row| match row {
                Row::Cells(cells) => cells.get(column).map(Span::width),
                Row::Line(_) => None,
            };
            lines.iter().filter_map(cell).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |row| match row {
            Row::Cells(cells) => aligned(cells, &self.columns, &widths),
            Row::Line(spans) => spans,
        };
        lines.into_iter().map(line).collect()
    }
}

fn aligned(row: Vec<Span>, columns: &[(Cow<'static, str>, Side)], widths: &[usize]) -> Vec<Span> {
    let mut out = Vec::with_capacity(3 * row.len());
    for (index, ((cell, (_, side)), width)) in row.into_iter().zip(columns).zip(widths).enumerate() {
        let space = Span::from(" ".repeat(width.saturating_sub(cell.width())));
        if index > 0 {
            out.push(Span::from(" ".repeat(GAP)));
        }
        match side {
            Side::Left => out.extend([cell, space]),
            Side::Right => out.extend([space, cell]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::page::{Page, bad};
    use super::*;

    #[test]
    fn columns_line_up_with_and_without_colour() {
        let mut table = Table::new([("name", Side::Left), ("packets/s", Side::Right), ("note", Side::Left)]);
        table.row(["größer".into(), "12 k".into(), bad("late")]);
        table.row(["b".into(), "7".into(), "".into()]);
        let mut page = Page::default();
        page.table(table);
        let text = page.render(false);
        assert_eq!(
            text,
            "name     packets/s   note\ngrößer        12 k   late\nb                7\n"
        );
        assert!(page.render(true).contains("12 k   \u{1b}["));
    }

    #[test]
    fn headings_make_no_column_wider() {
        let mut table = Table::new([("n", Side::Right), ("what", Side::Left)]);
        table.heading(["of the first kind".into(), ": many".into()]);
        table.row(["12".into(), "a".into()]);
        let mut page = Page::default();
        page.table(table);
        assert_eq!(page.render(false), " n   what\nof the first kind: many\n12   a\n");
    }

    #[test]
    fn a_table_without_rows_is_nothing() {
        assert!(Table::new([("name", Side::Left)]).lines().is_empty());
    }
}
