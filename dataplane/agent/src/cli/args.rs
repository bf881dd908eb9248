//! The command line, and the requests it stands for.

use crate::config::DEFAULT_SOCKET;
use clap::{Args, Parser, Subcommand, ValueEnum};
use sluice_control::api::{
    AttachRequest, DetachRequest, DropQuery, EndpointsRequest, FlowQuery, PoliciesRequest, Request, ServicesRequest,
};
use std::net::IpAddr;
use std::path::PathBuf;

/// Userspace dataplane for Kubernetes nodes: the agent, and commands that talk to it.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, max_term_width = 100)]
pub(super) struct Cli {
    #[arg(long, global = true, value_name = "PATH", help = format!("Socket of the running agent [default: {DEFAULT_SOCKET}]"))]
    pub(super) socket: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run the agent of this node until SIGTERM or SIGINT
    Run {
        /// Configuration file; `sluice config example` prints one. RUST_LOG is stronger than its log.level
        #[arg(long, value_name = "FILE", default_value = "/etc/sluice/config.yaml")]
        config: PathBuf,
        /// Where another agent serves this node: go on until all is known that will be served, then have it hand over. It ends, and
        /// leaves connections, pods and the uplink's program in place
        #[arg(long)]
        take_over: bool,
        /// Name of this node's Node object. Stronger than the configuration's `node`, and that than the environment's NODE_NAME
        #[arg(long, value_name = "NAME", value_parser = crate::config::node_name)]
        node: Option<String>,
    },
    /// How the node is: ready or not and why, load, drops, warnings
    Status {
        #[command(flatten)]
        output: Output,
    },
    /// Services; all in a table, or one with its endpoints
    Services {
        /// `name` in any namespace, or `namespace/name`
        name: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Endpoints of services
    Endpoints {
        /// Service: `name` in any namespace, or `namespace/name`
        name: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Policies of the pods of this node
    Policies {
        /// `name` in any namespace, or `namespace/name`
        pod: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Connections
    Flows {
        #[command(flatten)]
        query: FlowArgs,
        #[command(flatten)]
        output: Output,
    },
    /// All counters since start; drops by what can be done about them
    Counters {
        /// Also show drop reasons that never happened
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Dropped packets: the latest of each reason, and what to do about them
    Drops {
        #[command(flatten)]
        query: DropArgs,
        /// Also show the first bytes of each
        #[arg(short, long)]
        verbose: bool,
        /// Go on until Ctrl-C: each new one on a line as it comes, with -o json as one object
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        output: Output,
    },
    /// All figures as OpenMetrics text, as /metrics has them
    Metrics,
    /// What the agent's log writes; with FILTER, change it until the agent ends
    Log {
        /// A level (debug), levels of modules (info,sluice_control=debug), or `default` for what it was at start
        filter: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Whether the agent of this container moves (livez), or has served a complete state (readyz); for exec probes. Fails with what is
    /// wrong
    Probe {
        /// Which of the two
        probe: Probe,
    },
    /// Connect a pod's network namespace
    Attach {
        #[command(flatten)]
        pod: AttachArgs,
        #[command(flatten)]
        output: Output,
    },
    /// Disconnect a pod's network namespace; no error when it was not connected
    Detach {
        #[command(flatten)]
        pod: InterfaceArgs,
    },
    /// Print or check a configuration
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Print every key with its meaning and default
    Example,
    /// Check a file without running anything
    Check {
        /// Configuration file
        file: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Probe {
    /// Control loop and workers move
    Livez,
    /// A complete state was served
    Readyz,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// For a person
    Human,
    /// Exact values
    Json,
}

#[derive(Debug, Args)]
pub(super) struct Output {
    /// What the answer is written for
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum, default_value_t = Format::Human)]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct FlowArgs {
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = FlowQuery::default().limit, value_parser = clap::value_parser!(u32).range(1..=i64::from(FlowQuery::MAX)))]
    limit: u32,
    /// Only with this address at either end, or as the service's
    #[arg(long)]
    address: Option<IpAddr>,
    /// Only with this port at either end, or as the service's
    #[arg(long)]
    port: Option<u16>,
    /// Only this protocol: tcp, udp, icmp, icmpv6, sctp or a number
    #[arg(long)]
    protocol: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct DropArgs {
    /// Show at most this many
    #[arg(short = 'n', long, value_name = "N", default_value_t = DropQuery::default().limit, value_parser = clap::value_parser!(u32).range(1..=i64::from(DropQuery::MAX)))]
    limit: u32,
    /// Only this reason, or this group of reasons, as `sluice counters` names them
    #[arg(long, value_name = "NAME")]
    reason: Option<String>,
    /// Only packets by this pod's port or with its address: `name` in any namespace, or `namespace/name`
    #[arg(long)]
    pod: Option<String>,
    /// Also show what every network has, such as multicast
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(super) struct InterfaceArgs {
    /// Network namespace, such as /run/netns/NAME or /proc/PID/ns/net
    #[arg(long, value_name = "PATH")]
    netns: PathBuf,
    /// Name of the interface in the pod
    #[arg(long, value_name = "NAME", default_value = "eth0")]
    interface: String,
}

#[derive(Debug, Args)]
pub(super) struct AttachArgs {
    #[command(flatten)]
    place: InterfaceArgs,
    /// Address of the pod, one per family
    #[arg(long = "address", value_name = "ADDRESS", required = true)]
    addresses: Vec<String>,
    /// `namespace/name` of the pod
    #[arg(long)]
    pod: String,
}

pub(super) fn services(name: &Option<String>) -> Request {
    Request::Services(ServicesRequest { name: name.clone() })
}

pub(super) fn endpoints(service: &Option<String>) -> Request {
    Request::Endpoints(EndpointsRequest {
        service: service.clone(),
    })
}

pub(super) fn policies(pod: &Option<String>) -> Request {
    Request::Policies(PoliciesRequest { pod: pod.clone() })
}

pub(super) fn flows(args: FlowArgs) -> FlowQuery {
    let FlowArgs {
        limit,
        address,
        port,
        protocol,
    } = args;
    FlowQuery {
        limit,
        address,
        port,
        protocol,
    }
}

pub(super) fn drops(args: DropArgs) -> DropQuery {
    let DropArgs {
        limit,
        reason,
        pod,
        all,
    } = args;
    DropQuery {
        limit,
        reason,
        pod,
        all,
    }
}

/// The agent works in another directory, so paths are made absolute here.
pub(super) fn attach(args: AttachArgs) -> std::io::Result<AttachRequest> {
    let AttachArgs { place, addresses, pod } = args;
    Ok(AttachRequest {
        netns: std::path::absolute(place.netns)?,
        interface: place.interface,
        addresses,
        pod,
    })
}

pub(super) fn detach(args: InterfaceArgs) -> std::io::Result<DetachRequest> {
    Ok(DetachRequest {
        netns: std::path::absolute(args.netns)?,
        interface: args.interface,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_socket_may_stand_before_and_behind_the_verb() {
        for line in ["sluice --socket /s status -o json", "sluice status --socket /s -o json"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(cli.socket, Some("/s".into()));
            assert!(matches!(
                cli.verb,
                Verb::Status {
                    output: Output { format: Format::Json }
                }
            ));
        }
    }

    #[test]
    fn attach_makes_paths_absolute_and_keeps_all_addresses() {
        let line = "sluice attach --netns ns/a --address 10.0.0.5/24 --address fd00::5/64 --pod default/web-1";
        let Verb::Attach { pod, .. } = Cli::try_parse_from(line.split(' ')).unwrap().verb else {
            panic!("no attach")
        };
        let request = attach(pod).unwrap();
        assert!(request.netns.is_absolute() && request.netns.ends_with("ns/a"));
        assert_eq!(
            (request.interface.as_str(), request.pod.as_str()),
            ("eth0", "default/web-1")
        );
        assert_eq!(request.addresses, ["10.0.0.5/24", "fd00::5/64"]);
    }

    #[test]
    fn flows_take_no_limit_that_the_agent_would_lower() {
        assert!(Cli::try_parse_from(["sluice", "flows", "--limit", "10001"]).is_err());
        assert!(Cli::try_parse_from(["sluice", "flows", "--limit", "0"]).is_err());
    }
}
