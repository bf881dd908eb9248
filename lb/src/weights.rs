//! Decides which endpoint a point in the sum of all weights belongs to. It never draws the point itself.

use crate::Endpoint;

/// Weights summed up in order: endpoint `i` owns the points from `ends[i - 1]` up to, without, `ends[i]`.
#[derive(Debug)]
pub(crate) struct Cumulative {
    ends: Box<[u64]>,
}

impl Cumulative {
    /// Sums the weights divided by `unit`, which must divide all of them and not be 0.
    pub(crate) fn new(endpoints: &[Endpoint], unit: u64) -> Self {
        let mut total = 0;
        let ends = endpoints.iter().map(|e| {
            total += u64::from(e.weight) / unit;
            total
        });
        Self { ends: ends.collect() }
    }

    /// Sum of all weights; 0 when nothing can be chosen.
    pub(crate) fn total(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Owner of a point; `None` from [`Self::total`] on.
    pub(crate) fn owner(&self, point: u64) -> Option<usize> {
        let index = self.ends.partition_point(|&end| end <= point);
        (index < self.ends.len()).then_some(index)
    }

    /// Owner of the point at `fraction / 2^64` of the total; `None` when the total is 0.
    pub(crate) fn owner_at(&self, fraction: u64) -> Option<usize> {
        self.owner(((u128::from(fraction) * u128::from(self.total())) >> 64) as u64)
    }
}

/// Greatest common divisor; `gcd(0, b)` is `b`.
pub(crate) const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while a != 0 {
        (a, b) = (b % a, a);
    }
    b
}
