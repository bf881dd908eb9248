//! Decides how a run goes: both threads begin together, the receiver is there before the first packet, and what is reported is what both
//! say after the last. It never keeps anything of one run for the next, but the open devices.

use super::ends::{Ends, Side, Wait};
use super::pace::{Pace, Schedule, Until};
use super::payload::Run;
use super::receive::{Arrived, Judge, drain, receive};
use super::report::Report;
use super::send::send;
use super::source::Source;
use super::stream::Stream;
use super::{neighbour, replay::Recording};
use crate::cpus::pin;
use crate::report::{Progress, exact};
use anyhow::{Result, anyhow, ensure};
use sluice_io::fault::{FaultCounts, FaultPort, Faults};
use sluice_io::memory;
use sluice_mem::{LARGE_CHUNK, Memory, Pools};
use sluice_wire::{MacAddr, PortSlot};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

/// Frames that wait between the ends of a memory wire; chunks that there are for it.
const MEMORY_QUEUE: usize = 4096;
const MEMORY_CHUNKS: usize = 16_384;
/// How often progress is told.
const TELL: Duration = Duration::from_millis(200);

/// Open devices.
pub(crate) struct Bench {
    tx: Side,
    rx: Side,
    /// `None` where frames stay in memory.
    ends: Option<Ends>,
    wait: Wait,
    run: Run,
    stop: Arc<AtomicBool>,
}

/// What the threads of a run tell each other.
pub(super) struct Shared {
    begin: OnceLock<Instant>,
    /// The receiver listens.
    listens: AtomicBool,
    stop: Arc<AtomicBool>,
    /// Packets that are on their way or soon will be.
    pub(super) announced: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) all_sent: AtomicBool,
    /// The receiver waits for nothing any more.
    pub(super) drained: AtomicBool,
}

impl Shared {
    fn new(stop: &Arc<AtomicBool>) -> Self {
        Self {
            begin: OnceLock::new(),
            listens: AtomicBool::new(false),
            stop: Arc::clone(stop),
            announced: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            all_sent: AtomicBool::new(false),
            drained: AtomicBool::new(false),
        }
    }

    /// The receiver listens from here on; the moment when the clock began.
    pub(super) fn listen(&self) -> Instant {
        let begin = *self.begin.get_or_init(Instant::now);
        self.listens.store(true, Ordering::Release);
        begin
    }

    /// Waits for the receiver; the moment when the clock began.
    pub(super) fn begin(&self) -> Instant {
        while !self.listens.load(Ordering::Acquire) && !self.stops() {
            std::thread::yield_now();
        }
        *self.begin.get_or_init(Instant::now)
    }

    pub(super) fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.drained.load(Ordering::Relaxed)
    }
}

impl Bench {
    /// Opens both ends.
    pub(crate) fn open(ends: &Ends) -> Result<Self> {
        ensure!(
            (&ends.tx.netns, &ends.tx.interface) != (&ends.rx.netns, &ends.rx.interface),
            "{} cannot be both ends: packets have to go from one interface to another (--tx, --rx)",
            ends.tx
        );
        let rx = Side::open(&ends.rx, true)?;
        let tx = Side::open(&ends.tx, false)?;
        Ok(Self::over(tx, rx, Some(ends.clone()), ends.wait))
    }

    /// A wire in memory.
    pub(crate) fn memory(cpus: [Option<usize>; 2], wait: Wait) -> Result<Self> {
        let memories = (
            Memory::new(4096, MEMORY_CHUNKS).map_err(|err| anyhow!("{err}"))?,
            Memory::new(LARGE_CHUNK, 1).map_err(|err| anyhow!("{err}"))?,
        );
        let [near, far] = memory::pair(MEMORY_QUEUE, [PortSlot(1), PortSlot(2)]);
        let side = |name: &str, port, cpu| Side {
            name: name.to_owned(),
            mode: "memory".into(),
            ports: vec![port],
            pools: Pools::new(&memories.0, &memories.1),
            cpu,
            program: None,
        };
        let (tx, rx) = (
            side("sender", Box::new(near), cpus[0]),
            side("receiver", Box::new(far), cpus[1]),
        );
        Ok(Self::over(tx, rx, None, wait))
    }

    fn over(tx: Side, rx: Side, ends: Option<Ends>, wait: Wait) -> Self {
        Self {
            tx,
            rx,
            ends,
            wait,
            run: Run(fastrand::u16(..)),
            stop: Arc::default(),
        }
    }

    /// Puts faults behind the generator: what it has sent is lost, doubled or late then.
    pub(crate) fn spoil(&mut self, faults: Faults, counts: &Arc<FaultCounts>) -> Result<()> {
        let ports = std::mem::take(&mut self.tx.ports);
        for (salt, port) in ports.into_iter().enumerate() {
            self.tx
                .ports
                .push(Box::new(FaultPort::new(port, faults, salt as u64, Arc::clone(counts))?));
        }
        Ok(())
    }

    /// Ends the run that is under way, and all further ones, when it is set.
    pub(crate) fn stopped_by(&mut self, stop: &Arc<AtomicBool>) {
        self.stop = Arc::clone(stop);
    }

    /// Whether somebody set it.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Lays the stream's frames out.
    pub(crate) fn prepare(&self, stream: &Stream) -> Result<Source> {
        stream.check()?;
        let macs = match &self.ends {
            Some(ends) => neighbour::macs(&ends.tx, &ends.rx, stream.next_hop_of(), stream.macs)?,
            None => (
                stream.macs.src.unwrap_or(MacAddr([2, 0, 0, 0, 0, 1])),
                stream.macs.dst.unwrap_or(MacAddr([2, 0, 0, 0, 0, 2])),
            ),
        };
        self.checked(Source::stream(stream, macs)?)
    }

    /// A recording's frames.
    pub(crate) fn prepare_recording(&self, recording: Recording) -> Result<Source> {
        self.checked(Source::Recording(recording))
    }

    fn checked(&self, source: Source) -> Result<Source> {
        self.tx.check(source.longest())?;
        Ok(source)
    }

    /// The modes obtained: the generator's, the receiver's.
    pub(crate) fn modes(&self) -> [(&str, &str); 2] {
        [&self.tx, &self.rx].map(|side| (&side.name[..], &side.mode[..]))
    }

    /// One run.
    pub(crate) fn run(
        &mut self,
        source: &mut Source,
        pace: Pace,
        until: Until,
        progress: &mut Progress,
    ) -> Result<Report> {
        let schedule = Schedule::new(pace, until)?;
        self.run.0 = self.run.0.wrapping_add(1);
        source.begin(self.run);
        let (source, wait) = (&*source, self.wait);
        let judge = Judge {
            schedule: &schedule,
            run: self.run,
            flows: source.flows(),
            piece: source.piece(),
        };
        drain(&mut self.rx);
        let before = [self.tx.stats(), self.rx.stats()];
        let shared = Shared::new(&self.stop);
        let mut arrived = Arrived::new(judge.flows);
        let (tx, rx) = (&mut self.tx, &mut self.rx);
        let (tell, told) = mpsc::channel();
        let (sent, received) = std::thread::scope(|scope| -> Result<_> {
            let receiver = named("pktgen-receive").spawn_scoped(scope, || {
                let _over = Over(&shared, tell);
                rx.cpu.map_or(Ok(()), pin)?;
                receive(rx, &judge, &mut arrived, &shared, wait)
            })?;
            let sender = named("pktgen-send").spawn_scoped(scope, || {
                let sent = tx
                    .cpu
                    .map_or(Ok(()), pin)
                    .and_then(|()| send(tx, source, &schedule, &shared, wait));
                // After an error nobody else says that it is over.
                shared.all_sent.store(true, Ordering::Release);
                sent
            });
            let sender = sender.inspect_err(|_| shared.all_sent.store(true, Ordering::Release))?;
            let mut last = (Instant::now(), 0);
            while told.recv_timeout(TELL) == Err(mpsc::RecvTimeoutError::Timeout) {
                let (sent, received) = (
                    shared.sent.load(Ordering::Relaxed),
                    shared.received.load(Ordering::Relaxed),
                );
                let pace = (sent - last.1) as f64 / last.0.elapsed().as_secs_f64();
                last = (Instant::now(), sent);
                progress.say(format_args!(
                    "sent {}, arrived {}, {} packets/s",
                    exact(sent),
                    exact(received),
                    exact(pace as u64)
                ));
            }
            Ok((sender.join(), receiver.join()))
        })?;
        let panicked = |_| anyhow!("a thread of the run panicked");
        let sent = sent.map_err(panicked)??;
        received.map_err(panicked)??;
        Ok(Report::new(
            &schedule,
            &sent,
            arrived,
            judge.flows > 0,
            self.losses(before),
        ))
    }

    /// Frames that the kernel says it lost at either end since then.
    fn losses(&self, before: [sluice_io::Stats; 2]) -> Vec<(String, u64)> {
        let lost = |side: &Side, before: sluice_io::Stats| {
            let now = side.stats();
            let name = &side.name;
            [
                (
                    format!("{name}: receive ring full"),
                    now.kernel_rx_full - before.kernel_rx_full,
                ),
                (
                    format!("{name}: no chunk to receive into"),
                    now.kernel_fill_empty - before.kernel_fill_empty,
                ),
                (
                    format!("{name}: dropped by the kernel"),
                    now.kernel_rx_dropped - before.kernel_rx_dropped,
                ),
            ]
        };
        let all = lost(&self.tx, before[0]).into_iter().chain(lost(&self.rx, before[1]));
        all.filter(|(_, count)| *count > 0).collect()
    }
}

/// Tells everybody, also by a panic, that the receiver is done.
struct Over<'s>(&'s Shared, mpsc::Sender<()>);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.drained.store(true, Ordering::Release);
        let _ = self.1.send(());
    }
}

fn named(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(name.into())
}
