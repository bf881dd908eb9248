//! Why a frame ended: one list that is enum, counter index and help text.

macro_rules! drop_reasons {
    ($($name:ident = $code:literal, $label:literal => $text:literal;)*) => {
        /// Why a frame left the pipeline. Codes are stable: append, never renumber; a retired one keeps its place.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason { $(#[doc = $text] $name = $code,)* }

        impl DropReason {
            /// Every reason, in the order of its code.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name,)*];
            /// Short name for metrics and JSON.
            pub const fn label(self) -> &'static str { match self { $(DropReason::$name => $label,)* } }
            /// One line for a person.
            pub const fn text(self) -> &'static str { match self { $(DropReason::$name => $text,)* } }
            /// Index of the counter.
            pub const fn index(self) -> usize { self as usize }
        }
    };
}

drop_reasons! {
    EthTruncated = 0, "eth_truncated" => "shorter than an Ethernet header";
    EtherTypeUnknown = 1, "ethertype_unknown" => "neither IPv4, IPv6 nor ARP";
    Ipv4Malformed = 2, "ipv4_malformed" => "IPv4 header truncated or contradictory";
    Ipv4Checksum = 3, "ipv4_checksum" => "IPv4 header checksum wrong";
    Ipv6Malformed = 4, "ipv6_malformed" => "IPv6 header truncated or contradictory";
    TransportTruncated = 5, "transport_truncated" => "TCP, UDP or ICMP header truncated";
    TransportChecksum = 6, "transport_checksum" => "TCP, UDP or ICMP checksum wrong";
    ArpMalformed = 7, "arp_malformed" => "ARP packet truncated or not for Ethernet and IPv4";
    ArpNotForUs = 8, "arp_not_for_us" => "ARP that asks for nothing we answer";
    NdpMalformed = 9, "ndp_malformed" => "neighbour discovery packet malformed (RFC 4861 section 7.1)";
    NdpNotForUs = 10, "ndp_not_for_us" => "neighbour discovery that asks for nothing we answer";
    Multicast = 11, "multicast" => "multicast or broadcast, which is not forwarded";
    FragmentUnsupported = 12, "fragment_unsupported" => "IP fragment where only whole packets are handled";
    Ipv6ExtensionUnsupported = 13, "ipv6_extension_unsupported" => "IPv6 extension header that is not handled";
    VxlanTruncated = 14, "vxlan_truncated" => "VXLAN header truncated";
    VxlanNoVni = 15, "vxlan_no_vni" => "VXLAN header without a valid VNI flag (RFC 7348 section 5)";
    UnknownVni = 16, "unknown_vni" => "VXLAN network identifier is not ours";
    UnknownVtep = 17, "unknown_vtep" => "tunnel packet from an address that is no node of the cluster";
    OuterChecksum = 18, "outer_checksum" => "outer UDP checksum of a tunnel packet wrong";
    InnerMac = 19, "inner_mac" => "inner Ethernet destination of a tunnel packet is not ours";
    SpoofedMac = 20, "spoofed_mac" => "source MAC is not the pod's";
    SpoofedSource = 21, "spoofed_source" => "source address does not belong to the pod or node that sent it";
    TtlExceeded = 22, "ttl_exceeded" => "TTL or hop limit reached zero";
    TooBig = 23, "too_big" => "larger than the path, and may not be fragmented";
    PolicyEgress = 24, "policy_egress" => "denied by network policy at the sending pod";
    PolicyIngress = 25, "policy_ingress" => "denied by network policy at the receiving pod";
    NoEndpoints = 26, "no_endpoints" => "service has no usable endpoint";
    NoServicePort = 27, "no_service_port" => "service address without a service on this port";
    NoRoute = 28, "no_route" => "no route to the destination";
    NoPod = 29, "no_pod" => "address in this node's pod range, but no such pod here";
    NeighbourUnresolved = 30, "neighbour_unresolved" => "next hop did not answer in time";
    NoConnection = 31, "no_connection" => "belongs to no known connection";
    IcmpUnrelated = 32, "icmp_unrelated" => "ICMP error about no known connection";
    SnatPortsExhausted = 33, "snat_ports_exhausted" => "no source port left for masquerading";
    ConnectionTableFull = 34, "connection_table_full" => "connection table full";
    TxRingFull = 35, "tx_ring_full" => "transmit ring or queue of the port full";
    PortGone = 36, "port_gone" => "port is not part of the configuration, not yet or not any more";
    NoFrameMemory = 37, "no_frame_memory" => "no free frame in the pool";
    NotSteered = 38, "not_steered" => "arrived at the uplink's socket but is not for us";
    NoHeadroom = 39, "no_headroom" => "frame has no room for the headers it needs";
    LinkLocal = 40, "link_local" => "link-local packet, which is not forwarded";
    HeldTooMany = 41, "held_too_many" => "too many packets already wait for a neighbour";
    Loop = 42, "loop" => "would leave by the way it came";
    GsoMalformed = 43, "gso_malformed" => "super-frame whose headers do not fit its offload request";
    NoConfiguration = 44, "no_configuration" => "no complete configuration yet";
    RxInvalid = 45, "rx_invalid" => "port delivered a frame with contradictory offload data, or one too long";
    TxRefused = 46, "tx_refused" => "port refused the frame: link down, or an offload that it does not have";
    TunnelCongestion = 47, "tunnel_congestion" => "congestion was marked on the tunnel, and the inner packet is not ECN-capable (RFC 6040 section 4.2)";
    TunnelFromPod = 48, "tunnel_from_pod" => "would reach a node's tunnel port without having been wrapped by this node";
}

#[cfg(test)]
mod tests {
    use super::DropReason;

    #[test]
    fn codes_count_up_and_labels_differ() {
        for (at, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), at, "{}", reason.label());
            assert!(
                DropReason::ALL[..at].iter().all(|r| r.label() != reason.label()),
                "{} twice",
                reason.label()
            );
        }
    }
}
