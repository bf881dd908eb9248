//! The announced segment size, at every place where an option can lie.

use crate::checksum::as_partial;
use crate::sample::{L4, Sample, ip};
use sluice_wire::checksum::{pseudo, sum, verify_transport};
use sluice_wire::{Checksum, clamp_mss, tcp_flags};

/// A SYN with these options, padded, and a right checksum.
fn syn(v6: bool, options: &[u8]) -> (Sample, Vec<u8>) {
    let mut s = Sample::plain(v6, L4::Tcp);
    s.flags = tcp_flags::SYN;
    s.tcp_options = options.len().div_ceil(4);
    let mut frame = s.frame();
    let p = ip(&frame);
    let l4 = usize::from(p.l4);
    frame[l4 + 20..l4 + 20 + options.len()].copy_from_slice(options);
    frame[l4 + 16..l4 + 18].fill(0);
    let total = sum(&frame[l4..]) + pseudo(&p.tuple.src, &p.tuple.dst, p.tuple.proto, p.end - u32::from(p.l4));
    frame[l4 + 16..l4 + 18].copy_from_slice(&total.checksum().to_be_bytes());
    (s, frame)
}

#[test]
fn is_lowered_wherever_it_lies_and_never_raised() {
    for v6 in [false, true] {
        for lead in 0..5 {
            let options = [&vec![1; lead][..], &[4, 2, 2, 4, 0x05, 0xb4, 3, 3, 7]].concat();
            let (s, whole) = syn(v6, &options);
            let p = ip(&whole);
            let at = usize::from(p.l4) + 20 + lead + 4;
            let mut frame = whole.clone();
            assert!(!clamp_mss(&mut frame, &p, Checksum::Unverified, 1460));
            assert_eq!(frame, whole, "1460 already");
            assert!(clamp_mss(&mut frame, &p, Checksum::Unverified, 1398));
            assert_eq!(frame[at..at + 2], 1398u16.to_be_bytes());
            assert!(verify_transport(&frame, &p), "{lead} bytes before");
            let mut partial = as_partial(&s, &whole);
            let held = partial.clone();
            assert!(clamp_mss(
                &mut partial,
                &p,
                Checksum::Partial {
                    start: p.l4,
                    offset: 16
                },
                1398
            ));
            partial[at..at + 2].copy_from_slice(&1460u16.to_be_bytes());
            assert_eq!(partial, held, "a sum of the pseudo-header does not change");
        }
    }
}

#[test]
fn what_is_no_announcement_is_left_alone() {
    let odd: [&[u8]; 7] = [
        &[],
        &[0, 2, 4, 5, 0xb4],
        &[2, 3, 5, 1],
        &[9, 0, 2, 4, 5, 0xb4],
        &[1, 1, 1, 2],
        &[1, 2, 4, 5],
        &[9, 40, 2, 4],
    ];
    for options in odd {
        let (_, frame) = syn(false, options);
        let mut copy = frame.clone();
        assert!(
            !clamp_mss(&mut copy, &ip(&frame), Checksum::Unverified, 100),
            "{options:?}"
        );
        assert_eq!(copy, frame);
    }
    let (_, mut frame) = syn(false, &[2, 4, 5, 0xb4]);
    frame[47] = tcp_flags::ACK;
    let p = ip(&frame);
    assert!(
        !clamp_mss(&mut frame, &p, Checksum::Unverified, 100),
        "only a SYN announces"
    );
}
