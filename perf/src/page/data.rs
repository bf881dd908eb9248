//! Reads the results. What is not there is not shown; what cannot be read is an error that names the file.

use crate::report::{Machine, summary};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// All results.
#[derive(Debug, Default)]
pub(super) struct Data {
    pub(super) pipeline: Option<Pipeline>,
    pub(super) instructions: Option<Instructions>,
    pub(super) compare: Option<Compare>,
    pub(super) summary: Vec<summary::Entry>,
}

/// What `pipeline` measured.
#[derive(Debug, Deserialize)]
pub(super) struct Pipeline {
    pub(super) machine: Machine,
    pub(super) date: String,
    pub(super) reference_ghz: f64,
    pub(super) plan: BTreeMap<String, Value>,
    pub(super) points: Vec<Point>,
    pub(super) waiting: f64,
}

/// One point.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Point {
    pub(super) case: String,
    pub(super) steps: String,
    /// A number, or a mix's name.
    pub(super) size: Value,
    pub(super) family: String,
    pub(super) flows: u32,
    pub(super) workers: u32,
    pub(super) services: u32,
    pub(super) policies: u32,
    pub(super) churn: u32,
    pub(super) ns_at_reference: Spread,
    pub(super) goal_ns_at_reference: Option<f64>,
}

/// A median, and where nine of ten runs are.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// What `instructions` counted.
#[derive(Debug, Deserialize)]
pub(super) struct Instructions {
    pub(super) machine: Machine,
    pub(super) rustc: String,
    pub(super) target_cpu: String,
    pub(super) cases: BTreeMap<String, Count>,
    pub(super) memory: crate::measure::Memory,
}

/// Of one point.
#[derive(Debug, Deserialize)]
pub(super) struct Count {
    pub(super) instructions: f64,
}

/// What `compare` measured.
#[derive(Debug, Deserialize)]
pub(super) struct Compare {
    pub(super) machine: Machine,
    /// How each is set.
    #[serde(default)]
    pub(super) peers: Vec<Peer>,
    pub(super) series: Vec<Side>,
    /// Of TCP, for all of them.
    #[serde(default)]
    pub(super) tcp_congestion_control: Option<String>,
    #[serde(default)]
    pub(super) notes: Vec<Note>,
}

/// A sentence about all figures.
#[derive(Debug, Deserialize)]
pub(super) struct Note {
    pub(super) text: String,
    pub(super) warns: bool,
}

/// One of those that are compared.
#[derive(Debug, Deserialize)]
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) about: String,
    #[serde(default)]
    pub(super) settings: Vec<Setting>,
}

/// What is not seen in the figures, and what users find.
#[derive(Debug, Deserialize)]
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) usual: String,
}

/// What one peer did under one kind of traffic.
#[derive(Debug, Deserialize)]
pub(super) struct Side {
    pub(super) probe: String,
    /// The probe for people.
    #[serde(default)]
    pub(super) title: Option<String>,
    #[serde(default = "one")]
    pub(super) services: u32,
    #[serde(default = "one")]
    pub(super) policies: u32,
    pub(super) peer: String,
    pub(super) figures: Vec<Figure>,
}

/// Of one unit.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) spread: Spread,
}

fn one() -> u32 {
    1
}

/// Everything in the folder.
pub(super) fn read(folder: &Path) -> Result<Data> {
    let data = Data {
        pipeline: file(folder, "pipeline.json")?,
        instructions: file(folder, "instructions.json")?,
        compare: file(folder, "compare.json")?,
        summary: file(folder, summary::NAME)?.unwrap_or_default(),
    };
    ensure!(
        data.pipeline.is_some() || data.instructions.is_some() || data.compare.is_some() || !data.summary.is_empty(),
        "{}: there are no results yet; `make bench` makes some",
        folder.display()
    );
    Ok(data)
}

fn file<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>> {
    let path = folder.join(name);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err).with_context(|| path.display().to_string()),
    };
    let hint = || format!("{}: not what this version writes; measure again", path.display());
    serde_json::from_slice(&text).with_context(hint).map(Some)
}
