//! What holds after every test: each frame and byte that an agent took in is accounted for, and a stop gives every
//! frame back.

use crate::cluster::PATIENCE;
use serde_json::Value;
use sluice_lab::{Lab, Node};

/// Checks all agents that run, and stops them.
pub(crate) fn check(lab: &Lab) {
    for spec in &lab.topology().nodes {
        let node = lab.node(&spec.name).unwrap();
        if node.agent_running() {
            balanced(lab, &node);
            node.stop_agent().unwrap();
        }
        let log = std::fs::read_to_string(node.agent_log()).unwrap_or_default();
        for bad in ["frames were lost", "panicked at"] {
            assert!(!log.contains(bad), "the agent of {} says: {bad}", spec.name);
        }
    }
}

/// Waits until the sums agree: while packets pass, a reading may catch one half-way.
pub(crate) fn balanced(lab: &Lab, node: &Node<'_>) {
    let mut seen = Value::Null;
    let what = format!("the frames of {} to balance", node.name());
    let waited = lab.wait(&what, PATIENCE, || {
        seen = node.sluice_json(&["counters"]).unwrap();
        off_balance(&seen["totals"]) == (0, 0)
    });
    if let Err(error) = waited {
        panic!(
            "{error:#}: off by {:?} frames and bytes in\n{:#}",
            off_balance(&seen["totals"]),
            seen["totals"]
        );
    }
}

/// Frames and bytes that came in and went nowhere; below zero if more went out.
fn off_balance(totals: &Value) -> (i128, i128) {
    let sum = |unit: &str, names: &[&str]| -> i128 {
        let one = |name: &&str| {
            let key = format!("{name}_{unit}");
            i128::from(
                totals[&key]
                    .as_u64()
                    .unwrap_or_else(|| panic!("counters have no total {key}")),
            )
        };
        names.iter().map(one).sum()
    };
    const IN: [&str; 3] = ["received", "generated", "split"];
    const OUT: [&str; 6] = ["sent", "to_host", "answered", "dropped", "held", "merged"];
    let frames = sum("frames", &IN) - sum("frames", &OUT);
    let bytes = sum("bytes", &IN) + sum("bytes", &["pushed"]) - sum("bytes", &OUT) - sum("bytes", &["pulled"]);
    (frames, bytes)
}

/// The total `name` of a node's counters.
pub(crate) fn total(node: &Node<'_>, name: &str) -> u64 {
    let counters = node.sluice_json(&["counters"]).unwrap();
    counters["totals"][name]
        .as_u64()
        .unwrap_or_else(|| panic!("counters have no total {name}"))
}

#[test]
fn a_lost_frame_is_off_balance() {
    let mut totals = serde_json::json!({"received_frames": 6, "received_bytes": 554, "generated_frames": 1,
        "generated_bytes": 60, "split_frames": 2, "split_bytes": 108, "merged_frames": 1, "merged_bytes": 54, "sent_frames": 4, "sent_bytes": 418,
        "to_host_frames": 1, "to_host_bytes": 100, "answered_frames": 1, "answered_bytes": 60, "dropped_frames": 1,
        "dropped_bytes": 90, "held_frames": 1, "held_bytes": 50, "pushed_bytes": 100, "pulled_bytes": 50});
    assert_eq!(off_balance(&totals), (0, 0));
    totals["sent_frames"] = 3.into();
    totals["sent_bytes"] = 318.into();
    assert_eq!(off_balance(&totals), (1, 100));
}
