//! Decides how a frame is written: a template for each size, laid out before the clock starts, and the few words that differ, with checksums
//! from sums that are known. It never allocates or looks at what was in the buffer before.

use super::flows::Flow;
use super::payload::{LEN, Mark, Run};
use super::stream::{Stream, network};
use crate::cases::build;
use crate::world::addresses::Family;
use anyhow::Result;
use sluice_mem::Buf;
use sluice_wire::checksum::{Sum, pseudo, sum};
use sluice_wire::{ETH_LEN, MacAddr, Proto};

/// Bytes of a UDP header, and of VXLAN's.
const UDP: usize = 8;
const VXLAN: usize = 8;

/// Frames of one size.
struct Template {
    bytes: Vec<u8>,
    /// Sum of the IPv4 header without addresses and checksum.
    header: Sum,
    /// Sum of the UDP packet and its pseudo-header without the last 32 bits of addresses, ports, checksum and mark.
    udp: Sum,
    /// Of an outer IPv6 UDP packet likewise, without its source port and, where the inner packet is IPv4, its pseudo-header's addresses.
    outer: Sum,
}

/// Templates, and where in a frame what lies.
pub(super) struct Stamp {
    templates: Vec<Template>,
    family: Family,
    /// The IP header, UDP header and payload of the packet that carries the mark.
    ip: usize,
    udp: usize,
    payload: usize,
    /// The outer UDP header, and whether it has a checksum.
    outer: Option<(usize, bool)>,
}

impl Stamp {
    /// `macs` are those of the frame as the link sees it, source and destination.
    pub(super) fn new(stream: &Stream, macs: (MacAddr, MacAddr)) -> Result<Self> {
        let family = stream.family();
        let classes = stream.size.classes(family)?;
        let outer = stream.vxlan.map(|tunnel| {
            let family = if tunnel.src.is_v4() { Family::V4 } else { Family::V6 };
            (ETH_LEN + network(family), family == Family::V6)
        });
        let ip = outer.map_or(0, |(udp, _)| udp + UDP + VXLAN) + ETH_LEN;
        let udp = ip + network(family);
        let mut stamp = Self {
            templates: Vec::new(),
            family,
            ip,
            udp,
            payload: udp + UDP,
            outer,
        };
        stamp.templates = classes
            .into_iter()
            .map(|(bytes, _)| stamp.template(stream, macs, bytes))
            .collect();
        Ok(stamp)
    }

    /// A frame of this inner length, with nothing in the words that differ.
    fn template(&self, stream: &Stream, macs: (MacAddr, MacAddr), inner: usize) -> Template {
        let ends = [stream.src, stream.dst].map(|party| (party.addresses.first(), 0));
        let payload = vec![0; inner - (ETH_LEN + network(self.family) + UDP)];
        let bytes = match stream.vxlan {
            None => build(macs, ends[0], ends[1], 64, None, &payload),
            Some(tunnel) => {
                let mut packet = vec![8, 0, 0, 0];
                packet.extend((tunnel.vni << 8).to_be_bytes());
                packet.extend(build(tunnel.macs, ends[0], ends[1], 64, None, &payload));
                build(macs, (tunnel.src, 0), (tunnel.dst, tunnel.port), 64, Some(0), &packet)
            }
        };
        let mut template = Template {
            bytes,
            header: Sum::ZERO,
            udp: Sum::ZERO,
            outer: Sum::ZERO,
        };
        let frame = &mut template.bytes;
        frame[self.udp..self.udp + 4].fill(0);
        frame[self.udp + 6..self.udp + 8].fill(0);
        match self.family {
            Family::V4 => {
                frame[self.ip + 10..self.ip + 20].fill(0);
                template.header = sum(&frame[self.ip..self.udp]);
            }
            // The leading bits of addresses stay.
            Family::V6 => [20, 36]
                .iter()
                .for_each(|at| frame[self.ip + at..self.ip + at + 4].fill(0)),
        }
        let length = (frame.len() - self.udp) as u32;
        let fixed = match self.family {
            Family::V4 => Sum::of_u32(length).plus(Sum::of(Proto::UDP.0.into())),
            Family::V6 => sum(&frame[self.ip + 8..self.udp])
                .plus(Sum::of_u32(length))
                .plus(Sum::of(Proto::UDP.0.into())),
        };
        template.udp = fixed.plus(sum(&frame[self.udp..]));
        if let (Some((at, checked)), Some(tunnel)) = (self.outer, stream.vxlan) {
            frame[at..at + 2].fill(0);
            frame[at + 6..at + 8].fill(0);
            if checked {
                let around = pseudo(&tunnel.src, &tunnel.dst, Proto::UDP, (frame.len() - at) as u32);
                // A right IPv4 header sums to all ones, and a right UDP packet to the complement of its pseudo-header.
                let header = match self.family {
                    Family::V4 => Sum::of(0xffff),
                    Family::V6 => sum(&frame[self.ip..self.udp]),
                };
                let before = sum(&frame[at..self.ip]);
                template.outer = around.plus(before).plus(header).plus(fixed.negated());
            }
        }
        template
    }

    /// Makes this the run that packets say they belong to.
    pub(super) fn begin(&mut self, run: Run) {
        let mark = Mark { number: 0, sent_ns: 0 }.bytes(run);
        for template in &mut self.templates {
            let place = &mut template.bytes[self.payload..self.payload + LEN];
            let old = sum(place);
            place.copy_from_slice(&mark);
            template.udp = template.udp.plus(old.negated()).plus(sum(&mark));
        }
    }

    /// Longest frame.
    pub(super) fn longest(&self) -> usize {
        self.templates
            .iter()
            .map(|template| template.bytes.len())
            .max()
            .unwrap_or(0)
    }

    /// Bytes of UDP payload of frames of this size.
    pub(super) fn payload_of(&self, class: usize) -> usize {
        self.templates[class].bytes.len() - self.payload
    }

    /// Writes a frame into an empty buffer; its length, or `None` where it does not fit.
    #[inline]
    pub(super) fn write(&self, buf: &mut Buf, class: usize, flow: &Flow, mark: Mark) -> Option<usize> {
        let template = self.templates.get(class)?;
        let len = template.bytes.len();
        let frame = buf.extend(len)?;
        frame.copy_from_slice(&template.bytes);
        let addresses = Sum::of(flow.addresses);
        let (src, dst) = match self.family {
            Family::V4 => {
                put(
                    frame,
                    self.ip + 10,
                    template.header.plus(addresses).checksum().to_be_bytes(),
                );
                (self.ip + 12, self.ip + 16)
            }
            Family::V6 => (self.ip + 20, self.ip + 36),
        };
        put(frame, src, flow.src.to_be_bytes());
        put(frame, dst, flow.dst.to_be_bytes());
        put(frame, self.udp, flow.sport.to_be_bytes());
        put(frame, self.udp + 2, flow.dport.to_be_bytes());
        let mut words = [0; 12];
        words[..6].copy_from_slice(&mark.number.to_be_bytes()[2..]);
        words[6..].copy_from_slice(&mark.sent_ns.to_be_bytes()[2..]);
        let differing = addresses
            .plus(Sum::of(flow.sport))
            .plus(Sum::of(flow.dport))
            .plus(words_of(mark.number))
            .plus(words_of(mark.sent_ns));
        put(
            frame,
            self.udp + 6,
            template.udp.plus(differing).udp_checksum().to_be_bytes(),
        );
        put(frame, self.payload + 6, words);
        if let Some((at, checked)) = self.outer {
            put(frame, at, flow.outer.to_be_bytes());
            if checked {
                let of_flow = match self.family {
                    Family::V4 => addresses.negated(),
                    Family::V6 => Sum::ZERO,
                };
                let all = template.outer.plus(Sum::of(flow.outer)).plus(of_flow);
                put(frame, at + 6, all.udp_checksum().to_be_bytes());
            }
        }
        Some(len)
    }
}

#[inline]
fn put<const N: usize>(frame: &mut [u8], at: usize, bytes: [u8; N]) {
    frame[at..at + N].copy_from_slice(&bytes);
}

/// Sum of the last three words of a number.
#[inline]
fn words_of(value: u64) -> Sum {
    Sum::of((value >> 32) as u16).plus(Sum::of_u32(value as u32))
}
