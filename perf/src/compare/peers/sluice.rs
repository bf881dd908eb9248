//! Sluice itself, by the agent that lies beside this program. It never gets a configuration that its users could not have.

use super::receiving::Receiving;
use super::{Peer, Site};
use crate::compare::manifests;
use crate::compare::probe::Probe;
use crate::compare::scene::{NODES, Scene, Way, core};
use crate::compare::settings::Setting;
use crate::report::exact;
use anyhow::{Context, Result};
use serde_json::json;
use sluice_lab::Lab;
use sluice_lab::topology::NodeKind;
use std::time::Duration;

/// Until ten thousand services are served.
const DEADLINE: Duration = Duration::from_secs(120);
/// Flows that an agent remembers unless told otherwise, with some to spare.
const USUAL_FLOWS: u32 = 50_000;
/// Connections that are asked for; rehearsals make fewer.
const MOST_ROWS: &str = "10000";
/// What is read is served soon after; a configuration this old is the last one.
const SETTLED_MS: u64 = 300;
pub(in crate::compare) struct Sluice {
    pub(in crate::compare) receiving: Receiving,
}

impl Peer for Sluice {
    fn name(&self) -> &str {
        "sluice"
    }

    fn about(&self) -> String {
        format!(
            "one worker a node, pinned, adaptive polling; policies in force; {}",
            self.receiving.without_gro()
        )
    }

    fn carries(&self, _probe: Probe) -> bool {
        true
    }

    fn up(&self, scene: &Scene) -> Result<Site> {
        let agent = |node: usize| {
            let mut config = json!({"workers": {"count": 1, "cpus": [core(node)], "polling": "adaptive"}});
            for raised in raised(scene) {
                config[raised.section][raised.key] = raised.value.into();
            }
            config
        };
        let topology = scene.topology(NodeKind::Sluice, &json!([agent(0), agent(1)]))?;
        let lab = Lab::up(&topology).context("sluice: build its agent with `cargo build --release -p sluice`")?;
        manifests::apply(&lab, scene)?;
        let wanted = scene.services().len();
        for node in NODES {
            let node = lab.node(node)?;
            let services = || {
                let rows = node.sluice_json(&["services"]);
                rows.is_ok_and(|rows| rows.as_array().is_some_and(|rows| rows.len() >= wanted))
            };
            // Rows are pods, and each has all policies.
            let policies = || {
                let rows = node.sluice_json(&["policies"]).unwrap_or_default().to_string();
                let mut names = [
                    manifests::policy_names(scene).next(),
                    manifests::policy_names(scene).last(),
                ]
                .into_iter()
                .flatten();
                names.all(|name| rows.contains(&format!("\"default/{name}\"")))
            };
            let settled = || {
                let status = node.sluice_json(&["status"]);
                status.is_ok_and(|status| status["generation_age_ms"].as_u64() > Some(SETTLED_MS))
            };
            lab.wait("services and policies to be served", DEADLINE, || {
                services() && policies() && settled()
            })?;
        }
        let napi = self.receiving.apply(&lab, false)?;
        Ok(Site {
            _helpers: Vec::new(),
            napi,
            lab,
        })
    }

    fn translated(&self, site: &Site) -> Result<Option<u64>> {
        let (service, endpoint) = (Way::Service.target().ip().to_string(), Way::Service.server().ip());
        let asked = [
            "flows",
            "--protocol",
            "tcp",
            "--address",
            &service,
            "--limit",
            MOST_ROWS,
        ];
        let rows = site.lab.node(NODES[0])?.sluice_json(&asked)?;
        let ours = rows
            .as_array()
            .into_iter()
            .flatten()
            .filter(|row| row["destination"] == service && row["endpoint"] == endpoint.to_string());
        Ok(Some(ours.count() as u64))
    }

    fn settings(&self, scene: &Scene, _site: &Site) -> Result<Vec<Setting>> {
        let setting = |raised: Raised| {
            let name = format!("{}.{}", raised.section, raised.key);
            Setting::new(&name, &exact(raised.value.into()), &exact(raised.usual.into()))
        };
        Ok(raised(scene).map(setting).collect())
    }
}

/// A key of the agents' configuration that is larger here than it is for users.
pub(in crate::compare) struct Raised {
    pub(in crate::compare) section: &'static str,
    pub(in crate::compare) key: &'static str,
    value: u32,
    pub(in crate::compare) usual: u32,
}

/// One client here is what many are elsewhere, so it has what all share; and flows have room.
pub(in crate::compare) fn raised(scene: &Scene) -> impl Iterator<Item = Raised> {
    let raised = |section, key, value, usual| Raised {
        section,
        key,
        value,
        usual,
    };
    let limits = [
        raised("limits", "new_flows", 10_000_000, 50_000),
        raised("limits", "new_flows_burst", 10_000_000, 50_000),
        raised("limits", "connections_percent", 100, 25),
    ];
    let memory = [
        raised("memory", "connections", 2 * scene.flows, 262_144),
        raised("memory", "flows", 2 * scene.flows, 65_536),
    ];
    let many = scene.flows > USUAL_FLOWS;
    limits.into_iter().chain(memory.into_iter().filter(move |_| many))
}
