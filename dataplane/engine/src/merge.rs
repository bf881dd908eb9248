//! Gathers packets of one flow that leave by one port in the same burst into super-frames, where the port takes them. It never keeps
//! anything beyond the burst, and never lets a packet pass another one of its flow.

use crate::action::Way;
use crate::classify::Item;
use crate::deliver::takes;
use crate::engine::Context;
use crate::{Egress, Engine, Frame};
use arrayvec::ArrayVec;
use sluice_mem::{Buf, Pools};
use sluice_wire::{BURST, Coalescing, DropReason, Parsed, PortSlot, Tuple};

/// Most that grow at a time (`MAX_GRO_SKBS`, net/core/gro.c).
const MOST: usize = 8;
/// Places of [`look_ahead`], of which most stay empty.
const PLACES: usize = 4 * BURST;

/// The first packet of what may become a super-frame, with the payloads of those that followed.
struct Open {
    port: PortSlot,
    frame: Frame,
    headers: Coalescing,
}

/// What grows now, the oldest first.
#[derive(Default)]
pub(crate) struct Merge(ArrayVec<Open, MOST>);

impl Merge {
    /// Whether nothing grows now.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn position(&self, port: PortSlot, tuple: &Tuple) -> Option<usize> {
        self.0
            .iter()
            .position(|open| open.port == port && open.headers.parsed().tuple == *tuple)
    }
}

/// Behind which of a burst's packets another one of the same flow comes, so that only those wait for it: one bit each, the first lowest.
pub(crate) fn look_ahead(hashes: impl DoubleEndedIterator<Item = u64> + ExactSizeIterator) -> u64 {
    let count = hashes.len();
    if count < 2 {
        return 0;
    }
    let (mut later, mut more) = ([0u32; PLACES], 0);
    for (n, hash) in hashes.enumerate().rev() {
        let tag = (hash >> 32) as u32 | 1;
        let mut at = hash as usize % PLACES;
        while later[at] != 0 && later[at] != tag {
            at = (at + 1) % PLACES;
        }
        more |= u64::from(later[at] == tag) << n;
        later[at] = tag;
    }
    more
}

const _: () = assert!(BURST <= 64, "a bit for each packet of a burst");

impl Engine {
    /// Delivers a packet whose addresses are final, at once or as a part of a super-frame; `more` when another one of its flow comes
    /// behind it in this burst.
    pub(crate) fn gather<E: Egress>(
        &mut self,
        cx: Context<'_>,
        pools: &mut Pools,
        (mut frame, parsed, more): (Frame, &Parsed, bool),
        (way, tunnel_port): (Way, u16),
        out: &mut E,
    ) {
        if let Way::Port(port) = way {
            if let Some(at) = self.merge.position(port, &parsed.tuple) {
                match self.join(pools, at, frame, parsed) {
                    Ok(full) if full || !more => return self.close(cx, pools, at, out),
                    Ok(_) => return,
                    Err(refused) => frame = refused,
                }
                self.close(cx, pools, at, out);
            }
            if more && let Some(headers) = begin(cx, port, &frame, parsed) {
                if self.merge.0.is_full() {
                    self.close(cx, pools, 0, out);
                }
                self.merge.0.push(Open { port, frame, headers });
                return;
            }
        }
        self.deliver(cx, pools, frame, parsed, way, tunnel_port, out);
    }

    /// Adds a packet to what grows at `at`, and says whether that is full; gives it back where it does not fit.
    fn join(&mut self, pools: &mut Pools, at: usize, frame: Frame, parsed: &Parsed) -> Result<bool, Frame> {
        let (first, bytes) = (&mut self.merge.0[at], frame.buf.bytes());
        let headers = &mut first.headers;
        if !headers.admits(first.frame.buf.bytes(), bytes, parsed, &frame.meta) {
            return Err(frame);
        }
        let (_, payload) = bytes.split_at(parsed.payload.into());
        match room(pools, &mut first.frame.buf, payload.len()) {
            Some(room) => room.copy_from_slice(payload),
            None => return Err(frame),
        }
        headers.add(parsed);
        self.counters.merged.add(1, parsed.payload.into());
        pools.free(frame.buf);
        Ok(headers.is_full())
    }

    /// Sends what grew at `at`.
    fn close<E: Egress>(&mut self, cx: Context<'_>, pools: &mut Pools, at: usize, out: &mut E) {
        let Open {
            port,
            mut frame,
            headers,
        } = self.merge.0.remove(at);
        if headers.count() > 1 {
            let Some((checksum, gso)) = headers.finish(frame.buf.bytes_mut()) else {
                return self.drop_frame(pools, frame, DropReason::GsoMalformed);
            };
            (frame.meta.checksum, frame.meta.gso) = (checksum, Some(gso));
            self.counters.events.super_frames.add(1);
        }
        self.deliver(cx, pools, frame, headers.parsed(), Way::Port(port), 0, out);
    }

    /// Sends what grew of the flow that the packet belongs to, as that one goes another way.
    pub(crate) fn close_flow<E: Egress>(
        &mut self,
        cx: Context<'_>,
        pools: &mut Pools,
        item: &Item,
        way: Way,
        out: &mut E,
    ) {
        if let Way::Port(port) = way
            && let Some(at) = self.merge.position(port, &item.parsed.tuple)
        {
            self.close(cx, pools, at, out);
        }
    }

    /// Sends all that grew.
    pub(crate) fn close_all<E: Egress>(&mut self, cx: Context<'_>, pools: &mut Pools, out: &mut E) {
        while !self.merge.is_empty() {
            self.close(cx, pools, 0, out);
        }
    }
}

/// The beginning of a super-frame that the port would take.
fn begin(cx: Context<'_>, port: PortSlot, frame: &Frame, parsed: &Parsed) -> Option<Coalescing> {
    let caps = cx.snapshot.parts.ports.get(port)?.caps;
    let headers = Coalescing::begin(frame.buf.bytes(), parsed, &frame.meta)?;
    (caps.checksum && takes(caps, headers.kind())).then_some(headers)
}

/// Room for `len` bytes behind what `buf` holds, which moves to a larger one where it has to. `None` when there is none.
fn room<'a>(pools: &mut Pools, buf: &'a mut Buf, len: usize) -> Option<&'a mut [u8]> {
    if buf.tailroom() < len {
        let mut large = pools.large.alloc()?;
        let fits = large.tailroom() >= buf.len() + len;
        match large.extend(buf.len()).filter(|_| fits) {
            Some(bytes) => bytes.copy_from_slice(buf.bytes()),
            None => {
                pools.free(large);
                return None;
            }
        }
        pools.free(core::mem::replace(buf, large));
    }
    buf.extend(len)
}
