//! A prefix of either family in one address space.

use core::fmt;
use core::net::IpAddr;
use sluice_wire::Addr;

/// An address block. IPv4 lies in `::ffff:0:0/96`, so `10.0.0.0/8` has 104 bits here; [`Self::family_len`] gives the 8.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    addr: Addr,
    bits: u8,
}

impl Prefix {
    /// The block of `len` bits (0 to 32 or 128, by family) around `addr`; bits behind it are cleared. `None` when `len` is too long.
    pub fn new(addr: Addr, len: u8) -> Option<Self> {
        let bits = match (addr.is_v4(), len) {
            (true, 0..=32) => len + 96,
            (false, 0..=128) => len,
            _ => return None,
        };
        Some(Self {
            addr: mask(addr, bits),
            bits,
        })
    }

    /// The block that holds this address only.
    pub fn host(addr: Addr) -> Self {
        Self { addr, bits: 128 }
    }

    /// Lowest address.
    pub fn base(&self) -> Addr {
        self.addr
    }

    /// Prefix length in the joint address space, 0 to 128.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Prefix length as written: 0 to 32 for IPv4, 0 to 128 for IPv6.
    pub fn family_len(&self) -> u8 {
        if self.is_v4() { self.bits - 96 } else { self.bits }
    }

    /// Whether the block is IPv4.
    pub fn is_v4(&self) -> bool {
        self.bits >= 96 && self.addr.is_v4()
    }

    /// Whether `addr` lies inside. `0.0.0.0/0` and `::/0` hold their own family only.
    pub fn contains(&self, addr: Addr) -> bool {
        self.is_v4() == addr.is_v4() && mask(addr, self.bits) == self.addr
    }

    /// Whether `other` lies inside, or is the same.
    pub fn covers(&self, other: &Self) -> bool {
        self.bits <= other.bits && self.contains(other.addr)
    }
}

/// Prefixes of which none lies inside another, so that an address is looked up in the logarithm of their number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes(Vec<Prefix>);

impl Prefixes {
    /// Whether one of them holds the address.
    pub fn contains(&self, addr: Addr) -> bool {
        // None lies inside another, so it can only be the last one that begins at or before the address.
        let end = self.0.partition_point(|prefix| key(prefix) <= key(&Prefix::host(addr)));
        end.checked_sub(1).is_some_and(|last| self.0[last].contains(addr))
    }
}

/// By family, as `::/0` begins before IPv4 and does not hold it.
fn key(prefix: &Prefix) -> (bool, Prefix) {
    (prefix.is_v4(), *prefix)
}

impl FromIterator<Prefix> for Prefixes {
    /// Those that lie inside of others are left out.
    fn from_iter<I: IntoIterator<Item = Prefix>>(prefixes: I) -> Self {
        let mut all: Vec<Prefix> = prefixes.into_iter().collect();
        all.sort_by_key(key);
        all.dedup_by(|next, kept| kept.covers(next));
        Self(all)
    }
}

impl core::ops::Deref for Prefixes {
    type Target = [Prefix];

    fn deref(&self) -> &[Prefix] {
        &self.0
    }
}

/// `addr` with all but the first `bits` bits cleared.
pub(crate) fn mask(addr: Addr, bits: u8) -> Addr {
    let value = addr.bits();
    let kept = if bits == 0 {
        0
    } else {
        value & (u128::MAX << (128 - u32::from(bits.min(128))))
    };
    Addr::v6(kept.to_be_bytes())
}

impl core::str::FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is no address block; want one like 10.244.1.0/24 or fd00:244:1::/64");
        let (addr, len) = text.split_once('/').ok_or_else(wrong)?;
        let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
        Self::new(addr.into(), len.parse().map_err(|_| wrong())?).ok_or_else(wrong)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.family_len())
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn many_prefixes_agree_with_a_scan(
            blocks in proptest::collection::vec((any::<bool>(), 0u8..4, any::<u8>(), 0u8..=24), 0..24),
            probes in proptest::collection::vec((any::<bool>(), 0u8..4, any::<u8>()), 1..24),
        ) {
            let addr = |v4: bool, a: u8, b: u8| if v4 {
                Addr::v4([10, 0, a, b])
            } else {
                let mut bytes = [0; 16];
                (bytes[0], bytes[14], bytes[15]) = (a, a, b);
                Addr::v6(bytes)
            };
            // The shortest are `0.0.0.0/8` and so on, and `::/0`.
            let block = |(v4, a, b, short): (bool, u8, u8, u8)| {
                let len = if v4 { 32 - short } else if short > 20 { 0 } else { 128 - short };
                Prefix::new(addr(v4, a, b), len).unwrap()
            };
            let all: Vec<Prefix> = blocks.into_iter().map(block).collect();
            let fast: Prefixes = all.iter().copied().collect();
            for (v4, a, b) in probes {
                let probe = addr(v4, a, b);
                prop_assert_eq!(fast.contains(probe), all.iter().any(|prefix| prefix.contains(probe)));
            }
        }
    }

    #[test]
    fn families_do_not_mix() {
        let all4: Prefix = "0.0.0.0/0".parse().unwrap();
        let all6: Prefix = "::/0".parse().unwrap();
        let (a4, a6) = (Addr::v4([10, 0, 0, 1]), Addr::v6([0xfd; 16]));
        assert!(all4.contains(a4) && !all4.contains(a6) && all6.contains(a6) && !all6.contains(a4));
        assert_eq!(all4.to_string(), "0.0.0.0/0");
        assert_eq!("10.244.1.77/24".parse::<Prefix>().unwrap().to_string(), "10.244.1.0/24");
        assert!("10.0.0.0/33".parse::<Prefix>().is_err() && "fd00::/129".parse::<Prefix>().is_err());
        assert!("10.0.0.0".parse::<Prefix>().unwrap_err().contains("10.244.1.0/24"));
    }
}
