//! `sluice-perf forward`: what is left of a node's forwarding when nothing is decided: one pinned thread moves frames between the uplink's
//! AF_XDP socket and pods' taps, with the devices and the waiting of an agent's worker. It never looks at a frame beyond its first address.
//! Not for people: `compare` runs it.

mod idle;
mod ports;
mod tunnel;

use anyhow::{Context, Result, ensure};
use clap::Args;
use idle::Idle;
use ports::Ports;
use sluice_io::ready::Tokens;
use sluice_io::thread::{Class, set_class};
use sluice_io::{Burst, Frame};
use sluice_wire::{BURST, MacAddr};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;
use tunnel::Tunnel;

/// Which node.
#[derive(Clone, Debug, Args)]
pub(crate) struct Forward {
    /// Processor of the thread
    #[arg(long)]
    cpu: usize,
    /// Interface to the other node
    #[arg(long)]
    uplink: String,
    /// Addresses of this node and of the other one
    #[arg(long)]
    local: Ipv4Addr,
    #[arg(long)]
    remote: Ipv4Addr,
    /// Ethernet address of the pod behind the tunnel
    #[arg(long)]
    behind: MacAddr,
    /// A pod on this node: path of its namespace, and the Ethernet address that its interface gets
    #[arg(long = "pod", value_name = "NETNS=MAC")]
    pods: Vec<Pod>,
    /// Largest packet of a pod, bytes
    #[arg(long)]
    mtu: u32,
}

/// A pod's interface.
#[derive(Clone, Debug)]
struct Pod {
    netns: PathBuf,
    mac: MacAddr,
}

impl FromStr for Pod {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (netns, mac) = text.rsplit_once('=').ok_or("want NETNS=MAC")?;
        let mac = mac.parse().map_err(|_| format!("{mac} is no Ethernet address"))?;
        Ok(Self {
            netns: netns.into(),
            mac,
        })
    }
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// To the pod of this number, as it is.
    Pod(usize),
    /// Out of the tunnel, to the first pod.
    OutOfTunnel,
    IntoTunnel,
}

/// Who moves frames.
struct Forwarder {
    ports: Ports,
    pods: Vec<MacAddr>,
    tunnel: Tunnel,
}

impl Forward {
    /// Says `ready`, and moves frames until somebody ends the process.
    pub(crate) fn run(&self) -> Result<()> {
        crate::cpus::pin(self.cpu)?;
        set_class(Class::Realtime).context("needs CAP_SYS_NICE")?;
        let mut forwarder = Forwarder {
            tunnel: Tunnel::to_other_node(self)?,
            ports: Ports::open(self)?,
            pods: self.pods.iter().map(|pod| pod.mac).collect(),
        };
        println!("ready");
        forwarder.run()
    }
}

impl Forwarder {
    fn run(&mut self) -> Result<()> {
        let (mut burst, mut tokens, mut idle) = (Burst::new(), Tokens::new(), Idle::default());
        let (mut timeout, mut before) = (None, Instant::now());
        loop {
            self.ports
                .ready
                .poll(timeout, &mut tokens)
                .context("ports cannot be polled")?;
            let mut work = 0;
            for token in &tokens {
                let from = *token as usize;
                self.ports.all[from].receive(&mut self.ports.pools, &mut burst, BURST);
                ensure!(!burst.is_empty() || self.ports.all[from].alive(), "port {from} is gone");
                work += burst.len();
                burst.drain(..).for_each(|frame| self.forward(from, frame));
                self.ports.flush();
            }
            work += usize::from(self.ports.recycle());
            let now = Instant::now();
            timeout = Some(idle.after(work, now - before));
            before = now;
        }
    }

    #[inline]
    fn forward(&mut self, from: usize, mut frame: Frame) {
        let (to, whole) = match way(from, &self.pods, frame.buf.bytes()) {
            Way::Pod(pod) => (ports::FIRST_POD + pod, true),
            Way::OutOfTunnel => (ports::FIRST_POD, frame.buf.pull(tunnel::HEADERS)),
            Way::IntoTunnel => (ports::UPLINK, self.tunnel.wrap(&mut frame.buf)),
        };
        if whole {
            self.ports.push(to, frame);
        } else {
            self.ports.pools.free(frame.buf);
        }
    }
}

/// Who has a second pod reaches it by its address; whatever else a pod sends goes into the tunnel, and what comes by the uplink out of it. A
/// node without pods sends all that comes into the tunnel, by the uplink again.
#[inline]
fn way(from: usize, pods: &[MacAddr], frame: &[u8]) -> Way {
    if from == ports::UPLINK {
        return if pods.is_empty() {
            Way::IntoTunnel
        } else {
            Way::OutOfTunnel
        };
    }
    let other = pods.iter().position(|mac| frame.starts_with(&mac.0));
    other.map_or(Way::IntoTunnel, Way::Pod)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_go_where_their_first_address_or_their_port_says() {
        let pods = [MacAddr([2, 0, 0, 0, 0, 5]), MacAddr([2, 0, 0, 0, 0, 6])];
        let (client, near) = (ports::FIRST_POD, ports::FIRST_POD + 1);
        let to = |mac: MacAddr| [&mac.0[..], &[0; 54]].concat();
        assert_eq!(way(client, &pods, &to(pods[1])), Way::Pod(1));
        assert_eq!(way(near, &pods, &to(pods[0])), Way::Pod(0));
        assert_eq!(way(client, &pods, &to(MacAddr([2, 0, 0, 0, 0, 7]))), Way::IntoTunnel);
        assert_eq!(way(ports::UPLINK, &pods, &to(pods[1])), Way::OutOfTunnel);
        assert_eq!(way(ports::UPLINK, &[], &to(pods[1])), Way::IntoTunnel);
        assert_eq!(
            way(client, &pods, &[2, 0, 0]),
            Way::IntoTunnel,
            "it is too short for either"
        );
    }

    #[test]
    fn a_pod_is_a_path_and_an_address() {
        let pod: Pod = "/run/netns/a=b=02:00:00:00:00:05".parse().unwrap();
        assert_eq!((pod.netns, pod.mac.0), ("/run/netns/a=b".into(), [2, 0, 0, 0, 0, 5]));
        assert!("/run/netns/a".parse::<Pod>().unwrap_err().contains("NETNS=MAC"));
        assert!(
            "/run/netns/a=5"
                .parse::<Pod>()
                .unwrap_err()
                .contains("no Ethernet address")
        );
    }
}
