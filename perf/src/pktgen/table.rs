//! What a run found, for people. It never hides a loss, wherever it happened.

use super::report::{PERCENTILES, Report};
use crate::report::{Paint, exact, human, time};
use hdrhistogram::Histogram;
use std::fmt::Write;

/// Share of the packets that the generator may owe before that is told.
const SHORT: f64 = 0.001;

/// The run on a page; `head` says what was sent from where to where.
pub(super) fn table(head: &str, report: &Report, terminal: bool) -> String {
    let paint = Paint(terminal);
    let mut page = format!("{}\n", paint.strong(head));
    let mut row = |name: &str, count: u64, more: String| {
        let line = format!("{name:<11}{:>15}  {more}", exact(count));
        let _ = writeln!(page, "{}", line.trim_end());
    };
    let bits = 8.0 * report.sent_bytes as f64 / report.seconds.max(1e-9);
    let rate = |pps: f64| format!("{:>8} packets/s", human(pps));
    row(
        "sent",
        report.sent,
        format!("{}, {}bit/s", rate(report.tx_pps), human(bits)),
    );
    row("received", report.received, rate(report.rx_pps));
    let share = format!("{:.4} %", 100.0 * report.loss_ratio());
    row(
        "lost",
        report.lost,
        if report.lost > 0 {
            paint.bad(&share)
        } else {
            String::new()
        },
    );
    if report.marked {
        row("duplicates", report.duplicates, String::new());
        let extent = match report.extents.len() {
            0 => String::new(),
            _ => format!(
                "in its flow {}; behind {} others (median), {} at most",
                exact(report.reordered_in_flow),
                exact(report.extents.value_at_percentile(50.0)),
                exact(report.extents.max())
            ),
        };
        row("reordered", report.reordered, extent);
    }
    row("foreign", report.foreign, String::new());
    if report.stale > 0 {
        row(
            "stale",
            report.stale,
            "too late to be told from duplicates; they are among the lost".into(),
        );
    }
    if !report.latency.is_empty() {
        let heads: String = PERCENTILES.iter().map(|p| format!("{:>10}", format!("p{p}"))).collect();
        let _ = writeln!(
            page,
            "{}",
            paint.faint(&format!("latency{:>19}{heads}{:>10}", "", "max"))
        );
        if report.intended_pps.is_some() {
            page += &latencies("from when it was due", &report.latency);
        }
        page += &latencies("from when it left", &report.latency_uncorrected);
        if report.intended_pps.is_some() {
            let _ = writeln!(page, "the generator was {} late at most", time(report.late_ns as f64));
        }
    }
    if let Some(intended) = report
        .intended
        .filter(|intended| report.unsent() as f64 > SHORT * *intended as f64)
    {
        let text = format!(
            "the generator could not keep up: it sent {} of {} packets in time; ask for less (--rate)",
            exact(report.sent),
            exact(intended)
        );
        let _ = writeln!(page, "{}", paint.bad(&text));
    }
    for (what, count) in &report.kernel_losses {
        let _ = writeln!(page, "{}", paint.bad(&format!("{what}: {}", exact(*count))));
    }
    page
}

fn latencies(name: &str, histogram: &Histogram<u64>) -> String {
    let values = PERCENTILES.iter().map(|p| histogram.value_at_percentile(*p));
    let cells: String = values
        .chain([histogram.max()])
        .map(|ns| format!("{:>10}", time(ns as f64)))
        .collect();
    format!("  {name:<24}{cells}\n")
}
