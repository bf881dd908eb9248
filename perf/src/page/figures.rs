//! Decides which charts the points of `pipeline` make: each varies one axis, everything else being as usual.

use super::chart::{Chart, Kind, Series, Value};
use super::data::{Pipeline, Point};
use crate::report::exact;

/// Connections where something else varies: what just fits into caches.
const FLOWS: u32 = 10_000;

/// One way in which points differ.
struct Axis {
    title: &'static str,
    about: &'static str,
    label: &'static str,
    place: fn(&Point) -> (u32, String),
    /// What all its points have in common.
    usual: fn(&Point) -> bool,
}

fn number(n: u32) -> (u32, String) {
    (n, exact(n.into()))
}

fn size(point: &Point) -> (u32, String) {
    match point.size.as_u64().and_then(|bytes| u32::try_from(bytes).ok()) {
        Some(bytes) => number(bytes),
        // A mix comes behind all sizes.
        None => (u32::MAX, point.size.as_str().unwrap_or("?").to_uppercase()),
    }
}

fn small(point: &Point) -> bool {
    point.size == 64
}

fn plain(point: &Point) -> bool {
    point.churn == 0 && point.case != "first-packet"
}

fn alone(point: &Point) -> bool {
    plain(point) && point.family == "IPv4" && point.workers == 1
}

fn one_of_each(point: &Point) -> bool {
    point.services == 1 && point.policies == 1
}

const AXES: [Axis; 5] = [
    Axis {
        title: "Cost of a packet, by connections",
        about: "64-byte frames, IPv4, one worker, one service, one policy; connections are visited uniformly",
        label: "connections",
        place: |point| number(point.flows),
        usual: |point| alone(point) && small(point) && one_of_each(point),
    },
    Axis {
        title: "Cost of a packet, by services",
        about: "10 endpoints each; 10,000 connections, 64-byte frames, IPv4, one worker, one policy",
        label: "services",
        place: |point| number(point.services),
        usual: |point| alone(point) && small(point) && point.flows == FLOWS && point.policies == 1,
    },
    Axis {
        title: "Cost of a packet, by policies",
        about: "all select every pod; 10,000 connections, 64-byte frames, IPv4, one worker, one service",
        label: "policies",
        place: |point| number(point.policies),
        usual: |point| alone(point) && small(point) && point.flows == FLOWS && point.services == 1,
    },
    Axis {
        title: "Cost of a packet, by frame size",
        about: "bytes from the Ethernet header on; 10,000 connections, IPv4, one worker, one service, one policy",
        label: "bytes",
        place: size,
        usual: |point| alone(point) && point.flows == FLOWS && one_of_each(point),
    },
    Axis {
        title: "Cost of a packet, by workers",
        about: "for each worker; 10,000 connections, 64-byte frames, IPv4, one service, one policy",
        label: "workers",
        place: |point| number(point.workers),
        usual: |point| {
            plain(point) && point.family == "IPv4" && small(point) && point.flows == FLOWS && one_of_each(point)
        },
    },
];

/// All charts for which there are at least two places on their axis.
pub(super) fn charts(pipeline: &Pipeline) -> Vec<Chart> {
    let unit = format!("ns a packet at {} GHz", pipeline.reference_ghz);
    AXES.iter()
        .filter_map(|axis| chart(axis, &pipeline.points, &unit))
        .collect()
}

fn chart(axis: &Axis, points: &[Point], unit: &str) -> Option<Chart> {
    let points: Vec<&Point> = points.iter().filter(|point| (axis.usual)(point)).collect();
    let mut places: Vec<(u32, String)> = points.iter().map(|point| (axis.place)(point)).collect();
    places.sort();
    places.dedup();
    // In the order in which they are measured.
    let mut cases: Vec<(&str, &str)> = Vec::new();
    for point in &points {
        if cases.iter().all(|(case, _)| *case != point.case) {
            cases.push((&point.case, &point.steps));
        }
    }
    let value = |case: &str, place: &(u32, String)| {
        let point = points
            .iter()
            .find(|point| point.case == case && (axis.place)(point) == *place)?;
        Some(Value {
            at: point.ns_at_reference,
            goal: point.goal_ns_at_reference,
        })
    };
    let series = cases.into_iter().map(|(case, steps)| Series {
        name: steps.to_owned(),
        values: places.iter().map(|place| value(case, place)).collect(),
    });
    let series: Vec<Series> = series
        .filter(|series| series.values.iter().flatten().count() > 1)
        .collect();
    (!series.is_empty()).then(|| Chart {
        title: axis.title.to_owned(),
        about: axis.about.to_owned(),
        label: axis.label.to_owned(),
        unit: unit.to_owned(),
        kind: Kind::Lines,
        places: places.into_iter().map(|(_, name)| name).collect(),
        series,
    })
}
