//! One run of one point: a node made anew, its flows established, what it does to them checked byte for byte, then timed.

use super::node::Node;
use super::prepare::prepare;
use super::speed::{Table, copy_ns, ghz};
use super::time::Moment;
use super::timed::timed;
use crate::pipeline::point::Point;
use crate::world::World;
use anyhow::Result;
use serde::Serialize;

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    /// Packets of a run, if its flows are not more.
    pub(crate) packets: usize,
    /// Connections that a run begins, where each packet is a new one.
    pub(crate) fresh: u32,
}

/// What one run measured.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Figures {
    /// Processor time a packet, ns: the mean of the workers.
    pub(crate) ns: f64,
    /// Time on the wall a packet, ns.
    pub(crate) wall_ns: f64,
    /// Ticks of the time stamp counter a packet.
    pub(crate) cycles: f64,
    /// The same without an engine: received and freed, ns of processor time.
    pub(crate) receive_ns: f64,
    /// The clock meanwhile.
    pub(crate) ghz: f64,
    /// A copy of 64 bytes, ns.
    pub(crate) copy_ns: f64,
    /// A load of 128 bytes from memory as large as the flows', ns.
    pub(crate) load_ns: f64,
    /// Share of packets that the flow cache knew.
    pub(crate) hit_rate: f64,
    /// Changes of configuration that were published meanwhile.
    pub(crate) changes: u64,
    /// Packets whose entry had to be renewed for that.
    pub(crate) renewed: u64,
}

/// Entries of a worker's cache that the agent has unless told otherwise (`memory.flows`).
const AGENT_FLOWS: usize = 1 << 16;

/// Entries of each worker's cache at this point.
pub(super) fn cache_entries(point: &Point) -> usize {
    AGENT_FLOWS.max(4 * point.entries() as usize / point.workers as usize)
}

pub(crate) fn run(world: &World, point: &Point, amount: &Amount, seed: u64) -> Result<Figures> {
    let traffic = point.traffic(amount);
    let mut figures = Figures {
        copy_ns: copy_ns(),
        load_ns: Table::new(point.flows as usize).load_ns(),
        ..Figures::default()
    };
    let connections = point.connections(amount);
    let cache = cache_entries(point);
    let mut node = Node::new(world, point.workers, connections + connections / 8, cache, seed)?;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut parts = Vec::new();
    for (n, worker) in (0..point.workers).zip(&mut node.workers) {
        parts.push(prepare(worker, n, &traffic, point, amount, &mut random)?);
    }
    let (first, part) = (&mut node.workers[0], &mut parts[0]);
    let before = Moment::now();
    first.receive_only(&mut part.feed, part.packets);
    figures.receive_ns = before.elapsed().cpu_ns / part.packets as f64;
    part.feed.rewind();
    figures.ghz = ghz();
    let (timed, changes) = {
        let work = node
            .workers
            .iter_mut()
            .zip(&mut parts)
            .map(|(w, p)| (w, &mut p.feed, p.packets));
        timed(&mut node.publisher, work.collect(), world, point)?
    };
    figures.ghz = (figures.ghz + ghz()) / 2.0;
    figures.changes = changes;
    let mut hits = (0, 0);
    for (part, (counted, elapsed)) in parts.iter().zip(&timed) {
        let each = |sum: f64| sum / part.packets as f64 / timed.len() as f64;
        figures.ns += each(elapsed.cpu_ns);
        figures.wall_ns += each(elapsed.wall_ns);
        figures.cycles += each(elapsed.cycles);
        figures.renewed += counted.renewed;
        hits = (hits.0 + counted.hits, hits.1 + counted.received);
    }
    figures.hit_rate = hits.0 as f64 / hits.1 as f64;
    node.close()?;
    Ok(figures)
}
