//! Connections on a screen.

use super::page::{Page, Span, bold};
use super::table::{Side, Table};
use super::units::{bytes, count, duration, exact, many, socket};
use sluice_control::api::{FlowQuery, FlowRow};

/// What `sluice flows` shows.
pub(super) fn page(rows: &[FlowRow], query: &FlowQuery) -> Page {
    let mut page = Page::default();
    let filtered = query.address.is_some() || query.port.is_some() || query.protocol.is_some();
    let noun = if filtered { "matching connection" } else { "connection" };
    let found = bold(&many(rows.len(), noun));
    if rows.is_empty() {
        page.line([format!("no {noun}s").into()]);
    } else if rows.len() >= query.limit as usize && query.limit < FlowQuery::MAX {
        let most = exact(FlowQuery::MAX.into());
        page.line([
            found,
            format!(" shown, and there may be more  (--limit shows up to {most})").into(),
        ]);
    } else {
        page.line([found]);
    }
    // Columns that would be empty for all are left out.
    let served = rows.iter().any(|row| row.endpoint.is_some());
    let masqueraded = rows.iter().any(|row| row.masqueraded_to.is_some());
    let mut columns = vec![
        ("protocol", Side::Left),
        ("source", Side::Left),
        ("destination", Side::Left),
    ];
    columns.extend(served.then_some(("endpoint", Side::Left)));
    columns.extend(masqueraded.then_some(("masqueraded to", Side::Left)));
    columns.extend([("state", Side::Left), ("age", Side::Right), ("idle", Side::Right)]);
    columns.extend([("packets", Side::Right), ("bytes", Side::Right)]);
    let mut table = Table::new(columns);
    for row in rows {
        let mut cells: Vec<Span> = vec![row.protocol.as_str().into()];
        cells.push(socket(&row.source, row.source_port).into());
        cells.push(socket(&row.destination, row.destination_port).into());
        cells.extend(served.then(|| place(row.endpoint.as_deref(), row.endpoint_port)));
        cells.extend(masqueraded.then(|| place(row.masqueraded_to.as_deref(), row.masqueraded_port)));
        cells.push(row.state.as_str().into());
        cells.push(duration(row.age_ms).into());
        cells.push(duration(row.idle_ms).into());
        cells.push(count(row.packets).into());
        cells.push(bytes(row.bytes).into());
        table.row(cells);
    }
    page.table(table);
    page
}

fn place(address: Option<&str>, port: Option<u16>) -> Span {
    match (address, port) {
        (Some(address), Some(port)) => socket(address, port).into(),
        (Some(address), None) => address.into(),
        (None, _) => "-".into(),
    }
}
