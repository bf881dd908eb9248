//! Who makes room in the table, against a slow twin: a list of all connections, searched from end to end for each decision.

use super::table::{record, table, tuple};
use crate::{ConnectionTable, Direction, Inserted, Record, RecordId};
use proptest::collection::vec;
use proptest::prelude::*;
use sluice_lb::ConnState;
use sluice_wire::{Proto, Scope};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;

const CAPACITY: usize = 12;
const TCP: Proto = Proto::TCP;
const ACK: u8 = 0x10;
const RST: u8 = 0x04;

#[derive(Clone, Debug)]
enum Step {
    Open {
        owner: u32,
        quota: u32,
    },
    /// A reply of this one of the connections there are.
    Establish(usize),
    Reset(usize),
    Remove(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        // The first owners open more than the last ones.
        8 => (0u32..5, 0u32..5, 2u32..14).prop_map(|(a, b, quota)| Step::Open { owner: a.min(b), quota }),
        4 => any::<usize>().prop_map(Step::Establish),
        1 => any::<usize>().prop_map(Step::Reset),
        1 => any::<usize>().prop_map(Step::Remove),
    ]
}

#[derive(Clone, Debug)]
struct Known {
    id: RecordId,
    record: Record,
    established: bool,
}

/// In the order in which each became what it is, expendable or established.
#[derive(Default)]
struct Twin(Vec<Known>);

impl Twin {
    fn held(&self, owner: Scope) -> usize {
        self.0.iter().filter(|k| k.record.owner == owner).count()
    }

    fn oldest(&self, owner: Scope, established: bool) -> Option<usize> {
        self.0
            .iter()
            .position(|k| k.record.owner == owner && k.established == established)
    }

    /// Which connection makes room for one of `owner`; `Ok(None)` if none has to, and an error if there is no way.
    fn victim(&self, owner: Scope, quota: usize) -> Result<Option<usize>, &'static str> {
        let mine = self.held(owner);
        if mine >= quota {
            return self.oldest(owner, false).map(Some).ok_or("quota");
        }
        if self.0.len() < CAPACITY {
            return Ok(None);
        }
        let owners: BTreeSet<Scope> = self.0.iter().map(|k| k.record.owner).chain([owner]).collect();
        let richest = owners.iter().copied().max_by_key(|o| (self.held(*o), *o)).unwrap();
        let below_share = mine < CAPACITY / owners.len();
        let of_richest = || {
            let established = || self.oldest(richest, true).filter(|_| below_share);
            self.oldest(richest, false).or_else(established)
        };
        let theirs = if self.held(richest) >= mine + 2 {
            of_richest()
        } else {
            None
        };
        theirs.or_else(|| self.oldest(owner, false)).map(Some).ok_or("full")
    }

    fn move_to_end(&mut self, at: usize, established: bool) {
        let mut known = self.0.remove(at);
        known.established = established;
        self.0.push(known);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn who_is_over_its_share_makes_room(steps in vec(step(), 1..150)) {
        let table = table(CAPACITY as u32);
        let mut twin = Twin::default();
        let mut next = 0u16;
        for step in steps {
            match step {
                Step::Open { owner, quota } => {
                    next += 1;
                    let mut new = record(tuple(next, 1), tuple(1, next));
                    new.owner = Scope::port(owner);
                    let before: BTreeMap<Scope, usize> = (0..5).map(|o| (Scope::port(o), twin.held(Scope::port(o)))).collect();
                    let mut evicted = Vec::new();
                    let inserted = table.insert(&new, ConnState::SynSent, 0, quota, |record| evicted.push(*record));
                    let want = twin.victim(new.owner, quota as usize);
                    if let Ok(Some(at)) = want {
                        let gone = twin.0.remove(at);
                        prop_assert_eq!(&evicted, &[gone.record]);
                        prop_assert!(!table.is_current(gone.id));
                    } else {
                        prop_assert_eq!(&evicted, &[]);
                    }
                    match (want, inserted) {
                        (Ok(_), Inserted::Won(id)) => twin.0.push(Known { id, record: new, established: false }),
                        (Err("quota"), Inserted::OverQuota) | (Err("full"), Inserted::Full) => {}
                        (want, inserted) => panic!("{want:?}, and it was {inserted:?}"),
                    }
                    // The promise itself, in other words than the rule.
                    let ports = before.iter().filter(|(o, held)| **held > 0 || **o == new.owner).count();
                    let share = CAPACITY / ports;
                    for (port, held) in &before {
                        if *port != new.owner && *held <= share {
                            prop_assert!(twin.held(*port) >= *held, "a port within its share lost a connection");
                        }
                    }
                    if before[&new.owner] < share && before[&new.owner] < quota as usize {
                        prop_assert!(want.is_ok(), "a port within its share was refused");
                    }
                }
                Step::Establish(_) | Step::Reset(_) | Step::Remove(_) if twin.0.is_empty() => {}
                Step::Establish(at) => {
                    let at = at % twin.0.len();
                    let known = &twin.0[at];
                    let state = table.advance(known.id, Direction::Reply, TCP, ACK).unwrap();
                    if !known.established && !state.is_expendable() {
                        twin.move_to_end(at, true);
                    }
                }
                Step::Reset(at) => {
                    let at = at % twin.0.len();
                    let known = &twin.0[at];
                    let state = table.advance(known.id, Direction::Original, TCP, RST);
                    prop_assert!(state.is_some_and(ConnState::is_over), "{:?}", state);
                    if known.established {
                        twin.move_to_end(at, false);
                    }
                }
                Step::Remove(at) => {
                    let known = twin.0.remove(at % twin.0.len());
                    prop_assert_eq!(table.remove(known.id), Some(known.record));
                }
            }
            prop_assert_eq!(table.len(), twin.0.len());
            for owner in (0..5).map(Scope::port) {
                prop_assert_eq!(table.held(owner) as usize, twin.held(owner));
            }
            prop_assert!(twin.0.iter().all(|known| table.is_current(known.id)));
        }
    }
}

/// Threads fill a table far beyond its size and establish what they opened; each has one owner, the first of them ten times as busy.
#[test]
fn threads_that_compete_for_room_lose_no_place() {
    const THREADS: u16 = 4;
    let table = table(64);
    let barrier = Barrier::new(usize::from(THREADS));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (table, barrier) = (&table, &barrier);
            scope.spawn(move || {
                barrier.wait();
                open_many(table, thread, if thread == 0 { 20_000 } else { 2_000 });
            });
        }
    });
    let held: u32 = (0..THREADS).map(|owner| table.held(Scope::port(owner.into()))).sum();
    assert_eq!(held as usize, table.len(), "all that is taken is somebody's");
    assert!(table.len() > 32);
    for live in (0..64).filter_map(|index| table.records().get(index)) {
        assert_eq!(table.remove(live.id), Some(live.record));
    }
    assert_eq!(
        (0..THREADS)
            .map(|owner| table.held(Scope::port(owner.into())))
            .sum::<u32>(),
        0
    );
    let again = (0..64).filter(|n| {
        let mut new = record(tuple(*n, 9), tuple(9, *n));
        new.owner = Scope::port(77);
        matches!(
            table.insert(&new, ConnState::SynSent, 0, 64, |_| panic!("there is room")),
            Inserted::Won(_)
        )
    });
    assert_eq!(again.count(), 64, "every place came home");
}

fn open_many(table: &ConnectionTable, thread: u16, count: u16) {
    for n in 0..count {
        let mut new = record(tuple(n, 30_000 + thread), tuple(30_000 + thread, n));
        new.owner = Scope::port(thread.into());
        match table.insert(&new, ConnState::SynSent, 0, 48, |_| ()) {
            Inserted::Won(id) if n % 3 == 0 => _ = table.advance(id, Direction::Reply, TCP, ACK),
            Inserted::Won(id) if n % 7 == 0 => _ = table.remove(id),
            Inserted::Won(_) | Inserted::OverQuota | Inserted::Full => {}
            other => panic!("{other:?}"),
        }
    }
}
