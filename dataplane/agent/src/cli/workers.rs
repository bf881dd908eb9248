//! What workers did since the start, on a screen: their time, how full bursts were, and how full the uplink's rings are.

use super::counters::name;
use super::page::Page;
use super::table::{Side, Table};
use super::units::{exact, number, or_dash, percent};
use sluice_control::api::{BurstClass, CountersReport, RingLevel, WorkerTotals};

/// Adds the tables that have something in them.
pub(super) fn tables(page: &mut Page, report: &CountersReport) {
    let tables = [
        times(&report.workers, report.tsc_hz),
        bursts(&report.workers),
        rings(report),
    ];
    for table in tables.into_iter().filter(|table| !table.is_empty()) {
        page.table(table);
        page.gap();
    }
}

/// The CPU that a worker is pinned to.
pub(super) fn cpu(totals: &WorkerTotals) -> String {
    totals.cpu.map_or_else(|| "any".into(), |cpu| cpu.to_string())
}

fn times(workers: &[WorkerTotals], tsc_hz: Option<u64>) -> Table {
    let mut table = Table::new([
        ("worker", Side::Left),
        ("cpu", Side::Right),
        ("busy %", Side::Right),
        ("poll %", Side::Right),
        ("idle %", Side::Right),
        ("packets", Side::Right),
        ("cache hit %", Side::Right),
        ("cycles/pkt", Side::Right),
    ]);
    for worker in workers {
        let of = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let all_ns = worker.busy_ns + worker.poll_ns + worker.idle_ns;
        let share = |ns: u64| or_dash(of(ns, all_ns), |share| percent(share, 0));
        let hits = of(worker.cache_hits, worker.cache_hits + worker.cache_misses);
        let cycles = tsc_hz.zip(of(worker.busy_ns, worker.packets));
        let cycles = cycles.map(|(hz, ns)| ns * hz as f64 / 1e9);
        table.row([
            worker.worker.to_string().into(),
            cpu(worker).into(),
            share(worker.busy_ns).into(),
            share(worker.poll_ns).into(),
            share(worker.idle_ns).into(),
            exact(worker.packets).into(),
            or_dash(hits, |share| percent(share, 2)).into(),
            or_dash(cycles, number).into(),
        ]);
    }
    table
}

/// A column for each class; all workers have the same.
fn bursts(workers: &[WorkerTotals]) -> Table {
    let head = |(at, class): (usize, &BurstClass)| {
        let packets = if class.from == class.to {
            class.from.to_string()
        } else {
            format!("{}-{}", class.from, class.to)
        };
        if at == 0 {
            format!("bursts of {packets}")
        } else {
            packets
        }
    };
    let classes = workers.first().map_or(&[][..], |worker| &worker.bursts);
    let heads = classes.iter().enumerate().map(head).map(|head| (head, Side::Right));
    let mut table = Table::new([("worker".to_owned(), Side::Left)].into_iter().chain(heads));
    for worker in workers.iter().filter(|worker| !worker.bursts.is_empty()) {
        let counts = worker.bursts.iter().map(|class| exact(class.bursts).into());
        table.row([worker.worker.to_string().into()].into_iter().chain(counts));
    }
    table
}

fn rings(report: &CountersReport) -> Table {
    let mut table = Table::new([
        ("rings now", Side::Left),
        ("worker", Side::Right),
        ("rx", Side::Right),
        ("fill", Side::Right),
        ("tx", Side::Right),
        ("completion", Side::Right),
    ]);
    for row in &report.rings {
        let level = |RingLevel { used, size }| format!("{} of {}", exact(u64::from(used)), exact(u64::from(size)));
        table.row([
            format!("{} queue {}", name(&row.port, row.slot), row.queue).into(),
            row.worker.to_string().into(),
            level(row.rx).into(),
            level(row.fill).into(),
            level(row.tx).into(),
            level(row.completion).into(),
        ]);
    }
    table
}
