//! Decides what of a recording is sent: pcap or pcapng, Ethernet frames with the times between them. It never trusts the file: what it
//! holds is bounded, checked and named when wrong.

use anyhow::{Context, Result, bail, ensure};
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError};
use sluice_io::pcap::Reader;
use sluice_wire::ETH_LEN;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;

/// Most frames, and most bytes of them together.
const MOST_FRAMES: usize = 4_000_000;
const MOST_BYTES: usize = 1 << 30;
/// Longest time from the first frame to the last that is replayed as it was.
const LONGEST_NS: u64 = 3600 * 1_000_000_000;
/// How a pcapng file begins (draft-ietf-opsawg-pcapng section 4.1); it reads the same in both byte orders.
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Frames of a file, and when they came.
#[derive(Clone)]
pub(crate) struct Recording {
    bytes: Arc<Vec<u8>>,
    /// Where each ends.
    ends: Arc<Vec<u32>>,
    times: Arc<[u64]>,
    /// Frames of which the file has the beginning only; that is what is sent.
    pub(crate) cut: usize,
}

/// A recording in the making.
#[derive(Default)]
struct Tape {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    times: Vec<u64>,
    first_ns: Option<u64>,
    cut: usize,
}

impl Recording {
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let named = || path.display().to_string();
        let mut file = File::open(path).with_context(named)?;
        let mut magic = [0; 4];
        let got = file.read(&mut magic).with_context(named)?;
        file.rewind().with_context(named)?;
        let mut tape = Tape::default();
        let read = if got == magic.len() && magic == SECTION_HEADER {
            pcapng(BufReader::new(file), &mut tape)
        } else {
            classic(BufReader::new(file), &mut tape)
        };
        read.with_context(named)?;
        ensure!(!tape.ends.is_empty(), "{}: no frame in it", named());
        Ok(Self {
            bytes: Arc::new(tape.bytes),
            ends: Arc::new(tape.ends),
            times: tape.times.into(),
            cut: tape.cut,
        })
    }

    /// When each came, ns after the first.
    pub(crate) fn times(&self) -> Result<Arc<[u64]>> {
        let last = self.times.last().copied().unwrap_or_default();
        ensure!(
            last <= LONGEST_NS,
            "the recording lasts {:.0} s, more than an hour: give a pace (--rate)",
            last as f64 / 1e9
        );
        Ok(Arc::clone(&self.times))
    }

    pub(crate) fn count(&self) -> u64 {
        self.ends.len() as u64
    }

    pub(super) fn longest(&self) -> usize {
        (0..self.count())
            .filter_map(|n| self.frame(n))
            .map(<[u8]>::len)
            .max()
            .unwrap_or(0)
    }

    /// The frame of this number; from the beginning again behind the last.
    #[inline]
    pub(super) fn frame(&self, number: u64) -> Option<&[u8]> {
        let at = (number % self.count().max(1)) as usize;
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.bytes.get(begin..*self.ends.get(at)? as usize)
    }
}

impl Tape {
    fn add(&mut self, at_ns: u64, bytes: &[u8], original: u32) -> Result<()> {
        let number = self.ends.len() + 1;
        ensure!(
            bytes.len() >= ETH_LEN,
            "frame {number} has {} bytes, less than an Ethernet header",
            bytes.len()
        );
        ensure!(
            number <= MOST_FRAMES && self.bytes.len() + bytes.len() <= MOST_BYTES,
            "more than {MOST_FRAMES} frames or {} MiB: cut the file (editcap -c)",
            MOST_BYTES >> 20
        );
        let since = at_ns.saturating_sub(*self.first_ns.get_or_insert(at_ns));
        // Times of several interfaces may lie a little out of order.
        self.times.push(self.times.last().map_or(0, |last| since.max(*last)));
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len() as u32);
        self.cut += usize::from(bytes.len() < original as usize);
        Ok(())
    }
}

fn classic(file: impl Read, tape: &mut Tape) -> Result<()> {
    for packet in Reader::new(file)? {
        let packet = packet.with_context(|| format!("behind frame {}", tape.ends.len()))?;
        tape.add(packet.at.as_nanos() as u64, &packet.bytes, packet.original_len)?;
    }
    Ok(())
}

fn pcapng(file: impl Read, tape: &mut Tape) -> Result<()> {
    let mut reader = PcapNgReader::new(file).context("capture")?;
    loop {
        let number = tape.ends.len();
        let Some(block) = reader.next_block() else {
            return Ok(());
        };
        let block = block.map(Block::into_owned);
        match block.with_context(|| format!("behind frame {number}"))? {
            Block::EnhancedPacket(packet) => {
                let interface = reader.interfaces().get(packet.interface_id as usize);
                let Some(interface) = interface else {
                    bail!(
                        "frame {}: it came by interface {}, which the file does not describe",
                        number + 1,
                        packet.interface_id
                    );
                };
                ensure_ethernet(interface.linktype)?;
                let resolution = interface.options.iter().find_map(|option| match option {
                    InterfaceDescriptionOption::IfTsResol(value) => Some(*value),
                    _ => None,
                });
                // pcap-file takes every count for nanoseconds; it is in the interface's unit.
                let ns = nanoseconds(packet.timestamp.as_nanos() as u64, resolution.unwrap_or(6));
                tape.add(
                    ns.with_context(|| format!("frame {}", number + 1))?,
                    &packet.data,
                    packet.original_len,
                )?;
            }
            Block::SimplePacket(_) | Block::Packet(_) => {
                bail!(
                    "frame {}: a kind of packet block without times, or long out of use; save the file anew (editcap)",
                    number + 1
                )
            }
            _ => {}
        }
    }
}

fn ensure_ethernet(link: DataLink) -> Result<()> {
    ensure!(
        link == DataLink::ETHERNET,
        "link type {link:?} where Ethernet is wanted; capture on an Ethernet interface, not on `any`"
    );
    Ok(())
}

/// A count of units, as option `if_tsresol` gives them: a power of ten, or of two where the upper bit is set.
fn nanoseconds(count: u64, resolution: u8) -> Result<u64> {
    let count = u128::from(count) * 1_000_000_000;
    let power = u32::from(resolution & 0x7f);
    let unit = if resolution & 0x80 == 0 {
        10u128.checked_pow(power)
    } else {
        2u128.checked_pow(power)
    };
    let unit = unit.ok_or(PcapError::InvalidField("resolution of times (if_tsresol) is too fine"))?;
    u64::try_from(count / unit).context("its time lies more than 500 years from 1970")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sluice_io::pcap::Writer;
    use std::io::Write;

    fn read(bytes: &[u8]) -> Result<Recording> {
        let mut file = tempfile();
        file.1.write_all(bytes).unwrap();
        let outcome = Recording::load(&file.0);
        std::fs::remove_file(&file.0).unwrap();
        outcome
    }

    /// A new file with a name of its own.
    fn tempfile() -> (std::path::PathBuf, File) {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sluice-replay-{}-{n}.pcap", std::process::id()));
        let file = File::create_new(&path).unwrap();
        (path, file)
    }

    fn block(kind: u32, body: &[u8]) -> Vec<u8> {
        let len = (body.len().next_multiple_of(4) + 12) as u32;
        let mut out = [kind.to_le_bytes(), len.to_le_bytes()].concat();
        out.extend_from_slice(body);
        out.resize(len as usize - 4, 0);
        out.extend_from_slice(&len.to_le_bytes());
        out
    }

    /// Section, one interface with this resolution, and frames (time in its units, bytes).
    fn capture(link: u16, resolution: u8, frames: &[(u64, &[u8])]) -> Vec<u8> {
        let mut section = 0x1a2b_3c4du32.to_le_bytes().to_vec();
        section.extend_from_slice(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        let mut interface = [link.to_le_bytes(), [0, 0], [0, 0], [4, 0]].concat();
        interface.extend_from_slice(&[9, 0, 1, 0, resolution, 0, 0, 0, 0, 0, 0, 0]);
        let mut file = [block(0x0a0d_0d0a, &section), block(1, &interface)].concat();
        for (at, bytes) in frames {
            let words = [
                0,
                (at >> 32) as u32,
                *at as u32,
                bytes.len() as u32,
                bytes.len() as u32 + 2,
            ];
            let mut body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            body.extend_from_slice(bytes);
            file.extend(block(6, &body));
        }
        file
    }

    #[test]
    fn both_formats_give_the_same_frames_and_times() {
        let (one, two) = ([1; 60], [2; 61]);
        let ng = read(&capture(
            1,
            6,
            &[(5_000_000, &one), (5_000_250, &two), (5_000_100, &one)],
        ))
        .unwrap();
        assert_eq!(&ng.times().unwrap()[..], [0, 250_000, 250_000], "never backwards");
        assert_eq!(
            (0..4).map(|n| ng.frame(n).unwrap().len()).collect::<Vec<_>>(),
            [60, 61, 60, 60]
        );
        assert_eq!((ng.count(), ng.cut, ng.longest()), (3, 3, 61));
        let binary = read(&capture(1, 0x80 | 10, &[(0, &one), (1024, &two)])).unwrap();
        assert_eq!(&binary.times().unwrap()[..], [0, 1_000_000_000]);

        let memory = sluice_mem::Memory::new(2048, 4).unwrap();
        let mut pool = memory.pool();
        let mut writer = Writer::new(Vec::new(), 100).unwrap();
        for (at, bytes) in [(7_000, &one[..]), (7_250, &two)] {
            let mut buf = pool.alloc().unwrap();
            buf.extend(bytes.len()).unwrap().copy_from_slice(bytes);
            writer.write(std::time::Duration::from_micros(at), &buf).unwrap();
            pool.free(buf).unwrap();
        }
        let classic = read(&writer.into_inner()).unwrap();
        assert_eq!(&classic.times().unwrap()[..], [0, 250_000]);
        assert_eq!((classic.frame(1).unwrap(), classic.cut), (&two[..], 0));
    }

    #[test]
    fn a_bad_file_is_named_with_what_is_wrong() {
        let said = |bytes: &[u8]| format!("{:#}", read(bytes).err().unwrap());
        assert!(said(b"hello").contains("capture"));
        assert!(said(b"").contains("capture"));
        assert!(said(&capture(1, 6, &[])).contains("no frame"));
        assert!(said(&capture(113, 6, &[(0, &[0; 60])])).contains("Ethernet is wanted"));
        assert!(said(&capture(1, 6, &[(0, &[0; 60]), (0, &[0; 13])])).contains("frame 2 has 13 bytes"));
        assert!(said(&capture(1, 127, &[(1, &[0; 60])])).contains("if_tsresol"));
        let mut cut = capture(1, 6, &[(0, &[0; 60])]);
        cut.truncate(cut.len() - 3);
        assert!(said(&cut).contains("behind frame 0"), "{}", said(&cut));
        let long = read(&capture(1, 0, &[(0, &[0; 60]), (4000, &[0; 60])])).unwrap();
        assert!(long.times().unwrap_err().to_string().contains("--rate"));
        assert!(
            Recording::load(Path::new("/nowhere/x.pcap"))
                .err()
                .unwrap()
                .to_string()
                .contains("/nowhere/x.pcap")
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn no_file_makes_it_panic_or_run_on(flips in proptest::collection::vec((0usize..300, any::<u8>()), 0..8), cut in 0usize..300) {
            let mut file = capture(1, 6, &[(1, &[1; 60]), (2, &[2; 60])]);
            for (at, value) in flips {
                let at = at % file.len();
                file[at] = value;
            }
            file.truncate(file.len().min(cut.max(20)));
            let _ = read(&file);
        }
    }
}
