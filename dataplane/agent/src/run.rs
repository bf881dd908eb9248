//! Wires everything together, in the order that matters, and takes it apart again.

use crate::clock::Clock;
use crate::config::{Config, Polling as PollingKey, Priority as PriorityKey, Source as SourceKey};
use crate::lost;
use crate::plane::{Plane, TAP_QUEUE, caps_of};
use crate::ports::{HOST, HOST_SCOPE, Ports, UPLINK, UPLINK_SCOPE};
use crate::take_over::Claim;
use crate::testing::Testing;
use crate::tsc::Tsc;
use crate::uplink::{Uplink, UplinkSpec};
use crate::worker::{Crossing, Meters, Polling, Priority, Worker, WorkerHandle};
use anyhow::Context;
use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use sluice_control::compile::{HostPort, Settings, UplinkPort};
use sluice_control::run::{ControlSettings, Ending, empty_parts, start};
use sluice_control::source::{Cluster, SourceSettings};
use sluice_engine::{COUNTED_PORTS, Counters, Engine, EngineConfig, Limits, Shared};
use sluice_io::ready::ReadySet;
use sluice_io::{PacketIo, afxdp, tap};
use sluice_lb::{PortSet, Runtime, SnatPorts};
use sluice_mem::{LARGE_CHUNK, Memory, Pools};
use sluice_snapshot::{Caps, Publisher, Snapshot};
use sluice_wire::Addr;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, RwLock};

/// Bytes of an ordinary frame's chunk: a page, the most that AF_XDP takes.
const CHUNK: usize = 4096;
/// Super-frames and jumbo frames under way per worker: a burst, what it is cut into for one port, and as many waiting elsewhere.
const LARGE_PER_WORKER: usize = 256;
/// Slots for services and endpoints in the schedulers' tables.
const SERVICE_SLOTS: usize = 65_536;
const ENDPOINT_SLOTS: usize = 262_144;
/// Name of the host's tap.
const HOST_TAP: &str = "sluice0";

/// Its MTU until control knows that of pods.
const HOST_MTU: u16 = 1280;

/// Runs the agent until SIGTERM or SIGINT, then stops cleanly; or until another one takes over, then waits for the signal with nothing in
/// its hands, so that whoever supervises it does not start it anew.
///
/// # Errors
/// Something that the agent cannot do without is missing; the text says what to do.
pub(crate) fn run(config: &Config, take_over: bool) -> anyhow::Result<()> {
    let stop = crate::signals::stop_requested().context("cannot listen for signals")?;
    let mut take_over = take_over;
    loop {
        match serve(config, take_over, &stop)? {
            Ended::Stopped => return Ok(()),
            Ended::HandedOver => {
                tracing::info!("another agent has taken over; waiting to be stopped");
                let _ = stop.recv();
                return Ok(());
            }
            // Nobody is there to take over from.
            Ended::Anew => take_over = false,
        }
    }
}

/// Why the agent serves no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Stopped,
    HandedOver,
    Anew,
}

fn serve(config: &Config, take_over: bool, stop: &Stop) -> anyhow::Result<Ended> {
    let testing = Testing::from_environment()?;
    for notice in testing.notices() {
        tracing::warn!("this agent {notice}");
    }
    let config = &crate::find_uplink::settled(config, HOST_TAP, &state_dir(config))?;
    // Before anything of the kernel is touched, and until nothing is any more.
    let Some(claim) = Claim::make(config, source_settings(config), take_over, stop)? else {
        return Ok(Ended::Stopped);
    };
    let range = config.snat.ports;
    let free = crate::host_ports::not_in_use(range).context("cannot tell which ports the host uses")?;
    let (outside, base) = (SnatPorts::new(free), SnatPorts::new(PortSet::from(range)));
    let small = Memory::new(CHUNK, config.memory.frames)?;
    let large = Memory::new(LARGE_CHUNK, LARGE_PER_WORKER * config.workers.count)?;
    let spec = UplinkSpec {
        interface: config.uplink.interface.clone(),
        queues: config.uplink.queues,
        pins: config.bpffs.clone(),
        tunnel_port: config.vxlan.port,
        testing: testing.clone(),
    };
    let shared = Arc::new(Shared::new(
        config.memory.connections,
        limits(config),
        Runtime::new(SERVICE_SLOTS, ENDPOINT_SLOTS),
        outside,
        base,
    )?);
    let uplink = Uplink::load(spec, &small, &large, &shared)?;

    let clock = Clock;
    let (only_one, followed) = claim.take(config)?;
    let lost_before = lost::Before {
        host: lost::so_far(None, HOST_TAP),
        uplink: lost::so_far(None, &config.uplink.interface),
    };
    let (host, host_queues) = open_host(config, &testing)?;
    let uplink_port = UplinkPort {
        slot: UPLINK,
        scope: UPLINK_SCOPE,
        caps: Caps::default(),
    };
    let limit = u16::try_from(afxdp::max_packet(&small, !testing.floor)).unwrap_or(u16::MAX);
    let settings = control_settings(config, host, uplink_port, limit, &testing);
    let publisher = Publisher::new(Snapshot::first(empty_parts()));
    let (resolve, wanted) = bounded(256);
    let (workers, crossing) = spawn(config, clock, &publisher, &shared, (&small, &large), &resolve)?;
    let cpus: Vec<usize> = workers.iter().filter_map(|worker| worker.cpu).collect();
    if let Err(err) = crate::cpus::leave_to_workers(&cpus) {
        tracing::warn!(%err, "control threads cannot be kept off the workers' CPUs and may disturb them");
    }
    let ports = Ports::new(workers, crossing);
    ports.hand_out(HOST, true, host_queues).map_err(anyhow::Error::msg)?;
    let plane = Arc::new(Plane {
        ports: RwLock::new(ports),
        shared,
        uplink: Mutex::new(uplink),
        contested: Mutex::default(),
        clock,
        tsc: Tsc::new(clock),
        polling: config.workers.polling.name(),
        testing,
        interfaces: (HOST_TAP, config.uplink.interface.clone()),
        lost_before,
    });
    let control = start(settings, plane.clone(), publisher, wanted, followed)?;
    let (end_watch, ended) = bounded(0);
    let watch = crate::port_watch::spawn(plane.clone(), range, ended)?;
    tracing::info!(node = %config.node, "agent started");

    // A closed channel means that the signal thread ended, which only happens with a signal.
    let ended = crossbeam::select! {
        recv(stop) -> _ => Ended::Stopped,
        recv(control.ended()) -> why => match why {
            Ok(Ending::Anew) => Ended::Anew,
            Ok(Ending::HandedOver) => Ended::HandedOver,
            // It panicked; whoever supervises the agent starts it anew.
            Err(_) => Ended::Stopped,
        },
    };
    if ended == Ended::HandedOver {
        plane.leave();
    } else {
        tracing::info!("stopping");
    }
    control.shutdown();
    drop(end_watch);
    if watch.join().is_err() {
        tracing::error!("the watch over the host's ports had panicked");
    }
    if ended == Ended::HandedOver {
        drop((plane, only_one));
        return Ok(ended);
    }
    plane.stop()?;
    tap::remove(None, HOST_TAP)?;
    let (have, of) = (small.home() + large.home(), small.count() + large.count());
    if have != of {
        tracing::error!(missing = of - have, "frames were lost; please report this");
    }
    drop(only_one);
    tracing::info!("stopped; nothing is left behind but the pods' own interfaces");
    Ok(ended)
}

/// ICMP errors and resets for one port, a second and at once: a quarter of what one worker sends at most.
const ANSWERS: (u32, u32) = (256, 32);

fn limits(config: &Config) -> Limits {
    Limits {
        connections: config.limits.connections(config.memory.connections),
        new_flows_per_s: config.limits.new_flows,
        new_flows_burst: config.limits.new_flows_burst,
        answers_per_s: ANSWERS.0,
        answers_burst: ANSWERS.1,
    }
}

fn control_settings(
    config: &Config,
    host_port: HostPort,
    uplink_port: UplinkPort,
    uplink_limit: u16,
    testing: &Testing,
) -> ControlSettings {
    ControlSettings {
        compile: Settings {
            node_name: config.node.clone(),
            vni: config.vxlan.vni,
            tunnel_port: config.vxlan.port,
            tunnel_mtu: config.vxlan.mtu,
            default_scheduler: config.services.scheduler,
            service_cidrs: config.services.cidrs.clone(),
            node_ports: (config.services.nodeports.first, config.services.nodeports.last),
            masquerade_ports: (config.snat.ports.first, config.snat.ports.last),
        },
        source: source_settings(config),
        socket: config.socket.clone(),
        health: config.health,
        state_dir: state_dir(config),
        uplink_interface: config.uplink.interface.clone(),
        host_interface: HOST_TAP.into(),
        host_port,
        uplink_port,
        testing: testing.control(),
        uplink_limit,
    }
}

fn state_dir(config: &Config) -> PathBuf {
    config.socket.with_extension("state")
}

fn source_settings(config: &Config) -> SourceSettings {
    match config.source {
        SourceKey::Manifests => SourceSettings::Manifests(config.manifests.clone()),
        SourceKey::Kubernetes => SourceSettings::Kubernetes(Cluster {
            kubeconfig: config.kubernetes.kubeconfig.clone(),
            servers: config.kubernetes.servers.clone(),
            node: config.node.clone(),
            state: Some(state_dir(config).join("cluster")),
            silence: Cluster::SILENCE,
        }),
    }
}

type Spawned = (Vec<WorkerHandle>, Arc<Crossing>);

fn spawn(
    config: &Config,
    clock: Clock,
    publisher: &Publisher,
    shared: &Arc<Shared>,
    (small, large): (&Memory, &Memory),
    resolve: &Sender<Addr>,
) -> anyhow::Result<Spawned> {
    let ready: Vec<ReadySet> = (0..config.workers.count)
        .map(|_| ReadySet::new())
        .collect::<Result<_, _>>()
        .context("cannot watch queues")?;
    let crossing = Arc::new(Crossing::new(ready.iter().map(ReadySet::waker).collect()));
    let cpus = config.workers.cpus();
    // Keyed anew at each start: choices of backends and source ports are not to be foretold.
    let seeds = RandomState::new();
    let mut handles = Vec::new();
    for (index, ready) in ready.into_iter().enumerate() {
        let counters = Arc::new(Counters::default());
        let engine_config = EngineConfig {
            cache_flows: config.memory.flows,
            seed: seeds.hash_one(index),
        };
        let (commands, received) = unbounded();
        let meters = Arc::new(Meters::default());
        let costs: Arc<[AtomicU32]> = (0..COUNTED_PORTS).map(|_| AtomicU32::new(0)).collect();
        let handle = WorkerHandle {
            commands,
            waker: ready.waker(),
            counters: counters.clone(),
            meters: meters.clone(),
            receiver_costs: costs.clone(),
            cpu: cpus.get(index).copied(),
            thread: None,
        };
        let worker = Worker {
            engine: Engine::new(engine_config, shared.clone(), counters),
            pools: Pools::new(small, large),
            config: publisher.subscribe(),
            commands: received,
            ready,
            crossing: crossing.clone(),
            index,
            resolve: resolve.clone(),
            clock,
            polling: match config.workers.polling {
                PollingKey::Busy => Polling::Busy,
                PollingKey::Adaptive => Polling::Adaptive,
            },
            // Who never sleeps would leave nothing to others.
            priority: Priority::new(
                config.workers.priority == PriorityKey::Realtime && config.workers.polling == PollingKey::Adaptive,
            ),
            meters,
            costs,
        };
        let cpu = handle.cpu;
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                if let Some(id) = cpu
                    && !core_affinity::set_for_current(core_affinity::CoreId { id })
                {
                    tracing::warn!(
                        worker = index,
                        cpu = id,
                        "cannot pin the worker to its CPU; it runs unpinned"
                    );
                }
                worker.run();
            })?;
        handles.push(WorkerHandle {
            thread: Some(thread),
            ..handle
        });
    }
    Ok((handles, crossing))
}

/// Makes `sluice0`, or takes the one up that an earlier agent left.
fn open_host(config: &Config, testing: &Testing) -> anyhow::Result<(HostPort, Vec<Box<dyn PacketIo>>)> {
    let spec = tap::TapSpec {
        name: HOST_TAP.into(),
        netns: None,
        queues: config.workers.count as u16,
        mac: None,
        mtu: u32::from(HOST_MTU),
        tx_queue_len: TAP_QUEUE,
        up: true,
        port: HOST,
        uso: !testing.floor,
    };
    let tap = tap::create(&spec)?;
    let host = HostPort {
        slot: HOST,
        scope: HOST_SCOPE,
        mac: tap.mac,
        mtu: HOST_MTU,
        caps: caps_of(tap.caps),
    };
    let queues = testing.queues(HOST, tap.queues).map_err(anyhow::Error::msg)?;
    Ok((host, queues))
}

/// A channel that hears of the agent's end.
pub(crate) type Stop = Receiver<()>;
