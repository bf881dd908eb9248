//! What is said of dropped packets, and which of many are shown.

use super::*;
use crate::api::DropCount;
use proptest::prelude::*;
use sluice_snapshot::{Caps, Peer, PeerSlot, Port, PortKind, PortTable, Snapshot};
use sluice_wire::Scope;
use std::sync::Arc;

const UPLINK: PortSlot = PortSlot(0);
const POD: PortSlot = PortSlot(2);
const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn v4(text: &str) -> Addr {
    text.parse::<std::net::IpAddr>().unwrap().into()
}

/// Node 192.0.2.11 with the pod default/web-1 at 10.244.1.5, and node-b at 192.0.2.12.
fn owners() -> Owners {
    let mut parts = super::super::empty_parts();
    let mut ports = PortTable::default();
    let port = |kind| {
        Some(Arc::new(Port {
            scope: Scope::port(1),
            kind,
            mtu: 1450,
            caps: Caps::default(),
        }))
    };
    ports.set(UPLINK, port(PortKind::Uplink { mac: OURS }));
    let kind = PortKind::Pod {
        mac: OURS,
        addrs: [v4("10.244.1.5")].into(),
        name: "default/web-1".into(),
    };
    ports.set(POD, port(kind));
    parts.ports = Arc::new(ports);
    let mut node = (*parts.node).clone();
    (node.vtep_mac_v4, node.tunnel_port, node.uplink_port) = (OURS, 8472, UPLINK);
    node.addresses = [v4("192.0.2.11")].into_iter().collect();
    parts.node = Arc::new(node);
    let mut forwarding = (*parts.forwarding).clone();
    let peer = Peer {
        name: "node-b".into(),
        scope: Scope::port(9),
        endpoints: vec![v4("192.0.2.12")],
        prefixes: Vec::new(),
    };
    forwarding.set_peer(PeerSlot(0), peer);
    parts.forwarding = Arc::new(forwarding);
    Owners::new(
        Arc::new(Snapshot::first(parts)),
        "node-a",
        Vec::new(),
        std::iter::empty(),
    )
}

/// Ethernet, IPv4, and the ports of UDP, with what follows.
fn udp(macs: (MacAddr, MacAddr), (src, sport): (&str, u16), (dst, dport): (&str, u16), rest: &[u8]) -> Vec<u8> {
    let ip = |text| v4(text).v4_octets();
    let mut frame = [&macs.1.0[..], &macs.0.0, &[8, 0, 0x45]].concat();
    frame.extend([0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend([ip(src), ip(dst)].concat());
    frame.extend([sport.to_be_bytes(), dport.to_be_bytes(), [0; 2], [0; 2]].concat());
    frame.extend(rest);
    frame
}

fn packet(reason: DropReason, ingress: Option<PortSlot>, egress: Option<PortSlot>, bytes: Vec<u8>) -> DroppedPacket {
    DroppedPacket {
        worker: 0,
        sequence: 0,
        age_ns: 5_000_000,
        reason,
        ingress,
        egress,
        length: bytes.len() as u32,
        bytes,
    }
}

fn one(packet: &DroppedPacket) -> DropRow {
    let vteps = HashMap::from([(THEIRS, "node-b".to_owned())]);
    row(&owners(), &vteps, packet)
}

#[test]
fn ports_pods_and_tuples_are_named() {
    let bytes = udp((THEIRS, OURS), ("10.244.1.5", 1000), ("10.244.2.7", 53), &[]);
    let row = one(&packet(DropReason::PolicyEgress, Some(POD), None, bytes));
    assert_eq!(
        (row.port.as_deref(), row.tunnel.as_deref()),
        (Some("default/web-1"), None)
    );
    assert_eq!((row.protocol.as_deref(), row.age_ms), (Some("udp"), 5));
    assert_eq!(
        (row.source.as_deref(), row.source_port),
        (Some("10.244.1.5"), Some(1000))
    );
    assert_eq!(
        (row.destination.as_deref(), row.destination_port),
        (Some("10.244.2.7"), Some(53))
    );
    assert_eq!(
        (row.source_pod.as_deref(), row.destination_pod.as_deref()),
        (Some("default/web-1"), None)
    );
    assert!(
        row.bytes.starts_with("0200000000010200000000020800") && row.length == 42,
        "{row:?}"
    );

    let gone = one(&packet(DropReason::PortGone, Some(PortSlot(77)), None, vec![1; 13]));
    assert_eq!((gone.port, gone.protocol, gone.source_mac), (None, None, None));
    let other = one(&packet(
        DropReason::EtherTypeUnknown,
        Some(POD),
        None,
        [[1; 12].as_slice(), &[0x88, 0xcc]].concat(),
    ));
    assert_eq!(
        (other.protocol.as_deref(), other.source_mac.as_deref()),
        (Some("0x88cc"), Some("01:01:01:01:01:01"))
    );
    let refused = one(&packet(DropReason::TxRefused, None, Some(POD), Vec::new()));
    assert_eq!(
        (refused.port, refused.to_port.as_deref()),
        (None, Some("default/web-1"))
    );
}

#[test]
fn the_far_end_of_a_tunnel_is_named() {
    let inner = udp((THEIRS, OURS), ("10.244.2.7", 1000), ("10.244.1.5", 53), &[]);
    let wrap = |src, dst| {
        udp(
            (THEIRS, OURS),
            (src, 50000),
            (dst, 8472),
            &[&[8, 0, 0, 0, 0, 0, 1, 0], &inner[..]].concat(),
        )
    };
    let (us, them, stranger) = ("192.0.2.11", "192.0.2.12", "192.0.2.66");
    for (reason, ingress, egress, bytes, far) in [
        (DropReason::PolicyIngress, UPLINK, None, inner.clone(), "node-b"),
        (DropReason::UnknownVni, UPLINK, None, wrap(them, us), "node-b"),
        (DropReason::UnknownVtep, UPLINK, None, wrap(stranger, us), stranger),
        (DropReason::TxRingFull, POD, Some(UPLINK), wrap(us, them), "node-b"),
    ] {
        let row = one(&packet(reason, Some(ingress), egress, bytes));
        assert_eq!(
            (row.tunnel.as_deref(), row.source.as_deref()),
            (Some(far), Some("10.244.2.7")),
            "{reason:?}"
        );
        assert_eq!(row.destination_pod.as_deref(), Some("default/web-1"));
    }
    // A pod's own packet to a tunnel port is no tunnel's.
    let row = one(&packet(
        DropReason::TunnelFromPod,
        Some(POD),
        None,
        wrap("10.244.1.5", us),
    ));
    assert_eq!((row.tunnel, row.destination_port), (None, Some(8472)));
}

fn ask(query: &DropQuery, samples: &[DroppedPacket]) -> Result<DropsReport, String> {
    let drops = DropReason::ALL.iter().map(|reason| DropCount {
        reason: reason.label().into(),
        group: reason.group().label().into(),
        text: reason.text().into(),
        remedy: reason.remedy().into(),
        packets: 10,
    });
    let counters = CountersReport {
        drops: drops.collect(),
        ..CountersReport::default()
    };
    report(&owners(), &HashMap::new(), query, &counters, samples)
}

#[test]
fn they_are_found_by_reason_group_and_pod() {
    let to_pod = udp((THEIRS, OURS), ("10.244.2.7", 1), ("10.244.1.5", 2), &[]);
    let elsewhere = udp((THEIRS, OURS), ("10.244.2.7", 1), ("10.244.2.8", 2), &[]);
    let samples = [
        packet(DropReason::PolicyIngress, Some(UPLINK), None, to_pod),
        packet(DropReason::PolicyEgress, Some(POD), None, elsewhere.clone()),
        packet(DropReason::NoRoute, Some(UPLINK), None, elsewhere),
    ];
    let found = |reason: Option<&str>, pod: Option<&str>| {
        let query = DropQuery {
            reason: reason.map(str::to_owned),
            pod: pod.map(str::to_owned),
            ..DropQuery::default()
        };
        let report = ask(&query, &samples).unwrap();
        assert_eq!(report.reasons.len(), report.drops.len());
        (report.dropped_packets, report.matching_samples)
    };
    let expected = DropReason::ALL
        .iter()
        .filter(|reason| reason.group() == DropGroup::Expected)
        .count() as u64;
    assert_eq!(found(None, None), (10 * (DropReason::ALL.len() as u64 - expected), 3));
    assert_eq!(found(Some("no_route"), None), (10, 1));
    assert_eq!(found(Some("policy"), None), (20, 2));
    assert_eq!(found(Some("policy"), Some("web-1")), (20, 2));
    assert_eq!(found(Some("no_route"), Some("default/web-1")), (10, 0));
    assert_eq!(found(None, Some("other/web-1")).1, 0);
    let wrong = DropQuery {
        reason: Some("polcy".into()),
        ..DropQuery::default()
    };
    let error = ask(&wrong, &samples).unwrap_err();
    assert!(
        error.starts_with("there is no drop reason or group `polcy`; groups are capacity,"),
        "{error}"
    );
}

#[test]
fn what_every_network_has_is_shown_when_it_is_asked_for() {
    let samples = [
        packet(DropReason::Multicast, Some(POD), None, vec![1; 60]),
        packet(DropReason::NoPod, Some(POD), None, vec![1; 60]),
        packet(DropReason::TxRingFull, Some(POD), None, vec![1; 60]),
    ];
    let shown = |query: &DropQuery| {
        let report = ask(query, &samples).unwrap();
        let names: Vec<_> = report.reasons.iter().map(|reason| reason.reason.clone()).collect();
        (names, report.expected_packets > 0)
    };
    let query = DropQuery::default();
    assert_eq!(shown(&query), (vec!["tx_ring_full".into(), "no_pod".into()], true));
    let all = DropQuery {
        all: true,
        ..query.clone()
    };
    assert_eq!(
        shown(&all),
        (vec!["tx_ring_full".into(), "no_pod".into(), "multicast".into()], false)
    );
    let named = DropQuery {
        reason: Some("expected".into()),
        ..query
    };
    assert_eq!(shown(&named), (vec!["multicast".into()], false));
}

proptest! {
    /// With room for `limit`, a row is left out only for one that is newer among those of its reason, or for a reason that had no more
    /// turns than its own.
    #[test]
    fn each_reason_has_its_share(ages in proptest::collection::vec((0u64..50, 0usize..3), 0..40), limit in 0usize..30) {
        let names = ["a", "b", "c"];
        let rows: Vec<_> = ages.iter().enumerate().map(|(n, (age, kind))| {
            let row = DropRow { age_ms: *age, reason: names[*kind].into(), sequence: n as u64, ..DropRow::default() };
            (*age, row)
        }).collect();
        let got = choose(rows.clone(), limit);
        prop_assert_eq!(got.len(), limit.min(rows.len()));
        prop_assert!(got.is_sorted_by_key(|row| row.age_ms));
        let count = |name: &str| got.iter().filter(|row| row.reason == name).count();
        for (age, left) in rows.iter().filter(|(_, row)| !got.contains(row)) {
            let kept: Vec<_> = got.iter().filter(|row| row.reason == left.reason).collect();
            prop_assert!(kept.iter().all(|row| row.age_ms <= *age));
            for name in names {
                prop_assert!(count(name) <= kept.len() + 1, "{name} has more than its share");
            }
        }
    }

    #[test]
    fn any_bytes_make_a_row(bytes in proptest::collection::vec(any::<u8>(), 0..128), slots in any::<(Option<u16>, Option<u16>)>()) {
        let slot = |slot: Option<u16>| slot.map(|slot| PortSlot(slot % 4));
        let row = one(&packet(DropReason::Multicast, slot(slots.0), slot(slots.1), bytes.clone()));
        prop_assert_eq!(row.bytes.len(), 2 * bytes.len());
        let texts = [&row.port, &row.tunnel, &row.protocol, &row.source, &row.source_mac];
        prop_assert!(texts.into_iter().flatten().all(|text| text.chars().all(|c| c.is_ascii_graphic())));
    }
}
