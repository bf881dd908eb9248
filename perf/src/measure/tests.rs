//! The correctness twins of the benchmarks: the same packets, counted to the last frame; and that a run which is not what it is said to
//! be is an error.

use super::egress::Freeing;
use super::feed::Feed;
use super::node::{Counted, Node};
use super::timed::check;
use super::{Amount, run};
use crate::cases::{Arriving, Case};
use crate::pipeline::point::{FrameSize, Point};
use crate::world::World;
use crate::world::addresses::Family;
use clap::ValueEnum;
use proptest::prelude::*;
use sluice_io::PacketIo;
use sluice_mem::{LARGE_CHUNK, Memory, Pools};
use sluice_wire::{BURST, PortSlot};
use std::time::{Duration, Instant};

const AMOUNT: Amount = Amount {
    packets: 1000,
    fresh: 300,
};

fn point(case: Case, family: Family) -> Point {
    Point {
        case,
        size: FrameSize::Bytes(64),
        family,
        workers: 1,
        services: 3,
        policies: 2,
        churn: 0,
        flows: 70,
    }
}

/// Runs the point in the world that it asks for.
fn measured(point: &Point) -> super::Figures {
    let world = World::new(point.traffic(&AMOUNT).world);
    run(&world, point, &AMOUNT, 1).unwrap_or_else(|err| panic!("{point}: {err:#}"))
}

#[test]
fn every_case_sends_exactly_what_it_should() {
    for &case in Case::value_variants() {
        for &family in Family::value_variants() {
            for size in [FrameSize::Bytes(64), FrameSize::Bytes(1514), FrameSize::Imix] {
                let point = Point {
                    size,
                    ..point(case, family)
                };
                let known = f64::from(!case.is_new_each_time());
                assert_eq!(measured(&point).hit_rate, known, "{point}");
            }
        }
    }
}

#[test]
fn it_does_among_many_services_without_policies_and_with_as_many_flows_as_clients_have_ports() {
    for &case in Case::value_variants() {
        let few = point(case, Family::V4);
        for point in [
            Point { services: 2600, ..few },
            Point { policies: 0, ..few },
            Point { policies: 600, ..few },
            Point { flows: 60_000, ..few },
        ] {
            measured(&point);
        }
    }
}

#[test]
fn changes_that_concern_no_flow_are_published_and_nothing_is_decided_again() {
    for &case in Case::value_variants() {
        let point = Point {
            churn: 100_000,
            ..point(case, Family::V4)
        };
        let world = World::new(point.traffic(&AMOUNT).world);
        let amount = Amount {
            packets: 20_000,
            ..AMOUNT
        };
        let until = Instant::now() + Duration::from_secs(30);
        // A busy machine may not get round to publishing while so few packets pass.
        loop {
            let figures = run(&world, &point, &amount, 1).unwrap_or_else(|err| panic!("{point}: {err:#}"));
            if figures.changes > 1 && (figures.renewed > 0 || case.is_new_each_time()) {
                break;
            }
            assert!(Instant::now() < until, "{point}: no change was seen: {figures:?}");
        }
    }
}

#[test]
fn workers_share_the_flows_and_every_frame_arrives() {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        eprintln!("this machine has one processor: two workers are not tried");
        return;
    }
    for &case in Case::value_variants() {
        let point = Point {
            workers: 2,
            ..point(case, Family::V6)
        };
        measured(&point);
    }
}

#[test]
fn a_run_whose_packets_go_elsewhere_is_an_error() {
    // The world has fewer services than the packets ask for: theirs leave for where no service is.
    let asked = point(Case::ServiceOut, Family::V4);
    let smaller = Point { services: 1, ..asked };
    let world = World::new(smaller.traffic(&AMOUNT).world);
    let err = run(&world, &asked, &AMOUNT, 1).unwrap_err();
    assert!(
        format!("{err:#}").contains("wrong packet") || format!("{err:#}").contains("dropped"),
        "{err:#}"
    );
}

#[test]
fn books_that_are_wrong_are_an_error() {
    let known = point(Case::ServiceOut, Family::V4);
    let new = point(Case::FirstPacket, Family::V4);
    let world = World::new(known.traffic(&AMOUNT).world);
    let node = Node::new(&world, 1, 16, 64, 1).unwrap();
    let right = Freeing { frames: 1000, bytes: 0 };
    let hits = Counted {
        received: 1000,
        hits: 1000,
        ..Counted::default()
    };
    let created = Counted {
        received: 1000,
        misses: 1000,
        created: 1000,
        ..Counted::default()
    };
    let judge = |point: &Point, out: &Freeing, counted: &Counted| check(&node.workers[0], point, 1000, out, counted);
    judge(&known, &right, &hits).unwrap();
    judge(&new, &right, &created).unwrap();
    let lost = Freeing { frames: 999, bytes: 0 };
    judge(&known, &lost, &hits).unwrap_err();
    judge(&new, &right, &hits).unwrap_err();
    judge(&known, &right, &created).unwrap_err();
    for wrong in [
        Counted { received: 999, ..hits },
        Counted { hits: 999, ..hits },
        Counted { created: 1, ..hits },
        Counted {
            decided_again: 1,
            ..hits
        },
        Counted {
            hits: 980,
            misses: 20,
            ..hits
        },
        Counted {
            created: 999,
            ..created
        },
    ] {
        let point = if wrong.created > 1 { &new } else { &known };
        judge(point, &right, &wrong).unwrap_err();
    }
    node.close().unwrap();
}

#[test]
fn more_workers_than_flows_is_an_error() {
    let point = Point {
        workers: 2,
        flows: 1,
        ..point(Case::PodToPod, Family::V4)
    };
    let world = World::new(point.traffic(&AMOUNT).world);
    let err = run(&world, &point, &AMOUNT, 1).unwrap_err();
    assert!(err.to_string().contains("too few"), "{err:#}");
}

fn any_frame() -> impl Strategy<Value = Arriving> {
    let head = prop::collection::vec(any::<u8>(), 60..192);
    (head, 0usize..1300, 0u16..40).prop_map(|(mut bytes, zeros, port)| {
        bytes.resize(bytes.len() + zeros, 0);
        let port = PortSlot(port);
        Arriving { port, bytes }
    })
}

proptest! {
    #[test]
    fn a_feed_makes_the_frames_it_was_given_in_their_order_again_and_again(
        frames in prop::collection::vec(any_frame(), 1..150),
    ) {
        let memories = (Memory::new(4096, 256).unwrap(), Memory::new(LARGE_CHUNK, 2).unwrap());
        let mut pools = Pools::new(&memories.0, &memories.1);
        let mut feed = Feed::new(frames.clone().into_iter());
        prop_assert_eq!(feed.round(), frames.len());
        let mut want = frames.iter().cycle();
        for most in [BURST, 1, BURST, 7, BURST, BURST] {
            let mut burst = sluice_engine::Burst::new();
            prop_assert_eq!(feed.receive(&mut pools, &mut burst, most).frames as usize, most);
            for frame in burst.drain(..) {
                let want = want.next().unwrap();
                prop_assert_eq!(frame.buf.bytes(), &want.bytes[..]);
                prop_assert_eq!(frame.meta.ingress, want.port);
                pools.free(frame.buf);
            }
        }
        feed.rewind();
        let mut burst = sluice_engine::Burst::new();
        feed.receive(&mut pools, &mut burst, 1);
        for frame in burst.drain(..) {
            prop_assert_eq!(frame.buf.bytes(), &frames[0].bytes[..]);
            pools.free(frame.buf);
        }
        drop(pools);
        prop_assert_eq!(memories.0.home(), 256);
    }
}
