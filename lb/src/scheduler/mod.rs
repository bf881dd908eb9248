//! Decides between the endpoints of one service. It never changes anything but whose turn it is: connections are counted
//! by the commit of whoever wins the creation race.

mod lc;
mod mh;
mod random;
mod rr;
mod sh;
mod wrr;

use crate::{Endpoint, Runtime, ServiceSlot};
use core::fmt;
use core::str::FromStr;
use sluice_wire::Tuple;

/// What a pick may depend on besides the endpoints.
#[derive(Clone, Copy, Debug)]
pub struct PickContext {
    /// The service port that is asked for.
    pub service: ServiceSlot,
    /// From the client to the service, before any rewrite.
    pub tuple: Tuple,
    /// Nanoseconds since the process's origin of time.
    pub now_ns: u64,
    /// 64 uniform random bits, fresh for each connection.
    pub entropy: u64,
}

/// A way to choose an endpoint for a new connection.
pub trait Scheduler: Send + Sync {
    /// Index of the chosen endpoint; `None` when none has a weight above 0. `endpoints` must be the list that the
    /// scheduler was built for. Schedulers by turns take a turn; there is no other side effect.
    fn pick(&self, ctx: &PickContext, endpoints: &[Endpoint], runtime: &Runtime) -> Option<usize>;
}

/// Names of the schedulers, as IPVS has them where it has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SchedulerKind {
    /// Each in turn, whatever its weight.
    Rr,
    /// In turn, as often as its weight says.
    Wrr,
    /// Fewest connections relative to weight.
    Lc,
    /// By the client's address.
    Sh,
    /// Maglev: by the client's tuple, consistent between nodes and over changes of the endpoints.
    Mh,
    /// At random, by weight; what kube-proxy's iptables and nftables modes do.
    #[default]
    Random,
}

impl SchedulerKind {
    /// All kinds, in the order they are listed to people.
    pub const ALL: [Self; 6] = [Self::Rr, Self::Wrr, Self::Lc, Self::Sh, Self::Mh, Self::Random];

    /// The name used in configuration and output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Sh => "sh",
            Self::Mh => "mh",
            Self::Random => "random",
        }
    }

    /// Builds the scheduler with all its tables for these endpoints.
    pub fn build(self, endpoints: &[Endpoint]) -> Box<dyn Scheduler> {
        match self {
            Self::Rr => Box::new(rr::RoundRobin),
            Self::Wrr => Box::new(wrr::WeightedRoundRobin::new(endpoints)),
            Self::Lc => Box::new(lc::LeastConnection),
            Self::Sh => Box::new(sh::SourceHash::new(endpoints)),
            Self::Mh => Box::new(mh::MaglevHash::new(endpoints)),
            Self::Random => Box::new(random::Random::new(endpoints)),
        }
    }
}

/// Takes the service's next turn. It is taken here, not when the connection exists: workers that pick at once must not get the
/// same turn, and a client that may not talk to one endpoint must get to the next one with its next attempt. A service
/// outside the runtime table has no cursor and takes turns at random.
fn turn(ctx: &PickContext, runtime: &Runtime) -> u64 {
    runtime.take_turn(ctx.service).unwrap_or(ctx.entropy)
}

/// Every index once, from the one whose turn it is.
fn rotation(ctx: &PickContext, endpoints: &[Endpoint], runtime: &Runtime) -> impl Iterator<Item = usize> + use<> {
    let count = endpoints.len();
    let first = turn(ctx, runtime).checked_rem(count as u64).unwrap_or(0) as usize;
    (first..count).chain(0..first)
}

impl fmt::Display for SchedulerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for SchedulerKind {
    type Err = UnknownScheduler;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| UnknownScheduler(text.to_owned()))
    }
}

/// A name that is no scheduler's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownScheduler(pub String);

impl fmt::Display for UnknownScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown scheduler {:?}: use one of ", self.0)?;
        for (i, kind) in SchedulerKind::ALL.into_iter().enumerate() {
            write!(f, "{}{kind}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownScheduler {}
