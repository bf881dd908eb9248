//! The whole engine: sequences of frames and changes of configuration, in the world of the engine's own tests.

#[allow(dead_code)]
#[path = "../../../dataplane/engine/src/tests/bench.rs"]
mod bench;
#[allow(dead_code)]
#[path = "../../../dataplane/engine/src/tests/packet.rs"]
mod packet;
#[allow(dead_code)]
#[path = "../../../dataplane/engine/src/tests/world.rs"]
mod world;

mod answer;
mod seen;
mod step;

pub use seen::Seen;

use arbitrary::{Arbitrary, Unstructured};
use bench::{Bench, Sent};
use sluice_wire::Meta;
use std::collections::VecDeque;
use step::{Frame, Step};
use world::{B, REMOTE, World};

/// Two workers, as which one sees a packet must not matter.
const WORKERS: usize = 2;
/// Steps of one input.
const STEPS: usize = 64;
/// The longest frame that the bench puts into an ordinary chunk.
const LONGEST_SMALL: usize = 1700;

/// Frames that left and can be answered.
const REMEMBERED: usize = 16;

/// Whatever comes in, and whatever changes meanwhile: nothing panics, frames and bytes balance after every step, nothing
/// leaves with a source that does not belong where it came in, and at the end every frame is home (`Bench` checks that).
pub(crate) fn frames_and_changes(data: &[u8]) {
    seen(data);
}

/// The same, and how far it led.
pub fn seen(data: &[u8]) -> Seen {
    let mut input = Unstructured::new(data);
    let mut world = World::new();
    world.serve(&[B, REMOTE]);
    let mut bench = Bench::with(world, WORKERS);
    let mut seen = Seen::default();
    let mut left = VecDeque::new();
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        let Ok(step) = Step::arbitrary(&mut input) else { break };
        let sent = match step {
            Step::Wait(ticks) => bench.wait(u64::from(ticks) << 24),
            Step::Burst(worker, frames) => burst(&mut bench, usize::from(worker) % WORKERS, &frames, &mut seen),
            Step::Change(change) => {
                bench.change(|world| change.apply(world));
                continue;
            }
            Step::Answer(worker, back, flags, len) => {
                let asked = left.get(usize::from(back) % REMEMBERED);
                let Some((meta, bytes)) = asked.and_then(|sent| answer::to(sent, flags, len)) else {
                    continue;
                };
                let sent = bench.burst(usize::from(worker) % WORKERS, &[(meta, &bytes)]);
                seen.note(meta.ingress, &bytes, &sent);
                sent
            }
        };
        sent.into_iter().for_each(|sent| left.push_front(sent));
        left.truncate(REMEMBERED);
        // Together: a fragment may wait for its first at one worker and leave with it at another.
        let each = bench.workers.iter().map(|w| w.engine.counters().imbalance());
        assert_eq!(each.fold((0, 0), |(f, b), (g, c)| (f + g, b + c)), (0, 0));
    }
    for worker in &bench.workers {
        seen.count(worker.engine.counters());
    }
    seen
}

fn burst(bench: &mut Bench, worker: usize, frames: &[Frame], seen: &mut Seen) -> Vec<Sent> {
    let large = &bench.workers[worker].pools.large;
    // What the bench has of super-frames' memory may be held, or in the other worker's cache.
    let mut room = large.cached().max(large.about().min(1));
    let mut build = |frame: &Frame| {
        let (meta, mut bytes) = frame.build();
        if bytes.len() > LONGEST_SMALL {
            bytes.truncate(if room == 0 { LONGEST_SMALL } else { bytes.len() });
            room = room.saturating_sub(1);
        }
        (meta, bytes)
    };
    let frames = &frames[..frames.len().min(8)];
    let built: Vec<(Meta, Vec<u8>)> = frames.iter().map(&mut build).collect();
    if let ([(meta, bytes)], [frame]) = (&built[..], frames) {
        // Alone, so that what leaves is known to come from it.
        let sent = bench.burst(worker, &[(*meta, bytes)]);
        assert!(
            frame.may_leave() || sent.iter().all(|sent| frame.is_answer(sent.port)),
            "{frame:?} {sent:?}"
        );
        seen.note(meta.ingress, bytes, &sent);
        return sent;
    }
    let all: Vec<(Meta, &[u8])> = built.iter().map(|(meta, bytes)| (*meta, &bytes[..])).collect();
    bench.burst(worker, &all)
}
