//! Decides which figures of `compare` stand side by side: those of one kind of traffic and size that have one unit, a group of bars for
//! each figure, a bar for each peer.

use super::chart::{Chart, Kind, Series, Value};
use super::data::{Compare, Figure, Side};
use crate::report::exact;

/// A chart for each kind of traffic, size and unit, in the order in which they were measured.
pub(super) fn charts(compare: &Compare) -> Vec<Chart> {
    let mut kinds: Vec<(String, &str)> = Vec::new();
    for side in &compare.series {
        for figure in &side.figures {
            add(&mut kinds, (title(side), &figure.unit[..]));
        }
    }
    kinds
        .into_iter()
        .map(|(title, unit)| chart(&compare.series, &title, unit))
        .collect()
}

fn chart(series: &[Side], title: &str, unit: &str) -> Chart {
    let same: Vec<&Side> = series.iter().filter(|side| self::title(side) == title).collect();
    let figures = |side: &&Side| {
        side.figures
            .clone()
            .into_iter()
            .filter(|figure| figure.unit == unit)
            .collect()
    };
    let sides: Vec<(&str, Vec<Figure>)> = same.iter().map(|side| (&side.peer[..], figures(side))).collect();
    let mut places = Vec::new();
    for figure in sides.iter().flat_map(|(_, figures)| figures) {
        add(&mut places, figure.name.clone());
    }
    let value = |figures: &[Figure], place: &String| {
        let found = figures.iter().find(|figure| figure.name == *place)?;
        Some(Value {
            at: found.spread,
            goal: None,
        })
    };
    let series = sides.iter().map(|(peer, figures)| Series {
        name: (*peer).to_owned(),
        values: places.iter().map(|place| value(figures, place)).collect(),
    });
    Chart {
        title: format!("{title}: {}", places.join(", ")),
        about: String::new(),
        label: String::new(),
        unit: unit.to_owned(),
        kind: Kind::Bars,
        series: series.collect(),
        places,
    }
}

/// The kind of traffic, and what is not as usual.
fn title(side: &Side) -> String {
    let mut title = side.title.clone().unwrap_or_else(|| side.probe.replace('-', " "));
    for (count, name) in [(side.services, "services"), (side.policies, "policies")] {
        if count != 1 {
            title += &format!(", {} {name}", exact(count.into()));
        }
    }
    title
}

fn add<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}
