//! How the node is, on a screen: the first line says whether it is ready.

use super::page::{Page, Span, bad, bold, doubtful, faint, good};
use super::table::{Side, Table};
use super::units::{count, duration, many, number, or_dash, packet_rate, percent};
use super::workers::cpu;
use sluice_control::api::{DropStatus, Status, WorkerRow};
use sluice_wire::DropGroup;

/// Most lines of each kind of trouble; the rest is counted.
const MOST: usize = 10;
/// An API server that was not heard of for so long, bookmarks included, cannot be reached; milliseconds.
const LONG_UNHEARD: u64 = 90_000;

/// What `sluice status` shows.
pub(super) fn page(status: &Status) -> Page {
    let mut page = Page::default();
    headline(&mut page, status);
    source(&mut page, status);
    ports(&mut page, status);
    workers(&mut page, &status.workers);
    drops(&mut page, &status.drops);
    troubles(&mut page, status);
    page
}

fn headline(page: &mut Page, status: &Status) {
    let ready = if status.ready { good("ready") } else { bad("not ready") };
    let nodes = many(status.nodes as usize, "node");
    let served = match status.generation {
        // The first generation is empty.
        0 | 1 => "serves nothing yet".into(),
        generation => format!("generation {generation}, {} old", duration(status.generation_age_ms)),
    };
    let agent = format!("agent {}, up {}", status.version, duration(status.uptime_ms));
    page.line([
        bold(&status.node),
        "  ".into(),
        ready,
        format!("   {nodes} known   {served}   {agent}").into(),
    ]);
    for (index, what) in status.waiting_for.iter().enumerate() {
        page.line([label(if index == 0 { "waits for" } else { "" }), what.as_str().into()]);
    }
}

fn source(page: &mut Page, status: &Status) {
    let source = &status.source;
    let synced = match source.saved_age_ms {
        _ if !source.synced => bad("not read completely yet   "),
        Some(ms) => doubtful(&format!("as saved {} ago   ", duration(ms))),
        None => "".into(),
    };
    let change = match source.last_change_ms {
        Some(ms) => format!("last change {} ago", duration(ms)),
        None => "no change seen yet".into(),
    };
    let heard = match source.last_heard_ms {
        Some(ms @ LONG_UNHEARD..) => bad(&format!("not heard for {}   ", duration(ms))),
        Some(ms) => format!("heard {} ago   ", duration(ms)).into(),
        None => "".into(),
    };
    page.line([
        label("source"),
        format!("{} {}   ", source.kind, source.place).into(),
        synced,
        heard,
        change.into(),
    ]);
}

fn ports(page: &mut Page, status: &Status) {
    let uplink = &status.uplink;
    let state = if uplink.up { "up".into() } else { bad("down") };
    let (rx, tx) = (
        packet_rate(uplink.rx_packets_per_second),
        packet_rate(uplink.tx_packets_per_second),
    );
    let queues = many(uplink.queues.into(), "queue");
    let rest = format!("   MTU {} bytes   {queues}   {rx} in   {tx} out", uplink.mtu);
    page.line([label("uplink"), format!("{} ", uplink.name).into(), state, rest.into()]);
    page.line([label(""), uplink.mode.as_str().into()]);
    let host = &status.host;
    let addresses = match host.addresses.as_slice() {
        [] => "no address yet".into(),
        addresses => addresses.join(", "),
    };
    page.line([
        label("host"),
        format!("{}   MTU {} bytes   {addresses}", host.name, host.mtu).into(),
    ]);
    page.line([label("pods"), format!("{} attached", status.pods).into()]);
}

fn workers(page: &mut Page, rows: &[WorkerRow]) {
    let mut table = Table::new([
        ("worker", Side::Left),
        ("cpu", Side::Right),
        ("polling", Side::Left),
        ("busy %", Side::Right),
        ("poll %", Side::Right),
        ("idle %", Side::Right),
        ("packets/s", Side::Right),
        ("cache hit %", Side::Right),
        ("cycles/pkt", Side::Right),
    ]);
    for row in rows {
        table.row([
            row.totals.worker.to_string().into(),
            cpu(&row.totals).into(),
            row.totals.polling.as_str().into(),
            percent(row.busy, 0).into(),
            percent(row.poll, 0).into(),
            percent(row.idle, 0).into(),
            number(row.packets_per_second).into(),
            or_dash(row.cache_hit, |share| percent(share, 2)).into(),
            or_dash(row.cycles_per_packet, number).into(),
        ]);
    }
    page.table(table);
}

fn drops(page: &mut Page, drops: &[DropStatus]) {
    let mut recent: Vec<&DropStatus> = drops.iter().filter(|drop| drop.last_minute > 0).collect();
    recent.sort_by_key(|drop| std::cmp::Reverse(drop.last_minute));
    if recent.is_empty() {
        page.line(["no drops in the last minute".into()]);
        return;
    }
    // What every network has is one line, however many reasons it has.
    let expected = |drop: &&DropStatus| drop.group == DropGroup::Expected.label();
    let noise: u64 = recent
        .iter()
        .copied()
        .filter(expected)
        .map(|drop| drop.last_minute)
        .sum();
    recent.retain(|drop| !expected(drop));
    let mut table = Table::new([("drops in the last minute", Side::Right), ("reason", Side::Left)]);
    for drop in recent.iter().take(MOST) {
        table.row([count(drop.last_minute).into(), drop.text.as_str().into()]);
    }
    if noise > 0 {
        table.row([
            count(noise).into(),
            faint("expected: multicast and other things that every network has"),
        ]);
    }
    page.table(table);
    more(page, recent.len(), "sluice counters");
}

fn troubles(page: &mut Page, status: &Status) {
    let problems = &status.source.problems;
    if !problems.is_empty() {
        let what = many(problems.len(), "problem");
        page.line([bad(&what), " at the source; what was in force before stays".into()]);
    }
    for problem in problems.iter().take(MOST) {
        let line = problem.line.map_or_else(String::new, |line| format!(", line {line}"));
        let column = problem
            .column
            .map_or_else(String::new, |column| format!(", column {column}"));
        page.line([format!("  {}{line}{column}: {}", problem.origin, problem.text).into()]);
    }
    more(page, problems.len(), "sluice status -o json");
    let ignored = &status.source.ignored;
    if !ignored.is_empty() {
        let all = many(ignored.values().sum::<u64>() as usize, "object");
        let kinds: Vec<&str> = ignored.keys().take(MOST).map(String::as_str).collect();
        let rest = if ignored.len() > MOST { ", ..." } else { "" };
        page.line([format!("{all} of kinds that are not followed ({}{rest})", kinds.join(", ")).into()]);
    }

    let rank = |severity: &str| match severity {
        "error" => 0,
        "warning" => 1,
        _ => 2,
    };
    let mut warnings: Vec<_> = status.warnings.iter().collect();
    warnings.sort_by_key(|warning| rank(&warning.severity));
    for warning in warnings.iter().take(MOST) {
        let severity = match rank(&warning.severity) {
            0 => bad("error  "),
            1 => doubtful("warning"),
            _ => faint(&format!("{:7}", warning.severity)),
        };
        page.line([severity, format!("  {}: {}", warning.object, warning.text).into()]);
    }
    more(page, warnings.len(), "sluice status -o json");
}

fn more(page: &mut Page, all: usize, command: &str) {
    if all > MOST {
        page.line([format!("  and {} more  ({command})", all - MOST).into()]);
    }
}

fn label(text: &str) -> Span {
    faint(&format!("{text:9}  "))
}
