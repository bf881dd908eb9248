//! Super-frames that are made of packets, against the packets that they are cut into again.

use crate::sample::{L4, Sample, ip, sample};
use proptest::prelude::*;
use proptest::sample::select;
use sluice_wire::{Checksum, Coalescing, Gso, GsoKind, Meta, PortSlot, SegmentPlan, checksum, tcp_flags};

const PLAIN: Meta = Meta::from_port(PortSlot(1));
const ACK: u8 = tcp_flags::ACK;
const PSH: u8 = tcp_flags::PSH;

type Frame = (Vec<u8>, Meta);

fn gso_kind(s: &Sample) -> GsoKind {
    match (s.l4, s.v6) {
        (L4::Tcp, false) => GsoKind::Tcp4,
        (L4::Tcp, true) => GsoKind::Tcp6,
        _ => GsoKind::Udp,
    }
}

/// What a sender's kernel would give for this packet, to be cut every `size` bytes.
fn super_frame(s: &Sample, size: u16) -> Frame {
    let mut bytes = s.frame();
    let p = ip(&bytes);
    let offset = p.checksum_offset().unwrap();
    let sum = checksum::pseudo(&p.tuple.src, &p.tuple.dst, p.tuple.proto, p.end - u32::from(p.l4));
    let at = usize::from(p.l4 + offset);
    bytes[at..at + 2].copy_from_slice(&sum.folded().to_be_bytes());
    let gso = Gso {
        kind: gso_kind(s),
        size,
        ecn: false,
    };
    let checksum = Checksum::Partial { start: p.l4, offset };
    (
        bytes,
        Meta {
            checksum,
            gso: Some(gso),
            ..PLAIN
        },
    )
}

fn cut((bytes, meta): &Frame) -> Vec<Vec<u8>> {
    let Some(gso) = meta.gso else {
        return vec![bytes.clone()];
    };
    let plan = SegmentPlan::new(bytes, &ip(bytes), gso).expect("a sound super-frame");
    let segment = |i| {
        let mut out = vec![0; plan.segment_len(i)];
        assert!(plan.write(i, bytes, &mut out));
        out
    };
    (0..plan.count()).map(segment).collect()
}

/// Gathers the packets of one flow as the engine does.
fn gathered(packets: &[Vec<u8>]) -> Vec<Frame> {
    let (mut done, mut open): (Vec<Frame>, Option<(Vec<u8>, Coalescing)>) = (Vec::new(), None);
    let close = |open: &mut Option<(Vec<u8>, Coalescing)>, done: &mut Vec<Frame>| {
        if let Some((mut bytes, headers)) = open.take() {
            let mut meta = PLAIN;
            if headers.count() > 1 {
                let (checksum, gso) = headers.finish(&mut bytes).unwrap();
                (meta.checksum, meta.gso) = (checksum, Some(gso));
            }
            done.push((bytes, meta));
        }
    };
    for packet in packets {
        let p = ip(packet);
        if let Some((bytes, headers)) = &mut open
            && headers.admits(bytes, packet, &p, &PLAIN)
        {
            bytes.extend_from_slice(&packet[usize::from(p.payload)..]);
            headers.add(&p);
            assert_eq!(headers.parsed().end as usize, bytes.len());
            continue;
        }
        close(&mut open, &mut done);
        match Coalescing::begin(packet, &p, &PLAIN) {
            Some(headers) => open = Some((packet.clone(), headers)),
            None => done.push((packet.clone(), PLAIN)),
        }
    }
    close(&mut open, &mut done);
    done
}

/// A packet that is the first of a super-frame, if others follow.
fn first() -> impl Strategy<Value = Sample> {
    let size = prop_oneof![3 => 1000usize..1500, 1 => 8usize..200];
    (sample(0), size, any::<u8>()).prop_map(|(mut s, size, fill)| {
        if s.l4 != L4::Tcp {
            s.l4 = L4::Udp;
        }
        (s.options, s.padding, s.flags) = (0, 0, ACK | s.flags & tcp_flags::ECE);
        s.payload = (0..size).map(|i| (i as u8).wrapping_mul(31) ^ fill).collect();
        s
    })
}

/// The packet that follows this one.
fn next(s: &Sample) -> Sample {
    let mut next = s.clone();
    next.seq = s.seq.wrapping_add(s.payload.len() as u32);
    next.id = s.id.wrapping_add(1);
    next
}

/// `count` packets, each the next of the one before.
fn run(first: &Sample, count: usize) -> Vec<Sample> {
    std::iter::successors(Some(first.clone()), |s| Some(next(s)))
        .take(count)
        .collect()
}

fn frames(packets: &[Sample]) -> Vec<Vec<u8>> {
    packets.iter().map(Sample::frame).collect()
}

/// Something that happens to a packet, or to the rest of the flow.
#[derive(Clone, Copy, Debug)]
enum Twist {
    Lost,
    Twice,
    Swapped,
    Shorter,
    Longer,
    Flags(u8),
    Tos,
    Ttl,
    Id,
    Options,
    Damaged,
}

fn twist() -> impl Strategy<Value = Twist> {
    use Twist::*;
    let flags = select(vec![0, PSH, PSH | ACK, 0x11, 0x19, 0x12, 0x14, 0x30, 0x50, 0x90, 0xd0]).prop_map(Flags);
    prop_oneof![
        2 => flags,
        3 => select(vec![Lost, Twice, Swapped, Shorter, Longer, Tos, Ttl, Id, Options, Damaged]),
    ]
}

/// A flow of packets to each of which something may have happened, as it arrives.
fn stream(first: &Sample, twists: &[Option<Twist>]) -> Vec<Vec<u8>> {
    let (mut now, mut out) = (first.clone(), Vec::<Vec<u8>>::new());
    for twist in twists {
        let mut s = now.clone();
        let mut damaged = false;
        match twist {
            Some(Twist::Shorter) => s.payload.truncate(s.payload.len() / 2),
            Some(Twist::Longer) => s.payload.push(7),
            Some(Twist::Flags(flags)) => s.flags = *flags,
            Some(Twist::Tos) => (s.tos, now.tos) = (s.tos ^ 3, s.tos ^ 3),
            Some(Twist::Ttl) => (s.ttl, now.ttl) = (s.ttl ^ 2, s.ttl ^ 2),
            Some(Twist::Id) => s.id = s.id.wrapping_add(9),
            Some(Twist::Options) => s.tcp_options = (s.tcp_options + 1) % 10,
            Some(Twist::Damaged) => damaged = true,
            _ => {}
        }
        let mut frame = s.frame();
        if damaged {
            *frame.last_mut().unwrap() ^= 0x40;
        }
        match (twist, out.last().cloned()) {
            (Some(Twist::Lost), _) => {}
            (Some(Twist::Swapped), Some(before)) => {
                let at = out.len() - 1;
                out[at] = frame;
                out.push(before);
            }
            (Some(Twist::Twice), _) => out.extend([frame.clone(), frame]),
            _ => out.push(frame),
        }
        let payload = std::mem::replace(&mut now.payload, s.payload);
        now = next(&now);
        now.payload = payload;
    }
    out
}

proptest! {
    #[test]
    fn cutting_and_gathering_is_the_identity(
        mut s in first(), count in 2usize..60, last in 1usize..2000, ends in select(vec![0, PSH, tcp_flags::FIN, 0x09]),
    ) {
        let size = s.payload.len();
        let longest = if s.l4 == L4::Udp { 63 } else { (65_000 - 120) / size };
        let count = count.min(longest).min(64_000 / size).max(2);
        let unit = s.payload.clone();
        s.payload = unit.iter().copied().cycle().take((count - 1) * size + last.min(size)).collect();
        s.flags |= ends;
        let whole = super_frame(&s, size as u16);
        let pieces = cut(&whole);
        prop_assert_eq!(pieces.len(), count);
        let again = gathered(&pieces);
        prop_assert_eq!(again.len(), 1);
        prop_assert_eq!(&again[0], &whole);
    }

    /// Whatever happens to a flow, what leaves is cut into exactly the packets that came, in their order.
    #[test]
    fn what_was_gathered_is_cut_into_what_came(
        s in first(), twists in prop::collection::vec(prop::option::weighted(0.3, twist()), 1..80),
    ) {
        let came = stream(&s, &twists);
        let left: Vec<Vec<u8>> = gathered(&came).iter().flat_map(cut).collect();
        prop_assert!(left == came);
    }

    #[test]
    fn undisturbed_packets_are_one_super_frame(s in first(), count in 2usize..40) {
        prop_assert_eq!(gathered(&frames(&run(&s, count))).len(), 1);
    }

    #[test]
    fn no_bytes_can_do_harm(
        s in sample(300), edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        start in 0u16..100, offset in 0u16..20,
    ) {
        let mut other = next(&s).frame();
        for (at, value) in edits {
            let at = at.index(other.len());
            other[at] = value;
        }
        let Ok(sluice_wire::Packet::Ip(p)) = sluice_wire::parse(&other) else { return Ok(()) };
        let first = s.frame();
        let meta = Meta { checksum: Checksum::Partial { start, offset }, ..PLAIN };
        for meta in [PLAIN, meta] {
            _ = Coalescing::begin(&other, &p, &meta);
            if let Some(mut headers) = Coalescing::begin(&first, &ip(&first), &PLAIN) {
                _ = headers.admits(&first, &other, &p, &meta);
                _ = headers.admits(&first[..20], &other, &p, &meta);
                prop_assert!(headers.finish(&mut first.clone()[..first.len() - 1]).is_none());
            }
        }
    }
}

/// The frame with right checksums, whatever was written into it.
fn right(frame: &[u8]) -> Vec<u8> {
    let p = ip(frame);
    let kind = match (p.checksum_offset(), p.v6) {
        (Some(16), false) => GsoKind::Tcp4,
        (Some(16), true) => GsoKind::Tcp6,
        _ => GsoKind::Udp,
    };
    let plan = SegmentPlan::new(
        frame,
        &p,
        Gso {
            kind,
            size: u16::MAX,
            ecn: false,
        },
    )
    .unwrap();
    let mut out = vec![0; frame.len()];
    assert!(plan.write(0, frame, &mut out));
    out
}

fn plain(v6: bool, l4: L4) -> Sample {
    let mut s = Sample::plain(v6, l4);
    (s.payload, s.tcp_options) = (vec![7; 100], 3);
    s
}

/// How many frames three packets become when this is done to the second and nothing to the others.
fn with(v6: bool, l4: L4, change: impl Fn(&mut Sample)) -> usize {
    let mut packets = run(&plain(v6, l4), 3);
    change(&mut packets[1]);
    gathered(&frames(&packets)).len()
}

/// The same with a byte of the second frame.
fn with_bytes(v6: bool, l4: L4, at: At, value: u8) -> usize {
    let mut frames = frames(&run(&plain(v6, l4), 3));
    let p = ip(&frames[1]);
    let at = match at {
        At::Eth(at) => at,
        At::Ip(at) => usize::from(p.l3) + at,
        At::L4(at) => usize::from(p.l4) + at,
    };
    frames[1][at] ^= value;
    let fixed = if v6 {
        frames[1].clone()
    } else {
        with_ip_checksum(&frames[1])
    };
    frames[1] = right(&fixed);
    gathered(&frames).len()
}

/// The IPv4 header's checksum put right, so that the frame can be parsed.
fn with_ip_checksum(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[24..26].fill(0);
    let check = checksum::sum(&frame[14..34]).checksum();
    frame[24..26].copy_from_slice(&check.to_be_bytes());
    frame
}

/// Where a byte is, counted from the beginning of a header.
#[derive(Clone, Copy)]
enum At {
    Eth(usize),
    Ip(usize),
    L4(usize),
}

#[test]
fn what_differs_in_a_header_is_kept_apart() {
    for l4 in [L4::Tcp, L4::Udp] {
        for v6 in [false, true] {
            assert_eq!(with(v6, l4, |_| ()), 1);
            assert_eq!(with(v6, l4, |s| s.ttl -= 1), 3, "TTL or hop limit");
            for bit in 0..8 {
                assert_eq!(with(v6, l4, |s| s.tos ^= 1 << bit), 3, "DSCP and ECN, bit {bit}");
            }
            assert_eq!(with(v6, l4, |s| s.sport += 1), 3, "port");
            assert_eq!(with(v6, l4, |s| s.src[15] += 1), 3, "address");
            assert_eq!(with_bytes(v6, l4, At::Eth(11), 1), 3, "MAC");
        }
        assert_eq!(with_bytes(true, l4, At::Ip(3), 1), 3, "flow label");
        assert_eq!(with_bytes(false, l4, At::Ip(6), 0x40), 3, "DF");
        assert_eq!(with(false, l4, |s| s.id += 1), 3, "identification");
        assert_eq!(with(false, l4, |s| s.id -= 1), 3, "the same identification");
        assert_eq!(with(true, l4, |s| s.id += 1), 1, "there is none");
        assert_eq!(with(false, l4, |s| s.options = 1), 3, "IPv4 options");
    }
    assert_eq!(with(true, L4::Tcp, |s| s.options = 1), 3, "an extension header");
    for v6 in [false, true] {
        let mut packets = run(&plain(v6, L4::Tcp), 3);
        packets.iter_mut().for_each(|s| s.options = 1);
        assert_eq!(
            gathered(&frames(&packets)).len(),
            3,
            "options, though all have the same"
        );
    }
    for v6 in [false, true] {
        let tcp = |at, value| with_bytes(v6, L4::Tcp, At::L4(at), value);
        assert_eq!(tcp(7, 1), 3, "sequence");
        assert_eq!(tcp(11, 1), 3, "acknowledgment");
        assert_eq!(tcp(12, 1), 3, "AccECN's bit");
        assert_eq!(tcp(15, 1), 3, "window");
        assert_eq!(tcp(19, 1), 3, "urgent pointer");
        assert_eq!(tcp(31, 1), 3, "options, a time stamp say");
        assert_eq!(with(v6, L4::Tcp, |s| s.tcp_options = 4), 3, "length of the options");
    }
}

#[test]
fn flags_begin_end_or_stand_alone() {
    use tcp_flags::*;
    for v6 in [false, true] {
        let flags = |flags| with(v6, L4::Tcp, |s| s.flags = flags);
        for alone in [SYN, RST, URG, CWR, ECE] {
            assert_eq!(flags(ACK | alone), 3, "{alone:#x}");
        }
        assert_eq!(flags(0), 3, "no ACK");
        for last in [PSH, FIN, PSH | FIN] {
            assert_eq!(flags(ACK | last), 2, "{last:#x} ends it");
            let mut packets = run(&plain(v6, L4::Tcp), 2);
            packets[0].flags |= last;
            assert_eq!(gathered(&frames(&packets)).len(), 2, "{last:#x} begins none");
        }
        let mut echo = run(&plain(v6, L4::Tcp), 3);
        echo.iter_mut().for_each(|s| s.flags |= ECE);
        assert_eq!(gathered(&frames(&echo)).len(), 1, "all say that there was congestion");
        echo.iter_mut().for_each(|s| s.flags |= CWR);
        assert_eq!(gathered(&frames(&echo)).len(), 3, "a counter of AccECN");
    }
}

#[test]
fn all_are_as_long_as_the_first_but_the_last() {
    for l4 in [L4::Tcp, L4::Udp] {
        for v6 in [false, true] {
            assert_eq!(with(v6, l4, |s| s.payload.truncate(99)), 2, "shorter");
            // Behind it the third begins anew; in TCP it does not even follow.
            let longer = if l4 == L4::Tcp { 3 } else { 2 };
            assert_eq!(with(v6, l4, |s| s.payload.push(1)), longer, "longer");
            assert_eq!(with(v6, l4, |s| s.payload.clear()), 3, "nothing in it");
            let last = |longer: bool| {
                let mut packets = run(&plain(v6, l4), 3);
                packets[2].payload.resize(if longer { 101 } else { 1 }, 1);
                gathered(&frames(&packets)).len()
            };
            assert_eq!((last(false), last(true)), (1, 2));
        }
    }
    let mut small = Sample::plain(false, L4::Tcp);
    small.payload.truncate(7);
    assert_eq!(gathered(&frames(&run(&small, 3))).len(), 3, "no sender cuts so small");
}

#[test]
fn none_grows_beyond_what_a_packet_may_have() {
    for v6 in [false, true] {
        let mut s = plain(v6, L4::Tcp);
        s.payload = vec![1; 1400];
        let left = gathered(&frames(&run(&s, 60)));
        let lengths: Vec<usize> = left.iter().map(|(bytes, _)| bytes.len() - 14).collect();
        assert_eq!(lengths.len(), 2);
        assert!(lengths[0] <= 65_535 && lengths[0] + 1400 > 65_535, "{lengths:?}");
    }
    let datagrams = gathered(&frames(&run(&plain(false, L4::Udp), 100)));
    assert_eq!(datagrams.len(), 2, "no receiver takes more than 64");
}

#[test]
fn a_wrong_checksum_stays_with_its_packet() {
    for l4 in [L4::Tcp, L4::Udp] {
        for v6 in [false, true] {
            for wrong in 0..3 {
                let mut came = frames(&run(&plain(v6, l4), 3));
                *came[wrong].last_mut().unwrap() ^= 1;
                let left = gathered(&came);
                // Behind a wrong first or before a wrong last one, two are left to go together.
                assert_eq!(left.len(), if wrong == 1 { 3 } else { 2 });
                assert_eq!(left.iter().flat_map(cut).collect::<Vec<_>>(), came);
                let alone = left.iter().find(|(bytes, _)| *bytes == came[wrong]).unwrap();
                assert_eq!(alone.1, PLAIN, "nobody says that it is right");
            }
        }
    }
    let mut without = frames(&run(&plain(false, L4::Udp), 3));
    without.iter_mut().for_each(|frame| frame[40..42].fill(0));
    assert_eq!(
        gathered(&without).len(),
        3,
        "nobody can say of a datagram without a checksum whether it is right"
    );
}

/// Zero and all ones say the same, but only one of them comes back.
#[test]
fn what_would_come_back_with_another_checksum_is_kept_apart() {
    // The field of 16 bits at `free` is chosen so that the checksum at `check` becomes zero.
    let zero = |frame: &mut [u8], free: usize, check: usize| {
        let held = u16::from_be_bytes([frame[check], frame[check + 1]]);
        let word = u16::from_be_bytes([frame[free], frame[free + 1]]);
        let sum = checksum::Sum::of(word) + checksum::Sum::of(held);
        frame[free..free + 2].copy_from_slice(&sum.folded().to_be_bytes());
        frame[check..check + 2].fill(0xff);
    };
    let mut tcp = frames(&run(&plain(true, L4::Tcp), 2));
    let p = ip(&tcp[1]);
    zero(&mut tcp[1], usize::from(p.payload), usize::from(p.l4) + 16);
    assert!(checksum::verify_transport(&tcp[1], &p), "all ones are right");
    let left: Vec<_> = gathered(&tcp).iter().flat_map(cut).collect();
    assert_eq!(left, tcp);

    let mut packets = run(&plain(false, L4::Tcp), 2);
    let mut first = packets[0].frame();
    zero(&mut first, 18, 24);
    let id = u16::from_be_bytes([first[18], first[19]]);
    packets[1].id = id.wrapping_add(1);
    let came = vec![first, packets[1].frame()];
    let left: Vec<_> = gathered(&came).iter().flat_map(cut).collect();
    assert_eq!(left, came);
}

#[test]
fn what_a_sender_left_to_be_completed_counts_as_right() {
    for l4 in [L4::Tcp, L4::Udp] {
        let packets = frames(&run(&plain(false, l4), 2));
        let p = ip(&packets[0]);
        let partial = |offset| Meta {
            checksum: Checksum::Partial { start: p.l4, offset },
            ..PLAIN
        };
        let own = partial(p.checksum_offset().unwrap());
        let unfinished = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            bytes
        };
        let (first, second) = (unfinished(&packets[0]), unfinished(&packets[1]));
        let mut headers = Coalescing::begin(&first, &p, &own).unwrap();
        assert!(headers.admits(&first, &second, &ip(&second), &own));
        assert!(!headers.admits(&first, &second, &ip(&second), &PLAIN));
        assert!(
            Coalescing::begin(&first, &p, &partial(30)).is_none(),
            "of a packet inside of it"
        );
        let cut = Meta {
            gso: Some(Gso {
                kind: headers.kind(),
                size: 10,
                ecn: false,
            }),
            ..own
        };
        assert!(Coalescing::begin(&first, &p, &cut).is_none(), "a super-frame already");
    }
}

#[test]
fn fragments_and_other_protocols_pass_alone() {
    let mut fragment = plain(false, L4::Udp).frame();
    fragment[20] = 0x20;
    let fragment = with_ip_checksum(&fragment);
    assert!(Coalescing::begin(&fragment, &ip(&fragment), &PLAIN).is_none());
    let echo = plain(true, L4::EchoRequest).frame();
    assert!(Coalescing::begin(&echo, &ip(&echo), &PLAIN).is_none());
    let mut padded = plain(true, L4::Tcp);
    padded.padding = 3;
    let padded = padded.frame();
    assert!(Coalescing::begin(&padded, &ip(&padded), &PLAIN).is_none());
}
