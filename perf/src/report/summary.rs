//! `target/perf/summary.json`: one list of what all benchmarks found, beside its goals. Each subcommand replaces its own entries.

use super::files;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::fs;

/// Its name.
pub(crate) const NAME: &str = "summary.json";

/// One figure. Names and fields are stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) unit: String,
    /// What it should be, if that was ever said.
    pub(crate) goal: Option<f64>,
    /// Whether it is.
    pub(crate) met: Option<bool>,
}

/// Puts `entries` in the place of those whose names begin with `prefix`.
pub(crate) fn write(prefix: &str, entries: Vec<Entry>) -> Result<()> {
    let old = fs::read(files::folder().join(NAME)).unwrap_or_default();
    // A list that cannot be read is of another version: it is begun anew.
    let old: Vec<Entry> = serde_json::from_slice(&old).unwrap_or_default();
    files::write(NAME, &merged(old, prefix, entries))
}

fn merged(old: Vec<Entry>, prefix: &str, new: Vec<Entry>) -> Vec<Entry> {
    let mut all: Vec<Entry> = old
        .into_iter()
        .filter(|entry| !entry.name.starts_with(prefix))
        .collect();
    all.extend(new);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, value: f64) -> Entry {
        Entry {
            name: name.into(),
            value,
            low: value,
            high: value,
            unit: "ns".into(),
            goal: None,
            met: None,
        }
    }

    #[test]
    fn a_subcommand_replaces_its_own_entries_only() {
        let old = vec![
            entry("compare/a", 1.0),
            entry("pipeline/a", 2.0),
            entry("pipeline/b", 3.0),
        ];
        let all = merged(old, "pipeline/", vec![entry("pipeline/a", 4.0)]);
        assert_eq!(all, [entry("compare/a", 1.0), entry("pipeline/a", 4.0)]);
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Entry>>(&text).unwrap(), all);
    }
}
