//! Connections that a sweep finds silent for too long, while a worker enters the same keys anew.

use crate::model::*;
use sluice_lb::ConnState;

const LATER: u64 = 3_600_000_000_000;

fn enter(table: &ConnectionTable, record: &Record, now_ns: u64) -> Inserted {
    table.insert(record, ConnState::SynSent, now_ns, u32::MAX, |evicted| {
        panic!("{evicted:?} made room")
    })
}

/// Twice, so that what comes into a place that was looked at already is looked at, too.
fn sweep(table: &ConnectionTable) -> Vec<Record> {
    let mut ended = Vec::new();
    for _ in 0..2 {
        table.sweep(LATER, table.capacity(), |record| ended.push(*record));
    }
    ended
}

/// What the table says when this is the only connection.
fn alone(table: &ConnectionTable, id: RecordId, record: &Record) {
    let found = |at| table.lookup(at);
    assert_eq!(found(&record.original), Some((id, *record, Direction::Original)));
    assert_eq!(found(&record.reply), Some((id, *record, Direction::Reply)));
    assert!(table.is_current(id));
    assert_eq!((table.len(), table.held(record.owner)), (1, 1));
}

#[test]
fn who_sweeps_a_place_that_is_taken_again_sees_the_times_of_the_new_one() {
    check(1, |table| {
        let (old, mut new) = (record(tuple(1, 2), tuple(2, 1)), record(tuple(1, 2), tuple(2, 1)));
        new.decided_in.0 += 1;
        let id = won(&enter(table, &old, 0)).expect("a free place");
        table.remove(id);
        let sweeping = spawn(table, sweep);
        let next = won(&enter(table, &new, LATER)).expect("the place of the old one");
        assert_eq!(sweeping.join().unwrap(), []);
        alone(table, next, &new);
    });
}

#[test]
fn keys_that_are_swept_are_those_of_the_old_one_or_of_the_new_one() {
    check(2, |table| {
        let (old, mut new) = (record(tuple(1, 2), tuple(2, 1)), record(tuple(1, 2), tuple(2, 1)));
        new.decided_in.0 += 1;
        let id = won(&enter(table, &old, 0)).expect("a free place");
        let sweeping = spawn(table, sweep);
        let inserted = enter(table, &new, LATER);
        assert_eq!(sweeping.join().unwrap(), [old]);
        match inserted {
            // It was there still. Who was told so sees that it has gone, and enters it again.
            Inserted::Lost(found, record) => {
                assert_eq!((found, record), (id, old));
                assert!(!table.is_current(id) && table.lookup(&new.original).is_none());
                assert_eq!((table.len(), table.held(new.owner)), (0, 0));
                let again = won(&enter(table, &new, LATER)).expect("both places free");
                alone(table, again, &new);
            }
            Inserted::Won(next) => alone(table, next, &new),
            other => panic!("{other:?}"),
        }
        assert_eq!(table.expired(), 1);
    });
}
