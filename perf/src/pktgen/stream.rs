//! Decides what is sent: how many flows between which addresses and ports, how long frames are, and whether a tunnel is around them. It
//! never writes a frame.

use super::ranges::{Addresses, Ports};
use crate::world::addresses::Family;
use anyhow::{Result, anyhow, bail, ensure};
use sluice_wire::{Addr, ETH_LEN, MacAddr};
use std::fmt;
use std::str::FromStr;

/// Bytes at a frame's end that are counted (RFC 2544 section 9.1) and never seen: the frame check sequence.
pub(super) const FCS: usize = 4;
/// Longest frame, FCS included: what one chunk of frame memory holds, with a tunnel's headers around it.
pub(super) const LONGEST: u16 = 3500;
/// Most flows: 16 bytes each are kept.
pub(super) const MOST_FLOWS: u32 = 64_000_000;

/// Packets of some flows, all UDP.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) flows: u32,
    pub(crate) size: Size,
    pub(crate) src: Party,
    pub(crate) dst: Party,
    pub(crate) macs: Macs,
    pub(crate) vxlan: Option<Vxlan>,
    /// Decides which flows there are, in which order they come, and in which order the sizes of a mix.
    pub(crate) seed: u64,
}

/// One side of the flows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Party {
    pub(crate) addresses: Addresses,
    pub(crate) ports: Ports,
}

/// Ethernet addresses; what is not given is asked of the interface and its neighbours.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Macs {
    pub(crate) src: Option<MacAddr>,
    pub(crate) dst: Option<MacAddr>,
}

/// A tunnel around each packet (RFC 7348).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vxlan {
    pub(crate) vni: u32,
    /// Ends of the tunnel.
    pub(crate) src: Addr,
    pub(crate) dst: Addr,
    pub(crate) port: u16,
    /// Ethernet addresses inside, source and destination.
    pub(crate) macs: (MacAddr, MacAddr),
}

/// Length of frames as RFC 2544 counts them: with the frame check sequence, so 4 bytes more than lie in memory. Of a packet in a tunnel
/// it is the inner frame's, as it was before the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Bytes(u16),
    /// Of twelve frames seven have 64 bytes (or as few as IPv6 needs), four 594 and one 1518.
    Imix,
}

/// Sizes of the mix, and how many of twelve frames have each.
const IMIX: [(u16, usize); 3] = [(64, 7), (594, 4), (1518, 1)];

impl Size {
    /// Bytes in memory of each size there is, and how many frames of a round have it.
    pub(super) fn classes(self, family: Family) -> Result<Vec<(usize, usize)>> {
        let least = shortest(family);
        Ok(match self {
            Self::Bytes(bytes) => {
                ensure!(
                    bytes >= least,
                    "frames of {bytes} bytes hold no {} packet with its number and time: {least} are the fewest (--size)",
                    family.name()
                );
                vec![(usize::from(bytes) - FCS, 1)]
            }
            Self::Imix => IMIX
                .map(|(bytes, share)| (usize::from(bytes.max(least)) - FCS, share))
                .to_vec(),
        })
    }
}

/// Shortest frame, FCS included, that holds what the receiver must know.
fn shortest(family: Family) -> u16 {
    (ETH_LEN + network(family) + 8 + super::payload::LEN + FCS) as u16
}

/// Bytes of the IP header.
pub(super) fn network(family: Family) -> usize {
    match family {
        Family::V4 => 20,
        Family::V6 => 40,
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("imix") {
            return Ok(Self::Imix);
        }
        let bytes = text.parse().ok().filter(|n| (64..=LONGEST).contains(n));
        bytes
            .map(Self::Bytes)
            .ok_or_else(|| format!("want bytes from 64 to {LONGEST}, frame check sequence included, or imix"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes} B"),
            Self::Imix => f.write_str("IMIX"),
        }
    }
}

impl Stream {
    /// Which IP the packets are made of.
    pub(crate) fn family(&self) -> Family {
        if self.dst.addresses.is_v4() {
            Family::V4
        } else {
            Family::V6
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        ensure!(
            self.src.addresses.is_v4() == self.dst.addresses.is_v4(),
            "sources are {} and destinations {}: want one family (--src, --dst)",
            self.src.addresses,
            self.dst.addresses
        );
        ensure!(
            (1..=MOST_FLOWS).contains(&self.flows),
            "{} flows; want 1 to {MOST_FLOWS} (--flows)",
            self.flows
        );
        if self.combinations() < u128::from(self.flows) {
            bail!(
                "{} flows need as many combinations of addresses and ports, and there are {}: widen --src, --dst or their ports",
                self.flows,
                self.combinations()
            );
        }
        self.size.classes(self.family())?;
        match self.vxlan {
            Some(vxlan) if vxlan.src.is_v4() != vxlan.dst.is_v4() => Err(anyhow!(
                "the tunnel's ends {} and {} are of different families (--vxlan)",
                vxlan.src,
                vxlan.dst
            )),
            _ => Ok(()),
        }
    }

    /// Flows that addresses and ports can tell apart.
    pub(super) fn combinations(&self) -> u128 {
        [self.src, self.dst]
            .map(|party| u128::from(party.addresses.count()) * u128::from(party.ports.count()))
            .iter()
            .product()
    }

    /// Where the first frame goes, as the link sees it.
    pub(super) fn next_hop_of(&self) -> Addr {
        self.vxlan.map_or(self.dst.addresses.first(), |vxlan| vxlan.dst)
    }
}

impl FromStr for Vxlan {
    type Err = String;

    /// `vni=1,src=192.0.2.1,dst=192.0.2.2`, and where they are not 8472 and local ones `port=4789,src-mac=..,dst-mac=..`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut vni, mut src, mut dst, mut port) = (None, None, None, 8472);
        let mut macs = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        for part in text.split(',') {
            let wrong = |why: &str| {
                format!(
                    "`{part}`: {why}; want vni=1,src=ADDRESS,dst=ADDRESS and perhaps port=4789,src-mac=MAC,dst-mac=MAC"
                )
            };
            let (name, value) = part.split_once('=').ok_or_else(|| wrong("no such part"))?;
            let addr = || {
                value
                    .parse::<std::net::IpAddr>()
                    .map(Addr::from)
                    .map_err(|_| wrong("no address"))
            };
            let number = || {
                let number = value.parse().ok().filter(|n| *n < 1 << 24);
                number.ok_or_else(|| wrong("no number below 16777216"))
            };
            match name {
                "vni" => vni = Some(number()?),
                "src" => src = Some(addr()?),
                "dst" => dst = Some(addr()?),
                "port" => port = value.parse().map_err(|_| wrong("no port"))?,
                "src-mac" => macs.0 = value.parse().map_err(wrong)?,
                "dst-mac" => macs.1 = value.parse().map_err(wrong)?,
                _ => return Err(wrong("no such part")),
            }
        }
        let missing = |what: &str| format!("`{text}` says no {what}; want vni=1,src=ADDRESS,dst=ADDRESS");
        Ok(Self {
            vni: vni.ok_or_else(|| missing("vni"))?,
            src: src.ok_or_else(|| missing("src"))?,
            dst: dst.ok_or_else(|| missing("dst"))?,
            port,
            macs,
        })
    }
}
