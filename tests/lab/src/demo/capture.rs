//! One packet off the wire, decoded by somebody else's decoder. It never reads a packet itself.

use crate::{Lab, Place};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;

/// A TCP SYN in VXLAN.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet {
    outer: (String, String),
    inner: (String, String),
    pub(super) vni: u32,
    pub(super) port: u16,
}

/// Captures on the wire beside node-a while `provoke` sends something, until a SYN in VXLAN was among it.
pub(super) fn syn(lab: &Lab, mut provoke: impl FnMut() -> Result<()>) -> Result<Packet> {
    let wire = lab.place("net")?;
    let file = lab.dir().join("demo.cap");
    let file = file.to_string_lossy();
    let filter = "udp port 8472";
    let tcpdump = wire.spawn(&[
        "tcpdump",
        "-Z",
        "root",
        "-i",
        "n0",
        "-n",
        "-U",
        "--immediate-mode",
        "-w",
        &file,
        filter,
    ])?;
    let size = || std::fs::metadata(&*file).map_or(0, |m| m.len());
    lab.wait("tcpdump to begin", Duration::from_secs(5), || size() > 0)?;
    let mut found = None;
    let tried = lab.wait("a TCP SYN in VXLAN on the wire", Duration::from_secs(8), || {
        found = provoke().and_then(|()| decode(&wire, &file)).unwrap_or_default();
        found.is_some()
    });
    let said = tcpdump.stop();
    tried.with_context(|| said.to_string())?;
    found.context("nothing was captured")
}

fn decode(wire: &Place<'_>, file: &str) -> Result<Option<Packet>> {
    let fields = [
        "ip.src",
        "ip.dst",
        "udp.srcport",
        "udp.dstport",
        "vxlan.vni",
        "tcp.srcport",
        "tcp.dstport",
    ];
    let syn = "vxlan && tcp.flags.syn == 1 && tcp.flags.ack == 0 && tcp.dstport == 80";
    let mut command = vec![
        "tshark",
        "-n",
        "-r",
        file,
        "-d",
        "udp.port==8472,vxlan",
        "-Y",
        syn,
        "-T",
        "fields",
    ];
    command.extend(fields.iter().flat_map(|field| ["-e", field]));
    let output = wire.run(&command)?;
    ensure!(output.code != Some(127), "tshark is missing");
    Ok(output.stdout.lines().find_map(Packet::parse))
}

impl Packet {
    /// Reads a line of tshark's fields: outer and inner addresses with a comma between, outer ports, vni, inner ports.
    pub(super) fn parse(line: &str) -> Option<Packet> {
        let fields: Vec<&str> = line.trim_end().split('\t').collect();
        let [source, target, from, to, vni, inner_from, inner_to] = fields[..] else {
            return None;
        };
        let ((outer_source, inner_source), (outer_target, inner_target)) =
            (source.split_once(',')?, target.split_once(',')?);
        Some(Packet {
            outer: (format!("{outer_source}:{from}"), format!("{outer_target}:{to}")),
            inner: (
                format!("{inner_source}:{inner_from}"),
                format!("{inner_target}:{inner_to}"),
            ),
            vni: vni.parse().ok()?,
            port: to.parse().ok()?,
        })
    }

    /// What the agent of node-a says that the packet was addressed to, and which service that is.
    pub(super) fn origin(&self, lab: &Lab) -> Result<Option<(String, String)>> {
        let node = lab.node("node-a")?;
        let Some((source, port)) = self.inner.0.rsplit_once(':') else {
            return Ok(None);
        };
        let flows = node.sluice_json(&["flows", "--address", source, "--port", port])?;
        let services = node.sluice_json(&["services"])?;
        Ok(self.origin_in(&flows, &services))
    }

    pub(super) fn origin_in(&self, flows: &Value, services: &Value) -> Option<(String, String)> {
        let at = |row: &Value, host: &str, port: &str| Some(format!("{}:{}", row[host].as_str()?, row[port]));
        let flow = flows.as_array()?.iter().find(|flow| {
            at(flow, "source", "source_port").as_ref() == Some(&self.inner.0)
                && at(flow, "endpoint", "endpoint_port").as_ref() == Some(&self.inner.1)
        })?;
        let was = at(flow, "destination", "destination_port")?;
        let service = services.as_array()?.iter().find(|service| {
            let frontends = service["frontends"].as_array().into_iter().flatten();
            let tcp = frontends.filter(|frontend| frontend["protocol"] == "tcp");
            tcp.into_iter()
                .any(|frontend| at(frontend, "address", "port").as_ref() == Some(&was))
        })?;
        let name = |field: &str| service[field].as_str();
        Some((was, format!("{}/{}", name("namespace")?, name("name")?)))
    }

    /// For people: the tunnel, and indented what is inside.
    pub(super) fn lines(&self, was: &str, service: &str) -> Vec<String> {
        vec![
            format!("{} > {}  vxlan vni {}", self.outer.0, self.outer.1, self.vni),
            format!(
                "  {} > {}  tcp syn  (was {was}, service {service})",
                self.inner.0, self.inner.1
            ),
        ]
    }
}
