//! What the rounds say, as ratios of Sluice to each peer; and the same as JSON and as the summary's entries. It never compares figures of
//! different rounds.

use super::goals;
use super::options::Plan;
use super::probe::{Figure, Probe, Run};
use super::scene::Size;
use super::settings::{CONGESTION, Setting};
use crate::report::Machine;
use crate::report::summary::Entry;
use crate::stats::{Spread, median_interval};
use serde::Serialize;
use serde_json::{Value, json};

/// Others are worth a warning from this share of the machine on.
const NOTICED: f64 = 0.02;
/// From which lead on the generator is no limit.
const FASTER: f64 = 1.05;

/// Who is compared with everybody else.
pub(super) const OURS: &str = "sluice";

/// Everything that was measured.
pub(super) struct Results {
    pub(super) machine: Machine,
    pub(super) plan: Plan,
    pub(super) peers: Vec<About>,
    pub(super) series: Vec<Series>,
}

/// Who was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct About {
    pub(super) name: String,
    pub(super) about: String,
    /// What is not seen in it, of all scenes.
    pub(super) settings: Vec<Setting>,
}

impl About {
    pub(super) fn new(name: &str, about: String) -> Self {
        Self {
            name: name.into(),
            about,
            settings: Vec::new(),
        }
    }

    /// Settings of one more scene.
    pub(super) fn add(&mut self, settings: Vec<Setting>) {
        for setting in settings {
            if !self.settings.contains(&setting) {
                self.settings.push(setting);
            }
        }
    }
}

/// A sentence about the figures as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Note {
    pub(super) text: String,
    /// It takes something away from what the figures say.
    pub(super) warns: bool,
}

/// All rounds of one peer.
pub(super) struct Series {
    pub(super) size: Size,
    pub(super) probe: Probe,
    pub(super) peer: String,
    pub(super) runs: Vec<Run>,
}

/// Our figure divided by a peer's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ratio {
    pub(super) value: f64,
    /// Where the median ratio of all possible rounds lies, with 95 %; the value itself with fewer than six rounds.
    pub(super) low: f64,
    pub(super) high: f64,
    /// More than chance: 1 lies outside.
    pub(super) real: bool,
    pub(super) goal: Option<f64>,
    pub(super) met: Option<bool>,
}

impl Series {
    pub(super) fn values(&self, at: usize) -> impl Iterator<Item = f64> {
        self.runs.iter().filter_map(move |run| run.values.get(at).copied())
    }

    /// There is at least one round.
    pub(super) fn spread(&self, at: usize) -> Spread {
        let nothing = Spread {
            median: f64::NAN,
            low: f64::NAN,
            high: f64::NAN,
        };
        Spread::of(self.values(at)).unwrap_or(nothing)
    }
}

impl Results {
    /// Our rounds beside which another peer's are put.
    fn ours(&self, other: &Series) -> Option<&Series> {
        let same = |s: &&Series| s.peer == OURS && (s.size, s.probe) == (other.size, other.probe);
        self.series.iter().find(same).filter(|_| other.peer != OURS)
    }

    /// Our figure divided by this peer's, round by round; `None` for ourselves.
    pub(super) fn ratio(&self, other: &Series, at: usize) -> Option<Ratio> {
        let ours = self.ours(other)?;
        let paired = ours.runs.iter().filter_map(|run| {
            let same = other.runs.iter().find(|peer| peer.round == run.round)?;
            Some(run.values.get(at)? / same.values.get(at)?)
        });
        let ratios: Vec<f64> = paired.collect();
        let value = Spread::of(ratios.iter().copied())?.median;
        let interval = median_interval(ratios);
        let (low, high) = interval.unwrap_or((value, value));
        let figure = other.probe.figures()[at];
        let goal = goals::of(other.probe, figure.name, &other.peer);
        Some(Ratio {
            value,
            low,
            high,
            real: interval.is_some() && !(low..=high).contains(&1.0),
            goal,
            met: goal.map(|goal| reaches(figure, value, goal)),
        })
    }

    /// The largest share of the machine that other programs had during a run.
    fn others(&self) -> Spread {
        let all = self.series.iter().flat_map(|series| &series.runs);
        let nothing = Spread {
            median: 0.0,
            low: 0.0,
            high: 0.0,
        };
        Spread::of(all.map(|run| run.others)).unwrap_or(nothing)
    }

    /// How many times as fast as the fastest peer the generator was, for each kind of traffic that has one.
    fn generator(&self) -> Vec<(Probe, f64)> {
        let mut least: Vec<(Probe, f64)> = Vec::new();
        for series in &self.series {
            let leads = series.runs.iter().filter_map(|run| run.generator);
            let Some(spread) = Spread::of(leads) else { continue };
            match least.iter_mut().find(|(probe, _)| *probe == series.probe) {
                Some((_, lead)) => *lead = lead.min(spread.median),
                None => least.push((series.probe, spread.median)),
            }
        }
        least
    }

    /// Whether something else than the peers was the limit.
    pub(super) fn notes(&self) -> Vec<Note> {
        let lead = |(probe, lead): (Probe, f64)| {
            let warns = lead < FASTER;
            let end = if warns { ", so figures may be its own" } else { "" };
            let probe = probe.name();
            let text = format!("{probe}: the generator is {lead:.2} times as fast as the fastest peer{end}");
            Note { text, warns }
        };
        let mut notes: Vec<Note> = self.generator().into_iter().map(lead).collect();
        let others = self.others();
        if others.high > NOTICED {
            let text = format!(
                "the machine was busy: other programs had {:.0} % of it in the middle, {:.0} % at worst, which is in all CPU figures",
                100.0 * others.median,
                100.0 * others.high
            );
            notes.push(Note { text, warns: true });
        }
        notes
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "machine": self.machine,
            "plan": self.plan,
            "tcp_congestion_control": CONGESTION,
            "peers": self.peers,
            "others_share": self.others(),
            "notes": self.notes(),
            "series": self.series.iter().map(|series| self.series(series)).collect::<Vec<_>>(),
        })
    }

    fn series(&self, series: &Series) -> Value {
        let figures = series.probe.figures().iter().enumerate();
        let figures = figures
            .filter(|(at, _)| series.values(*at).next().is_some())
            .map(|(at, figure)| {
                let ratio = self.ratio(series, at).map(|ratio| {
                    json!({"value": ratio.value, "low": ratio.low, "high": ratio.high, "real": ratio.real,
                    "goal": ratio.goal, "met": ratio.met})
                });
                json!({"name": figure.name, "unit": figure.unit, "more_is_better": figure.more_is_better,
                "spread": series.spread(at), "sluice_of_this": ratio})
            });
        json!({
            "probe": series.probe.name(),
            "title": series.probe.title(),
            "services": series.size.services,
            "policies": series.size.policies,
            "peer": series.peer,
            "figures": figures.collect::<Vec<_>>(),
            "rounds": series.runs,
        })
    }

    /// One entry for each ratio that has a goal.
    pub(super) fn summary(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for series in &self.series {
            for (at, figure) in series.probe.figures().iter().enumerate() {
                let Some(ratio) = self.ratio(series, at).filter(|ratio| ratio.goal.is_some()) else {
                    continue;
                };
                entries.push(Entry {
                    name: format!(
                        "compare/{}/{}/{}{}",
                        series.probe.name(),
                        figure.name,
                        series.peer,
                        suffix(series.size)
                    ),
                    value: ratio.value,
                    low: ratio.low,
                    high: ratio.high,
                    unit: "ratio".into(),
                    goal: ratio.goal,
                    met: ratio.met,
                });
            }
        }
        entries
    }
}

fn reaches(figure: Figure, value: f64, goal: f64) -> bool {
    if figure.more_is_better {
        value >= goal
    } else {
        value <= goal
    }
}

/// What differs from the usual, as in other names of the summary.
fn suffix(size: Size) -> String {
    let mut text = String::new();
    for (name, value) in [("services", size.services), ("policies", size.policies)] {
        if value != 1 {
            text += &format!("/{name}={value}");
        }
    }
    text
}
