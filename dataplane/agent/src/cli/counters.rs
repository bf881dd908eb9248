//! All counters on a screen, with every digit.

use super::page::{Page, bold};
use super::table::{Side, Table};
use super::units::{count, exact, many, percent};
use super::workers;
use sluice_control::api::{CountersReport, DropCount};
use sluice_wire::DropGroup;

/// What `sluice counters` shows; with `all`, also the reasons for which nothing was dropped.
pub(super) fn page(report: &CountersReport, all: bool) -> Page {
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
    lost(&mut page, report);
    workers::tables(&mut page, report);
    drops(&mut page, report, all);
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
        let numbers = [
            port.rx_packets,
            port.rx_bytes,
            port.tx_packets,
            port.tx_bytes,
            port.lost_packets,
        ];
        table.row(
            [name(&port.name, port.slot).into()]
                .into_iter()
                .chain(numbers.map(|number| exact(number).into())),
        );
    }
    page.table(table);
    page.gap();
}

pub(super) fn name(name: &str, slot: u16) -> String {
    if name.is_empty() {
        format!("slot {slot}")
    } else {
        name.to_owned()
    }
}

/// What devices lost before a worker could take it, and what to do about each cause.
fn lost(page: &mut Page, report: &CountersReport) {
    let mut table = Table::new([
        ("packets lost", Side::Right),
        ("before a worker had them", Side::Left),
        ("cause", Side::Left),
        ("name", Side::Left),
    ]);
    let mut remedies: Vec<(&str, &str)> = Vec::new();
    for count in &report.lost {
        table.row([
            exact(count.packets).into(),
            name(&count.port, count.slot).into(),
            count.text.as_str().into(),
            count.cause.as_str().into(),
        ]);
        let remedy = (count.cause.as_str(), count.remedy.as_str());
        if !remedies.contains(&remedy) {
            remedies.push(remedy);
        }
    }
    if remedies.is_empty() {
        return;
    }
    page.table(table);
    for (cause, remedy) in remedies {
        page.line([bold(cause), format!(": {remedy}").into()]);
    }
    page.gap();
}

/// Drop reasons by what is to be done about them.
fn drops(page: &mut Page, report: &CountersReport, all: bool) {
    let mut table = Table::new([
        ("packets dropped", Side::Right),
        ("reason", Side::Left),
        ("name", Side::Left),
    ]);
    let shown = |drop: &&DropCount| all || drop.packets > 0;
    for group in groups(&report.drops) {
        let mut drops: Vec<_> = report
            .drops
            .iter()
            .filter(|drop| drop.group == group)
            .filter(shown)
            .collect();
        if drops.is_empty() {
            continue;
        }
        drops.sort_by_key(|drop| std::cmp::Reverse(drop.packets));
        let known = DropGroup::ALL.iter().find(|known| known.label() == group);
        let hint = known.map(|known| format!(": {}", known.hint()));
        table.heading([
            bold(known.map_or(group, |known| known.title())),
            hint.unwrap_or_default().into(),
        ]);
        for drop in drops {
            table.row([
                exact(drop.packets).into(),
                drop.text.as_str().into(),
                drop.reason.as_str().into(),
            ]);
        }
    }
    page.table(table);
    page.gap();
    let happened = report.drops.iter().filter(|drop| drop.packets > 0).count();
    let never = report.drops.len() - happened;
    if happened > 0 {
        page.line(["the latest of them, and what to do about each:  sluice drops".into()]);
    }
    if never > 0 && !all {
        let noun = if happened == 0 { "reason" } else { "other reason" };
        page.line([format!("{} for a drop never happened  (--all shows them)", many(never, noun)).into()]);
    }
}

/// Groups in the order in which they are shown; those that this version does not know come last.
fn groups(drops: &[DropCount]) -> Vec<&str> {
    let mut groups: Vec<&str> = DropGroup::ALL.iter().map(|group| group.label()).collect();
    for drop in drops {
        if !groups.contains(&drop.group.as_str()) {
            groups.push(&drop.group);
        }
    }
    groups
}
