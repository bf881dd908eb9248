//! Why a frame ended: one list that is enum, counter index, help text and remedy. docs/drop-reasons.md is made from it.

mod group;

pub use group::DropGroup;

macro_rules! drop_reasons {
    ($($name:ident = $code:literal, $group:ident, $label:literal: $text:literal => $remedy:literal;)*) => {
        /// Why a frame left the pipeline. Codes are stable: append, never renumber; a retired one keeps its place.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason { $(#[doc = $text] $name = $code,)* }

        impl DropReason {
            /// Every reason, in the order of its code.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name,)*];
            /// Short name for metrics and JSON.
            pub const fn label(self) -> &'static str { match self { $(DropReason::$name => $label,)* } }
            /// The cause, in one line for a person.
            pub const fn text(self) -> &'static str { match self { $(DropReason::$name => $text,)* } }
            /// What to do about it, in one sentence.
            pub const fn remedy(self) -> &'static str { match self { $(DropReason::$name => $remedy,)* } }
            /// The kind of remedy.
            pub const fn group(self) -> DropGroup { match self { $(DropReason::$name => DropGroup::$group,)* } }
            /// Index of the counter.
            pub const fn index(self) -> usize { self as usize }
        }
    };
}

// name = next free code, group, "label": "cause" => "What to do.";
// Afterwards: SLUICE_UPDATE=1 cargo test -p sluice-wire drop_reasons
drop_reasons! {
    EthTruncated = 0, Sender, "eth_truncated": "shorter than an Ethernet header"
        => "Find the program that writes raw frames; a kernel sends none so short.";
    EtherTypeUnknown = 1, Unsupported, "ethertype_unknown": "neither IPv4, IPv6 nor ARP"
        => "Send IP; other protocols of Ethernet are not forwarded.";
    Ipv4Malformed = 2, Sender, "ipv4_malformed": "IPv4 header truncated or contradictory"
        => "Find the sender with `sluice drops`: it makes packets by hand, or a link damages them.";
    Ipv4Checksum = 3, Sender, "ipv4_checksum": "IPv4 header checksum wrong"
        => "Find the sender with `sluice drops`; many from one link mean that the link or its NIC damages packets.";
    Ipv6Malformed = 4, Sender, "ipv6_malformed": "IPv6 header truncated or contradictory"
        => "Find the sender with `sluice drops`: it makes packets by hand, or a link damages them.";
    TransportTruncated = 5, Sender, "transport_truncated": "TCP, UDP or ICMP header truncated"
        => "Find the sender with `sluice drops`: it makes packets by hand, or a link damages them.";
    TransportChecksum = 6, Sender, "transport_checksum": "TCP, UDP or ICMP checksum wrong"
        => "Look at the sender's checksum offload (`ethtool -k`), then at the link.";
    ArpMalformed = 7, Sender, "arp_malformed": "ARP packet truncated or not for Ethernet and IPv4"
        => "Find the sender with `sluice drops`: no kernel sends this.";
    ArpNotForUs = 8, Expected, "arp_not_for_us": "ARP that asks for nothing we answer"
        => "Nothing: a pod's questions about itself look like this.";
    NdpMalformed = 9, Sender, "ndp_malformed": "neighbour discovery packet malformed (RFC 4861 section 7.1)"
        => "Find the sender with `sluice drops`: no kernel sends this.";
    NdpNotForUs = 10, Expected, "ndp_not_for_us": "neighbour discovery that asks for nothing we answer"
        => "Nothing: a pod's questions about itself look like this.";
    Multicast = 11, Expected, "multicast": "multicast, which is not forwarded"
        => "Nothing, unless an application needs multicast between pods, which Kubernetes does not promise.";
    FragmentUnsupported = 12, Unsupported, "fragment_unsupported": "IP fragment of what is handled whole only: ICMP errors, neighbour discovery, SCTP whose ports change, outer packets of tunnels"
        => "Let the sender use smaller datagrams (for DNS, an EDNS buffer of 1232 bytes), or TCP.";
    Ipv6ExtensionUnsupported = 13, Unsupported, "ipv6_extension_unsupported": "more IPv6 extension headers than any sender has a use for"
        => "Find the sender with `sluice drops`: more than eight headers in one packet are a test or an attack.";
    VxlanTruncated = 14, Sender, "vxlan_truncated": "VXLAN header truncated"
        => "Find out what else sends to the tunnel port; `sluice drops -v` shows the bytes.";
    VxlanNoVni = 15, Sender, "vxlan_no_vni": "VXLAN header without a valid VNI flag (RFC 7348 section 5)"
        => "Find out what else sends to the tunnel port: another tunnel protocol may use the same number.";
    UnknownVni = 16, Configuration, "unknown_vni": "VXLAN network identifier is not ours"
        => "Give all nodes the same vxlan.vni, and two clusters on one network different ports.";
    UnknownVtep = 17, Configuration, "unknown_vtep": "tunnel packet from an address that is no node of the cluster"
        => "Compare the sender with the Node objects: its address or its flannel annotations may be missing or old.";
    OuterChecksum = 18, Sender, "outer_checksum": "outer UDP checksum of a tunnel packet wrong"
        => "Turn the sending node's tunnel checksum offload off (`ethtool -K DEVICE tx-udp_tnl-csum-segmentation off`).";
    InnerMac = 19, Configuration, "inner_mac": "inner Ethernet destination of a tunnel packet is not ours"
        => "Compare this node's VtepMAC annotation with the sender's table of neighbours: one of them is old.";
    SpoofedMac = 20, Sender, "spoofed_mac": "source MAC is not the pod's"
        => "Find out what in the pod sends with a MAC of its own (a bridge, a macvlan, a virtual machine).";
    SpoofedSource = 21, Sender, "spoofed_source": "source address does not belong to the pod or node that sent it"
        => "Find out what in the pod or behind the node uses foreign addresses; a pod may use its own only.";
    TtlExceeded = 22, Expected, "ttl_exceeded": "TTL or hop limit reached zero"
        => "Nothing for a traceroute; many of one flow mean a routing loop.";
    TooBig = 23, Expected, "too_big": "larger than the path, and may not be fragmented"
        => "Nothing: the sender is told the size that passes; if it goes on, something filters ICMP on its way back.";
    PolicyEgress = 24, Policy, "policy_egress": "denied by network policy at the sending pod"
        => "If it should pass, add an egress rule; `sluice policies NAMESPACE/POD` shows those that select the sender.";
    PolicyIngress = 25, Policy, "policy_ingress": "denied by network policy at the receiving pod"
        => "If it should pass, add an ingress rule; `sluice policies NAMESPACE/POD` shows those that select the receiver.";
    NoEndpoints = 26, Configuration, "no_endpoints": "service has no usable endpoint"
        => "See whether the service's pods are ready and its selector matches; `sluice services NAME` shows what is served.";
    NoServicePort = 27, Configuration, "no_service_port": "service address without a service on this port"
        => "Compare the port with `sluice services`; clients of a deleted service look like this, too.";
    NoRoute = 28, Configuration, "no_route": "no route to the destination"
        => "Look at the node's own routes (`ip route get ADDRESS`), and whether a Node object owns the address.";
    NoPod = 29, Configuration, "no_pod": "address in this node's pod range, but no such pod here"
        => "Nothing if the pod has just gone; else see why it is not attached (`sluice status`).";
    NeighbourUnresolved = 30, Configuration, "neighbour_unresolved": "next hop did not answer in time"
        => "See whether the next hop lives and is on the uplink's link (`ip neigh`).";
    NoConnection = 31, Passing, "no_connection": "belongs to no known connection"
        => "Nothing: late packets, port scans, and connections from before a restart look like this.";
    IcmpUnrelated = 32, Passing, "icmp_unrelated": "ICMP error about no known connection"
        => "Nothing: errors about connections that have ended, or forged ones.";
    SnatPortsExhausted = 33, Capacity, "snat_ports_exhausted": "no source port left for masquerading"
        => "Raise snat.ports, or find who opens so many connections to one address (`sluice flows --address`).";
    ConnectionTableFull = 34, Capacity, "connection_table_full": "connection table full"
        => "Raise memory.connections: the port that is refused has its fair share (`sluice flows` shows what it has).";
    TxRingFull = 35, Capacity, "tx_ring_full": "transmit ring or queue of the port full"
        => "See which port it is (`sluice drops`): its pod needs more CPU, or the uplink is at its limit.";
    PortGone = 36, Passing, "port_gone": "port is not part of the configuration, not yet or not any more"
        => "Nothing: a pod is starting or has just gone.";
    NoFrameMemory = 37, Capacity, "no_frame_memory": "no free frame in the pool"
        => "Raise memory.frames.";
    NotSteered = 38, Configuration, "not_steered": "arrived at the uplink's socket but is not for us"
        => "Look whether another program receives on the uplink's queues; what is not ours should stay with the kernel.";
    NoHeadroom = 39, Unsupported, "no_headroom": "frame has no room for the headers it needs"
        => "Report it with the output of `sluice drops -v`: every frame should have that room.";
    LinkLocal = 40, Expected, "link_local": "link-local packet, which is not forwarded"
        => "Nothing, unless a pod expects something at a link-local address, such as a node-local DNS cache.";
    HeldTooMany = 41, Capacity, "held_too_many": "too many packets already wait for a neighbour"
        => "Find out which next hop does not answer (`ip neigh`); more waiting would not help.";
    Loop = 42, Configuration, "loop": "would leave by the way it came"
        => "Compare routes of the sender with the Node objects: it believes that this node owns the address.";
    GsoMalformed = 43, Sender, "gso_malformed": "super-frame whose headers do not fit its offload request"
        => "Find the pod with `sluice drops`: something in it writes to its interface by hand.";
    NoConfiguration = 44, Passing, "no_configuration": "no complete configuration yet"
        => "Wait for the first complete configuration; `sluice status` says what is missing.";
    RxInvalid = 45, Sender, "rx_invalid": "port delivered a frame with contradictory offload data, or one too long"
        => "Find the port with `sluice counters`; on the uplink, lower its MTU to what one frame holds.";
    TxRefused = 46, Passing, "tx_refused": "port refused the frame: link down, or an offload that it does not have"
        => "Nothing while a pod stops; else see whether the interface is up (`ip link`).";
    TunnelCongestion = 47, Capacity, "tunnel_congestion":
        "congestion was marked on the tunnel, and the inner packet is not ECN-capable (RFC 6040 section 4.2)"
        => "The network between the nodes is congested; turning ECN on in the pods (net.ipv4.tcp_ecn) saves the packets.";
    TunnelFromPod = 48, Sender, "tunnel_from_pod": "would reach a node's tunnel port without having been wrapped by this node"
        => "Find the pod with `sluice drops`: it tries to send tunnel packets of its own.";
    SlowReceiver = 49, Capacity, "slow_receiver":
        "the receiving pod takes longer than its share of a worker's time, and too much waits for it"
        => "See `sluice status` for the pod: fewer firewall rules in it make it faster.";
    EndpointFirst = 50, Expected, "endpoint_first": "a service's endpoint speaks in a connection that is not known (any more); its client is asked about it"
        => "Nothing after a restart; else the connections of clients that only listen outlive their records (memory.connections).";
    NewFlowRate = 51, Capacity, "new_flow_rate": "port begins more flows in a second than it may"
        => "Find the port with `sluice drops`: it scans or is flooded; if it really opens so many, raise limits.new_flows.";
    PortQuota = 52, Capacity, "port_quota": "port has as many connections as it may, all of them established"
        => "Find who keeps so many open (`sluice flows`), or raise limits.connections_percent or memory.connections.";
    Broadcast = 53, Expected, "broadcast": "broadcast, or a packet for one host in a broadcast frame, which is not forwarded"
        => "Nothing, unless an application looks for others by broadcast (or for a DHCP server): pods have no common segment.";
    GroupMembership = 54, Expected, "group_membership": "IGMP or MLD, and no multicast is forwarded that one could join"
        => "Nothing: each pod's kernel reports its groups when its interface comes up.";
    Martian = 55, Sender, "martian": "address that no packet on a wire may have: unspecified, loopback, IPv4 mapped into IPv6"
        => "Find the sender with `sluice drops`: no kernel lets such an address out.";
    VlanTagged = 56, Unsupported, "vlan_tagged": "VLAN or priority tag"
        => "Remove the VLAN interface or the priority mapping in the pod; frames of pods and in the tunnel have no tag.";
    LlcFrame = 57, Expected, "llc_frame": "IEEE 802.3 length instead of an Ethernet type: LLC, such as spanning tree"
        => "Nothing: bridges send it; one in a pod may have spanning tree turned off.";
    SourceRouted = 58, Sender, "source_routed": "source route, which leads past what was judged (RFC 7126, RFC 5095)"
        => "Find the sender with `sluice drops`: IPv4 source routes and IPv6 routing headers are used by attacks and tests only.";
    NeighbourAnnouncement = 59, Expected, "neighbour_announcement": "gratuitous ARP or unsolicited neighbour advertisement"
        => "Nothing: pods announce addresses that the node knows; others need not hear it.";
    AddressProbe = 60, Expected, "address_probe": "ARP probe or duplicate address detection, to which silence is the answer"
        => "Nothing: each pod asks whether its address is free when its interface comes up.";
    RouterSolicitation = 61, Expected, "router_solicitation": "asks for router advertisements, and there are none"
        => "Nothing: a pod's addresses and routes come from the agent; its kernel asks all the same.";
    RogueRouter = 62, Sender, "rogue_router": "router advertisement or ICMP redirect: only the node is a router to pods"
        => "Find the sender with `sluice drops`: a router daemon runs in a pod, or somebody tries to take traffic over.";
    FragmentTiny = 63, Sender, "fragment_tiny": "first fragment without the whole transport header, or one that could overwrite it (RFC 1858, RFC 3128, RFC 7112)"
        => "Find the sender with `sluice drops`: no kernel cuts packets so small.";
    FragmentOverlap = 64, Sender, "fragment_overlap": "fragment that its packet already has, or that contradicts others of its packet (RFC 5722)"
        => "Few are repetitions by the network; for more, find the sender with `sluice drops`.";
    FragmentNoFirst = 65, Sender, "fragment_no_first": "later fragment whose first one did not come in time"
        => "Look for what loses packets on the way here; where that is normal, let the sender use smaller datagrams.";
    FragmentTableFull = 66, Capacity, "fragment_table_full": "too many fragmented packets, or fragments of one, are under way for the port or in all"
        => "Let the port's sender use datagrams that fit the MTU; a port has room for 512 fragmented packets at once.";
    PathMtuNoted = 67, Expected, "path_mtu_noted": "told how large packets of a tunnel may be on their way, which was noted"
        => "Nothing: senders are told the smaller size for ten minutes; a larger MTU between the nodes avoids it.";
    OtherMac = 68, Passing, "other_mac": "frame on the wire for another MAC than the uplink's"
        => "Nothing just after a change of the uplink's MAC; else look what else puts frames into the uplink's queues.";
}

#[cfg(test)]
mod tests {
    use super::{DropGroup, DropReason};

    #[test]
    fn codes_count_up_and_labels_differ() {
        let groups = DropGroup::ALL.iter().map(|group| group.label());
        let mut labels: Vec<_> = groups.collect();
        for (at, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), at, "{}", reason.label());
            assert!(!labels.contains(&reason.label()), "{} twice", reason.label());
            labels.push(reason.label());
        }
    }

    #[test]
    fn every_reason_has_a_cause_and_a_remedy_of_one_line() {
        for reason in DropReason::ALL {
            let (label, text, remedy) = (reason.label(), reason.text(), reason.remedy());
            assert!(
                label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')),
                "{label}"
            );
            assert!(
                !text.is_empty() && !text.ends_with('.') && !text.contains(['\n', '|']),
                "{label}: {text}"
            );
            assert!(
                remedy.ends_with('.') && remedy.len() <= 130 && !remedy.contains(['\n', '|']),
                "{label}: {remedy}"
            );
            assert!(remedy.starts_with(char::is_uppercase), "{label}: {remedy}");
        }
        for (at, group) in DropGroup::ALL.iter().enumerate() {
            assert_eq!(*group as usize, at);
            assert!(
                DropReason::ALL.iter().any(|reason| reason.group() == *group),
                "{} is empty",
                group.label()
            );
        }
    }
}
