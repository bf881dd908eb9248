//! Decides which rules a number (an address, a port, an identity) falls under, by binary search over ranges that do not
//! overlap. It never knows what the number or the rules mean.

use hashbrown::HashMap;

/// How many rules one [`Row`] speaks about.
pub(crate) const ROW_RULES: usize = 256;

/// A set of rules of one chunk, one bit each; the lowest bit is the rule that is named first.
pub(crate) type Row = [u64; ROW_RULES / 64];

/// The row with no rule.
pub(crate) const NONE: Row = [0; ROW_RULES / 64];

/// Adds a rule to a row.
pub(crate) fn set(row: &mut Row, rule: usize) {
    row[rule / 64] |= 1 << (rule % 64);
}

/// Rules in either row.
#[inline]
pub(crate) fn or(a: &Row, b: &Row) -> Row {
    std::array::from_fn(|i| a[i] | b[i])
}

/// The lowest rule that is in both rows.
#[inline]
pub(crate) fn first_common(a: &Row, b: &Row) -> Option<usize> {
    (0..a.len()).find_map(|i| {
        let both = a[i] & b[i];
        (both != 0).then(|| i * 64 + both.trailing_zeros() as usize)
    })
}

/// A number that ranges are made of.
pub(crate) trait Number: Copy + Ord {
    /// The next number, if there is one.
    fn successor(self) -> Option<Self>;
    /// The number before, if there is one.
    fn predecessor(self) -> Option<Self>;
}

macro_rules! numbers {
    ($($t:ty)*) => {$(impl Number for $t {
        fn successor(self) -> Option<Self> { self.checked_add(1) }
        fn predecessor(self) -> Option<Self> { self.checked_sub(1) }
    })*};
}
numbers!(u16 u32 u128);

/// From `first` to `last`, both included, `rule` matches. A `last` below `first` is an empty range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<N> {
    pub(crate) first: N,
    pub(crate) last: N,
    pub(crate) rule: usize,
}

/// Rows by number. Each step holds from its number up to the next step's; `before` holds below the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ranges<N> {
    before: Row,
    steps: Vec<(N, u32)>,
    rows: Vec<Row>,
}

impl<N: Number> Ranges<N> {
    /// `base` matches everywhere, each piece within its range; pieces may overlap, also those of one rule.
    pub(crate) fn new(base: Row, pieces: &[Piece<N>]) -> Self {
        let mut events = Vec::with_capacity(pieces.len() * 2);
        for piece in pieces.iter().filter(|piece| piece.first <= piece.last) {
            events.push((piece.first, piece.rule, true));
            events.extend(piece.last.successor().map(|after| (after, piece.rule, false)));
        }
        events.sort_unstable();
        let mut open = [0u32; ROW_RULES];
        let mut row = base;
        let mut builder = Builder::new(base);
        for group in events.chunk_by(|a, b| a.0 == b.0) {
            for &(_, rule, starts) in group {
                // An end never comes before its own start: that one has a smaller number.
                open[rule] = if starts { open[rule] + 1 } else { open[rule] - 1 };
            }
            for &(_, rule, _) in group {
                let (word, bit) = (rule / 64, 1u64 << (rule % 64));
                row[word] = row[word] & !bit | base[word] & bit | if open[rule] > 0 { bit } else { 0 };
            }
            builder.step(group[0].0, row);
        }
        builder.ranges
    }

    /// One row per number from `start` on; `base` matches below and behind as well.
    pub(crate) fn from_rows(base: Row, rows: impl Iterator<Item = (N, Row)>) -> Self {
        let mut builder = Builder::new(base);
        let mut last = None;
        for (number, row) in rows {
            builder.step(number, or(&base, &row));
            last = Some(number);
        }
        if let Some(after) = last.and_then(N::successor) {
            builder.step(after, base);
        }
        builder.ranges
    }

    /// The rules that match at `number`.
    #[inline]
    pub(crate) fn find(&self, number: N) -> &Row {
        match self.steps.partition_point(|&(start, _)| start <= number) {
            0 => &self.before,
            n => &self.rows[self.steps[n - 1].1 as usize],
        }
    }
}

struct Builder<N> {
    ranges: Ranges<N>,
    known: HashMap<Row, u32>,
    current: Row,
}

impl<N: Number> Builder<N> {
    fn new(base: Row) -> Self {
        let ranges = Ranges {
            before: base,
            steps: Vec::new(),
            rows: Vec::new(),
        };
        Self {
            ranges,
            known: HashMap::new(),
            current: base,
        }
    }

    fn step(&mut self, number: N, row: Row) {
        if row == self.current {
            return;
        }
        self.current = row;
        let rows = &mut self.ranges.rows;
        let at = *self.known.entry(row).or_insert_with(|| {
            rows.push(row);
            (rows.len() - 1) as u32
        });
        self.ranges.steps.push((number, at));
    }
}

/// What is left of `whole` without the `holes`, in ascending order; holes may overlap and reach outside.
pub(crate) fn subtract<N: Number>(whole: (N, N), holes: &mut [(N, N)]) -> Vec<(N, N)> {
    holes.sort_unstable();
    let (mut first, last) = whole;
    let mut left = Vec::new();
    for &mut (hole_first, hole_last) in holes {
        if hole_last < first || hole_first > last {
            continue;
        }
        if let Some(before) = hole_first.predecessor().filter(|&before| before >= first) {
            left.push((first, before));
        }
        let Some(after) = hole_last.successor() else {
            return left;
        };
        first = after;
    }
    if first <= last {
        left.push((first, last));
    }
    left
}

#[cfg(test)]
#[path = "ranges_tests.rs"]
mod tests;
