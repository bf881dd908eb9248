//! A run whose instructions are counted from outside: the timed path in a function of its own, nothing else in it, and no time of the
//! machine's. It never measures anything itself.

use super::node::{Node, Worker};
use super::prepare::{Part, prepare};
use super::run::{Amount, cache_entries};
use super::timed::check;
use crate::measure::egress::Freeing;
use crate::pipeline::point::Point;
use crate::world::World;
use anyhow::{Context, Result, ensure};

/// By this name whoever counts finds the function.
pub(crate) const PATH: &str = "counted_path";

/// Forwards the point's packets in [`counted_path`], or only receives and frees them; says how many.
pub(crate) fn count(world: &World, point: &Point, amount: &Amount, engine: bool) -> Result<usize> {
    ensure!(point.workers == 1, "{point}: instructions are counted of one worker");
    let connections = point.connections(amount);
    let mut node = Node::new(world, 1, connections + connections / 8, cache_entries(point), SEED)?;
    let worker = node.workers.first_mut().context("a node has a worker")?;
    worker.even_time();
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut part = prepare(worker, 0, &point.traffic(amount), point, amount, &mut random)?;
    let before = worker.counted();
    let out = counted_path(worker, &mut part, engine);
    if engine {
        worker.account(out.frames, out.bytes);
        let counted = worker.counted().since(&before);
        check(worker, point, part.packets as u64, &out, &counted)?;
    }
    node.close()?;
    Ok(part.packets)
}

const SEED: u64 = 1;

#[inline(never)]
fn counted_path(worker: &mut Worker, part: &mut Part, engine: bool) -> Freeing {
    if engine {
        worker.forward(&mut part.feed, part.packets)
    } else {
        worker.receive_only(&mut part.feed, part.packets);
        Freeing::default()
    }
}
