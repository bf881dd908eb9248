//! Connections that end, and whoever still means the one that was in their place.

use crate::model::*;
use sluice_lb::ConnState;
use sluice_wire::{Proto, Scope};

const ACK: u8 = 0x10;
const RST: u8 = 0x04;

fn entered(table: &ConnectionTable, record: &Record) -> RecordId {
    won(&insert(table, record)).expect("a free place")
}

#[test]
fn one_caller_gets_what_is_removed() {
    check(1, |table| {
        let old = record(tuple(1, 2), tuple(2, 1));
        let id = entered(table, &old);
        let other = spawn(table, move |table| table.remove(id));
        let both = [table.remove(id), other.join().unwrap()];
        assert_eq!(both.into_iter().flatten().collect::<Vec<_>>(), [old]);
        assert_eq!((table.len(), table.held(old.owner)), (0, 0));
        assert!(table.lookup(&old.original).is_none() && table.lookup(&old.reply).is_none());
        entered(table, &old);
    });
}

#[test]
fn a_late_packet_does_not_move_the_next_connection_in_the_place() {
    check(1, |table| {
        let old = entered(table, &record(tuple(1, 2), tuple(2, 1)));
        let late = spawn(table, move |table| {
            table.advance(old, Direction::Original, Proto::TCP, RST)
        });
        table.remove(old);
        let next = entered(table, &record(tuple(1, 2), tuple(2, 1)));
        let late = late.join().unwrap();
        assert!(matches!(late, None | Some(ConnState::Closed)));
        assert_eq!((next.index, table.is_current(old)), (old.index, false));
        assert_eq!(table.state(next), Some(ConnState::SynSent));
    });
}

#[test]
fn packets_of_both_directions_leave_the_state_that_both_make() {
    check(1, |table| {
        let id = entered(table, &record(tuple(1, 2), tuple(2, 1)));
        let reply = spawn(table, move |table| table.advance(id, Direction::Reply, Proto::TCP, ACK));
        table.advance(id, Direction::Original, Proto::TCP, RST);
        reply.join().unwrap();
        // Before the answer it ends what was not open; after it, it is believed for a while.
        let state = table.state(id);
        assert!(matches!(state, Some(ConnState::Closed | ConnState::Reset)), "{state:?}");
        // Its class in the book follows: the next one finds room.
        let mut evicted = 0;
        let inserted = table.insert(&record(tuple(6, 2), tuple(2, 6)), ConnState::SynSent, 0, 1, |_| {
            evicted += 1;
        });
        assert!(won(&inserted).is_some() && evicted == 1, "{inserted:?}");
    });
}

#[test]
fn what_is_answered_in_time_is_not_evicted() {
    check(1, |table| {
        let old = record(tuple(1, 2), tuple(2, 1));
        let id = entered(table, &old);
        let reply = spawn(table, move |table| table.advance(id, Direction::Reply, Proto::TCP, ACK));
        let new = record(tuple(5, 2), tuple(2, 5));
        let mut evicted = Vec::new();
        let inserted = table.insert(&new, ConnState::SynSent, 0, 1, |record| evicted.push(*record));
        match reply.join().unwrap() {
            // Answered first: it stays.
            Some(state) => {
                assert_eq!(state, ConnState::Established);
                assert!(matches!(inserted, Inserted::OverQuota | Inserted::Full), "{inserted:?}");
                assert!(table.is_current(id) && evicted.is_empty());
            }
            None => {
                assert!(won(&inserted).is_some() && !table.is_current(id));
                assert_eq!(evicted, [old]);
            }
        }
        assert_eq!((table.len(), table.held(old.owner)), (1, 1));
    });
}

#[test]
fn two_ports_that_need_the_last_place_do_not_both_get_it() {
    check(1, |table| {
        let mut theirs = record(tuple(5, 2), tuple(2, 5));
        theirs.owner = Scope::port(2);
        let other = spawn(table, move |table| {
            won(&table.insert(&theirs, ConnState::SynSent, 0, 9, |_| ()))
        });
        let mine = record(tuple(1, 2), tuple(2, 1));
        let mine = won(&table.insert(&mine, ConnState::SynSent, 0, 9, |_| ()));
        let theirs = other.join().unwrap();
        let [a, b] = [(mine, 1), (theirs, 2)].map(|(id, owner)| (id.is_some_and(|id| table.is_current(id)), owner));
        assert!(a.0 != b.0, "one of them has it");
        for (there, owner) in [a, b] {
            assert_eq!(table.held(Scope::port(owner)), u32::from(there));
        }
        assert_eq!(table.len(), 1);
    });
}

#[test]
fn a_sweep_and_a_worker_do_not_both_end_a_connection() {
    check(1, |table| {
        const LATER: u64 = 3_600_000_000_000;
        let old = record(tuple(1, 2), tuple(2, 1));
        let id = entered(table, &old);
        let sweep = spawn(table, |table| {
            let mut ended = Vec::new();
            table.sweep(LATER, 1, |record| ended.push(*record));
            ended
        });
        let mut ended: Vec<_> = table.remove(id).into_iter().collect();
        ended.extend(sweep.join().unwrap());
        assert_eq!(ended, [old]);
        assert_eq!((table.len(), table.held(old.owner)), (0, 0));
        entered(table, &old);
    });
}

/// Whoever looked before the end, or in the middle of it, does not take that for an answer afterwards.
fn ends_for_all(end: impl Fn(&ConnectionTable, RecordId) + Copy + Send + Sync + 'static) {
    check(1, move |table| {
        let id = entered(table, &record(tuple(1, 2), tuple(2, 1)));
        table.advance(id, Direction::Reply, Proto::TCP, ACK);
        let other = spawn(table, move |table| {
            let mut seen = table.unseen(id);
            table.holds_since(id, &mut seen);
            seen
        });
        end(table, id);
        let mut seen = other.join().unwrap();
        assert!(!table.holds_since(id, &mut seen));
    });
}

#[test]
fn a_connection_that_was_removed_does_not_hold_for_anybody() {
    ends_for_all(|table, id| assert!(table.remove(id).is_some()));
}

#[test]
fn a_connection_that_was_reset_does_not_hold_for_anybody() {
    ends_for_all(|table, id| {
        let state = table.advance(id, Direction::Original, Proto::TCP, RST);
        assert_eq!(state, Some(ConnState::Reset));
    });
}
