//! The records as another process finds them: the same memory under a second mapping.

use super::table::{record, table, tuple};
use crate::{ConnectionTable, Direction, Inserted, Records, RecordsError};
use sluice_lb::ConnState;
use sluice_mem::SharedWords;
use sluice_wire::{Proto, Scope};
use std::sync::atomic::Ordering;

const COUNT: u32 = 8;
/// Words in front of the first record, and of a record; what a later version may change only together with its number.
const HEADER: usize = 8;
const RECORD: usize = 32;

/// The table's descriptor, mapped once more.
fn handed_over(table: &ConnectionTable) -> SharedWords {
    let fd = table.records().memory().fd().try_clone_to_owned().unwrap();
    SharedWords::map(fd).unwrap()
}

#[test]
fn a_second_mapping_shows_the_same_connections() {
    let table = table(COUNT);
    let mut first = record(tuple(1, 2), tuple(3, 4));
    (first.service, first.owner) = (None, Scope::tunnel(9));
    let second = record(tuple(5, 6), tuple(6, 5));
    let insert = |record, now| match table.insert(record, ConnState::UdpUnreplied, now, COUNT, |_| ()) {
        Inserted::Won(id) => id,
        other => panic!("{other:?}"),
    };
    let (a, b) = (insert(&first, 100), insert(&second, 200));
    table.touch(a, Direction::Original, 150, 3, 300);
    table.touch(b, Direction::Reply, 250, 1, 50);
    table.advance(b, Direction::Reply, Proto::UDP, 0);
    let other = Records::read_from(handed_over(&table)).unwrap();
    assert_eq!(other.count(), COUNT);
    let there: Vec<_> = (0..COUNT).filter_map(|index| other.get(index)).collect();
    let mine: Vec<_> = (0..COUNT).filter_map(|index| table.records().get(index)).collect();
    assert_eq!((there.len(), &there), (2, &mine));
    let [of_a, of_b] = [a, b].map(|id| *there.iter().find(|live| live.id == id).unwrap());
    assert_eq!((of_a.record, of_a.state), (first, ConnState::UdpUnreplied));
    assert_eq!(
        (of_a.created_ns, of_a.last_ns, of_a.packets, of_a.bytes),
        (100, 150, [3, 0], [300, 0])
    );
    assert_eq!(
        (of_b.record, of_b.state, of_b.last_ns),
        (second, ConnState::UdpReplied, 250)
    );
    table.remove(a);
    assert!(other.get(a.index).is_none());
    let again = insert(&first, 300);
    let live = other.get(again.index).unwrap();
    assert_eq!((live.id, live.created_ns, live.packets), (again, 300, [0, 0]));
    assert_ne!(again, a, "the same place, another connection");
}

#[test]
fn records_outlive_the_table_that_made_them() {
    let table = table(COUNT);
    let one = record(tuple(1, 2), tuple(3, 4));
    table.insert(&one, ConnState::Icmp, 5, COUNT, |_| ());
    let words = handed_over(&table);
    drop(table);
    let other = Records::read_from(words).unwrap();
    assert_eq!(
        (0..COUNT)
            .filter_map(|n| other.get(n))
            .map(|live| live.record)
            .collect::<Vec<_>>(),
        [one]
    );
}

#[test]
fn another_version_is_refused_by_name() {
    for (at, name) in [
        (0, "magic"),
        (1, "layout version"),
        (2, "clock"),
        (3, "record size, bytes"),
    ] {
        let table = table(COUNT);
        let words = handed_over(&table);
        words[at].fetch_add(1, Ordering::Relaxed);
        match Records::read_from(words) {
            Err(RecordsError::Header { field, got, want }) => assert_eq!((field, got), (name, want + 1)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_file_that_is_not_all_there_is_refused() {
    let sizes = [
        1,
        HEADER - 1,
        HEADER + RECORD * COUNT as usize - 1,
        HEADER + RECORD * (COUNT as usize + 1),
    ];
    let whole = table(COUNT);
    for size in sizes {
        let words = SharedWords::create(c"test", size).unwrap();
        for (to, from) in words.iter().zip(whole.records().memory().iter()) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let refused = Records::read_from(words);
        assert!(
            matches!(refused, Err(RecordsError::Length { got, .. }) if got == size as u64),
            "{refused:?}"
        );
    }
    let words = handed_over(&whole);
    words[4].store(u64::MAX, Ordering::Relaxed);
    assert!(
        Records::read_from(words).is_err(),
        "a number of records that no file has"
    );
}

#[test]
fn any_words_are_read_or_skipped() {
    let table = table(COUNT);
    let words = handed_over(&table);
    for (n, word) in words.iter().enumerate().skip(HEADER) {
        word.store(sluice_wire::stable_hash(&[n as u64]), Ordering::Relaxed);
    }
    let other = Records::read_from(words).unwrap();
    for index in 0..COUNT {
        assert!(other.get(index).is_none_or(|live| live.id.index == index));
    }
    assert!(other.get(COUNT).is_none() && other.get(u32::MAX).is_none());
}

/// Words are where `cell.rs` says: who changes that changes the version, too.
#[test]
fn the_layout_of_version_1() {
    let table = table(1);
    let one = record(tuple(0x0102, 0x0304), tuple(0x0506, 0x0708));
    table.insert(&one, ConnState::UdpUnreplied, 77, 1, |_| ());
    let words: Vec<u64> = table
        .records()
        .memory()
        .iter()
        .map(|w| w.load(Ordering::Relaxed))
        .collect();
    assert_eq!(words.len(), HEADER + RECORD);
    assert_eq!(words[..HEADER], [0x534c_5549_4345_4354, 1, 1, 256, 1, 0, 0, 0]);
    let low = |n: u64| 0xffff_0a00_0000 | n;
    let ports = |s: u64, d: u64| s << 32 | d << 16 | 17;
    let want = [
        0,
        low(0x0102),
        0,
        low(0x0304),
        ports(0x0102, 0x0304),
        0,
        low(0x0506),
        0,
        low(0x0708),
        ports(0x0506, 0x0708),
        3 << 32 | 0x0506,
        7,
        1,
        8,
        77,
        0,
        77,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        77,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    assert_eq!(words[HEADER..], want);
}
