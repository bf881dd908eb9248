//! Valid packets, described by a value from which etherparse builds the frame: the frame after any change of ours must be
//! the one that etherparse builds from the changed description.

use etherparse::{IpDscp, IpEcn, IpHeaders, Ipv4Header, Ipv6Header, Ipv6RawExtHeader, PacketBuilder, TcpHeader};
use proptest::prelude::*;
use sluice_wire::{Addr, Packet, Parsed, parse};

pub(crate) const SRC_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const DST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum L4 {
    Tcp,
    Udp,
    EchoRequest,
    EchoReply,
}

#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) v6: bool,
    pub(crate) l4: L4,
    pub(crate) src: [u8; 16],
    pub(crate) dst: [u8; 16],
    pub(crate) sport: u16,
    /// Unused by echo, whose only identifier is `sport`.
    pub(crate) dport: u16,
    pub(crate) seq: u32,
    pub(crate) flags: u8,
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) id: u16,
    /// Words of IPv4 options, or units of a hop-by-hop header.
    pub(crate) options: usize,
    pub(crate) tcp_options: usize,
    pub(crate) payload: Vec<u8>,
    /// Ethernet padding.
    pub(crate) padding: usize,
}

impl Sample {
    /// A plain packet, for tests that change one thing.
    pub(crate) fn plain(v6: bool, l4: L4) -> Self {
        let address = |last| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, last];
        Self {
            v6,
            l4,
            src: address(1),
            dst: address(2),
            sport: 4321,
            dport: 80,
            seq: 1000,
            flags: 0x10,
            ttl: 64,
            tos: 0,
            id: 7,
            options: 0,
            tcp_options: 0,
            payload: b"some payload".to_vec(),
            padding: 0,
        }
    }

    pub(crate) fn src(&self) -> Addr {
        if self.v6 {
            Addr::v6(self.src)
        } else {
            Addr::v4(*self.src.last_chunk().unwrap())
        }
    }

    pub(crate) fn dst(&self) -> Addr {
        if self.v6 {
            Addr::v6(self.dst)
        } else {
            Addr::v4(*self.dst.last_chunk().unwrap())
        }
    }

    fn ip(&self) -> IpHeaders {
        if self.v6 {
            let header = Ipv6Header {
                traffic_class: self.tos,
                hop_limit: self.ttl,
                source: self.src,
                destination: self.dst,
                ..Default::default()
            };
            let mut extensions = etherparse::Ipv6Extensions::default();
            if self.options > 0 {
                // One PadN option (RFC 8200 section 4.2) fills the header.
                let len = self.options * 8 - 2;
                let mut pad = vec![0; len];
                (pad[0], pad[1]) = (1, (len - 2) as u8);
                extensions.hop_by_hop_options =
                    Some(Ipv6RawExtHeader::new_raw(etherparse::ip_number::TCP, &pad).unwrap());
            }
            IpHeaders::Ipv6(header, extensions)
        } else {
            let header = Ipv4Header {
                dscp: IpDscp::try_new(self.tos >> 2).unwrap(),
                ecn: IpEcn::try_new(self.tos & 3).unwrap(),
                identification: self.id,
                time_to_live: self.ttl,
                source: *self.src.last_chunk().unwrap(),
                destination: *self.dst.last_chunk().unwrap(),
                options: vec![1u8; self.options * 4].as_slice().try_into().unwrap(),
                ..Default::default()
            };
            IpHeaders::Ipv4(header, Default::default())
        }
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let builder = PacketBuilder::ethernet2(SRC_MAC, DST_MAC).ip(self.ip());
        match (self.l4, self.v6) {
            (L4::Tcp, _) => {
                let mut tcp = TcpHeader::new(self.sport, self.dport, self.seq, 512);
                let [fin, syn, rst, psh, ack, urg, ece, cwr] = core::array::from_fn(|bit| self.flags >> bit & 1 == 1);
                (tcp.fin, tcp.syn, tcp.rst, tcp.psh, tcp.ack, tcp.urg, tcp.ece, tcp.cwr) =
                    (fin, syn, rst, psh, ack, urg, ece, cwr);
                tcp.acknowledgment_number = 99;
                tcp.set_options_raw(&vec![1; self.tcp_options * 4]).unwrap();
                builder.tcp_header(tcp).write(&mut out, &self.payload).unwrap();
            }
            (L4::Udp, _) => builder
                .udp(self.sport, self.dport)
                .write(&mut out, &self.payload)
                .unwrap(),
            (L4::EchoRequest, false) => builder
                .icmpv4_echo_request(self.sport, 3)
                .write(&mut out, &self.payload)
                .unwrap(),
            (L4::EchoReply, false) => builder
                .icmpv4_echo_reply(self.sport, 3)
                .write(&mut out, &self.payload)
                .unwrap(),
            (L4::EchoRequest, true) => builder
                .icmpv6_echo_request(self.sport, 3)
                .write(&mut out, &self.payload)
                .unwrap(),
            (L4::EchoReply, true) => builder
                .icmpv6_echo_reply(self.sport, 3)
                .write(&mut out, &self.payload)
                .unwrap(),
        }
        out.resize(out.len() + self.padding, 0xee);
        out
    }
}

/// Parses a frame that must be an IP packet.
pub(crate) fn ip(frame: &[u8]) -> Parsed {
    match parse(frame) {
        Ok(Packet::Ip(p)) => p,
        other => panic!("{other:?} from {frame:02x?}"),
    }
}

fn l4() -> impl Strategy<Value = L4> {
    prop_oneof![3 => Just(L4::Tcp), 3 => Just(L4::Udp), 1 => Just(L4::EchoRequest), 1 => Just(L4::EchoReply)]
}

/// An address that is unicast in both families; its words are often 0 or all ones, where checksums have their corner.
pub(crate) fn address() -> impl Strategy<Value = [u8; 16]> {
    let word = prop_oneof![Just(0u16), Just(0xffff), any::<u16>()];
    proptest::array::uniform8(word).prop_map(|words| {
        let mut bytes = [0u8; 16];
        for (to, word) in bytes.chunks_exact_mut(2).zip(words) {
            to.copy_from_slice(&word.to_be_bytes());
        }
        (bytes[0], bytes[12]) = (0x20, bytes[12] % 100 + 1);
        bytes
    })
}

/// Any valid packet with up to `longest` bytes of payload.
pub(crate) fn sample(longest: usize) -> impl Strategy<Value = Sample> {
    let word = || prop_oneof![Just(0u16), Just(0xffff), any::<u16>()];
    let addresses = (any::<bool>(), l4(), address(), address(), word(), word());
    let fields = (any::<u32>(), any::<u8>(), 2u8.., any::<u8>(), any::<u16>());
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..64),
        // Long payloads repeat a few bytes: they are cheaper to make, and all zeros and all ones come up.
        (
            proptest::collection::vec(prop_oneof![Just(0), Just(0xff), any::<u8>()], 1..8),
            0..longest + 1
        )
            .prop_map(|(unit, len)| unit.into_iter().cycle().take(len).collect()),
    ];
    (addresses, fields, (0usize..=10, 0usize..=10, 0usize..8), payload).prop_map(
        |(a, f, (options, tcp_options, padding), payload)| {
            let (v6, l4, src, dst, sport, dport) = a;
            let (seq, flags, ttl, tos, id) = f;
            Sample {
                v6,
                l4,
                src,
                dst,
                sport,
                dport,
                seq,
                flags,
                ttl,
                tos,
                id,
                options,
                tcp_options,
                payload,
                padding,
            }
        },
    )
}
