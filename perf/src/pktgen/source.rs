//! Decides which frame is the n-th: one of a stream's, or one of a recording. It never knows when it leaves, nor by which device.

use super::flows::{Flow, flows};
use super::payload::{Mark, Run};
use super::replay::Recording;
use super::stamp::Stamp;
use super::stream::Stream;
use anyhow::Result;
use sluice_mem::Buf;
use sluice_wire::MacAddr;

/// Frames to send, laid out.
pub(crate) enum Source {
    Stream(Box<Laid>),
    Recording(Recording),
}

/// A stream's frames.
pub(crate) struct Laid {
    stamp: Stamp,
    flows: Vec<Flow>,
    /// Which size the packets of a round have.
    sizes: Vec<u8>,
    run: Run,
}

impl Source {
    pub(super) fn stream(stream: &Stream, macs: (MacAddr, MacAddr)) -> Result<Self> {
        let classes = stream.size.classes(stream.family())?;
        let mut sizes: Vec<u8> = classes
            .iter()
            .enumerate()
            .flat_map(|(class, (_, share))| std::iter::repeat_n(class as u8, *share))
            .collect();
        fastrand::Rng::with_seed(stream.seed).shuffle(&mut sizes);
        Ok(Self::Stream(Box::new(Laid {
            stamp: Stamp::new(stream, macs)?,
            flows: flows(stream),
            sizes,
            run: Run(0),
        })))
    }

    /// From here on frames are of this run.
    pub(super) fn begin(&mut self, run: Run) {
        if let Self::Stream(laid) = self {
            laid.run = run;
            laid.stamp.begin(run);
        }
    }

    /// Flows that packets belong to in turn; 0 where they carry no mark.
    pub(super) fn flows(&self) -> u64 {
        match self {
            Self::Stream(laid) => laid.flows.len() as u64,
            Self::Recording(_) => 0,
        }
    }

    /// Bytes from one mark to the next where several packets came as one super-frame; `None` while sizes differ.
    pub(super) fn piece(&self) -> Option<usize> {
        match self {
            Self::Stream(laid) if laid.sizes.len() == 1 => Some(laid.stamp.payload_of(0)),
            _ => None,
        }
    }

    /// Longest frame, in memory.
    pub(super) fn longest(&self) -> usize {
        match self {
            Self::Stream(laid) => laid.stamp.longest(),
            Self::Recording(recording) => recording.longest(),
        }
    }

    /// Which of so many queues the frame leaves by: all of a flow by the same.
    #[inline]
    pub(super) fn queue(&self, number: u64, queues: usize) -> usize {
        match self {
            Self::Stream(laid) if queues > 1 => (number % laid.flows.len() as u64) as usize % queues,
            _ => 0,
        }
    }

    /// Writes the frame into an empty buffer; `None` where it does not fit.
    #[inline]
    pub(super) fn write(&self, buf: &mut Buf, number: u64, sent_ns: u64) -> Option<usize> {
        match self {
            Self::Stream(laid) => laid.write(buf, number, sent_ns),
            Self::Recording(recording) => {
                let frame = recording.frame(number)?;
                buf.extend(frame.len())?.copy_from_slice(frame);
                Some(frame.len())
            }
        }
    }
}

impl Laid {
    #[inline]
    fn write(&self, buf: &mut Buf, number: u64, sent_ns: u64) -> Option<usize> {
        let flows = self.flows.len() as u64;
        let class = match &self.sizes[..] {
            [class] => *class,
            // Each flow has another size in the next round.
            sizes => sizes[((number + number / flows) % sizes.len() as u64) as usize],
        };
        let flow = &self.flows[(number % flows) as usize];
        self.stamp.write(buf, class.into(), flow, Mark { number, sent_ns })
    }
}
