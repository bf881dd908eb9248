//! A datagram's headers, against those that etherparse writes.

use etherparse::PacketBuilder;
use proptest::prelude::*;
use sluice_wire::{Addr, udp};

proptest! {
    #[test]
    fn the_front_is_what_etherparse_writes(
        v4 in any::<bool>(), a in any::<[u8; 16]>(), b in any::<[u8; 16]>(), ports in any::<(u16, u16)>(), tos in any::<u8>(),
        payload in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let front = udp::front_len(v4);
        let mut frame = vec![0x55; front];
        frame.extend(&payload);
        let (mut want, ends) = (Vec::new(), if v4 {
            let v4 = |x: [u8; 16]| Addr::v4([x[0], x[1], x[2], x[3]]);
            (v4(a), v4(b))
        } else {
            (Addr::v6(a), Addr::v6(b))
        });
        prop_assume!(v4 || !ends.0.is_v4() && !ends.1.is_v4());
        let builder = PacketBuilder::ethernet2([0; 6], [0; 6]);
        let builder = if v4 {
            let header = etherparse::Ipv4Header {
                dscp: etherparse::IpDscp::try_new(tos >> 2).unwrap(),
                ecn: etherparse::IpEcn::try_new(tos & 3).unwrap(),
                dont_fragment: true,
                time_to_live: 64,
                source: ends.0.v4_octets(),
                destination: ends.1.v4_octets(),
                ..Default::default()
            };
            builder.ip(etherparse::IpHeaders::Ipv4(header, Default::default()))
        } else {
            let header = etherparse::Ipv6Header {
                traffic_class: tos,
                hop_limit: 64,
                source: a,
                destination: b,
                ..Default::default()
            };
            builder.ip(etherparse::IpHeaders::Ipv6(header, Default::default()))
        };
        builder.udp(ports.0, ports.1).write(&mut want, &payload).unwrap();
        prop_assert!(udp::write_front(&mut frame, (ends.0, ports.0), (ends.1, ports.1), tos));
        prop_assert_eq!(frame, want);
    }
}

#[test]
fn what_is_no_datagram_is_refused() {
    let (v4, v6) = (Addr::v4([192, 0, 2, 1]), Addr::v6([0x20; 16]));
    let write = |len: usize, src, dst| udp::write_front(&mut vec![0; len], (src, 1), (dst, 2), 0);
    assert!(write(42, v4, v4) && write(62, v6, v6));
    assert!(!write(41, v4, v4) && !write(61, v6, v6));
    assert!(!write(100, v4, v6) && !write(100, v6, v4));
    assert!(write(14 + 65535, v4, v4) && !write(14 + 65536, v4, v4));
}
