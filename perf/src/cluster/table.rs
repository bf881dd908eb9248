//! The figures for people: a row a figure, a column a size.

use super::Figures;
use crate::report::{Machine, Paint, exact};
use std::fmt::Write;

type Of = fn(&Figures) -> &super::Cost;
const COSTS: [(&str, Of); 2] = [("first start", |f| &f.first), ("restart", |f| &f.again)];

pub(super) fn render(all: &[Figures], machine: &Machine, paint: Paint) -> String {
    let mut text = paint.strong("Following a cluster: what an agent needs, by size\n");
    let mut row = |name: &str, value: &dyn Fn(&Figures) -> String| {
        let _ = write!(text, "{name:<44}");
        for figures in all {
            let _ = write!(text, "{:>14}", value(figures));
        }
        text.push('\n');
    };
    row("services, with ten end points each", &|f| exact(f.size.services.into()));
    row("nodes", &|f| exact(f.size.nodes.into()));
    row("pods", &|f| exact(f.size.pods.into()));
    row("policies", &|f| exact(f.size.policies.into()));
    row("first start until all is known, ms", &|f| number(f.listed));
    row("  until it is compiled and published", &|f| {
        number(f.listed + f.compiled)
    });
    row("restart until the saved state is known, ms", &|f| number(f.restored));
    row("  until it is compiled and published", &|f| {
        number(f.restored + f.restored_compiled)
    });
    let kinds = all.first().map(|f| f.changes.len()).unwrap_or_default();
    for at in 0..kinds {
        let name = match all[0].changes[at].0 {
            super::Change::Endpoint => "an end point changes: until published, ms",
            super::Change::Pod => "a pod's labels change",
            super::Change::Policy => "a policy changes",
            super::Change::Node => "a node's address changes",
        };
        row(name, &|f| number(f.changes[at].1.median));
        row("  the slowest of a hundred", &|f| number(f.changes[at].1.p99));
    }
    row("memory at most, MiB", &|f| number(f.memory_mib));
    row("saved state, MiB", &|f| {
        number(f.saved_bytes as f64 / f64::from(1 << 20))
    });
    for at in 0..all.first().map(|f| f.churn.len()).unwrap_or_default() {
        let name = match all[0].churn[at].0 {
            super::Change::Endpoint => "100 end points change a second: CPU, %",
            _ => "100 pods' labels change a second: CPU, %",
        };
        row(name, &|f| number(f.churn[at].1.cpu_percent));
        row("  from the API server, kB a second", &|f| {
            number(f.churn[at].1.kilobytes)
        });
        row("  to the saved state, kB a second", &|f| number(f.churn[at].1.saved));
    }
    for (name, of) in COSTS {
        row(&format!("requests of the {name}"), &|f| exact(of(f).requests));
        row("  on connections", &|f| exact(of(f).connections));
        row("  answers to them, MB", &|f| number(of(f).megabytes));
    }
    let _ = writeln!(text, "{}", paint.faint(&machine.line()));
    text
}

fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => exact(value.round() as u64),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
