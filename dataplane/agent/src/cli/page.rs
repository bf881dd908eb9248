//! Decides how text with a meaning reaches a person: lines and tables, in colour where that is understood. It never lets through control characters from what
//! it shows, since names and texts come from files that others wrote.

use super::table::Table;
use clap::builder::styling::{AnsiColor, Style};

/// Text of one meaning.
#[derive(Clone, Debug)]
pub(super) struct Span {
    text: String,
    style: Style,
}

impl Span {
    fn new(text: &str, style: Style) -> Self {
        Self {
            text: text.chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
            style,
        }
    }

    /// Columns it takes.
    pub(super) fn width(&self) -> usize {
        self.text.chars().count()
    }

    /// Appends it.
    pub(super) fn write(&self, out: &mut String, colour: bool) {
        if colour && self.style != Style::new() {
            out.push_str(&format!("{}{}{:#}", self.style, self.text, self.style));
        } else {
            out.push_str(&self.text);
        }
    }
}

impl From<&str> for Span {
    fn from(text: &str) -> Self {
        Self::new(text, Style::new())
    }
}

impl From<String> for Span {
    fn from(text: String) -> Self {
        Self::new(&text, Style::new())
    }
}

/// What the page is about.
pub(super) fn bold(text: &str) -> Span {
    Span::new(text, Style::new().bold())
}

/// As it should be.
pub(super) fn good(text: &str) -> Span {
    Span::new(text, AnsiColor::Green.on_default().bold())
}

/// Not as it should be.
pub(super) fn bad(text: &str) -> Span {
    Span::new(text, AnsiColor::Red.on_default().bold())
}

/// Perhaps not as it should be.
pub(super) fn doubtful(text: &str) -> Span {
    Span::new(text, AnsiColor::Yellow.on_default().bold())
}

/// Heads of columns, and what matters less.
pub(super) fn faint(text: &str) -> Span {
    Span::new(text, Style::new().dimmed())
}

/// What is shown for a request.
#[derive(Debug, Default)]
pub(super) struct Page(Vec<Vec<Span>>);

impl Page {
    /// Adds a line.
    pub(super) fn line(&mut self, spans: impl IntoIterator<Item = Span>) {
        self.0.push(spans.into_iter().collect());
    }

    /// Adds a table, if it has rows.
    pub(super) fn table(&mut self, table: Table) {
        self.0.extend(table.lines());
    }

    /// Adds an empty line.
    pub(super) fn gap(&mut self) {
        self.0.push(Vec::new());
    }

    /// The text, ending with a line feed.
    pub(super) fn render(&self, colour: bool) -> String {
        let mut out = String::new();
        for line in &self.0 {
            line.iter().for_each(|span| span.write(&mut out, colour));
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_written_only_where_it_is_wanted() {
        let mut page = Page::default();
        page.line([good("ready"), " now".into()]);
        assert_eq!(page.render(false), "ready now\n");
        let coloured = page.render(true);
        assert!(
            coloured.starts_with("\u{1b}[") && coloured.ends_with("\u{1b}[0m now\n"),
            "{coloured:?}"
        );
    }

    #[test]
    fn what_is_shown_cannot_drive_the_terminal() {
        let mut page = Page::default();
        page.line([bold("web\u{1b}]0;owned\u{7}"), "\r\n\u{9b}2J".into()]);
        assert_eq!(page.render(false), "web?]0;owned????2J\n");
    }
}
