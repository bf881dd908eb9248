//! Packets that are not easy, between kernels that mean them.

use crate::clients::{ping_with, udp_socket};
use crate::cluster::*;
use crate::faults;
use crate::frames::*;
use crate::raw::{contains, drops, expect_drops, raw};
use sluice_lab::{Lab, Output, Place};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Nothing of what `act` sends reaches another pod of the node: what passes next there is honest.
fn heard_by_nobody(lab: &Lab, mark: &str, act: impl FnOnce()) {
    let (user, other) = (lab.pod("user").unwrap(), lab.pod("web-1").unwrap());
    let ear = raw(lab, &other);
    act();
    let honest = format!("after {mark}");
    let next = || {
        send_to(&user, address(lab, "web-1", false), 9, &honest);
        ear.next(PATIENCE, |f| contains(f, mark.as_bytes()))
    };
    let frame = faults::again(next, Option::is_some).expect("the honest one");
    assert!(contains(&frame, honest.as_bytes()), "{mark} came through: {frame:02x?}");
}

fn send_to(from: &Place<'_>, to: IpAddr, port: u16, text: &str) {
    let send = || {
        let socket = udp_socket(to.is_ipv6())?;
        socket.set_broadcast(true)?;
        Ok(socket.send_to(text.as_bytes(), SocketAddr::new(to, port))?)
    };
    assert_eq!(from.within(send).unwrap(), text.len());
}

#[test]
fn groups_and_broadcasts_of_pods_end_at_the_node() {
    in_lab(&two_nodes(), |lab| {
        let (user, node) = (lab.pod("user").unwrap(), lab.node("node-a").unwrap());
        for (to, reason) in [
            ("255.255.255.255", "broadcast"),
            // Pods have no subnet: to their kernel this is an address like any other.
            ("10.244.1.255", "no_pod"),
            ("224.0.0.251", "multicast"),
            ("239.255.255.250", "multicast"),
            ("ff02::fb", "multicast"),
            ("ff05::2", "multicast"),
            ("169.254.169.254", "link_local"),
        ] {
            let mark = format!("for {to}!");
            // Other programs of a pod may speak to groups, too: at least as many.
            heard_by_nobody(lab, &mark, || {
                let before = drops(&node, reason);
                let dropped = || {
                    send_to(&user, to.parse().unwrap(), 5353, &mark);
                    lab.wait(&mark, PATIENCE, || drops(&node, reason) > before)
                };
                faults::again(dropped, Result::is_ok).unwrap();
            });
        }
    });
}

#[test]
fn duplicate_detection_of_a_pods_kernel_hears_nothing() {
    in_lab(&two_nodes(), |lab| {
        let (user, node) = (lab.pod("user").unwrap(), lab.node("node-a").unwrap());
        let ok = |command: &[&str]| {
            let said = user.run(command).unwrap();
            said.text().unwrap().to_string()
        };
        ok(&[
            "sysctl",
            "-q",
            "-w",
            "net.ipv6.conf.all.accept_dad=1",
            "net.ipv6.conf.eth0.accept_dad=1",
        ]);
        ok(&["sysctl", "-q", "-w", "net.ipv6.conf.eth0.dad_transmits=2"]);
        for address in ["fd00:244:1::abcd", "fe80::abcd"] {
            let before = drops(&node, "address_probe");
            ok(&["ip", "address", "add", &format!("{address}/64"), "dev", "eth0"]);
            let state = || ok(&["ip", "-6", "-o", "address", "show", "dev", "eth0", "to", address]);
            lab.wait("the address to be usable", PATIENCE, || !state().contains("tentative"))
                .unwrap();
            let state = state();
            assert!(state.contains(address) && !state.contains("dadfailed"), "{state}");
            assert!(drops(&node, "address_probe") >= before + 2, "it did ask");
        }
        // An ARP probe gets no answer (RFC 5227); the question after it does.
        let port = raw(lab, &user);
        let own = mac_of(&user);
        let (me, other) = (Ipv4Addr::new(10, 244, 1, 9), Ipv4Addr::new(10, 244, 1, 5));
        // Its own frames are read, too.
        let answer_to = |frame: &[u8]| frame[12..14] == [8, 6] && frame[6..12] != own;
        expect_drops(lab, &node, "address_probe", 2, || {
            port.send(&arp(1, own, Ipv4Addr::UNSPECIFIED, own, me));
            port.send(&arp(1, own, Ipv4Addr::UNSPECIFIED, own, other));
        });
        expect_drops(lab, &node, "neighbour_announcement", 2, || {
            port.send(&arp(1, own, me, own, me));
            port.send(&arp(2, own, me, own, me));
        });
        expect_drops(lab, &node, "spoofed_source", 1, || {
            port.send(&arp(2, own, other, own, other));
        });
        expect_drops(lab, &node, "spoofed_mac", 1, || {
            port.send(&arp(1, own, me, mac_of(&lab.pod("web-1").unwrap()), other));
        });
        let ask = || {
            port.send(&arp(1, own, me, own, other));
            port.next(PATIENCE, answer_to)
        };
        let answer = faults::again(ask, Option::is_some).expect("an answer");
        assert_eq!(
            (&answer[28..32], &answer[38..42]),
            (&other.octets()[..], &me.octets()[..])
        );
    });
}

#[test]
fn a_pod_is_no_router_for_others() {
    in_lab(&two_nodes(), |lab| {
        let (user, node) = (lab.pod("user").unwrap(), lab.node("node-a").unwrap());
        let listener = lab.pod("web-1").unwrap();
        for scope in ["all", "eth0"] {
            let set = format!("net.ipv6.conf.{scope}.accept_ra=2");
            listener.run(&["sysctl", "-q", "-w", &set]).unwrap().text().unwrap();
        }
        let port = raw(lab, &user);
        let own = mac_of(&user);
        let (source, all): (Ipv6Addr, Ipv6Addr) = ("fe80::9".parse().unwrap(), "ff02::1".parse().unwrap());
        // Lifetime, timers, and a prefix that everybody would take an address from.
        let mut advert = vec![64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 64, 0xc0];
        advert.extend([0, 1, 0x51, 0x80, 0, 0, 0x38, 0x40, 0, 0, 0, 0]);
        advert.extend("2001:db8:bad::".parse::<Ipv6Addr>().unwrap().octets());
        let to_web: Ipv6Addr = address(lab, "web-1", true).to_string().parse().unwrap();
        expect_drops(lab, &node, "rogue_router", 3, || {
            port.send(&icmp6(own, [0x33, 0x33, 0, 0, 0, 1], source, all, 134, &advert));
            port.send(&icmp6(own, gateway_of(&user), source, to_web, 134, &advert));
            port.send(&icmp6(own, gateway_of(&user), source, to_web, 137, &[0; 36]));
        });
        expect_drops(lab, &node, "router_solicitation", 1, || {
            let routers = "ff02::2".parse().unwrap();
            port.send(&icmp6(own, [0x33, 0x33, 0, 0, 0, 2], source, routers, 133, &[0; 4]));
        });
        let said = listener.run(&["ip", "-6", "address"]).unwrap();
        assert!(!said.text().unwrap().contains("2001:db8:bad"), "{said}");
    });
}

#[test]
fn tagged_frames_and_source_routes_end_at_the_node_and_record_route_passes() {
    in_lab(&two_nodes(), |lab| {
        let (user, node) = (lab.pod("user").unwrap(), lab.node("node-a").unwrap());
        let port = raw(lab, &user);
        let far = address(lab, "web-2", false);
        let macs = (mac_of(&user), gateway_of(&user));
        let frame = datagram(macs, (address(lab, "user", false), 7000), (far, 9000), "tagged");
        for tag in [[0x81, 0, 0, 5], [0x81, 0, 0xa0, 0], [0x88, 0xa8, 0, 5]] {
            let tagged = [&frame[..12], &tag, &frame[12..]].concat();
            expect_drops(lab, &node, "vlan_tagged", 1, || port.send(&tagged));
        }
        // By way of node-b, as far as the pod is concerned.
        let by_way = |gateway: &str| {
            let command = [
                "traceroute",
                "-n",
                "-q",
                "1",
                "-m",
                "2",
                "-w",
                "1",
                "-g",
                gateway,
                &far.to_string(),
            ];
            user.run(&command).unwrap()
        };
        let before = drops(&node, "source_routed");
        let said = by_way(NODE_B[0]);
        let hops: Vec<&str> = said.stdout.lines().skip(1).collect();
        assert!(hops.len() == 2 && hops.iter().all(|hop| hop.ends_with('*')), "{said}");
        assert!(drops(&node, "source_routed") >= before + 2, "{said}");
        let said = ping_with(&user, far, &["-R"]);
        assert!(said.ok() && said.stdout.contains("RR:"), "{said}");
    });
}

/// The kernels of the pods know no SCTP: these are frames by hand, as other pods' user-space stacks send them.
#[test]
fn sctp_passes_between_pods_on_a_node_and_across() {
    in_lab(&two_nodes(), |lab| {
        let user = lab.pod("user").unwrap();
        let port = raw(lab, &user);
        for (to, v6) in ["web-1", "web-2"]
            .into_iter()
            .flat_map(|to| FAMILIES.map(|v6| (to, v6)))
        {
            let place = lab.pod(to).unwrap();
            let ear = raw(lab, &place);
            let (from, target) = ((address(lab, "user", v6), 5000), (address(lab, to, v6), 3868));
            let ways = [
                (&port, &ear, (mac_of(&user), gateway_of(&user)), from, target),
                (&ear, &port, (mac_of(&place), gateway_of(&place)), target, from),
            ];
            for (sender, receiver, macs, from, to) in ways {
                let mark = format!("from {from:?}");
                let sent = sctp(macs, from, to, &mark);
                let segment = &sent[sent.len() - sctp_len(&mark)..];
                let pass = || {
                    sender.send(&sent);
                    receiver.next(PATIENCE, |frame| contains(frame, mark.as_bytes()))
                };
                let whole = |seen: &Option<Vec<u8>>| seen.as_ref().is_some_and(|seen| seen.ends_with(segment));
                let seen = faults::again(pass, whole);
                assert!(whole(&seen), "{mark}: {segment:02x?} became {seen:02x?}");
            }
        }
    });
}

#[test]
fn two_pods_ping_outside_with_one_identifier() {
    in_lab(&two_nodes(), |lab| {
        for v6 in FAMILIES {
            let to = of(OUTSIDE, v6).to_string();
            let pings = || {
                let begun = ["user", "web-1"].map(|name| {
                    let command = ["ping", "-n", "-e", "4711", "-c", "5", "-i", "0.2", "-W", "5", &to];
                    lab.pod(name).unwrap().spawn(&command).unwrap()
                });
                begun.map(|ping| ping.finish(PATIENCE))
            };
            let well = |said: &Output| said.ok() && said.stdout.contains("5 received") && !said.stdout.contains("DUP!");
            let said = faults::again(pings, |said| said.iter().all(well));
            assert!(said.iter().all(well), "{} {}", said[0], said[1]);
        }
    });
}
