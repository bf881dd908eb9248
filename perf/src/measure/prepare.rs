//! What comes before the clock: flows are opened, packets laid out in their order, every flow passes once; and what becomes of packets is
//! compared with what must, byte for byte.

use super::feed::Feed;
use super::node::Worker;
use super::run::Amount;
use crate::cases::{Arriving, Case, Leaving, Traffic};
use crate::pipeline::point::Point;
use anyhow::{Result, ensure};
use sluice_wire::BURST;
use std::ops::Range;

/// A flow and, where one was chosen for it, its endpoint.
type Flow = (u32, Option<u32>);

/// A worker's part: what arrives, and the flows of its first packets.
pub(super) struct Part {
    pub(super) feed: Feed,
    pub(super) packets: usize,
    first: Vec<Flow>,
}

/// Makes the `n`-th worker ready for its share of the flows.
pub(super) fn prepare(
    worker: &mut Worker,
    n: u32,
    traffic: &Traffic,
    point: &Point,
    amount: &Amount,
    random: &mut fastrand::Rng,
) -> Result<Part> {
    let own = |flows: Range<u32>| flows.skip(n as usize).step_by(point.workers as usize);
    let known: Vec<u32> = own(0..point.flows).collect();
    ensure!(
        !known.is_empty(),
        "{} flows are too few for {} workers",
        point.flows,
        point.workers
    );
    let known = open_all(worker, traffic, point, &known)?;
    if point.case.is_new_each_time() {
        let fresh = own(point.flows..point.flows + amount.fresh);
        let mut fresh: Vec<Flow> = fresh.map(|flow| (flow, None)).collect();
        random.shuffle(&mut fresh);
        return Ok(part(traffic, point, &fresh, 0));
    }
    let mut part = part(traffic, point, &rounds(known, random), amount.packets);
    warm_and_check(worker, &mut part, traffic, point)?;
    Ok(part)
}

/// Opens flows, and says which endpoint serves each. What the first burst becomes is compared with what it must.
fn open_all(worker: &mut Worker, traffic: &Traffic, point: &Point, flows: &[u32]) -> Result<Vec<Flow>> {
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
fn rounds(mut flows: Vec<Flow>, random: &mut fastrand::Rng) -> Vec<Flow> {
    const ENOUGH: usize = 1 << 14;
    let mut order = Vec::new();
    while order.len() < ENOUGH {
        random.shuffle(&mut flows);
        order.extend_from_slice(&flows);
    }
    order
}

/// These flows' packets in this order, `packets` of them if a round is not more.
fn part(traffic: &Traffic, point: &Point, order: &[Flow], packets: usize) -> Part {
    let frame = |(n, (flow, endpoint)): (usize, &Flow)| match (point.case, endpoint) {
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
