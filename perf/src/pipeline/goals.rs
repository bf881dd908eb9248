//! What the packet path must reach, in one table. Nothing fails when it does not: the reports say so.

use super::point::{FrameSize, Point};
use crate::cases::Case;
use crate::world::addresses::Family;

/// Most that a packet of a point may cost, ns on a core at the reference clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) point: Point,
    pub(crate) ns: f64,
}

/// What two points are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ratio {
    /// Cost of a packet.
    Cost,
    /// Packets a second of all workers.
    Rate,
}

/// One point beside another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparison {
    pub(crate) name: &'static str,
    /// For people: what the ratio is of what.
    pub(crate) text: &'static str,
    pub(crate) ratio: Ratio,
    pub(crate) of: Point,
    pub(crate) to: Point,
    /// Most, of costs, and least, of rates.
    pub(crate) goal: f64,
}

const fn established(case: Case, flows: u32) -> Point {
    Point {
        case,
        size: FrameSize::Bytes(64),
        family: Family::V4,
        workers: 1,
        services: 1,
        policies: 1,
        churn: 0,
        flows,
    }
}

const fn cost(case: Case, flows: u32, ns: f64) -> Cost {
    Cost {
        point: established(case, flows),
        ns,
    }
}

/// Within a tenth of what it is without changes.
const fn churned(case: Case, flows: u32, ns: f64) -> Cost {
    let quiet = established(case, flows);
    Cost {
        point: Point { churn: 100, ..quiet },
        ns: ns * 1.1,
    }
}

const MANY: u32 = 10_000;

/// Costs, ns a packet at 3.85 GHz.
pub(crate) const COSTS: [Cost; 13] = [
    cost(Case::ServiceOut, 1, 25.0),
    cost(Case::ServiceOut, 10_000, 35.0),
    cost(Case::ServiceOut, 1_000_000, 60.0),
    cost(Case::ServiceReply, 1, 30.0),
    cost(Case::ServiceReply, 10_000, 40.0),
    cost(Case::ServiceReply, 1_000_000, 65.0),
    churned(Case::ServiceOut, 1, 25.0),
    churned(Case::ServiceOut, 10_000, 35.0),
    churned(Case::ServiceOut, 1_000_000, 60.0),
    churned(Case::ServiceReply, 1, 30.0),
    churned(Case::ServiceReply, 10_000, 40.0),
    churned(Case::ServiceReply, 1_000_000, 65.0),
    // Half of what kube-proxy's nftables mode takes, and a twelfth of its iptables mode, both with as many services.
    Cost {
        point: Point {
            services: MANY,
            ..established(Case::FirstPacket, 1)
        },
        ns: 4000.0,
    },
];

/// Ratios.
pub(crate) const COMPARISONS: [Comparison; 2] = [
    Comparison {
        name: "pipeline/flat",
        text: "10,000 services and policies cost, of one of each",
        ratio: Ratio::Cost,
        of: Point {
            services: MANY,
            policies: MANY,
            ..established(Case::ServiceOut, 10_000)
        },
        to: established(Case::ServiceOut, 10_000),
        goal: 1.05,
    },
    Comparison {
        name: "pipeline/two-workers",
        text: "two workers forward, of one",
        ratio: Ratio::Rate,
        of: Point {
            workers: 2,
            ..established(Case::ServiceOut, 10_000)
        },
        to: established(Case::ServiceOut, 10_000),
        goal: 1.8,
    },
];

/// The goal of a point, if it has one.
pub(crate) fn cost_of(point: &Point) -> Option<f64> {
    COSTS.iter().find(|goal| goal.point == *point).map(|goal| goal.ns)
}

/// All points that goals speak of, each once.
pub(crate) fn points() -> Vec<Point> {
    let compared = COMPARISONS.iter().flat_map(|c| [c.of, c.to]);
    let mut all: Vec<Point> = COSTS.iter().map(|goal| goal.point).chain(compared).collect();
    all.sort();
    all.dedup();
    all
}
