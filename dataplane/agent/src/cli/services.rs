//! Services and their endpoints on a screen.

use super::page::{Page, Span, bad, bold, doubtful};
use super::table::{Side, Table};
use super::units::{count, duration, many, socket};
use sluice_control::api::{EndpointRow, FrontendRow, ServiceRow};

/// What `sluice services [NAME]` shows: a table of all, or the named ones with their endpoints.
pub(super) fn page(rows: &[ServiceRow], name: Option<&str>) -> Page {
    let mut page = Page::default();
    match (rows, name) {
        ([], _) => {
            let why = "no services are served; there are none, or none with an address  (sluice status)";
            page.line([why.into()]);
        }
        (rows, None) => overview(&mut page, rows),
        (rows, Some(_)) => {
            for (index, row) in rows.iter().enumerate() {
                if index > 0 {
                    page.gap();
                }
                details(&mut page, row);
            }
        }
    }
    page
}

/// What `sluice endpoints [NAME]` shows.
pub(super) fn endpoints_page(rows: &[EndpointRow], name: Option<&str>) -> Page {
    let mut page = Page::default();
    if rows.is_empty() {
        let text = match name {
            None => "no service has a usable endpoint".into(),
            Some(name) => format!("service {name} has no usable endpoint"),
        };
        page.line([text.into()]);
        return page;
    }
    let draining = rows.iter().filter(|row| row.weight == 0).count();
    let drains = if draining > 0 {
        format!(", {draining} draining")
    } else {
        String::new()
    };
    page.line([bold(&many(rows.len(), "endpoint")), drains.into()]);
    let named = [("service", Side::Left), ("port", Side::Left)];
    let mut table = Table::new(named.into_iter().chain(COLUMNS));
    for row in rows {
        table.row(
            [row.service.as_str().into(), or_dash(&row.port_name)]
                .into_iter()
                .chain(cells(row)),
        );
    }
    page.table(table);
    page
}

fn overview(page: &mut Page, rows: &[ServiceRow]) {
    let bare = rows.iter().filter(|row| ready(row) == 0).count();
    let headline = bold(&many(rows.len(), "service port"));
    match bare {
        0 => page.line([headline, ", each with a ready endpoint".into()]),
        _ => page.line([headline, ", ".into(), bad(&format!("{bare} without a ready endpoint"))]),
    }
    let mut table = Table::new([
        ("service", Side::Left),
        ("port", Side::Left),
        ("address", Side::Left),
        ("node port", Side::Right),
        ("scheduler", Side::Left),
        ("ready", Side::Right),
        ("draining", Side::Right),
        ("connections", Side::Right),
    ]);
    for row in rows {
        let ready = ready(row);
        let node_port = row.frontends.iter().find(|frontend| frontend.address.is_none());
        let connections = row
            .endpoints
            .iter()
            .map(|endpoint| u64::from(endpoint.connections))
            .sum();
        table.row([
            format!("{}/{}", row.namespace, row.name).into(),
            or_dash(&row.port_name),
            address(row).into(),
            node_port
                .map_or_else(|| "-".into(), |frontend| frontend.port.to_string())
                .into(),
            row.scheduler.as_str().into(),
            if ready == 0 { bad("0") } else { ready.to_string().into() },
            (row.endpoints.len() - ready).to_string().into(),
            count(connections).into(),
        ]);
    }
    page.table(table);
}

fn ready(row: &ServiceRow) -> usize {
    row.endpoints.iter().filter(|endpoint| endpoint.weight > 0).count()
}

/// First address, and how many more there are.
fn address(row: &ServiceRow) -> String {
    let mut shown = row.frontends.iter().filter(|frontend| frontend.address.is_some());
    match (shown.next(), shown.count()) {
        (None, _) => "-".into(),
        (Some(first), 0) => frontend(first),
        (Some(first), more) => format!("{} and {more} more", frontend(first)),
    }
}

fn frontend(row: &FrontendRow) -> String {
    match &row.address {
        Some(address) => format!("{}/{}", socket(address, row.port), row.protocol),
        None => format!("node port {}/{}", row.port, row.protocol),
    }
}

fn details(page: &mut Page, row: &ServiceRow) {
    let port = if row.port_name.is_empty() {
        String::new()
    } else {
        format!("   port {}", row.port_name)
    };
    let affinity = row.affinity_s.map_or_else(
        || "none".into(),
        |seconds| format!("by client for {}", duration(u64::from(seconds) * 1000)),
    );
    let scheduler = &row.scheduler;
    let rest = format!("{port}   scheduler {scheduler}   affinity {affinity}");
    page.line([bold(&format!("{}/{}", row.namespace, row.name)), rest.into()]);
    let frontends: Vec<String> = row.frontends.iter().map(frontend).collect();
    page.line([format!("reached at {}", frontends.join(", ")).into()]);
    if ready(row) == 0 {
        page.line([bad("no usable endpoint"), ": new connections fail".into()]);
    }
    let mut table = Table::new(COLUMNS);
    row.endpoints.iter().for_each(|endpoint| table.row(cells(endpoint)));
    page.table(table);
}

const COLUMNS: [(&str, Side); 6] = [
    ("endpoint", Side::Left),
    ("node", Side::Left),
    ("pod", Side::Left),
    ("state", Side::Left),
    ("weight", Side::Right),
    ("connections", Side::Right),
];

fn cells(row: &EndpointRow) -> [Span; 6] {
    [
        socket(&row.address, row.port).into(),
        or_dash(row.node.as_deref().unwrap_or_default()),
        or_dash(row.pod.as_deref().unwrap_or_default()),
        if row.weight > 0 {
            "ready".into()
        } else {
            doubtful("draining")
        },
        row.weight.to_string().into(),
        count(row.connections.into()).into(),
    ]
}

fn or_dash(text: &str) -> Span {
    if text.is_empty() { "-".into() } else { text.into() }
}
