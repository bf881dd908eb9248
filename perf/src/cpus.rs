//! Decides on which processors a thread may run. It never decides for anybody who did not ask.

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// How many there are.
pub(crate) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Moves this thread to a processor.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    allow(Pid::from_raw(0), [cpu]).with_context(|| {
        format!("cannot run on processor {cpu}; is there one of that number, and may this process use it?")
    })
}

/// Lets a thread run on these processors only.
pub(crate) fn allow(thread: Pid, cpus: impl IntoIterator<Item = usize>) -> Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(cpu)?;
    }
    Ok(sched_setaffinity(thread, &set)?)
}
