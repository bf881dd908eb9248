//! Decides which ranges service addresses come from: those of the configuration and those of ServiceCIDR objects. It never takes one from an object
//! with which this node would cut itself or pods off, whoever may write such objects.

use super::inputs::Inputs;
use super::result::Report;
use super::taken::{Taken, describe};
use crate::model::Store;
use sluice_snapshot::Prefix;

/// All of them, sorted. `pods` are the ranges of all nodes.
pub(super) fn service_ranges(
    store: &Store,
    inputs: &Inputs<'_>,
    pods: &[Prefix],
    reports: &mut Vec<Report>,
) -> Vec<Prefix> {
    let mut ranges = inputs.settings.service_cidrs.clone();
    let taken = Taken::new(inputs.underlay);
    for record in store.service_cidrs() {
        for range in &record.ranges {
            if ranges
                .iter()
                .any(|known| known.is_v4() == range.is_v4() && known.covers(range))
            {
                continue;
            }
            let pods = || pods.iter().find(|pods| pods.covers(range) || range.covers(pods));
            let node = || {
                let mut nodes = store.nodes();
                nodes.find(|node| node.internal_ips.iter().any(|addr| range.contains(*addr)))
            };
            let touched = taken.touched(range).map(|touched| format!("{}", describe(touched)));
            let touched = touched
                .or_else(|| pods().map(|pods| format!("the pod range {pods}")))
                .or_else(|| node().map(|node| format!("an address of node {}", node.name)));
            match touched {
                None => ranges.push(*range),
                Some(what) => reports.push(Report::warning(
                    format!("ServiceCIDR {}", record.name),
                    format!("its range {range} overlaps {what}; the range is not used, and this node's own programs do not reach its Services"),
                )),
            }
        }
    }
    ranges.sort();
    ranges.dedup();
    ranges
}
