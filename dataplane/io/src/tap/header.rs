//! Decides what a tap's virtio-net header says about a frame, and the other way round. It never touches the frame's bytes.
//!
//! Layout: `struct virtio_net_hdr_v1`, virtio 1.2 section 5.1.6, little-endian (`TUNSETVNETLE`).

use crate::Caps;
use sluice_wire::{Checksum, Gso, GsoKind, Meta, PortSlot};

/// Bytes of the header in front of each frame.
pub(super) const LEN: usize = 12;

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_UDP: u8 = 5;
const GSO_ECN: u8 = 0x80;
const ETHERNET: usize = 14;
const TCP_SUM: u16 = 16;
const UDP_SUM: u16 = 6;

/// What the header says about a frame of `len` bytes; `None` when it contradicts itself or the length. The sender's
/// kernel wrote it, which a pod with CAP_NET_RAW can make say much.
pub(super) fn decode(header: &[u8; LEN], len: usize, port: PortSlot) -> Option<Meta> {
    let [flags, kind, _, _, s0, s1, c0, c1, o0, o1, ..] = *header;
    let (size, start, offset) = (
        u16::from_le_bytes([s0, s1]),
        u16::from_le_bytes([c0, c1]),
        u16::from_le_bytes([o0, o1]),
    );
    let mut meta = Meta::from_port(port);
    if len < ETHERNET {
        return None;
    }
    if flags & NEEDS_CSUM != 0 {
        if usize::from(start) < ETHERNET || usize::from(start) + usize::from(offset) + 2 > len {
            return None;
        }
        meta.checksum = Checksum::Partial { start, offset };
    } else if flags & DATA_VALID != 0 {
        meta.checksum = Checksum::Good;
    }
    let (gso, want) = match kind & !GSO_ECN {
        0 => return (kind == 0).then_some(meta),
        GSO_TCP4 => (GsoKind::Tcp4, TCP_SUM),
        GSO_TCP6 => (GsoKind::Tcp6, TCP_SUM),
        GSO_UDP => (GsoKind::Udp, UDP_SUM),
        _ => return None,
    };
    let ecn = kind & GSO_ECN != 0;
    // A segment's checksum can only be made where the sum's place is known.
    if size == 0 || flags & NEEDS_CSUM == 0 || offset != want || (ecn && gso == GsoKind::Udp) {
        return None;
    }
    meta.gso = Some(Gso { kind: gso, size, ecn });
    Some(meta)
}

/// The header for a frame whose first segment is `first` and that has `len` bytes in all; `None` when the metadata
/// contradict them or ask for an offload that is not in `caps`.
pub(super) fn encode(meta: &Meta, first: &[u8], len: usize, caps: &Caps) -> Option<[u8; LEN]> {
    let mut header = [0u8; LEN];
    if len < ETHERNET || len > caps.max_frame {
        return None;
    }
    let mut at = 0;
    match meta.checksum {
        Checksum::Unverified => {}
        Checksum::Good => header[0] = DATA_VALID,
        Checksum::Partial { start, offset } => {
            at = usize::from(start);
            if !caps.tx_checksum || at < ETHERNET || at + usize::from(offset) + 2 > len {
                return None;
            }
            header[0] = NEEDS_CSUM;
            header[6..8].copy_from_slice(&start.to_le_bytes());
            header[8..10].copy_from_slice(&offset.to_le_bytes());
        }
    }
    let Some(gso) = meta.gso else { return Some(header) };
    let (kind, can, l4) = match gso.kind {
        GsoKind::Tcp4 => (GSO_TCP4, caps.tso4, tcp_len(first, at)?),
        GsoKind::Tcp6 => (GSO_TCP6, caps.tso6, tcp_len(first, at)?),
        GsoKind::Udp => (GSO_UDP, caps.uso, 8),
    };
    let headers = at + l4;
    if !can || gso.size == 0 || header[0] != NEEDS_CSUM || headers > len {
        return None;
    }
    header[1] = kind | if gso.ecn { GSO_ECN } else { 0 };
    header[2..4].copy_from_slice(&u16::try_from(headers).ok()?.to_le_bytes());
    header[4..6].copy_from_slice(&gso.size.to_le_bytes());
    Some(header)
}

/// Bytes in the TCP header at `at`; `None` when it is cut off or shorter than RFC 9293 section 3.1 allows.
fn tcp_len(first: &[u8], at: usize) -> Option<usize> {
    let words = usize::from(first.get(at.checked_add(12)?)? >> 4);
    (words >= 5).then_some(words * 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: Caps = Caps {
        tx_checksum: true,
        tso4: true,
        tso6: true,
        uso: true,
        chains: true,
        max_frame: 65_549,
    };
    const PORT: PortSlot = PortSlot(3);

    #[test]
    fn the_header_of_a_coalesced_tcp_frame() {
        let mut frame = [0u8; 200];
        frame[34 + 12] = 0x80;
        let meta = Meta {
            checksum: Checksum::Partial { start: 34, offset: 16 },
            gso: Some(Gso {
                kind: GsoKind::Tcp4,
                size: 60,
                ecn: true,
            }),
            ..Meta::from_port(PORT)
        };
        let header = encode(&meta, &frame, 200, &ALL).unwrap();
        assert_eq!(header, [1, 0x81, 34 + 32, 0, 60, 0, 34, 0, 16, 0, 0, 0]);
        assert_eq!(decode(&header, 200, PORT), Some(meta));
        let without = |caps: Caps| encode(&meta, &frame, 200, &caps);
        assert!(
            without(Caps { tso4: false, ..ALL }).is_none()
                && without(Caps {
                    tx_checksum: false,
                    ..ALL
                })
                .is_none()
        );
        assert!(without(Caps { max_frame: 199, ..ALL }).is_none());
        assert!(
            encode(
                &Meta {
                    checksum: Checksum::Good,
                    ..meta
                },
                &frame,
                200,
                &ALL
            )
            .is_none(),
            "needs a partial sum"
        );
    }

    #[test]
    fn contradictions_are_refused() {
        let good = [1, 1, 54, 0, 60, 0, 34, 0, 16, 0, 0, 0];
        assert!(decode(&good, 200, PORT).is_some());
        let bad: [(usize, u8); 6] = [(0, 0), (1, 3), (1, 0x80), (4, 0), (6, 13), (8, 6)];
        for (at, value) in bad {
            let mut header = good;
            header[at] = value;
            assert_eq!(decode(&header, 200, PORT), None, "byte {at} = {value}");
        }
        assert_eq!(decode(&good, 51, PORT), None, "the sum lies behind the end");
        assert_eq!(decode(&[0; LEN], 13, PORT), None, "no Ethernet header");
        assert_eq!(
            decode(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 60, PORT)
                .unwrap()
                .checksum,
            Checksum::Good
        );
    }

    proptest! {
        #[test]
        fn whatever_is_decoded_fits_the_frame_and_encodes_again(
            header: [u8; LEN], len in 0usize..70_000, first in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let Some(meta) = decode(&header, len, PORT) else { return Ok(()) };
            if let Checksum::Partial { start, offset } = meta.checksum {
                prop_assert!(usize::from(start) + usize::from(offset) + 2 <= len);
            }
            if let Some(again) = encode(&meta, &first, len, &ALL) {
                prop_assert_eq!(decode(&again, len, PORT), Some(meta));
            }
        }
    }
}
