//! Decides what became of numbered packets: which arrived, which twice, which out of order. It never keeps more than a window of the last
//! [`WINDOW`] numbers.
//!
//! A packet is reordered when a later one came before it (RFC 4737 section 3.3: its number is below the next expected one); how far is its
//! extent, the number of packets that arrived since the first of those (section 4.2.1). Of duplicates only the first arrival counts for
//! either. A packet that comes when the window has passed it, or a second time then, is stale: it cannot be told which of the two it is, and
//! it stays among the lost. Extents are known for the last [`GAPS`] gaps.

use hdrhistogram::Histogram;
use std::collections::VecDeque;

/// Numbers that are remembered: four million, so 512 KiB, and 0.4 s at ten million packets a second.
pub(super) const WINDOW: u64 = 1 << 22;
/// Gaps between arrivals that are remembered.
const GAPS: usize = 1 << 17;

/// Books of one run.
pub(super) struct Account {
    /// A bit for each number of the window: arrived.
    seen: Vec<u64>,
    /// Highest number that arrived, and one: the next expected one.
    next: u64,
    /// Next expected round of each flow; empty where one flow is all there is.
    rounds: Vec<u64>,
    /// What did not come before something later did: first missing number, and how many had arrived when that later one came.
    gaps: VecDeque<(u64, u64)>,
    pub(super) counts: Counts,
    pub(super) extents: Histogram<u64>,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Packets that arrived, each once.
    pub(crate) unique: u64,
    pub(crate) duplicates: u64,
    /// Of all packets together.
    pub(crate) reordered: u64,
    /// Within their flow, which is what the ends of a connection feel.
    pub(crate) reordered_in_flow: u64,
    /// Too late to be told from a duplicate.
    pub(crate) stale: u64,
}

/// What a packet was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    First,
    Again,
    Stale,
}

impl Account {
    /// Packets belong to so many flows in turn.
    pub(super) fn new(flows: u64) -> Self {
        Self {
            seen: vec![0; (WINDOW / 64) as usize],
            next: 0,
            rounds: if flows > 1 { vec![0; flows as usize] } else { Vec::new() },
            gaps: VecDeque::with_capacity(GAPS),
            counts: Counts::default(),
            extents: Histogram::new_with_bounds(1, WINDOW, 3).expect("bounds that are constant"),
        }
    }

    /// A packet arrived. `number` must be one that was sent, as the window follows it.
    #[inline]
    pub(super) fn arrived(&mut self, number: u64) -> Arrival {
        if number >= self.next {
            self.advance(number);
        } else if self.next - number > WINDOW {
            self.counts.stale += 1;
            return Arrival::Stale;
        } else if self.bit(number) {
            self.counts.duplicates += 1;
            return Arrival::Again;
        } else {
            self.late(number);
        }
        let (word, bit) = place(number);
        self.seen[word] |= bit;
        self.counts.unique += 1;
        self.in_flow(number);
        Arrival::First
    }

    fn bit(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.seen[word] & bit != 0
    }

    /// Moves the window on, so that `number` is its last.
    #[inline]
    fn advance(&mut self, number: u64) {
        let missing = number - self.next;
        if missing > 0 {
            if self.gaps.len() == GAPS {
                self.gaps.pop_front();
            }
            self.gaps.push_back((self.next, self.counts.unique));
        }
        if missing >= WINDOW {
            self.seen.fill(0);
        } else {
            for passed in self.next..=number {
                let (word, bit) = place(passed);
                self.seen[word] &= !bit;
            }
        }
        self.next = number + 1;
    }

    fn late(&mut self, number: u64) {
        self.counts.reordered += 1;
        let behind = self.gaps.partition_point(|(first, _)| *first <= number);
        if let Some((_, before)) = behind.checked_sub(1).and_then(|at| self.gaps.get(at)) {
            self.extents.saturating_record(self.counts.unique - before);
        }
    }

    #[inline]
    fn in_flow(&mut self, number: u64) {
        let flows = self.rounds.len() as u64;
        if flows == 0 {
            self.counts.reordered_in_flow = self.counts.reordered;
            return;
        }
        let (flow, round) = ((number % flows) as usize, number / flows);
        if round < self.rounds[flow] {
            self.counts.reordered_in_flow += 1;
        } else {
            self.rounds[flow] = round + 1;
        }
    }
}

fn place(number: u64) -> (usize, u64) {
    let at = number % WINDOW;
    ((at / 64) as usize, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The definitions as they are written, over everything that arrived.
    fn twin(arrivals: &[u64], flows: u64) -> (Counts, Vec<u64>) {
        let (mut counts, mut extents) = (Counts::default(), Vec::new());
        let mut first: Vec<u64> = Vec::new();
        for &number in arrivals {
            if first.contains(&number) {
                counts.duplicates += 1;
                continue;
            }
            if let Some(at) = first.iter().position(|earlier| *earlier > number) {
                counts.reordered += 1;
                extents.push((first.len() - at) as u64);
            }
            let of_flow = |earlier: &&u64| **earlier % flows == number % flows && **earlier > number;
            counts.reordered_in_flow += u64::from(first.iter().any(|earlier| of_flow(&earlier)));
            first.push(number);
        }
        counts.unique = first.iter().collect::<BTreeSet<_>>().len() as u64;
        (counts, extents)
    }

    proptest! {
        #[test]
        fn agrees_with_the_definitions(arrivals in proptest::collection::vec(0u64..60, 0..120), flows in 1u64..5) {
            let mut account = Account::new(flows);
            arrivals.iter().for_each(|number| { account.arrived(*number); });
            let (counts, extents) = twin(&arrivals, flows);
            prop_assert_eq!(account.counts, counts);
            prop_assert_eq!(account.extents.len(), extents.len() as u64);
            prop_assert_eq!(account.extents.max(), extents.iter().copied().max().unwrap_or(0));
            let mean: f64 = extents.iter().sum::<u64>() as f64 / extents.len().max(1) as f64;
            prop_assert!((account.extents.mean() - mean).abs() < 1e-9);
        }
    }

    #[test]
    fn behind_the_window_nothing_is_told_apart_and_before_it_everything() {
        let mut account = Account::new(1);
        let all = [
            0,
            WINDOW,
            1,
            1,
            0,
            5 * WINDOW,
            5 * WINDOW - 1,
            4 * WINDOW + 1,
            4 * WINDOW,
            3,
        ];
        use Arrival::{Again, First, Stale};
        let want = [First, First, First, Again, Stale, First, First, First, Stale, Stale];
        assert_eq!(all.map(|number| account.arrived(number)), want);
        let Counts {
            unique,
            duplicates,
            reordered,
            stale,
            ..
        } = account.counts;
        assert_eq!((unique, duplicates, reordered, stale), (6, 1, 3, 3));
    }

    #[test]
    fn extents_of_forgotten_gaps_are_unknown_and_nothing_else_is() {
        let mut account = Account::new(1);
        let last = 2 * (GAPS as u64 + 10);
        (0..=last).step_by(2).for_each(|number| _ = account.arrived(number));
        account.arrived(1);
        account.arrived(last - 1);
        assert_eq!((account.counts.reordered, account.extents.len()), (2, 1));
    }
}
