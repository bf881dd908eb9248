//! What comes off the wire, decoder by decoder, and what is done to packets in place.

use sluice_vxlan::{Template, Tunnel, decapsulate};
use sluice_wire::rewrite::{apply, decrement_ttl, rewrite_quoted, set_dscp, set_ecn};
use sluice_wire::{
    Addr, Checksum, ETH_LEN, FragmentPlan, Gso, GsoKind, IcmpError, Kind, MacAddr, Packet, Parsed, Rewrite,
    SegmentPlan, Vni, arp, checksum, clamp_mss, ethertype, icmp, ndp, parse, parse_quoted, tcp_reset,
};

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;

/// The first `N` bytes are choices, the rest is a frame. The choices say whether its family, its lengths and its IPv4
/// checksum are put right, which no fuzzer finds by itself.
fn frame<const N: usize>(data: &[u8]) -> Option<([u8; N], Vec<u8>)> {
    let (choices, frame) = data.split_first_chunk::<N>()?;
    let mut frame = frame.to_vec();
    mend(&mut frame, choices[0]);
    Some((*choices, frame))
}

fn mend(frame: &mut [u8], how: u8) {
    let len = frame.len();
    if len < ETH_LEN + IPV6_HEADER || how & 3 == 0 {
        return;
    }
    let v4 = how & 3 == 1;
    let kind = if v4 { ethertype::IPV4 } else { ethertype::IPV6 };
    frame[12..14].copy_from_slice(&kind.to_be_bytes());
    if how & 4 != 0 {
        frame[ETH_LEN] = if v4 { 0x45 } else { 0x60 };
        let (at, rest) = if v4 {
            (16, len - ETH_LEN)
        } else {
            (18, len - ETH_LEN - IPV6_HEADER)
        };
        frame[at..at + 2].copy_from_slice(&(rest as u16).to_be_bytes());
    }
    if v4 {
        let header = usize::from(frame[ETH_LEN] & 0xf) * 4;
        let end = (ETH_LEN + header.max(IPV4_HEADER)).min(len);
        frame[24..26].fill(0);
        let sum = checksum::sum(&frame[ETH_LEN..end]).checksum();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    if how & 8 != 0
        && let Ok(Packet::Ip(p)) = parse(frame)
        && let Some(offset) = p.checksum_offset()
    {
        let at = usize::from(p.l4 + offset);
        let pseudo = match p.kind {
            Kind::Tcp | Kind::Udp => true,
            _ => p.v6,
        };
        let len = p.end - u32::from(p.l4);
        let seed = if pseudo {
            checksum::pseudo(&p.tuple.src, &p.tuple.dst, p.tuple.proto, len)
        } else {
            checksum::sum(&[])
        };
        if let Some(field) = frame.get_mut(at..at + 2) {
            field.copy_from_slice(&seed.folded().to_be_bytes());
            checksum::complete(frame, p.l4, offset);
        }
    }
}

fn ip(frame: &[u8]) -> Option<Parsed> {
    let Ok(Packet::Ip(p)) = parse(frame) else { return None };
    let (l3, l4, payload) = (u32::from(p.l3), u32::from(p.l4), u32::from(p.payload));
    assert!(
        ETH_LEN as u32 == l3 && l3 < l4 && l4 <= payload && payload <= p.end && p.end as usize <= frame.len(),
        "{p:?}"
    );
    assert!(p.v6 != p.tuple.src.is_v4() && p.v6 != p.tuple.dst.is_v4());
    Some(p)
}

fn own(p: &Parsed) -> Addr {
    if p.v6 {
        Addr::v6([0x20; 16])
    } else {
        Addr::v4([10, 0, 0, 1])
    }
}

/// Everything that takes a parsed packet, also with a frame that is not the one that was parsed.
pub(crate) fn wire(data: &[u8]) {
    let Some(([_, short, a, b], frame)) = frame::<4>(data) else {
        return;
    };
    parse_quoted(&frame);
    let Some(p) = ip(&frame) else { return };
    let shorter = &frame[..frame.len() - usize::from(short).min(frame.len())];
    for frame in [&frame[..], shorter] {
        checksum::verify_transport(frame, &p);
        p.fragment_place(frame);
        let mut copy = frame.to_vec();
        rewrite_quoted(
            &mut copy,
            &p,
            &Rewrite {
                src: Some((own(&p), 7)),
                dst: None,
            },
        );
        decrement_ttl(&mut copy, &p);
        set_ecn(&mut copy, &p, a & 3);
        set_dscp(&mut copy, &p, b & 63);
        clamp_mss(&mut copy, &p, Checksum::Unverified, u16::from_le_bytes([a, b]));
        assert_eq!(copy.len(), frame.len());
        if let Ok(plan) = FragmentPlan::new(frame, &p, 68 + u16::from(a) * 8) {
            for i in 0..plan.count().min(64) {
                let mut piece = vec![0; plan.fragment_len(i)];
                plan.write(i, frame, &mut piece);
            }
        }
        let mut out = [0; 1294];
        for error in [IcmpError::TooBig { mtu: 1450 }, IcmpError::TimeExceeded] {
            if let Some(len) = icmp::write_error(&mut out, frame, &p, error, own(&p), MAC, MAC) {
                assert!(ip(&out[..len]).is_some_and(|q| checksum::verify_transport(&out, &q)));
            }
        }
        if let Some(len) = tcp_reset(&mut out, frame, &p, MAC, MAC) {
            assert!(ip(&out[..len]).is_some_and(|q| q.kind == Kind::Tcp && checksum::verify_transport(&out, &q)));
        }
        if let Kind::IcmpError { quoted } = p.kind {
            parse_quoted(frame.get(usize::from(quoted)..).unwrap_or(&[]));
        }
    }
}

/// ARP and neighbour discovery: an answer is one, and goes to who asked.
pub(crate) fn neighbours(data: &[u8]) {
    let Some(([_], frame)) = frame::<1>(data) else { return };
    let mut answer = frame.clone();
    if arp::reply(&mut answer, MAC) {
        let (asked, said) = (arp::view(&frame[ETH_LEN..]), arp::view(&answer[ETH_LEN..]));
        let (Ok(asked), Ok(said)) = (asked, said) else {
            panic!("an answer to no question")
        };
        assert!((said.sender, said.sender_mac, said.target) == (asked.target, MAC, asked.sender));
        assert_eq!(answer[..6], frame[6..12]);
    }
    let Some(p) = ip(&frame) else { return };
    let Ok(solicited) = ndp::solicitation(&frame, &p) else {
        return;
    };
    let mut out = [0; ndp::ADVERTISEMENT_LEN];
    let len = ndp::advertise(&mut out, &solicited, p.tuple.src, MAC, MAC).expect("room for an advertisement");
    let q = ip(&out[..len]).expect("an advertisement is a packet");
    assert!(q.kind == Kind::Ndp(136) && q.ttl == 255 && checksum::verify_transport(&out, &q));
}

/// A super-frame's pieces are packets with right checksums, and hold its payload and nothing else.
pub(crate) fn segment(data: &[u8]) {
    let Some(([_, kind, low, high], frame)) = frame::<4>(data) else {
        return;
    };
    let Some(p) = ip(&frame) else { return };
    let kind = [GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::Udp][usize::from(kind % 3)];
    let gso = Gso {
        kind,
        size: u16::from_le_bytes([low, high & 7]),
        ecn: false,
    };
    let Ok(plan) = SegmentPlan::new(&frame, &p, gso) else {
        return;
    };
    let mut payload = Vec::new();
    for i in 0..plan.count() {
        let mut piece = vec![0; plan.segment_len(i)];
        assert!(plan.write(i, &frame, &mut piece), "piece {i} of {plan:?}");
        let q = ip(&piece).expect("a piece is a packet");
        assert!(
            q.kind == p.kind && q.tuple == p.tuple && checksum::verify_transport(&piece, &q),
            "{q:?}"
        );
        payload.extend_from_slice(&piece[usize::from(q.payload)..q.end as usize]);
    }
    assert_eq!(payload, frame[usize::from(p.payload)..p.end as usize]);
}

/// A rewritten packet has the new ends and, if it had a right checksum, a right one; there is a way back.
pub(crate) fn rewrite(data: &[u8]) {
    let Some(([_, which, sport, dport], frame)) = frame::<4>(data) else {
        return;
    };
    let Some(p) = ip(&frame) else { return };
    let end = |port: u8| Some((own(&p), u16::from(port) << 7));
    let r = Rewrite {
        src: end(sport).filter(|_| which & 1 != 0),
        dst: end(dport).filter(|_| which & 2 != 0),
    };
    let right = checksum::verify_transport(&frame, &p);
    let mut copy = frame.clone();
    if !apply(&mut copy, &p, Checksum::Unverified, &r) {
        assert_eq!(copy, frame, "refused, and changed");
        return;
    }
    let q = ip(&copy).expect("a rewritten packet is a packet");
    assert_eq!((q.kind, q.end, q.l4, q.payload), (p.kind, p.end, p.l4, p.payload));
    assert!(r.src.is_none_or(|(addr, _)| q.tuple.src == addr) && r.dst.is_none_or(|(addr, _)| q.tuple.dst == addr));
    assert!(
        !right || checksum::verify_transport(&copy, &q),
        "was right, is wrong: {p:?} {r:?}"
    );
    let mut back = copy.clone();
    assert!(apply(
        &mut back,
        &q,
        Checksum::Unverified,
        &Rewrite::between(&q.tuple, &p.tuple)
    ));
    let again = ip(&back).expect("a packet");
    assert_eq!(again, p);
    assert!(!right || checksum::verify_transport(&back, &again));
    let mut damaged = copy;
    damaged.truncate(usize::from(which));
    apply(&mut damaged, &p, Checksum::Unverified, &r);
    let partial = Checksum::Partial {
        start: p.l4,
        offset: p.checksum_offset().unwrap_or(0),
    };
    let mut partly = frame;
    apply(&mut partly, &p, partial, &r);
}

/// An inner frame lies within the outer one; wrapped again it is found again.
pub(crate) fn vxlan(data: &[u8]) {
    const PORT: u16 = 8472;
    let Some(([how], mut frame)) = frame::<1>(data) else {
        return;
    };
    if how & 16 != 0 && frame.len() > 80 {
        // What every tunnel packet has, for either family.
        let at = ETH_LEN + if how & 3 == 1 { IPV4_HEADER } else { IPV6_HEADER };
        frame[if how & 3 == 1 { 23 } else { 20 }] = 17;
        frame[at + 2..at + 4].copy_from_slice(&PORT.to_be_bytes());
        let len = (frame.len() - at) as u16;
        frame[at + 4..at + 6].copy_from_slice(&len.to_be_bytes());
        mend(&mut frame, how);
    }
    let Some(p) = ip(&frame) else { return };
    let vni = Vni::new(1).expect("24 bits");
    let Ok(inner) = decapsulate(&frame, &p, PORT, vni) else {
        return;
    };
    assert!(inner.offset + ETH_LEN <= inner.end && inner.end <= frame.len());
    let inner = &frame[inner.offset..inner.end];
    for (local, remote) in [
        (Addr::v4([192, 0, 2, 1]), Addr::v4([192, 0, 2, 2])),
        (Addr::v6([1; 16]), Addr::v6([2; 16])),
    ] {
        let tunnel = Tunnel {
            local,
            remote,
            outer_src_mac: MAC,
            outer_dst_mac: MAC,
            vni,
            port: PORT,
            inner_src_mac: MAC,
            inner_dst_mac: MAC,
            checksum_v4: true,
        };
        let template = Template::new(&tunnel).expect("one family");
        let mut wrapped = vec![0; template.overhead()];
        wrapped.extend_from_slice(inner);
        let parsed = ip(inner);
        let complete = parsed.as_ref().filter(|p| checksum::verify_transport(inner, p));
        if template.write(&mut wrapped, 50000, 1, 0, complete).is_ok() {
            let outer = ip(&wrapped).expect("what we wrap is a packet");
            let again = decapsulate(&wrapped, &outer, PORT, vni).expect("what we wrap we unwrap");
            assert_eq!(wrapped[again.offset + 12..again.end], inner[12..]);
        }
    }
}
