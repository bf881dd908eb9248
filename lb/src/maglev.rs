//! Decides which endpoint a hash belongs to, the same on every node and mostly unchanged when one endpoint comes or goes
//! (Eisenbud et al., "Maglev", NSDI 2016, section 3.4). It never depends on slots or on the order in which endpoints are given.
//!
//! Every endpoint has its own permutation of the table's places; taking turns, each claims the first place in its permutation
//! that is still free. Weights change how often an endpoint has a turn (by the divisors 1, 3, 5, .. of Webster's apportionment).

use crate::Endpoint;
use core::cmp::Reverse;
use std::collections::BinaryHeap;

/// Up to how many endpoints which table size is used: the smallest prime of at least 100 places an endpoint.
///
/// The size must stay while endpoints come and go, because another size moves nearly every client. So there are few sizes, and
/// beyond the last step the size stays at 65537 with fewer places an endpoint.
const SIZES: [(usize, u32); 4] = [(8, 809), (32, 3203), (128, 12809), (512, 51203)];
const LARGEST: u32 = 65537;

/// A built lookup table.
#[derive(Debug, PartialEq, Eq)]
pub struct Maglev {
    places: Box<[u16]>,
}

impl Maglev {
    /// Builds the table; empty when no endpoint has a weight above 0. Entries are indices into `endpoints`, of which the
    /// first [`crate::MAX_ENDPOINTS`] count. An endpoint whose share is below one place may get none.
    pub fn new(endpoints: &[Endpoint]) -> Self {
        let mut members: Vec<u16> = (0..=u16::MAX)
            .zip(endpoints)
            .filter(|(_, e)| e.weight > 0)
            .map(|(index, _)| index)
            .collect();
        members.sort_by_key(|&i| (endpoints[usize::from(i)].addr, endpoints[usize::from(i)].port));
        let size = Self::size_for(members.len());
        let mut walks: Vec<Walk> = members
            .iter()
            .map(|&i| Walk::new(&endpoints[usize::from(i)], size))
            .collect();
        let mut turns: BinaryHeap<_> = walks
            .iter()
            .enumerate()
            .map(|(who, w)| Reverse((w.due(0), who, 0)))
            .collect();

        let mut places: Box<[Option<u16>]> = vec![None; size as usize].into();
        for _ in 0..size {
            let Some(Reverse((_, who, turn))) = turns.pop() else {
                break;
            };
            let place = walks[who].claim(&places);
            places[place] = Some(members[who]);
            turns.push(Reverse((walks[who].due(turn + 1), who, turn + 1)));
        }
        Self {
            places: places.iter().copied().flatten().collect(),
        }
    }

    /// Number of places for this many endpoints; 0 for none.
    pub fn size_for(endpoints: usize) -> u32 {
        match endpoints {
            0 => 0,
            n => SIZES
                .iter()
                .find(|(most, _)| n <= *most)
                .map_or(LARGEST, |(_, size)| *size),
        }
    }

    /// Index of the endpoint that owns `hash`; `None` when the table is empty.
    pub fn lookup(&self, hash: u64) -> Option<usize> {
        let place = hash.checked_rem(self.places.len() as u64)?;
        Some(usize::from(self.places[place as usize]))
    }

    /// The owner of every place.
    pub fn places(&self) -> &[u16] {
        &self.places
    }
}

/// One endpoint's way through the places: `offset, offset + skip, ..` modulo the size, a permutation because the size is prime.
struct Walk {
    at: u32,
    skip: u32,
    size: u32,
    weight: u64,
}

impl Walk {
    fn new(endpoint: &Endpoint, size: u32) -> Self {
        let at = (endpoint.stable_hash(1) % u64::from(size)) as u32;
        let skip = (endpoint.stable_hash(2) % u64::from(size - 1)) as u32 + 1;
        Self {
            at,
            skip,
            size,
            weight: u64::from(endpoint.weight),
        }
    }

    /// When this endpoint has its `turn`-th turn, from 0: in the middle of the turn's share of time. (At its end, a light
    /// endpoint would come too late to a table that a heavy one has filled.) The shift is wide enough to tell any two quotients apart.
    fn due(&self, turn: u64) -> u64 {
        ((2 * turn + 1) << 32) / self.weight
    }

    /// The next free place. There must be one: then it is found, as the walk reaches every place.
    fn claim(&mut self, places: &[Option<u16>]) -> usize {
        loop {
            let place = self.at as usize;
            self.at = (self.at + self.skip) % self.size;
            if places[place].is_none() {
                return place;
            }
        }
    }
}
