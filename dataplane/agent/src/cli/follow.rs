//! Dropped packets as they come, a line each. Decides which are news; it never leaves one out because its time is that of another.

use super::args::Format;
use super::client::Agent;
use super::drops::{dump, end, from, to};
use super::page::{Page, faint};
use super::units::exact;
use super::{colour, put};
use sluice_control::api::{DropQuery, DropRow, DropsReport, Request};
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A worker keeps 32 samples of a reason and takes four of them a second: none is overwritten between two looks.
const EVERY: Duration = Duration::from_millis(500);

/// What `sluice drops --follow` does, until its reader has gone or the agent has.
pub(super) fn run(agent: &Agent, query: DropQuery, verbose: bool, format: Format) -> anyhow::Result<()> {
    let mut news = News::new(query.limit as usize);
    let all = Request::Drops(DropQuery {
        limit: DropQuery::MAX,
        ..query
    });
    if let Format::Human = format
        && !put(&head().render(colour()))?
    {
        return Ok(());
    }
    agent.watch(&all, EVERY, |report: DropsReport| {
        for row in news.of(report) {
            let text = match format {
                Format::Human => line(&row, now_ms(), verbose).render(colour()),
                Format::Json => format!("{}\n", serde_json::to_string(&row)?),
            };
            if !put(&text)? {
                return Ok(true);
            }
        }
        Ok(false)
    })
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Which samples were there before.
struct News {
    /// The last one of each worker and reason.
    last: HashMap<(u16, String), u64>,
    /// How many may be told of those that were there from the beginning; `None` afterwards.
    old: Option<usize>,
}

impl News {
    fn new(old: usize) -> Self {
        Self {
            last: HashMap::new(),
            old: Some(old),
        }
    }

    /// Those that nobody was told of, the oldest first. A report has the newest first.
    fn of(&mut self, report: DropsReport) -> Vec<DropRow> {
        let new = |row: &DropRow| {
            let last = self.last.get(&(row.worker, row.reason.clone()));
            last.is_none_or(|last| row.sequence > *last)
        };
        let mut rows: Vec<_> = report.drops.into_iter().filter(new).collect();
        for row in &rows {
            let last = self.last.entry((row.worker, row.reason.clone())).or_default();
            *last = row.sequence.max(*last);
        }
        rows.truncate(self.old.take().unwrap_or(rows.len()));
        rows.reverse();
        rows
    }
}

fn head() -> Page {
    let mut page = Page::default();
    page.line([faint(&columns(
        "time (UTC)",
        "reason",
        "port",
        "protocol",
        "source > destination, bytes",
    ))]);
    page
}

fn line(row: &DropRow, now_ms: u64, verbose: bool) -> Page {
    let port = match row.to_port {
        Some(_) => format!("{} > {}", from(row), to(row)),
        None => from(row),
    };
    let ends = [
        end(&row.source, row.source_port, &row.source_mac),
        end(&row.destination, row.destination_port, &row.destination_mac),
    ];
    let length = match row.length {
        0 => String::new(),
        length => format!(", {}", exact(length.into())),
    };
    let protocol = row.protocol.as_deref().unwrap_or("-");
    let text = columns(
        &time_of_day(now_ms.saturating_sub(row.age_ms)),
        &row.reason,
        &port,
        protocol,
        &format!("{}{length}", ends.join(" > ")),
    );
    let mut page = Page::default();
    page.line([text.into()]);
    if verbose {
        dump(&row.bytes).iter().for_each(|line| page.line([faint(line)]));
    }
    page
}

/// As wide as most need it: what comes later is not known yet.
fn columns(time: &str, reason: &str, port: &str, protocol: &str, rest: &str) -> String {
    format!("{time:<12}   {reason:<18}   {port:<20}   {protocol:<8}   {rest}")
}

/// Of a time since 1970 in UTC, as `14:03:07.250`.
fn time_of_day(ms: u64) -> String {
    let (seconds, ms) = (ms / 1000 % 86_400, ms % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{ms:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(worker: u16, reason: &str, sequence: u64) -> DropRow {
        DropRow {
            worker,
            reason: reason.into(),
            sequence,
            ..DropRow::default()
        }
    }

    fn told(news: &mut News, drops: &[DropRow]) -> Vec<(u16, String, u64)> {
        let report = DropsReport {
            drops: drops.to_vec(),
            ..DropsReport::default()
        };
        let name = |row: DropRow| (row.worker, row.reason, row.sequence);
        news.of(report).into_iter().map(name).collect()
    }

    #[test]
    fn each_sample_is_told_once_and_in_its_order() {
        let mut news = News::new(2);
        let first = [row(0, "a", 5), row(1, "a", 7), row(0, "a", 4), row(0, "b", 0)];
        assert_eq!(told(&mut news, &first), [(1, "a".into(), 7), (0, "a".into(), 5)]);
        assert_eq!(
            told(&mut news, &first),
            [],
            "what was not shown at the beginning is no news"
        );
        let next = [
            row(0, "c", 0),
            row(0, "a", 7),
            row(0, "a", 6),
            row(1, "a", 7),
            row(0, "b", 1),
        ];
        let all = [(0, "b", 1), (0, "a", 6), (0, "a", 7), (0, "c", 0)];
        assert_eq!(told(&mut news, &next), all.map(|(w, r, s)| (w, r.to_owned(), s)));
        assert_eq!(told(&mut news, &next), []);
    }

    #[test]
    fn a_line_holds_what_a_row_of_the_table_does() {
        let path = [env!("CARGO_MANIFEST_DIR"), "src/cli/samples/drops.json"]
            .iter()
            .collect::<std::path::PathBuf>();
        let report: DropsReport = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let text = |row: &DropRow| line(row, 50_587_560, false).render(false);
        assert_eq!(
            text(&report.drops[0]),
            "14:03:07.250   policy_ingress       node-b, tunnel         tcp        10.244.2.9:43112 > 10.244.1.7:6379, 74\n"
        );
        assert_eq!(
            text(&report.drops[2]).split_whitespace().collect::<Vec<_>>()[1..],
            [
                "tx_ring_full",
                "default/iperf",
                ">",
                "node-b,",
                "tunnel",
                "tcp",
                "10.244.1.9:43112",
                ">",
                "10.244.2.7:5201,",
                "1,564"
            ]
        );
        let page = line(&report.drops[0], 0, true).render(false);
        assert!(
            page.lines().count() > 1 && page.lines().nth(1).unwrap().contains("0000"),
            "{page}"
        );
    }

    #[test]
    fn a_time_is_that_of_the_day() {
        assert_eq!(time_of_day(1_764_457_387_250), "23:03:07.250");
        assert_eq!(time_of_day(0), "00:00:00.000");
    }
}
