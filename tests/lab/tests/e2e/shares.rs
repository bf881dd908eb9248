//! What one pod may have of the connections that all share, and whose make room when there are no more.

use crate::balance::total;
use crate::clients::{Conversation, curl, datagram, udp_socket, uninterrupted};
use crate::cluster::*;
use crate::faults;
use crate::raw::drops;
use serde_json::json;
use sluice_lab::{Lab, Place, Topology};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

/// What a port may have at least; the smallest table has no more in all.
const QUOTA: usize = 1024;
/// Where the flows of the greedy and of the modest begin: a source port each.
const GREEDY: u16 = 20_000;
const MODEST: u16 = 10_000;

/// [`two_nodes`] with a pod on the first that wants all connections, of which there are so many.
fn with_greedy(connections: usize) -> Topology {
    let mut topology = two_nodes();
    add_pod(
        &mut topology,
        r#"{"name": "greedy", "node": "node-a", "addresses": ["10.244.1.66", "fd00:244:1::66"]}"#,
    );
    let agent = json!({"memory": {"connections": connections}, "limits": {"new_flows": 100, "new_flows_burst": 3000}});
    topology.nodes[0].agent = agent.as_object().unwrap().clone();
    topology
}

/// How many flows from `first` on are answered before the first one that is not. Each is a connection that stays.
fn open(from: &Place<'_>, to: IpAddr, first: u16, most: usize) -> usize {
    let answered = |port: &u16| {
        let socket = UdpSocket::bind(("0.0.0.0", *port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.connect(SocketAddr::new(to, 7)).unwrap();
        let exchange = || {
            let sent = socket.send(b"more");
            sent.and_then(|_| uninterrupted(|| socket.recv(&mut [0; 64]))).is_ok()
        };
        faults::again(exchange, |came| *came)
    };
    from.within(|| Ok((first..).take(most).take_while(answered).count()))
        .unwrap()
}

/// Source ports of the connections that `from` opened to the echo server.
fn held(lab: &Lab, from: &str) -> BTreeSet<u16> {
    let (node, own) = (lab.node("node-a").unwrap(), address(lab, from, false));
    let rows = node.sluice_json(&["flows", "--limit", "10000"]).unwrap();
    let rows = rows.as_array().unwrap().iter();
    let own = rows.filter(|row| row["source"] == json!(own) && row["destination_port"] == 7);
    own.filter_map(|row| u16::try_from(row["source_port"].as_u64()?).ok())
        .collect()
}

/// Connections of the neighbour, one to each web server in each family, that must go on.
fn neighbours(lab: &Lab) -> Vec<Conversation> {
    let user = lab.pod("user").unwrap();
    let ends = ["web-1", "web-2"]
        .into_iter()
        .flat_map(|to| FAMILIES.map(|v6| (to, v6)));
    ends.map(|(to, v6)| Conversation::open(&user, (address(lab, to, v6), 80)))
        .collect()
}

/// The neighbour's connections go on, and new ones begin.
fn all_is_well(lab: &Lab, talks: &mut [Conversation]) {
    let user = lab.pod("user").unwrap();
    for talk in talks {
        talk.http(PATIENCE).unwrap();
    }
    for v6 in FAMILIES {
        assert_eq!(curl(&user, address(lab, "web-1", v6), "/"), "web-1");
        assert!(curl(&user, of(WEB, v6), "/").starts_with("web-"));
        assert_eq!(curl(&user, of(OUTSIDE, v6), "/"), "outside");
    }
}

#[test]
fn a_pod_that_opens_flows_without_end_is_limited_and_its_neighbours_are_not() {
    in_lab(&with_greedy(4 * QUOTA), |lab| {
        let (node, greedy) = (lab.node("node-a").unwrap(), lab.pod("greedy").unwrap());
        let web = address(lab, "web-1", false);
        let mut talks = neighbours(lab);
        assert_eq!(open(&greedy, web, GREEDY, 2 * QUOTA), QUOTA, "a quarter of all");
        assert!(drops(&node, "port_quota") > 0);
        // And on, to everywhere: what is refused takes tokens, too, until there are none.
        let spray = || {
            let socket = udp_socket(false)?;
            for port in 10_000..11_000 {
                // One for which the pod's own queue has no room is not sent.
                let _ = socket.send_to(b"more", SocketAddr::new(web, port));
            }
            Ok(())
        };
        lab.wait("its tokens to be used up", PATIENCE, || {
            greedy.within(spray).unwrap();
            drops(&node, "new_flow_rate") > 0
        })
        .unwrap();
        all_is_well(lab, &mut talks);
        assert_eq!(total(&node, "connections_evicted"), 0, "there is room for all others");
        // What the greedy has goes on; it has to wait for more.
        assert_eq!(open(&greedy, web, GREEDY, QUOTA), QUOTA);
        assert!(datagram(&greedy, (web, 7), "more", Duration::from_millis(300)).is_err());
        assert_eq!(held(lab, "greedy").len(), QUOTA);
    });
}

#[test]
fn when_no_connection_is_left_who_has_most_makes_room() {
    const MORE: usize = 200;
    in_lab(&with_greedy(QUOTA), |lab| {
        let (node, greedy, user) = (
            lab.node("node-a").unwrap(),
            lab.pod("greedy").unwrap(),
            lab.pod("user").unwrap(),
        );
        let web = address(lab, "web-1", false);
        let mut talks = neighbours(lab);
        assert_eq!(open(&user, web, MODEST, MORE), MORE);
        let got = open(&greedy, web, GREEDY, 2 * QUOTA);
        assert!((QUOTA / 2..QUOTA - MORE).contains(&got), "all that was left: {got}");
        assert!(drops(&node, "connection_table_full") > 0);
        let before = (held(lab, "greedy"), total(&node, "connections_evicted"));
        assert_eq!(before.0.len(), got);

        assert_eq!(open(&user, web, MODEST + MORE as u16, MORE), MORE);
        all_is_well(lab, &mut talks);
        let lost = before.0.difference(&held(lab, "greedy")).count();
        let evicted = total(&node, "connections_evicted") - before.1;
        assert!(
            lost >= MORE && evicted >= MORE as u64,
            "{lost} of the greedy's, {evicted} in all"
        );
        let modest: BTreeSet<u16> = (MODEST..).take(2 * MORE).collect();
        assert!(held(lab, "user").is_superset(&modest), "who has little loses nothing");
    });
}
