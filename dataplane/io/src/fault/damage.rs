//! What can be done to a frame, and the dice that decide. It never decides how often.

use crate::Frame;
use sluice_mem::Pools;
use sluice_wire::{Checksum, ETH_LEN, ethertype};

/// xorshift64 (Marsaglia 2003): the same for the same seed, everywhere.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64, salt: u64) -> Self {
        let mut dice = Self((seed ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1);
        // Near seeds begin alike.
        for _ in 0..16 {
            dice.next();
        }
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From 0 to `limit - 1`; 0 if `limit` is.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16).checked_rem(limit).unwrap_or(0)
    }

    /// True in `rate` of a million cases.
    pub(super) fn hits(&mut self, rate: u32) -> bool {
        rate > 0 && self.below(u64::from(super::ALWAYS)) < u64::from(rate)
    }
}

/// Changes one bit of an IP packet whose checksums are there; false, and nothing changed, of any other frame. What is still
/// to be completed would get a checksum that is right for the damage, and ARP has none: who believes those proves nothing.
pub(super) fn corrupt(frame: &mut Frame, dice: &mut Dice) -> bool {
    let bytes = frame.buf.bytes_mut();
    let kind = match bytes.get(12..ETH_LEN) {
        Some(&[a, b]) => u16::from_be_bytes([a, b]),
        _ => return false,
    };
    if !matches!(kind, ethertype::IPV4 | ethertype::IPV6) || matches!(frame.meta.checksum, Checksum::Partial { .. }) {
        return false;
    }
    let at = dice.below(bytes.len() as u64 * 8) as usize;
    bytes[at / 8] ^= 1 << (at % 8);
    frame.meta.checksum = Checksum::Unverified;
    true
}

/// Shortens the frame to no less than an Ethernet header; false, and nothing changed, where it has no more. Its metadata stay
/// as they are, as a bad device's would.
pub(super) fn truncate(frame: &mut Frame, dice: &mut Dice, pools: &mut Pools) -> bool {
    let total = frame.buf.total_len();
    if total <= ETH_LEN {
        return false;
    }
    let keep = ETH_LEN + dice.below((total - ETH_LEN) as u64) as usize;
    if let Some(rest) = frame.buf.take_next() {
        pools.free(rest);
    }
    frame.buf.truncate(keep);
    true
}

/// The same frame again, in one segment; `None` when memory is short.
pub(super) fn copy(frame: &Frame, pools: &mut Pools) -> Option<Frame> {
    let total = frame.buf.total_len();
    let mut buf = pools.small.alloc()?;
    if buf.tailroom() < total {
        pools.free(buf);
        buf = pools.large.alloc()?;
    }
    let mut segment = Some(&frame.buf);
    while let Some(from) = segment {
        let Some(to) = buf.extend(from.len()) else {
            pools.free(buf);
            return None;
        };
        to.copy_from_slice(from.bytes());
        segment = from.next();
    }
    Some(Frame { buf, meta: frame.meta })
}
