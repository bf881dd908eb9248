//! Decides which addresses a prefix covers. It never mixes the families: `::/0` covers no IPv4 address.

use core::fmt;

use sluice_wire::Addr;

/// An address prefix whose length fits its family; bits behind the prefix are cleared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    base: Addr,
    len: u8,
}

impl Cidr {
    /// `None` when `len` is above 32 (IPv4) or 128 (IPv6). A mapped IPv4 address (`::ffff:0:0/96`) counts as IPv4.
    pub fn new(addr: Addr, len: u8) -> Option<Self> {
        let width = if addr.is_v4() { 32 } else { 128 };
        let skip = 128 - width;
        if u32::from(len) > width {
            return None;
        }
        let bits = addr.bits() & !host_mask(skip + u32::from(len));
        Some(Self {
            base: Addr::v6(bits.to_be_bytes()),
            len,
        })
    }

    /// The first address.
    pub fn base(self) -> Addr {
        self.base
    }

    /// Length of the prefix in bits, counted within the family.
    pub fn prefix_len(self) -> u8 {
        self.len
    }

    /// Whether `addr` is of this family and inside the prefix.
    pub fn contains(self, addr: Addr) -> bool {
        addr.is_v4() == self.base.is_v4() && Self::new(addr, self.len).is_some_and(|of| of == self)
    }

    /// First and last address as numbers, for an IPv4 prefix.
    pub(crate) fn range_v4(self) -> Option<(u32, u32)> {
        let first = u32::from_be_bytes(self.base.v4_octets());
        let host = u32::MAX.checked_shr(u32::from(self.len)).unwrap_or(0);
        self.base.is_v4().then_some((first, first | host))
    }

    /// First and last address as numbers, for an IPv6 prefix.
    pub(crate) fn range_v6(self) -> Option<(u128, u128)> {
        let first = self.base.bits();
        (!self.base.is_v4()).then_some((first, first | host_mask(u32::from(self.len))))
    }
}

/// The bits of a 128-bit address that follow a prefix of `len` bits.
fn host_mask(len: u32) -> u128 {
    u128::MAX.checked_shr(len).unwrap_or(0)
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.len)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn addr(text: &str) -> Addr {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn lengths_are_checked_against_the_family_and_host_bits_are_cleared() {
        assert_eq!(Cidr::new(addr("10.1.2.3"), 33), None);
        assert_eq!(Cidr::new(addr("fd00::1"), 129), None);
        assert_eq!(Cidr::new(addr("::ffff:10.0.0.0"), 104), None);
        assert_eq!(Cidr::new(addr("10.1.2.3"), 8).unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(Cidr::new(addr("fd00:1::1"), 16).unwrap().to_string(), "fd00::/16");
        assert_eq!(
            Cidr::new(addr("10.1.2.3"), 32).unwrap().range_v4(),
            Some((0x0a01_0203, 0x0a01_0203))
        );
        assert_eq!(Cidr::new(addr("1.2.3.4"), 0).unwrap().range_v4(), Some((0, u32::MAX)));
        assert_eq!(Cidr::new(addr("::"), 0).unwrap().range_v6(), Some((0, u128::MAX)));
    }

    #[test]
    fn a_prefix_covers_its_first_and_last_address_and_neither_neighbour_nor_family() {
        let block = Cidr::new(addr("10.1.0.0"), 16).unwrap();
        let covered = ["10.0.255.255", "10.1.0.0", "10.1.255.255", "10.2.0.0"].map(|a| block.contains(addr(a)));
        assert_eq!(covered, [false, true, true, false]);
        assert!(!Cidr::new(addr("::"), 0).unwrap().contains(addr("10.1.0.0")));
        assert!(!Cidr::new(addr("0.0.0.0"), 0).unwrap().contains(addr("::1")));
    }
}
