//! The committed counts, and what a new count is beside them. Decides what is told of a change: nothing up to 1 %, in either direction.

use super::{Cost, Counted};
use crate::measure::Memory;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What a count may differ by: hash keys are drawn anew in each process.
const TOLERANCE: f64 = 0.01;

/// The file's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Baseline {
    pub(super) rustc: String,
    pub(super) target_cpu: String,
    pub(super) memory: Memory,
    pub(super) cases: BTreeMap<String, Cost>,
}

/// One figure beside its baseline.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judged {
    pub(super) name: String,
    pub(super) was: Option<f64>,
    pub(super) is: Option<f64>,
    pub(super) verdict: Verdict,
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// As far as can be told.
    Same,
    Worse,
    Better,
    /// Not in the baseline.
    New,
    /// In the baseline only.
    Gone,
}

impl Verdict {
    fn of(was: Option<f64>, is: Option<f64>) -> Self {
        match (was, is) {
            (Some(was), Some(is)) if is > was * (1.0 + TOLERANCE) => Self::Worse,
            (Some(was), Some(is)) if is < was * (1.0 - TOLERANCE) => Self::Better,
            (Some(_), Some(_)) => Self::Same,
            (None, _) => Self::New,
            (Some(_), None) => Self::Gone,
        }
    }

    /// For people; nothing of what stayed.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Same => "",
            Self::Worse => "worse",
            Self::Better => "better, update it",
            Self::New => "not in the baseline, update it",
            Self::Gone => "not counted any more, update it",
        }
    }
}

impl Judged {
    fn new(name: &str, was: Option<f64>, is: Option<f64>) -> Self {
        Self {
            name: name.to_owned(),
            was,
            is,
            verdict: Verdict::of(was, is),
        }
    }

    pub(super) fn as_it_was(&self) -> bool {
        self.verdict == Verdict::Same
    }

    /// Percent, if there is something to compare.
    pub(super) fn change(&self) -> Option<f64> {
        Some(100.0 * (self.is? / self.was? - 1.0))
    }
}

impl From<&Counted> for Baseline {
    fn from(counted: &Counted) -> Self {
        Self {
            rustc: counted.rustc.clone(),
            target_cpu: counted.target_cpu.clone(),
            memory: counted.memory,
            cases: counted.cases.clone(),
        }
    }
}

impl Baseline {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let hint = || {
            format!(
                "{}: the baseline cannot be read; make one with --update",
                path.display()
            )
        };
        let text = fs::read(path).with_context(hint)?;
        serde_json::from_slice(&text).with_context(hint)
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("{}: the baseline cannot be written", path.display()))
    }

    /// Why nothing can be said of a program that this compiler made.
    pub(super) fn another_compiler(&self, rustc: &str) -> Option<String> {
        (self.rustc != rustc).then(|| {
            format!(
                "nothing is compared: the baseline was counted with rustc {}, and this program is made by {rustc}",
                self.rustc
            )
        })
    }

    pub(super) fn must_be_for(&self, target_cpu: &str) -> Result<()> {
        ensure!(
            self.target_cpu == target_cpu,
            "the baseline is for {}, and this program is made for {target_cpu}; `make instructions` builds the right one",
            self.target_cpu
        );
        Ok(())
    }

    /// Each figure of either; of the baseline alone only if `everything` was counted.
    pub(super) fn judge(&self, counted: &Counted, everything: bool) -> Vec<Judged> {
        let value = |cases: &BTreeMap<String, Cost>, name: &str| cases.get(name).map(|cost| cost.instructions);
        let gone = self
            .cases
            .keys()
            .filter(|name| everything && !counted.cases.contains_key(*name));
        let names = counted.cases.keys().chain(gone);
        let cases = names.map(|name| Judged::new(name, value(&self.cases, name), value(&counted.cases, name)));
        let (was, is) = (self.memory, counted.memory);
        let memory = [
            ("bytes of a cache entry", was.cache_entry, is.cache_entry),
            ("bytes of a connection", was.connection, is.connection),
        ];
        let memory = memory.map(|(name, was, is)| Judged::new(name, Some(was as f64), Some(is as f64)));
        cases.chain(memory).collect()
    }
}
