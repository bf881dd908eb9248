//! Decides how frames become capture files and come back from them. It never reads a clock: time is the caller's.
//!
//! Files are classic pcap with Ethernet frames (draft-ietf-opsawg-pcap): written with nanoseconds in this machine's byte
//! order, read in either byte order and resolution. For tools and tests; reading and writing allocate and may block.

use crate::memory::ALL_CAPS;
use crate::{Burst, Caps, Frame, PacketIo, Received, Recycled, Sent, Stats};
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::{DataLink, PcapError, TsResolution};
use sluice_mem::{Buf, Pools};
use sluice_wire::{Meta, PortSlot};
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Why a capture could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file is no capture, or cut off.
    #[error("capture: {0}")]
    Format(#[from] PcapError),
    /// Frames of another link type.
    #[error("capture: link type {0:?} where Ethernet is wanted; capture on an Ethernet interface, not on `any`")]
    LinkType(DataLink),
}

/// One captured frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Since the Unix epoch.
    pub at: Duration,
    /// What was kept of the frame, from the Ethernet header on.
    pub bytes: Vec<u8>,
    /// Bytes it had on the wire.
    pub original_len: u32,
}

/// Reads a capture, frame by frame; ends after the first error.
pub struct Reader<R: Read> {
    file: PcapReader<R>,
    failed: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the file header.
    ///
    /// # Errors
    /// No classic pcap file, or not one of Ethernet frames.
    pub fn new(from: R) -> Result<Self, CaptureError> {
        let reader = PcapReader::new(from)?;
        match reader.header().datalink {
            DataLink::ETHERNET => Ok(Self {
                file: reader,
                failed: false,
            }),
            other => Err(CaptureError::LinkType(other)),
        }
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Packet, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let ticks_ns = match self.file.header().ts_resolution {
            TsResolution::MicroSecond => 1000,
            TsResolution::NanoSecond => 1,
        };
        // The raw form, because pcap-file refuses a frame that the snaplen cut.
        let packet = self
            .file
            .next_raw_packet()?
            .map_err(CaptureError::from)
            .and_then(|raw| {
                let fraction = raw.ts_frac.checked_mul(ticks_ns).filter(|ns| *ns < 1_000_000_000);
                let fraction = fraction.ok_or(PcapError::InvalidField("fraction of a second above one second"))?;
                let at = Duration::new(raw.ts_sec.into(), fraction);
                Ok(Packet {
                    at,
                    bytes: raw.data.into_owned(),
                    original_len: raw.orig_len,
                })
            });
        self.failed = packet.is_err();
        Some(packet)
    }
}

/// Writes a capture.
pub struct Writer<W: Write> {
    file: PcapWriter<W>,
    snaplen: usize,
    scratch: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes the file header. Of each frame at most `snaplen` bytes are kept.
    ///
    /// # Errors
    /// `to` cannot be written.
    pub fn new(to: W, snaplen: u32) -> Result<Self, CaptureError> {
        let header = PcapHeader {
            snaplen,
            datalink: DataLink::ETHERNET,
            ts_resolution: TsResolution::NanoSecond,
            ..PcapHeader::default()
        };
        Ok(Self {
            file: PcapWriter::with_header(to, header)?,
            snaplen: snaplen as usize,
            scratch: Vec::new(),
        })
    }

    /// Appends a frame, its whole chain, as seen `at` (since the Unix epoch, before 2106).
    ///
    /// # Errors
    /// The file cannot be written, or the time does not fit the format.
    pub fn write(&mut self, at: Duration, frame: &Buf) -> Result<(), CaptureError> {
        self.scratch.clear();
        let mut segment = Some(frame);
        while let Some(buf) = segment {
            let keep = buf.len().min(self.snaplen - self.scratch.len());
            self.scratch.extend_from_slice(&buf.bytes()[..keep]);
            segment = buf.next();
        }
        let original = u32::try_from(frame.total_len()).unwrap_or(u32::MAX);
        self.file.write_packet(&PcapPacket::new(at, original, &self.scratch))?;
        Ok(())
    }

    /// The file behind, with everything handed to it.
    pub fn into_inner(self) -> W {
        self.file.into_writer()
    }
}

/// A port that receives a capture's frames, one after the other, and writes what is sent to another capture.
pub struct Replay<W: Write + Send> {
    packets: std::vec::IntoIter<Packet>,
    out: Writer<W>,
    now: Duration,
    port: PortSlot,
    stats: Stats,
}

impl<W: Write + Send> Replay<W> {
    /// Frames to receive, and where those sent go.
    pub fn new(packets: Vec<Packet>, out: Writer<W>, port: PortSlot) -> Self {
        Self {
            packets: packets.into_iter(),
            out,
            now: Duration::ZERO,
            port,
            stats: Stats::default(),
        }
    }

    /// The time that frames sent from now on are stamped with.
    pub fn set_time(&mut self, now: Duration) {
        self.now = now;
    }

    /// The capture of what was sent.
    pub fn into_sent(self) -> W {
        self.out.into_inner()
    }
}

impl<W: Write + Send> PacketIo for Replay<W> {
    fn receive(&mut self, pools: &mut Pools, burst: &mut Burst, most: usize) -> Received {
        let mut received = Received::default();
        while (received.frames as usize) < most
            && !burst.is_full()
            && let Some(packet) = self.packets.as_slice().first()
        {
            let len = packet.bytes.len();
            let mut fits = pools.small.alloc().filter_room(len, pools);
            if fits.is_none() {
                fits = pools.large.alloc().filter_room(len, pools);
            }
            if let Some(mut buf) = fits {
                buf.extend(len).unwrap_or_default().copy_from_slice(&packet.bytes);
                burst.push(Frame {
                    buf,
                    meta: Meta::from_port(self.port),
                });
                received.frames += 1;
            } else {
                received.invalid += 1;
            }
            self.packets.next();
        }
        received.more = !self.packets.as_slice().is_empty();
        self.stats.rx_frames += u64::from(received.frames);
        self.stats.rx_invalid += u64::from(received.invalid);
        received
    }

    fn transmit(&mut self, pools: &mut Pools, burst: &mut Burst) -> Sent {
        let mut sent = Sent::default();
        for frame in burst.drain(..) {
            match self.out.write(self.now, &frame.buf) {
                Ok(()) => {
                    sent.frames += 1;
                    sent.bytes += frame.buf.total_len() as u64;
                }
                Err(_) => sent.refused += 1,
            }
            pools.free(frame.buf);
        }
        self.stats.tx_frames += u64::from(sent.frames);
        self.stats.tx_refused += u64::from(sent.refused);
        sent
    }

    fn recycle(&mut self, _pools: &mut Pools) -> Recycled {
        Recycled::default()
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn alive(&self) -> bool {
        !self.packets.as_slice().is_empty()
    }

    fn caps(&self) -> Caps {
        ALL_CAPS
    }

    fn stats(&self) -> Stats {
        self.stats
    }

    fn close(self: Box<Self>, _pools: &mut Pools) {}
}

trait FilterRoom {
    /// The buffer if `len` bytes fit; otherwise it goes back and there is none.
    fn filter_room(self, len: usize, pools: &mut Pools) -> Option<Buf>;
}

impl FilterRoom for Option<Buf> {
    fn filter_room(self, len: usize, pools: &mut Pools) -> Option<Buf> {
        let buf = self?;
        if buf.tailroom() >= len {
            return Some(buf);
        }
        pools.free(buf);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Lake, frame_of};
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_again_cut_to_the_snaplen() {
        let lake = Lake::new();
        let mut pools = lake.pools();
        let mut frame = frame_of(&mut pools, &[1; 60]);
        let (two, three) = (frame_of(&mut pools, &[2; 50]), frame_of(&mut pools, &[3; 50]));
        frame.buf.append(two.buf);
        frame.buf.append(three.buf);
        let mut writer = Writer::new(Vec::new(), 100).unwrap();
        let at = Duration::new(1_700_000_000, 123_456_789);
        writer.write(at, &frame.buf).unwrap();
        pools.free(frame.buf);
        let file = writer.into_inner();
        let packets: Vec<Packet> = Reader::new(&file[..]).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            packets,
            [Packet {
                at,
                bytes: [[1; 60].as_slice(), &[2; 40]].concat(),
                original_len: 160
            }]
        );
        drop(pools);
        lake.assert_full();
    }

    #[test]
    fn microseconds_in_the_other_byte_order_are_read() {
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4u32, 0x0002_0004, 0, 0, 65_535, 1, 7, 8, 3, 3] {
            file.extend_from_slice(&word.to_be_bytes());
        }
        file.extend_from_slice(b"abc");
        let packets: Vec<Packet> = Reader::new(&file[..]).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            packets,
            [Packet {
                at: Duration::new(7, 8000),
                bytes: b"abc".to_vec(),
                original_len: 3
            }]
        );
        file[23] = 113;
        assert!(matches!(Reader::new(&file[..]), Err(CaptureError::LinkType(_))));
    }

    #[test]
    fn a_capture_passes_through_as_a_port() {
        let lake = Lake::new();
        let mut pools = lake.pools();
        let packet = |n: u8, len: usize| Packet {
            at: Duration::from_secs(1),
            bytes: vec![n; len],
            original_len: len as u32,
        };
        let all = vec![packet(1, 60), packet(2, 9000), packet(3, 70_000)];
        let mut port = Replay::new(all, Writer::new(Vec::new(), 65_535).unwrap(), PortSlot(4));
        let mut burst = Burst::new();
        assert_eq!(
            port.receive(&mut pools, &mut burst, sluice_wire::BURST),
            Received {
                frames: 2,
                invalid: 1,
                more: false
            }
        );
        assert!(!port.alive() && burst.iter().all(|f| f.meta.ingress == PortSlot(4)));
        port.set_time(Duration::from_secs(9));
        assert_eq!(
            port.transmit(&mut pools, &mut burst),
            Sent {
                frames: 2,
                bytes: 9060,
                refused: 0
            }
        );
        let file = port.into_sent();
        let sent: Vec<Packet> = Reader::new(&file[..]).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            sent.iter().map(|p| (p.at.as_secs(), p.bytes.len())).collect::<Vec<_>>(),
            [(9, 60), (9, 9000)]
        );
        drop(pools);
        lake.assert_full();
    }

    proptest! {
        #[test]
        fn no_file_makes_the_reader_panic_or_run_on(tail in proptest::collection::vec(any::<u8>(), 0..400), nano: bool) {
            let magic: u32 = if nano { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
            let mut file = magic.to_le_bytes().to_vec();
            file.extend_from_slice(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0]);
            file.extend_from_slice(&tail);
            if let Ok(reader) = Reader::new(&file[..]) {
                prop_assert!(reader.take(1000).count() < 1000);
            }
        }
    }
}
