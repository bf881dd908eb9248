//! A peer that somebody else brings, as a script. Decides what the script is told; it never knows how the script does it.
//!
//! The lab gives it namespaces with nothing but the wire between the nodes: `SCRIPT run` sets up forwarding and the pods' interfaces `eth0`,
//! prints `ready` on a line of its own and stays. It is ended by SIGINT, with everything in its process group; namespaces, and what is in
//! them, are the lab's to remove. Its environment:
//!
//! | variable | what |
//! |---|---|
//! | `NODE_A`, `NODE_B`, `POD_CLIENT`, `POD_NEAR`, `POD_FAR` | names of network namespaces, as `ip netns` knows them |
//! | `NODE_A_ADDRESS`, ..., `POD_FAR_ADDRESS` | their IPv4 addresses with prefix length; nodes have theirs on `eth0` |
//! | `RULES_IPTABLES` | a file with kube-proxy's rules for all services, for `iptables-restore --noflush` |
//! | `MTU` | of pods |

use super::{Napi, Peer, Site, helper, iptables};
use crate::compare::probe::Probe;
use crate::compare::scene::{NODES, Scene};
use anyhow::{Context, Result};
use serde_json::Value;
use sluice_lab::Lab;
use sluice_lab::topology::NodeKind;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

/// What a tunnel takes of a packet.
const OVERHEAD: u32 = 50;

/// `NAME=FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compare) struct Script {
    name: String,
    path: PathBuf,
}

impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, path) = text.split_once('=').ok_or("want NAME=SCRIPT")?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(plain) {
            return Err("want a name of a-z, 0-9 and dashes before the =".into());
        }
        let path = fs::canonicalize(path).map_err(|err| format!("script {path}: {err}"))?;
        if !path.is_file() {
            return Err(format!("script {} is no file", path.display()));
        }
        Ok(Self {
            name: name.into(),
            path,
        })
    }
}

impl Peer for Script {
    fn name(&self) -> &str {
        &self.name
    }

    fn about(&self) -> String {
        format!("as {} sets it up", self.path.display())
    }

    fn carries(&self, _probe: Probe) -> bool {
        true
    }

    fn up(&self, scene: &Scene) -> Result<Site> {
        let lab = Lab::up(&scene.topology(NodeKind::Bare, &Value::Null)?)?;
        let rules = lab.dir().join("kube-proxy.rules");
        fs::write(&rules, iptables::rules(&scene.services()))
            .with_context(|| format!("cannot write {}", rules.display()))?;
        let mut command = vec!["env".to_owned(), format!("RULES_IPTABLES={}", rules.display())];
        command.extend(environment(&lab)?);
        command.extend([self.path.to_string_lossy().into_owned(), "run".into()]);
        Ok(Site {
            _helpers: vec![helper::start(&lab, NODES[0], &self.name, &command)?],
            napi: Napi::default(),
            lab,
        })
    }

    fn translated(&self, _site: &Site) -> Result<Option<u64>> {
        Ok(None)
    }
}

/// `NAME=value` of every place.
fn environment(lab: &Lab) -> Result<Vec<String>> {
    let t = lab.topology();
    let nodes = t.nodes.iter().filter_map(|node| {
        let address = node.address(false)?;
        Some((node.name.as_str(), node.name.to_uppercase(), address.to_string()))
    });
    let pods = t.pods.iter().filter_map(|pod| {
        let length = t.node(&pod.node)?.pod_cidr(false)?.prefix_len();
        let address = format!("{}/{length}", pod.addresses.first()?);
        Some((pod.name.as_str(), format!("POD_{}", pod.name.to_uppercase()), address))
    });
    let mut all = vec![format!("MTU={}", t.underlay.mtu - OVERHEAD)];
    for (place, variable, address) in nodes.chain(pods) {
        let variable = variable.replace('-', "_");
        let netns = lab.place(place)?.netns();
        let name = netns.file_name().unwrap_or_default().to_string_lossy();
        all.extend([format!("{variable}={name}"), format!("{variable}_ADDRESS={address}")]);
    }
    Ok(all)
}
