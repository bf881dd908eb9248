//! The counts for people and for programs.

use super::baseline::{Judged, Verdict};
use super::{Cost, Counted};
use crate::report::Paint;
use anyhow::Result;
use serde_json::{Value, json};
use std::fmt::Write;

/// Everything; beside the baseline if it was asked for.
pub(super) fn table(counted: &Counted, judged: Option<&[Judged]>, terminal: bool) -> String {
    let paint = Paint(terminal);
    let mut page = format!(
        "{}\n",
        paint.strong("instructions a packet, from receive to free, 64 B, 1 worker")
    );
    let long = counted.cases.keys().map(String::len).max().unwrap_or(0);
    let compared = if judged.is_some() {
        format!("  {:>8}  {:>8}", "baseline", "change")
    } else {
        String::new()
    };
    let heads = format!("{:<long$}  {:>12}{compared}", "point", "instructions");
    let _ = writeln!(page, "{}", paint.faint(&heads));
    match judged {
        Some(judged) => judged.iter().for_each(|one| page += &compared_line(one, long, paint)),
        None => {
            for (name, Cost { instructions }) in &counted.cases {
                let _ = writeln!(page, "{name:<long$}  {instructions:>12.1}");
            }
        }
    }
    let _ = writeln!(page, "\n{}", counted.memory.line());
    let _ = writeln!(
        page,
        "made by rustc {} for {}; {}",
        counted.rustc,
        counted.target_cpu,
        counted.machine.line()
    );
    page
}

fn compared_line(one: &Judged, long: usize, paint: Paint) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
    let change = one
        .change()
        .map_or_else(String::new, |change| format!("{change:+.1} %"));
    let verdict = match one.verdict {
        Verdict::Same => String::new(),
        Verdict::Worse => format!("  {}", paint.bad(one.verdict.text())),
        _ => format!("  {}", one.verdict.text()),
    };
    let line = format!(
        "{:<long$}  {:>12}  {:>8}  {change:>8}{verdict}",
        one.name,
        number(one.is),
        number(one.was)
    );
    line.trim_end().to_owned() + "\n"
}

pub(super) fn json(counted: &Counted, judged: Option<&[Judged]>) -> Result<Value> {
    let mut all = serde_json::to_value(counted)?;
    all["memory"]["flow"] = json!(counted.memory.flow());
    if let Some(judged) = judged {
        let one = |one: &Judged| {
            json!({
                "name": one.name,
                "value": one.is,
                "baseline": one.was,
                "change_percent": one.change(),
                "verdict": one.verdict,
            })
        };
        all["compared"] = judged.iter().map(one).collect();
    }
    Ok(all)
}
