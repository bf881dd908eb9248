//! The table for people: a group of rows for what differs in flows only, with bars that are as long as packets are dear.

use super::point::Point;
use super::results::{Results, at_reference, mpps, spread};
use crate::measure::Figures;
use crate::measure::speed::REFERENCE_GHZ;
use crate::report::{Paint, bar, exact};
use std::fmt::Write;

/// Columns of a bar.
const BAR: usize = 16;

impl Results {
    /// Everything on a page; with colour on a terminal.
    pub(super) fn table(&self, terminal: bool) -> String {
        let paint = Paint(terminal);
        let mut page = String::new();
        let mut rest = &self.series[..];
        while let Some((first, _)) = rest.first() {
            let title = first.group();
            let count = rest.iter().take_while(|(point, _)| point.group() == title).count();
            let (group, others) = rest.split_at(count);
            page += &self.group(&title, group, paint);
            page.push('\n');
            rest = others;
        }
        for compared in self.compared() {
            let verdict = paint.verdict(compared.met);
            let real = if compared.real { "" } else { ", no more than chance" };
            let _ = writeln!(
                page,
                "{}: {:.3} ({:.2} .. {:.2}{real}); goal {} {}",
                compared.goal.text, compared.value, compared.low, compared.high, compared.goal.goal, verdict
            );
        }
        page + &self.foot(paint)
    }

    fn group(&self, title: &str, group: &[(Point, Vec<Figures>)], paint: Paint) -> String {
        let most = group
            .iter()
            .map(|(_, runs)| spread(runs, |run| run.ns).median)
            .fold(0.0, f64::max);
        let mut text = format!("{}\n", paint.strong(title));
        let heads = format!(
            "{:>10}  {:BAR$}  {:>27}  {:>6}  {:>6}  {:>8}  {:>5}",
            "flows",
            "",
            "ns/packet (5 % .. 95 %)",
            "Mpps",
            "cycles",
            format!("at {REFERENCE_GHZ}"),
            "goal"
        );
        let _ = writeln!(text, "{}", paint.faint(&heads));
        for (point, runs) in group {
            let ns = spread(runs, |run| run.ns);
            let reference = spread(runs, at_reference).median;
            let cycles = spread(runs, |run| run.cycles).median;
            let goal = self.goal_of(point, reference);
            let _ = write!(
                text,
                "{:>10}  {}  {:>8} ({:>7} .. {:>7})  {:>6}  {:>6.0}  {:>8}",
                exact(point.flows.into()),
                bar(ns.median / most, BAR),
                short(ns.median),
                short(ns.low),
                short(ns.high),
                short(mpps(ns.median) * f64::from(point.workers)),
                cycles,
                short(reference),
            );
            if let Some((goal, met)) = goal {
                let _ = write!(text, "  {:>5}  {}", short(goal), paint.verdict(met));
            }
            text.push('\n');
        }
        // Where most flows are, their headers come from furthest away.
        if let Some((_, runs)) = group.last() {
            let ns = spread(runs, |run| run.receive_ns);
            let _ = writeln!(
                text,
                "{:>10}  {}  {:>8} ({:>7} .. {:>7})  {}",
                "no engine",
                bar(ns.median / most, BAR),
                short(ns.median),
                short(ns.low),
                short(ns.high),
                paint.faint("received and freed only")
            );
        }
        text
    }

    fn foot(&self, paint: Paint) -> String {
        let all: Vec<Figures> = self.series.iter().flat_map(|(_, runs)| runs.iter().copied()).collect();
        let (ghz, copy) = (spread(&all, |run| run.ghz), spread(&all, |run| run.copy_ns));
        let mut text = format!(
            "clock {:.2} GHz ({:.2} .. {:.2}); 64-byte copies {:.2} ns",
            ghz.median, ghz.low, ghz.high, copy.median
        );
        let mut flows: Vec<u32> = self.series.iter().map(|(point, _)| point.flows).collect();
        flows.sort_unstable();
        flows.dedup();
        let load = |flows: &u32| {
            let same = self.series.iter().filter(|(point, _)| point.flows == *flows);
            let runs: Vec<Figures> = same.flat_map(|(_, runs)| runs.iter().copied()).collect();
            format!("{:.1}", spread(&runs, |run| run.load_ns).median)
        };
        let loads: Vec<String> = flows.iter().map(load).collect();
        let flows: Vec<String> = flows.iter().map(|n| exact((*n).into())).collect();
        let _ = write!(
            text,
            "\nrandom loads of 128 bytes a flow, {} flows: {} ns",
            flows.join(" / "),
            loads.join(" / ")
        );
        if !self.testpmd_ns.is_empty() {
            let figures: Vec<String> = self.testpmd_ns.iter().map(|ns| format!("{ns:.1}")).collect();
            let _ = write!(
                text,
                "\nDPDK's testpmd, io between null ports: {} ns",
                figures.join(", then ")
            );
        }
        if let Some(memory) = &self.memory {
            let _ = write!(text, "\n{}", memory.line());
        }
        let waiting = self.waiting();
        if waiting > 0.02 {
            let _ = write!(
                text,
                "\n{}: workers waited {:.0} % of the time for a processor that others used",
                paint.bad("the machine was busy"),
                100.0 * waiting
            );
        }
        let plan = &self.plan;
        let _ = writeln!(
            text,
            "\n{}; {} runs in shuffled order, seed {}",
            self.machine.line(),
            plan.runs,
            plan.seed
        );
        text
    }
}

/// Three or four digits.
fn short(value: f64) -> String {
    match value {
        _ if !value.is_finite() => "-".into(),
        _ if value < 99.95 => format!("{value:.1}"),
        _ if value < 999.5 => format!("{value:.0}"),
        _ => exact(value.round() as u64),
    }
}
