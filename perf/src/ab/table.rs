//! What was found, for people and for programs.

use super::build::Built;
use super::options::Options;
use super::verdict::{Change, Row, Verdict, WRONG};
use crate::report::{Machine, Paint};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

pub(super) struct Page<'a> {
    pub(super) machine: Machine,
    pub(super) built: &'a [Built; 2],
    pub(super) options: &'a Options,
    pub(super) verdict: &'a Verdict,
    /// Instructions a packet, by point.
    pub(super) counts: Option<&'a [BTreeMap<String, f64>; 2]>,
}

impl Page<'_> {
    pub(super) fn table(&self, terminal: bool) -> String {
        let paint = Paint(terminal);
        let of = |side: usize| format!("{} ({})", self.built[side].name, self.built[side].commit);
        let count = |change| self.verdict.count(change);
        let answer = format!(
            "{} slower, {} faster, {} the same: {} beside {}",
            count(Change::Slower),
            count(Change::Faster),
            count(Change::Same),
            of(1),
            of(0)
        );
        let mut page = format!("{}\n\n", paint.strong(&answer));
        let long = self.verdict.rows.keys().map(String::len).max().unwrap_or(0);
        let heads = format!(
            "{:<long$}  {:>8}  {:>8}  {:>22}",
            "point, ns a packet", "REV1", "REV2", "ratio (surely within)"
        );
        let _ = writeln!(page, "{}", paint.faint(&heads));
        for (name, row) in &self.verdict.rows {
            page += &line(name, row, long, paint);
        }
        for (name, side) in &self.verdict.alone {
            let _ = writeln!(page, "{name:<long$}  only {} has it", of(*side));
        }
        page += &self.counted(long, paint);
        let _ = writeln!(
            page,
            "\n{} rounds, seed {}; of {} comparisons of the same thing at most 1 finds a difference; less than {} % is not told",
            self.options.rounds,
            self.options.seed,
            (1.0 / WRONG).round(),
            self.options.least
        );
        let _ = writeln!(page, "{}", self.machine.line());
        page
    }

    fn counted(&self, long: usize, paint: Paint) -> String {
        let Some([first, second]) = self.counts else {
            let why = if self.options.no_instructions {
                "not asked for"
            } else {
                "valgrind is missing, or a revision cannot count"
            };
            return format!("\nno instructions: {why}\n");
        };
        let heads = format!(
            "{:<long$}  {:>8}  {:>8}  {:>8}",
            "instructions a packet", "REV1", "REV2", "change"
        );
        let mut text = format!("\n{}\n", paint.faint(&heads));
        for (name, was) in first {
            let Some(is) = second.get(name) else { continue };
            let change = 100.0 * (is / was - 1.0);
            let _ = writeln!(text, "{name:<long$}  {was:>8.1}  {is:>8.1}  {change:>+6.1} %");
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let side = |built: &Built| json!({ "revision": built.name, "commit": built.commit });
        json!({
            "machine": self.machine,
            "first": side(&self.built[0]),
            "second": side(&self.built[1]),
            "rounds": self.options.rounds,
            "seed": self.options.seed,
            "measured": self.options.pipeline(),
            "least_percent": self.options.least,
            "points": self.verdict.rows,
            "only_in": self.verdict.alone.iter().map(|(name, side)| (name, &self.built[*side].name)).collect::<BTreeMap<_, _>>(),
            "instructions": self.counts.map(|[first, second]| json!({ "first": first, "second": second })),
            "slower": self.verdict.something_slower(),
        })
    }
}

fn line(name: &str, row: &Row, long: usize, paint: Paint) -> String {
    let verdict = match row.change {
        Change::Slower => format!("  {}", paint.bad("slower")),
        Change::Faster => "  faster".to_owned(),
        Change::Same => String::new(),
    };
    format!(
        "{name:<long$}  {:>8.1}  {:>8.1}  {:.3} ({:.3} .. {:.3}){verdict}\n",
        row.ns[0], row.ns[1], row.ratio, row.low, row.high
    )
}
