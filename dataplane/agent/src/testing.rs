//! What a test may change about an agent, all of it in one environment variable that nobody sets by accident. It never hides: what is
//! on is logged as a warning at the start and shown by `sluice status` for as long as the agent runs.

use anyhow::{Context, bail};
use sluice_control::run::Testing as ControlTesting;
use sluice_io::PacketIo;
use sluice_io::fault::{FaultCounts, FaultPort, Faults};
use sluice_wire::PortSlot;
use std::sync::Arc;

/// The variable's name. Its words: `floor`, `faults:drop=2000,seed=7` (see [`Faults`]).
pub(crate) const VARIABLE: &str = "SLUICE_TESTING";

/// What is switched on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Testing {
    /// Does without what kernels newer than the oldest supported one have.
    pub(crate) floor: bool,
    /// Goes wrong at every device, with what has gone wrong so far.
    faults: Option<(Faults, Arc<FaultCounts>)>,
}

impl Testing {
    /// What the environment says.
    ///
    /// # Errors
    /// A word that means nothing: a test that changes nothing would prove nothing.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        match std::env::var(VARIABLE) {
            Ok(text) => Self::parse(&text).with_context(|| {
                format!("environment variable {VARIABLE} is for tests; unset it, or give it what it wants")
            }),
            Err(std::env::VarError::NotPresent) => Ok(Self::default()),
            Err(err) => bail!("environment variable {VARIABLE}: {err}"),
        }
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut testing = Self::default();
        for word in text.split_whitespace() {
            match word.split_once(':') {
                None if word == "floor" => testing.floor = true,
                Some(("faults", rates)) => {
                    testing.faults = Some((rates.parse().map_err(anyhow::Error::msg)?, Arc::default()));
                }
                _ => bail!("`{word}` means nothing; want floor, or faults:drop=2000,seed=7"),
            }
        }
        Ok(testing)
    }

    /// One line for each thing that is on, for people.
    pub(crate) fn notices(&self) -> Vec<String> {
        let floor = self.floor.then(|| {
            format!("does without what Linux newer than 6.1 has, for a test ({VARIABLE}): UDP segmentation at taps, managed neighbours, frames in several chunks at the uplink")
        });
        let faults = self.faults.as_ref().map(|(faults, _)| {
            format!("every device loses and damages packets on purpose, for a test ({VARIABLE}): {faults}, in parts per million")
        });
        floor.into_iter().chain(faults).collect()
    }

    /// What control is to do otherwise.
    pub(crate) fn control(&self) -> ControlTesting {
        ControlTesting {
            notices: self.notices(),
            unmanaged_neighbours: self.floor,
        }
    }

    /// Queues as workers take them, with faults in front if there are to be any.
    pub(crate) fn queues<Q: PacketIo + 'static>(
        &self,
        slot: PortSlot,
        queues: Vec<Q>,
    ) -> Result<Vec<Box<dyn PacketIo>>, String> {
        let wrap = |(n, queue): (usize, Q)| -> Result<Box<dyn PacketIo>, String> {
            let queue: Box<dyn PacketIo> = Box::new(queue);
            let Some((faults, counts)) = &self.faults else {
                return Ok(queue);
            };
            let salt = u64::from(slot.0) << 16 | n as u64;
            let port = FaultPort::new(queue, *faults, salt, counts.clone());
            port.map(|port| Box::new(port) as Box<dyn PacketIo>)
                .map_err(|err| format!("cannot put faults in front of a queue: {err}"))
        };
        queues.into_iter().enumerate().map(wrap).collect()
    }

    /// How often each fault has happened; nothing without faults.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.faults.iter().flat_map(|(_, counts)| counts.list())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_io::memory::pair;

    #[test]
    fn nothing_is_on_unless_it_is_asked_for_by_name() {
        let none = Testing::parse(" ").unwrap();
        assert!(!none.floor && none.notices().is_empty() && none.counts().next().is_none());
        let both = Testing::parse("floor faults:drop=1000000,seed=3").unwrap();
        assert!(both.floor && both.control().unmanaged_neighbours && both.notices().len() == 2);
        for wrong in [
            "flor",
            "floor,faults",
            "faults",
            "faults:",
            "faults:drop=2000000",
            "drop=1",
        ] {
            assert!(Testing::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn queues_are_wrapped_only_when_faults_are_on() {
        let wrapped = |text: &str| {
            let testing = Testing::parse(text).unwrap();
            let memory = sluice_mem::Memory::new(2048, 8).unwrap();
            let mut pools = sluice_mem::Pools::new(&memory, &memory);
            let [near, mut far] = pair(4, [PortSlot(1); 2]);
            let mut queues = testing.queues(PortSlot(1), vec![near]).unwrap();
            let mut buf = pools.small.alloc().unwrap();
            buf.extend(60).unwrap().fill(1);
            let meta = sluice_wire::Meta::from_port(PortSlot(1));
            let mut burst = sluice_io::Burst::from_iter([sluice_io::Frame { buf, meta }]);
            assert_eq!(queues[0].transmit(&mut pools, &mut burst).frames, 1);
            let got = far.receive(&mut pools, &mut burst, sluice_wire::BURST).frames;
            burst.drain(..).for_each(|frame| pools.free(frame.buf));
            (got, testing.counts().map(|(_, count)| count).sum::<u64>())
        };
        assert_eq!(wrapped(""), (1, 0));
        assert_eq!(wrapped("faults:drop=1000000"), (0, 1));
    }
}
