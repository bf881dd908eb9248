//! A chart as figures, before it is drawn; and its table, which says the same in words.

use super::data::Spread;
use maud::{Markup, html};

/// Lines over places, or bars that stand side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Lines,
    Bars,
}

/// What a picture shows.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) about: String,
    /// Of the axis.
    pub(super) label: String,
    pub(super) unit: String,
    pub(super) kind: Kind,
    /// On the axis.
    pub(super) places: Vec<String>,
    pub(super) series: Vec<Series>,
}

/// One line, or one bar of each group: a value for each place, where there is one.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) values: Vec<Option<Value>>,
}

/// A figure with what it should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) at: Spread,
    pub(super) goal: Option<f64>,
}

impl Chart {
    pub(super) fn values(&self) -> impl Iterator<Item = Value> + '_ {
        self.series
            .iter()
            .flat_map(|series| series.values.iter().copied().flatten())
    }

    /// The largest figure that must fit in.
    pub(super) fn top(&self) -> f64 {
        let ends = self
            .values()
            .flat_map(|value| [value.at.median, value.at.high, value.goal.unwrap_or(0.0)]);
        ends.filter(|end| end.is_finite()).fold(0.0, f64::max)
    }

    /// Everything that the picture shows.
    pub(super) fn table(&self) -> Markup {
        let cell = |value: Option<Value>| match value {
            Some(value) => {
                let Spread { median, low, high } = value.at;
                let spread = format!("{} ({} .. {})", short(median), short(low), short(high));
                value
                    .goal
                    .map_or(spread.clone(), |goal| format!("{spread}, goal {}", short(goal)))
            }
            None => "-".into(),
        };
        html! {
            details {
                summary { "Figures" }
                div.wide {
                    table {
                        thead {
                            tr {
                                th scope="col" { (self.unit) " (5 % .. 95 %)" }
                                @for place in &self.places { th.number scope="col" { (place) } }
                            }
                        }
                        tbody {
                            @for series in &self.series {
                                tr {
                                    th scope="row" { (series.name) }
                                    @for value in &series.values { td.number { (cell(*value)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Three digits or a little more.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "-".into(),
        size if size >= 1e9 => format!("{:.2} G", value / 1e9),
        size if size >= 1e6 => format!("{:.2} M", value / 1e6),
        size if size >= 1e5 => format!("{:.0} k", value / 1e3),
        size if size >= 99.5 => format!("{value:.0}"),
        size if size >= 9.95 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
