//! Decides which source ports a masqueraded connection may try, in which order. It never knows which are in use: a port serves
//! many destinations, and whether the reply's tuple is free only the connection table can say.

use core::fmt;
use core::str::FromStr;
use core::sync::atomic::{AtomicU64, Ordering};
use sluice_wire::Tuple;

use crate::weights::gcd;

/// Most ports tried after the connection's own. With nine in ten taken towards one destination, all tries fail once in 10^5
/// connections.
const TRIES: usize = 128;

/// Ports from `first` to `last`, both included; empty when `first` is above `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// Lowest port.
    pub first: u16,
    /// Highest port.
    pub last: u16,
}

impl PortRange {
    /// Whether `port` lies in the range.
    pub const fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Text that is no port range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRangeError(String);

impl fmt::Display for PortRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no port range: use two ports from 1 to 65535, the lower one first, like 40000-65535",
            self.0
        )
    }
}

impl core::error::Error for PortRangeError {}

impl FromStr for PortRange {
    type Err = PortRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (first, last) = text.split_once('-')?;
            let range = Self {
                first: first.trim().parse().ok()?,
                last: last.trim().parse().ok()?,
            };
            (0 < range.first && range.first <= range.last).then_some(range)
        };
        parse().ok_or_else(|| PortRangeError(text.to_owned()))
    }
}

/// A set of ports as one bit each, 8 KiB.
#[derive(Clone, PartialEq, Eq)]
pub struct PortSet {
    words: Box<[u64; 1024]>,
}

impl PortSet {
    /// The empty set.
    pub fn new() -> Self {
        Self {
            words: Box::new([0; 1024]),
        }
    }

    /// Adds a port.
    pub fn insert(&mut self, port: u16) {
        self.words[usize::from(port / 64)] |= 1 << (port % 64);
    }

    /// Takes a port out.
    pub fn remove(&mut self, port: u16) {
        self.words[usize::from(port / 64)] &= !(1 << (port % 64));
    }

    /// Whether the port is in the set.
    pub fn contains(&self, port: u16) -> bool {
        self.words[usize::from(port / 64)] >> (port % 64) & 1 != 0
    }

    /// Number of ports in the set.
    pub fn len(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether no port is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&w| w == 0)
    }

    /// The ports in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..=u16::MAX).filter(|&port| self.contains(port))
    }
}

impl Default for PortSet {
    fn default() -> Self {
        Self::new()
    }
}

impl From<PortRange> for PortSet {
    fn from(range: PortRange) -> Self {
        (range.first..=range.last).collect()
    }
}

impl FromIterator<u16> for PortSet {
    fn from_iter<I: IntoIterator<Item = u16>>(ports: I) -> Self {
        let mut set = Self::new();
        for port in ports {
            set.insert(port);
        }
        set
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortSet({} ports)", self.len())
    }
}

/// The source ports that this node may own for masquerading. Each can be given up and taken back while workers choose.
pub struct SnatPorts {
    list: Box<[u16]>,
    owned: Box<[AtomicU64; 1024]>,
}

impl SnatPorts {
    /// Masquerading with these ports; port 0 is no port and left out.
    pub fn new(mut ports: PortSet) -> Self {
        ports.remove(0);
        Self {
            list: ports.iter().collect(),
            owned: Box::new(ports.words.map(AtomicU64::new)),
        }
    }

    /// All ports that can be owned.
    pub fn all(&self) -> PortSet {
        self.list.iter().copied().collect()
    }

    /// Gives a port up, or takes it back: from now on no connection, or any, may be masqueraded to it. A port that was not among
    /// the first is never owned.
    pub fn own(&self, port: u16, on: bool) {
        let (word, mask) = (&self.owned[usize::from(port / 64)], 1 << (port % 64));
        if !on {
            word.fetch_and(!mask, Ordering::Relaxed);
        } else if self.list.binary_search(&port).is_ok() {
            word.fetch_or(mask, Ordering::Relaxed);
        }
    }

    /// Number of ports that can be owned.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nothing can be masqueraded.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether replies to this port are ours.
    pub fn owns(&self, port: u16) -> bool {
        self.owned[usize::from(port / 64)].load(Ordering::Relaxed) >> (port % 64) & 1 != 0
    }

    /// Ports to try for a connection, none twice: its own source port if that is owned, then up to 128 others, spread over all owned
    /// ports from a place that only `entropy` (64 random bits) tells (RFC 6056). Take the first whose reply tuple is free.
    pub fn candidates(&self, tuple: &Tuple, entropy: u64) -> impl Iterator<Item = u16> + '_ {
        let kept = Some(tuple.sport).filter(|&port| self.owns(port));
        let count = self.list.len() as u64;
        let (start, step) = walk(tuple.stable_hash() ^ entropy, count);
        let others = (0..count).map(move |i| self.list[((start + i * step) % count) as usize]);
        kept.into_iter().chain(
            others
                .filter(move |&port| Some(port) != kept && self.owns(port))
                .take(TRIES),
        )
    }
}

impl fmt::Debug for SnatPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnatPorts({} ports)", self.len())
    }
}

/// Start and step of a walk that meets each of `count` places once.
fn walk(random: u64, count: u64) -> (u64, u64) {
    let (high, low) = (random >> 32, random & 0xffff_ffff);
    let start = high.checked_rem(count).unwrap_or(0);
    let wish = low.checked_rem(count).unwrap_or(0).max(1);
    let step = (1..=wish).rev().find(|&step| gcd(step, count) == 1).unwrap_or(1);
    (start, step)
}
