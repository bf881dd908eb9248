//! Decides what became faster or slower. Of all points together at most one comparison in twenty says so although nothing changed: each
//! point's share of that is smaller the more of them there are.

use super::rounds::Pairs;
use crate::stats::{interval_within, quantile, sorted, values_needed};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::collections::BTreeMap;

/// Share of comparisons of the same thing that may find something.
pub(super) const WRONG: f64 = 0.05;

/// What is said of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Change {
    Faster,
    Slower,
    /// No more than chance, or than is worth telling.
    Same,
}

/// One point of both sides.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    /// Median of each side, ns at the reference clock.
    pub(super) ns: [f64; 2],
    /// Second time of first, in the same round: median, and where it surely lies.
    pub(super) ratio: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) change: Change,
}

/// What is said of all of them.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) rows: BTreeMap<String, Row>,
    pub(super) alone: BTreeMap<String, usize>,
}

impl Verdict {
    /// `least` is the share that is not worth telling.
    pub(super) fn of(pairs: &Pairs, least: f64) -> Result<Self> {
        let wrong = wrong(pairs.points.len());
        let row = |(name, pairs): (&String, &Vec<[f64; 2]>)| {
            let row = row(pairs, wrong, least).with_context(|| format!("{name}: too few runs"))?;
            Ok((name.clone(), row))
        };
        Ok(Self {
            rows: pairs.points.iter().map(row).collect::<Result<_>>()?,
            alone: pairs.alone.clone(),
        })
    }

    pub(super) fn something_slower(&self) -> bool {
        self.rows.values().any(|row| row.change == Change::Slower)
    }

    pub(super) fn count(&self, change: Change) -> usize {
        self.rows.values().filter(|row| row.change == change).count()
    }
}

/// How often a point may be called different although it is not, among so many.
fn wrong(points: usize) -> f64 {
    WRONG / points.max(1) as f64
}

/// Whether so many rounds can say anything about so many points.
pub(super) fn enough(points: usize, rounds: usize) -> Result<()> {
    ensure!(points > 0, "the revisions have no point in common");
    let needed = values_needed(wrong(points));
    ensure!(
        rounds >= needed,
        "to compare {points} points takes at least {needed} rounds: give more rounds (--rounds) or measure fewer points"
    );
    Ok(())
}

fn row(pairs: &[[f64; 2]], wrong: f64, least: f64) -> Option<Row> {
    let ratios = || pairs.iter().map(|[first, second]| second / first);
    let (low, high) = interval_within(ratios(), wrong)?;
    let median = |side: usize| quantile(&sorted(pairs.iter().map(|pair| pair[side])), 0.5);
    let change = if low > 1.0 + least {
        Change::Slower
    } else if high < 1.0 / (1.0 + least) {
        Change::Faster
    } else {
        Change::Same
    };
    Some(Row {
        ns: [median(0)?, median(1)?],
        ratio: quantile(&sorted(ratios()), 0.5)?,
        low,
        high,
        change,
    })
}
