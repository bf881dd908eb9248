//! Where frames end: one egress that frees them, for timing, and one that keeps a copy, for checking.

use crate::cases::Leaving;
use sluice_engine::{Egress, Frame};
use sluice_mem::Pools;
use sluice_wire::{Addr, PortSlot};

/// Frees and counts.
#[derive(Debug, Default)]
pub(crate) struct Freeing {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

impl Egress for Freeing {
    #[inline]
    fn send(&mut self, pools: &mut Pools, _: PortSlot, frame: Frame) {
        self.frames += 1;
        self.bytes += frame.buf.len() as u64;
        pools.free(frame.buf);
    }

    fn flush(&mut self, _: &mut Pools) {}

    fn resolve(&mut self, _: Addr) {}
}

/// Keeps what left.
#[derive(Debug, Default)]
pub(crate) struct Recording(pub(crate) Vec<Leaving>);

impl Egress for Recording {
    fn send(&mut self, pools: &mut Pools, port: PortSlot, frame: Frame) {
        let bytes = frame.buf.bytes().to_vec();
        self.0.push(Leaving { port, bytes });
        pools.free(frame.buf);
    }

    fn flush(&mut self, _: &mut Pools) {}

    fn resolve(&mut self, _: Addr) {}
}
