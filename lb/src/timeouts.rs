//! Decides how long a connection may be silent. It never measures: the connection table compares with the last use.

use crate::ConnState;

const S: u64 = 1_000_000_000;

/// Nanoseconds of silence after which a connection is forgotten, by state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP until both sides talk. 60 s: most of a client's SYN retransmissions, as in the kernel.
    pub tcp_syn_ns: u64,
    /// TCP, both sides talk. 24 h, as kube-proxy sets it (`tcpEstablishedTimeout`); RFC 5382 (REQ-5) asks for 2 h 4 min at least.
    pub tcp_established_ns: u64,
    /// TCP, one side has sent FIN. 1 h, as kube-proxy sets it (`tcpCloseWaitTimeout`): the other side may still be at work
    /// on a long answer.
    pub tcp_half_closed_ns: u64,
    /// TCP, both sides have sent FIN. 120 s, as in the kernel and IPVS: retransmitted last packets still find their way.
    pub tcp_fin_ns: u64,
    /// TCP after RST. 10 s, as in the kernel: enough for an end that does not believe it to say so.
    pub tcp_close_ns: u64,
    /// UDP without a reply. 30 s, as in the kernel.
    pub udp_unreplied_ns: u64,
    /// UDP with replies. 120 s, as in the kernel, and the least that RFC 4787 (REQ-5) allows.
    pub udp_ns: u64,
    /// ICMP echo. 30 s, as in the kernel.
    pub icmp_ns: u64,
    /// Other protocols without a reply. 60 s.
    pub other_unreplied_ns: u64,
    /// Other protocols with replies. 600 s, as in the kernel; SCTP's heartbeats come every 30 s (RFC 9260 section 16).
    pub other_ns: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp_syn_ns: 60 * S,
            tcp_established_ns: 86_400 * S,
            tcp_half_closed_ns: 3600 * S,
            tcp_fin_ns: 120 * S,
            tcp_close_ns: 10 * S,
            udp_unreplied_ns: 30 * S,
            udp_ns: 120 * S,
            icmp_ns: 30 * S,
            other_unreplied_ns: 60 * S,
            other_ns: 600 * S,
        }
    }
}

/// How long a connection in `state` may be silent, in nanoseconds.
pub const fn timeout_ns(state: ConnState, timeouts: &Timeouts) -> u64 {
    match state {
        ConnState::SynSent | ConnState::SynReceived => timeouts.tcp_syn_ns,
        ConnState::Established => timeouts.tcp_established_ns,
        ConnState::FinOriginal | ConnState::FinReply => timeouts.tcp_half_closed_ns,
        ConnState::TimeWait => timeouts.tcp_fin_ns,
        ConnState::Closed | ConnState::Reset => timeouts.tcp_close_ns,
        ConnState::UdpUnreplied => timeouts.udp_unreplied_ns,
        ConnState::UdpReplied => timeouts.udp_ns,
        ConnState::Icmp => timeouts.icmp_ns,
        ConnState::Other => timeouts.other_unreplied_ns,
        ConnState::OtherReplied => timeouts.other_ns,
    }
}
