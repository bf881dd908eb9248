//! The key of a flow as it lies on the wire, in words: what is compared and hashed for every packet. It never decides anything by them.

use crate::{Addr, FlowKey, Proto, Scope, Tuple};
use core::hash::{Hash, Hasher};

/// A [`FlowKey`] in words of memory order. Two are equal when their keys are.
#[derive(Clone, Copy, Debug)]
pub struct FlowWords {
    /// Source and destination address as an IPv6 header has them, or those of IPv4 in the first, and then anything in the others.
    pub ends: [u64; 4],
    /// Source and destination port.
    pub ports: u32,
    /// Ingress.
    pub scope: Scope,
    /// Protocol; [`V6`] is set of IPv6.
    pub what: u16,
}

const V6: u16 = 1 << 8;

impl PartialEq for FlowWords {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let ([a, b, c, d], [e, f, g, h]) = (self.ends, other.ends);
        let short = (a ^ e) | u64::from((self.ports ^ other.ports) | u32::from(self.what ^ other.what));
        let same = short == 0 && self.scope == other.scope;
        same && (!self.is_v6() || (b ^ f) | (c ^ g) | (d ^ h) == 0)
    }
}

impl Eq for FlowWords {}

impl Hash for FlowWords {
    #[inline(always)]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.ends[0]);
        if self.is_v6() {
            state.write_u64(self.ends[1]);
            state.write_u64(self.ends[2]);
            state.write_u64(self.ends[3]);
        }
        // Protocols and scopes that meet in the same bits share a set of the cache, and no more.
        let rest = u64::from(self.scope.get()) ^ u64::from(self.what) << 22;
        state.write_u64(u64::from(self.ports) << 32 ^ rest);
    }
}

impl FlowWords {
    /// Of no flow.
    pub const NONE: Self = Self {
        ends: [0; 4],
        ports: 0,
        scope: Scope::of(0),
        what: 0,
    };

    /// Protocol and family, as [`Self::what`] has them.
    #[inline(always)]
    pub(crate) const fn what_of(proto: u8, v6: bool) -> u16 {
        proto as u16 | if v6 { V6 } else { 0 }
    }

    /// Whether it is IPv6.
    #[inline(always)]
    pub const fn is_v6(&self) -> bool {
        self.what & V6 != 0
    }

    /// Whether it is UDP.
    #[inline(always)]
    pub const fn is_udp(&self) -> bool {
        self.what as u8 == Proto::UDP.0
    }

    /// Whether an address of IPv6 is a mapped one of IPv4.
    #[inline(always)]
    pub(crate) fn has_mapped(&self) -> bool {
        let mapped = |high: u64, low: u64| high == 0 && u64::from_be(low) >> 32 == 0xffff;
        let [a, b, c, d] = self.ends;
        self.is_v6() && (mapped(a, b) || mapped(c, d))
    }

    /// Destination port, host order.
    #[inline(always)]
    pub const fn dport(&self) -> u16 {
        let [_, _, a, b] = self.ports.to_ne_bytes();
        u16::from_be_bytes([a, b])
    }

    /// The same as a key.
    pub fn key(&self) -> FlowKey {
        let [a, b, c, d] = self.ends.map(u64::from_be);
        let v6 = |high: u64, low: u64| Addr::v6((u128::from(high) << 64 | u128::from(low)).to_be_bytes());
        let (src, dst) = match self.is_v6() {
            true => (v6(a, b), v6(c, d)),
            false => (
                Addr::v4(((a >> 32) as u32).to_be_bytes()),
                Addr::v4((a as u32).to_be_bytes()),
            ),
        };
        let [e, f, ..] = self.ports.to_ne_bytes();
        let tuple = Tuple {
            src,
            dst,
            sport: u16::from_be_bytes([e, f]),
            dport: self.dport(),
            proto: Proto(self.what as u8),
        };
        FlowKey {
            tuple,
            scope: self.scope,
        }
    }
}

impl From<&FlowKey> for FlowWords {
    fn from(key: &FlowKey) -> Self {
        let Tuple {
            src,
            dst,
            sport,
            dport,
            proto,
        } = key.tuple;
        let v6 = !src.is_v4();
        let ends = if v6 {
            let high = |addr: Addr| ((addr.bits() >> 64) as u64).to_be();
            let low = |addr: Addr| (addr.bits() as u64).to_be();
            [high(src), low(src), high(dst), low(dst)]
        } else {
            let [a, b, c, d] = src.v4_octets();
            let [e, f, g, h] = dst.v4_octets();
            [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), 0, 0, 0]
        };
        let ([a, b], [c, d]) = (sport.to_be_bytes(), dport.to_be_bytes());
        Self {
            ends,
            ports: u32::from_ne_bytes([a, b, c, d]),
            scope: key.scope,
            what: Self::what_of(proto.0, v6),
        }
    }
}
