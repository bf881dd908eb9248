//! Decides what a configuration file may say and what holds where it says nothing. It never looks at the machine beyond its name, so a file that
//! is right here is right on the next node.

mod apart;
mod error;
mod keys;
mod read;
#[cfg(test)]
mod tests;
mod tree;
mod values;

pub(crate) use error::ConfigError;
pub(crate) use read::node_name;

use sluice_control::HealthSettings;
use sluice_lb::{PortRange, SchedulerKind};
use sluice_snapshot::Prefix;
use sluice_wire::Vni;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

/// A file with every key, its meaning and its default.
pub(crate) const EXAMPLE: &str = include_str!("example.yaml");
/// Where the agent answers unless told otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/sluice/sluice.sock";
/// Flannel's network identifier.
const DEFAULT_VNI: Vni = match Vni::new(1) {
    Some(vni) => vni,
    None => panic!("1 has 24 bits"),
};

/// What an agent is told, checked. Each field is the key of the same name; `example.yaml` says what it means.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// Name of this node's Node object.
    pub(crate) node: String,
    /// Where objects come from.
    pub(crate) source: Source,
    /// Directory of manifests.
    pub(crate) manifests: PathBuf,
    /// The API server.
    pub(crate) kubernetes: KubernetesConfig,
    /// Socket for status and attachments; the agent's state lies beside it.
    pub(crate) socket: PathBuf,
    /// Directory of the BPF file system where the program is pinned.
    pub(crate) bpffs: PathBuf,
    /// The interface to the other nodes.
    pub(crate) uplink: UplinkConfig,
    /// Tunnels.
    pub(crate) vxlan: VxlanConfig,
    /// Packet workers.
    pub(crate) workers: WorkersConfig,
    /// Services.
    pub(crate) services: ServicesConfig,
    /// Masquerading.
    pub(crate) snat: SnatConfig,
    /// Sizes that are fixed at start.
    pub(crate) memory: MemoryConfig,
    /// What one port may take.
    pub(crate) limits: LimitsConfig,
    /// Probes and metrics.
    pub(crate) health: HealthSettings,
    /// The agent's own log.
    pub(crate) log: LogConfig,
}

/// Where objects come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A directory.
    Manifests,
    /// The API server.
    Kubernetes,
}

/// `kubernetes`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct KubernetesConfig {
    /// Address and credentials; `None`: those that a pod is given.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Addresses to ask instead.
    pub(crate) servers: Vec<String>,
}

/// `uplink`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UplinkConfig {
    /// Name of the interface; what was said of it, while it is still to be found.
    pub(crate) interface: String,
    /// How it is found where it was not named.
    pub(crate) find: Option<Find>,
    /// Which of its queues are used.
    pub(crate) queues: Queues,
}

/// How an interface is found that was not named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Find {
    /// It has the node's address.
    Address,
    /// Its name fits one of these, `*` being any text and `?` any byte; the first that fits wins.
    Like(Vec<String>),
}

/// How many queues an interface has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queues {
    /// Any number.
    All,
    /// At most this many: with more the agent does not start.
    Number(u32),
}

/// `vxlan`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VxlanConfig {
    /// Network identifier.
    pub(crate) vni: Vni,
    /// UDP port.
    pub(crate) port: u16,
    /// Largest inner IP packet, bytes; `None` takes the uplink's MTU less the encapsulation.
    pub(crate) mtu: Option<u16>,
}

/// `workers`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WorkersConfig {
    /// How many, 1 to 64.
    pub(crate) count: usize,
    /// The CPU of each, as many as there are workers; `None` leaves the choice to [`Self::cpus`].
    pub(crate) pinned: Option<Vec<usize>>,
    /// What a worker does without packets.
    pub(crate) polling: Polling,
    /// Who goes first on its CPU.
    pub(crate) priority: Priority,
}

impl WorkersConfig {
    /// The CPU of each worker: as configured, or else the last ones that this process may use, as CPU 0 has most of the kernel's own
    /// work. Empty when it may use fewer CPUs than there are workers; they are not pinned then.
    pub(crate) fn cpus(&self) -> Vec<usize> {
        self.pinned.clone().unwrap_or_else(|| {
            let allowed = core_affinity::get_core_ids().unwrap_or_default();
            let first = allowed.len().checked_sub(self.count);
            first.map_or_else(Vec::new, |first| allowed[first..].iter().map(|core| core.id).collect())
        })
    }
}

/// What an adaptive worker is to the other threads of its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Before them, while it leaves them an eighth of the time.
    Realtime,
    /// One of them.
    Normal,
}

/// What a worker does without packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polling {
    /// Spins for a moment, then sleeps.
    Adaptive,
    /// Never sleeps.
    Busy,
}

impl Polling {
    /// The name used in configuration and output.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Adaptive => "adaptive",
            Self::Busy => "busy",
        }
    }
}

/// `services`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServicesConfig {
    /// Scheduler of services that name none.
    pub(crate) scheduler: SchedulerKind,
    /// Ranges that service addresses come from.
    pub(crate) cidrs: Vec<Prefix>,
    /// Ports of the node's addresses that Services may have.
    pub(crate) nodeports: PortRange,
}

/// `snat`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SnatConfig {
    /// Ports of the node's addresses that masqueraded connections leave from.
    pub(crate) ports: PortRange,
}

/// `memory`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MemoryConfig {
    /// Frames of the node, 4 KiB each.
    pub(crate) frames: usize,
    /// Connections of the node.
    pub(crate) connections: u32,
    /// Flows that a worker remembers.
    pub(crate) flows: usize,
}

/// `limits`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LimitsConfig {
    /// Share of the node's connections, percent.
    pub(crate) connections_percent: u8,
    /// Flows begun in a second, in the long run.
    pub(crate) new_flows: u32,
    /// Flows begun at once.
    pub(crate) new_flows_burst: u32,
}

impl LimitsConfig {
    /// Most connections of one port, of a table of `all`.
    pub(crate) fn connections(&self, all: u32) -> u32 {
        let share = u64::from(all) * u64::from(self.connections_percent) / 100;
        (share as u32).max(LEAST_CONNECTIONS)
    }
}

/// What a port may have however small its share is.
const LEAST_CONNECTIONS: u32 = 1024;

/// `log`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LogConfig {
    /// Least severe message that is written.
    pub(crate) level: tracing::Level,
    /// How it is written.
    pub(crate) format: LogFormat,
}

/// How a log message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// A line for a person.
    Human,
    /// A JSON object on a line.
    Json,
}

impl Config {
    /// Reads a file and checks all of it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line and what would be right.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_as(path, None)
    }

    /// The same for the node of this name, whatever the file says.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub(crate) fn load_as(path: &Path, node: Option<String>) -> Result<Self, ConfigError> {
        read::file(path)
            .and_then(|bytes| read::config_as(&bytes, node))
            .map_err(|fault| fault.in_file(path))
    }

    /// What holds when only the uplink's interface is said.
    fn with_defaults(interface: String) -> Self {
        Self {
            node: own_name(),
            source: Source::Manifests,
            manifests: "/etc/sluice/manifests".into(),
            kubernetes: KubernetesConfig::default(),
            socket: DEFAULT_SOCKET.into(),
            bpffs: "/sys/fs/bpf/sluice".into(),
            uplink: UplinkConfig {
                interface,
                find: None,
                queues: Queues::All,
            },
            vxlan: VxlanConfig {
                vni: DEFAULT_VNI,
                port: 8472,
                mtu: None,
            },
            workers: WorkersConfig {
                count: 1,
                pinned: None,
                polling: Polling::Adaptive,
                priority: Priority::Realtime,
            },
            services: ServicesConfig {
                scheduler: SchedulerKind::Random,
                cidrs: default_cidrs(),
                nodeports: PortRange {
                    first: 30_000,
                    last: 32_767,
                },
            },
            snat: SnatConfig {
                ports: PortRange {
                    first: 40_000,
                    last: 65_535,
                },
            },
            memory: MemoryConfig {
                frames: 16_384,
                connections: 262_144,
                flows: 65_536,
            },
            limits: LimitsConfig {
                connections_percent: 25,
                new_flows: 50_000,
                new_flows_burst: 50_000,
            },
            health: HealthSettings {
                address: Some((Ipv4Addr::LOCALHOST, 9475).into()),
                healthz: Some((Ipv6Addr::UNSPECIFIED, 10_256).into()),
            },
            log: LogConfig {
                level: tracing::Level::INFO,
                format: LogFormat::Human,
            },
        }
    }
}

/// The range that kubeadm gives services.
fn default_cidrs() -> Vec<Prefix> {
    Prefix::new(IpAddr::from([10, 96, 0, 0]).into(), 12)
        .into_iter()
        .collect()
}

/// What a pod is told by the environment, else the host's name in lower case, as kubelet registers a node; empty when it cannot be read.
fn own_name() -> String {
    let told = std::env::var("NODE_NAME").unwrap_or_default();
    if !told.is_empty() {
        return told;
    }
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .unwrap_or_default()
        .trim()
        .to_lowercase()
}
