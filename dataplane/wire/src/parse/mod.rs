//! Decides what a frame is: its tuple, kind and offsets. It never changes a byte, and never reads one it has not checked for.

mod glance;
mod ipv4;
mod ipv6;
mod plain;
mod quoted;
mod transport;

pub use glance::{Claim, Glance};
pub use plain::Plain;
pub use quoted::{Quoted, parse_quoted};

use crate::arp::{self, Arp};
use crate::{DropReason, Tuple};

/// Bytes of an untagged Ethernet header.
pub const ETH_LEN: usize = 14;
/// Longest IP packet, headers included: also that of a super-frame.
pub const MAX_IP_LEN: usize = 65535;

/// Values of the Ethernet type field (IEEE 802 numbers).
pub mod ethertype {
    /// RFC 894.
    pub const IPV4: u16 = 0x0800;
    /// RFC 826.
    pub const ARP: u16 = 0x0806;
    /// RFC 2464.
    pub const IPV6: u16 = 0x86dd;
    /// A VLAN or priority tag follows (IEEE 802.1Q).
    pub const VLAN: u16 = 0x8100;
    /// A service provider's tag follows (IEEE 802.1ad).
    pub const SERVICE_VLAN: u16 = 0x88a8;
    /// Smaller values are the length of an LLC frame (IEEE 802.3).
    pub const SMALLEST: u16 = 0x0600;
}

/// Bits of [`Parsed::tcp_flags`] (RFC 9293 section 3.1, RFC 3168 section 6.1).
pub mod tcp_flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment field is significant.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is significant.
    pub const URG: u8 = 0x20;
    /// ECN echo.
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced.
    pub const CWR: u8 = 0x80;
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// IPv4 or IPv6.
    Ip(Parsed),
    /// ARP for Ethernet and IPv4.
    Arp(Arp),
}

/// What the transport part of a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP or ICMPv6 echo request.
    EchoRequest,
    /// ICMP or ICMPv6 echo reply.
    EchoReply,
    /// An ICMP or ICMPv6 error message, and where the IP header that it quotes begins.
    IcmpError {
        /// Offset of the quoted IP header from the frame's first byte. [`parse_quoted`] judges what is there.
        quoted: u16,
    },
    /// Neighbour discovery (RFC 4861), with its ICMPv6 type, 133 to 137.
    Ndp(u8),
    /// Any other ICMP or ICMPv6 message.
    OtherIcmp,
    /// Another protocol, or a fragment that is not the first.
    Other,
}

/// What was found in an IP packet. Every offset counts from the frame's first byte and lies within the frame that was parsed:
/// `l3 < l4 <= payload <= end <= frame length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Addresses, protocol and ports. Ports are 0 in fragments that are not the first.
    pub tuple: Tuple,
    /// End of the IP packet; the frame may have padding behind it.
    pub end: u32,
    /// The IP header.
    pub l3: u16,
    /// The transport header, behind IPv4 options and IPv6 extension headers.
    pub l4: u16,
    /// What follows the transport header.
    pub payload: u16,
    /// What the transport part is.
    pub kind: Kind,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class: DSCP in the upper six bits, ECN in the lower two.
    pub tos: u8,
    /// TCP flags, see [`tcp_flags`]; 0 for anything but TCP.
    pub tcp_flags: u8,
    /// IPv6.
    pub v6: bool,
    /// IPv4 options or an IPv6 extension header are present.
    pub ip_options: bool,
    /// A fragment, the first included.
    pub fragment: bool,
    /// Routers must not fragment it: IPv4 with DF, or IPv6.
    pub dont_fragment: bool,
}

/// The place of a fragment in its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Identification: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// Bytes of the original packet's payload before this one's.
    pub offset: u16,
    /// Others follow.
    pub more: bool,
}

impl Parsed {
    /// Which fragment this is, read from the `frame` that was parsed; `None` when it is a whole packet.
    pub fn fragment_place(&self, frame: &[u8]) -> Option<Fragment> {
        let packet = frame
            .get(usize::from(self.l3)..self.end as usize)
            .filter(|_| self.fragment)?;
        if self.v6 {
            ipv6::walk(packet).ok()?.fragment
        } else {
            ipv4::fragment(packet.first_chunk()?)
        }
    }

    /// Bytes of the original packet's payload in this fragment: in IPv6 all that follows the fragment header, further
    /// extension headers among it.
    pub fn fragment_len(&self, frame: &[u8]) -> usize {
        let (l3, end) = (usize::from(self.l3), self.end as usize);
        let walk = frame.get(l3..end).filter(|_| self.v6).and_then(|p| ipv6::walk(p).ok());
        end - walk.map_or(usize::from(self.l4), |walk| l3 + walk.divided)
    }
}

/// Parses an untagged Ethernet frame (a tagged one is [`DropReason::VlanTagged`], whatever its tag says).
///
/// The IPv4 header checksum is verified, the transport's is not: see [`crate::checksum::verify_transport`].
#[inline]
pub fn parse(frame: &[u8]) -> Result<Packet, DropReason> {
    let Some((ethernet, rest)) = frame.split_first_chunk::<ETH_LEN>() else {
        return Err(DropReason::EthTruncated);
    };
    match u16::from_be_bytes([ethernet[12], ethernet[13]]) {
        ethertype::ARP => arp::view(rest).map(Packet::Arp),
        other => parse_ip(frame, ETH_LEN, other).map(Packet::Ip),
    }
}

/// Parses the IP packet at `l3` in `frame`, of the family that the Ethernet type names.
#[inline]
pub fn parse_ip(frame: &[u8], l3: usize, ethertype: u16) -> Result<Parsed, DropReason> {
    match ethertype {
        ethertype::IPV4 => ipv4::parse(frame, l3),
        ethertype::IPV6 => ipv6::parse(frame, l3),
        ethertype::VLAN | ethertype::SERVICE_VLAN => Err(DropReason::VlanTagged),
        0..ethertype::SMALLEST => Err(DropReason::LlcFrame),
        _ => Err(DropReason::EtherTypeUnknown),
    }
}
