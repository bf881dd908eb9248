//! Asks the workers about the devices behind their queues. It never waits long: one that does not answer is left out.

use crate::ports::Ports;
use crate::worker::{Command, Devices, Losses};
use sluice_control::api::{RingLevel, RingRow};
use sluice_io::{Level, Occupancy};
use sluice_wire::PortSlot;
use std::time::Duration;

/// A worker answers between two bursts; one that does not is in trouble that shows elsewhere.
const PATIENCE: Duration = Duration::from_millis(200);

/// What devices lost on the way to all workers, and how full their rings are, by port and queue.
pub(crate) fn ask(ports: &Ports) -> (Losses, Vec<RingRow>) {
    let (tell, told) = crossbeam::channel::unbounded();
    let asked = ports
        .workers()
        .iter()
        .filter(|worker| worker.tell(Command::Devices { tell: tell.clone() }))
        .count();
    let (mut sum, mut rows) = (Losses::new(), Vec::new());
    for _ in 0..asked {
        let Ok(Devices { worker, losses, rings }) = told.recv_timeout(PATIENCE) else {
            break;
        };
        for (slot, stats) in losses {
            *sum.entry(slot).or_default() += stats;
        }
        rows.extend(rings.into_iter().map(|(slot, rings)| row(worker, slot, rings)));
    }
    rows.sort_by_key(|row| (row.slot, row.queue));
    (sum, rows)
}

fn row(worker: usize, slot: PortSlot, rings: Occupancy) -> RingRow {
    let level = |Level { used, size }| RingLevel { used, size };
    RingRow {
        slot: slot.0,
        port: String::new(),
        queue: rings.queue,
        worker: worker as u16,
        rx: level(rings.rx),
        fill: level(rings.fill),
        tx: level(rings.tx),
        completion: level(rings.completion),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ring_is_told_under_its_own_name() {
        let level = |used| Level { used, size: 64 };
        let rings = Occupancy {
            queue: 3,
            rx: level(1),
            fill: level(2),
            tx: level(4),
            completion: level(8),
        };
        let told = serde_json::to_value(row(5, PortSlot(0), rings)).unwrap();
        let want = serde_json::json!({
            "slot": 0, "port": "", "queue": 3, "worker": 5, "rx": {"used": 1, "size": 64}, "fill": {"used": 2, "size": 64},
            "tx": {"used": 4, "size": 64}, "completion": {"used": 8, "size": 64},
        });
        assert_eq!(told, want);
    }
}
