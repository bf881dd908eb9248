//! Decides what is measured: one place in the space of cases, flows, sizes and so on.

use crate::cases::{Case, Traffic};
use crate::measure::Amount;
use crate::report::exact;
use crate::world::addresses::Family;
use std::fmt;
use std::str::FromStr;

/// Length of frames, from the Ethernet header on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum FrameSize {
    Bytes(u16),
    /// Of twelve packets seven have 64 bytes, four 590 and one 1514: the mix that testers call simple IMIX.
    Imix,
}

/// Shortest frame whose headers, with IPv6, fit.
const SHORTEST: u16 = 64;
/// Longest that a pod's MTU of 1500 takes.
const LONGEST: u16 = 1514;

impl FrameSize {
    /// Bytes of the `n`-th packet.
    pub(crate) fn bytes(self, n: usize) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.into(),
            Self::Imix => match n % 12 {
                11 => 1514,
                1 | 4 | 7 | 10 => 590,
                _ => 64,
            },
        }
    }
}

impl FromStr for FrameSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case("imix") {
            return Ok(Self::Imix);
        }
        let bytes = text.parse().ok().filter(|n| (SHORTEST..=LONGEST).contains(n));
        bytes
            .map(Self::Bytes)
            .ok_or_else(|| format!("want bytes from {SHORTEST} to {LONGEST}, or imix"))
    }
}

impl fmt::Display for FrameSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes} B"),
            Self::Imix => f.write_str("IMIX"),
        }
    }
}

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) case: Case,
    pub(crate) size: FrameSize,
    pub(crate) family: Family,
    pub(crate) workers: u32,
    pub(crate) services: u32,
    pub(crate) policies: u32,
    /// Unrelated changes of the configuration a second.
    pub(crate) churn: u32,
    /// Established connections.
    pub(crate) flows: u32,
}

impl Point {
    /// The packets of this point.
    pub(crate) fn traffic(&self, amount: &Amount) -> Traffic {
        let flows = self.connections(amount);
        Traffic::new(self.case, self.family, flows, self.services, self.policies)
    }

    /// Connections that there are in the end.
    pub(crate) fn connections(&self, amount: &Amount) -> u32 {
        let fresh = if self.case.is_new_each_time() { amount.fresh } else { 0 };
        self.flows + fresh
    }

    /// What caches have to remember: an entry for each direction in which packets come.
    pub(crate) fn entries(&self) -> u32 {
        self.flows * if self.case == Case::ServiceReply { 2 } else { 1 }
    }

    /// What it has in common with points that differ in flows only, for people.
    pub(crate) fn group(&self) -> String {
        let mut text = format!(
            "{}, {}, {}, {}",
            self.case.steps(),
            self.size,
            self.family.name(),
            many(self.workers, "worker", "workers")
        );
        if self.services != 1 || self.policies != 1 {
            let services = many(self.services, "service", "services");
            text += &format!(", {services}, {}", many(self.policies, "policy", "policies"));
        }
        if self.churn > 0 {
            text += &format!(", {} changes/s", exact(self.churn.into()));
        }
        text
    }
}

/// The name in JSON and messages: stable, and different for different points.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = match self.size {
            FrameSize::Bytes(bytes) => bytes.to_string(),
            FrameSize::Imix => "imix".into(),
        };
        write!(
            f,
            "pipeline/{}/{}/{size}",
            self.case.name(),
            self.family.name().to_lowercase()
        )?;
        write!(f, "/flows={}", self.flows)?;
        for (name, value, usual) in [
            ("workers", self.workers, 1),
            ("services", self.services, 1),
            ("policies", self.policies, 1),
            ("churn", self.churn, 0),
        ] {
            if value != usual {
                write!(f, "/{name}={value}")?;
            }
        }
        Ok(())
    }
}

/// `1 worker`, `2 workers`.
pub(crate) fn many(count: u32, one: &str, more: &str) -> String {
    format!("{} {}", exact(count.into()), if count == 1 { one } else { more })
}
