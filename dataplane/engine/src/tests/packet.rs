//! Packets as values from which etherparse builds frames: what the engine sends must be what etherparse builds from the
//! value with the expected changes, checksums included.

use etherparse::{IpDscp, IpEcn, IpHeaders, Ipv4Header, Ipv6Header, PacketBuilder, TcpHeader, TcpOptionElement};
use sluice_wire::{Addr, MacAddr, Proto, Tuple};

pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const ACK: u8 = 0x10;
pub(super) const FIN: u8 = 0x01;

pub(super) type End = (Addr, u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum L4 {
    Tcp {
        flags: u8,
        seq: u32,
        ack: u32,
    },
    Udp,
    /// The identifier is the source port.
    EchoRequest,
    EchoReply,
    Icmp {
        kind: u8,
        code: u8,
        rest: [u8; 4],
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) macs: (MacAddr, MacAddr),
    pub(super) src: End,
    pub(super) dst: End,
    pub(super) ttl: u8,
    pub(super) tos: u8,
    pub(super) id: u16,
    pub(super) dont_fragment: bool,
    pub(super) l4: L4,
    /// What a TCP packet announces as the largest segment.
    pub(super) mss: Option<u16>,
    pub(super) payload: Vec<u8>,
}

impl Packet {
    fn new(src: End, dst: End, l4: L4) -> Self {
        Self {
            macs: Default::default(),
            src,
            dst,
            ttl: 64,
            tos: 0,
            id: 0x1234,
            dont_fragment: true,
            l4,
            mss: None,
            payload: b"some payload".to_vec(),
        }
    }

    pub(super) fn tcp(src: End, dst: End, flags: u8) -> Self {
        let (seq, ack) = (7000, 900);
        Self::new(src, dst, L4::Tcp { flags, seq, ack })
    }

    pub(super) fn udp(src: End, dst: End) -> Self {
        Self::new(src, dst, L4::Udp)
    }

    pub(super) fn ping(src: Addr, dst: Addr, id: u16) -> Self {
        Self::new((src, id), (dst, id), L4::EchoRequest)
    }

    pub(super) fn icmp(src: Addr, dst: Addr, kind: u8, code: u8, rest: [u8; 4], quoted: &[u8]) -> Self {
        Self::new((src, 0), (dst, 0), L4::Icmp { kind, code, rest }).with(quoted.to_vec())
    }

    pub(super) fn is_v4(&self) -> bool {
        self.src.0.is_v4()
    }

    pub(super) fn between(mut self, src: MacAddr, dst: MacAddr) -> Self {
        self.macs = (src, dst);
        self
    }

    pub(super) fn from(mut self, src: End) -> Self {
        self.src = src;
        self
    }

    pub(super) fn to(mut self, dst: End) -> Self {
        self.dst = dst;
        self
    }

    pub(super) fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    pub(super) fn with(mut self, payload: Vec<u8>) -> Self {
        self.payload = payload;
        self
    }

    /// One router further.
    pub(super) fn hop(self) -> Self {
        let ttl = self.ttl - 1;
        self.ttl(ttl)
    }

    /// The answer that its receiver would send.
    pub(super) fn reply(&self) -> Self {
        let l4 = match self.l4 {
            L4::Tcp { flags, seq, ack } => L4::Tcp {
                flags: flags | ACK,
                seq: ack,
                ack: seq,
            },
            L4::EchoRequest => L4::EchoReply,
            L4::EchoReply => L4::EchoRequest,
            other => other,
        };
        Self {
            macs: (self.macs.1, self.macs.0),
            src: self.dst,
            dst: self.src,
            ttl: 64,
            l4,
            payload: b"an answer".to_vec(),
            ..self.clone()
        }
    }

    pub(super) fn tuple(&self) -> Tuple {
        let proto = match (self.l4, self.is_v4()) {
            (L4::Tcp { .. }, _) => Proto::TCP,
            (L4::Udp, _) => Proto::UDP,
            (_, true) => Proto::ICMP,
            (_, false) => Proto::ICMPV6,
        };
        Tuple {
            src: self.src.0,
            dst: self.dst.0,
            sport: self.src.1,
            dport: self.dst.1,
            proto,
        }
    }

    pub(super) fn frame(&self) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2(self.macs.0.0, self.macs.1.0).ip(self.ip());
        let mut out = Vec::new();
        let write = |done: Result<(), _>| done.expect("a packet that etherparse can build");
        match (self.l4, self.is_v4()) {
            (L4::Tcp { flags, seq, ack }, _) => {
                let mut tcp = TcpHeader::new(self.src.1, self.dst.1, seq, 512);
                let [fin, syn, rst, psh, with_ack, urg, ece, cwr] = core::array::from_fn(|bit| flags >> bit & 1 == 1);
                (tcp.fin, tcp.syn, tcp.rst, tcp.psh) = (fin, syn, rst, psh);
                (tcp.ack, tcp.urg, tcp.ece, tcp.cwr) = (with_ack, urg, ece, cwr);
                tcp.acknowledgment_number = ack;
                if let Some(mss) = self.mss {
                    tcp.set_options(&[TcpOptionElement::MaximumSegmentSize(mss)]).unwrap();
                }
                write(builder.tcp_header(tcp).write(&mut out, &self.payload));
            }
            (L4::Udp, _) => write(builder.udp(self.src.1, self.dst.1).write(&mut out, &self.payload)),
            (L4::EchoRequest, true) => write(
                builder
                    .icmpv4_echo_request(self.src.1, 3)
                    .write(&mut out, &self.payload),
            ),
            (L4::EchoReply, true) => write(builder.icmpv4_echo_reply(self.src.1, 3).write(&mut out, &self.payload)),
            (L4::EchoRequest, false) => {
                write(
                    builder
                        .icmpv6_echo_request(self.src.1, 3)
                        .write(&mut out, &self.payload),
                );
            }
            (L4::EchoReply, false) => write(builder.icmpv6_echo_reply(self.src.1, 3).write(&mut out, &self.payload)),
            (L4::Icmp { kind, code, rest }, true) => {
                write(builder.icmpv4_raw(kind, code, rest).write(&mut out, &self.payload));
            }
            (L4::Icmp { kind, code, rest }, false) => {
                write(builder.icmpv6_raw(kind, code, rest).write(&mut out, &self.payload));
            }
        }
        out
    }

    fn ip(&self) -> IpHeaders {
        if self.is_v4() {
            let header = Ipv4Header {
                dscp: IpDscp::try_new(self.tos >> 2).unwrap(),
                ecn: IpEcn::try_new(self.tos & 3).unwrap(),
                identification: self.id,
                dont_fragment: self.dont_fragment,
                time_to_live: self.ttl,
                source: self.src.0.v4_octets(),
                destination: self.dst.0.v4_octets(),
                ..Default::default()
            };
            IpHeaders::Ipv4(header, Default::default())
        } else {
            let header = Ipv6Header {
                traffic_class: self.tos,
                hop_limit: self.ttl,
                source: self.src.0.octets(),
                destination: self.dst.0.octets(),
                ..Default::default()
            };
            IpHeaders::Ipv6(header, Default::default())
        }
    }
}

/// The outer headers of a tunnel packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrapping {
    pub(super) outer: Packet,
    pub(super) vni: u32,
}

impl Wrapping {
    /// `inner` with the headers in front.
    pub(super) fn around(&self, inner: &[u8]) -> Vec<u8> {
        let mut payload = vec![8, 0, 0, 0];
        payload.extend((self.vni << 8).to_be_bytes());
        payload.extend(inner);
        self.outer.clone().with(payload).frame()
    }
}
