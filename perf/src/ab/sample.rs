//! Reads what revisions print, old ones and those to come: whatever has a name and a time is a figure, and nothing else is asked for.

use crate::measure::speed::REFERENCE_GHZ;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;

/// One run of one point.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) point: String,
    /// A packet, at the reference clock where the revision measures its clock.
    pub(super) ns: f64,
}

/// From the JSON of `pipeline`; an error if there is no figure in it.
pub(super) fn read(text: &[u8]) -> Result<Vec<Sample>> {
    let json: Value = serde_json::from_slice(text).context("this is no JSON")?;
    let points = json["points"].as_array().context("it has no list `points`")?;
    let samples: Vec<Sample> = points.iter().filter_map(sample).collect();
    ensure!(!samples.is_empty(), "no point has a name and a time");
    Ok(samples)
}

fn sample(point: &Value) -> Option<Sample> {
    let ns = at_reference(&point["runs"][0])
        .or_else(|| number(&point["ns_at_reference"]["median"]))
        .or_else(|| number(&point["ns"]["median"]))
        .or_else(|| number(&point["ns"]))?;
    Some(Sample {
        point: point["name"].as_str()?.to_owned(),
        ns,
    })
}

fn at_reference(run: &Value) -> Option<f64> {
    let ns = number(&run["ns"])?;
    Some(number(&run["ghz"]).map_or(ns, |ghz| ns * ghz / REFERENCE_GHZ))
}

/// A time or a clock is finite and more than nothing.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite() && *number > 0.0)
}

/// By point, from the JSON of `instructions`; `None` if there are none.
pub(super) fn counts(text: &[u8]) -> Option<BTreeMap<String, f64>> {
    let json: Value = serde_json::from_slice(text).ok()?;
    let cases = json["cases"].as_object()?.iter();
    let counts: BTreeMap<String, f64> = cases
        .filter_map(|(name, cost)| Some((name.clone(), number(&cost["instructions"])?)))
        .collect();
    (!counts.is_empty()).then_some(counts)
}
