//! How the demo's rows look: columns that line up within 100, colour only beside a word that says the same. It never
//! decides what is right.

use std::fmt::Write;

/// One line of the table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) detail: &'static str,
    pub(super) expected: &'static str,
    pub(super) seen: String,
    pub(super) ok: bool,
    /// Lines under the row.
    pub(super) below: Vec<String>,
}

#[derive(Clone, Copy)]
pub(super) struct Style {
    pub(super) colour: bool,
}

/// Widths of the columns: what, detail, expected, seen.
const WIDTHS: [usize; 4] = [24, 22, 17, 20];

/// The table with a head, a line a row, and what belongs under a row.
pub(super) fn render(rows: &[Row], style: Style) -> String {
    let [a, b, c, d] = WIDTHS;
    let mut text = format!(" {:<4}{:<w$} {:<c$} seen\n", "#", "what", "expected", w = a + b + 1);
    for (i, row) in rows.iter().enumerate() {
        // What does not fit goes under the row whole: a reader needs the end of an error more than its beginning.
        let fits = row.seen.chars().count() <= d && !row.seen.contains('\n');
        let seen = if fits { row.seen.as_str() } else { "see below" };
        let mark = match (row.ok, style.colour) {
            (true, true) => "\x1b[32mok\x1b[0m",
            (true, false) => "ok",
            (false, true) => "\x1b[1;31mdiffers\x1b[0m",
            (false, false) => "differs",
        };
        let (n, what, detail, expected) = (i + 1, row.what, row.detail, row.expected);
        _ = writeln!(text, " {n:<4}{what:<a$} {detail:<b$} {expected:<c$} {seen:<d$} {mark}");
        let rest = row.seen.lines().filter(|_| !fits);
        for line in rest.chain(row.below.iter().map(String::as_str)).take(12) {
            _ = writeln!(text, "     {}", line.chars().take(95).collect::<String>());
        }
    }
    text
}
