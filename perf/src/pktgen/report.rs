//! Decides what a run found, as numbers. It never leaves anything out: each packet that was sent arrived or is lost, and each frame that
//! came is one of those, a duplicate, stale or foreign.

use super::account::Counts;
use super::pace::Schedule;
use super::receive::Arrived;
use super::send::Sent;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// What became of the packets of one run.
pub(crate) struct Report {
    /// Packets that were meant to be sent; `None` as many as went.
    pub(crate) intended: Option<u64>,
    /// Packets a second that were meant, on average.
    pub(crate) intended_pps: Option<f64>,
    pub(crate) sent: u64,
    pub(crate) sent_bytes: u64,
    /// Packets that arrived, each once.
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
    /// A later packet came before: any; one of the same flow.
    pub(crate) reordered: u64,
    pub(crate) reordered_in_flow: u64,
    /// Packets that came so late that they may be duplicates; they are among the lost.
    pub(crate) stale: u64,
    /// Frames that are none of this run's packets.
    pub(crate) foreign: u64,
    /// Packets a second, from the first to the last.
    pub(crate) tx_pps: f64,
    pub(crate) rx_pps: f64,
    /// Seconds from the first packet that left to the last.
    pub(crate) seconds: f64,
    /// ns from the moment a packet was meant to leave, which is the figure that coordinated omission does not touch.
    pub(crate) latency: Histogram<u64>,
    /// ns from the moment it left.
    pub(crate) latency_uncorrected: Histogram<u64>,
    /// How many packets a reordered one came behind.
    pub(crate) extents: Histogram<u64>,
    /// Longest that the generator was late, ns.
    pub(crate) late_ns: u64,
    /// Processor time of both threads, ns.
    pub(crate) tx_cpu_ns: u64,
    pub(crate) rx_cpu_ns: u64,
    /// Whether packets could be told apart; frames of a recording are only counted.
    pub(crate) marked: bool,
    /// What the kernel says it lost at either end, and where.
    pub(crate) kernel_losses: Vec<(String, u64)>,
}

/// Percentiles that are shown.
pub(super) const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];

impl Report {
    pub(super) fn new(
        schedule: &Schedule,
        sent: &Sent,
        arrived: Arrived,
        marked: bool,
        kernel_losses: Vec<(String, u64)>,
    ) -> Self {
        let Counts {
            unique,
            duplicates,
            reordered,
            reordered_in_flow,
            stale,
        } = arrived.account.counts;
        let received = if marked {
            unique
        } else {
            arrived.frames.min(sent.frames)
        };
        let pps = |count: u64, first: u64, last: u64| match (count, last - first) {
            (0 | 1, _) | (_, 0) => 0.0,
            // Between so many packets lies one gap less.
            (count, ns) => (count - 1) as f64 / ns as f64 * 1e9,
        };
        Self {
            intended: schedule.packets,
            intended_pps: schedule.average(),
            sent: sent.frames,
            sent_bytes: sent.bytes,
            received,
            lost: sent.frames - received,
            duplicates,
            reordered,
            reordered_in_flow,
            stale,
            foreign: arrived.foreign + if marked { 0 } else { arrived.frames - received },
            tx_pps: pps(sent.frames, sent.first_ns, sent.last_ns),
            rx_pps: pps(received, arrived.first_ns, arrived.last_ns),
            seconds: (sent.last_ns - sent.first_ns) as f64 / 1e9,
            latency: arrived.intended,
            latency_uncorrected: arrived.actual,
            extents: arrived.account.extents,
            late_ns: sent.late_ns,
            tx_cpu_ns: sent.cpu_ns,
            rx_cpu_ns: arrived.cpu_ns,
            marked,
            kernel_losses,
        }
    }

    /// Packets that the generator did not even send in time.
    pub(crate) fn unsent(&self) -> u64 {
        self.intended.map_or(0, |intended| intended.saturating_sub(self.sent))
    }

    /// Share of the sent packets that did not arrive.
    pub(crate) fn loss_ratio(&self) -> f64 {
        self.lost as f64 / self.sent.max(1) as f64
    }

    pub(crate) fn json(&self) -> Value {
        let losses: serde_json::Map<String, Value> = self
            .kernel_losses
            .iter()
            .map(|(name, count)| (name.clone(), json!(count)))
            .collect();
        json!({
            "intended": self.intended,
            "intended_pps": self.intended_pps,
            "sent": self.sent,
            "sent_bytes": self.sent_bytes,
            "received": self.received,
            "lost": self.lost,
            "loss_ratio": self.loss_ratio(),
            "duplicates": self.duplicates,
            "reordered": self.reordered,
            "reordered_in_flow": self.reordered_in_flow,
            "reorder_extent": { "median": self.extents.value_at_percentile(50.0), "max": self.extents.max(), "known": self.extents.len() },
            "stale": self.stale,
            "foreign": self.foreign,
            "tx_pps": self.tx_pps,
            "rx_pps": self.rx_pps,
            "seconds": self.seconds,
            "latency_ns": percentiles(&self.latency),
            "latency_uncorrected_ns": percentiles(&self.latency_uncorrected),
            "generator_late_ns": self.late_ns,
            "generator_cpu_ns": self.tx_cpu_ns,
            "receiver_cpu_ns": self.rx_cpu_ns,
            "marked": self.marked,
            "kernel_losses": losses,
        })
    }
}

fn percentiles(histogram: &Histogram<u64>) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let mut of: serde_json::Map<String, Value> = PERCENTILES
        .iter()
        .map(|p| (format!("p{p}"), json!(histogram.value_at_percentile(*p))))
        .collect();
    of.insert("min".into(), json!(histogram.min()));
    of.insert("mean".into(), json!(histogram.mean()));
    of.insert("max".into(), json!(histogram.max()));
    of.into()
}
