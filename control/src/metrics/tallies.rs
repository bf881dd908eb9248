//! Decides what control counts of its own work. Its parts are shared, so that a scrape sees them without asking twice.

use crate::model::Kind;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Unit;
use std::time::Duration;

/// What control did since start.
#[derive(Clone, Debug)]
pub(crate) struct Tallies {
    /// Records that changed, by kind, in the order of [`Kind::ALL`].
    changes: [Counter; Kind::ALL.len()],
    compilations: Histogram,
    published: Counter,
}

impl Default for Tallies {
    fn default() -> Self {
        Self {
            changes: Default::default(),
            // 50 us to 1.6 s: one endpoint of a large cluster to all of it.
            compilations: Histogram::new(exponential_buckets(50e-6, 2.0, 16)),
            published: Counter::default(),
        }
    }
}

impl Tallies {
    /// A record of this kind is another one now.
    pub(crate) fn changed(&self, kind: Kind) {
        if let Some(at) = Kind::ALL.iter().position(|known| *known == kind) {
            self.changes[at].inc();
        }
    }

    /// A compilation took so long, whatever came of it.
    pub(crate) fn compiled(&self, took: Duration) {
        self.compilations.observe(took.as_secs_f64());
    }

    /// A configuration was given to the workers.
    pub(crate) fn published(&self) {
        self.published.inc();
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let help =
            "Records of the cluster that changed, by kind; what is said again without a difference does not count";
        let mut family = encoder.encode_descriptor("source_changes", help, None, MetricType::Counter)?;
        for (kind, count) in Kind::ALL.iter().zip(&self.changes) {
            count.encode(family.encode_family(&[("kind", kind.name())])?)?;
        }
        let help = "Time from what is known to a configuration that can be served";
        let family =
            encoder.encode_descriptor("compile_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        self.compilations.encode(family)?;
        let help = "Configurations that were given to the workers";
        let family = encoder.encode_descriptor("publications", help, None, MetricType::Counter)?;
        self.published.encode(family)
    }
}
