//! Segments against the packets that etherparse builds for each piece of the payload.

use crate::sample::{L4, Sample, ip, sample};
use proptest::prelude::*;
use sluice_wire::checksum::verify_transport;
use sluice_wire::{DropReason, Gso, GsoKind, SegmentPlan, tcp_flags};

fn kind(s: &Sample) -> GsoKind {
    match (s.l4, s.v6) {
        (L4::Tcp, false) => GsoKind::Tcp4,
        (L4::Tcp, true) => GsoKind::Tcp6,
        _ => GsoKind::Udp,
    }
}

fn super_frame() -> impl Strategy<Value = Sample> {
    sample(60_000).prop_map(|mut s| {
        if s.l4 != L4::Tcp {
            s.l4 = L4::Udp;
        }
        s.flags &= !tcp_flags::SYN;
        s
    })
}

proptest! {
    #[test]
    fn each_is_the_packet_built_from_its_piece(s in super_frame(), size in prop_oneof![500u16..1500, 1500u16..9000]) {
        let frame = s.frame();
        let p = ip(&frame);
        let plan = SegmentPlan::new(&frame, &p, Gso { kind: kind(&s), size, ecn: false }).unwrap();
        let pieces: Vec<&[u8]> = if s.payload.is_empty() { vec![&[]] } else { s.payload.chunks(size.into()).collect() };
        prop_assert_eq!(plan.count(), pieces.len());
        prop_assert_eq!(plan.header_len(), usize::from(p.payload));
        let mut again = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            let mut out = vec![0x55; plan.segment_len(i)];
            prop_assert!(plan.write(i, &frame, &mut out));
            let mut one = s.clone();
            one.padding = 0;
            one.payload = piece.to_vec();
            one.id = s.id.wrapping_add(i as u16);
            one.seq = s.seq.wrapping_add((i * usize::from(size)) as u32);
            if i > 0 {
                one.flags &= !tcp_flags::CWR;
            }
            if i + 1 < pieces.len() {
                one.flags &= !(tcp_flags::FIN | tcp_flags::PSH);
            }
            prop_assert_eq!(&out, &one.frame());
            let q = ip(&out);
            prop_assert!(verify_transport(&out, &q));
            again.extend_from_slice(&out[usize::from(q.payload)..]);
        }
        prop_assert_eq!(&again, &s.payload);
        prop_assert_eq!(plan.segment_len(pieces.len()), 0);
        prop_assert!(!plan.write(pieces.len(), &frame, &mut [0; 9100]));
    }

    #[test]
    fn no_request_can_do_harm(s in sample(2000), size in any::<u16>(), small in 0u16..12, pick in 0usize..3, cut in 0usize..100) {
        let frame = s.frame();
        let p = ip(&frame);
        for size in [size, small] {
            let kind = [GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::Udp][pick];
            if let Ok(plan) = SegmentPlan::new(&frame, &p, Gso { kind, size, ecn: true }) {
                prop_assert!(plan.count() <= 65535 / 8 && size > 0);
                let total: usize = (0..plan.count()).map(|i| plan.segment_len(i) - plan.header_len()).sum();
                prop_assert_eq!(total, s.payload.len());
                let last = plan.count() - 1;
                let mut out = vec![0; plan.segment_len(last)];
                prop_assert!(plan.write(last, &frame, &mut out));
                let len = out.len();
                prop_assert!(!plan.write(last, &frame, &mut out[..len - 1]));
                prop_assert!(!plan.write(last, &frame[..usize::from(p.l4) - cut.min(30)], &mut out));
            }
        }
    }
}

#[test]
fn a_request_that_does_not_fit_is_refused() {
    let plan = |s: &Sample, kind, size| {
        let frame = s.frame();
        SegmentPlan::new(&frame, &ip(&frame), Gso { kind, size, ecn: false }).map(|plan| plan.count())
    };
    let refused = Err(DropReason::GsoMalformed);
    let mut tcp = Sample::plain(false, L4::Tcp);
    tcp.payload = vec![0; 100];
    assert_eq!(plan(&tcp, GsoKind::Tcp4, 10), Ok(10));
    assert_eq!(plan(&tcp, GsoKind::Tcp6, 10), refused, "family");
    assert_eq!(plan(&tcp, GsoKind::Udp, 10), refused, "protocol");
    assert_eq!(plan(&tcp, GsoKind::Tcp4, 0), refused, "size 0");
    assert_eq!(plan(&tcp, GsoKind::Tcp4, 7), refused, "below any sender's size");
    tcp.flags |= tcp_flags::SYN;
    assert_eq!(plan(&tcp, GsoKind::Tcp4, 50), refused, "SYN in two");
    let mut udp = Sample::plain(true, L4::Udp);
    udp.payload = vec![0; 129];
    assert_eq!(plan(&udp, GsoKind::Udp, 2), Ok(65));
    assert_eq!(
        plan(&udp, GsoKind::Udp, 1),
        refused,
        "more datagrams than a sender may ask for"
    );
    assert_eq!(plan(&Sample::plain(false, L4::EchoRequest), GsoKind::Udp, 100), refused);

    let mut frame = udp.frame();
    frame[59] -= 1;
    let lied = SegmentPlan::new(
        &frame,
        &ip(&frame),
        Gso {
            kind: GsoKind::Udp,
            size: 100,
            ecn: false,
        },
    );
    assert_eq!(lied.map(|plan| plan.count()), refused, "UDP length disagrees");
}
