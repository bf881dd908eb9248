//! The same traffic, counted to the last byte and without a clock; and how figures are told.

use super::options::{Options, Plan};
use super::peers::{Bridge, Kernel, Peer, Receiving, Rules, Script, Sluice};
use super::probe::{Probe, Run};
use super::results::{OURS, Results, Series};
use super::scene::{Size, Way};
use super::traffic::connections;
use super::{ready, scenes, turns};
use crate::cli::{Cli, Verb};
use crate::report::Machine;
use clap::{Parser, ValueEnum};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(100);
const ONE: Size = Size {
    services: 1,
    policies: 1,
};

const SLUICE: Sluice = Sluice {
    receiving: Receiving::Rps,
};

fn kernel(rules: Rules) -> Kernel {
    Kernel {
        rules,
        receiving: Receiving::Rps,
    }
}

/// All bytes arrive, each request is answered, each connection is served, by the server that is meant; and the peer knows of as many
/// connections through its service as there were.
fn carries_everything(peer: &dyn Peer, size: Size) {
    for (scene, probes) in scenes(&[size], &options("").probes()) {
        let carried: Vec<Probe> = probes.into_iter().filter(|probe| peer.carries(probe.way())).collect();
        if carried.is_empty() {
            continue;
        }
        let site = ready(peer, &scene, &carried).unwrap();
        if peer.translated(&site).unwrap().is_some() && !scene.outside {
            let (_, count) = connections(&site.lab, Way::Service, SHORT).unwrap();
            let known = peer.translated(&site).unwrap().unwrap();
            assert!(known >= count, "{count} connections were made and {known} translated");
        }
    }
}

#[test]
fn sluice_carries_everything() {
    carries_everything(&SLUICE, ONE);
}

#[test]
fn the_kernel_with_iptables_carries_everything() {
    carries_everything(&kernel(Rules::Iptables), ONE);
}

#[test]
fn the_kernel_with_nftables_carries_everything() {
    carries_everything(&kernel(Rules::Nftables), ONE);
}

#[test]
fn the_bridge_carries_what_stays_on_a_node() {
    carries_everything(&Bridge, ONE);
    assert!(!Bridge.carries(Way::Service) && !Bridge.carries(Way::NodePort));
}

#[test]
fn many_services_and_policies_are_in_nobodys_way() {
    let size = Size {
        services: 100,
        policies: 20,
    };
    carries_everything(&SLUICE, size);
    carries_everything(&kernel(Rules::Iptables), size);
    carries_everything(&kernel(Rules::Nftables), size);
}

#[test]
fn a_script_carries_everything_that_it_sets_up() {
    let path = std::env::temp_dir().join(format!("sluice-compare-{}.sh", std::process::id()));
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(SCRIPT.as_bytes()).unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
    drop(file);
    let script: Script = format!("routed={}", path.display()).parse().unwrap();
    let outcome = std::panic::catch_unwind(|| carries_everything(&script, ONE));
    std::fs::remove_file(&path).unwrap();
    outcome.unwrap();
}

/// Pods behind veths, routes between the nodes without a tunnel, kube-proxy's rules.
const SCRIPT: &str = r#"#!/bin/sh
set -e
[ "$1" = run ]
pod() { # NETNS ADDRESS NODE VETH
    ip -n "$1" link add eth0 mtu "$MTU" type veth peer name "$4" netns "$3"
    ip -n "$1" address add "${2%/*}/32" dev eth0
    ip -n "$1" link set eth0 up
    ip -n "$1" route add 169.254.1.1 dev eth0
    ip -n "$1" route add default via 169.254.1.1
    ip -n "$3" link set "$4" up
    ip -n "$3" route add "${2%/*}" dev "$4"
    ip -n "$3" address add 169.254.1.1/32 dev "$4"
}
pod "$POD_CLIENT" "$POD_CLIENT_ADDRESS" "$NODE_A" client
pod "$POD_NEAR" "$POD_NEAR_ADDRESS" "$NODE_A" near
pod "$POD_FAR" "$POD_FAR_ADDRESS" "$NODE_B" far
ip -n "$NODE_A" route add 10.244.2.0/24 via "${NODE_B_ADDRESS%/*}"
ip -n "$NODE_B" route add 10.244.1.0/24 via "${NODE_A_ADDRESS%/*}"
ip netns exec "$NODE_A" iptables-restore --noflush "$RULES_IPTABLES"
echo ready
exec sleep 3600
"#;

#[test]
fn a_script_that_ends_or_is_wrong_is_told_with_its_words() {
    let script: Script = "broken=/bin/false".parse().unwrap();
    let scene = scenes(&[ONE], &[Probe::TcpNode]).remove(0).0;
    let err = script.up(&scene).map(|_| ()).unwrap_err();
    assert!(
        format!("{err:#}").contains("it ended before it said `ready`"),
        "{err:#}"
    );
}

fn options(line: &str) -> Options {
    let words = ["sluice-perf", "compare"].into_iter().chain(line.split_whitespace());
    match Cli::try_parse_from(words).unwrap().verb {
        Verb::Compare(options) => *options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn options_stand_for_peers_probes_and_sizes() {
    let names = |line: &str| -> Vec<String> {
        let peers = options(line).chosen().unwrap();
        peers.iter().map(|peer| peer.name().to_owned()).collect()
    };
    assert_eq!(names(""), ["sluice", "kernel-iptables", "kernel-nftables", "bridge"]);
    assert_eq!(
        names("--peers bridge,sluice --peer own=/bin/true"),
        ["sluice", "bridge", "own"]
    );
    assert_eq!(options("").probes().len(), Probe::value_variants().len() - 1);
    assert!(!options("").probes().contains(&Probe::Udp1m), "it takes minutes");
    assert_eq!(
        options("--probes latency,tcp-node,latency").probes(),
        [Probe::TcpNode, Probe::Latency]
    );
    let sizes = options("--services 10000,1 --policies 1,1000,1").sizes();
    let sizes: Vec<_> = sizes.iter().map(|size| (size.services, size.policies)).collect();
    assert_eq!(sizes, [(1, 1), (1, 1000), (10_000, 1), (10_000, 1000)]);
    let (usual, quick) = (options("").plan(), options("--quick").plan());
    assert_eq!((usual.rounds, usual.seconds), (7, 2.0));
    assert!(quick.rounds == 2 && quick.seconds < 1.0);
}

#[test]
fn wrong_options_are_refused_with_what_is_wanted() {
    for (line, want) in [
        ("--probes fast", "possible values"),
        ("--services 0", "1..=10000"),
        ("--seconds 0", "from 0.1 to 600"),
        ("--seconds x", "from 0.1 to 600"),
        ("--peer mine", "NAME=SCRIPT"),
        ("--kernel-uplink fast", "threaded"),
    ] {
        let words = ["sluice-perf", "compare"].into_iter().chain(line.split(' '));
        let err = Cli::try_parse_from(words).unwrap_err().to_string();
        assert!(err.contains(want), "{line}: {err}");
    }
    for (line, want) in [
        ("--peers flannel", "there are sluice, kernel-iptables"),
        ("--peer sluice=/bin/true", "the name is taken"),
        ("--peer a=/bin/true --peer a=/bin/false", "the name is taken"),
    ] {
        let err = options(line).chosen().map(|_| ()).unwrap_err().to_string();
        assert!(err.contains(want), "{line}: {err}");
    }
    let err = super::command(&options("--peers bridge --probes latency"))
        .unwrap_err()
        .to_string();
    assert_eq!(err, "--probes latency: none of the peers does that");
}

#[test]
fn who_asks_from_outside_has_a_wire_of_its_own() {
    let both = scenes(&[ONE], Probe::value_variants());
    assert_eq!(both.len(), 2);
    assert!(
        both.iter()
            .all(|(scene, probes)| probes.iter().all(|p| (p.way() == Way::NodePort) == scene.outside))
    );
    assert_eq!(
        both.iter().map(|(_, probes)| probes.len()).sum::<usize>(),
        Probe::value_variants().len()
    );
    assert_eq!(scenes(&[ONE], &[Probe::TcpNode]).len(), 1);
}

#[test]
fn a_round_has_each_turn_once_and_what_is_compared_is_neighbours() {
    let mut random = fastrand::Rng::with_seed(3);
    let probes = [Probe::TcpNode, Probe::Latency];
    let all = [0, 0, 0, 1, 1].map(|probe| probes[probe]);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let groups = turns(&probes, &all, &mut random);
        for group in &groups {
            assert!(group.iter().all(|at| all[*at] == all[group[0]]), "{groups:?}");
        }
        let order = groups.concat();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4]);
        seen.insert(order);
    }
    assert!(seen.len() > 10, "12 times 2 orders are possible");
}

/// Rounds of two peers: ours has `factor` times the other's figures, which differ from round to round.
fn results(rounds: u32, factor: impl Fn(u32) -> f64) -> Results {
    let series = |peer: &str, scale: &dyn Fn(u32) -> f64| Series {
        size: Size {
            services: 10_000,
            policies: 1,
        },
        probe: Probe::TcpService,
        peer: peer.into(),
        runs: (0..rounds)
            .map(|round| Run {
                round,
                values: vec![f64::from(1 + round) * scale(round), 2.0],
                others: 0.3,
            })
            .collect(),
    };
    Results {
        machine: Machine::this(),
        plan: Plan {
            rounds,
            seconds: 1.0,
            seed: 1,
        },
        peers: vec![
            (OURS.into(), "ours".into()),
            ("kernel-iptables".into(), "the kernel".into()),
        ],
        series: vec![series(OURS, &factor), series("kernel-iptables", &|_| 1.0)],
    }
}

#[test]
fn ratios_are_of_one_round_each_and_real_only_if_they_are() {
    // The figures themselves differ by a factor of seven from round to round, the ratios by nothing.
    let steady = results(7, |_| 1.2);
    let ratio = steady.ratio(&steady.series[1], 0).unwrap();
    assert!((ratio.value - 1.2).abs() < 1e-9 && (ratio.low - 1.2).abs() < 1e-9 && ratio.real);
    assert_eq!((ratio.goal, ratio.met), (Some(1.1), Some(true)));
    assert_eq!(
        steady.ratio(&steady.series[0], 0),
        None,
        "nobody is compared with itself"
    );
    let cpu = steady.ratio(&steady.series[1], 1).unwrap();
    assert!((cpu.value, cpu.real, cpu.goal) == (1.0, false, None), "{cpu:?}");
    let wild = results(7, |round| if round == 3 { 0.9 } else { 1.2 });
    let ratio = wild.ratio(&wild.series[1], 0).unwrap();
    assert!(!ratio.real && ratio.low < 1.0 && ratio.met == Some(true), "{ratio:?}");
    let few = results(5, |_| 1.2);
    assert!(!few.ratio(&few.series[1], 0).unwrap().real, "five rounds say nothing");
    let mut torn = results(7, |_| 1.2);
    torn.series[0].runs.retain(|run| run.round != 0);
    assert!(
        (torn.ratio(&torn.series[1], 0).unwrap().value - 1.2).abs() < 1e-9,
        "pairs stay pairs"
    );
}

#[test]
fn the_summary_has_each_ratio_with_a_goal_and_json_every_round() {
    let results = results(7, |_| 1.0);
    let summary = results.summary();
    assert_eq!(summary.len(), 1);
    assert_eq!(
        summary[0].name,
        "compare/tcp-service/throughput/kernel-iptables/services=10000"
    );
    assert_eq!((summary[0].goal, summary[0].met), (Some(1.1), Some(false)));
    let json = results.json();
    assert_eq!(json["series"][1]["rounds"].as_array().unwrap().len(), 7);
    assert_eq!(json["series"][1]["figures"][0]["sluice_of_this"]["met"], false);
    assert!(json["series"][0]["figures"][0]["sluice_of_this"].is_null());
    assert_eq!(json["peers"][1]["about"], "the kernel");
    assert!(json["machine"]["kernel"].is_string() && json["plan"]["rounds"] == 7);
}

#[test]
fn the_table_fits_and_says_without_colour_what_it_says_with_it() {
    let results = results(7, |round| if round == 0 { 0.7 } else { 1.3 });
    let plain = results.table(false);
    let figures = plain.lines().filter(|line| !line.contains(": "));
    assert!(figures.clone().count() >= 7);
    for line in figures {
        assert!(line.len() <= 105, "{}: {line}", line.len());
    }
    for word in [
        ">= 1.1 met",
        "chance?",
        "10,000 services, 1 policy",
        "the machine was busy",
        "30 %",
        "kernel-iptables: the kernel",
    ] {
        assert!(plain.contains(word), "{word} is missing in\n{plain}");
    }
    let coloured = results.table(true);
    assert_ne!(coloured, plain);
    let mut stripped = coloured;
    for code in ["1", "2", "32", "33", "0"] {
        stripped = stripped.replace(&format!("\u{1b}[{code}m"), "");
    }
    assert_eq!(stripped, plain);
}
