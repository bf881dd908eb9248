//! Decides which flows a stream has: combinations of addresses and ports, no two alike, scattered over all there are, the same for the same
//! seed. It never keeps more of a flow than the words in which it differs from the others.

use super::stream::{Party, Stream};
use sluice_wire::checksum::Sum;
use sluice_wire::{Addr, Proto, Tuple};

/// What is a flow's own; with 16 bytes four of them share a cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    /// Last 32 bits of the addresses.
    pub(super) src: u32,
    pub(super) dst: u32,
    pub(super) sport: u16,
    pub(super) dport: u16,
    /// Sum of both addresses' last 32 bits.
    pub(super) addresses: u16,
    /// Source port of a tunnel around it (RFC 7348 section 5).
    pub(super) outer: u16,
}

/// All flows of the stream, in the order in which they are visited.
pub(super) fn flows(stream: &Stream) -> Vec<Flow> {
    let scatter = Scatter::new(stream.combinations(), stream.seed);
    (0..u128::from(stream.flows))
        .map(|n| flow(stream, scatter.place(n)))
        .collect()
}

/// The combination of this number.
fn flow(stream: &Stream, combination: u128) -> Flow {
    let mut rest = combination;
    let mut digit = |count: u64| {
        let digit = rest % u128::from(count);
        rest /= u128::from(count);
        digit as u64
    };
    let mut pick = |party: &Party| {
        let port = party.ports.first + digit(party.ports.count()) as u16;
        (party.addresses.low(digit(party.addresses.count())), port)
    };
    let ((src, sport), (dst, dport)) = (pick(&stream.src), pick(&stream.dst));
    let mut flow = Flow {
        src,
        dst,
        sport,
        dport,
        addresses: Sum::of_u32(src).plus(Sum::of_u32(dst)).folded(),
        outer: 0,
    };
    if stream.vxlan.is_some() {
        flow.outer = sluice_vxlan::source_port(tuple(stream, &flow).stable_hash());
    }
    flow
}

/// The flow's addresses and ports as packets have them.
pub(super) fn tuple(stream: &Stream, flow: &Flow) -> Tuple {
    Tuple {
        src: with_low(stream.src.addresses.first(), flow.src),
        dst: with_low(stream.dst.addresses.first(), flow.dst),
        sport: flow.sport,
        dport: flow.dport,
        proto: Proto::UDP,
    }
}

fn with_low(addr: Addr, low: u32) -> Addr {
    let mut bytes = addr.octets();
    bytes[12..].copy_from_slice(&low.to_be_bytes());
    Addr::v6(bytes)
}

/// A permutation of the numbers below a limit: a Feistel network over the next power of four, walked on until the number is below (Black and
/// Rogaway 2002, "Ciphers with arbitrary finite domains").
struct Scatter {
    limit: u128,
    half: u32,
    keys: [u64; 4],
}

impl Scatter {
    fn new(limit: u128, seed: u64) -> Self {
        let bits = 128 - limit.saturating_sub(1).leading_zeros();
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            limit,
            half: bits.div_ceil(2).max(1),
            keys: std::array::from_fn(|_| random.u64(..)),
        }
    }

    fn place(&self, n: u128) -> u128 {
        let mut place = self.once(n);
        while place >= self.limit {
            place = self.once(place);
        }
        place
    }

    fn once(&self, n: u128) -> u128 {
        let mask = (1u64 << self.half) - 1;
        let (mut left, mut right) = ((n >> self.half) as u64 & mask, n as u64 & mask);
        for key in self.keys {
            let mixed = (right ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (left, right) = (
                right,
                left ^ ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16 & mask),
            );
        }
        u128::from(left) << self.half | u128::from(right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pktgen::tests::stream;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn scattered_numbers_are_all_there_once(limit in 1u128..3000, seed: u64) {
            let scatter = Scatter::new(limit, seed);
            let places: BTreeSet<u128> = (0..limit).map(|n| scatter.place(n)).collect();
            prop_assert_eq!(places.len() as u128, limit);
            prop_assert!(places.iter().all(|place| *place < limit));
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_flows_and_another_one_others() {
        let of = |seed| {
            flows(&crate::pktgen::Stream {
                seed,
                flows: 10_000,
                ..stream()
            })
        };
        assert_eq!(of(1), of(1));
        let (one, other): (BTreeSet<_>, BTreeSet<_>) =
            ([1, 2].map(|s| of(s).iter().map(|f| (f.src, f.sport, f.dst, f.dport)).collect())).into();
        assert_eq!((one.len(), other.len()), (10_000, 10_000), "no two flows are alike");
        assert!(one.intersection(&other).count() < 100, "another seed, other flows");
        let sources: BTreeSet<_> = one.iter().map(|f| f.0).collect();
        assert_eq!(sources.len(), 254, "all sources take part");
    }

    #[test]
    fn the_widest_ranges_have_room_for_scattering() {
        let scatter = Scatter::new(u128::from(u64::MAX) << 32, 7);
        let places: BTreeSet<u128> = (0..1000).map(|n| scatter.place(n)).collect();
        assert_eq!(places.len(), 1000);
    }
}
