//! The oldest kernel that is supported, as far as a newer one can imitate it.

use crate::clients::{curl, echoes, ping};
use crate::cluster::*;
use crate::faults;

#[test]
fn without_what_newer_kernels_have_everything_works() {
    let mut topology = two_nodes();
    topology.testing = Some(faults::with("floor"));
    in_lab(&topology, |lab| {
        let (node, user) = (lab.node("node-a").unwrap(), lab.pod("user").unwrap());
        let warnings = node.sluice_json(&["status"]).unwrap()["warnings"].to_string();
        assert!(warnings.contains("newer than 6.1"), "{warnings}");
        let run = |command: &[&str]| user.run(command).unwrap().text().unwrap().to_owned();
        let offloads = run(&["ethtool", "-k", "eth0"]);
        assert!(
            offloads.contains("tx-udp-segmentation: off") && offloads.contains("tx-tcp-segmentation: on"),
            "{offloads}"
        );
        for v6 in FAMILIES {
            ping(&user, address(lab, "web-2", v6));
            assert!(curl(&user, of(WEB, v6), "/").starts_with("web-"));
            echoes(&user, (of(ECHO, v6), 7), 3);
            curl(&user, of(OUTSIDE, v6), "/");
        }
        let neighbours = node.run(&["ip", "neigh", "show"]).unwrap();
        assert!(!neighbours.text().unwrap().contains("managed"), "{neighbours}");
    });
}

#[test]
fn on_this_kernel_nothing_is_done_without() {
    let mut topology = two_nodes();
    topology.testing = Some(String::new());
    in_lab(&topology, |lab| {
        let node = lab.node("node-a").unwrap();
        assert!(
            !node
                .sluice_json(&["status"])
                .unwrap()
                .to_string()
                .contains("SLUICE_TESTING")
        );
        let user = lab.pod("user").unwrap();
        ping(&user, address(lab, "web-2", false));
        let managed = || {
            node.run(&["ip", "neigh", "show"])
                .unwrap()
                .text()
                .unwrap()
                .contains("managed")
        };
        lab.wait("a managed next hop", PATIENCE, managed).unwrap();
    });
}
