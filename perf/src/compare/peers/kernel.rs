//! The kernel as flannel and kube-proxy set it up: flannel's bridge, VXLAN device, routes and neighbours (the lab's nodes of kind linux),
//! and service rules in one of kube-proxy's two layouts. It never has policies: flannel and kube-proxy have none.

use super::receiving::Receiving;
use super::{Peer, Site, conntrack, iptables, nftables};
use crate::compare::probe::Probe;
use crate::compare::scene::{NODE_ADDRESSES, NODES, Scene, Way};
use crate::compare::settings::Setting;
use anyhow::{Context, Result};
use serde_json::Value;
use sluice_lab::Lab;
use sluice_lab::topology::NodeKind;
use std::fs;
use std::time::Duration;

/// Measured with 10,000 services: three seconds; the variant over nftables takes minutes.
const RESTORE: &str = "iptables-legacy-restore";
/// Rules of ten thousand services take their time.
const DEADLINE: Duration = Duration::from_secs(300);
/// kube-proxy's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::compare) enum Rules {
    Iptables,
    Nftables,
}

pub(in crate::compare) struct Kernel {
    pub(in crate::compare) rules: Rules,
    pub(in crate::compare) receiving: Receiving,
}

impl Peer for Kernel {
    fn name(&self) -> &str {
        match self.rules {
            Rules::Iptables => "kernel-iptables",
            Rules::Nftables => "kernel-nftables",
        }
    }

    fn about(&self) -> String {
        let rules = match self.rules {
            Rules::Iptables => "iptables rules (iptables-legacy)",
            Rules::Nftables => "nftables verdict maps",
        };
        format!(
            "flannel's vxlan device, bridge and routes; {rules} as kube-proxy writes them; no policies; {}",
            self.receiving.about()
        )
    }

    fn carries(&self, _probe: Probe) -> bool {
        true
    }

    fn up(&self, scene: &Scene) -> Result<Site> {
        conntrack::has_room_for(scene.flows)?;
        let lab = Lab::up(&scene.topology(NodeKind::Linux, &Value::Null)?)?;
        let services = scene.services();
        for (node, address) in NODES.into_iter().zip(NODE_ADDRESSES) {
            let (text, command) = match self.rules {
                Rules::Iptables => (iptables::rules(&services), &[RESTORE, "--noflush"][..]),
                Rules::Nftables => (nftables::rules(&services, address), &["nft", "-f"][..]),
            };
            let file = lab.dir().join(format!("{node}-kube-proxy.rules"));
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            let path = file.to_string_lossy();
            let command = [command, &[&path]].concat();
            lab.place(node)?.run(&["sh", "-c", conntrack::REMEMBER])?.text()?;
            lab.place(node)?
                .run_for(&command, DEADLINE)?
                .text()
                .with_context(|| format!("{}: the rules of {node} do not load", self.name()))?;
        }
        let napi = self.receiving.apply(&lab, true)?;
        Ok(Site {
            _helpers: Vec::new(),
            napi,
            lab,
        })
    }

    fn translated(&self, site: &Site) -> Result<Option<u64>> {
        let target = Way::Service.target();
        let service = target.ip().to_string();
        let list = ["conntrack", "-L", "-p", "tcp", "--orig-dst", &service];
        let entries = site.lab.place(NODES[0])?.run(&list)?;
        let endpoint = format!("src={}", Way::Service.server().ip());
        let translated = entries.text()?.lines().filter(|line| line.contains(&endpoint));
        Ok(Some(translated.count() as u64))
    }

    fn settings(&self, _scene: &Scene, site: &Site) -> Result<Vec<Setting>> {
        conntrack::settings(&site.lab.place(NODES[0])?)
    }
}
