//! One run of one point: a node made anew, its flows established, what it does to them checked byte for byte, then timed.

use super::feed::Feed;
use super::node::{Node, Worker};
use super::speed::{Table, copy_ns, ghz};
use super::time::Moment;
use super::timed::timed;
use crate::cases::{Arriving, Case, Leaving, Traffic};
use crate::pipeline::point::Point;
use crate::world::World;
use anyhow::{Result, ensure};
use serde::Serialize;
use sluice_wire::BURST;

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

/// A worker's part: what arrives, and of its first packets the flow and, where it was chosen, the endpoint.
struct Part {
    feed: Feed,
    first: Vec<(u32, Option<u32>)>,
    packets: usize,
}

pub(crate) fn run(world: &World, point: &Point, amount: &Amount, seed: u64) -> Result<Figures> {
    let traffic = point.traffic(amount);
    let mut figures = Figures {
        copy_ns: copy_ns(),
        load_ns: Table::new(point.flows as usize).load_ns(),
        ..Figures::default()
    };
    let connections = point.connections(amount);
    let cache = AGENT_FLOWS.max(4 * point.entries() as usize / point.workers as usize);
    let mut node = Node::new(world, point.workers, connections + connections / 8, cache, seed)?;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut parts = Vec::new();
    for (n, worker) in (0..point.workers).zip(&mut node.workers) {
        let own = |flows: std::ops::Range<u32>| flows.skip(n as usize).step_by(point.workers as usize);
        let known: Vec<u32> = own(0..point.flows).collect();
        ensure!(
            !known.is_empty(),
            "{} flows are too few for {} workers",
            point.flows,
            point.workers
        );
        let known = open_all(worker, &traffic, point, &known)?;
        let mut part = if point.case.is_new_each_time() {
            let mut fresh: Vec<_> = own(point.flows..point.flows + amount.fresh)
                .map(|flow| (flow, None))
                .collect();
            random.shuffle(&mut fresh);
            part(&traffic, point, &fresh, 0)
        } else {
            part(&traffic, point, &rounds(known, &mut random), amount.packets)
        };
        if !point.case.is_new_each_time() {
            warm_and_check(worker, &mut part, &traffic, point)?;
        }
        parts.push(part);
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

/// Opens flows, and says which endpoint serves each. What the first burst becomes is compared with what it must.
fn open_all(worker: &mut Worker, traffic: &Traffic, point: &Point, flows: &[u32]) -> Result<Vec<(u32, Option<u32>)>> {
    let mut opened = Vec::with_capacity(flows.len());
    for chunk in flows.chunks(BURST) {
        let len = point.size.bytes(0);
        let frames: Vec<Arriving> = chunk.iter().map(|flow| traffic.open(*flow, len)).collect();
        let sent = worker.send(&frames)?;
        all_left(worker, frames.len(), sent.len())?;
        for (flow, sent) in chunk.iter().zip(&sent) {
            if opened.len() < BURST {
                same(*flow, traffic.opened(*flow, len, sent).as_ref(), sent)?;
            }
            opened.push((*flow, traffic.endpoint(*flow, sent)));
        }
    }
    Ok(opened)
}

/// Shuffled anew each time until there are enough of them that no order is learnt.
fn rounds(mut flows: Vec<(u32, Option<u32>)>, random: &mut fastrand::Rng) -> Vec<(u32, Option<u32>)> {
    const ENOUGH: usize = 1 << 14;
    let mut order = Vec::new();
    while order.len() < ENOUGH {
        random.shuffle(&mut flows);
        order.extend_from_slice(&flows);
    }
    order
}

/// These flows' packets in this order, `packets` of them if a round is not more.
fn part(traffic: &Traffic, point: &Point, order: &[(u32, Option<u32>)], packets: usize) -> Part {
    let frame = |(n, (flow, endpoint)): (usize, &(u32, Option<u32>))| match (point.case, endpoint) {
        (Case::ServiceReply, Some(endpoint)) => traffic.reply(*flow, *endpoint, point.size.bytes(n)),
        _ => traffic.open(*flow, point.size.bytes(n)),
    };
    Part {
        feed: Feed::new(order.iter().enumerate().map(frame)),
        first: order.iter().take(BURST).copied().collect(),
        packets: packets.max(order.len()),
    }
}

/// A round without a clock, so that every flow is known; then one burst, byte for byte.
fn warm_and_check(worker: &mut Worker, part: &mut Part, traffic: &Traffic, point: &Point) -> Result<()> {
    let round = part.feed.round();
    let out = worker.forward(&mut part.feed, round);
    worker.account(out.frames, out.bytes);
    all_left(worker, round, out.frames as usize)?;
    // One by one, so that one that has lost its place in the cache is not overtaken.
    for (n, (flow, endpoint)) in part.first.iter().enumerate() {
        let sent = worker.look(&mut part.feed);
        all_left(worker, 1, sent.len())?;
        let len = point.size.bytes(n);
        let want = match (point.case, endpoint) {
            (Case::ServiceReply, Some(endpoint)) => Some(traffic.replied(*flow, *endpoint, len)),
            _ if traffic.endpoint(*flow, &sent[0]) != *endpoint => None,
            _ => traffic.opened(*flow, len, &sent[0]),
        };
        same(*flow, want.as_ref(), &sent[0])?;
    }
    part.feed.rewind();
    Ok(())
}

fn all_left(worker: &Worker, came: usize, left: usize) -> Result<()> {
    ensure!(
        came == left,
        "of {came} frames {left} left; dropped: {:?}",
        worker.dropped()
    );
    Ok(())
}

fn same(flow: u32, want: Option<&Leaving>, got: &Leaving) -> Result<()> {
    ensure!(
        want == Some(got),
        "flow {flow}: a wrong packet left\n want {want:?}\n  got {got:?}"
    );
    Ok(())
}
