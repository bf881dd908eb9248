//! Windows against a plain array, and pools against counting, also across threads.

use crate::{Buf, HEADROOM, Memory, Pools, SharedWords, Table};
use core::sync::atomic::Ordering;
use proptest::prelude::*;
use std::sync::mpsc::sync_channel;

const CASES: u32 = if cfg!(miri) { 4 } else { 256 };
const CHUNK: usize = 2048;

#[derive(Clone, Debug)]
enum Step {
    Push(usize, u8),
    Pull(usize),
    Extend(usize, u8),
    Truncate(usize),
    Reset(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let size = || prop_oneof![4 => 0usize..300, 1 => 1700usize..2200];
    prop_oneof![
        (size(), any::<u8>()).prop_map(|(n, fill)| Step::Push(n, fill)),
        size().prop_map(Step::Pull),
        (size(), any::<u8>()).prop_map(|(n, fill)| Step::Extend(n, fill)),
        size().prop_map(Step::Truncate),
        size().prop_map(Step::Reset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_window_is_a_range_of_an_array(steps in prop::collection::vec(step(), 0..40)) {
        let memory = Memory::new(CHUNK, 4).unwrap();
        let mut pool = memory.pool();
        let mut buf = pool.alloc().unwrap();
        // The first 64 bytes are the link's; the twin may never use them.
        let (mut twin, mut range) = ([0u8; CHUNK], HEADROOM..HEADROOM);
        for step in steps {
            match step {
                Step::Push(n, fill) => {
                    let fits = n <= range.start - 64;
                    let got = buf.push(n);
                    prop_assert_eq!(got.is_some(), fits);
                    if let Some(bytes) = got {
                        bytes.fill(fill);
                        range.start -= n;
                        twin[range.start..range.start + n].fill(fill);
                    }
                }
                Step::Pull(n) => {
                    let fits = n <= range.len();
                    prop_assert_eq!(buf.pull(n), fits);
                    range.start += if fits { n } else { 0 };
                }
                Step::Extend(n, fill) => {
                    let fits = n <= CHUNK - range.end;
                    let got = buf.extend(n);
                    prop_assert_eq!(got.is_some(), fits);
                    if let Some(bytes) = got {
                        bytes.fill(fill);
                        twin[range.end..range.end + n].fill(fill);
                        range.end += n;
                    }
                }
                Step::Truncate(n) => {
                    buf.truncate(n);
                    range.end = range.end.min(range.start + n);
                }
                Step::Reset(n) => {
                    let fits = 64 + n <= CHUNK;
                    prop_assert_eq!(buf.reset(n), fits);
                    if fits {
                        range = 64 + n..64 + n;
                    }
                }
            }
            prop_assert_eq!(buf.bytes(), &twin[range.clone()]);
            prop_assert_eq!((buf.start(), buf.headroom(), buf.tailroom()), (range.start, range.start - 64, CHUNK - range.end));
        }
        pool.free(buf).unwrap();
        drop(pool);
        prop_assert_eq!(memory.home(), 4);
    }

    #[test]
    fn every_chunk_is_in_one_place(steps in prop::collection::vec((0usize..3, any::<bool>(), 1usize..100), 0..40)) {
        let (small, large) = (Memory::new(CHUNK, 300).unwrap(), Memory::new(2 * CHUNK, 10).unwrap());
        let mut workers: Vec<Pools> = (0..3).map(|_| Pools::new(&small, &large)).collect();
        let mut out: Vec<Buf> = Vec::new();
        for (worker, take, count) in steps {
            for _ in 0..count {
                if take {
                    out.extend(workers[worker].small.alloc());
                } else if let Some(buf) = out.pop() {
                    workers[worker].free(buf);
                }
            }
            let cached: usize = workers.iter().map(|w| w.small.cached()).sum();
            prop_assert_eq!(small.home() + cached + out.len(), 300);
            prop_assert!(workers.iter().all(|w| w.small.about() >= w.small.cached()));
        }
        let mut numbers: Vec<u32> = out.iter().map(Buf::index).collect();
        numbers.sort_unstable();
        numbers.dedup();
        prop_assert_eq!(numbers.len(), out.len());
        out.into_iter().for_each(|buf| workers[0].free(buf));
        drop(workers);
        prop_assert_eq!((small.home(), large.home()), (300, 10));
    }
}

#[test]
fn frames_travel_between_threads_and_come_home() {
    let (rounds, each) = if cfg!(miri) { (5, 20) } else { (500, 100) };
    let (small, large) = (Memory::new(CHUNK, 512).unwrap(), Memory::new(2 * CHUNK, 4).unwrap());
    let (send, receive) = sync_channel::<Buf>(64);
    std::thread::scope(|scope| {
        let (near, far) = (Pools::new(&small, &large), Pools::new(&small, &large));
        scope.spawn(move || {
            let (mut pools, send) = (near, send);
            let mut sent = 0u32;
            while sent < rounds * each {
                // The receiver gives back to the shared depot in batches, so a pool may be empty for a moment.
                let Some(mut buf) = pools.small.alloc() else {
                    std::thread::yield_now();
                    continue;
                };
                buf.extend(4).unwrap().copy_from_slice(&sent.to_ne_bytes());
                send.send(buf).unwrap();
                sent += 1;
            }
        });
        scope.spawn(move || {
            let mut pools = far;
            for (want, buf) in receive.into_iter().enumerate() {
                assert_eq!(buf.bytes(), (want as u32).to_ne_bytes());
                pools.free(buf);
            }
        });
    });
    assert_eq!((small.home(), large.home()), (512, 4));
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[test]
fn the_time_stamp_counter_goes_on_and_never_back() {
    let began = crate::cycles();
    let mut last = began;
    for _ in 0..1000 {
        let now = crate::cycles();
        assert!(now >= last);
        last = now;
    }
    assert!(last > began);
}

#[test]
fn a_table_begins_where_huge_pages_do_and_holds_what_is_put_in() {
    let mut small = Table::new(3, 7u64);
    let mut large = Table::new((2 << 20) / 8 + 1, 7u64);
    assert!(large.as_ptr().addr().is_multiple_of(2 << 20));
    for table in [&mut small, &mut large] {
        assert!(table.iter().all(|value| *value == 7));
        let last = table.len() - 1;
        table[last] = 9;
        assert_eq!((table[0], table[last]), (7, 9));
    }
    assert_eq!((small.len(), large.len()), (3, (2 << 20) / 8 + 1));
    // None is one, so that every mask finds something.
    assert_eq!(Table::new(0, 1u8).len(), 1);
}

#[test]
#[cfg(not(miri))]
fn shared_words_of_a_huge_page_begin_where_one_does() {
    let words = SharedWords::create(c"test", (5 << 20) / 8 + 3).unwrap();
    assert!(words.as_ptr().addr().is_multiple_of(2 << 20));
    let last = words.len() - 1;
    words[last].store(5, Ordering::Relaxed);
    let again = SharedWords::map(words.fd().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!((again.len(), again[last].load(Ordering::Relaxed)), (words.len(), 5));
}
