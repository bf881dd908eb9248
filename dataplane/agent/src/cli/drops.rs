//! Dropped packets on a screen.

use super::page::{Page, Span, bold, faint};
use super::table::{Side, Table};
use super::units::{count, duration, exact, socket};
use sluice_control::api::{DropQuery, DropRow, DropsReport};

/// What `sluice drops` shows; `verbose` adds their first bytes.
pub(super) fn page(report: &DropsReport, query: &DropQuery, verbose: bool) -> Page {
    let mut page = Page::default();
    head(&mut page, report, query);
    let rows = &report.drops;
    // Columns that would be empty for all are left out.
    let leaving = rows.iter().any(|row| row.to_port.is_some());
    let mut columns = vec![("age", Side::Right), ("reason", Side::Left), ("from", Side::Left)];
    columns.extend(leaving.then_some(("to", Side::Left)));
    columns.extend([
        ("protocol", Side::Left),
        ("source", Side::Left),
        ("destination", Side::Left),
        ("bytes", Side::Right),
    ]);
    let mut table = Table::new(columns);
    for row in rows {
        let mut cells: Vec<Span> = vec![duration(row.age_ms).into(), row.reason.as_str().into()];
        cells.push(from(row).into());
        cells.extend(leaving.then(|| to(row).into()));
        cells.push(row.protocol.as_deref().unwrap_or("-").into());
        cells.push(end(&row.source, row.source_port, &row.source_mac).into());
        cells.push(end(&row.destination, row.destination_port, &row.destination_mac).into());
        cells.push(match row.length {
            0 => "-".into(),
            length => exact(length.into()).into(),
        });
        table.row(cells);
        if verbose {
            for line in dump(&row.bytes) {
                table.heading([faint(&line)]);
            }
        }
    }
    page.table(table);
    for reason in &report.reasons {
        page.gap();
        page.line([bold(&reason.reason), format!(": {}", reason.text).into()]);
        page.line([format!("  {}", reason.remedy).into()]);
    }
    page
}

fn head(page: &mut Page, report: &DropsReport, query: &DropQuery) {
    let why = query
        .reason
        .as_ref()
        .map_or(String::new(), |reason| format!(" for {reason}"));
    let pod = query.pod.as_ref().map_or(String::new(), |pod| format!(" of pod {pod}"));
    let (shown, matching) = (report.drops.len(), report.matching_samples);
    let expected = match report.expected_packets {
        0 => String::new(),
        packets => format!(", besides {} expected (--all)", count(packets)),
    };
    if report.dropped_packets == 0 {
        return page.line([format!("no packet was dropped{why} since start{expected}").into()]);
    }
    let noun = if report.dropped_packets == 1 {
        "packet"
    } else {
        "packets"
    };
    let dropped = format!(
        "{} {noun} dropped{why} since start{expected}",
        count(report.dropped_packets)
    );
    if shown == 0 {
        return page.line([bold(&dropped), format!(", but no sample{pod} is kept").into()]);
    }
    let all = shown as u64 >= matching;
    let of = if all {
        String::new()
    } else {
        format!(" of {}", exact(matching))
    };
    let samples = if matching == 1 { "sample" } else { "samples" };
    page.line([
        bold(&dropped),
        format!("; {}{of} {samples}{pod}, newest first", exact(shown as u64)).into(),
    ]);
    if !all {
        page.line(["each reason has its share of them; -n shows more, --reason and --pod choose".into()]);
    }
    page.gap();
}

pub(super) fn from(row: &DropRow) -> String {
    let port = row.port.as_deref().unwrap_or("-");
    match &row.tunnel {
        Some(node) if port == "uplink" => format!("{node}, tunnel"),
        _ => port.into(),
    }
}

pub(super) fn to(row: &DropRow) -> String {
    let port = row.to_port.as_deref().unwrap_or("-");
    match &row.tunnel {
        Some(node) if port == "uplink" && row.port.as_deref() != Some("uplink") => format!("{node}, tunnel"),
        _ => port.into(),
    }
}

/// One end: an address with or without port, or the MAC where the frame has none.
pub(super) fn end(address: &Option<String>, port: Option<u16>, mac: &Option<String>) -> String {
    match (address, port) {
        (Some(address), Some(port)) => socket(address, port),
        (Some(address), None) => address.clone(),
        (None, _) => mac.clone().unwrap_or_else(|| "-".into()),
    }
}

/// Sixteen bytes a line: offset, hexadecimal, and the letters among them.
pub(super) fn dump(hex: &str) -> Vec<String> {
    let digits: Vec<char> = hex.chars().collect();
    let bytes: Vec<String> = digits.chunks(2).map(|pair| pair.iter().collect()).collect();
    let letter = |byte: &String| match u8::from_str_radix(byte, 16) {
        Ok(byte @ b' '..=b'~') => char::from(byte),
        _ => '.',
    };
    let line = |(at, line): (usize, &[String])| {
        let letters: String = line.iter().map(letter).collect();
        format!("    {:04x}  {:<47}  {letters}", 16 * at, line.join(" "))
    };
    bytes.chunks(16).enumerate().map(line).collect()
}
