//! Decides which addresses and ports a text stands for: one, a range, or a prefix. It never holds them all, only where they begin and how
//! many there are.

use anyhow::{Result, ensure};
use ipnet::IpNet;
use sluice_wire::Addr;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Addresses in a row, which differ in their last 32 bits only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    first: Addr,
    count: u64,
}

/// All that 32 bits can tell apart.
const MOST: u64 = 1 << 32;

impl Addresses {
    /// From `first` to `last`, both included.
    pub(crate) fn between(first: Addr, last: Addr) -> Result<Self> {
        ensure!(
            first.is_v4() == last.is_v4(),
            "{first} and {last} are of different families"
        );
        let (begin, end) = (number(first), number(last));
        ensure!(
            begin <= end,
            "{first} comes behind {last}; write the range the other way round"
        );
        ensure!(
            begin >> 32 == end >> 32,
            "{first} and {last} differ in more than their last 32 bits; take a smaller range"
        );
        Ok(Self {
            first,
            count: (end - begin + 1) as u64,
        })
    }

    pub(crate) fn one(addr: Addr) -> Self {
        Self { first: addr, count: 1 }
    }

    pub(crate) fn is_v4(&self) -> bool {
        self.first.is_v4()
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The first, whose leading bits all share.
    pub(crate) fn first(&self) -> Addr {
        self.first
    }

    /// Last 32 bits of the `n`-th.
    pub(crate) fn low(&self, n: u64) -> u32 {
        (number(self.first) as u64 + n) as u32
    }
}

fn number(addr: Addr) -> u128 {
    u128::from_be_bytes(addr.octets())
}

impl FromStr for Addresses {
    type Err = String;

    /// `10.0.0.1`, `10.0.0.1-10.0.0.9`, `10.0.0.0/24` (its hosts), and the same with IPv6.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |_| {
            format!("`{text}` is no address, range or prefix; want one like 10.0.0.1, 10.0.0.1-10.0.0.9 or 10.0.0.0/24")
        };
        let addr = |text: &str| text.trim().parse::<IpAddr>().map(Addr::from).map_err(|_| wrong(()));
        if let Some((first, last)) = text.split_once('-') {
            return Self::between(addr(first)?, addr(last)?).map_err(|err| err.to_string());
        }
        if !text.contains('/') {
            return addr(text).map(Self::one);
        }
        let net: IpNet = text.trim().parse().map_err(|_| wrong(()))?;
        let hosts = net.max_prefix_len() - net.prefix_len();
        let first = match net {
            // The network's own address and broadcast are no hosts' (RFC 1122), but of the two shortest prefixes.
            IpNet::V4(net) if hosts > 1 => Addr::v4((net.network().to_bits() + 1).to_be_bytes()),
            _ => Addr::from(net.network()),
        };
        let count = match net {
            IpNet::V4(_) if hosts > 1 => (1u64 << hosts) - 2,
            _ => 1u64.checked_shl(hosts.into()).unwrap_or(MOST).min(MOST),
        };
        Ok(Self { first, count })
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => write!(f, "{}", self.first),
            count => write!(f, "{} and {} more", self.first, count - 1),
        }
    }
}

/// Ports in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

impl Ports {
    pub(crate) fn count(&self) -> u64 {
        u64::from(self.last - self.first) + 1
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(format!(
                "`{text}` is no port or range of ports; want one like 9 or 1024-65535"
            )),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_the_text_says() {
        let ends = |text: &str| {
            let range: Addresses = text.parse().unwrap();
            (range.first().to_string(), range.count(), range.low(range.count() - 1))
        };
        assert_eq!(ends("10.0.0.7"), ("10.0.0.7".into(), 1, 0x0a00_0007));
        assert_eq!(ends("10.0.0.7-10.0.1.2"), ("10.0.0.7".into(), 252, 0x0a00_0102));
        assert_eq!(ends("10.0.0.9/24"), ("10.0.0.1".into(), 254, 0x0a00_00fe));
        assert_eq!(ends("10.0.0.9/31"), ("10.0.0.8".into(), 2, 0x0a00_0009));
        assert_eq!(ends("0.0.0.0/0").1, MOST - 2);
        assert_eq!(ends("fd00::/120"), ("fd00::".into(), 256, 0xff));
        assert_eq!(ends("fd00::/48"), ("fd00::".into(), MOST, u32::MAX));
    }

    #[test]
    fn what_is_no_range_is_refused_with_what_is_wanted() {
        for (text, said) in [
            ("ten", "no address"),
            ("10.0.0.9-10.0.0.1", "the other way round"),
            ("10.0.0.1-fd00::1", "different families"),
            ("fd00::1-fd01::1", "smaller range"),
            ("10.0.0.0/33", "no address"),
        ] {
            let err = text.parse::<Addresses>().unwrap_err();
            assert!(err.contains(said), "{text}: {err}");
        }
        for text in ["0", "9-8", "65536", "-", "a-b"] {
            assert!(text.parse::<Ports>().unwrap_err().contains("1024-65535"), "{text}");
        }
        assert_eq!("8-10".parse::<Ports>().unwrap().count(), 3);
        assert_eq!("1-65535".parse::<Ports>().unwrap().count(), 65_535);
    }
}
