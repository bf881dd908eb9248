//! What the runs say, as numbers; and the same as JSON and as the summary's entries.

use super::goals::{self, Comparison, Ratio};
use super::options::Plan;
use super::point::{FrameSize, Point};
use crate::measure::speed::REFERENCE_GHZ;
use crate::measure::{Figures, Memory};
use crate::report::Machine;
use crate::report::summary::Entry;
use crate::stats::{Spread, differs, median_interval};
use serde_json::{Value, json};

/// Everything that was measured.
pub(crate) struct Results {
    pub(crate) machine: Machine,
    /// When it was done.
    pub(crate) date: String,
    pub(crate) plan: Plan,
    /// What a flow takes, unless all is to be quick.
    pub(crate) memory: Option<Memory>,
    /// What DPDK's testpmd took for a packet before and after, if it is there and was asked.
    pub(crate) testpmd_ns: Vec<f64>,
    /// Figures of each point's runs.
    pub(crate) series: Vec<(Point, Vec<Figures>)>,
}

/// One point beside another, as measured.
pub(super) struct Compared {
    pub(super) goal: &'static Comparison,
    pub(super) value: f64,
    /// Between the ends of both medians' intervals; the value itself while there are none.
    pub(super) low: f64,
    pub(super) high: f64,
    /// The difference is more than chance.
    pub(super) real: bool,
    pub(super) met: bool,
}

/// ns on a core at the reference clock.
pub(super) fn at_reference(figures: &Figures) -> f64 {
    figures.ns * figures.ghz / REFERENCE_GHZ
}

/// A figure's spread over the runs of a point; there is at least one.
pub(super) fn spread(runs: &[Figures], of: impl Fn(&Figures) -> f64) -> Spread {
    let nothing = Spread {
        median: f64::NAN,
        low: f64::NAN,
        high: f64::NAN,
    };
    Spread::of(runs.iter().map(of)).unwrap_or(nothing)
}

/// Packets a second and worker, in millions, at this many ns a packet.
pub(super) fn mpps(ns: f64) -> f64 {
    1000.0 / ns
}

impl Results {
    fn runs(&self, point: &Point) -> Option<&[Figures]> {
        let found = self.series.iter().find(|(other, _)| other == point)?;
        Some(&found.1)
    }

    /// Comparisons both of whose points were measured.
    pub(super) fn compared(&self) -> Vec<Compared> {
        let one = |goal: &'static Comparison| {
            let costs = |point: &Point| -> Option<Vec<f64>> {
                // A rate is compared as the time that one packet takes all workers together.
                let share = match goal.ratio {
                    Ratio::Cost => 1.0,
                    Ratio::Rate => f64::from(point.workers),
                };
                Some(self.runs(point)?.iter().map(|run| at_reference(run) / share).collect())
            };
            let (of, to) = (costs(&goal.of)?, costs(&goal.to)?);
            Some(compare(goal, &of, &to))
        };
        goals::COMPARISONS.iter().filter_map(one).collect()
    }

    pub(super) fn goal_of(&self, point: &Point, value: f64) -> Option<(f64, bool)> {
        goals::cost_of(point).map(|goal| (goal, value <= goal))
    }

    /// Share of the time that workers waited for a processor.
    pub(super) fn waiting(&self) -> f64 {
        let all: Vec<Figures> = self.series.iter().flat_map(|(_, runs)| runs.iter().copied()).collect();
        1.0 - spread(&all, |run| run.ns / run.wall_ns).median
    }

    pub(super) fn json(&self) -> Value {
        let compared = self.compared();
        json!({
            "machine": self.machine,
            "date": self.date,
            "waiting": self.waiting(),
            "memory": self.memory,
            "flow_bytes": self.memory.map(|memory| memory.flow()),
            "reference_ghz": REFERENCE_GHZ,
            "testpmd_ns": self.testpmd_ns,
            "plan": self.plan,
            "points": self.series.iter().map(|(point, runs)| self.point(point, runs)).collect::<Vec<_>>(),
            "comparisons": compared.iter().map(|c| json!({
                "name": c.goal.name,
                "of": c.goal.of.to_string(),
                "to": c.goal.to.to_string(),
                "value": c.value,
                "low": c.low,
                "high": c.high,
                "real": c.real,
                "goal": c.goal.goal,
                "met": c.met,
            })).collect::<Vec<_>>(),
        })
    }

    fn point(&self, point: &Point, runs: &[Figures]) -> Value {
        let ns = spread(runs, |run| run.ns);
        let reference = spread(runs, at_reference);
        let goal = self.goal_of(point, reference.median);
        let interval = median_interval(runs.iter().map(at_reference));
        json!({
            "name": point.to_string(),
            "case": point.case,
            "steps": point.case.steps(),
            "size": match point.size { FrameSize::Bytes(n) => json!(n), FrameSize::Imix => json!("imix") },
            "family": point.family.name(),
            "flows": point.flows,
            "workers": point.workers,
            "services": point.services,
            "policies": point.policies,
            "churn": point.churn,
            "ns": ns,
            "ns_at_reference": reference,
            "ns_at_reference_median_interval": interval,
            "mpps": mpps(ns.median) * f64::from(point.workers),
            "tsc_cycles": spread(runs, |run| run.cycles),
            "receive_and_free_ns": spread(runs, |run| run.receive_ns),
            "hit_rate": spread(runs, |run| run.hit_rate).median,
            "goal_ns_at_reference": goal.map(|g| g.0),
            "met": goal.map(|g| g.1),
            "runs": runs,
        })
    }

    /// One entry for each point and comparison.
    pub(super) fn summary(&self) -> Vec<Entry> {
        let points = self.series.iter().map(|(point, runs)| {
            let value = spread(runs, at_reference);
            let goal = self.goal_of(point, value.median);
            Entry {
                name: point.to_string(),
                value: value.median,
                low: value.low,
                high: value.high,
                unit: format!("ns/packet at {REFERENCE_GHZ} GHz"),
                goal: goal.map(|g| g.0),
                met: goal.map(|g| g.1),
            }
        });
        let comparisons = self.compared().into_iter().map(|c| Entry {
            name: c.goal.name.to_owned(),
            value: c.value,
            low: c.low,
            high: c.high,
            unit: "ratio".into(),
            goal: Some(c.goal.goal),
            met: Some(c.met),
        });
        points.chain(comparisons).collect()
    }
}

fn compare(goal: &'static Comparison, of: &[f64], to: &[f64]) -> Compared {
    let median = |values: &[f64]| Spread::of(values.iter().copied()).map_or(f64::NAN, |s| s.median);
    let ends = |values: &[f64]| {
        let middle = median(values);
        median_interval(values.iter().copied()).unwrap_or((middle, middle))
    };
    let ((of_low, of_high), (to_low, to_high)) = (ends(of), ends(to));
    let cost = [median(of) / median(to), of_low / to_high, of_high / to_low];
    let [value, low, high] = match goal.ratio {
        Ratio::Cost => cost,
        Ratio::Rate => [1.0 / cost[0], 1.0 / cost[2], 1.0 / cost[1]],
    };
    Compared {
        goal,
        value,
        low,
        high,
        real: differs(of, to).is_some(),
        met: match goal.ratio {
            Ratio::Cost => value <= goal.goal,
            Ratio::Rate => value >= goal.goal,
        },
    }
}
