//! Decides what a person is told of packets that devices lost before a worker had them. They are in no balance: nobody received them.

use crate::ports::{HOST, Ports, UPLINK};
use crate::worker::Losses;
use sluice_control::api::LostCount;
use sluice_io::lost::Lost;
use sluice_io::{Stats, lost};
use sluice_wire::PortSlot;
use std::path::PathBuf;

/// Stable name, cause, what to do.
type Cause = (&'static str, &'static str, &'static str);
const MORE_WORKERS: &str = "Give the node more workers (workers.count) on CPUs with nothing else to do; `sluice status` shows how busy they are.";
const RING_FULL: Cause = (
    "ring_full",
    "the receive ring was full: the worker did not take packets in time",
    MORE_WORKERS,
);
const NO_FRAMES: Cause = ("no_frames", "no free frame to receive into", "Raise memory.frames.");
const NOT_FITTING: Cause = (
    "not_fitting",
    "longer than frames may be here, or in more pieces than there were free frames",
    "Give senders the uplink's MTU, and turn receive coalescing off (`ethtool -K DEVICE lro off`); for jumbo frames raise memory.frames.",
);
const REFUSED: Cause = (
    "descriptor_refused",
    "the kernel refused a descriptor of ours",
    "Report it with the output of `sluice counters -o json`: this should never happen.",
);
const NIC: Cause = (
    "nic_missed",
    "the NIC had no room: the kernel did not take packets in time",
    "Raise its receive rings (`ethtool -G DEVICE rx N`), or spread its interrupts over more CPUs.",
);
const QUEUE_FULL: Cause = (
    "queue_full",
    "the interface's queue was full: the worker did not take packets in time",
    MORE_WORKERS,
);

/// What interfaces that are older than this agent had lost before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before {
    pub(crate) host: Lost,
    pub(crate) uplink: Lost,
}

/// What this interface has lost so far; nothing while there is none.
pub(crate) fn so_far(netns: Option<PathBuf>, name: &str) -> Lost {
    lost::of(&[(netns, name.to_owned())])[0].unwrap_or_default()
}

/// Everything that is known to be lost since the start; `losses` are what the workers' devices say.
pub(crate) fn all(ports: &Ports, losses: Losses, (host, uplink): (&str, &str), before: &Before) -> Vec<LostCount> {
    let mut counts = Vec::new();
    for (slot, stats) in losses {
        counts.extend(of_socket(slot, &stats));
    }
    let mut slots = vec![(UPLINK, before.uplink), (HOST, before.host)];
    let mut interfaces = vec![(None, uplink.to_owned()), (None, host.to_owned())];
    for (slot, pod) in ports.all_pods() {
        slots.push((slot, pod.lost_before));
        interfaces.push((Some(pod.netns), pod.name));
    }
    for ((slot, before), now) in slots.into_iter().zip(lost::of(&interfaces)) {
        // One that was made anew begins at 0.
        let now = now.unwrap_or_default();
        let (cause, packets) = if slot == UPLINK {
            (NIC, now.rx_missed.saturating_sub(before.rx_missed))
        } else {
            (QUEUE_FULL, now.tx_dropped.saturating_sub(before.tx_dropped))
        };
        counts.extend(count(slot, cause, packets));
    }
    counts.sort_by_key(|count| count.slot);
    counts
}

/// In copy mode the kernel counts a frame without a chunk under both, the dropped ones and the times that the fill ring was empty
/// (`__xsk_rcv`, net/xdp/xsk.c). In zero-copy mode a driver finds it empty without losing any.
fn of_socket(slot: PortSlot, stats: &Stats) -> impl Iterator<Item = LostCount> {
    let no_frames = stats.kernel_fill_empty.min(stats.kernel_rx_dropped);
    [
        (RING_FULL, stats.kernel_rx_full),
        (NO_FRAMES, no_frames),
        (NOT_FITTING, stats.kernel_rx_dropped - no_frames),
        (REFUSED, stats.kernel_invalid),
    ]
    .into_iter()
    .filter_map(move |(cause, packets)| count(slot, cause, packets))
}

fn count(slot: PortSlot, (cause, text, remedy): Cause, packets: u64) -> Option<LostCount> {
    (packets > 0).then(|| LostCount {
        slot: slot.0,
        port: String::new(),
        cause: cause.into(),
        text: text.into(),
        remedy: remedy.into(),
        packets,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_without_a_chunk_is_told_once_and_has_its_own_cause() {
        let told = |fill_empty, dropped| {
            let stats = Stats {
                kernel_rx_full: 7,
                kernel_fill_empty: fill_empty,
                kernel_rx_dropped: dropped,
                ..Stats::default()
            };
            let counts = of_socket(UPLINK, &stats);
            counts.map(|count| (count.cause, count.packets)).collect::<Vec<_>>()
        };
        let named = |list: &[(&str, u64)]| {
            list.iter()
                .map(|(name, n)| ((*name).to_owned(), *n))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(3, 3), named(&[("ring_full", 7), ("no_frames", 3)]));
        assert_eq!(
            told(3, 5),
            named(&[("ring_full", 7), ("no_frames", 3), ("not_fitting", 2)])
        );
        assert_eq!(
            told(9, 0),
            named(&[("ring_full", 7)]),
            "an empty look of a driver loses nothing"
        );
    }
}
