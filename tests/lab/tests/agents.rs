//! The lab's hold on agents: started, killed, started again, stopped, and gone with the lab.

use sluice_lab::{Lab, Signal, Topology};
use std::path::Path;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(15);

#[test]
fn an_agent_can_be_killed_started_again_and_stopped() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/two-nodes.yaml");
    let lab = Lab::up(&Topology::load(&file).unwrap()).unwrap();
    let (node, web) = (lab.node("node-a").unwrap(), lab.pod("web-1").unwrap());
    let replies = || {
        web.run(&["ping", "-c", "1", "-W", "1", "10.244.2.7"])
            .is_ok_and(|output| output.ok())
    };
    assert!(replies(), "a lab that is up forwards");
    let first = node.agent_pid().expect("an agent runs");
    assert!(node.start_agent().is_err(), "one agent a node");

    node.kill_agent(Signal::SIGKILL).unwrap();
    assert!(
        !node.agent_running() && !replies(),
        "nothing else forwards in its place"
    );
    let link = web.run(&["ip", "-brief", "address", "show", "eth0"]).unwrap();
    assert!(
        link.text().unwrap().contains("10.244.1.5"),
        "the pod keeps its interface: {link}"
    );

    node.start_agent().unwrap();
    assert_ne!(node.agent_pid(), Some(first));
    lab.wait("the pod to be found again", PATIENCE, replies).unwrap();
    let status = node.sluice_json(&["status"]).unwrap();
    assert_eq!(status["ready"], true, "{status}");

    node.stop_agent().unwrap();
    assert!(node.stop_agent().is_err(), "there is nothing left to stop");
    let pid = lab.node("node-b").unwrap().agent_pid().expect("the other agent runs");
    drop(lab);
    // It was told to end; the kernel takes its queues down.
    let process = format!("/proc/{pid}");
    let deadline = Instant::now() + PATIENCE;
    while Path::new(&process).exists() {
        assert!(Instant::now() < deadline, "the other agent is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}
