//! What Sluice must reach beside its peers, in one table. Nothing fails when it does not: the reports say so.

use super::probe::Probe;

/// A ratio of Sluice's figure to a peer's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Goal {
    pub(super) probe: Probe,
    pub(super) figure: &'static str,
    /// Beginning of the peers' names.
    pub(super) peers: &'static str,
    /// Least of what should be much, most of what should be little.
    pub(super) ratio: f64,
}

const fn goal(probe: Probe, figure: &'static str, peers: &'static str, ratio: f64) -> Goal {
    Goal {
        probe,
        figure,
        peers,
        ratio,
    }
}

const GOALS: [Goal; 13] = [
    goal(Probe::TcpNode, "throughput", "bridge", 1.0),
    goal(Probe::TcpService, "throughput", "kernel-", 1.1),
    goal(Probe::Latency, "p50", "kernel-", 1.2),
    goal(Probe::Latency, "p99", "kernel-", 1.2),
    goal(Probe::Connections, "rate", "kernel-", 1.5),
    goal(Probe::Udp1, "rate", "kernel-", 2.5),
    goal(Probe::Udp10k, "rate", "kernel-", 2.5),
    goal(Probe::Udp1m, "rate", "kernel-", 2.5),
    goal(Probe::Udp1, "cpu", "kernel-", 0.5),
    goal(Probe::Udp10k, "cpu", "kernel-", 0.5),
    goal(Probe::Udp1m, "cpu", "kernel-", 0.25),
    goal(Probe::UdpNodePort, "rate", "kernel-", 1.5),
    goal(Probe::UdpNodePort, "core", "forwarder", 1.0 / 0.85),
];

/// The goal for a figure beside a peer, if there is one.
pub(super) fn of(probe: Probe, figure: &str, peer: &str) -> Option<f64> {
    let found = GOALS
        .iter()
        .find(|goal| goal.probe == probe && goal.figure == figure && peer.starts_with(goal.peers));
    found.map(|goal| goal.ratio)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::peers::{self, Receiving};

    #[test]
    fn every_goal_is_about_a_figure_that_is_measured_and_peers_that_carry_it() {
        for goal in GOALS {
            let figures = goal.probe.figures();
            assert!(figures.iter().any(|figure| figure.name == goal.figure), "{goal:?}");
            let others = peers::known(Receiving::Threaded, Receiving::Threaded);
            let others = others.iter().filter(|peer| peer.name().starts_with(goal.peers));
            let carry: Vec<bool> = others.map(|peer| peer.carries(goal.probe)).collect();
            assert!(!carry.is_empty() && carry.iter().all(|carries| *carries), "{goal:?}");
            assert_eq!(
                of(goal.probe, goal.figure, "sluice"),
                None,
                "nobody is compared with itself"
            );
        }
        assert_eq!(of(Probe::Latency, "p50", "kernel-nftables"), Some(1.2));
        assert_eq!(of(Probe::Latency, "p99.9", "kernel-nftables"), None);
    }
}
