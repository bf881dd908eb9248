//! The table for people: a group of rows for each figure, a row for each peer, and how many times a peer's figure ours is.

use super::probe::Figure;
use super::results::{About, Note, Ratio, Results, Series};
use super::settings::CONGESTION;
use crate::pipeline::point::many;
use crate::report::{Paint, bar, human};
use std::fmt::Write;

/// Columns of a bar.
const BAR: usize = 6;

impl Results {
    /// Everything on a page; with colour on a terminal.
    pub(super) fn table(&self, terminal: bool) -> String {
        let paint = Paint(terminal);
        let mut page = String::new();
        let mut rest = &self.series[..];
        while let Some(first) = rest.first() {
            let same = |series: &&Series| (series.size, series.probe) == (first.size, first.probe);
            let (group, others) = rest.split_at(rest.iter().take_while(same).count());
            let size = first.size;
            let title = format!(
                "{}; {}, {}",
                first.probe.title(),
                many(size.services, "service", "services"),
                many(size.policies, "policy", "policies")
            );
            let _ = writeln!(page, "{}", paint.strong(&title));
            for (at, figure) in first.probe.figures().iter().enumerate() {
                // Where nobody could be asked for it there is no such figure.
                let group: Vec<&Series> = group
                    .iter()
                    .filter(|series| series.values(at).next().is_some())
                    .collect();
                if !group.is_empty() {
                    page += &self.figure(&group, at, *figure, paint);
                }
            }
            page.push('\n');
            rest = others;
        }
        page + &self.foot(paint)
    }

    fn figure(&self, group: &[&Series], at: usize, figure: Figure, paint: Paint) -> String {
        let most = group.iter().map(|series| series.spread(at).median).fold(0.0, f64::max);
        let head = format!(
            "  {:16}  {:BAR$}  {:>27}  {:>22}",
            figure.name,
            "",
            format!("{} (5 % .. 95 %)", figure.unit),
            "sluice is"
        );
        let mut text = paint.faint(&head) + "\n";
        for series in group {
            let spread = series.spread(at);
            let _ = write!(
                text,
                "  {:16}  {}  {:>7} ({:>7} .. {:>7})",
                series.peer,
                bar(spread.median / most, BAR),
                human(spread.median),
                human(spread.low),
                human(spread.high)
            );
            if let Some(ratio) = self.ratio(series, at) {
                text += &beside(ratio, figure, paint);
            }
            text.push('\n');
        }
        text
    }

    fn foot(&self, paint: Paint) -> String {
        let mut text = String::new();
        for About { name, about, settings } in &self.peers {
            let _ = write!(text, "{name}: {about}");
            let _ = settings.iter().try_for_each(|setting| write!(text, "; {setting}"));
            text.push('\n');
        }
        let _ = writeln!(text, "all: TCP congestion control {CONGESTION} at both ends");
        for Note { text: note, warns } in self.notes() {
            let note = if warns { paint.bad(&note) } else { note };
            text.push_str(&note);
            text.push('\n');
        }
        let plan = &self.plan;
        let _ = writeln!(
            text,
            "{}; {} rounds of {} s in shuffled order, seed {}",
            self.machine.line(),
            plan.rounds,
            plan.seconds,
            plan.seed
        );
        text
    }
}

/// How many times a peer's figure ours is, where that surely lies, and what it should be.
fn beside(ratio: Ratio, figure: Figure, paint: Paint) -> String {
    let interval = format!("({:.2} .. {:.2})", ratio.low, ratio.high);
    let mut text = format!("  {:>5.2} {:>16}", ratio.value, interval);
    if let (Some(goal), Some(met)) = (ratio.goal, ratio.met) {
        let sign = if figure.more_is_better { ">=" } else { "<=" };
        let goal = format!("{goal:.2}");
        let goal = goal.trim_end_matches('0').trim_end_matches('.');
        let _ = write!(text, "  {sign} {goal} {}", paint.verdict(met));
    }
    if !ratio.real {
        text += "  chance?";
    }
    text
}
