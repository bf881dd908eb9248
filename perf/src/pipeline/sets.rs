//! Sets of points that have a name: those with goals, those that the report shows, and everything.

use super::goals;
use super::point::{FrameSize, Point};
use crate::cases::Case;
use crate::world::addresses::Family;
use clap::ValueEnum;

/// A set of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Set {
    /// Those that goals are set for
    Goals,
    /// These and, for the report's charts, all cases by flows, and one by size, services and policies; `make bench` does this
    Bench,
    /// All cases by flows, size, family and workers, and by services and policies; `make bench-full` does this
    Full,
}

const FLOWS: [u32; 5] = [1, 64, 10_000, 100_000, 1_000_000];
const SIZES: [FrameSize; 4] = [
    FrameSize::Bytes(64),
    FrameSize::Bytes(512),
    FrameSize::Bytes(1500),
    FrameSize::Imix,
];
/// Also of policies, where 0 is one more.
const SERVICES: [u32; 5] = [1, 10, 100, 1000, 10_000];
/// Connections where other things vary.
const USUAL: u32 = 10_000;

impl Set {
    /// Each point once.
    pub(super) fn points(self) -> Vec<Point> {
        let mut points = goals::points();
        match self {
            Self::Goals => {}
            Self::Bench => points.extend(bench()),
            Self::Full => {
                points.extend(bench());
                points.extend(by_traffic());
                points.extend(by_configuration());
            }
        }
        points.sort();
        points.dedup();
        points
    }
}

fn plain(case: Case) -> Point {
    Point {
        case,
        size: FrameSize::Bytes(64),
        family: Family::V4,
        workers: 1,
        services: if case.is_new_each_time() { 10_000 } else { 1 },
        policies: 1,
        churn: 0,
        flows: USUAL,
    }
}

fn established() -> impl Iterator<Item = Case> {
    Case::value_variants()
        .iter()
        .copied()
        .filter(|case| !case.is_new_each_time())
}

/// A run of a million flows takes seconds: those of two cases are left out, so that all of them take minutes.
fn flows_of(case: Case) -> &'static [u32] {
    match case {
        Case::PodToPod | Case::NodePort => &[1, USUAL],
        _ => &[1, USUAL, 1_000_000],
    }
}

fn bench() -> Vec<Point> {
    let by_flows =
        established().flat_map(|case| flows_of(case).iter().map(move |&flows| Point { flows, ..plain(case) }));
    let one = plain(Case::ServiceOut);
    let by_size = SIZES.map(|size| Point { size, ..one });
    let by_services = SERVICES.map(|services| Point { services, ..one });
    let by_policies = SERVICES.map(|policies| Point { policies, ..one });
    by_flows.chain(by_size).chain(by_services).chain(by_policies).collect()
}

/// Every case by flows in both families, by flows with two workers, and by size in both families.
fn by_traffic() -> Vec<Point> {
    let mut points = Vec::new();
    for &case in Case::value_variants() {
        let usual = plain(case);
        // A new connection sees of other flows only that they are there.
        let flows = if case.is_new_each_time() { &[USUAL][..] } else { &FLOWS };
        let two = flows.iter().map(|&flows| Point {
            flows,
            workers: 2,
            ..usual
        });
        points.extend(two.filter(|point| point.flows >= point.workers));
        for family in [Family::V4, Family::V6] {
            points.extend(flows.iter().map(|&flows| Point { flows, family, ..usual }));
            points.extend(SIZES.map(|size| Point { size, family, ..usual }));
        }
    }
    points
}

/// Every case by services, by policies, and by as many of both.
fn by_configuration() -> Vec<Point> {
    let mut points = Vec::new();
    for usual in Case::value_variants().iter().map(|case| plain(*case)) {
        points.push(Point { policies: 0, ..usual });
        for n in SERVICES {
            points.push(Point { services: n, ..usual });
            points.push(Point { policies: n, ..usual });
            points.push(Point {
                services: n,
                policies: n,
                ..usual
            });
        }
    }
    points
}
