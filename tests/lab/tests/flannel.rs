//! The lab by itself: nodes set up as flannel does it, without the agent. What works here is what the agent has to match.

use sluice_lab::{Lab, Place, Signal, Topology, parse};
use std::path::Path;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

fn flannel() -> Topology {
    Topology::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/flannel.yaml")).unwrap()
}

fn pings(lab: &Lab, from: &Place<'_>, to: &str) {
    let answered = || {
        from.run(&["ping", "-c", "1", "-W", "1", to])
            .is_ok_and(|output| output.ok())
    };
    lab.wait(&format!("a ping from {} to {to}", from.name()), PATIENCE, answered)
        .unwrap();
}

#[test]
fn pods_reach_pods_on_both_nodes_over_both_families() {
    let lab = Lab::up(&flannel()).unwrap();
    let from = lab.pod("web-1").unwrap();
    for to in ["web-2", "web-3"] {
        for v6 in [false, true] {
            let address = lab.pod(to).unwrap().address(v6).unwrap();
            pings(&lab, &from, &address.to_string());
            let url = if v6 {
                format!("http://[{address}]/")
            } else {
                format!("http://{address}/")
            };
            let answer = from.curl(&url, PATIENCE).unwrap();
            assert_eq!(answer.text().unwrap(), to, "{answer}");
            let source = from.curl(&format!("{url}from"), PATIENCE).unwrap();
            assert_eq!(
                source.text().unwrap(),
                from.address(v6).unwrap().to_string(),
                "pods see each other's addresses"
            );
        }
    }
    let url = format!("http://{}/big", lab.pod("web-3").unwrap().address(false).unwrap());
    let big = from
        .run(&["curl", "-sS", "-o", "/dev/null", "-w", "%{size_download}", &url])
        .unwrap();
    assert_eq!(big.text().unwrap(), "67108864", "{big}");
}

#[test]
fn what_leaves_the_cluster_is_masqueraded_and_travels_in_vxlan_inside_it() {
    let lab = Lab::up(&flannel()).unwrap();
    let (web, client) = (lab.pod("web-1").unwrap(), "192.0.2.100");
    pings(&lab, &web, client);
    let seen = web.curl(&format!("http://{client}/from"), PATIENCE).unwrap();
    assert_eq!(seen.text().unwrap(), "192.0.2.11", "{seen}");

    let capture = [
        "tcpdump",
        "-i",
        "eth0",
        "-n",
        "-c",
        "1",
        "--immediate-mode",
        "-l",
        "udp",
        "dst",
        "port",
        "8472",
    ];
    let wire = lab.node("node-a").unwrap().spawn(&capture).unwrap();
    let far = lab.pod("web-3").unwrap().address(false).unwrap().to_string();
    lab.wait("a packet on the wire", PATIENCE, || {
        let _ = web.run(&["ping", "-c", "1", "-W", "1", &far]);
        !wire.running()
    })
    .unwrap();
    let seen = wire.finish(PATIENCE);
    assert!(
        seen.stdout.contains("192.0.2.11") && seen.stdout.contains(".8472: "),
        "{seen}"
    );
    assert!(
        seen.stdout.contains("10.244.1.5 > 10.244.2.7: ICMP echo request"),
        "{seen}"
    );
}

#[test]
fn a_router_between_the_nodes_and_servers_that_answer_with_their_names() {
    let mut topology = flannel();
    topology.underlay.kind = sluice_lab::topology::UnderlayKind::Router;
    topology.nodes[1].addresses = vec![
        "198.51.100.12/24".parse().unwrap(),
        "2001:db8:3::12/64".parse().unwrap(),
    ];
    let lab = Lab::up(&topology).unwrap();
    let from = lab.pod("web-1").unwrap();
    for v6 in [false, true] {
        pings(&lab, &from, &lab.pod("web-3").unwrap().address(v6).unwrap().to_string());
    }
    let echo = from
        .run(&["sh", "-c", "printf hello | socat -t 2 - UDP4:10.244.2.7:7"])
        .unwrap();
    assert_eq!(echo.text().unwrap(), "web-3 hello");
    let iperf = from.run(&["iperf3", "-J", "-t", "1", "-c", "10.244.2.7"]).unwrap();
    assert!(parse::iperf3(iperf.text().unwrap()).unwrap().bits_per_second > 1e6);
}

#[test]
fn a_command_that_hangs_is_ended_at_its_deadline() {
    let lab = Lab::up(&flannel()).unwrap();
    let started = Instant::now();
    let output = lab
        .pod("web-1")
        .unwrap()
        .run_for(&["sh", "-c", "echo begun; sleep 60"], Duration::from_millis(300))
        .unwrap();
    assert!(
        output.timed_out && !output.ok() && started.elapsed() < PATIENCE,
        "{output}"
    );
    assert_eq!(output.stdout, "begun\n");
}

#[test]
fn nothing_is_left_when_it_is_dropped() {
    let lab = Lab::up(&flannel()).unwrap();
    let (netns, dir) = (lab.node("node-a").unwrap().netns(), lab.dir().to_owned());
    let sleeper = lab.pod("web-1").unwrap().spawn(&["sleep", "1000"]).unwrap();
    assert!(netns.exists() && sluice_lab::list().iter().any(|l| l.name == lab.name() && l.up));
    let servers = lab
        .pod("web-1")
        .unwrap()
        .run(&["pgrep", "-f", &format!("{}/web-1-nginx", dir.display())])
        .unwrap();
    let pid = servers.stdout.lines().next().expect("nginx runs").to_string();
    drop(lab);
    assert!(!netns.exists() && !dir.exists());
    assert!(!sleeper.running(), "what was started in the lab goes with it");
    assert!(
        !Path::new(&format!("/proc/{pid}")).exists(),
        "nginx, pid {pid}, is still there"
    );
}

#[test]
fn an_interrupt_takes_it_down_and_a_kill_leaves_it_to_the_next() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/flannel.yaml");
    let name = format!("sig{}", std::process::id());
    let folder = Path::new("/run/sluice-lab").join(&name);
    let listed = |up: bool| sluice_lab::list().iter().any(|l| l.name == name && l.up == up);
    let wait = |what: &str, done: &dyn Fn() -> bool| {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "waited {PATIENCE:?} for {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let mut lab = std::process::Command::new(env!("CARGO_BIN_EXE_sluice-lab"));
        let mut child = lab
            .arg("up")
            .arg(&file)
            .args(["--name", &name])
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        wait("the lab to begin", &|| listed(true));
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
        assert!(
            !child.wait().unwrap().success(),
            "{signal} came too late: the lab was up already"
        );
        if signal == Signal::SIGKILL {
            assert!(listed(false), "a killed lab leaves its record");
            drop(Lab::up_named(&flannel(), &name, &mut |_| {}).unwrap());
        }
        assert!(!folder.exists(), "{signal} left {}", folder.display());
        let namespaces = std::fs::read_dir("/run/netns").unwrap().flatten();
        let left = namespaces
            .filter(|e| e.file_name().to_string_lossy().starts_with(&format!("sl-{name}-")))
            .count();
        assert_eq!(left, 0, "{signal} left namespaces");
    }
}
