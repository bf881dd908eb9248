//! What a pod's kernel writes in front of its frames.

#[allow(dead_code)]
#[path = "../../dataplane/io/src/tap/header.rs"]
mod real;

use sluice_io::memory::ALL_CAPS;
use sluice_wire::{Checksum, PortSlot};

/// A header that is taken points into the frame only, and means the same when it is written again.
pub(crate) fn header(data: &[u8]) {
    let Some((header, rest)) = data.split_first_chunk::<{ real::LEN }>() else {
        return;
    };
    let Some((len, first)) = rest.split_first_chunk::<2>() else {
        return;
    };
    let len = usize::from(u16::from_le_bytes(*len));
    let Some(meta) = real::decode(header, len, PortSlot(3)) else {
        return;
    };
    if let Checksum::Partial { start, offset } = meta.checksum {
        assert!(usize::from(start) + usize::from(offset) + 2 <= len);
    }
    if let Some(again) = real::encode(&meta, first, len, &ALL_CAPS) {
        assert_eq!(real::decode(&again, len, PortSlot(3)), Some(meta));
    }
}
