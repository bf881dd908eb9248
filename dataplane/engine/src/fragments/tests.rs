//! The parts of one packet, against a map of every byte.

use super::packet::{Part, Parts};
use proptest::prelude::*;
use sluice_wire::Fragment;

/// Who wrote each block of eight bytes, and where the packet ends: nothing may be written twice, or behind the end.
#[derive(Default)]
struct Slow {
    blocks: Vec<bool>,
    parts: Vec<Part>,
    total: Option<u32>,
    over: bool,
}

impl Slow {
    fn add(&mut self, part: Part) -> bool {
        let repeated = self.parts.contains(&part);
        if self.over || repeated {
            return false;
        }
        let blocks = part.start as usize / 8..part.end.div_ceil(8) as usize;
        let mut fits = blocks.clone().all(|at| !self.blocks[at]);
        if part.last {
            fits &= self.total.is_none() && self.parts.iter().all(|p| p.end <= part.end);
        } else {
            fits &= self.total.is_none_or(|total| part.end < total);
        }
        if !fits {
            self.over = true;
            return false;
        }
        self.blocks[blocks].fill(true);
        self.parts.push(part);
        self.total = if part.last { Some(part.end) } else { self.total };
        true
    }

    fn is_complete(&self) -> bool {
        let written = self
            .total
            .is_some_and(|total| self.blocks[..total.div_ceil(8) as usize].iter().all(|b| *b));
        written && !self.over
    }
}

fn part() -> impl Strategy<Value = Part> {
    (0u16..16, 1usize..8, any::<bool>(), 0usize..8).prop_filter_map("no part", |(at, blocks, more, odd)| {
        let place = Fragment {
            id: 1,
            offset: at * 8,
            more,
        };
        let len = if more { blocks * 8 } else { blocks * 8 - odd };
        Part::new(place, len)
    })
}

proptest! {
    #[test]
    fn parts_agree_with_a_map_of_every_byte(parts in prop::collection::vec(part(), 1..12)) {
        let (mut fast, mut slow) = (Parts::default(), Slow { blocks: vec![false; 40], ..Slow::default() });
        for part in parts {
            prop_assert_eq!(fast.add(part).is_ok(), slow.add(part), "{:?}", part);
            prop_assert_eq!(fast.is_complete(), slow.is_complete());
            prop_assert_eq!(fast.is_contradicted(), slow.over);
        }
    }
}

#[test]
fn what_can_be_no_part_is_none() {
    let place = |more| Fragment { id: 1, offset: 8, more };
    assert_eq!(Part::new(place(true), 9), None);
    assert_eq!(Part::new(place(true), 0), None);
    assert_eq!(Part::new(place(false), 0), None);
    assert!(Part::new(place(false), 9).is_some());
}

#[test]
fn no_packet_has_more_parts_than_one_of_the_smallest_path() {
    let mut parts = Parts::default();
    let mut add = |at: u32| {
        let (start, end) = (at * 8, at * 8 + 8);
        parts.add(Part {
            start,
            end,
            last: false,
        })
    };
    assert!((0..128).all(|at| add(at).is_ok()));
    assert_eq!(add(128), Err(sluice_wire::DropReason::FragmentTableFull));
    assert_eq!(add(129), Err(sluice_wire::DropReason::FragmentOverlap));
}
