//! What an agent does with a cluster, without packets: source, store, compiler and publisher, in the agent's order.

use super::objects::{NODE, Size, own_pods};
use super::serve::Served;
use anyhow::{Context, Result, bail};
use sluice_control::compile::{
    AttachedPod, Compiler, FibRoute, HostPort, Inputs, Neighbour, Settings, Underlay, Uplink, UplinkPort,
};
use sluice_control::model::Store;
use sluice_control::run::empty_parts;
use sluice_control::source::{Cluster, Event, Kubernetes};
use sluice_lb::SchedulerKind;
use sluice_snapshot::{Caps, Publisher, Snapshot};
use sluice_wire::{Addr, MacAddr, PortSlot, Scope, Vni};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// After which nothing comes any more.
const PATIENCE: Duration = Duration::from_secs(120);

/// As the agent's control loop.
const SETTLE: Duration = Duration::from_millis(3);

pub(super) struct World {
    source: Kubernetes,
    state: PathBuf,
    store: Store,
    compiler: Compiler,
    publisher: Publisher,
    settings: Settings,
    underlay: Underlay,
    pods: Vec<AttachedPod>,
    began: Instant,
}

impl World {
    /// Begins to follow, with what was saved if anything was.
    pub(super) fn follow(served: &Served, size: Size, scheduler: SchedulerKind) -> Result<Self> {
        let began = Instant::now();
        let source = Kubernetes::follow(Cluster {
            kubeconfig: Some(served.kubeconfig()),
            servers: Vec::new(),
            node: NODE.to_owned(),
            state: Some(served.state()),
            silence: Cluster::SILENCE,
        });
        Ok(Self {
            source: source.map_err(anyhow::Error::msg)?,
            state: served.state(),
            store: Store::default(),
            compiler: Compiler::default(),
            publisher: Publisher::new(Snapshot::first(empty_parts())),
            settings: settings(scheduler)?,
            underlay: underlay()?,
            pods: own_pods(size).enumerate().map(attached).collect::<Result<_>>()?,
            began,
        })
    }

    /// How long it took until everything was known.
    pub(super) fn synced(&mut self) -> Result<Duration> {
        while !self.store.synced() {
            self.event()?;
        }
        Ok(self.began.elapsed())
    }

    /// How long it takes to compile and publish.
    pub(super) fn compile(&mut self) -> Result<Duration> {
        let began = Instant::now();
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let (slot, scope, caps) = (PortSlot(0), Scope::port(0), Caps::default());
        let host = HostPort {
            slot,
            scope,
            mac,
            mtu: 1450,
            caps,
        };
        let uplink = UplinkPort {
            slot: PortSlot(1),
            scope: Scope::port(1),
            caps,
        };
        let inputs = Inputs {
            settings: &self.settings,
            underlay: &self.underlay,
            pods: &self.pods,
            host: &host,
            uplink: &uplink,
        };
        let compiled = self.compiler.compile(&self.store, &inputs);
        let compiled = compiled.map_err(|reports| anyhow::anyhow!("not compiled: {reports:?}"))?;
        if let Some(next) = self.publisher.current().successor(compiled.parts) {
            self.publisher.publish(next);
        }
        self.publisher.collect();
        Ok(began.elapsed())
    }

    /// How long it takes from the arrival of one change until it is compiled and published, and whether it made a difference to this node.
    pub(super) fn one_change(&mut self) -> Result<(Duration, bool)> {
        let before = self.publisher.current().generation;
        let event = self.next()?;
        let began = Instant::now();
        self.take(event)?;
        self.compile()?;
        let took = began.elapsed();
        Ok((took, self.publisher.current().generation != before))
    }

    /// Follows so many changes as an agent does, which waits a little for more after the first; gives how many configurations were published.
    pub(super) fn follow_changes(&mut self, count: u32) -> Result<u32> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let before = self.publisher.current().generation.0;
        let mut seen = 0;
        while seen < count {
            let next = runtime.block_on(async { tokio::time::timeout(PATIENCE, self.source.next()).await });
            let mut next = next.context("nothing comes from the API server")?;
            runtime.block_on(async { tokio::time::sleep(SETTLE).await });
            while let Some(event) = next {
                seen += u32::from(matches!(event, Event::Change(_)));
                self.take(event)?;
                next = self.source.try_next();
            }
            self.compile()?;
        }
        Ok((self.publisher.current().generation.0 - before) as u32)
    }

    /// Nodes, services, pods and policies that are known.
    pub(super) fn counts(&self) -> [usize; 4] {
        let store = &self.store;
        [
            store.nodes().count(),
            store.services().count(),
            store.pods().count(),
            store.policies().count(),
        ]
    }

    /// Waits until the API server was heard of about everything that was saved.
    pub(super) fn heard(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.source.saved_age().is_some() {
            anyhow::ensure!(Instant::now() < deadline, "nothing is heard of the API server");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Stops; gives the bytes of the saved state.
    pub(super) fn end(self) -> Result<u64> {
        let state = self.state.clone();
        drop(self);
        Ok(std::fs::metadata(state).context("no saved state")?.len())
    }

    fn event(&mut self) -> Result<()> {
        let event = self.next()?;
        self.take(event)
    }

    fn next(&mut self) -> Result<Event> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.source.try_next() {
                return Ok(event);
            }
            anyhow::ensure!(Instant::now() < deadline, "nothing comes from the API server");
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Change(change) => _ = self.store.apply(change),
            Event::Problem(problem) => bail!("{problem}"),
            Event::Solved { .. } | Event::Ignored { .. } => {}
        }
        Ok(())
    }
}

fn settings(scheduler: SchedulerKind) -> Result<Settings> {
    Ok(Settings {
        node_name: NODE.to_owned(),
        vni: Vni::new(1).context("24 bits")?,
        tunnel_port: 8472,
        tunnel_mtu: None,
        default_scheduler: scheduler,
        service_cidrs: vec!["10.96.0.0/12".parse().map_err(|_| anyhow::anyhow!("no prefix"))?],
        node_ports: (30_000, 32_767),
        masquerade_ports: (40_000, 65_535),
    })
}

fn attached((at, (pod, address)): (usize, (String, String))) -> Result<AttachedPod> {
    let slot = u16::try_from(at + 2).context("too many pods")?;
    let address: std::net::IpAddr = address.parse()?;
    Ok(AttachedPod {
        slot: PortSlot(slot),
        scope: Scope::port(u32::from(slot)),
        mac: MacAddr([2, 1, 0, 0, (slot >> 8) as u8, slot as u8]),
        mtu: 1450,
        addrs: vec![address.into()],
        pod,
        caps: Caps::default(),
    })
}

/// One uplink, and a router that leads to all other nodes.
fn underlay() -> Result<Underlay> {
    let addr = |octets| Addr::v4(octets);
    let mac = MacAddr([2, 0, 0, 0, 0, 2]);
    let route = |text: &str, gateway| {
        let prefix = text.parse().map_err(|_| anyhow::anyhow!("no prefix"))?;
        Ok::<_, anyhow::Error>(FibRoute {
            prefix,
            gateway,
            ifindex: 2,
            metric: 0,
            pref_src: None,
        })
    };
    Ok(Underlay {
        addresses: vec![(2, addr([172, 20, 0, 1]))],
        routes: vec![
            route("172.20.0.0/24", None)?,
            route("0.0.0.0/0", Some(addr([172, 20, 0, 254])))?,
        ],
        neighbours: vec![Neighbour {
            ifindex: 2,
            addr: addr([172, 20, 0, 254]),
            mac,
        }],
        uplink: Uplink {
            ifindex: 2,
            name: "eth0".into(),
            mac: MacAddr([2, 0, 0, 0, 0, 3]),
            mtu: 1500,
            up: true,
        },
    })
}
