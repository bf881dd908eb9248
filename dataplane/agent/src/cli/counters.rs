//! All counters on a screen, with every digit.

use super::page::{Page, bold};
use super::table::{Side, Table};
use super::units::{count, exact, many, percent};
use sluice_control::api::CountersReport;

/// What `sluice counters` shows.
pub(super) fn page(report: &CountersReport) -> Page {
    let mut page = Page::default();
    let total = |name: &str| report.totals.get(name).copied().unwrap_or(0);
    let (received, dropped) = (total("received_frames"), total("dropped_frames"));
    let share = if received > 0 {
        dropped as f64 / received as f64
    } else {
        0.0
    };
    let sent = total("sent_frames");
    page.line([
        bold(&format!("{} packets received, {} sent", count(received), count(sent))),
        format!(", {} dropped ({} %) since start", count(dropped), percent(share, 2)).into(),
    ]);
    page.gap();
    volumes(&mut page, report);
    page.gap();
    ports(&mut page, report);
    drops(&mut page, report);
    page
}

/// What is counted in packets and in bytes, then what is counted once.
fn volumes(page: &mut Page, report: &CountersReport) {
    let mut both = Table::new([("total", Side::Left), ("packets", Side::Right), ("bytes", Side::Right)]);
    let mut single = Table::new([("event", Side::Left), ("times", Side::Right)]);
    for (name, value) in &report.totals {
        let name = name.as_str();
        let of = |stem: &str, end: &str| report.totals.get(&format!("{stem}{end}")).copied();
        if let Some(stem) = name.strip_suffix("_frames")
            && let Some(bytes) = of(stem, "_bytes")
        {
            both.row([stem.into(), exact(*value).into(), exact(bytes).into()]);
        } else if name
            .strip_suffix("_bytes")
            .is_none_or(|stem| of(stem, "_frames").is_none())
        {
            single.row([name.into(), exact(*value).into()]);
        }
    }
    page.table(both);
    page.gap();
    page.table(single);
}

fn ports(page: &mut Page, report: &CountersReport) {
    let mut table = Table::new([
        ("port", Side::Left),
        ("packets in", Side::Right),
        ("bytes in", Side::Right),
        ("packets out", Side::Right),
        ("bytes out", Side::Right),
        ("packets lost", Side::Right),
    ]);
    for port in &report.ports {
        let name = if port.name.is_empty() {
            format!("slot {}", port.slot)
        } else {
            port.name.clone()
        };
        let numbers = [
            port.rx_packets,
            port.rx_bytes,
            port.tx_packets,
            port.tx_bytes,
            port.lost_packets,
        ];
        table.row(
            [name.into()]
                .into_iter()
                .chain(numbers.map(|number| exact(number).into())),
        );
    }
    page.table(table);
    page.gap();
}

fn drops(page: &mut Page, report: &CountersReport) {
    let mut table = Table::new([
        ("packets dropped", Side::Right),
        ("reason", Side::Left),
        ("name", Side::Left),
    ]);
    let mut happened: Vec<_> = report.drops.iter().filter(|drop| drop.packets > 0).collect();
    happened.sort_by_key(|drop| std::cmp::Reverse(drop.packets));
    for drop in &happened {
        table.row([
            exact(drop.packets).into(),
            drop.text.as_str().into(),
            drop.reason.as_str().into(),
        ]);
    }
    page.table(table);
    let never = report.drops.len() - happened.len();
    let noun = if happened.is_empty() { "reason" } else { "other reason" };
    page.line([format!("{} for a drop never happened  (-o json names all)", many(never, noun)).into()]);
}
