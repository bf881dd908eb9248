use crate::scratch::{Netns, ip};
use sluice_control::compile::Underlay;
use sluice_control::kernel::underlay::follow;
use sluice_snapshot::Prefix;
use sluice_wire::{Addr, MacAddr};
use std::time::Duration;
use tokio::sync::watch::Receiver;
use tokio::time::timeout;

async fn until(underlay: &mut Receiver<Option<Underlay>>, what: &str, good: impl Fn(&Underlay) -> bool) -> Underlay {
    let waiting = underlay.wait_for(|now| now.as_ref().is_some_and(&good));
    let found = timeout(Duration::from_secs(5), waiting)
        .await
        .ok()
        .map(|now| now.unwrap().clone().unwrap());
    found.unwrap_or_else(|| panic!("{what}: {:#?}", underlay.borrow().clone()))
}

fn addr(text: &str) -> Addr {
    text.parse::<std::net::IpAddr>().unwrap().into()
}

fn has_route(underlay: &Underlay, prefix: &str, gateway: Option<&str>) -> bool {
    let prefix: Prefix = prefix.parse().unwrap();
    underlay
        .routes
        .iter()
        .any(|route| route.prefix == prefix && route.gateway == gateway.map(addr))
}

#[test]
fn changes_are_seen_as_they_come() {
    Netns::new().run_async(|| async {
        let mut underlay = follow("up0".into(), vec!["sluice0".into()]);
        until(&mut underlay, "a reading without the uplink", |now| {
            now.uplink.ifindex == 0 && now.uplink.name == "up0"
        })
        .await;

        ip("link add up0 address 02:00:00:00:00:01 mtu 1400 type veth peer name up1");
        let now = until(&mut underlay, "the uplink", |now| {
            now.uplink.ifindex != 0 && now.uplink.mtu == 1400
        })
        .await;
        assert_eq!(now.uplink.mac, MacAddr([2, 0, 0, 0, 0, 1]));
        assert!(
            !now.uplink.up && now.routes.is_empty() && now.addresses.is_empty(),
            "{now:?}"
        );
        let ifindex = now.uplink.ifindex;

        ip("link set up1 up");
        ip("link set up0 up");
        until(&mut underlay, "the uplink up", |now| now.uplink.up).await;
        ip("addr add 192.0.2.11/24 dev up0");
        ip("addr add 2001:db8::11/64 dev up0 nodad");
        let now = until(&mut underlay, "addresses and their routes", |now| {
            now.addresses.len() == 2 && has_route(now, "192.0.2.0/24", None) && has_route(now, "2001:db8::/64", None)
        })
        .await;
        assert_eq!(
            now.addresses,
            [(ifindex, addr("192.0.2.11")), (ifindex, addr("2001:db8::11"))]
        );
        assert!(
            now.routes
                .iter()
                .any(|route| route.pref_src == Some(addr("192.0.2.11")))
        );

        ip("addr add 198.51.100.7/32 dev lo");
        ip("addr add 2001:db8:7::7/128 dev lo");
        ip("addr add 127.0.0.53/8 dev lo");
        until(
            &mut underlay,
            "addresses of the node at its loopback, without the loopback's own",
            |now| {
                let at_lo: Vec<_> = now
                    .addresses
                    .iter()
                    .filter(|(at, _)| *at == 1)
                    .map(|(_, addr)| *addr)
                    .collect();
                at_lo == [addr("198.51.100.7"), addr("2001:db8:7::7")]
            },
        )
        .await;
        ip("addr del 198.51.100.7/32 dev lo");
        ip("addr del 2001:db8:7::7/128 dev lo");

        ip("route add default via 192.0.2.1 dev up0 src 192.0.2.11 metric 7");
        ip("route add default via fe80::99 dev up0");
        ip("route add 198.51.100.0/24 nexthop via 192.0.2.2 nexthop via 192.0.2.3");
        ip("route add unreachable 203.0.113.0/24");
        ip("route add 203.0.113.128/25 via 192.0.2.4 table 99");
        let now = until(&mut underlay, "routes", |now| {
            has_route(now, "0.0.0.0/0", Some("192.0.2.1"))
                && has_route(now, "::/0", Some("fe80::99"))
                && has_route(now, "198.51.100.0/24", Some("192.0.2.2"))
        })
        .await;
        assert!(
            !now.routes
                .iter()
                .any(|route| route.prefix.contains(addr("203.0.113.200")) && route.prefix.family_len() > 0)
        );
        assert!(
            now.routes
                .iter()
                .any(|route| route.metric == 7 && route.ifindex == ifindex)
        );

        ip("neigh add 192.0.2.1 lladdr 02:00:00:00:00:99 dev up0");
        let is = |mac: u8| {
            move |now: &Underlay| {
                now.neighbours
                    .iter()
                    .any(|n| n.addr == addr("192.0.2.1") && n.mac.0[5] == mac)
            }
        };
        until(&mut underlay, "a neighbour", is(0x99)).await;
        ip("neigh replace 192.0.2.1 lladdr 02:00:00:00:00:98 dev up0");
        until(&mut underlay, "its new MAC", is(0x98)).await;
        ip("neigh del 192.0.2.1 dev up0");
        until(&mut underlay, "no neighbour", |now| {
            now.neighbours.iter().all(|n| n.addr != addr("192.0.2.1"))
        })
        .await;

        ip("link set up0 down");
        let now = until(&mut underlay, "no routes by a link that is down", |now| {
            !now.uplink.up && now.routes.is_empty()
        })
        .await;
        assert_eq!(now.uplink.ifindex, ifindex);
        ip("link del up0");
        until(&mut underlay, "no uplink", |now| {
            now.uplink.ifindex == 0 && now.addresses.is_empty()
        })
        .await;
    });
}

#[test]
fn loopback_and_the_ignored_interface_are_left_out() {
    Netns::new().run_async(|| async {
        ip("link add sluice0 type veth peer name other");
        ip("link set sluice0 up");
        ip("link set other up");
        ip("addr add 10.244.1.0/32 dev sluice0");
        ip("route add 10.244.0.0/16 dev sluice0");
        ip("addr add 127.0.0.9/8 dev lo");
        ip("neigh add 10.244.2.2 lladdr 02:00:00:00:00:01 dev sluice0");
        ip("addr add 192.0.2.1/24 dev other");
        let mut underlay = follow("up0".into(), vec!["sluice0".into()]);
        let now = until(&mut underlay, "a reading", |now| has_route(now, "192.0.2.0/24", None)).await;
        assert_eq!(
            now.addresses
                .iter()
                .map(|(_, addr)| addr.to_string())
                .collect::<Vec<_>>(),
            ["192.0.2.1"]
        );
        assert_eq!(now.routes.len(), 1, "{:?}", now.routes);
        assert!(now.neighbours.is_empty());
    });
}

#[test]
fn a_flood_of_changes_ends_in_the_right_state() {
    Netns::new().run_async(|| async {
        ip("link add up0 type veth peer name up1");
        ip("link set up0 up");
        ip("addr add 10.0.0.1/8 dev up0");
        let mut underlay = follow("up0".into(), Vec::new());
        until(&mut underlay, "a reading", |now| now.uplink.ifindex != 0).await;
        let batch: String = (0..4000)
            .map(|i| {
                format!(
                    "neigh add 10.1.{}.{} lladdr 02:00:00:00:{:02x}:{:02x} dev up0 nud permanent\n",
                    i / 250,
                    i % 250,
                    i / 250,
                    i % 250
                )
            })
            .collect();
        let file = std::env::temp_dir().join(format!("sl-flood-{}", std::process::id()));
        std::fs::write(&file, batch).unwrap();
        // Nobody reads notifications meanwhile, as this thread is the runtime's: the socket overflows or nearly so.
        ip(&format!("-batch {}", file.display()));
        std::fs::remove_file(&file).unwrap();
        let now = until(&mut underlay, "all neighbours", |now| now.neighbours.len() >= 4000).await;
        let last = now.neighbours.iter().find(|n| n.addr == addr("10.1.15.249")).unwrap();
        assert_eq!(last.mac, MacAddr([2, 0, 0, 0, 15, 249]));
    });
}
