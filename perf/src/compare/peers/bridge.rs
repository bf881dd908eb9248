//! The kernel's bridge between two pods of a node, and nothing else: what is left of networking when nobody asks for services or policies.
//! It never goes to another node.

use super::{Napi, Peer, Site};
use crate::compare::probe::Probe;
use crate::compare::scene::{NODES, Scene, Way};
use anyhow::Result;
use serde_json::Value;
use sluice_lab::Lab;
use sluice_lab::topology::NodeKind;

pub(in crate::compare) struct Bridge;

/// Bridged packets are nobody's business, as on a machine without Kubernetes.
const PLAIN: &str = "echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables";

impl Peer for Bridge {
    fn name(&self) -> &str {
        "bridge"
    }

    fn about(&self) -> String {
        "the kernel's bridge between veths with all offloads; bridged packets pass no rules (bridge-nf-call-iptables 0)"
            .into()
    }

    fn carries(&self, probe: Probe) -> bool {
        probe.way() == Way::Node
    }

    fn up(&self, scene: &Scene) -> Result<Site> {
        let lab = Lab::up(&scene.topology(NodeKind::Linux, &Value::Null)?)?;
        for node in NODES {
            // A kernel without bridge netfilter has no such key, and nothing to switch off.
            let line = format!("[ ! -e /proc/sys/net/bridge ] || {PLAIN}");
            lab.place(node)?.run(&["sh", "-c", &line])?.text()?;
        }
        Ok(Site {
            _helpers: Vec::new(),
            napi: Napi::default(),
            lab,
        })
    }

    fn translated(&self, _site: &Site) -> Result<Option<u64>> {
        Ok(None)
    }
}
