//! Decides what state a connection is in from the packets that pass. It never checks sequence numbers and never drops a packet.
//!
//! A first TCP packet without SYN is taken up, too: connections older than this process must go on. A reset of an established
//! connection is believed only while nothing else follows: without sequence numbers it may be anybody's guess, and an
//! end that did not believe it says so at once (RFC 5961 section 3).

use sluice_wire::Proto;

// Bits of the flags octet, RFC 9293 section 3.1.
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Which way a packet goes, seen from who sent the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From who began.
    Original,
    /// Back.
    Reply,
}

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $label:literal;)*) => {
        /// State of a connection. Codes are stable: records hold them and are handed to the next process.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ConnState { $($(#[$doc])* $name = $code,)* }

        impl ConnState {
            /// Every state, in the order of its code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The state with this code.
            pub const fn from_u8(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            /// Short name for people and metrics.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

states! {
    /// TCP without a reply yet: a SYN, or a packet of a connection that is older than this process.
    SynSent = 0, "syn_sent";
    /// TCP, the reply carried SYN.
    SynReceived = 1, "syn_received";
    /// TCP, both sides talk.
    Established = 2, "established";
    /// TCP, FIN seen from the original direction only.
    FinOriginal = 3, "fin_original";
    /// TCP, FIN seen from the reply direction only.
    FinReply = 4, "fin_reply";
    /// TCP, FIN seen from both.
    TimeWait = 5, "time_wait";
    /// TCP, refused: RST seen before both sides talked, or after both had ended.
    Closed = 6, "closed";
    /// UDP without a reply yet.
    UdpUnreplied = 7, "udp_unreplied";
    /// UDP in both directions.
    UdpReplied = 8, "udp_replied";
    /// ICMP echo, either family.
    Icmp = 9, "icmp";
    /// Another protocol (SCTP, say) without a reply yet.
    Other = 10, "other";
    /// Another protocol in both directions.
    OtherReplied = 11, "other_replied";
    /// TCP, RST seen while both sides talked.
    Reset = 12, "reset";
}

impl ConnState {
    /// The code kept in records.
    pub const fn to_u8(self) -> u8 {
        self as u8
    }

    /// State after the first packet.
    pub const fn first(proto: Proto, tcp_flags: u8) -> Self {
        match proto {
            Proto::TCP if tcp_flags & RST != 0 => Self::Closed,
            Proto::TCP => Self::SynSent,
            Proto::UDP => Self::UdpUnreplied,
            Proto::ICMP | Proto::ICMPV6 => Self::Icmp,
            _ => Self::Other,
        }
    }

    /// Nobody answered so far.
    pub const fn is_unreplied(self) -> bool {
        matches!(self, Self::SynSent | Self::UdpUnreplied | Self::Icmp | Self::Other)
    }

    /// Little is lost with it: not answered yet, half open, or over. Such connections are evicted before others.
    pub const fn is_expendable(self) -> bool {
        self.is_unreplied() || self.is_over() || matches!(self, Self::SynReceived)
    }

    /// The connection is over; a SYN on its tuple begins another one.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::TimeWait | Self::Closed | Self::Reset)
    }
}

/// State after a packet of a connection in `state`. `tcp_flags` is the flags octet, and ignored unless `proto` is TCP.
pub const fn on_packet(state: ConnState, dir: Direction, proto: Proto, tcp_flags: u8) -> ConnState {
    match proto {
        Proto::TCP => on_tcp(state, dir, tcp_flags),
        _ => match (state, dir) {
            (ConnState::UdpUnreplied, Direction::Reply) => ConnState::UdpReplied,
            (ConnState::Other, Direction::Reply) => ConnState::OtherReplied,
            _ => state,
        },
    }
}

const fn on_tcp(state: ConnState, dir: Direction, flags: u8) -> ConnState {
    use ConnState::*;
    use Direction::*;
    let (fin, syn, ack) = (flags & FIN != 0, flags & SYN != 0, flags & ACK != 0);
    if flags & RST != 0 {
        return match state {
            Established | FinOriginal | FinReply | Reset => Reset,
            _ => Closed,
        };
    }
    match (state, dir) {
        (SynSent, Reply) if syn => SynReceived,
        (SynSent | SynReceived | Established, Reply) if fin => FinReply,
        (SynSent, Reply) => Established,
        (SynReceived | Established, Original) if fin => FinOriginal,
        // With SYN, too: of two that began at the same time each answers the other's SYN (RFC 9293 section 3.5).
        (SynReceived, Original) if ack => Established,
        (FinOriginal, Reply) | (FinReply, Original) if fin => TimeWait,
        // A new connection on the old tuple (RFC 9293 section 3.6.1). In an established one a SYN is a stray and changes nothing.
        (TimeWait | Closed | Reset, Original) if syn && !ack => SynSent,
        (Reset, _) if !syn => Established,
        _ => state,
    }
}
