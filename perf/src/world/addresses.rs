//! Decides who has which address: arithmetic both ways, so that no table of a million flows is needed.

use sluice_snapshot::Prefix;
use sluice_wire::{Addr, MacAddr, PortSlot};
use std::net::Ipv6Addr;

/// Pods of another node, and hosts in one row of addresses.
const ROW: u32 = 250;

pub(crate) const HOST: PortSlot = PortSlot(0);
pub(crate) const UPLINK: PortSlot = PortSlot(1);
const FIRST_POD: u16 = 2;

pub(crate) const GATEWAY_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(crate) const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
pub(crate) const UPLINK_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);
/// The next hop on the underlay, for everything.
pub(crate) const ROUTER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 4]);
/// This node's end of the tunnels.
pub(crate) const OUR_VTEP: MacAddr = MacAddr([2, 0, 0, 0, 0, 5]);

/// Where pods and endpoints listen.
pub(crate) const POD_PORT: u16 = 8080;
/// Where services do.
pub(crate) const SERVICE_PORT: u16 = 80;
/// The node port of the first service; the others follow.
pub(crate) const NODE_PORT: u16 = 30_000;
/// Services that have a node port.
pub(crate) const NODE_PORTS: u32 = 2_500;
/// Source ports for masquerading, first and last.
pub(crate) const MASQUERADE: (u16, u16) = (1024, 65_535);
/// The port at which tunnels end.
pub(crate) const TUNNEL_PORT: u16 = 8472;

/// Which IP everything is made of, the underlay included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    fn pick(self, v4: [u32; 4], v6: [u32; 8]) -> Addr {
        match self {
            Self::V4 => Addr::v4(v4.map(|n| n as u8)),
            Self::V6 => Ipv6Addr::from(v6.map(|n| n as u16)).into(),
        }
    }

    /// The `n`-th pod of this node.
    pub(crate) fn pod(self, n: u32) -> Addr {
        self.pick([10, 1, n / ROW, 2 + n % ROW], [0xfd00, 1, 0, 0, 0, 0, 0, 2 + n])
    }

    /// The `n`-th pod of the other nodes.
    pub(crate) fn remote(self, n: u32) -> Addr {
        let (node, host) = (n / ROW, 2 + n % ROW);
        self.pick(
            [10, 64 + node / ROW, node % ROW, host],
            [0xfd00, 2, 0, node, 0, 0, 0, host],
        )
    }

    /// The `n`-th service.
    pub(crate) fn service(self, n: u32) -> Addr {
        self.pick([10, 96, n / ROW, 1 + n % ROW], [0xfd00, 0x96, 0, 0, 0, 0, 0, 1 + n])
    }

    /// The `n`-th host outside of the cluster (RFC 2544 and RFC 5180 keep these blocks for benchmarks).
    pub(crate) fn outside(self, n: u32) -> Addr {
        self.pick([198, 18, n / ROW, 1 + n % ROW], [0x2001, 2, 0, 0, 0, 0, 0, 1 + n])
    }

    /// This node on the underlay.
    pub(crate) fn this_node(self) -> Addr {
        self.pick([192, 0, 2, 1], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])
    }

    /// What `sluice0` holds.
    pub(crate) fn base(self) -> Addr {
        self.pick([10, 1, 0, 0], [0xfd00, 1, 0, 0, 0, 0, 0, 0])
    }

    /// The `n`-th other node on the underlay.
    pub(crate) fn node(self, n: u32) -> Addr {
        self.pick([172, 20, n / ROW, 1 + n % ROW], [0x2001, 0xdb8, 1, 0, 0, 0, 0, 1 + n])
    }

    /// The pods of the `n`-th other node.
    pub(crate) fn node_pods(self, n: u32) -> Prefix {
        self.prefix(self.remote(n * ROW), 24, 64)
    }

    /// The pods of this node.
    pub(crate) fn own_pods(self) -> Prefix {
        self.prefix(self.base(), 16, 64)
    }

    /// All pods.
    pub(crate) fn cluster(self) -> Prefix {
        self.prefix(self.base(), 8, 16)
    }

    /// Everything.
    pub(crate) fn everything(self) -> Prefix {
        self.prefix(self.outside(0), 0, 0)
    }

    fn prefix(self, addr: Addr, v4: u8, v6: u8) -> Prefix {
        let len = match self {
            Self::V4 => v4,
            Self::V6 => v6,
        };
        Prefix::new(addr, len).expect("the length fits the family")
    }
}

/// The other node that has the `n`-th remote pod.
pub(crate) fn node_of(remote: u32) -> u32 {
    remote / ROW
}

/// How many other nodes so many pods take.
pub(crate) fn nodes_for(remotes: u32) -> u32 {
    remotes.div_ceil(ROW)
}

/// The port of the `n`-th pod of this node.
pub(crate) fn pod_slot(n: u32) -> PortSlot {
    PortSlot(FIRST_POD + n as u16)
}

pub(crate) fn pod_mac(n: u32) -> MacAddr {
    MacAddr([2, 0, 0, 1, (n >> 8) as u8, n as u8])
}

/// The far end of the tunnel to the `n`-th other node.
pub(crate) fn vtep_of(node: u32) -> MacAddr {
    MacAddr([2, 0, 0, 2, (node >> 8) as u8, node as u8])
}
