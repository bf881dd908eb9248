//! A bare forwarder on each node, as the limit: the devices, memory and waiting of an agent's worker, and nothing between receiving and
//! sending but constant tunnel headers. It never translates an address, so it carries only what is known by its payload or stays on a
//! node.

use super::receiving::Receiving;
use super::{Peer, Site, helper};
use crate::compare::probe::Probe;
use crate::compare::scene::{CLIENT, FAR, NEAR, NODE_ADDRESSES, NODES, Scene, core};
use anyhow::{Context, Result};
use serde_json::Value;
use sluice_lab::Lab;
use sluice_lab::topology::NodeKind;

pub(in crate::compare) struct Forwarder {
    pub(in crate::compare) receiving: Receiving,
}

/// Ethernet addresses of the pods' interfaces.
const MACS: [(&str, &str); 3] = [
    (CLIENT, "02:5c:00:01:00:05"),
    (NEAR, "02:5c:00:01:00:06"),
    (FAR, "02:5c:00:02:00:05"),
];

impl Peer for Forwarder {
    fn name(&self) -> &str {
        "forwarder"
    }

    fn about(&self) -> String {
        format!(
            "the limit: one thread a node, pinned, between AF_XDP and taps as Sluice's workers are, with constant tunnel headers and nothing \
             else: no look-up, no translation, no policies; {}",
            self.receiving.without_gro()
        )
    }

    fn carries(&self, probe: Probe) -> bool {
        probe == Probe::TcpNode || probe.flows().is_some()
    }

    fn up(&self, scene: &Scene) -> Result<Site> {
        let lab = Lab::up(&scene.topology(NodeKind::Bare, &Value::Null)?)?;
        // Who asks from outside passes a node that has no pods.
        let pods: [&[&str]; 2] = [if scene.outside { &[] } else { &[CLIENT, NEAR] }, &[FAR]];
        let mut helpers = Vec::new();
        for (n, pods) in pods.iter().enumerate() {
            let command = self::command(&lab, n, pods)?;
            helpers.push(helper::start(&lab, NODES[n], self.name(), &command)?);
            for pod in *pods {
                configure(&lab, pod, pods).with_context(|| format!("pod {pod}"))?;
            }
        }
        let napi = self.receiving.apply(&lab, false)?;
        Ok(Site {
            _helpers: helpers,
            napi,
            lab,
        })
    }

    fn translated(&self, _site: &Site) -> Result<Option<u64>> {
        Ok(None)
    }
}

/// What runs on the node of this number.
fn command(lab: &Lab, node: usize, pods: &[&str]) -> Result<Vec<String>> {
    let program = sluice_lab::binary("sluice-perf")?;
    let behind = mac(if node == 0 { FAR } else { CLIENT })?;
    let mut words = vec![program.to_string_lossy().into_owned()];
    let fixed = [
        ("--cpu", core(node).to_string()),
        ("--uplink", "eth0".to_owned()),
        ("--local", NODE_ADDRESSES[node].to_string()),
        ("--remote", NODE_ADDRESSES[1 - node].to_string()),
        ("--behind", behind.to_owned()),
        ("--mtu", mtu(lab).to_string()),
    ];
    words.push("forward".into());
    words.extend(fixed.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
    for pod in pods {
        let netns = lab.place(pod)?.netns();
        words.extend(["--pod".into(), format!("{}={}", netns.display(), mac(pod)?)]);
    }
    Ok(words)
}

/// Addresses and neighbours, all known from the start: nobody here answers who asks for one.
fn configure(lab: &Lab, pod: &str, neighbours: &[&str]) -> Result<()> {
    let place = lab.place(pod)?;
    let ip = |words: &str| -> Result<()> {
        let words: Vec<&str> = ["ip"].into_iter().chain(words.split(' ')).collect();
        place.run(&words)?.text().map(|_| ())
    };
    let gateway = "169.254.1.1";
    let behind = mac(if pod == FAR { CLIENT } else { FAR })?;
    ip(&format!("address add {}/32 dev eth0", lab.pod(pod)?.address(false)?))?;
    ip(&format!("route add {gateway} dev eth0"))?;
    ip(&format!("neigh add {gateway} lladdr {behind} dev eth0"))?;
    ip(&format!("route add default via {gateway}"))?;
    for other in neighbours.iter().filter(|other| **other != pod) {
        let address = lab.pod(other)?.address(false)?;
        ip(&format!("route add {address} dev eth0"))?;
        ip(&format!("neigh add {address} lladdr {} dev eth0", mac(other)?))?;
    }
    Ok(())
}

fn mac(pod: &str) -> Result<&'static str> {
    let found = MACS.into_iter().find(|(name, _)| *name == pod);
    found
        .map(|(_, mac)| mac)
        .with_context(|| format!("{pod} has no address"))
}

fn mtu(lab: &Lab) -> u32 {
    lab.topology().underlay.mtu - sluice_vxlan::OVERHEAD_V4 as u32
}
