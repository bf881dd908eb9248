//! Connections that two workers enter at the same instant.

use crate::model::*;
use sluice_wire::{Generation, Tuple};

/// Both keys lead to the record, in their directions.
fn whole(table: &ConnectionTable, id: RecordId, record: &Record) {
    let found = |at: &Tuple| table.lookup(at);
    assert_eq!(found(&record.original), Some((id, *record, Direction::Original)));
    assert_eq!(found(&record.reply), Some((id, *record, Direction::Reply)));
}

#[test]
fn two_decisions_for_one_packet_have_one_winner() {
    check(2, |table| {
        let [mine, theirs] = [3, 4].map(|server| record(tuple(1, 2), tuple(server, 1)));
        let other = spawn(table, move |table| insert(table, &theirs));
        let (a, b) = (insert(table, &mine), other.join().unwrap());
        let (id, winner, loser, lost) = match (won(&a), won(&b)) {
            (Some(id), None) => (id, mine, theirs, b),
            (None, Some(id)) => (id, theirs, mine, a),
            both => panic!("{both:?} won"),
        };
        assert!(
            matches!(lost, Inserted::Lost(found, record) if found == id && record == winner),
            "{lost:?}"
        );
        whole(table, id, &winner);
        assert_eq!(table.lookup(&loser.reply), None);
        assert_eq!((table.len(), table.held(winner.owner)), (1, 1));
    });
}

#[test]
fn both_sides_that_begin_at_once_are_one_connection() {
    check(2, |table| {
        let (mine, theirs) = (record(tuple(1, 2), tuple(2, 1)), record(tuple(2, 1), tuple(1, 2)));
        let other = spawn(table, move |table| insert(table, &theirs));
        let (a, b) = (insert(table, &mine), other.join().unwrap());
        let (id, winner, lost) = match (won(&a), won(&b)) {
            (Some(id), None) => (id, mine, b),
            (None, Some(id)) => (id, theirs, a),
            both => panic!("{both:?} won"),
        };
        assert!(
            matches!(lost, Inserted::Lost(found, record) if found == id && record == winner),
            "{lost:?}"
        );
        whole(table, id, &winner);
        assert_eq!(table.len(), 1);
    });
}

#[test]
fn two_clients_are_never_answered_alike() {
    check(2, |table| {
        let [mine, theirs] = [1, 5].map(|client| record(tuple(client, 2), tuple(3, 4)));
        let other = spawn(table, move |table| insert(table, &theirs));
        let (a, b) = (insert(table, &mine), other.join().unwrap());
        let (id, winner, lost) = match (won(&a), won(&b)) {
            (Some(id), None) => (id, mine, b),
            (None, Some(id)) => (id, theirs, a),
            both => panic!("{both:?} won"),
        };
        assert!(matches!(lost, Inserted::ReplyTaken), "{lost:?}");
        whole(table, id, &winner);
    });
}

#[test]
fn nothing_is_seen_half_and_a_denial_s_era_tells_of_it() {
    check(1, |table| {
        let new = record(tuple(1, 2), tuple(3, 1));
        let worker = spawn(table, move |table| {
            let era = table.era(&new.reply);
            let first = table.lookup(&new.reply);
            let second = table.lookup(&new.original);
            if let Some((id, seen, Direction::Reply)) = first {
                assert_eq!(seen, new);
                assert_eq!(
                    second,
                    Some((id, new, Direction::Original)),
                    "with one key there is the other"
                );
                assert!(table.state(id).is_some());
            } else {
                assert_eq!(first, None);
            }
            (era, first.is_some())
        });
        assert!(won(&insert(table, &new)).is_some());
        let (era, seen) = worker.join().unwrap();
        if !seen {
            assert_ne!(table.era(&new.reply), era, "who saw nothing learns that something came");
        }
    });
}

/// A worker's rule for a flow whose endpoint differs between configurations, as `slow.rs` has it: what is found is kept unless the own
/// configuration serves it elsewhere and is not the older one.
fn decide(table: &ConnectionTable, generation: u64) -> Record {
    let mut mine = record(tuple(1, 2), tuple(10 + generation as u16, 1));
    mine.decided_in = Generation(generation);
    for _ in 0..3 {
        if let Some((id, found, _)) = table.lookup(&mine.original) {
            let moved = found.endpoint != mine.endpoint;
            if !(moved && ConnectionTable::may_replace(&found, mine.decided_in)) {
                return found;
            }
            table.remove(id);
        }
        if won(&insert(table, &mine)).is_some() {
            return mine;
        }
    }
    panic!("three times another worker was first, and gone again");
}

#[test]
fn an_older_configuration_never_undoes_a_newer_decision() {
    check(2, |table| {
        decide(table, 1);
        let newer = spawn(table, |table| decide(table, 3));
        decide(table, 2);
        assert_eq!(newer.join().unwrap().decided_in, Generation(3));
        let (_, left, _) = table.lookup(&tuple(1, 2)).unwrap();
        assert_eq!(left.decided_in, Generation(3));
        assert_eq!(table.len(), 1);
    });
}
