//! Decides what may be said of a few runs: the middle, the spread, where the median lies, and whether two points differ at all. It
//! never assumes a distribution: times have long tails.

mod interval;
#[cfg(test)]
mod tests;

pub(crate) use interval::{differs, interval_within, median_interval, values_needed};

use serde::Serialize;

/// The middle of some values, and their 5 % and 95 % quantiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// `None` without values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let sorted = sorted(values);
        Some(Self {
            median: quantile(&sorted, 0.5)?,
            low: quantile(&sorted, 0.05)?,
            high: quantile(&sorted, 0.95)?,
        })
    }
}

pub(crate) fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The quantile `at` (0 to 1) of sorted values, between two of them by their distance (Hyndman and Fan's seventh definition, which R and
/// NumPy use unless told otherwise).
pub(crate) fn quantile(sorted: &[f64], at: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = at.clamp(0.0, 1.0) * last as f64;
    let (below, share) = (place as usize, place.fract());
    let above = (below + 1).min(last);
    Some(sorted[below] + (sorted[above] - sorted[below]) * share)
}
