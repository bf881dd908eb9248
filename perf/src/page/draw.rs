//! Draws a chart as SVG that takes its colours from the page. Each series has a sign and a stroke of its own: colour is never the only one.

use super::chart::{Chart, Kind, Series, Value, short};
use maud::{Markup, html};

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 300.0;
/// Where the area of figures begins and ends.
const LEFT: f64 = 52.0;
const RIGHT: f64 = WIDTH - 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = HEIGHT - 44.0;
/// Colours and signs that the style sheet has.
const STYLES: usize = 7;
const DASHES: [&str; STYLES] = ["", "7 3", "2 3", "9 3 2 3", "", "7 3", "2 3"];
const STEPS: usize = 4;

/// A chart with its title, its legend, its picture and its table.
pub(super) fn figure(chart: &Chart) -> Markup {
    html! {
        figure {
            figcaption {
                h3 { (chart.title) }
                p { (chart.about) }
                ul.legend {
                    @for (n, series) in chart.series.iter().enumerate() {
                        li { (swatch(n, chart.kind)) (series.name) }
                    }
                    @if chart.values().any(|value| value.goal.is_some()) {
                        li { (goal_swatch()) "goal" }
                    }
                }
            }
            div.wide { (picture(chart)) }
            (chart.table())
        }
    }
}

fn picture(chart: &Chart) -> Markup {
    let top = ceiling(chart.top());
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * (value / top).clamp(0.0, 1.0);
    let slot = (RIGHT - LEFT) / chart.places.len().max(1) as f64;
    let centre = |place: usize| LEFT + slot * (place as f64 + 0.5);
    let words = format!("{}; {}; the table below has all figures", chart.title, chart.unit);
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(words) {
            @for step in 0..=STEPS {
                @let value = top * step as f64 / STEPS as f64;
                line.grid x1=(LEFT) x2=(RIGHT) y1=(at(y(value))) y2=(at(y(value))) {}
                text.tick x=(LEFT - 6.0) y=(at(y(value) + 4.0)) text-anchor="end" { (tick(value)) }
            }
            @for (place, name) in chart.places.iter().enumerate() {
                text.tick x=(at(centre(place))) y=(BOTTOM + 18.0) text-anchor="middle" { (name) }
            }
            text.label x=(at((LEFT + RIGHT) / 2.0)) y=(HEIGHT - 6.0) text-anchor="middle" {
                @if !chart.label.is_empty() { (chart.label) ", up: " }
                (chart.unit)
            }
            @match chart.kind {
                Kind::Lines => {
                    @for (n, series) in chart.series.iter().enumerate() { (line(n, chart.series.len(), series, &centre, &y)) }
                }
                Kind::Bars => {
                    @for (n, series) in chart.series.iter().enumerate() { (bars(n, chart.series.len(), series, slot, &centre, &y)) }
                }
            }
        }
    }
}

fn line(n: usize, of: usize, series: &Series, centre: &impl Fn(usize) -> f64, y: &impl Fn(f64) -> f64) -> Markup {
    // Side by side by a little, so that spreads can be told apart.
    let shift = (n as f64 - (of as f64 - 1.0) / 2.0) * 5.0;
    let there: Vec<(f64, Value)> = values(series)
        .map(|(place, value)| (centre(place) + shift, value))
        .collect();
    let path: Vec<String> = there
        .iter()
        .map(|(x, value)| format!("{},{}", at(*x), at(y(value.at.median))))
        .collect();
    html! {
        g class=(format!("s{}", n % STYLES)) {
            polyline.line points=(path.join(" ")) stroke-dasharray=(DASHES[n % STYLES]) {}
            @for (x, value) in &there {
                (whisker(*x, value, y))
                path.sign d=(sign(n, *x, y(value.at.median))) {}
                @if let Some(goal) = value.goal { (goal_mark(*x, y(goal))) }
            }
        }
    }
}

fn bars(
    n: usize,
    of: usize,
    series: &Series,
    slot: f64,
    centre: &impl Fn(usize) -> f64,
    y: &impl Fn(f64) -> f64,
) -> Markup {
    let width = (slot * 0.8 / of as f64).min(48.0);
    let shift = (n as f64 - (of as f64 - 1.0) / 2.0) * width;
    html! {
        g class=(format!("s{}", n % STYLES)) {
            @for (place, value) in values(series) {
                @let x = centre(place) + shift;
                @let top = y(value.at.median);
                rect.bar x=(at(x - width * 0.45)) y=(at(top)) width=(at(width * 0.9)) height=(at(BOTTOM - top)) {}
                (whisker(x, &value, y))
                @if let Some(goal) = value.goal { (goal_mark(x, y(goal))) }
            }
        }
    }
}

fn values(series: &Series) -> impl Iterator<Item = (usize, Value)> + '_ {
    let there = series.values.iter().enumerate();
    there.filter_map(|(place, value)| value.filter(|v| v.at.median.is_finite()).map(|value| (place, value)))
}

/// From the 5 % to the 95 % quantile.
fn whisker(x: f64, value: &Value, y: &impl Fn(f64) -> f64) -> Markup {
    let (low, high) = (at(y(value.at.low)), at(y(value.at.high)));
    html! { line.whisker x1=(at(x)) x2=(at(x)) y1=(low) y2=(high) {} }
}

fn goal_mark(x: f64, y: f64) -> Markup {
    html! { line.goal x1=(at(x - 9.0)) x2=(at(x + 9.0)) y1=(at(y)) y2=(at(y)) {} }
}

fn swatch(n: usize, kind: Kind) -> Markup {
    html! {
        svg.swatch viewBox="0 0 28 12" aria-hidden="true" {
            g class=(format!("s{}", n % STYLES)) {
                @match kind {
                    Kind::Lines => {
                        line.line x1="1" x2="27" y1="6" y2="6" stroke-dasharray=(DASHES[n % STYLES]) {}
                        path.sign d=(sign(n, 14.0, 6.0)) {}
                    }
                    Kind::Bars => rect.bar x="2" y="1" width="24" height="10" {}
                }
            }
        }
    }
}

fn goal_swatch() -> Markup {
    html! { svg.swatch viewBox="0 0 28 12" aria-hidden="true" { line.goal x1="5" x2="23" y1="6" y2="6" {} } }
}

/// Circle, square, triangle, diamond, cross, plus, triangle upside down.
fn sign(n: usize, x: f64, y: f64) -> String {
    let r = 4.0;
    let moves = |corners: &[(f64, f64)]| {
        let to = |(n, (dx, dy)): (usize, &(f64, f64))| {
            format!("{}{} {}", if n == 0 { "M" } else { "L" }, at(x + dx), at(y + dy))
        };
        corners.iter().enumerate().map(to).collect::<String>() + "Z"
    };
    match n % STYLES {
        0 => format!(
            "M{} {}a{r} {r} 0 1 0 {} 0a{r} {r} 0 1 0 -{} 0Z",
            at(x - r),
            at(y),
            2.0 * r,
            2.0 * r
        ),
        1 => moves(&[(-r, -r), (r, -r), (r, r), (-r, r)]),
        2 => moves(&[(0.0, -r - 1.0), (r + 1.0, r), (-r - 1.0, r)]),
        3 => moves(&[(0.0, -r - 1.0), (r + 1.0, 0.0), (0.0, r + 1.0), (-r - 1.0, 0.0)]),
        4 => moves(&[(-r, -r), (r, r), (0.0, 0.0), (r, -r), (-r, r), (0.0, 0.0)]),
        5 => moves(&[
            (0.0, -r - 1.0),
            (0.0, r + 1.0),
            (0.0, 0.0),
            (-r - 1.0, 0.0),
            (r + 1.0, 0.0),
            (0.0, 0.0),
        ]),
        _ => moves(&[(0.0, r + 1.0), (r + 1.0, -r), (-r - 1.0, -r)]),
    }
}

/// Tenths of a pixel are enough.
fn at(place: f64) -> String {
    let rounded = (place * 10.0).round() / 10.0;
    format!("{rounded}")
}

/// A round number that is not below.
pub(super) fn ceiling(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let round = [1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 5.0, 6.0, 8.0, 10.0];
    let found = round.iter().map(|step| step * power).find(|step| *step >= value);
    found.unwrap_or(10.0 * power)
}

fn tick(value: f64) -> String {
    let decimal = |value: f64| format!("{}", (value * 1000.0).round() / 1000.0);
    match value {
        _ if value < 1e4 => decimal(value),
        _ if value < 1e6 => decimal(value / 1e3) + " k",
        _ => short(value),
    }
}
