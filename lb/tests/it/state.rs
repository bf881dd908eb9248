//! Connection states and their time-outs.

use proptest::prelude::*;
use sluice_lb::ConnState::{self, *};
use sluice_lb::Direction::{self, Original as O, Reply as R};
use sluice_lb::{Timeouts, on_packet, timeout_ns};
use sluice_wire::Proto;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// One conversation: packets, each with the state after it.
type Talk = &'static [(Direction, u8, ConnState)];

const TALKS: &[(&str, Talk)] = &[
    (
        "opened and closed by the client",
        &[
            (O, SYN, SynSent),
            (R, SYN | ACK, SynReceived),
            (O, ACK, Established),
            (R, ACK, Established),
            (O, FIN | ACK, FinOriginal),
            (R, ACK, FinOriginal),
            (O, FIN | ACK, FinOriginal),
            (R, FIN | ACK, TimeWait),
            (O, ACK, TimeWait),
        ],
    ),
    (
        "closed by the server first",
        &[
            (O, SYN, SynSent),
            (R, SYN | ACK, SynReceived),
            (O, ACK, Established),
            (R, FIN | ACK, FinReply),
            (O, ACK, FinReply),
            (O, FIN | ACK, TimeWait),
        ],
    ),
    (
        "retransmitted SYN, then refused",
        &[(O, SYN, SynSent), (O, SYN, SynSent), (R, RST | ACK, Closed)],
    ),
    (
        "simultaneous open",
        &[
            (O, SYN, SynSent),
            (R, SYN, SynReceived),
            (O, SYN | ACK, Established),
            (R, SYN | ACK, Established),
        ],
    ),
    (
        "simultaneous open, the other's answer first",
        &[
            (O, SYN, SynSent),
            (R, SYN, SynReceived),
            (R, SYN | ACK, SynReceived),
            (O, SYN | ACK, Established),
        ],
    ),
    (
        "a reset ends it",
        &[
            (O, ACK, SynSent),
            (R, ACK, Established),
            (R, RST, Reset),
            (O, RST | ACK, Reset),
            (O, SYN, SynSent),
        ],
    ),
    (
        "a forged reset, which its receiver challenges",
        &[
            (O, ACK, SynSent),
            (R, ACK, Established),
            (R, RST, Reset),
            (O, ACK, Established),
        ],
    ),
    (
        "a forged reset, and its supposed sender goes on",
        &[
            (O, ACK, SynSent),
            (R, FIN | ACK, FinReply),
            (O, RST, Reset),
            (O, ACK, Established),
        ],
    ),
    (
        "data under way when the reset comes, which is repeated",
        &[
            (O, ACK, SynSent),
            (R, ACK, Established),
            (R, RST, Reset),
            (O, ACK, Established),
            (R, RST, Reset),
        ],
    ),
    (
        "a SYN on an established tuple, the challenge, and its answer",
        &[
            (O, ACK, SynSent),
            (R, ACK, Established),
            (O, SYN, Established),
            (R, ACK, Established),
            (O, RST, Reset),
            (O, SYN, SynSent),
        ],
    ),
    (
        "half-closed, and the other side talks on",
        &[
            (O, ACK, SynSent),
            (R, ACK, Established),
            (O, FIN | ACK, FinOriginal),
            (R, ACK, FinOriginal),
            (O, ACK, FinOriginal),
            (R, FIN | ACK, TimeWait),
            (O, SYN, SynSent),
        ],
    ),
    ("older than this process", &[(O, ACK, SynSent), (R, ACK, Established)]),
    (
        "tuple used again",
        &[
            (O, SYN, SynSent),
            (R, RST, Closed),
            (O, ACK, Closed),
            (R, SYN | ACK, Closed),
            (O, SYN | ACK, Closed),
            (O, SYN, SynSent),
            (R, SYN | ACK, SynReceived),
        ],
    ),
    (
        "a stray SYN does not disturb",
        &[
            (O, ACK, SynSent),
            (R, ACK, Established),
            (O, SYN, Established),
            (R, SYN | ACK, Established),
        ],
    ),
];

#[test]
fn tcp_follows_the_conversation() {
    for (name, talk) in TALKS {
        let mut state = ConnState::first(Proto::TCP, talk[0].1);
        assert_eq!(state, talk[0].2, "{name}: packet 0");
        for (n, &(dir, flags, expected)) in talk.iter().enumerate().skip(1) {
            state = on_packet(state, dir, Proto::TCP, flags);
            assert_eq!(state, expected, "{name}: packet {n}");
        }
    }
}

#[test]
fn others_know_replies_only() {
    for (proto, first, replied) in [
        (Proto::UDP, UdpUnreplied, UdpReplied),
        (Proto::ICMP, Icmp, Icmp),
        (Proto::SCTP, Other, OtherReplied),
    ] {
        assert_eq!(ConnState::first(proto, RST), first);
        assert_eq!(on_packet(first, O, proto, RST), first);
        assert_eq!(on_packet(first, R, proto, RST), replied);
        assert_eq!(on_packet(replied, O, proto, 0), replied);
    }
}

#[test]
fn codes_are_fixed() {
    for (code, &state) in (0..).zip(ConnState::ALL) {
        assert_eq!((state.to_u8(), ConnState::from_u8(code)), (code, Some(state)));
    }
    assert_eq!(ConnState::from_u8(ConnState::ALL.len() as u8), None);
    assert_eq!((SynSent.to_u8(), Closed.to_u8(), OtherReplied.to_u8()), (0, 6, 11));
    assert_eq!(Reset.to_u8(), 12);
}

#[test]
fn a_live_connection_outlasts_one_that_is_not() {
    let timeouts = Timeouts::default();
    let of = |state| timeout_ns(state, &timeouts);
    assert!(of(Established) > of(FinOriginal) && of(FinOriginal) == of(FinReply) && of(FinReply) > of(TimeWait));
    assert!(of(TimeWait) > of(Closed) && of(UdpReplied) > of(UdpUnreplied) && of(OtherReplied) > of(Other));
    assert!(
        of(Established) >= (2 * 60 + 4) * 60 * crate::common::S,
        "RFC 5382 REQ-5"
    );
    for &state in ConnState::ALL.iter().filter(|s| s.is_unreplied()) {
        assert!(
            of(state) <= 60 * crate::common::S,
            "{}: whoever gets no answer is soon forgotten",
            state.label()
        );
    }
}

proptest! {
    #[test]
    fn any_packets_keep_the_protocol_and_a_reset_ends(
        proto in prop_oneof![Just(Proto::TCP), Just(Proto::UDP), Just(Proto::ICMPV6), any::<u8>().prop_map(Proto)],
        packets in prop::collection::vec((any::<bool>(), any::<u8>()), 1..30),
    ) {
        let mut state = ConnState::first(proto, packets[0].1);
        for (reply, flags) in &packets[1..] {
            state = on_packet(state, if *reply { R } else { O }, proto, *flags);
            let tcp = state.to_u8() <= Closed.to_u8() || state == Reset;
            prop_assert_eq!(tcp, proto == Proto::TCP);
            prop_assert!(!tcp || flags & RST == 0 || state.is_over());
        }
    }

    #[test]
    fn nobody_gets_a_long_timeout_without_a_reply(flags in prop::collection::vec(any::<u8>(), 1..20)) {
        let mut state = ConnState::first(Proto::TCP, flags[0]);
        for f in &flags {
            state = on_packet(state, O, Proto::TCP, *f);
            prop_assert!(matches!(state, SynSent | Closed));
        }
    }
}
