//! The same traffic, counted to the last byte and without a clock; and how figures are told.

use super::apart::Apart;
use super::options::{Options, Plan};
use super::peers::Site;
use super::peers::{Bridge, Forwarder, Kernel, Peer, Receiving, Rules, Script, Sluice};
use super::probe::{Probe, Run};
use super::results::{About, OURS, Results, Series};
use super::scene::core;
use super::scene::{Scene, Size, Way};
use super::settings::Setting;
use super::traffic::connections;
use super::{kinds, ready, scenes, turns};
use crate::cli::{Cli, Verb};
use crate::cpus;
use crate::report::Machine;
use clap::{Parser, ValueEnum};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
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
        let carried: Vec<Probe> = probes.into_iter().filter(|probe| peer.carries(*probe)).collect();
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
    let carried = |probe: &&Probe| Bridge.carries(**probe);
    let carried: Vec<_> = Probe::value_variants().iter().filter(carried).collect();
    assert_eq!(carried, [&Probe::TcpNode]);
}

const FORWARDER: Forwarder = Forwarder {
    receiving: Receiving::Realtime,
};

#[test]
fn the_forwarder_carries_what_needs_no_translation() {
    carries_everything(&FORWARDER, ONE);
    let carried = |probe: &&Probe| FORWARDER.carries(**probe);
    let carried: Vec<_> = Probe::value_variants()
        .iter()
        .copied()
        .filter(|p| carried(&p))
        .collect();
    let want = [
        Probe::TcpNode,
        Probe::Udp1,
        Probe::Udp10k,
        Probe::Udp1m,
        Probe::UdpNodePort,
    ];
    assert_eq!(carried, want);
    let of = |way| (kinds(&FORWARDER, way).tcp, kinds(&FORWARDER, way).datagrams);
    assert_eq!(
        [Way::Node, Way::Service, Way::NodePort].map(of),
        [(true, false), (false, true), (false, true)]
    );
}

/// The scene, and a peer that is up in it, ready for this probe.
fn up(peer: &dyn Peer, probe: Probe) -> (Scene, Site) {
    let (scene, probes) = scenes(&[ONE], &[probe]).remove(0);
    let site = ready(peer, &scene, &probes).unwrap();
    (scene, site)
}

#[test]
fn a_core_of_its_own_has_a_figure_and_threads_may_run_anywhere_afterwards() {
    let (_, site) = up(&FORWARDER, Probe::UdpNodePort);
    let allowed = |pid: &Pid| sched_getaffinity(*pid).unwrap();
    let all = |set: &CpuSet| (0..cpus::count()).filter(|cpu| set.is_set(*cpu).unwrap()).count();
    let threads = || site.napi.iter().flatten();
    assert!(site.napi.iter().all(|threads| threads.len() == 1), "{:?}", site.napi);
    // proc_pid_stat(5), field 41; behind a name without blanks.
    let policy = |pid: &Pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(
        threads().all(|pid| policy(pid).split(' ').nth(40) == Some("2")),
        "SCHED_RR"
    );
    let apart = Apart::of(&site).unwrap();
    let Some(apart) = apart else {
        assert_eq!(cpus::count(), 1);
        return;
    };
    let [near, far] = site.napi.clone().map(|threads| allowed(threads.first().unwrap()));
    assert!(near.is_set(core(0)).unwrap() && !far.is_set(core(0)).unwrap());
    assert_eq!((all(&near), all(&far)), (1, cpus::count() - 1));
    drop(apart);
    assert!(threads().all(|pid| all(&allowed(pid)) == cpus::count()));
    let mut run = Probe::UdpNodePort.run(&site, 0, SHORT).unwrap();
    Probe::UdpNodePort.cost(&site, 2000.0, SHORT, &mut run).unwrap();
    assert_eq!(run.values.len(), Probe::UdpNodePort.figures().len());
    assert!(run.values[2] > 0.0 && run.generator.unwrap() > 0.0, "{run:?}");
    let (_, softirqs) = up(
        &Forwarder {
            receiving: Receiving::Plain,
        },
        Probe::UdpNodePort,
    );
    assert!(Apart::of(&softirqs).unwrap().is_none(), "nobody can be put there");
}

#[test]
fn all_say_what_is_set_otherwise_than_usual() {
    let (scene, site) = up(&kernel(Rules::Iptables), Probe::Latency);
    let said: Vec<String> = kernel(Rules::Iptables)
        .settings(&scene, &site)
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(said[0], "nf_conntrack_udp_timeout 300 (usually 30)");
    assert!(said[1].starts_with("nf_conntrack_udp_timeout_stream "), "{said:?}");
    let said = |scene: &Scene| -> Vec<String> {
        SLUICE
            .settings(scene, &site)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let few = said(&scene);
    assert!(
        few.contains(&"limits.connections_percent 100 (usually 25)".into()),
        "{few:?}"
    );
    let many = said(&scenes(&[ONE], &[Probe::Udp1m]).remove(0).0);
    let memory: Vec<&String> = many.iter().filter(|line| line.starts_with("memory.")).collect();
    assert_eq!((few.len(), memory.len()), (3, 2));
    assert_eq!(memory[0], "memory.connections 2,000,000 (usually 262,144)");
}

/// What is called usual is what the agent's own example says.
#[test]
fn usual_limits_are_the_agents_defaults() {
    let example = include_str!("../../../dataplane/agent/src/config/example.yaml");
    let (scene, _) = scenes(&[ONE], &[Probe::Udp1m]).remove(0);
    for raised in super::peers::raised(&scene) {
        let section = example.split_once(&format!("\n{}:\n", raised.section)).unwrap().1;
        let line = format!("\n  {}: {}\n", raised.key, raised.usual);
        let own = section.split("\n\n").next().unwrap();
        assert!(format!("\n{own}\n").contains(&line), "{line} is not in\n{own}");
    }
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
    assert_eq!(
        names(""),
        ["sluice", "kernel-iptables", "kernel-nftables", "bridge", "forwarder"]
    );
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
                generator: Some(if round == 0 { 0.9 } else { 1.5 }),
            })
            .collect(),
    };
    let mut kernel_said = About::new("kernel-iptables", "the kernel".into());
    (0..2).for_each(|_| kernel_said.add(vec![Setting::new("timeout", "300", "30")]));
    Results {
        machine: Machine::this(),
        plan: Plan {
            rounds,
            seconds: 1.0,
            seed: 1,
        },
        peers: vec![About::new(OURS, "ours".into()), kernel_said],
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
    let setting = serde_json::json!([{"name": "timeout", "value": "300", "usual": "30"}]);
    assert_eq!(json["peers"][1]["settings"], setting);
    assert_eq!(json["tcp_congestion_control"], "cubic");
    assert_eq!(json["series"][1]["rounds"][0]["generator"], 0.9);
    assert!(json["machine"]["kernel"].is_string() && json["plan"]["rounds"] == 7);
}

#[test]
fn a_generator_that_is_no_faster_is_told() {
    let mut results = results(7, |_| 1.0);
    assert!(!results.table(false).contains("may be its own"));
    for run in &mut results.series[1].runs {
        run.generator = Some(if run.round < 2 { 3.0 } else { 1.01 });
    }
    let said = results.table(false);
    assert!(
        said.contains(
            "tcp-service: the generator is 1.01 times as fast as the fastest peer, so figures may be its own"
        ),
        "{said}"
    );
    results
        .series
        .iter_mut()
        .flat_map(|series| &mut series.runs)
        .for_each(|run| run.generator = None);
    assert!(!results.table(false).contains("generator"));
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
        "kernel-iptables: the kernel; timeout 300 (usually 30)",
        "TCP congestion control cubic",
        "tcp-service: the generator is 1.50 times as fast",
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
