//! Decides which figures of the node are exported, and under which names. It never counts packets itself.
//!
//! The text is OpenMetrics. Names begin with `sluice_`; units are seconds and bytes; a label has one of a few values, or names a port or
//! a worker of this node. What the cluster has many of (services, endpoints, other nodes' pods, flows) is never a label.

mod packets;
mod tallies;

pub(crate) use tallies::Tallies;

use crate::api::{CountersReport, Status};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::fmt::{Error, Result};

/// What a scrape has to know.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) status: Status,
    pub(crate) counters: CountersReport,
    pub(crate) tallies: Tallies,
}

/// Names and values of the labels of one row.
type Labels = Vec<(&'static str, String)>;

/// The page that is scraped.
pub(crate) fn page(figures: Figures) -> std::result::Result<String, String> {
    let mut registry = Registry::with_prefix("sluice");
    registry.register_collector(Box::new(figures));
    let mut out = String::new();
    text::encode(&mut out, &registry).map_err(|Error| "the metrics cannot be written".to_owned())?;
    Ok(out)
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result {
        let mut out = Out(encoder);
        node(&mut out, &self.status)?;
        source(&mut out, &self.status)?;
        self.tallies.encode(&mut out.0)?;
        packets::encode(&mut out, &self.counters)
    }
}

/// Where metrics are written to.
struct Out<'e>(DescriptorEncoder<'e>);

impl Out<'_> {
    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> Result {
        let value = ConstGauge::new(value);
        let encoder = self
            .0
            .encode_descriptor(name, help, unit, prometheus_client::metrics::MetricType::Gauge)?;
        value.encode(encoder)
    }

    /// A gauge that is not there while nobody knows it.
    fn maybe(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: Option<f64>) -> Result {
        value.map_or(Ok(()), |value| self.gauge(name, help, unit, value))
    }

    fn gauges(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (Labels, f64)>) -> Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, prometheus_client::metrics::MetricType::Gauge)?;
        for (labels, value) in rows {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> Result {
        self.counters(name, help, [(Vec::new(), value)])
    }

    fn counters(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (Labels, u64)>) -> Result {
        self.counters_in(name, help, None, rows)
    }

    fn counters_in<N>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        rows: impl IntoIterator<Item = (Labels, N)>,
    ) -> Result
    where
        ConstCounter<N>: EncodeMetric,
    {
        let mut family = self
            .0
            .encode_descriptor(name, help, unit, prometheus_client::metrics::MetricType::Counter)?;
        for (labels, value) in rows {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn node(out: &mut Out<'_>, status: &Status) -> Result {
    let seconds = |ms: u64| ms as f64 / 1e3;
    let version = vec![("version", status.version.clone())];
    out.gauges("build_info", "The agent's version; always 1", [(version, 1.0)])?;
    out.gauge(
        "ready",
        "Whether everything the node needs is there and applied",
        None,
        f64::from(status.ready),
    )?;
    out.gauge(
        "uptime",
        "How long the agent has run",
        Some(&Unit::Seconds),
        seconds(status.uptime_ms),
    )?;
    out.gauge(
        "generation",
        "Number of the configuration that is served",
        None,
        status.generation as f64,
    )?;
    out.gauge(
        "generation_age",
        "How long it has been served",
        Some(&Unit::Seconds),
        seconds(status.generation_age_ms),
    )?;
    out.gauge(
        "nodes",
        "Nodes of the cluster that are known",
        None,
        f64::from(status.nodes),
    )?;
    out.gauge(
        "attached_pods",
        "Pods of this node that are attached",
        None,
        f64::from(status.pods),
    )?;
    out.gauge(
        "uplink_up",
        "Whether the interface to the other nodes is up with a carrier",
        None,
        f64::from(status.uplink.up),
    )?;
    let of = |wanted: &str| status.warnings.iter().filter(|w| w.severity == wanted).count() as f64;
    let rows = ["info", "warning", "error"].map(|name| (vec![("severity", name.to_owned())], of(name)));
    out.gauges("warnings", "What sluice status warns of now", rows)
}

fn source(out: &mut Out<'_>, status: &Status) -> Result {
    let source = &status.source;
    let seconds = |ms: u64| ms as f64 / 1e3;
    out.gauge(
        "source_synced",
        "Whether the source of objects has been read completely once",
        None,
        f64::from(source.synced),
    )?;
    out.maybe(
        "source_heard_age",
        "Time since the API server was heard of last, by any of its streams",
        Some(&Unit::Seconds),
        source.last_heard_ms.map(seconds),
    )?;
    out.maybe(
        "source_change_age",
        "Time since an object changed last",
        Some(&Unit::Seconds),
        source.last_change_ms.map(seconds),
    )?;
    out.maybe(
        "source_saved_age",
        "Age of the saved state that is served until the API server was heard of about all of it",
        Some(&Unit::Seconds),
        source.saved_age_ms.map(seconds),
    )?;
    out.gauge(
        "source_problems",
        "Objects that cannot be used as they are, and troubles with the source",
        None,
        source.problems.len() as f64,
    )
}

#[cfg(test)]
mod tests;
