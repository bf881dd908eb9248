//! Keeps the agent's other threads off the workers' CPUs, where there are others: whoever wakes up there takes a worker's time.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The CPUs that are left, or all when the workers have all.
fn others(allowed: &[usize], workers: &[usize]) -> Vec<usize> {
    let left: Vec<usize> = allowed.iter().copied().filter(|cpu| !workers.contains(cpu)).collect();
    if left.is_empty() { allowed.to_vec() } else { left }
}

/// Moves this thread, and so those that it starts, to the CPUs that `workers` leave.
///
/// # Errors
/// The kernel does not say or take which CPUs the thread may use.
pub(crate) fn leave_to_workers(workers: &[usize]) -> nix::Result<()> {
    let this = Pid::from_raw(0);
    let now = sched_getaffinity(this)?;
    let allowed: Vec<usize> = (0..CpuSet::count())
        .filter(|cpu| now.is_set(*cpu) == Ok(true))
        .collect();
    let mut left = CpuSet::new();
    for cpu in others(&allowed, workers) {
        left.set(cpu)?;
    }
    sched_setaffinity(this, &left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_take_what_workers_leave_or_share_what_there_is() {
        assert_eq!(others(&[0, 1, 2, 5], &[1, 5]), [0, 2]);
        assert_eq!(others(&[0, 1], &[1, 0]), [0, 1]);
        assert_eq!(others(&[3], &[]), [3]);
        assert_eq!(others(&[0, 1], &[7]), [0, 1]);
    }

    #[test]
    fn a_thread_that_moved_starts_others_where_it_is() {
        let allowed: Vec<usize> = core_affinity::get_core_ids()
            .unwrap()
            .iter()
            .map(|cpu| cpu.id)
            .collect();
        let moved = move || {
            leave_to_workers(&allowed[..1]).unwrap();
            let child = std::thread::spawn(|| core_affinity::get_core_ids().unwrap());
            let now: Vec<usize> = child.join().unwrap().iter().map(|cpu| cpu.id).collect();
            assert_eq!(now, others(&allowed, &allowed[..1]));
        };
        std::thread::spawn(moved).join().unwrap();
    }
}
