//! What a flow is known by, and the hash that is the same on every node.

use crate::Addr;
use core::hash::{Hash, Hasher};

/// IP protocol number (IANA "Assigned Internet Protocol Numbers").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Proto(pub u8);

impl Proto {
    /// ICMP for IPv4, RFC 792.
    pub const ICMP: Self = Self(1);
    /// RFC 9293.
    pub const TCP: Self = Self(6);
    /// RFC 768.
    pub const UDP: Self = Self(17);
    /// RFC 4443.
    pub const ICMPV6: Self = Self(58);
    /// RFC 9260.
    pub const SCTP: Self = Self(132);
}

/// Addresses, ports and protocol of one direction of a connection.
///
/// For ICMP echo both ports hold the identifier, so that a reply's tuple is the request's with addresses exchanged.
/// Protocols without ports hold 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Source port, host order.
    pub sport: u16,
    /// Destination port, host order.
    pub dport: u16,
    /// Protocol.
    pub proto: Proto,
}

impl Tuple {
    /// The tuple of the opposite direction.
    pub const fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
            proto: self.proto,
        }
    }
}

/// Where a frame came in, as part of a flow's key: a port's incarnation or a tunnel peer's. Never reused while the
/// process lives, so a new pod on an old slot never meets an old pod's flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Scope(u32);

impl Scope {
    const TUNNEL: u32 = 1 << 31;

    /// Scope of the `serial`-th port since start.
    pub const fn port(serial: u32) -> Self {
        Self(serial & !Self::TUNNEL)
    }

    /// Scope of a tunnel peer with this serial number.
    pub const fn tunnel(serial: u32) -> Self {
        Self(serial | Self::TUNNEL)
    }

    /// The scope with the number that [`Self::get`] gave.
    pub const fn of(number: u32) -> Self {
        Self(number)
    }

    /// The number inside, for hashing, records and display.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Key of the flow cache: the tuple and where it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// Addresses, ports, protocol.
    pub tuple: Tuple,
    /// Ingress.
    pub scope: Scope,
}

impl Hash for Tuple {
    #[inline(always)]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.src.hash(state);
        self.dst.hash(state);
        state.write_u64(self.ports());
    }
}

/// A 64-bit hash that is the same on every node and over restarts: Maglev, source hashing and tunnel source ports use
/// it. Tables of this process use a keyed hash instead, because this one can be predicted.
///
/// Each 64-bit word is mixed in by the finalizer of MurmurHash3 (public domain, by Austin Appleby).
pub fn stable_hash(words: &[u64]) -> u64 {
    let mut h = 0x9e37_79b9_7f4a_7c15u64 ^ words.len() as u64;
    for &word in words {
        h ^= word;
        h ^= h >> 33;
        h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
        h ^= h >> 33;
        h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        h ^= h >> 33;
    }
    h
}

impl Tuple {
    #[inline(always)]
    fn ports(&self) -> u64 {
        u64::from(self.sport) << 32 | u64::from(self.dport) << 16 | u64::from(self.proto.0)
    }

    /// [`stable_hash`] over source, destination, ports and protocol. Directed: the reverse tuple hashes differently.
    pub fn stable_hash(&self) -> u64 {
        let words = |addr: &Addr| ((addr.bits() >> 64) as u64, addr.bits() as u64);
        let ((a, b), (c, d)) = (words(&self.src), words(&self.dst));
        stable_hash(&[a, b, c, d, self.ports()])
    }
}
