//! Tuples before and after.

use crate::common::*;
use sluice_lb::{Frontend, Rewrite, Runtime, SchedulerKind, Source};
use sluice_wire::{Addr, Proto, Tuple};

const NODE: Source = Source {
    addr: Addr::v4([192, 0, 2, 11]),
    port: 40_001,
};

#[test]
fn a_masqueraded_service_connection_changes_both_ends() {
    let service = service(SchedulerKind::Rr, &[1]);
    let original = tuple(client(1), 5555);
    let choice = service.pick(&context(client(1), 0, 0), &Runtime::new(1, 1)).unwrap();
    let rewrite = Rewrite::new(original, Some(&choice), Some(NODE));
    let endpoint = service.endpoints()[0];
    let forwarded = Tuple {
        src: NODE.addr,
        sport: NODE.port,
        dst: endpoint.addr,
        dport: endpoint.port,
        proto: Proto::TCP,
    };
    assert_eq!(rewrite.forwarded, forwarded);
    assert_eq!(rewrite.reply().dst, NODE.addr);
    assert_eq!(rewrite.reply().sport, endpoint.port);
    assert_eq!(Frontend::of(&rewrite.original), Frontend::of(&original));
    assert_eq!((rewrite.answered().src, rewrite.answered().dport), (original.dst, 5555));
    assert!(!rewrite.is_identity());
}

#[test]
fn an_echo_keeps_one_identifier() {
    let original = Tuple {
        proto: Proto::ICMP,
        sport: 77,
        dport: 77,
        ..tuple(client(1), 0)
    };
    let forwarded = Rewrite::new(original, None, Some(NODE)).forwarded;
    assert_eq!(
        (forwarded.sport, forwarded.dport, forwarded.dst),
        (NODE.port, NODE.port, original.dst)
    );
}

#[test]
fn nothing_to_rewrite_changes_nothing() {
    assert!(Rewrite::new(tuple(client(1), 1), None, None).is_identity());
}
