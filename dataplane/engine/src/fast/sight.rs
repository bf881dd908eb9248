//! Decides what a frame is as far as the fast path goes: where its packet lies, whose flow it is, whether anything about it is unusual.
//! It never changes the frame, and says no more of an unusual one than that.

use super::peers::Peers;
use crate::Frame;
use crate::cache::Place;
use crate::engine::Context;
use sluice_wire::{Checksum, ETH_LEN, MacAddr, Plain, PortSlot, Proto, Scope, ethertype};

/// A MAC address as a word. Parts of it would be stored one by one and read together, for which a processor waits.
#[derive(Clone, Copy)]
pub(super) struct MacWord(u64);

impl MacWord {
    const MASK: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);

    #[inline(always)]
    pub(super) const fn of(mac: MacAddr) -> Self {
        let [a, b, c, d, e, f] = mac.0;
        Self(u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]))
    }

    /// Whether a frame is for it.
    #[inline(always)]
    fn gets(self, header: &[u8; ETH_LEN]) -> bool {
        let [to @ .., _, _, _, _, _, _] = *header;
        u64::from_ne_bytes(to) & Self::MASK == self.0
    }

    /// Whether a frame is from it.
    #[inline(always)]
    fn sends(self, header: &[u8; ETH_LEN]) -> bool {
        let [_, _, _, _, _, _, from @ ..] = *header;
        u64::from_ne_bytes(from) & Self::MASK == self.0
    }
}

/// What was seen of a frame, and what becomes of it.
#[derive(Clone, Copy)]
pub(super) struct Sight {
    /// The packet; offsets count from where its frame begins once tunnel headers are off.
    pub(super) packet: Plain,
    pub(super) hash: u64,
    /// Where the flow cache has its flow, if that is so.
    pub(super) place: Option<Place>,
    /// Where the tunnel's datagram ends.
    end: u32,
    /// Bytes of tunnel headers in front.
    front: u16,
    /// Nothing about it is unusual.
    pub(super) usual: bool,
    pub(super) fate: Fate,
    /// The port it leaves by, once it is finished.
    pub(super) port: PortSlot,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The general path knows.
    Left,
    /// Finished.
    Sent,
    /// Rewritten; what it becomes a part of is seen when it leaves.
    Grows,
}

impl Sight {
    pub(super) const NOTHING: Self = Self {
        packet: Plain::NONE,
        hash: 0,
        place: None,
        end: 0,
        front: 0,
        usual: false,
        fate: Fate::Left,
        port: PortSlot(0),
    };

    /// Looks at a frame that came in by a pod's port or the host's; `mac` is the only source that is let in, where there is one.
    #[inline(always)]
    pub(super) fn inside(&mut self, frame: &Frame, mac: Option<MacWord>, scope: Scope) {
        let bytes = frame.buf.bytes();
        (self.front, self.usual, self.fate) = (0, false, Fate::Left);
        self.packet.words.scope = scope;
        if !self.packet.read(bytes) {
            return;
        }
        let Some(header) = bytes.first_chunk() else { return };
        let may = mac.is_none_or(|mac| mac.sends(header)) && header[0] & 1 == 0;
        self.usual = may && is_single(frame) && self.moves_nothing() && self.is_own(frame.meta.checksum);
    }

    /// Looks at a frame that came in by the uplink, whose MAC is `mac`.
    #[inline(always)]
    pub(super) fn outside(&mut self, cx: Context<'_>, peers: &mut Peers, frame: &Frame, mac: MacWord, scope: Scope) {
        let bytes = frame.buf.bytes();
        (self.front, self.usual, self.fate) = (0, false, Fate::Left);
        self.packet.words.scope = scope;
        if !self.packet.read(bytes) {
            return;
        }
        let Some(header) = bytes.first_chunk() else { return };
        let ours = is_single(frame) && mac.gets(header) && header[0] & 1 == 0;
        match peers.tunnel(cx, &self.packet) {
            Some((scope, mac)) => {
                // What its sender claims of the outer packet is the general path's to judge.
                let ours = ours && !matches!(frame.meta.checksum, Checksum::Partial { .. });
                self.packet.words.scope = scope;
                self.usual = self.enter(cx, bytes, mac) && ours;
            }
            None => self.usual = ours && self.moves_nothing() && self.is_own(frame.meta.checksum),
        }
    }

    /// Goes on to the packet inside a tunnel packet; false if anything is unusual about that.
    #[inline(always)]
    fn enter(&mut self, cx: Context<'_>, frame: &[u8], mac: MacWord) -> bool {
        let vni = cx.snapshot.parts.node.vni;
        let Some(inner) = sluice_vxlan::decapsulate_plain(frame, &self.packet, vni) else {
            return false;
        };
        let Some(bytes) = frame.get(inner.offset..inner.end) else {
            return false;
        };
        if !self.packet.read(bytes) || !bytes.first_chunk().is_some_and(|header| mac.gets(header)) {
            return false;
        }
        (self.front, self.end) = (inner.offset as u16, inner.end as u32);
        let ecn = self.packet.tos & 3;
        sluice_vxlan::decap_ecn(inner.outer_ecn, ecn) == Ok(ecn) && self.moves_nothing()
    }

    /// Whether it has a hop left and moves no connection's state.
    #[inline(always)]
    fn moves_nothing(&self) -> bool {
        self.packet.ttl > 1 && !self.packet.moves_state()
    }

    /// Whether what its sender left to be completed, if anything, is its own checksum.
    #[inline(always)]
    fn is_own(&self, checksum: Checksum) -> bool {
        match checksum {
            Checksum::Partial { start, offset } => (start, offset) == self.packet.checksum_place(),
            Checksum::Unverified | Checksum::Good => true,
        }
    }

    /// Whether anything of the frame is not the packet's.
    #[inline(always)]
    pub(super) fn is_wrapped(&self, frame: &Frame) -> bool {
        self.front > 0 || frame.buf.len() > self.packet.end as usize
    }

    /// Takes off what is not the packet's: tunnel headers and padding. How often, and how many bytes.
    #[inline(always)]
    pub(super) fn strip(&self, frame: &mut Frame) -> (u64, u64) {
        let before = frame.buf.len();
        let mut times = 0;
        if self.front > 0 {
            times += 1 + u64::from(before > self.end as usize);
            frame.buf.truncate(self.end as usize);
            frame.buf.pull(usize::from(self.front));
            frame.meta.checksum = Checksum::Unverified;
        }
        let end = self.packet.end as usize;
        if frame.buf.len() > end {
            times += 1;
            frame.buf.truncate(end);
        }
        (times, (before - frame.buf.len()) as u64)
    }
}

/// One segment, and no super-frame.
#[inline(always)]
fn is_single(frame: &Frame) -> bool {
    frame.buf.next().is_none() && frame.meta.gso.is_none()
}

/// Whether it may be a tunnel packet with options in its outer headers: behind those nobody looked for the packet inside, which the general
/// path may find to be of any flow.
#[cold]
pub(super) fn hides_its_flow(frame: &Frame) -> bool {
    const EXTENSIONS: [u8; 3] = [0, 43, 60];
    let Some([.., a, b, version, _, _, _, _, _, next_v6, _, _, next_v4]) = frame.buf.bytes().first_chunk::<24>() else {
        return false;
    };
    match u16::from_be_bytes([*a, *b]) {
        ethertype::IPV4 => *version > 0x45 && *next_v4 == Proto::UDP.0,
        ethertype::IPV6 => EXTENSIONS.contains(next_v6),
        _ => false,
    }
}
