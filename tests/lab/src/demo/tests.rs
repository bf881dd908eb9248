use super::checks::spread;
use super::table::render;
use super::*;

fn row(ok: bool, seen: &str) -> Row {
    let below = vec!["192.0.2.11:51823 > 192.0.2.12:8472  vxlan vni 1".to_string()];
    Row {
        what: "curl  [fd00:96::a]:80",
        detail: "service web, 300 x",
        expected: "3 backends",
        seen: seen.into(),
        ok,
        below,
    }
}

#[test]
fn every_line_fits_into_a_hundred_columns_and_says_more_than_its_colour() {
    let long = "an error with a long text ".repeat(9);
    let rows = [row(true, "101 / 99 / 100"), row(false, &long), row(false, "a\nb")];
    let plain = render(&rows, Style { colour: false });
    for line in plain.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(
        plain.contains("ok\n") && plain.contains("differs\n") && !plain.contains('\x1b'),
        "{plain}"
    );
    assert!(plain.contains("     an error with a long text"), "{plain}");
    assert!(render(&rows, Style { colour: true }).contains("\x1b[32mok"));
}

#[test]
fn columns_of_all_checks_line_up() {
    for check in checks::all() {
        assert!(
            check.what.len() <= 24 && check.detail.len() <= 21 && check.expected.len() <= 16,
            "{}",
            check.what
        );
    }
}

#[test]
fn a_spread_counts_each_name_in_order() {
    let names = ["web-2", "web-1", "web-2", "web-3"];
    assert_eq!(
        spread(names.iter().copied()),
        [("web-1", 1), ("web-2", 2), ("web-3", 1)]
            .map(|(n, c)| (n.to_string(), c))
            .into()
    );
}

#[test]
fn a_captured_packet_is_told_in_two_lines() {
    let fields = "192.0.2.11,10.244.1.5\t192.0.2.12,10.244.2.7\t51823\t8472\t1\t43112\t80\n";
    let packet = capture::Packet::parse(fields).unwrap();
    assert_eq!(
        packet.lines("10.96.0.10:80", "default/web"),
        [
            "192.0.2.11:51823 > 192.0.2.12:8472  vxlan vni 1",
            "  10.244.1.5:43112 > 10.244.2.7:80  tcp syn  (was 10.96.0.10:80, service default/web)"
        ]
    );
    let flow = |source: u16, endpoint: &str| {
        serde_json::json!({"source": "10.244.1.5", "source_port": source, "destination": "10.96.0.10", "destination_port": 80,
            "endpoint": endpoint, "endpoint_port": 80})
    };
    let service = |name: &str, protocol: &str| {
        let node_port = serde_json::json!({"address": null, "protocol": "tcp", "port": 30080});
        serde_json::json!({"namespace": "default", "name": name,
            "frontends": [node_port, {"address": "10.96.0.10", "protocol": protocol, "port": 80}]})
    };
    let services = [service("dns", "udp"), service("web", "tcp")].into();
    let flows = [flow(43113, "10.244.2.7"), flow(43112, "10.244.2.7")].into();
    assert_eq!(
        packet.origin_in(&flows, &services),
        Some(("10.96.0.10:80".into(), "default/web".into()))
    );
    let others = [flow(43113, "10.244.2.7"), flow(43112, "10.244.2.8")].into();
    assert_eq!(packet.origin_in(&others, &services), None);
    for broken in [
        "",
        "192.0.2.11\t192.0.2.12\t1\t2\t3\t4\t5",
        "a,b\tc,d\t51823\t8472\t1\t43112",
    ] {
        assert!(capture::Packet::parse(broken).is_none(), "{broken}");
    }
}

#[test]
fn the_topology_of_the_demo_has_everything_the_checks_name() {
    let topology = Topology::parse(TOPOLOGY).unwrap();
    assert_eq!(
        (topology.nodes.len(), topology.clients[0].name.as_str()),
        (2, "outside")
    );
    let files = crate::manifests::objects(&topology);
    assert!(files.contains_key(checks::POLICY_FILE));
}

#[test]
fn rows_say_what_works_and_what_does_not() {
    let mut topology = Topology::parse(TOPOLOGY).unwrap();
    for node in &mut topology.nodes {
        node.kind = crate::topology::NodeKind::Linux;
    }
    // Plain nodes know pods but no services.
    let lab = Lab::up(&topology).unwrap();
    let wanted = [
        ("ping  web-1 -> web-3", true),
        ("curl  10.96.0.10:80", false),
        ("curl  web-1 -> outside", true),
    ];
    let chosen = checks::all()
        .into_iter()
        .filter(|check| wanted.iter().any(|(what, _)| *what == check.what))
        .collect();
    let rows = rows(&lab, chosen, &mut |_| {});
    assert_eq!(rows.len(), 4, "ping runs over both families");
    for row in rows {
        let ok = wanted.iter().any(|(what, ok)| *what == row.what && *ok);
        assert_eq!(row.ok, ok, "{row:?}");
    }
}

#[test]
fn a_lab_that_is_kept_stays_up_and_all_that_is_there_to_explore_exists() {
    let mut topology = Topology::parse(TOPOLOGY).unwrap();
    for node in &mut topology.nodes {
        node.kind = crate::topology::NodeKind::Linux;
    }
    let name = format!("kept-{}", std::process::id());
    let lab = Lab::up_named(&topology, &name, &mut |_| {}).unwrap();
    let text = explore(&lab);
    let dir = lab.dir().display().to_string();
    assert!(lab.dir().join("manifests").join(POLICY_FILE).exists());
    for line in [
        format!("--socket {dir}/node-a.sock status"),
        format!("exec web-1 --lab {name} -- curl -s http://10.96.0.10/"),
        format!("exec net --lab {name} -- tcpdump -ni n0 udp port 8472"),
        format!("{dir}/manifests/{POLICY_FILE}"),
        format!("down {name}"),
    ] {
        assert!(text.contains(&line), "`{line}` is missing: {text}");
    }
    lab.keep().unwrap();
    let again = Lab::open(&name).unwrap();
    assert!(
        again.place("web-1").unwrap().run(&["true"]).unwrap().ok(),
        "it is still up"
    );
    drop(again);
    Lab::down(&name).unwrap();
    assert!(Lab::open(&name).is_err(), "and goes when it is told to");
}
