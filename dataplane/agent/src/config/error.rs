//! What is said about a configuration that cannot be used.

use std::fmt;
use std::path::{Path, PathBuf};

/// A configuration that cannot be used: where, what, and what would be right. Displayed as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigError {
    /// The file, as it was named.
    pub(crate) file: PathBuf,
    /// Line, from 1, where one is to blame.
    pub(crate) line: Option<u64>,
    /// What is wrong and what is wanted.
    pub(crate) text: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "config {}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.text)
    }
}

impl std::error::Error for ConfigError {}

/// The same before the file's name is known.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) line: Option<u64>,
    pub(super) text: String,
}

impl Fault {
    pub(super) fn at(line: u64, text: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            text: text.into(),
        }
    }

    pub(super) fn whole_file(text: impl Into<String>) -> Self {
        Self {
            line: None,
            text: text.into(),
        }
    }

    pub(super) fn in_file(self, file: &Path) -> ConfigError {
        ConfigError {
            file: file.into(),
            line: self.line,
            text: self.text,
        }
    }
}
