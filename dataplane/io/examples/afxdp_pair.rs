//! Decides whether two interfaces joined by a cable pass frames between AF_XDP sockets: in the mode asked for, byte for
//! byte, with every chunk home afterwards. It never judges speed.
//!
//! `afxdp_pair A B MODE [CHUNK]` opens all queues of A and B over one frame memory, twice in a row. MODE is `zero-copy`,
//! `copy` or `generic`; CHUNK is the size of a chunk in bytes (4096). `tests/vm/zero-copy.sh` runs it where drivers have
//! zero-copy.

use sluice_io::afxdp::{Attach, Copying, Mode, QueueSpec, Umem, Uplink, open, queue_count};
use sluice_io::xdp::Steering;
use sluice_io::{Burst, Frame, PacketIo};
use sluice_mem::{Buf, LARGE_CHUNK, Memory, Pools};
use sluice_wire::checksum::sum;
use sluice_wire::{Addr, MacAddr, Meta, PortSlot, Proto};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PINS: &str = "/sys/fs/bpf/sluice";
const PATIENCE: Duration = Duration::from_secs(20);
const CHUNKS: usize = 2048;
const RING: u32 = 128;
/// Frames each way in a round, and how many may be under way.
const FRAMES: u32 = 960;
const WINDOW: u32 = 32;
const NODE_PORT: u16 = 30_080;
/// Lengths and starts in the chunk, taken in turn; coprime numbers of them, so that every pair occurs.
const LENGTHS: [usize; 7] = [60, 61, 128, 577, 1023, 1025, 1514];
const STARTS: [usize; 6] = [0, 1, 63, 192, 200, 207];
const HEADERS: usize = 42;
const MARK: u8 = 0xa5;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            println!("afxdp_pair {}: {err}", args.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Outcome<()> {
    let (names, mode, chunk) = match args {
        [a, b, mode] => ([a.as_str(), b.as_str()], mode, 4096),
        [a, b, mode, chunk] => ([a.as_str(), b.as_str()], mode, chunk.parse()?),
        _ => return Err("usage: afxdp_pair A B zero-copy|copy|generic [CHUNK]".into()),
    };
    let (attach, copying) = match mode.as_str() {
        "zero-copy" => (Attach::Native, Copying::ZeroCopy),
        "copy" => (Attach::Native, Copying::Copy),
        "generic" => (Attach::Generic, Copying::Copy),
        other => return Err(format!("no mode is called {other}").into()),
    };
    let [mut a, mut b] = [steering(names[0])?, steering(names[1])?];
    let outcome = (1..=2).try_for_each(|n| round(n, names, [&mut a, &mut b], Mode { attach, copying }, chunk));
    a.detach()?;
    b.detach()?;
    outcome
}

/// The program on an interface, which steers [`NODE_PORT`] of the address that [`write`] sends to.
fn steering(interface: &str) -> Outcome<Steering> {
    let mut steering = Steering::load(8472)?;
    steering.set_node_addresses(&[Addr::v4([192, 0, 2, 1])])?;
    steering.set_mac(MacAddr::BROADCAST)?;
    steering.set_node_ports(&[(Proto::UDP, NODE_PORT, true)])?;
    steering.attach(interface, Path::new(PINS))?;
    Ok(steering)
}

/// Opens both interfaces, passes frames both ways, closes one after the other, and counts the chunks.
fn round(n: u32, names: [&str; 2], steering: [&mut Steering; 2], mode: Mode, chunk: usize) -> Outcome<()> {
    let (small, large) = (Memory::new(chunk, CHUNKS)?, Memory::new(LARGE_CHUNK, 1)?);
    let (umem, mut pools) = (Umem::new(&small)?, Pools::new(&small, &large));
    let mut ends: Vec<Uplink> = Vec::with_capacity(2);
    for (name, steering) in names.iter().zip(steering) {
        let spec = QueueSpec {
            interface: (*name).into(),
            queues: (0..queue_count(name)?).collect(),
            ring_size: RING,
            copy_ring_size: RING,
            port: PortSlot(1),
            multi_buffer: true,
        };
        let end = open(&spec, &umem, &mut pools, steering)?;
        println!("round {n}: {name}: {}, {} queues", end.mode, end.queues.len());
        if end.mode != mode {
            return Err(format!("{name} gave \"{}\" where \"{mode}\" was wanted", end.mode).into());
        }
        ends.push(end);
    }
    // Some drivers reset the port when a program or a frame memory comes.
    for name in names {
        until(&format!("carrier of {name}"), || {
            let carrier = fs::read_to_string(format!("/sys/class/net/{name}/carrier"));
            carrier.is_ok_and(|text| text.trim() == "1")
        })?;
    }
    let (Some(b), Some(a)) = (ends.pop(), ends.pop()) else {
        return Err("two interfaces were opened".into());
    };
    let mut pair = Pair { a, b, pools };
    pair.pass()?;
    pair.swap();
    pair.pass()?;
    let held = pair.close_under_traffic()?;
    if (small.home(), large.home()) != (small.count(), large.count()) {
        return Err(format!("{} of {CHUNKS} chunks came home", small.home()).into());
    }
    println!("round {n}: {FRAMES} frames each way; the kernel had {held} chunks, all {CHUNKS} came home");
    Ok(())
}

/// Frames go from `a` to `b`.
struct Pair {
    a: Uplink,
    b: Uplink,
    pools: Pools,
}

impl Pair {
    fn swap(&mut self) {
        core::mem::swap(&mut self.a, &mut self.b);
    }

    /// Sends [`FRAMES`] frames and checks that each arrives once and unchanged.
    fn pass(&mut self) -> Outcome<()> {
        // The far end of a cable may come up later than the near one says: what is sent until then is lost.
        let (mut tries, mut refusal) = (0, None);
        let first = until("a first frame", || {
            tries += 1;
            refusal = self.send(u32::MAX, tries).err();
            let end = Instant::now() + Duration::from_millis(100);
            let mut came = Vec::new();
            while came.is_empty() && Instant::now() < end {
                came = self.receive();
            }
            !came.is_empty()
        });
        first.map_err(|err| format!("{err}: {tries} sent, last refusal {refusal:?}; {}", self.statistics()))?;
        let mut next = 0;
        while next < FRAMES {
            let window = next..next + WINDOW.min(FRAMES - next);
            for n in window.clone() {
                self.send(n, n)?;
            }
            let mut missing: Vec<u32> = window.clone().collect();
            let mut wrong = None;
            let complete = until("frames", || {
                for bytes in self.receive() {
                    let n = number(&bytes);
                    if n == Some(u32::MAX) {
                        continue;
                    }
                    match missing.iter().position(|m| Some(*m) == n) {
                        Some(at) if bytes == content(missing[at]) => drop(missing.swap_remove(at)),
                        _ => wrong = Some((n, bytes)),
                    }
                }
                missing.is_empty() || wrong.is_some()
            });
            if let Some((n, bytes)) = wrong {
                let want = content(n.unwrap_or_default());
                let at = bytes.iter().zip(&want).take_while(|(got, want)| got == want).count();
                return Err(format!(
                    "a frame came changed or twice: number {n:?}, {} of {} bytes, differs from byte {at} on",
                    bytes.len(),
                    want.len()
                )
                .into());
            }
            complete.map_err(|err| {
                format!(
                    "{err}: of {window:?} these are missing: {missing:?}; {}",
                    self.statistics()
                )
            })?;
            next = window.end;
        }
        until("transmissions to finish", || {
            self.receive();
            self.a.queues.iter().all(|queue| queue.outstanding().transmit == 0)
        })?;
        let stats = self.a.queues.iter().chain(&self.b.queues).map(|queue| queue.stats());
        match stats.map(|s| s.kernel_invalid + s.tx_copied).sum::<u64>() {
            0 => Ok(()),
            _ => Err(format!("descriptors were invalid, or frames copied: {}", self.statistics()).into()),
        }
    }

    /// Sends frame `n` by the queue whose turn it is.
    fn send(&mut self, n: u32, turn: u32) -> Outcome<()> {
        let mut buf = self.pools.small.alloc().ok_or("the pool is empty")?;
        write(&mut buf, &content(n), n).ok_or("the frame does not fit its chunk")?;
        let count = self.a.queues.len();
        let queue = &mut self.a.queues[turn as usize % count];
        let mut burst = burst_of(buf);
        let sent = queue.transmit(&mut self.pools, &mut burst);
        burst.drain(..).for_each(|frame| self.pools.free(frame.buf));
        if sent.frames != 1 {
            return Err(format!("frame {n} was not taken: {sent:?}").into());
        }
        Ok(())
    }

    /// One turn of both workers' loops; what arrived at `b`.
    fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut arrived = Vec::new();
        let mut burst = Burst::new();
        for queue in &mut self.b.queues {
            queue.receive(&mut self.pools, &mut burst, sluice_wire::BURST);
            for frame in burst.drain(..) {
                arrived.push(frame.buf.bytes().to_vec());
                self.pools.free(frame.buf);
            }
            queue.recycle(&mut self.pools);
        }
        for queue in &mut self.a.queues {
            queue.receive(&mut self.pools, &mut burst, sluice_wire::BURST);
            burst.drain(..).for_each(|frame| self.pools.free(frame.buf));
            queue.recycle(&mut self.pools);
        }
        arrived
    }

    /// Closes `b` while frames are under way to it, checks that its NIC does not write to what came home, and closes `a`.
    /// Gives the number of chunks that the kernel had.
    fn close_under_traffic(mut self) -> Outcome<usize> {
        let queues = self.a.queues.iter().chain(&self.b.queues);
        let held = queues.map(|q| q.outstanding()).map(|o| o.receive + o.transmit).sum();
        (0..WINDOW).try_for_each(|n| self.send(n, n))?;
        let mut late: Vec<Buf> = (0..WINDOW).filter_map(|_| self.pools.small.alloc()).collect();
        for queue in self.b.queues.drain(..) {
            Box::new(queue).close(&mut self.pools);
        }
        let mut marked = Vec::new();
        while let Some(mut buf) = self.pools.small.alloc() {
            let tail = buf.tailroom();
            if let Some(bytes) = buf.extend(tail) {
                bytes.fill(MARK);
            }
            marked.push(buf);
        }
        for (n, mut buf) in late.drain(..).enumerate() {
            write(&mut buf, &content(n as u32), 0).ok_or("the frame does not fit its chunk")?;
            let mut burst = burst_of(buf);
            self.a.queues[0].transmit(&mut self.pools, &mut burst);
            burst.drain(..).for_each(|frame| self.pools.free(frame.buf));
        }
        let finished = until("transmissions to a closed socket", || {
            self.receive();
            self.a.queues.iter().all(|queue| queue.outstanding().transmit == 0)
        });
        // A frame that the NIC could still write would be on its way.
        std::thread::sleep(Duration::from_millis(200));
        let touched = marked
            .iter()
            .filter(|buf| buf.bytes().iter().any(|byte| *byte != MARK))
            .count();
        marked.into_iter().for_each(|buf| self.pools.free(buf));
        for queue in self.a.queues.drain(..) {
            Box::new(queue).close(&mut self.pools);
        }
        finished?;
        if touched > 0 {
            return Err(format!("{touched} chunks were written to after close had handed them back").into());
        }
        Ok(held)
    }

    fn statistics(&self) -> String {
        let of = |end: &Uplink| {
            end.queues
                .iter()
                .map(|q| format!("{:?} {:?}", q.outstanding(), q.stats()))
                .collect::<Vec<_>>()
                .join(", ")
        };
        format!("sender {}; receiver {}", of(&self.a), of(&self.b))
    }
}

fn burst_of(buf: Buf) -> Burst {
    let meta = Meta::from_port(PortSlot(1));
    Burst::from_iter([Frame { buf, meta }])
}

/// Puts `bytes` into the chunk, at one of the starts.
fn write(buf: &mut Buf, bytes: &[u8], n: u32) -> Option<()> {
    buf.reset(STARTS[n as usize % STARTS.len()]).then_some(())?;
    buf.extend(bytes.len())?.copy_from_slice(bytes);
    Some(())
}

/// A broadcast frame to the node port, with its number and bytes that follow from it.
fn content(n: u32) -> Vec<u8> {
    let len = LENGTHS[n as usize % LENGTHS.len()];
    let mut bytes: Vec<u8> = (0..len as u32).map(|at| (at.wrapping_mul(7) ^ n) as u8).collect();
    bytes[..14].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 0]);
    bytes[14..34].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 9, 192, 0, 2, 1]);
    bytes[16..18].copy_from_slice(&(len as u16 - 14).to_be_bytes());
    let check = sum(&bytes[14..34]).checksum();
    bytes[24..26].copy_from_slice(&check.to_be_bytes());
    bytes[34..36].copy_from_slice(&((n as u16) | 0x8000).to_be_bytes());
    bytes[36..38].copy_from_slice(&NODE_PORT.to_be_bytes());
    bytes[38..40].copy_from_slice(&(len as u16 - 34).to_be_bytes());
    bytes[40..42].fill(0);
    bytes[HEADERS..HEADERS + 4].copy_from_slice(&n.to_be_bytes());
    bytes
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(HEADERS..HEADERS + 4)?.try_into().ok()?))
}

fn until(what: &str, mut done: impl FnMut() -> bool) -> Outcome<()> {
    let end = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() > end {
            return Err(format!("waited {PATIENCE:?} in vain for {what}").into());
        }
        std::thread::yield_now();
    }
    Ok(())
}
