//! The whole of control with a packet side that only makes taps.

use crate::scratch::{Netns, pair};
use serde_json::{Value, json};
use sluice_control::HealthSettings;
use sluice_control::api::{CountersReport, DropCount, FlowQuery, FlowRow, LostCount, RingRow, WorkerTotals};
use sluice_control::compile::{HostPort, Settings, Steering, UplinkPort};
use sluice_control::run::{ControlSettings, Dataplane, DroppedPacket, Handle, PodPort, Testing, empty_parts, start};
use sluice_control::source::SourceSettings;
use sluice_lb::{EndpointSlot, SchedulerKind, ServiceSlot};
use sluice_snapshot::{Caps, PortKind, Publisher, Snapshot, Subscriber};
use sluice_wire::{Addr, DropReason, MacAddr, PortSlot, Proto, Scope, Vni};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Makes real taps, and notes what it is told.
#[derive(Default)]
struct Taps {
    open: Mutex<BTreeMap<u16, (PathBuf, String)>>,
    made: Mutex<u32>,
    steering: Mutex<Steering>,
    refuse: Mutex<Option<String>>,
}

impl Dataplane for Taps {
    fn attach_pod(&self, netns: &Path, interface: &str, _mtu: u16) -> Result<PodPort, String> {
        if let Some(text) = self.refuse.lock().unwrap().clone() {
            return Err(text);
        }
        sluice_control::kernel::netns::within(netns, || {
            // Fails where the tap is there already, as it is after a restart.
            let _ = Command::new("ip")
                .args(["tuntap", "add", interface, "mode", "tap"])
                .output();
            Ok(())
        })?;
        let mut made = self.made.lock().unwrap();
        *made += 1;
        let slot = 2 + *made as u16;
        self.open
            .lock()
            .unwrap()
            .insert(slot, (netns.to_owned(), interface.to_owned()));
        Ok(PodPort {
            slot: PortSlot(slot),
            scope: Scope::port(*made),
            mac: MacAddr([2, 0, 0, 0, 1, slot as u8]),
            caps: Caps::default(),
        })
    }

    fn detach_pod(&self, slot: PortSlot, remove_interface: bool) -> Result<(), String> {
        let (netns, interface) = self.open.lock().unwrap().remove(&slot.0).ok_or("no such port")?;
        if remove_interface {
            sluice_control::kernel::netns::within(&netns, || {
                let _ = Command::new("ip").args(["link", "del", &interface]).output();
                Ok(())
            })?;
        }
        Ok(())
    }

    fn steer(&self, steering: &Steering) -> Result<(), String> {
        *self.steering.lock().unwrap() = steering.clone();
        Ok(())
    }

    fn receiver_costs(&self) -> Vec<(PortSlot, u32)> {
        Vec::new()
    }

    fn owned_ports(&self) -> Vec<u16> {
        (40_000..=65_535).collect()
    }

    fn flows(&self, query: &FlowQuery) -> Vec<FlowRow> {
        assert!(query.limit <= FlowQuery::MAX);
        Vec::new()
    }

    fn counters(&self) -> CountersReport {
        let drop = DropCount {
            reason: "no_pod".into(),
            group: "configuration".into(),
            text: "nobody there".into(),
            remedy: "Look.".into(),
            packets: 3,
        };
        CountersReport {
            drops: vec![drop],
            ..CountersReport::default()
        }
    }

    fn drops(&self) -> Vec<DroppedPacket> {
        vec![DroppedPacket {
            worker: 0,
            sequence: 4,
            age_ns: 7_000_000,
            reason: DropReason::NoPod,
            ingress: Some(PortSlot(3)),
            egress: None,
            length: 14,
            bytes: vec![2; 14],
        }]
    }

    fn workers(&self) -> Vec<WorkerTotals> {
        vec![WorkerTotals {
            polling: "busy".into(),
            packets: 7,
            ..WorkerTotals::default()
        }]
    }

    fn tsc_hz(&self) -> Option<u64> {
        Some(2_500_000_000)
    }

    fn devices(&self) -> (Vec<LostCount>, Vec<RingRow>) {
        let rings = RingRow {
            slot: 1,
            queue: 4,
            ..RingRow::default()
        };
        (Vec::new(), vec![rings])
    }

    fn uplink_mode(&self) -> String {
        "AF_XDP native, copy".into()
    }

    fn uplink_queues(&self) -> u16 {
        1
    }

    fn endpoint_connections(&self, _: EndpointSlot) -> u32 {
        5
    }

    fn forget_service(&self, _: ServiceSlot) -> bool {
        true
    }

    fn forget_endpoint(&self, _: EndpointSlot) -> bool {
        true
    }
}

const NODE: &str = "
apiVersion: v1
kind: Node
metadata: {name: node-a}
spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24, 'fd00:244:1::/64']}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}
---
apiVersion: v1
kind: Node
metadata: {name: node-b}
spec: {podCIDR: 10.244.2.0/24}
status: {addresses: [{type: InternalIP, address: 192.0.2.2}]}
";

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  clusterIP: 10.96.0.10
  ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080}]
  type: NodePort
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: [10.244.1.5]}, {addresses: [10.244.2.7]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-web, namespace: default}
spec: {podSelector: {}, ingress: [{ports: [{port: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: default}
status: {phase: Running, podIP: 10.244.1.5}
---
apiVersion: v1
kind: Pod
metadata: {name: web-2, namespace: default}
spec: {nodeName: node-b}
status: {phase: Running, podIP: 10.244.2.7}
";

struct Node {
    here: Netns,
    _there: Netns,
    dir: PathBuf,
    taps: Arc<Taps>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Node {
    fn new(name: &str) -> Self {
        let (here, _there) = pair();
        here.ip("tuntap add sluice0 mode tap");
        let dir = std::env::temp_dir().join(format!("sl-node-{}-{name}", std::process::id()));
        std::fs::create_dir_all(dir.join("manifests")).unwrap();
        Self {
            here,
            _there,
            dir,
            taps: Arc::default(),
        }
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.dir.join("manifests").join(file), text).unwrap();
    }

    fn start(&self) -> Result<(Handle, Subscriber), String> {
        let port = |slot| {
            (
                PortSlot(slot),
                Scope::port(1_000_000 + u32::from(slot)),
                Caps::default(),
            )
        };
        let (host, uplink) = (port(0), port(1));
        let settings = ControlSettings {
            compile: Settings {
                node_name: "node-a".into(),
                vni: Vni::new(1).unwrap(),
                tunnel_port: 8472,
                tunnel_mtu: None,
                default_scheduler: SchedulerKind::Rr,
                service_cidrs: vec!["10.96.0.0/12".parse().unwrap()],
                node_ports: (30_000, 32_767),
                masquerade_ports: (40_000, 65_535),
            },
            source: SourceSettings::Manifests(self.dir.join("manifests")),
            health: HealthSettings::default(),
            socket: self.dir.join("run/sluice.sock"),
            state_dir: self.dir.join("state"),
            uplink_interface: "up0".into(),
            host_interface: "sluice0".into(),
            host_port: HostPort {
                slot: host.0,
                scope: host.1,
                mac: MacAddr([2, 0, 0, 0, 0, 1]),
                mtu: 1500,
                caps: host.2,
            },
            uplink_port: UplinkPort {
                slot: uplink.0,
                scope: uplink.1,
                caps: uplink.2,
            },
            testing: Testing {
                notices: vec!["is under test".into()],
                ..Testing::default()
            },
            uplink_limit: u16::MAX,
        };
        let publisher = Publisher::new(Snapshot::first(empty_parts()));
        let subscriber = publisher.subscribe();
        let (_, resolve) = crossbeam::channel::bounded(1);
        let started = self
            .here
            .run(|| start(settings, self.taps.clone(), publisher, resolve, None));
        started
            .map(|handle| (handle, subscriber))
            .map_err(|err| err.to_string())
    }

    fn ask(&self, request: &Value) -> Result<Value, String> {
        let mut stream = UnixStream::connect(self.dir.join("run/sluice.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        writeln!(stream, "{request}").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        let mut reply: Value = serde_json::from_str(&line).unwrap();
        match reply.get_mut("ok") {
            Some(ok) => Ok(ok.take()),
            None => Err(reply["error"].as_str().unwrap().to_owned()),
        }
    }

    fn status(&self) -> Value {
        self.ask(&json!({"verb": "status"})).unwrap()
    }

    fn attach(&self, pod: &Netns, name: &str, addresses: &[&str]) -> Result<Value, String> {
        self.ask(&json!({"verb": "attach", "netns": pod.path(), "pod": name, "addresses": addresses}))
    }
}

fn wait(what: &str, mut good: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(8);
    while !good() {
        assert!(Instant::now() < deadline, "{what}: not within eight seconds");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn pods(subscriber: &mut Subscriber) -> Vec<String> {
    let snapshot = subscriber.refresh();
    let name = |kind: &PortKind| match kind {
        PortKind::Pod { name, .. } => Some(name.to_string()),
        _ => None,
    };
    snapshot
        .parts
        .ports
        .iter()
        .filter_map(|(_, port)| name(&port.kind))
        .collect()
}

#[test]
fn from_an_empty_directory_to_served_pods_and_back() {
    let node = Node::new("life");
    let (control, mut subscriber) = node.start().unwrap();
    wait("an honest status", || {
        !node.status()["waiting_for"].as_array().unwrap().is_empty()
    });
    assert!(!control.is_ready());
    let error = node.start().map(|_| ()).unwrap_err();
    assert!(error.contains("another agent uses the state directory"), "{error}");

    let pod = Netns::new();
    assert!(
        node.attach(&pod, "default/web-1", &["10.244.1.5"])
            .unwrap_err()
            .contains("no pod range yet")
    );
    node.write("cluster.yaml", NODE);
    node.write("web.yaml", SERVICE);
    wait("ready", || control.is_ready());
    let status = node.status();
    assert_eq!(
        (status["ready"].clone(), status["nodes"].clone()),
        (json!(true), json!(2)),
        "{status:#}"
    );
    assert_eq!(status["uplink"]["mode"], "AF_XDP native, copy");
    assert_eq!(status["host"]["addresses"], json!(["10.244.1.0", "fd00:244:1::"]));
    assert_eq!(status["workers"][0]["packets"], 7);
    assert_eq!(
        node.here
            .run(|| sluice_control::kernel::sysctl::read("ipv4/ip_local_reserved_ports"))
            .unwrap()
            .unwrap(),
        "40000-65535"
    );
    assert!(node.here.ip("route show dev sluice0").contains("10.96.0.0/12"));
    let steering = node.taps.steering.lock().unwrap().clone();
    assert!(
        steering
            .frontends
            .iter()
            .any(|f| f.addr == Addr::v4([10, 96, 0, 10]) && f.port == 80),
        "{steering:?}"
    );
    assert!(steering.node_ports.contains(&(Proto::TCP, 30080, true)), "{steering:?}");
    assert!(
        steering.pod_ranges.contains(&"10.244.1.0/24".parse().unwrap()),
        "{steering:?}"
    );

    let answer = node
        .attach(&pod, "default/web-1", &["10.244.1.5/24", "fd00:244:1::5"])
        .unwrap();
    assert_eq!(answer["gateways"], json!(["169.254.1.1", "fe80::1"]));
    assert_eq!(answer["mtu"], json!(1450));
    let snapshot = subscriber.refresh().clone();
    let (slot, _) = snapshot
        .parts
        .ports
        .iter()
        .find(|(_, port)| matches!(port.kind, PortKind::Pod { .. }))
        .unwrap();
    assert!(
        snapshot.parts.policies.pods.contains_key(&slot),
        "the policy comes with the port"
    );
    assert!(pod.ip("addr show dev eth0").contains("10.244.1.5/32"));
    assert_eq!(
        node.attach(&pod, "default/web-1", &["10.244.1.5", "fd00:244:1::5"])
            .unwrap(),
        answer
    );
    let error = node.attach(&pod, "default/other", &["10.244.1.6"]).unwrap_err();
    assert!(error.contains("for default/web-1"), "{error}");
    let second = json!({"verb": "attach", "netns": pod.path(), "pod": "default/other", "interface": "eth1", "addresses": ["10.244.1.6"]});
    let error = node.ask(&second).unwrap_err();
    assert!(error.contains("has an interface already"), "{error}");
    assert!(pod.ip("route show default").contains("dev eth0"));

    let services = node.ask(&json!({"verb": "services", "name": "web"})).unwrap();
    assert_eq!(services.as_array().unwrap().len(), 1, "{services:#}");
    assert_eq!(services[0]["scheduler"], "rr");
    assert_eq!(
        services[0]["frontends"][0],
        json!({"address": "10.96.0.10", "protocol": "tcp", "port": 80})
    );
    assert_eq!(
        services[0]["frontends"][1],
        json!({"address": null, "protocol": "tcp", "port": 30080})
    );
    let endpoint = &services[0]["endpoints"][0];
    assert_eq!(
        (endpoint["pod"].clone(), endpoint["node"].clone()),
        (json!("default/web-1"), json!("node-a")),
        "{services:#}"
    );
    assert_eq!(services[0]["endpoints"][1]["node"], "node-b");
    assert_eq!(services[0]["endpoints"][1]["pod"], "default/web-2", "of another node");
    for request in [
        json!({"verb": "services", "name": "other/web"}),
        json!({"verb": "endpoints", "service": "other/web"}),
    ] {
        let error = node.ask(&request).unwrap_err();
        assert_eq!(error, "no service other/web is served; there are default/web");
    }
    let error = node
        .ask(&json!({"verb": "policies", "pod": "default/nosuch"}))
        .unwrap_err();
    assert_eq!(
        error,
        "no pod default/nosuch is attached to this node; there are default/web-1"
    );

    node.write(
        "web.yaml",
        &SERVICE.replace(
            "{addresses: [10.244.2.7]}",
            "{addresses: [10.244.2.7], conditions: {ready: false}}",
        ),
    );
    let second = || node.ask(&json!({"verb": "endpoints", "service": "web"})).unwrap()[1].clone();
    wait("the second one to drain", || second()["weight"] == 0);
    assert_eq!(
        (second()["connections"].clone(), second()["pod"].clone()),
        (json!(5), json!("default/web-2"))
    );
    node.write("web.yaml", SERVICE);
    wait("the second one to be back", || second()["weight"] == 100);
    let policies = node.ask(&json!({"verb": "policies"})).unwrap();
    assert_eq!(
        policies[0]["ingress"]["policies"][0]["policy"], "default/only-web",
        "{policies:#}"
    );
    assert_eq!(policies[0]["egress"]["isolated"], false);
    assert_eq!(
        node.ask(&json!({"verb": "flows", "limit": 4_000_000_000u32})).unwrap(),
        json!([])
    );
    let counters = node.ask(&json!({"verb": "counters"})).unwrap();
    assert_eq!(counters["drops"][0]["packets"], 3);
    assert_eq!(
        [
            &counters["workers"][0]["packets"],
            &counters["tsc_hz"],
            &status["tsc_hz"]
        ],
        [&json!(7), &json!(2_500_000_000u64), &json!(2_500_000_000u64)]
    );
    assert_eq!(
        [&counters["rings"][0]["port"], &counters["rings"][0]["queue"]],
        [&json!("uplink"), &json!(4)]
    );
    let drops = node.ask(&json!({"verb": "drops", "reason": "no_pod"})).unwrap();
    assert_eq!(
        (&drops["dropped_packets"], &drops["drops"][0]["age_ms"]),
        (&json!(3), &json!(7))
    );
    assert_eq!(drops["drops"][0]["port"], "default/web-1", "{drops:#}");
    let error = node.ask(&json!({"verb": "drops", "reason": "nonsense"})).unwrap_err();
    assert!(error.contains("no drop reason or group `nonsense`"), "{error}");

    let nodes = |c: &str, d: &str| {
        let node = |name: &str, range: &str| {
            format!("\n---\n{{apiVersion: v1, kind: Node, metadata: {{name: {name}}}, spec: {{podCIDR: {range}}}}}")
        };
        format!("{NODE}{}{}", node("node-c", c), node("node-d", d))
    };
    node.write("cluster.yaml", &nodes("192.0.2.64/26", "10.244.4.0/24"));
    wait("the good range", || {
        node.here.ip("route show dev sluice0").contains("10.244.4.0/24")
    });
    assert!(
        !node.here.ip("route show dev sluice0").contains("192.0.2."),
        "the node keeps its network"
    );
    assert!(
        node.status()["warnings"]
            .to_string()
            .contains("192.0.2.64/26 overlaps 192.0.2.0/24")
    );
    node.write("cluster.yaml", "kind: Node\nmetadata: [");
    wait("a problem", || {
        !node.status()["source"]["problems"].as_array().unwrap().is_empty()
    });
    assert!(control.is_ready(), "the last good objects stay");
    node.write("cluster.yaml", NODE);
    wait("no problem", || {
        node.status()["source"]["problems"].as_array().unwrap().is_empty()
    });

    node.ask(&json!({"verb": "detach", "netns": pod.path()})).unwrap();
    assert!(pods(&mut subscriber).is_empty() && node.taps.open.lock().unwrap().is_empty());
    assert!(!pod.ip("link show").contains("eth0"));
    node.ask(&json!({"verb": "detach", "netns": pod.path()})).unwrap();
    control.shutdown();
}

#[test]
fn a_restart_takes_pods_up_again_and_a_clean_stop_leaves_only_them() {
    let node = Node::new("restart");
    node.write("cluster.yaml", NODE);
    let (control, mut first) = node.start().unwrap();
    wait("ready", || control.is_ready());
    let (stays, goes) = (Netns::new(), Netns::new());
    node.attach(&stays, "default/stays", &["10.244.1.5"]).unwrap();
    node.attach(&goes, "default/goes", &["10.244.1.6"]).unwrap();
    assert_eq!(pods(&mut first).len(), 2);
    control.shutdown();
    assert!(
        stays.ip("addr show dev eth0").contains("10.244.1.5"),
        "the interface is the pod's"
    );
    assert!(!node.dir.join("run/sluice.sock").exists());
    assert!(
        node.here.ip("route show dev sluice0").is_empty() && !node.here.ip("addr show dev sluice0").contains("10.244")
    );
    assert!(!node.here.ip("neigh show dev up0").contains("managed"));
    assert_eq!(
        node.here
            .run(|| sluice_control::kernel::sysctl::read("ipv4/ip_local_reserved_ports"))
            .unwrap()
            .unwrap(),
        ""
    );

    drop(goes);
    *node.taps.refuse.lock().unwrap() = Some("out of order".into());
    let (control, mut second) = node.start().unwrap();
    wait("a warning about the pod", || {
        node.status()["warnings"].to_string().contains("out of order")
    });
    assert!(!control.is_ready());
    *node.taps.refuse.lock().unwrap() = None;
    wait("ready", || control.is_ready());
    assert_eq!(pods(&mut second), ["default/stays"]);

    // Its namespace goes: unpublished and closed without being asked.
    drop(stays);
    wait("nobody left", || {
        pods(&mut second).is_empty() && node.status()["pods"] == 0
    });
    let list = std::fs::read_to_string(node.dir.join("state/attachments.json")).unwrap();
    assert!(!list.contains("default/"), "{list}");
    drop(control);

    std::fs::write(node.dir.join("state/attachments.json"), &list[..list.len() / 2]).unwrap();
    let error = node.start().map(|_| ()).unwrap_err();
    assert!(error.contains("attachments.json is damaged"), "{error}");
}
