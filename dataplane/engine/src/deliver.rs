//! Last stage: rewrite, TTL, and whatever the way out cannot do itself: checksums, segments, tunnel headers.

use crate::action::{Action, Way};
use crate::classify::Item;
use crate::decide::Refusal;
use crate::engine::Context;
use crate::exit::{Exit, Front};
use crate::{Egress, Engine, Frame};
use sluice_mem::{Buf, HEADROOM, Pools};
use sluice_snapshot::Caps;
use sluice_wire::{
    Checksum, DropReason, FragmentPlan, Gso, GsoKind, IcmpError, Parsed, SegmentPlan, checksum, clamp_mss, rewrite,
    tcp_flags,
};

impl Engine {
    /// Does what an entry of the cache says.
    pub(crate) fn apply<E: Egress>(
        &mut self,
        cx: Context<'_>,
        pools: &mut Pools,
        item: Item,
        action: &Action,
        out: &mut E,
    ) {
        match action.way {
            Way::Drop(reason) => self.drop_frame(pools, item.frame, reason),
            _ => _ = self.forward(cx, pools, item, action, out),
        }
    }

    /// Applies an action to a packet and sends it. Says whether it was refused for its size, and so are others of its kind.
    pub(crate) fn forward<E: Egress>(
        &mut self,
        cx: Context<'_>,
        pools: &mut Pools,
        mut item: Item,
        action: &Action,
        out: &mut E,
    ) -> Result<(), Refusal> {
        let mtu = self.mtu(cx, action.way, item.parsed.v6);
        let cut = packet_size(&item) > usize::from(mtu);
        if cut && (item.parsed.dont_fragment || item.frame.meta.gso.is_some()) {
            let tell = Refusal::Tell(DropReason::TooBig, IcmpError::TooBig { mtu });
            self.refuse(cx, pools, item, tell, out);
            return Err(tell);
        }
        let bytes = item.frame.buf.bytes_mut();
        if item.parsed.tcp_flags & tcp_flags::SYN != 0 {
            let headers = if item.parsed.v6 { 60 } else { 40 };
            clamp_mss(
                bytes,
                &item.parsed,
                item.frame.meta.checksum,
                mtu.saturating_sub(headers),
            );
        }
        if !action.rewrite.is_empty() {
            if !rewrite::apply(bytes, &item.parsed, item.frame.meta.checksum, &action.rewrite) {
                self.drop_frame(pools, item.frame, DropReason::TransportTruncated);
                return Ok(());
            }
            let tuple = &mut item.parsed.tuple;
            (tuple.src, tuple.sport) = action.rewrite.src.unwrap_or((tuple.src, tuple.sport));
            (tuple.dst, tuple.dport) = action.rewrite.dst.unwrap_or((tuple.dst, tuple.dport));
        }
        if action.hop {
            rewrite::decrement_ttl(bytes, &item.parsed);
        }
        if cut {
            self.close_flow(cx, pools, &item, action.way, out);
            self.deliver_in_fragments(cx, pools, item, action, mtu, out);
        } else {
            let Item {
                frame, parsed, more, ..
            } = item;
            self.gather(cx, pools, (frame, &parsed, more), (action.way, action.tunnel_port), out);
        }
        Ok(())
    }

    /// Cuts an IPv4 packet, whose addresses are final, into fragments that fit (RFC 791 section 3.2), and sends each by itself.
    fn deliver_in_fragments<E: Egress>(
        &mut self,
        cx: Context<'_>,
        pools: &mut Pools,
        mut item: Item,
        action: &Action,
        mtu: u16,
        out: &mut E,
    ) {
        if let Checksum::Partial { start, offset } = item.frame.meta.checksum
            && !checksum::complete(item.frame.buf.bytes_mut(), start, offset)
        {
            return self.drop_frame(pools, item.frame, DropReason::TransportTruncated);
        }
        let (frame, mut parsed) = (item.frame, item.parsed);
        // A way may take more than an ordinary frame holds.
        let room = pools
            .small
            .memory()
            .chunk_size()
            .saturating_sub(HEADROOM + usize::from(parsed.l3));
        let most = mtu.min(u16::try_from(room).unwrap_or(u16::MAX));
        let plan = match FragmentPlan::new(frame.buf.bytes(), &parsed, most) {
            Ok(plan) => plan,
            Err(reason) => return self.drop_frame(pools, frame, reason),
        };
        let mut meta = frame.meta;
        meta.checksum = Checksum::Unverified;
        parsed.fragment = true;
        let mut made = (0u64, 0u64);
        let mut trouble = None;
        for i in 0..plan.count() {
            match written(pools, plan.fragment_len(i), |room| {
                plan.write(i, frame.buf.bytes(), room)
            }) {
                Err(reason) => trouble = Some(reason),
                Ok(buf) => {
                    made = (made.0 + 1, made.1 + buf.len() as u64);
                    parsed.end = buf.len() as u32;
                    let piece = Frame { buf, meta };
                    self.deliver(cx, pools, piece, &parsed, action.way, action.tunnel_port, out);
                }
            }
            if trouble.is_some() {
                break;
            }
        }
        self.end_of_split(pools, frame, made, trouble);
    }

    /// Ends a frame that went on as `made` (frames and bytes), or as some of what it should have become.
    fn end_of_split(&self, pools: &mut Pools, frame: Frame, made: (u64, u64), trouble: Option<DropReason>) {
        match trouble {
            Some(reason) => {
                self.counters.split.add(made.0, made.1);
                self.drop_frame(pools, frame, reason);
            }
            None => {
                let before = frame.buf.total_len() as u64;
                self.counters.split.add(made.0 - 1, made.1 - before);
                pools.free(frame.buf);
            }
        }
    }

    /// Sends a packet whose addresses are final.
    #[expect(
        clippy::too_many_arguments,
        reason = "the one place where everything about a leaving packet meets"
    )]
    pub(crate) fn deliver<E: Egress>(
        &mut self,
        cx: Context<'_>,
        pools: &mut Pools,
        mut frame: Frame,
        parsed: &Parsed,
        way: Way,
        tunnel_port: u16,
        out: &mut E,
    ) {
        let exit = match cx.exit(way, tunnel_port) {
            Ok(exit) => exit,
            Err(reason) => return self.drop_frame(pools, frame, reason),
        };
        exit.address(&mut frame);
        match frame.meta.gso {
            Some(gso) if !takes(exit.caps, gso.kind) => self.split(pools, frame, parsed, gso, exit, out),
            _ => self.finish(pools, frame, parsed, exit, out),
        }
    }

    /// Cuts a super-frame into frames for the wire.
    fn split<E: Egress>(
        &mut self,
        pools: &mut Pools,
        frame: Frame,
        parsed: &Parsed,
        gso: Gso,
        exit: Exit<'_>,
        out: &mut E,
    ) {
        let plan = match SegmentPlan::new(frame.buf.bytes(), parsed, gso) {
            Ok(plan) => plan,
            Err(reason) => return self.drop_frame(pools, frame, reason),
        };
        let (mut made, mut trouble) = ((0u64, 0u64), None);
        for i in 0..plan.count() {
            let len = plan.segment_len(i);
            let buf = match written(pools, len, |room| plan.write(i, frame.buf.bytes(), room)) {
                Ok(buf) => buf,
                Err(reason) => {
                    trouble = Some(reason);
                    break;
                }
            };
            made = (made.0 + 1, made.1 + len as u64);
            let mut meta = frame.meta;
            (meta.checksum, meta.gso) = (Checksum::Good, None);
            let mut segment = *parsed;
            segment.end = len as u32;
            self.finish(pools, Frame { buf, meta }, &segment, exit, out);
        }
        self.end_of_split(pools, frame, made, trouble);
    }

    /// Does what the exit's port does not do itself, and sends.
    fn finish<E: Egress>(&mut self, pools: &mut Pools, mut frame: Frame, parsed: &Parsed, exit: Exit<'_>, out: &mut E) {
        if let Checksum::Partial { start, offset } = frame.meta.checksum
            && !exit.caps.checksum
        {
            if !checksum::complete(frame.buf.bytes_mut(), start, offset) {
                return self.drop_frame(pools, frame, DropReason::TransportTruncated);
            }
            // What was completed in the payload says nothing about the packet's own sum.
            frame.meta.checksum = if parsed.is_partial(frame.meta.checksum) {
                Checksum::Good
            } else {
                Checksum::Unverified
            };
        }
        if let Front::Tunnel(template, source_port) = exit.front {
            // An unverified sum may be wrong; a right outer checksum around it takes the long way.
            let complete = (frame.meta.checksum == Checksum::Good).then_some(parsed);
            let overhead = template.overhead();
            if frame.buf.push(overhead).is_none() {
                return self.drop_frame(pools, frame, DropReason::NoHeadroom);
            }
            self.counters.pushed.add(1, overhead as u64);
            self.outer_ip_id = self.outer_ip_id.wrapping_add(1);
            let bytes = frame.buf.bytes_mut();
            if let Err(reason) = template.write(bytes, source_port, self.outer_ip_id, parsed.tos, complete) {
                return self.drop_frame(pools, frame, reason);
            }
            frame.meta.checksum = Checksum::Good;
        }
        out.send(pools, exit.port, frame);
    }
}

/// A new ordinary frame of this length, as `write` fills it.
fn written(pools: &mut Pools, len: usize, write: impl FnOnce(&mut [u8]) -> bool) -> Result<Buf, DropReason> {
    let mut buf = pools.alloc(len).ok_or(DropReason::NoFrameMemory)?;
    let outcome = match buf.extend(len) {
        None => Err(DropReason::NoHeadroom),
        Some(room) => write(room).then_some(()).ok_or(DropReason::GsoMalformed),
    };
    match outcome {
        Ok(()) => Ok(buf),
        Err(reason) => {
            pools.free(buf);
            Err(reason)
        }
    }
}

/// Size of the largest IP packet that this frame becomes on a wire.
pub(crate) fn packet_size(item: &Item) -> usize {
    let parsed = &item.parsed;
    match item.frame.meta.gso {
        None => parsed.end as usize - usize::from(parsed.l3),
        Some(gso) => {
            let headers = usize::from(parsed.payload) - usize::from(parsed.l3);
            let payload = parsed.end as usize - usize::from(parsed.payload);
            headers + payload.min(usize::from(gso.size))
        }
    }
}

pub(crate) fn takes(caps: Caps, kind: GsoKind) -> bool {
    match kind {
        GsoKind::Tcp4 => caps.tso4,
        GsoKind::Tcp6 => caps.tso6,
        GsoKind::Udp => caps.uso,
    }
}
