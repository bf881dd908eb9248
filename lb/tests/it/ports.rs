//! Source ports for masquerading.

use crate::common::*;
use proptest::prelude::*;
use sluice_lb::{PortRange, PortSet, SnatPorts};
use std::collections::{BTreeSet, HashSet};

fn some_ports() -> impl Strategy<Value = BTreeSet<u16>> {
    prop_oneof![
        prop::collection::btree_set(any::<u16>(), 0..300),
        (any::<u16>(), 0..2000u16).prop_map(|(first, more)| (first..=first.saturating_add(more)).collect()),
    ]
}

proptest! {
    #[test]
    fn a_port_set_is_a_set(
        steps in prop::collection::vec((any::<bool>(), prop_oneof![0..130u16, any::<u16>()]), 0..200),
    ) {
        let (mut set, mut twin) = (PortSet::new(), BTreeSet::new());
        for (add, port) in steps {
            if add {
                set.insert(port);
                twin.insert(port);
            } else {
                set.remove(port);
                twin.remove(&port);
            }
            prop_assert_eq!(set.contains(port), twin.contains(&port));
        }
        prop_assert_eq!((set.len(), set.is_empty()), (twin.len(), twin.is_empty()));
        prop_assert!(set.iter().eq(twin));
    }

    #[test]
    fn candidates_are_owned_distinct_bounded_and_begin_with_the_own_port(
        owned in some_ports(), sport: u16, who: u32, entropy: u64,
    ) {
        let ports = SnatPorts::new(owned.iter().copied().collect());
        let tuple = tuple(client(who), sport);
        let tried: Vec<u16> = ports.candidates(&tuple, entropy).collect();
        let distinct: HashSet<u16> = tried.iter().copied().collect();
        prop_assert_eq!(distinct.len(), tried.len());
        prop_assert!(tried.iter().all(|p| owned.contains(p) && *p != 0 && ports.owns(*p)));
        if sport != 0 && owned.contains(&sport) {
            prop_assert_eq!(tried[0], sport);
        }
        // What is given up is not tried, until it is taken back; what was not there at first is never owned.
        let (gone, stranger) = (tried.first().copied(), (1..=u16::MAX).find(|p| !owned.contains(p)));
        stranger.into_iter().for_each(|port| ports.own(port, true));
        if let Some(gone) = gone {
            ports.own(gone, false);
            prop_assert!(!ports.owns(gone) && ports.candidates(&tuple, entropy).all(|p| p != gone));
            ports.own(gone, true);
        }
        prop_assert!(ports.candidates(&tuple, entropy).eq(tried.iter().copied()));
        prop_assert!(stranger.is_none_or(|port| !ports.owns(port)));
        let real = owned.iter().filter(|&&p| p != 0).count();
        prop_assert!(tried.len() >= real.min(128) && tried.len() <= 129);
    }

    #[test]
    fn a_range_reads_back(first in 1..=u16::MAX, more: u16) {
        let range = PortRange { first, last: first.saturating_add(more) };
        prop_assert_eq!(range.to_string().parse(), Ok(range));
        let set = PortSet::from(range);
        prop_assert_eq!(set.len(), usize::from(range.last - range.first) + 1);
        prop_assert!(set.iter().all(|p| range.contains(p)));
    }

    #[test]
    fn any_text_is_a_range_or_an_error(text in "[0-9 -]{0,12}") {
        if let Ok(range) = text.parse::<PortRange>() {
            prop_assert!(0 < range.first && range.first <= range.last);
        }
    }
}

#[test]
fn first_tries_spread_over_all_ports() {
    let ports = SnatPorts::new(
        PortRange {
            first: 40_000,
            last: 40_999,
        }
        .into(),
    );
    let tuple = tuple(client(1), 9);
    let mut eighths = [0; 8];
    for n in 0..4_000u64 {
        let entropy = sluice_wire::stable_hash(&[n]);
        let first = ports.candidates(&tuple, entropy).next().unwrap();
        eighths[usize::from(first - 40_000) * 8 / 1000] += 1;
    }
    assert!(eighths.iter().all(|c| (400..600).contains(c)), "{eighths:?}");
}

#[test]
fn errors_say_what_to_write() {
    for text in ["", "40000", "0-10", "10-9", "1-65536", "a-b", "-"] {
        let error = text.parse::<PortRange>().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{text:?} is no port range")) && error.contains("40000-65535"),
            "{error}"
        );
    }
    assert!(PortSet::from(PortRange { first: 9, last: 8 }).is_empty());
}
