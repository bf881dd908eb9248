//! Decides where the median of all possible runs lies, from the few that there are, and with that whether two points differ.
//!
//! The interval is the sign test's: of n runs the number below the true median is binomial with probability 1/2, whatever the distribution.
//! The narrowest pair of order statistics, counted from both ends, that holds the median with 95 % probability is taken. With fewer
//! than six runs there is none.

use super::sorted;
use std::cmp::Ordering;

/// How sure an interval is.
const CONFIDENCE: f64 = 0.95;

/// An interval that holds the median in at least 95 of 100 cases; `None` with fewer than six values.
pub(crate) fn median_interval(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    interval_within(values, 1.0 - CONFIDENCE)
}

/// An interval that misses the median in at most this share of cases; `None` with too few values for that.
pub(crate) fn interval_within(values: impl IntoIterator<Item = f64>, wrong: f64) -> Option<(f64, f64)> {
    let sorted = sorted(values);
    let skip = skipped(sorted.len(), wrong)?;
    Some((sorted[skip], sorted[sorted.len() - 1 - skip]))
}

/// How many values such an interval takes at least.
pub(crate) fn values_needed(wrong: f64) -> usize {
    (2..=i32::MAX as usize)
        .find(|count| skipped(*count, wrong).is_some())
        .unwrap_or(usize::MAX)
}

/// How `a` compares with `b`, if that is more than chance: `None` while the intervals of their medians overlap, or one has none.
pub(crate) fn differs(a: &[f64], b: &[f64]) -> Option<Ordering> {
    let (a_low, a_high) = median_interval(a.iter().copied())?;
    let (b_low, b_high) = median_interval(b.iter().copied())?;
    if a_high < b_low {
        Some(Ordering::Less)
    } else if a_low > b_high {
        Some(Ordering::Greater)
    } else {
        None
    }
}

/// How many values at each end lie outside of the interval.
fn skipped(count: usize, wrong: f64) -> Option<usize> {
    // Probability that at most `skip` of the values lie below the median, and as many above: both tails together.
    let mut term = 0.5f64.powi(i32::try_from(count).ok()?);
    let mut tail = 0.0;
    let mut skip = None;
    for k in 0..count / 2 {
        tail += term;
        if 2.0 * tail > wrong {
            break;
        }
        skip = Some(k);
        term *= (count - k) as f64 / (k + 1) as f64;
    }
    skip
}
