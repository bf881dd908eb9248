//! Decides whether a value is of the kind that its key wants. It never knows what the key is for.

use super::error::Fault;
use super::tree::{Tree, line_of};
use serde_saphyr::Spanned;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// A value and the key it belongs to.
pub(super) struct Value<'t> {
    key: &'static str,
    value: &'t Spanned<Tree>,
}

impl<'t> Value<'t> {
    /// The value of `section.name` or `name`; `None` when it is absent or empty.
    pub(super) fn find(tree: &'t Tree, key: &'static str) -> Option<Self> {
        let mut at: Option<&Spanned<Tree>> = None;
        for name in key.split('.') {
            let Tree::Map(fields) = at.map_or(tree, |node| &node.value) else {
                return None;
            };
            at = Some(&fields.iter().find(|(key, _)| key.value == name)?.1);
        }
        at.filter(|node| !matches!(node.value, Tree::Null))
            .map(|value| Self { key, value })
    }

    /// An error that quotes the value.
    pub(super) fn wrong(&self, want: impl Display) -> Fault {
        self.fault(format!("is {}; want {want}", self.value.value.shown()))
    }

    /// An error that names the key.
    pub(super) fn fault(&self, text: impl Display) -> Fault {
        Fault::at(line_of(self.value), format!("`{}` {text}", self.key))
    }

    /// A whole number.
    pub(super) fn number<T: TryFrom<i128> + PartialOrd + Display>(&self, range: RangeInclusive<T>) -> Result<T, Fault> {
        let number = match self.value.value {
            Tree::Int(value) => T::try_from(value).ok().filter(|value| range.contains(value)),
            _ => None,
        };
        number.ok_or_else(|| self.wrong(format_args!("a number from {} to {}", range.start(), range.end())))
    }

    /// Text.
    pub(super) fn text(&self, want: &str) -> Result<&'t str, Fault> {
        match &self.value.value {
            Tree::Text(text) => Ok(text),
            Tree::Bool(_) | Tree::Int(_) | Tree::Float(_) => {
                Err(self.wrong(format_args!("{want}; put it in quotes if it is one")))
            }
            _ => Err(self.wrong(want)),
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Fault> {
        let chosen = match &self.value.value {
            Tree::Text(text) => choices.iter().find(|(name, _)| name == text),
            _ => None,
        };
        chosen.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.wrong(format_args!("one of {}", names.join(", ")))
        })
    }

    /// An absolute path.
    pub(super) fn path(&self) -> Result<PathBuf, Fault> {
        let path = self.text("an absolute path")?;
        let fits = path.starts_with('/') && !path.contains('\0');
        fits.then(|| path.into()).ok_or_else(|| self.wrong("an absolute path"))
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.value.value, Tree::List(_))
    }

    /// A list, of which `read` takes each item.
    pub(super) fn list<T>(&self, want: &str, read: impl Fn(&Tree) -> Option<T>) -> Result<Vec<T>, Fault> {
        let Tree::List(items) = &self.value.value else {
            return Err(self.wrong(format_args!("a list of {want}")));
        };
        items
            .iter()
            .map(|item| {
                read(&item.value).ok_or_else(|| {
                    let text = format!("`{}` has {}; want {want}", self.key, item.value.shown());
                    Fault::at(line_of(item), text)
                })
            })
            .collect()
    }
}
