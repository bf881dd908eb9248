//! The table against a plain map, and under threads that race for the same keys.

use crate::{ConnectionTable, Direction, Inserted, Record, RecordId};
use proptest::collection::vec;
use proptest::prelude::*;
use sluice_lb::{ConnState, EndpointSlot, ServiceSlot, Timeouts};
use sluice_wire::{Addr, Generation, Proto, Scope, Tuple};
use std::collections::{HashMap, HashSet};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

const SECOND: u64 = 1_000_000_000;

pub(super) fn tuple(client: u16, server: u16) -> Tuple {
    let addr = |n: u16| Addr::v4([10, 0, (n >> 8) as u8, n as u8]);
    Tuple {
        src: addr(client),
        dst: addr(server),
        sport: client,
        dport: server,
        proto: Proto::UDP,
    }
}

/// A connection from one tuple that is answered at another.
pub(super) fn record(original: Tuple, reply: Tuple) -> Record {
    Record {
        original,
        reply,
        service: Some(ServiceSlot(3)),
        endpoint: Some(EndpointSlot(u32::from(reply.sport))),
        decided_in: Generation(7),
        owner: Scope::port(1),
    }
}

pub(super) fn table(capacity: u32) -> ConnectionTable {
    ConnectionTable::new(capacity, Timeouts::default()).unwrap()
}

/// Where nobody makes room for anybody.
fn insert(table: &ConnectionTable, record: &Record, state: ConnState, now: u64) -> Inserted {
    table.insert(record, state, now, u32::MAX, |evicted| panic!("{evicted:?} made room"))
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, u16, u16, u16),
    Remove(usize),
    Touch(usize, bool),
    Sweep,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let n = || 0u16..6;
    prop_oneof![
        6 => (n(), n(), n(), n()).prop_map(|(a, b, c, d)| Step::Insert(a, b, c, d)),
        2 => any::<usize>().prop_map(Step::Remove),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(at, reply)| Step::Touch(at, reply)),
        1 => Just(Step::Sweep),
        1 => (1u64..80).prop_map(|s| Step::Wait(s * SECOND)),
    ]
}

proptest! {
    #[test]
    fn the_table_is_a_map_with_two_keys(steps in vec(step(), 1..120)) {
        const CAPACITY: usize = 8;
        let table = table(CAPACITY as u32);
        // Key to record and direction; and of each record its id and last use.
        let mut keys: HashMap<Tuple, (Record, Direction)> = HashMap::new();
        let mut live: Vec<(RecordId, Record, u64)> = Vec::new();
        let mut now = 0;
        let mut gone: Vec<RecordId> = Vec::new();
        for step in steps {
            match step {
                Step::Insert(a, b, c, d) => {
                    let new = record(tuple(a, b), tuple(c, d));
                    let inserted = insert(&table, &new, ConnState::UdpReplied, now);
                    match (keys.get(&new.original), keys.get(&new.reply)) {
                        (Some((old, _)), _) => prop_assert!(matches!(inserted, Inserted::Lost(_, found) if found == *old)),
                        (None, Some(_)) => prop_assert!(matches!(inserted, Inserted::ReplyTaken)),
                        (None, None) if live.len() == CAPACITY => prop_assert!(matches!(inserted, Inserted::Full)),
                        (None, None) => {
                            let Inserted::Won(id) = inserted else { panic!("{inserted:?}") };
                            keys.insert(new.reply, (new, Direction::Reply));
                            keys.insert(new.original, (new, Direction::Original));
                            live.push((id, new, now));
                        }
                    }
                }
                Step::Remove(at) if !live.is_empty() => {
                    let (id, old, _) = live.remove(at % live.len());
                    prop_assert_eq!(table.remove(id), Some(old));
                    keys.retain(|_, (record, _)| *record != old);
                    gone.push(id);
                }
                Step::Touch(at, reply) if !live.is_empty() => {
                    let at = at % live.len();
                    let direction = if reply { Direction::Reply } else { Direction::Original };
                    prop_assert!(table.touch(live[at].0, direction, now, 1, 10));
                    live[at].2 = now;
                }
                Step::Sweep => {
                    let mut ended = Vec::new();
                    table.sweep(now, CAPACITY, |record| ended.push(*record));
                    let (dead, rest): (Vec<_>, Vec<_>) = live.into_iter().partition(|(_, _, last)| now - last > 120 * SECOND);
                    live = rest;
                    prop_assert_eq!(ended.len(), dead.len());
                    for (id, old, _) in dead {
                        prop_assert!(ended.contains(&old));
                        keys.retain(|_, (record, _)| *record != old);
                        gone.push(id);
                    }
                }
                Step::Wait(ns) => now += ns,
                Step::Remove(_) | Step::Touch(..) => {}
            }
            prop_assert_eq!(table.len(), live.len());
            for a in 0..6 {
                for b in 0..6 {
                    let key = tuple(a, b);
                    let found = table.lookup(&key).map(|(_, record, direction)| (record, direction));
                    match keys.get(&key) {
                        // A connection that is answered as it asks has one key, in either direction.
                        Some((record, _)) if record.original == record.reply => prop_assert_eq!(found.unwrap().0, *record),
                        want => prop_assert_eq!(found, want.copied()),
                    }
                }
            }
            for id in &gone {
                prop_assert!(!table.is_current(*id) && table.remove(*id).is_none() && table.state(*id).is_none());
                prop_assert!(!table.touch(*id, Direction::Reply, now, 1, 1));
                prop_assert!(table.advance(*id, Direction::Reply, Proto::UDP, 0).is_none());
            }
        }
        for (id, _, _) in live {
            prop_assert!(table.remove(id).is_some());
        }
        prop_assert!(table.is_empty());
        let again = (0..CAPACITY as u16).filter(|n| {
            matches!(insert(&table, &record(tuple(*n, 99), tuple(99, *n)), ConnState::Icmp, now), Inserted::Won(_))
        });
        prop_assert_eq!(again.count(), CAPACITY, "every record is free again");
    }
}

#[test]
fn an_era_changes_with_either_key_of_a_new_connection() {
    let table = table(4);
    let (original, reply) = (tuple(1, 2), tuple(3, 4));
    let before = (table.era(&original), table.era(&reply));
    insert(&table, &record(original, reply), ConnState::Icmp, 0);
    assert_ne!(table.era(&original), before.0);
    assert_ne!(table.era(&reply), before.1);
    let before = table.era(&original);
    insert(&table, &record(original, reply), ConnState::Icmp, 0);
    assert_eq!(table.era(&original), before, "nothing was entered");
    let (id, ..) = table.lookup(&reply).unwrap();
    let before = (table.era(&original), table.era(&reply));
    table.remove(id);
    assert_ne!(table.era(&original), before.0);
    assert_ne!(table.era(&reply), before.1);
}

#[test]
fn one_caller_cuts_and_a_packet_that_may_pass_again_undoes_it() {
    let table = table(4);
    let Inserted::Won(id) = insert(&table, &record(tuple(1, 2), tuple(2, 1)), ConnState::UdpUnreplied, 0) else {
        panic!("a free table");
    };
    assert!(table.cut(id) && !table.cut(id));
    assert_eq!(table.state(id), Some(ConnState::UdpUnreplied));
    assert_eq!(
        table.advance(id, Direction::Reply, Proto::UDP, 0),
        Some(ConnState::UdpReplied)
    );
    assert!(table.cut(id));
    table.remove(id);
    assert!(!table.cut(id));
    let Inserted::Won(next) = insert(&table, &record(tuple(1, 2), tuple(2, 1)), ConnState::UdpUnreplied, 0) else {
        panic!("a free table");
    };
    assert_eq!((next.index, next.incarnation), (id.index, id.incarnation + 1));
    assert!(!table.cut(id) && table.cut(next), "the one before cuts nothing");
}

/// Threads race to enter the same connections, look them up from both sides, and take them out again.
#[test]
fn races_have_one_winner_and_nothing_is_seen_half() {
    const THREADS: usize = 4;
    const KEYS: u16 = 16;
    const ROUNDS: usize = 400;
    let table = table(64);
    let barrier = Barrier::new(THREADS);
    let winners: Vec<AtomicUsize> = (0..ROUNDS * usize::from(KEYS)).map(|_| AtomicUsize::new(0)).collect();
    let removed: Vec<AtomicUsize> = winners.iter().map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..THREADS as u16 {
            let (table, barrier, winners, removed) = (&table, &barrier, &winners, &removed);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    barrier.wait();
                    let mut ids = Vec::new();
                    for key in 0..KEYS {
                        // Every thread would choose another reply for the same original.
                        let mine = record(tuple(key, 1000), tuple(2000 + thread, key));
                        let won = &winners[round * usize::from(KEYS) + usize::from(key)];
                        let (id, decided) = match insert(table, &mine, ConnState::UdpUnreplied, 1) {
                            Inserted::Won(id) => {
                                won.fetch_add(1, Ordering::Relaxed);
                                (id, mine)
                            }
                            Inserted::Lost(id, theirs) => (id, theirs),
                            other => panic!("{other:?}"),
                        };
                        assert_eq!(decided.original, mine.original);
                        for (at, direction) in [
                            (decided.original, Direction::Original),
                            (decided.reply, Direction::Reply),
                        ] {
                            assert_eq!(table.lookup(&at), Some((id, decided, direction)));
                        }
                        table.touch(id, Direction::Original, 2, 1, 1);
                        ids.push((id, decided));
                    }
                    // The sweep meets them all and finds none of them old.
                    table.sweep(2, 64, |record| panic!("{record:?} was not silent"));
                    barrier.wait();
                    for (key, (id, decided)) in ids.into_iter().enumerate() {
                        if let Some(record) = table.remove(id) {
                            assert_eq!(record, decided);
                            removed[round * usize::from(KEYS) + key].fetch_add(1, Ordering::Relaxed);
                        }
                        assert!(!table.is_current(id));
                    }
                }
            });
        }
    });
    let counts = |of: &[AtomicUsize]| of.iter().map(|n| n.load(Ordering::Relaxed)).collect::<HashSet<_>>();
    assert_eq!(
        (counts(&winners), counts(&removed)),
        (HashSet::from([1]), HashSet::from([1]))
    );
    assert!(table.is_empty());
    let free = (0..64).filter(|n| {
        matches!(
            insert(&table, &record(tuple(*n, 5), tuple(5, *n)), ConnState::Icmp, 3),
            Inserted::Won(_)
        )
    });
    assert_eq!(free.count(), 64, "every record came home");
}
