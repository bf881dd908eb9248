//! Decides the headers in front of a datagram that came without them. It never decides who sent it.

use crate::build::Headers;
use crate::checksum::{self, pseudo};
use crate::{Addr, ETH_LEN, MacAddr, Proto};

const UDP_LEN: usize = 8;

/// Bytes of the Ethernet, IP and UDP header.
pub const fn front_len(v4: bool) -> usize {
    ETH_LEN + if v4 { 20 } else { 40 } + UDP_LEN
}

/// Writes the headers of a datagram from `src` to `dst` (each an address and a port) to the front of `frame`, whose payload
/// begins at [`front_len`] and fills the rest, with complete checksums and empty Ethernet addresses.
///
/// False, with the front in an unspecified state, when the families differ, or the packet would be too short or too long.
pub fn write_front(frame: &mut [u8], src: (Addr, u16), dst: (Addr, u16), tos: u8) -> bool {
    let v4 = src.0.is_v4();
    let headers = Headers {
        eth_src: MacAddr::default(),
        eth_dst: MacAddr::default(),
        src: src.0,
        dst: dst.0,
        proto: Proto::UDP,
        tos,
        ttl: 64,
    };
    let len = frame.len().saturating_sub(headers.len());
    let Some((head, datagram)) = frame.split_at_mut_checked(headers.len()) else {
        return false;
    };
    let total = u16::try_from(len + 20);
    let (Ok(total), true, true) = (total, len >= UDP_LEN, dst.0.is_v4() == v4) else {
        return false;
    };
    headers.write_head(head, total);
    datagram[..2].copy_from_slice(&src.1.to_be_bytes());
    datagram[2..4].copy_from_slice(&dst.1.to_be_bytes());
    datagram[4..6].copy_from_slice(&(len as u16).to_be_bytes());
    datagram[6..8].fill(0);
    let sum = checksum::sum(datagram) + pseudo(&src.0, &dst.0, Proto::UDP, len as u32);
    datagram[6..8].copy_from_slice(&sum.udp_checksum().to_be_bytes());
    true
}
