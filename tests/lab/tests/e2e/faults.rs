//! Devices that lose, double, reorder, cut, damage and delay packets.

use crate::balance::total;
use crate::clients::{answers, datagram};
use crate::cluster::*;
use std::time::Duration;

/// Whether devices do so in every test of this run (`make test-fault`).
pub(crate) fn everywhere() -> bool {
    std::env::var("SLUICE_TESTING").is_ok_and(|words| words.contains("faults:"))
}

/// What a lab that wants these words of `SLUICE_TESTING` has to set, so that the faults of the whole run stay.
pub(crate) fn with(words: &str) -> String {
    let run = std::env::var("SLUICE_TESTING").unwrap_or_default();
    let faults = run.split_whitespace().find(|word| word.starts_with("faults:"));
    [words, faults.unwrap_or_default()].join(" ")
}

/// Does something once, so that no lost packet goes unnoticed. Where devices lose packets on purpose, until it went well, as
/// often as anybody would try.
pub(crate) fn again<T>(once: impl Fn() -> T, well: impl Fn(&T) -> bool) -> T {
    let mut outcome = once();
    for _ in 0..2 {
        if !everywhere() || well(&outcome) {
            break;
        }
        outcome = once();
    }
    outcome
}

const FAULTS: [&str; 6] = [
    "dropped",
    "duplicated",
    "reordered",
    "truncated",
    "corrupted",
    "stalled",
];

#[test]
fn tcp_arrives_whole_and_frames_balance_whatever_devices_do() {
    let mut topology = two_nodes();
    topology.testing =
        Some("faults:drop=1000,duplicate=2000,reorder=3000,truncate=500,corrupt=500,stall=500,seed=11".into());
    in_lab(&topology, |lab| {
        let node = lab.node("node-a").unwrap();
        let warnings = node.sluice_json(&["status"]).unwrap()["warnings"].to_string();
        assert!(
            warnings.contains("SLUICE_TESTING") && warnings.contains("drop=1000"),
            "{warnings}"
        );
        let shown = node.sluice(&["status"]).unwrap();
        assert!(shown.text().unwrap().contains("damages packets on purpose"), "{shown}");

        let user = lab.pod("user").unwrap();
        for (to, v6) in [("web-1", false), ("web-2", false), ("web-2", true)] {
            let url = format!("http://{}/big", std::net::SocketAddr::new(address(lab, to, v6), 80));
            let fetch = format!(
                "curl -sS --fail --max-time 100 '{url}' | cmp - {}/big",
                lab.dir().display()
            );
            let output = user.run_for(&["sh", "-c", &fetch], PATIENCE * 6).unwrap();
            assert!(output.ok() && output.stdout.is_empty(), "{to}: {output}");
        }
        for v6 in FAMILIES {
            for name in answers(&user, (of(WEB, v6), 80), 40) {
                assert!(name.starts_with("web-"), "{name}");
            }
            let outside = lab.place("outside").unwrap();
            answers(&outside, (of(NODE_A, v6), 30080), 20);
            // Datagrams may be lost, but not all of them, and what comes is what was sent.
            let echo = |_| datagram(&user, (of(ECHO, v6), 7), "hello", Duration::from_millis(500)).ok();
            let came: Vec<String> = (0..20).filter_map(echo).collect();
            assert!(
                came.len() >= 10 && came.iter().all(|text| text.ends_with(" hello")),
                "{came:?}"
            );
        }
        for fault in FAULTS {
            let nodes = ["node-a", "node-b"].map(|name| lab.node(name).unwrap());
            let times: u64 = nodes.iter().map(|node| total(node, &format!("fault_{fault}"))).sum();
            assert!(times > 0, "nothing was {fault}");
        }
    });
}
