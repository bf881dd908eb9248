//! Decides the order: each round runs both sides once, which one first by chance, so that a machine that slows down does so for both.

use super::sample::Sample;
use super::verdict::enough;
use anyhow::Result;
use std::collections::BTreeMap;

/// Whatever can measure a side.
pub(super) trait Runner {
    /// One run of each point of side 0 or 1.
    fn run(&mut self, side: usize, seed: u64) -> Result<Vec<Sample>>;
}

/// What both sides measured.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// By point: both times of each round.
    pub(super) points: BTreeMap<String, Vec<[f64; 2]>>,
    /// Points that one side alone has, with the side.
    pub(super) alone: BTreeMap<String, usize>,
}

/// Runs all rounds; an error if they are too few for that many points, or no point is both sides'.
pub(super) fn rounds(runner: &mut impl Runner, count: u32, seed: u64, mut before: impl FnMut(usize)) -> Result<Pairs> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut pairs = Pairs::default();
    for round in 0..count {
        let mut order = [0, 1];
        random.shuffle(&mut order);
        // The same traffic for both.
        let seed = seed.wrapping_add(u64::from(round));
        let mut both = [BTreeMap::new(), BTreeMap::new()];
        for side in order {
            before(side);
            let samples = runner.run(side, seed)?;
            both[side] = samples.into_iter().map(|sample| (sample.point, sample.ns)).collect();
        }
        let [first, mut second] = both;
        for (point, ns) in first {
            match second.remove(&point) {
                Some(other) => pairs.points.entry(point).or_default().push([ns, other]),
                None => _ = pairs.alone.insert(point, 0),
            }
        }
        pairs.alone.extend(second.into_keys().map(|point| (point, 1)));
        // Known after the first round already, and said before the others.
        enough(pairs.points.len(), count as usize)?;
    }
    Ok(pairs)
}
