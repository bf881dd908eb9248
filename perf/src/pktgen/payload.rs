//! Decides how a packet says which one it is and when it left: 18 bytes at the front of its UDP payload, so that a frame of 64 bytes has
//! room for them. It never looks at addresses or ports: between the ends they may be translated.

use sluice_wire::{Kind, Packet, Parsed, parse};

/// Magic, run, number, time.
pub(crate) const LEN: usize = 18;
const MAGIC: [u8; 4] = *b"SLPG";
const VXLAN: usize = 8;
/// What 48 bits hold.
pub(crate) const MOST: u64 = (1 << 48) - 1;

/// Which run a packet belongs to: late ones of the run before are foreign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run(pub(crate) u16);

/// What a packet says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Its place among all that were sent, from 0.
    pub(crate) number: u64,
    /// When it was handed to the device, ns since the run began.
    pub(crate) sent_ns: u64,
}

impl Mark {
    /// As the payload begins; what differs from packet to packet comes last.
    pub(crate) fn bytes(self, run: Run) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&run.0.to_be_bytes());
        bytes[6..12].copy_from_slice(&self.number.to_be_bytes()[2..]);
        bytes[12..].copy_from_slice(&self.sent_ns.min(MOST).to_be_bytes()[2..]);
        bytes
    }

    /// Reads it back, if the bytes begin with one of this run.
    #[inline]
    pub(crate) fn read(bytes: &[u8], run: Run) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.first_chunk()?;
        let [m0, m1, m2, m3, r0, r1, n @ .., t0, t1, t2, t3, t4, t5] = *bytes;
        if [m0, m1, m2, m3] != MAGIC || u16::from_be_bytes([r0, r1]) != run.0 {
            return None;
        }
        let [n0, n1, n2, n3, n4, n5] = n;
        Some(Self {
            number: u64::from_be_bytes([0, 0, n0, n1, n2, n3, n4, n5]),
            sent_ns: u64::from_be_bytes([0, 0, t0, t1, t2, t3, t4, t5]),
        })
    }
}

/// The UDP payload of a frame that carries a mark, be it in a tunnel; `None` for foreign ones.
#[inline]
pub(crate) fn find(frame: &[u8], run: Run) -> Option<&[u8]> {
    let outer = udp_payload(frame)?;
    if Mark::read(outer, run).is_some() {
        return Some(outer);
    }
    let inner = udp_payload(outer.get(VXLAN..)?)?;
    Mark::read(inner, run).map(|_| inner)
}

#[inline]
fn udp_payload(frame: &[u8]) -> Option<&[u8]> {
    match parse(frame) {
        Ok(Packet::Ip(Parsed {
            payload,
            end,
            kind: Kind::Udp,
            ..
        })) => frame.get(usize::from(payload)..end as usize),
        _ => None,
    }
}
